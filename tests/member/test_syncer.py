"""The disk thread: group commit beside a loop that never waits."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from raycons.errors import StoreFull
from raycons.member import syncer
from raycons.member.clock import boottime
from raycons.member.syncer import LoopSyncer, ThreadSyncer


class SlowDisk:
    """A store whose syncs end when the test says so."""

    def __init__(self) -> None:
        self.syncs = 0
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.error: Exception | None = None
        self.settled = 0  # how many syncs were over then

    def sync(self) -> None:
        self.syncs += 1
        self.begun.release()
        assert self.may_end.acquire(timeout=5)
        if self.error is not None:
            raise self.error

    def settle(self) -> None:
        assert self.settled == 0
        self.settled = self.syncs
        self.may_end.release()  # for the sync that follows


async def in_thread(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=5)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  conditions of all kinds
            await asyncio.sleep(0.001)


def test_all_that_was_asked_during_a_sync_shares_the_next() -> None:
    async def run() -> None:
        disk, told = SlowDisk(), []
        thread: Any = ThreadSyncer(disk, asyncio.get_running_loop(), told.append)  # type: ignore[arg-type]
        thread.request(1)
        await in_thread(disk.begun)
        for number in range(2, 102):
            thread.request(number)
        disk.may_end.release()
        await in_thread(disk.begun)
        await until(lambda: told == [1])  # what came during the first sync is not covered by it
        disk.may_end.release()
        await until(lambda: told == [1, 101])
        assert disk.syncs == 2
        await until(lambda: disk.settled == 2)  # not after the first, when another one was due
        assert len(thread.take_durations()) == 2
        assert thread.take_durations() == []
        await thread.close()

    asyncio.run(run())


def test_the_loop_goes_on_while_the_disk_is_stuck() -> None:
    async def run() -> None:
        disk, told = SlowDisk(), []
        thread = ThreadSyncer(disk, asyncio.get_running_loop(), told.append)  # type: ignore[arg-type]
        thread.request(1)
        await in_thread(disk.begun)
        began, turns = boottime(), 0
        while boottime() - began < 0.1:
            await asyncio.sleep(0)
            thread.yield_to_disk(boottime())
            turns += 1
        assert turns > 100
        assert told == []
        disk.may_end.release()
        await until(lambda: told == [1])
        await thread.close()

    asyncio.run(run())


def test_a_failed_sync_is_never_tried_again() -> None:
    async def run() -> None:
        disk, told, failed = SlowDisk(), [], []
        disk.error = StoreFull("no space")
        thread = ThreadSyncer(
            disk,  # type: ignore[arg-type]
            asyncio.get_running_loop(),
            told.append,
            failed.append,
        )
        thread.request(1)
        disk.may_end.release()
        await until(lambda: failed)
        thread.request(2)
        await thread.close()  # the thread is over
        assert disk.syncs == 1
        assert failed == [disk.error]
        assert told == []

    asyncio.run(run())


def test_a_busy_loop_lets_the_thread_in_once_a_sync_is_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        disk, told, slept = SlowDisk(), [], []
        thread = ThreadSyncer(disk, asyncio.get_running_loop(), told.append)  # type: ignore[arg-type]
        monkeypatch.setattr(syncer.time, "sleep", slept.append)
        now = boottime()
        thread.yield_to_disk(now + 10)
        assert slept == []  # nothing is outstanding
        thread.request(1)
        thread.yield_to_disk(now)
        assert slept == []  # and now it is, but not for long
        thread.yield_to_disk(now + 0.05)
        assert slept == [0]
        disk.may_end.release()
        await until(lambda: told == [1])
        thread.yield_to_disk(now + 10)
        assert slept == [0]
        await thread.close()

    asyncio.run(run())


def test_memory_is_durable_in_the_next_turn_not_in_this_one() -> None:
    async def run() -> None:
        told: list[int] = []
        loop_syncer = LoopSyncer(asyncio.get_running_loop(), told.append)
        loop_syncer.request(1)
        loop_syncer.request(2)
        assert told == []
        await asyncio.sleep(0)
        assert told == [2]

    asyncio.run(run())
