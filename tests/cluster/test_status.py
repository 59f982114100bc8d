"""What members' answers add up to (pure), and what members on a real Ray tell of themselves."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
import ray

import raycons
from raycons.cluster.fleet import Charter
from raycons.cluster.handle import summarize
from raycons.cluster.settings import ClusterSettings
from raycons.cluster.status import lost_with_memory, tolerated_losses, view_of_leader
from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from tests.cluster.yard import Yard, eventually, whole
from tests.recording import Recordings

CHARTER = Charter(name="c", uuid="u", secret=b"s", settings=ClusterSettings())
THREE = Configuration(
    peers=tuple(Peer(id, 100 + id, Role.VOTER, host=f"h{id}") for id in (1, 2, 3)), next_id=4
)


def serving(id: int, *, role: str = "follower", term: int = 5, commit: int = 40) -> dict[str, Any]:
    return {
        "id": id,
        "state": "serving",
        "reason": "",
        "role": role,
        "term": term,
        "leader": 1,
        "commit": commit,
        "applied": commit,
        "log_first": 11,
        "log_last": commit,
        "log_bytes": 1000,
        "last_snapshot_bytes": 500,
        "configuration_index": 3,
        "configuration": msgspec.to_builtins(THREE),
        "connections": [2, 3],
        "pid": 100 + id,
    }


def away(id: int, state: str) -> dict[str, Any]:
    return {"id": id, "state": state, "reason": "because"}


def test_a_healthy_cluster() -> None:
    answers = {1: serving(1, role="leader"), 2: serving(2), 3: serving(3, commit=30)}
    status = summarize(CHARTER, answers, ())
    assert (status.leader, status.term, status.commit) == (1, 5, 40)
    assert status.voters == (1, 2, 3)
    assert status.tolerates == 1
    third = status.replica(3)
    assert third is not None
    assert (third.lag, third.log_entries, third.snapshot_index) == (10, 20, 10)
    assert third.listed == "voter"
    assert (third.log_bytes, third.last_snapshot_bytes) == (1000, 500)
    assert status.to_dict()["replicas"][0]["connections"] == (2, 3)


def test_losses_are_told_apart() -> None:
    answers = {1: serving(1, role="leader"), 2: away(2, "unreachable"), 4: away(4, "vacant")}
    status = summarize(CHARTER, answers, ("a note",))
    assert status.tolerates == -1  # one of three
    states = {replica.id: (replica.state, replica.listed) for replica in status.replicas}
    assert states == {
        1: ("serving", "voter"),
        2: ("unreachable", "voter"),
        3: ("gone", "voter"),
        4: ("vacant", ""),
    }
    third = status.replica(3)
    assert third is not None
    assert third.host == "h3"
    assert status.notes == ("a note",)


def test_without_anybody() -> None:
    status = summarize(CHARTER, {}, ())
    assert (status.leader, status.replicas, status.tolerates) == (0, (), -1)


def test_of_two_who_believe_in_themselves_the_newer_leads() -> None:
    answers = {1: serving(1, role="leader", term=5), 2: serving(2, role="leader", term=6)}
    assert view_of_leader(answers) is answers[2]
    assert view_of_leader({3: serving(3)}) is None


def test_without_a_leader_who_knows_the_newest_configuration_speaks_for_a_quorum() -> None:
    def said(epoch: int) -> dict[str, Any]:
        return {
            "role": "acceptor",
            "protocol": "caspaxos",
            "configuration": msgspec.to_builtins(THREE),
            "configuration_index": epoch,
        }

    answers = {1: said(4), 2: said(6), 3: {"state": "unreachable"}}
    assert view_of_leader(answers) is answers[2]
    assert view_of_leader({1: said(4), 2: {"state": "gone"}}) is None


def test_joint_configurations_tolerate_what_both_halves_do() -> None:
    halves = [frozenset({1, 2, 3}), frozenset({3, 4, 5})]
    assert tolerated_losses(halves, frozenset({1, 2, 3, 4, 5})) == 1
    assert tolerated_losses(halves, frozenset({1, 2, 3, 4})) == 0
    assert tolerated_losses(halves, frozenset({1, 2, 3})) == -1


def test_memory_is_lost_with_those_who_surely_forgot() -> None:
    one = {1: serving(1)}
    assert lost_with_memory(one | {2: away(2, "vacant"), 3: away(3, "vacant")})
    assert lost_with_memory(one | {2: away(2, "vacant")})  # the third has no actor at all
    assert not lost_with_memory(one | {2: away(2, "vacant"), 3: away(3, "unreachable")})
    assert not lost_with_memory(one | {2: serving(2)})
    assert lost_with_memory({1: away(1, "vacant"), 2: away(2, "gone")})
    assert not lost_with_memory({1: away(1, "vacant"), 2: away(2, "opening")})
    assert lost_with_memory({})


@pytest.mark.parametrize("storage", ["disk", "memory"])
def test_a_member_without_a_port_says_so_and_serves_when_one_is_free(
    yard: Yard, storage: str
) -> None:
    ports = range(23530, 23533)
    with contextlib.closing(socket.create_server(("", ports[1]))):
        cluster = yard.start(replicas=3, storage=storage, port_range=(ports[0], ports[-1]))
        [away] = [each for each in cluster.status().replicas if each.state != "serving"]
        assert away.state == "failed"
        assert "no free port" in away.reason
        assert f"{ports[0]} to {ports[-1]}" in away.reason
    eventually(whole(cluster), within_s=20, what="all three serve")


def log_of(yard: Yard, id: int) -> Path:
    """A member's log: where Ray keeps those of its workers, under the member's name."""
    directory = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    [path] = directory.glob(f"raycons-*{yard.name}-replica-{id}.log")
    return path


def role_changes(log: Path) -> list[dict[str, str]]:
    """The fields of each line that tells of a change of role."""
    lines = [line for line in log.read_text().splitlines() if " event=role-changed " in line]
    return [
        dict(word.split("=", 1) for word in shlex.split(line[line.index("event=") :]))
        for line in lines
    ]


def test_real_members_tell_all_of_themselves(yard: Yard, recordings: Recordings) -> None:
    cluster = yard.start(member=MemberSettings(log_limit_bytes=20_000, write_behind_s=0.05))
    kv = recordings.wrap(cluster.kv())
    kv.put("key", bytes(15_000))
    kv.put("key", bytes(15_000))

    def settled() -> bool:
        kv.put("small", b"v")  # the log is cut when something is done
        replicas = cluster.status().replicas
        cut = all(each.snapshot_index > 0 and each.log_bytes < 20_000 for each in replicas)
        return cut and all(each.lag == 0 for each in replicas)

    eventually(settled, within_s=20, what="every log is cut, and nobody lags")
    status = cluster.status()
    [leader] = [each for each in status.replicas if each.role == "leader"]
    assert leader.id == status.leader
    for each in status.replicas:
        assert (each.state, each.reason, each.listed) == ("serving", "", "voter")
        assert each.role == ("leader" if each is leader else "follower")
        assert (each.term, each.leader) == (status.term, leader.id)
        assert 3 <= each.applied <= each.commit <= status.commit
        assert 0 < each.snapshot_index <= each.applied
        assert each.snapshot_index + each.log_entries >= each.commit
        assert 0 <= each.log_bytes < each.store_bytes
        assert each.last_snapshot_bytes == 0  # none was needed; see `test_metrics`
        assert each.connections == tuple({1, 2, 3} - {each.id})
        assert each.version == raycons.__version__
        assert each.incarnation == 1
        assert each.niceness == os.nice(0)
        assert re.fullmatch(r"[\d.]+:\d+", each.address)
    assert len({each.pid for each in status.replicas} - {os.getpid()}) == 3

    # Two changes of role that were asked for, and their reasons in the logs of both sides.
    heir = next(each for each in status.replicas if each is not leader)
    cluster.transfer_leader(to=heir.id)
    eventually(
        lambda: {each.leader for each in cluster.status().replicas} == {heir.id},
        within_s=10,
        what="all know the new leader",
    )
    term = cluster.status().term
    won = role_changes(log_of(yard, heir.id))[-1]
    assert (won["role"], won["term"], won["leader"]) == ("leader", str(term), str(heir.id))
    reasons = [change["reason"] for change in role_changes(log_of(yard, heir.id))]
    assert reasons[-2:] == ["campaigning, asked by the leader", "elected"]
    *_, first, last = role_changes(log_of(yard, leader.id))
    assert first["role"] == "follower"
    # The heir's question for its vote, or the word of the one who voted already.
    assert re.fullmatch(rf"replica \d (campaigns|is) in term {term}", first["reason"])
    assert (last["leader"], last["reason"]) == (str(heir.id), f"replica {heir.id} leads")
