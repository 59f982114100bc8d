"""Exit codes and error lines, without a Ray."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import click
import pytest
import ray

from raycons.cli import main
from raycons.cluster import connection, handle, lifecycle, opening, rays
from raycons.errors import BadArgument, ClusterNotFound, NoSuchMember, Unavailable
from raycons.store import host


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Makes `raycons status` raise what the test puts in the list."""
    errors: list[Exception] = []

    @click.command()
    def status() -> None:
        raise errors[0]

    def get_command(self: object, context: object, name: str) -> click.Command:
        return status

    monkeypatch.setattr(main.LazyGroup, "get_command", get_command)
    return errors


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NoSuchMember("no member 9;\n it has [1]"), 1, "raycons: no member 9; it has [1]\n"),
        (BadArgument("replicas=0: too few"), 2, "raycons: replicas=0: too few\n"),
        (
            ExceptionGroup("unhandled", [Unavailable("no leader answers")]),
            1,
            "raycons: no leader answers\n",
        ),
        (
            KeyError("x"),
            1,
            "raycons: unexpected KeyError: 'x' (set RAYCONS_DEBUG=1 for the traceback)\n",
        ),
    ],
)
def test_an_error_is_one_line_and_a_code(
    failing: list[Exception],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    failing.append(error)
    assert main.run(["status"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", line)


def test_a_ray_that_does_not_let_go_does_not_change_the_code(
    failing: list[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise RuntimeError("the core worker hangs")

    monkeypatch.setattr(ray, "shutdown", refuse)
    failing.append(BadArgument("replicas=0: too few"))
    with pytest.raises(SystemExit) as ended:
        main.main(["status"])
    assert ended.value.code == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "raycons: replicas=0: too few"
    assert second.startswith("raycons: Ray did not let go: unexpected RuntimeError: the core")


# What the API says, with the line of code that says it.
ADVICE = [
    (lifecycle, "raycons.start({name!r}) creates it", "`raycons up --name prod` creates it"),
    (handle, "raycons.start({self.name!r}) makes one", "`raycons up --name prod` makes one"),
    (connection, "raycons.start({name!r})", "`raycons up --name prod`"),
    (opening, "stop({name!r}, destroy=True)", "`raycons down --name prod --destroy`"),
    (host, "start(path=...)", "`raycons up --path ...`"),
    (rays, "ray.init(address=...), or raycons.start(...)", "`raycons up`"),
]


@pytest.mark.parametrize(("module", "says", "command"), ADVICE)
def test_advice_names_the_command(module: ModuleType, says: str, command: str) -> None:
    assert says in inspect.getsource(module)  # else this test is about what nobody says
    message = says.replace("{name!r}", "'prod'").replace("{self.name!r}", "'prod'")
    told = main.explain(ClusterNotFound(f"set RAY_ADDRESS, or call {message} again"))
    assert command in told
    assert "start(" not in told
    assert "stop(" not in told


def test_debugging_shows_the_traceback(
    failing: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(main.DEBUG_VARIABLE, "1")
    failing.append(NoSuchMember("no member 9"))
    with pytest.raises(NoSuchMember):
        main.run(["status"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["kv", "get"],
        ["kv", "cas", "a", "b"],
        ["kv", "cas", "a", "b", "--expect", "c", "--expect-absent"],
        ["kv", "range", "a", "--start", "b"],
        ["bench", "write", "--clients", "0"],
        ["bench", "write", "--seconds", "0"],
        ["bench", "failover", "--fault", "flood"],
        ["members", "remove", "three"],
        ["up", "--port-range", "7000"],
        ["up", "--port-range", "7000-"],
    ],
)
def test_wrong_usage_is_code_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Error" in captured.err


@pytest.mark.parametrize("command", list(main.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == 0
    assert "Usage: raycons" in capsys.readouterr().out


def test_help_does_not_load_ray() -> None:
    code = (
        "import sys; from raycons.cli.main import run\n"
        "assert run(['--help']) == run(['simulate', '--help']) == 0\n"
        "sys.exit('ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
