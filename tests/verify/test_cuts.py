"""Where a search is cut short: what was under way then, and which states may have been before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from raycons.verify import Operation, check, checker, window
from raycons.verify.models import KeyValue
from raycons.verify.models.kv import UNSEEN
from tests.verify.brute import is_linearizable
from tests.verify.histories import op, random_histories

YES, NO = "linearizable", "not linearizable"


@pytest.fixture
def cut_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at_every_point(monkeypatch)


def interrupt_at_every_point(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checker, "PATIENCE", -1)
    patch.setattr(checker, "SMALL", 0)
    patch.setattr(window, "CUT_SIZES", tuple(range(1, 12)))


def answer(ops: Sequence[Operation]) -> str:
    return check(ops, timeout=20.0).answer


@settings(max_examples=400, deadline=None)
@given(random_histories())
def test_a_cut_changes_no_verdict(ops: list[Operation]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_at_every_point(patch)
        assert answer(ops) == (YES if is_linearizable(ops, KeyValue()) else NO)


def reads(*values: str | None) -> list[Operation]:
    """One client's reads of these values, one after the other."""
    return [op(1, "get", 10 * n, 10 * n + 1, out=value) for n, value in enumerate(values)]


# A put of "a" that is under way at each cut before the reads of "b" took effect before the cut or
# after it. A cut leaves at least two returns before it, and the last reads are far behind the put.
UNDER_WAY = {
    "takes effect later": [op(0, "put", 0, 55, "a"), *reads(*[None] * 4, *["a"] * 8)],
    "took effect before": [
        op(0, "put", 0, 75, "a"), op(2, "put", 32, 33, "b"), *reads(*"aaaa", *"bbbbbbbb"),
    ],
    "takes effect later, and nobody was told": [
        op(0, "put", 0, None, "a"), *reads(*[None] * 4, *["a"] * 8),
    ],
    "took effect before, and nobody was told": [
        op(0, "put", 0, None, "a"), op(2, "put", 32, 33, "b"), *reads(*"aaaa", *"bbbbbbbb"),
    ],
}  # fmt: skip


@pytest.mark.usefixtures("cut_everywhere")
@pytest.mark.parametrize("name", UNDER_WAY)
def test_what_is_under_way_at_a_cut_may_belong_to_either_side(name: str) -> None:
    assert answer(UNDER_WAY[name]) == YES


def swaps(*found: tuple[int, str | None, bool]) -> list[Operation]:
    """Swaps of what is given to "never": each with the instant, what it expects, and its answer."""
    return [op(1, "cas", at, at + 1, "never", old=old, out=out) for at, old, out in found]


# What the last operations are told is explained by one state only, which was left by the first.
BEFORE_THE_CUT = {
    "a value that nobody asks about": [
        op(0, "put", 0, 1, "z"), *swaps(*((10 * n, "ab"[n % 2], False) for n in range(1, 9))),
    ],
    "a value that is read": [op(0, "put", 0, 1, "a"), *reads(*"a" * 9)[1:]],
    "a value that is expected": [
        op(0, "put", 0, 1, "a"), *swaps(*((10 * n, "b", False) for n in range(1, 8))),
        *swaps((90, "a", True)),
    ],
    "absence": reads(*[None] * 9),
    "a value that is appended to": [
        op(0, "put", 0, 1, "a"), *swaps(*((10 * n, "b", False) for n in range(1, 7))),
        op(1, "append", 80, 81, "b"), op(1, "get", 90, 91, out="ab"),
    ],
}  # fmt: skip


@pytest.mark.usefixtures("cut_everywhere")
@pytest.mark.parametrize("name", BEFORE_THE_CUT)
def test_every_state_may_be_what_a_cut_leaves_out(name: str) -> None:
    assert answer(BEFORE_THE_CUT[name]) == YES


def test_the_states_of_a_register_are_those_that_are_told_apart() -> None:
    model = KeyValue()
    asking = [
        op(0, "get", 0, 1, out="read"),
        op(0, "cas", 2, 3, "new", old="expected", out=False),
        op(0, "put", 4, 5, "written"),
        op(0, "get", 6, None),
    ]
    assert model.states(asking) == {"read", "expected", None, UNSEEN}
    assert model.states([*asking, op(0, "append", 8, 9, "more")]) is None
