"""Raft's log in the store: contiguous entries, where their terms begin, and the hard state."""

from __future__ import annotations

import msgspec

from raycons.config import MemberSettings
from raycons.consensus.contract import ENTRY_OVERHEAD_BYTES, EntryId, Persist
from raycons.consensus.quorum import Index
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.log import Log
from raycons.member.layout import LogBase, put_entries, restore, starts_after
from raycons.member.ledger import Ledger
from raycons.store.contract import Batch, Space, Store

_encode = msgspec.msgpack.Encoder().encode


class RaftLedger(Ledger):
    """What a Raft replica keeps in the store."""

    log: Log

    def __init__(self, store: Store, group: int, settings: MemberSettings) -> None:
        """Read the replica back. Raises StoreCorrupt where its records do not fit together."""
        found = restore(store, group)
        tail_bytes = sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in found.tail)
        super().__init__(store, group, settings, found.identity, found.header, tail_bytes)
        self.log = Log(
            found.reader,
            EntryId(found.base.index, found.base.term),
            found.base.time_us,
            found.terms,
            found.last,
            found.tail,
        )
        self.start = Start(found.hard_state, self.log, found.configurations, found.header.index)
        self._terms = found.terms
        self._applied_time_us = found.applied_time_us

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

    def _begin_log_after(self, through: Index, batch: Batch) -> None:
        keys = self._keys
        base = self.log.compact(through)
        # From what is written, not from the log in memory, which may hold, or have cut, entries
        # that the store is given only after this.
        self._terms = starts_after(base.index, self._terms)
        batch.put(Space.META, keys.terms, _encode(self._terms))
        record = LogBase(base.index, base.term, self.log.base_time_us)
        batch.put(Space.META, keys.log_base, _encode(record))

    def _replace_log(self, last: Index, batch: Batch) -> None:
        keys = self._keys
        self._terms = []
        batch.delete_range(Space.LOG, keys.log, keys.log_end)
        batch.put(Space.META, keys.terms, _encode(self._terms))
