"""A session table over the plainest machine, spoken to with typed commands."""

from __future__ import annotations

import msgspec

from raycons.machines.contract import Command, Live, State, Table, Tell
from raycons.machines.sessions import (
    Do,
    Open,
    Opened,
    SessionAnswer,
    SessionCommand,
    Sessions,
    SessionSettings,
)

from .dict_state import DictState

SECOND = 1_000_000
ANSWERS: msgspec.msgpack.Decoder[SessionAnswer] = msgspec.msgpack.Decoder(SessionAnswer)


class Journal:
    """A machine that writes down what it carried out; its answers tell the position."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.due_body: bytes | None = None

    def load(self) -> None: ...

    @property
    def entries(self) -> list[bytes]:
        return [value for _, value in self.state.scan(Table.CURRENT, b"j", b"k")]

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        body = msgspec.msgpack.decode(command.data, type=bytes)
        if body == b"explode":
            raise ZeroDivisionError
        position = len(self.entries)
        answer = msgspec.msgpack.encode(
            (position, bytes(int(body[4:])) if body[:4] == b"size" else b"")
        )
        if tell is not None:
            tell(answer)
        self.state.put(Table.CURRENT, b"j%08d" % position, body)
        return answer

    def query(self, data: bytes) -> bytes:
        return b"answer to " + data

    def due(self, time_us: int) -> bytes | None:
        return self.due_body

    def liveness(self) -> Live:
        return lambda table, key, value: value != b"dead"


class Group:
    """A session table over a journal, spoken to with typed commands."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self.settings = settings or SessionSettings(max_unacknowledged_bytes=1000)
        self.state = DictState()
        self.index = 0
        self.time_s = 0.0
        self.restart()

    def restart(self) -> None:
        self.journal = Journal(self.state)
        self.table = Sessions(self.journal, self.state, self.settings)
        self.table.load()

    def raw(self, data: bytes) -> bytes:
        self.index += 1
        return self.table.apply(Command(self.index, 1, round(self.time_s * SECOND), 1, data))

    def send(self, command: SessionCommand) -> SessionAnswer:
        answer = self.raw(msgspec.msgpack.encode(command))
        return ANSWERS.decode(answer)

    def open(self, nonce: int = 1, ttl_s: float = 10.0) -> int:
        answer = self.send(Open(b"%016d" % nonce, ttl_s))
        assert isinstance(answer, Opened)
        return answer.session

    def do(self, session: int, number: int, body: bytes, acknowledged: int = 0) -> SessionAnswer:
        raw = msgspec.Raw(msgspec.msgpack.encode(body))
        return self.send(Do(session, number, acknowledged, raw))

    def due(self) -> bytes | None:
        return self.table.due(round(self.time_s * SECOND))

    def answers_stored(self) -> int:
        return sum(1 for _ in self.state.scan(Table.CURRENT, b"\x11", b"\x12"))
