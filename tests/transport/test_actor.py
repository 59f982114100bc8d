"""The transport over real Ray actor calls: the same promises as TCP's, at Ray's speed."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import ray

from raycons.transport import actor_clients
from raycons.transport.actor import ActorClientTransport, ActorMemberTransport
from raycons.transport.actor_clients import ActorClients, WithActorClients
from raycons.transport.actor_line import Reply, decode_reply, encode_reply
from raycons.transport.contract import SPOKEN, Address
from raycons.transport.greeting import encode_greeting
from raycons.transport.versions import Versions
from raycons.transport.wire import encode_frame

SUPPORT = str(Path(__file__).with_name("conftest.py"))
ANYWHERE = Address("", 0)


def load_support(path: str) -> ModuleType:
    """The helpers of the other tests; a worker of Ray does not have them on its path."""
    spec = importlib.util.spec_from_file_location("raycons_transport_support", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_actor_class() -> Any:
    """Inside a function, so that the class travels to the workers by value."""

    class Shell:
        def __init__(self, load: Callable[[str], ModuleType], support: str) -> None:
            self.support = load(support)
            self.handler: Any = None

        async def start(
            self, id: int, incarnation: int, peers: dict[int, str], refuse: str | None = None
        ) -> None:
            self.handler = self.support.Recorder()
            self.handler.refuse = refuse
            harbour = self.support.Harbour()
            self.transport = ActorMemberTransport(
                harbour.greeting(id, incarnation),
                self.handler,
                harbour.codec,
                resolve=lambda peer: ray.get_actor(peers[peer]) if peer in peers else None,
                random=Random(id),
            )
            self.transport.know(dict.fromkeys(peers, ANYWHERE))

        async def deliver(self, greeting: bytes, frames: bytes) -> bytes:
            return await self.transport.deliver(greeting, frames)

        async def attend(self, greeting: bytes) -> bytes:
            return await self.transport.attend(greeting)

        async def exchange(self, token: bytes, greeting: bytes, frames: bytes) -> bytes:
            return await self.transport.exchange(token, greeting, frames)

        async def collect(self, token: bytes, greeting: bytes) -> bytes:
            return await self.transport.collect(token, greeting)

        async def send(self, to: int, messages: list[tuple[int, bytes]]) -> None:
            for message in messages:
                self.transport.send(to, 4, message)

        async def respond(self, client: int, message: tuple[int, bytes]) -> None:
            self.transport.respond(client, 3, message)

        async def told(self, name: str, count: int) -> Any:
            """What the handler was told `count` times at least."""
            return await self.handler.until_named(name, count)

        async def counters(self) -> dict[str, int]:
            return dict(self.transport.counters)

    return ray.remote(Shell)


class Stage:
    """Makes named actors and ends them with the test."""

    def __init__(self) -> None:
        self.kind = make_actor_class()
        self.handles: list[Any] = []

    def actor(self, name: str) -> Any:
        handle = self.kind.options(name=name, num_cpus=0).remote(load_support, SUPPORT)
        self.handles.append(handle)
        return handle

    def pair(self, prefix: str) -> tuple[Any, Any]:
        one, two = self.actor(f"{prefix}-1"), self.actor(f"{prefix}-2")
        peers = {1: f"{prefix}-1", 2: f"{prefix}-2"}
        ray.get([one.start.remote(1, 1, peers), two.start.remote(2, 1, peers)], timeout=60)
        told = [one.told.remote("connected", 1), two.told.remote("connected", 1)]
        assert ray.get(told, timeout=30) == [[(2,)], [(1,)]]
        return one, two


@pytest.fixture
def stage(ray_session: None) -> Iterator[Stage]:
    stage = Stage()
    # The workers cannot import this module: what they need of it travels by value.
    register_by_value = ray.cloudpickle.register_pickle_by_value
    register_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield stage
    for handle in stage.handles:
        ray.kill(handle)


def test_members_talk_in_batches(stage: Stage) -> None:
    one, two = stage.pair("talk")
    messages = [(1, b"%d" % number) for number in range(500)]
    one.send.remote(2, messages)
    two.send.remote(1, [(2, b"back")])
    arrived = ray.get(two.told.remote("received", 500), timeout=30)
    assert arrived == [(1, 4, message) for message in messages]
    assert ray.get(one.told.remote("received", 1), timeout=30) == [(2, 4, (2, b"back"))]
    assert ray.get(two.told.remote("turn_over", 1), timeout=30) == [()]  # one turn, one call


def test_a_killed_actor_is_lost_once_and_its_next_life_is_found(stage: Stage) -> None:
    one, two = stage.pair("kill")
    ray.kill(two)
    assert ray.get(one.told.remote("lost", 1), timeout=30) == [(2,)]
    one.send.remote(2, [(1, b"nobody there")])
    again = stage.actor("kill-2")
    ray.get(again.start.remote(2, 2, {1: "kill-1"}), timeout=60)
    assert ray.get(one.told.remote("connected", 2), timeout=30) == [(2,), (2,)]
    one.send.remote(2, [(1, b"again")])
    assert ray.get(again.told.remote("received", 1), timeout=30) == [(1, 4, (1, b"again"))]
    assert ray.get(one.told.remote("lost", 1), timeout=30) == [(2,)]
    assert ray.get(one.counters.remote(), timeout=30)["dropped_unreachable"] == 1


def test_a_client_talks_is_told_unasked_and_notices_death(stage: Stage) -> None:
    support = load_support(SUPPORT)
    member = stage.actor("client-1")
    ray.get(member.start.remote(1, 1, {}), timeout=60)

    async def scenario() -> None:
        told = support.Recorder()
        client = ActorClientTransport(
            support.Harbour().greeting(0, 0),
            told,
            support.Harbour.codec,
            resolve=lambda id: ray.get_actor(f"client-{id}"),
            random=Random(0),
            group=3,
        )
        client.know({1: ANYWHERE, 9: ANYWHERE})
        await told.until_named("connected")
        ((id,),) = await member.told.remote("client_connected", 1)
        client.send(1, (8, b"asked"))
        assert await member.told.remote("client_received", 1) == [(id, 3, (8, b"asked"))]
        await member.respond.remote(id, (9, b"answered"))
        await told.until_named("received")
        await member.respond.remote(id, (9, b"unasked"))
        answers = await told.until_named("received", 2)
        assert answers == [(1, (9, b"answered")), (1, (9, b"unasked"))]
        await told.until(lambda: (9,) in told.named("lost"))
        ray.kill(member)
        await told.until(lambda: (1,) in told.named("lost"))
        assert client.why_unreachable(1)
        await client.close()
        assert len(told.named("lost")) == 2

    asyncio.run(scenario())


def test_a_member_that_refuses_is_never_lost(stage: Stage) -> None:
    one, two = stage.actor("refuse-1"), stage.actor("refuse-2")
    peers = {1: "refuse-1", 2: "refuse-2"}
    ray.get([one.start.remote(1, 1, peers), two.start.remote(2, 1, peers, "twin")], timeout=60)

    async def refused() -> None:
        async with asyncio.timeout(30):
            while (await one.counters.remote())["refused_by_other"] < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    asyncio.run(refused())
    ray.get(one.send.remote(2, [(1, b"unheard")]), timeout=30)
    counters = ray.get(one.counters.remote(), timeout=30)
    assert counters["dropped_unreachable"] == 1
    assert counters["connections_opened"] == 0


# --- without Ray: a client's side, as the interpreter ends ----------------------------------------


class Ending:
    """An actor's handle where Python has stopped to take work for its threads."""

    def __init__(self, refused: str, reply: bytes) -> None:
        self.refused = refused  # the call that cannot be made any more: hello, listen or push
        self.reply = reply
        self.exchange = self._Method(self._exchange)
        self.collect = self._Method(self._collect)

    class _Method:
        def __init__(self, call: Callable[..., Any]) -> None:
            self.remote = call

    def _exchange(self, token: bytes, greeting: bytes, frames: bytes) -> Any:
        return self._answer("push" if frames else "hello")

    def _collect(self, token: bytes, greeting: bytes) -> Any:
        return self._answer("listen")

    def _answer(self, call: str) -> Any:
        if call == self.refused:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = asyncio.get_running_loop().create_future()
        if call == "hello":
            future.set_result(self.reply)
        return future


@pytest.mark.parametrize("refused", ["resolve", "hello", "listen", "push"])
def test_a_line_ends_quietly_with_the_interpreter(refused: str) -> None:
    support = load_support(SUPPORT)

    async def scenario() -> list[str]:
        loop = asyncio.get_running_loop()
        complaints: list[str] = []
        loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
        harbour = support.Harbour()
        told = support.Recorder()
        reply = encode_reply(Reply(harbour.greeting(1, 1), "", b""))
        ending = Ending(refused, reply)

        def resolve(id: int) -> Any:
            if refused == "resolve":
                raise RuntimeError("cannot schedule new futures after shutdown")
            return ending

        client = ActorClientTransport(
            harbour.greeting(0, 0), told, harbour.codec, resolve=resolve, random=Random(0), group=3
        )
        client.know({1: ANYWHERE})
        [line] = [task for task in asyncio.all_tasks() if "line to member" in task.get_name()]
        if refused == "push":
            await told.until_named("connected")
            before = asyncio.all_tasks()
            client.send(1, (8, b"asked"))
            while not (pushes := asyncio.all_tasks() - before):  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.wait(pushes, timeout=10)
        else:
            await asyncio.wait([line], timeout=10)
            assert line.done()
            assert line.exception() is None
        await client.close()
        del line
        gc.collect()
        return complaints

    assert asyncio.run(scenario()) == []


# --- without Ray: the member's side, called directly ----------------------------------------------

Play = Callable[[Callable[[Any], Any]], None]


def alone(harbour: Any, **options: Any) -> tuple[ActorMemberTransport, Any]:
    """A member whose methods the test calls itself, as Ray would."""
    handler = harbour.recorder()
    transport = ActorMemberTransport(
        harbour.greeting(1, 5),
        handler,
        harbour.codec,
        resolve=lambda id: None,
        random=Random(1),
        **options,
    )
    harbour.add(transport.close)
    return transport, handler


def frames_of(*bodies: bytes, kind: int = 1, incarnation: int = 5) -> bytes:
    return b"".join(encode_frame(SPOKEN.newest, kind, 3, incarnation, body) for body in bodies)


def test_only_admitted_senders_of_this_cluster_are_heard(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        cases = {
            "rejected_cluster": harbour.greeting(2, cluster="other"),
            "rejected_identity": harbour.greeting(1),
            "rejected_version": harbour.greeting(2, versions=Versions(9, 11)),
        }
        for counter, greeting in cases.items():
            reply = decode_reply(await member.deliver(encode_greeting(greeting), frames_of(b"x")))
            assert reply.refusal
            assert member.counters[counter] == 1
        told.refuse = "removed"
        reply = decode_reply(await member.deliver(encode_greeting(harbour.greeting(2)), b""))
        assert reply.refusal == "removed"
        assert decode_reply(await member.deliver(b"nonsense", b"")).refusal
        assert decode_reply(await member.exchange(b"token", b"nonsense", b"")).refusal
        assert told.events == []

    play(scenario)


def test_an_older_life_or_a_twin_is_refused_and_a_newer_one_heard(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        refusals = []
        lives = [harbour.greeting(2, 3), harbour.greeting(2, 3, opening=1), harbour.greeting(2, 2)]
        for greeting in [*lives, harbour.greeting(2, 4), harbour.greeting(2, 3)]:
            encoded = encode_greeting(greeting)
            reply = decode_reply(await member.deliver(encoded, frames_of(b"x")))
            refusals.append(bool(reply.refusal))
        assert refusals == [False, True, True, False, True]
        assert len(told.named("received")) == 2

    play(scenario)


def test_frames_are_checked_as_on_tcp(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        peer = encode_greeting(harbour.greeting(2))
        frames = frames_of(b"old", incarnation=4) + frames_of(b"?", kind=200) + frames_of(b"good")
        assert not decode_reply(await member.deliver(peer, frames)).refusal
        assert told.named("received") == [(2, 3, (1, b"good"))]
        assert member.counters["dropped_incarnation"] == 1
        assert member.counters["dropped_unknown_kind"] == 1
        assert decode_reply(await member.deliver(peer, frames_of(b"garbage", b"x"))).refusal
        assert member.counters["rejected_malformed"] == 1
        assert len(told.named("received")) == 1

    play(scenario)


def test_a_peer_let_go_by_the_turn_that_its_garbage_ends(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        member.know({2: ANYWHERE})
        told.on_turn_over = lambda: member.know({})
        peer = encode_greeting(harbour.greeting(2))
        reply = decode_reply(await member.deliver(peer, frames_of(b"good", b"garbage")))
        assert reply.refusal.startswith("malformed")
        assert told.named("received") == [(2, 3, (1, b"good"))]
        assert member.counters["rejected_malformed"] == 1

    play(scenario)


def test_a_client_that_stops_collecting_is_gone(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor_clients, "GONE_S", 0.05)
    monkeypatch.setattr(actor_clients, "LISTEN_S", 0.2)

    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        hello = encode_greeting(harbour.greeting(0, 0))
        await member.collect(b"token", hello)  # longer than GONE_S: one that collects stays
        assert told.named("client_gone") == []
        ((id,),) = told.named("client_connected")
        assert await told.until_named("client_gone") == [(id,)]
        await member.exchange(b"token", hello, b"")  # the same token is a new client
        assert told.named("client_connected")[1] != (id,)

    play(scenario)


def test_a_later_collect_takes_over_from_one_whose_caller_gave_up(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = alone(harbour)
        hello = encode_greeting(harbour.greeting(0, 0))
        first = asyncio.create_task(member.collect(b"token", hello))
        ((id,),) = await told.until_named("client_connected")
        second = asyncio.create_task(member.collect(b"token", hello))
        assert decode_reply(await first).frames == b""
        member.respond(id, 3, (1, b"one"))
        member.respond(id, 3, (1, b"two"))
        assert decode_reply(await second).frames == frames_of(b"one", b"two", incarnation=0)

    play(scenario)


def test_a_client_that_lets_its_answers_pile_up_is_dropped(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        settings = harbour.settings(client_buffer_bytes=1000)
        member, told = alone(harbour, settings=settings)
        await member.exchange(b"token", encode_greeting(harbour.greeting(0, 0)), b"")
        ((id,),) = told.named("client_connected")
        for _ in range(20):
            member.respond(id, 3, (1, b"x" * 100))
        assert told.named("client_gone") == [(id,)]
        assert member.counters["rejected_slow"] == 1

    play(scenario)


def test_a_tcp_member_serves_clients_of_both_kinds(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        tcp, told = await harbour.member(1)
        clients = ActorClients(harbour.greeting(1), told, tcp.common)
        both = WithActorClients(tcp, clients)
        client, told_client = harbour.client()
        client.know({1: both.address})
        await told_client.until_named("connected")
        hello = encode_greeting(harbour.greeting(0, 0))
        collecting = asyncio.create_task(clients.collect(b"token", hello))
        (by_tcp,), (by_calls,) = await told.until_named("client_connected", 2)
        both.respond(by_tcp, 3, (1, b"tcp"))
        both.respond(by_calls, 3, (1, b"calls"))
        assert await told_client.until_named("received") == [(1, (1, b"tcp"))]
        assert decode_reply(await collecting).frames == frames_of(b"calls", incarnation=0)
        await both.close()

    play(scenario)
