"""From what a user writes to settings: the one place where `start`'s arguments are checked."""

from __future__ import annotations

import os
from typing import Any

from raycons.client.settings import ClientSettings
from raycons.cluster.settings import (
    ClusterSettings,
    Protocol,
    Reads,
    Storage,
    TransportKind,
    check_numbers,
    check_seconds,
    check_settings,
)
from raycons.config import MemberSettings, RaftSettings
from raycons.errors import BadArgument

# An actor call takes milliseconds where a socket takes tenths: everything waits longer there.
_ACTOR_PACE = RaftSettings(
    election_timeout_s=0.6, heartbeat_interval_s=0.15, reconnect_stagger_s=0.02
)


def settings_of_start(
    *,
    replicas: int,
    storage: Storage,
    protocol: Protocol,
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
            protocol=protocol,
            transport=transport,
            reads=reads,
            path=root_of(path),
            port_range=_pair(port_range),
            fault_injection=fault_injection,
            repair_grace_s=repair_grace,
            raft=raft if raft is not None else _pace(transport),
            member=member if member is not None else MemberSettings(),
        )
    )


def _pace(transport: object) -> RaftSettings:
    return _ACTOR_PACE if transport == "actor" else RaftSettings()


def _pair(ports: Any) -> Any:
    return tuple(ports) if isinstance(ports, list) else ports


def root_of(path: str | os.PathLike[str] | None) -> str | None:
    """The data root that `path` means, from wherever this process works. Raises BadArgument."""
    if path is None:
        return None
    try:
        return os.path.abspath(os.fspath(path))
    except TypeError:
        raise BadArgument(f"path={path!r}: expected a str or a pathlib.Path") from None


def check_start(timeout: float, client: ClientSettings | None) -> None:
    """Raise BadArgument where what `start` takes for itself alone makes no sense."""
    check_seconds("timeout", timeout)
    check_client(client)


def check_client(client: ClientSettings | None) -> None:
    """Raise BadArgument where a handle's settings make no sense."""
    if client is not None:
        check_numbers("client", client, ClientSettings)
