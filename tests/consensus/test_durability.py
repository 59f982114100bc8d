"""What a replica lets out before, and counts after, its disk has what it rests on.

Fed by hand, message by message: these interleavings need a disk that is slower than the network
allows it to be between well-behaved replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import (
    Effect,
    Entry,
    EntryId,
    EntryKind,
    HardState,
    Persist,
    Send,
)
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.messages import (
    Append,
    Appended,
    HeartbeatReply,
    RequestVote,
    VoteReply,
)
from raycons.consensus.raft.replica import RaftReplica

CONFIGURATION = Configuration(tuple(Peer(id, id, Role.VOTER) for id in (1, 2, 3)), next_id=4)

BEGUN = HardState(1)


class NoReader:
    """Everything is in memory."""

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        raise AssertionError(f"nobody should read entries {first} to {last}")


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, 0, 1, index, b"x")


def follower(entries: Sequence[Entry] = (), hard_state: HardState = BEGUN) -> RaftReplica:
    starts = [
        (each.index, each.term)
        for previous, each in zip([None, *entries], entries, strict=False)
        if previous is None or previous.term != each.term
    ]
    log = Log(NoReader(), EntryId(0, 0), 0, starts, len(entries), entries)
    start = Start(hard_state, log, [(0, CONFIGURATION)], 0)
    return RaftReplica(2, start, RaftSettings(), Random(1), 0.0)


def lone_voter() -> RaftReplica:
    alone = Configuration((Peer(2, 2, Role.VOTER),), next_id=4)
    start = Start(BEGUN, Log(NoReader(), EntryId(0, 0)), [(0, alone)], 0)
    return RaftReplica(2, start, RaftSettings(), Random(1), 0.0)


def sends(effects: list[Effect], kind: type) -> list[Send]:
    found = [effect for effect in effects if isinstance(effect, Send)]
    return [send for send in found if isinstance(send.message, kind)]


def test_entries_cut_and_written_again_are_acknowledged_by_their_last_write() -> None:
    replica = follower([entry(1, 1)])
    replica.receive(1, Append(2, (1, 1), (entry(2, 2), entry(3, 2)), 0), 0.0)
    (first,) = sends(replica.drain(0.0), Appended)
    replica.receive(3, Append(3, (1, 1), (entry(2, 3),), 0), 0.0)
    (second,) = sends(replica.drain(0.0), Appended)
    replica.receive(1, Append(4, (1, 1), (entry(2, 2), entry(3, 2)), 0), 0.0)
    (third,) = sends(replica.drain(0.0), Appended)
    assert [send.after for send in (first, second, third)] == [1, 2, 3]
    assert [send.message.matched for send in (first, second, third)] == [3, 2, 3]


def test_a_late_report_of_a_cut_write_makes_nothing_durable() -> None:
    replica = follower([entry(1, 1)])
    replica.receive(1, Append(2, (1, 1), (entry(2, 2), entry(3, 2), entry(4, 2)), 0), 0.0)
    replica.drain(0.0)
    replica.receive(3, Append(3, (2, 2), (entry(3, 3),), 0), 0.0)
    replica.drain(0.0)
    replica.durable(1, 0.0)
    assert replica.durable_index <= 2
    replica.durable(2, 0.0)
    assert replica.durable_index == 3


def test_a_cut_and_its_replacement_are_one_write() -> None:
    replica = follower([entry(1, 1), entry(2, 1), entry(3, 1)])
    replica.receive(1, Append(2, (1, 1), (entry(2, 2),), 0), 0.0)
    (write,) = [effect for effect in replica.drain(0.0) if isinstance(effect, Persist)]
    assert (write.truncate_from, list(write.entries)) == (2, [entry(2, 2)])
    assert (list(write.term_starts), write.hard_state) == ([(2, 2)], HardState(2, 0))


def test_what_was_appended_and_cut_within_one_drain_is_never_written() -> None:
    replica = follower([entry(1, 1)])
    replica.receive(1, Append(2, (1, 1), (entry(2, 2), entry(3, 2)), 0), 0.0)
    replica.receive(3, Append(3, (1, 1), (entry(2, 3),), 0), 0.0)
    effects = replica.drain(0.0)
    (write,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert list(write.entries) == [entry(2, 3)]
    assert list(write.term_starts) == [(2, 3)]
    assert write.hard_state == HardState(3, 0)
    assert [(send.to, send.message) for send in sends(effects, Appended)] == [(3, Appended(3, 2))]


def test_an_acknowledgement_dies_with_its_term() -> None:
    replica = follower([entry(1, 1)])
    replica.receive(1, Append(2, (1, 1), (entry(2, 2),), 0), 0.0)
    replica.receive(3, RequestVote(3, (9, 2), True), 0.0)
    effects = replica.drain(0.0)
    assert not sends(effects, Appended)
    (vote,) = sends(effects, VoteReply)
    assert vote.message.granted
    assert vote.after == 1


def test_two_votes_of_two_terms_in_one_drain_rest_on_one_write() -> None:
    replica = follower()
    replica.receive(1, RequestVote(2, (0, 0), False), 0.0)
    replica.receive(3, RequestVote(3, (0, 0), False), 0.0)
    effects = replica.drain(0.0)
    (write,) = [effect for effect in effects if isinstance(effect, Persist)]
    assert write.hard_state == HardState(3, 3)
    assert [send.after for send in sends(effects, VoteReply)] == [1, 1]


def test_a_repeated_answer_about_a_vote_waits_for_the_same_write() -> None:
    replica = follower()
    replica.receive(1, RequestVote(2, (0, 0), False), 0.0)
    replica.drain(0.0)
    replica.receive(1, RequestVote(2, (0, 0), False), 0.0)
    (again,) = sends(replica.drain(0.0), VoteReply)
    assert again.after == 1
    replica.durable(1, 0.0)
    replica.receive(1, RequestVote(2, (0, 0), False), 0.0)
    (later,) = sends(replica.drain(0.0), VoteReply)
    assert later.after == 0


def test_a_log_of_a_later_term_than_the_hard_state_bounds_the_term() -> None:
    replica = follower([entry(1, 1), entry(2, 4)], HardState(2, 3))
    assert (replica.term, replica.vote) == (4, 0)


def test_a_candidate_counts_its_own_vote_by_the_write_that_holds_it() -> None:
    replica = lone_voter()
    replica.receive(9, HeartbeatReply(4, 0, 0.0, 0), 0.3)
    replica.drain(0.3)
    replica.tick(0.4)
    replica.drain(0.4)
    assert replica.term == 5
    roles: list[str] = []
    for number in (1, 2):
        replica.durable(number, 0.4)
        roles.append(replica.role)
    assert roles == ["candidate", "leader"]


def test_what_was_durable_and_is_cut_counts_no_longer() -> None:
    replica = follower([entry(1, 1), entry(2, 1), entry(3, 1), entry(4, 1)])
    assert replica.durable_index == 4
    replica.receive(1, Append(2, (1, 1), (entry(2, 2),), 0), 0.0)
    assert replica.durable_index == 1
    replica.drain(0.0)
    replica.durable(1, 0.0)
    assert replica.durable_index == 2


def test_the_leaders_commit_index_is_believed_as_far_as_its_message_reaches() -> None:
    replica = follower([entry(1, 1), entry(2, 2), entry(3, 2)], HardState(2))
    replica.receive(1, Append(4, (1, 1), (), 3), 0.0)
    assert replica.commit == 1
    assert replica.log.last == (3, 2)
