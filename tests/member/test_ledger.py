"""A group's records in the store, without the replica and the engine around them."""

from __future__ import annotations

from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import Entry, EntryId, Persist
from raycons.machines.contract import Table
from raycons.member.layout import bootstrap, restore
from raycons.member.raft_ledger import RaftLedger

from .harness import GROUP, Recorder

ALL = 10**9  # no follower needs anything


def ledger(limit_bytes: int, id: int = 1) -> RaftLedger:
    store = Recorder()
    bootstrap(store, GROUP, id, 100 + id, Configuration((Peer(id, 100 + id, Role.VOTER),), id + 1))
    return RaftLedger(store, GROUP, MemberSettings(log_limit_bytes=limit_bytes))


def log_and_apply(ledger: RaftLedger, number: int, index: int) -> None:
    entry = Entry(index, 1, 1, 0, 1, index, bytes(100))
    starts = [(1, 1)] if ledger.log.append(entry) else []
    ledger.persist(Persist(number, 0, [entry], starts, None))
    ledger.state.put(Table.CURRENT, b"key", b"%d" % index)
    ledger.state.end_entry(index, 1)


def test_the_log_is_cut_only_where_the_state_is_durable() -> None:
    """A sync that was asked for before the state was written says nothing about the state."""
    book = ledger(limit_bytes=500)
    for index in range(1, 9):
        log_and_apply(book, index, index)
    assert book.write_out()
    assert book.durable(8, ALL) is None, "write 8 went before the state"
    log_and_apply(book, 9, 9)
    assert book.durable(8, ALL) is None
    assert book.durable(9, ALL) == 8, "the state up to entry 8 went before write 9"
    assert book.log.base == (8, 1)


def test_a_state_written_while_a_sync_runs_waits_for_the_next() -> None:
    book = ledger(limit_bytes=500)
    for index in range(1, 9):
        log_and_apply(book, index, index)
    assert book.write_out()
    log_and_apply(book, 9, 9)  # its sync will cover the state up to 8
    for index in range(10, 20):
        log_and_apply(book, index, index)
    assert book.write_out()  # up to 19, while write 9 is being synced
    for index in range(20, 30):
        log_and_apply(book, index, index)
    cut = book.durable(9, ALL)
    assert cut is not None and cut <= 8


def test_cutting_the_log_writes_nothing_that_is_only_in_memory() -> None:
    """The replica has cut its log and begun a term; the store still holds what was there before."""
    book = ledger(limit_bytes=500)
    for index in range(1, 9):
        log_and_apply(book, index, index)
    assert book.write_out()
    log_and_apply(book, 9, 9)
    log_and_apply(book, 10, 10)
    book.log.truncate(10)
    book.log.append(Entry(10, 7, 1, 0, 1, 10, b"of a later leader"))
    assert book.durable(10, ALL) == 8
    found = restore(book._store, GROUP)
    assert found.terms == [(9, 1)]
    assert found.last == 10


def test_the_log_keeps_about_half_of_its_limit() -> None:
    book = ledger(limit_bytes=4000)
    for index in range(1, 200):
        log_and_apply(book, index, index)
        book.write_out()
        book.durable(index, ALL)
        assert book.log_bytes < 5000
    assert book.log_bytes > 1500


def test_a_log_that_a_snapshot_replaces_is_not_cut() -> None:
    """The replica has taken the last piece; the order to install it comes with the next drain."""
    book = ledger(limit_bytes=500)
    for index in range(1, 9):
        log_and_apply(book, index, index)
    assert book.write_out()
    log_and_apply(book, 9, 9)
    book.log.reset(EntryId(50, 2), 0)
    assert book.durable(9, ALL) is None
    assert book.log.base == (50, 2)


def test_three_replicas_fill_their_chunks_at_different_entries() -> None:
    full = []
    for id in (1, 2, 3):
        book = ledger(limit_bytes=500, id=id)
        index = 0
        while not book.state.full_chunks:
            index += 1
            for key in range(100):
                book.state.put(Table.CURRENT, b"%d %d" % (index, key), b"")
            book.state.end_entry(index, 1)
        full.append(index)
    assert len(set(full)) == 3, full
    assert max(full) < 1.5 * min(full)
