"""A disk that takes its time, and forgets in a crash what was not synced.

What is written is visible at once, as in RocksDB: it lies in the operating system's memory. A crash
of the machine leaves a prefix of the batches: at least those that a finished sync covered, at most
all. That is exactly what the store's contract promises, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from raycons.simulation.world import World
from raycons.store.contract import DELETE_RANGE, Batch, Space, View
from raycons.store.memory import MemoryStore

Undo = Batch


class Disk:
    """A `Store` on virtual time. The member asks for a sync by `request_sync`, never by `sync`.

    `batches_written` and `batches_durable` count the batches since the disk was made; the content
    that survives a crash for certain is the first `batches_durable` of them.
    """

    def __init__(self, world: World, random: Random, sync_s: float) -> None:
        self._world = world
        self._random = random
        self._sync_s = sync_s
        self._content = MemoryStore()
        self._undo: list[Undo] = []  # how to take back each batch that is not durable
        self._waiting: tuple[int, Callable[[int], None]] | None = None
        self._syncing = 0  # the running sync's number; 0: none. A crash makes older ones void
        self._syncs = 0
        self.batches_written = 0
        self.batches_durable = 0
        self.slowness = 1.0  # how many times longer than usual a sync takes
        self.stalled = False  # no sync finishes while this holds

    # --- the store's contract ---------------------------------------------------------------------

    def get(self, space: Space, key: bytes) -> bytes | None:
        """See Store."""
        return self._content.get(space, key)

    def scan(
        self, space: Space, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Store."""
        return self._content.scan(space, start, end, reverse=reverse)

    def write(self, batch: Batch) -> None:
        """See Store."""
        self._undo.append(self._reversal(batch))
        self._content.write(batch)
        self.batches_written += 1

    def sync(self) -> None:
        """Make everything durable at once; only for what happens before the simulation runs."""
        self._undo.clear()
        self.batches_durable = self.batches_written

    def view(self) -> View:
        """See Store."""
        return self._content.view()

    def size_bytes(self) -> int:
        """See Store."""
        return self._content.size_bytes()

    def close(self) -> None:
        """Nothing to release: the content outlives the process."""

    # --- virtual time -----------------------------------------------------------------------------

    def request_sync(self, number: int, done: Callable[[int], None]) -> None:
        """Make durable what is written by the time that the sync starts, then call `done(number)`.

        One sync runs at a time. Of those asked for meanwhile only the newest follows: it covers
        the others, as the store's thread does it.
        """
        if self._syncing:
            self._waiting = (number, done)
        else:
            self._start(number, done)

    def _start(self, number: int, done: Callable[[int], None]) -> None:
        self._syncs += 1
        self._syncing = self._syncs
        duration_s = self._sync_s * self.slowness * (0.5 + self._random.expovariate(2.0))
        self._world.after(
            duration_s, self._finish, (self._syncs, self.batches_written, number, done)
        )

    def _finish(self, sync: tuple[int, int, int, Callable[[int], None]]) -> None:
        id, covered, number, done = sync
        if id != self._syncing:
            return  # a crash came first
        if self.stalled:
            self._world.after(0.01, self._finish, sync)
            return
        del self._undo[: covered - self.batches_durable]
        self.batches_durable = covered
        self._syncing = 0
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._start(*waiting)
        done(number)

    def crash(self) -> int:
        """Lose a suffix of what was not synced; gives how many batches are gone."""
        self._syncing = 0
        self._waiting = None
        unsynced = self.batches_written - self.batches_durable
        fate = self._random.random()
        # The two extremes are where bugs live: everything lost, and everything kept though nobody
        # was told so.
        kept = 0 if fate < 0.5 else unsynced if fate < 0.75 else self._random.randint(0, unsynced)
        for undo in reversed(self._undo[kept:]):
            self._content.write(undo)
        lost = unsynced - kept
        self._undo.clear()
        self.batches_written -= lost
        self.batches_durable = self.batches_written
        return lost

    def _reversal(self, batch: Batch) -> Undo:
        """The batch that, written after `batch`, gives back what was before it."""
        undo = Batch()
        content = self._content
        for kind, space, key, argument in batch.operations:
            if kind == DELETE_RANGE:
                for covered, value in content.scan(space, key, argument):
                    undo.put(space, covered, value)
            else:
                value_before = content.get(space, key)
                if value_before is None:
                    undo.delete(space, key)
                else:
                    undo.put(space, key, value_before)
        # Where a batch touches a key twice, both steps lead back to the value before the batch,
        # except a key that it put and then deleted in a range: the put's own step covers that one.
        return undo
