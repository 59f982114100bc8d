"""The rules of the client core, one test each."""

from __future__ import annotations

import gc
import itertools

import msgspec
import pytest

from raycons import errors
from raycons.client.calls import Frame
from raycons.client.core import Lagging
from raycons.client.settings import ClientSettings
from raycons.machines import sessions
from raycons.machines.kv import commands
from raycons.member.protocol import (
    Add,
    Answer,
    Code,
    Inspect,
    Leader,
    Manage,
    Managed,
    Read,
    ReadLevel,
    Refused,
    Submit,
    Transfer,
)
from raycons.transport.contract import Address

from .driver import FAR, SESSION, Driver, command, encode, operations, queries


@pytest.fixture
def driver() -> Driver:
    made = Driver()
    made.open()
    return made


# --- frames and sessions --------------------------------------------------------------------------


def test_the_first_command_opens_a_session() -> None:
    driver = Driver()
    driver.connect(1)
    driver.lead(1)
    driver.put("a")
    [(member, opening)] = driver.turn()
    assert member == 1
    assert isinstance(command(opening), sessions.Open)
    assert len(command(opening).nonce) == 16
    assert driver.turn() == []
    driver.answer(1, opening)
    [(_, frame)] = driver.turn()
    assert command(frame).session == SESSION
    assert command(frame).number == 1
    driver.answer(1, frame)
    assert driver.results["a"] == commands.PutDone(1)


def test_nothing_is_sent_while_nobody_asks() -> None:
    driver = Driver()
    driver.connect(1, 2, 3)
    driver.lead(1)
    assert driver.turn() == []
    assert driver.core.next_deadline() == float("inf")


def test_what_one_turn_asks_leaves_in_one_frame(driver: Driver) -> None:
    for name in "abc":
        driver.put(name)
    [(member, frame)] = driver.turn()
    assert member == 1
    assert [operation.key for operation in operations(frame)] == [b"a", b"b", b"c"]
    driver.answer(1, frame)
    assert [*driver.results] == ["a", "b", "c"]
    assert driver.core.in_flight == 0


def test_frames_are_bounded_in_operations_and_bytes() -> None:
    driver = Driver(ClientSettings(max_frame_operations=3, max_frame_bytes=1000))
    driver.open()
    for number in range(7):
        driver.put(f"small{number}")
    assert [len(operations(frame)) for _, frame in driver.turn()] == [3, 3, 1]
    driver.put("large1", value=b"x" * 5000)
    driver.put("half1", value=b"x" * 600)
    driver.put("half2", value=b"x" * 600)
    assert [len(operations(frame)) for _, frame in driver.turn()] == [1, 1, 1]


def test_the_last_operation_that_a_frame_has_room_for_fills_it() -> None:
    driver = Driver(ClientSettings(max_frame_operations=3))
    driver.open()
    full = [driver.core.fills_frame(driver.put(f"put{number}")) for number in range(4)]
    assert full == [False, False, True, False]
    full = [driver.core.fills_frame(driver.get(f"get{number}")) for number in range(3)]
    assert full == [False, False, True]  # puts and gets leave in frames of their own
    driver.turn()
    assert not driver.core.fills_frame(driver.put("again"))


def test_a_full_frame_is_sent_alone() -> None:
    driver = Driver(ClientSettings(max_frame_operations=3, max_frame_bytes=1000))
    driver.open()
    driver.get("get")
    large = [driver.put(f"large{n}", value=b"x" * 400) for n in range(3)]
    assert driver.core.fills_frame(large[-1])
    [(_, frame)] = driver.frame_of(large[-1])
    assert len(operations(frame)) == 2  # as many as the bytes allow; what is left is not sent alone
    assert driver.frame_of(driver.get("other"))
    assert [len(operations(frame)) for _, frame in driver.turn()] == [1]


def test_a_full_frame_waits_for_a_leader_and_a_session() -> None:
    driver = Driver(ClientSettings(max_frame_operations=1))
    driver.connect(1, 2, 3)
    put = driver.put("a")
    assert driver.frame_of(put) == []
    driver.lead(1)
    assert driver.frame_of(put) == []
    [(_, opening)] = driver.turn()
    driver.answer(1, opening)
    assert len(driver.frame_of(put)) == 1


def test_many_frames_are_in_flight_with_rising_numbers(driver: Driver) -> None:
    numbers = []
    for name in "abc":
        driver.put(name)
        numbers += [command(frame).number for _, frame in driver.turn()]
    assert numbers == [2, 3, 4]


def test_the_mark_is_the_lowest_number_without_an_answer(driver: Driver) -> None:
    frames = []
    for name in "abc":
        driver.put(name)
        frames += [frame for _, frame in driver.turn()]
    assert [command(frame).acknowledged for frame in frames] == [2, 2, 2]
    driver.answer(1, frames[1])
    driver.put("d")
    [(_, later)] = driver.turn()
    assert command(later).acknowledged == 2  # 2 may still be asked for again
    driver.answer(1, frames[0])
    driver.put("e")
    [(_, later)] = driver.turn()
    assert command(later).acknowledged == 4


def test_a_given_up_number_counts_as_answered(driver: Driver) -> None:
    abandoned = driver.put("a")
    driver.turn()
    driver.core.cancel(abandoned)
    driver.put("b")
    [(_, frame)] = driver.turn()
    assert (command(frame).number, command(frame).acknowledged) == (3, 3)
    assert "a" not in driver.results


def test_an_idle_session_is_kept_alive(driver: Driver) -> None:
    ttl_s = driver.settings.session_ttl_s
    assert driver.core.next_deadline() == driver.now + ttl_s / 3
    assert driver.tick(ttl_s / 3 - 1) == []
    [(_, renewal)] = driver.tick(1)
    assert command(renewal) == sessions.KeepAlive(SESSION, 2)
    assert driver.tick() == []
    driver.answer(1, renewal)
    assert driver.core.next_deadline() == driver.now + ttl_s / 3


def test_an_unknown_session_is_no_error_for_what_certainly_had_no_effect(driver: Driver) -> None:
    driver.put("a")
    [(_, frame)] = driver.turn()
    driver.reply(1, frame, sessions.UnknownSession(SESSION))
    [(_, opening)] = driver.turn()
    assert isinstance(command(opening), sessions.Open)
    driver.reply(1, opening, sessions.Opened(78, 60.0))
    [(_, again)] = driver.turn()
    assert command(again).session == 78
    assert operations(again) == operations(frame)
    driver.answer(1, again)
    assert driver.results["a"] == commands.PutDone(1)


def test_an_unknown_session_ends_what_an_earlier_attempt_may_have_done(driver: Driver) -> None:
    driver.put("a")
    driver.turn()
    driver.lose(1)
    driver.lead(2, term=2)
    [(_, again)] = driver.turn()
    driver.put("b")  # not yet sent: it moves to the next session
    driver.reply(2, again, sessions.UnknownSession(SESSION))
    assert isinstance(driver.results["a"], errors.SessionExpired)
    [(_, opening)] = driver.turn()
    driver.reply(2, opening, sessions.Opened(78, 60.0))
    [(_, moved)] = driver.turn()
    assert (command(moved).session, operations(moved)[0].key) == (78, b"b")


def test_a_crowded_session_is_told_what_it_may_forget_and_tries_again(driver: Driver) -> None:
    driver.put("a")
    [(_, frame)] = driver.turn()
    driver.reply(1, frame, sessions.Crowded("full"))
    assert driver.turn() == []
    sent = [message for _, message in driver.tick(0.02)]
    assert {type(command(message)) for message in sent} == {sessions.KeepAlive, sessions.Do}
    assert frame.payload in [message.payload for message in sent]


# --- retries --------------------------------------------------------------------------------------


def test_a_retry_is_byte_for_byte_the_same(driver: Driver) -> None:
    driver.put("a")
    driver.put("b")
    [(_, first)] = driver.turn()
    driver.lose(1)
    driver.lead(2, term=2)
    [(member, second)] = driver.turn()
    assert member == 2
    assert second.payload == first.payload
    assert second.request != first.request
    driver.answer(2, second)
    assert set(driver.results) == {"a", "b"}


def test_a_redirect_is_followed_at_once(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.refuse(1, first, Code.NOT_LEADER, leader=3)
    [(member, second)] = driver.turn()
    assert (member, second.payload) == (3, first.payload)


def test_two_members_that_name_each_other_are_asked_ever_less_often(driver: Driver) -> None:
    driver.put("a")
    sent = driver.turn()
    asked_at = []
    for _ in range(12):
        [(member, message)] = sent
        asked_at.append(driver.now)
        driver.refuse(member, message, Code.NOT_LEADER, leader=2 if member == 1 else 1)
        sent = driver.turn()
        if not sent:
            driver.now = driver.core.next_deadline()
            sent = driver.tick()
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert pauses[:3] == [0, 0, 0]
    assert 0.007 < pauses[3] < 0.014
    assert all(0.1 < pause < 0.3 for pause in pauses[-3:])


def test_a_new_leader_gets_at_once_what_the_old_one_holds(driver: Driver) -> None:
    """The old leader is paused: its connection lives, and it says nothing."""
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.get("r")
    [(_, question)] = driver.turn()
    driver.lead(2, term=2, by=3)
    sent = driver.turn()
    assert [member for member, _ in sent] == [2, 2]
    assert sent[0][1].payload == first.payload
    driver.answer(1, first)  # the old one wakes up and had committed it
    assert driver.results["a"] == commands.PutDone(2)
    driver.answer(2, sent[0][1])  # the second answer finds nobody
    driver.answer(2, sent[1][1])
    driver.answer(1, question)
    assert driver.results["r"] == commands.RangeDone(9, (), 0, False)


def test_news_of_an_older_term_changes_nothing(driver: Driver) -> None:
    driver.lead(2, term=5)
    driver.lead(3, term=4)
    driver.put("a")
    [(member, _)] = driver.turn()
    assert member == 2


def test_a_leader_that_steps_down_is_believed_at_once(driver: Driver) -> None:
    driver.receive(2, Leader(1, 0, ()))  # a follower that has not heard of the leader yet
    assert driver.core.routing.leader == 1
    driver.receive(1, Leader(1, 0, ()))
    assert driver.core.routing.leader == 0


def test_a_hint_does_not_displace_better_news(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.lead(2, term=2)
    [(_, second)] = driver.turn()
    driver.refuse(1, first, Code.NOT_LEADER, leader=3)
    assert driver.turn() == []  # the attempt at 2 is under way
    driver.put("b")
    [(member, _)] = driver.turn()
    assert member == 2
    driver.answer(2, second)
    assert "a" in driver.results


def test_failover_waits_for_no_timer(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.lose(1)
    [(asked, probe)] = driver.turn()  # one member is asked, with one command
    assert asked in (2, 3)
    driver.refuse(asked, probe, Code.NOT_LEADER)
    assert driver.turn() == []
    driver.lead(3, term=2, by=2)
    [(member, again)] = driver.turn()
    assert (member, again.payload) == (3, first.payload)


def test_without_a_leader_each_member_is_asked_with_growing_pauses(driver: Driver) -> None:
    driver.put("a")
    [(member, frame)] = driver.turn()
    asked, pauses = [], []
    for _ in range(7):
        driver.refuse(member, frame, Code.NOT_LEADER)
        before = driver.now
        assert driver.turn() == []
        driver.now = driver.core.next_deadline()
        [(member, frame)] = driver.tick()
        asked.append(member)
        pauses.append(driver.now - before)
    assert set(asked) == {1, 2, 3}
    assert pauses[0] < 0.015
    assert 0.14 < pauses[-1] < 0.26


def test_a_silent_member_is_not_probed_again_without_news() -> None:
    driver = Driver()
    driver.connect(1, 2)
    driver.put("a")
    [(first, _)] = driver.turn()
    driver.get("r")
    driver.now = driver.core.next_deadline()
    [(second, _)] = driver.tick()
    assert {first, second} == {1, 2}
    driver.get("s")
    assert driver.turn() == []
    assert driver.core.next_deadline() > driver.now + 0.5  # only patience is left
    driver.lead(1)
    assert driver.turn() != []


def test_a_new_connection_is_asked_at_once(driver: Driver) -> None:
    for member in (1, 2, 3):
        driver.lose(member)
    driver.put("a")
    assert driver.turn() == []
    driver.connect(2)
    [(member, _)] = driver.turn()
    assert member == 2


def test_silence_is_answered_by_asking_somebody_else(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    assert driver.tick(0.5) == []
    [(member, again)] = driver.tick(0.6)
    assert member == 2
    assert again.payload == first.payload
    driver.refuse(2, again, Code.NOT_LEADER, leader=1)
    [(member, _)] = driver.turn()
    assert member == 1


def test_leadership_lost_is_retried_under_the_same_number(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.refuse(1, first, Code.LEADERSHIP_LOST, leader=2)
    [(member, again)] = driver.turn()
    assert (member, again.payload) == (2, first.payload)


def test_an_overloaded_leader_is_given_a_pause(driver: Driver) -> None:
    driver.put("a")
    [(_, first)] = driver.turn()
    driver.refuse(1, first, Code.OVERLOADED)
    driver.put("b")
    assert driver.turn() == []
    sent = driver.tick(0.015)
    assert [member for member, _ in sent] == [1, 1]
    assert sent[0][1].payload == first.payload


# --- reads ----------------------------------------------------------------------------------------


def test_reads_share_a_frame_and_are_asked_again(driver: Driver) -> None:
    driver.get("a")
    driver.get("b")
    [(member, question)] = driver.turn()
    assert (member, question.level) == (1, ReadLevel.LINEARIZABLE)
    assert [query.key for query in queries(question)] == [b"a", b"b"]
    driver.refuse(1, question, Code.LEADERSHIP_LOST, leader=2)
    [(member, again)] = driver.turn()
    assert member == 2
    driver.answer(2, again)
    assert driver.results["b"] == commands.RangeDone(9, (), 0, False)


def test_a_stale_read_needs_no_leader_and_tells_its_age() -> None:
    driver = Driver()
    driver.connect(2)
    driver.get("a", level=ReadLevel.STALE)
    [(member, question)] = driver.turn()
    assert (member, question.level) == (2, ReadLevel.STALE)
    driver.answer(2, question)
    assert driver.results["a"] == Lagging(commands.RangeDone(9, (), 0, False), 0.5)


def test_a_refused_stale_read_goes_elsewhere_after_a_pause(driver: Driver) -> None:
    driver.get("a", level=ReadLevel.STALE)
    [(first, question)] = driver.turn()
    driver.refuse(first, question, Code.UNAVAILABLE)
    assert driver.turn() == []
    driver.now = driver.core.next_deadline()
    [(second, _)] = driver.tick()
    assert second != first


@pytest.mark.parametrize("level", [ReadLevel.LINEARIZABLE, ReadLevel.STALE])
def test_reads_that_one_answer_had_no_room_for_are_asked_again_at_once(
    driver: Driver, level: ReadLevel
) -> None:
    for name in "abc":
        driver.get(name, level=level)
    [(member, message)] = driver.turn()
    room_for_two = tuple(commands.RangeDone(9, (), 0, False) for _ in "ab")
    driver.receive(member, Answer(message.request, encode(room_for_two)))
    assert set(driver.results) == {"a", "b"}
    [(member, message)] = driver.turn()
    assert len(queries(message)) == 1
    driver.answer(member, message)
    assert set(driver.results) == {"a", "b", "c"}


def test_a_refusal_that_stands_for_all_reads_is_not_asked_again(driver: Driver) -> None:
    for name in "abc":
        driver.get(name)
    [(member, message)] = driver.turn()
    alone = (commands.Failed(commands.Failure.INVALID, 0, "unreadable"),)
    driver.receive(member, Answer(message.request, encode(alone)))
    assert set(driver.results) == {"a", "b", "c"}
    assert driver.turn() == []


# --- outcomes -------------------------------------------------------------------------------------


def test_never_sent_is_unavailable() -> None:
    driver = Driver()
    driver.put("a", deadline=driver.now + 1)
    driver.tick(1.02)
    assert isinstance(driver.results["a"], errors.Unavailable)


def test_sent_without_an_answer_is_unknown(driver: Driver) -> None:
    driver.put("a", deadline=driver.now + 1)
    driver.turn()
    driver.tick(1.02)
    assert type(driver.results["a"]) is errors.OutcomeUnknown


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.NOT_LEADER, errors.Unavailable),
        (Code.UNAVAILABLE, errors.Unavailable),
        (Code.OVERLOADED, errors.Overloaded),
        (Code.LEADERSHIP_LOST, errors.OutcomeUnknown),
        (Code.INVALID, errors.Refused),
    ],
)
def test_a_refusal_tells_what_is_certain(
    driver: Driver, code: Code, error: type[Exception]
) -> None:
    driver.put("a", deadline=driver.now + 0.005)
    [(_, frame)] = driver.turn()
    driver.refuse(1, frame, code)
    driver.core.tick(driver.now + 0.02)
    assert type(driver.results["a"]) is error


def test_an_operation_is_told_of_its_own_refusal(driver: Driver) -> None:
    driver.put("a", deadline=driver.now + 0.005)
    driver.put("c", deadline=driver.now + 0.005)
    driver.get("b", deadline=driver.now + 0.005)
    [(_, writing), (_, reading)] = driver.turn()
    driver.refuse(1, writing, Code.OVERLOADED)
    driver.refuse(1, reading, Code.UNAVAILABLE)
    driver.core.tick(driver.now + 0.02)
    assert type(driver.results["a"]) is type(driver.results["c"]) is errors.Overloaded
    assert type(driver.results["b"]) is errors.Unavailable


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.NOT_LEADER, Code.UNAVAILABLE, Code.INVALID])
def test_unknown_and_then_refused_is_unknown(driver: Driver, code: Code) -> None:
    driver.put("a", deadline=driver.now + 0.005)
    driver.turn()
    driver.lose(1)  # the first attempt may have taken effect
    driver.lead(2, term=2)
    [(_, again)] = driver.turn()
    driver.refuse(2, again, code)
    driver.core.tick(driver.now + 0.02)
    assert type(driver.results["a"]) is errors.OutcomeUnknown


def test_a_read_that_ran_out_of_time_had_no_effect(driver: Driver) -> None:
    driver.get("a", deadline=driver.now + 1)
    driver.turn()
    driver.tick(1.02)
    assert isinstance(driver.results["a"], errors.Unavailable)


def test_a_frame_is_not_sent_again_with_what_was_called_not_applied(driver: Driver) -> None:
    driver.put("brief", deadline=driver.now + 0.005)
    driver.put("patient")
    [(_, frame)] = driver.turn()
    driver.refuse(1, frame, Code.UNAVAILABLE)
    [(_, again)] = driver.tick(0.02)
    assert isinstance(driver.results["brief"], errors.NotApplied)
    assert [operation.key for operation in operations(again)] == [b"patient"]
    assert command(again).number != command(frame).number  # other bytes need another number


def test_a_frame_goes_on_for_the_others_when_one_gives_up(driver: Driver) -> None:
    driver.put("brief", deadline=driver.now + 0.005)
    driver.put("patient")
    [(_, frame)] = driver.turn()
    driver.tick(0.02)
    assert type(driver.results["brief"]) is errors.OutcomeUnknown
    driver.lose(1)
    driver.lead(2, term=2)
    [(_, again)] = driver.turn()
    assert again.payload == frame.payload
    driver.answer(2, again)
    assert driver.results["patient"] == commands.PutDone(2)


def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(driver: Driver) -> None:
    driver.put("a")
    [(_, frame)] = driver.turn()
    driver.receive(1, Answer(frame.request, b"\xc1"))
    assert type(driver.results["a"]) is errors.OutcomeUnknown


def test_failed_is_a_result_and_may_stand_for_the_frame(driver: Driver) -> None:
    driver.put("a")
    driver.put("b")
    [(_, frame)] = driver.turn()
    failed = commands.Failed(commands.Failure.INVALID, 0, "malformed")
    driver.reply(1, frame, sessions.Done(msgspec.Raw(encode((failed,)))))
    assert driver.results == {"a": failed, "b": failed}


# --- bounds, deadlines, cancellation --------------------------------------------------------------


def test_more_operations_than_the_bound_are_refused_at_once() -> None:
    driver = Driver(ClientSettings(max_in_flight_operations=2))
    first = driver.put("a")
    driver.put("b")
    with pytest.raises(errors.Overloaded, match="2 operations"):
        driver.put("c")
    driver.core.cancel(first)
    driver.put("c")


def test_more_bytes_than_the_bound_are_refused_at_once() -> None:
    driver = Driver(ClientSettings(max_in_flight_bytes=1000))
    driver.put("a", value=b"x" * 900)
    with pytest.raises(errors.Overloaded, match="bytes"):
        driver.put("b", value=b"x" * 200)


def test_deadlines_are_met_within_a_grain_and_never_early(driver: Driver) -> None:
    deadlines = {f"k{n}": driver.now + 0.5 + n * 0.0037 for n in range(50)}
    for name, deadline in deadlines.items():
        driver.put(name, deadline)
    driver.turn()
    ended: dict[str, float] = {}
    wakes = 0
    while len(ended) < 50:
        driver.now = driver.core.next_deadline()
        driver.tick()
        wakes += 1
        for name in driver.results.keys() - ended.keys():
            ended[name] = driver.now
    for name, deadline in deadlines.items():
        assert deadline <= ended[name] <= deadline + 0.0101
    assert wakes <= 25  # one timer for all that fall into the same 10 ms


def test_a_cancelled_operation_that_was_not_sent_is_never_sent(driver: Driver) -> None:
    driver.core.cancel(driver.put("a"))
    driver.core.cancel(driver.get("r"))
    driver.put("b")
    [(_, frame)] = driver.turn()
    assert [operation.key for operation in operations(frame)] == [b"b"]


def test_a_long_queue_gives_up_any_of_its_operations() -> None:
    driver = Driver()
    pending = [driver.put(f"k{n}") for n in range(1000)]
    reads = [driver.get(f"r{n}") for n in range(1000)]
    for n in range(1000):
        if n % 3:
            driver.core.cancel(pending[n])
            driver.core.cancel(pending[n])  # twice is once
        driver.core.cancel(reads[n])
    assert driver.core.in_flight == 334
    driver.connect(1)
    driver.lead(1)
    [(_, opening)] = driver.turn()
    driver.answer(1, opening)
    frames = [frame for _, frame in driver.turn()]
    assert [len(operations(frame)) for frame in frames] == [128, 128, 78]
    for frame in frames:
        driver.answer(1, frame)
    assert [*driver.results] == [f"k{n}" for n in range(0, 1000, 3)]
    assert driver.core.in_flight == 0
    assert driver.turn() == []


def test_a_queue_that_was_given_up_is_no_work() -> None:
    driver = Driver()
    driver.connect(1)
    driver.lead(1)
    driver.core.routing.hold(driver.now)
    for pending in [driver.put("a"), driver.get("b"), driver.put("c"), driver.get("d")]:
        driver.core.cancel(pending)
    assert driver.core.next_deadline() == float("inf")
    driver.lose(1)
    assert driver.turn() == []


def test_an_operation_in_the_middle_of_others_has_its_own_deadline(driver: Driver) -> None:
    later = driver.now + 10
    for name, deadline in [("a", later), ("brief", driver.now + 0.5), ("b", later), ("c", later)]:
        driver.put(name, deadline)
    driver.get("r", driver.now + 0.5)
    driver.get("s", later)
    [(_, frame), (_, question)] = driver.turn()
    driver.tick(0.52)
    assert type(driver.results.pop("brief")) is errors.OutcomeUnknown
    assert type(driver.results.pop("r")) is errors.Unavailable
    assert driver.results == {}
    driver.put("d", later)
    driver.answer(1, frame)
    driver.answer(1, question)
    assert [*driver.results] == ["a", "b", "c", "s"]
    driver.now = later + 0.02
    driver.core.tick(driver.now)
    assert type(driver.results["d"]) is errors.Unavailable
    assert driver.core.in_flight == 0


def test_what_is_asked_anew_at_a_deadline_has_one_again(driver: Driver) -> None:
    deadline = driver.now + 1
    ended: list[str] = []

    def again(result: object) -> None:
        ended.append("first")
        driver.core.submit(commands.Put(b"k", b"v"), deadline, lambda _: ended.append("again"))

    for _ in range(3):
        driver.core.submit(commands.Put(b"k", b"v"), deadline, again)
    driver.now += 1.02
    driver.core.tick(driver.now)
    assert ended == ["first"] * 3
    driver.now = driver.core.next_deadline()
    driver.core.tick(driver.now)
    assert ended == ["first"] * 3 + ["again"] * 3
    assert driver.core.in_flight == 0


def test_what_ended_is_not_left_to_the_garbage_collector(driver: Driver) -> None:
    gc.collect()
    gc.disable()
    try:
        for n in range(10):
            driver.put(f"a{n}", driver.now + n)
            driver.get(f"b{n}", driver.now + n)
        for member, message in driver.turn():
            driver.answer(member, message)
        assert driver.core.in_flight == 0
        driver.results.clear()
        del message
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_what_ended_holds_no_bytes_while_others_of_its_turn_go_on(driver: Driver) -> None:
    driver.get("slow", driver.now + 10, ReadLevel.STALE)  # its member keeps silent
    driver.put("answered", driver.now + 10, b"<answered>")
    [frame] = [message for _, message in driver.turn() if isinstance(message, Submit)]
    driver.answer(1, frame)
    cancelled = driver.put("cancelled", driver.now + 10, b"<cancelled>")
    driver.turn()
    driver.core.cancel(cancelled)
    assert driver.core.in_flight == 1
    del frame
    gc.collect()
    frames = [thing for thing in gc.get_objects() if type(thing) is Frame]
    assert not [at for at in frames for value in (b"<a", b"<c") if value in at.payload]


def test_a_frame_that_nobody_waits_for_is_given_up(driver: Driver) -> None:
    pending = driver.put("a")
    [(_, frame)] = driver.turn()
    driver.core.cancel(pending)
    driver.core.cancel(pending)  # twice is once
    driver.lose(1)
    driver.lead(2, term=2)
    assert driver.turn() == []
    driver.answer(1, frame)
    assert driver.results == {}
    assert driver.core.in_flight == 0


# --- members, management, the end -----------------------------------------------------------------


def test_pushed_addresses_are_passed_on(driver: Driver) -> None:
    assert driver.known[-1] == {id: Address("host", id) for id in (1, 2, 3)}
    driver.lose(3)
    driver.receive(1, Leader(1, 1, ((1, "host", 1), (2, "moved", 22))))
    driver.turn()
    assert driver.known[-1] == {1: Address("host", 1), 2: Address("moved", 22)}
    # A follower that lags names an address that the leader replaced, and it does not come back.
    driver.receive(2, Leader(1, 1, ((1, "host", 1), (2, "host", 2))))
    assert driver.core.routing.addresses[2] == Address("moved", 22)


def test_members_found_from_outside_replace_the_known(driver: Driver) -> None:
    driver.put("a")
    driver.turn()
    driver.core.know({7: Address("new", 7)}, driver.now)
    assert driver.turn() == []
    assert driver.known[-1] == {7: Address("new", 7)}
    driver.connect(7)
    [(member, _)] = driver.turn()
    assert member == 7


def manage(driver: Driver, deadline: float = FAR) -> None:
    action = Transfer(2)
    driver.core.manage(action, 5, deadline, lambda result: driver.results.update(m=result))


def test_management_follows_redirects_and_gives_the_answer(driver: Driver) -> None:
    manage(driver)
    [(_, request)] = driver.turn()
    assert isinstance(request, Manage)
    assert (request.based_on, request.action) == (5, Transfer(2))
    driver.refuse(1, request, Code.NOT_LEADER, leader=2)
    [(member, again)] = driver.turn()
    assert member == 2
    managed = Managed(again.request, 6, 2)
    driver.receive(2, managed)
    assert driver.results["m"] == managed


def test_management_is_not_repeated_once_its_outcome_is_unknown(driver: Driver) -> None:
    manage(driver)
    driver.turn()
    driver.lead(2, term=2)
    assert driver.turn() == []
    driver.lose(1)
    assert type(driver.results["m"]) is errors.OutcomeUnknown


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (Code.CONFIGURATION_CHANGED, errors.ConfigurationChanged),
        (Code.CHANGE_IN_PROGRESS, errors.ChangeInProgress),
        (Code.NO_SUCH_MEMBER, errors.NoSuchMember),
        (Code.LAST_VOTER, errors.LastVoter),
    ],
)
def test_broken_rules_of_management_have_their_errors(
    driver: Driver, code: Code, error: type[Exception]
) -> None:
    action = Add(4, 99, "host")
    driver.core.manage(action, 5, FAR, lambda result: driver.results.update(m=result))
    [(_, request)] = driver.turn()
    driver.receive(1, Refused(request.request, code, 0, "why"))
    assert type(driver.results["m"]) is error
    assert str(driver.results["m"]) == "why"


def test_inspect_addresses_the_given_member_and_waits_for_it(driver: Driver) -> None:
    driver.lose(3)
    driver.core.inspect(3, True, FAR, lambda result: driver.results.update(i=result))
    assert driver.turn() == []
    driver.connect(3)
    [(member, request)] = driver.turn()
    assert member == 3
    assert isinstance(request, Inspect)
    assert request.digest
    assert driver.tick(5.0) == []  # a digest is slow, and not asked for twice
    assert driver.core.routing.leader == 1  # nor is the leader doubted for it


def test_close_ends_everything_and_the_session(driver: Driver) -> None:
    driver.put("sent")
    driver.turn()
    driver.put("queued")
    driver.get("read")
    [ending] = driver.core.close(driver.now)
    assert command(ending.message) == sessions.Close(SESSION)
    assert type(driver.results["sent"]) is errors.OutcomeUnknown
    assert type(driver.results["queued"]) is errors.Closed
    assert type(driver.results["read"]) is errors.Closed
    with pytest.raises(errors.Closed):
        driver.put("later")
    assert driver.core.in_flight == 0
    assert driver.core.next_deadline() == float("inf")


def test_close_ends_thousands_each_once(driver: Driver) -> None:
    for n in range(3000):
        driver.put(f"sent{n}")
    driver.turn()
    for n in range(3000):
        driver.put(f"queued{n}")
        driver.get(f"read{n}")
    driver.core.cancel(driver.put("cancelled"))
    driver.core.close(driver.now)
    assert len(driver.results) == 9000
    for name, result in driver.results.items():
        assert type(result) is (errors.OutcomeUnknown if "sent" in name else errors.Closed)
    assert driver.core.in_flight == 0
    assert driver.core.next_deadline() == float("inf")


def test_messages_have_the_expected_types(driver: Driver) -> None:
    driver.put("a")
    driver.get("b")
    assert [type(message) for _, message in driver.turn()] == [Submit, Read]
