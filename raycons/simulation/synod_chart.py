"""What the explorer found in single-decree Paxos, as a message-sequence chart."""

from __future__ import annotations

import re
from collections import Counter

from raycons.charts.chart import Chart
from raycons.charts.events import Event, Kind
from raycons.simulation.explorer import Exploration
from raycons.simulation.synod_scope import CRASH, SynodScope

_ARRIVAL = re.compile(r"(\w+) -> (\w+): (.*)")
STEP_S = 0.001  # steps have no time; a chart's rows have


def chart_of(found: Exploration, scope: SynodScope) -> Chart:
    """The story of an exploration, without the messages that never arrive in it.

    `scope` is the one that was explored, with the same mistake planted: the story is played again,
    to see when each message was sent.
    """
    awaited = Counter(step.removesuffix(CRASH) for step in found.story)
    events: list[Event] = []
    state = scope.initial()
    for number, step in enumerate(found.story):
        after = next(after for words, after in scope.successors(state) if words == step)
        at_s = number * STEP_S
        words = step.removesuffix(CRASH)
        awaited[words] -= 1
        arrival = _ARRIVAL.fullmatch(words)
        if arrival is None:
            name, _, what = step.partition(" ")
            events.append(Event(at_s, name, Kind.NOTE, what))
        else:
            source, target, what = arrival.groups()
            events.append(Event(at_s, target, Kind.RECEIVED, what, words, source))
        for message in sorted(scope.sent_in(state, after)):
            if awaited[message]:
                source, target, what = _parts(message)
                events.append(Event(at_s, source, Kind.SENT, what, message, target))
        if step != words:
            events.append(Event(at_s, events[-1].actor, Kind.CRASHED))
            events.append(Event(at_s, events[-1].actor, Kind.RESTARTED))
        state = after
    names = sorted({event.actor for event in events}, key=lambda name: (name[0] != "p", name))
    if found.broken is not None and events:
        events.append(Event(events[-1].at_s, events[-1].actor, Kind.CHOSEN, found.broken))
    return Chart(events, names, title=found.broken or "nothing is broken")


def _parts(words: str) -> tuple[str, str, str]:
    arrival = _ARRIVAL.fullmatch(words)
    assert arrival is not None
    source, target, what = arrival.groups()
    return source, target, what
