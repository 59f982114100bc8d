"""How sessions lie in the state, and the mirror of them that the table works on.

    CURRENT  10 session                  mark (8) active_us (8) ttl_us (8) nonce (16)
    CURRENT  11 session number           mark (8) active_us (8) answer

A new answer carries the mark and the time that its command brought, so that remembering it is one
write: a session's mark and last activity are the highest of its record and of its answers. Nothing
is lost when an answer is deleted, because only a later command, which is recorded too, can move the
mark past it.
"""

from __future__ import annotations

import struct

import msgspec

from raycons.machines.contract import State, Table

_CURRENT = Table.CURRENT
_SESSION = b"\x10"
_ANSWER = b"\x11"
_AFTER_ANSWERS = b"\x12"

_SESSION_KEY = struct.Struct(">cQ")
_ANSWER_KEY = struct.Struct(">cQQ")
_SESSION_RECORD = struct.Struct(">QQQ16s")
_ANSWER_HEADER = struct.Struct(">QQ")

# What an answer costs beyond its bytes, here and in memory: many small answers are bounded too.
_ANSWER_OVERHEAD_BYTES = 64


class SessionSettings(msgspec.Struct, frozen=True):
    """The bounds of the session table.

    All but `expired_at_once` decide what applying a command does: they are the same on every
    replica of a group, for as long as its log may be applied again.
    """

    min_ttl_s: float = 1.0  # what a client asks for is moved into these bounds
    max_ttl_s: float = 24 * 3600.0
    max_sessions: int = 65_536
    max_unacknowledged_bytes: int = 4 * 1024 * 1024  # a session that holds so much takes no more
    expired_at_once: int = 256  # sessions that one entry ends; a thousand answers may go with each


class Session:
    """One session, as it is in the state; every change of a field is written there."""

    __slots__ = ("_held", "_state", "active_us", "held_bytes", "id", "mark", "nonce", "ttl_us")

    def __init__(
        self, state: State, id: int, nonce: bytes, ttl_us: int, active_us: int, mark: int = 0
    ) -> None:
        self._state = state
        self.id = id
        self.nonce = nonce
        self.ttl_us = ttl_us
        self.active_us = active_us  # replicated time of its last command
        self.mark = mark  # the client never asks again about numbers below this
        self._held: dict[int, int] = {}  # number -> bytes of its answer, in the state
        self.held_bytes = 0

    @property
    def ends_us(self) -> int:
        """The replicated time after which the session has run out."""
        return self.active_us + self.ttl_us

    def refresh(self, acknowledged: int, time_us: int) -> None:
        """Note in memory that the session was heard of; `save` or `remember` writes it down."""
        self.active_us = time_us
        if acknowledged > self.mark:
            self.mark = acknowledged
            held = self._held
            for number in [number for number in held if number < acknowledged]:
                self._state.delete(_CURRENT, _ANSWER_KEY.pack(_ANSWER, self.id, number))
                self.held_bytes -= held.pop(number)

    def save(self) -> None:
        """Write the session down, answers aside."""
        self._state.put(
            _CURRENT,
            _SESSION_KEY.pack(_SESSION, self.id),
            _SESSION_RECORD.pack(self.mark, self.active_us, self.ttl_us, self.nonce),
        )

    def remember(self, number: int, answer: bytes) -> None:
        """Keep the answer to `number`, and with it what `refresh` noted."""
        self._state.put(
            _CURRENT,
            _ANSWER_KEY.pack(_ANSWER, self.id, number),
            _ANSWER_HEADER.pack(self.mark, self.active_us) + answer,
        )
        self._hold(number, len(answer))

    def recall(self, number: int) -> bytes | None:
        """The answer to `number`, if it was given and not acknowledged."""
        if number not in self._held:
            return None
        stored = self._state.get(_CURRENT, _ANSWER_KEY.pack(_ANSWER, self.id, number))
        assert stored is not None, f"session {self.id} lost its answer to {number}"
        return stored[_ANSWER_HEADER.size :]

    def erase(self) -> None:
        """Take the session and its answers out of the state."""
        for number in self._held:
            self._state.delete(_CURRENT, _ANSWER_KEY.pack(_ANSWER, self.id, number))
        self._state.delete(_CURRENT, _SESSION_KEY.pack(_SESSION, self.id))

    def _hold(self, number: int, answer_bytes: int) -> None:
        self._held[number] = answer_bytes + _ANSWER_OVERHEAD_BYTES
        self.held_bytes += answer_bytes + _ANSWER_OVERHEAD_BYTES

    def _restore(self, number: int, stored: bytes) -> None:
        mark, active_us = _ANSWER_HEADER.unpack_from(stored)
        self.mark = max(self.mark, mark)
        self.active_us = max(self.active_us, active_us)
        self._hold(number, len(stored) - _ANSWER_HEADER.size)


def load_sessions(state: State) -> dict[int, Session]:
    """All sessions of the state, by id and in the order of their ids."""
    sessions: dict[int, Session] = {}
    for key, stored in state.scan(_CURRENT, _SESSION, _ANSWER):
        _, id = _SESSION_KEY.unpack(key)
        mark, active_us, ttl_us, nonce = _SESSION_RECORD.unpack(stored)
        sessions[id] = Session(state, id, nonce, ttl_us, active_us, mark)
    for key, stored in state.scan(_CURRENT, _ANSWER, _AFTER_ANSWERS):
        _, id, number = _ANSWER_KEY.unpack(key)
        sessions[id]._restore(number, stored)
    return sessions
