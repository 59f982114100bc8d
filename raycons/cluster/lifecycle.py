"""Starting, finding and stopping clusters, for asyncio; `raycons` wraps it for the rest.

start     supervisor there? -> ask it: it creates, resumes, or finds the cluster
connect   members by name -> who, where, and the secret -> a client
stop      supervisor, then members; with destroy=True their stores too
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from raycons.client.settings import ClientSettings
from raycons.cluster.fleet import CALLS, PAUSE_S, Charter, Fleet, adopt, end_members
from raycons.cluster.handle import AsyncCluster, open_handles
from raycons.cluster.hosts import destroy_everywhere, look_everywhere
from raycons.cluster.naming import check_name, running_clusters
from raycons.cluster.rays import unwrap
from raycons.cluster.settings import ClusterSettings
from raycons.cluster.supervisor import Supervisor
from raycons.errors import ClusterError, ClusterNotFound, MembersMissing, Unavailable
from raycons.member.lookup import actor_named, refusal
from raycons.member.naming import NAMESPACE, supervisor_name
from raycons.member.rediscovery import ANSWER_S

log = logging.getLogger(__name__)

HALT_S = 30.0  # a supervisor in the middle of a change ends that first


async def start_cluster(
    name: str,
    settings: ClusterSettings,
    *,
    timeout_s: float,
    client: ClientSettings | None = None,
) -> AsyncCluster:
    """Create the cluster `name`, resume it from its stores, or find it running.

    Raises ClusterExists, MembersMissing, ClusterError; see `raycons.start`.
    """
    loop = asyncio.get_running_loop()
    supervisor = await loop.run_in_executor(None, _supervisor, check_name(name))
    charter = await _start(supervisor, settings, timeout_s)
    return await AsyncCluster.open(charter, client)


def _supervisor(name: str) -> Any:
    import ray

    made = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)(Supervisor).options(
        name=supervisor_name(name), namespace=NAMESPACE, lifetime="detached", get_if_exists=True
    )
    try:
        return made.remote(name)
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise refusal(error) from error


async def _start(supervisor: Any, settings: ClusterSettings, timeout_s: float) -> Charter:
    import ray

    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    for left in reversed(range(CALLS)):
        try:
            charter: Charter = await supervisor.start.remote(settings, deadline - clock())
        except ray.exceptions.RayTaskError as error:
            raise unwrap(error) from None
        except ray.exceptions.RayError as error:
            # A start that finds the cluster running gives what the first one gave.
            if left and isinstance(error, ray.exceptions.ActorUnavailableError):
                await asyncio.sleep(PAUSE_S)
                continue
            what = "the supervisor ended while it started the cluster"
            raise ClusterError(f"{what}: {error}") from error
        break
    return charter


async def connect_cluster(name: str, client: ClientSettings | None = None) -> AsyncCluster:
    """Reach the running cluster `name`.

    Raises ClusterNotFound, which lists the known names; Unavailable where no member answers.
    """
    try:
        fleet = await adopt(check_name(name))
    except MembersMissing as error:
        raise Unavailable(str(error)) from None
    if fleet is None:
        raise await _not_found(name)
    return await AsyncCluster.open(fleet.charter, client)


async def _not_found(name: str) -> ClusterNotFound:
    known = await asyncio.get_running_loop().run_in_executor(None, running_clusters)
    others = ", ".join(repr(each) for each in known if each != name)
    return ClusterNotFound(
        f"no cluster {name!r} runs in this Ray cluster; "
        + (f"these do: {others}" if others else "none does")
        + f". raycons.start({name!r}) creates it, or resumes it from its stores"
    )


async def stop_cluster(name: str, *, destroy: bool, path: str | None) -> None:
    """End the cluster's actors, after all is on disk; with `destroy`, remove its stores.

    Raises ClusterNotFound where there is nothing to stop or to destroy, Unavailable where Ray
    refuses to say.
    """
    check_name(name)
    await asyncio.to_thread(running_clusters)  # nothing is ended where the rest could not be found
    for handle in open_handles(name):
        await handle.cluster_stopped()
    ran = await _end_supervisor(name)
    fleet = await _answering(name)
    if fleet is not None:
        ran = True
        path = path if path is not None else fleet.charter.settings.path
        await fleet.refresh()
        await fleet.close(fleet.ids)
    ran = await end_members(name) or ran
    if destroy:
        places = {path} if path is not None else await _places(name)
        removed = [gone for place in places for gone in await destroy_everywhere(name, place)]
        log.info("event=cluster-destroyed name=%s removed=%d", name, len(removed))
        ran = ran or bool(removed)
    if not ran and (destroy or not await _has_traces(name, path)):
        raise await _not_found(name)


async def _answering(name: str) -> Fleet | None:
    """The fleet that serves under `name`; None where no member answers in time, if there is one."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + ANSWER_S
    while True:
        try:
            return await adopt(name)
        except MembersMissing:
            if clock() >= deadline:
                return None
        await asyncio.sleep(PAUSE_S)


async def _end_supervisor(name: str) -> bool:
    """Keep the supervisor from reviving what is about to end; whether there was one."""
    import ray

    supervisor = await asyncio.to_thread(actor_named, supervisor_name(name))
    if supervisor is None:
        return False
    with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
        await asyncio.wait_for(_await(supervisor.halt.remote()), HALT_S)
    ray.kill(supervisor, no_restart=True)
    return True


async def _await(reference: Any) -> Any:
    return await reference


async def _places(name: str) -> set[str | None]:
    """The data roots of the clusters that the hosts remember under `name`, or the default one."""
    hosts = await look_everywhere(name, ClusterSettings())
    return {host.marker.path for host in hosts if host.marker is not None} or {None}


async def _has_traces(name: str, path: str | None) -> bool:
    hosts = await look_everywhere(name, ClusterSettings(path=path))
    return any(host.stores or host.marker for host in hosts)
