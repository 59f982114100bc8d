"""Consensus for Ray: replicated, durable, linearizable state that outlives any process or machine.

    import raycons

    cluster = raycons.start("prod", replicas=3)
    kv = cluster.kv()
    kv.put("jobs/42", b"queued")

`raycons.aio` gives the same for asyncio, `raycons.errors` what can go wrong.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from raycons import errors
from raycons.client.settings import ClientSettings
from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.quorum import Flexible, Grid, Majority, QuorumSystem, Weighted
from raycons.errors import (
    BadArgument,
    Closed,
    ClusterExists,
    ClusterLost,
    ClusterNotFound,
    MembersMissing,
    NotApplied,
    OutcomeUnknown,
    Overloaded,
    RayconsError,
    Refused,
    Unavailable,
)
from raycons.version import __version__

if TYPE_CHECKING:
    from raycons.cluster.blocking import Cluster, connect, start, stop
    from raycons.decree.blocking import Synod, synod


__all__ = [
    "BadArgument",
    "ClientSettings",
    "Closed",
    "Cluster",
    "ClusterExists",
    "ClusterLost",
    "ClusterNotFound",
    "Flexible",
    "Grid",
    "Majority",
    "MemberSettings",
    "MembersMissing",
    "NotApplied",
    "OutcomeUnknown",
    "Overloaded",
    "QuorumSystem",
    "RaftSettings",
    "RayconsError",
    "Refused",
    "Synod",
    "Unavailable",
    "Weighted",
    "__version__",
    "connect",
    "errors",
    "start",
    "stop",
    "synod",
]

# Ray takes most of a second to import; whoever wants only an error class, or the simulator, does
# not pay for it. So these names are looked up when they are first used.
_LATE = {
    **dict.fromkeys(("Cluster", "connect", "start", "stop"), "raycons.cluster.blocking"),
    **dict.fromkeys(("Synod", "synod"), "raycons.decree.blocking"),
}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module 'raycons' has no attribute {name!r}")
