"""Operations on their way in: admission within bounds, deadlines, and batches that fill a frame.

An operation that is in a queue here was never sent in its present form and certainly had no effect.
"""

from __future__ import annotations

from typing import Any

from raycons import errors
from raycons.client.calls import Done, Pending, operation_bytes
from raycons.client.deadlines import Deadlines
from raycons.client.settings import ClientSettings

Queue = dict[Pending, None]  # keeps the order of arrival, and gives up any member cheaply


class Gathering:
    """Counts and bounds all operations of a client, and knows when each is due."""

    def __init__(self, settings: ClientSettings) -> None:
        self.operations = 0  # admitted and not yet ended
        self.size_bytes = 0
        self._settings = settings
        self._deadlines = Deadlines[Pending](settings.deadline_grain_s)

    def admit(self, operation: Any, deadline: float, done: Done) -> Pending:
        """Take in an operation; raises Overloaded where a bound of the client is reached."""
        settings = self._settings
        size_bytes = operation_bytes(operation)
        if self.operations >= settings.max_in_flight_operations:
            raise errors.Overloaded(
                f"{self.operations} operations are in flight, which is this client's bound;"
                " await some before you start more"
            )
        if self.size_bytes + size_bytes > settings.max_in_flight_bytes:
            raise errors.Overloaded(
                f"{self.size_bytes} bytes are in flight, and {size_bytes} more would pass this"
                f" client's bound of {settings.max_in_flight_bytes};"
                " await some operations before you start more"
            )
        self.operations += 1
        self.size_bytes += size_bytes
        pending = Pending(operation, size_bytes, deadline, done)
        pending.bucket = self._deadlines.add(pending, deadline)
        return pending

    def finish(self, pending: Pending, result: Any) -> None:
        """End an operation with its result or exception, unless it ended before."""
        done = self.withdraw(pending)
        if done is not None:
            done(result)

    def withdraw(self, pending: Pending) -> Done | None:
        """End an operation without a word; gives whom to tell, or None where it ended before."""
        done = pending.done
        if done is not None:
            pending.done = None
            self.operations -= 1
            self.size_bytes -= pending.size_bytes
            self._deadlines.discard(pending, pending.bucket)
        return done

    def expired(self, now: float) -> list[Pending]:
        """The operations whose deadline has passed."""
        return self._deadlines.expired(now)

    def next_deadline(self) -> float:
        """When the next operation is due; infinity where none is."""
        return self._deadlines.next()

    def batches(self, queue: Queue, at_most: int) -> list[list[Pending]]:
        """Take from the queue; each batch is within a frame's bounds, or a single operation."""
        settings = self._settings
        batches: list[list[Pending]] = []
        batch: list[Pending] = []
        size_bytes = 0
        for pending in queue:
            full = len(batch) >= settings.max_frame_operations
            if batch and (full or size_bytes + pending.size_bytes > settings.max_frame_bytes):
                batches.append(batch)
                batch, size_bytes = [], 0
                if len(batches) == at_most:
                    break
            batch.append(pending)
            size_bytes += pending.size_bytes
        if batch:
            batches.append(batch)
        if sum(map(len, batches)) == len(queue):
            queue.clear()
        else:
            for pending in (pending for batch in batches for pending in batch):
                del queue[pending]
        return batches
