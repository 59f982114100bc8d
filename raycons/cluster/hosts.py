"""The hosts of a Ray cluster: which there are, and which stores of a cluster they hold.

Ray's node id changes with every start of Ray; a host has an id of its own, in a file in its data
root. A short task on each living node reads it, and the stores beside it, without opening them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from raycons.cluster.markers import Marker, read_marker, remove_marker, write_marker
from raycons.cluster.rays import in_worker
from raycons.cluster.settings import ClusterSettings
from raycons.errors import StoreError, StoreLocked
from raycons.member.hosting import SETTINGS_FILE
from raycons.member.lookup import actor_names
from raycons.store import directory

log = logging.getLogger(__name__)

TASK_S = 30.0  # a node that has not run a short task by then is left out
_HERE = ThreadPoolExecutor(1, "look-here")  # a disk that hangs takes this one thread, and no other
UNLOCK_S = 5.0  # how long a store may still be held by a process that is ending


class StoreReport(msgspec.Struct, frozen=True, kw_only=True):
    """A store of the cluster, seen on a host's disk."""

    path: str
    id: int = 0  # 0: its identity cannot be read
    uuid: str = ""
    nonce: int = 0
    retired: str = ""
    problem: str = ""  # why its identity cannot be read
    settings: ClusterSettings | None = None  # those that it was made with


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """A host that is alive now."""

    host: str  # its own id; "" where it has no usable data root
    node: str  # Ray's id of the node at present
    hostname: str
    root: str
    stores: tuple[StoreReport, ...] = ()
    problem: str = ""  # why it cannot hold a store
    elsewhere: str = ""  # its usual data root, where stores of the name lie though not in `root`
    marker: Marker | None = None  # what it remembers of the cluster, wherever that lies
    silent: bool = False  # it did not say which stores it holds, and may hold some


def look_here(cluster: str, path: str | None, node: str) -> HostReport:
    """Report on the host that this runs on."""
    root = Path(path) if path else directory.default_root()
    try:
        host = directory.host_id(root)
        directory.refuse_network_file_system(root)
    except StoreError as error:
        return HostReport(
            host="",
            node=node,
            hostname=platform.node(),
            root=str(root),
            problem=str(error),
            marker=read_marker(cluster),
        )
    return HostReport(
        host=host,
        node=node,
        hostname=platform.node(),
        root=str(root),
        stores=tuple(_report(found) for found in directory.find(root, cluster)),
        elsewhere=_elsewhere(cluster, root),
        marker=read_marker(cluster),
    )


def _elsewhere(cluster: str, root: Path) -> str:
    usual = directory.default_root()
    return str(usual) if usual != root and directory.find(usual, cluster) else ""


def _report(found: directory.Found) -> StoreReport:
    if found.identity is None:
        return StoreReport(path=str(found.path), problem=str(found.problem))
    settings = None
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        settings = decode_settings((found.path / SETTINGS_FILE).read_bytes())
    return StoreReport(
        path=str(found.path),
        id=found.identity.replica,
        uuid=found.identity.cluster_id,
        nonce=found.identity.nonce,
        retired=found.identity.retired or "",
        settings=settings,
    )


def destroy_here(cluster: str, path: str | None, uuid: str) -> list[str]:
    """Remove the stores of the cluster, then its marker, from this host; the paths removed.

    `uuid` limits it to those of one cluster; "": all of the name, readable or not.
    """
    root = Path(path) if path else directory.default_root()
    removed = []
    for found in directory.find(root, cluster):
        identity = found.identity
        if uuid and (identity is None or identity.cluster_id != uuid):
            continue
        if identity is not None and identity.retired is None:
            _open_for_removal(root, cluster, identity.replica).destroy()
        else:
            shutil.rmtree(found.path)
        removed.append(str(found.path))
    marker = remove_marker(cluster, path, uuid)
    if marker:
        removed.append(marker)
    with contextlib.suppress(OSError):
        (root / cluster).rmdir()
    return removed


def _open_for_removal(root: Path, cluster: str, id: int) -> directory.MemberDirectory:
    deadline = time.monotonic() + UNLOCK_S
    while True:
        try:
            return directory.open(root, cluster, id, allow_network_file_system=True)
        except StoreLocked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def encode_settings(settings: ClusterSettings) -> bytes:
    """The settings as they are kept beside a store."""
    return msgspec.json.encode(settings)


def decode_settings(raw: bytes) -> ClusterSettings:
    """The inverse of `encode_settings`; raises msgspec.MsgspecError."""
    return msgspec.json.decode(raw, type=ClusterSettings)


async def on_every_node(function: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, Any]:
    """Run `function(*arguments, node)` on each living node; None where a node gave no answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in await asyncio.to_thread(ray_nodes) if node["Alive"]]
    task = ray.remote(num_cpus=0, max_retries=0)(function)
    # A driver may see another disk, or another RAYCONS_HOME, than the workers of its node do.
    here = ray.get_runtime_context().get_node_id() if in_worker() else None

    async def run(node: str) -> Any:
        if node == here:  # spares a new process, which takes longer than all that it is asked for
            call = partial(function, *arguments, node)
            answer = asyncio.get_running_loop().run_in_executor(_HERE, call)
        else:
            pinned = NodeAffinitySchedulingStrategy(node, soft=False)
            asked = task.options(scheduling_strategy=pinned).remote(*arguments, node)
            answer = asyncio.ensure_future(_answer(asked))
        try:
            await asyncio.wait((answer,), timeout=TASK_S)
            if not answer.done():
                return None
        finally:
            answer.cancel()  # if it is not there by now, or nobody waits for it any more
        try:
            return answer.result()
        except ray.exceptions.RayTaskError:
            raise  # the function's own error
        except ray.exceptions.RayError:
            return None  # the node went away meanwhile, or is about to

    return dict(zip(nodes, await asyncio.gather(*(run(node) for node in nodes)), strict=True))


def ray_nodes() -> list[dict[str, Any]]:
    """Ray's nodes. Raises Unavailable where Ray refuses to say."""
    import ray

    actor_names()  # `ray.nodes()` aborts a process that Ray's control plane no longer knows
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


async def _answer(reference: Any) -> Any:
    return await reference


async def look_everywhere(cluster: str, settings: ClusterSettings) -> list[HostReport]:
    """All hosts that are alive, one report for each host id, in a stable order.

    A cluster in memory has no data root, and there each node counts as a host, by Ray's id. What
    the disks hold under its name is reported all the same: it must not be started beside that.
    """
    answers = await on_every_node(look_here, (cluster, settings.path))
    reports = [answer or _silent(node) for node, answer in answers.items()]
    if settings.storage == "memory":
        return [
            each if each.silent else msgspec.structs.replace(each, host=each.node, problem="")
            for each in reports
        ]
    by_host: dict[str, HostReport] = {}
    for report in reports:
        by_host.setdefault(report.host or report.node, report)
    return list(by_host.values())


def _silent(node: str) -> HostReport:
    problem = "it did not say which stores it holds"
    return HostReport(host="", node=node, hostname=node, root="", problem=problem, silent=True)


async def destroy_everywhere(cluster: str, path: str | None, uuid: str = "") -> list[str]:
    """Remove the cluster's stores from every living host, as `destroy_here`; the paths removed."""
    removed = await on_every_node(_destroy_task, (cluster, path, uuid))
    return [path for paths in removed.values() for path in paths or ()]


def _destroy_task(cluster: str, path: str | None, uuid: str, node: str) -> list[str]:
    return destroy_here(cluster, path, uuid)


async def mark_everywhere(marker: Marker) -> None:
    """Have every living host remember the cluster, as `write_marker`."""
    problems = await on_every_node(_mark_task, (marker,))
    for node, problem in problems.items():
        if problem != "":
            why = problem or "it gave no answer"
            log.warning("event=not-marked cluster=%s node=%s why=%s", marker.name, node, why)


def _mark_task(marker: Marker, node: str) -> str:
    return write_marker(marker)
