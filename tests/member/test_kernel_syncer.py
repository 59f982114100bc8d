"""Syncs by the kernel: on real files, and by a kernel that is late or refuses."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raycons.errors import StoreError, StoreFull
from raycons.member import kernel_syncer
from raycons.member.clock import boottime
from raycons.member.kernel_syncer import KernelSyncer, make_syncer
from raycons.member.syncer import LoopSyncer, ThreadSyncer
from raycons.store.contract import Batch, Space
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore

linux_uring = pytest.importorskip("caio.linux_uring", reason="this kernel has no io_uring")

PAUSE_S = 0.02


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_syncer, "SETTLE_AFTER_S", PAUSE_S)


class Files(MemoryStore):
    """A store whose syncs are those of the files that the test names."""

    def __init__(self, *files: int | None) -> None:
        super().__init__()
        self.files = files
        self.calls: list[str] = []
        self.written = self.covered = self.on_disk = 0
        self.error: OSError | None = None

    def begin_sync(self) -> list[int] | None:
        self.calls.append("begin")
        self.covered = self.written
        if None in self.files:
            return None
        return [file for file in self.files if file is not None]

    def end_sync(self, error: OSError | None = None) -> None:
        self.calls.append("end")
        self.error = error
        if error is not None:
            raise StoreError(str(error))
        self.on_disk = self.covered

    def sync(self) -> None:
        self.calls.append("sync")
        self.on_disk = self.covered

    def settle(self) -> None:
        self.calls.append("settle")


class Kernel:
    """Takes operations as `caio.linux_uring.Context` does, and ends them when the test says so."""

    def __init__(self, taken: int | Exception | None = None) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.fileno = self.read
        self.under_way: list[Any] = []
        self.ended: list[tuple[Any, int]] = []
        self.taken = taken

    def submit(self, *operations: Any) -> int:
        if isinstance(self.taken, Exception):
            raise self.taken
        self.under_way += operations
        return len(operations) if self.taken is None else self.taken

    def flush(self) -> int:
        return 0

    def end(self, result: int = 0, count: int = 1) -> None:
        for _ in range(count):
            self.ended.append((self.under_way.pop(0), result))
        os.write(self.write, b"x")

    def poll(self) -> int:
        return len(os.read(self.read, 100))

    def process_events(self, *_: int) -> int:
        ended, self.ended = self.ended, []
        for operation, result in ended:
            operation.done(result)
        return len(ended)


class Operation:
    """What `caio.linux_uring.Operation.fdsync` gives."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.done: Callable[[int], None]

    def set_callback(self, done: Callable[[int], None]) -> None:
        self.done = done


def syncer_on(
    store: Any, kernel: Any, told: list[int], failed: list[BaseException] | None = None
) -> KernelSyncer:
    failures: list[BaseException] = [] if failed is None else failed
    made = KernelSyncer(store, asyncio.get_running_loop(), told.append, kernel, failures.append)
    if isinstance(kernel, Kernel):
        made._new_operation = Operation  # type: ignore[assignment]
    return made


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  conditions of all kinds
            await asyncio.sleep(0.001)


def test_a_store_on_disk_is_synced_by_the_kernel_and_settles(tmp_path: Path) -> None:
    async def run() -> None:
        store, told = RocksStore(tmp_path / "db"), list[int]()
        syncer = make_syncer(store, asyncio.get_running_loop(), told.append, on_disk=True)
        assert isinstance(syncer, KernelSyncer)
        for number in range(1, 30):
            batch = Batch()
            batch.put(Space.LOG, b"%d" % number, bytes(100))
            store.write(batch)
            syncer.request(number)
            if number % 3 == 0:
                await until(lambda number=number: told and told[-1] == number)  # type: ignore[misc]
        await until(lambda: told[-1] == 29)
        assert told == sorted(set(told))
        assert store._log._durable == 29
        assert store._log._claimed < 29
        await until(lambda: store._log._claimed == 29)
        assert 10 <= len(syncer.take_durations()) <= 31
        await syncer.close()
        store.close()
        again = RocksStore(tmp_path / "db")
        assert again.get(Space.LOG, b"29") == bytes(100)
        again.close()

    asyncio.run(run())


def test_all_that_was_asked_during_a_sync_shares_the_next() -> None:
    async def run() -> None:
        store, kernel, told = Files(7, 8), Kernel(), list[int]()
        syncer = syncer_on(store, kernel, told)
        store.written = 1
        syncer.request(1)
        assert [each.descriptor for each in kernel.under_way] == [7, 8]
        for number in range(2, 102):
            store.written = number
            syncer.request(number)
        kernel.end()
        await asyncio.sleep(0.01)
        assert told == []  # one of two files
        kernel.end()
        await until(lambda: told == [1])
        assert store.on_disk == 1
        kernel.end(count=2)
        await until(lambda: told == [1, 101])
        assert store.on_disk == 101
        assert store.calls.count("begin") == 2
        await until(lambda: "settle" in store.calls)
        assert store.calls.count("settle") == 1
        kernel.end(count=2)
        await asyncio.sleep(3 * PAUSE_S)
        assert store.calls.count("settle") == 1  # not once more because it was synced
        assert told == [1, 101]
        await syncer.close()

    asyncio.run(run())


def test_what_is_asked_once_more_under_the_same_number_is_synced_once_more() -> None:
    """The shell does so for what it wrote beside the replica's own writes."""

    async def run() -> None:
        store, kernel, told = Files(7), Kernel(), list[int]()
        syncer = syncer_on(store, kernel, told)
        syncer.request(1)
        store.written = 1
        syncer.request(1)
        kernel.end()
        await until(lambda: kernel.under_way)
        kernel.end()
        await until(lambda: store.on_disk == 1)
        await syncer.close()

    asyncio.run(run())


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_what_the_kernel_refused_is_never_tried_again(number: int) -> None:
    async def run() -> None:
        store, kernel, told = Files(7, 8), Kernel(), list[int]()
        failed: list[BaseException] = []
        syncer = syncer_on(store, kernel, told, failed)
        syncer.request(1)
        kernel.end(-number)
        kernel.end()
        await until(lambda: failed)
        assert isinstance(failed[0], StoreError)
        assert store.error is not None
        assert store.error.errno == number
        assert os.strerror(number) in str(store.error)
        syncer.request(2)
        await asyncio.sleep(3 * PAUSE_S)
        assert store.calls == ["begin", "end"]
        assert told == []
        await syncer.close()

    asyncio.run(run())


def test_a_store_says_what_the_kernel_refused(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    batch = Batch()
    batch.put(Space.LOG, b"k", b"v")
    store.write(batch)
    assert store.begin_sync() is None  # the log's first file is not in its directory on disk yet
    store.sync()
    store.write(batch)
    assert store.begin_sync()
    with pytest.raises(StoreFull, match="free some"):
        store.end_sync(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    for asked in store.begin_sync, store.end_sync, store.sync:
        with pytest.raises(StoreFull):
            asked()
    store.close()


def test_a_sync_that_takes_more_than_files_is_waited_for_on_a_thread() -> None:
    async def run() -> None:
        store, kernel, told = Files(None), Kernel(), list[int]()
        syncer = syncer_on(store, kernel, told)
        syncer.request(1)
        await until(lambda: told == [1])
        assert store.calls[:2] == ["begin", "sync"]
        await syncer.close()

    asyncio.run(run())


@pytest.mark.parametrize("refusal", [OverflowError("full"), SystemError("EAGAIN"), 0])
def test_a_kernel_that_does_not_take_the_files_is_a_failed_sync(refusal: Exception | int) -> None:
    """Part of them may be under way: what the disk holds is not known."""

    async def run() -> None:
        told, failed = list[int](), list[BaseException]()
        syncer = syncer_on(Files(7), Kernel(refusal), told, failed)
        syncer.request(1)
        assert len(failed) == 1
        syncer.request(2)
        await asyncio.sleep(3 * PAUSE_S)
        assert told == []
        await syncer.close()

    asyncio.run(run())


def test_what_takes_the_kernel_no_time_is_told_of_in_the_next_turn() -> None:
    class Quick(Kernel):
        def flush(self) -> int:
            for operation in self.under_way:
                operation.done(0)
            return len(self.under_way)

    async def run() -> None:
        store, told = Files(7, 8), list[int]()
        syncer = syncer_on(store, Quick(), told)
        syncer.request(1)
        assert told == []
        await until(lambda: told == [1])
        await syncer.close()

    asyncio.run(run())


def test_a_thread_that_waits_is_helped_to_the_interpreters_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A busy loop would keep it from it for seconds; the kernel needs no such help."""
    naps: list[float] = []

    async def run() -> None:
        monkeypatch.setattr(kernel_syncer.time, "sleep", naps.append)
        gate = threading.Event()
        store, kernel, told = Files(None), Kernel(), list[int]()
        store.sync = gate.wait  # type: ignore[method-assign]
        syncer = syncer_on(store, kernel, told)
        before = boottime()
        syncer.request(1)
        syncer.yield_to_disk(before)
        assert naps == []
        syncer.yield_to_disk(boottime() + 0.01)
        assert naps == [0]
        gate.set()
        await until(lambda: told == [1])
        store.files = (7,)
        syncer.request(2)
        syncer.yield_to_disk(boottime() + 0.01)
        assert naps == [0]
        kernel.end()
        await until(lambda: told == [1, 2])
        await syncer.close()

    asyncio.run(run())


def test_too_many_files_at_once_are_synced_on_a_thread_and_its_failure_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "refused")

    async def run() -> None:
        monkeypatch.setattr(os, "fdatasync", refuse)
        store, told, failed = Files(*range(100, 200)), list[int](), list[BaseException]()
        syncer = syncer_on(store, Kernel(), told, failed)
        syncer.request(1)
        await until(lambda: failed)
        assert store.error is not None
        assert store.error.errno == errno.EIO
        assert told == []
        await syncer.close()

    asyncio.run(run())


def test_closing_waits_for_the_sync_under_way_and_reports_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
        store, told = Files(descriptor), list[int]()
        syncer = syncer_on(store, linux_uring.Context(4), told)
        os.write(descriptor, bytes(1 << 20))
        syncer.request(1)
        assert syncer._awaited == 1
        await syncer.close()
        assert syncer._results == [0]
        syncer.request(2)
        await asyncio.sleep(3 * PAUSE_S)
        assert told == []
        assert store.calls == ["begin"]
        os.close(descriptor)

    asyncio.run(run())


def test_other_stores_and_systems_get_the_syncer_that_works_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        loop, told = asyncio.get_running_loop(), list[int]()
        assert isinstance(make_syncer(MemoryStore(), loop, told.append, on_disk=False), LoopSyncer)
        only_sync = make_syncer(MemoryStore(), loop, told.append, on_disk=True)
        assert isinstance(only_sync, ThreadSyncer)
        await only_sync.close()
        monkeypatch.setitem(sys.modules, "caio.linux_uring", None)  # as where it cannot be imported
        store = RocksStore(tmp_path / "db")
        elsewhere = make_syncer(store, loop, told.append, on_disk=True)
        assert isinstance(elsewhere, ThreadSyncer)
        elsewhere.request(1)
        await until(lambda: told == [1])
        await elsewhere.close()
        store.close()

    asyncio.run(run())
