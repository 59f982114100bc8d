"""What a run of chaos came to: the proofs, and what the faults cost."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from raycons.chaos.proofs import Proof

RECOVERY = "the cluster was whole again after every round"


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One round of faults, as it went; times in seconds since the run began."""

    kinds: tuple[str, ...]
    victims: tuple[int, ...]  # replicas, in the order of `kinds`
    at_leader: bool  # whether one of the victims led
    began_s: float
    healed_s: float
    whole_s: float | None  # when all replicas served again; None: not in time
    failover_ms: float | None  # None: not measured for this kind, or never
    silence_ms: float  # the longest time without an acknowledged write, until all was well
    note: str = ""  # what did not go as planned


class KindReport(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault over the run, alone and together with others."""

    kind: str
    count: int
    failovers: int  # how many hit the leader, alone, and were measured; the figures are of these
    failover_p50_ms: float | None
    failover_max_ms: float | None
    silence_max_ms: float


class ChaosReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, how it went, and whether every proof holds."""

    verdict: bool
    proofs: list[Proof]
    seed: int
    rounds: int
    faults: list[KindReport]
    available: float  # the share of the seconds in which a write was acknowledged
    longest_silence_ms: float
    acknowledged: int
    unknown: int
    refused: int
    recorded: int  # operations in the history of the recorded clients
    history: str | None  # where it was kept, if it is not proven to be linearizable
    replicas: int
    storage: str
    transport: str
    reads: str
    ray_failures_percent: int  # of the actor calls, each of three ways
    seconds: float  # under load
    incidents: list[Incident]
    acknowledged_per_second: tuple[int, ...]


def by_kind(incidents: Sequence[Incident]) -> list[KindReport]:
    """The figures of each kind that came, in alphabetical order."""
    names = sorted({kind for incident in incidents for kind in incident.kinds})
    return [_kind(name, [one for one in incidents if name in one.kinds]) for name in names]


def _kind(name: str, incidents: Sequence[Incident]) -> KindReport:
    measured = [
        one.failover_ms
        for one in incidents
        if one.failover_ms is not None and one.at_leader and len(one.kinds) == 1
    ]
    return KindReport(
        kind=name,
        count=len(incidents),
        failovers=len(measured),
        failover_p50_ms=round(median(measured), 1) if measured else None,
        failover_max_ms=max(measured, default=None),
        silence_max_ms=max(one.silence_ms for one in incidents),
    )


def recovered(incidents: Sequence[Incident]) -> Proof:
    """Whether every fault could be lifted, and the cluster was whole again in time."""
    late = [one for one in incidents if one.whole_s is None]
    if late:
        found = (
            f"{'+'.join(one.kinds) or 'nothing'} at {one.began_s:.1f} s: {one.note}" for one in late
        )
        return Proof(RECOVERY, False, "; ".join(found))
    slowest = max((one.whole_s - one.healed_s for one in incidents if one.whole_s), default=0.0)
    return Proof(RECOVERY, True, f"{len(incidents)} rounds, at most {slowest:.1f} s after healing")


def availability(per_second: Sequence[int]) -> float:
    """The share of the seconds with an acknowledged write.

    >>> availability((3, 0, 1, 4))
    0.75
    """
    return round(sum(count > 0 for count in per_second) / max(1, len(per_second)), 4)
