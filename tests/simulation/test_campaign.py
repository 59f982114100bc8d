"""Campaigns: determinism, what a short one must come to, and the command line around it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from raycons.cli.simulate import command
from raycons.consensus.raft.core import Core
from raycons.errors import BadArgument
from raycons.simulation.campaign import Campaign, simulate

FIRST_SEEDS = 60
ALL_SEEDS = 1000

# What must have happened in a campaign that proves something, at the least for each seed.
LEAST_PER_SEED = {
    "committed": 100,
    "messages": 1000,
    "became-leader": 1,
    "fault crash": 0.5,
    "fault partition": 0.5,
    "fault pause": 0.5,
    "fault reset": 0.5,
    "fault tear": 0.2,
    "fault weather": 0.5,
    "fault slow-disk": 0.3,
    "fault stalled-disk": 0.2,
    "fault clock": 0.3,
    "fault crash-all": 0.1,
    "fault client-crash": 0.1,
    "fault clog": 0.5,
    "fault swizzle": 0.1,
    "fault io-error": 0.1,
    "fault disk-full": 0.1,
    "order records rotten": 0.05,
    "StoreError": 0.1,
    "StoreFull": 0.1,
    "StoreCorrupt": 0.02,
    "snapshot-installed": 0.2,
    "log-compacted": 5,
    "configuration": 2,
    "order Add done": 0.1,
    "order Remove done": 0.1,
    "order Transfer done": 0.2,
    "result OutcomeUnknown": 1,
    "result PutDone": 20,
    "result SwapDone": 20,
    "result TxnDone": 20,
    "result RangeDone": 20,
}

# Of what is listed as rare, what the first seeds reach fewer than ten times: that is luck.
TOO_RARE = {
    "because our disk does not answer",
    "because removed from the configuration",
    "impostor copy",
    "retired",
}


def check(campaign: Campaign) -> None:
    for finding in campaign.violations:
        story = "\n".join(finding.story[-40:])
        pytest.fail(f"{story}\n{finding.invariant}: {finding.message}\nreplay: {finding.replay}")
    for name, least in LEAST_PER_SEED.items():
        assert campaign.coverage.get(name, 0) >= least * campaign.seeds, name


@pytest.mark.timeout(240)
def test_a_short_campaign_finds_nothing_in_a_world_full_of_faults() -> None:
    campaign = simulate("raft", FIRST_SEEDS, jobs=os.cpu_count() or 1)
    check(campaign)
    assert set(campaign.never_reached) <= TOO_RARE


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_seeds_find_nothing() -> None:
    campaign = simulate("raft", ALL_SEEDS, first_seed=FIRST_SEEDS, jobs=os.cpu_count() or 1)
    check(campaign)
    assert campaign.never_reached == []


def test_jobs_do_not_change_the_result() -> None:
    alone = simulate("raft", 6, seconds=2.0)
    shared = simulate("raft", 6, seconds=2.0, jobs=2)
    assert (alone.trace, alone.events, alone.coverage) == (
        shared.trace,
        shared.events,
        shared.coverage,
    )
    assert simulate("raft", 6, first_seed=1, seconds=2.0).trace != alone.trace


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(BadArgument, match="choose from: raft"):
        simulate("zab", 1)
    with pytest.raises(BadArgument, match="at least one seed"):
        simulate("raft", 0)


# --- the command ----------------------------------------------------------------------------------


def test_json_goes_alone_to_standard_output() -> None:
    result = CliRunner().invoke(command, ["--seeds", "2", "--seconds", "2", "--format", "json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["seeds"], told["violations"], told["protocol"]) == (2, [], "raft")
    assert told["seeds_per_second"] > 0
    assert told["events_per_second"] > 0


def test_the_table_tells_what_happened() -> None:
    result = CliRunner().invoke(command, ["--seeds", "1", "--seconds", "2"])
    assert result.exit_code == 0, result.output
    assert "violations" in result.output
    assert "committed" in result.output


@pytest.fixture
def broken_voting() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Core, "after_hard_state", lambda replica: 0)
        yield


@pytest.mark.usefixtures("broken_voting")
def test_a_violation_exits_with_one_and_prints_the_command_that_replays_it() -> None:
    runner = CliRunner()
    first = runner.invoke(command, ["--seeds", "10", "--seconds", "5", "--format", "json"])
    assert first.exit_code == 1
    found = json.loads(first.stdout)["violations"][0]
    assert found["replay"] == f"raycons simulate --protocol raft --seed {found['seed']} --seconds 5"
    arguments = [*found["replay"].split()[2:], "--format", "json"]
    [again] = json.loads(runner.invoke(command, arguments).stdout)["violations"]
    assert (again["step"], again["invariant"]) == (found["step"], found["invariant"])
    table = runner.invoke(command, arguments[:-2])
    assert table.exit_code == 1
    assert found["replay"] in table.output
