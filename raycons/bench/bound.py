"""The physical bound of a three-member replicated write: same bytes, hops and syncs, no consensus.

    client --operations of one loop turn, in one frame--> leader
    leader --entries, pipelined--> two followers        each: append to a file, fdatasync, answer
    leader: append to a file, fdatasync                 on a majority: answer the client

One actor each for the leader and the two followers, one client process, all on loopback. There are
no terms, no checks, no recovery and no session: it loses data in every way that consensus exists to
prevent. So nothing that replicates can be much faster on the same machine, and the ratio of a real
write's throughput to the bound's says what consensus costs, where absolute figures only say which
machine ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec
import ray

from raycons.bench.scratch import scratch_directory
from raycons.bench.workload import Load, closed_loop

PIPELINE = 4  # frames in flight to each follower
HEADER_BYTES = 4
KEYS = 1000

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.decode


class Framed(asyncio.Protocol):
    """Length-prefixed msgpack frames; `receive(connection, message)` is called for each."""

    def __init__(self, receive: Callable[[Framed, Any], None]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to answer on."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by conduct only

    def data_received(self, data: bytes) -> None:
        """Deliver every whole frame; keep the rest."""
        buffer = self._buffer
        buffer += data
        start, end = 0, len(buffer)
        while end - start >= HEADER_BYTES:
            body = start + HEADER_BYTES
            size = int.from_bytes(buffer[start:body], "little")
            if end - body < size:
                break
            self._receive(self, _decode(bytes(buffer[body : body + size])))
            start = body + size
        del buffer[:start]

    def send(self, message: Any) -> None:
        """Write one frame."""
        assert self._transport is not None
        data = _encode(message)
        self._transport.write(len(data).to_bytes(HEADER_BYTES, "little") + data)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def _listen(receive: Callable[[Framed, Any], None]) -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(lambda: Framed(receive), "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def _dial(port: int, receive: Callable[[Framed, Any], None]) -> Framed:
    loop = asyncio.get_running_loop()
    _, framed = await loop.create_connection(lambda: Framed(receive), "127.0.0.1", port)
    return framed


def _open_log(path: str) -> int:
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)


class Follower:
    """Appends what the leader sends, syncs once a loop turn, answers with how much is on disk."""

    async def start(self, path: str) -> int:
        """Open the file at `path` and listen; returns the port."""
        self._file = _open_log(path)
        self._unsynced: list[tuple[Framed, int]] = []
        self._server, port = await _listen(self._append)
        return port

    def _append(self, leader: Framed, message: Any) -> None:
        first, entries = message
        os.write(self._file, _encode(entries))
        self._unsynced.append((leader, first + len(entries)))
        if len(self._unsynced) == 1:
            asyncio.get_running_loop().call_soon(self._sync)

    def _sync(self) -> None:
        os.fdatasync(self._file)
        leader, durable = self._unsynced[-1]
        self._unsynced.clear()
        leader.send(durable)


class Leader:
    """Sends to the followers first, then writes its own file; answers what a majority has."""

    async def start(self, path: str, follower_ports: list[int]) -> int:
        """Open the file at `path`, connect to the followers and listen; returns the port."""
        self._file = _open_log(path)
        self._log: list[tuple[Framed, int, bytes, bytes]] = []
        self._state: dict[bytes, bytes] = {}
        self._committed = 0
        self._sync_is_due = False
        members = 1 + len(follower_ports)
        self._durable = [0] * members  # the leader's own is number 0
        self._sent = [0] * members
        self._flying = [0] * members
        self._followers = {
            member: await _dial(port, self._acknowledged(member))
            for member, port in enumerate(follower_ports, start=1)
        }
        self._server, port = await _listen(self._propose)
        return port

    def _propose(self, client: Framed, operations: Any) -> None:
        self._log.extend((client, request, key, value) for request, key, value in operations)
        if not self._sync_is_due:
            self._sync_is_due = True
            asyncio.get_running_loop().call_soon(self._sync)

    def _sync(self) -> None:
        self._sync_is_due = False
        end = len(self._log)
        for member in self._followers:
            self._replicate(member)
        os.write(self._file, _encode([(k, v) for _, _, k, v in self._log[self._durable[0] : end]]))
        os.fdatasync(self._file)
        self._durable[0] = end
        self._commit()

    def _replicate(self, member: int) -> None:
        first, end = self._sent[member], len(self._log)
        if first < end and self._flying[member] < PIPELINE:
            entries = [(k, v) for _, _, k, v in self._log[first:end]]
            self._followers[member].send((first, entries))
            self._sent[member] = end
            self._flying[member] += 1

    def _acknowledged(self, member: int) -> Callable[[Framed, Any], None]:
        def receive(_: Framed, durable: Any) -> None:
            self._durable[member] = durable
            self._flying[member] -= 1
            self._commit()
            self._replicate(member)

        return receive

    def _commit(self) -> None:
        majority = sorted(self._durable)[(len(self._durable) - 1) // 2]
        answers: dict[Framed, list[int]] = {}
        while self._committed < majority:
            client, request, key, value = self._log[self._committed]
            self._state[key] = value
            answers.setdefault(client, []).append(request)
            self._committed += 1
        for client, requests in answers.items():
            client.send(requests)


@contextlib.asynccontextmanager
async def trio() -> AsyncIterator[int]:
    """A leader and two followers in actors of their own; yields the leader's port. Needs Ray."""
    follower_actor: Any = ray.remote(num_cpus=0)(Follower)
    leader_actor: Any = ray.remote(num_cpus=0)(Leader)
    actors: list[Any] = []
    with scratch_directory("bound") as folder:
        try:
            followers = [follower_actor.remote() for _ in range(2)]
            actors.extend(followers)
            ports = await asyncio.gather(
                *(
                    follower.start.remote(str(folder / f"follower-{number}"))
                    for number, follower in enumerate(followers)
                )
            )
            leader = leader_actor.remote()
            actors.append(leader)
            port: int = await leader.start.remote(str(folder / "leader"), ports)
            yield port
        finally:
            for one in actors:
                ray.kill(one)


async def measure(
    port: int, *, clients: int, seconds: float, value_bytes: int, warm_up_s: float = 0.5
) -> Load:
    """Load the leader at `port`; what one loop turn asks leaves in one frame."""
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[None]] = {}
    outgoing: list[tuple[int, bytes, bytes]] = []
    value = b"x" * value_bytes

    def answered(_: Framed, requests: Any) -> None:
        for request in requests:
            waiting.pop(request).set_result(None)

    leader = await _dial(port, answered)

    def flush() -> None:
        leader.send(outgoing)
        outgoing.clear()

    def write(number: int) -> asyncio.Future[None]:
        waiting[number] = done = loop.create_future()
        if not outgoing:
            loop.call_soon(flush)
        outgoing.append((number, b"key%d" % (number % KEYS), value))
        return done

    try:
        return await closed_loop(write, clients=clients, seconds=seconds, warm_up_s=warm_up_s)
    finally:
        leader.close()
