"""A group's records in the member's store: log, hard state and applied state, and how they shrink.

What is here is the same for every protocol with a log; how a log lies in the store and is read back
is a subclass's (`raft_ledger`, `slot_ledger`).

Everything goes through the store's one write-ahead log in the order it happened: an entry before
what it does to the state, the state before the log is cut behind it. `sync` is the shell's; this
only remembers which of its own writes a durable number covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    EntryId,
    InstallSnapshot,
    SnapshotMeta,
    StageChunk,
    WriteNumber,
)
from raycons.consensus.quorum import Index
from raycons.member.layout import Identity, Keys, LogBase, StateHeader
from raycons.member.log_size import LogSize
from raycons.member.regions import sweep
from raycons.member.state import CHUNK_BYTES, CHUNK_OPERATIONS, WriteBehindState
from raycons.member.state_view import Staging
from raycons.store.contract import Batch, Space, Store

_encode = msgspec.msgpack.Encoder().encode


class CompactableLog(Protocol):
    """What a replica's log is to whoever keeps its records."""

    base: EntryId

    def compact(self, through: Index) -> EntryId:
        """Make `through` the new base; returns its name."""


class Ledger:
    """What one replica keeps in the store."""

    start: Any  # what the protocol's replica begins with
    log: CompactableLog

    def __init__(
        self,
        store: Store,
        group: int,
        settings: MemberSettings,
        identity: Identity,
        header: StateHeader,
        log_bytes: int,
    ) -> None:
        """A subclass has read these back, and gives `start` and `log`.

        `log_bytes` is the size of what follows the applied state in the log.
        """
        self._store = store
        self._group = group
        self._keys = Keys(group)
        self.identity = identity
        sweep(store, group, header.generation)  # what a crash left of a snapshot half received
        # A chunk takes its replica, and then its disk, some milliseconds. Replicas mostly fill them
        # at different sizes, so that seldom two do so at once and a quorum is free.
        sixths = 6 + identity.id % 3
        self.state = WriteBehindState(
            store,
            group,
            header.generation,
            header_key=self._keys.state,
            applied=(header.index, header.term),
            chunk_operations=CHUNK_OPERATIONS * sixths // 6,
            chunk_bytes=CHUNK_BYTES * sixths // 6,
        )
        # Applied ones that the header in the store may lack, and the one in force at the header.
        self._configurations = [
            (header.configuration_index, header.configuration),
            *header.upcoming,
        ]
        self._applied_time_us = header.time_us
        self._size = LogSize(header.log_bytes + log_bytes, settings.log_limit_bytes)

        self._state_written: Index = header.index  # in the store, perhaps not on disk
        self._state_durable: Index = header.index
        self._state_awaited: tuple[WriteNumber, Index] | None = None  # durable together
        self._staging: tuple[int, Staging] | None = None
        self._sweep_after: WriteNumber = 0  # old generations go when this write is durable

    @property
    def upcoming(self) -> list[tuple[Index, Configuration]]:
        """Configurations that were chosen, and not in force, when the replica was read back."""
        return self._configurations[1:]

    @property
    def log_is_long(self) -> bool:
        """Whether it is time to cut the log."""
        return self._size.over

    @property
    def log_bytes(self) -> int:
        """About how large the log is."""
        return self._size.bytes

    # --- the log --------------------------------------------------------------------------------

    def persist(self, effect: Any) -> None:
        """Write what the replica wants written, unsynced."""
        raise NotImplementedError

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
        keys = self._keys
        first = self.log.base.index + 1
        batch = Batch()
        batch.delete_range(Space.LOG, keys.entry(first), keys.entry(cut.through + 1))
        self._begin_log_after(cut.through, batch)
        self._store.write(batch)
        return cut.through

    def _begin_log_after(self, through: Index, batch: Batch) -> None:
        """Forget the log up to `through`, in memory and, by `batch`, where it is described."""
        raise NotImplementedError

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

    def _header(self, index: Index, term: int, time_us: int) -> bytes:
        known = self._configurations
        while len(known) > 1 and known[1][0] + known[1][1].window <= index:
            known.pop(0)
        generation, upcoming = self.state.generation, _upcoming(known, index)
        return _encode(
            StateHeader(generation, index, term, *known[0], self._size.bytes, time_us, upcoming)
        )

    # --- snapshots ------------------------------------------------------------------------------

    def snapshot_meta(self) -> SnapshotMeta:
        """What a view of the state, opened now, stands for."""
        at, known = self.state.applied[0], list(self._configurations)
        while len(known) > 1 and known[1][0] + known[1][1].window <= at:
            known.pop(0)
        index, configuration = known[0]
        upcoming = _upcoming(known, at)
        return SnapshotMeta(
            self.state.applied, self._applied_time_us, configuration, index, upcoming
        )

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
        self._size.reset()
        self._configurations = [(meta.configuration_index, meta.configuration), *meta.upcoming]
        header = StateHeader(
            generation, index, term, *self._configurations[0], 0, meta.time_us, meta.upcoming
        )
        batch = Batch()
        self._replace_log(index, batch)
        batch.put(Space.META, keys.log_base, _encode(LogBase(index, term, meta.time_us)))
        batch.put(Space.META, keys.hard_state, _encode(effect.hard_state))
        batch.put(Space.META, keys.state, _encode(header))
        self._write(batch, effect.number)
        self._state_written = index
        self._state_awaited = effect.number, index
        self._sweep_after = effect.number
        self.state.switch_to(generation, (index, term))
        self._applied_time_us = meta.time_us

    def _replace_log(self, last: Index, batch: Batch) -> None:
        """By `batch`: a state that holds everything up to `last` takes the place of the log."""
        raise NotImplementedError


def _upcoming(
    known: Sequence[tuple[Index, Configuration]], index: Index
) -> tuple[tuple[Index, Configuration], ...]:
    """Those after the first that were chosen by entry `index`, and are not in force there."""
    return tuple(each for each in known[1:] if each[0] <= index)
