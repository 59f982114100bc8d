"""Members that cannot say who they are, because they are starting anew, are not taken for none."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable

import pytest
import ray

import raycons
from raycons import errors
from raycons.cluster import fleet
from raycons.cluster.lifecycle import connect_cluster
from raycons.cluster.naming import running_members
from raycons.member.naming import NAMESPACE, supervisor_name
from tests.cluster.yard import Yard
from tests.recording import Recordings

pytestmark = pytest.mark.timeout(120)


def kill_members(cluster: raycons.Cluster) -> None:
    for replica in cluster.status().replicas:
        os.kill(replica.pid, signal.SIGKILL)


def test_silence_is_not_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(name: str, uuid: str, ids: Iterable[int]) -> dict[int, object]:
        return {}

    monkeypatch.setattr(fleet, "find_members", silent)
    monkeypatch.setattr(fleet, "running_members", lambda name: [1, 3])
    with pytest.raises(errors.MembersMissing, match=r"'prod' answers, though replicas \[1, 3\]"):
        asyncio.run(fleet.adopt("prod"))
    with pytest.raises(errors.Unavailable, match="try again"):
        asyncio.run(connect_cluster("prod"))
    monkeypatch.setattr(fleet, "running_members", lambda name: [])
    assert asyncio.run(fleet.adopt("prod")) is None


def test_a_start_finds_the_cluster_whose_members_are_starting_anew(
    yard: Yard, recordings: Recordings
) -> None:
    cluster = yard.start(replicas=1)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    supervisor = ray.get_actor(supervisor_name(yard.name), namespace=NAMESPACE)
    ray.kill(supervisor, no_restart=False)  # with all it knew
    kill_members(cluster)
    again = yard.start(replicas=1)
    # So it was given the secret that the members have.
    assert recordings.wrap(again.kv()).get("a") == b"1"
    assert kv.get("a") == b"1"
    assert again.add_member() == 2  # and so was the supervisor


def test_a_stop_ends_members_that_are_starting_anew(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(replicas=1)
    recordings.wrap(cluster.kv()).put("a", b"1")
    kill_members(cluster)
    raycons.stop(yard.name)
    assert running_members(yard.name) == []
    assert recordings.wrap(yard.start(replicas=1).kv()).get("a") == b"1"
