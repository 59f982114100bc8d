"""A group with leases: its leader answers reads by itself, and a lease ends with its leader.

What `reads="lease"` promises, by members on real sockets and a real clock.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from raycons.client.kv import AsyncKv
from raycons.config import RaftSettings
from raycons.consensus.raft.replica import RaftReplica
from raycons.member.clock import boottime
from tests.recording import Recordings

from .town import Town, eventually, play, town

LEASE_S = 0.2
READS = 100


def leading(members: Town) -> RaftReplica:
    """The core of the member that leads."""
    shell = members.members[members.leader()]._shell
    assert shell is not None
    return shell.engine.replica


def test_a_leader_with_a_lease_asks_nobody_before_it_answers(
    recordings: Recordings, tmp_path: Path
) -> None:
    """Without a lease a read begins a round of heartbeats; with one, only their timer does."""

    async def rounds(lease_s: float) -> tuple[int, float]:
        async with town(tmp_path / f"lease-{lease_s}") as members:
            await members.found(lease_s=lease_s)
            kv = recordings.wrap(AsyncKv(members.client()), of=f"lease-{lease_s}")
            await kv.put("a", b"1")
            if lease_s:
                await eventually(lambda: leading(members).lease_holds(boottime()), "a lease")
            replica = leading(members)
            before, began = replica.round, boottime()
            for _ in range(READS):
                assert await kv.get("a") == b"1"
            timer = (boottime() - began) / RaftSettings().heartbeat_interval_s
            return replica.round - before, timer

    async def story() -> None:
        asked, timer = await rounds(0.0)
        assert asked > READS / 2 + timer  # a round that began late may serve two
        asked, timer = await rounds(LEASE_S)
        assert asked <= timer + 5

    play(story)


def test_nobody_else_leads_while_a_cut_off_leader_holds_its_lease(
    recordings: Recordings, tmp_path: Path
) -> None:
    """Its dropped connections let the others ask for a new leader at once; their promise binds."""

    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found(lease_s=LEASE_S)
            kv = recordings.wrap(AsyncKv(members.client()))
            await kv.put("a", b"1")
            await eventually(lambda: leading(members).lease_holds(boottime()), "a lease")
            before, former = members.leader(), leading(members)
            await members.members[before].wiring.transport.close()
            held = 0
            while members.leader() == before:
                held += former.lease_holds(boottime())
                await asyncio.sleep(0.002)
            assert held > 0
            assert not former.lease_holds(boottime())
            await kv.put("a", b"2")
            assert await kv.get("a") == b"2"

    play(story)
