"""A promise not to vote, as one follower keeps it. Nobody else is needed to show it."""

from __future__ import annotations

from random import Random

import pytest

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import Entry, EntryId, HardState, Send
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.messages import Heartbeat, HeartbeatReply, RequestVote, VoteReply
from raycons.consensus.raft.replica import RaftReplica

LEASE_S = 1.0
PEERS = tuple(Peer(id, id, Role.VOTER) for id in (1, 2, 3))


class NoReader:
    """The logs here are empty."""

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        raise AssertionError(f"nobody should read entries {first} to {last}")


def follower(now: float) -> RaftReplica:
    configuration = Configuration(PEERS, next_id=4, lease_s=LEASE_S)
    start = Start(HardState(5), Log(NoReader(), EntryId(0, 0)), [(0, configuration)], 0)
    return RaftReplica(2, start, RaftSettings(), Random(1), now)


def answers(replica: RaftReplica, now: float) -> list[object]:
    return [effect.message for effect in replica.drain(now) if isinstance(effect, Send)]


@pytest.fixture
def bound() -> RaftReplica:
    """A follower that promised at 10.0, and whose connection to the leader then dropped."""
    replica = follower(0.0)
    replica.receive(1, Heartbeat(5, (0, 0), 7, 1), 10.0)
    assert answers(replica, 10.0) == [HeartbeatReply(5, 7, LEASE_S, 0)]
    replica.connection_lost(1, 10.1)
    return replica


def test_a_promise_binds_though_the_leader_is_heard_no_more(bound: RaftReplica) -> None:
    now = 10.0 + LEASE_S - 0.01
    assert not bound.hears_leader(now)
    bound.receive(3, RequestVote(6, (9, 5), False), now)
    assert answers(bound, now) == []
    assert (bound.term, bound.vote) == (5, 0)


def test_a_promise_ends(bound: RaftReplica) -> None:
    now = 10.0 + LEASE_S + 0.01
    bound.receive(3, RequestVote(6, (9, 5), False), now)
    assert answers(bound, now) == [VoteReply(6, True)]


def test_the_leaders_release_overrides_a_promise(bound: RaftReplica) -> None:
    bound.receive(3, RequestVote(6, (9, 5), True), 10.2)
    assert answers(bound, 10.2) == [VoteReply(6, True)]


def test_a_restart_keeps_still_for_as_long_as_a_promise_lasts() -> None:
    replica = follower(50.0)
    replica.receive(3, RequestVote(6, (9, 5), False), 50.0 + LEASE_S - 0.01)
    assert answers(replica, 50.0) == []
    replica.receive(3, RequestVote(6, (9, 5), False), 50.0 + LEASE_S + 0.01)
    assert answers(replica, 50.0) == [VoteReply(6, True)]
