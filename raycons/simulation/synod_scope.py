"""The small scope of single-decree Paxos: the shipped roles, and every fate of every message.

A message that was sent may arrive at any time, again and again, or never: the network is the set of
all that was ever sent, and nothing leaves it. A proposer may give up and begin another ballot at
any time. An acceptor may crash while its disk writes: its answer then stays away, unless it was not
made to wait for the disk. (A crash at another time changes nothing: it goes on from its disk.)

How this is affordable
- Role states and messages are numbered when they are first met, and what a message does to a role
  is computed once. Nothing is left out: each such step runs the shipped code.
- Acceptors differ in nothing but their names, so states that differ only in which acceptor is which
  count as one (`key`). For quorums in which acceptors are not alike, all states are gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from random import Random
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from raycons.consensus.contract import Send
from raycons.consensus.paxos.messages import Accepted, Proposal, Refusal, told
from raycons.consensus.paxos.synod import (
    Acceptor,
    AcceptorState,
    Effect,
    Keep,
    Proposer,
    ProposerId,
    ProposerState,
)
from raycons.consensus.quorum import AcceptorId, Majority, QuorumSystem
from raycons.errors import BadArgument

FIRST_PROPOSER: ProposerId = 11  # so that no acceptor has the number of a proposer
MAX_ACCEPTORS = FIRST_PROPOSER - 1

CRASH = ", which crashes before its disk has that"  # in a story, behind what arrived

T = TypeVar("T", bound=Hashable)


class Message(NamedTuple):
    """A message under way."""

    source: int
    target: int
    what: Any


class SynodState(NamedTuple):
    """All that there is, in the scope's numbers."""

    proposers: tuple[int, ...]
    acceptors: tuple[int, ...]
    sent: int  # bit n: message n was sent


class _Numbers(Generic[T]):
    """Numbers for values, in the order in which they are met."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._known: dict[T, int] = {}

    def of(self, value: T) -> int:
        """The number of a value."""
        number = self._known.get(value)
        if number is None:
            number = self._known[value] = len(self.values)
            self.values.append(value)
        return number


class _Move(NamedTuple):
    """What becomes of a role: its new state, what it sends, and the story's words."""

    role: int
    sends: int
    words: str


class SynodScope:
    """Some proposers with a value each, and acceptors.

    Args:
        proposers: how many.
        acceptors: how many, up to 10.
        rounds: the highest round of a ballot that each proposer begins; one number for all.
        quorums: of acceptors 1, 2, ...; a majority by default.
        refusals: False: all of them are lost. They are news of a higher ballot and of nothing else,
            so that this smaller scope shows nearly every mistake.

    Raises BadArgument where one of them makes no sense.
    """

    def __init__(
        self,
        proposers: int = 2,
        acceptors: int = 3,
        rounds: int | Sequence[int] = 1,
        quorums: QuorumSystem | None = None,
        *,
        refusals: bool = True,
    ) -> None:
        if not 1 <= acceptors <= MAX_ACCEPTORS or proposers < 1:
            raise BadArgument(
                f"{proposers} proposers and {acceptors} acceptors: expected at least one of each, "
                f"and at most {MAX_ACCEPTORS} acceptors"
            )
        self._rounds = [rounds] * proposers if isinstance(rounds, int) else list(rounds)
        if len(self._rounds) != proposers or min(self._rounds) < 0:
            raise BadArgument(
                f"rounds={rounds}: expected one number, or one for each of {proposers} proposers"
            )
        self._proposers = range(FIRST_PROPOSER, FIRST_PROPOSER + proposers)
        self._acceptors = range(1, acceptors + 1)
        self._lost: tuple[type, ...] = () if refusals else (Refusal,)
        self._quorums = quorums or Majority(self._acceptors)
        self._alike = quorums is None or isinstance(quorums, Majority)
        self._random = Random(0)  # pauses do not matter where anything may happen at any time
        self._proposer_states: _Numbers[ProposerState] = _Numbers()
        self._acceptor_states: _Numbers[AcceptorState] = _Numbers()
        self._messages: _Numbers[Message] = _Numbers()
        self._heard = [0] * (FIRST_PROPOSER + proposers)  # by target: the messages to it
        self._between = [0] * (acceptors + 1)  # by acceptor: the messages to and from it
        self._votes = 0  # the messages that say that something was accepted
        self._begun: dict[tuple[int, int], _Move | None] = {}
        self._moved: dict[tuple[int, int, int], list[_Move]] = {}
        self._judged: dict[tuple[int, tuple[int, ...]], str | None] = {}
        self._views: _Numbers[Hashable] = _Numbers()
        self._viewed: dict[Hashable, int] = {}
        self._cores: dict[tuple[int, ...], Hashable] = {}

    def initial(self) -> SynodState:
        """Nobody has said anything yet."""
        return SynodState(
            tuple(self._proposer_states.of(ProposerState()) for _ in self._proposers),
            tuple(self._acceptor_states.of(AcceptorState()) for _ in self._acceptors),
            0,
        )

    # --- what may happen --------------------------------------------------------------------------

    def successors(self, state: SynodState) -> Iterator[tuple[str, SynodState]]:
        """A proposer begins a ballot, or a message arrives."""
        proposers, acceptors, sent = state
        for place, role in enumerate(proposers):
            begun = self._begin(place, role)
            if begun is not None:
                after = (*proposers[:place], begun.role, *proposers[place + 1 :])
                yield begun.words, SynodState(after, acceptors, sent | begun.sends)
            for move in self._arrivals(FIRST_PROPOSER + place, role, sent, self._receive):
                after = (*proposers[:place], move.role, *proposers[place + 1 :])
                yield move.words, SynodState(after, acceptors, sent | move.sends)
        for place, role in enumerate(acceptors):
            for move in self._arrivals(place + 1, role, sent, self._answer):
                after = (*acceptors[:place], move.role, *acceptors[place + 1 :])
                yield move.words, SynodState(proposers, after, sent | move.sends)

    def _begin(self, place: int, role: int) -> _Move | None:
        """The proposer begins a ballot; None where it does not any more."""
        if (place, role) not in self._begun:
            id, before = self._proposers[place], self._proposer_states.values[role]
            if before.chosen is not None or before.highest.round >= self._rounds[place]:
                move = None
            else:
                proposer = self._proposer(id, before)
                sends = self._sent(id, proposer.propose(b"%d" % id, 0.0))
                after = self._proposer_states.of(proposer.state)
                ballot = proposer.state.ballot
                move = _Move(
                    after, sends, f"{_name(id)} begins ballot {ballot.round}.{ballot.proposer}"
                )
            self._begun[place, role] = move
        return self._begun[place, role]

    def _arrivals(
        self, target: int, role: int, sent: int, receive: Callable[[int, Message], list[_Move]]
    ) -> Iterator[_Move]:
        """What each message to `target` would make of it, where it makes anything."""
        waiting = sent & self._heard[target]
        while waiting:
            lowest = waiting & -waiting
            waiting ^= lowest
            number = lowest.bit_length() - 1
            moves = self._moved.get((target, role, number))
            if moves is None:
                moves = receive(role, self._messages.values[number])
                self._moved[target, role, number] = moves
            for move in moves:
                if move.role != role or move.sends & ~sent:
                    yield move

    def _receive(self, role: int, message: Message) -> list[_Move]:
        proposer = self._proposer(message.target, self._proposer_states.values[role])
        sends = self._sent(message.target, proposer.receive(message.source, message.what, 0.0))
        return [_Move(self._proposer_states.of(proposer.state), sends, _words(message))]

    def _answer(self, role: int, message: Message) -> list[_Move]:
        acceptor = Acceptor((), self._acceptor_states.values[role])
        effects = acceptor.receive(message.source, message.what)
        words, after = _words(message), self._acceptor_states.of(acceptor.state)
        moves = [_Move(after, self._sent(message.target, effects), words)]
        if any(isinstance(effect, Keep) for effect in effects):
            hasty = [each for each in effects if isinstance(each, Send) and not each.after]
            sends = self._sent(message.target, hasty)
            moves.append(_Move(role, sends, words + CRASH))
        return moves

    def _proposer(self, id: ProposerId, state: ProposerState) -> Proposer:
        return Proposer(id, 1, self._quorums, self._random, state)

    def _sent(self, source: int, effects: Sequence[Effect]) -> int:
        """The messages among the effects, as bits."""
        bits = 0
        for effect in effects:
            if isinstance(effect, Send) and not isinstance(effect.message, self._lost):
                message = Message(source, effect.to, effect.message)
                bit = 1 << self._messages.of(message)
                self._heard[message.target] |= bit
                self._between[min(source, message.target)] |= bit
                if isinstance(message.what, Accepted):
                    self._votes |= bit
                bits |= bit
        return bits

    def sent_in(self, before: SynodState, after: SynodState) -> list[str]:
        """The messages that were sent in between, in the words in which they arrive."""
        return [
            _words(message)
            for number, message in enumerate(self._messages.values)
            if (after.sent & ~before.sent) >> number & 1
        ]

    # --- which states are one ---------------------------------------------------------------------

    def key(self, state: SynodState) -> Hashable:
        """The same for states that differ only in which acceptor is which.

        It is what the proposers know of no acceptor in particular, and, in any order, what there is
        of each acceptor: its state, the messages to and from it, and what proposers have of it.
        """
        if not self._alike:
            return state
        proposers, acceptors, sent = state
        views = []
        for place, acceptor in enumerate(acceptors):
            whole = (place, acceptor, sent & self._between[place + 1], proposers)
            view = self._viewed.get(whole)
            if view is None:
                view = self._viewed[whole] = self._views.of(self._view(*whole))
            views.append(view)
        views.sort()
        return self._core(proposers), tuple(views)

    def _core(self, proposers: tuple[int, ...]) -> Hashable:
        if proposers not in self._cores:
            self._cores[proposers] = tuple(
                msgspec.structs.replace(
                    self._proposer_states.values[role], promises=frozenset(), accepted=frozenset()
                )
                for role in proposers
            )
        return self._cores[proposers]

    def _view(
        self, place: int, acceptor: int, messages: int, proposers: tuple[int, ...]
    ) -> Hashable:
        id = place + 1
        known = []
        for role in proposers:
            state = self._proposer_states.values[role]
            promised = frozenset(what for who, what in state.promises if who == id)
            known.append((promised, id in state.accepted))
        said = frozenset(
            (max(source, target), source == id, what)
            for number, (source, target, what) in enumerate(self._messages.values)
            if messages >> number & 1
        )
        return acceptor, said, tuple(known)

    # --- what must hold ---------------------------------------------------------------------------

    def broken(self, state: SynodState) -> str | None:
        """Whether two values are chosen, or a proposer takes one for chosen that is not.

        Chosen is what a quorum accepted under one ballot, counted here from what they said.
        """
        known = state.sent & self._votes, state.proposers
        if known not in self._judged:
            self._judged[known] = self._judge(*known)
        return self._judged[known]

    def _judge(self, votes: int, proposers: tuple[int, ...]) -> str | None:
        holders: dict[Proposal, set[AcceptorId]] = {}
        for number, message in enumerate(self._messages.values):
            if votes >> number & 1:
                holders.setdefault(message.what.proposal, set()).add(message.source)
        chosen = {proposal.value for proposal, who in holders.items() if self._quorums.chooses(who)}
        if len(chosen) > 1:
            return f"{sorted(chosen)} are both chosen"
        for id, number in zip(self._proposers, proposers, strict=True):
            taken = self._proposer_states.values[number].chosen
            if taken is not None and taken not in chosen:
                return f"{_name(id)} takes {taken!r} for chosen, but {chosen or 'nothing'} is"
        return None


def _words(message: Message) -> str:
    return f"{_name(message.source)} -> {_name(message.target)}: {told(message.what)}"


def _name(id: int) -> str:
    return f"p{id}" if id >= FIRST_PROPOSER else f"a{id}"
