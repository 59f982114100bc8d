"""The rare things that a campaign is expected to meet, each by the counter that tells of it.

A campaign that never reached one of them says nothing about it; `--require-coverage` makes that an
error. What happens in every seed is not listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from raycons.simulation.partitions import SHAPES
from raycons.simulation.provocation import POINTS, SLOT_POINTS
from raycons.simulation.scenario import FAULTS

# Why a replica changed its role; other reasons name replicas and terms, and are not counted.
TOLD_REASONS = frozenset(
    {
        "our disk does not answer",
        "a quorum is silent",
        "a quorum would not vote for us",
        "a quorum refused its vote",
        "a quorum refused its promise",
        "a quorum would not promise",
        "campaigning, asked by the leader",
        "leader's connection dropped",
        "removed from the configuration",
    }
)
LISTED: tuple[str, ...] = (
    *(f"fault {kind}" for kind in FAULTS),
    *(f"fault partition {shape}" for shape in SHAPES),
    *(f"bend {point}" for point in POINTS),
    *(f"because {reason}" for reason in sorted(TOLD_REASONS) if "promise" not in reason),
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


# Raft's own, and MultiPaxos'.
RAFT_ONLY = frozenset(
    {
        "because a quorum refused its vote",
        "because a quorum would not vote for us",
        "bend early-snapshot",
        "log-truncated",
        "sent AppendRejected",
        "sent Heartbeat of an idle group",
    }
)
MULTIPAXOS_ONLY = (
    *(f"bend {point}" for point in SLOT_POINTS),
    "because a quorum refused its promise",
    "because a quorum would not promise",
    "sent Refused",
    "sent CatchUp",
    "sent Chosen",
)


LISTED_OF_SLOTS = (*(name for name in LISTED if name not in RAFT_ONLY), *MULTIPAXOS_ONLY)


def never_reached(coverage: Mapping[str, int], listed: Iterable[str] = LISTED) -> list[str]:
    """What is listed and did not happen.

    >>> never_reached({name: 1 for name in LISTED if name != "log-truncated"})
    ['log-truncated']
    """
    return [name for name in listed if not coverage.get(name)]
