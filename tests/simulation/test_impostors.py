"""Processes that go by a member's id: nobody who could be harmed lets them in."""

from __future__ import annotations

from collections import Counter

from raycons.simulation.mutants.worlds import copied
from raycons.simulation.run import Run
from raycons.simulation.scenario import FAULTS, JOINING, draw
from raycons.simulation.world import World

SEEDS = range(6)


def test_copies_and_strangers_come_and_are_refused() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        scenario = copied(draw(World(seed).random("scenario")))
        outcome = Run(seed, scenario).execute(20.0)
        assert outcome.violation is None
        seen.update(outcome.coverage)
    assert seen["impostor copy"] >= 5
    assert seen["impostor stranger"] >= 5
    assert seen["peer-refused"] >= 100


def test_nobody_joins_where_members_may_be_copied() -> None:
    """Who never met a member takes a copy for it: `raycons.member.peers` says so."""
    scenarios = [draw(World(seed).random("scenario")) for seed in range(300)]
    with_impostors = [each for each in scenarios if "impostor" in each.rates]
    assert len(with_impostors) > 50
    assert not any(kind in each.rates for each in with_impostors for kind in JOINING)
    assert set(JOINING) < set(FAULTS)
