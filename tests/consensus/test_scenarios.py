"""Every scenario file is a test; its first comment says what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runner import run_scenario

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.scenario"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    run_scenario(path)


def test_every_scenario_says_what_it_shows() -> None:
    assert SCENARIOS
    for path in SCENARIOS:
        assert path.read_text().startswith("# "), path.name


def test_a_false_expectation_fails_and_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "wrong.scenario"
    path.write_text("cluster 3\nelect 1\nexpect term 1: 2\n")
    with pytest.raises(AssertionError, match=r"wrong.scenario:3: .*\n.*term 1 is: 1"):
        run_scenario(path)
