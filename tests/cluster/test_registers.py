"""A cluster of registers (CASPaxos) on a real Ray: served by any member, with a checked history."""

from __future__ import annotations

import os
import shutil
import signal
import threading

import pytest

import raycons
from raycons.cluster.blocking import Cluster
from raycons.errors import BadArgument, OutcomeUnknown, Refused, Unavailable, Unsupported
from tests.cluster.yard import Yard, eventually, serving
from tests.recording import Recordings

WRITERS = 4
KEYS = 3


def test_registers_are_linearizable_while_a_member_is_killed(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(protocol="caspaxos")
    kv = recordings.wrap(cluster.kv())
    stop = threading.Event()
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_work, args=(kv, n, stop, failures)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        before = cluster.status()
        victim = before.replicas[0]
        os.kill(victim.pid, signal.SIGKILL)
        eventually(
            lambda: _is_another(cluster, victim.id, victim.pid),
            within_s=60,
            what="the killed member serves again",
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failures == []
    kv.put("after", b"all")
    assert kv.get("after") == b"all"


def _is_another(cluster: Cluster, id: int, pid: int) -> bool:
    one = cluster.status().replica(id)
    return one is not None and one.state == "serving" and one.pid != pid


def _work(kv: object, writer: int, stop: threading.Event, failures: list[BaseException]) -> None:
    count = 0
    while not stop.is_set():
        count += 1
        key, value = f"k{count % KEYS}", b"%d.%d" % (writer, count)
        try:
            match count % 5:
                case 0:
                    kv.delete(key)  # type: ignore[attr-defined]
                case 1 | 2:
                    kv.get(key)  # type: ignore[attr-defined]
                case 3:
                    kv.compare_and_swap(key, expect=None, value=value)  # type: ignore[attr-defined]
                case _:
                    kv.put(key, value)  # type: ignore[attr-defined]
        except (OutcomeUnknown, Unavailable):
            pass  # a member is being killed
        except BaseException as error:  # noqa: BLE001  told by the test
            failures.append(error)
            return


def test_what_registers_cannot_do_is_refused_and_members_come_and_go(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(protocol="caspaxos")
    kv = recordings.wrap(cluster.kv())
    first = kv.put("a", b"1")
    assert kv.compare_and_swap("a", expect=b"1", value=b"2")
    assert kv.delete("a") == 1
    assert kv.put("a", b"3") > first
    for number in range(300):
        kv.put(f"key-{number}", b"%d" % number)
    plain = cluster.kv()
    for refused in (
        lambda: plain.range(prefix="a"),
        lambda: plain.get("a", revision=1),
        lambda: plain.delete_range(prefix="a"),
        lambda: plain.compact(1),
        lambda: plain.txn().then(plain.op.put("a", b"4")).commit(),
    ):
        with pytest.raises(Unsupported, match='protocol="raft"'):
            refused()
    assert kv.get("a") == b"3"
    with pytest.raises(Refused, match="digest"):
        cluster.digest(1)
    with pytest.raises(Refused, match="no leader"):
        cluster.transfer_leader()

    added = cluster.add_member()
    cluster.remove_member(1)
    status = cluster.status()
    assert status.voters == (2, 3, added)
    assert (status.protocol, status.leader) == ("caspaxos", 0)
    assert kv.get("key-299") == b"299"
    assert kv.get("a") == b"3"

    # The two that are left of the first three hold nothing alone any more.
    cluster.remove_member(2)
    assert kv.get("key-0") == b"0"
    kv.put("a", b"5")

    raycons.stop(yard.name, path=yard.root)
    again = recordings.wrap(yard.start(protocol="caspaxos").kv())
    assert again.get("a") == b"5"
    assert len(serving(raycons.connect(yard.name).status())) == 2


def test_a_member_that_lost_its_store_is_replaced_and_never_comes_back(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(protocol="caspaxos")
    kv = recordings.wrap(cluster.kv())
    for number in range(20):
        kv.put(f"key-{number}", b"kept")
    pid = next(one.pid for one in cluster.status().replicas if one.id == 1)
    shutil.rmtree(yard.store(1))
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: cluster.status().voters == (2, 3, 4) and serving(cluster.status()) == [2, 3, 4],
        within_s=90,
        what="another member in its place",
    )
    assert [kv.get(f"key-{number}") for number in range(20)] == [b"kept"] * 20


def test_registers_in_memory_by_actor_calls(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(protocol="caspaxos", storage="memory", transport="actor")
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    assert kv.get("a") == b"1"


def test_settings_that_need_a_leader_or_another_protocol_are_refused(yard: Yard) -> None:
    with pytest.raises(BadArgument, match="leader"):
        yard.start(protocol="caspaxos", reads="lease")
    with pytest.raises(BadArgument, match="caspaxos"):
        yard.start(protocol="paxos")
