"""A disk that takes its time, and forgets in a crash what was not synced.

What is written is visible at once, as in RocksDB: it lies in the operating system's memory. A crash
of the machine leaves a prefix of the batches: at least those that a finished sync covered, at most
all. That is exactly what the store's contract promises, and nothing more. Sometimes which prefix is
what the shipped log reads back of an end that was torn (`torn`).

It also fails, as disks do: a write or sync ends with an I/O error (`fail_after`), there is no space
(`full`), a record decays (`rot`), and what a finished sync covered is not there after a crash
(`forget`). Every record has a checksum, so a decayed one is never given out:
reading it raises StoreCorrupt. A write that fails leaves those before it, of the same turn, behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from raycons.errors import StoreCorrupt, StoreError, StoreFull
from raycons.simulation.torn import Written, read_back
from raycons.simulation.world import World
from raycons.store.contract import DELETE_RANGE, Batch, Space, Store, View
from raycons.store.memory import MemoryStore

FORGETTABLE = 40  # batches that a disk may lose though it reported them as durable

Undo = Batch
Pairs = Iterator[tuple[bytes, bytes]]
Verified = Callable[[Space, Pairs], Pairs]


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
        self._unsynced: list[Written] = []  # these batches
        self._reported: deque[Undo] = deque(maxlen=0)  # how to take back what is durable
        self._waiting: tuple[int, Callable[[int], None]] | None = None
        self._syncing = 0  # the running sync's number; 0: none. A crash makes older ones void
        self._syncs = 0
        self.batches_written = 0
        self.batches_durable = 0
        self.batches_torn = 0  # or behind one that was, in crashes
        self.slowness = 1.0  # how many times longer than usual a sync takes
        self.stalled = False  # no sync finishes while this holds
        self.full = False  # no write or sync succeeds while this holds
        self.lateness_s: Callable[[], float] = _punctual  # added to each sync
        self.failed: Callable[[StoreError], None] = _ignore  # told of a sync that failed
        self.written: Callable[[Batch], None] = _unwatched  # told of each batch that was taken
        self._writes_left = -1  # until an I/O error; -1: none is due
        self._sync_fails = False
        self._rotten: set[tuple[Space, bytes]] = set()  # membership only, never iterated

    # --- the store's contract ---------------------------------------------------------------------

    def get(self, space: Space, key: bytes) -> bytes | None:
        """See Store."""
        if self._rotten:
            self._verify(space, key)
        return self._content.get(space, key)

    def scan(
        self, space: Space, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """See Store."""
        pairs = self._content.scan(space, start, end, reverse=reverse)
        return self._verified(space, pairs) if self._rotten else pairs

    def write(self, batch: Batch) -> None:
        """See Store."""
        if self.full:
            raise StoreFull("no space left on the simulated disk")
        if self._writes_left >= 0:
            self._writes_left -= 1
            if self._writes_left < 0:
                self._writes_left = 0
                raise StoreError("input/output error in a write to the simulated disk")
        if self._rotten:
            self._overwrite(batch)
        self._undo.append(self._reversal(batch))
        self._unsynced.append(Written(batch, self.batches_durable))
        self._content.write(batch)
        self.batches_written += 1
        self.written(batch)

    def sync(self) -> None:
        """Make everything durable at once; only for what happens before the process serves."""
        self._undo.clear()
        self._unsynced.clear()
        self._reported.clear()
        self.batches_durable = self.batches_written

    def settle(self) -> None:
        """See Store; nothing waits here."""

    def view(self) -> View:
        """See Store."""
        view = self._content.view()
        return VerifyingView(view, self._verified) if self._rotten else view

    def size_bytes(self) -> int:
        """See Store."""
        return self._content.size_bytes()

    def close(self) -> None:
        """Nothing to release: the content outlives the process."""

    # --- virtual time -----------------------------------------------------------------------------

    def request_sync(self, number: int, done: Callable[[int], None]) -> None:
        """Make durable what is written by the time that the sync starts, then call `done(number)`.

        One sync runs at a time. Of those asked for meanwhile only the newest follows: it covers
        the others, as the member's syncer does it.
        """
        if self._syncing:
            self._waiting = (number, done)
        else:
            self._start(number, done)

    def _start(self, number: int, done: Callable[[int], None]) -> None:
        self._syncs += 1
        self._syncing = self._syncs
        duration_s = self._sync_s * self.slowness * (0.5 + self._random.expovariate(2.0))
        duration_s += self.lateness_s()
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
        if self.full or self._sync_fails:
            kind = StoreFull if self.full else StoreError
            self.failed(kind("a sync of the simulated disk failed"))
            return
        finished = covered - self.batches_durable
        self._reported.extend(self._undo[:finished])
        del self._undo[:finished], self._unsynced[:finished]
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
        self._writes_left, self._sync_fails = -1, False
        unsynced = self.batches_written - self.batches_durable
        kept = self._draw_kept(unsynced)
        for undo in reversed(self._undo[kept:]):
            self._content.write(undo)
        lost = unsynced - kept
        self._reported.extend(self._undo[:kept])
        self._undo.clear()
        self._unsynced.clear()
        self.batches_written -= lost
        self.batches_durable = self.batches_written
        return lost

    def _draw_kept(self, unsynced: int) -> int:
        fate = self._random.random()
        # The two extremes are where bugs live: everything lost, and everything kept though nobody
        # was told so.
        if fate < 0.7:
            return 0 if fate < 0.45 else unsynced
        if fate < 0.85:
            return self._random.randint(0, unsynced)
        kept = read_back(self.batches_durable + 1, self._unsynced, self._random)
        self.batches_torn += len(self._unsynced) - kept
        return kept

    @property
    def content(self) -> Store:
        """What a reader would find if nothing had decayed."""
        return self._content

    def image(self) -> Batch:
        """All that it holds, as one batch for another disk."""
        whole = Batch()
        for space in Space:
            for key, value in self._everything(space):
                whole.put(space, key, value)
        return whole

    # --- failures ---------------------------------------------------------------------------------

    def fail_after(self, writes: int) -> None:
        """The write after so many more fails, and all that follow, until the process ends."""
        self._writes_left = writes

    def fail_sync(self) -> None:
        """The sync that ends next fails: what it covered may be on the disk, or not."""
        self._sync_fails = True

    def lie(self) -> None:
        """From now on some of what is reported as durable can be forgotten."""
        self._reported = deque(maxlen=FORGETTABLE)

    def forget(self, batches: int, stands: Callable[[Space, bytes], bool]) -> int:
        """Lose so many of the newest batches that were reported as durable, after a crash.

        At most back to the last opening of the store, or to a batch that wrote a record that
        `stands`; gives how many they were.
        """
        forgotten = 0
        while self._reported and forgotten < batches:
            undo = self._reported[-1]
            if any(stands(space, key) for _, space, key, _ in undo.operations):
                break
            self._content.write(self._reported.pop())
            forgotten += 1
        self.batches_written -= forgotten
        self.batches_durable = self.batches_written
        return forgotten

    @property
    def rotten(self) -> bool:
        """Whether a record has decayed that was not written anew since."""
        return bool(self._rotten)

    def rot(self, random: Random) -> tuple[str, bytes]:
        """Let one record decay; gives its space and key."""
        keys = {space: [key for key, _ in self._everything(space)] for space in Space}
        space = random.choice([space for space in Space if keys[space]])
        key = random.choice(keys[space])
        self._rotten.add((space, key))
        return space.name, key

    def _everything(self, space: Space) -> Pairs:
        return self._content.scan(space, b"", b"\xff" * 32)

    def _verify(self, space: Space, key: bytes) -> None:
        if (space, key) in self._rotten:
            raise StoreCorrupt(f"checksum mismatch in record {key!r} of {space.name}")

    def _verified(self, space: Space, pairs: Pairs) -> Pairs:
        for key, value in pairs:
            self._verify(space, key)
            yield key, value

    def _overwrite(self, batch: Batch) -> None:
        """What is written anew, or deleted, is sound again."""
        for kind, space, key, end in batch.operations:
            if kind == DELETE_RANGE:
                for covered, _ in self._content.scan(space, key, end):
                    self._rotten.discard((space, covered))
            else:
                self._rotten.discard((space, key))

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


class VerifyingView:
    """A view that checks what it reads, as `Disk` does."""

    def __init__(self, view: View, verified: Verified) -> None:
        self._view = view
        self._verified = verified

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """See View."""
        return self._verified(space, self._view.scan(space, start, end))

    def close(self) -> None:
        """See View."""
        self._view.close()


def _punctual() -> float:
    return 0.0


def _unwatched(batch: Batch) -> None:
    """Nobody looks at what is written."""


def _ignore(error: StoreError) -> None:
    """Nobody runs over this disk yet."""
