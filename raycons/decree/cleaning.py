"""Removing what a synod left on the disks of all hosts."""

from __future__ import annotations

import shutil

from raycons.cluster.hosts import destroy_here, on_every_node
from raycons.cluster.rays import unwrap
from raycons.decree.post import synod_directory
from raycons.decree.spec import SynodSpec


async def remove_everywhere(spec: SynodSpec) -> None:
    """Remove the stores and recordings from every living host; its actors must be ending.

    Raises StoreError where a disk refuses, StoreLocked where an actor does not end.
    """
    import ray

    try:
        await on_every_node(_remove_here, (spec,))
    except ray.exceptions.RayTaskError as error:
        raise unwrap(error) from None


def _remove_here(spec: SynodSpec, node: str) -> None:
    destroy_here(spec.name, spec.settings.path, spec.uuid)
    shutil.rmtree(synod_directory(spec), ignore_errors=True)
