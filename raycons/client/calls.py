"""What is sent and awaits an answer, and the operations that ride in it.

An operation is always in one of two places, and the place tells what is certain about it:

- in the queue, or in a frame whose attempts were all definitely refused: it had no effect;
- in a frame with an attempt that was not refused (`unresolved` > 0): nobody knows, until an answer.
"""

from __future__ import annotations

from typing import Any

import msgspec

from raycons.client.session import Session
from raycons.client.settings import ClientSettings
from raycons.machines.kv.commands import Delete, Put, Range, Swap, Txn
from raycons.machines.sessions import Close, Do, KeepAlive, Open, SessionCommand
from raycons.member.protocol import Action, Inspect, Manage, Read, ReadLevel, Refused, Submit
from raycons.transport.contract import PeerId

RequestId = int
Done = Any  # given with an operation, for the core's `tell`: see the rules of `core`

_encode = msgspec.msgpack.Encoder().encode
_OVERHEAD_BYTES = 16  # an operation's tag, lengths and array header, rounded up


class Pending(msgspec.Struct, eq=False):
    """An operation under way: the ticket that `ClientCore.cancel` takes.

    A struct, because those are made several times faster than ordinary objects.
    """

    operation: Any  # None: it ended
    size_bytes: int
    cohort: Cohort
    queue: Queue | None  # where it waits for a call; None: it gets one at once
    done: Done  # None: it ended
    call: Call | None = None  # None: in the queue, or it ended


class Cohort:
    """Operations with the same deadline, one admitted right after the other.

    What one turn of the loop asks with the same timeout is one entry among the deadlines.
    """

    __slots__ = ("bucket", "deadline", "live", "members")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.bucket = 0  # see Deadlines.add
        self.members: list[Pending] = []  # also those that ended, until all have
        self.live = 0


class Queue:
    """Operations that wait for a call, in the order of arrival.

    One that is withdrawn stays in the list, as ended, until the list is taken or more than half of
    it has ended: so a queue of 100,000 gives up any of them at a small cost.
    """

    __slots__ = ("_withdrawn", "members")

    def __init__(self) -> None:
        self.members: list[Pending] = []
        self._withdrawn = 0

    def __len__(self) -> int:
        return len(self.members) - self._withdrawn

    def withdrawn(self) -> None:
        """One of the members ended."""
        self._withdrawn += 1
        if 2 * self._withdrawn > len(self.members):
            self.members = self.take()

    def take(self) -> list[Pending]:
        """Everything that still waits; the queue is empty afterwards."""
        members, self.members = self.members, []
        if self._withdrawn:
            self._withdrawn = 0
            members = [pending for pending in members if pending.done is not None]
        return members


def operation_bytes(operation: Any) -> int:
    """About how long the operation is in a frame, from above; in bytes."""
    if type(operation) is Put:  # without a match: puts and gets come by the hundred
        return len(operation.key) + len(operation.value) + _OVERHEAD_BYTES
    if type(operation) is Range and operation.end is None:
        return len(operation.key) + 2 * _OVERHEAD_BYTES
    match operation:
        case Range(key, end) | Delete(key, end):
            return len(key) + len(end or b"") + 2 * _OVERHEAD_BYTES
        case Swap(key, expect, value):
            return len(key) + len(expect or b"") + len(value) + _OVERHEAD_BYTES
        case Txn(compares, then, otherwise):
            operands = (c.operand for c in compares)
            return (
                sum(len(c.key) + 2 * _OVERHEAD_BYTES for c in compares)
                + sum(len(operand) for operand in operands if isinstance(operand, bytes))
                + sum(operation_bytes(inner) for inner in (*then, *otherwise))
                + _OVERHEAD_BYTES
            )
        case _:
            return _OVERHEAD_BYTES


class Call:
    """Something sent to a member, again and byte for byte the same, until it is answered."""

    __slots__ = (
        "attempts",
        "bucket",
        "latest",
        "live",
        "member",
        "not_before",
        "operations",
        "refusal",
        "requests",
        "unresolved",
        "wait_s",
    )

    def __init__(self, operations: list[Pending], settings: ClientSettings) -> None:
        self.operations = operations
        self.live = len(operations)  # how many of them still have a caller who waits
        self.requests: dict[RequestId, PeerId] = {}  # attempts that may yet be answered
        self.latest: RequestId = 0  # the attempt that decides when another one is due
        self.attempts = 0
        self.unresolved = 0  # attempts that were not definitely refused
        self.refusal: Refused | None = None  # of the last attempt that was refused
        self.wait_s = settings.attempt_timeout_s  # patience with the present attempt
        self.bucket = 0  # see Deadlines.add
        self.member: PeerId | None = None  # None: the leader; 0: anyone; else that member
        self.not_before = 0.0  # when the next attempt may leave; for the leader, Routing knows
        for pending in operations:
            pending.call = self

    def message(self, request: RequestId) -> msgspec.Struct:
        """The message of one attempt."""
        raise NotImplementedError

    def repeatable(self) -> bool:
        """Whether another attempt may follow one whose outcome is unknown."""
        return True

    def impatient(self) -> bool:
        """Whether silence alone is a reason for another attempt."""
        return True


class Command(Call):
    """A command for the log: the payload is made once and kept by every retry."""

    __slots__ = ("_machine", "payload")

    def __init__(
        self, operations: list[Pending], command: SessionCommand, settings: ClientSettings
    ) -> None:
        super().__init__(operations, settings)
        self._machine = settings.machine
        self.payload = _encode(command)

    def message(self, request: RequestId) -> Submit:
        """See Call."""
        return Submit(request, self._machine, self.payload)


class Opening(Command):
    """Registers a session; the nonce lets a retry find the session that an earlier attempt made."""

    __slots__ = ()

    def __init__(self, nonce: bytes, settings: ClientSettings) -> None:
        super().__init__([], Open(nonce, settings.session_ttl_s), settings)


class Renewal(Command):
    """Keeps an idle session alive."""

    __slots__ = ("session",)

    def __init__(self, session: Session, settings: ClientSettings) -> None:
        super().__init__([], KeepAlive(session.id, session.acknowledged), settings)
        self.session = session


class Ending(Command):
    """Ends a session; nobody waits for the answer."""

    __slots__ = ()

    def __init__(self, session: Session, settings: ClientSettings) -> None:
        super().__init__([], Close(session.id), settings)


class Frame(Command):
    """Operations that became one command of the session."""

    __slots__ = ("number", "session")

    def __init__(
        self, operations: list[Pending], session: Session, settings: ClientSettings
    ) -> None:
        self.session = session
        self.number = session.take_number()
        body = msgspec.Raw(_encode([pending.operation for pending in operations]))
        command = Do(session.id, self.number, session.acknowledged, body)
        super().__init__(operations, command, settings)


class Queries(Call):
    """Ranges that are asked together; asking again is always safe."""

    __slots__ = ("_machine", "level", "payload")

    def __init__(
        self, operations: list[Pending], level: ReadLevel, settings: ClientSettings
    ) -> None:
        super().__init__(operations, settings)
        self._machine = settings.machine
        self.level = level
        self.member = None if level is ReadLevel.LINEARIZABLE else 0
        self.payload = _encode([pending.operation for pending in operations])

    def message(self, request: RequestId) -> Read:
        """See Call."""
        return Read(request, self._machine, self.level, self.payload)

    def after(self, answered: int, settings: ClientSettings) -> Queries:
        """The ones behind the first `answered`, which one answer had no room for."""
        rest = [pending for pending in self.operations[answered:] if pending.done is not None]
        return Queries(rest, self.level, settings)


class Management(Call):
    """A change of the group; without a session, so not repeated once its outcome is unknown."""

    __slots__ = ("_action", "_based_on")

    def __init__(
        self, pending: Pending, action: Action, based_on: int, settings: ClientSettings
    ) -> None:
        super().__init__([pending], settings)
        self._action = action
        self._based_on = based_on

    def message(self, request: RequestId) -> Manage:
        """See Call."""
        return Manage(request, self._based_on, self._action)

    def repeatable(self) -> bool:
        """See Call."""
        return self.unresolved == 0


class Inspection(Call):
    """A question about a member's status."""

    __slots__ = ("_digest",)

    def __init__(
        self, pending: Pending, member: PeerId | None, digest: bool, settings: ClientSettings
    ) -> None:
        super().__init__([pending], settings)
        self.member = member
        self._digest = digest

    def message(self, request: RequestId) -> Inspect:
        """See Call."""
        return Inspect(request, self._digest)

    def impatient(self) -> bool:
        """See Call. A digest reads the whole state: asking twice only makes it slower."""
        return not self._digest
