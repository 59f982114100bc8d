"""A proposer of registers: takes requests, and gets the changes that they ask for chosen.

    request --queue--> phase 1: what may have been chosen --> phase 2: that, changed --> decided
                       (left out where the last change of this proposer brought promises)

What may have been chosen of a key, changed by what its requests ask for, is proposed under a ballot
that a quorum promised to: so the values that are chosen are one chain of changes. Of a key at most
one round is under way; requests that come meanwhile wait, and are combined, in order, into the next
change. A change that no quorum accepts is begun anew above whatever stood in its way, after a
randomized pause, from what is to be found then: it may be there already, which the transition has
to recognize by itself.

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
from typing import Any

import msgspec

from raycons.consensus.contract import NEVER
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Epoch,
    Key,
    Outdated,
    Prepare,
    Promise,
    Query,
    Refusal,
    Told,
    ToProposer,
)
from raycons.consensus.paxos.caspaxos.rounds import ProposerState, Rounds
from raycons.consensus.paxos.caspaxos.slots import Reading, Slot, Waiting
from raycons.consensus.paxos.caspaxos.transition import (
    Decided,
    Effect,
)
from raycons.consensus.quorum import AcceptorId, QuorumSystem


class Proposer(Rounds):
    """The proposer of one member, for all keys."""

    # --- what is asked ----------------------------------------------------------------------------

    def submit(self, key: Key, request: Any, now: float, *, everywhere: bool = False) -> bool:
        """Have `request` carried out on the register of `key`; False: too many wait for it.

        `everywhere`: by a change that all acceptors accept, and that prepares no other.
        """
        slot = self._slot(key)
        if len(slot.queue) >= self.settings.max_waiting:
            return False
        self.waiting += 1
        slot.queue.append(Waiting(request, now, False, everywhere))
        self._touched[key] = None
        return True

    def read(self, key: Key, request: Any, now: float) -> bool:
        """Have `request`, which only reads, answered; False: too many wait for the key."""
        slot = self._slot(key)
        if len(slot.readers) >= self.settings.max_waiting:
            return False
        self.waiting += 1
        slot.readers.append(Waiting(request, now, True, False))
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

    def outgrow(self, keys: Iterable[Key], state: ProposerState) -> None:
        """Begin anew what is under way for `keys`, at the age and above the round of `state`.

        That is on disk by now: what was sent at an age that was forgotten could not be told from
        what is sent at the same age later.
        """
        self.rise_above(state.round)
        self.state = msgspec.structs.replace(self.state, age=state.age)
        for key in keys:
            slot = self._slots.get(key)
            if slot is not None:
                self._begin_anew(key, slot)

    def rise_above(self, round: int) -> None:
        """Use only ballots above `round` from now on, whatever happens."""
        self._highest = max(self._highest, round)
        self.state = self.state.above(round)

    def _begin_anew(self, key: Key, slot: Slot) -> None:
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

    # --- reads ------------------------------------------------------------------------------------

    def _query(self, key: Key, slot: Slot, now: float) -> None:
        self._reads += 1
        deadline = now + self.settings.read_patience_s
        heappush(self._timers, (deadline, key))
        slot.reading = Reading(self._reads, deadline, slot.readers, {})
        slot.readers = []
        self._to_all(Query(key, self._reads, self.epoch))

    def _told(self, slot: Slot, sender: AcceptorId, message: Told) -> None:
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

    def _change_nothing(self, slot: Slot) -> None:
        """The answers to a read differ, or too few came: a change decides, that changes nothing."""
        assert slot.reading is not None
        slot.queue += slot.reading.waiting
        slot.reading = None
