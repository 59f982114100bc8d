"""What one replica may make of another's word: checked at the event that makes it believe.

    match-is-acknowledged    a leader believes of a follower only what that one acknowledged in the
                             leader's term, and never less than before
    commit-is-verified       a follower commits only as far as its log agrees with the message
    own-disk                 a replica counts of its own log only what its disk holds
    vote-once                a replica knows its vote until its term ends
    terms-are-told           a leader of an earlier term gets an answer, and learns that it is over
    election-timer           only a granted vote puts off an election (Raft paper, section 5.2)
    lease-exclusivity        at the moment of an election no earlier leader holds a lease
    read-index               a read is served at or after all that was committed when it began

These are errors of belief: most of them do harm only where something rare follows, a commit, a
crash or a read within milliseconds. Here they are seen where they begin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raycons.consensus.contract import (
    Effect,
    ReadContext,
    ReadFailed,
    ReadReady,
    RoleChanged,
    Send,
    Term,
)
from raycons.consensus.messages import SnapshotReply
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import (
    Append,
    Appended,
    Heartbeat,
    PreVote,
    RequestVote,
    VoteReply,
)
from raycons.consensus.raft.replica import RaftReplica
from raycons.simulation.mirror import Mirror
from raycons.simulation.world import Violation

# What a replica was when a message came: role, commit index, election deadline. A plain tuple,
# because one is made for most messages.
Before = tuple[str, Index, float]


class Life(NamedTuple):
    """A replica whose process runs."""

    replica: RaftReplica
    clock: Callable[[], float]  # its own time
    floors: dict[ReadContext, Index]  # what was committed when each read began


class Beliefs:
    """Everybody's words, and what the others made of them."""

    checked: frozenset[type]  # the types of messages that `received` is to be told of

    def __init__(self) -> None:
        self._lives: dict[ReplicaId, Life] = {}
        self._votes: dict[ReplicaId, tuple[Term, ReplicaId]] = {}  # of living ones, and their terms
        self._acknowledged: dict[tuple[ReplicaId, Term], Index] = {}
        self._matches: dict[tuple[ReplicaId, ReplicaId], tuple[Term, Index]] = {}

    # --- lives ------------------------------------------------------------------------------------

    def started(self, replica: RaftReplica, clock: Callable[[], float]) -> None:
        """A process came up; `clock` tells its time."""
        self._lives[replica.id] = Life(replica, clock, {})

    def stopped(self, id: ReplicaId) -> None:
        """A process is gone, and with it all that it believed."""
        self._lives.pop(id, None)
        self._votes.pop(id, None)

    # --- messages ---------------------------------------------------------------------------------

    def acknowledged(self, id: ReplicaId, message: Appended) -> None:
        """A replica's word leaves."""
        word = (id, message.term)
        self._acknowledged[word] = max(self._acknowledged.get(word, 0), message.matched)

    def received(
        self, replica: RaftReplica, sender: ReplicaId, message: Any, before: Before
    ) -> None:
        """A replica was given a message of a `CHECKED` type: it may conclude so much, no more."""
        _CHECKS[type(message)](self, replica, sender, message, before)

    def _check_answer(
        self, replica: RaftReplica, sender: ReplicaId, message: Any, before: Before
    ) -> None:
        self._check_match(replica, sender)

    def _check_match(self, replica: RaftReplica, sender: ReplicaId) -> None:
        progress = replica.progress.get(sender)
        if progress is None:
            return
        match, term = progress.match, replica.term
        if match > self._acknowledged.get((sender, term), 0):
            raise Violation(
                "match-is-acknowledged",
                f"leader {replica.id} of term {term} believes that {sender} holds {match}, which "
                f"acknowledged {self._acknowledged.get((sender, term), 0)} in that term",
            )
        known_in, known = self._matches.get((replica.id, sender), (0, 0))
        if known_in == term and match < known:
            raise Violation(
                "match-is-acknowledged",
                f"leader {replica.id} of term {term} believed that {sender} holds {known}, "
                f"and now only {match}",
            )
        self._matches[replica.id, sender] = term, match

    def _check_append(
        self, replica: RaftReplica, sender: ReplicaId, message: Append, before: Before
    ) -> None:
        self._check_told(replica, sender, message)
        verified = min(message.commit, message.previous[0] + len(message.entries))
        if replica.commit > max(before[1], verified):
            raise Violation(
                "commit-is-verified",
                f"replica {replica.id} commits {replica.commit} by an Append that is committed "
                f"and agrees with its log only up to {verified}",
            )

    def _check_heartbeat(
        self, replica: RaftReplica, sender: ReplicaId, message: Heartbeat, before: Before
    ) -> None:
        self._check_told(replica, sender, message)
        index, term = message.commit
        if replica.commit > before[1] and (
            replica.commit > index or replica.log.term(index) not in (None, term)
        ):
            raise Violation(
                "commit-is-verified",
                f"replica {replica.id} commits {replica.commit} by a heartbeat that names "
                f"{index} of term {term}",
            )

    def _check_told(self, replica: RaftReplica, sender: ReplicaId, message: Any) -> None:
        if message.term < replica.term and not (replica.pending or replica.silent):
            raise Violation(
                "terms-are-told",
                f"replica {replica.id} of term {replica.term} hears leader {sender} of term "
                f"{message.term}, and has no answer",
            )

    def _check_timer(
        self, replica: RaftReplica, sender: ReplicaId, message: Any, before: Before
    ) -> None:
        role, _, deadline = before
        deposed = role == "leader" and replica.role != "leader"
        if replica.election_deadline <= deadline or deposed:
            return
        # What it is about to say; looked at as a debugger would.
        said = [effect for effect in replica._effects if type(effect) is Send]
        if not any(
            answer.to == sender and type(answer.message) is VoteReply and answer.message.granted
            for answer in said
        ):
            raise Violation(
                "election-timer",
                f"replica {replica.id} refused {sender} its vote, and put its own election off",
            )

    # --- effects ----------------------------------------------------------------------------------

    def drained(self, replica: RaftReplica, effects: Sequence[Effect]) -> None:
        """The replica gave out these effects, which its mirror has followed."""
        for effect in effects:
            kind = type(effect)
            if kind is ReadReady or kind is ReadFailed:
                self._read_ended(replica, effect)
            elif kind is RoleChanged and effect.role == "leader":  # type: ignore[union-attr]
                self._elected(replica, effect.term)  # type: ignore[union-attr]

    def check_itself(self, replica: RaftReplica, mirror: Mirror) -> None:
        """What a replica takes itself for, when it gave something out or was told of a sync."""
        term, vote = self._votes.get(replica.id, (0, 0))
        if replica.term == term and vote not in (0, replica.vote):
            raise Violation(
                "vote-once",
                f"replica {replica.id} voted for {vote} in term {term}, and now takes its vote "
                f"for {replica.vote or 'free'}",
            )
        self._votes[replica.id] = replica.term, replica.vote
        if replica.durable_index > mirror.durable_last:
            raise Violation(
                "own-disk",
                f"replica {replica.id} takes its log for durable up to {replica.durable_index}, "
                f"but holds {mirror.durable_last} on disk",
            )

    def _elected(self, replica: RaftReplica, term: Term) -> None:
        for peer in replica.progress:
            self._check_match(replica, peer)
        for other, clock, _ in self._lives.values():
            if other.role == "leader" and other.term < term and other.lease_holds(clock()):
                raise Violation(
                    "lease-exclusivity",
                    f"replica {replica.id} is elected in term {term}, while leader {other.id} of "
                    f"term {other.term} holds a lease",
                )

    # --- reads ------------------------------------------------------------------------------------

    def read_began(self, id: ReplicaId, context: ReadContext, committed: Index) -> None:
        """A replica was asked for a linearizable read when `committed` was committed."""
        self._lives[id].floors[context] = committed

    def _read_ended(self, replica: RaftReplica, effect: Any) -> None:
        floor = self._lives[replica.id].floors.pop(effect.context, 0)
        if type(effect) is ReadReady and effect.index < floor:
            raise Violation(
                "read-index",
                f"replica {replica.id} is to serve a read at {effect.index}, but {floor} was "
                "committed when it began",
            )


_CHECKS: dict[type, Callable[[Beliefs, RaftReplica, ReplicaId, Any, Before], None]] = {
    Appended: Beliefs._check_answer,
    SnapshotReply: Beliefs._check_answer,
    Append: Beliefs._check_append,
    Heartbeat: Beliefs._check_heartbeat,
    PreVote: Beliefs._check_timer,
    RequestVote: Beliefs._check_timer,
}
Beliefs.checked = frozenset(_CHECKS)
