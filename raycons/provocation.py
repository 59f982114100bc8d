"""Marks for the points of the code that a simulation may bend.

FoundationDB calls them BUGGIFY (Zhou and others, SIGMOD 2021): places where the code has a choice
that may cost time, but never correctness; how large a batch is, how early a log is cut. Bugs hide
behind rare choices, so the simulator makes them often.

A mark is a word on a method and nothing more: there is no switch, and nothing runs that would not
run without it. The simulator puts its own method over the marked one, on the objects of its own
members (`raycons.simulation.provocation`, which also says what each point's bend is).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def bendable(*points: str) -> Callable[[Method], Method]:
    """Mark a method as one that a simulation may bend, at the named points.

    >>> @bendable("smallest-batch")
    ... def batch_size() -> int:
    ...     return 500
    >>> batch_size()
    500
    """

    def mark(method: Method) -> Method:
        method.__bendable__ = points  # type: ignore[attr-defined]
        return method

    return mark


def marks(kind: type) -> Iterator[tuple[str, str]]:
    """The points marked in a class, each with its method's name."""
    for name in dir(kind):
        for point in getattr(getattr(kind, name), "__bendable__", ()):
            yield point, name
