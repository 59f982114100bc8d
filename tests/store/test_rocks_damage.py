"""What becomes of a store on disk when its process is killed or its bytes are damaged."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raycons.errors import StoreCorrupt, StoreError
from raycons.store.contract import Batch, Space
from raycons.store.rocks import RocksStore

LAST = b"\xff" * 16
RECORDS = 400
BLOCK_BYTES = 32 * 1024


def run_and_leave(path: Path, records: int = RECORDS) -> Path:
    """Fill a store in a process that ends without closing it; gives the log that it leaves."""
    script = f"""
        import os, sys
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        for number in range({records}):
            batch = Batch()
            batch.put(Space.LOG, b"%06d" % number, b"entry %d " % number * 20)
            batch.put(Space.CURRENT, b"applied", b"%d" % number)
            store.write(batch)
        store.sync()
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=True)
    (log,) = path.glob("*.log")
    return log


def surviving(path: Path) -> int:
    """How many batches the store holds; they must be a prefix, and the last applied the last."""
    store = RocksStore(path, create_if_missing=False)
    keys = [key for key, _ in store.scan(Space.LOG, b"", LAST)]
    applied = store.get(Space.CURRENT, b"applied")
    store.close()
    assert keys == [b"%06d" % number for number in range(len(keys))]
    assert applied == (b"%d" % (len(keys) - 1) if keys else None)
    return len(keys)


def headers(log: Path) -> Iterator[tuple[int, int, int]]:
    """Offset, length and type of each record of the log."""
    raw = log.read_bytes()
    position = 0
    while position + 7 <= len(raw):
        if position % BLOCK_BYTES > BLOCK_BYTES - 7:
            position = (position // BLOCK_BYTES + 1) * BLOCK_BYTES
            continue
        _, length, kind = struct.unpack_from("<IHB", raw, position)
        yield position, length, kind
        position += 7 + length


def flip(file: Path, offset: int, bits: int = 1) -> None:
    raw = bytearray(file.read_bytes())
    raw[offset] ^= bits
    file.write_bytes(raw)


def test_all_that_was_synced_is_there_after_the_process_ends(tmp_path: Path) -> None:
    run_and_leave(tmp_path / "db")
    assert surviving(tmp_path / "db") == RECORDS


@pytest.mark.parametrize("place", [0.02, 0.5, 0.9, 0.999])
def test_a_flipped_bit_in_the_log_is_refused(tmp_path: Path, place: float) -> None:
    log = run_and_leave(tmp_path / "db")
    flip(log, int(log.stat().st_size * place))
    with pytest.raises(StoreCorrupt, match="replace it by a new one") as caught:
        RocksStore(tmp_path / "db")
    assert str(tmp_path / "db") in str(caught.value)


@pytest.mark.parametrize("before_last", [0.6, 0.2, 0.01])
def test_a_damaged_length_is_not_taken_for_a_torn_tail(tmp_path: Path, before_last: float) -> None:
    """RocksDB alone opens this without a word and forgets what follows in the block."""
    log = run_and_leave(tmp_path / "db")
    records = list(headers(log))
    assert records[-1][0] > BLOCK_BYTES
    last_block = [
        record for record in records if record[0] // BLOCK_BYTES == records[-1][0] // BLOCK_BYTES
    ]
    offset, _, _ = last_block[int((len(last_block) - 1) * (1 - before_last))]
    flip(log, offset + 5, 0x80)  # the high byte of the length: now beyond the end of the file
    with pytest.raises(StoreCorrupt, match=str(log)):
        RocksStore(tmp_path / "db")


@pytest.mark.parametrize("cut_bytes", [1, 3, 60, 250, 5000, 40_000])
def test_a_torn_tail_is_dropped_and_the_rest_kept(tmp_path: Path, cut_bytes: int) -> None:
    log = run_and_leave(tmp_path / "db")
    records = list(headers(log))
    size_bytes = log.stat().st_size - cut_bytes
    with log.open("r+b") as file:
        file.truncate(size_bytes)
    # A batch that runs over a block's end is a first (2) and a last (4) record; count by its last.
    whole = sum(
        1
        for offset, length, kind in records
        if kind in (1, 4) and offset + 7 + length <= size_bytes
    )
    assert surviving(tmp_path / "db") == whole


def leave_two_logs(path: Path) -> list[Path]:
    """A store whose log was continued in a second file, with nothing yet in tables but LOG's."""
    script = """
        import os, sys
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        number = 0
        while len([name for name in os.listdir(sys.argv[1]) if name.endswith(".log")]) < 2:
            batch = Batch()
            batch.put(Space.LOG, b"%06d" % number, bytes(50_000))
            batch.put(Space.CURRENT, b"%06d" % number, b"%d" % number)
            batch.put(Space.CURRENT, b"applied", b"%d" % number)
            store.write(batch)
            number += 1
        for more in range(3):
            store.write(batch)
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=True)
    return sorted(path.glob("*.log"))


def test_a_second_log_goes_on_where_the_first_ends(tmp_path: Path) -> None:
    leave_two_logs(tmp_path / "db")
    store = RocksStore(tmp_path / "db")
    entries = [key for key, _ in store.scan(Space.LOG, b"", LAST)]
    assert [key for key, _ in store.scan(Space.CURRENT, b"0", b"a")] == entries
    store.close()


@pytest.mark.parametrize("cut_bytes", [1, 200, 50_000, 120_000, 32 * 1024 * 40])
def test_a_gap_between_two_logs_is_refused(tmp_path: Path, cut_bytes: int) -> None:
    """RocksDB alone opens this with batches missing in the middle."""
    older, _ = leave_two_logs(tmp_path / "db")
    with older.open("r+b") as file:
        file.truncate(older.stat().st_size - cut_bytes)
    with pytest.raises(StoreCorrupt, match=f"the end of the log {older} is lost"):
        RocksStore(tmp_path / "db")


def test_zeros_behind_the_log_are_space_never_written(tmp_path: Path) -> None:
    log = run_and_leave(tmp_path / "db")
    with log.open("ab") as file:
        file.write(bytes(50_000))
    assert surviving(tmp_path / "db") == RECORDS


def test_a_store_whose_files_are_gone_is_not_made_anew(tmp_path: Path) -> None:
    run_and_leave(tmp_path / "db")
    (tmp_path / "db" / "CURRENT").unlink()
    with pytest.raises(StoreCorrupt, match="gone"):
        RocksStore(tmp_path / "db", create_if_missing=False)
    with pytest.raises(StoreCorrupt, match="gone"):
        RocksStore(tmp_path / "never", create_if_missing=False)


def test_a_damaged_table_is_noticed_by_reads_and_scans_and_views(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = RocksStore(path)
    for number in range(RECORDS):
        batch = Batch()
        batch.put(Space.LOG, b"%06d" % number, b"entry %d " % number * 40)
        store.write(batch)
    store.close()  # writes the tables
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    flip(table, table.stat().st_size // 2)

    readers: list[Callable[[RocksStore], object]] = [
        lambda store: list(store.scan(Space.LOG, b"", LAST)),
        lambda store: list(store.scan(Space.LOG, b"", LAST, reverse=True)),
        lambda store: list(store.view().scan(Space.LOG, b"", LAST)),
        lambda store: [store.get(Space.LOG, b"%06d" % number) for number in range(RECORDS)],
    ]
    for number, read_all in enumerate(readers):
        own = tmp_path / f"copy-{number}"
        shutil.copytree(path, own)
        store = RocksStore(own)
        with pytest.raises(StoreCorrupt):
            read_all(store)
        with pytest.raises(StoreCorrupt):  # and from then on nothing is answered
            store.get(Space.META, b"anything")
        with pytest.raises(StoreCorrupt):
            store.write(Batch())
        with pytest.raises(StoreCorrupt):
            store.sync()
        store.close()


def test_kill_in_the_middle_of_writing_loses_nothing_synced(tmp_path: Path) -> None:
    script = """
        import sys, threading
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        written = -1
        def sync_on_and_on():
            while True:
                covered = written
                store.sync()
                print(covered, flush=True)
        threading.Thread(target=sync_on_and_on, daemon=True).start()
        for number in range(10_000_000):
            batch = Batch()
            batch.put(Space.LOG, b"%06d" % number, b"entry %d " % number * 20)
            batch.put(Space.CURRENT, b"applied", b"%d" % number)
            store.write(batch)
            written = number
    """
    for wanted in (1, 500, 5000):
        path = tmp_path / f"db-{wanted}"
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        synced = -1
        for line in child.stdout:
            synced = int(line)
            if synced >= wanted:
                break
        child.send_signal(signal.SIGKILL)
        synced = max([synced, *map(int, child.stdout.read().split())])
        child.wait(10)
        child.stdout.close()
        assert surviving(path) >= synced + 1 > wanted


def test_one_process_at_a_time_and_the_error_says_so(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    script = """
        import sys
        from raycons.errors import StoreLocked
        from raycons.store.rocks import RocksStore
        try:
            RocksStore(sys.argv[1])
        except StoreLocked as error:
            print(error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "db")]
    refused = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert str(tmp_path / "db") in refused
    assert "holds it" in refused
    store.close()
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == ""


def test_after_close_everything_is_refused_and_the_directory_is_free(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    view = store.view()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(Space.META, b"k")
    with pytest.raises(StoreError, match="closed"):
        store.sync()
    with pytest.raises(StoreError, match="closed"):
        list(view.scan(Space.META, b"", LAST))
    RocksStore(tmp_path / "db").close()
