"""The protocols that a member can drive: which one, the store says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.contract import Replica
from raycons.consensus.paxos.multipaxos import messages as multipaxos
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.quorum import ReplicaId
from raycons.consensus.raft import messages as raft
from raycons.consensus.raft.replica import RaftReplica
from raycons.member.ledger import Ledger
from raycons.member.raft_ledger import RaftLedger
from raycons.member.slot_ledger import SlotLedger
from raycons.store.contract import Store

MakeReplica = Callable[[ReplicaId, Any, RaftSettings, Random, float, int], Replica]


class Protocol(NamedTuple):
    """What a member needs to know of a protocol."""

    messages: frozenset[type]  # what its replicas say to each other
    answers: frozenset[type]  # a follower's, which may need no turn
    ledger: Callable[[Store, int, MemberSettings], Ledger]
    replica: MakeReplica


PROTOCOLS: dict[str, Protocol] = {
    "raft": Protocol(
        frozenset(raft.CODES),
        frozenset({raft.Appended, raft.HeartbeatReply}),
        RaftLedger,
        RaftReplica,
    ),
    "multipaxos": Protocol(
        frozenset(multipaxos.CODES),
        frozenset({multipaxos.Accepted, multipaxos.HeartbeatReply}),
        SlotLedger,
        MultiPaxosReplica,
    ),
}
ANSWERS = frozenset(kind for protocol in PROTOCOLS.values() for kind in protocol.answers)
