"""`raycons explore`: what it reports, its exit codes, mistakes found and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raycons.cli import main

SMALL = ["explore", "synod", "--acceptors", "2"]


def test_the_states_of_a_scope_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*SMALL, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["states"], report["transitions"], report["depth"]) == (2852, 13432, 25)
    assert report["broken"] is None
    assert report["story"] == []


def test_a_table_for_people(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chart = ["--chart", str(tmp_path / "why.svg")]
    assert main.run([*SMALL, "--rounds", "1,0", "--without-refusals", *chart]) == 0
    out, aside = capsys.readouterr()
    assert "nothing is drawn" in aside.replace("\n", " ")
    assert "states" in out
    assert "No two values are chosen" in out


def test_a_mistake_is_found_told_and_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    planted = ["explore", "synod", "--mistake", "one-acceptance-is-enough"]
    picture = tmp_path / "why.svg"
    assert main.run([*planted, "--format", "json", "--chart", str(picture)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert "takes b'11' for chosen" in report["broken"]
    assert report["story"][0] == "p11 begins ballot 1.11"
    assert "accept 1.11" in picture.read_text()
    assert main.run(planted) == 1
    assert "p11 -> a1: accept 1.11 b'11'" in capsys.readouterr().out


def test_a_mistake_is_gone_when_the_command_is_done() -> None:
    assert main.run(["explore", "synod", "--mistake", "quorums-that-do-not-meet"]) == 1
    assert main.run(SMALL) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rounds", "x"], "expected a number"),
        (["--rounds", "1,1,1"], "one for each of 2 proposers"),
        (["--acceptors", "11"], "at most 10"),
        (["--states", "10"], "choose a smaller scope"),
        (["--mistake", "none"], "promise-forgotten"),
        (["--chart", "why.png"], ".svg or .txt"),
        (["--chart", "/nowhere/why.svg"], "no such directory"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["explore", "synod", *arguments]) == 2
    assert words in capsys.readouterr().err
