"""`raycons check`: exit codes, what it prints, models of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from raycons.cli import main
from raycons.verify import Operation, encoded
from raycons.verify.search import Search
from tests.verify.histories import busy, op

GOOD = [op(0, "put", 0, 1, "1"), op(1, "get", 2, 3, out="1")]
STALE = [*GOOD, op(0, "put", 4, 5, "2"), op(1, "get", 6, 7, out="1")]


def saved(path: Path, ops: list[Operation]) -> str:
    path.write_bytes(b"".join(map(encoded, ops)))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(capsys.readouterr().out)
    return whole


def test_linearizable_is_code_zero(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check", saved(file, GOOD), "--format", "json"]) == 0
    told = report(capsys)
    assert (told["verdict"], told["operations"], told["violation"]) == ("linearizable", 2, None)


def test_a_violation_is_code_one_and_is_shown(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.svg"
    assert main.run(["check", saved(file, STALE), "--picture", str(picture)]) == 1
    out = capsys.readouterr().out
    assert "not linearizable" in out
    assert 'get: "1"    not possible where the state is "2"' in out
    assert picture.read_text().startswith("<svg")


def test_a_violation_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check", saved(file, STALE), "--format", "json"]) == 1
    shown = report(capsys)["violation"]
    assert shown["key"] == "x"
    assert shown["impossible"]["call"] == 6
    assert [one["return"] for one in shown["operations"]] == [1, 5, 7]


def test_out_of_time_is_code_two(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = saved(file, busy(1, 2000, 8, 1))
    assert main.run(["check", history, "--timeout", "0", "--format", "json"]) == 2
    told = report(capsys)
    assert (told["verdict"], told["undecided_objects"]) == ("undecided", 1)


def test_bad_input_is_code_three_and_names_the_line(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(file, GOOD)
    file.write_bytes(file.read_bytes() + b'{"client": 3}\n')
    assert main.run(["check", str(file)]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"raycons: {file}: line 3: no 'op'\n"


def test_a_missing_file_is_code_three(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["check", str(file)]) == 3
    assert "cannot be read" in capsys.readouterr().err


def test_a_value_that_the_model_cannot_take_is_code_three(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = saved(file, [op(0, "add", 0, 1, "one")])
    assert main.run(["check", history, "--model", "counter"]) == 3
    assert "the model counter cannot take this history" in capsys.readouterr().err


def test_a_model_that_fails_is_no_verdict(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from raycons.verify import Model\n"
        "class Broken(Model):\n"
        "    operations = ('look',)\n"
        "    def initial(self):\n"
        "        return 0\n"
        "    def step(self, state, op):\n"
        "        raise RuntimeError('not today')\n"
    )
    history = saved(file, [op(0, "look", 0, 1, out=True)])
    assert main.run(["check", history, "--model", f"{source}:Broken"]) == 3
    assert "not today" in capsys.readouterr().err
    source.write_text("class Broken(\n")
    assert main.run(["check", history, "--model", f"{source}:Broken"]) == 2
    assert "cannot be loaded" in capsys.readouterr().err


FLAG = """
from raycons.verify import IMPOSSIBLE, Model

class Flag(Model):
    operations = ('raise', 'look')
    def initial(self):
        return False
    def step(self, state, op):
        if op.op == 'raise':
            return True
        return state if op.unknown or op.out == state else IMPOSSIBLE
"""


def flags(file: Path) -> list[str]:
    """What checks a good history of a model of one's own."""
    source = file.with_name("mine.py")
    source.write_text(FLAG)
    history = saved(file, [op(0, "raise", 0, 1), op(0, "look", 2, 3, out=True)])
    return ["check", history, "--model", f"{source}:Flag"]


def test_a_state_that_cannot_be_remembered_is_the_models(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = flags(file)
    file.with_name("mine.py").write_text(FLAG.replace("return False", "return bytearray()"))
    assert main.run(arguments) == 3
    assert "a model's state must be hashable" in capsys.readouterr().err


@pytest.mark.parametrize("built_in", [True, False])
def test_an_error_of_the_checker_is_not_blamed_on_the_model(
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    built_in: bool,
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Search, "_after", broken)
    arguments = ["check", saved(file, GOOD)] if built_in else flags(file)
    assert main.run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("raycons: unexpected KeyError: 'a bug' (set RAYCONS_DEBUG=1")


@pytest.mark.parametrize(
    "arguments", [["--model", "stack"], ["--model", "no.such:Thing"], ["--picture", "a.png"]]
)
def test_wrong_usage_is_code_two_and_says_nothing_on_stdout(
    file: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["check", saved(file, GOOD), *arguments]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("model", "ops"),
    [
        ("queue", [op(0, "enqueue", 0, 1, 5), op(0, "dequeue", 2, 3, out=5)]),
        ("lock", [op(0, "acquire", 0, 1, "a", out=True), op(1, "release", 2, 3, "a", out=True)]),
        ("counter", [op(0, "add", 0, 1, 5), op(0, "get", 2, 3, out=5)]),
    ],
)
def test_built_in_models(file: Path, model: str, ops: list[Operation]) -> None:
    assert main.run(["check", saved(file, ops), "--model", model]) == 0
    assert main.run(["check", saved(file, ops[1:]), "--model", model]) == 1
    assert main.run(["check", saved(file, ops)]) == 3  # no operations of the default model


def test_a_model_of_ones_own(file: Path) -> None:
    arguments = flags(file)
    assert main.run(arguments) == 0
    saved(file, [op(0, "look", 2, 3, out=True)])
    assert main.run(arguments) == 1
