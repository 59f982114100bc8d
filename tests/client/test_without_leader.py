"""The client core with a group that has no leader, and remembers no session for good."""

from __future__ import annotations

from typing import Any

import msgspec

from raycons import errors
from raycons.client.outcome import failed as error_of
from raycons.client.settings import ClientSettings
from raycons.machines import sessions
from raycons.machines.kv import commands
from raycons.member.protocol import Code, Submit

from .driver import SESSION, Driver, command, encode, operations


def opened() -> Driver:
    driver = Driver()
    driver.connect(1, 2, 3)
    driver.lead(2, term=0)  # "I serve", says each of them
    for member in (1, 3):
        driver.lead(member, term=0)
    driver.put("opener")
    [(member, opening)] = driver.turn()
    assert member == 2
    driver.answer(member, opening)
    [(member, frame)] = driver.turn()
    driver.answer(member, frame)
    driver.results.clear()
    return driver


def tell(driver: Driver, message: Submit, *results: commands.Result) -> None:
    body = msgspec.Raw(encode(results))
    driver.reply(2, message, sessions.Done(body))


def test_a_client_stays_with_the_member_that_serves_it() -> None:
    driver = opened()
    driver.put("a")
    [(member, _)] = driver.turn()
    assert member == 2
    driver.lead(3, term=0)  # it was restarted, say
    assert driver.turn() == []


def test_it_goes_to_another_when_that_one_is_lost_or_sends_it_away() -> None:
    driver = opened()
    driver.put("a")
    [(_, frame)] = driver.turn()
    driver.lose(2)
    [(member, again)] = driver.turn()
    assert member == 3
    assert (command(again).number, operations(again)) == (command(frame).number, operations(frame))
    driver.refuse(3, again, Code.NOT_LEADER)
    [(member, _)] = driver.tick(after=1.0)
    assert member == 1


def test_a_member_that_is_silent_is_left_however_short_callers_wait() -> None:
    driver = opened()
    asked: list[int] = []
    for number in range(30):
        driver.put(f"a{number}", deadline=driver.now + 0.1)
        asked += [member for member, message in driver.turn() if isinstance(message, Submit)]
        driver.tick(after=0.15)
    patience = ClientSettings().attempt_timeout_s / 0.15
    assert set(asked[: int(patience)]) == {2}
    assert {1, 3} & set(asked[int(patience) :])


def test_what_is_forgotten_goes_on_in_another_session_if_it_was_sent_once() -> None:
    driver = opened()
    for name in ("a", "b", "c"):
        driver.put(name)
    [(_, frame)] = driver.turn()
    tell(driver, frame, commands.PutDone(5), commands.FORGOTTEN, commands.PutDone(6))
    assert driver.results == {"a": commands.PutDone(5), "c": commands.PutDone(6)}
    [(_, opening)] = driver.turn()
    driver.reply(2, opening, sessions.Opened(SESSION + 1, 60.0))
    [(_, again)] = driver.turn()
    assert (command(again).session, command(again).number) == (SESSION + 1, 1)
    assert [operation.key for operation in operations(again)] == [b"b"]
    tell(driver, again, commands.PutDone(7))
    assert driver.results["b"] == commands.PutDone(7)


def test_what_is_forgotten_and_was_sent_twice_is_unknown() -> None:
    driver = opened()
    driver.put("a")
    driver.put("b")
    [(_, frame)] = driver.turn()
    driver.refuse(2, frame, Code.LEADERSHIP_LOST)
    again: list[tuple[int, Any]] = driver.tick(after=1.0)
    [(member, message)] = again
    tell_from(driver, member, message, commands.PutDone(5), commands.FORGOTTEN)
    assert driver.results["a"] == commands.PutDone(5)
    assert isinstance(driver.results["b"], errors.SessionExpired)
    driver.put("c")
    [(_, opening)] = driver.turn()
    assert isinstance(command(opening), sessions.Open)


def test_what_this_attempt_may_have_done_itself_is_unknown() -> None:
    driver = opened()
    driver.put("a")
    driver.put("b")
    [(_, frame)] = driver.turn()
    tell(driver, frame, commands.DOUBTFUL, commands.FORGOTTEN)
    assert isinstance(driver.results["a"], errors.SessionExpired)
    [(_, opening)] = driver.turn()
    driver.reply(2, opening, sessions.Opened(SESSION + 1, 60.0))
    [(_, again)] = driver.turn()
    assert [operation.key for operation in operations(again)] == [b"b"]


def tell_from(driver: Driver, member: int, message: Submit, *results: commands.Result) -> None:
    driver.reply(member, message, sessions.Done(msgspec.Raw(encode(results))))


def test_what_the_protocol_cannot_do_is_refused_by_name() -> None:
    failed = commands.Failed(commands.Failure.UNSUPPORTED, 0, "a transaction is not possible")
    error = error_of(failed)
    assert isinstance(error, errors.Unsupported)
    assert isinstance(error, errors.Refused)
    assert "a transaction" in str(error)
