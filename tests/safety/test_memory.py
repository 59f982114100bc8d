"""A member's memory does not grow with its data: what it holds is bounded, the rest is on disk.

Run with `-s` to see the figures.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from raycons.bench.scratch import scratch_directory
from raycons.client.kv import AsyncKv
from raycons.config import KIB, MIB

from .test_million_keys import Process, connect, found

WORKERS = 32
SMALL, LARGE = 20 * MIB, 200 * MIB
GROWS_BY_LESS_THAN = 45 * MIB  # a quarter of what the data does: caches and buffers that fill


class Data:
    """Keys with values of 1 to 16 KiB that do not compress, as many as it takes."""

    def __init__(self, kv: AsyncKv[bytes]) -> None:
        self._kv = kv
        self._random = random.Random(1)
        self._keys = 0
        self.size_bytes = 0

    async def grow(self, size_bytes: int) -> None:
        """Put until there is so much; then read all of it, for caches fill by reads, too."""

        async def writer() -> None:
            while self.size_bytes < size_bytes:
                value = self._random.randbytes(self._random.randint(1 * KIB, 16 * KIB))
                key = b"key/%08d" % self._keys
                self._keys += 1
                self.size_bytes += len(value)
                await self._kv.put(key, value)

        await asyncio.gather(*(writer() for _ in range(WORKERS)))
        keys = iter(range(self._keys))

        async def reader() -> None:
            for number in keys:
                assert await self._kv.get(b"key/%08d" % number)

        await asyncio.gather(*(reader() for _ in range(WORKERS)))


def resident_bytes(pid: int) -> int:
    """The memory that a process has at present."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIB
    raise ValueError(f"no process {pid}")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_data() -> None:
    with scratch_directory("memory") as path:
        asyncio.run(story(path))


async def story(path: Path) -> None:
    members = [Process(path / str(id), id) for id in (1, 2, 3)]
    try:
        client = connect(await found(members))
        data = Data(AsyncKv(client))
        resident = []
        for size_bytes in (SMALL, LARGE):
            await data.grow(size_bytes)
            resident.append(
                [resident_bytes((await member.ask("status"))["pid"]) for member in members]
            )
            told = ", ".join(f"{each / MIB:.0f}" for each in resident[-1])
            print(f"\n{data.size_bytes / MIB:.0f} MiB of values: {told} MiB resident")  # noqa: T201
        stored = [(await member.ask("status"))["store_bytes"] for member in members]
        await client.close()
        assert min(stored) > LARGE  # it is all there, on each disk
        for before, after in zip(*resident, strict=True):
            assert after - before < GROWS_BY_LESS_THAN
    finally:
        for member in members:
            await member.kill()
