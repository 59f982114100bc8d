"""Operations on their way in: admission within bounds, deadlines, and batches that fill a frame.

An operation that is in a queue was never sent in its present form and certainly had no effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from raycons import errors
from raycons.client.calls import Cohort, Done, Pending, Queue, operation_bytes
from raycons.client.deadlines import Deadlines
from raycons.client.settings import ClientSettings

Tell = Callable[[Done, Any], None]


class Gathering:
    """Counts and bounds all operations of a client, and knows when each is due."""

    def __init__(self, settings: ClientSettings, tell: Tell) -> None:
        self.operations = 0  # admitted and not yet ended
        self.size_bytes = 0
        self._settings = settings
        self._tell = tell
        self._deadlines = Deadlines[Cohort](settings.deadline_grain_s)
        self._cohort = _nobody()  # of the last operation that was admitted

    def admit(self, operation: Any, deadline: float, done: Done, queue: Queue | None) -> Pending:
        """Take in an operation, to wait in `queue` if any.

        Raises:
            Overloaded: a bound of the client is reached.
        """
        size_bytes = operation_bytes(operation)
        operations = self.operations + 1
        total_bytes = self.size_bytes + size_bytes
        settings = self._settings
        if (
            operations > settings.max_in_flight_operations
            or total_bytes > settings.max_in_flight_bytes
        ):
            raise self._overloaded(size_bytes)
        self.operations = operations
        self.size_bytes = total_bytes
        cohort = self._cohort
        if cohort.deadline != deadline:
            cohort = self._new_cohort(deadline)
        pending = Pending(operation, size_bytes, cohort, queue, done)
        cohort.live += 1
        cohort.members.append(pending)
        if queue is not None:
            queue.members.append(pending)
        return pending

    def finish(self, pending: Pending, result: Any) -> None:
        """End an operation with its result or exception, unless it ended before."""
        done = self.withdraw(pending)
        if done is not None:
            self._tell(done, result)

    def finish_all(self, operations: Sequence[Pending], results: Sequence[Any]) -> None:
        """As `finish`, for as many results as operations."""
        tell, withdraw = self._tell, self.withdraw
        for pending, result in zip(operations, results, strict=True):
            done = withdraw(pending)
            if done is not None:
                tell(done, result)

    def withdraw(self, pending: Pending) -> Done:
        """End an operation without a word; gives whom to tell, or None where it ended before."""
        done = pending.done
        if done is not None:
            # Its value and its call's payload, too: a cohort keeps `pending` until all have ended.
            pending.done = pending.operation = pending.call = None
            self.operations -= 1
            self.size_bytes -= pending.size_bytes
            cohort = pending.cohort
            cohort.live -= 1
            if not cohort.live:
                self._dissolve(cohort)
        return done

    def expired(self, now: float) -> list[Pending]:
        """The operations whose deadline has passed."""
        cohorts = self._deadlines.expired(now)
        if cohorts:
            self._cohort = _nobody()  # may be one of them, and then nobody can join it any more
        return [
            pending for cohort in cohorts for pending in cohort.members if pending.done is not None
        ]

    def next_deadline(self) -> float:
        """When the next operation is due; infinity where none is."""
        return self._deadlines.next()

    def batches(self, queue: Queue, at_most: int) -> list[list[Pending]]:
        """Take from the queue; each batch is within a frame's bounds, or a single operation."""
        waiting = queue.take()
        room = self._settings.max_frame_operations
        if self.size_bytes <= self._settings.max_frame_bytes:  # whatever else is in flight
            batches = [waiting[i : i + room] for i in range(0, len(waiting), room)][:at_most]
        else:
            batches = self._weighed(waiting, at_most)
        queue.members = waiting[sum(map(len, batches)) :]
        return batches

    def _weighed(self, waiting: list[Pending], at_most: int) -> list[list[Pending]]:
        settings = self._settings
        batches: list[list[Pending]] = []
        batch: list[Pending] = []
        size_bytes = 0
        for pending in waiting:
            full = len(batch) >= settings.max_frame_operations
            if batch and (full or size_bytes + pending.size_bytes > settings.max_frame_bytes):
                batches.append(batch)
                batch, size_bytes = [], 0
                if len(batches) == at_most:
                    return batches
            batch.append(pending)
            size_bytes += pending.size_bytes
        if batch:
            batches.append(batch)
        return batches

    def _new_cohort(self, deadline: float) -> Cohort:
        cohort = Cohort(deadline)
        cohort.bucket = self._deadlines.add(cohort, deadline)
        self._cohort = cohort
        return cohort

    def _dissolve(self, cohort: Cohort) -> None:
        """All of them ended: none is due any more."""
        self._deadlines.discard(cohort, cohort.bucket)
        cohort.members.clear()
        if cohort is self._cohort:
            self._cohort = _nobody()

    def _overloaded(self, size_bytes: int) -> errors.Overloaded:
        if self.operations >= self._settings.max_in_flight_operations:
            return errors.Overloaded(
                f"{self.operations} operations are in flight, which is this client's bound;"
                " await some before you start more"
            )
        return errors.Overloaded(
            f"{self.size_bytes} bytes are in flight, and {size_bytes} more would pass this"
            f" client's bound of {self._settings.max_in_flight_bytes};"
            " await some operations before you start more"
        )


def _nobody() -> Cohort:
    """A cohort that nobody joins: no deadline is equal to its own."""
    return Cohort(math.nan)
