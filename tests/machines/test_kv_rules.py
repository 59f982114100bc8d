"""One test for each rule of the key-value machine, with numbers that a person can check."""

from __future__ import annotations

import random

import msgspec
import pytest

from raycons.errors import StoreCorrupt
from raycons.machines.contract import Command, Table
from raycons.machines.kv import KeyValueMachine, KeyValueSettings, undo
from raycons.machines.kv.commands import (
    Compact,
    CompactDone,
    Compare,
    Delete,
    DeleteDone,
    Failed,
    Failure,
    KeyValue,
    Operation,
    Put,
    PutDone,
    Range,
    RangeDone,
    Relation,
    Result,
    Results,
    Swap,
    SwapDone,
    Sweep,
    SweepDone,
    Target,
    Txn,
    TxnDone,
)
from raycons.machines.kv.records import MILESTONE

from .dict_state import DictState, live_rows, rows

SETTINGS = KeyValueSettings(
    max_key_bytes=8, max_value_bytes=16, max_range_bytes=200, keep_revisions=0, sweep_records=2
)


class Store:
    """A machine and its state, spoken to with typed operations."""

    def __init__(self, settings: KeyValueSettings = SETTINGS) -> None:
        self.settings = settings
        self.state = DictState()
        self.restart()

    def restart(self) -> None:
        self.machine = KeyValueMachine(self.state, self.settings)
        self.machine.load()

    def do(self, *operations: Operation) -> Results:
        command = Command(1, 1, 0, 1, msgspec.msgpack.encode(operations))
        return msgspec.msgpack.decode(self.machine.apply(command), type=Results)

    def ask(self, *ranges: Range) -> Results:
        answer = self.machine.query(msgspec.msgpack.encode(ranges))
        return msgspec.msgpack.decode(answer, type=Results)

    def history(self) -> int:
        return len(self.state.tables[Table.HISTORY])

    def run_what_is_due(self) -> int:
        for count in range(1000):
            body = self.machine.due(0)
            if body is None:
                return count
            self.machine.apply(Command(1, 1, 0, 1, body))
        raise AssertionError("the machine never stops having something due")


@pytest.fixture
def store() -> Store:
    return Store()


def refused(result: Result, reason: Failure, bound: int = 0) -> bool:
    return isinstance(result, Failed) and (result.reason, result.bound) == (reason, bound)


def test_each_put_raises_the_revision_and_the_version(store: Store) -> None:
    assert store.do(Put(b"a", b"1"), Put(b"b", b"1")) == (PutDone(1), PutDone(2))
    assert store.do(Put(b"a", b"2")) == (PutDone(3),)
    assert store.ask(Range(b"a")) == (RangeDone(3, (KeyValue(b"a", b"2", 1, 3, 2),), 1, False),)


def test_the_answer_to_puts_is_told_before_they_are_carried_out(store: Store) -> None:
    told: list[tuple[bytes, int]] = []

    def tell(answer: bytes) -> None:
        told.append((answer, len(store.state.tables[Table.CURRENT])))

    puts = msgspec.msgpack.encode([Put(b"a", b"1"), Put(b"b", b"1")])
    answer = store.machine.apply(Command(1, 1, 0, 1, puts), tell)
    assert told == [(answer, 0)]
    for other in (Delete(b"a"), Swap(b"b", b"9", b"2"), Put(b"", b"1")):
        mixed = msgspec.msgpack.encode([Put(b"c", b"1"), other])
        store.machine.apply(Command(1, 1, 0, 1, mixed), tell)
    assert len(told) == 1, "what others answer is known once they are done"


def test_the_version_restarts_after_a_delete(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Delete(b"a"), Put(b"a", b"3"))
    assert store.ask(Range(b"a")) == (RangeDone(4, (KeyValue(b"a", b"3", 4, 4, 1),), 1, False),)


def test_a_delete_counts_and_raises_only_when_it_removed_something(store: Store) -> None:
    store.do(Put(b"a", b""), Put(b"b", b""), Put(b"c", b""))
    assert store.do(Delete(b"x")) == (DeleteDone(3, 0),)
    assert store.do(Delete(b"a", b"c")) == (DeleteDone(4, 2),)
    assert store.do(Delete(b"", b"")) == (DeleteDone(5, 1),)
    assert store.do(Delete(b"", b"")) == (DeleteDone(5, 0),)


def test_liveness_is_of_its_moment(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Put(b"a", b"3"))
    live = store.machine.liveness()
    store.do(Compact(3))
    assert all(live(*row) for row in rows(store.state) if row[0] is Table.HISTORY)
    assert not all(store.machine.liveness()(*row) for row in rows(store.state))


def test_queries_behind_a_full_answer_get_no_result() -> None:
    store = Store(KeyValueSettings(max_queries_bytes=1000))
    store.do(Put(b"a", bytes(800)), Put(b"b", bytes(800)))
    single, span = Range(b"a"), Range(b"a", b"z")
    assert len(store.ask(*[single] * 9)) == 2
    assert len(store.ask(*[span] * 9)) == 1
    assert len(store.ask(*[Range(b"x")] * 9)) == 9


def test_a_command_that_changes_nothing_writes_nothing(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    before = store.state.puts
    store.do(Delete(b"x"), Range(b"a"), Swap(b"a", b"no", b"2"), Txn((), (Range(b"a"),), ()))
    assert store.state.puts == before


def test_the_counters_are_written_once_a_command(store: Store) -> None:
    store.do(*[Put(b"%d" % i, b"") for i in range(10)])
    assert store.state.puts == 11


@pytest.mark.parametrize(
    ("asked", "found", "count", "more"),
    [
        (Range(b"b"), b"b", 1, False),
        (Range(b"x"), b"", 0, False),
        (Range(b"b", b"d"), b"bc", 2, False),
        (Range(b"b", b""), b"bcd", 3, False),
        (Range(b"", b""), b"abcd", 4, False),
        (Range(b"d", b"b"), b"", 0, False),
        (Range(b"b", b"b"), b"", 0, False),
        (Range(b"a", b"", limit=2), b"ab", 4, True),
        (Range(b"a", b"", limit=4), b"abcd", 4, False),
        (Range(b"a", b"", limit=2, uncounted=True), b"ab", 2, True),
        (Range(b"a", b"", limit=2, descending=True), b"dc", 4, True),
        (Range(b"a", b"", limit=2, count_only=True), b"", 4, False),
    ],
)
def test_ranges(store: Store, asked: Range, found: bytes, count: int, more: bool) -> None:
    store.do(*[Put(bytes([letter]), b"v") for letter in b"abcd"])
    (result,) = store.ask(asked)
    assert isinstance(result, RangeDone)
    assert b"".join(pair.key for pair in result.pairs) == found
    assert (result.count, result.more) == (count, more)
    # The same at the same revision by name, and from inside a command.
    assert store.ask(msgspec.structs.replace(asked, revision=4)) == (result,)
    assert store.do(asked) == (result,)


def test_keys_only_leaves_values_out(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    expected = (RangeDone(1, (KeyValue(b"a", None, 1, 1, 1),), 1, False),)
    assert store.ask(Range(b"a", keys_only=True)) == expected
    assert store.ask(Range(b"a", b"", keys_only=True)) == expected
    assert store.ask(Range(b"a", keys_only=True, revision=1)) == expected


def test_a_range_stops_when_its_answer_grows_too_large(store: Store) -> None:
    store.do(*[Put(b"%d" % i, b"v" * 16) for i in range(9)])
    pairs: list[KeyValue] = []
    asked = Range(b"", b"")
    while True:
        (result,) = store.ask(asked)
        assert isinstance(result, RangeDone)
        assert 0 < len(result.pairs) < 9
        pairs += result.pairs
        if not result.more:
            break
        asked = Range(result.pairs[-1].key + b"\0", b"")
    assert [pair.key for pair in pairs] == [b"%d" % i for i in range(9)]


def test_old_revisions_show_what_was_there(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Delete(b"a"), Put(b"a", b"3"))

    def seen(revision: int) -> list[bytes | None]:
        one, many = store.ask(Range(b"a", revision=revision), Range(b"", b"", revision=revision))
        assert one == many
        assert isinstance(one, RangeDone)
        return [pair.value for pair in one.pairs]

    assert [seen(revision) for revision in (1, 2, 3, 4)] == [[b"1"], [b"2"], [], [b"3"]]


def test_a_future_revision_is_refused(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    (result,) = store.ask(Range(b"a", revision=2))
    assert refused(result, Failure.FUTURE_REVISION, 1)


def test_swap(store: Store) -> None:
    assert store.do(Swap(b"a", b"1", b"2")) == (SwapDone(0, False, None),)
    assert store.do(Swap(b"a", None, b"1")) == (SwapDone(1, True, None),)
    assert store.do(Swap(b"a", None, b"2")) == (SwapDone(1, False, b"1"),)
    assert store.do(Swap(b"a", b"1", b"2")) == (SwapDone(2, True, None),)


@pytest.mark.parametrize(
    ("compare", "holds"),
    [
        (Compare(b"a", Target.VALUE, Relation.EQUAL, b"5"), True),
        (Compare(b"a", Target.VALUE, Relation.NOT_EQUAL, b"5"), False),
        (Compare(b"a", Target.VALUE, Relation.LESS, b"6"), True),
        (Compare(b"a", Target.VALUE, Relation.GREATER, b"5"), False),
        (Compare(b"a", Target.VALUE, Relation.EQUAL, None), False),
        (Compare(b"x", Target.VALUE, Relation.EQUAL, None), True),
        (Compare(b"x", Target.VALUE, Relation.NOT_EQUAL, b"5"), True),
        (Compare(b"x", Target.VALUE, Relation.LESS, b"5"), False),
        (Compare(b"a", Target.VERSION, Relation.EQUAL, 2), True),
        (Compare(b"x", Target.VERSION, Relation.EQUAL, 0), True),
        (Compare(b"a", Target.CREATE_REVISION, Relation.EQUAL, 1), True),
        (Compare(b"a", Target.MOD_REVISION, Relation.GREATER, 1), True),
        (Compare(b"x", Target.MOD_REVISION, Relation.LESS, 1), True),
    ],
)
def test_comparisons(store: Store, compare: Compare, holds: bool) -> None:
    store.do(Put(b"a", b"4"), Put(b"a", b"5"))
    assert store.do(Txn((compare,), (), ())) == (TxnDone(2, holds, ()),)


def test_a_transaction_is_one_revision_and_sees_its_own_writes(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"b", b"1"))
    then = (
        Range(b"a"),
        Put(b"a", b"2"),
        Range(b"a"),
        Range(b"a", revision=2),
        Delete(b"b"),
        Range(b"b"),
    )
    assert store.do(Txn((), then, ())) == (
        TxnDone(
            3,
            True,
            (
                RangeDone(2, (KeyValue(b"a", b"1", 1, 1, 1),), 1, False),
                PutDone(3),
                RangeDone(3, (KeyValue(b"a", b"2", 1, 3, 2),), 1, False),
                RangeDone(3, (KeyValue(b"a", b"1", 1, 1, 1),), 1, False),
                DeleteDone(3, 1),
                RangeDone(3, (), 0, False),
            ),
        ),
    )
    assert store.do(Put(b"c", b"")) == (PutDone(4),)


def test_a_transaction_compares_before_it_writes(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    absent = Compare(b"b", Target.VERSION, Relation.EQUAL, 0)
    txn = Txn((absent,), (Put(b"b", b"1"),), (Put(b"a", b"2"),))
    assert store.do(txn, txn) == (
        TxnDone(2, True, (PutDone(2),)),
        TxnDone(3, False, (PutDone(3),)),
    )


@pytest.mark.parametrize(
    "branch",
    [
        (Put(b"a", b"1"), Put(b"a", b"2")),
        (Put(b"a", b"1"), Put(b"b", b"2"), Put(b"a", b"2")),
        (Delete(b"a"), Put(b"a", b"2")),
        (Put(b"b", b"1"), Delete(b"a", b"c")),
        (Put(b"c", b"1"), Put(b"a", b"1"), Delete(b"b", b"")),
        (Put(b"b", b"1"), Put(b"", b"")),
        (Put(b"b", b"1"), Put(b"c", b"v" * 17)),
        (Put(b"b", b"1"), Range(b"")),
        (Put(b"b", b"1"), Delete(b"")),
    ],
)
@pytest.mark.parametrize("taken", [True, False])
def test_a_malformed_transaction_changes_nothing(
    store: Store, branch: tuple[Put | Delete | Range, ...], taken: bool
) -> None:
    store.do(Put(b"a", b"1"))
    before = rows(store.state)
    (result,) = store.do(Txn((), branch, ()) if taken else Txn((), (), branch))
    assert refused(result, Failure.INVALID)
    assert rows(store.state) == before


def test_deletes_beside_puts_are_fine_where_they_do_not_meet(store: Store) -> None:
    store.do(Put(b"b", b"1"))
    branch = (Delete(b"b", b"c"), Put(b"a", b"1"), Put(b"c", b"1"), Delete(b"d"))
    (result,) = store.do(Txn((), branch, ()))
    assert isinstance(result, TxnDone)
    assert result.results == (DeleteDone(2, 1), PutDone(2), PutDone(2), DeleteDone(2, 0))


def test_a_bad_revision_inside_a_transaction_stops_it_before_its_writes(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    before = rows(store.state)
    (result,) = store.do(Txn((), (Put(b"a", b"2"), Range(b"a", revision=2)), ()))
    assert refused(result, Failure.FUTURE_REVISION, 1)
    assert rows(store.state) == before


@pytest.mark.parametrize(
    "operation",
    [
        Put(b"", b"v"),
        Put(b"k" * 9, b"v"),
        Put(b"k", b"v" * 17),
        Swap(b"", None, b"v"),
        Swap(b"k" * 9, None, b"v"),
        Swap(b"k", None, b"v" * 17),
        Delete(b""),
        Range(b""),
        Range(b"a", limit=-1),
        Range(b"a", b"", revision=-1),
        Compact(-1),
        Sweep(0),
        Txn((Compare(b"", Target.VERSION, Relation.EQUAL, 0),), (), ()),
        Txn((Compare(b"a", Target.VERSION, Relation.EQUAL, b"0"),), (), ()),
        Txn((Compare(b"a", Target.VERSION, Relation.EQUAL, None),), (), ()),
        Txn((Compare(b"a", Target.VALUE, Relation.EQUAL, 0),), (), ()),
    ],
)
def test_a_bad_argument_is_refused_and_its_neighbours_go_on(
    store: Store, operation: Operation
) -> None:
    first, result, last = store.do(Put(b"a", b"1"), operation, Put(b"a", b"2"))
    assert (first, last) == (PutDone(1), PutDone(2))
    assert isinstance(result, Failed)
    assert result.reason == Failure.INVALID
    assert result.message


def test_the_largest_key_and_value_are_accepted(store: Store) -> None:
    assert store.do(Put(b"k" * 8, b"v" * 16)) == (PutDone(1),)


def test_bytes_that_are_no_command_are_answered(store: Store) -> None:
    store.do(Put(b"a", b"1"))
    before = rows(store.state)
    source = random.Random(7)
    good = msgspec.msgpack.encode((Put(b"a", b"1"),))
    for data in (b"", b"\x91" * 100_000, good[:-1], good + b"\0", b"\x91\x93\x63\xc0\xc0"):
        for answer in (
            store.machine.apply(Command(1, 1, 0, 1, data)),
            store.machine.query(data),
        ):
            (result,) = msgspec.msgpack.decode(answer, type=Results)
            assert refused(result, Failure.INVALID), data
    for _ in range(2000):
        store.machine.query(source.randbytes(source.randrange(20)))
    assert rows(store.state) == before


def test_compaction_refuses_older_reads_at_once(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Put(b"a", b"3"))
    assert store.do(Compact(2)) == (CompactDone(3, 2),)
    for asked in (Range(b"a", revision=1), Range(b"", b"", revision=1)):
        (result,) = store.ask(asked)
        assert refused(result, Failure.COMPACTED, 2)
    (result,) = store.ask(Range(b"a", revision=2))
    assert isinstance(result, RangeDone)
    assert result.pairs[0].value == b"2"
    (again,) = store.do(Compact(2))
    assert refused(again, Failure.COMPACTED, 2)
    (beyond,) = store.do(Compact(4))
    assert refused(beyond, Failure.FUTURE_REVISION, 3)


def test_what_a_command_overwrites_is_one_page(store: Store) -> None:
    store.do(*[Put(b"a", b"%d" % i) for i in range(8)], Put(b"b", b""))
    assert store.history() == 1
    store.do(Put(b"b", b""))
    assert store.history() == 2


def test_a_deletion_sets_a_landmark(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"b", b"1"), Delete(b"", b""))
    assert store.history() == 3  # two landmarks, and the page that names them


def test_every_so_many_versions_set_a_landmark(store: Store) -> None:
    for number in range(2 * MILESTONE + 1):
        store.do(Put(b"a", b"%d" % number))
    assert store.history() == 2 * MILESTONE + 2  # a page for each version that went, two landmarks
    store.do(Compact(2 * MILESTONE + 1))
    store.run_what_is_due()
    assert store.history() == 0


def test_a_read_of_the_past_takes_few_steps_however_far_back(store: Store) -> None:
    for number in range(1, 1001):
        store.do(Put(b"a", b"%d" % number), Put(b"b", b""))
    for revision in (1, 501, 1001, 1501, 1999):
        before = store.state.reads
        (done,) = store.ask(Range(b"a", revision=revision))
        assert isinstance(done, RangeDone)
        assert done.pairs[0].mod_revision == revision
        assert store.state.reads - before < 2 * MILESTONE + 20


def test_what_is_read_of_the_past_counts_as_room() -> None:
    store = Store(KeyValueSettings(max_range_bytes=20_000, max_queries_bytes=20_000))
    keys = [b"%04d" % number for number in range(1000)]
    store.do(*[Put(key, b"old") for key in keys])
    for _ in range(3):
        store.do(*[Put(key, b"new") for key in keys])
    (done,) = store.ask(Range(b"", b"", revision=1000))
    assert isinstance(done, RangeDone)
    assert done.more
    assert 0 < len(done.pairs) < 200
    assert done.count == 1000
    assert 0 < len(store.ask(*[Range(b"0500", revision=1000)] * 100)) < 50


def test_old_values_larger_than_the_room_are_found_a_few_at_a_time() -> None:
    store = Store(KeyValueSettings(max_range_bytes=100_000))
    keys = [b"%02d" % number for number in range(20)]
    store.do(*[Put(key, bytes(60_000)) for key in keys])
    store.do(*[Put(key, b"") for key in keys])
    (done,) = store.ask(Range(b"", b"", revision=20))
    assert isinstance(done, RangeDone)
    assert [len(pair.value or b"") for pair in done.pairs] == [60_000, 60_000]
    assert done.more


def test_a_sweep_after_writes_of_its_command_leaves_nothing_behind(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"c", b"1"))
    store.do(Put(b"a", b"2"), Delete(b"c"), Compact(4), Sweep(100))
    store.run_what_is_due()
    assert store.history() == 0


def test_a_page_is_divided_where_it_grows_too_large(store: Store) -> None:
    store.do(*[Put(b"%d" % i, b"") for i in range(undo.PAGE_ITEMS + 1)])
    store.do(*[Put(b"%d" % i, b"") for i in range(undo.PAGE_ITEMS + 1)])
    assert store.history() == 2
    large = Store(KeyValueSettings())
    large.do(*[Put(b"a", bytes(undo.PAGE_BYTES // 2)) for _ in range(4)])
    assert large.history() == 3


@pytest.mark.parametrize("revision", range(1, 100, 7))
def test_the_past_is_read_over_many_pages(store: Store, revision: int) -> None:
    for number in range(1, 100):
        store.do(Put(b"k%d" % (number % 3), b"%d" % number))
    (done,) = store.ask(Range(b"", b"", revision=revision))
    assert isinstance(done, RangeDone)
    expected = {b"k%d" % (n % 3): n for n in range(1, revision + 1)}
    assert {pair.key: pair.mod_revision for pair in done.pairs} == expected
    assert all(pair.value == b"%d" % pair.mod_revision for pair in done.pairs)


def test_one_revision_may_span_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo, "PAGE_ITEMS", 2)
    store = Store(KeyValueSettings())
    puts = [Put(b"%d" % i, b"old") for i in range(7)]
    store.do(*puts)
    store.do(Txn((), tuple(Put(put.key, b"new") for put in puts), ()))
    assert store.history() == 4
    (done,) = store.ask(Range(b"", b"", revision=7))
    assert isinstance(done, RangeDone)
    assert [pair.value for pair in done.pairs] == [b"old"] * 7


def test_a_range_of_the_past_takes_records_in_parts() -> None:
    keys = [b"%03d" % i for i in range(100)]
    store = Store(KeyValueSettings(max_range_bytes=10**6))
    store.do(*[Put(key, b"old") for key in keys])
    store.do(*[Put(key, b"new") for key in keys], Delete(b"050", b"060"))
    for descending in (False, True):
        (done,) = store.ask(Range(b"", b"", revision=100, descending=descending))
        assert isinstance(done, RangeDone)
        assert [pair.key for pair in done.pairs] == sorted(keys, reverse=descending)
        assert {pair.value for pair in done.pairs} == {b"old"}
        (some,) = store.ask(Range(b"", b"", revision=100, descending=descending, limit=33))
        assert some == RangeDone(201, done.pairs[:33], 100, True)


def test_a_gap_in_the_history_is_told(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"))
    store.state.tables[Table.HISTORY].clear()
    with pytest.raises(StoreCorrupt, match=r"the history lacks what the key b'a' held before re"):
        store.ask(Range(b"a", revision=1))


def test_sweeps_delete_the_dead_a_few_at_a_time(store: Store) -> None:
    for number in range(8):
        store.do(Put(b"a", b"%d" % number))
    assert store.history() == 7
    assert store.do(Compact(6)) == (CompactDone(8, 6),)
    assert store.do(Sweep(3)) == (SweepDone(3, False),)
    store.restart()  # the cursor is in the state
    assert store.do(Sweep(100)) == (SweepDone(2, True),)
    assert store.history() == 2
    assert store.do(Sweep(100)) == (SweepDone(0, True),)
    assert store.machine.due(0) is None


def test_a_page_is_swept_when_all_of_it_is_dead(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Delete(b"a"), Put(b"a", b"3"), Put(b"a", b"4"))
    store.do(Compact(4))
    store.run_what_is_due()
    assert store.history() == 2  # the page, and what it names
    store.do(Compact(5))
    store.run_what_is_due()
    assert store.history() == 0


def test_a_restarted_replica_sweeps_the_same_records() -> None:
    steady, restarted = Store(), Store()
    for store in (steady, restarted):
        for number in range(8):
            store.do(Put(b"b", b"%d" % number))
        store.do(Compact(7))
        for number in range(4):
            store.do(Put(b"a", b"%d" % number))
    for _ in range(5):
        restarted.restart()
        assert steady.do(Sweep(2)) == restarted.do(Sweep(2))
        assert rows(steady.state) == rows(restarted.state)
    assert steady.machine.due(0) is restarted.machine.due(0) is None


def test_a_compaction_between_sweeps_takes_them_further(store: Store) -> None:
    for number in range(8):
        store.do(Put(b"a", b"%d" % number))
    store.do(Compact(4), Sweep(2), Compact(8))
    store.run_what_is_due()
    assert store.history() == 0


def test_nothing_is_due_again_once_swept(store: Store) -> None:
    assert store.run_what_is_due() == 0
    for number in range(8):
        store.do(Put(b"a", b"%d" % number))
    store.do(Compact(8))
    assert store.run_what_is_due() == 4  # 7 records, two a sweep
    store.do(Put(b"a", b"x"))
    assert store.run_what_is_due() == 0


def test_old_revisions_are_compacted_by_themselves() -> None:
    store = Store(KeyValueSettings(keep_revisions=10, sweep_records=4))
    for _ in range(20):
        store.do(Put(b"a", b""))
    assert store.machine.due(0) is None
    store.do(Put(b"a", b""))
    assert store.run_what_is_due() > 1
    assert store.machine.compacted == 11
    assert store.history() == 10
    assert store.ask(Range(b"a", revision=11)) != store.ask(Range(b"a", revision=12))


def test_dead_records_are_not_live_before_they_are_swept(store: Store) -> None:
    for number in range(4):
        store.do(Put(b"a", b"%d" % number))
    store.do(Compact(3))
    before = live_rows(store.state, store.machine)
    assert len(before) == len(rows(store.state)) - 2
    store.run_what_is_due()
    assert live_rows(store.state, store.machine) == before


def test_a_restart_goes_on_where_it_was(store: Store) -> None:
    store.do(Put(b"a", b"1"), Put(b"a", b"2"), Compact(2))
    store.restart()
    assert (store.machine.revision, store.machine.compacted) == (2, 2)
    assert store.do(Put(b"a", b"3")) == (PutDone(3),)
