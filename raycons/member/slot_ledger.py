"""MultiPaxos' slots in the store: what was accepted in each, in whatever order, and the promise."""

from __future__ import annotations

import msgspec

from raycons.config import MemberSettings
from raycons.consensus.contract import ENTRY_OVERHEAD_BYTES, EntryId, PersistAccepted
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.slots import Slots
from raycons.consensus.quorum import Index
from raycons.member.layout import LogBase, put_proposals, restore_slots
from raycons.member.ledger import Ledger
from raycons.store.contract import Batch, Space, Store

_encode = msgspec.msgpack.Encoder().encode


class SlotLedger(Ledger):
    """What a MultiPaxos replica keeps in the store."""

    log: Slots

    def __init__(self, store: Store, group: int, settings: MemberSettings) -> None:
        """Read the replica back. Raises StoreCorrupt where its records do not fit together."""
        found = restore_slots(store, group)
        above_bytes = sum(len(one.entry.data) + ENTRY_OVERHEAD_BYTES for one in found.accepted)
        header = found.header
        super().__init__(store, group, settings, found.identity, header, above_bytes)
        base = EntryId(found.base.index, found.base.term)
        self.log = Slots(found.reader, base, header.index, found.accepted)
        self.start = Start(found.hard_state, self.log, list(self._configurations), header.time_us)

    def persist(self, effect: PersistAccepted) -> None:
        """Write what the replica wants written, unsynced."""
        batch = Batch()
        if effect.accepted:
            self._size.bytes += put_proposals(batch, self._keys, effect.accepted)
        if effect.hard_state is not None:
            batch.put(Space.META, self._keys.hard_state, _encode(effect.hard_state))
        self._write(batch, effect.number)

    def _begin_log_after(self, through: Index, batch: Batch) -> None:
        base = self.log.compact(through)
        record = LogBase(base.index, base.term, 0)  # times are told by the state's header
        batch.put(Space.META, self._keys.log_base, _encode(record))

    def _replace_log(self, last: Index, batch: Batch) -> None:
        batch.delete_range(Space.LOG, self._keys.log, self._keys.entry(last + 1))
