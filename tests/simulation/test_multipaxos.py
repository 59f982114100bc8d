"""MultiPaxos in the virtual world: campaigns, short and long."""

from __future__ import annotations

from collections import Counter

import pytest

from raycons.simulation.campaign import simulate
from raycons.simulation.determinism import check_determinism
from raycons.simulation.scenario import draw
from raycons.simulation.world import World

SEEDS = 7
ALL_SEEDS = 200

# What must have happened in a campaign that proves something, at the least for each seed.
LEAST_PER_SEED = {
    "committed": 100,
    "messages": 1000,
    "became-leader": 1,
    "fault crash": 0.5,
    "fault partition": 0.5,
    "log-compacted": 2,
    "sent Promise": 3,
    "sent CatchUp": 1,
    "sent Chosen": 1,
    "result PutDone": 10,
    "result RangeDone": 10,
}


def check(seeds: int) -> None:
    found = simulate("multipaxos", seeds)
    for finding in found.violations:
        story = "\n".join(finding.story[-40:])
        pytest.fail(f"{finding.invariant}: {finding.message}\n{finding.replay}\n{story}")
    coverage = Counter(found.coverage)
    assert {
        name: coverage[name]
        for name, least in LEAST_PER_SEED.items()
        if coverage[name] < least * seeds
    } == {}


def test_a_short_campaign_finds_nothing_and_proves_something() -> None:
    check(SEEDS)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_campaign_finds_nothing() -> None:
    check(ALL_SEEDS)


def test_a_seed_is_the_same_in_every_process() -> None:
    assert check_determinism([3], 5.0, "multipaxos") == []


def test_the_scenario_is_rafts_but_for_its_own_part() -> None:
    for seed in range(20):
        raft = draw(World(seed).random("scenario"))
        paxos = draw(World(seed).random("scenario"), "multipaxos")
        assert (raft.raft, raft.rates, raft.voters) == (paxos.raft, paxos.rates, paxos.voters)
        assert (raft.window, paxos.protocol) == (0, "multipaxos")
        assert paxos.window > 0
