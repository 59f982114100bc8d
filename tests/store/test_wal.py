"""The write-ahead log on a disk that forgets, tears and decays."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raycons.errors import StoreCorrupt
from raycons.store import wal
from raycons.store.contract import PUT, Operation, Space
from raycons.store.wal import Position, WriteAheadLog

SECTOR_BYTES = 512  # what a disk writes whole or not at all


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "SEGMENT_BYTES", 2000)


def batch(number: int, size_bytes: int = 100) -> list[Operation]:
    return [(PUT, Space.LOG, b"%d" % number, bytes([number % 256]) * size_bytes)]


class Machine:
    """A log, the tables behind it, and what of both survives when the power goes."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.batches: list[list[Operation]] = []
        self.tables = Position(0, 0, 0)  # as they are on disk
        self.synced = 0  # how many batches are there for certain
        self.on_disk: dict[str, bytes] = {}
        self.names: set[str] = set()  # of the files that a power failure leaves there for certain
        self.salts = 0
        self.during_sync = 0  # so many batches are written while a sync is under way
        self.by_kernel = False  # the log leaves its files to somebody else, where it may
        monkeypatch.setattr("raycons.store.wal.os.fdatasync", self._fdatasync)
        monkeypatch.setattr("raycons.store.wal.sync_directory", self._sync_directory)
        self.open()

    def open(self) -> None:
        """Read what is there, check that it is a prefix with all that was synced, and go on."""
        records = wal.read(self.directory, self.tables)
        end = self.tables.sequence
        for record in records:
            assert record.sequence == end + 1
            assert record.operations() == self.batches[end]
            end = record.sequence
        assert end >= self.synced
        del self.batches[end:]
        self.synced = end
        self.salts += 1
        self.tables = Position(self.salts, end, self.tables.segments)
        self.log = WriteAheadLog(
            self.directory, self.tables, lambda: len(self.batches) - self.tables.sequence
        )

    def append(self, size_bytes: int) -> None:
        self.batches.append(batch(len(self.batches) + 1, size_bytes))
        self.log.append(self.batches[-1])

    def sync(self, during: int = 0) -> None:
        covered, self.during_sync = len(self.batches), during
        files = self.log.begin_sync() if self.by_kernel else None
        if files is None:
            self.log.sync()
        else:
            for descriptor in files:
                self._fdatasync(descriptor)
            self.log.end_sync()
        self.during_sync = 0
        self.synced = max(self.synced, covered)

    def flush(self) -> None:
        """RocksDB writes its tables when it likes, also before the log is synced."""
        self.tables = self.log.position
        assert self.tables.sequence == len(self.batches)
        self.synced = max(self.synced, self.tables.sequence)

    def die(self) -> None:
        """The process ends; what it handed to the kernel stays."""
        self.log.close()

    def lose_power(self, random: Random) -> None:
        """Of what was not synced each sector is on disk or not, and files may be too short."""
        self.log.close()
        for file in self.directory.iterdir():
            seen, kept = file.read_bytes(), self.on_disk.get(file.name, b"")
            shortest, longest = sorted([len(kept), len(seen)])
            size = random.choice([shortest, longest, random.randint(shortest, longest)])
            kept, seen = kept.ljust(size, b"\0"), seen.ljust(size, b"\0")
            sectors = [
                random.choice([seen, kept])[place : place + SECTOR_BYTES]
                for place in range(0, size, SECTOR_BYTES)
            ]
            file.write_bytes(b"".join(sectors)[:size])
            if file.name not in self.names and random.random() < 0.5:
                file.unlink()

    def do(self, step: str, random: Random) -> None:
        match step:
            case "append":
                self.append(random.randint(0, 700))
            case "large":
                self.append(5000)
            case "sync":
                self.by_kernel = random.random() < 0.5
                self.sync(during=random.choice([0, 0, 1, 3]))
            case "settle":
                self.log.settle()
                if self.synced == len(self.batches) and random.random() < 0.5:
                    self.sync()
            case "flush":
                self.flush()
            case "die":
                self.die()
                self.open()
            case "power":
                self.lose_power(random)
                self.open()

    def _fdatasync(self, descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        self.on_disk[name] = os.pread(descriptor, 1 << 30, 0)
        while self.during_sync:
            self.during_sync -= 1
            self.append(100)

    def _sync_directory(self, directory: Path) -> None:
        if directory == self.directory:
            self.names = {file.name for file in directory.iterdir()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path / "wal", monkeypatch)
    yield made
    made.die()


STEPS = ["append"] * 6 + ["large", "sync", "sync", "settle", "flush", "die", "power"]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=80), seed=st.integers(0, 2**32))
def test_whatever_happens_what_was_synced_is_there_in_order(steps: list[str], seed: int) -> None:
    """And nothing that is whole is taken for damaged: `open` raises nothing."""
    random = Random(seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(wal, "SEGMENT_BYTES", 2000)
        machine = Machine(Path(folder) / "wal", patch)
        for step in steps:
            machine.do(step, random)
        machine.die()
        machine.open()
        machine.die()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.sampled_from(STEPS[:-2]), max_size=60), seed=st.integers(0, 2**32))
def test_a_flipped_bit_is_refused_or_harmless(steps: list[str], seed: int) -> None:
    random = Random(seed)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(wal, "SEGMENT_BYTES", 2000)
        machine = Machine(Path(folder) / "wal", patch)
        for step in ["append", *steps, "sync", "settle", *["append"] * random.randint(0, 2)]:
            machine.do(step, random)
        synced = machine.synced
        machine.die()
        file = random.choice(sorted(machine.directory.iterdir()))
        raw = bytearray(file.read_bytes())
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        file.write_bytes(raw)
        try:
            found = wal.read(machine.directory, machine.tables)
        except StoreCorrupt:
            return
        following = machine.batches[machine.tables.sequence :]
        assert len(found) >= synced - machine.tables.sequence
        assert [record.operations() for record in found] == following[: len(found)]


def test_segments_are_written_over_once_the_tables_hold_them(machine: Machine) -> None:
    for number in range(300):
        machine.append(200)
        if number % 20 == 19:
            machine.flush()
    assert 2 <= len(list(machine.directory.iterdir())) <= 4
    machine.append(200)
    machine.die()
    machine.open()  # behind the end lie older records, whole and in their places
    assert len(machine.batches) == 301
    for _ in range(100):  # nothing more reaches the tables
        machine.append(200)
    machine.sync()
    assert len(list(machine.directory.iterdir())) >= 10


def test_a_record_of_an_earlier_opening_is_never_read_again(tmp_path: Path) -> None:
    """The place, the lengths and the numbers are the same: only the salt tells them apart."""
    before, now = Position(1, 2, 0), Position(2, 2, 0)
    for position, numbers in (before, [3, 4, 5]), (now, [3]):
        log = WriteAheadLog(tmp_path, position, lambda: 0)
        for number in numbers:
            log.append(batch(number))
        log.sync()
        log.close()
    assert [record.sequence for record in wal.read(tmp_path, now)] == [3]


def test_a_mark_is_written_once_and_itself_synced(machine: Machine) -> None:
    file = machine.directory / "1"
    machine.append(100)
    machine.log.settle()
    before = file.stat().st_size
    machine.sync()
    machine.log.settle()
    machine.log.settle()
    machine.log.sync()
    assert file.stat().st_size == before + wal.HEADER_BYTES
    assert len(machine.on_disk["1"]) == before + wal.HEADER_BYTES


def test_a_position_that_is_too_old_is_refused(machine: Machine) -> None:
    """RocksDB takes a damaged record of its manifest for an unfinished one, and forgets it."""
    old = machine.tables
    machine.append(100)
    machine.sync()
    machine.die()
    machine.open()
    for _ in range(3):
        machine.append(100)
        machine.sync()
    with pytest.raises(StoreCorrupt, match="cannot be read, yet"):
        wal.read(machine.directory, old)


def test_a_batch_that_holds_what_looks_like_a_record_proves_nothing(machine: Machine) -> None:
    """Else whoever may write a value could have every replica refuse its store."""
    fields = wal.FIELDS.pack(0, 123, 1 << 40, 1 << 40)
    forged = wal.CHECKSUM.pack(zlib.crc32(fields)) + fields
    for shift in range(wal.ALIGNMENT):
        machine.batches.append([(PUT, Space.LOG, b"k", bytes(shift) + forged)])
        machine.log.append(machine.batches[-1])
    machine.sync()
    machine.die()
    machine.open()
    assert len(machine.batches) == wal.ALIGNMENT


def test_a_segment_that_one_batch_made_large_is_made_small_again(machine: Machine) -> None:
    machine.append(50_000)
    while len(list(machine.directory.iterdir())) < 2:
        machine.append(100)
    machine.flush()
    for _ in range(40):
        machine.append(100)
        machine.flush()
    assert max(file.stat().st_size for file in machine.directory.iterdir()) < 3 * 2000


def test_what_is_written_during_a_sync_is_not_said_to_be_on_disk(machine: Machine) -> None:
    machine.append(100)
    machine.sync(during=2)
    machine.append(100)
    machine.sync()
    machine.append(100)
    records = wal.read(machine.directory, machine.tables)
    assert [record.durable for record in records] == [0, 0, 0, 1, 4]


def test_a_sync_with_nothing_new_does_not_touch_the_disk(machine: Machine) -> None:
    machine.append(100)
    machine.sync()
    machine.log.settle()
    machine.sync()
    machine.on_disk.clear()
    machine.sync()
    assert machine.on_disk == {}


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_sync_with_nothing_new_vouches_for_no_new_segment(
    tmp_path: Path, by_kernel: bool
) -> None:
    """Its name may not outlive a power failure; and a log that lost a segment is refused."""
    log = WriteAheadLog(tmp_path / "wal", Position(0, 0, 0), lambda: 0)
    if by_kernel:
        assert log.begin_sync() == []
        log.end_sync()
    else:
        log.sync()
    assert log.position.segments == 0
    log.append(batch(1))
    assert log.begin_sync() is None  # only a sync of the directory, too, makes it last
    log.sync()
    assert log.position.segments == 1
    log.close()


def test_a_lost_segment_is_named(machine: Machine) -> None:
    for _ in range(60):
        machine.append(200)
    machine.sync()
    machine.flush()
    machine.die()
    lost = machine.directory / str(len(list(machine.directory.iterdir())))
    lost.unlink()
    with pytest.raises(StoreCorrupt, match=f"{machine.directory} has lost the segment {lost.name}"):
        wal.read(machine.directory, machine.tables)


def test_set_aside_segments_hold_nothing_and_are_the_first_to_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "db" / "wal"
    wal.set_aside(directory)
    sizes = {file.name: file.stat().st_size for file in directory.iterdir()}
    assert len(sizes) == wal.SET_ASIDE
    machine = Machine(directory, monkeypatch)
    machine.append(100)
    machine.sync()
    assert {file.name: file.stat().st_size for file in directory.iterdir()} == sizes
    machine.die()
    machine.open()
    assert machine.batches == [batch(1)]
    machine.die()
