"""What real failures do to a cluster: killed processes, lost and damaged disks, cut-off members."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import ray

from raycons import errors
from raycons.cluster.blocking import Cluster
from raycons.cluster.settings import TransportKind
from raycons.member.naming import NAMESPACE, supervisor_name
from tests.cluster.writers import Writers
from tests.cluster.yard import Yard, eventually, serving, whole
from tests.recording import Recordings

pytestmark = pytest.mark.timeout(180)


def pid_of_leader(cluster: Cluster) -> int:
    status = cluster.status()
    leader = status.replica(status.leader)
    assert leader is not None
    return leader.pid


@pytest.mark.parametrize("transport", ["tcp", "actor"])
def test_the_leader_is_killed_under_load(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport)
    writers = Writers(cluster, 8, recordings)
    try:
        for _ in range(2):
            writers.wait_for(50)
            os.kill(pid_of_leader(cluster), signal.SIGKILL)
            writers.wait_for(50)
            eventually(whole(cluster), within_s=30, what="the killed member is back")
    finally:
        writers.end()
    writers.check(cluster)
    # It came back as itself, with its own store, one opening later.
    assert serving(cluster.status()) == [1, 2, 3]
    assert max(replica.incarnation for replica in cluster.status().replicas) >= 2


def test_a_leader_that_is_cut_off_is_replaced_and_comes_back(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, fault_injection=True)
    writers = Writers(cluster, 4, recordings)
    try:
        writers.wait_for(20)
        before = cluster.status().leader
        cluster.fault(before, isolate=True)
        eventually(
            lambda: cluster.status().leader not in (0, before), within_s=10, what="another leader"
        )
        writers.wait_for(20)
        cluster.fault(before, isolate=False)
        eventually(
            lambda: all(len(replica.connections) == 2 for replica in cluster.status().replicas),
            within_s=20,
            what="everyone is connected again",
        )
        eventually(
            lambda: (
                {replica.term for replica in cluster.status().replicas} == {cluster.status().term}
            ),
            within_s=10,
            what="one term",
        )
    finally:
        writers.end()
    writers.check(cluster)


def test_a_replica_without_its_store_never_votes_and_is_replaced(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    """Ray runs the constructor again after the disk was lost: it must not begin anew as itself."""
    cluster = yard.start(transport=transport, repair_grace=1.0)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    status = cluster.status()
    victim = next(replica for replica in status.replicas if replica.id != status.leader)
    shutil.rmtree(yard.store(victim.id))
    os.kill(victim.pid, signal.SIGKILL)
    eventually(
        lambda: cluster.status().replica(victim.id) is None and whole(cluster)(),
        within_s=40,
        what="a new replica took its place, and the vacant member is gone",
    )
    assert not yard.store(victim.id).exists()
    assert set(cluster.status().voters) == {1, 2, 3, 4} - {victim.id}
    assert kv.get("a") == b"1"


def test_a_vacant_member_says_so(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, repair_grace=60.0, replicas=1)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    only = cluster.status().replicas[0]
    shutil.rmtree(yard.store(1))
    os.kill(only.pid, signal.SIGKILL)

    def state() -> str:
        return cluster.status().replicas[0].state

    eventually(lambda: state() == "vacant", within_s=20, what="the member says it is vacant")
    replica = cluster.status().replicas[0]
    assert str(yard.store(1)) in replica.reason
    assert cluster.status().leader == 0
    with pytest.raises(errors.NotApplied):
        kv.put("a", b"2", timeout=1)
    assert not yard.store(1).exists()


def damage(database: Path) -> None:
    """Flip bytes in the write-ahead log, where others follow that were written later."""
    log = database / "wal" / "1"
    content = bytearray(log.read_bytes())
    for at in range(20_000, 20_064):
        content[at] ^= 0xFF
    log.write_bytes(content)


def test_a_damaged_store_is_refused_by_name_and_replaced(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, repair_grace=1.0)
    kv = recordings.wrap(cluster.kv())
    for number in range(200):
        kv.put(f"key/{number}", b"v" * 100)
    status = cluster.status()
    victim = next(replica for replica in status.replicas if replica.id != status.leader)
    os.kill(victim.pid, signal.SIGKILL)
    damage(yard.store(victim.id) / "db")  # long before Ray has started the next process
    eventually(
        lambda: cluster.status().replica(victim.id) is None and whole(cluster)(),
        within_s=40,
        what="the damaged replica was replaced",
    )
    identity = json.loads((yard.store(victim.id) / "identity.json").read_text())
    assert str(yard.store(victim.id) / "db") in identity["retired"]  # it names the place
    assert set(cluster.status().voters) == {1, 2, 3, 4} - {victim.id}
    assert len(cluster.kv().range(prefix="key/")) == 200
    assert kv.get("key/199") == b"v" * 100


def test_memory_members_come_back_as_others(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, storage="memory", repair_grace=1.0)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    os.kill(pid_of_leader(cluster), signal.SIGKILL)
    eventually(lambda: 4 in cluster.status().voters, within_s=40, what="a new replica votes")
    eventually(whole(cluster), within_s=20, what="three voters")
    assert kv.get("a") == b"1"


def test_a_memory_cluster_that_ended_is_lost(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, storage="memory")
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    # As when Ray ends: every actor is gone, and nobody told this handle.
    for actor in [supervisor_name(yard.name), *(f"{yard.name}/replica-{id}" for id in (1, 2, 3))]:
        ray.kill(ray.get_actor(actor, namespace=NAMESPACE), no_restart=True)

    def lost() -> bool:
        try:
            return kv.get("a", timeout=5) != b"1"
        except errors.Unavailable:
            return False
        except errors.ClusterLost:
            return True

    eventually(lost, within_s=30, what="the handle knows that its cluster is gone")
    anew = yard.start(transport=transport, storage="memory")
    assert anew.uuid != cluster.uuid
    assert recordings.wrap(anew.kv(), of="anew").get("a") is None
    with pytest.raises(errors.ClusterLost):
        kv.get("a")


def test_a_memory_cluster_that_lost_its_majority_is_lost(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, storage="memory")
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    before = {replica.id: replica.pid for replica in cluster.status().replicas}
    for id in (1, 2):
        os.kill(before[id], signal.SIGKILL)
    eventually(
        lambda: [replica.state for replica in cluster.status().replicas].count("vacant") == 2,
        within_s=20,
        what="two members have forgotten everything",
    )
    with pytest.raises(errors.Unavailable):
        kv.get("a", timeout=1)
    anew = yard.start(transport=transport, storage="memory")
    assert anew.uuid != cluster.uuid
    assert recordings.wrap(anew.kv(), of="anew").get("a") is None

    def lost() -> bool:
        try:
            kv.get("a", timeout=2)
        except errors.ClusterLost:
            return True
        except errors.Unavailable:
            return False
        return False

    eventually(lost, within_s=20, what="the old handle knows")


def test_the_supervisor_can_be_lost(
    yard: Yard, recordings: Recordings, transport: TransportKind
) -> None:
    cluster = yard.start(transport=transport, repair_grace=1.0)
    kv = recordings.wrap(cluster.kv())
    supervisor = ray.get_actor(supervisor_name(yard.name), namespace=NAMESPACE)
    ray.kill(supervisor, no_restart=False)
    kv.put("a", b"1")  # the cluster serves without it

    def added() -> bool:
        try:
            return cluster.add_member() > 0
        except (errors.Unavailable, errors.OutcomeUnknown):  # it ended with the call in hand
            return len(cluster.members()) == 4

    eventually(added, within_s=30, what="it is back, and knows its cluster")
    assert len(cluster.members()) == 4
    assert kv.get("a") == b"1"


def test_replicas_are_equal(yard: Yard, recordings: Recordings, transport: TransportKind) -> None:
    cluster = yard.start(transport=transport)
    kv = recordings.wrap(cluster.kv())
    for number in range(300):
        kv.put(f"key/{number % 50}", str(number).encode())

    def digests() -> set[tuple[int, str]]:
        return {cluster.digest(id) for id in (1, 2, 3)}

    eventually(lambda: len(digests()) == 1, within_s=20, what="one digest at one index")
