"""Starting a synod: acceptors and learners, then proposers, who name the acceptors' stores."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable
from itertools import cycle
from typing import Any, TypeVar

from raycons.client.codecs import ValueCodec
from raycons.cluster.hosts import ray_nodes
from raycons.cluster.rays import unwrap
from raycons.decree.actors import AcceptorActor, LearnerActor, ProposerActor, actor_class
from raycons.decree.arguments import SynodSettings
from raycons.decree.handle import AsyncSynod, end_actors
from raycons.decree.hosts import remove_everywhere
from raycons.decree.spec import SynodSpec, acceptor_name
from raycons.errors import ClusterError

V = TypeVar("V")
T = TypeVar("T")


async def start_synod(
    settings: SynodSettings, codec: ValueCodec[V], timeout_s: float
) -> AsyncSynod[V]:
    """Make the actors and the acceptors' stores; see `raycons.synod`."""
    spec = SynodSpec(f"synod-{secrets.token_hex(6)}", str(uuid.uuid4()), settings)
    made: list[Any] = []
    try:
        async with asyncio.timeout(timeout_s):
            return await _start(spec, codec, made)
    except BaseException as error:  # noqa: BLE001  whatever it was, nothing is left behind
        await end_actors(made)
        await remove_everywhere(spec)
        raise _explained(error, timeout_s) from None


async def _start(spec: SynodSpec, codec: ValueCodec[V], made: list[Any]) -> AsyncSynod[V]:
    acceptors, learners = await _to_its_end(_make_answering, spec, made)
    nonces = await _all({id: actor.make.remote() for id, actor in acceptors.items()})
    proposers = await _to_its_end(_make_asking, spec, nonces, made)
    askers = {**proposers, **learners}
    await _all({id: actor.__ray_ready__.remote() for id, actor in askers.items()})
    return AsyncSynod(spec, codec, nonces, acceptors, proposers, learners)


async def _to_its_end(make: Callable[..., T], *arguments: Any) -> T:
    """Make actors in a thread; whoever is cancelled meanwhile knows all that were made."""
    made = asyncio.ensure_future(asyncio.to_thread(make, *arguments))
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        await asyncio.wait((made,))
        raise


def _make_answering(spec: SynodSpec, made: list[Any]) -> tuple[dict[int, Any], dict[int, Any]]:
    """The acceptors and the learners."""
    acceptors, learners = {}, {}
    nodes = [node["NodeID"] for node in ray_nodes() if node["Alive"]]
    for id, node in zip(spec.acceptor_ids(), cycle(nodes), strict=False):
        # Pinned: elsewhere it would not find its store.
        kind = actor_class(AcceptorActor, spec.actor(acceptor_name(id)), node)
        acceptors[id] = kind.remote(spec, id)
        made.append(acceptors[id])
    for id in spec.learner_ids():
        kind = actor_class(LearnerActor, spec.actor(spec.asker_name(id)))
        learners[id] = kind.remote(spec, id)
        made.append(learners[id])
    return acceptors, learners


def _make_asking(spec: SynodSpec, nonces: dict[int, int], made: list[Any]) -> dict[int, Any]:
    """The proposers."""
    proposers = {}
    for id in spec.proposer_ids():
        kind = actor_class(ProposerActor, spec.actor(spec.asker_name(id)))
        proposers[id] = kind.remote(spec, id, nonces)
        made.append(proposers[id])
    return proposers


async def _all(references: dict[int, Any]) -> dict[int, Any]:
    async def answer(reference: Any) -> Any:
        return await reference

    answers = await asyncio.gather(*map(answer, references.values()))
    return dict(zip(references, answers, strict=True))


def _explained(error: BaseException, timeout_s: float) -> BaseException:
    import ray

    if isinstance(error, TimeoutError):
        return ClusterError(
            f"the synod's actors were not all there within {timeout_s:g} s, and those that were "
            "are ended; give it more time with timeout=..., or fewer actors"
        )
    if isinstance(error, ray.exceptions.RayTaskError):
        return unwrap(error)
    if isinstance(error, ray.exceptions.RayError):
        return ClusterError(f"an actor of the synod did not start: {error}")
    return error
