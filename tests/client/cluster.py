"""A cluster in one process: real machines behind a transport that answers on the next loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from raycons.machines.contract import Command
from raycons.machines.kv import KeyValueMachine
from raycons.machines.sessions import Sessions
from raycons.member.protocol import (
    Answer,
    Code,
    Inspect,
    Inspected,
    Leader,
    Read,
    Refused,
    Submit,
)
from raycons.transport.contract import Address, ClientHandler, PeerId
from tests.machines.dict_state import DictState

ADDRESSES = {id: Address("here", id) for id in (1, 2, 3)}


class Cluster:
    """Three members that share one replicated state; one leads."""

    def __init__(self) -> None:
        state = DictState()
        self.machine = Sessions(KeyValueMachine(state), state)
        self.machine.load()
        self.leader: PeerId = 1
        self.term = 1
        self.alive = {1, 2, 3}
        self.index = 0
        self.commands = 0
        self.drop_answers = 0  # so many answers are lost on the way
        self.transports: list[FakeTransport] = []

    def transport(self, handler: ClientHandler) -> FakeTransport:
        made = FakeTransport(self, handler, asyncio.get_running_loop())
        self.transports.append(made)
        return made

    def carry_out(self, member: PeerId, message: Any) -> Any:
        if isinstance(message, Inspect):
            status = msgspec.msgpack.encode({"id": member})
            return Inspected(message.request, status)
        if member != self.leader:
            return Refused(message.request, Code.NOT_LEADER, self.leader)
        if isinstance(message, Read):
            return Answer(message.request, self.machine.query(message.payload), 0.25)
        assert isinstance(message, Submit)
        self.index += 1
        self.commands += 1
        command = Command(self.index, self.term, self.index, 1, message.payload)
        return Answer(message.request, self.machine.apply(command))

    async def answers_dropped(self) -> None:
        """Waits until all of `drop_answers` were carried out and lost."""
        while self.drop_answers:  # noqa: ASYNC110 - each turn of the loop is progress
            await asyncio.sleep(0)

    def kill(self, member: PeerId) -> None:
        self.alive.discard(member)
        for transport in self.transports:
            transport.drop(member)

    def elect(self, member: PeerId) -> None:
        self.leader = member
        self.term += 1
        for transport in self.transports:
            for sender in self.alive & transport.connected:
                transport.push(sender)


class FakeTransport:
    """A ClientTransport whose other side is in the same process."""

    def __init__(
        self, cluster: Cluster, handler: ClientHandler, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.cluster = cluster
        self.handler = handler
        self.loop = loop
        self.connected: set[PeerId] = set()
        self.sent: list[Any] = []
        self.flushes: list[int] = []  # how many messages had been sent at each
        self.closed = False

    def send(self, member: PeerId, message: Any) -> None:
        self.sent.append(message)
        if member in self.connected:
            self.loop.call_soon(self._arrive, member, message)

    def flush(self) -> None:
        self.flushes.append(len(self.sent))

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        for member in addresses:
            self.loop.call_soon(self._connect, member)

    async def close(self) -> None:
        self.closed = True

    def push(self, member: PeerId) -> None:
        told = tuple((id, at.host, at.port) for id, at in ADDRESSES.items())
        self.handler.received(member, Leader(self.cluster.term, self.cluster.leader, told))

    def drop(self, member: PeerId) -> None:
        if member in self.connected:
            self.connected.discard(member)
            self.handler.lost(member)

    def _connect(self, member: PeerId) -> None:
        if member in self.cluster.alive and member not in self.connected and not self.closed:
            self.connected.add(member)
            self.handler.connected(member)
            self.push(member)

    def _arrive(self, member: PeerId, message: Any) -> None:
        if member not in self.connected:
            return
        answer = self.cluster.carry_out(member, message)
        if self.cluster.drop_answers and isinstance(message, Submit):
            self.cluster.drop_answers -= 1
            return
        self.loop.call_soon(self._answer, member, answer)

    def _answer(self, member: PeerId, answer: Any) -> None:
        if member in self.connected and not self.closed:
            self.handler.received(member, answer)
