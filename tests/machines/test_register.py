"""A register's record: what operations do to it, and that each does it once."""

from __future__ import annotations

from typing import Any

import pytest

from raycons.config import RegisterSettings
from raycons.machines.kv.commands import (
    FORGOTTEN,
    Compact,
    Delete,
    DeleteDone,
    Failed,
    Failure,
    KeyValue,
    Put,
    PutDone,
    Range,
    RangeDone,
    Swap,
    SwapDone,
    Txn,
)
from raycons.machines.kv.settings import KeyValueSettings
from raycons.machines.register import Registry, Request, Settle, Settled

KEY = b"k"
SESSION = 10


def registry(**bounds: int) -> Registry:
    return Registry(KeyValueSettings(), RegisterSettings(**bounds))


def ask(operation: Any, number: int = 1, *, session: int = SESSION, mark: int = 1) -> Request:
    return Request(operation, session, number, 0, mark)


def carry_out(
    value: bytes, *requests: Any, round: int = 1, erased: int = 0, **bounds: int
) -> tuple[bytes, list[Any]]:
    changed = registry(**bounds).change(value, erased, round, requests)
    return changed.value, list(changed.outcomes)


def test_operations_are_carried_out_in_order() -> None:
    value, told = carry_out(
        b"",
        ask(Put(KEY, b"a"), 1),
        ask(Swap(KEY, b"b", b"c"), 2),
        ask(Swap(KEY, b"a", b"b"), 3),
        ask(Delete(KEY), 4),
        ask(Delete(KEY), 5),
        ask(Swap(KEY, None, b"d"), 6),
    )
    assert told == [
        PutDone(1),
        SwapDone(1, False, b"a"),
        SwapDone(2, True, None),
        DeleteDone(3, 1),
        DeleteDone(3, 0),
        SwapDone(4, True, None),
    ]
    [found] = registry().look(value, [ask(Range(KEY), session=0)])
    assert found == RangeDone(4, (KeyValue(KEY, b"d", 4, 4, 1),), 1, False)


def test_revisions_are_at_least_the_rounds_of_their_ballots() -> None:
    value, told = carry_out(b"", ask(Put(KEY, b"a"), 1), ask(Put(KEY, b"b"), 2), round=40)
    assert told == [PutDone(40), PutDone(41)]
    _, told = carry_out(value, ask(Put(KEY, b"c"), 3), round=41)
    assert told == [PutDone(42)]


def test_a_request_that_comes_again_is_answered_as_before() -> None:
    value, [first] = carry_out(b"", ask(Put(KEY, b"a"), 1))
    value, _ = carry_out(value, ask(Put(KEY, b"b"), 2), round=2)
    value, [again] = carry_out(value, ask(Put(KEY, b"a"), 1), round=3)
    assert again == first
    [found] = registry().look(value, [ask(Range(KEY), session=0)])
    assert found.pairs[0].value == b"b"
    # And in one and the same change.
    _, told = carry_out(b"", ask(Swap(KEY, None, b"a"), 1), ask(Swap(KEY, None, b"a"), 1))
    assert told[0] == told[1] == SwapDone(1, True, None)


def test_answers_below_the_clients_mark_are_forgotten_and_not_given_again() -> None:
    value, _ = carry_out(b"", ask(Put(KEY, b"a"), 1))
    value, _ = carry_out(value, ask(Put(KEY, b"b"), 2, mark=2))
    _, told = carry_out(value, ask(Put(KEY, b"a"), 1))
    assert told == [FORGOTTEN]


def test_a_session_that_had_to_go_for_want_of_room_is_told_from_a_new_one() -> None:
    value, _ = carry_out(b"", ask(Put(KEY, b"a"), session=10))
    value, _ = carry_out(value, ask(Put(KEY, b"b"), session=20), max_sessions=1)
    _, told = carry_out(
        value,
        ask(Put(KEY, b"a"), session=10),
        ask(Put(KEY, b"c"), session=15),
        ask(Put(KEY, b"d"), session=30),
    )
    assert told == [FORGOTTEN, PutDone(3), PutDone(4)]


def test_the_oldest_sessions_go_first_where_answers_take_too_much_room() -> None:
    value, _ = carry_out(b"", ask(Put(KEY, b"x" * 100), session=10))
    value, _ = carry_out(value, ask(Swap(KEY, b"", b"y"), session=10, number=2))
    value, _ = carry_out(value, ask(Put(KEY, b"b"), session=20), max_answer_bytes=50)
    _, told = carry_out(value, ask(Put(KEY, b"b"), session=20), ask(Put(KEY, b"c"), session=10))
    assert told[0] == PutDone(2)
    assert told[1] == FORGOTTEN


def test_a_register_that_nobody_knows_may_be_one_that_was_erased() -> None:
    _, told = carry_out(b"", ask(Put(KEY, b"a"), session=10), erased=10)
    assert told == [FORGOTTEN]
    _, told = carry_out(b"", ask(Put(KEY, b"a"), session=11), erased=10)
    assert told == [PutDone(1)]
    one = registry()
    one.change(b"", 10, 1, [])
    assert one.highest == 10  # the next session is above it


def test_settling_changes_nothing_and_tells_what_must_be_known_afterwards() -> None:
    value, _ = carry_out(b"", ask(Put(KEY, b"a"), session=30), round=9)
    same, told = carry_out(value, Settle("collect"))
    assert (same, told) == (value, [Settled(False, 30, 9)])
    value, _ = carry_out(value, ask(Delete(KEY), session=20), round=11)
    _, told = carry_out(value, Settle("collect"))
    assert told == [Settled(True, 30, 11)]
    _, told = carry_out(b"", Settle("collect"), erased=7)
    assert told == [Settled(True, 7, 0)]


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (Txn((), (), ()), "a transaction"),
        (Range(b"a", b"b"), "a range of keys"),
        (Range(b"a", revision=4), "an older revision"),
        (Delete(b"a", b"b"), "deletion of a range"),
        (Compact(3), "a compaction"),
    ],
)
def test_what_a_register_cannot_do_is_refused_with_its_name_and_a_remedy(
    operation: Any, named: str
) -> None:
    refusal = registry().refusal(operation)
    assert isinstance(refusal, Failed)
    assert refusal.reason is Failure.UNSUPPORTED
    assert named in refusal.message
    assert 'protocol="raft"' in refusal.message


def test_bounds_hold_as_in_the_other_protocols() -> None:
    one = Registry(KeyValueSettings(max_key_bytes=2, max_value_bytes=3), RegisterSettings())
    assert one.refusal(Put(b"k", b"123")) is None
    for broken in (Put(b"", b"1"), Put(b"key", b"1"), Put(b"k", b"1234"), Delete(b""), Range(b"")):
        refusal = one.refusal(broken)
        assert refusal is not None, broken
        assert refusal.reason is Failure.INVALID
