"""From operations to messages: queues, the calls formed from them, and to whom each may go now.

queues --form--> waiting calls --send--> attempts --answer--> done
  ^                   ^                     |
  |                   +---- try again ------+
  +------------- dissolve (certainly not applied)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from raycons.client.attempts import Attempts
from raycons.client.calls import Call, Done, Ending, Frame, Pending, Queries, Queue
from raycons.client.gathering import Gathering, Tell
from raycons.client.registration import Registration
from raycons.client.routing import NOBODY, Routing
from raycons.client.settings import ClientSettings
from raycons.member.protocol import ReadLevel
from raycons.transport.contract import Address, PeerId


class Transmit(NamedTuple):
    """Send the message to the member."""

    member: PeerId
    message: msgspec.Struct


class Know(NamedTuple):
    """Keep connections to these members."""

    addresses: Mapping[PeerId, Address]


Output = Transmit | Know


class Outbox:
    """Everything that has not ended, where it is, and what may leave."""

    def __init__(
        self, routing: Routing, registration: Registration, settings: ClientSettings, tell: Tell
    ) -> None:
        self.gathering = Gathering(settings, tell)
        self.attempts = Attempts(settings)
        self.operations = Queue()  # to be carried out in the next frame
        self.queries = {level: Queue() for level in ReadLevel}  # to be asked with the next ones
        self._routing = routing
        self._registration = registration
        self._settings = settings
        self._for_leader: dict[Call, None] = {}
        self._for_others: dict[Call, None] = {}  # for anyone, or for one named member
        self._outputs: list[Output] = []

    # --- in ---------------------------------------------------------------------------------------

    def wait(self, call: Call) -> None:
        """To be sent, or sent again."""
        (self._for_leader if call.member is None else self._for_others)[call] = None

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """Have connections kept to these members."""
        self._outputs.append(Know(addresses))

    # --- out --------------------------------------------------------------------------------------

    def withdraw(self, pending: Pending) -> Done:
        """End an operation and take it out of where it is; gives what `Gathering.withdraw` does."""
        call = pending.call
        done = self.gathering.withdraw(pending)
        if done is None:
            return None
        if call is not None:
            self._leave(call)
        elif pending.queue is not None:
            pending.queue.withdrawn()
        return done

    def _leave(self, call: Call) -> None:
        """One of the operations in `call` was withdrawn."""
        call.live -= 1
        if call.live == 0:
            self.drop(call)
        elif isinstance(call, Frame) and call.unresolved == 0:
            # The caller is told "not applied": the frame must not be sent with it again.
            self.dissolve(call)

    def drop(self, call: Call) -> None:
        """Nothing more is to be done for `call`."""
        self.attempts.forget(call)
        self._for_leader.pop(call, None)
        self._for_others.pop(call, None)
        if isinstance(call, Frame):
            call.session.settle(call.number)

    def dissolve(self, frame: Frame) -> None:
        """Certainly not applied: give up the number, put the operations back into the queue.

        The frame is left empty: what is in the queue is in no frame, whoever comes by it again.
        """
        self.drop(frame)
        operations, frame.operations = frame.operations, []
        for pending in operations:
            if pending.done is not None and pending.call is frame:
                pending.call = None
                self.operations.members.append(pending)

    def requeue(self, frame: Frame, chosen: Sequence[bool]) -> None:
        """Certainly not applied: take these operations of the frame back into the queue."""
        kept = []
        for pending, back in zip(frame.operations, chosen, strict=True):
            if not back:
                kept.append(pending)
            elif pending.done is not None and pending.call is frame:
                pending.call = None
                self.operations.members.append(pending)
        frame.operations = kept

    def waiting_frames(self) -> list[Frame]:
        """The frames that wait for an attempt."""
        return [call for call in self._for_leader if isinstance(call, Frame)]

    def take_everything(self) -> list[Pending]:
        """Empty all queues and forget all calls; gives the operations that were in them."""
        queues = (self.operations, *self.queries.values())
        taken = [pending for queue in queues for pending in queue.take()]
        for call in [*self._for_leader, *self._for_others, *self.attempts.all()]:
            self.attempts.forget(call)
            taken += call.operations
        self._for_leader.clear()
        self._for_others.clear()
        return taken

    # --- sending ----------------------------------------------------------------------------------

    def send(self, now: float) -> None:
        """Send all that may leave now."""
        if self._for_others or self.queries[ReadLevel.STALE]:
            self._send_to_others(now)
        if now >= self._routing.held_until and self._has_work():
            leader = self._routing.reachable_leader
            if leader != NOBODY:
                self._send_to_leader(leader, now)
            else:
                self._ask_around(now)

    def send_frame(self, queue: Queue, now: float) -> None:
        """Send one frame of `queue` to the leader; `send` sees to whatever is not so simple."""
        leader = self._routing.reachable_leader
        if leader == NOBODY or now < self._routing.held_until:
            return
        if queue is self.queries[ReadLevel.LINEARIZABLE]:
            self._form_queries(ReadLevel.LINEARIZABLE, 1)
        elif queue is self.operations and self._registration.session is not None:
            self._form_frames(1)
        self._transmit_waiting(leader, now)

    def send_ending(self, ending: Ending, now: float) -> None:
        """Send the last call, if a leader can be reached; its answer does not matter."""
        if self._routing.reachable_leader != NOBODY:
            self._transmit(ending, self._routing.reachable_leader, now)
            self.attempts.forget(ending)

    def drain(self) -> list[Output]:
        """What was sent since the last call."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def next_deadline(self, now: float) -> float:
        """When something that waits here may leave, or has to end; infinity: never."""
        due = min(self.gathering.next_deadline(), self.attempts.next_deadline())
        if self._has_work():
            # What still waits after a turn was held back, or has nobody to go to.
            due = min(due, max(self._routing.may_send_at(), now))
        for call in self._for_others:
            if self._destination(call) != NOBODY:
                due = min(due, call.not_before)
        return due

    def _has_work(self) -> bool:
        """Whether something could be sent to a leader."""
        if self._for_leader or self.queries[ReadLevel.LINEARIZABLE]:
            return True
        return bool(self.operations) and not self._registration.under_way

    def _send_to_leader(self, leader: PeerId, now: float) -> None:
        if self.operations:
            self._form_frames(len(self.operations))
        if self.queries[ReadLevel.LINEARIZABLE]:
            self._form_queries(ReadLevel.LINEARIZABLE)
        self._transmit_waiting(leader, now)

    def _transmit_waiting(self, leader: PeerId, now: float) -> None:
        calls, self._for_leader = self._for_leader, {}
        for call in calls:
            self._transmit(call, leader, now)

    def _ask_around(self, now: float) -> None:
        """Find the leader with one call that has to be sent anyway; the rest waits for the news."""
        member = self._routing.next_to_ask(now)
        if member == NOBODY:
            return
        if not self._for_leader and self.operations:
            self._form_frames(1)
        if not self._for_leader:
            self._form_queries(ReadLevel.LINEARIZABLE)
        call = next(iter(self._for_leader))
        del self._for_leader[call]
        self._transmit(call, member, now)
        self._routing.hold(now)

    def _send_to_others(self, now: float) -> None:
        self._form_queries(ReadLevel.STALE)
        for call in [*self._for_others]:
            member = self._destination(call)
            if member != NOBODY and now >= call.not_before:
                del self._for_others[call]
                self._transmit(call, member, now)

    def _destination(self, call: Call) -> PeerId:
        """Where a call that is not for the leader goes now; NOBODY: it waits for a connection."""
        member = call.member or self._routing.anyone(call.attempts)
        return member if member in self._routing.connected else NOBODY

    def _form_frames(self, at_most: int) -> None:
        """Turn the queue into frames of the session, or begin with the session itself."""
        session = self._registration.session
        if session is not None:
            for operations in self.gathering.batches(self.operations, at_most):
                self.wait(Frame(operations, session, self._settings))
            return
        opening = self._registration.begin()
        if opening is not None:
            self.wait(opening)

    def _form_queries(self, level: ReadLevel, at_most: int | None = None) -> None:
        queue = self.queries[level]
        for operations in self.gathering.batches(queue, at_most or len(queue)):
            self.wait(Queries(operations, level, self._settings))

    def _transmit(self, call: Call, member: PeerId, now: float) -> None:
        self._routing.sent(member, now)
        self._outputs.append(Transmit(member, self.attempts.begin(call, member, now)))
