"""A store on disk: tables by RocksDB, in front of them a write-ahead log of our own.

One column family for each space, one log for all of them (`store/wal.py`), so that a batch over
several spaces is atomic and one sync serves every group of a member.

Rules of this file
- RocksDB's own log is off: ours costs half the time for a sync, and a damage to it is refused,
  where RocksDB by default drops what follows without a word.
- RocksDB flushes all families at once (`atomic_flush`), and every batch writes its number into a
  family of its own. So the tables on disk always hold a prefix of the batches, and say which one:
  opening carries out anew what the log holds after it. This prefix may be longer than the log on
  disk, for a flush waits for no sync; that is as if the batches had been synced.
- Batches of nothing but log entries, which hardly anybody reads before a restart, come to the
  tables together: one by one they would cost as much as the rest of a write. Whatever else is
  written, or is read in their space, comes after them.
- Never a call of rocksdict that waits for the disk on the loop: it holds Python's global lock.
- Iterators are asked for their status at their end: a damaged block ends them like a last key.
- Consistent views are iterators opened at that moment; those of rocksdict's `Snapshot` see later
  writes.
- Memory does not grow with the data: the kernel frees a dead process's memory before it closes its
  sockets, so every megabyte here delays the notice of this member's death.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from struct import Struct
from weakref import WeakSet

from rocksdict import Cache, Rdict, RdictIter, ReadOptions, WriteBatch, WriteOptions

from raycons.errors import StoreCorrupt, StoreError
from raycons.store import wal
from raycons.store.contract import DELETE, PUT, Batch, Operation, Space
from raycons.store.failures import store_error
from raycons.store.tuning import (
    BLOCK_CACHE_BYTES,
    MIB,
    WRITE_BUFFER_BYTES,
    common_options,
    family_options,
)

REPLAYED_AT_ONCE = 1000  # operations
MAX_WAITING = 64  # batches that come to the tables together, or so many bytes
MAX_WAITING_BYTES = MIB // 4

FAMILIES = {
    Space.META: "default",
    Space.LOG: "log",
    Space.CURRENT: "current",
    Space.HISTORY: "history",
}
# Behind which batch of the log the tables are (a `wal.Position`).
POSITION_FAMILY, POSITION_KEY = "wal", b"position"
POSITION = Struct(">QQQ")
LOG_DIRECTORY = "wal"
_LOG = Space.LOG  # an enum's member is dear to look up where every write passes


class RocksStore:
    """A `Store` in the directory `path`.

    `create_if_missing=False` refuses a directory without a store, for an owner that knows that
    there must be one: making it anew would be amnesia.

    Raises StoreCorrupt, StoreLocked, StoreFull, StoreReadOnly or StoreError. After any of them out
    of a method, whatever is asked next raises the same: what is on disk is no longer known.
    """

    def __init__(self, path: str | os.PathLike[str], *, create_if_missing: bool = True) -> None:
        self.path = Path(path)
        self._failure: StoreError | None = None
        self._views: WeakSet[RocksView] = WeakSet()
        # In the log, not yet in the tables: batches of log entries, and where each ends.
        self._waiting: list[tuple[list[Operation], wal.Position]] = []
        self._waiting_bytes = 0
        try:
            if create_if_missing:
                self.path.mkdir(parents=True, exist_ok=True)
            elif not (self.path / "CURRENT").exists():
                raise StoreCorrupt(
                    f"the store in {self.path} is gone (no file CURRENT); "
                    "this replica must be replaced by a new one"
                )
            self._open_tables(create=create_if_missing)
            try:
                self._log = self._recover()
            except BaseException:
                self._close_tables()
                raise
        except StoreError:
            raise
        except Exception as error:
            raise store_error(error, self.path) from error

    def _open_tables(self, *, create: bool) -> None:
        cache = Cache(BLOCK_CACHE_BYTES)
        options = {FAMILIES[space]: family_options(space, cache, create=create) for space in Space}
        options[POSITION_FAMILY] = common_options(create=create)
        names = list(options)
        self._db = Rdict(
            str(self.path), options=options.pop(FAMILIES[Space.META]), column_families=options
        )
        self._families = [self._db.get_column_family(name) for name in names]
        self._handles = [self._db.get_column_family_handle(name) for name in names]
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment]  # no method

    def get(self, space: Space, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        if self._failure is not None:
            raise self._again()
        try:
            if space is _LOG:
                self._carry_out_waiting()
            value: bytes | None = self._families[space].get(key)
        except Exception as error:
            raise self._fail(error) from error
        return value

    def scan(
        self, space: Space, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, as they are now."""
        if self._failure is not None:
            raise self._again()
        if start >= end:
            return iter(())
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)  # else RocksDB walks over whatever was deleted beyond
        try:
            if space is _LOG:
                self._carry_out_waiting()
            cursor = self._families[space].iter(bounds)
            if reverse:
                cursor.seek_to_last()
            else:
                cursor.seek(start)
        except Exception as error:
            raise self._fail(error) from error
        # The iterator points into `bounds` without holding on to it (rocksdict 0.3.29): once those
        # are gone it reads freed memory and runs on. So the scan keeps both.
        return self._backward(cursor, bounds, start) if reverse else self._forward(cursor, bounds)

    def write(self, batch: Batch) -> None:
        """Hand `batch` to the kernel, atomically and in order; on disk only after `sync`."""
        if self._failure is not None:
            raise self._again()
        try:
            operations = batch.operations
            self._waiting_bytes += self._log.append(operations)
            self._waiting.append((operations, self._log.position))
            if (
                len(self._waiting) >= MAX_WAITING
                or self._waiting_bytes >= MAX_WAITING_BYTES
                or not all(space is _LOG for _, space, _, _ in operations)
            ):
                self._carry_out_waiting()
        except Exception as error:
            raise self._fail(error) from error

    def sync(self) -> None:
        """Block until all batches written before this call are on disk, while others write."""
        if self._failure is not None:
            raise self._again()
        try:
            self._log.sync()
        except Exception as error:
            raise self._fail(error) from error
        self._look_for_troubles()

    def begin_sync(self) -> list[int] | None:
        """See `OpenSync`."""
        if self._failure is not None:
            raise self._again()
        return self._log.begin_sync()

    def end_sync(self, error: OSError | None = None) -> None:
        """See `OpenSync`."""
        if self._failure is not None:
            raise self._again()
        if error is not None:
            raise self._fail(error) from error
        self._log.end_sync()
        self._look_for_troubles()

    def _look_for_troubles(self) -> None:
        try:
            # RocksDB counts those of all families under the default one.
            troubles = self._families[Space.META].property_int_value("rocksdb.background-errors")
        except Exception as error:
            raise self._fail(error) from error
        if troubles:
            # The log is safe, but tables cannot be written: soon writers, and the event loop with
            # them, would be stopped until RocksDB recovers. Better to end while we can say why.
            raise self._fail(OSError(_space_left(self.path)))

    def settle(self) -> None:
        """Let the log's end show that it is whole, once that is synced."""
        if self._failure is None:
            try:
                self._log.settle()
            except Exception as error:
                raise self._fail(error) from error

    def view(self) -> RocksView:
        """A consistent view of this moment."""
        if self._failure is not None:
            raise self._again()
        try:
            self._carry_out_waiting()
        except Exception as error:
            raise self._fail(error) from error
        view = RocksView(self)
        self._views.add(view)
        return view

    def size_bytes(self) -> int:
        """What the tables on disk and the buffers in memory occupy, without the log."""
        return sum(
            (family.property_int_value("rocksdb.total-sst-files-size") or 0)
            + (family.property_int_value("rocksdb.cur-size-all-mem-tables") or 0)
            for family in self._families
        )

    def close(self) -> None:
        """Write the buffers out and let go of the directory; drop scans under way before."""
        if self._failure is None:
            _quietly(self._carry_out_waiting)
            self._failure = StoreError(f"the store in {self.path} was closed; open it again")
        for view in list(self._views):
            view.close()
        self._close_tables()
        self._log.close()

    def _close_tables(self) -> None:
        # This flushes all families at once; closing them would do it one after the other.
        _quietly(partial(self._db.cancel_all_background, True))
        self._handles.clear()
        while self._families:
            _quietly(self._families.pop().close)
        _quietly(self._db.close)

    def _recover(self) -> wal.WriteAheadLog:
        """Bring the tables up to the end of the log on disk, and begin a new one."""
        directory = self.path / LOG_DIRECTORY
        raw = self._families[-1].get(POSITION_KEY)
        position = wal.Position(0, 0, 0) if raw is None else wal.Position(*POSITION.unpack(raw))
        batch: list[Operation] = []
        for record in wal.read(directory, position):
            batch += record.operations()
            position = position._replace(sequence=record.sequence)
            if len(batch) >= REPLAYED_AT_ONCE or len(record.payload) > MIB:
                self._carry_out([(batch, position)])
                batch = []
        if batch:
            self._carry_out([(batch, position)])
        # One after the other: in a crash in between, the log still holds what is not in them yet.
        # The position comes last.
        for family in self._families:
            self._flush(family)
        position = position._replace(salt=secrets.randbits(64))
        self._carry_out([([], position)])
        self._flush(self._families[-1])  # from now on the records of earlier openings are void
        return wal.WriteAheadLog(directory, position, self._buffered)

    def _carry_out_waiting(self) -> None:
        if self._waiting:
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._carry_out(waiting)

    def _carry_out(self, batches: Iterable[tuple[list[Operation], wal.Position]]) -> None:
        """Change the tables, in memory for now, to what they are at the last batch's position."""
        native = WriteBatch(raw_mode=True)
        put, handles = native.put, self._handles
        for operations, position in batches:
            for action, space, key, value in operations:
                if action == PUT:
                    put(key, value, handles[space])
                elif action == DELETE:
                    native.delete(key, handles[space])
                elif key < value:
                    native.delete_range(key, value, handles[space])
            put(POSITION_KEY, POSITION.pack(*position), handles[-1])  # for each: see `_buffered`
        self._db.write(native, self._unlogged)

    def _flush(self, family: Rdict) -> None:
        family.flush()

    def _buffered(self) -> int:
        """How many of the newest batches are in no table on disk yet.

        Each has left one entry in the position's family, and RocksDB counts those in its buffers.
        """
        positions = self._families[-1]
        return len(self._waiting) + sum(
            positions.property_int_value(f"rocksdb.num-entries-{buffers}") or 0
            for buffers in ("active-mem-table", "imm-mem-tables")
        )

    def _forward(self, cursor: RdictIter, _kept: ReadOptions) -> Iterator[tuple[bytes, bytes]]:
        valid, key, value, advance = cursor.valid, cursor.key, cursor.value, cursor.next
        try:
            while valid():
                yield key(), value()
                advance()
            cursor.status()
        except Exception as error:
            raise self._fail(error) from error

    def _backward(
        self, cursor: RdictIter, _kept: ReadOptions, start: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        # Compared here: rocksdict's lower bound does not stop an iterator (measured on 0.3.29).
        try:
            while cursor.valid() and (key := cursor.key()) >= start:
                yield key, cursor.value()
                cursor.prev()
            cursor.status()
        except Exception as error:
            raise self._fail(error) from error

    def _fail(self, error: Exception) -> StoreError:
        # Two threads may fail at once; the first failure is the one that is told from then on.
        failure = store_error(error, self.path)
        if self._failure is None:
            self._failure = failure
        return failure

    def _again(self) -> StoreError:
        failure = self._failure
        assert failure is not None
        return type(failure)(*failure.args)


def set_log_aside(path: Path) -> None:
    """Make room for the log of a store that is about to be made in `path`. Raises OSError."""
    wal.set_aside(path / LOG_DIRECTORY)


class RocksView:
    """One iterator for each space, opened together on the loop's thread, placed when asked."""

    def __init__(self, store: RocksStore) -> None:
        self._store: RocksStore | None = store
        once = ReadOptions()  # a view is read once, from end to end: it must not empty the cache
        once.fill_cache(False)  # type: ignore[call-arg]  # the stub lacks the argument
        self._cursors: list[RdictIter] = [store._families[space].iter(once) for space in Space]
        self._readers: list[object] = [None for _ in Space]

    def scan(self, space: Space, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, in key order.

        Scans of one space share one iterator and may take turns; each finds its place again.
        """
        me = object()
        while True:
            if self._store is None:
                raise StoreError("this view was closed; open a new one")
            cursor = self._cursors[space]
            try:
                if self._readers[space] is not me:
                    cursor.seek(start)
                    self._readers[space] = me
                if not cursor.valid():
                    cursor.status()
                    return
                key, value = cursor.key(), cursor.value()
                cursor.next()
            except Exception as error:
                raise self._store._fail(error) from error
            if key >= end:
                self._readers[space] = None
                return
            start = key + b"\0"
            yield key, value

    def close(self) -> None:
        """Let go of the files and buffers that the view holds on to."""
        self._store = None
        self._cursors.clear()


def _space_left(path: Path) -> str:
    disk = os.statvfs(path)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < 2 * WRITE_BUFFER_BYTES:
        return f"No space left on device for a table: {free_bytes} bytes free"
    return "a table could not be written in the background; RocksDB's own file LOG tells why"


def _quietly(act: Callable[[], None]) -> None:
    # Closing flushes; after a failure that fails again, and all there was to say has been said.
    try:
        act()
    except Exception:  # noqa: BLE001
        return
