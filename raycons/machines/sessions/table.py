"""The session table: between the log and a machine, it lets every command through once.

A client opens a session and numbers its commands. The table keeps the answer to each number until
the client acknowledges it, so a retry gets the first attempt's answer, whatever overtook it. It is
part of the replicated state: an answer outlives the leader that gave it.

A session that was not heard of for longer than its time to live ends. Only replicated time counts:
the time in each entry, which leaders count by monotonic clocks. That a session ran out does not end
it; the entry that expires it does, on every replica alike, unless a command of it came first.
"""

from __future__ import annotations

import math
from typing import assert_never

import msgspec

from raycons.machines.contract import Command, Live, Machine, State, Tell
from raycons.machines.sessions.commands import (
    Alive,
    Close,
    Crowded,
    Do,
    Done,
    Expire,
    Forgotten,
    Invalid,
    KeepAlive,
    Open,
    Opened,
    Own,
    SessionAnswer,
    SessionCommand,
    UnknownSession,
)
from raycons.machines.sessions.records import Session, SessionSettings, load_sessions

_NONCE_BYTES = 16
_NEVER_US = 2**63

# What msgspec raises for bytes that are no message of ours; deep nesting ends in RecursionError.
_MALFORMED = (msgspec.DecodeError, RecursionError)


class Sessions:
    """Lets `inner` carry out each command of a session once; a `Machine`.

    Its commands are encoded `SessionCommand`s and its answers `SessionAnswer`s; a query goes to
    `inner` as it is. Call `load` before the first use over a state that may not be empty.
    """

    def __init__(
        self, inner: Machine, state: State, settings: SessionSettings | None = None
    ) -> None:
        self._inner = inner
        self._state = state
        self._settings = settings or SessionSettings()
        self._sessions: dict[int, Session] = {}  # by id, which is also the order of registration
        self._by_nonce: dict[bytes, Session] = {}
        self._first_end_us = _NEVER_US  # no session ends before this
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(SessionCommand)

    def __len__(self) -> int:
        """How many sessions are registered."""
        return len(self._sessions)

    def load(self) -> None:
        """Rebuild the mirror of the table from the state."""
        self._inner.load()
        self._sessions = load_sessions(self._state)
        self._by_nonce = {session.nonce: session for session in self._sessions.values()}
        self._first_end_us = self._earliest_end_us()

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        """Carry out an encoded `SessionCommand`; returns the encoded `SessionAnswer`.

        What the inner machine tells early of a new command is told early, as its answer.
        """
        try:
            asked = self._decoder.decode(command.data)
        except _MALFORMED as error:
            return self._encoder.encode(Invalid(f"these bytes are no session command: {error}"))
        if type(asked) is Do:
            return self._do(asked, command, tell)
        return self._encoder.encode(self._carry_out(asked, command))

    def query(self, data: bytes) -> bytes:
        """Pass a question on."""
        return self._inner.query(data)

    def due(self, time_us: int) -> bytes | None:
        """An expiry when some session ran out, else what the inner machine has due."""
        if time_us > self._first_end_us:
            # Activity only moves ends away, so the bound is an old one: look again before acting.
            self._first_end_us = self._earliest_end_us()
            if time_us > self._first_end_us:
                return self._encoder.encode(Expire(self._settings.expired_at_once))
        body = self._inner.due(time_us)
        return None if body is None else self._encoder.encode(Own(msgspec.Raw(body)))

    def liveness(self) -> Live:
        """As the inner machine says; all that the table stores is live."""
        return self._inner.liveness()

    def _do(self, do: Do, command: Command, tell: Tell | None) -> bytes:
        session = self._sessions.get(do.session)
        if session is None:
            return self._encoder.encode(UnknownSession(do.session))
        if do.number < 1:
            return self._encoder.encode(Invalid(f"commands are numbered from 1, not {do.number}"))
        session.refresh(do.acknowledged, command.time_us)
        if do.number < session.mark:
            session.save()
            return self._encoder.encode(Forgotten(do.number))
        answer = session.recall(do.number)
        if answer is not None:
            session.save()
            return answer
        if session.held_bytes >= self._settings.max_unacknowledged_bytes:
            session.save()
            return self._encoder.encode(
                Crowded(
                    f"session {do.session} holds {session.held_bytes} bytes of answers "
                    f"from number {session.mark} on; acknowledge some first"
                )
            )
        index, term, time_us, version, _ = command
        inner = Command(index, term, time_us, version, bytes(do.body))
        early = None if tell is None else lambda body: tell(self._done(body))
        answer = self._done(self._inner.apply(inner, early))
        session.remember(do.number, answer)
        return answer

    def _done(self, body: bytes) -> bytes:
        return self._encoder.encode(Done(msgspec.Raw(body)))

    def _carry_out(
        self, asked: Open | KeepAlive | Close | Expire | Own, command: Command
    ) -> SessionAnswer:
        match asked:
            case Open():
                return self._open(asked, command)
            case KeepAlive(id, acknowledged):
                session = self._sessions.get(id)
                if session is None:
                    return UnknownSession(id)
                session.refresh(acknowledged, command.time_us)
                session.save()
                return Alive()
            case Close(id):
                session = self._sessions.get(id)
                if session is not None:
                    self._end(session)
                return Alive()
            case Expire(limit):
                self._expire(limit, command.time_us)
                return Alive()
            case Own(body):
                inner = command._replace(data=bytes(body))
                return Done(msgspec.Raw(self._inner.apply(inner)))
            case _:
                assert_never(asked)

    def _open(self, asked: Open, command: Command) -> Opened | Crowded | Invalid:
        if len(asked.nonce) != _NONCE_BYTES:
            return Invalid(f"a nonce has {_NONCE_BYTES} bytes, not {len(asked.nonce)}")
        if math.isnan(asked.ttl_s) or asked.ttl_s <= 0:
            return Invalid(f"a time to live is more than 0 s, not {asked.ttl_s}")
        session = self._by_nonce.get(asked.nonce)
        if session is not None:
            session.refresh(0, command.time_us)
        else:
            if len(self._sessions) >= self._settings.max_sessions:
                return Crowded(f"{len(self._sessions)} sessions are open, which is the limit")
            ttl_s = min(max(asked.ttl_s, self._settings.min_ttl_s), self._settings.max_ttl_s)
            ttl_us = round(ttl_s * 1e6)
            session = Session(self._state, command.index, asked.nonce, ttl_us, command.time_us)
            self._sessions[session.id] = session
            self._by_nonce[session.nonce] = session
            self._first_end_us = min(self._first_end_us, session.ends_us)
        session.save()
        return Opened(session.id, session.ttl_us / 1e6)

    def _expire(self, limit: int, time_us: int) -> None:
        over = [session for session in self._sessions.values() if session.ends_us < time_us]
        for session in over[:limit] if limit > 0 else over:
            self._end(session)

    def _end(self, session: Session) -> None:
        session.erase()
        del self._sessions[session.id]
        del self._by_nonce[session.nonce]

    def _earliest_end_us(self) -> int:
        return min((session.ends_us for session in self._sessions.values()), default=_NEVER_US)
