"""The state of a cluster as one value, made of what its members say of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import has_quorum


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, as it last answered; `state` tells how much of the rest means something."""

    id: int
    state: str  # a `MemberState`, or unreachable, or gone
    reason: str = ""  # why it does not serve
    role: str = ""  # leader | follower | candidate | pre-candidate | learner
    listed: str = ""  # what the configuration has it as: voter | joining | learner | "" (outside)
    term: int = 0  # in MultiPaxos a ballot, as one number
    ballot: str = ""  # and as people read it: its round, and whose it is
    leader: int = 0
    commit: int = 0
    applied: int = 0
    lag: int = 0  # entries between the leader's commit index and what is applied here
    log_entries: int = 0
    log_bytes: int = 0
    snapshot_index: int = 0
    # Of the last snapshot that it sent or installed as a whole since its process started; 0: none.
    last_snapshot_bytes: int = 0
    store_bytes: int = 0
    connections: tuple[int, ...] = ()
    version: str = ""
    host: str = ""  # the host id that holds the store
    hostname: str = ""
    node: str = ""  # Ray's id of the node at present
    address: str = ""
    pid: int = 0
    niceness: int = 0
    incarnation: int = 0


class ClusterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster."""

    name: str
    uuid: str
    leader: int  # 0: none known
    term: int  # in MultiPaxos a ballot, as one number
    ballot: str = ""  # and as people read it: its round, and whose it is
    commit: int
    configuration_index: int
    voters: tuple[int, ...]
    tolerates: int  # how many more of the voters may be lost before writes stop
    storage: str
    protocol: str = "raft"
    transport: str
    reads: str
    replicas: tuple[ReplicaStatus, ...]
    notes: tuple[str, ...] = ()  # what the supervisor is doing, or waits for

    def replica(self, id: int) -> ReplicaStatus | None:
        """The status of one replica."""
        return next((replica for replica in self.replicas if replica.id == id), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, fit for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def tolerated_losses(halves: Sequence[frozenset[int]], healthy: frozenset[int]) -> int:
    """How many of the healthy voters may still go, whichever they are, without losing the quorum.

    -1 where there is no quorum even now.

    >>> tolerated_losses([frozenset({1, 2, 3})], frozenset({1, 2, 3}))
    1
    >>> tolerated_losses([frozenset({1, 2, 3})], frozenset({1, 2}))
    0
    >>> tolerated_losses([frozenset({1, 2, 3})], frozenset({1}))
    -1
    """
    if not has_quorum(halves, healthy):
        return -1
    spare = [len(half & healthy) - (len(half) // 2 + 1) for half in halves if half]
    return min(spare, default=-1)


def view_of_leader(members: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What the leader of the highest term says; None where nobody leads.

    A leader that was cut off believes in itself for a while; the newer term is the true one.
    Where the protocol has no leader, whoever knows the newest configuration speaks for the group,
    as long as a quorum of it serves.
    """
    leaders = [said for said in members.values() if said.get("role") == "leader"]
    if not leaders:
        return _view_without_leader(members)
    return max(leaders, key=lambda said: int(said.get("term", 0)))


def _view_without_leader(members: Mapping[int, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    serving = {id: said for id, said in members.items() if said.get("protocol") == "caspaxos"}
    newest = max(serving.values(), key=lambda said: int(said["configuration_index"]), default=None)
    if newest is None:
        return None
    halves = configuration_of(newest).halves
    return newest if has_quorum(halves, frozenset(serving)) else None


def configuration_of(status: Mapping[str, Any]) -> Configuration:
    """The configuration inside a serving member's status."""
    return msgspec.convert(status["configuration"], Configuration)


def newest_configuration(members: Mapping[int, Mapping[str, Any]]) -> Configuration | None:
    """The latest configuration that any serving member knows of, committed or not."""
    known = [said for said in members.values() if "configuration" in said]
    newest = max(known, key=lambda said: int(said["configuration_index"]), default=None)
    return configuration_of(newest) if newest is not None else None


def lost_with_memory(members: Mapping[int, Mapping[str, Any]]) -> bool:
    """Whether a cluster in memory can never have a quorum again.

    A member that is vacant, or has no actor, has forgotten; one that is only silent may not have.
    """
    remembering = frozenset(
        id for id, said in members.items() if said["state"] not in ("vacant", "gone")
    )
    configuration = newest_configuration(members)
    if configuration is None:
        return not remembering
    return not has_quorum(configuration.halves, remembering)
