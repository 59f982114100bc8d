"""A group's applied state, gathered in memory and written to the store behind the applying.

Putting each applied command into the store at once costs more than all the rest of a write. So
what the machines put is gathered in chunks; a chunk ends at the end of an entry, and is written
later, in one batch with a header that tells the last entry it holds. What a crash drops is applied
again from the log, which is kept above `applied_in_store`.

    put --> open chunk --end_entry--> sealed chunks --write_out--> store
    get: open chunk, then a bounded cache that has all of CURRENT that is sealed, then store

Superseded records are not cached: they are written once, and hardly ever read.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from raycons.machines.contract import Table
from raycons.member.regions import PREFIX_BYTES, SPACES, state_prefix, sweep
from raycons.member.state_view import Digest, Staging, StateView
from raycons.provocation import bendable
from raycons.store.contract import DELETE, PUT, Batch, Operation, Space, Store

__all__ = ["Digest", "Staging", "StateView", "WriteBehindState", "state_prefix", "sweep"]

_ABSENT: Final = b"\0raycons: no such key in this dict"  # told from values by identity, not content
_RECORD_OVERHEAD_BYTES = 150  # of a pair in a dict, besides its bytes

# What is put again before its chunk is full is written once: smaller chunks are slower.
CHUNK_OPERATIONS = 4000
CHUNK_BYTES = 2 * 1024 * 1024

MakeHeader = Callable[[int, int, int], bytes]


class _Chunk:
    """What entries up to `index` put, the last put of a key only; None: deleted."""

    __slots__ = ("index", "size_bytes", "sorted_keys", "tables", "term", "time_us")

    def __init__(self) -> None:
        self.tables: tuple[dict[bytes, bytes | None], ...] = ({}, {})
        self.sorted_keys: tuple[list[bytes], ...] = ([], [])
        self.index = 0
        self.term = 0
        self.time_us = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self.tables[0]) + len(self.tables[1])

    def keys_between(self, table: Table, start: bytes, end: bytes, reverse: bool) -> list[bytes]:
        """The touched keys from `start` up to, not including, `end`, in the order asked for."""
        keys, values = self.sorted_keys[table], self.tables[table]
        if len(keys) < len(values):
            # A dict keeps its keys in the order they came and this one never loses any, so the new
            # ones are the last; sorting a sorted list with a short tail is nearly one pass.
            keys.extend(islice(values, len(keys), None))
            keys.sort()
        found = keys[bisect_left(keys, start) : bisect_left(keys, end)]
        if reverse:
            found.reverse()
        return found


class WriteBehindState:
    """The `State` of one group over a region of the store. Single-threaded.

    header_key      where in META the header goes, in the same batch as each chunk
    applied         index and term that the store holds already, from the header found there
    chunk_operations, chunk_bytes   a chunk is sealed at the first entry's end beyond either
    cache_bytes     about how much recently used state stays in memory besides what is pending
    """

    def __init__(
        self,
        store: Store,
        group: int,
        generation: int,
        *,
        header_key: bytes,
        applied: tuple[int, int] = (0, 0),
        chunk_operations: int = CHUNK_OPERATIONS,
        chunk_bytes: int = CHUNK_BYTES,
        cache_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._store = store
        self._group = group
        self._header_key = header_key
        self._chunk_operations = chunk_operations
        self._chunk_bytes = chunk_bytes
        self._cache_bytes = cache_bytes
        self.switch_to(generation, applied)

    def switch_to(self, generation: int, applied: tuple[int, int]) -> None:
        """Forget all that is in memory; the state is now what the store holds under `generation`.

        For an installed snapshot: call it once the store's header names the new generation.
        """
        self.generation = generation
        self._prefix = state_prefix(self._group, generation)
        self._applied = self._in_store = applied
        self._time_us = 0
        self._open = _Chunk()
        self._current, self._history = self._open.tables
        self._open_bytes = 0
        self._sealed: deque[_Chunk] = deque()
        # Two halves of the cache of CURRENT: when the younger is full it becomes the older, whose
        # content goes. Whatever is sealed and not yet written is always in one of them.
        self._young: dict[bytes, bytes | None] = {}
        self._old: dict[bytes, bytes | None] = {}
        self._young_bytes = 0

    # --- what machines use ------------------------------------------------------------------------

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        if table:
            return self._superseded(key)
        value = self._current.get(key, _ABSENT)
        return self._not_open(key) if value is _ABSENT else value

    def get_all(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """As many `get`, in one call."""
        if table:
            return [self._superseded(key) for key in keys]
        from_open, not_open = self._current.get, self._not_open
        return [
            not_open(key) if (value := from_open(key, _ABSENT)) is _ABSENT else value
            for key in keys
        ]

    def _not_open(self, key: bytes) -> bytes | None:
        """The value in CURRENT of a key that the open chunk does not have."""
        value = self._young.get(key, _ABSENT)
        if value is not _ABSENT:
            return value
        value = self._old.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._store.get(SPACES[Table.CURRENT], self._prefix + key)
        self._remember(key, value)
        return value

    def _superseded(self, key: bytes) -> bytes | None:
        for values in self._waiting(Table.HISTORY):
            value = values.get(key, _ABSENT)
            if value is not _ABSENT:
                return value
        return self._store.get(SPACES[Table.HISTORY], self._prefix + key)

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""
        if table:
            self._history[key] = value
        else:
            self._current[key] = value
        self._open_bytes += len(value)

    def put_all(self, table: Table, pairs: Mapping[bytes, bytes]) -> None:
        """As many `put`, in one call."""
        (self._history if table else self._current).update(pairs)
        self._open_bytes += sum(map(len, pairs.values()))

    def delete(self, table: Table, key: bytes) -> None:
        """Remove `key`; nothing happens where it is absent."""
        (self._history if table else self._current)[key] = None

    def scan(
        self, table: Table, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, in key order, or from the last.

        Use it up, or drop it, before the next write.
        """
        if start >= end:
            return iter(())
        prefix = self._prefix
        stored = self._store.scan(SPACES[table], prefix + start, prefix + end, reverse=reverse)
        touched = [
            keys
            for chunk in (*self._sealed, self._open)
            if (keys := chunk.keys_between(table, start, end, reverse))
        ]
        if not touched:
            return ((key[PREFIX_BYTES:], value) for key, value in stored)
        return self._merge(table, stored, heapq.merge(*touched, reverse=reverse), reverse)

    # --- what the engine uses ---------------------------------------------------------------------

    @bendable("smallest-chunk")
    def end_entry(self, index: int, term: int, time_us: int = 0) -> None:
        """All that entry `index` of `term` does to the state has been done, at replicated time."""
        self._applied, self._time_us = (index, term), time_us
        if (
            len(self._current) + len(self._history) >= self._chunk_operations
            or self._open_bytes >= self._chunk_bytes
        ):
            self._seal()

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term of the last entry that reads here see."""
        return self._applied

    @property
    def applied_in_store(self) -> tuple[int, int]:
        """Index and term of the last entry that the store holds: the log is kept above it."""
        return self._in_store

    def pending_chunks(self) -> int:
        """How many calls of `write_out` it takes until the store has been given everything."""
        return len(self._sealed) + (self._sealed_to() != self._applied or len(self._open) > 0)

    @property
    def full_chunks(self) -> int:
        """How many chunks gather nothing any more: waiting longer with them wins nothing."""
        return len(self._sealed)

    @property
    def pending_operations(self) -> int:
        """How many puts and deletes wait to be written."""
        return sum(map(len, self._sealed)) + len(self._open)

    @property
    def pending_bytes(self) -> int:
        """About how many bytes of keys and values wait to be written."""
        return sum(chunk.size_bytes for chunk in self._sealed) + self._open_bytes

    def write_out(self, make_header: MakeHeader) -> tuple[int, int] | None:
        """Give the oldest chunk to the store, with its header, in one batch; unsynced.

        make_header(index, term, time_us) is the header of a state whose last entry that is. Returns
        index and term, or None where nothing is pending. Call it between entries only.
        """
        if not self._sealed:
            if not self.pending_chunks():
                return None
            self._seal()
        chunk = self._sealed[0]
        batch = Batch()
        prefix = self._prefix
        operations: list[Operation] = batch.operations
        for table, space in enumerate(SPACES):
            operations += [
                (DELETE, space, prefix + key, b"")
                if value is None
                else (PUT, space, prefix + key, value)
                for key, value in chunk.tables[table].items()
            ]
        batch.put(Space.META, self._header_key, make_header(chunk.index, chunk.term, chunk.time_us))
        self._store.write(batch)
        self._sealed.popleft()
        self._in_store = (chunk.index, chunk.term)
        return self._in_store

    def view(self) -> StateView:
        """A consistent view of everything applied, which must have been written out before."""
        assert not self.pending_chunks(), "write out what is pending before opening a view"
        return StateView(self._store.view(), self._group, self.generation)

    # --- inside -----------------------------------------------------------------------------------

    def _sealed_to(self) -> tuple[int, int]:
        if not self._sealed:
            return self._in_store
        return self._sealed[-1].index, self._sealed[-1].term

    def _seal(self) -> None:
        chunk = self._open
        (chunk.index, chunk.term), chunk.time_us = self._applied, self._time_us
        key_bytes = sum(map(len, chunk.tables[0])) + sum(map(len, chunk.tables[1]))
        chunk.size_bytes = key_bytes + self._open_bytes
        self._sealed.append(chunk)
        self._open = _Chunk()
        self._current, self._history = self._open.tables
        self._open_bytes = 0
        recent = chunk.tables[Table.CURRENT]
        self._young.update(recent)
        self._young_bytes += sum(map(len, filter(None, recent.values())))
        self._young_bytes += sum(map(len, recent)) + _RECORD_OVERHEAD_BYTES * len(recent)
        if self._young_bytes > self._cache_bytes // 2:
            self._drop_older_half()

    def _remember(self, key: bytes, value: bytes | None) -> None:
        self._young[key] = value
        self._young_bytes += len(key) + _RECORD_OVERHEAD_BYTES
        if value is not None:
            self._young_bytes += len(value)
        if self._young_bytes > self._cache_bytes // 2:
            self._drop_older_half()

    def _drop_older_half(self) -> None:
        self._old, self._young = self._young, {}
        self._young_bytes = 0
        # Sealed chunks may have been in the half that went. In the order of sealing, so that the
        # last put of a key wins; all of them, for a younger one may be in the other half alone.
        for chunk in self._sealed:
            self._young.update(chunk.tables[Table.CURRENT])

    def _waiting(self, table: Table) -> list[dict[bytes, bytes | None]]:
        """What waits to be written, the latest first."""
        chunks = (self._open, *reversed(self._sealed))
        return [chunk.tables[table] for chunk in chunks]

    def _merge(
        self,
        table: Table,
        stored: Iterator[tuple[bytes, bytes]],
        touched: Iterator[bytes],
        reverse: bool,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Both in order; where a key is in both, what waits in memory hides what is stored."""
        waiting = self._waiting(table)
        pair = next(stored, None)
        previous = None
        for key in touched:
            if key == previous:
                continue  # several chunks touched it
            previous = key
            while pair is not None:
                stored_key = pair[0][PREFIX_BYTES:]
                if stored_key == key:
                    pair = next(stored, None)
                    break
                if (stored_key > key) is not reverse:
                    break
                yield stored_key, pair[1]
                pair = next(stored, None)
            for values in waiting:
                value = values.get(key, _ABSENT)
                if value is not _ABSENT:
                    break
            if value is not None:
                yield key, value
        while pair is not None:
            yield pair[0][PREFIX_BYTES:], pair[1]
            pair = next(stored, None)
