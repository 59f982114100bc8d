"""Who a store belongs to, and who may open it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raycons.errors import (
    BadArgument,
    StoreCorrupt,
    StoreError,
    StoreFormatMismatch,
    StoreLocked,
)
from raycons.store import directory
from raycons.store.contract import Batch, Space
from raycons.store.memory import MemoryStore
from raycons.store.openings import opened

UUID = "6b3c0c3e-0000-4000-8000-000000000000"


def create(root: Path, replica: int = 1, name: str = "prod") -> directory.Identity:
    return directory.create(root, cluster_name=name, cluster_id=UUID, replica=replica)


def rewrite_identity(path: Path, **fields: object) -> None:
    file = path / "identity.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_store_is_made_once_and_opened_as_what_it_is(tmp_path: Path) -> None:
    made = create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    assert held.identity == made
    assert (made.cluster_name, made.cluster_id, made.replica) == ("prod", UUID, 1)
    assert made.host == directory.host_id(tmp_path)
    assert held.path == tmp_path / "prod" / "replica-1"
    store = held.open_store()
    batch = Batch()
    batch.put(Space.LOG, b"k", b"v")
    store.write(batch)
    store.sync()
    store.close()
    held.close()

    again = directory.open(tmp_path, "prod", 1)
    store = again.open_store()
    assert store.get(Space.LOG, b"k") == b"v"
    store.close()
    again.close()


def test_a_store_is_never_made_over_another(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(StoreError, match="exists already"):
        create(tmp_path)
    assert [path.name for path in (tmp_path / "prod").iterdir()] == ["replica-1"]
    assert create(tmp_path, 2).nonce != create(tmp_path, 3).nonce


def test_of_two_who_make_the_same_store_one_wins(tmp_path: Path) -> None:
    def attempt(_: int) -> directory.Identity | None:
        try:
            return create(tmp_path)
        except StoreError:
            return None

    with ThreadPoolExecutor(4) as pool:
        made = [identity for identity in pool.map(attempt, range(4)) if identity]
    held = directory.open(tmp_path, "prod", 1)
    assert made == [held.identity]
    held.open_store().close()
    held.close()


def test_opening_never_makes_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        directory.open(tmp_path, "prod", 1)
    assert not (tmp_path / "prod").exists()


def test_a_lost_database_is_not_made_anew(tmp_path: Path) -> None:
    create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    shutil.rmtree(held.database_path)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="gone"):
            held.open_store()
    held.close()


def test_a_database_of_another_replica_is_refused(tmp_path: Path) -> None:
    create(tmp_path, 1)
    create(tmp_path, 2)
    first = tmp_path / "prod" / "replica-1" / "db"
    shutil.rmtree(first)
    shutil.copytree(tmp_path / "prod" / "replica-2" / "db", first)
    held = directory.open(tmp_path, "prod", 1)
    with pytest.raises(StoreCorrupt, match="does not belong"):
        held.open_store()
    held.close()


def test_a_directory_copied_under_another_id_is_refused(tmp_path: Path) -> None:
    create(tmp_path, 1)
    shutil.copytree(tmp_path / "prod" / "replica-1", tmp_path / "prod" / "replica-2")
    with pytest.raises(StoreCorrupt, match="moved or copied"):
        directory.open(tmp_path, "prod", 2)


def test_the_holder_is_named_to_whoever_comes_second(tmp_path: Path) -> None:
    create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    with pytest.raises(StoreLocked, match=f"held by process {os.getpid()};"):
        directory.open(tmp_path, "prod", 1)
    held.close()
    held.close()  # twice does no harm
    directory.open(tmp_path, "prod", 1).close()


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    create(tmp_path)
    script = """
        import sys
        from pathlib import Path
        from raycons.store import directory
        held = directory.open(Path(sys.argv[1]), "prod", 1)
        print("held", flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(StoreLocked, match=f"held by process {child.pid};"):
        directory.open(tmp_path, "prod", 1)
    child.kill()
    child.wait(10)
    child.stdout.close()
    child.stdin.close()
    directory.open(tmp_path, "prod", 1).close()


def test_a_refused_opening_leaves_no_lock(tmp_path: Path) -> None:
    create(tmp_path)
    path = tmp_path / "prod" / "replica-1"
    rewrite_identity(path, format=99)
    with pytest.raises(StoreFormatMismatch):
        directory.open(tmp_path, "prod", 1)
    rewrite_identity(path, format=directory.FORMAT)
    directory.open(tmp_path, "prod", 1).close()


def test_another_format_is_told_with_the_way_out(tmp_path: Path) -> None:
    create(tmp_path)
    # Another format may have other fields altogether.
    (tmp_path / "prod" / "replica-1" / "identity.json").write_text('{"format": 1, "who": 7}')
    said = f"has format 1, this raycons reads format {directory.FORMAT}; run"
    with pytest.raises(StoreFormatMismatch, match=said):
        directory.open(tmp_path, "prod", 1)


@pytest.mark.parametrize("content", ["", "{", '{"format": 3}', "[]", '{"format": "1"}', "\xff"])
def test_an_unreadable_identity_is_corrupt_and_the_file_named(tmp_path: Path, content: str) -> None:
    create(tmp_path)
    file = tmp_path / "prod" / "replica-1" / "identity.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(StoreCorrupt, match=str(file)):
        directory.open(tmp_path, "prod", 1)


def test_a_retired_identity_opens_no_more(tmp_path: Path) -> None:
    create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    held.retire("its disk forgot what it acknowledged")
    held.close()
    with pytest.raises(StoreError, match=r"retired .* its disk forgot what it acknowledged"):
        directory.open(tmp_path, "prod", 1)
    (found,) = directory.find(tmp_path, "prod")
    assert found.identity is not None
    assert found.identity.retired == "its disk forgot what it acknowledged"
    assert (found.path / "db" / "CURRENT").exists()


def test_destroy_removes_all_and_frees_the_place(tmp_path: Path) -> None:
    create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    held.destroy()
    assert directory.find(tmp_path, "prod") == []
    assert list((tmp_path / "prod").iterdir()) == []
    with pytest.raises(StoreError, match="no store at"):
        directory.open(tmp_path, "prod", 1)


def test_a_destroyed_store_is_no_store_even_if_a_crash_leaves_some_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: Path) -> None:
        raise InterruptedError

    create(tmp_path)
    held = directory.open(tmp_path, "prod", 1)
    monkeypatch.setattr(shutil, "rmtree", crash)
    with pytest.raises(StoreError):
        held.destroy()
    assert directory.find(tmp_path, "prod") == []
    held.close()


def test_find_lists_what_is_there_without_opening_it(tmp_path: Path) -> None:
    assert directory.find(tmp_path, "prod") == []
    for replica in (10, 9, 2):
        create(tmp_path, replica)
    create(tmp_path, 1, name="other")
    held = directory.open(tmp_path, "prod", 9)  # a held one is found too
    (tmp_path / "prod" / "replica-10" / "identity.json").write_text("?")
    found = directory.find(tmp_path, "prod")
    assert [each.path.name for each in found] == ["replica-2", "replica-9", "replica-10"]
    assert [each.identity.replica if each.identity else None for each in found] == [2, 9, None]
    assert isinstance(found[2].problem, StoreCorrupt)
    held.close()


def test_each_opening_is_counted_on_disk(tmp_path: Path) -> None:
    create(tmp_path)
    seen = []
    for _ in range(3):
        held = directory.open(tmp_path, "prod", 1)
        store = held.open_store()
        seen.append(opened(store))
        store.close()
        held.close()
    assert [opening.incarnation for opening in seen] == [1, 2, 3]
    assert len({opening.opening for opening in seen}) == 3
    assert all(0 <= opening.opening < 2**63 for opening in seen)


def test_an_opening_is_synced_before_it_is_told() -> None:
    calls: list[str] = []

    class Watched(MemoryStore):
        def write(self, batch: Batch) -> None:
            calls.append("write")
            super().write(batch)

        def sync(self) -> None:
            calls.append("sync")

    opened(Watched())
    assert calls == ["write", "sync"]


def test_the_host_has_one_name_however_many_ask_first(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: directory.host_id(root), range(32)))
    assert len(names) == 1
    assert len(names.pop()) == 32
    assert [path.name for path in root.iterdir()] == ["host-id"]
    assert directory.host_id(root) != directory.host_id(tmp_path / "other")


def test_the_default_root_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAYCONS_HOME", str(tmp_path / "chosen"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert directory.default_root() == tmp_path / "chosen"
    monkeypatch.delenv("RAYCONS_HOME")
    if sys.platform == "linux":  # elsewhere platformdirs follows other customs
        assert directory.default_root() == tmp_path / "data" / "raycons"
        monkeypatch.delenv("XDG_DATA_HOME")
        assert directory.default_root() == tmp_path / "home" / ".local" / "share" / "raycons"
    else:
        assert directory.default_root().name == "raycons"


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a b", "ü", "a" * 65, "a\0b"])
def test_a_name_that_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadArgument, match="cluster name"):
        create(tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["prod", "team-a_2.test", "7"])
def test_plain_names_are_fine(tmp_path: Path, name: str) -> None:
    create(tmp_path, name=name)
    assert len(directory.find(tmp_path, name)) == 1


def test_network_file_systems_are_refused_by_the_innermost_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    shared = tmp_path / "my share"
    (shared / "local").mkdir(parents=True)
    escaped = str(shared).replace(" ", "\\040")
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        f"server:/export {escaped} nfs4 rw 0 0\n"
        f"/dev/sdb1 {escaped}/local xfs rw 0 0\n"
        "broken line\n"
    )
    directory.refuse_network_file_system(tmp_path, mounts)
    directory.refuse_network_file_system(shared / "local", mounts)
    directory.refuse_network_file_system(tmp_path / "my share2", mounts)
    with pytest.raises(StoreError, match=r"nfs4 at .*my share.*RAYCONS_HOME"):
        directory.refuse_network_file_system(shared, mounts)
    with pytest.raises(StoreError, match="nfs4"):
        directory.refuse_network_file_system(shared / "not" / "yet" / "there", mounts)
    directory.refuse_network_file_system(shared, tmp_path / "no-such-file")
    monkeypatch.setenv("RAYCONS_ALLOW_NETWORK_FILE_SYSTEM", "0")
    with pytest.raises(StoreError, match="RAYCONS_ALLOW_NETWORK_FILE_SYSTEM=1"):
        directory.refuse_network_file_system(shared, mounts)
    monkeypatch.setenv("RAYCONS_ALLOW_NETWORK_FILE_SYSTEM", "1")
    directory.refuse_network_file_system(shared, mounts)
