"""What happened to actors, and the order in which it is told.

Each actor tells its own events in order. Between actors only messages count: whatever an actor did
after it received one comes below what its sender did before it sent it ("Time, Clocks, and the
Ordering of Events in a Distributed System", Lamport, 1978). Clocks decide what that leaves open.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Sequence

import msgspec


class Kind(enum.StrEnum):
    """What an event is."""

    SENT = "sent"
    RECEIVED = "received"
    CHOSEN = "chosen"  # or whatever else the whole is about: it is drawn large
    CRASHED = "crashed"
    RESTARTED = "restarted"
    NOTE = "note"


class Event(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened to an actor."""

    at_s: float  # by one clock for all, in seconds since any moment
    actor: str
    kind: Kind
    text: str = ""
    message: str = ""  # of SENT and RECEIVED: which one; a name that no other message has
    peer: str = ""  # of SENT: to whom; of RECEIVED: from whom


def ordered(histories: Iterable[Sequence[Event]]) -> list[Event]:
    """The events of all actors in one order, in which no receipt is above its sending.

    Args:
        histories: each with events in the order in which they happened; an actor may have several.

    A receipt whose sending nobody tells of, since who sent it lost what it knew, gets one.
    """
    lines = [list(history) for history in histories if history]
    sent = {e.message for line in lines for e in line if e.kind is Kind.SENT}
    told: set[str] = set()
    order: list[Event] = []
    waiting: dict[str, list[int]] = {}  # by message: the lines that go on once it is sent
    ready = [(line[0].at_s, number) for number, line in enumerate(lines)]
    heapq.heapify(ready)
    places = [0] * len(lines)

    def tell(event: Event) -> None:
        order.append(event)
        if event.kind is Kind.SENT:
            told.add(event.message)
            for number in waiting.pop(event.message, ()):
                heapq.heappush(ready, (lines[number][places[number]].at_s, number))

    while ready:
        _, number = heapq.heappop(ready)
        event = lines[number][places[number]]
        if event.kind is Kind.RECEIVED and event.message not in told:
            if event.message in sent:
                waiting.setdefault(event.message, []).append(number)
                continue
            tell(Event(event.at_s, event.peer, Kind.SENT, event.text, event.message, event.actor))
        tell(event)
        places[number] += 1
        if places[number] < len(lines[number]):
            heapq.heappush(ready, (lines[number][places[number]].at_s, number))
    return order
