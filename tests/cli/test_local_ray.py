"""A Ray that `raycons up` starts stays for as long as there is a cluster in it, and no longer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raycons.cli import localray
from tests.cli.sandbox import TIMEOUT_S, Sandbox


@pytest.fixture
def empty() -> Iterator[Sandbox]:
    """A sandbox without a Ray."""
    sandbox = Sandbox()
    try:
        yield sandbox
    finally:
        sandbox.close()


def record_of(sandbox: Sandbox) -> Path:
    return sandbox.root / "data" / localray.RECORD


def test_a_head_has_our_environment_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    monkeypatch.setenv("RAY_worker_niceness", "5")
    monkeypatch.delenv("RAY_event_stats", raising=False)
    environment = localray.head_environment()
    assert environment["RAY_worker_niceness"] == "5"
    assert environment["RAY_event_stats"] == "0"
    assert environment["RAY_AUTH_MODE"] == "token"
    assert "RAY_ADDRESS" not in environment


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--replicas", "0"), b"replicas=0"),
        (("--name", "a/b"), b"cluster name 'a/b'"),
    ],
)
def test_no_ray_is_started_for_wrong_arguments(
    empty: Sandbox, arguments: tuple[str, ...], says: bytes
) -> None:
    done = empty.run("up", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr
    assert not record_of(empty).exists()
    assert not (empty.root / "data" / localray.LOG).exists()


def test_the_ray_of_a_cluster_that_does_not_start_ends(empty: Sandbox) -> None:
    file = empty.root / "file"
    file.touch()
    done = empty.run("up", "--path", str(file / "below"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"has ended" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not record_of(empty).exists()


def test_down_ends_an_empty_ray_also_where_it_finds_no_cluster(empty: Sandbox) -> None:
    subprocess.run(
        [sys.executable, "-c", "from raycons.cli import localray; localray.start()"],
        env=empty.environment,
        timeout=TIMEOUT_S,
        check=True,
    )
    record = json.loads(record_of(empty).read_bytes())
    done = empty.run("down", "--name", "nowhere", "--format", "json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"'nowhere'" in done.stderr
    assert not record_of(empty).exists()
    assert localray.start_time(record["pid"]) is None
