"""Exactly once: the session table under any schedule of retries, reorderings and restarts."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raycons.machines.sessions import (
    Alive,
    Close,
    Do,
    Done,
    Expire,
    Forgotten,
    KeepAlive,
    Open,
    Opened,
    SessionAnswer,
    SessionCommand,
    Sessions,
    SessionSettings,
    UnknownSession,
)

from .dict_state import rows
from .journal import Group

which = st.integers(0, 3)
numbers = st.integers(1, 6)
marks = st.integers(0, 6)


@dataclass
class Expected:
    ttl_s: float
    active_s: float
    nonce: int
    mark: int = 0
    answers: dict[int, SessionAnswer] = field(default_factory=dict)

    def refresh(self, time_s: float, acknowledged: int) -> None:
        self.active_s = time_s
        self.mark = max(self.mark, acknowledged)


class AnySchedule(RuleBasedStateMachine):
    """One group runs on, its twin restarts now and then; a naive model says what is right."""

    def __init__(self) -> None:
        super().__init__()
        limits = SessionSettings(min_ttl_s=0.5)
        self.steady, self.restarted = Group(limits), Group(limits)
        self.open: dict[int, Expected] = {}
        self.ever_opened: list[int] = []
        self.carried_out: list[bytes] = []

    def send(self, command: SessionCommand) -> SessionAnswer:
        answer = self.steady.send(command)
        assert self.restarted.send(command) == answer
        return answer

    @property
    def time_s(self) -> float:
        return self.steady.time_s

    def session(self, pick: int) -> int:
        """One of the last few that were opened, ended or not; or one that never was."""
        return self.ever_opened[-1 - pick] if pick < len(self.ever_opened) else 9999

    @rule(nonce=which, ttl_s=st.integers(1, 4))
    def register(self, nonce: int, ttl_s: float) -> None:
        answer = self.send(Open(b"%016d" % nonce, ttl_s))
        assert isinstance(answer, Opened)
        for id, expected in self.open.items():
            if expected.nonce == nonce:
                assert answer == Opened(id, expected.ttl_s)
                expected.refresh(self.time_s, 0)
                return
        assert answer == Opened(self.steady.index, ttl_s)
        self.open[answer.session] = Expected(ttl_s, self.time_s, nonce)
        self.ever_opened.append(answer.session)

    @rule(pick=which, number=numbers, acknowledged=marks)
    def do(self, pick: int, number: int, acknowledged: int) -> None:
        session = self.session(pick)
        body = b"%d of %d" % (number, session)
        answer = self.send(Do(session, number, acknowledged, msgspec.Raw(encode(body))))
        expected = self.open.get(session)
        if expected is None:
            assert answer == UnknownSession(session)
            return
        expected.refresh(self.time_s, acknowledged)
        if number < expected.mark:
            assert answer == Forgotten(number)
        elif number in expected.answers:
            assert answer == expected.answers[number]
        else:
            assert answer == Done(msgspec.Raw(encode((len(self.carried_out), b""))))
            self.carried_out.append(body)
            expected.answers[number] = answer

    @rule(pick=which, acknowledged=marks)
    def keep_alive(self, pick: int, acknowledged: int) -> None:
        session = self.session(pick)
        answer = self.send(KeepAlive(session, acknowledged))
        expected = self.open.get(session)
        assert answer == (UnknownSession(session) if expected is None else Alive())
        if expected is not None:
            expected.refresh(self.time_s, acknowledged)

    @rule(pick=which)
    def close(self, pick: int) -> None:
        session = self.session(pick)
        assert self.send(Close(session)) == Alive()
        self.open.pop(session, None)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.steady.time_s += seconds
        self.restarted.time_s += seconds

    @rule()
    def expire(self) -> None:
        over = {id for id, s in self.open.items() if s.active_s + s.ttl_s < self.time_s}
        assert (self.steady.due() is not None) == bool(over)
        assert (self.restarted.due() is not None) == bool(over)
        self.send(Expire())
        self.open = {id: s for id, s in self.open.items() if id not in over}

    @rule()
    def restart(self) -> None:
        self.restarted.restart()

    @invariant()
    def nothing_was_done_twice(self) -> None:
        assert self.steady.journal.entries == self.carried_out
        assert len(set(self.carried_out)) == len(self.carried_out)

    @invariant()
    def the_twin_is_equal(self) -> None:
        assert rows(self.steady.state) == rows(self.restarted.state)
        assert mirror(self.steady.table) == mirror(self.restarted.table)

    @invariant()
    def only_what_may_be_asked_for_is_kept(self) -> None:
        kept = sum(n >= s.mark for s in self.open.values() for n in s.answers)
        assert self.steady.answers_stored() == kept


def encode(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def mirror(table: Sessions) -> list[tuple[int, int, int, int, bytes, int]]:
    """What the table keeps in fields, in its order."""
    return [
        (id, s.mark, s.active_us, s.ttl_us, s.nonce, s.held_bytes)
        for id, s in table._sessions.items()
    ]


AnySchedule.TestCase.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, derandomize=True
)
TestAnySchedule = AnySchedule.TestCase
