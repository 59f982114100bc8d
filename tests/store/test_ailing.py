"""A store that is told to be slow, or to fail, is; and heals while a sync waits."""

from __future__ import annotations

import threading

import pytest

from raycons.errors import BadArgument, StoreError
from raycons.store.ailing import AilingStore
from raycons.store.contract import Batch, OpenSync, Space
from raycons.store.memory import MemoryStore

LONG_S = 30.0


class Counting(MemoryStore):
    """Counts its syncs."""

    def __init__(self) -> None:
        super().__init__()
        self.synced = 0

    def sync(self) -> None:
        self.synced += 1


def test_a_healthy_one_is_the_store_that_it_wraps() -> None:
    disk = Counting()
    store = AilingStore(disk)
    batch = Batch()
    batch.put(Space.META, b"a", b"1")
    store.write(batch)
    store.sync()
    assert disk.synced == 1
    assert store.get(Space.META, b"a") == disk.get(Space.META, b"a") == b"1"


class ByKernel(Counting):
    """Leaves its syncs to the caller."""

    def begin_sync(self) -> list[int] | None:
        return [7]

    def end_sync(self, error: OSError | None = None) -> None:
        self.synced += 1


def test_only_a_healthy_one_leaves_its_files_to_the_kernel() -> None:
    disk = ByKernel()
    store = AilingStore(disk)
    assert isinstance(store, OpenSync)
    assert store.begin_sync() == [7]
    store.end_sync()
    assert disk.synced == 1
    store.slow_down(LONG_S)
    assert store.begin_sync() is None
    store.slow_down(0.0)
    assert store.begin_sync() == [7]
    store.break_down()
    assert store.begin_sync() is None
    assert AilingStore(Counting()).begin_sync() is None


def test_a_sync_that_hangs_ends_when_it_is_healed_and_syncs() -> None:
    disk = Counting()
    store = AilingStore(disk)
    store.slow_down(LONG_S)
    thread = threading.Thread(target=store.sync)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    assert disk.synced == 0
    store.slow_down(0.0)
    thread.join(LONG_S / 3)
    assert not thread.is_alive()
    assert disk.synced == 1


def test_a_broken_one_fails_and_syncs_nothing() -> None:
    disk = Counting()
    store = AilingStore(disk)
    store.break_down()
    with pytest.raises(StoreError, match="fault injection"):
        store.sync()
    assert disk.synced == 0


def test_a_delay_that_is_none_is_refused() -> None:
    with pytest.raises(BadArgument, match="delay_s=-1"):
        AilingStore(MemoryStore()).slow_down(-1)
