"""Disks that lose what they reported as durable: the leader who counted on it retires the voter."""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from raycons.simulation.run import Run
from raycons.simulation.scenario import draw
from raycons.simulation.world import World


def test_a_group_bears_a_voter_whose_disk_lied_and_its_leader_retires_it() -> None:
    seen: Counter[str] = Counter()
    for seed in range(5):
        drawn = draw(World(seed).random("scenario"))
        rates = {"lost-fsync": 1.0, "crash": 0.2, "membership": 0.3}
        outcome = Run(seed, replace(drawn, voters=3, learners=0, rates=rates)).execute(20.0)
        assert outcome.violation is None
        seen.update(outcome.coverage)
    assert seen["order batches forgotten"] >= 20
    assert seen["retired"] >= 3
