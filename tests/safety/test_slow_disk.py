"""The loop never waits for the disk."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raycons.client.kv import AsyncKv
from raycons.member.clock import boottime
from raycons.member.syncer import ThreadSyncer
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore
from tests.recording import Recordings

from .town import eventually, play, town, wrap_stores

STALL_S = 2.0


class SlowStore:
    """A store on disk whose syncs take two seconds while `stalled` holds."""

    def __init__(self, store: RocksStore) -> None:
        self.stalled = False
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def begin_sync(self) -> list[int] | None:
        return None if self.stalled else self._store.begin_sync()

    def sync(self) -> None:
        if self.stalled:
            time.sleep(STALL_S)
        self._store.sync()


def test_with_a_stalled_disk_the_loop_ticks_and_another_leads(
    tmp_path: Path, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: dict[int, SlowStore] = {}

    def slow(id: int, store: RocksStore) -> Any:
        return stores.setdefault(id, SlowStore(store))

    wrap_stores(monkeypatch, slow)

    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found()
            kv = recordings.wrap(AsyncKv(members.client()))
            await kv.put("before", b"1")
            first = members.leader()
            longest, ticking = 0.0, True

            async def tick() -> None:
                nonlocal longest
                before = time.monotonic()
                while ticking:
                    await asyncio.sleep(0.001)
                    now = time.monotonic()
                    longest, before = max(longest, now - before), now

            ticker = asyncio.create_task(tick())
            stores[first].stalled = True
            began = time.monotonic()
            # Acknowledged all the while: first by the two whose disks answer, under the leader that
            # counts itself no further than its disk; then under another.
            while members.leader() == first:
                await kv.put("during", b"2")
                await asyncio.sleep(0.005)
                assert time.monotonic() - began < STALL_S
            await kv.put("after", b"3")
            assert time.monotonic() - began < STALL_S  # nobody waited for that disk
            assert members.leader() not in (0, first)
            ticking = False
            await ticker
            # A loop that waits for the disk does not tick for two seconds.
            assert longest < STALL_S / 4
            stores[first].stalled = False
            assert await kv.get("before") == b"1"
            assert await kv.get("during") == b"2"
            commit = members.status(members.leader())["commit"]
            await eventually(lambda: members.status(first)["applied"] >= commit)

    play(story)


@pytest.fixture
def stubborn_interpreter() -> Iterator[None]:
    """A thread that computes keeps the interpreter's lock until it lets go by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("stubborn_interpreter")
def test_a_busy_loop_lets_the_disk_thread_run() -> None:
    async def story() -> None:
        reported: list[int] = []
        synced = threading.Event()

        class Watched(MemoryStore):
            def sync(self) -> None:
                synced.set()

        loop = asyncio.get_running_loop()
        syncer = ThreadSyncer(Watched(), loop, reported.append)
        await asyncio.sleep(0.05)  # the thread waits for its first number
        syncer.request(1)
        deadline = time.monotonic() + 5.0
        while not reported and time.monotonic() < deadline:
            until = time.monotonic() + 0.0005
            while time.monotonic() < until:
                pass  # a turn's work
            syncer.yield_to_disk(boottime())
            if synced.is_set():
                await asyncio.sleep(0)
        waited_s = time.monotonic() - (deadline - 5.0)
        await syncer.close()
        assert reported == [1]
        assert waited_s < 1.0

    asyncio.run(story())
