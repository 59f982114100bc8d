"""Exhaustive search of a small scope: every order of events, with every loss, or a counterexample.

Where the simulator draws some of the worlds of many replicas, this walks through all of few.
Breadth first, so that what it finds is as short as it can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

import msgspec

from raycons.errors import BadArgument

State = TypeVar("State", bound=Hashable)


class Scope(Protocol[State]):
    """What is to be explored."""

    def initial(self) -> State:
        """Where everything begins."""

    def successors(self, state: State) -> Iterable[tuple[str, State]]:
        """What may happen next, in words, and the state that it leads to."""

    def broken(self, state: State) -> str | None:
        """What does not hold in this state; None where all does."""


class Exploration(msgspec.Struct, frozen=True):
    """What an exploration came to. `broken` is None where everything held in every state."""

    states: int
    transitions: int
    depth: int  # of the state that is farthest from the first
    broken: str | None
    story: list[str]  # the shortest way to what is broken


class _Search(Generic[State]):
    def __init__(self) -> None:
        self.before: dict[State, tuple[State, str] | None] = {}

    def story(self, state: State) -> list[str]:
        """What led to a state."""
        told = []
        while (step := self.before[state]) is not None:
            state, what = step
            told.append(what)
        return told[::-1]


def explore(scope: Scope[State], most: int = 5_000_000) -> Exploration:
    """Go through all states that can be reached.

    Raises BadArgument where there are more than `most`: the scope is too large to be exhausted.
    """
    search: _Search[State] = _Search()
    first = scope.initial()
    search.before[first] = None
    waiting = deque([(first, 0)])
    transitions = depth = 0
    while waiting:
        state, depth = waiting.popleft()
        broken = scope.broken(state)
        if broken is not None:
            story = search.story(state)
            return Exploration(len(search.before), transitions, depth, broken, story)
        for what, after in scope.successors(state):
            transitions += 1
            if after not in search.before:
                if len(search.before) >= most:
                    raise BadArgument(f"more than {most:,} states: choose a smaller scope")
                search.before[after] = state, what
                waiting.append((after, depth + 1))
    return Exploration(len(search.before), transitions, depth, None, [])
