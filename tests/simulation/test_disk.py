"""The disk: what a crash may take, and what it may not."""

from __future__ import annotations

from random import Random

import pytest

from raycons.errors import StoreCorrupt, StoreError, StoreFull
from raycons.simulation.disk import Disk
from raycons.simulation.mutants import find
from raycons.simulation.torn import Written, read_back
from raycons.simulation.world import Violation, World
from raycons.store import wal
from raycons.store.contract import Batch, Space

SYNC_S = 0.001


def disk_of(seed: int) -> tuple[World, Disk]:
    world = World(seed)
    return world, Disk(world, world.random("disk"), SYNC_S)


def put(disk: Disk, key: bytes, value: bytes) -> None:
    batch = Batch()
    batch.put(Space.LOG, key, value)
    disk.write(batch)


def content(disk: Disk) -> dict[bytes, bytes]:
    return dict(disk.scan(Space.LOG, b"", b"\xff"))


def test_what_is_written_is_visible_at_once_and_durable_after_a_sync() -> None:
    world, disk = disk_of(1)
    put(disk, b"a", b"1")
    assert disk.get(Space.LOG, b"a") == b"1"
    assert disk.batches_durable == 0
    told: list[int] = []
    disk.request_sync(7, told.append)
    assert told == []
    world.run(1.0)
    assert told == [7]
    assert disk.batches_durable == 1


def test_a_sync_covers_what_was_written_when_it_began_and_waiting_ones_join() -> None:
    world, disk = disk_of(1)
    told: list[tuple[int, int]] = []

    def note(number: int) -> None:
        told.append((number, disk.batches_durable))

    put(disk, b"a", b"1")
    disk.request_sync(1, note)
    put(disk, b"b", b"2")
    disk.request_sync(2, note)
    put(disk, b"c", b"3")
    disk.request_sync(3, note)
    world.run(1.0)
    assert told == [(1, 1), (3, 3)]


@pytest.mark.parametrize("seed", range(30))
def test_a_crash_keeps_a_prefix_with_all_that_was_durable(seed: int) -> None:
    world, disk = disk_of(seed)
    history = [content(disk)]
    for number in range(20):
        batch = Batch()
        batch.put(Space.LOG, b"key-%d" % (number % 4), b"%d" % number)
        if number % 5 == 3:
            batch.delete_range(Space.LOG, b"key-0", b"key-2")
            batch.put(Space.LOG, b"key-1", b"again")
        if number % 7 == 5:
            batch.delete(Space.LOG, b"key-3")
        disk.write(batch)
        history.append(content(disk))
        if number == 9:
            disk.request_sync(1, lambda _: None)
            world.run(world.now + 1.0)
    lost = disk.crash()
    assert 0 <= lost <= 10
    assert content(disk) == history[20 - lost]
    assert disk.batches_written == disk.batches_durable == 20 - lost


def test_crashes_lose_everything_nothing_and_something_in_between() -> None:
    def lost(seed: int) -> int:
        _, disk = disk_of(seed)
        for number in range(10):
            put(disk, b"%d" % number, b"")
        return disk.crash()

    fates = [lost(seed) for seed in range(60)]
    assert 0 in fates
    assert 10 in fates
    assert set(fates) - {0, 10}


def test_a_torn_end_is_read_back_as_a_prefix_of_its_batches() -> None:
    batches = []
    for number in range(8):
        batch = Batch()
        batch.put(Space.LOG, b"%d" % number, b"x" * 700)
        batches.append(Written(batch, durable=0))
    kept = [read_back(1, batches, Random(seed)) for seed in range(200)]
    assert set(kept) == set(range(9))


def test_a_torn_batch_that_is_taken_for_whole_is_a_violation() -> None:
    batch = Batch()
    batch.put(Space.LOG, b"key", b"x" * 2000)

    def tear_often() -> None:
        for seed in range(200):
            read_back(1, [Written(batch, 0)], Random(seed))

    tear_often()
    with find("torn-batch-taken-for-whole").planted(), pytest.raises(Violation, match="torn-batch"):
        tear_often()


def test_a_reader_that_takes_a_torn_end_for_a_damage_is_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = Batch()
    batch.put(Space.LOG, b"key", b"x" * 2000)
    monkeypatch.setattr(wal, "_durable_after", lambda raw, salts, end: 0)
    with pytest.raises(Violation, match="torn-batch: nothing is damaged"):
        read_back(1, [Written(batch, 0)], Random(0))


def test_a_crash_ends_the_running_sync_without_a_word() -> None:
    world, disk = disk_of(1)
    told: list[int] = []
    put(disk, b"a", b"1")
    disk.request_sync(1, told.append)
    disk.crash()
    put(disk, b"b", b"2")
    disk.request_sync(2, told.append)
    world.run(1.0)
    assert told == [2]


def test_a_stalled_disk_finishes_once_it_moves_again() -> None:
    world, disk = disk_of(1)
    told: list[int] = []
    disk.stalled = True
    put(disk, b"a", b"1")
    disk.request_sync(1, told.append)
    world.run(2.0)
    assert told == []
    disk.stalled = False
    world.run(2.1)
    assert told == [1]


def test_a_slow_disk_takes_longer() -> None:
    def duration(slowness: float) -> float:
        world, disk = disk_of(1)
        disk.slowness = slowness
        times: list[float] = []
        put(disk, b"a", b"1")
        disk.request_sync(1, lambda _: times.append(world.now))
        world.run(10.0)
        return times[0]

    assert duration(50.0) == pytest.approx(50 * duration(1.0))


# --- failures -------------------------------------------------------------------------------------


def test_a_decayed_record_is_never_given_out_until_it_is_written_anew() -> None:
    world, disk = disk_of(1)
    put(disk, b"a", b"1")
    assert disk.rot(world.random("rot")) == ("LOG", b"a")
    for read in (
        lambda: disk.get(Space.LOG, b"a"),
        lambda: content(disk),
        lambda: list(disk.view().scan(Space.LOG, b"", b"\xff")),
    ):
        with pytest.raises(StoreCorrupt):
            read()
    assert disk.get(Space.LOG, b"b") is None
    put(disk, b"a", b"2")
    assert content(disk) == {b"a": b"2"}
    assert not disk.rotten


def test_an_io_error_comes_between_two_writes_and_lasts_until_the_process_ends() -> None:
    _, disk = disk_of(1)
    disk.fail_after(1)
    put(disk, b"a", b"1")
    for key in (b"b", b"c"):
        with pytest.raises(StoreError):
            put(disk, key, b"2")
    assert content(disk) == {b"a": b"1"}
    disk.crash()
    put(disk, b"d", b"3")


def test_a_failed_sync_is_told_and_makes_nothing_durable() -> None:
    world, disk = disk_of(1)
    errors: list[StoreError] = []
    told: list[int] = []
    disk.failed = errors.append
    put(disk, b"a", b"1")
    disk.fail_sync()
    disk.request_sync(1, told.append)
    world.run(1.0)
    assert (len(errors), told, disk.batches_durable) == (1, [], 0)


def test_a_full_disk_takes_no_write_and_no_sync() -> None:
    world, disk = disk_of(1)
    errors: list[StoreError] = []
    disk.failed = errors.append
    put(disk, b"a", b"1")
    disk.request_sync(1, lambda number: None)
    disk.full = True
    with pytest.raises(StoreFull):
        put(disk, b"b", b"1")
    world.run(1.0)
    assert [type(error) for error in errors] == [StoreFull]


def test_a_disk_that_lied_forgets_the_newest_of_what_it_reported() -> None:
    world, disk = disk_of(1)
    disk.lie()
    put(disk, b"before", b"0")
    disk.sync()  # an opening of the store: nothing before it is ever forgotten
    for key in (b"a", b"b", b"c"):
        put(disk, key, b"1")
    batch = Batch()
    batch.put(Space.META, b"vote", b"2")
    disk.write(batch)
    for key in (b"d", b"e"):
        put(disk, key, b"1")
    disk.request_sync(1, lambda _: None)
    world.run(1.0)
    disk.crash()

    def vote(space: Space, key: bytes) -> bool:
        return key == b"vote"

    assert disk.forget(1, vote) == 1
    assert content(disk).keys() == {b"before", b"a", b"b", b"c", b"d"}
    assert disk.forget(9, vote) == 1
    assert disk.batches_durable == disk.batches_written == 5
    assert disk.forget(9, lambda *_: False) == 4
    assert content(disk).keys() == {b"before"}


def test_a_disk_forgets_nothing_unless_it_lies() -> None:
    world, disk = disk_of(1)
    put(disk, b"a", b"1")
    disk.request_sync(1, lambda _: None)
    world.run(1.0)
    disk.crash()
    assert disk.forget(9, lambda *_: False) == 0
    assert content(disk) == {b"a": b"1"}
