"""The session table's rules, one test each."""

from __future__ import annotations

import random

import msgspec
import pytest

from raycons.machines.contract import Command, Table
from raycons.machines.sessions import (
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
    SessionSettings,
    UnknownSession,
)

from .dict_state import rows
from .journal import Group

TTL_S = 10.0


@pytest.fixture
def group() -> Group:
    return Group()


def position(answer: SessionAnswer) -> int:
    assert isinstance(answer, Done)
    place: int = msgspec.msgpack.decode(answer.body)[0]
    return place


def test_a_session_is_named_after_its_entry_and_never_again(group: Group) -> None:
    assert [group.open(1), group.open(2)] == [1, 2]
    group.send(Close(2))
    assert group.open(2) == 4


def test_a_retried_registration_finds_its_session(group: Group) -> None:
    first = group.open(1)
    group.restart()
    assert group.open(1) == first
    assert len(group.table) == 1


def test_a_time_to_live_is_moved_into_bounds_and_told() -> None:
    group = Group(SessionSettings(min_ttl_s=2, max_ttl_s=20))
    told = [group.send(Open(b"%016d" % n, ttl)) for n, ttl in enumerate((1e-9, 5, 1e300))]
    assert told == [Opened(1, 2), Opened(2, 5), Opened(3, 20)]


def test_a_command_is_carried_out_once_and_answered_the_same(group: Group) -> None:
    session = group.open()
    first = group.do(session, 1, b"a")
    group.do(session, 2, b"b")
    assert group.do(session, 1, b"a") == first
    group.restart()
    assert group.do(session, 1, b"a") == first
    assert group.journal.entries == [b"a", b"b"]


def test_what_the_inner_machine_tells_early_is_the_answer_that_is_remembered(group: Group) -> None:
    session = group.open()
    told: list[bytes] = []
    body = msgspec.Raw(msgspec.msgpack.encode(b"a"))
    do = msgspec.msgpack.encode(Do(session, 1, 0, body))
    answers = [group.table.apply(Command(index, 1, 0, 1, do), told.append) for index in (2, 3)]
    assert answers[0] == answers[1] == told[0]
    assert len(told) == 1, "a repetition is answered from memory"


def test_five_may_arrive_before_the_retry_of_four(group: Group) -> None:
    session = group.open()
    assert position(group.do(session, 5, b"five")) == 0
    four = group.do(session, 4, b"four")
    assert position(four) == 1
    assert group.do(session, 4, b"four") == four
    assert position(group.do(session, 5, b"five")) == 0
    assert group.journal.entries == [b"five", b"four"]


def test_acknowledged_answers_are_dropped_and_their_numbers_forgotten(group: Group) -> None:
    session = group.open()
    for number in (1, 2, 3):
        group.do(session, number, b"%d" % number)
    assert group.answers_stored() == 3
    group.do(session, 4, b"4", acknowledged=3)
    assert group.answers_stored() == 2
    assert group.do(session, 2, b"2") == Forgotten(2)
    assert position(group.do(session, 3, b"3")) == 2
    assert group.journal.entries == [b"1", b"2", b"3", b"4"]


def test_a_number_below_the_mark_that_never_came_is_not_carried_out(group: Group) -> None:
    session = group.open()
    group.do(session, 3, b"3", acknowledged=3)
    assert group.do(session, 2, b"cancelled") == Forgotten(2)
    assert group.journal.entries == [b"3"]


def test_the_mark_never_falls(group: Group) -> None:
    session = group.open()
    group.do(session, 5, b"5", acknowledged=5)
    group.do(session, 6, b"6", acknowledged=2)
    assert group.do(session, 4, b"4", acknowledged=1) == Forgotten(4)


@pytest.mark.parametrize("carrier", ["do", "retry", "forgotten", "keep-alive", "crowded"])
def test_the_mark_outlives_a_restart_whatever_brought_it(group: Group, carrier: str) -> None:
    session = group.open()
    group.do(session, 7, b"7")
    group.do(session, 8, b"size2000" if carrier == "crowded" else b"8")
    match carrier:
        case "do" | "crowded":
            group.do(session, 9, b"9", acknowledged=6)
        case "retry":
            group.do(session, 8, b"8", acknowledged=6)
        case "forgotten":
            group.do(session, 2, b"2", acknowledged=6)
        case "keep-alive":
            group.send(KeepAlive(session, 6))
    group.restart()
    assert group.do(session, 5, b"5") == Forgotten(5)


def test_keep_alive_drops_answers(group: Group) -> None:
    session = group.open()
    group.do(session, 1, b"1")
    assert group.send(KeepAlive(session, 2)) == Alive()
    assert group.answers_stored() == 0


def test_an_unknown_session_is_refused_and_never_made_anew(group: Group) -> None:
    assert group.do(77, 1, b"a") == UnknownSession(77)
    assert group.do(-1, 1, b"a") == UnknownSession(-1)
    assert group.send(KeepAlive(77, 1)) == UnknownSession(77)
    assert group.do(77, 1, b"a") == UnknownSession(77)
    assert rows(group.state) == []


def test_closing_ends_a_session_and_leaves_nothing(group: Group) -> None:
    session = group.open()
    group.do(session, 1, b"1", acknowledged=1)
    assert group.send(Close(session)) == Alive()
    assert group.send(Close(session)) == Alive()
    assert group.do(session, 1, b"1") == UnknownSession(session)
    assert [value for _, _, value in rows(group.state)] == [b"1"]


def test_too_many_unacknowledged_bytes_refuse_new_numbers_only(group: Group) -> None:
    session = group.open()
    large = group.do(session, 1, b"size2000")
    assert isinstance(group.do(session, 2, b"2"), Crowded)
    assert group.do(session, 1, b"size2000") == large
    group.restart()
    assert isinstance(group.do(session, 2, b"2"), Crowded)
    assert group.journal.entries == [b"size2000"]
    assert position(group.do(session, 2, b"2", acknowledged=2)) == 1


def test_many_small_answers_are_bounded_too(group: Group) -> None:
    session = group.open()
    answers = [group.do(session, number, b"x") for number in range(1, 100)]
    assert isinstance(answers[-1], Crowded)
    assert group.answers_stored() < 20


def test_too_many_sessions_are_refused() -> None:
    group = Group(SessionSettings(max_sessions=2))
    group.open(1)
    group.open(2)
    assert isinstance(group.send(Open(b"%016d" % 3, TTL_S)), Crowded)
    assert group.open(2) == 2
    group.send(Close(1))
    assert group.open(3) == 6


def test_a_session_ends_after_its_time_and_not_at_it(group: Group) -> None:
    session = group.open()
    group.time_s = TTL_S
    assert group.due() is None
    group.send(Expire())
    assert len(group.table) == 1
    group.time_s = TTL_S + 0.001
    body = group.due()
    assert body is not None
    group.raw(body)
    assert group.do(session, 1, b"1") == UnknownSession(session)
    assert rows(group.state) == []
    assert group.due() is None


@pytest.mark.parametrize("sign", ["do", "retry", "forgotten", "open", "keep-alive"])
def test_every_sign_of_life_refreshes_and_outlives_a_restart(group: Group, sign: str) -> None:
    session = group.open()
    group.do(session, 2, b"2", acknowledged=2)
    group.time_s = TTL_S + 5  # it ran out, but nothing expired it yet
    match sign:
        case "do":
            group.do(session, 3, b"3")
        case "retry":
            group.do(session, 2, b"2")
        case "forgotten":
            group.do(session, 1, b"1")
        case "open":
            group.open()
        case "keep-alive":
            group.send(KeepAlive(session, 0))
    group.restart()
    group.time_s = 2 * TTL_S + 5
    group.send(Expire())
    assert len(group.table) == 1
    group.time_s += 0.001
    group.send(Expire())
    assert len(group.table) == 0


def test_an_expiry_ends_at_most_so_many_oldest_first_until_none_is_due() -> None:
    group = Group(SessionSettings(expired_at_once=2))
    for nonce in range(5):
        group.open(nonce)
    group.open(9, ttl_s=1000)
    group.time_s = TTL_S + 1
    left = []
    for _ in range(10):
        body = group.due()
        if body is None:
            break
        group.raw(body)
        left.append(len(group.table))
    assert left == [4, 2, 1]
    assert group.open(9) == 6


def test_what_the_inner_machine_has_due_is_wrapped(group: Group) -> None:
    assert group.due() is None
    group.journal.due_body = msgspec.msgpack.encode(b"sweep")
    body = group.due()
    assert body is not None
    assert msgspec.msgpack.decode(body, type=SessionCommand) == Own(
        msgspec.Raw(group.journal.due_body)
    )
    answer = msgspec.msgpack.decode(group.raw(body), type=SessionAnswer)
    assert position(answer) == 0
    assert group.journal.entries == [b"sweep"]


def test_an_exception_of_the_inner_machine_is_not_hidden(group: Group) -> None:
    session = group.open()
    with pytest.raises(ZeroDivisionError):
        group.do(session, 1, b"explode")


@pytest.mark.parametrize(
    "command",
    [
        Open(b"short", 1.0),
        Open(b"n" * 17, 1.0),
        Open(b"n" * 16, 0.0),
        Open(b"n" * 16, -1.0),
        Open(b"n" * 16, float("nan")),
        Do(1, 0, 0, msgspec.Raw(b"\xc0")),
        Do(1, -5, 0, msgspec.Raw(b"\xc0")),
    ],
)
def test_a_bad_command_is_answered_and_changes_nothing(
    group: Group, command: SessionCommand
) -> None:
    assert group.open() == 1
    before = rows(group.state)
    assert isinstance(group.send(command), Invalid)
    assert rows(group.state) == before


def test_bytes_that_are_no_command_are_answered(group: Group) -> None:
    session = group.open()
    before = rows(group.state)
    good = msgspec.msgpack.encode(Do(session, 1, 0, msgspec.Raw(b"\xc0")))
    nested = good[:-1] + b"\x91" * 100_000 + b"\xc0"
    source = random.Random(5)
    noise = [source.randbytes(source.randrange(12)) for _ in range(1000)]
    for data in [b"", good[:-1], good + b"\0", nested, *noise]:
        answer = msgspec.msgpack.decode(group.raw(data), type=SessionAnswer)
        assert isinstance(answer, Invalid)
    assert rows(group.state) == before


def test_queries_and_liveness_are_the_inner_machines(group: Group) -> None:
    assert group.table.query(b"x") == b"answer to x"
    assert not group.table.liveness()(Table.CURRENT, b"k", b"dead")
    assert group.table.liveness()(Table.CURRENT, b"k", b"alive")


def test_a_new_command_costs_one_write_beside_the_inner_machines(group: Group) -> None:
    session = group.open()
    group.do(session, 1, b"1", acknowledged=1)
    before = group.state.puts
    group.do(session, 2, b"2", acknowledged=2)
    assert group.state.puts == before + 2  # the journal's and the answer
