"""Starting, finding, stopping and resuming clusters on a real Ray."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

import raycons
import raycons.aio
from raycons import errors
from raycons.client.background import background
from raycons.cluster.settings import LEASE_S, TransportKind
from raycons.cluster.status import configuration_of
from tests.cluster.yard import Yard, eventually, serving
from tests.recording import Recordings


@pytest.mark.parametrize("transport", ["tcp", "actor"])
def test_a_new_cluster_serves_the_whole_interface(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport)
    kv, whole = recordings.wrap(cluster.kv()), cluster.kv()
    kv.put("jobs/42", b"queued")
    assert kv.get("jobs/42") == b"queued"
    assert kv.compare_and_swap("jobs/42", expect=b"queued", value=b"running")
    assert not kv.compare_and_swap("jobs/42", expect=b"queued", value=b"again")
    kv.put("jobs/43", b"queued")
    assert [(entry.key, entry.value) for entry in whole.range(prefix="jobs/")] == [
        (b"jobs/42", b"running"),
        (b"jobs/43", b"queued"),
    ]
    first = whole.txn().when(whole.key("a").version == 0).then(whole.op.put("a", b"1"))
    assert first.otherwise(whole.op.get("a")).commit().succeeded
    again = whole.txn().when(whole.key("a").version == 0).then(whole.op.put("a", b"2"))
    assert not again.otherwise(whole.op.get("a")).commit().succeeded
    assert kv.delete("jobs/43") == 1
    status = cluster.status()
    assert serving(status) == [1, 2, 3] == list(status.voters)
    assert status.tolerates == 1
    assert status.transport == transport
    assert all(len(replica.connections) == 2 for replica in status.replicas)
    assert {replica.pid for replica in status.replicas} != {os.getpid()}


def test_more_is_read_at_once_than_a_frame_can_hold(yard: Yard, recordings: Recordings) -> None:
    names = [f"large/{number}" for number in range(40)]

    async def write_and_read() -> list[bytes | None]:
        cluster = await raycons.aio.connect(yard.name)
        kv = recordings.wrap(cluster.kv())
        for name in names:
            await kv.put(name, name.encode().ljust(900_000))
        found = await asyncio.gather(*(kv.get(name, timeout=5) for name in names))
        await cluster.close()
        return found

    yard.start(replicas=3, storage="memory")
    found = asyncio.run(write_and_read())
    assert found == [name.encode().ljust(900_000) for name in names]


def test_typed_values(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(storage="memory", replicas=1)
    kv = recordings.wrap(cluster.kv(codec="msgpack"))
    kv.put("config", {"workers": 4})
    assert kv.get("config") == {"workers": 4}
    with pytest.raises(errors.BadValueType, match="codec"):
        recordings.wrap(cluster.kv()).put("config", {"workers": 4})


class Elsewhere:
    """A handle whose reads are carried out by a task or an actor."""

    def __init__(self, name: str, read: Callable[[str, str], Any]) -> None:
        self._name = name
        self._read = read

    def get(self, key: str) -> Any:
        return ray.get(self._read(self._name, key))


def test_tasks_and_actors_connect_by_name(yard: Yard, recordings: Recordings) -> None:
    kv = yard.start(storage="memory", replicas=1).kv()
    recordings.wrap(kv).put("greeting", b"hello")

    @ray.remote(num_cpus=0)
    def read_in_a_task(name: str, key: str) -> bytes | None:
        return raycons.connect(name).kv().get(key)

    @ray.remote(num_cpus=0)
    class Reader:
        async def read(self, name: str, key: str) -> bytes | None:
            from raycons import aio

            cluster = await aio.connect(name)
            return await cluster.kv().get(key)

    reader = Reader.remote()  # type: ignore[attr-defined]
    for read in (read_in_a_task.remote, reader.read.remote):
        assert recordings.wrap(Elsewhere(yard.name, read)).get("greeting") == b"hello"


def test_two_starts_at_once_make_one_cluster(yard: Yard) -> None:
    uuids: list[str] = []

    def start() -> None:
        uuids.append(yard.start(replicas=1).uuid)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(uuids) == 3
    assert len(set(uuids)) == 1


def test_a_running_cluster_refuses_other_settings_and_names_them(yard: Yard) -> None:
    first = yard.start(replicas=1)
    assert yard.start(replicas=1).uuid == first.uuid
    with pytest.raises(errors.ClusterExists, match="replicas is 1, asked for 3"):
        yard.start(replicas=3)
    with pytest.raises(errors.ClusterExists, match="transport is 'tcp', asked for 'actor'"):
        yard.start(replicas=1, transport="actor")


def test_stop_keeps_the_data_and_start_resumes_it(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport)
    kv = recordings.wrap(cluster.kv())
    for number in range(100):
        kv.put(f"key/{number:03}", str(number).encode())
    before = cluster.kv().range(prefix="key/")
    raycons.stop(yard.name)
    with pytest.raises(errors.Closed):
        kv.get("key/000")
    with pytest.raises(errors.Closed, match="stopped"):
        cluster.status()
    with pytest.raises(errors.ClusterNotFound):
        raycons.connect(yard.name)
    with pytest.raises(errors.ClusterExists, match="was stopped with other settings: storage"):
        yard.start(transport=transport, storage="memory")
    resumed = yard.start(transport=transport)
    assert resumed.uuid == cluster.uuid
    after = resumed.kv().range(prefix="key/")
    assert list(after) == list(before)
    assert after.revision == before.revision
    assert recordings.wrap(resumed.kv()).get("key/099") == b"99"


def test_destroy_removes_the_stores(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, replicas=1)
    recordings.wrap(cluster.kv()).put("a", b"1")
    assert yard.store(1).is_dir()
    raycons.stop(yard.name, destroy=True)
    assert not yard.store(1).exists()
    anew = yard.start(transport=transport, replicas=1)
    assert anew.uuid != cluster.uuid
    assert recordings.wrap(anew.kv(), "anew").get("a") is None


def test_a_cluster_in_a_place_of_its_own_is_not_made_again_elsewhere(
    yard: Yard, recordings: Recordings
) -> None:
    first = yard.start(replicas=1)
    recordings.wrap(first.kv()).put("a", b"1")
    raycons.stop(yard.name)
    for path in (None, yard.root / "other"):
        with pytest.raises(errors.ClusterExists, match=f"with path='{yard.root}'"):
            raycons.start(yard.name, replicas=1, path=path, timeout=5)
    resumed = yard.start(replicas=1)
    assert resumed.uuid == first.uuid
    assert recordings.wrap(resumed.kv()).get("a") == b"1"
    raycons.stop(yard.name)
    raycons.stop(yard.name, destroy=True)  # the hosts remember where it lies
    assert not yard.store(1).exists()
    anew = raycons.start(yard.name, replicas=1)
    assert anew.uuid != first.uuid
    home = Path(ray.get(ray.remote(num_cpus=0)(os.getenv).remote("RAYCONS_HOME")))
    assert home != yard.root
    assert (home / yard.name / "replica-1").is_dir()
    assert not yard.store(1).exists()
    anew.close()
    raycons.stop(yard.name, destroy=True)


@pytest.mark.long
def test_a_start_waits_for_a_host_that_is_remembered(yard: Yard) -> None:
    first = yard.start(replicas=1)
    raycons.stop(yard.name)
    shutil.move(yard.root / yard.name, yard.root / "away")
    back = threading.Timer(1.5, shutil.move, (yard.root / "away", yard.root / yard.name))
    with pytest.raises(errors.MembersMissing, match="no living host holds a store"):
        yard.start(replicas=1, timeout=1)
    back.start()
    assert yard.start(replicas=1).uuid == first.uuid


def test_start_creates_nothing_beside_stores_without_a_quorum(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport)
    recordings.wrap(cluster.kv()).put("a", b"1")
    raycons.stop(yard.name)
    aside = yard.root / "aside"
    for id in (1, 3):
        shutil.move(yard.store(id), aside / str(id))
    with pytest.raises(errors.MembersMissing) as missing:
        yard.start(transport=transport, timeout=4)
    assert "replica 1" in str(missing.value)
    assert "replica 3" in str(missing.value)
    assert not yard.store(1).exists()
    raycons.stop(yard.name)
    shutil.move(aside / "1", yard.store(1))
    resumed = yard.start(transport=transport)  # two of three are a quorum
    assert resumed.uuid == cluster.uuid
    assert recordings.wrap(resumed.kv()).get("a") == b"1"


def test_names_that_are_not_there(yard: Yard) -> None:
    yard.start(storage="memory", replicas=1)
    with pytest.raises(errors.ClusterNotFound, match=yard.name):
        raycons.connect("nobody-made-this")
    with pytest.raises(errors.ClusterNotFound):
        raycons.stop("nobody-made-this")


def test_start_and_stop_belong_in_a_driver(ray_session: None) -> None:
    calls = {
        "raycons.start": lambda: raycons.start("from-a-worker"),
        "raycons.stop": lambda: raycons.stop("from-a-worker"),
        "raycons.aio.start": lambda: asyncio.run(raycons.aio.start("from-a-worker")),
        "raycons.aio.stop": lambda: asyncio.run(raycons.aio.stop("from-a-worker")),
    }

    def refusals() -> dict[str, str]:
        told = {}
        for what, call in calls.items():
            try:
                call()
            except errors.InsideRayWorker as error:
                told[what] = str(error)
        return told

    @ray.remote(num_cpus=0)
    class Worker:
        def refusals(self) -> dict[str, str]:
            return refusals()

    in_a_task = ray.remote(num_cpus=0)(refusals).remote()
    worker = Worker.remote()  # type: ignore[attr-defined]
    for told in ray.get([in_a_task, worker.refusals.remote()], timeout=60):
        assert told.keys() == calls.keys()
        for what, text in told.items():
            assert text.startswith(f"{what} belongs in a driver")
            assert "raycons.connect(name)" in text


def test_an_async_actor_is_no_driver_either(ray_session: None) -> None:
    @ray.remote(num_cpus=0)
    class Worker:
        async def refusals(self) -> list[str]:
            told = []
            for call in (raycons.aio.start, raycons.aio.stop):
                try:
                    await call("from-a-worker")
                except errors.InsideRayWorker as error:
                    told.append(str(error))
            return told

    worker = Worker.remote()  # type: ignore[attr-defined]
    start, stop = ray.get(worker.refusals.remote(), timeout=60)
    assert start.startswith("raycons.aio.start belongs in a driver")
    assert stop.startswith("raycons.aio.stop belongs in a driver")


def test_reads_by_lease_reach_the_members(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(reads="lease", storage="memory")
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    assert [kv.get("a") for _ in range(20)] == [b"1"] * 20
    status = cluster.status()
    assert status.reads == "lease"
    # What the members themselves agreed on, not what this handle was told.
    for id in status.voters:
        said = background().run(cluster._cluster.client.inspect(id))
        assert configuration_of(said).lease_s == LEASE_S
    with pytest.raises(errors.ClusterExists, match="reads is 'lease', asked for 'read-index'"):
        yard.start(storage="memory")


def test_bad_arguments_are_named(ray_session: None) -> None:
    with pytest.raises(errors.BadArgument, match="replicas=0"):
        raycons.start("x", replicas=0)
    with pytest.raises(errors.BadArgument, match="storage='paper'"):
        raycons.start("x", storage="paper")  # type: ignore[arg-type]
    with pytest.raises(errors.BadArgument, match="transport='pigeon'"):
        raycons.start("x", transport="pigeon")  # type: ignore[arg-type]
    with pytest.raises(errors.BadArgument, match="port_range"):
        raycons.start("x", port_range=(9, 1))
    with pytest.raises(errors.BadArgument, match="name"):
        raycons.start("../x")


def test_members_listen_in_the_port_range(yard: Yard) -> None:
    cluster = yard.start(replicas=3, storage="memory", port_range=(23400, 23420))
    ports = {int(replica.address.rpartition(":")[2]) for replica in cluster.status().replicas}
    assert len(ports) == 3
    assert ports <= set(range(23400, 23421))


def test_a_start_that_fails_leaves_nothing_in_the_way(yard: Yard) -> None:
    with pytest.raises(errors.ClusterError, match="no free port"):
        yard.start(replicas=3, port_range=(23500, 23500))
    assert not yard.store(1).exists()
    cluster = yard.start(replicas=3, port_range=(23500, 23510))
    assert serving(cluster.status()) == [1, 2, 3]


def test_a_place_that_cannot_hold_data_is_named(ray_session: None) -> None:
    with pytest.raises(errors.ClusterError, match="/proc/nowhere"):
        raycons.start("nowhere", path="/proc/nowhere")
    raycons.stop("nowhere")


def test_stores_outside_the_configuration_are_kept_and_told_of(
    yard: Yard, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport)
    cluster.remove_member(3)
    assert yard.store(3).is_dir()
    raycons.stop(yard.name)
    resumed = yard.start(transport=transport)
    told = eventually(
        lambda: [note for note in resumed.status().notes if str(yard.store(3)) in note],
        within_s=20,
        what="the status tells of the store that is nobody's",
    )
    assert "replica 3" in told[0]
    assert yard.store(3).is_dir()
    assert resumed.status().voters == (1, 2)
