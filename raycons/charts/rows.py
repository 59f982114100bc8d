"""What a chart shows, row by row: the one layout behind both drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from raycons.charts.events import Event, Kind
from raycons.errors import BadArgument


class Arrow(NamedTuple):
    """A message; its words stand in the row in which it ends."""

    source: str
    target: str
    text: str
    begins: int  # the row in which it is sent
    ends: int
    lost: bool  # nobody received it


class Mark(NamedTuple):
    """Something that happened to one actor."""

    actor: str
    kind: Kind
    text: str
    row: int


class Rows(NamedTuple):
    """A whole chart."""

    actors: list[str]
    arrows: list[Arrow]
    marks: list[Mark]
    times_s: list[float]  # of each row, since the first


def rows(events: Sequence[Event], actors: Sequence[str] = ()) -> Rows:
    """Lay out events, given in an order in which no receipt is above its sending.

    Args:
        events: what happened.
        actors: in which order they stand from left to right; others follow as they are met.

    Raises BadArgument where a receipt is above its sending.

    What one actor sends in a row to several shares one row; each arrival has its own, so that no
    two texts meet. A message that was received twice is two arrows.
    """
    received = {event.message for event in events if event.kind is Kind.RECEIVED}
    names = dict.fromkeys(actors)
    sent: dict[str, tuple[Event, int]] = {}
    arrows: list[Arrow] = []
    marks: list[Mark] = []
    times_s: list[float] = []
    begun: Event | None = None  # the sending whose row the next one may share
    for event in events:
        names.setdefault(event.actor)
        if event.peer:
            names.setdefault(event.peer)
        lost = event.kind is Kind.SENT and event.message not in received
        shares = begun is not None and event.kind is Kind.SENT and begun.actor == event.actor
        if not shares:
            times_s.append(event.at_s - events[0].at_s)
        row = len(times_s) - 1
        begun = event if event.kind is Kind.SENT else None
        if event.kind is Kind.SENT:
            sent[event.message] = event, row
            if lost:
                # Where it ends has a row of its own, so that a broadcast that is lost can be read.
                times_s.append(times_s[-1])
                arrows.append(Arrow(event.actor, event.peer, event.text, row, row + 1, lost=True))
                begun = None
        elif event.kind is Kind.RECEIVED:
            if event.message not in sent:
                raise BadArgument(
                    f"{event.actor} receives message {event.message!r} before it is sent; give a "
                    "chart its events as raycons.charts.ordered puts them"
                )
            sending, begins = sent[event.message]
            arrows.append(Arrow(sending.actor, event.actor, event.text, begins, row, lost=False))
        else:
            marks.append(Mark(event.actor, event.kind, event.text, row))
    return Rows(list(names), arrows, marks, times_s)


def printable(words: str) -> str:
    r"""The words in one line, with what no terminal and no XML can show written as Python does.

    >>> print(printable("a\tb\0"))
    a\tb\x00
    """
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
