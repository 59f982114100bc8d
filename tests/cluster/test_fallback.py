"""A driver that loses its way to the members' ports, and finds it again; real members and calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import raycons.aio
from raycons.cluster import connection
from raycons.transport import fallback_client
from raycons.transport.contract import Address
from raycons.transport.dialer import Dialer
from tests.cluster.yard import Yard
from tests.recording import Recordings


class Firewall:
    """Keeps this process from ports that are named; the members go on among themselves."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.shut: set[int] = set()
        attempt, takes = Dialer._attempt, connection._takes_connections

        async def attempt_if_open(dialer: Dialer) -> None:
            if dialer.address.port not in self.shut:
                await attempt(dialer)

        async def takes_if_open(at: Address) -> bool:
            return at.port not in self.shut and await takes(at)

        patch.setattr(Dialer, "_attempt", attempt_if_open)
        patch.setattr(connection, "_takes_connections", takes_if_open)

    def shut_out(self, client: Any, members: set[int]) -> None:
        """End what is open to `members`, and let nothing through any more."""
        self.shut = {client.members[id].port for id in members}
        for pipe in [
            pipe for id, pipe in client._transport._sockets._pipes.items() if id in members
        ]:
            pipe.abort()


async def eventually(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def test_members_out_of_reach_are_called_until_their_ports_answer_again(
    yard: Yard, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback_client, "PATIENCE_S", 0.3)
    firewall = Firewall(monkeypatch)
    yard.start(storage="memory")

    async def story() -> None:
        cluster = await raycons.aio.connect(yard.name)
        kv, client = recordings.wrap(cluster.kv()), cluster.client
        await kv.put("a", b"1")
        await eventually(lambda: len(client.reachable) == 3, "all are connected")
        called = client._transport._by_call

        # Some only, the leader among them: it is called, the others keep their sockets.
        firewall.shut_out(client, {client.leader})
        lost = client.leader
        await kv.put("a", b"2", timeout=10)
        assert called <= {lost}
        await eventually(lambda: called == {lost}, "the member out of reach is called")

        firewall.shut_out(client, {1, 2, 3})
        for number in range(20):
            await kv.put("b", str(number).encode(), timeout=10)
        await eventually(lambda: called == {1, 2, 3}, "all are called")
        assert await kv.get("a") == b"2"

        firewall.shut = set()
        await eventually(lambda: not called and len(client.reachable) == 3, "sockets again")
        await kv.put("c", b"3")
        assert await kv.get("b") == b"19"
        await cluster.close()

    asyncio.run(story())
