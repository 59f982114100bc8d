"""Members and clients over real sockets: what arrives, what is lost, and who is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from raycons.errors import TransportError
from raycons.transport.contract import SPOKEN, Address
from raycons.transport.gate import Direction, Gate
from raycons.transport.greeting import MAGIC, Handshake

Play = Callable[[Callable[[Any], Any]], None]


def test_messages_go_both_ways_with_their_group(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, told_two = await harbour.pair()
        one.send(2, 4, (1, b"to two"))
        two.send(1, 5, (2, b"to one"))
        assert await told_two.until_named("received") == [(1, 4, (1, b"to two"))]
        assert await told_one.until_named("received") == [(2, 5, (2, b"to one"))]
        assert told_one.named("connected") == [(2,)]

    play(scenario)


def test_a_client_asks_and_is_answered_and_may_be_told_unasked(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told_member = await harbour.member(1)
        client, told_client = harbour.client()
        client.know({1: member.address})
        await told_client.until_named("connected")
        ((id,),) = await told_member.until_named("client_connected")
        member.respond(id, 3, (9, b"pushed"))
        assert await told_client.until_named("received") == [(1, (9, b"pushed"))]
        client.send(1, (8, b"asked"))
        assert await told_member.until_named("client_received") == [(id, 3, (8, b"asked"))]
        await client.close()
        assert await told_member.until_named("client_gone") == [(id,)]
        member.respond(id, 3, (9, b"too late"))
        assert member.counters["dropped_unreachable"] == 1

    play(scenario)


def test_what_one_turn_sends_arrives_in_one_turn_and_in_order(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _, _, told_two = await harbour.pair()
        for number in range(500):
            one.send(2, 0, (1, b"%d" % number))
        await told_two.until_named("turn_over")
        bodies = [body for _, _, (_, body) in told_two.named("received")]
        assert bodies == [b"%d" % number for number in range(500)]
        # 500 frames of 21 bytes are one write and one read.
        assert len(told_two.named("turn_over")) == 1
        assert one.counters["frames_sent"] == 500

    play(scenario)


def test_what_the_handler_sends_at_the_end_of_a_turn_leaves_in_that_turn(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, told_two = await harbour.pair()
        told_two.on_received = two.send
        for number in range(10):
            one.send(2, 0, (1, bytes([number])))
        await told_one.until_named("received", 10)
        await told_one.until_named("turn_over")
        assert len(told_one.named("turn_over")) == 1

    play(scenario)


def test_a_frame_larger_than_any_read_arrives_whole(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _, _, told_two = await harbour.pair()
        body = bytes(range(256)) * 20_000  # 5 MB
        one.send(2, 0, (1, body))
        one.send(2, 0, (2, b"after"))
        received = await told_two.until_named("received", 2)
        assert received == [(1, 0, (1, body)), (1, 0, (2, b"after"))]

    play(scenario)


def test_a_peer_that_closed_is_lost_once_and_found_again(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, _ = await harbour.pair()
        await two.close()
        assert await told_one.until_named("lost") == [(2,)]
        one.send(2, 0, (1, b"nobody there"))
        assert one.counters["dropped_unreachable"] == 1
        again, told_again = await harbour.member(2, 2, ports=(two.address.port,))
        await told_again.until_named("connected")  # one found it; it knows nobody
        await told_one.until_named("connected", 2)
        one.send(2, 0, (1, b"hello again"))
        assert await told_again.until_named("received") == [(1, 0, (1, b"hello again"))]
        assert told_one.named("lost") == [(2,)]
        assert again.address == two.address

    play(scenario)


def test_losing_one_of_two_connections_is_not_losing_the_peer(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, told_two = await harbour.pair()
        two._links[1].dialed.abort()
        await harbour.eventually(lambda: two.counters["connections_opened"] == 3)
        one.send(2, 0, (1, b"still here"))
        await told_two.until_named("received")
        for told in (told_one, told_two):
            assert told.named("lost") == []
            assert len(told.named("connected")) == 1

    play(scenario)


def test_a_peer_that_we_let_go_is_not_lost_but_loses_us(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, told_two = await harbour.pair()
        told_one.refuse = "removed"
        one.know({1: one.address})
        assert await told_two.until_named("lost") == [(1,)]
        await harbour.eventually(lambda: one.counters["rejected_admission"])
        await harbour.eventually(lambda: two.counters["refused_by_other"])
        assert told_one.named("lost") == []
        assert one.connected_peers() == {}

    play(scenario)


def test_a_peer_refused_on_every_attempt_is_never_lost(play: Play) -> None:
    # A peer that is turned away, for its version or its identity, must not cause elections.
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1)
        two, told_two = await harbour.member(2)
        told_two.refuse = "not you"
        one.know({2: two.address})
        await harbour.eventually(lambda: two.counters["rejected_admission"] >= 3)
        assert told_one.named("lost") == told_two.named("lost") == []
        assert told_one.named("connected") == told_two.named("connected") == []

    play(scenario)


def test_a_newer_life_replaces_the_older_and_an_older_gets_no_place(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1)
        old, told_old = await harbour.member(2, 5)
        old.know({1: one.address})
        await told_one.until_named("connected")
        new, _ = await harbour.member(2, 6)
        new.know({1: one.address})
        await told_one.until_named("connected", 2)
        assert [event[0] for event in told_one.events] == ["connected", "lost", "connected"]
        assert one.connected_peers()[2].incarnation == 6
        await told_old.until_named("lost")
        await harbour.eventually(lambda: old.counters["refused_by_other"])
        twin, _ = await harbour.member(2, 6, opening=999)  # the same image, opened elsewhere
        twin.know({1: one.address})
        await harbour.eventually(lambda: twin.counters["refused_by_other"])
        assert one.connected_peers()[2].opening == 206

    play(scenario)


def test_of_two_holders_that_greet_at_once_the_first_to_finish_stays(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = await harbour.member(1)
        holders = []
        for opening in (11, 12):  # both are let in: nobody is connected yet
            greeting = harbour.greeting(2, 5, opening=opening)
            handshake = Handshake.dialing(greeting, harbour.secret, lambda _: None)
            reader, writer = await harbour.socket(member.address)
            while handshake.peer is None:
                writer.write(handshake.take())
                handshake.feed(await reader.read(1000))
            holders.append((handshake, reader, writer))
        (first, _, to_first), (second, _, to_second) = holders
        to_first.write(first.take())  # the last word of the greeting
        await told.until_named("connected")
        to_second.write(second.take())
        await harbour.eventually(lambda: member.counters["rejected_identity"] == 1)
        assert member.connected_peers()[2].opening == 11
        assert told.events == [("connected", 2)]

    play(scenario)


def test_a_frame_for_another_incarnation_is_dropped(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _, two, told_two = await harbour.pair()
        pipe = one._links[2].pipe
        pipe._their_incarnation = 77
        one.send(2, 0, (1, b"for who you were"))
        pipe._their_incarnation = 1
        one.send(2, 0, (1, b"for who you are"))
        assert await told_two.until_named("received") == [(1, 0, (1, b"for who you are"))]
        assert two.counters["dropped_incarnation"] == 1

    play(scenario)


def test_an_unknown_kind_is_skipped(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _, two, told_two = await harbour.pair()
        one.send(2, 0, (200, b"from the future"))
        one.send(2, 0, (1, b"known"))
        assert await told_two.until_named("received") == [(1, 0, (1, b"known"))]
        assert two.counters["dropped_unknown_kind"] == 1

    play(scenario)


def test_a_malformed_body_ends_the_connection_and_no_frame_behind_it_counts(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, told_two = await harbour.pair()
        one.send(2, 0, (1, b"good"))
        one.send(2, 0, (1, b"garbage"))
        one.send(2, 0, (1, b"behind"))
        await harbour.eventually(lambda: two.counters["rejected_malformed"] == 1)
        assert told_two.named("received") == [(1, 0, (1, b"good"))]
        await harbour.eventually(lambda: one.counters["connections_opened"] == 3)  # and back
        assert told_one.named("lost") == []  # the other connection stayed

    play(scenario)


def test_a_message_over_the_bound_is_not_sent(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _, _, told_two = await harbour.pair(settings=harbour.settings(max_frame_bytes=1000))
        one.send(2, 0, (1, b"x" * 1001))
        one.send(2, 0, (1, b"x" * 1000))
        assert await told_two.until_named("received") == [(1, 0, (1, b"x" * 1000))]
        assert one.counters["dropped_oversize"] == 1

    play(scenario)


def test_an_oversize_frame_ends_the_connection(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        small = harbour.settings(max_frame_bytes=1000)
        two, told_two = await harbour.member(2, settings=small)
        one, _ = await harbour.member(1)
        one.know({2: two.address})
        await told_two.until_named("connected")
        one.send(2, 0, (1, b"x" * 1001))
        await harbour.eventually(lambda: two.counters["rejected_oversize"] == 1)
        assert told_two.named("received") == []
        assert told_two.named("lost") == []  # it was us who closed it

    play(scenario)


def test_a_peer_that_does_not_read_costs_bounded_memory(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        bound = 200_000
        settings = harbour.settings(peer_buffer_bytes=bound)
        one, _, two, told_two = await harbour.pair(settings=settings)
        for link in two._links.values():
            link.accepted._transport.pause_reading()
        pipe = one._links[2].pipe
        body = b"x" * 10_000
        while not one.counters["dropped_full"]:
            for _ in range(10):
                one.send(2, 0, (1, body))
            await asyncio.sleep(0)
            assert pipe._transport.get_write_buffer_size() <= bound + 11 * 10_100
        for link in two._links.values():
            link.accepted._transport.resume_reading()
        sent = one.counters["frames_sent"]
        await told_two.until(lambda: len(told_two.named("received")) == sent)
        one.send(2, 0, (1, b"goes on"))
        await told_two.until(lambda: told_two.named("received")[-1] == (1, 0, (1, b"goes on")))
        assert told_two.named("lost") == []

    play(scenario)


def test_what_one_turn_sends_to_a_peer_is_bounded_too(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        settings = harbour.settings(peer_buffer_bytes=100_000)
        one, _, _, told_two = await harbour.pair(settings=settings)
        for _ in range(50):  # no turn of the loop in between
            one.send(2, 0, (1, b"x" * 10_000))
        received = await told_two.until_named("received", 10)
        assert one.counters["dropped_full"] + one.counters["frames_sent"] == 50
        assert len(received) <= one.counters["frames_sent"] <= 11

    play(scenario)


def test_a_client_that_does_not_read_is_disconnected(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        settings = harbour.settings(client_buffer_bytes=100_000)
        member, told_member = await harbour.member(1, settings=settings)
        client, told_client = harbour.client()
        client.know({1: member.address})
        await told_client.until_named("connected")
        ((id,),) = await told_member.until_named("client_connected")
        client._pipes[1]._transport.pause_reading()
        async with asyncio.timeout(10):
            while not told_member.named("client_gone"):
                member.respond(id, 0, (1, b"x" * 50_000))
                await asyncio.sleep(0)
        assert member.counters["rejected_slow"] == 1
        assert member.client_count() == 0 or not member.has_client(id)

    play(scenario)


# --- who does not get in --------------------------------------------------------------------------


def prelude(greeting_bytes: int) -> bytes:
    """What a speaker of our version begins with: how long its greeting will be."""
    return MAGIC + struct.pack("<HHH", *SPOKEN, greeting_bytes)


@pytest.mark.parametrize(
    ("said", "counter"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "rejected_stranger"),
        (b"raycons\x00\x63\x00\x63\x00\x00\x00", "rejected_version"),
        (prelude(0xFFFF), "rejected_oversize"),
        (prelude(2) + b"\xc1\xc1" + bytes(32), "rejected_malformed"),
    ],
)
def test_a_stranger_is_closed_and_counted(play: Play, said: bytes, counter: str) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = await harbour.member(1)
        reader, writer = await harbour.socket(member.address)
        writer.write(said)
        await reader.read()  # until closed
        assert member.counters[counter] == 1
        assert told.events == []

    play(scenario)


def test_silence_is_ended_by_the_deadline(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        settings = harbour.settings(handshake_deadline_s=0.05)
        member, _ = await harbour.member(1, settings=settings)
        reader, writer = await harbour.socket(member.address)
        writer.write(b"ray")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert member.counters["rejected_deadline"] == 1

    play(scenario)


def test_a_crowd_of_strangers_is_bounded_and_holds_no_place_for_long(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        settings = harbour.settings(max_strangers=3, handshake_deadline_s=0.2)
        member, told = await harbour.member(1, settings=settings)
        for _ in range(5):
            await harbour.socket(member.address)
        await harbour.eventually(lambda: member.counters["rejected_crowd"] == 2)
        client, told_client = harbour.client()
        client.know({1: member.address})
        await told_client.until_named("connected")
        await told.until_named("client_connected")

    play(scenario)


@pytest.mark.parametrize(
    ("options", "at_member", "at_client"),
    [
        ({"secret": b"w" * 32}, "rejected_secret", "rejected_secret"),
        ({"cluster": "other"}, "rejected_cluster", "refused_by_other"),
    ],
)
def test_a_client_of_another_cluster_or_secret_stays_out(
    play: Play, options: dict[str, Any], at_member: str, at_client: str
) -> None:
    async def scenario(harbour: Any) -> None:
        member, told_member = await harbour.member(1)
        client, told_client = harbour.client(**options)
        client.know({1: member.address})
        assert await told_client.until_named("lost") == [(1,)]
        await harbour.eventually(lambda: member.counters[at_member] >= 2)  # it tries again
        assert client.counters[at_client] >= 1
        assert told_client.named("lost") == [(1,)]  # told once
        assert client.why_unreachable(1)
        assert told_member.events == []

    play(scenario)


def test_a_member_found_at_anothers_address_is_not_taken_for_it(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        three, _ = await harbour.member(3)
        one, told_one = await harbour.member(1)
        one.know({2: three.address})
        await harbour.eventually(lambda: one.counters["rejected_identity"])
        client, told_client = harbour.client()
        client.know({2: three.address})
        await told_client.until_named("lost")
        assert "found 3" in client.why_unreachable(2)
        assert told_one.named("connected") == []

    play(scenario)


def test_a_member_does_not_talk_to_itself(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told = await harbour.member(1)
        one.know({1: one.address})
        assert not one._dialers
        double, _ = await harbour.member(1, opening=5)
        double.know({2: one.address})
        await harbour.eventually(lambda: one.counters["rejected_identity"])
        assert told.events == []

    play(scenario)


# --- clients and reconnecting ---------------------------------------------------------------------


def test_a_client_hears_once_of_an_unreachable_member_and_finds_it_later(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        client, told = harbour.client()
        client.know({1: Address("127.0.0.1", port)})
        assert await told.until_named("lost") == [(1,)]
        assert "cannot be reached" in client.why_unreachable(1)
        member, _ = await harbour.member(1, ports=(port,))
        await told.until_named("connected")
        assert client.why_unreachable(1) is None
        await member.close()
        await told.until_named("lost", 2)
        assert [event[0] for event in told.events] == ["lost", "connected", "lost"]

    play(scenario)


def test_a_client_lets_go_and_follows_a_new_address(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one = await harbour.member(1)
        two, _ = await harbour.member(2)
        client, told = harbour.client()
        client.know({1: two.address, 2: two.address})  # the first one is wrong
        await told.until_named("connected")
        client.know({1: one.address})
        await told.until(lambda: (1,) in told.named("connected"))
        client.send(1, (1, b"here"))
        client.send(2, (1, b"gone"))
        assert len(await told_one.until_named("client_received")) == 1
        await harbour.eventually(lambda: two.client_count() == 0)
        assert (2,) not in told.named("lost")

    play(scenario)


def test_a_member_that_comes_back_elsewhere_is_found_through_its_greeting(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, told_one, two, _ = await harbour.pair()
        await two.close()
        await told_one.until_named("lost")
        again, told_again = await harbour.member(2, 2)
        again.know({1: one.address})
        await told_one.until_named("connected", 2)
        # One dials the new port by itself; both pipes are there.
        await harbour.eventually(lambda: again.counters["connections_opened"] == 2)
        one.send(2, 0, (1, b"found"))
        await told_again.until_named("received")

    play(scenario)


def test_the_first_free_port_of_the_range_is_taken(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        one, _ = await harbour.member(1)
        taken = one.address.port
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        two, _ = await harbour.member(2, ports=(taken, port))
        assert two.address.port == port
        with pytest.raises(TransportError, match="port_range"):
            await harbour.member(3, ports=(taken, port))

    play(scenario)


# --- the gate -------------------------------------------------------------------------------------


def test_a_shut_gate_drops_frames_both_ways_without_closing_anything(
    play: Play, gate: Gate
) -> None:
    async def scenario(harbour: Any) -> None:
        two, told_two = await harbour.member(2)
        one, told_one = await harbour.member(1, gate=gate)
        one.know({2: two.address})
        two.know({1: one.address})
        await told_one.until_named("connected")
        await told_two.until_named("connected")
        gate.stop_talking({2})
        one.send(2, 0, (1, b"out"))
        two.send(1, 0, (1, b"in"))
        await harbour.eventually(lambda: one.counters["dropped_gate"] == 2)
        gate.talk()
        one.send(2, 0, (1, b"out again"))
        assert await told_two.until_named("received") == [(1, 0, (1, b"out again"))]
        assert told_one.named("lost") == told_two.named("lost") == []
        assert told_one.named("received") == []

    play(scenario)


def test_a_gate_may_be_shut_one_way_and_for_clients_alone(play: Play, gate: Gate) -> None:
    async def scenario(harbour: Any) -> None:
        two, told_two = await harbour.member(2)
        one, told_one = await harbour.member(1, gate=gate)
        one.know({2: two.address})
        client, told_client = harbour.client()
        client.know({1: one.address})
        await told_client.until_named("connected")
        await told_two.until_named("connected")
        gate.stop_talking(direction=Direction.IN)
        two.send(1, 0, (1, b"in"))
        one.send(2, 0, (1, b"out"))
        assert len(await told_two.until_named("received")) == 1
        await harbour.eventually(lambda: one.counters["dropped_gate"] == 1)
        client.send(1, (1, b"clients may"))
        await told_one.until_named("client_received")
        gate.talk()
        gate.stop_talking(set(), clients=True)
        client.send(1, (1, b"clients may not"))
        await harbour.eventually(lambda: one.counters["dropped_gate"] == 2)
        two.send(1, 0, (1, b"peers may"))
        assert await told_one.until_named("received") == [(2, 0, (1, b"peers may"))]

    play(scenario)


def test_no_connection_is_made_through_a_shut_gate(play: Play, gate: Gate) -> None:
    async def scenario(harbour: Any) -> None:
        gate.stop_talking()
        one, told_one = await harbour.member(1, gate=gate)
        two, _ = await harbour.member(2)
        two.know({1: one.address})
        one.know({2: two.address})
        await harbour.eventually(lambda: one.counters["dropped_gate"] >= 2)
        assert told_one.events == []
        gate.talk()
        await told_one.until_named("connected")

    play(scenario)


def test_what_is_flushed_leaves_before_the_turn_ends(play: Play) -> None:
    async def scenario(harbour: Any) -> None:
        member, told = await harbour.member(1)
        client, told_client = harbour.client()
        client.know({1: member.address})
        await told_client.until_named("connected")
        client.send(1, (1, b"a"))
        assert client.counters["frames_sent"] == 0
        client.flush()
        assert client.counters["frames_sent"] == 1
        client.send(1, (1, b"b"))  # the turn goes on
        assert client.counters["frames_sent"] == 1
        await told.until_named("client_received", 2)
        assert client.counters["frames_sent"] == 2

    play(scenario)
