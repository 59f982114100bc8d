"""What clients ask of a member: commands, reads, changes of the group, questions about it.

A command goes into the log and a read to the replica; who asked is noted in `requests`, and is
answered from there. What only a leader may do the replica refuses, naming the leader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from raycons.consensus import membership
from raycons.consensus.contract import EntryId, Refusal, Replica, Term
from raycons.consensus.quorum import ReplicaId
from raycons.machines.contract import Machine
from raycons.member.applier import MACHINE
from raycons.member.management import CODES, plan
from raycons.member.ports import Ports
from raycons.member.protocol import (
    Answer,
    Code,
    Inspect,
    Inspected,
    Leader,
    Manage,
    Managed,
    Read,
    ReadLevel,
    Submit,
    Transfer,
)
from raycons.member.requests import Requests, Waiting, WaitingChange
from raycons.member.state import WriteBehindState
from raycons.member.streams import Streams
from raycons.transport.contract import ClientId

Addresses = tuple[tuple[ReplicaId, str, int], ...]  # id, host, port

_encode = msgspec.msgpack.Encoder().encode


class Service:
    """Takes the clients' messages for one replica."""

    def __init__(
        self,
        replica: Replica,
        machine: Machine,
        state: WriteBehindState,
        requests: Requests,
        streams: Streams,
        ports: Ports,
        status: Callable[[float], dict[str, Any]],
        max_pending_reads: int,
    ) -> None:
        self._replica = replica
        self._machine = machine
        self._state = state
        self._requests = requests
        self._streams = streams
        self._ports = ports
        self._status = status
        self._max_pending_reads = max_pending_reads
        self._clients: set[ClientId] = set()
        self._addresses: Addresses = ()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    # --- clients come and go ----------------------------------------------------------------------

    def connected(self, client: ClientId) -> None:
        """A client can be sent to: tell it who leads."""
        self._clients.add(client)
        self._ports.respond(client, self._leader(self._replica.term, self._replica.leader))

    def gone(self, client: ClientId) -> None:
        """A client's connection ended."""
        self._clients.discard(client)
        self._requests.forget_client(client)

    def know(self, addresses: Addresses) -> None:
        """Where the members listen now: told to every client."""
        self._addresses = addresses
        self.tell_leader(self._replica.term, self._replica.leader)

    def tell_leader(self, term: Term, leader: ReplicaId) -> None:
        """Tell every client who leads."""
        message = self._leader(term, leader)
        for client in self._clients:
            self._ports.respond(client, message)

    def _leader(self, term: Term, leader: ReplicaId) -> Leader:
        return Leader(term, leader, self._addresses)

    # --- what they ask ----------------------------------------------------------------------------

    def asked(self, client: ClientId, message: Any, now: float) -> bool:
        """A message from a client arrived; False if it is nothing that clients say."""
        kind = type(message)
        if kind is Submit:
            self._submit(client, message, now)
        elif kind is Read:
            self._read(client, message, now)
        elif kind is Manage:
            self._manage(client, message, now)
        elif kind is Inspect:
            self._inspect(client, message, now)
        else:
            return False
        return True

    def lag_s(self, now: float) -> float:
        """For how long a state read now may have been out of date."""
        replica = self._replica
        return 0.0 if replica.role == "leader" else max(0.0, now - replica.leader_heard_at)

    def serve_reads(self) -> None:
        """Answer the reads that are confirmed, and whose index is applied."""
        for client, read in self._requests.take_readable(self._state.applied[0]):
            self._ports.respond(client, Answer(read.request, self._machine.query(read.payload)))

    def _submit(self, client: ClientId, message: Submit, now: float) -> None:
        if message.machine != MACHINE:
            self._refuse_machine(client, message)
            return
        version = self._replica.configuration.version
        outcome = self._replica.propose(message.payload, message.machine, version, now)
        if type(outcome) is EntryId:
            waiting = Waiting(outcome.term, client, message.request)
            self._requests.commands[outcome.index] = waiting
        else:
            self._refuse(client, message.request, outcome)

    def _refuse(self, client: ClientId, request: int, outcome: Any, message: str = "") -> None:
        code = CODES[outcome.reason]
        if code == Code.OVERLOADED:
            bound = self._replica.settings.max_uncommitted_bytes
            message = f"its bound is {bound} bytes that wait to be committed"
        self._requests.refuse(client, request, code, outcome.leader, message or outcome.reason)

    def _refuse_machine(self, client: ClientId, message: Submit | Read) -> None:
        text = f"there is no machine {message.machine} in this group, only machine {MACHINE}"
        self._requests.refuse(client, message.request, Code.INVALID, self._replica.leader, text)

    def _read(self, client: ClientId, message: Read, now: float) -> None:
        if message.machine != MACHINE:
            self._refuse_machine(client, message)
            return
        if message.level == ReadLevel.STALE:
            if self._replica.incoming:
                text = "its state is being replaced by a snapshot"
                self._requests.refuse(client, message.request, Code.UNAVAILABLE, 0, text)
                return
            body = self._machine.query(message.payload)
            self._ports.respond(client, Answer(message.request, body, self.lag_s(now)))
            return
        if len(self._requests.reads) >= self._max_pending_reads:
            leader = self._replica.leader
            text = f"its bound is {self._max_pending_reads} reads that wait to be confirmed"
            self._requests.refuse(client, message.request, Code.OVERLOADED, leader, text)
            return
        self._replica.read(self._requests.add_read(client, message), now)

    def _manage(self, client: ClientId, message: Manage, now: float) -> None:
        action = message.action
        if isinstance(action, Transfer):
            self._transfer(client, message.request, action, now)
            return
        try:
            planned = plan(action, self._replica.configuration)
            outcome = self._replica.propose_change(planned.change, message.based_on, now)
        except membership.BadChange as error:
            refusal = Refusal(error.code, self._replica.leader)
            self._refuse(client, message.request, refusal, str(error))
            return
        if isinstance(outcome, EntryId):
            self._requests.add_change(
                WaitingChange(outcome, client, message.request, planned.value, planned.finished)
            )
        else:
            self._refuse(client, message.request, outcome)

    def _transfer(self, client: ClientId, request: int, action: Transfer, now: float) -> None:
        if self._replica.role == "leader" and action.to == self._replica.id:
            self._ports.respond(client, Managed(request, 0, action.to))
            return
        refusal = self._replica.transfer(action.to, now)
        if refusal is None:
            self._requests.add_transfer(client, request)
        else:
            self._refuse(client, request, refusal)

    def _inspect(self, client: ClientId, message: Inspect, now: float) -> None:
        if message.digest:
            self._streams.want_digest(client, message.request)
        else:
            self._ports.respond(client, Inspected(message.request, _encode(self._status(now))))
