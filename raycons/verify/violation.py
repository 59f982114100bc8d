"""What is told of a part of a history that cannot be explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from raycons.verify.history import Operation
from raycons.verify.models.contract import IMPOSSIBLE, Model
from raycons.verify.search import Found, Search
from raycons.verify.window import Trial, Window

LONG = 48  # characters of a value that are shown


@dataclass(frozen=True, slots=True)
class Step:
    """An operation of the longest explanation, and the state after it."""

    op: Operation
    state: str


@dataclass(frozen=True, slots=True)
class Dead:
    """An operation that would have to come next, and why it cannot."""

    op: Operation
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The smallest part that was found of one object's history that nothing explains."""

    key: str  # of its operations, or several
    operations: tuple[Operation, ...]  # by their call
    loose: frozenset[int]  # of these, those that may as well have happened before all or never
    impossible: Operation  # must have taken effect by its return, and cannot
    start: str  # the state before them, or, where it is cut, the one that explains most
    is_cut: (
        bool  # whether there were operations before, and no state that they could leave explains it
    )
    explained: tuple[Step, ...]  # a longest order that agrees with the model
    dead_ends: tuple[Dead, ...]  # what could come next by real time
    of: int  # operations on the object in the whole history

    def told(self, op: Operation) -> str:
        """An operation and its answer, with the key where there are several."""
        several = len({one.key for one in self.operations}) > 1
        return f"{printable(op.key)} {describe(op)}" if several else describe(op)


def printable(key: str) -> str:
    """A key with escapes for what a terminal or a picture cannot show."""
    return repr(key)[1:-1]


def describe(op: Operation) -> str:
    """An operation and its answer, as in `cas "1" -> "2": true`."""
    text = op.op
    if op.op == "cas":
        text += f" {shown(op.old)} -> {shown(op.value)}"
    elif op.value is not None:
        text += f" {shown(op.value)}"
    if op.unknown:
        return f"{text}: unknown"
    if op.out is not None or op.op in ("get", "dequeue"):
        text += f": {shown(op.out)}"
    return text


def shown(value: Any) -> str:
    """A value as JSON; null is "absent", and the middle of a long one is left out."""
    return "absent" if value is None else _short(msgspec.json.encode(value).decode())


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[: LONG // 2]}...{text[-LONG // 4 :]}"


def violation(window: Window, model: Model, of: int) -> Violation:
    """Describe a window that nothing explains.

    Args:
        window: the operations.
        model: what they should obey.
        of: how many operations there are on the same object in all.
    """
    order = sorted(range(len(window.ops)), key=lambda place: window.ops[place].call)
    loose = frozenset(new for new, place in enumerate(order) if place in window.loose)
    ops = tuple(window.ops[place] for place in order)
    # What is loose and shown may as well stand where it did, unless that was before the cut.
    told = Window(ops, loose if window.is_cut else frozenset(), window.is_cut)
    stuck = Trial(model, lambda: False).stuck(told, None)
    assert stuck is not None, "a window that has an explanation"
    start, search, found = stuck
    explained, simple_state, state = _replayed(told, model, start, search, found)
    return Violation(
        key=", ".join(sorted({printable(op.key) for op in ops})),
        operations=ops,
        loose=told.loose,
        impossible=ops[search.order.by_return[found.position]],
        start=_short(model.shown(start)),
        is_cut=window.is_cut,
        explained=explained,
        dead_ends=tuple(
            Dead(ops[place], _reason(model, simple_state, search.ops[place], state))
            for place in search.possible_next(found)
        ),
        of=of,
    )


def _replayed(
    window: Window, model: Model, start: Any, search: Search, found: Found
) -> tuple[tuple[Step, ...], Any, Any]:
    """The steps of an explanation, and the state after them, as searched with and as written."""
    simple = state = start
    steps: list[Step] = []
    for place in found.linearized:
        simple = model.step(simple, search.ops[place])
        state = model.step(state, window.ops[place])
        # A start is written as the search has it, so a read of it may seem to differ.
        state = simple if state is IMPOSSIBLE else state
        steps.append(Step(window.ops[place], _short(model.shown(state))))
    return tuple(steps), simple, state


def _reason(model: Model, simple_state: Any, simple: Operation, state: Any) -> str:
    if model.step(simple_state, simple) is IMPOSSIBLE:
        return f"not possible where the state is {_short(model.shown(state))}"
    return "possible, and then something before it is not"
