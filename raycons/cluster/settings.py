"""What a user may choose when a cluster is started, and which choices its data is bound to."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from raycons.config import MemberSettings, RaftSettings
from raycons.errors import BadArgument

Storage = Literal["disk", "memory"]
TransportKind = Literal["tcp", "actor"]
Reads = Literal["read-index", "lease"]

MAX_REPLICAS = 15
LEASE_S = 0.2  # how long a follower's promise not to vote lasts, with reads="lease"


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `start` was told; kept beside each replica's data."""

    replicas: int = 3
    storage: Storage = "disk"
    transport: TransportKind = "tcp"
    reads: Reads = "read-index"
    path: str | None = None  # the data root; None: each host's own default
    port_range: tuple[int, int] | None = None  # inclusive; None: any free port
    fault_injection: bool = False  # members obey `fault`, for tests
    repair_grace_s: float = 30.0  # a replica that is away longer is replaced
    raft: RaftSettings = RaftSettings()
    member: MemberSettings = MemberSettings()

    @property
    def lease_s(self) -> float:
        """What goes into the group's configuration; 0 without leases."""
        return LEASE_S if self.reads == "lease" else 0.0


# Changing these means another cluster; the others may be chosen anew after a full stop.
BOUND_TO_DATA = ("replicas", "storage", "reads", "member")
COMPARED = (*BOUND_TO_DATA, "transport", "path", "port_range", "fault_injection")


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        choices = " or ".join(repr(choice) for choice in allowed)
        raise BadArgument(f"{name}={value!r}: expected {choices}")


def check_settings(settings: ClusterSettings) -> ClusterSettings:
    """Give the settings back if they make sense; warn about an even number of replicas.

    Raises BadArgument, naming the argument.
    """
    replicas: object = settings.replicas
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise BadArgument(f"replicas={replicas!r}: expected a whole number")
    if not 1 <= replicas <= MAX_REPLICAS:
        raise BadArgument(
            f"replicas={replicas}: a cluster has 1 to {MAX_REPLICAS} replicas; 3 survive the loss "
            "of one, 5 of two"
        )
    if replicas % 2 == 0:
        warnings.warn(
            f"replicas={replicas}: an even number survives no more losses than {replicas - 1} "
            f"would, and every write needs one more acknowledgement; {replicas - 1} or "
            f"{replicas + 1} is better",
            stacklevel=4,
        )
    _one_of("storage", settings.storage, ("disk", "memory"))
    _one_of("transport", settings.transport, ("tcp", "actor"))
    _one_of("reads", settings.reads, ("read-index", "lease"))
    ports: Any = settings.port_range
    if ports is not None:
        fits = len(ports) == 2 and all(isinstance(port, int) for port in ports)
        if not fits or not 1 <= ports[0] <= ports[1] <= 65535:
            raise BadArgument(
                f"port_range={ports!r}: expected (first, last), both between 1 and 65535"
            )
    if settings.repair_grace_s <= 0:
        raise BadArgument(f"repair_grace_s={settings.repair_grace_s}: expected seconds above 0")
    return settings


def differences(running: ClusterSettings, asked: ClusterSettings, names: Sequence[str]) -> str:
    """Where the two differ, as "replicas is 3, asked for 5"; empty where they agree.

    >>> differences(ClusterSettings(), ClusterSettings(replicas=5), COMPARED)
    'replicas is 3, asked for 5'
    """
    pairs: list[tuple[str, Any, Any]] = [
        (name, getattr(running, name), getattr(asked, name)) for name in names
    ]
    return ", ".join(
        f"{name} is {has!r}, asked for {wants!r}" for name, has, wants in pairs if has != wants
    )
