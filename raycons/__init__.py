"""Consensus for Ray: replicated, durable, linearizable state that outlives any process or machine.

    import raycons

    cluster = raycons.start("prod", replicas=3)
    kv = cluster.kv()
    kv.put("jobs/42", b"queued")

`raycons.aio` gives the same for asyncio, `raycons.errors` what can go wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raycons import errors
from raycons.client.settings import ClientSettings
from raycons.config import MemberSettings, RaftSettings
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


__all__ = [
    "BadArgument",
    "ClientSettings",
    "Closed",
    "Cluster",
    "ClusterExists",
    "ClusterLost",
    "ClusterNotFound",
    "MemberSettings",
    "MembersMissing",
    "NotApplied",
    "OutcomeUnknown",
    "Overloaded",
    "RaftSettings",
    "RayconsError",
    "Refused",
    "Unavailable",
    "__version__",
    "connect",
    "errors",
    "start",
    "stop",
]

# Ray takes most of a second to import; whoever wants only an error class, or the simulator, does
# not pay for it. So these names are looked up when they are first used.
_LATE = ("Cluster", "connect", "start", "stop")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        from raycons.cluster import blocking

        return getattr(blocking, name)
    raise AttributeError(f"module 'raycons' has no attribute {name!r}")
