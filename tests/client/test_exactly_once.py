"""An operation is in one place and carried out once, whatever comes late, twice or not at all."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, NamedTuple

import pytest

from raycons import errors
from raycons.client.calls import Call, Pending
from raycons.client.settings import ClientSettings
from raycons.machines.kv import commands
from raycons.member.protocol import Answer, Code, Read, ReadLevel, Submit

from .driver import Driver, operations
from .group import Group

MEMBERS = (1, 2, 3)


@pytest.fixture
def group() -> Group:
    return Group()


def opened(group: Group, settings: ClientSettings) -> Driver:
    """Connected to all members, of which 1 leads, with a session of `group`."""
    driver = Driver(settings)
    driver.connect(*MEMBERS)
    driver.lead(1)
    driver.put("opener")
    for _ in range(2):
        serve(driver, group)
    assert isinstance(driver.results["opener"], commands.PutDone)
    return driver


def serve(driver: Driver, group: Group, after: float = 0.0) -> list[Any]:
    """One turn in which every message is answered; gives the messages."""
    sent = driver.tick(after)
    for member, message in sent:
        driver.receive(member, group.carry_out(message))
    return [message for _, message in sent]


# One operation a frame: a copy of it would travel in a frame of its own.
ALONE = ClientSettings(max_frame_operations=1)


def test_an_unknown_session_in_the_turn_in_which_patience_ends_repeats_nothing(
    group: Group,
) -> None:
    driver = opened(group, ALONE)
    driver.put("a", value=b"mine")
    [(_, frame)] = driver.turn()
    group.expire_sessions()
    driver.now += 1.02
    driver.core.tick(driver.now)  # patience ends: the frame waits for another attempt
    driver.receive(1, group.carry_out(frame))  # the first one did nothing
    driver.lead(1, term=2)
    assert_carried_out_once(driver, group)


def test_an_unknown_session_while_a_refused_retry_waits_repeats_nothing(group: Group) -> None:
    driver = opened(group, ALONE)
    driver.put("a", value=b"mine")
    [(_, frame)] = driver.turn()
    [(member, retry)] = driver.tick(1.02)
    assert member != 1
    driver.refuse(member, retry, Code.UNAVAILABLE)
    assert driver.turn() == []  # held back
    group.expire_sessions()
    driver.receive(1, group.carry_out(frame))
    assert_carried_out_once(driver, group)


def assert_carried_out_once(driver: Driver, group: Group) -> None:
    """The put of "a" ends and is sent once; another client's later write is not undone."""
    sent: list[Any] = []
    while driver.core.in_flight:
        sent += serve(driver, group, after=0.3)
    assert isinstance(driver.results["a"], commands.PutDone)
    group.put(b"a", b"another's")
    for _ in range(4):
        sent += serve(driver, group, after=0.3)
    found = group.find(b"a")
    assert found is not None
    assert (found.value, found.version) == (b"another's", 2)
    assert [operations(message) for message in sent[1:]] == [(commands.Put(b"a", b"mine"),)]


def test_an_operation_of_a_dissolved_frame_can_be_given_up_where_it_is_now(group: Group) -> None:
    driver = opened(group, ClientSettings())
    brief, kept = driver.put("brief"), driver.put("kept")
    [(_, frame)] = driver.turn()
    group.expire_sessions()
    driver.now += 1.02
    driver.core.tick(driver.now)
    driver.receive(1, group.carry_out(frame))
    driver.core.cancel(brief)
    while driver.core.in_flight:
        serve(driver, group, after=0.3)
    assert kept.done is None
    assert group.find(b"brief") is None
    found = group.find(b"kept")
    assert found is not None
    assert found.version == 1


# --- at random ------------------------------------------------------------------------------------


class Sent(NamedTuple):
    """A message on its way, over the connection of that number."""

    member: int
    connection: int
    message: Submit | Read


class Weather:
    """A client and a group with everything between them that can go wrong, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.group = Group()
        settings = ClientSettings(
            max_frame_operations=self.random.choice([1, 2, 5]),
            attempt_timeout_s=0.2,
            last_attempt_timeout_s=0.4,
        )
        self.driver = Driver(settings)
        self.connections = dict.fromkeys(MEMBERS, 0)
        self.requests: list[Sent] = []
        self.answers: list[tuple[int, int, Answer]] = []
        self.pending: dict[str, Pending] = {}
        self.reads: set[str] = set()
        self.answered: list[str] = []  # the reads that ended
        self.term = 0
        for member in MEMBERS:
            self.driver.connect(member)

    @property
    def core(self) -> Any:
        return self.driver.core

    def step(self) -> None:
        """One event, and now and then the end of a turn: what comes before it shares the turn."""
        events = [
            (self.ask, 5),
            (self.give_up, 1),
            (self.deliver, 8),
            (self.answer, 8),
            (self.lose_message, 2),
            (self.refuse, 3),
            (self.lose_leadership, 2),
            (self.lose_connection, 1),
            (self.elect, 2),
            (self.group.expire_sessions, 2),
            (self.pass_time, 6),
        ]
        names, weights = zip(*events, strict=True)
        [event] = self.random.choices(names, weights)
        event()
        if self.random.random() < 0.5:
            self.end_turn()

    def ask(self) -> None:
        name = f"k{len(self.pending)}"
        deadline = self.driver.now + self.random.choice([0.05, 0.5, 2.0, 1000.0])
        if self.random.random() < 0.25:
            key = self.random.choice([name, *self.pending])
            level = self.random.choice([*ReadLevel])
            self.reads.add(name)
            self.pending[name] = self.core.read(
                commands.Range(key.encode()), level, deadline, lambda _: self.answered.append(name)
            )
        else:
            self.pending[name] = self.driver.put(name, deadline)

    def give_up(self) -> None:
        if self.pending:
            self.core.cancel(self.random.choice([*self.pending.values()]))

    def deliver(self) -> None:
        if self.requests:
            member, connection, message = self.take(self.requests)
            self.answers.append((member, connection, self.group.carry_out(message)))

    def answer(self) -> None:
        if self.answers:
            member, connection, answer = self.take(self.answers)
            if connection == self.connections[member]:
                self.driver.receive(member, answer)

    def lose_message(self) -> None:
        if lost := self.random.choice([self.requests, self.answers]):
            self.take(lost)

    def refuse(self) -> None:
        """A refusal that says: not done, and it will not be."""
        if self.requests:
            member, connection, message = self.take(self.requests)
            code = self.random.choice([Code.NOT_LEADER, Code.OVERLOADED, Code.UNAVAILABLE])
            if connection == self.connections[member]:
                self.driver.refuse(member, message, code, self.random.choice([0, *MEMBERS]))

    def lose_leadership(self) -> None:
        """A refusal that leaves open whether it was done, or will be."""
        if self.requests:
            sent = self.random.choice(self.requests)
            if sent.connection == self.connections[sent.member]:
                self.driver.refuse(sent.member, sent.message, Code.LEADERSHIP_LOST)
            if isinstance(sent.message, Read) or self.random.random() < 0.5:
                self.requests.remove(sent)

    def lose_connection(self) -> None:
        """What was sent over it may still be carried out; its answer comes no more."""
        member = self.random.choice(MEMBERS)
        self.connections[member] += 1
        self.driver.lose(member)
        if self.random.random() < 0.5:
            self.end_turn()
        self.driver.connect(member)

    def elect(self) -> None:
        self.term += 1
        self.driver.lead(self.random.choice(MEMBERS), self.term)

    def pass_time(self) -> None:
        self.driver.now += self.random.choice([0.001, 0.01, 0.1, 0.3])
        self.core.tick(self.driver.now)

    def end_turn(self) -> None:
        for member, message in self.driver.turn():
            self.requests.append(Sent(member, self.connections[member], message))

    def take(self, things: list[Any]) -> Any:
        return things.pop(self.random.randrange(len(things)))

    def settle(self) -> None:
        """Everything works from now on, and what was under way arrives."""
        for _ in range(100):
            while self.requests:
                self.deliver()
            while self.answers:
                self.answer()
            self.pass_time()
            self.end_turn()
            self.check_places()

    def check_places(self) -> None:
        """Every operation that has not ended is in one queue or one call, and counted there."""
        outbox = self.core._outbox
        places: Counter[int] = Counter()
        for queue in (outbox.operations, *outbox.queries.values()):
            waiting = [pending for pending in queue.members if pending.done is not None]
            assert all(pending.call is None for pending in waiting)
            assert len(queue) == len(waiting)
            places.update(map(id, waiting))
        calls: dict[Call, None] = dict.fromkeys(
            [*outbox._for_leader, *outbox._for_others, *outbox.attempts.all()]
        )
        for call in calls:
            inside = [pending for pending in call.operations if pending.done is not None]
            assert all(pending.call is call for pending in inside)
            assert call.live == len(inside)
            places.update(map(id, inside))
        alive = [pending for pending in self.pending.values() if pending.done is not None]
        assert places == Counter(map(id, alive))
        assert self.core.in_flight == len(alive)
        assert self.core._gathering.size_bytes == sum(pending.size_bytes for pending in alive)

    def check_outcomes(self) -> None:
        """What was told agrees with what was done."""
        assert len(self.answered) == len(set(self.answered))
        for name in self.pending.keys() - self.reads:
            found = self.group.find(name.encode())
            times = 0 if found is None else found.version
            match self.driver.results.get(name):
                case commands.PutDone():
                    assert times == 1, name
                case errors.NotApplied():
                    assert times == 0, name
                case None | errors.OutcomeUnknown():
                    assert times <= 1, name
                case other:
                    raise AssertionError(f"{name}: {other!r}")


@pytest.mark.parametrize("seed", range(80))
def test_every_operation_is_in_one_place_and_carried_out_once(seed: int) -> None:
    weather = Weather(seed)
    for _ in range(250):
        weather.step()
        weather.check_places()
    weather.settle()
    assert weather.core.in_flight == 0
    weather.check_outcomes()
    assert any(isinstance(r, commands.PutDone) for r in weather.driver.results.values())


@pytest.mark.parametrize("seed", range(20))
def test_closing_ends_every_operation_once(seed: int) -> None:
    weather = Weather(seed)
    for _ in range(150):
        weather.step()
    weather.core.close(weather.driver.now)
    weather.check_places()
    assert weather.core.in_flight == 0
    while weather.requests:
        weather.deliver()
    while weather.answers:
        weather.answer()
    weather.check_outcomes()
