"""A proposer of registers: takes requests, and gets the changes that they ask for chosen.

    request --queue--> phase 1: what may have been chosen --> phase 2: that, changed --> decided
                       (left out where the last change of this proposer brought promises)

What may have been chosen of a key, changed by what its requests ask for, is proposed under a ballot
that a quorum promised to: so the values that are chosen are one chain of changes. Of a key at most
one round is under way; requests that come meanwhile wait, and are combined, in order, into the next
change. A change that no quorum accepts is begun anew above whatever stood in its way, after a
randomized pause, from what is to be found then: it may be there already, which the transition has
to recognize by itself.

Why the round trip of phase 1 can be left out (section 2.2.1 of the paper): who accepts a value
promises with it to accept nothing below the ballot that this proposer takes next. A phase-1 quorum
of these promises, none of which has accepted anything in between, is phase 1 of that ballot.

A read asks what is accepted, and promises nothing. Where acceptors that are a quorum of both phases
have accepted the same ballot, its value is chosen; and whatever was chosen before the read began is
at or before it in the chain, for its quorum meets this one, and acceptors only go up. Where they
differ, a change that changes nothing decides.

Rules of this file
- Pure: events in, `drain` gives the effects; `now` in seconds of any clock that does not run back.
- What is in `state` is on disk before an answer that rests on it leaves. The rest need not be: a
  process that starts anew has another nonce, so other ballots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple, Protocol

import msgspec

from raycons.config import RegisterSettings
from raycons.consensus.contract import Send
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Age,
    Epoch,
    Key,
    Outdated,
    Prepare,
    Promise,
    Query,
    Refusal,
    Stamp,
    Told,
    ToProposer,
)
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.consensus.quorum_systems import AcceptorId, QuorumSystem

NEVER = float("inf")
CACHED_KEYS = 4096  # of which the next change needs no phase 1
MAX_CACHED_BYTES = 64 * 1024  # of one value


class Change(NamedTuple):
    """What a transition made of a register."""

    value: bytes
    deleted: bool  # a tombstone
    outcomes: Sequence[Any]  # one for each request, to be told once the value is chosen


class Transition(Protocol):
    """What requests do to a register. Deterministic, and it changes nothing but what it returns."""

    def change(self, value: bytes, erased: Stamp, round: int, requests: Sequence[Any]) -> Change:
        """Carry out `requests`, in order, on `value` (empty: nothing was ever accepted).

        `erased` is the highest stamp of registers that were erased, this one perhaps; `round` that
        of the ballot, which is above all of earlier changes.
        """

    def look(self, value: bytes, requests: Sequence[Any]) -> Sequence[Any]:
        """What `requests`, all of which only read, find in `value`."""


class Decided(NamedTuple):
    """The request was carried out, by the change that was chosen under `ballot`."""

    key: Key
    request: Any
    outcome: Any
    ballot: Ballot
    repeated: bool  # an earlier change with it, under another ballot, may have been chosen too


class Deleted(NamedTuple):
    """The register is a tombstone now, by a change of this proposer: it can be collected."""

    key: Key


class GaveUp(NamedTuple):
    """The request is not tried any more; `harmless`: it certainly had no effect."""

    key: Key
    request: Any
    harmless: bool


Effect = Send | Decided | Deleted | GaveUp


class ProposerState(msgspec.Struct, frozen=True, array_like=True):
    """What a proposer must never forget: without it, erased registers could come back."""

    age: Age = 0
    round: int = 0  # all ballots are above it


class _Waiting(msgspec.Struct, gc=False):
    """A request that is not decided."""

    request: Any
    since: float
    reads: bool  # it changes nothing
    everywhere: bool  # all acceptors must have the change, not only a quorum
    proposals: int = 0  # changes that it was part of, all of which may yet be chosen


class _Round(msgspec.Struct):
    """A change under way, or its first phase."""

    ballot: Ballot
    deadline: float
    everywhere: bool
    promises: set[AcceptorId]
    highest: Ballot = NO_BALLOT  # of those accepted that the promises told of, and its value
    value: bytes = b""
    erased: Stamp = 0
    # In the second phase:
    following: Ballot = NO_BALLOT
    proposing: list[_Waiting] | None = None  # None: still in the first phase
    change: Change | None = None
    accepted: set[AcceptorId] = msgspec.field(default_factory=set)


class _Lead(msgspec.Struct):
    """Promises for the next change of a key, that came with the last."""

    ballot: Ballot
    holders: set[AcceptorId]
    base: Ballot  # under which the holders accepted `value`
    value: bytes


class _Reading(msgspec.Struct):
    """A read under way."""

    number: int
    deadline: float
    waiting: list[_Waiting]
    answers: dict[AcceptorId, tuple[Ballot, bytes]]


class _Slot:
    """What a proposer does for one key."""

    __slots__ = ("lead", "queue", "readers", "reading", "refusals", "resume_at", "round")

    def __init__(self) -> None:
        self.queue: list[_Waiting] = []
        self.round: _Round | None = None
        self.lead: _Lead | None = None
        self.readers: list[_Waiting] = []
        self.reading: _Reading | None = None
        self.refusals = 0  # in a row, for the pause before the next ballot
        self.resume_at = 0.0

    @property
    def idle(self) -> bool:
        return not (self.queue or self.round or self.lead or self.readers or self.reading)


class Proposer:
    """The proposer of one member, for all keys."""

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
        self._slots: dict[Key, _Slot] = {}
        self._leads: dict[Key, None] = {}  # the keys with a lead, the oldest first
        self._timers: list[tuple[float, Key]] = []
        self._touched: dict[Key, None] = {}  # keys whose slot may have something to begin
        self._reads = 0
        self._effects: list[Effect] = []
        self.waiting = 0  # requests that have no outcome yet
        self.refusals = 0  # since the process began
        self.short_rounds = 0  # changes without a phase 1
        self.quick_reads = 0  # reads without a change

    # --- what is asked ----------------------------------------------------------------------------

    def submit(self, key: Key, request: Any, now: float, *, everywhere: bool = False) -> bool:
        """Have `request` carried out on the register of `key`; False: too many wait for it.

        `everywhere`: by a change that all acceptors accept, and that prepares no other.
        """
        slot = self._slot(key)
        if len(slot.queue) >= self.settings.max_waiting:
            return False
        self.waiting += 1
        slot.queue.append(_Waiting(request, now, False, everywhere))
        self._touched[key] = None
        return True

    def read(self, key: Key, request: Any, now: float) -> bool:
        """Have `request`, which only reads, answered; False: too many wait for the key."""
        slot = self._slot(key)
        if len(slot.readers) >= self.settings.max_waiting:
            return False
        self.waiting += 1
        slot.readers.append(_Waiting(request, now, True, False))
        self._touched[key] = None
        return True

    def withdraw(self, unwanted: Iterable[tuple[Key, Any]]) -> None:
        """Nobody waits for these requests any more: those that were not begun are dropped."""
        for key, request in unwanted:
            slot = self._slots.get(key)
            for queue in (slot.queue, slot.readers) if slot is not None else ():
                for waiting in queue:
                    if waiting.request is request and not waiting.proposals:
                        queue.remove(waiting)
                        self.waiting -= 1
                        break

    # --- what the world tells ---------------------------------------------------------------------

    def receive(self, sender: AcceptorId, message: ToProposer, now: float) -> None:
        """An acceptor's answer; one to an earlier ballot is only a matter of numbers."""
        slot = self._slots.get(message.key)
        if isinstance(message, Refusal):
            self._highest = max(self._highest, message.promised.round)
        if slot is None:
            return
        self._touched[message.key] = None
        match message:
            case Promise():
                self._promised(slot, sender, message, now)
            case Accepted():
                self._accepted(slot, sender, message)
            case Refusal(key, ballot) | Outdated(key, ballot):
                self._refused(key, slot, ballot, now)
            case Told():
                self._told(slot, sender, message)

    def notice(self, message: Prepare | Accept) -> None:
        """Another proposer uses these ballots: the next of ours is above them."""
        ballot = message.following if isinstance(message, Accept) else message.ballot
        self._highest = max(self._highest, ballot.round)

    def tick(self, now: float) -> None:
        """A pause is over, or a quorum did not answer in time."""
        timers = self._timers
        while timers and timers[0][0] <= now:
            _, key = heappop(timers)
            slot = self._slots.get(key)
            if slot is None:
                continue
            self._touched[key] = None
            round, reading = slot.round, slot.reading
            if round is not None and round.deadline <= now:
                self._drop_round(slot)
                self._give_up(key, slot, now, everywhere=round.everywhere)
            if reading is not None and reading.deadline <= now:
                self._change_nothing(slot)

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        timers = self._timers
        while timers and not self._is_due(*timers[0]):
            heappop(timers)
        return timers[0][0] if timers else NEVER

    def _is_due(self, deadline: float, key: Key) -> bool:
        """Whether something of the key still waits for that moment."""
        slot = self._slots.get(key)
        if slot is None:
            return False
        round, reading = slot.round, slot.reading
        return (
            (round is not None and round.deadline == deadline)
            or (reading is not None and reading.deadline == deadline)
            or (round is None and bool(slot.queue) and slot.resume_at == deadline)
        )

    def configure(self, epoch: Epoch, quorums: QuorumSystem | None) -> None:
        """Another configuration is in force: all that is under way begins anew in it.

        `quorums` None: it does not list this proposer, so all that waits is given up.
        """
        self.epoch, self._quorums = epoch, quorums
        for key, slot in self._slots.items():
            self._begin_anew(key, slot)
            if quorums is None:
                for waiting in (*slot.queue, *slot.readers):
                    self._hand_back(key, waiting)
                slot.queue, slot.readers = [], []

    def outgrow(self, keys: Iterable[Key], round: int) -> Age:
        """Begin anew, at a new age and above `round`, what is under way for `keys`."""
        self.rise_above(round)
        self.state = msgspec.structs.replace(self.state, age=self.state.age + 1)
        for key in keys:
            slot = self._slots.get(key)
            if slot is not None:
                self._begin_anew(key, slot)
        return self.state.age

    def rise_above(self, round: int) -> None:
        """Use only ballots above `round` from now on, whatever happens."""
        self._highest = max(self._highest, round)
        if round > self.state.round:
            self.state = msgspec.structs.replace(self.state, round=round)

    def _begin_anew(self, key: Key, slot: _Slot) -> None:
        self._touched[key] = None
        self._drop_round(slot)
        self._drop_lead(key, slot)
        if slot.reading is not None:
            slot.readers[:0] = slot.reading.waiting
            slot.reading = None

    # --- effects ----------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether `drain` has something to give, or to begin."""
        return bool(self._effects or (self._touched and self._quorums is not None))

    def drain(self, now: float) -> list[Effect]:
        """Begin what can begin; the effects of all events since the last call."""
        if self._quorums is not None:
            touched, self._touched = self._touched, {}
            for key in touched:
                self._begin(key, now)
        effects, self._effects = self._effects, []
        return effects

    def _begin(self, key: Key, now: float) -> None:
        slot = self._slots.get(key)
        if slot is None:
            return
        if slot.readers and slot.reading is None:
            self._query(key, slot, now)
        round = slot.round
        if slot.queue and round is not None and round.everywhere:
            # Nobody waits for an acceptor that is away: what has to be everywhere gives way.
            assert self._quorums is not None
            if self._quorums.chooses(round.accepted):
                self._drop_round(slot)
                self._give_up(key, slot, now, everywhere=True)
        if slot.queue and slot.round is None:
            if now >= slot.resume_at:
                self._begin_round(key, slot, now)
            else:
                heappush(self._timers, (slot.resume_at, key))
        elif slot.idle:
            del self._slots[key]

    def _slot(self, key: Key) -> _Slot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = _Slot()
        return slot

    def _to_all(self, message: Any) -> None:
        assert self._quorums is not None
        self._effects += [Send(acceptor, message) for acceptor in sorted(self._quorums.acceptors)]

    def _next_ballot(self) -> Ballot:
        self._highest += 1
        return Ballot(self._highest, self.id, self._nonce)

    # --- phase 1 ----------------------------------------------------------------------------------

    def _begin_round(self, key: Key, slot: _Slot, now: float) -> None:
        everywhere = slot.queue[0].everywhere
        deadline = now + self.settings.patience_s * self._random.uniform(1.0, 2.0)
        heappush(self._timers, (deadline, key))
        lead = slot.lead
        self._drop_lead(key, slot)
        if lead is not None and not everywhere and self._prepared(lead.holders):
            self.short_rounds += 1
            round = _Round(lead.ballot, deadline, everywhere, lead.holders)
            round.highest, round.value = lead.base, lead.value
            slot.round = round
            self._propose(key, slot, round)
            return
        ballot = self._next_ballot()
        slot.round = _Round(ballot, deadline, everywhere, set())
        self._to_all(Prepare(key, ballot, self.state.age, self.epoch))

    def _prepared(self, promised: set[AcceptorId]) -> bool:
        assert self._quorums is not None
        return self._quorums.prepares(promised)

    def _promised(self, slot: _Slot, sender: AcceptorId, message: Promise, now: float) -> None:
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

    def _propose(self, key: Key, slot: _Slot, round: _Round) -> None:
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

    def _take(self, slot: _Slot, round: _Round) -> list[_Waiting]:
        """What the round proposes: all that waits, but what has to be everywhere alone."""
        queue = slot.queue
        if round.everywhere:
            count = 1 if queue and queue[0].everywhere else 0
        else:
            waits = (place for place, waiting in enumerate(queue) if waiting.everywhere)
            count = next(waits, len(queue))
        taken, slot.queue = queue[:count], queue[count:]
        return taken

    def _change(self, key: Key, round: _Round, requests: list[Any]) -> Change:
        return self._transition.change(round.value, round.erased, round.ballot.round, requests)

    def _accepted(self, slot: _Slot, sender: AcceptorId, message: Accepted) -> None:
        round = slot.round
        if round is not None and message.ballot == round.ballot and round.proposing is not None:
            round.accepted.add(sender)
            if self._chosen(round):
                self._decide(message.key, slot, round)
        elif slot.lead is not None and message.ballot == slot.lead.base:
            slot.lead.holders.add(sender)

    def _chosen(self, round: _Round) -> bool:
        assert self._quorums is not None
        if round.everywhere:
            return round.accepted >= self._quorums.acceptors
        return self._quorums.chooses(round.accepted)

    def _decide(self, key: Key, slot: _Slot, round: _Round) -> None:
        change = round.change
        assert change is not None and round.proposing is not None
        slot.round, slot.refusals = None, 0
        if round.following != NO_BALLOT and len(change.value) <= MAX_CACHED_BYTES:
            slot.lead = _Lead(round.following, round.accepted, round.ballot, change.value)
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

    def _refused(self, key: Key, slot: _Slot, ballot: Ballot, now: float) -> None:
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

    def _drop_round(self, slot: _Slot) -> None:
        """What the round had under way waits again, before all others."""
        if slot.round is not None and slot.round.proposing is not None:
            slot.queue[:0] = slot.round.proposing
        slot.round = None

    def _drop_lead(self, key: Key, slot: _Slot) -> None:
        slot.lead = None
        self._leads.pop(key, None)

    def _drop_oldest_lead(self) -> None:
        oldest = next(iter(self._leads))
        self._touched[oldest] = None
        self._drop_lead(oldest, self._slots[oldest])

    def _give_up(self, key: Key, slot: _Slot, now: float, *, everywhere: bool) -> None:
        """Hand back what has waited for a quorum for too long, and `everywhere` what is for all."""
        patience_s = self.settings.give_up_s
        kept: list[_Waiting] = []
        for waiting in slot.queue:
            if now - waiting.since > patience_s or (everywhere and waiting.everywhere):
                self._hand_back(key, waiting)
            else:
                kept.append(waiting)
        slot.queue = kept

    def _hand_back(self, key: Key, waiting: _Waiting) -> None:
        self.waiting -= 1
        harmless = waiting.reads or not waiting.proposals
        self._effects.append(GaveUp(key, waiting.request, harmless))

    # --- reads ------------------------------------------------------------------------------------

    def _query(self, key: Key, slot: _Slot, now: float) -> None:
        self._reads += 1
        deadline = now + self.settings.read_patience_s
        heappush(self._timers, (deadline, key))
        slot.reading = _Reading(self._reads, deadline, slot.readers, {})
        slot.readers = []
        self._to_all(Query(key, self._reads, self.epoch))

    def _told(self, slot: _Slot, sender: AcceptorId, message: Told) -> None:
        reading = slot.reading
        if reading is None or message.number != reading.number:
            return
        assert self._quorums is not None
        answers = reading.answers
        answers[sender] = (message.accepted, message.value)
        same = {id for id, (accepted, _) in answers.items() if accepted == message.accepted}
        if self._quorums.prepares(same) and self._quorums.chooses(same):
            slot.reading = None
            outcomes = self._look(message, [waiting.request for waiting in reading.waiting])
            for waiting, outcome in zip(reading.waiting, outcomes, strict=True):
                self.waiting -= 1
                self.quick_reads += 1
                decided = Decided(message.key, waiting.request, outcome, message.accepted, False)
                self._effects.append(decided)
        elif answers.keys() >= self._quorums.acceptors:
            self._change_nothing(slot)

    def _look(self, message: Told, requests: list[Any]) -> Sequence[Any]:
        return self._transition.look(message.value, requests)

    def _change_nothing(self, slot: _Slot) -> None:
        """The answers to a read differ, or too few came: a change decides, that changes nothing."""
        assert slot.reading is not None
        slot.queue += slot.reading.waiting
        slot.reading = None
