"""The Ray actor of a member: thin, because Ray ships an actor's class by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raycons.member.spec import Introduction, MemberSpec

if TYPE_CHECKING:
    from raycons.consensus.configuration import Configuration
    from raycons.transport.contract import Address, PeerId


class Member:
    """Every method hands over to `raycons.member.hosting.Hosting`, where it is described."""

    def __init__(self, spec: MemberSpec) -> None:
        from raycons.member.hosting import Hosting
        from raycons.member.logs import log_to_file
        from raycons.member.naming import member_name

        log_to_file(member_name(spec.cluster, spec.id))
        self._hosting = Hosting(spec)

    async def introduce(self) -> Introduction:
        """Who this is and where it listens."""
        return await self._hosting.introduce()

    async def make(self) -> Introduction:
        """Make the store, once."""
        return await self._hosting.make()

    async def begin(
        self, configuration: Configuration, addresses: dict[PeerId, Address]
    ) -> Introduction:
        """Give a made store its first configuration, and serve."""
        return await self._hosting.begin(configuration, addresses)

    async def locate(self, addresses: dict[PeerId, Address]) -> None:
        """Learn where the peers listen."""
        self._hosting.locate(addresses)

    async def deliver(self, greeting: bytes, frames: bytes) -> bytes:
        """A peer says something, where members talk by actor calls."""
        return await self._hosting.wiring.peers.deliver(greeting, frames)

    async def attend(self, greeting: bytes) -> bytes:
        """A peer waits, to notice when this member dies."""
        return await self._hosting.wiring.peers.attend(greeting)

    async def exchange(self, token: bytes, greeting: bytes, frames: bytes) -> bytes:
        """A client says something that cannot reach, or does not use, the member's port."""
        return await self._hosting.wiring.clients.exchange(token, greeting, frames)

    async def collect(self, token: bytes, greeting: bytes) -> bytes:
        """Such a client waits for whatever there is for it."""
        return await self._hosting.wiring.clients.collect(token, greeting)

    async def status(self) -> dict[str, Any]:
        """All that is known here."""
        return self._hosting.status()

    async def fault(self, isolate: bool) -> None:
        """Cut this member off from peers and clients, or heal it; only with fault_injection."""
        self._hosting.fault(isolate=isolate)

    async def lose(self, outward: float, inward: float) -> None:
        """Lose these shares of what is sent and heard; 1 cuts that way off, 0 and 0 heal."""
        self._hosting.lose(outward=outward, inward=inward)

    async def slow_disk(self, delay_s: float) -> None:
        """Let each sync take so much longer, for tests; 0 heals."""
        self._hosting.slow_disk(delay_s)

    async def break_disk(self) -> None:
        """Let the next sync fail, for tests; a new process finds a disk that works."""
        self._hosting.break_disk()

    async def close(self) -> None:
        """Bring everything to disk and let go of the store."""
        await self._hosting.close()


def member_class(name: str, node: str | None) -> Any:
    """The actor class under its options: `name` in Ray, pinned to `node` (None: anywhere)."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from raycons.member.naming import NAMESPACE

    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,  # a call that may have happened is not made again
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
    }
    if node is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(Member).options(**options)
