"""What a user may ask of a running cluster that it cannot give: clear errors, at once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

import raycons
from raycons import errors
from raycons.cluster.blocking import Cluster
from raycons.config import MIB, MemberSettings, RaftSettings
from tests.cluster.yard import Yard
from tests.recording import Recordings

BOUNDS = MemberSettings(max_value_bytes=4 * MIB)


@pytest.fixture(scope="module")
def place(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """One cluster for all tests of this file that do not end it."""
    yard = Yard(tmp_path_factory.mktemp("misuse"))
    yield yard
    yard.clear()


@pytest.fixture(scope="module")
def cluster(place: Yard) -> Cluster:
    return place.start(storage="memory", replicas=3, member=BOUNDS)


def test_the_digest_of_a_member_that_does_not_exist(cluster: Cluster) -> None:
    before = time.monotonic()
    with pytest.raises(errors.NoSuchMember, match=r"no member 99; it has \[1, 2, 3\]"):
        cluster.digest(99)
    assert time.monotonic() - before < 10
    assert cluster.digest(1)


@pytest.mark.parametrize("transport", ["tcp", "actor"])
def test_values_up_to_the_bound_that_the_cluster_was_started_with(
    yard: Yard, recordings: Recordings, transport: str
) -> None:
    cluster = yard.start(storage="memory", member=BOUNDS, transport=transport)
    kv, largest = recordings.wrap(cluster.kv()), b"x" * (4 * MIB)
    for key in ("a", "b", "c", "d", "e"):
        kv.put(key, largest)
    assert kv.get("a") == largest
    whole = cluster.kv()
    assert [entry.value for entry in whole.range()] == [largest] * 5
    assert whole.txn().then(whole.op.put("f", largest)).commit().succeeded
    with pytest.raises(errors.BadArgument, match="at most 4194304"):
        kv.put("a", largest + b"1")
    with pytest.raises(errors.BadArgument, match="at most 4194304"):
        recordings.wrap(raycons.connect(yard.name).kv()).put("a", largest + b"1")


def test_other_settings_for_a_running_cluster_are_refused(place: Yard, cluster: Cluster) -> None:
    same = {"storage": "memory", "replicas": 3, "member": BOUNDS}
    with pytest.raises(errors.ClusterExists, match=r"repair_grace is 30.0, asked for 5.0"):
        place.start(**same, repair_grace=5.0)
    with pytest.raises(errors.ClusterExists, match=r"raft\.election_timeout_s is 0.2, asked"):
        place.start(**same, raft=RaftSettings(election_timeout_s=0.4))
    assert place.start(**same).uuid == cluster.uuid


def test_a_handle_is_not_for_tasks(cluster: Cluster) -> None:
    @ray.remote(num_cpus=0)
    def use(handle: object) -> None: ...

    remedy = rf"raycons\.connect\('{cluster.name}'\)"
    with pytest.raises(errors.BadArgument, match=remedy) as refused:
        use.remote(cluster)
    assert len(str(refused.value)) < 300
    with pytest.raises(errors.BadArgument, match=r"raycons\.connect\(name\)"):
        use.remote(cluster.kv())


def test_timeouts_that_make_no_sense(cluster: Cluster) -> None:
    for timeout in (-1, 0, "5", float("nan")):
        for change in (
            lambda: cluster.add_member(timeout=timeout),  # type: ignore[arg-type] # noqa: B023
            lambda: cluster.remove_member(3, timeout=timeout),  # type: ignore[arg-type] # noqa: B023
            lambda: cluster.transfer_leader(timeout=timeout),  # type: ignore[arg-type] # noqa: B023
        ):
            with pytest.raises(errors.BadArgument, match="timeout"):
                change()
    assert cluster.members() == (1, 2, 3)


def test_a_stop_from_another_process_is_told(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(replicas=1)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    stop_elsewhere(yard.name, yard.root)
    words = rf"{yard.name!r} has no members: it was stopped or ended; raycons\.start"
    with pytest.raises(errors.Unavailable, match=words):
        kv.put("a", b"2", timeout=3)
    for _ in range(2):  # also when the handle knows already
        with pytest.raises(errors.Unavailable, match=words):
            cluster.status()
    resumed = yard.start(replicas=1)
    again = rf"was stopped and resumed .* raycons\.connect\({yard.name!r}\)"
    with pytest.raises(errors.Unavailable, match=again):
        kv.put("a", b"2", timeout=3)
    assert recordings.wrap(resumed.kv()).get("a") == b"1"
    assert cluster.status().leader == 1


def stop_elsewhere(name: str, root: Path) -> None:
    """`raycons.stop` in a process of its own."""
    script = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, namespace="raycons-tests")
import raycons
raycons.stop(sys.argv[2], path=sys.argv[3])
"""
    address = ray.get_runtime_context().gcs_address
    subprocess.run([sys.executable, "-c", script, address, name, str(root)], check=True, timeout=60)
