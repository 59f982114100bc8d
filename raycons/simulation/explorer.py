"""Exhaustive search of a small scope: every order of events, with every loss, or a counterexample.

Where the simulator draws some of the worlds of many replicas, this walks through all of few.
Breadth first, so that what it finds is as short as it can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

import msgspec

from raycons.errors import BadArgument

State = TypeVar("State")


class Scope(Protocol[State]):
    """What is to be explored."""

    def initial(self) -> State:
        """Where everything begins."""

    def successors(self, state: State) -> Iterable[tuple[str, State]]:
        """What may happen next, in words, and the state that it leads to."""

    def key(self, state: State) -> Hashable:
        """What tells it from other states; those of one key lead to the same, but for names."""

    def broken(self, state: State) -> str | None:
        """What does not hold in this state; None where all does."""


class Exploration(msgspec.Struct, frozen=True):
    """What an exploration came to. `broken` is None where everything held in every state."""

    states: int  # with different keys
    transitions: int
    depth: int  # of the state that is farthest from the first
    broken: str | None
    story: list[str]  # the shortest way to what is broken


def explore(scope: Scope[State], most: int = 5_000_000) -> Exploration:
    """Go through all states that can be reached.

    Raises BadArgument where there are more than `most`: the scope is too large to be exhausted.
    """
    first = scope.initial()
    key = scope.key(first)
    before: dict[Hashable, tuple[Hashable, str] | None] = {key: None}
    waiting = deque([(first, key, 0)])
    transitions = depth = 0
    while waiting:
        state, key, depth = waiting.popleft()
        broken = scope.broken(state)
        if broken is not None:
            return Exploration(len(before), transitions, depth, broken, _story(before, key))
        for what, after in scope.successors(state):
            transitions += 1
            key_after = scope.key(after)
            if key_after not in before:
                if len(before) >= most:
                    raise BadArgument(f"more than {most:,} states: choose a smaller scope")
                before[key_after] = key, what
                waiting.append((after, key_after, depth + 1))
    return Exploration(len(before), transitions, depth, None, [])


def _story(before: dict[Hashable, tuple[Hashable, str] | None], key: Hashable) -> list[str]:
    """What led to a state."""
    told = []
    while (step := before[key]) is not None:
        key, what = step
        told.append(what)
    return told[::-1]
