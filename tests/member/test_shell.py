"""The loop around the engine: turns, the timer, admission, failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
import uvloop

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.raft.messages import (
    Appended,
    Heartbeat,
    HeartbeatReply,
    PreVoteReply,
    VoteReply,
)
from raycons.errors import StoreCorrupt
from raycons.machines.kv import KeyValueMachine
from raycons.machines.sessions import Open, Opened, SessionAnswer, Sessions
from raycons.member.clock import boottime
from raycons.member.engine import bootstrap
from raycons.member.protocol import Answer, Leader, Submit
from raycons.member.shell import GROUP, LATE_S, Shell
from raycons.store.memory import MemoryStore
from raycons.transport.contract import SPOKEN, Address, ClientId, Greeting, PeerId

RAFT = RaftSettings(election_timeout_s=0.2, heartbeat_interval_s=0.1)


class Wire:
    """A transport that remembers."""

    address = Address("10.0.0.1", 4001)
    counters: Mapping[str, int] = {}

    def __init__(self) -> None:
        self.sent: list[tuple[PeerId, Any]] = []
        self.responses: list[tuple[ClientId, Any]] = []
        self.known: Mapping[PeerId, Address] = {}

    def send(self, to: PeerId, group: int, message: Any) -> None:
        self.sent.append((to, message))

    def respond(self, client: ClientId, group: int, message: Any) -> None:
        self.responses.append((client, message))

    def flush(self) -> None:
        pass

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        self.known = dict(addresses)

    async def close(self) -> None:
        pass


def greeting(id: PeerId, nonce: int, *, cluster: str = "c", incarnation: int = 1) -> Greeting:
    return Greeting(
        versions=SPOKEN,
        cluster=cluster,
        id=id,
        nonce=nonce,
        incarnation=incarnation,
        opening=id * 1000 + incarnation,
        address=(f"10.0.0.{id}", 4000 + id),
    )


class Rig:
    """A shell around a real engine, in memory, as replica 1."""

    def __init__(self, voters: int) -> None:
        self.store = MemoryStore()
        peers = tuple(Peer(id, 100 + id, Role.VOTER) for id in range(1, voters + 1))
        first = Configuration(peers=peers, next_id=voters + 1, reserved=())
        bootstrap(self.store, GROUP, 1, 101, first)
        self.failures: list[BaseException] = []
        self.retirements: list[str] = []
        self.wire = Wire()
        self.shell = Shell(
            greeting=greeting(1, 101),
            store=self.store,
            make_machine=lambda state: Sessions(KeyValueMachine(state), state),
            raft=RAFT,
            member=MemberSettings(),
            durable_store=False,
            failed=self.failures.append,
            retired=self.retirements.append,
        )
        self.shell.start(self.wire)


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  conditions of all kinds
            await asyncio.sleep(0.001)


def test_a_command_goes_in_and_its_answer_comes_out() -> None:
    async def run() -> None:
        rig = Rig(voters=1)
        rig.shell.client_connected(7)
        await until(lambda: rig.shell.engine.replica.role == "leader")
        payload = msgspec.msgpack.encode(Open(nonce=b"n" * 16, ttl_s=60.0))
        rig.shell.client_received(7, GROUP, Submit(1, 0, payload))
        rig.shell.turn_over()
        await until(lambda: any(type(said) is Answer for _, said in rig.wire.responses))
        answer = next(said for _, said in rig.wire.responses if type(said) is Answer)
        opened = msgspec.msgpack.decode(answer.body, type=SessionAnswer)
        assert isinstance(opened, Opened)
        # The client was told who leads, and where everyone listens.
        leaders = [said for _, said in rig.wire.responses if type(said) is Leader]
        assert leaders[-1].leader == 1
        assert leaders[-1].addresses == ((1, "10.0.0.1", 4001),)
        assert len(rig.shell.meter.commit_s) == 1
        await rig.shell.stop()

    asyncio.run(run())


@pytest.mark.parametrize("disturbed_after_s", [None, 0.0, RAFT.heartbeat_interval_s / 10])
def test_a_follower_that_was_stopped_listens_before_it_campaigns(
    disturbed_after_s: float | None,
) -> None:
    """The silence that it finds was its own; where the whole machine slept, its leader's too."""

    async def run() -> None:
        rig = Rig(voters=3)
        order: list[str] = []
        engine: Any = rig.shell.engine
        tick = engine.tick
        engine.tick = lambda now: (order.append("tick"), tick(now))

        def disturb() -> None:
            """A client asks again: this says nothing about the leader."""
            order.append("client")
            rig.shell.client_received(7, GROUP, Submit(1, 0, b""))
            rig.shell.turn_over()

        def heartbeat() -> None:
            order.append("heartbeat")
            rig.shell.received(2, GROUP, Heartbeat(1, (0, 0), 1, 1))
            rig.shell.turn_over()

        # The process is stopped, and so is its leader, which speaks a moment after both go on.
        time.sleep(3 * RAFT.election_timeout_s + 2 * LATE_S)  # noqa: ASYNC251  on purpose
        loop = asyncio.get_running_loop()
        loop.call_later(RAFT.heartbeat_interval_s / 2, heartbeat)
        if disturbed_after_s == 0.0:
            loop.call_soon(disturb)  # before the loop even looks at its timers
        elif disturbed_after_s is not None:
            loop.call_later(disturbed_after_s, disturb)
        await until(lambda: "tick" in order)
        disturbances = [] if disturbed_after_s is None else ["client"]
        assert order == [*disturbances, "heartbeat", "tick"]
        assert all(type(message) is HeartbeatReply for _, message in rig.wire.sent)
        await rig.shell.stop()

    asyncio.run(run())


def test_a_leader_that_was_stopped_speaks_at_once() -> None:
    async def run() -> None:
        rig = Rig(voters=1)
        engine: Any = rig.shell.engine
        await until(lambda: engine.replica.role == "leader")
        ticks: list[float] = []
        engine.tick = ticks.append
        time.sleep(3 * RAFT.election_timeout_s + 2 * LATE_S)  # noqa: ASYNC251  on purpose
        awake = boottime()
        await until(lambda: ticks)
        assert ticks[0] - awake < RAFT.heartbeat_interval_s / 2
        await rig.shell.stop()

    asyncio.run(run())


def test_an_idle_follower_wakes_for_heartbeats_alone() -> None:
    """Each heartbeat moves the election timer, which is not let fire only to be moved on."""

    async def run() -> None:
        rig = Rig(voters=3)
        shell: Any = rig.shell
        fired: list[float] = []
        shell._timer_fired = lambda: fired.append(boottime())
        for round in range(1, 30):
            shell.received(2, GROUP, Heartbeat(1, (0, 0), round, 1))
            shell.turn_over()
            await asyncio.sleep(0.03)
        assert shell.engine.replica.leader == 2
        assert fired == []
        await asyncio.sleep(2 * RAFT.election_timeout_s + 0.1)
        assert fired  # and does fire when they stop
        await shell.stop()

    asyncio.run(run())


def test_an_idle_leader_wakes_for_what_is_due() -> None:
    async def run() -> None:
        rig = Rig(voters=1)
        shell: Any = rig.shell
        engine = shell.engine
        await until(lambda: engine.replica.role == "leader")
        early: list[float] = []
        fired = shell._timer_fired

        def count() -> None:
            ahead = engine.next_deadline() - boottime()
            if ahead > 0:
                early.append(ahead)
            fired()

        shell._timer_fired = count
        await asyncio.sleep(5 * RAFT.heartbeat_interval_s)
        assert early == []
        await shell.stop()

    uvloop.run(run())  # it counts in whole milliseconds


def test_events_of_one_turn_end_together() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        engine: Any = rig.shell.engine
        ends: list[float] = []
        end_of_turn = engine.end_of_turn
        engine.end_of_turn = lambda now: (ends.append(now), end_of_turn(now))
        for peer in (2, 3):
            rig.shell.lost(peer)
        rig.shell.client_gone(7)
        assert ends == []
        await asyncio.sleep(0)
        assert len(ends) == 1
        await rig.shell.stop()

    asyncio.run(run())


def test_an_acknowledgement_that_commits_nothing_and_makes_no_room_ends_no_turn() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        engine: Any = rig.shell.engine
        replica = engine.replica
        for _ in range(100):
            if replica.role == "leader":
                break
            rig.shell.received(2, GROUP, PreVoteReply(replica.term, replica.term + 1, True))
            rig.shell.received(2, GROUP, VoteReply(replica.term, True))
            rig.shell.turn_over()
            await asyncio.sleep(0.02)
        ends: list[float] = []
        end_of_turn = engine.end_of_turn
        engine.end_of_turn = lambda now: (ends.append(now), end_of_turn(now))
        turns = []
        last = replica.log.last_index
        for peer, matched in ((2, last), (3, last), (3, last)):
            before = len(ends)
            rig.shell.received(peer, GROUP, Appended(replica.term, matched))
            rig.shell.turn_over()
            turns.append(len(ends) - before)
        assert turns == [1, 0, 0], "the first commits, the others tell the leader alone"
        replica.progress[3].next = last  # as where a full window held an entry back
        rig.shell.received(3, GROUP, Appended(replica.term, last - 1))
        assert replica.pending
        await rig.shell.stop()

    asyncio.run(run())


def test_a_confirmation_that_asks_for_nothing_ends_no_turn() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        engine: Any = rig.shell.engine
        ends: list[float] = []
        end_of_turn = engine.end_of_turn
        engine.end_of_turn = lambda now: (ends.append(now), end_of_turn(now))
        term = engine.replica.term
        rig.shell.received(2, GROUP, HeartbeatReply(term, 1, 0.0, 0))
        rig.shell.turn_over()
        assert ends == []
        rig.shell.received(2, GROUP, HeartbeatReply(term + 1, 1, 0.0, 0))
        rig.shell.turn_over()
        assert len(ends) == 1  # the higher term goes to disk
        rig.shell.received(2, GROUP, Heartbeat(term + 1, (0, 0), 1, 1))
        rig.shell.received(2, GROUP, HeartbeatReply(term + 1, 1, 0.0, 0))
        rig.shell.turn_over()
        assert len(ends) == 2
        await until(lambda: rig.wire.sent)  # the answer waited for the term's disk write
        await rig.shell.stop()

    asyncio.run(run())


def test_who_is_let_in() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        shell = rig.shell
        assert shell.admit(greeting(2, 102)) is None
        assert "belongs to cluster c" in str(shell.admit(greeting(2, 102, cluster="d")))
        assert "another store nonce" in str(shell.admit(greeting(2, 999)))
        assert "itself" in str(shell.admit(greeting(1, 101)))
        assert shell.admit(greeting(0, 0)) is None  # a client
        assert shell.admit(greeting(4, 104)) is None  # may join by a configuration yet unseen
        shell.connected(2, greeting(2, 102, incarnation=3))
        assert "incarnation 3 was seen" in str(shell.admit(greeting(2, 102, incarnation=2)))
        assert shell.admit(greeting(2, 102, incarnation=4)) is None
        await shell.stop()

    asyncio.run(run())


def test_the_removed_are_not_let_in() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        changed = Configuration(
            peers=(Peer(1, 101, Role.VOTER), Peer(3, 103, Role.VOTER)), next_id=6, reserved=(5,)
        )
        rig.shell.engine.__class__ = _with_configuration(type(rig.shell.engine), changed)
        assert "no longer part" in str(rig.shell.admit(greeting(2, 102)))
        assert rig.shell.admit(greeting(5, 105)) is None  # reserved: about to join
        assert rig.shell.admit(greeting(3, 103)) is None
        await rig.shell.stop()

    asyncio.run(run())


def _with_configuration(engine: Any, configuration: Configuration) -> Any:
    return type("Engine", (engine,), {"configuration": property(lambda self: configuration)})


def test_addresses_of_the_configuration_are_kept_connected() -> None:
    async def run() -> None:
        rig = Rig(voters=2)
        rig.shell.connected(2, greeting(2, 102))
        rig.shell.connected(9, greeting(9, 109))  # not listed: heard, but not called
        assert rig.wire.known == {2: Address("10.0.0.2", 4002)}
        rig.shell.locate({2: Address("10.0.0.2", 5002)})
        assert rig.wire.known == {2: Address("10.0.0.2", 5002)}
        await rig.shell.stop()

    asyncio.run(run())


def test_unreachable_peers_are_those_that_were_never_or_not_lately_connected() -> None:
    async def run() -> None:
        rig = Rig(voters=3)
        assert rig.shell.unreachable(3.0) == [2, 3]
        rig.shell.connected(2, greeting(2, 102))
        assert rig.shell.unreachable(3.0) == [3]
        rig.shell.lost(2)
        assert rig.shell.unreachable(3.0) == [3]
        assert rig.shell.unreachable(0.0) == [2, 3]
        await rig.shell.stop()

    asyncio.run(run())


def test_what_breaks_the_engine_ends_the_replica_once() -> None:
    async def run() -> None:
        rig = Rig(voters=1)
        engine: Any = rig.shell.engine
        broken = StoreCorrupt("a block fails its checksum")

        def fail(*arguments: Any) -> None:
            raise broken

        engine.end_of_turn = fail
        rig.shell.turn_over()
        rig.shell.turn_over()
        rig.shell.received(2, GROUP, object())
        await asyncio.sleep(2 * RAFT.election_timeout_s)
        assert rig.failures == [broken]
        await rig.shell.abandon()

    asyncio.run(run())


def test_a_replica_that_cannot_be_opened_leaves_nobody_at_its_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its store is closed next, and a sync of that would end the process."""
    made: list[object] = []

    def fail(**arguments: Any) -> None:
        raise StoreCorrupt("records that do not fit together")

    async def run() -> None:
        monkeypatch.setattr("raycons.member.shell.open_engine", fail)
        monkeypatch.setattr("raycons.member.shell.make_syncer", lambda *_, **__: made.append(1))
        with pytest.raises(StoreCorrupt):
            Rig(voters=1)

    asyncio.run(run())
    assert made == []


def test_a_retirement_by_the_group_is_passed_on() -> None:
    async def run() -> None:
        rig = Rig(voters=1)
        rig.shell.event("retired", {"reason": "your disk forgot"})
        assert rig.retirements == ["your disk forgot"]
        await rig.shell.stop()

    asyncio.run(run())


def test_the_clock_runs() -> None:
    before = boottime()
    assert boottime() >= before > 0


@pytest.mark.parametrize("voters", [1, 3])
def test_status_has_what_only_the_shell_knows(voters: int) -> None:
    async def run() -> None:
        rig = Rig(voters=voters)
        status = rig.shell.status()
        assert status["connections"] == []
        assert status["transport_counters"] == {}
        assert status["id"] == 1
        await rig.shell.stop()

    asyncio.run(run())
