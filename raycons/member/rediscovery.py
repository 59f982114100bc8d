"""Finding members through Ray, by their names: at a start, and when a peer is away for long.

Looking a name up asks Ray's control plane and may block for as long as that is away, so it happens
on a thread; nothing in the path of a command waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from raycons.errors import Unavailable
from raycons.member.lookup import actor_named
from raycons.member.naming import member_name
from raycons.member.spec import Introduction
from raycons.transport.contract import Address, PeerId

ANSWER_S = 5.0  # a member that does not introduce itself in this time is not there


class Found(NamedTuple):
    """A member actor that answered."""

    handle: Any  # ray.actor.ActorHandle
    introduction: Introduction


async def find_members(cluster: str, uuid: str, ids: Iterable[PeerId]) -> dict[PeerId, Found]:
    """Those of `ids` that have a live actor of this very cluster (`uuid`; "" : of any)."""
    found = await asyncio.gather(*(_find(cluster, uuid, id) for id in ids))
    return {each.introduction.id: each for each in found if each is not None}


async def _find(cluster: str, uuid: str, id: PeerId) -> Found | None:
    import ray

    try:
        handle = await asyncio.to_thread(actor_named, member_name(cluster, id))
        if handle is None:
            return None
        introduction = await asyncio.wait_for(_ask(handle), ANSWER_S)
    except (Unavailable, TimeoutError, ray.exceptions.RayError):
        return None
    return Found(handle, introduction) if uuid in ("", introduction.uuid) else None


async def _ask(handle: Any) -> Introduction:
    introduction: Introduction = await handle.introduce.remote()
    return introduction


def addresses(found: Mapping[PeerId, Found]) -> dict[PeerId, Address]:
    """Where the members found listen."""
    return {
        id: Address(*each.introduction.address)
        for id, each in found.items()
        if each.introduction.address is not None
    }
