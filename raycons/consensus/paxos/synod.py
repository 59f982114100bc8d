"""Single-decree Paxos: proposers, acceptors and learners choose one value, once.

    proposer                     acceptor (a quorum of them)         learner
       |------- Prepare(n) ------------>|                               |
       |<------ Promise(n, accepted) ---|  promised n is on disk        |
       |------- Accept(n, value) ------>|                               |
       |<------ Accepted(n, value) -----|--- Accepted(n, value) ------->|
      chosen                            (n, value) is on disk          chosen

"Paxos Made Simple" (Lamport, 2001), section 2. Why two values are never chosen: a ballot n issues
only the value of the highest ballot below n that any of a phase-1 quorum accepted, and that quorum
meets each that may have chosen, and has promised to accept nothing below n any more.

Rules of this file
- The roles are pure: events in, effects out; `now` is in seconds of any clock that does not run
  backwards, and randomness is injected.
- What a role knows is one frozen value, `state`; a role made of the same state goes on from there.
  An acceptor's is on disk before any answer that rests on it leaves.
- A proposer's need not be: a process that starts anew has another nonce, so other ballots.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any, NamedTuple

import msgspec

from raycons.consensus.contract import Send, WriteNumber
from raycons.consensus.paxos.messages import (
    NO_BALLOT,
    Accept,
    Accepted,
    Ballot,
    Prepare,
    Promise,
    Proposal,
    Refusal,
)
from raycons.consensus.quorum import AcceptorId, QuorumSystem

ProposerId = int
LearnerId = int

PATIENCE_S = 0.5  # after which a proposer asks those again who have not answered
BACKOFF_S = (0.005, 0.5)  # the first, and the longest, pause of a proposer that was refused
NEVER = float("inf")


class Keep(NamedTuple):
    """Write an acceptor's state to disk, as write `number`."""

    number: WriteNumber
    state: AcceptorState


class Chosen(NamedTuple):
    """The value is chosen, whoever proposed it."""

    value: bytes


Effect = Keep | Send | Chosen


# --- acceptor -------------------------------------------------------------------------------------


class AcceptorState(msgspec.Struct, frozen=True, array_like=True):
    """What an acceptor must never forget."""

    promised: Ballot = NO_BALLOT
    accepted: Proposal | None = None


class Acceptor:
    """Promises, and accepts what no promise forbids."""

    def __init__(self, learners: tuple[LearnerId, ...], state: AcceptorState) -> None:
        """`state` is what the disk holds, AcceptorState() at first; `learners` hear of all."""
        self.state = state
        self._learners = learners
        self._writes: WriteNumber = 0

    def receive(self, sender: ProposerId, message: Prepare | Accept) -> list[Effect]:
        """A proposer's request; it is answered."""
        if isinstance(message, Prepare):
            return self._prepare(sender, message.ballot)
        return self._accept(sender, message.proposal)

    def _prepare(self, sender: ProposerId, ballot: Ballot) -> list[Effect]:
        state = self.state
        if ballot < state.promised:
            return [Send(sender, Refusal(ballot, state.promised))]
        keep = self._keep(AcceptorState(ballot, state.accepted))
        return [keep, Send(sender, Promise(ballot, state.accepted), after=keep.number)]

    def _accept(self, sender: ProposerId, proposal: Proposal) -> list[Effect]:
        state = self.state
        if proposal.ballot < state.promised:
            return [Send(sender, Refusal(proposal.ballot, state.promised))]
        keep = self._keep(AcceptorState(proposal.ballot, proposal))
        told = (sender, *self._learners)
        return [keep, *(Send(to, Accepted(proposal), after=keep.number) for to in told)]

    def remind(self, learner: LearnerId) -> list[Effect]:
        """A learner that missed what was accepted, or forgot it, asks for it."""
        accepted = self.state.accepted
        return [] if accepted is None else [Send(learner, Accepted(accepted), after=self._writes)]

    def _keep(self, state: AcceptorState) -> Keep:
        self.state = state
        self._writes += 1
        return Keep(self._writes, state)


# --- proposer -------------------------------------------------------------------------------------


class ProposerState(msgspec.Struct, frozen=True):
    """Where a proposer is."""

    value: bytes | None = None  # its own; None: nothing to propose yet
    ballot: Ballot = NO_BALLOT  # under way; NO_BALLOT: none is
    highest: Ballot = NO_BALLOT  # that it heard of or used: the next one is above it
    promises: frozenset[tuple[AcceptorId, Proposal | None]] = frozenset()
    proposal: Proposal | None = None  # what it asks to accept; None: still in phase 1
    accepted: frozenset[AcceptorId] = frozenset()
    chosen: bytes | None = None
    refusals: int = 0  # in a row, for the pause before the next ballot


class Proposer:
    """Gets a value chosen: its own, unless another may have been chosen already."""

    def __init__(
        self,
        id: ProposerId,
        nonce: int,
        quorums: QuorumSystem,
        random: Random,
        state: ProposerState | None = None,
    ) -> None:
        """`nonce` differs for every process that this proposer ever is."""
        self.id = id
        self.state = state or ProposerState()
        self._nonce = nonce
        self._quorums = quorums
        self._random = random
        self._deadline = NEVER

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        return self._deadline

    def propose(self, value: bytes, now: float) -> list[Effect]:
        """Begin; what is chosen comes as an effect, at once where it is known."""
        if self.state.chosen is not None:
            return [Chosen(self.state.chosen)]
        self._become(value=value)
        return self._prepare(now)

    def abandon(self) -> None:
        """Begin no ballot any more until the next `propose`.

        What it has sent stays under way: a value that it asked to accept may still be chosen.
        """
        if self.state.chosen is None:
            self._leave_ballot()
            self._deadline = NEVER

    def tick(self, now: float) -> list[Effect]:
        """Another ballot where a pause is over; else ask those again who have not answered.

        They are asked under the same ballot, so that answers count however late they come: with
        another for each silence nothing would be chosen where two round trips take longer.
        """
        state = self.state
        if now < self._deadline or state.chosen is not None:
            return []
        if state.ballot == NO_BALLOT:
            return self._prepare(now)
        self._be_patient(now)
        if state.proposal is None:
            return self._to_all(Prepare(state.ballot), {who for who, _ in state.promises})
        return self._to_all(Accept(state.proposal), state.accepted)

    def _prepare(self, now: float) -> list[Effect]:
        state = self.state
        ballot = Ballot(state.highest.round + 1, self.id, self._nonce)
        self._become(
            ballot=ballot,
            highest=ballot,
            promises=frozenset(),
            proposal=None,
            accepted=frozenset(),
        )
        self._be_patient(now)
        return self._to_all(Prepare(ballot))

    def _be_patient(self, now: float) -> None:
        self._deadline = now + PATIENCE_S * self._random.uniform(1.0, 2.0)

    def receive(
        self, sender: AcceptorId, message: Promise | Accepted | Refusal, now: float
    ) -> list[Effect]:
        """An acceptor's answer; one to an earlier ballot is only a matter of numbers."""
        if isinstance(message, Promise):
            return self._promised(sender, message)
        if isinstance(message, Accepted):
            return self._accepted(sender, message.proposal)
        self._refused(message, now)
        return []

    def _promised(self, sender: AcceptorId, message: Promise) -> list[Effect]:
        state = self.state
        if message.ballot != state.ballot or state.proposal is not None:
            return []
        promises = state.promises | {(sender, message.accepted)}
        self._become(promises=promises)
        if not self._quorums.prepares({acceptor for acceptor, _ in promises}):
            return []
        assert state.value is not None
        accepted = [proposal for _, proposal in promises if proposal is not None]
        value = max(accepted).value if accepted else state.value
        proposal = Proposal(state.ballot, value)
        self._become(proposal=proposal, promises=frozenset())
        return self._to_all(Accept(proposal))

    def _accepted(self, sender: AcceptorId, proposal: Proposal) -> list[Effect]:
        state = self.state
        if proposal != state.proposal or state.chosen is not None:
            return []
        accepted = state.accepted | {sender}
        self._become(accepted=accepted)
        if not self._quorums.chooses(accepted):
            return []
        self._become(chosen=proposal.value, accepted=frozenset())
        self._deadline = NEVER
        return [Chosen(proposal.value)]

    def _refused(self, message: Refusal, now: float) -> None:
        state = self.state
        self._become(highest=max(state.highest, message.promised))
        if message.ballot == state.ballot and state.chosen is None:
            # Others of the quorum may still answer, but a duel would go on: give way for a while.
            self._leave_ballot()
            self._become(refusals=state.refusals + 1)
            shortest, longest = BACKOFF_S
            pause_s = min(longest, shortest * 2**state.refusals)
            self._deadline = now + pause_s * self._random.uniform(0.5, 1.5)

    def _leave_ballot(self) -> None:
        self._become(ballot=NO_BALLOT, promises=frozenset(), proposal=None, accepted=frozenset())

    def _to_all(self, message: Any, but: Collection[AcceptorId] = ()) -> list[Effect]:
        asked = sorted(set(self._quorums.acceptors).difference(but))
        return [Send(acceptor, message) for acceptor in asked]

    def _become(self, **fields: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)


# --- learner --------------------------------------------------------------------------------------


class LearnerState(msgspec.Struct, frozen=True):
    """What a learner heard, and once it knows what is chosen, no more than that."""

    accepted: frozenset[tuple[Proposal, AcceptorId]] = frozenset()
    chosen: bytes | None = None


class Learner:
    """Finds out what is chosen from what the acceptors accept."""

    def __init__(self, quorums: QuorumSystem, state: LearnerState | None = None) -> None:
        self.state = state or LearnerState()
        self._quorums = quorums

    def receive(self, sender: AcceptorId, message: Accepted) -> list[Effect]:
        """An acceptor accepted a proposal."""
        state = self.state
        if state.chosen is not None:
            return []
        accepted = state.accepted | {(message.proposal, sender)}
        holders = {acceptor for proposal, acceptor in accepted if proposal == message.proposal}
        if not self._quorums.chooses(holders):
            self.state = LearnerState(accepted)
            return []
        self.state = LearnerState(chosen=message.proposal.value)
        return [Chosen(message.proposal.value)]
