"""Groups of registers in the virtual world: a short campaign, and what it must have met."""

from __future__ import annotations

import os

import msgspec
import pytest

from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.machines.kv.commands import Put, PutDone
from raycons.machines.register import Record, Request
from raycons.simulation.campaign import Campaign, simulate
from raycons.simulation.caspaxos.chains import Chain, Proposal
from raycons.simulation.determinism import check_determinism
from raycons.simulation.world import Violation

FIRST_SEEDS = 10
SECONDS = 5.0
ALL_SEEDS = 1000

# What must have happened in a campaign that proves something, at the least for each seed.
LEAST_PER_SEED = {
    "chosen": 40,
    "messages": 1000,
    "short rounds": 20,
    "quick reads": 10,
    "refused rounds": 10,
    "fault crash": 0.3,
    "fault partition": 0.3,
    "fault reset": 0.3,
    "fault membership": 0.1,
    "configuration": 0.5,
    "collected": 0.5,
    "erased": 0.5,
    "result OutcomeUnknown": 0.5,
    "result PutDone": 10,
    "result SwapDone": 10,
    "result DeleteDone": 5,
    "result RangeDone": 10,
}


def check(campaign: Campaign) -> None:
    for finding in campaign.violations:
        story = "\n".join(finding.story[-40:])
        pytest.fail(f"{story}\n{finding.invariant}: {finding.message}\nreplay: {finding.replay}")
    for name, least in LEAST_PER_SEED.items():
        assert campaign.coverage.get(name, 0) >= least * campaign.seeds, name


def test_a_short_campaign_finds_nothing_in_a_world_full_of_faults() -> None:
    campaign = simulate("caspaxos", FIRST_SEEDS, seconds=SECONDS, jobs=os.cpu_count() or 1)
    check(campaign)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_seeds_find_nothing() -> None:
    campaign = simulate("caspaxos", ALL_SEEDS, first_seed=FIRST_SEEDS, jobs=os.cpu_count() or 1)
    check(campaign)
    assert campaign.never_reached == []


def test_a_seed_leads_to_the_same_run_in_every_process() -> None:
    assert check_determinism(range(3), 2.0, "caspaxos") == []


def test_a_chain_that_parts_is_seen() -> None:
    def proposal(base: Ballot, value: bytes, number: int) -> Proposal:
        request = Request(Put(b"k", value), 1, number, 0, 1)
        record = msgspec.msgpack.encode(Record(value, number, number, 1))
        return Proposal(base, record, [request], [PutDone(number)], 1, 0)

    first, second, third = Ballot(1, 1, 0), Ballot(2, 2, 0), Ballot(3, 1, 0)
    chain = Chain(b"k")
    chain.proposals = {
        first: proposal(NO_BALLOT, b"a", 1),
        second: proposal(first, b"b", 2),
        third: proposal(first, b"c", 3),
    }
    assert chain.chosen(second) == [b"a", b"b"]
    assert chain.chosen(first) == []
    with pytest.raises(Violation, match="one-chain"):
        chain.chosen(third)
