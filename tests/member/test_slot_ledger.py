"""MultiPaxos' records in a store: slots in any order, with gaps, and what a restart finds."""

from __future__ import annotations

import msgspec
import pytest

from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import (
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    PersistAccepted,
    Proposal,
    SnapshotMeta,
    StageChunk,
)
from raycons.machines.contract import Table
from raycons.member.layout import Keys, bootstrap, identity_of
from raycons.member.protocols import PROTOCOLS
from raycons.member.slot_ledger import SlotLedger
from raycons.store.contract import Batch, Space
from raycons.store.memory import MemoryStore

GROUP = 1
FIRST = Configuration((Peer(1, 9, Role.VOTER),), 2, window=4)


def ledger(store: MemoryStore, limit_bytes: int = 10_000) -> SlotLedger:
    return SlotLedger(store, GROUP, MemberSettings(log_limit_bytes=limit_bytes))


def a_store() -> MemoryStore:
    store = MemoryStore()
    bootstrap(store, GROUP, 1, 9, FIRST, "multipaxos")
    return store


def accepted(slot: int, ballot: int, data: bytes = b"x") -> Proposal:
    return Proposal(ballot, Entry(slot, 3, EntryKind.COMMAND, 0, 1, slot, data))


def apply(book: SlotLedger, index: int, time_us: int) -> None:
    book.state.put(Table.CURRENT, b"key", b"%d" % index)
    book.state.end_entry(index, 3, time_us)
    book.entries_applied(time_us)


def test_a_store_says_which_protocol_made_it() -> None:
    assert identity_of(a_store(), GROUP).protocol == "multipaxos"
    older = MemoryStore()
    bootstrap(older, GROUP, 1, 9, FIRST)
    batch = Batch()  # as it was written before there was a choice
    batch.put(Space.META, Keys(GROUP).identity, msgspec.msgpack.encode((1, 9)))
    older.write(batch)
    assert identity_of(older, GROUP).protocol == "raft"
    assert set(PROTOCOLS) >= {"raft", "multipaxos"}


def test_slots_come_back_with_their_gaps_ballots_and_the_promise() -> None:
    store = a_store()
    book = ledger(store)
    book.persist(PersistAccepted(1, [accepted(5, 40), accepted(2, 40)], HardState(41)))
    book.persist(PersistAccepted(2, [accepted(5, 50, b"y")], None))
    start = ledger(store).start
    assert start.hard_state == HardState(41)
    held = {slot: (one.ballot, one.entry.data) for slot, one in start.slots.open.items()}
    assert held == {2: (40, b"x"), 5: (50, b"y")}
    assert (start.slots.decided, start.slots.last_index) == (0, 5)


def test_a_header_tells_the_time_and_what_is_not_in_force_yet() -> None:
    store = a_store()
    book = ledger(store)
    later = msgspec.structs.replace(FIRST, next_id=7)
    book.persist(PersistAccepted(1, [accepted(slot, 40) for slot in range(1, 8)], None))
    apply(book, 1, 500)
    book.configuration_applied(2, later)
    apply(book, 2, 500)  # proposed at time 2, and applied later than that
    assert book.write_out()
    again = ledger(store)
    assert again.start.time_us == 500
    assert list(again.start.configurations) == [(0, FIRST), (2, later)]
    assert again.snapshot_meta().upcoming == ((2, later),)
    for index in range(3, 7):
        apply(again, index, 600)
    assert again.write_out()
    assert list(ledger(store).start.configurations) == [(2, later)]  # in force from slot 6 on


def test_the_log_is_cut_below_what_the_state_holds() -> None:
    store = a_store()
    book = ledger(store, limit_bytes=400)
    for slot in range(1, 21):
        book.persist(PersistAccepted(slot, [accepted(slot, 40, b"x" * 50)], None))
        book.log.put(accepted(slot, 40, b"x" * 50))
        book.log.decide()
        apply(book, slot, slot)
        book.write_out()
    book.persist(PersistAccepted(21, [accepted(30, 40)], None))
    assert book.log_is_long
    cut = book.durable(21, 20)
    assert cut is not None
    again = ledger(store, limit_bytes=400)
    assert again.log.base.index == cut
    assert sorted(again.start.slots.open) == [30]


def test_a_snapshot_leaves_what_was_accepted_above_it() -> None:
    store = a_store()
    book = ledger(store)
    book.persist(PersistAccepted(1, [accepted(3, 40), accepted(9, 40)], HardState(40)))
    book.stage(StageChunk(7, 0, msgspec.msgpack.encode([(0, b"key", b"new")])))
    meta = SnapshotMeta((8, 3), 800, FIRST, 0)
    book.install(InstallSnapshot(2, 7, meta, HardState(40, decided=8)))
    start = ledger(store).start
    assert (start.slots.base, sorted(start.slots.open)) == ((8, 3), [9])
    assert (start.time_us, start.hard_state.decided) == (800, 8)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_opens_what_it_made(protocol: str) -> None:
    store = MemoryStore()
    bootstrap(store, GROUP, 1, 9, FIRST, protocol)
    made = PROTOCOLS[identity_of(store, GROUP).protocol]
    assert made.ledger(store, GROUP, MemberSettings()).identity.id == 1
