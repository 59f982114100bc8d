"""The rare things that a campaign is expected to meet, each by the counter that tells of it.

A campaign that never reached one of them says nothing about it; `--require-coverage` makes that an
error. What happens in every seed is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping

from raycons.simulation.partitions import SHAPES
from raycons.simulation.provocation import POINTS
from raycons.simulation.scenario import FAULTS

# Why a replica changed its role; other reasons name replicas and terms, and are not counted.
TOLD_REASONS = frozenset(
    {
        "our disk does not answer",
        "a quorum is silent",
        "a quorum would not vote for us",
        "a quorum refused its vote",
        "campaigning, asked by the leader",
        "leader's connection dropped",
        "removed from the configuration",
    }
)
LISTED: tuple[str, ...] = (
    *(f"fault {kind}" for kind in FAULTS),
    *(f"fault partition {shape}" for shape in SHAPES),
    *(f"bend {point}" for point in POINTS),
    *(f"because {reason}" for reason in sorted(TOLD_REASONS)),
    "batches torn",
    "log-truncated",
    "log-compacted",
    "snapshot-installed",
    "removed",
    "sent AppendRejected",
    "sent Heartbeat of an idle group",
    "sent ReadIndex",
    "sent SnapshotReply",
    "sent TimeoutNow",
    "order Add done",
    "order Remove done",
    "order Transfer done",
    "order disks lost",
    "order records rotten",
    "order batches forgotten",
    "retired",
    "impostor copy",
    "impostor stranger",
    "peer-refused",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "result Lagging",
    "result Overloaded",
    "result OutcomeUnknown",
    "result Unavailable",
)


def never_reached(coverage: Mapping[str, int]) -> list[str]:
    """What is listed and did not happen.

    >>> never_reached({name: 1 for name in LISTED if name != "log-truncated"})
    ['log-truncated']
    """
    return [name for name in LISTED if not coverage.get(name)]
