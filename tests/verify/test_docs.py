"""Every Python block of docs/verification.md is run, as a reader would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raycons.verify import check, read_history
from raycons.verify.story import story
from tests.verify.histories import op

PAGE = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [(language, content) for language, content in BLOCK.findall(PAGE)]
PROGRAMS = [content for language, content in BLOCKS if language == "python"]
MS = 1_000_000


def test_the_page_has_programs() -> None:
    assert len(PROGRAMS) == 2


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs_and_prints_what_it_says(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=60,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", program, re.MULTILINE)


def test_a_model_takes_about_ten_lines() -> None:
    model = PROGRAMS[1].split("history = ")[0]
    assert len([line for line in model.splitlines() if line.strip()]) <= 12


def test_the_line_of_the_format_is_read(tmp_path: Path) -> None:
    (line,) = [content for language, content in BLOCKS if language == "json"]
    (tmp_path / "one").write_text(line)
    assert read_history(tmp_path / "one")[0].returned == json.loads(line)["return"]


def test_the_violation_is_shown_so() -> None:
    ops = [
        op(0, "put", 0, MS, "1"),
        op(0, "put", 2 * MS, 3 * MS, "2"),
        op(2, "put", 3 * MS, None, "3"),
        op(1, "get", 4 * MS, 5 * MS, out="1"),
    ]
    shown = check(ops).violation
    assert shown is not None
    assert "\n".join(story(shown)) + "\n" in [content for _, content in BLOCKS]
