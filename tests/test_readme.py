"""Every code block of the README is run, as a reader would run it.

The python blocks are one program, in their order, in a process and a Ray of their own. The
console blocks are run line by line; what stands below a command is what it must print. `make` lines
are only checked to be targets: a test that runs `make test` would never end.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TIMEOUT_S = 240.0


class Command(NamedTuple):
    """A line of a console block, and the lines that it is shown to print."""

    line: str
    output: list[str]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return [content for kind, content in BLOCK.findall(text) if kind == language]


def commands() -> list[Command]:
    found: list[Command] = []
    for block in blocks("console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ "), []))
            elif line:
                found[-1].output.append(line)
    return found


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    try:
        yield made
    finally:
        made.close()


def share_a_ray(sandbox: Sandbox) -> None:
    """Name one Ray to all benches: each would make its own, which takes longer than to measure."""
    if "RAY_ADDRESS" not in sandbox.environment:
        sandbox.json("up", "--storage", "memory")
        record = json.loads((sandbox.root / "data" / "local-ray.json").read_bytes())
        sandbox.environment["RAY_ADDRESS"] = record["address"]
        sandbox.environment["RAY_AUTH_MODE"] = record["auth_mode"]


def test_no_block_is_left_out() -> None:
    languages = {kind for kind, _ in BLOCK.findall((ROOT / "README.md").read_text())}
    assert languages == {"python", "console", "text"}  # text: needs hosts that a test has not
    assert len(blocks("python")) >= 5
    assert len(commands()) >= 10


def test_the_python_blocks_run(sandbox: Sandbox, tmp_path: Path) -> None:
    program = tmp_path / "readme.py"
    program.write_text("\n".join(blocks("python")))
    done = subprocess.run(
        [sys.executable, str(program)],
        env=sandbox.environment,
        cwd=tmp_path,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "('jobs/42', b'running')" in done.stdout.decode()


@pytest.mark.timeout(900)
def test_the_console_blocks_run(sandbox: Sandbox) -> None:
    for line, output in commands():
        program, *arguments = shlex.split(line)
        if program == "make":
            planned = subprocess.run(
                ["make", "-n", *arguments], cwd=ROOT, capture_output=True, timeout=60, check=False
            )
            assert planned.returncode == 0, (line, planned.stderr.decode())
            continue
        assert program == "raycons", line
        if arguments[0] == "bench":
            share_a_ray(sandbox)
        done = sandbox.run(*arguments)
        assert done.returncode == 0, (line, done.stderr.decode())
        if output:
            assert done.stdout.decode().splitlines() == output, line
