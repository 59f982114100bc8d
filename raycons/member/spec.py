"""What passes between a member actor and those who make it or look for it, by Ray's actor calls."""

from __future__ import annotations

import enum

import msgspec

from raycons.config import MemberSettings, RaftSettings
from raycons.transport.contract import PeerId


class MemberState(enum.StrEnum):
    """How far a member actor is."""

    OPENING = "opening"
    VACANT = "vacant"  # there is no store under this identity here: it never takes part by itself
    MADE = "made"  # the store is new and waits for its first configuration
    SERVING = "serving"
    RETIRED = "retired"  # the store's bytes failed their checks: this identity is over
    FAILED = "failed"  # the store cannot be opened now, or the replica broke; see the reason
    OUTDATED = "outdated"  # the group writes in a format that only a newer release handles
    CLOSED = "closed"


class MemberSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A member actor's constructor argument.

    Ray passes it again at every restart, wherever that happens and whatever became of the disk. So
    it says only which store to look for; it never permits to make one.
    """

    cluster: str  # the name
    uuid: str
    id: PeerId
    secret: bytes
    storage: str  # disk | memory
    protocol: str = "raft"  # of `raycons.config.PROTOCOLS`
    transport: str  # tcp | actor
    path: str | None  # the data root; None: the host's default
    port_range: tuple[int, int] | None
    fault_injection: bool
    raft: RaftSettings
    member: MemberSettings
    settings: bytes  # the cluster's settings as the cluster layer encodes them; opaque here


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """What a member actor tells whoever finds it by its name."""

    uuid: str
    id: PeerId
    state: MemberState
    reason: str
    nonce: int
    incarnation: int
    host: str
    node: str
    pid: int
    address: tuple[str, int] | None
    transport: str
    storage: str
    secret: bytes
    settings: bytes
