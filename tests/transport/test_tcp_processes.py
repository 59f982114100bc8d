"""Across two processes: a killed peer is noticed by its connections, a paused one is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Play = Callable[[Callable[[Any], Any]], None]

# A member 2 that echoes whatever its peer says, and keeps a connection to member 1.
ECHO = """
import asyncio, importlib.util, sys

spec = importlib.util.spec_from_file_location("support", sys.argv[1])
support = importlib.util.module_from_spec(spec)
spec.loader.exec_module(support)

async def main():
    harbour = support.Harbour()
    member, told = await harbour.member(2)
    told.on_received = member.send
    member.know({1: support.Address(sys.argv[2], int(sys.argv[3]))})
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def start_echo() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(host: str, port: int) -> subprocess.Popen[bytes]:
        support = str(Path(__file__).with_name("conftest.py"))
        process = subprocess.Popen([sys.executable, "-c", ECHO, support, host, str(port)])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_peer_is_lost_once_and_at_once(
    play: Play, start_echo: Callable[..., subprocess.Popen[bytes]]
) -> None:
    async def scenario(harbour: Any) -> None:
        one, told = await harbour.member(1)
        process = start_echo(*one.address)
        await told.until_named("connected")
        one.know({2: one.connected_peers()[2].address})
        await harbour.eventually(lambda: one.counters["connections_opened"] == 2)
        one.send(2, 0, (1, b"there?"))
        await told.until_named("received")
        began = time.monotonic()
        os.kill(process.pid, signal.SIGKILL)
        await told.until_named("lost")
        # Generous, for a loaded machine; every timeout of the transport is longer.
        assert time.monotonic() - began < 1.0
        await harbour.eventually(lambda: not one._connections)
        assert told.named("lost") == [(2,)]

    play(scenario)


def test_a_paused_peer_is_not_lost(
    play: Play, start_echo: Callable[..., subprocess.Popen[bytes]]
) -> None:
    async def scenario(harbour: Any) -> None:
        one, told = await harbour.member(1)
        process = start_echo(*one.address)
        await told.until_named("connected")
        os.kill(process.pid, signal.SIGSTOP)
        one.send(2, 0, (1, b"wake up"))
        os.kill(process.pid, signal.SIGCONT)
        assert await told.until_named("received") == [(2, 0, (1, b"wake up"))]
        assert told.named("lost") == []

    play(scenario)
