"""Single-decree Paxos in ordinary, blocking code; safe from many threads.

The same as `raycons.aio.synod`, waited for on the background loop of the process.
"""

# ruff: noqa: D102 - `documented_like` gives the methods the docstrings of their asyncio models

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from raycons.charts.chart import Chart
from raycons.client.background import background
from raycons.client.blocking import documented_like
from raycons.client.codecs import ValueCodec, codec_named
from raycons.client.staying import StaysHere
from raycons.cluster.rays import join_or_start_ray, refuse_worker
from raycons.consensus.quorum import QuorumSystem
from raycons.decree.arguments import check_timeout, settings_of_synod
from raycons.decree.handle import (
    NAMED,
    STATUS_S,
    AsyncAcceptor,
    AsyncHandle,
    AsyncLearner,
    AsyncProposer,
    AsyncSynod,
)
from raycons.decree.lifecycle import start_synod
from raycons.decree.spec import AcceptorStatus

V = TypeVar("V")


@documented_like(AsyncHandle)
class _Handle(StaysHere):
    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.id: int = handle.id
        self.name: str = handle.name

    def crash(self) -> None:
        background().run(self._handle.crash())

    def end(self) -> None:
        background().run(self._handle.end())

    def _named(self) -> str:
        return NAMED

    def __repr__(self) -> str:
        return repr(self._handle)


@documented_like(AsyncAcceptor)
class Acceptor(_Handle):
    """An acceptor; its state is on its host's disk, and outlives its process."""

    def status(self, *, timeout: float = STATUS_S) -> AcceptorStatus:
        status: AcceptorStatus = background().run(self._handle.status(timeout=timeout))
        return status


@documented_like(AsyncProposer)
class Proposer(_Handle, Generic[V]):
    """A proposer; safe to ask from many threads, and does one proposal at a time."""

    def propose(self, value: V, *, timeout: float = 10.0) -> V:
        chosen: V = background().run(self._handle.propose(value, timeout=timeout))
        return chosen


@documented_like(AsyncLearner)
class Learner(_Handle, Generic[V]):
    """A learner; finds out what is chosen without proposing anything."""

    def learn(self, *, timeout: float = 10.0) -> V:
        chosen: V = background().run(self._handle.learn(timeout=timeout))
        return chosen


@documented_like(AsyncSynod)
class Synod(StaysHere, Generic[V]):
    """Some acceptors, proposers and learners that choose one value. Made by `raycons.synod`."""

    def __init__(self, synod: AsyncSynod[V]) -> None:
        self._synod = synod
        self.acceptors = tuple(Acceptor(each) for each in synod.acceptors)
        self.proposers: tuple[Proposer[V], ...] = tuple(map(Proposer, synod.proposers))
        self.learners: tuple[Learner[V], ...] = tuple(map(Learner, synod.learners))

    @property
    def name(self) -> str:
        """Its own name, under which its data lies on each host."""
        return self._synod.name

    def chart(self) -> Chart:
        return background().run(self._synod.chart())

    def stop(self) -> None:
        background().run(self._synod.stop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return repr(self._synod)

    def _named(self) -> str:
        return NAMED


@overload
def synod(
    acceptors: int = ...,
    proposers: int = ...,
    learners: int = ...,
    *,
    quorums: QuorumSystem | None = ...,
    codec: Literal["bytes"] = ...,
    path: str | os.PathLike[str] | None = ...,
    loss: float = ...,
    delay: tuple[float, float] = ...,
    timeout: float = ...,
) -> Synod[bytes]: ...
@overload
def synod(
    acceptors: int = ...,
    proposers: int = ...,
    learners: int = ...,
    *,
    quorums: QuorumSystem | None = ...,
    codec: str | ValueCodec[Any],
    path: str | os.PathLike[str] | None = ...,
    loss: float = ...,
    delay: tuple[float, float] = ...,
    timeout: float = ...,
) -> Synod[Any]: ...
def synod(
    acceptors: int = 5,
    proposers: int = 2,
    learners: int = 1,
    *,
    quorums: QuorumSystem | None = None,
    codec: Any = "bytes",
    path: str | os.PathLike[str] | None = None,
    loss: float = 0.0,
    delay: tuple[float, float] = (0.0, 0.0),
    timeout: float = 60.0,
) -> Synod[Any]:
    """Start single-decree Paxos: actors that choose one value, once.

    Joins or starts a Ray as `raycons.start` does. The actors end with this program, or with `stop`,
    which also removes what they have on disk; use it in a `with` statement.

    Args:
        acceptors: how many; of 5, any 2 may be away, of 3 any 1.
        proposers: how many.
        learners: how many; may be 0, since proposers know what they get chosen.
        quorums: which sets of acceptors are enough; by default more than half.
        codec: how values become bytes, as for `kv`: "bytes", "msgpack", "json", "cloudpickle".
        path: the data root on each host; default: RAYCONS_HOME, else the user's data directory.
        loss: the share of messages that is lost, to see what becomes of that.
        delay: (least, most) seconds for which each message is held up, likewise.
        timeout: seconds until all actors must be there.

    Raises:
        BadArgument: an argument makes no sense, or two quorums need not meet.
        InsideRayWorker: called in a task or actor.
        ClusterError: Ray or the hosts refuse, or it took too long. StoreError: a disk does.
    """
    refuse_worker("raycons.synod")
    settings = settings_of_synod(
        acceptors=acceptors,
        proposers=proposers,
        learners=learners,
        quorums=quorums,
        path=path,
        loss=loss,
        delay=delay,
    )
    check_timeout(timeout)
    used = codec_named(codec)
    join_or_start_ray()
    return Synod(background().run(start_synod(settings, used, timeout)))
