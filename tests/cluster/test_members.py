"""Changing the members of a running cluster by hand."""

from __future__ import annotations

import pytest

from raycons import errors
from raycons.cluster.settings import TransportKind
from tests.cluster.yard import Yard, eventually, whole
from tests.recording import Recordings


def test_add_transfer_remove(yard: Yard, recordings: Recordings, transport: TransportKind) -> None:
    cluster = yard.start(transport=transport)
    kv = recordings.wrap(cluster.kv())
    kv.put("a", b"1")
    assert cluster.add_member() == 4
    assert cluster.members() == (1, 2, 3, 4)
    assert cluster.transfer_leader(to=4) == 4
    assert cluster.status().leader == 4
    cluster.remove_member(4)  # the leader itself
    assert cluster.members() == (1, 2, 3)
    eventually(whole(cluster), within_s=10, what="three voters with a leader")
    assert kv.get("a") == b"1"
    # Ids are never used twice.
    assert cluster.add_member() == 5


def test_members_that_do_not_exist(yard: Yard, transport: TransportKind) -> None:
    cluster = yard.start(transport=transport, replicas=1, storage="memory")
    with pytest.raises(errors.NoSuchMember, match="no member 9"):
        cluster.remove_member(9)
    with pytest.raises(errors.NoSuchMember, match="no member 9"):
        cluster.transfer_leader(to=9)


def test_the_last_voter_stays(yard: Yard, recordings: Recordings, transport: TransportKind) -> None:
    cluster = yard.start(transport=transport, replicas=1, storage="memory")
    with pytest.raises(errors.LastVoter):
        cluster.remove_member(1)
    recordings.wrap(cluster.kv()).put("a", b"1")


def test_faults_need_permission(yard: Yard, transport: TransportKind) -> None:
    cluster = yard.start(transport=transport, replicas=1, storage="memory")
    with pytest.raises(errors.BadArgument, match="fault_injection"):
        cluster.fault(1, isolate=True)
