"""The client without clock, tasks or I/O: finds the leader, batches, retries, and names outcomes.

Rules of this file
- Events are method calls with `now`, in seconds of a clock that counts suspension. After one or
  several events, and at the latest when the turn of the loop ends, call `end_of_turn(now)`: it
  gives what is to be carried out (`Transmit`, `Know`). `submit` and `read` only gather, so that
  what one turn asks leaves in one frame; `fills_frame` tells when there are enough operations for
  one, which `send_frame` sends at once.
- Call `tick(now)` when `next_deadline()` comes due, and `end_of_turn` after it. The deadline can
  move with any event, so ask again after each turn.
- An operation ends exactly once, with `tell(done, result or exception)`, unless it was cancelled.
  `tell` is given once, to the core; `done` with each operation, and means nothing to the core: by
  default it is called with the result. `tell` may call `submit` and `read`, nothing else, and does
  not raise. Results are those of `raycons.machines.kv.commands`, where `Failed` is a result;
  `Lagging` for stale reads; `Managed` and `Inspected` for the rest. Exceptions are those of
  `raycons.errors`.
- Every operation has its own deadline, and none has its own timer: those of one turn that are due
  together share an entry (see `calls.Cohort`), and entries share timers (see `deadlines`).
- Randomness is injected: the same events with the same `Random` give the same outputs.
- Single-threaded: no two calls overlap.

How exactly-once comes about: operations become frames, a frame becomes command number n of the
session, and every retry repeats number and bytes, so that the group can tell it from a new command.
What an error says about the outcome is decided in `outcome`, from the count of attempts that were
not definitely refused.

Known limits: operations that are under way at the same time have no order among each other; a
change of the group's members has no session, and ends as unknown when contact is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from raycons import errors
from raycons.client import outcome
from raycons.client.calls import (
    Call,
    Done,
    Ending,
    Frame,
    Inspection,
    Management,
    Opening,
    Pending,
    Queries,
    Queue,
    Renewal,
)
from raycons.client.gathering import Tell
from raycons.client.outbox import Know, Outbox, Output, Transmit
from raycons.client.registration import Registration
from raycons.client.routing import NOBODY, Routing
from raycons.client.session import Session
from raycons.client.settings import ClientSettings
from raycons.machines.kv import commands
from raycons.machines.sessions import commands as sessions
from raycons.member.protocol import (
    Action,
    Answer,
    Code,
    Inspected,
    Leader,
    Managed,
    ReadLevel,
    Refused,
)
from raycons.transport.contract import Address, PeerId

__all__ = ["ClientCore", "Know", "Lagging", "Output", "Transmit"]


class Lagging(NamedTuple):
    """A stale read's result, and for how long at most its member had not heard from a leader."""

    result: commands.Result
    lag_s: float


_decode_answer = msgspec.msgpack.Decoder(sessions.SessionAnswer).decode
_decode_results = msgspec.msgpack.Decoder(commands.Results).decode


def _call(done: Done, result: Any) -> None:
    done(result)


class ClientCore:
    """One client of one group; see the rules at the head of this file."""

    def __init__(
        self, random: Random, settings: ClientSettings, now: float, tell: Tell = _call
    ) -> None:
        self.routing = Routing(random, settings)
        self._settings = settings
        self._now = now
        self._registration = Registration(random, settings)
        self._outbox = Outbox(self.routing, self._registration, settings, tell)
        self._gathering = self._outbox.gathering
        self._attempts = self._outbox.attempts
        self._tell = tell
        self._admit = self._gathering.admit  # until the client is closed
        self._last_refusal: Refused | None = None  # since the last answer
        self.absence = ""  # why no member can be found, where a search came to nothing

    @property
    def in_flight(self) -> int:
        """How many operations have not ended."""
        return self._gathering.operations

    # --- what callers ask -------------------------------------------------------------------------

    def submit(self, operation: commands.Operation, deadline: float, done: Done) -> Pending:
        """Have `operation` carried out once.

        Raises:
            Overloaded: a bound of this client is reached; nothing was done.
            Closed: the client was closed.
        """
        return self._admit(operation, deadline, done, self._outbox.operations)

    def read(self, query: commands.Range, level: ReadLevel, deadline: float, done: Done) -> Pending:
        """Ask `query`, as often as it takes; raises as `submit` does."""
        return self._admit(query, deadline, done, self._outbox.queries[level])

    def fills_frame(self, pending: Pending) -> bool:
        """Whether a frame's worth of operations now waits where this newest one does."""
        queue = pending.queue
        return queue is not None and not len(queue.members) % self._settings.max_frame_operations

    def manage(self, action: Action, based_on: int, deadline: float, done: Done) -> Pending:
        """Change the group, from the configuration with index `based_on`; raises as `submit`."""
        pending = self._admit(action, deadline, done, None)
        self._outbox.wait(Management(pending, action, based_on, self._settings))
        return pending

    def inspect(self, member: PeerId | None, digest: bool, deadline: float, done: Done) -> Pending:
        """Ask `member` (None: the leader; 0: anyone) for its status; raises as `submit`."""
        pending = self._admit(None, deadline, done, None)
        self._outbox.wait(Inspection(pending, member, digest, self._settings))
        return pending

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for this operation any more: it is not told whether it takes effect."""
        self._outbox.withdraw(pending)

    # --- what the world tells ---------------------------------------------------------------------

    def know(self, addresses: Mapping[PeerId, Address], now: float) -> None:
        """These are the members, as found from outside (start, rediscovery)."""
        for member in [member for member in self.routing.connected if member not in addresses]:
            self.lost(member, now)  # the transport lets go of it, and says nothing
        self.routing.know(addresses)
        self._outbox.know(self.routing.addresses)

    def connected(self, member: PeerId, now: float) -> None:
        """`member` can be sent to."""
        self._now = now
        self.absence = ""
        self.routing.connect(member)

    def lost(self, member: PeerId, now: float) -> None:
        """The connection to `member` ended: no attempt sent over it will be answered."""
        self._now = now
        self.routing.lose(member)
        for call in self._attempts.lost(member):
            self._try_again(call)

    def received(self, member: PeerId, message: Any, now: float) -> None:
        """A message from `member`; what belongs to no attempt that matters is ignored."""
        self._now = now
        self.routing.heard(member)
        match message:
            case Answer():
                self._answered(member, message)
            case Refused():
                self._refused(member, message)
            case Leader():
                self._learn(member, message)
            case Managed() | Inspected():
                call = self._attempts.find(message.request)
                if call is not None:
                    self._conclude(call, (message,))
            case _:
                pass  # from a newer member; nothing here depends on it

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""
        self._now = now
        # All of them before any is withdrawn, which may part the others from their frame.
        late = [(pending, self._late(pending)) for pending in self._gathering.expired(now)]
        for pending, error in late:
            call = pending.call
            if call is not None and call.member is None:
                for member in [*call.requests.values()]:
                    self.routing.missed(member, now)
            done = self._outbox.withdraw(pending)
            if done is not None:
                self._tell(done, error)
        for call in self._attempts.silent(now):
            self._lose_patience(call)
        if self._registration.renewal_due <= now:
            self._renew()

    def next_deadline(self) -> float:
        """When to call `tick` next, if nothing else happens before; infinity: never."""
        return min(self._outbox.next_deadline(self._now), self._registration.renewal_due)

    def end_of_turn(self, now: float) -> list[Output]:
        """Send all that can be sent; gives what is to be carried out, in order."""
        self._now = now
        self._outbox.send(now)
        return self._outbox.drain()

    def send_frame(self, pending: Pending, now: float) -> list[Output]:
        """Send one frame of those that wait with `pending`; the rest waits for the turn's end."""
        self._now = now
        if pending.queue is not None:
            self._outbox.send_frame(pending.queue, now)
        return self._outbox.drain()

    def close(self, now: float) -> list[Output]:
        """End every operation and the session; later calls raise Closed."""
        self._now = now
        self._admit = _refuse
        for pending in self._outbox.take_everything():
            error = outcome.closed(pending.call, _harmless(pending))
            self._gathering.finish(pending, error)
        session = self._registration.end()
        if session is not None:
            self._outbox.send_ending(Ending(session, self._settings), now)
        return self._outbox.drain()

    def _late(self, pending: Pending) -> Exception:
        """What an operation ends with whose deadline has passed."""
        call = pending.call
        # Its own refusal, for those of other operations may have had other reasons.
        refusal = (call.refusal if call is not None else None) or self._last_refusal
        connected = [*self.routing.connected]
        return outcome.late(call, _harmless(pending), refusal, connected, self.absence)

    # --- operations that end ----------------------------------------------------------------------

    def _conclude(self, call: Call, results: Sequence[Any]) -> None:
        """`call` was answered: hand each operation its result."""
        self._outbox.drop(call)
        if len(results) != len(call.operations):
            # One Failed stands for a whole frame that the machine could not read.
            alone = results[0] if _is_failed(results) else outcome.unreadable(call)
            results = [alone] * len(call.operations)
        operations, call.operations = call.operations, []  # they name the call: no cycle is left
        self._gathering.finish_all(operations, results)

    def _fail(self, call: Call, error: Exception) -> None:
        if isinstance(call, Opening):
            self.routing.hold(self._now)
        self._registration.failed(call, self._now)
        self._conclude(call, [error] * len(call.operations))

    # --- attempts that came to nothing ------------------------------------------------------------

    def _try_again(self, call: Call) -> None:
        """Have `call` wait for another attempt, unless one is still under way or of no use."""
        if call.latest in call.requests:
            return
        if not call.repeatable():
            self._fail(call, outcome.unknown_change())
        elif isinstance(call, Frame) and call.session.ended:
            self._end_with_session(call)
        else:
            self._outbox.wait(call)

    def _lose_patience(self, call: Call) -> None:
        """Silence on a connection that looks alive: request or answer may have been dropped."""
        if not call.repeatable() or not call.impatient():
            return  # its deadline, or a lost connection, ends it
        if call.member is None:
            for member in call.requests.values():
                self.routing.doubt(member)
        if isinstance(call, Frame) and call.session.ended:
            self._end_with_session(call)
        else:
            self._outbox.wait(call)  # earlier attempts stay known: a late answer is as good as any

    # --- messages ---------------------------------------------------------------------------------

    def _learn(self, member: PeerId, news: Leader) -> None:
        known = self.routing.addresses
        changed = self.routing.learn(member, news)
        if self.routing.addresses != known:
            self._outbox.know(self.routing.addresses)
        if not changed or self.routing.leader == NOBODY:
            return
        # What another member holds goes to the new leader now, not when patience ends: the old one
        # may be paused or cut off, and the session keeps a repetition from counting twice.
        for call in self._attempts.all():
            elsewhere = self.routing.leader not in call.requests.values()
            if call.member is None and elsewhere and call.repeatable():
                self._outbox.wait(call)

    def _refused(self, member: PeerId, refusal: Refused) -> None:
        call = self._attempts.find(refusal.request)
        if call is None:
            return
        if refusal.code == Code.LEADERSHIP_LOST:
            self._attempts.abandon(refusal.request)
        else:
            self._attempts.refuse(refusal.request)
        self._last_refusal = call.refusal = refusal
        if refusal.code not in outcome.PASSING:
            self._fail(call, outcome.broken_rule(call, refusal))
            return
        if call.member is not None:
            call.not_before = self._now + self.routing.pause_s(call.attempts)
        elif refusal.code in (Code.OVERLOADED, Code.UNAVAILABLE):
            self.routing.pushed_back(member, self._now)
        else:
            self.routing.redirect(member, refusal.leader, self._now)
        self._try_again(call)

    def _answered(self, member: PeerId, answer: Answer) -> None:
        call = self._attempts.find(answer.request)
        if call is None:
            return
        self._last_refusal = None
        if call.member is None:
            self.routing.served(member)
        try:
            match call:
                case Queries():
                    self._queries_answered(call, answer)
                case Frame() | Opening() | Renewal():
                    self._session_answered(call, member, answer)
                case _:
                    self._fail(call, outcome.unreadable(call))
        except msgspec.DecodeError:
            self._fail(call, outcome.unreadable(call))

    def _queries_answered(self, call: Queries, answer: Answer) -> None:
        results: Sequence[Any] = _decode_results(answer.body)
        if call.level is ReadLevel.STALE:
            results = [Lagging(result, answer.lag_s) for result in results]
        asked = call.operations
        if 0 < len(results) < len(asked) and not _is_failed(results):
            # As many as one answer has room for. The others are asked again, at once.
            rest = call.after(len(results), self._settings)
            call.operations = asked[: len(results)]
            if rest.operations:
                self._outbox.wait(rest)
        self._conclude(call, results)

    # --- the session ------------------------------------------------------------------------------

    def _session_answered(
        self, call: Frame | Opening | Renewal, member: PeerId, answer: Answer
    ) -> None:
        match call, _decode_answer(answer.body):
            case Frame(), sessions.Done(body):
                results: Sequence[Any] = _decode_results(body)
                call.session.refreshed(self._now)
                if commands.FORGOTTEN in results or commands.DOUBTFUL in results:
                    results = self._part_forgotten(call, results)
                self._conclude(call, results)
            case Opening(), sessions.Opened() as opened:
                self._registration.opened(opened, self._now)
                self._outbox.drop(call)
            case Renewal(), sessions.Alive():
                self._registration.renewed(call, self._now)
                self._outbox.drop(call)
            case Frame(), sessions.UnknownSession():
                self._attempts.refuse(answer.request)  # this attempt certainly did nothing
                self._try_again(call)  # first: what waits now ends with the others, and only once
                self._session_ended(call.session)
            case Renewal(), sessions.UnknownSession():
                self._session_ended(call.session)
            case _, sessions.Crowded(message):
                refusal = Refused(answer.request, Code.OVERLOADED, NOBODY, message)
                self._refused(member, refusal)
                if isinstance(call, Frame) and not call.session.ended:
                    self._renew()  # its mark makes room
            case _, sessions.Invalid(message):
                self._refused(member, Refused(answer.request, Code.INVALID, NOBODY, message))
            case _:
                self._fail(call, outcome.unreadable(call))

    def _renew(self) -> None:
        """Tell the group that the session lives, and which answers it may forget."""
        renewal = self._registration.renew()
        if renewal is not None:
            self._outbox.wait(renewal)

    def _session_ended(self, session: Session) -> None:
        """The group does not know `session`: end or move what belongs to it.

        Frames with an attempt under way wait for its answer, which tells what is certain of them.
        """
        renewal = self._registration.ended(session)
        if renewal is not None:
            self._outbox.drop(renewal)
        for frame in self._outbox.waiting_frames():
            if frame.session is session:
                self._end_with_session(frame)

    def _part_forgotten(self, frame: Frame, results: Sequence[Any]) -> Sequence[Any]:
        """Where the group cannot tell some operations from repeated ones: end the session.

        If this was the frame's only attempt they were not carried out, and go into another frame,
        of another session. Gives the results of the rest.
        """
        if frame.unresolved == 1:
            undone = [result == commands.FORGOTTEN for result in results]
            self._outbox.requeue(frame, undone)
            results = [result for result in results if result != commands.FORGOTTEN]
        if not frame.session.ended:
            self._session_ended(frame.session)
        expired = outcome.session_expired()
        forgotten = commands.FORGOTTEN, commands.DOUBTFUL
        return [expired if result in forgotten else result for result in results]

    def _end_with_session(self, frame: Frame) -> None:
        """Another attempt is of no use: the session that it names is gone."""
        if frame.unresolved == 0:
            self._outbox.dissolve(frame)
        else:
            self._fail(frame, outcome.session_expired())


def _refuse(operation: Any, deadline: float, done: Done, queue: Queue | None) -> Pending:
    raise errors.Closed("the handle is closed; nothing was sent; connect anew")


def _harmless(pending: Pending) -> bool:
    """Whether the operation changes nothing, so that its outcome is never in doubt."""
    return isinstance(pending.operation, commands.Range) or isinstance(pending.call, Inspection)


def _is_failed(results: Sequence[Any]) -> bool:
    """Whether the only result is a refusal."""
    if len(results) != 1:
        return False
    [result] = results
    return isinstance(result.result if isinstance(result, Lagging) else result, commands.Failed)
