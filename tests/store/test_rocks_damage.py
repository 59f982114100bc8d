"""What becomes of a store on disk when its process is killed or its bytes are damaged."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from raycons.errors import StoreCorrupt, StoreError
from raycons.store import wal
from raycons.store.contract import Batch, Space
from raycons.store.rocks import RocksStore

LAST = b"\xff" * 16
RECORDS = 400
SYNCED = 350  # the last ones were not


def run_and_leave(path: Path) -> Path:
    """Fill a store in a process that ends without closing it; gives the log that it leaves."""
    script = f"""
        import os, sys
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        for number in range({RECORDS}):
            batch = Batch()
            batch.put(Space.LOG, b"%06d" % number, b"entry %d " % number * 20)
            batch.put(Space.CURRENT, b"applied", b"%d" % number)
            store.write(batch)
            if number % 10 == 9 and number < {SYNCED}:
                store.sync()
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=True)
    return path / "wal" / "1"


def surviving(path: Path) -> int:
    """How many batches the store holds; they must be a prefix, and the last applied the last."""
    store = RocksStore(path, create_if_missing=False)
    keys = [key for key, _ in store.scan(Space.LOG, b"", LAST)]
    applied = store.get(Space.CURRENT, b"applied")
    store.close()
    assert keys == [b"%06d" % number for number in range(len(keys))]
    assert applied == (b"%d" % (len(keys) - 1) if keys else None)
    return len(keys)


def ends(log: Path) -> list[int]:
    """Where each record of the log ends."""
    raw = log.read_bytes()
    found = [0]
    while found[-1] < len(raw):
        (length,) = struct.unpack_from("<I", raw, found[-1] + 4)
        found.append(found[-1] + wal.HEADER_BYTES + length + -length % wal.ALIGNMENT)
    return found[1:]


def flip(file: Path, offset: int, bits: int = 1) -> None:
    raw = bytearray(file.read_bytes())
    raw[offset] ^= bits
    file.write_bytes(raw)


def test_all_that_was_synced_is_there_after_the_process_ends(tmp_path: Path) -> None:
    run_and_leave(tmp_path / "db")
    assert surviving(tmp_path / "db") == RECORDS


@pytest.mark.parametrize("place", [0.0, 0.02, 0.5, 0.8, 0.999])
def test_a_flipped_bit_in_the_log_is_refused(tmp_path: Path, place: float) -> None:
    log = run_and_leave(tmp_path / "db")
    synced_bytes = ends(log)[SYNCED - 1]
    flip(log, int(synced_bytes * place))
    with pytest.raises(StoreCorrupt, match="replace it by a new one") as caught:
        RocksStore(tmp_path / "db")
    assert str(log) in str(caught.value)


@pytest.mark.parametrize("field", [0, 4, 8, 16, 24])
def test_no_field_of_a_record_may_decay(tmp_path: Path, field: int) -> None:
    """Least of all its length, which could make it look cut off."""
    log = run_and_leave(tmp_path / "db")
    flip(log, ends(log)[SYNCED - 3] + field, 0x80)
    with pytest.raises(StoreCorrupt, match=f"record {SYNCED - 1} cannot be read"):
        RocksStore(tmp_path / "db")


@pytest.mark.parametrize("cut_bytes", [1, 3, 60, 250, 5000, 10_000])
def test_a_torn_tail_is_dropped_and_the_rest_kept(tmp_path: Path, cut_bytes: int) -> None:
    log = run_and_leave(tmp_path / "db")
    whole = [end for end in ends(log) if end <= log.stat().st_size - cut_bytes]
    assert SYNCED <= len(whole) < RECORDS
    os.truncate(log, log.stat().st_size - cut_bytes)
    assert surviving(tmp_path / "db") == len(whole)
    assert surviving(tmp_path / "db") == len(whole)


def test_what_was_never_synced_may_be_lost_in_its_middle(tmp_path: Path) -> None:
    """A disk writes its blocks in any order: whole records behind a torn one prove no damage."""
    log = run_and_leave(tmp_path / "db")
    flip(log, ends(log)[SYNCED + 10] + 50)
    assert surviving(tmp_path / "db") == SYNCED + 11


def run_into_tables(path: Path, *, synced: bool) -> list[Path]:
    """Leave a store that has flushed its tables once, long after it began its second segment."""
    script = f"""
        import os, sys
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        flushed = 0
        for number in range(10_000):
            batch = Batch()
            batch.put(Space.LOG, b"%06d" % number, bytes(50_000))
            batch.put(Space.CURRENT, b"applied", b"%d" % number)
            store.write(batch)
            if {synced}:
                store.sync()
            flushed += bool(flushed or store._buffered() < number)
            if flushed > 120:  # the second segment after the flush
                break
        os._exit(0 if flushed else 1)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=True)
    return sorted((path / "wal").iterdir(), key=lambda file: int(file.name))


def test_the_log_goes_on_where_the_tables_end(tmp_path: Path) -> None:
    segments = run_into_tables(tmp_path / "db", synced=True)
    assert len(segments) >= 4
    assert surviving(tmp_path / "db") > 300 + 120


@pytest.mark.parametrize("keep", ["none", "the newest", "the older"])
def test_tables_that_are_ahead_of_the_log_are_whole(tmp_path: Path, keep: str) -> None:
    """The tables were flushed, and of the log, never synced, the disk wrote only some blocks."""
    segments = run_into_tables(tmp_path / "db", synced=False)
    newest = max(segments, key=lambda file: file.stat().st_mtime_ns)
    kept_files = {"none": [], "the newest": [newest], "the older": set(segments) - {newest}}[keep]
    for file in set(segments).difference(kept_files):
        file.write_bytes(bytes(file.stat().st_size))
    kept = surviving(tmp_path / "db")
    assert kept > 300  # what 16 MiB hold
    assert surviving(tmp_path / "db") == kept


def test_a_gap_between_two_segments_is_refused(tmp_path: Path) -> None:
    run_into_tables(tmp_path / "db", synced=True)
    segments = (tmp_path / "db" / "wal").iterdir()
    older, _ = sorted(segments, key=lambda file: -file.stat().st_mtime_ns)[1::-1]
    flip(older, older.stat().st_size - 100)
    with pytest.raises(StoreCorrupt, match="cannot be read, yet"):
        RocksStore(tmp_path / "db")


def test_a_lost_log_is_refused(tmp_path: Path) -> None:
    run_into_tables(tmp_path / "db", synced=True)
    shutil.rmtree(tmp_path / "db" / "wal")
    with pytest.raises(StoreCorrupt, match="has lost the segment 1"):
        RocksStore(tmp_path / "db")


def die_in_the_middle(path: Path, called: str, after: int, what: str) -> None:
    """Open the store in a process that ends when `called` was called so many times, and again."""
    place, name = called.rsplit(".", 1)
    script = f"""
        import os, sys
        from raycons.store import rocks
        from raycons.store.contract import Batch, Space
        place, name, left = {place}, "{name}", [{after}]
        call = getattr(place, name)
        def counted(*arguments):
            if not left[0]:
                os._exit(0)
            left[0] -= 1
            call(*arguments)
        setattr(place, name, counted)
        store = rocks.RocksStore(sys.argv[1])
        {what}
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], check=True)


@pytest.mark.parametrize("flushes", [0, 1, 2, 4, 5, 6, 99])
def test_a_crash_during_an_opening_after_a_crash_loses_nothing(
    tmp_path: Path, flushes: int
) -> None:
    run_and_leave(tmp_path / "db")
    die_in_the_middle(tmp_path / "db", "rocks.RocksStore._flush", flushes, "pass")
    assert surviving(tmp_path / "db") == RECORDS


@pytest.mark.parametrize("steps", range(7))
def test_a_crash_during_a_close_loses_nothing(tmp_path: Path, steps: int) -> None:
    script = (
        "batch = Batch(); batch.put(Space.LOG, b'000000', b'v'); "
        "batch.put(Space.CURRENT, b'applied', b'0'); "
        "store.write(batch); store.sync(); store.close()"
    )
    die_in_the_middle(tmp_path / "db", "rocks._quietly", steps, script)
    assert surviving(tmp_path / "db") == 1


def test_each_opening_draws_a_salt(tmp_path: Path) -> None:
    salts = set()
    for _ in range(3):
        store = RocksStore(tmp_path / "db")
        salts.add(store._log.position.salt)
        store.close()
    assert len(salts) == 3


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    """RocksDB drops its end, and with it the position of the last opening, without a word."""
    run_and_leave(tmp_path / "db")
    RocksStore(tmp_path / "db").close()
    run_and_leave(tmp_path / "db")
    (manifest,) = (tmp_path / "db").glob("MANIFEST-*")
    raw = manifest.read_bytes()
    for cut_bytes in range(1, 400, 20):
        manifest.write_bytes(raw[:-cut_bytes])
        copy = tmp_path / f"{cut_bytes}"
        shutil.copytree(tmp_path / "db", copy)
        with suppress(StoreCorrupt):
            assert surviving(copy) == RECORDS


def test_a_refused_store_is_refused_again_for_the_same_reason(tmp_path: Path) -> None:
    log = run_and_leave(tmp_path / "db")
    flip(log, 5000)
    with pytest.raises(StoreCorrupt) as first:
        RocksStore(tmp_path / "db")
    with pytest.raises(StoreCorrupt):
        RocksStore(tmp_path / "db")
    assert first is not None


def test_a_closed_store_needs_no_log_even_after_a_failure(tmp_path: Path) -> None:
    for failed in False, True:
        path = tmp_path / f"{failed}"
        store = RocksStore(path)
        batch = Batch()
        batch.put(Space.LOG, b"000000", b"v")
        batch.put(Space.CURRENT, b"applied", b"0")
        store.write(batch)
        if failed:
            store._fail(OSError("Input/output error"))
        store.close()
        store.close()
        (path / "wal" / "1").write_bytes(b"")
        assert surviving(path) == 1


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
