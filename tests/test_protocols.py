"""Every code block of docs/protocols.md is run, as a reader would run it.

The python blocks are one program, in their order. The console blocks are run line by line; what
stands below a command is what it must print, but for seconds.
"""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from raycons.simulation.mutants.synod import all_mistakes
from tests.cli.sandbox import Sandbox

PAGE = (Path(__file__).parent.parent / "docs" / "protocols.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall(PAGE)
SECONDS = re.compile(r'"seconds":[\d.]+')


def test_no_block_is_left_out() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "console", ""}  # "": drawings
    assert "one of\n14 mistakes" in PAGE
    assert len(all_mistakes()) == 14


def test_the_python_blocks_run(
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "protocols.py"
    program.write_text("\n".join(content for language, content in BLOCKS if language == "python"))
    runpy.run_path(str(program))
    assert "p1 to a5: prepare 1.1" in capsys.readouterr().out
    assert (tmp_path / "run.svg").read_text().startswith("<svg")


def test_the_console_blocks_run(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for language, content in BLOCKS:
        if language != "console":
            continue
        command, *output = content.splitlines()
        program, *arguments = shlex.split(command.removeprefix("$ "))
        assert program == "raycons"
        done = sandbox.run(*arguments)
        assert done.returncode == (1 if "--mistake" in arguments else 0), done.stderr.decode()
        if output:
            printed = SECONDS.sub('"seconds":SECONDS', done.stdout.decode())
            assert printed.splitlines() == output
    assert "are both chosen" in (tmp_path / "why.svg").read_text()
