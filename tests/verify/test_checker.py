"""The checker against the definition, and against histories with planted errors."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycons.verify import Operation, check
from raycons.verify.models import Counter, KeyValue, Lock, Model, Queue
from tests.verify.brute import is_legal, is_linearizable, respects_time
from tests.verify.histories import (
    busy,
    intervals,
    linearizable_histories,
    op,
    random_histories,
)

YES, NO, UNDECIDED = "linearizable", "not linearizable", "undecided"


def answer(ops: Sequence[Operation], model: Model | None = None) -> str:
    return check(ops, model, timeout=20.0).answer


# --- against the definition -----------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(random_histories())
def test_a_random_history_is_judged_as_by_brute_force(ops: list[Operation]) -> None:
    assert answer(ops) == (YES if is_linearizable(ops, KeyValue()) else NO)


@settings(max_examples=150, deadline=None)
@given(linearizable_histories(), st.data())
def test_one_changed_answer_is_judged_as_by_brute_force(
    ops: list[Operation], data: st.DataObject
) -> None:
    reads = [place for place, one in enumerate(ops) if one.op == "get" and not one.unknown]
    if reads:
        place = data.draw(st.sampled_from(reads))
        out = data.draw(st.sampled_from((None, "a", "b", "aa")))
        ops[place] = msgspec.structs.replace(ops[place], out=out)
    assert answer(ops) == (YES if is_linearizable(ops, KeyValue()) else NO)


@settings(max_examples=300, deadline=None)
@given(linearizable_histories(most=40))
def test_what_a_correct_store_did_is_linearizable(ops: list[Operation]) -> None:
    assert answer(ops) == YES


LOCKING = (("a", "b"), (True, False))


@st.composite
def machine_histories(draw: st.DrawFn) -> tuple[Model, list[Operation]]:
    model, fields = draw(
        st.sampled_from(
            [
                (Queue(), {"enqueue": ((1, 2), (None,)), "dequeue": ((None,), (None, 1, 2))}),
                (
                    Lock(),
                    {
                        "acquire": (("a", "b"), (True, False)),
                        "release": (("a", "b"), (True, False)),
                    },
                ),
                (Counter(), {"add": ((1, 2), (None, 2, 3)), "get": ((None,), (1, 2, 3))}),
            ]
        )
    )
    ops = []
    for client, call, returned in draw(intervals(draw(st.integers(1, 5)))):
        name = draw(st.sampled_from(sorted(fields)))
        value, out = (draw(st.sampled_from(choice)) for choice in fields[name])
        ops.append(op(client, name, call, returned, value, out=None if returned is None else out))
    return model, ops


@settings(max_examples=400, deadline=None)
@given(machine_histories())
def test_other_machines_are_judged_as_by_brute_force(drawn: tuple[Model, list[Operation]]) -> None:
    model, ops = drawn
    assert answer(ops, model) == (YES if is_linearizable(ops, model) else NO)


@settings(max_examples=200, deadline=None)
@given(random_histories(), st.permutations(range(4)), st.integers(0, 10**15), st.randoms())
def test_names_of_clients_and_the_time_of_day_do_not_matter(
    ops: list[Operation], names: list[int], shift: int, rng: object
) -> None:
    moved = [
        msgspec.structs.replace(
            one,
            client=names[one.client],
            call=one.call + shift,
            returned=None if one.returned is None else one.returned + shift,
        )
        for one in ops
    ]
    rng.shuffle(moved)  # type: ignore[attr-defined]
    assert answer(moved) == answer(ops)


@settings(max_examples=200, deadline=None)
@given(random_histories(most=7))
def test_what_is_shown_is_a_violation_by_itself(ops: list[Operation]) -> None:
    shown = check(ops).violation
    if shown is None:
        return
    part = [
        msgspec.structs.replace(one, returned=None, out=None) if place in shown.loose else one
        for place, one in enumerate(shown.operations)
    ]
    assert not is_linearizable(part, KeyValue())
    assert shown.impossible in shown.operations
    explained = [step.op for step in shown.explained]
    assert respects_time(explained)
    assert is_legal(explained, KeyValue())
    assert shown.impossible in [dead.op for dead in shown.dead_ends]


def test_what_is_appended_may_be_seen_at_the_end_of_a_value() -> None:
    ops = [op(0, "put", 0, 1, "a"), op(1, "append", 2, None, "b"), op(0, "get", 4, 5, out="ab")]
    assert answer(ops) == YES


def test_alike_unknown_writes_are_not_alike_where_one_is_held_back() -> None:
    held_back = op(0, "put", 1, None, "a")  # by its client's read, which returns as it is called
    free = op(2, "put", 1, None, "a")
    assert answer([op(0, "get", 0, 1, out="a"), held_back, free]) == YES
    assert answer([op(0, "get", 0, 1, out="a"), held_back]) == NO


# --- planted errors -------------------------------------------------------------------------------

PLANTED = {
    "stale read": [
        op(0, "put", 0, 1, "1"), op(0, "put", 2, 3, "2"), op(1, "get", 4, 5, out="1"),
    ],
    "lost update": [
        op(0, "put", 0, 1, "1"), op(1, "get", 2, 3, out=None),
    ],
    "cas applied twice": [
        op(0, "put", 0, 1, "a"), op(0, "cas", 2, 3, "b", old="a", out=True),
        op(1, "put", 4, 5, "a"), op(1, "get", 6, 7, out="a"), op(2, "get", 8, 9, out="b"),
    ],
    "two winners of one cas": [
        op(0, "cas", 0, 5, "a", out=True), op(1, "cas", 0, 5, "b", out=True),
    ],
    "read of a value never written": [
        op(0, "put", 0, 1, "1"), op(1, "get", 2, 3, out="7"),
    ],
    "resurrected delete": [
        op(0, "put", 0, 1, "1"), op(0, "delete", 2, 3, out=True), op(1, "get", 4, 5, out="1"),
    ],
    "two reads disagree on an order": [
        op(0, "put", 0, 9, "1"), op(1, "put", 0, 9, "2"),
        op(2, "get", 10, 11, out="1"), op(3, "get", 12, 13, out="2"),
    ],
    "unknown write read, then gone": [
        op(0, "put", 0, None, "1"), op(1, "get", 2, 3, out="1"), op(1, "get", 4, 5, out=None),
    ],
    "true is not one": [op(0, "put", 0, 1, 1), op(0, "get", 2, 3, out=True)],
    "a client's own order at one instant": [op(0, "put", 0, 1, "1"), op(0, "get", 1, 2, out=None)],
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_found(name: str) -> None:
    ops = PLANTED[name]
    assert not is_linearizable(ops, KeyValue()) or name == "true is not one"
    assert answer(ops) == NO


@pytest.mark.parametrize("name", [name for name in PLANTED if not name.startswith("true")])
def test_a_planted_error_is_found_among_much_else(name: str) -> None:
    noise = busy(3, 2000, 5, 3, unknown=0.02)
    end = max(one.returned or one.call for one in noise) + 1
    strange = [
        msgspec.structs.replace(
            one,
            client=one.client + 10**6,
            key="k1",
            call=one.call + end,
            returned=None if one.returned is None else one.returned + end,
        )
        for one in [op(9, "delete", -2, -1), *PLANTED[name]]
    ]
    verdict = check([*noise, *strange])
    assert verdict.answer == NO
    assert verdict.violation is not None
    assert verdict.violation.key == "k1"
    assert len(verdict.violation.operations) <= len(strange)
    assert {one.client for one in verdict.violation.operations} <= {one.client for one in strange}


def test_the_window_of_a_stale_read_is_three_operations() -> None:
    idle = [op(5, "get", 10 * n, 10 * n + 1, out=None) for n in range(5)]
    late = [
        msgspec.structs.replace(one, call=one.call + 100, returned=(one.returned or 0) + 100)
        for one in PLANTED["stale read"]
    ]
    shown = check([*idle, *late]).violation
    assert shown is not None
    assert [(one.op, one.value or one.out) for one in shown.operations] == [
        ("put", "1"), ("put", "2"), ("get", "1"),
    ]  # fmt: skip
    assert shown.impossible == late[2]
    assert [step.state for step in shown.explained] == ['"1"', '"2"']
    assert shown.dead_ends[0].reason == 'not possible where the state is "2"'


# --- size -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "unknown", "size"), [(1, 0.0, 10_000), (10, 0.0, 20_000), (10, 0.02, 10_000)]
)
def test_a_long_history_is_decided_in_time(keys: int, unknown: float, size: int) -> None:
    ops = busy(1, size, 10, keys, unknown=unknown)
    begin = time.process_time()
    assert answer(ops) == YES
    assert time.process_time() - begin < 6.0  # the promise is 100,000 operations in 30 s


def test_an_error_late_in_a_long_history_is_found_in_time() -> None:
    ops = busy(1, 10_000, 10, 1)
    reads = [place for place, one in enumerate(ops) if one.op == "get" and one.out is not None]
    place = reads[-50]
    ops[place] = msgspec.structs.replace(ops[place], out=ops[reads[-500]].out)
    begin = time.process_time()
    verdict = check(ops)
    assert verdict.answer == NO
    assert verdict.violation is not None
    assert len(verdict.violation.operations) < 30
    assert time.process_time() - begin < 15.0


def test_many_unknown_writes_do_not_blow_up() -> None:
    ops = [op(100 + n, "put", n, None, f"lost{n}") for n in range(3000)]
    ops += [op(1, "put", 4000, 4001, "here")]
    ops += [op(1, "get", 5000 + 2 * n, 5001 + 2 * n, out="here") for n in range(200)]
    assert answer(ops) == YES
    assert answer([*ops, op(1, "get", 9000, 9001, out="nowhere")]) == NO


def test_time_runs_out() -> None:
    assert check(busy(1, 500, 5, 1), timeout=0.0).answer == UNDECIDED


def test_a_violation_elsewhere_outweighs_what_is_undecided() -> None:
    ticks = iter([0.0, *[0.5] * 3, *[2.0] * 10**6])
    short = [msgspec.structs.replace(one, key="a") for one in PLANTED["stale read"]]
    verdict = check([*busy(1, 2000, 5, 1), *short], timeout=1.0, clock=lambda: next(ticks))
    assert verdict.answer == NO


def test_nothing_is_linearizable() -> None:
    assert answer([]) == YES
