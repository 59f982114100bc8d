"""A cluster on MultiPaxos on a real Ray: the same interface, faults and durability as on Raft."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

import raycons
from raycons import errors
from tests.cluster.writers import Writers
from tests.cluster.yard import Yard, eventually, serving, whole
from tests.recording import Recordings

pytestmark = pytest.mark.timeout(240)


def test_members_are_killed_cut_off_changed_and_restarted_under_load(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(protocol="multipaxos", fault_injection=True)
    status = cluster.status()
    assert status.protocol == "multipaxos"
    assert status.ballot.endswith(f" of replica {status.leader}")
    writers = Writers(cluster, 6, recordings)
    try:
        writers.wait_for(50)
        leader = cluster.status().replica(cluster.status().leader)
        assert leader is not None
        os.kill(leader.pid, signal.SIGKILL)
        writers.wait_for(50)
        eventually(whole(cluster), within_s=30, what="the killed member is back")

        before = cluster.status().leader
        cluster.fault(before, isolate=True)
        eventually(
            lambda: cluster.status().leader not in (0, before), within_s=10, what="another leader"
        )
        writers.wait_for(20)
        cluster.fault(before, isolate=False)
        eventually(whole(cluster), within_s=20, what="the cluster is whole")

        heir = next(id for id in serving(cluster.status()) if id != cluster.status().leader)
        cluster.transfer_leader(heir)
        eventually(lambda: cluster.status().leader == heir, within_s=10, what="the heir leads")
        writers.wait_for(20)
        added = cluster.add_member()
        eventually(whole(cluster, 4), within_s=30, what="four voters")
        cluster.remove_member(heir)
        eventually(whole(cluster, 3), within_s=30, what="three voters")
        assert added in serving(cluster.status())
        assert heir not in cluster.status().voters
        writers.wait_for(20)
    finally:
        writers.end()
    writers.check(cluster)


def test_everything_acknowledged_survives_a_full_stop(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(protocol="multipaxos")
    kv = recordings.wrap(cluster.kv())
    for number in range(50):
        kv.put(f"key/{number % 10}", b"%d" % number)
    before = cluster.status()
    cluster.close()
    raycons.stop(yard.name)

    with pytest.raises(errors.ClusterExists, match="protocol is 'multipaxos', asked for 'raft'"):
        yard.start()
    again = yard.start(protocol="multipaxos")
    kv = recordings.wrap(again.kv())
    assert [kv.get(f"key/{number}") for number in range(10)] == [b"%d" % n for n in range(40, 50)]
    assert again.uuid == cluster.uuid
    assert again.status().term > before.term  # no ballot is used again
    assert serving(again.status()) == [1, 2, 3]


def test_reads_by_lease(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(protocol="multipaxos", reads="lease")
    kv = recordings.wrap(cluster.kv())
    for number in range(20):
        kv.put("a", b"%d" % number)
        assert kv.get("a") == b"%d" % number


def test_a_replica_that_lost_its_store_is_replaced(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(protocol="multipaxos", repair_grace=1.0)
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
    assert set(cluster.status().voters) == {1, 2, 3, 4} - {victim.id}
    assert kv.get("a") == b"1"
