"""Shrinking: what a failure does not need is left out, and what it needs stays."""

from __future__ import annotations

import json

import msgspec
import pytest
from click.testing import CliRunner

from raycons.cli.simulate import command
from raycons.simulation.faults import Nemesis
from raycons.simulation.run import Run
from raycons.simulation.scenario import Scenario
from raycons.simulation.shrink import shrink
from raycons.simulation.world import Violation

SECONDS = 3.0


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> int:
    """A seed that fails at its first pause, and at nothing else."""

    def fail(nemesis: Nemesis) -> None:
        raise Violation("planted", "a pause is too much for it")

    monkeypatch.setattr(Nemesis, "_pause", fail)
    return next(seed for seed in range(50) if fails(seed))


def fails(seed: int) -> bool:
    run = Run(seed)
    return len(run.scenario.rates) > 3 and run.execute(SECONDS).violation is not None


def test_only_what_the_failure_needs_is_left(seed: int) -> None:
    asked: list[str] = []
    shrunk = shrink(seed, SECONDS, asked.append)
    assert shrunk is not None and shrunk.outcome.violation is not None
    assert (shrunk.faults, shrunk.bends) == (["pause"], [])
    assert shrunk.outcome.violation.invariant == "planted"
    assert "pause" in asked and set(shrunk.left_out) == set(asked) - {"pause"}


def test_a_seed_that_holds_is_not_shrunk() -> None:
    assert shrink(1, 0.5) is None


def test_the_command_shows_what_is_left(seed: int) -> None:
    arguments = ["--seed", str(seed), "--seconds", str(SECONDS), "--shrink"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "needs: pause\n" in result.output
    assert "planted: a pause is too much for it" in result.output


def test_json_holds_the_scenario_that_is_left(seed: int) -> None:
    arguments = ["--seed", str(seed), "--seconds", str(SECONDS), "--shrink", "--format", "json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    [shrunk] = told["shrunk"]
    assert (shrunk["faults"], shrunk["bends"]) == (["pause"], [])
    assert shrunk["outcome"]["violation"]["invariant"] == told["violations"][0]["invariant"]
    scenario = msgspec.convert(shrunk["scenario"], Scenario)
    again = Run(seed, scenario).execute(SECONDS)
    assert msgspec.to_builtins(again) == shrunk["outcome"]


def test_without_the_option_nothing_is_shrunk(seed: int) -> None:
    arguments = ["--seed", str(seed), "--seconds", str(SECONDS), "--format", "json"]
    told = json.loads(CliRunner().invoke(command, arguments).stdout)
    assert told["violations"]
    assert "shrunk" not in told
