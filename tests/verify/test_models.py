"""The built-in machines, one example for each thing that they say no to."""

from __future__ import annotations

import pytest

from raycons.verify import Model, Operation, check
from raycons.verify.models import Queue
from tests.verify.brute import is_linearizable
from tests.verify.histories import op

YES, NO = "linearizable", "not linearizable"


def in_turn(*asked: str) -> list[Operation]:
    """Operations on a queue, one after the other: `+1` puts 1, `-1` gives 1, `-` finds nothing,
    `+1?` and `-?` with an unknown outcome."""
    return [_turn(10 * n, text) for n, text in enumerate(asked)]


def _turn(call: int, text: str) -> Operation:
    known = not text.endswith("?")
    number = int(text.strip("+-?") or 0) or None
    client = 0 if known else call + 1
    end = call + 1 if known else None
    if text.startswith("+"):
        return op(client, "enqueue", call, end, number)
    return op(client, "dequeue", call, end, out=number)


QUEUES = [
    (("+1", "+2", "-1", "-2", "-"), YES),
    (("+1", "+2", "-2"), NO),  # the oldest comes first
    (("+1", "-1", "-1"), NO),  # and once
    (("+1", "-"), NO),
    (("-1",), NO),
    (("-", "-", "+1", "-1", "-"), YES),
    (("+1", "+2", "-?", "-2"), YES),  # it took the oldest
    (("+1", "+2", "-?", "-1", "-2"), YES),  # it did not
    (("+1", "+2", "+3", "-?", "-3"), NO),  # it took no more than one
    (("+1", "+2", "-?", "-1", "-"), YES),  # it took what was left
    (("+1", "-?", "-"), YES),
    (("-?", "-?", "+1", "-1"), YES),
    (("+1?", "-1", "-"), YES),
    (("+1?", "-"), YES),
    (("+1?", "-1", "-1"), NO),
    (("+1?", "+2", "-1", "-2"), YES),  # needed for where `+2` leads, not for its answer
]


@pytest.mark.parametrize(("asked", "expected"), QUEUES)
def test_a_queue(asked: tuple[str, ...], expected: str) -> None:
    ops = in_turn(*asked)
    assert check(ops, Queue()).answer == expected
    assert is_linearizable(ops, Queue()) == (expected == YES)
    model: Model = Queue()
    for one in ops:
        if model.only_reads(one):
            assert model.step((), one) == ()
            assert not one.unknown


def test_a_dequeue_that_found_nothing_only_reads() -> None:
    """The search takes it at once, where others would be tried: a matter of speed."""
    assert [Queue().only_reads(one) for one in in_turn("-", "-?", "-1", "+1", "+1?")] == [
        True, False, False, False, False,
    ]  # fmt: skip


def test_an_unknown_append_is_placed_before_one_that_leads_elsewhere() -> None:
    """The second append is possible without the first: only what it leads to needs it."""
    ops = [op(0, "append", 0, None, "a"), op(1, "append", 2, 3, "b"), op(1, "get", 4, 5, out="ab")]
    assert check(ops).answer == YES
    assert check([*ops[:2], op(1, "get", 4, 5, out="ba")]).answer == YES
    assert check([*ops[:2], op(1, "get", 4, 5, out="a")]).answer == NO


def test_an_unknown_put_is_placed_before_an_append_that_does_not_need_it() -> None:
    ops = [op(0, "put", 0, None, "a"), op(1, "append", 2, 3, "b"), op(1, "get", 4, 5, out="ab")]
    assert check(ops).answer == YES


def test_unknown_operations_that_need_each_other_are_placed_in_a_row() -> None:
    ops = [
        op(0, "cas", 0, None, "c", old="b"),
        op(1, "cas", 0, None, "b", old="a"),
        op(2, "put", 0, None, "a"),
        op(3, "get", 2, 3, out="c"),
    ]
    assert check(ops).answer == YES
    assert check([ops[0], *ops[2:]]).answer == NO
