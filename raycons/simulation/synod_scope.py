"""The small scope of single-decree Paxos: the shipped roles, and every fate of every message.

A message that was sent may arrive at any time, again and again, or never: the network is the set of
all that was ever sent. A proposer may give up and begin another ballot at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from raycons.consensus.contract import Send
from raycons.consensus.paxos.messages import Accept, Accepted, Prepare, Promise, Proposal, Refusal
from raycons.consensus.paxos.synod import (
    Acceptor,
    AcceptorState,
    Effect,
    Proposer,
    ProposerId,
    ProposerState,
)
from raycons.consensus.quorum_systems import AcceptorId, Majority, QuorumSystem

FIRST_PROPOSER: ProposerId = 11  # so that no acceptor has the number of a proposer

Message = tuple[int, int, Any]  # from, to, and what


class SynodState(NamedTuple):
    """All that there is."""

    proposers: tuple[ProposerState, ...]
    acceptors: tuple[AcceptorState, ...]
    votes: frozenset[tuple[AcceptorId, Proposal]]  # everything that was ever accepted
    sent: frozenset[Message]  # but for what can never again make a difference


class SynodScope:
    """Some proposers with a value each, and acceptors; ballots up to a highest round."""

    def __init__(
        self,
        proposers: int = 2,
        acceptors: int = 3,
        rounds: int = 1,
        quorums: QuorumSystem | None = None,
    ) -> None:
        self._proposers = range(FIRST_PROPOSER, FIRST_PROPOSER + proposers)
        self._acceptors = range(1, acceptors + 1)
        self._rounds = rounds
        self._quorums = quorums or Majority(self._acceptors)
        self._random = Random(0)  # pauses do not matter where anything may happen at any time

    def initial(self) -> SynodState:
        """Nobody has said anything yet."""
        return SynodState(
            tuple(ProposerState() for _ in self._proposers),
            tuple(AcceptorState() for _ in self._acceptors),
            frozenset(),
            frozenset(),
        )

    def successors(self, state: SynodState) -> Iterator[tuple[str, SynodState]]:
        """A proposer begins a ballot, or a message arrives."""
        for place, proposer in enumerate(self._proposers):
            before = state.proposers[place]
            if before.chosen is None and before.highest.round < self._rounds:
                role = self._proposer(proposer, before)
                effects = role.propose(b"%d" % proposer, 0.0)
                yield f"{proposer} begins", self._after(state, proposer, place, role.state, effects)
        for source, target, message in state.sent:
            if target in self._proposers:
                place = target - self._proposers.start
                role = self._proposer(target, state.proposers[place])
                effects = role.receive(source, message, 0.0)
                after = self._after(state, target, place, role.state, effects)
            else:
                after = self._accept(state, source, target, message)
            if after != state:
                yield f"{source} -> {target}: {message}", after

    def _accept(
        self, state: SynodState, source: ProposerId, target: AcceptorId, message: Any
    ) -> SynodState:
        role = Acceptor((), state.acceptors[target - 1])
        effects = role.receive(source, message)
        acceptors = _with(state.acceptors, target - 1, role.state)
        accepted = {
            (target, effect.message.proposal)
            for effect in effects
            if isinstance(effect, Send) and isinstance(effect.message, Accepted)
        }
        sent = state.sent | _sent(target, effects)
        return self._tidied(SynodState(state.proposers, acceptors, state.votes | accepted, sent))

    def _after(
        self,
        state: SynodState,
        proposer: ProposerId,
        place: int,
        role: ProposerState,
        effects: list[Effect],
    ) -> SynodState:
        proposers = _with(state.proposers, place, role)
        sent = state.sent | _sent(proposer, effects)
        return self._tidied(SynodState(proposers, state.acceptors, state.votes, sent))

    def _tidied(self, state: SynodState) -> SynodState:
        """Without the messages that can never again make a difference.

        What was answered once would be answered the same again, and the first answer can still
        arrive. What asks for less than an acceptor has promised brings a refusal, and that is news
        of nothing but the higher ballot. Promises stay, whatever ballot they are for.
        """
        return state._replace(
            sent=frozenset(message for message in state.sent if self._matters(state, message))
        )

    def _matters(self, state: SynodState, sent: Message) -> bool:
        source, target, message = sent
        if isinstance(message, (Prepare, Accept)):
            ballot = message.ballot if isinstance(message, Prepare) else message.proposal.ballot
            acceptor, proposer = state.acceptors[target - 1], self._asking(state, source)
            if ballot < acceptor.promised:
                return self._is_news(proposer, Refusal(ballot, acceptor.promised))
            answered = acceptor.accepted is not None and acceptor.accepted.ballot == ballot
            return not answered and (isinstance(message, Accept) or ballot > acceptor.promised)
        return self._is_news(self._asking(state, target), message)

    def _asking(self, state: SynodState, proposer: ProposerId) -> ProposerState:
        return state.proposers[proposer - self._proposers.start]

    def _is_news(self, proposer: ProposerState, answer: Promise | Accepted | Refusal) -> bool:
        if proposer.chosen is not None:
            return False
        if isinstance(answer, Refusal):
            return answer.ballot == proposer.ballot or answer.promised > proposer.highest
        if isinstance(answer, Promise):
            return proposer.proposal is None
        return answer.proposal == proposer.proposal

    def _proposer(self, id: ProposerId, state: ProposerState) -> Proposer:
        return Proposer(id, 1, self._quorums, self._random, state)

    def broken(self, state: SynodState) -> str | None:
        """Whether two values are chosen, or a proposer takes one for chosen that is not.

        Chosen is what a majority accepted under one ballot, counted here from what they said.
        """
        holders: dict[Proposal, set[AcceptorId]] = {}
        for acceptor, proposal in state.votes:
            holders.setdefault(proposal, set()).add(acceptor)
        chosen = {proposal.value for proposal, who in holders.items() if self._quorums.chooses(who)}
        if len(chosen) > 1:
            return f"{sorted(chosen)} are both chosen"
        for proposer, role in zip(self._proposers, state.proposers, strict=True):
            if role.chosen is not None and role.chosen not in chosen:
                return f"{proposer} takes {role.chosen!r} for chosen, but {chosen or 'nothing'} is"
        return None


def _with(states: tuple[Any, ...], place: int, state: Any) -> tuple[Any, ...]:
    return (*states[:place], state, *states[place + 1 :])


def _sent(source: int, effects: list[Effect]) -> set[Message]:
    return {(source, effect.to, effect.message) for effect in effects if isinstance(effect, Send)}
