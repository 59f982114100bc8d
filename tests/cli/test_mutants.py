"""`raycons mutants`: what it prints, its exit codes, the tables that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raycons.cli import main

FAST = ["mutants", "--campaigns", "2", "--seeds", "3"]
BEGIN, END = "<!-- mutants of identity: begin -->", "<!-- mutants of identity: end -->"


def test_a_mutant_is_told_with_its_seeds_its_check_and_its_replay(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run([*FAST, "vote-forgotten-at-once", "--format", "json", "--jobs", "2"]) == 0
    [found] = json.loads(capsys.readouterr().out)["mutants"]
    assert found["found"] == 2
    assert 1 <= found["median_seeds"] <= found["max_seeds"] <= 3
    assert found["invariants"] == {"vote-once": 2}
    assert main.run(found["replay"].split()[1:]) == 1
    assert "vote-forgotten-at-once: seed " in capsys.readouterr().out


def test_a_mutant_that_survives_is_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    hardly = ["--campaigns", "1", "--seeds", "1", "--seconds", "0.001"]
    assert main.run(["mutants", "voters-changed-in-one-step", *hardly]) == 1
    assert "0/1" in capsys.readouterr().out


def test_a_replay_is_of_one_mutant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mutants", "--seed", "1"]) == 2
    assert "name it" in capsys.readouterr().err


def test_the_table_of_a_duty_is_written_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main.run([*FAST, "identity", "--update", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "old\n" not in text
    assert "| **removed-replica-re-added-under-its-old-id**:" in text
    assert "`raycons mutants identity --campaigns=2 --seeds=3 --jobs=1`" in text


def test_a_file_without_the_markers_is_refused_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    assert main.run([*FAST, "identity", "--update", str(page)]) == 2
    assert page.read_text() == "nothing\n"
    assert "lacks the lines" in capsys.readouterr().err
