"""The handles of a synod, for asyncio; `raycons.decree.blocking` wraps them for the rest."""

# ruff: noqa: ASYNC109 - these timeouts are the synod's, which says what it did until then

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from raycons.charts.chart import Chart
from raycons.charts.events import ordered
from raycons.client.codecs import ValueCodec
from raycons.client.staying import StaysHere
from raycons.cluster.rays import unwrap
from raycons.config import MemberSettings
from raycons.consensus.paxos.synod import LearnerId, ProposerId
from raycons.consensus.quorum import AcceptorId
from raycons.decree.arguments import check_timeout
from raycons.decree.hosts import recordings_everywhere, remove_everywhere
from raycons.decree.recording import histories, time_of_day
from raycons.decree.spec import AcceptorStatus, Nonces, SynodSpec, acceptor_name
from raycons.errors import BadArgument, Closed, OutcomeUnknown, Unavailable

V = TypeVar("V")
T = TypeVar("T")

NAMED = "what it asks for, and use the synod where it was made"  # the remedy for who sends one
STATUS_S = 10.0  # an actor that Ray starts again answers by then
MARGIN_S = 5.0  # what an answer may take beyond the timeout that the actor keeps itself
MAX_VALUE_BYTES = MemberSettings().max_value_bytes


class AsyncHandle(StaysHere):
    """One actor of a synod."""

    def __init__(self, synod: AsyncSynod[Any], id: int, name: str, actor: Any) -> None:
        self.id = id
        self.name = name  # its lifeline in charts
        self._synod = synod
        self._actor = actor
        self._ended = False

    async def crash(self) -> None:
        """Kill its process at once; Ray starts another in its place. Raises Closed."""
        self._check_there()
        await self._kill(no_restart=False)

    async def end(self) -> None:
        """Kill its process, for good; nothing happens where that was done before."""
        self._synod.check_open()
        if not self._ended:
            self._ended = True
            await self._kill(no_restart=True)

    def _check_there(self) -> None:
        self._synod.check_open()
        if self._ended:
            raise Closed(f"{self!r} was ended; nothing was sent: use another")

    async def _kill(self, *, no_restart: bool) -> None:
        import ray

        self._synod.kills.append((self.name, time_of_day()))
        await asyncio.to_thread(ray.kill, self._actor, no_restart=no_restart)

    def _named(self) -> str:
        return NAMED

    def __repr__(self) -> str:
        return f"{type(self).__name__.removeprefix('Async')}({self.id} of {self._synod.name})"


class AsyncAcceptor(AsyncHandle):
    """An acceptor; its state is on its host's disk, and outlives its process."""

    def __init__(self, synod: AsyncSynod[Any], id: AcceptorId, actor: Any) -> None:
        super().__init__(synod, id, acceptor_name(id), actor)

    async def status(self, *, timeout: float = STATUS_S) -> AcceptorStatus:
        """How it is; `state` is "unreachable" where it does not answer within `timeout` seconds."""
        import ray

        self._synod.check_open()
        check_timeout(timeout)
        try:
            asked = self._actor.status.remote(self._synod.nonces[self.id])
            status: AcceptorStatus = await _within(asked, timeout)
        except (TimeoutError, ray.exceptions.RayError) as error:
            reason = str(error).partition("\n")[0] or f"no answer within {timeout:g} s"
            return AcceptorStatus(self.id, "unreachable", reason, 0, "", "", None)
        return status


class AsyncProposer(AsyncHandle, Generic[V]):
    """A proposer; safe to ask from many tasks, and does one proposal at a time."""

    def __init__(self, synod: AsyncSynod[V], id: ProposerId, actor: Any) -> None:
        super().__init__(synod, id, synod.spec.asker_name(id), actor)
        self._codec = synod.codec

    async def propose(self, value: V, *, timeout: float = 10.0) -> V:
        """Get a value chosen, and return the one that is: this one, or another's before it.

        Args:
            value: to be proposed, unless one may have been chosen already.
            timeout: seconds.

        Raises:
            BadArgument: the value is not one of the codec's, or larger than 1 MiB.
            Unavailable: nothing is known to be chosen in time, and the value was not proposed.
            OutcomeUnknown: it was proposed, and may be chosen now or later.
            Closed: the proposer was ended, or the synod stopped.
        """
        import ray

        self._check_there()
        check_timeout(timeout)
        data = self._codec.encode(value)
        if len(data) > MAX_VALUE_BYTES:
            raise BadArgument(f"the value has {len(data)} bytes, at most {MAX_VALUE_BYTES} fit")
        try:
            chosen: bytes = await _within(
                self._actor.propose.remote(data, timeout), timeout + MARGIN_S
            )
        except ray.exceptions.RayTaskError as error:
            raise unwrap(error) from None
        except (TimeoutError, ray.exceptions.RayError) as error:
            raise OutcomeUnknown(
                f"{self!r} ended, or does not answer; the value may have been proposed: propose "
                "again, here or elsewhere, which returns what is chosen"
            ) from error
        return self._codec.decode(chosen)


class AsyncLearner(AsyncHandle, Generic[V]):
    """A learner; finds out what is chosen without proposing anything."""

    def __init__(self, synod: AsyncSynod[V], id: LearnerId, actor: Any) -> None:
        super().__init__(synod, id, synod.spec.asker_name(id), actor)
        self._codec = synod.codec

    async def learn(self, *, timeout: float = 10.0) -> V:
        """The chosen value, as soon as it is known here.

        Raises Unavailable where it is not within `timeout` seconds, Closed.
        """
        import ray

        self._check_there()
        asked = self._actor.learn.remote(self._synod.nonces, check_timeout(timeout))
        try:
            chosen: bytes = await _within(asked, timeout + MARGIN_S)
        except ray.exceptions.RayTaskError as error:
            raise unwrap(error) from None
        except (TimeoutError, ray.exceptions.RayError) as error:
            raise Unavailable(f"{self!r} ended, or does not answer; ask again") from error
        return self._codec.decode(chosen)


class AsyncSynod(StaysHere, Generic[V]):
    """Some acceptors, proposers and learners that choose one value. Made by `raycons.aio.synod`."""

    def __init__(
        self,
        spec: SynodSpec,
        codec: ValueCodec[V],
        nonces: Nonces,
        acceptors: dict[AcceptorId, Any],
        proposers: dict[ProposerId, Any],
        learners: dict[LearnerId, Any],
    ) -> None:
        self.spec = spec
        self.codec = codec
        self.nonces = nonces
        self.kills: list[tuple[str, float]] = []  # for the chart: which actor, and when
        self._connection = _connection()
        self._stopping = asyncio.Lock()
        self._stopped = self._removed = False
        self.acceptors = tuple(AsyncAcceptor(self, id, actor) for id, actor in acceptors.items())
        self.proposers = tuple(AsyncProposer(self, id, actor) for id, actor in proposers.items())
        self.learners = tuple(AsyncLearner(self, id, actor) for id, actor in learners.items())

    @property
    def name(self) -> str:
        """Its own name, under which its data lies on each host."""
        return self.spec.name

    def check_open(self) -> None:
        """Raise Closed once it is stopped, or this process has left the Ray in which it ran."""
        if self._stopped:
            raise Closed(f"{self.name} was stopped; make another with raycons.synod(...)")
        self._check_connected()

    def _check_connected(self) -> None:
        # Asked for an actor of before, Ray would start another Ray in this process.
        if _connection() != self._connection:
            raise Closed(
                f"{self.name} ended when this process left its Ray (ray.shutdown), and its data "
                "is left in the directories of that name; make another with raycons.synod(...), "
                "and stop it before Ray"
            )

    async def chart(self) -> Chart:
        """What was sent and received until now, as a message-sequence chart.

        Times are those of each host's clock: on several hosts only the order is to be trusted. A
        message that is still under way looks like a lost one.
        """
        self.check_open()
        files = await recordings_everywhere(self.spec)
        names = [each.name for each in (*self.proposers, *self.acceptors, *self.learners)]
        return Chart(ordered(histories(files, self.kills)), names, title=self.name)

    def _handles(self) -> tuple[AsyncHandle, ...]:
        return (*self.proposers, *self.acceptors, *self.learners)

    async def stop(self) -> None:
        """End all its actors and remove its data; nothing happens where that was done before.

        Raises StoreError, StoreLocked or Unavailable where something is left; call it again. Closed
        where this process has left the Ray in which it ran.
        """
        async with self._stopping:
            self._stopped = True
            if self._removed:
                return
            self._check_connected()
            await end_actors([each._actor for each in self._handles()])
            await remove_everywhere(self.spec)
            self._removed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        counts = f"{len(self.acceptors)} acceptors, {len(self.proposers)} proposers"
        return f"Synod({self.name}: {counts}, {len(self.learners)} learners)"

    def _named(self) -> str:
        return NAMED


def _connection() -> str | None:
    """Which of this process' connections to a Ray there is now; None where there is none."""
    import ray

    return ray.get_runtime_context().get_worker_id() if ray.is_initialized() else None


async def end_actors(actors: list[Any]) -> None:
    """Kill them for good."""
    import ray

    def end() -> None:
        for actor in actors:
            ray.kill(actor, no_restart=True)

    await asyncio.to_thread(end)


async def _within(reference: Awaitable[T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await reference
