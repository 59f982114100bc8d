"""Which faults come when: a seed gives the same rounds again, as far as the cluster plays along.

A round puts one fault on the cluster, or two at once, holds them, lifts them, and leaves the
cluster alone for a while. Kinds are dealt as from a deck of cards, so that each comes before any
comes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import msgspec

SHARE_OF_PAIRS = 0.25
SHARE_AT_LEADER = 0.6
HOLD_S = (0.5, 4.0)  # from, to
REST_S = (0.5, 2.0)


class Planned(msgspec.Struct, frozen=True):
    """One fault of a round."""

    kind: str
    at_leader: bool
    draw: float  # from 0 to 1, for what the fault itself has to choose


class Round(msgspec.Struct, frozen=True):
    """What comes together."""

    faults: tuple[Planned, ...]
    hold_s: float
    rest_s: float


def rounds(seed: int, kinds: Sequence[str], alone: frozenset[str] = frozenset()) -> Iterator[Round]:
    """Rounds without end.

    Args:
        seed: equal seeds give equal rounds.
        kinds: the kinds of faults to deal.
        alone: those that never come with another.
    """
    rng = Random(seed)
    cards = _dealt(rng, kinds)
    held: list[str] = []
    while True:
        chosen = [held.pop() if held else next(cards)]
        if len(kinds) > 1 and rng.random() < SHARE_OF_PAIRS and chosen[0] not in alone:
            second = next(cards)
            fits = second not in alone and second != chosen[0]
            (chosen if fits else held).append(second)
        yield Round(
            tuple(_planned(rng, kind) for kind in chosen),
            round(rng.uniform(*HOLD_S), 2),
            round(rng.uniform(*REST_S), 2),
        )


def _dealt(rng: Random, kinds: Sequence[str]) -> Iterator[str]:
    while True:
        deck = list(kinds)
        rng.shuffle(deck)
        yield from deck


def _planned(rng: Random, kind: str) -> Planned:
    return Planned(kind, rng.random() < SHARE_AT_LEADER, round(rng.random(), 6))
