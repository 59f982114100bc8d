"""A member in a process of its own, without Ray; told what to do by lines of JSON.

    python member_process.py ROOT ID [SETTING=VALUE ...]     member settings

Each line on stdin is [method, arguments]; each is answered by a line on stdout.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray.util  # noqa: F401  a worker of Ray has it, and what it needs, before an actor starts in it
import uvloop

_before, _before_cpu = time.monotonic(), time.process_time()
importlib.import_module("raycons.member.hosting")  # as the actor's constructor does
IMPORTS_S, IMPORTS_CPU_S = time.monotonic() - _before, time.process_time() - _before_cpu

sys.path.insert(0, str(Path(__file__).parents[1]))
town = importlib.import_module("safety.town")

import msgspec  # noqa: E402

from raycons.config import MemberSettings  # noqa: E402
from raycons.consensus.configuration import Configuration  # noqa: E402
from raycons.member.hosting import Hosting  # noqa: E402
from raycons.transport.contract import Address  # noqa: E402


class Obedient:
    """Carries out what the test asks for."""

    def __init__(self, member: Hosting, began: float) -> None:
        self.member = member
        self._began, self._began_cpu = began, time.process_time()
        self._longest_turn_s = 0.0
        self._ticking = asyncio.create_task(self._tick())
        self._took = asyncio.create_task(self._open())

    async def _tick(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            self._longest_turn_s, before = max(self._longest_turn_s, now - before), now

    async def delays(self) -> dict[str, float]:
        """For how long the loop stood still at most, and a sync took, since the last call."""
        longest_turn_s, self._longest_turn_s = self._longest_turn_s, 0.0
        assert self.member._shell is not None
        syncs = self.member._shell._syncer.take_durations()
        return {"turn_ms": longest_turn_s * 1e3, "sync_ms": max(syncs, default=0.0) * 1e3}

    async def opened(self) -> dict[str, Any]:
        """How long it took from the constructor on until it was known whether it can serve.

        A new actor's process is there before, with Ray in it; the package is imported by the
        constructor, which counts. What the processor spent on it tells a slow start from a machine
        that was busy with other things.
        """
        return {**await self._took, "imports": IMPORTS_S, "state": self.member.state.value}

    async def _open(self) -> dict[str, Any]:
        await self.member._opened.wait()
        return {
            "seconds": IMPORTS_S + time.monotonic() - self._began,
            "cpu_seconds": IMPORTS_CPU_S + time.process_time() - self._began_cpu,
        }

    async def make(self) -> dict[str, Any]:
        """Make the store."""
        made = await self.member.make()
        return {"nonce": made.nonce, "host": made.host}

    async def begin(self, configuration: dict[str, Any]) -> None:
        """Serve with a first configuration."""
        await self.member.begin(msgspec.convert(configuration, Configuration), {})

    async def address(self) -> tuple[str, int]:
        """Where it listens."""
        at = self.member.wiring.transport.address
        return at.host, at.port

    async def locate(self, addresses: dict[str, list[Any]]) -> None:
        """Learn where the others listen."""
        self.member.locate({int(id): Address(*at) for id, at in addresses.items()})

    async def fault(self, isolate: bool) -> None:
        """Cut off, or heal."""
        self.member.fault(isolate=isolate)

    async def status(self) -> dict[str, Any]:
        """What it says of itself."""
        return self.member.status()


async def main() -> None:
    """Serve until stdin ends."""
    settings = MemberSettings(**{n: int(v) for n, v in (a.split("=") for a in sys.argv[3:])})
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    began = time.monotonic()
    spec = town.member_spec(Path(sys.argv[1]), int(sys.argv[2]), member=settings)
    obedient = Obedient(Hosting(spec), began)
    while line := await lines.get():
        method, arguments = msgspec.json.decode(line)
        answer = await getattr(obedient, method)(*arguments)
        print(msgspec.json.encode(answer).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    town.leave_ray_out(pytest.MonkeyPatch())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
