"""Log entries that are in the store's log, and wait to come to its tables together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from raycons.store import rocks, wal
from raycons.store.contract import Batch, Space
from raycons.store.memory import MemoryStore
from raycons.store.rocks import RocksStore

LAST = b"\xff" * 8


def entry(number: int, value: bytes = b"entry") -> Batch:
    batch = Batch()
    batch.put(Space.LOG, b"%06d" % number, value)
    return batch


def content(store: RocksStore | MemoryStore) -> list[list[tuple[bytes, bytes]]]:
    return [list(store.scan(space, b"", LAST)) for space in Space]


@pytest.fixture
def store(tmp_path: Path) -> RocksStore:
    return RocksStore(tmp_path / "db")


def test_small_batches_of_entries_come_to_the_tables_together(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    carry_out = store._carry_out

    def counting(batches: list[tuple[list[rocks.Operation], wal.Position]]) -> None:
        groups.append(len(batches))
        carry_out(batches)

    monkeypatch.setattr(store, "_carry_out", counting)
    for number in range(2 * rocks.MAX_WAITING):
        store.write(entry(number))
    assert groups == [rocks.MAX_WAITING] * 2
    store.write(entry(900))
    store.write(entry(901, bytes(rocks.MAX_WAITING_BYTES // 2)))
    store.write(entry(902, bytes(rocks.MAX_WAITING_BYTES // 2)))  # memory is bounded
    assert groups[2:] == [3]
    store.close()


@pytest.mark.parametrize(
    "look",
    [
        lambda store: store.get(Space.LOG, b"000007"),
        lambda store: dict(store.scan(Space.LOG, b"000007", LAST)).get(b"000007"),
        lambda store: dict(store.scan(Space.LOG, b"", LAST, reverse=True)).get(b"000007"),
        lambda store: dict(store.view().scan(Space.LOG, b"", LAST)).get(b"000007"),
    ],
    ids=["get", "scan", "backward", "view"],
)
def test_whoever_looks_sees_them(store: RocksStore, look: Callable[[RocksStore], object]) -> None:
    store.write(entry(7))
    assert len(store._waiting) == 1
    assert look(store) == b"entry"
    store.close()


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_while_some_wait_leaves_all_that_was_written(tmp_path: Path, seed: int) -> None:
    """Whatever the order of entries, cuts and other records."""
    random, path, model = Random(seed), tmp_path / "db", MemoryStore()
    store = RocksStore(path)
    for number in range(300):
        batch = entry(random.randrange(60), b"%d" % number)
        if random.random() < 0.2:
            start = b"%06d" % random.randrange(60)
            batch.delete_range(Space.LOG, start, LAST)
        if random.random() < 0.05:
            batch.put(Space.META, b"hard state", b"%d" % number)
        store.write(batch)
        model.write(batch)
        if random.random() < 0.02:
            assert content(store) == content(model)
    store.sync()
    shutil.copytree(path, tmp_path / "crashed")  # of a store that is not closed
    store.close()
    for left in path, tmp_path / "crashed":
        again = RocksStore(left, create_if_missing=False)
        assert content(again) == content(model)
        again.close()


def test_no_segment_of_the_log_is_written_over_while_entries_in_it_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rocks, "MAX_WAITING", 1000)
    monkeypatch.setattr(wal, "SEGMENT_BYTES", 1024)
    store = RocksStore(tmp_path / "db")
    for number in range(200):
        store.write(entry(number, bytes(100)))
        store.sync()
    assert len(store._waiting) == 200
    shutil.copytree(tmp_path / "db", tmp_path / "crashed")
    store.close()
    again = RocksStore(tmp_path / "crashed", create_if_missing=False)
    assert len(list(again.scan(Space.LOG, b"", LAST))) == 200
    again.close()
