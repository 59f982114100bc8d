"""A disk that is full, read-only, or slow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from raycons.errors import StoreCorrupt, StoreError, StoreFull, StoreLocked, StoreReadOnly
from raycons.store.contract import Space
from raycons.store.failures import store_error
from raycons.store.rocks import RocksStore

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Exception("IO error: No space left on device: While appending to file: x.log"), StoreFull),
        (OSError(27, "File too large"), StoreFull),
        (Exception("IO error: Disk quota exceeded"), StoreFull),
        (Exception("IO error: While open a file: x: Read-only file system"), StoreReadOnly),
        (PermissionError(13, "Permission denied"), StoreReadOnly),
        (FileNotFoundError(2, "No such file or directory", "/data"), StoreReadOnly),
        (Exception("IO error: No such file or directory: 000012.sst"), StoreCorrupt),
        (Exception("Corruption: checksum mismatch"), StoreCorrupt),
        (Exception("IO error: While lock file: x: Resource temporarily unavailable"), StoreLocked),
        (Exception("IO error: While fdatasync: Input/output error"), StoreError),
    ],
)
def test_each_failure_has_its_kind_path_and_remedy(
    error: Exception, kind: type[StoreError]
) -> None:
    told = store_error(error, Path("/data/prod/replica-1"))
    assert type(told) is kind
    assert "/data/prod/replica-1" in str(told)
    assert ";" in str(told)


def fill_until_it_fails(path: Path) -> str:
    """What a process says that fills the store in `path` and then asks it for more."""
    script = """
        import sys
        from raycons.errors import StoreError
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        if len(sys.argv) > 2:  # from here on no file may grow beyond this
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
        batch = Batch()
        batch.put(Space.LOG, b"k", bytes(100_000))
        def told(ask):
            try:
                ask()
            except StoreError as error:
                return type(error).__name__ + " " + str(error)
            return "nothing"
        written = 0
        while (first := told(lambda: store.write(batch))) == "nothing":
            written += 1
            if written % 10 == 0 and (first := told(store.sync)) != "nothing":
                break
            assert written < 10_000
        print("first", first)
        print("write", told(lambda: store.write(batch)))
        print("sync", told(store.sync))
        print("get", told(lambda: store.get(Space.LOG, b"k")))
        print("view", told(store.view))
        print("scan", told(lambda: store.scan(Space.LOG, b"", b"z")))
        store.close()
    """
    arguments = [str(path)]
    if not path.parent.is_mount():
        arguments.append(str(3 * MIB))
    command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def check_it_is_full_for_good(said: str, path: Path) -> None:
    lines = said.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [asked, "StoreFull"] for asked in ("first", "write", "sync", "get", "view", "scan")
    ]
    assert all(str(path) in line and "free some" in line for line in lines)


def test_a_file_that_may_not_grow_is_a_full_store(tmp_path: Path) -> None:
    path = tmp_path / "db"
    check_it_is_full_for_good(fill_until_it_fails(path), path)
    store = RocksStore(path)  # what was there before is still there
    assert store.get(Space.LOG, b"k") == bytes(100_000)
    store.close()


def test_tables_that_cannot_be_written_are_noticed_by_the_next_sync(tmp_path: Path) -> None:
    """Though the log has room: writers would soon be stopped, and the event loop with them.

    Now and then the tables are asked for more in between, and that write says so.
    """
    script = """
        import resource, sys, time
        from pathlib import Path
        from raycons.errors import StoreError
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore, set_log_aside
        set_log_aside(Path(sys.argv[1]))
        store = RocksStore(sys.argv[1])
        limit = 6 * 1024 * 1024  # more than a segment, less than a table
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for number in range(1000):
            batch = Batch()
            batch.put(Space.LOG, b"%d" % number, bytes(100_000))
            call = "write"
            try:
                store.write(batch)
                time.sleep(0.001)
                call = "sync"
                store.sync()
            except StoreError as error:
                print(number, call, error)
                break
        store.close()
    """
    for attempt in range(5):
        path = tmp_path / f"db-{attempt}"
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stderr
        number, call, message = ended.stdout.split(" ", 2)
        assert int(number) > 100
        assert str(path) in message
        store = RocksStore(path)
        assert store.get(Space.LOG, b"0") == bytes(100_000)
        store.close()
        if call == "sync":
            break
    assert call == "sync"
    assert "a table could not be written in the background" in message


def test_a_full_disk_is_a_full_store(small_disk: Path) -> None:
    path = small_disk / "db"
    check_it_is_full_for_good(fill_until_it_fails(path), path)


def test_a_disk_without_room_for_a_new_store_is_full(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(4 * MIB - 4096))
    with pytest.raises(StoreFull, match="free some"):
        RocksStore(small_disk / "db")


def test_a_read_only_disk_is_named_as_such(small_disk: Path) -> None:
    path = small_disk / "db"
    RocksStore(path).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreReadOnly, match="remount the disk"):
        RocksStore(path)


SLOW_SYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int slowly(const char *name, int fd) {
    if (access(getenv("SLOW_SYNC"), F_OK) == 0) sleep(1);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fdatasync(int fd) { return slowly("fdatasync", fd); }
int fsync(int fd) { return slowly("fsync", fd); }
"""


def test_a_slow_sync_leaves_the_writing_thread_ticking(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("slowing down the disk needs a C compiler")
    source, library = tmp_path / "slow.c", tmp_path / "slow.so"
    source.write_text(SLOW_SYNC)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    script = """
        import os, sys, threading, time
        from raycons.store.contract import Batch, Space
        from raycons.store.rocks import RocksStore
        store = RocksStore(sys.argv[1])
        batch = Batch()
        batch.put(Space.LOG, b"k", bytes(100))
        store.write(batch)
        open(os.environ["SLOW_SYNC"], "w").close()
        began = time.monotonic()
        thread = threading.Thread(target=store.sync)
        thread.start()
        ticks, longest, before = 0, 0.0, time.monotonic()
        while thread.is_alive():
            store.write(batch)
            store.get(Space.LOG, b"k")
            time.sleep(0.001)
            now = time.monotonic()
            ticks, longest, before = ticks + 1, max(longest, now - before), now
        print(before - began, ticks, longest)
        os.unlink(os.environ["SLOW_SYNC"])
        store.close()
    """
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "db")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LD_PRELOAD": str(library), "SLOW_SYNC": str(tmp_path / "slow")},
    ).stdout
    took_s, ticks, longest_s = map(float, said.split())
    assert took_s >= 1.0
    assert ticks > 50
    assert longest_s < 0.5
