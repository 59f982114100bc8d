"""Stores that a member of a running cluster cannot use for now: it says why, and the rest serves.

Once the obstacle is gone the member comes back by itself, with all that it held.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raycons.cluster.blocking import Cluster
from raycons.cluster.status import ReplicaStatus
from raycons.store.directory import FORMAT
from tests.cluster.yard import Yard, eventually, whole
from tests.recording import Recordings

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def place(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """One cluster for all tests of this file: each leaves it whole."""
    yard = Yard(tmp_path_factory.mktemp("refused"))
    yield yard
    yard.clear()


@pytest.fixture(scope="module")
def cluster(place: Yard) -> Cluster:
    return place.start(repair_grace=600.0)


def follower(cluster: Cluster) -> ReplicaStatus:
    status = cluster.status()
    return next(replica for replica in status.replicas if replica.id != status.leader)


def pid_of(cluster: Cluster, id: int) -> int:
    replica = cluster.status().replica(id)
    assert replica is not None
    return replica.pid


def refusal(cluster: Cluster, id: int) -> str:
    """What a member's status says once it has failed."""

    def said() -> str:
        replica = cluster.status().replica(id)
        assert replica is not None
        return replica.reason if replica.state == "failed" else ""

    told: str = eventually(said, within_s=20, what=f"replica {id} says why it does not serve")
    return told


def all_are_equal(cluster: Cluster) -> bool:
    return len({cluster.digest(id) for id in cluster.status().voters}) == 1


def test_a_store_of_another_format_is_refused_and_the_rest_serves(
    place: Yard, cluster: Cluster, recordings: Recordings
) -> None:
    kv = recordings.wrap(cluster.kv())
    kv.put("format/before", b"1")
    victim = follower(cluster)
    identity = place.store(victim.id) / "identity.json"
    known = identity.read_text()
    os.kill(victim.pid, signal.SIGKILL)
    identity.write_text(json.dumps(json.loads(known) | {"format": FORMAT + 1}))
    told = refusal(cluster, victim.id)
    assert f"has format {FORMAT + 1}, this raycons reads format {FORMAT}" in told
    assert str(place.store(victim.id)) in told
    kv.put("format/meanwhile", b"2")
    assert cluster.status().voters == (1, 2, 3)
    identity.write_text(known)
    eventually(whole(cluster), within_s=20, what="the release that reads it is back")
    assert kv.get("format/meanwhile") == b"2"
    eventually(lambda: all_are_equal(cluster), within_s=20, what="it caught up")


def move_to(disk: Path, database: Path) -> None:
    """Let a store lie on another disk, with no room set aside for its log."""
    subprocess.run(["cp", "-r", "--sparse=always", database, disk / "db"], check=True)
    shutil.rmtree(database)
    database.symlink_to(disk / "db")


def fill(disk: Path) -> Path:
    """Take all the room that is left; gives the file that has it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        for size in (65536, 4096, 1):
            try:
                while out.write(bytes(size)):
                    pass
            except OSError:
                continue
    return filler


def test_a_member_whose_disk_is_full_says_so_and_comes_back_when_there_is_room(
    place: Yard, cluster: Cluster, recordings: Recordings, small_disk: Path
) -> None:
    """The last test of this file: its small disk goes away at its end."""
    kv = recordings.wrap(cluster.kv())
    victim = follower(cluster)
    os.kill(victim.pid, signal.SIGKILL)
    move_to(small_disk, place.store(victim.id) / "db")  # before Ray has started the next process
    eventually(
        lambda: whole(cluster)() and pid_of(cluster, victim.id) != victim.pid,
        within_s=20,
        what="it serves from the small disk",
    )
    kv.put("full/before", b"1")
    serving = pid_of(cluster, victim.id)
    filler = fill(small_disk)
    for number in range(40):  # more than the page of its log that it still has
        kv.put(f"full/{number}", bytes(10_000))
    told = refusal(cluster, victim.id)
    assert str(place.store(victim.id) / "db") in told
    assert "no space left; free some or enlarge the disk, and the member goes on" in told
    assert "Traceback" not in told
    assert pid_of(cluster, victim.id) != serving  # it ended with the write that failed
    kv.put("full/meanwhile", b"2")
    assert cluster.status().voters == (1, 2, 3)
    filler.unlink()
    eventually(whole(cluster), within_s=20, what="the member is back, for there is room")
    assert len(cluster.kv().range(prefix="full/")) == 42
    eventually(lambda: all_are_equal(cluster), within_s=20, what="it caught up")
