"""Faults on the members of a real cluster: killed, paused, cut off.

Signals are sent from this process, so they reach only members on this host, and only processes that
Ray names as members of that very cluster; a pid from a status that is a second old may belong to
somebody else by now.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, Protocol

from raycons.cluster.status import ClusterStatus, ReplicaStatus
from raycons.errors import ClusterError, Unavailable
from raycons.member.naming import NAMESPACE, member_name

FaultKind = Literal["kill", "pause", "partition"]
FAULT_KINDS: tuple[FaultKind, ...] = ("kill", "pause", "partition")

Clock = Callable[[], float]
StatusSource = Callable[[], Awaitable[ClusterStatus]]

MAX_LAG_ENTRIES = 1000  # under load a follower is always some entries behind
LOOK_S = 0.1

_TITLE = b"ray::Member"  # Ray gives the process of an actor the title of its class


class Fault(Protocol):
    """Something that happens to one member, and ends."""

    async def inject(self) -> None:
        """Do it; returns once the member is under the fault."""

    async def lift(self) -> None:
        """Undo it, as far as that can be undone."""


def check_is_member(replica: ReplicaStatus) -> int:
    """The pid of a replica, once it is sure that the process is a member on this host.

    Raises ClusterError: it runs elsewhere, or the process is gone or something else.
    """
    if replica.hostname != platform.node():
        raise ClusterError(
            f"replica {replica.id} runs on {replica.hostname!r}, this is {platform.node()!r}: "
            "signals reach only members on the same host"
        )
    try:
        title = Path(f"/proc/{replica.pid}/cmdline").read_bytes()
    except OSError as error:
        raise ClusterError(f"replica {replica.id}: process {replica.pid} is gone") from error
    if not title.startswith(_TITLE):
        raise ClusterError(
            f"replica {replica.id}: process {replica.pid} is not a member but {title[:40]!r}"
        )
    return replica.pid


class Kill:
    """SIGKILL: the process ends at once, with nothing said to anyone. Ray makes a new one."""

    def __init__(self, replica: ReplicaStatus) -> None:
        self._pid = check_is_member(replica)

    async def inject(self) -> None:
        """Send the signal."""
        os.kill(self._pid, signal.SIGKILL)

    async def lift(self) -> None:
        """Nothing to undo: Ray restarts the actor by itself."""


class Pause:
    """SIGSTOP: the process stands still, its connections stay open and silent."""

    def __init__(self, replica: ReplicaStatus) -> None:
        self._pid = check_is_member(replica)

    async def inject(self) -> None:
        """Stop the process."""
        os.kill(self._pid, signal.SIGSTOP)

    async def lift(self) -> None:
        """Let it go on, with a clock that has moved; or it was killed meanwhile."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGCONT)


class Partition:
    """Cuts a member off from its peers and from clients, both ways, without closing a connection.

    The member does it to itself, when asked over Ray; only in a cluster that was started with
    `fault_injection=True`.
    """

    def __init__(self, cluster: str, replica: int) -> None:
        import ray

        self._member = ray.get_actor(member_name(cluster, replica), namespace=NAMESPACE)

    async def inject(self) -> None:
        """Cut it off."""
        await self._member.fault.remote(True)

    async def lift(self) -> None:
        """Heal it."""
        await self._member.fault.remote(False)


def fault_on_leader(kind: FaultKind, status: ClusterStatus) -> Fault:
    """A fault on the leader that `status` names; not yet injected.

    Raises Unavailable where there is no leader, ClusterError where the fault cannot reach it.
    """
    leader = status.replica(status.leader)
    if leader is None:
        raise Unavailable(f"cluster {status.name!r} has no leader to put a fault on")
    match kind:
        case "kill":
            return Kill(leader)
        case "pause":
            return Pause(leader)
        case "partition":
            return Partition(status.name, leader.id)


def is_whole(status: ClusterStatus, replicas: int) -> bool:
    """Whether the cluster has a leader and `replicas` voters that serve, follow it and keep up."""
    serving = [
        replica
        for replica in status.replicas
        if replica.id in status.voters
        and replica.state == "serving"
        and replica.leader == status.leader
        and replica.term == status.term
    ]
    return (
        status.leader != 0
        and len(status.voters) == len(serving) == replicas
        and all(replica.lag <= MAX_LAG_ENTRIES for replica in serving)
    )


async def until_whole(
    status: StatusSource, replicas: int, *, timeout_s: float = 60.0, clock: Clock = time.monotonic
) -> ClusterStatus:
    """Wait until every replica serves again; gives the status that shows it.

    Raises ClusterError at the deadline, saying how each replica stands.
    """
    deadline = clock() + timeout_s
    while True:
        now = await status()
        if is_whole(now, replicas):
            return now
        if clock() >= deadline:
            states = ", ".join(
                f"{one.id} is {one.state}{f' ({one.reason})' if one.reason else ''}"
                for one in now.replicas
            )
            raise ClusterError(
                f"cluster {now.name!r} was not whole again after {timeout_s:g} s: leader "
                f"{now.leader or 'unknown'}; {states}"
            )
        await asyncio.sleep(LOOK_S)
