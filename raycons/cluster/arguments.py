"""From what a user writes to settings: the one place where `start`'s arguments are checked."""

from __future__ import annotations

import os

from raycons.cluster.settings import (
    ClusterSettings,
    Reads,
    Storage,
    TransportKind,
    check_settings,
)
from raycons.config import MemberSettings, RaftSettings

# An actor call takes milliseconds where a socket takes tenths: everything waits longer there.
_PACE: dict[str, RaftSettings] = {
    "tcp": RaftSettings(),
    "actor": RaftSettings(
        election_timeout_s=0.6, heartbeat_interval_s=0.15, reconnect_stagger_s=0.02
    ),
}


def settings_of_start(
    *,
    replicas: int,
    storage: Storage,
    transport: TransportKind,
    reads: Reads,
    path: str | os.PathLike[str] | None,
    port_range: tuple[int, int] | None,
    fault_injection: bool,
    repair_grace: float,
    raft: RaftSettings | None,
    member: MemberSettings | None,
) -> ClusterSettings:
    """The settings that the arguments of `start` mean. Raises BadArgument, naming the argument."""
    return check_settings(
        ClusterSettings(
            replicas=replicas,
            storage=storage,
            transport=transport,
            reads=reads,
            path=os.path.abspath(os.fspath(path)) if path is not None else None,
            port_range=tuple(port_range) if port_range is not None else None,  # type: ignore[arg-type]
            fault_injection=fault_injection,
            repair_grace_s=repair_grace,
            raft=raft or _PACE.get(transport, RaftSettings()),
            member=member or MemberSettings(),
        )
    )
