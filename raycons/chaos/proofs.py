"""Claims about a run under faults, and the one that all replicas have the same state."""

from __future__ import annotations

import asyncio

import msgspec

from raycons.aio import AsyncCluster

DIGEST_ATTEMPTS = 50
PAUSE_S = 0.2


class Proof(msgspec.Struct, frozen=True):
    """A claim about the run, and whether it holds."""

    claim: str
    holds: bool
    detail: str


async def equal_replicas(cluster: AsyncCluster) -> Proof:
    """Whether all replicas have the same state, compared where they stand at the same index."""
    claim = "all replicas are equal"
    members = await cluster.members()
    for _ in range(DIGEST_ATTEMPTS):
        digests = await asyncio.gather(*(cluster.digest(member) for member in members))
        indexes = {index for index, _ in digests}
        if len(indexes) == 1:
            states = {digest for _, digest in digests}
            which = ", ".join(
                f"replica {member}: {digest[:16]}"
                for member, (_, digest) in zip(members, digests, strict=True)
            )
            detail = f"digest {digests[0][1][:16]} on {len(members)}" if len(states) == 1 else which
            return Proof(claim, len(states) == 1, f"{detail}, at index {indexes.pop():,}")
        await asyncio.sleep(PAUSE_S)
    return Proof(claim, False, f"never at one index in {DIGEST_ATTEMPTS} looks: {digests}")
