"""The rounds of a proposer: phase 1, phase 2, and what stands in their way.

Why the round trip of phase 1 can be left out (section 2.2.1 of the paper): who accepts a value
promises with it to accept nothing below the ballot that this proposer takes next. A phase-1 quorum
of these promises, none of which has accepted anything in between, is phase 1 of that ballot.
"""

from __future__ import annotations

from heapq import heappush
from random import Random
from typing import Any

import msgspec

from raycons.config import RegisterSettings
from raycons.consensus.contract import Send
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Age,
    Epoch,
    Key,
    Prepare,
    Promise,
)
from raycons.consensus.paxos.caspaxos.slots import Lead, Round, Slot, Waiting
from raycons.consensus.paxos.caspaxos.transition import (
    Change,
    Decided,
    Deleted,
    Effect,
    GaveUp,
    Transition,
)
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.consensus.quorum import AcceptorId, QuorumSystem

CACHED_KEYS = 4096  # of which the next change needs no phase 1
MAX_CACHED_BYTES = 64 * 1024  # of one value


class ProposerState(msgspec.Struct, frozen=True, array_like=True):
    """What a proposer must never forget: without it, erased registers could come back."""

    age: Age = 0
    round: int = 0  # all ballots are above it

    def above(self, round: int) -> ProposerState:
        """The same, and above `round`."""
        return self if round <= self.round else msgspec.structs.replace(self, round=round)

    def older(self, round: int) -> ProposerState:
        """What a proposer becomes that outgrows something, above `round`."""
        return ProposerState(self.age + 1, max(self.round, round))


class Rounds:
    """What a proposer does for a change, and the state that it shares with the rest of it."""

    def __init__(
        self,
        id: int,
        nonce: int,
        transition: Transition,
        random: Random,
        settings: RegisterSettings,
        state: ProposerState,
        epoch: Epoch,
        quorums: QuorumSystem | None,
    ) -> None:
        """`nonce` differs for every process that this proposer ever is.

        `quorums` None: the configuration does not list this proposer (yet), and requests wait.
        """
        self.id = id
        self.state = state
        self.epoch = epoch
        self.settings = settings
        self._nonce = nonce
        self._transition = transition
        self._random = random
        self._quorums = quorums
        self._highest = state.round  # round that was heard of or used
        self._slots: dict[Key, Slot] = {}
        self._leads: dict[Key, None] = {}  # the keys with a lead, the oldest first
        self._timers: list[tuple[float, Key]] = []
        self._touched: dict[Key, None] = {}  # keys whose slot may have something to begin
        self._reads = 0
        self._effects: list[Effect] = []
        self.waiting = 0  # requests that have no outcome yet
        self.refusals = 0  # since the process began
        self.short_rounds = 0  # changes without a phase 1
        self.quick_reads = 0  # reads without a change

    def _slot(self, key: Key) -> Slot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot()
        return slot

    def _to_all(self, message: Any) -> None:
        assert self._quorums is not None
        self._effects += [Send(acceptor, message) for acceptor in sorted(self._quorums.acceptors)]

    def _next_ballot(self) -> Ballot:
        self._highest += 1
        return Ballot(self._highest, self.id, self._nonce)

    # --- phase 1 ----------------------------------------------------------------------------------

    def _begin_round(self, key: Key, slot: Slot, now: float) -> None:
        everywhere = slot.queue[0].everywhere
        deadline = now + self.settings.patience_s * self._random.uniform(1.0, 2.0)
        heappush(self._timers, (deadline, key))
        lead = slot.lead
        self._drop_lead(key, slot)
        if lead is not None and not everywhere and self._prepared(lead.holders):
            self.short_rounds += 1
            round = Round(lead.ballot, deadline, everywhere, lead.holders)
            round.highest, round.value = lead.base, lead.value
            slot.round = round
            self._propose(key, slot, round)
            return
        ballot = self._next_ballot()
        slot.round = Round(ballot, deadline, everywhere, set())
        self._to_all(Prepare(key, ballot, self.state.age, self.epoch))

    def _prepared(self, promised: set[AcceptorId]) -> bool:
        assert self._quorums is not None
        return self._quorums.prepares(promised)

    def _promised(self, slot: Slot, sender: AcceptorId, message: Promise, now: float) -> None:
        round = slot.round
        if round is None or message.ballot != round.ballot or round.proposing is not None:
            return
        round.promises.add(sender)
        round.erased = max(round.erased, message.erased)
        if message.accepted > round.highest:
            round.highest, round.value = message.accepted, message.value
        if self._prepared(round.promises):
            self._propose(message.key, slot, round)

    # --- phase 2 ----------------------------------------------------------------------------------

    def _propose(self, key: Key, slot: Slot, round: Round) -> None:
        """Change what may have been chosen by what is asked, and have that accepted."""
        proposing = self._take(slot, round)
        if not proposing:
            slot.round = None  # they were withdrawn
            return
        change = self._change(key, round, [waiting.request for waiting in proposing])
        round.proposing, round.change = proposing, change
        for waiting in proposing:
            waiting.proposals += 1
        if not round.everywhere:
            round.following = self._next_ballot()
        self._to_all(
            Accept(
                key,
                round.ballot,
                change.value,
                round.following,
                change.deleted,
                self.state.age,
                self.epoch,
            )
        )

    def _take(self, slot: Slot, round: Round) -> list[Waiting]:
        """What the round proposes: all that waits, but what has to be everywhere alone."""
        queue = slot.queue
        if round.everywhere:
            count = 1 if queue and queue[0].everywhere else 0
        else:
            waits = (place for place, waiting in enumerate(queue) if waiting.everywhere)
            count = next(waits, len(queue))
        taken, slot.queue = queue[:count], queue[count:]
        return taken

    def _change(self, key: Key, round: Round, requests: list[Any]) -> Change:
        return self._transition.change(round.value, round.erased, round.ballot.round, requests)

    def _accepted(self, slot: Slot, sender: AcceptorId, message: Accepted) -> None:
        round = slot.round
        if round is not None and message.ballot == round.ballot and round.proposing is not None:
            round.accepted.add(sender)
            if self._chosen(round):
                self._decide(message.key, slot, round)
        elif slot.lead is not None and message.ballot == slot.lead.base:
            slot.lead.holders.add(sender)

    def _chosen(self, round: Round) -> bool:
        assert self._quorums is not None
        if round.everywhere:
            return round.accepted >= self._quorums.acceptors
        return self._quorums.chooses(round.accepted)

    def _decide(self, key: Key, slot: Slot, round: Round) -> None:
        change = round.change
        assert change is not None and round.proposing is not None
        slot.round, slot.refusals = None, 0
        if round.following != NO_BALLOT and len(change.value) <= MAX_CACHED_BYTES:
            slot.lead = Lead(round.following, round.accepted, round.ballot, change.value)
            self._leads[key] = None
            if len(self._leads) > CACHED_KEYS:
                self._drop_oldest_lead()
        if change.deleted and not round.everywhere:
            self._effects.append(Deleted(key))
        for waiting, outcome in zip(round.proposing, change.outcomes, strict=True):
            self.waiting -= 1
            repeated = waiting.proposals > 1
            self._effects.append(Decided(key, waiting.request, outcome, round.ballot, repeated))

    # --- what stands in the way -------------------------------------------------------------------

    def _refused(self, key: Key, slot: Slot, ballot: Ballot, now: float) -> None:
        self.refusals += 1
        if slot.lead is not None and slot.lead.base == ballot:
            self._drop_lead(key, slot)  # one that did not accept it has promised more to another
        round = slot.round
        if round is None or round.ballot != ballot:
            return
        # Others of the quorum may still answer, but a duel would go on: give way for a while.
        self._drop_round(slot)
        pause_s = min(
            self.settings.last_backoff_s, self.settings.first_backoff_s * 2.0**slot.refusals
        )
        slot.refusals = min(slot.refusals + 1, 16)
        slot.resume_at = now + pause_s * self._random.uniform(0.5, 1.5)

    def _drop_round(self, slot: Slot) -> None:
        """What the round had under way waits again, before all others."""
        if slot.round is not None and slot.round.proposing is not None:
            slot.queue[:0] = slot.round.proposing
        slot.round = None

    def _drop_lead(self, key: Key, slot: Slot) -> None:
        slot.lead = None
        self._leads.pop(key, None)

    def _drop_oldest_lead(self) -> None:
        oldest = next(iter(self._leads))
        self._touched[oldest] = None
        self._drop_lead(oldest, self._slots[oldest])

    def _give_up(self, key: Key, slot: Slot, now: float, *, everywhere: bool) -> None:
        """Hand back what has waited for a quorum for too long, and `everywhere` what is for all."""
        patience_s = self.settings.give_up_s
        kept: list[Waiting] = []
        for waiting in slot.queue:
            if now - waiting.since > patience_s or (everywhere and waiting.everywhere):
                self._hand_back(key, waiting)
            else:
                kept.append(waiting)
        slot.queue = kept

    def _hand_back(self, key: Key, waiting: Waiting) -> None:
        self.waiting -= 1
        harmless = waiting.reads or not waiting.proposals
        self._effects.append(GaveUp(key, waiting.request, harmless))
