"""No decision asks a wall clock; replicated time goes on whoever leads and wherever it restarts."""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import raycons
from raycons.client.kv import AsyncKv
from raycons.machines.sessions import Sessions
from raycons.member.clock import boottime
from raycons.store.contract import Space
from tests.recording import Recordings

from .town import Town, eventually, play, town

PACKAGE = Path(raycons.__file__).parent
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "CLOCK_REALTIME"}

CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"}
CLOCKS |= {f"{name}_ns" for name in CLOCKS}


def names_of_wall_clocks(file: Path) -> Iterator[str]:
    """Where a file names a wall clock of the `time` or `datetime` module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("time", "datetime", "date") and node.attr in WALL_CLOCKS:
                yield f"{file}:{node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            for alias in node.names:
                if alias.name in WALL_CLOCKS | {"datetime", "date"}:
                    yield f"{file}:{node.lineno}: from {node.module} import {alias.name}"


def names_of_clocks(file: Path) -> Iterator[str]:
    """Where a file names any clock, that of an event loop included, but ours."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            yield f"{file}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"{file}:{node.lineno}: from time import ..."


def test_the_search_for_wall_clocks_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "guilty.py"
    file.write_text("import time\nfrom datetime import datetime\nnow = time.time()\n")
    assert len(list(names_of_wall_clocks(file))) == 2
    file.write_text("from time import monotonic\nthen = loop.time() + time.perf_counter()\n")
    assert len(list(names_of_clocks(file))) == 3


def test_no_part_of_the_package_asks_a_wall_clock() -> None:
    """But for what dates the events in a picture of several hosts."""
    found = [name for file in sorted(PACKAGE.rglob("*.py")) for name in names_of_wall_clocks(file)]
    assert len(found) == 1
    assert found[0].startswith(str(PACKAGE / "decree" / "recording.py"))


def test_members_and_clients_ask_one_clock_only() -> None:
    files = [*PACKAGE.joinpath("member").rglob("*.py"), *PACKAGE.joinpath("client").rglob("*.py")]
    found = [name for file in sorted(files) for name in names_of_clocks(file)]
    assert found == [name for name in found if name.startswith(str(PACKAGE / "member/clock.py"))]
    assert len(found) == 1  # the clock itself


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux counts suspension there")
def test_promises_are_counted_by_a_clock_that_runs_on_in_suspension() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def sessions(members: Town, id: int) -> set[int]:
    """The sessions in a member's table."""
    shell = members.members[id]._shell
    assert shell is not None
    table = shell.engine._machine
    assert isinstance(table, Sessions)
    return set(table._sessions)


def listen_to(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """Who asks which clock from now on: the modules that ask `boottime`, and the clocks' ids."""
    true, asked = time.clock_gettime, set[tuple[str, int]]()

    def clock_gettime(clock: int) -> float:
        caller = sys._getframe(2).f_globals["__name__"]
        asked.add((caller, clock))
        return true(clock)

    monkeypatch.setattr(time, "clock_gettime", clock_gettime)
    return asked


def test_a_wall_clock_that_jumps_expires_nobody(
    tmp_path: Path, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = listen_to(monkeypatch)

    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found()
            kv = recordings.wrap(AsyncKv(members.client(session_ttl_s=5.0)))
            await kv.put("key", b"before")
            opened = sessions(members, members.leader())
            assert len(opened) == 1
            term = members.status(members.leader())["term"]
            for jump_s in (10 * 365 * 86400.0, -86400.0):
                wrong = time.time() + jump_s
                monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
                monkeypatch.setattr(time, "time_ns", lambda wrong=wrong: int(wrong * 1e9))
                # The leader asks once a second whether a session ran out.
                shell = members.members[members.leader()]._shell
                assert shell is not None
                shell.engine._propose_due(boottime())
                await kv.put("key", b"after")
            leader = members.leader()
            assert members.status(leader)["term"] == term
            assert sessions(members, leader) == opened
            for id in members.members:  # a follower may not have applied the newest yet
                assert sessions(members, id) in (set(), opened)

    play(story)
    # One clock for all: it knows of suspension, and nobody can set it.
    assert {clock for _, clock in asked} == {getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)}
    assert {"raycons.member.shell", "raycons.client.shell"} <= {module for module, _ in asked}


def times_us(members: Town, id: int) -> list[int]:
    """The replicated times of a member's log."""
    store = members.members[id]._store
    assert store is not None
    entries = store.scan(Space.LOG, bytes(4), b"\0\0\0\1")
    return [msgspec.msgpack.decode(value)[5] for _, value in entries]


def test_replicated_time_goes_on_after_a_reboot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each boot begins to count at nought: only what a leader counted itself is added.
    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found([1])
            await AsyncKv(members.client()).put("key", b"value")
            before = times_us(members, 1)
            await members.stop(1)
            true = time.clock_gettime
            for offset_s in (10.0 - boottime(), 1e6):
                monkeypatch.setattr(
                    time, "clock_gettime", lambda clock, by=offset_s: true(clock) + by
                )
                await members.reopen(1)
                began = time.monotonic()
                await eventually(members.leader)
                await AsyncKv(members.client()).put("key", b"value")
                after = times_us(members, 1)
                assert after == sorted(after)
                assert len(after) > len(before)
                assert after[-1] - before[-1] <= (time.monotonic() - began + 1.0) * 1e6
                before = after
                await members.stop(1)

    play(story)
