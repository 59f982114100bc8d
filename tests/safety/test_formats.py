"""What members of different versions say to each other, and what every frame and entry carries."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from raycons.client.kv import AsyncKv
from raycons.config import RaftSettings
from raycons.consensus.contract import EntryKind
from raycons.consensus.messages import TimeoutNow
from raycons.consensus.raft import messages as raft
from raycons.member.codec import MemberCodec
from raycons.member.protocol import Leader, Submit
from raycons.store.contract import Space
from raycons.store.directory import FORMAT
from raycons.transport.contract import PROTOCOL_VERSION, SPOKEN, Address, Greeting
from raycons.transport.greeting import MAGIC
from raycons.transport.inlet import Inlet
from raycons.transport.tcp import TcpMemberTransport

from .town import SECRET, UUID, Town, eventually, play, town

# Only a connection's loss could bring an election on meanwhile, not a busy machine.
PATIENT = RaftSettings(election_timeout_s=2.0)
FROM_THE_FUTURE = 250  # a kind that no version has given out yet


class FutureCodec:
    """Sends (kind, bytes) as they are, and understands nothing."""

    def encode(self, message: Any) -> tuple[int, bytes]:
        kind, body = message
        return kind, body

    def decode(self, kind: int, body: memoryview | bytes) -> Any:
        return kind, bytes(body)


class Listener:
    """A member of another version: takes note, and does nothing."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def admit(self, greeting: Greeting) -> str | None:
        return None

    def connected(self, peer: int, greeting: Greeting) -> None: ...

    def lost(self, peer: int) -> None: ...

    def received(self, sender: int, group: int, message: Any) -> None:
        self.heard.append(sender)

    def client_received(self, client: int, group: int, message: Any) -> None: ...

    def client_gone(self, client: int) -> None: ...

    def turn_over(self) -> None: ...


async def impostor(members: Town, id: int, known: dict[int, Address]) -> TcpMemberTransport:
    """A transport that greets as replica `id`, to say what that replica never would."""
    status = members.status(id)
    transport = await TcpMemberTransport.create(
        Greeting(SPOKEN, UUID, id, status["nonce"], status["incarnation"] + 1, 5, None),
        SECRET,
        Listener(),
        FutureCodec(),
        random=Random(1),
        advertised_host="127.0.0.1",
        host="127.0.0.1",
    )
    transport.know(known)
    return transport


async def three_and_an_impostor(members: Town) -> tuple[int, int, TcpMemberTransport]:
    """The leader, a follower that was replaced by an impostor, and the impostor's transport."""
    await members.found()
    await AsyncKv(members.client()).put("key", b"value")
    leader = members.leader()
    replaced = next(id for id in members.members if id != leader)
    known = {id: at for id, at in members.addresses().items() if id != replaced}
    # It shows no earlier openings, so it is taken for the store that it claims to be.
    speaker = await impostor(members, replaced, known)
    await members.stop(replaced)
    await eventually(lambda: set(speaker.connected_peers()) == set(known))
    return leader, replaced, speaker


def test_unknown_kinds_of_a_peer_are_counted_and_skipped(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            leader, replaced, speaker = await three_and_an_impostor(members)
            for _ in range(3):
                speaker.send(leader, 0, (FROM_THE_FUTURE, b"news"))
            await members.counted(leader, "dropped_unknown_kind", 3)
            assert replaced in members.status(leader)["connections"]
            await AsyncKv(members.client()).put("key", b"later")
            await speaker.close()

    play(story)


@pytest.mark.parametrize(
    "message", [Submit(1, 0, b""), Leader(10**6, 2, ())], ids=lambda message: type(message).__name__
)
def test_what_only_clients_say_harms_no_peer(tmp_path: Path, message: Any) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            leader, _, speaker = await three_and_an_impostor(members)
            term = members.status(leader)["term"]
            kind = MemberCodec().encode(message)[0]
            speaker.send(leader, 0, (kind, msgspec.msgpack.encode(message)))
            await eventually(lambda: members.status(leader)["messages_ignored"] == 1)
            assert members.status(leader)["state"] == "serving"
            assert members.status(leader)["term"] < term + 1000
            await AsyncKv(members.client()).put("key", b"later")
            await speaker.close()

    play(story)


def test_what_only_peers_say_has_no_effect_from_a_client(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found()
            client = members.client()
            await AsyncKv(client).put("key", b"value")
            leader = members.leader()
            term = members.status(leader)["term"]
            client._transport.send(leader, raft.RequestVote(term + 7, (10**9, term + 7), True))
            client._transport.send(leader, TimeoutNow(term))
            await AsyncKv(client).put("key", b"later")
            assert members.leader() == leader
            assert members.status(leader)["term"] == term

    play(story)


# --- another protocol version ---------------------------------------------------------------------


def test_the_protocol_rises_with_the_format_of_the_state() -> None:
    """Both began at 1, and a snapshot carries the state's records: none goes up alone."""
    assert PROTOCOL_VERSION >= FORMAT


@pytest.mark.parametrize("strange", [PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1])
def test_who_speaks_a_strange_version_is_told_ours_and_elects_nobody(
    tmp_path: Path, strange: int
) -> None:
    async def story() -> None:
        async with town(tmp_path, raft=PATIENT) as members:
            await members.found()
            await AsyncKv(members.client()).put("key", b"value")
            leader, address = members.leader(), members.addresses()[members.leader()]
            terms = {id: members.status(id)["term"] for id in members.members}
            for _ in range(50):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(MAGIC + struct.pack("<HHH", strange, strange, 5))
                said = await reader.read()  # to the end: the connection is closed
                assert said[: len(MAGIC)] == MAGIC
                assert struct.unpack_from("<HH", said, len(MAGIC)) == SPOKEN
                writer.close()
            assert members.counters(leader)["rejected_version"] == 50
            assert {id: members.status(id)["term"] for id in members.members} == terms
            assert members.leader() == leader

    play(story)


class NewVersion:
    """A member of another version: answers every greeting with its own prelude, and hangs up."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    async def serve(self) -> Address:
        loop = asyncio.get_running_loop()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.calls.append(loop.time())
            await reader.readexactly(len(MAGIC) + 6)
            writer.write(MAGIC + struct.pack("<HHH", PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 2, 5))
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return Address(host, port)

    def close(self) -> None:
        self._server.close()


def test_dialing_a_strange_version_backs_off_and_elects_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path, raft=PATIENT) as members:
            await members.found()
            client = members.client()
            await AsyncKv(client).put("key", b"value")
            await client.close()  # it would learn the address, and dial it too
            leader = members.leader()
            upgraded = next(id for id in members.members if id != leader)
            others = [id for id in members.members if id != upgraded]
            await members.stop(upgraded)
            newer = NewVersion()
            address = await newer.serve()
            terms = {id: members.status(id)["term"] for id in others}
            for id in others:
                members.members[id].locate({upgraded: address})
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(3.0)
            # Each pause is at least half of what it may be, which doubles up to half a second.
            assert 2 <= len(newer.calls) <= len(others) * 20
            late = [at for at in newer.calls if at - began > 2.0]
            assert len(late) <= len(others) * 5
            assert members.counters(leader)["rejected_version"] > 0
            assert {id: members.status(id)["term"] for id in others} == terms
            assert members.leader() == leader
            newer.close()

    play(story)


# --- what frames and entries carry ----------------------------------------------------------------


def test_frames_carry_version_kind_group_and_incarnation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, ...]] = []
    take = Inlet._frame

    def frame(inlet: Inlet, *header_and_body: Any) -> None:
        version, kind, group, incarnation, _ = header_and_body
        if inlet._sender and inlet._incarnation:  # from a peer to a member, not to a client
            heard.append((inlet._incarnation, version, kind, group, incarnation))
        take(inlet, *header_and_body)

    monkeypatch.setattr(Inlet, "_frame", frame)

    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found()
            follower = next(id for id in members.members if id != members.leader())
            await members.stop(follower)
            await members.reopen(follower)
            await AsyncKv(members.client()).put("key", b"value")
            await eventually(lambda: any(own == 2 for own, *_ in heard))
            assert {own for own, *_ in heard} == {1, 2}  # the lives of those who heard
            for own, version, kind, group, incarnation in heard:
                assert (version, group, incarnation) == (PROTOCOL_VERSION, 0, own)
                assert kind in raft.CODES.values()

    play(story)


def test_entries_carry_kind_machine_and_version(tmp_path: Path) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found([1])
            await AsyncKv(members.client()).put("key", b"value")
            store = members.members[1]._store
            assert store is not None
            stored = [
                msgspec.msgpack.decode(value)
                for _, value in store.scan(Space.LOG, bytes(4), b"\0\0\0\1")
            ]
            assert {entry[2] for entry in stored} == {EntryKind.NOOP, EntryKind.COMMAND}
            assert {(entry[3], entry[4]) for entry in stored} == {(0, 1)}  # machine, version

    play(story)
