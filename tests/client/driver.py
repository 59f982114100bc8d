"""Drives a ClientCore by hand: events in, what it sends out, and answers as members give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from raycons.client.calls import Pending
from raycons.client.core import ClientCore, Know, Output, Transmit
from raycons.client.settings import ClientSettings
from raycons.machines import sessions
from raycons.machines.kv import commands
from raycons.member.protocol import Answer, Code, Leader, Read, ReadLevel, Refused, Submit

encode = msgspec.msgpack.encode
SESSION = 77
FAR = 1e6


@dataclass
class Driver:
    """The core under test, connected to members as a test says."""

    settings: ClientSettings = field(default_factory=ClientSettings)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.core = ClientCore(Random(1), self.settings, self.now)
        self.results: dict[str, Any] = {}
        self.known: list[Any] = []

    # events

    def put(self, name: str, deadline: float = FAR, value: bytes = b"v") -> Pending:
        def done(result: Any) -> None:
            assert name not in self.results, "an operation ends once"
            self.results[name] = result

        return self.core.submit(commands.Put(name.encode(), value), deadline, done)

    def get(
        self, name: str, deadline: float = FAR, level: ReadLevel = ReadLevel.LINEARIZABLE
    ) -> Pending:
        def done(result: Any) -> None:
            assert name not in self.results, "an operation ends once"
            self.results[name] = result

        return self.core.read(commands.Range(name.encode()), level, deadline, done)

    def turn(self) -> list[tuple[int, Any]]:
        """Ends the turn; gives what was sent, as (member, message)."""
        return self._carried_out(self.core.end_of_turn(self.now))

    def frame_of(self, pending: Pending) -> list[tuple[int, Any]]:
        """Sends a frame of those that wait with `pending`; gives what was sent."""
        return self._carried_out(self.core.send_frame(pending, self.now))

    def _carried_out(self, outputs: list[Output]) -> list[tuple[int, Any]]:
        sent = []
        for output in outputs:
            if isinstance(output, Know):
                self.known.append(output.addresses)
            else:
                assert isinstance(output, Transmit)
                sent.append((output.member, output.message))
        return sent

    def tick(self, after: float = 0.0) -> list[tuple[int, Any]]:
        self.now += after
        self.core.tick(self.now)
        return self.turn()

    def receive(self, member: int, message: Any) -> None:
        self.core.received(member, message, self.now)

    def lead(self, member: int, term: int = 1, by: int | None = None) -> None:
        addresses = tuple((id, "host", id) for id in (1, 2, 3))
        self.receive(by or member, Leader(term, member, addresses))

    def connect(self, *members: int) -> None:
        for member in members:
            self.core.connected(member, self.now)

    def lose(self, member: int) -> None:
        self.core.lost(member, self.now)

    def refuse(self, member: int, message: Any, code: Code, leader: int = 0) -> None:
        self.receive(member, Refused(message.request, code, leader))

    def answer(self, member: int, message: Any) -> None:
        """As a leader with an empty store would."""
        if isinstance(message, Read):
            results = tuple(commands.RangeDone(9, (), 0, False) for _ in queries(message))
            self.receive(member, Answer(message.request, encode(results), 0.5))
            return
        match command(message):
            case sessions.Open(_, ttl_s):
                self.reply(member, message, sessions.Opened(SESSION, ttl_s))
            case sessions.Do(_, number, _, _):
                results = tuple(commands.PutDone(number) for _ in operations(message))
                body = msgspec.Raw(encode(results))
                self.reply(member, message, sessions.Done(body))
            case _:
                self.reply(member, message, sessions.Alive())

    def reply(self, member: int, message: Any, answer: Any) -> None:
        self.receive(member, Answer(message.request, encode(answer)))

    # shortcuts

    def open(self) -> None:
        """Connected to 1, 2 and 3, of which 1 leads in term 1, with a session."""
        self.connect(1, 2, 3)
        self.lead(1)
        opener = self.put("opener")
        [(member, message)] = self.turn()
        self.answer(member, message)
        [(member, message)] = self.turn()
        self.answer(member, message)
        assert opener.done is None
        self.results.clear()


def command(message: Submit) -> Any:
    return msgspec.msgpack.decode(message.payload, type=sessions.SessionCommand)


def operations(message: Submit) -> commands.Operations:
    return msgspec.msgpack.decode(command(message).body, type=commands.Operations)


def queries(message: Read) -> commands.Queries:
    return msgspec.msgpack.decode(message.payload, type=commands.Queries)
