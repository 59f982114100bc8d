"""What clients ask of a member of a cluster of registers.

A client speaks to it as to any other group. A frame of its session is carried out operation by
operation, each on the register of its key, and answered when all of them are decided. Sessions are
numbers here and nothing else: who asks for one gets a number, above all that this member heard of
being forgotten (see `machines.register`), and every register remembers by it what it answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.paxos.caspaxos.transition import Decided, GaveUp
from raycons.consensus.quorum import ReplicaId
from raycons.machines.kv.commands import DOUBTFUL, FORGOTTEN, Failed, Operations, Queries, Range
from raycons.machines.kv.settings import invalid
from raycons.machines.register import Registry, Request
from raycons.machines.sessions import commands as sessions
from raycons.member.applier import MACHINE
from raycons.member.contract import Addresses
from raycons.member.ports import Ports
from raycons.member.protocol import Answer, Code, Leader, Read, Refused, Submit
from raycons.transport.contract import ClientId

MAX_WAITING = 100_000  # operations in one member

_encode = msgspec.msgpack.Encoder().encode
_decode_command = msgspec.msgpack.Decoder(sessions.SessionCommand).decode
_decode_operations = msgspec.msgpack.Decoder(Operations).decode
_decode_queries = msgspec.msgpack.Decoder(Queries).decode
# What msgspec raises for bytes that are no message of ours; deep nesting ends in RecursionError.
_MALFORMED = (msgspec.DecodeError, RecursionError)


class Frame:
    """Operations that came together and are answered together."""

    __slots__ = ("client", "crowded", "left", "lost", "reads", "request", "results", "touched")

    def __init__(self, client: ClientId, request: int, size: int, reads: bool) -> None:
        self.client = client
        self.request = request
        self.results: list[Any] = [None] * size
        self.left = size
        self.reads = reads
        self.lost = False  # some operation has no outcome
        self.crowded = False  # because too many wait for its key
        self.touched = False  # some operation was carried out, or may have been


class Service:
    """Takes the clients' messages for one member."""

    def __init__(
        self,
        id: ReplicaId,
        proposer: Proposer,
        registry: Registry,
        ports: Ports,
        incarnation: int,
    ) -> None:
        """`incarnation` is another one each time that this member's store is opened."""
        self._id = id
        self._proposer = proposer
        self._registry = registry
        self._ports = ports
        self._clients: dict[ClientId, dict[Frame, list[tuple[bytes, Request]]]] = {}
        self._addresses: Addresses = ()
        # Tells this process's sessions from all others': no two have both numbers.
        self._process = (id % 2**12) << 14 | incarnation % 2**14
        self._stamp = 0  # of the last session, and how many had it
        self._count = 0
        self.serves = False  # not while this member is none of the cluster's

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    # --- clients come and go ----------------------------------------------------------------------

    def connected(self, client: ClientId) -> None:
        """A client can be sent to: tell it that this member serves as well as any."""
        self._clients[client] = {}
        self._ports.respond(client, self._introduction())

    def gone(self, client: ClientId) -> None:
        """A client's connection ended: what was not begun of its operations is not wanted."""
        for requests in self._clients.pop(client, {}).values():
            self._proposer.withdraw(requests)

    def know(self, addresses: Addresses) -> None:
        """Where the members listen now: told to every client."""
        self._addresses = addresses
        self.introduce()

    def introduce(self) -> None:
        """Tell every client who serves."""
        for client in self._clients:
            self._ports.respond(client, self._introduction())

    def _introduction(self) -> Leader:
        return Leader(0, self._id if self.serves else 0, self._addresses)

    # --- what they ask ----------------------------------------------------------------------------

    def submit(self, client: ClientId, message: Submit, now: float) -> None:
        """A command of a session."""
        if not self._welcome(client, message):
            return
        try:
            command = _decode_command(message.payload)
        except _MALFORMED as error:
            text = f"these bytes are no session command: {error}"
            self._answer(client, message.request, sessions.Invalid(text))
            return
        match command:
            case sessions.Do(session, number, acknowledged, body):
                operations = self._operations(bytes(body))
                identity = (session, number, acknowledged)
                self._begin(client, message.request, operations, identity, now)
            case sessions.Open(_, ttl_s):
                self._answer(client, message.request, sessions.Opened(self._new_session(), ttl_s))
            case sessions.KeepAlive() | sessions.Close():
                self._answer(client, message.request, sessions.Alive())
            case _:
                text = "only a group with a log has commands of its own"
                self._answer(client, message.request, sessions.Invalid(text))

    def read(self, client: ClientId, message: Read, now: float) -> None:
        """Questions. A stale read is answered as any other: nothing older is kept for it."""
        if not self._welcome(client, message):
            return
        try:
            queries: Sequence[Range | Failed] = _decode_queries(message.payload)
        except _MALFORMED as error:
            queries = (invalid(f"these bytes are no ranges: {error}"),)
        self._begin(client, message.request, queries, None, now)

    def _operations(self, body: bytes) -> Sequence[Any]:
        try:
            return _decode_operations(body)
        except _MALFORMED:
            return (invalid("these bytes are no operations"),)

    def _welcome(self, client: ClientId, message: Submit | Read) -> bool:
        if message.machine != MACHINE:
            text = f"there is no machine {message.machine} in this group, only machine {MACHINE}"
            self._refuse(client, message.request, Code.INVALID, text)
        elif not self.serves:
            text = "this member is not part of the cluster (any more, or yet)"
            self._refuse(client, message.request, Code.NOT_LEADER, text)
        elif self._proposer.waiting >= MAX_WAITING:
            text = f"its bound is {MAX_WAITING} operations that wait"
            self._refuse(client, message.request, Code.OVERLOADED, text)
        else:
            return True
        return False

    def _begin(
        self,
        client: ClientId,
        request: int,
        operations: Sequence[Any],
        identity: tuple[int, int, int] | None,
        now: float,
    ) -> None:
        """Hand each operation to the register of its key; `identity` None: they only read."""
        frame = Frame(client, request, len(operations), identity is None)
        session, number, acknowledged = identity or (0, 0, 0)
        begun: list[tuple[bytes, Request]] = []
        for place, operation in enumerate(operations):
            refusal = (
                operation if isinstance(operation, Failed) else self._registry.refusal(operation)
            )
            if refusal is not None:
                frame.results[place] = refusal
                frame.left -= 1
                continue
            own = 0 if isinstance(operation, Range) else session
            asked = Request(operation, own, number, place, acknowledged, (frame, place))
            take = self._proposer.submit if own else self._proposer.read
            if take(operation.key, asked, now):
                begun.append((operation.key, asked))
            else:
                frame.lost = frame.crowded = True
                frame.left -= 1
        if frame.left:
            self._clients.setdefault(client, {})[frame] = begun
        else:
            self._finish(frame)

    # --- what became of it ------------------------------------------------------------------------

    def decided(self, effect: Decided) -> None:
        """An operation was carried out, or refused by its register."""
        frame, place = effect.request.token
        outcome = effect.outcome
        if outcome == FORGOTTEN and effect.repeated:
            outcome = DOUBTFUL  # our own change may have been chosen while we took it for refused
        frame.touched = frame.touched or outcome != FORGOTTEN
        frame.results[place] = outcome
        self._count_down(frame)

    def gave_up(self, effect: GaveUp) -> None:
        """No quorum took an operation in time."""
        frame, _ = effect.request.token
        frame.lost = True
        frame.touched = frame.touched or not effect.harmless
        self._count_down(frame)

    def _count_down(self, frame: Frame) -> None:
        frame.left -= 1
        if not frame.left:
            frames = self._clients.get(frame.client)
            if frames is not None:
                frames.pop(frame, None)
            self._finish(frame)

    def _finish(self, frame: Frame) -> None:
        client, request = frame.client, frame.request
        if frame.lost and frame.touched and not frame.reads:
            self._refuse(client, request, Code.LEADERSHIP_LOST, "no quorum answered in time")
        elif frame.crowded:
            text = f"its bound is {self._proposer.settings.max_waiting} operations for one key"
            self._refuse(client, request, Code.OVERLOADED, text)
        elif frame.lost:
            self._refuse(client, request, Code.UNAVAILABLE, "no quorum answered in time")
        elif frame.reads:
            self._ports.respond(client, Answer(request, _encode(frame.results)))
        else:
            self._answer(client, request, sessions.Done(msgspec.Raw(_encode(frame.results))))

    # --- small things -----------------------------------------------------------------------------

    def _new_session(self) -> int:
        """A number that no session had, above all that are known to be forgotten.

        26 bits that rise, 26 of the process, 12 that count.
        """
        self._count += 1
        full = bool(self._count >> 12)
        stamp = max((self._registry.highest >> 38) + 1, self._stamp + full)
        if stamp > self._stamp:
            self._stamp, self._count = stamp, 0
        return self._stamp << 38 | self._process << 12 | self._count

    def _answer(self, client: ClientId, request: int, answer: sessions.SessionAnswer) -> None:
        self._ports.respond(client, Answer(request, _encode(answer)))

    def _refuse(self, client: ClientId, request: int, code: Code, text: str) -> None:
        self._ports.respond(client, Refused(request, code, 0, text))
