"""Linearizability by definition: every order of every choice of the unknown operations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations, permutations

from raycons.verify import IMPOSSIBLE, Model, Operation


def is_linearizable(ops: Sequence[Operation], model: Model) -> bool:
    """Herlihy and Wing 1990, section 2: some legal order of a completion respects real time."""
    known = [op for op in ops if not op.unknown]
    unknown = [op for op in ops if op.unknown]
    choices = chain.from_iterable(combinations(unknown, n) for n in range(len(unknown) + 1))
    return any(
        respects_time(order) and is_legal(order, model)
        for chosen in choices
        for order in permutations([*known, *chosen])
    )


def respects_time(order: Sequence[Operation]) -> bool:
    return not any(
        precedes(later, earlier)
        for place, earlier in enumerate(order)
        for later in order[place + 1 :]
    )


def precedes(first: Operation, second: Operation) -> bool:
    """Closed intervals, except that a client has one operation at a time."""
    if first.returned is None or first is second:
        return False
    if first.client == second.client:
        return first.returned <= second.call
    return first.returned < second.call


def is_legal(order: Sequence[Operation], model: Model) -> bool:
    state = model.initial()
    for op in order:
        state = model.step(state, op)
        if state is IMPOSSIBLE:
            return False
    return True
