"""What a user may choose when a cluster is started, and which choices its data is bound to."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from raycons.config import KIB, PROTOCOLS, MemberSettings, RaftSettings
from raycons.errors import BadArgument
from raycons.machines.kv.settings import KeyValueSettings
from raycons.transport.settings import TransportSettings

Storage = Literal["disk", "memory"]
TransportKind = Literal["tcp", "actor"]
Reads = Literal["read-index", "lease"]
Protocol = Literal["raft", "multipaxos", "caspaxos"]  # `raycons.config.PROTOCOLS`

MAX_REPLICAS = 15
LEASE_S = 0.2  # how long a follower's promise not to vote lasts, with reads="lease"
WINDOW = 128  # how many slots after its own a configuration of MultiPaxos begins to govern


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `start` was told; kept beside each replica's data."""

    replicas: int = 3
    storage: Storage = "disk"
    protocol: Protocol = "raft"
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

    @property
    def window(self) -> int:
        """What goes into the group's configuration; 0 where a configuration governs at once."""
        return WINDOW if self.protocol == "multipaxos" else 0


# Changing these means another cluster; the others may be chosen anew after a full stop.
BOUND_TO_DATA = ("replicas", "storage", "protocol", "reads", "member")
COMPARED = (
    *BOUND_TO_DATA,
    "transport",
    "path",
    "port_range",
    "fault_injection",
    "repair_grace_s",
    "raft",
)
_ARGUMENTS = {"repair_grace_s": "repair_grace"}  # where `start` calls a setting otherwise

FRAME_MARGIN_BYTES = 64 * KIB  # what travels in a frame beside keys and values
RANGE_BYTES = KeyValueSettings().max_range_bytes  # a range ends with the pair that passes this
MAX_FRAME_BYTES = TransportSettings().peer_buffer_bytes  # a peer's buffer holds one frame

# Fields of settings that may be 0; all others are above it.
_FROM_ZERO = frozenset({"reconnect_stagger_s", "lease_margin", "write_behind_s", "due_pause_s"})


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
    _one_of("protocol", settings.protocol, PROTOCOLS)
    _one_of("transport", settings.transport, ("tcp", "actor"))
    _one_of("reads", settings.reads, ("read-index", "lease"))
    if settings.protocol == "caspaxos" and settings.reads == "lease":
        raise BadArgument(
            'reads="lease" is for a protocol with a leader; leave it out with protocol="caspaxos"'
        )
    ports: Any = settings.port_range
    if ports is not None:
        pair = isinstance(ports, tuple | list) and len(ports) == 2
        fits = pair and all(isinstance(port, int) for port in ports)
        if not fits or not 1 <= ports[0] <= ports[1] <= 65535:
            raise BadArgument(
                f"port_range={ports!r}: expected (first, last), both between 1 and 65535"
            )
    if not isinstance(settings.fault_injection, bool):
        raise BadArgument(f"fault_injection={settings.fault_injection!r}: expected True or False")
    check_seconds("repair_grace", settings.repair_grace_s)
    _check_raft(settings.raft)
    _check_member(settings.member)
    return settings


def check_seconds(name: str, value: object) -> float:
    """Give back a time that makes sense. Raises BadArgument, naming it."""
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not 0 < value < math.inf:  # type: ignore[operator]
        raise BadArgument(f"{name}={value!r}: expected seconds above 0")
    return value  # type: ignore[return-value]


def check_numbers(name: str, settings: object, kind: type[msgspec.Struct]) -> None:
    """Raise BadArgument unless `settings` is a `kind` whose times, sizes and counts make sense."""
    if not isinstance(settings, kind):
        raise BadArgument(
            f"{name}={settings!r}: expected {kind.__name__}(...), which raycons offers"
        )
    for field in msgspec.structs.fields(kind):
        value = getattr(settings, field.name)
        whole = field.type is int
        fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        from_zero = field.name in _FROM_ZERO or field.default == 0
        if not fits or not (0 <= value < math.inf) or (value == 0 and not from_zero):
            raise BadArgument(
                f"{name}.{field.name}={value!r}: expected a {'whole ' if whole else ''}number "
                + ("of 0 or more" if from_zero else "above 0")
            )


def _check_raft(raft: RaftSettings) -> None:
    check_numbers("raft", raft, RaftSettings)
    if raft.election_timeout_s <= raft.heartbeat_interval_s:
        raise BadArgument(
            f"raft.election_timeout_s={raft.election_timeout_s}: expected more than "
            f"heartbeat_interval_s={raft.heartbeat_interval_s}, or followers elect anew between "
            "two heartbeats; some four times as much is usual"
        )
    if raft.lease_margin >= 1:
        raise BadArgument(f"raft.lease_margin={raft.lease_margin}: expected a share below 1")


def _check_member(member: MemberSettings) -> None:
    check_numbers("member", member, MemberSettings)
    if member.max_frame_bytes > MAX_FRAME_BYTES:
        raise BadArgument(
            f"member.max_frame_bytes={member.max_frame_bytes}: expected at most {MAX_FRAME_BYTES}"
        )
    needed = member.max_key_bytes + member.max_value_bytes + RANGE_BYTES + FRAME_MARGIN_BYTES
    if needed > member.max_frame_bytes:
        raise BadArgument(
            f"member.max_value_bytes={member.max_value_bytes}: an answer that holds such a value "
            f"can have {needed} bytes, and max_frame_bytes={member.max_frame_bytes} is the most "
            "that travels at once; raise that, or allow only smaller values and keys"
        )


def differences(running: ClusterSettings, asked: ClusterSettings, names: Sequence[str]) -> str:
    """Where the two differ, as "replicas is 3, asked for 5"; empty where they agree.

    >>> differences(ClusterSettings(), ClusterSettings(replicas=5), COMPARED)
    'replicas is 3, asked for 5'
    """
    pairs: list[tuple[str, Any, Any]] = []
    for name in names:
        has, wants = getattr(running, name), getattr(asked, name)
        if isinstance(has, msgspec.Struct):
            pairs += [
                (f"{name}.{field}", getattr(has, field), getattr(wants, field))
                for field in has.__struct_fields__
            ]
        else:
            pairs.append((_ARGUMENTS.get(name, name), has, wants))
    return ", ".join(
        f"{name} is {has!r}, asked for {wants!r}" for name, has, wants in pairs if has != wants
    )
