"""What lies of a synod on the disks of all hosts: gathering what was recorded, removing it all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from raycons.cluster.hosts import destroy_here, on_every_node
from raycons.cluster.rays import unwrap
from raycons.decree.post import synod_directory
from raycons.decree.recording import read_recordings
from raycons.decree.spec import SynodSpec


async def recordings_everywhere(spec: SynodSpec) -> dict[str, bytes]:
    """The recordings on every living host, by the files' names, whether their actors live or not.

    Raises Unavailable where Ray refuses to say which hosts there are.
    """
    answers = await _everywhere(_read_here, spec)
    return {name: content for files in answers.values() for name, content in (files or {}).items()}


async def remove_everywhere(spec: SynodSpec) -> None:
    """Remove the stores and recordings from every living host; its actors must be ending.

    Raises StoreError where a disk refuses, StoreLocked where an actor does not end, Unavailable
    where Ray refuses to say which hosts there are.
    """
    await _everywhere(_remove_here, spec)


async def _everywhere(function: Callable[[SynodSpec, str], Any], spec: SynodSpec) -> dict[str, Any]:
    import ray

    try:
        return await on_every_node(function, (spec,))
    except ray.exceptions.RayTaskError as error:
        raise unwrap(error) from None


def _read_here(spec: SynodSpec, node: str) -> dict[str, bytes]:
    return read_recordings(synod_directory(spec))


def _remove_here(spec: SynodSpec, node: str) -> None:
    destroy_here(spec.name, spec.settings.path, spec.uuid)
    shutil.rmtree(synod_directory(spec), ignore_errors=True)
