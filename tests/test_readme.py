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
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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


def keep_ray(sandbox: Sandbox) -> None:
    """Keep the Ray that `raycons up` has started: it ends with its last cluster."""
    sandbox.json("up", "--name", "keeper", "--replicas", "1", "--storage", "memory")


def name_ray(sandbox: Sandbox) -> None:
    """Name this Ray to all benches: each would make its own, which takes longer than to measure."""
    record = json.loads((sandbox.root / "data" / "local-ray.json").read_bytes())
    sandbox.environment["RAY_ADDRESS"] = record["address"]
    sandbox.environment["RAY_AUTH_MODE"] = record["auth_mode"]


def check_figures(arguments: list[str], report: dict[str, Any]) -> None:
    """What a bench gives as JSON has the promised fields, with what was asked for in them."""
    asked = dict(pairwise(arguments))
    if arguments[1] != "bound":  # which has no members
        assert (report["replicas"], report["storage"], report["transport"]) == (3, "disk", "tcp")
    if arguments[1] == "failover":
        failovers = report["failover_ms"]
        assert report["fault"] == asked["--fault"]
        assert len(failovers["samples"]) == report["trials"] == int(asked["--trials"])
        assert 0 < min(failovers["samples"]) <= failovers["p50"] <= failovers["max"]
        assert failovers["max"] == max(failovers["samples"])
    else:
        assert report["clients"] == int(asked["--clients"])
        assert report["operations_per_second"] > 0
        assert 0 < report["p50_ms"] <= report["p99_ms"]


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
    measured: set[str] = set()
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
            name_ray(sandbox)
        done = sandbox.run(*arguments)
        assert done.returncode == 0, (line, done.stderr.decode())
        if arguments[0] == "up":
            keep_ray(sandbox)
        if arguments[0] == "bench" and "json" in arguments:
            check_figures(arguments, json.loads(done.stdout))
            measured.add(arguments[1])
        if output:
            assert done.stdout.decode().splitlines() == output, line
    assert measured == {"write", "read", "failover", "bound"}
