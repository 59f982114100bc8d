"""A large state: it opens at once after a kill, and a snapshot of it holds no commit up.

"At once" counts from the actor's constructor in a fresh process that has Ray, as Ray's workers do:
the import of the package, the opening of the store, the replay of its log, until the member serves.
The members open one after the other, each the quickest of some kills: what else the machine does
only adds. Three together on two cores take some twice as long: they share them.

Run with `-s` to see the figures.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from raycons.bench.scratch import scratch_directory
from raycons.client.kv import AsyncKv
from raycons.client.settings import ClientSettings
from raycons.client.shell import AsyncClient
from raycons.config import MIB
from raycons.member.codec import MemberCodec
from raycons.transport.contract import Address
from raycons.transport.tcp_client import TcpClientTransport

from .town import SECRET, client_greeting

KEYS = 1_000_000
LOADERS = 2000
WRITERS = 16
VALUE = b"v" * 64
OPEN_WITHIN_S = 1.0
OPENINGS = 4
DELAY_WITHIN_S = 0.05


class Process:
    """A member in a process of its own."""

    def __init__(self, root: Path, id: int, **settings: int) -> None:
        self.root, self.id = root, id
        self._settings = [f"{name}={value}" for name, value in settings.items()]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> dict[str, Any]:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("member_process.py")),
            str(self.root),
            str(self.id),
            *self._settings,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        opened: dict[str, Any] = await self.ask("opened")
        return opened

    async def ask(self, method: str, *arguments: Any) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode([method, arguments]) + b"\n")
        line = await self._process.stdout.readline()
        assert line, f"member {self.id} ended"
        return msgspec.json.decode(line)

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def introduce(members: list[Process]) -> dict[int, Address]:
    """Tell everybody where everybody listens."""
    at = {str(member.id): await member.ask("address") for member in members}
    for member in members:
        await member.ask("locate", at)
    return {int(id): Address(*address) for id, address in at.items()}


async def found(members: list[Process]) -> dict[int, Address]:
    """Make the cluster; where its members listen."""
    peers = []
    for member in members:
        await member.start()
        made = await member.ask("make")
        peers.append([member.id, made["nonce"], 2, False, 0, made["host"]])
    for member in members:
        await member.ask("begin", [peers, len(peers) + 1])
    return await introduce(members)


def connect(addresses: dict[int, Address]) -> AsyncClient:
    def transport(handler: Any) -> TcpClientTransport:
        return TcpClientTransport(
            client_greeting(), SECRET, handler, MemberCodec(), random=random.Random(1), group=0
        )

    return AsyncClient(transport, addresses, None, ClientSettings(timeout_s=30.0))


async def load(kv: AsyncKv[bytes]) -> None:
    """Put all the keys."""
    numbers = iter(range(KEYS))

    async def loader() -> None:
        for number in numbers:
            await kv.put(b"key/%08d" % number, VALUE)

    await asyncio.gather(*(loader() for _ in range(LOADERS)))


class Writers:
    """A closed loop of writers; the latency of each put, with the time at which it ended."""

    def __init__(self, kv: AsyncKv[bytes]) -> None:
        self._kv = kv
        self._done = False
        self.ends: list[float] = []
        self.latencies: list[float] = []

    async def run_during(self, meanwhile: Awaitable[object]) -> None:
        async def writer(number: int) -> None:
            while not self._done:
                began = time.perf_counter()
                await self._kv.put(b"written/%d" % number, VALUE)
                self.ends.append(time.perf_counter())
                self.latencies.append(self.ends[-1] - began)

        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(writer(number))
            await meanwhile
            self._done = True

    def told(self, name: str) -> str:
        p50, p99, p999 = np.percentile(np.array(self.latencies) * 1e3, [50, 99, 99.9])
        span = self.ends[-1] - self.ends[0]
        return (
            f"{name}: {len(self.ends) / span:.0f} puts/s, p50 {p50:.2f} p99 {p99:.2f} "
            f"p99.9 {p999:.2f} max {max(self.latencies) * 1e3:.2f} ms over {span:.1f} s"
        )


async def quickest_start(member: Process) -> dict[str, Any]:
    """Kill it and start it anew, some times; what it says of the quickest start."""
    starts = []
    for _ in range(OPENINGS):
        await member.kill()
        starts.append(await member.start())
    return min(starts, key=lambda each: float(each["seconds"]))


async def until(condition: Callable[[], Awaitable[object]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_million_keys_open_at_once_and_are_sent_beside_commits() -> None:
    with scratch_directory("million") as path:
        asyncio.run(story(path))


async def story(path: Path) -> None:
    members = [Process(path / str(id), id, log_limit_bytes=8 * MIB) for id in (1, 2, 3)]
    try:
        addresses = await found(members)
        await members[2].ask("fault", True)  # it will need a snapshot of everything
        client = connect({id: addresses[id] for id in (1, 2)})
        kv = AsyncKv(client)
        await kv.put(b"first", VALUE)
        term = (await members[0].ask("status"))["term"]
        began = time.perf_counter()
        await load(kv)
        print(f"\n{KEYS} keys put in {time.perf_counter() - began:.1f} s")  # noqa: T201

        quiet, busy, after = Writers(kv), Writers(kv), Writers(kv)
        delays = [[await member.ask("delays") for member in members]]
        await quiet.run_during(asyncio.sleep(5.0))
        delays.append([await member.ask("delays") for member in members])
        status = await members[0].ask("status")
        # Once, look-ups got so slow with so many keys that every leader was voted out.
        assert status["term"] <= term + 2
        assert status["log_first"] > 1  # the log reaches back no further: a snapshot it is

        async def caught_up() -> bool:
            leader, follower = [await members[index].ask("status") for index in (0, 2)]
            return bool(
                follower["snapshots_installed"] == 1
                and leader["commit"] - follower["commit"] < 1000
            )

        async def snapshot() -> None:
            await members[2].ask("fault", False)
            await until(caught_up, 120.0)

        await busy.run_during(snapshot())
        delays.append([await member.ask("delays") for member in members])
        await after.run_during(asyncio.sleep(5.0))
        delays.append([await member.ask("delays") for member in members])
        for writers, name in ((quiet, "before"), (busy, "during"), (after, "after")):
            print(writers.told(name))  # noqa: T201
        for phase, at in zip(("load", "before", "during", "after"), delays, strict=True):
            told = [f"loop {one['turn_ms']:.0f} sync {one['sync_ms']:.0f}" for one in at]
            print(f"longest, in ms, {phase}: {'; '.join(told)}")  # noqa: T201

        await client.close()
        for member in members:
            await member.kill()
        opened = [await quickest_start(member) for member in members]
        print("opened after the kill:", opened)  # noqa: T201
        client = connect(await introduce(members))
        kv = AsyncKv(client)
        assert (
            await asyncio.gather(
                *(kv.get(b"key/%08d" % number) for number in range(0, KEYS, KEYS // 1000))
            )
            == [VALUE] * 1000
        )
        await client.close()

        assert max(busy.latencies) < max(quiet.latencies) + DELAY_WITHIN_S
        for each in opened:
            assert each["state"] == "serving"
            assert each["seconds"] < OPEN_WITHIN_S
    finally:
        for member in members:
            await member.kill()
