"""A group's records in the member's store: log, hard state and applied state, and how they shrink.

Everything goes through the store's one write-ahead log in the order it happened: an entry before
what it does to the state, the state before the log is cut behind it. `sync` is the shell's; this
only remembers which of its own writes a durable number covers.
"""

from __future__ import annotations

import msgspec

from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    ENTRY_OVERHEAD_BYTES,
    EntryId,
    InstallSnapshot,
    Persist,
    SnapshotMeta,
    StageChunk,
    WriteNumber,
)
from raycons.consensus.quorum import Index
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.log import Log
from raycons.member.layout import (
    Keys,
    LogBase,
    StateHeader,
    put_entries,
    restore,
    starts_after,
)
from raycons.member.log_size import LogSize
from raycons.member.regions import sweep
from raycons.member.state import CHUNK_BYTES, CHUNK_OPERATIONS, WriteBehindState
from raycons.member.state_view import Staging
from raycons.store.contract import Batch, Space, Store

_encode = msgspec.msgpack.Encoder().encode


class Ledger:
    """What one replica keeps in the store."""

    def __init__(self, store: Store, group: int, settings: MemberSettings) -> None:
        """Read the replica back. Raises StoreCorrupt where its records do not fit together."""
        self._store = store
        self._group = group
        self._keys = Keys(group)
        found = restore(store, group)
        header = found.header
        self.identity = found.identity
        sweep(store, group, header.generation)  # what a crash left of a snapshot half received
        # A chunk takes its replica, and then its disk, some milliseconds. Replicas mostly fill them
        # at different sizes, so that seldom two do so at once and a quorum is free.
        sixths = 6 + found.identity.id % 3
        self.state = WriteBehindState(
            store,
            group,
            header.generation,
            header_key=self._keys.state,
            applied=(header.index, header.term),
            chunk_operations=CHUNK_OPERATIONS * sixths // 6,
            chunk_bytes=CHUNK_BYTES * sixths // 6,
        )
        self.log = Log(
            found.reader,
            EntryId(found.base.index, found.base.term),
            found.base.time_us,
            found.terms,
            found.last,
            found.tail,
        )
        self.start = Start(found.hard_state, self.log, found.configurations, header.index)
        self._terms = found.terms
        self._configurations = found.configurations[:1]  # applied, not yet all in the header
        self._applied_time_us = found.applied_time_us
        tail_bytes = sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in found.tail)
        self._size = LogSize(header.log_bytes + tail_bytes, settings.log_limit_bytes)

        self._state_written: Index = header.index  # in the store, perhaps not on disk
        self._state_durable: Index = header.index
        self._state_awaited: tuple[WriteNumber, Index] | None = None  # durable together
        self._staging: tuple[int, Staging] | None = None
        self._sweep_after: WriteNumber = 0  # old generations go when this write is durable

    @property
    def log_is_long(self) -> bool:
        """Whether it is time to cut the log."""
        return self._size.over

    @property
    def log_bytes(self) -> int:
        """About how large the log is."""
        return self._size.bytes

    # --- the log --------------------------------------------------------------------------------

    def persist(self, effect: Persist) -> None:
        """Write what the replica wants written, unsynced."""
        keys = self._keys
        batch = Batch()
        if effect.truncate_from:
            batch.delete_range(Space.LOG, keys.entry(effect.truncate_from), keys.log_end)
            self._terms = [start for start in self._terms if start[0] < effect.truncate_from]
        if effect.entries:
            self._size.bytes += put_entries(batch, keys, effect.entries)
        if effect.term_starts or effect.truncate_from:
            if effect.term_starts:
                first = effect.term_starts[0][0]
                self._terms = [start for start in self._terms if start[0] < first]
            self._terms += effect.term_starts
            batch.put(Space.META, keys.terms, _encode(self._terms))
        if effect.hard_state is not None:
            batch.put(Space.META, keys.hard_state, _encode(effect.hard_state))
        self._write(batch, effect.number)

    def _write(self, batch: Batch, number: WriteNumber) -> None:
        self._store.write(batch)
        if self._state_written > self._state_durable and self._state_awaited is None:
            # What was written of the state before this write becomes durable with it.
            self._state_awaited = number, self._state_written

    def durable(self, number: WriteNumber, needed_after: Index) -> Index | None:
        """Writes up to `number` are on disk; returns where the log was cut, if it was.

        Entries after `needed_after` stay while the log is not much too long.
        """
        if self._sweep_after and number >= self._sweep_after:
            if self._staging is None:
                self._sweep_after = 0
                sweep(self._store, self._group, self.state.generation)
        if self._state_awaited is None or number < self._state_awaited[0]:
            return None
        self._state_durable = max(self._state_durable, self._state_awaited[1])
        self._state_awaited = None
        return self._cut_log(needed_after)

    def _cut_log(self, needed_after: Index) -> Index | None:
        """Cut a log that is too long, where the state holds it durably."""
        if self.log.base.index > self._state_durable:
            return None  # an event of this turn replaced log and state; `install` is about to come
        cut = self._size.cut(self._state_durable, needed_after)
        if cut is None:
            return None
        keys, log = self._keys, self.log
        first = log.base.index + 1
        base = log.compact(cut.through)
        # From what is written, not from the log in memory, which may hold, or have cut, entries
        # that the store is given only after this.
        self._terms = starts_after(base.index, self._terms)
        batch = Batch()
        batch.delete_range(Space.LOG, keys.entry(first), keys.entry(cut.through + 1))
        batch.put(Space.META, keys.terms, _encode(self._terms))
        record = LogBase(base.index, base.term, log.base_time_us)
        batch.put(Space.META, keys.log_base, _encode(record))
        self._store.write(batch)
        return cut.through

    # --- the state ------------------------------------------------------------------------------

    def entries_applied(self, time_us: int) -> None:
        """The replicated time of the last applied entry."""
        self._applied_time_us = time_us

    def configuration_applied(self, index: Index, configuration: Configuration) -> None:
        """A configuration was applied; headers from `index` on carry it."""
        self._configurations.append((index, configuration))

    def write_out(self) -> bool:
        """Write one chunk of applied state, unsynced; False if nothing was pending."""
        written = self.state.write_out(self._header)
        if written is None:
            return False
        self._state_written = written[0]
        self._size.note(written[0])
        return True

    def _header(self, index: Index, term: int) -> bytes:
        known = self._configurations
        while len(known) > 1 and known[1][0] <= index:
            known.pop(0)
        generation = self.state.generation
        header = StateHeader(generation, index, term, *known[0], self._size.bytes)
        return _encode(header)

    # --- snapshots ------------------------------------------------------------------------------

    def snapshot_meta(self) -> SnapshotMeta:
        """What a view of the state, opened now, stands for."""
        index, configuration = self._configurations[-1]
        return SnapshotMeta(self.state.applied, self._applied_time_us, configuration, index)

    def stage(self, effect: StageChunk) -> None:
        """Put a piece of a snapshot aside, in the next generation."""
        if effect.sequence == 0:
            generation = self.state.generation + 1
            self._staging = effect.snapshot, Staging(self._store, self._group, generation)
        assert self._staging is not None and self._staging[0] == effect.snapshot
        self._staging[1].add(effect.data)

    @property
    def staging(self) -> bool:
        """Whether a part of a snapshot was put aside."""
        return self._staging is not None

    def unstage(self) -> None:
        """The rest of the snapshot will not come: give up the part."""
        self._staging = None
        sweep(self._store, self._group, self.state.generation)

    def install(self, effect: InstallSnapshot) -> None:
        """Flip to the staged generation, in one batch with all that must change with it."""
        assert self._staging is not None and self._staging[0] == effect.snapshot
        generation = self._staging[1].generation
        self._staging = None
        keys, meta = self._keys, effect.meta
        index, term = meta.last
        self._terms = []
        self._size.reset()
        self._configurations = [(meta.configuration_index, meta.configuration)]
        header = StateHeader(generation, index, term, *self._configurations[0], 0)
        batch = Batch()
        batch.delete_range(Space.LOG, keys.log, keys.log_end)
        batch.put(Space.META, keys.terms, _encode(self._terms))
        batch.put(Space.META, keys.log_base, _encode(LogBase(index, term, meta.time_us)))
        batch.put(Space.META, keys.hard_state, _encode(effect.hard_state))
        batch.put(Space.META, keys.state, _encode(header))
        self._write(batch, effect.number)
        self._state_written = index
        self._state_awaited = effect.number, index
        self._sweep_after = effect.number
        self.state.switch_to(generation, (index, term))
        self._applied_time_us = meta.time_us
