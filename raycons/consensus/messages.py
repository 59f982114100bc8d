"""Messages that every protocol with a leader and a log has; what a field is for is told beside it.

    any       --SnapshotChunk--> laggard   a piece of the state        --SnapshotReply-->
    follower  --ReadIndex-->  leader       what is committed by now?   --ReadIndexReply-->
    leader    --TimeoutNow--> follower     campaign at once (transfer)
    leader    --Retire-->     follower     your disk forgot what you acknowledged

`term` is the sender's: in Paxos, the ballot that it leads or has promised.
"""

from __future__ import annotations

import msgspec

from raycons.consensus.contract import SnapshotMeta, Term
from raycons.consensus.quorum import Index


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What all messages of all protocols have in common."""


class ReadIndex(Message, frozen=True):
    """A follower asks for an index to serve a linearizable read at."""

    term: Term
    context: int


class ReadIndexReply(Message, frozen=True):
    """Serve read `context` once `index` is applied; 0: ask again elsewhere."""

    term: Term
    context: int
    index: Index


class SnapshotChunk(Message, frozen=True):
    """One piece of one snapshot. Pieces of different snapshots never mix. Raft paper, section 7."""

    term: Term
    snapshot: int  # names one consistent view of one leader
    meta: SnapshotMeta
    sequence: int  # counts pieces from 0
    data: bytes
    final: bool


class SnapshotReply(Message, frozen=True):
    """Send piece `next` of `snapshot`; `installed` says that its state is on the sender's disk."""

    term: Term
    snapshot: int
    next: int
    installed: bool


class TimeoutNow(Message, frozen=True):
    """Campaign at once, without waiting for your timer. Raft dissertation, section 3.10."""

    term: Term


class Retire(Message, frozen=True):
    """Your log ends below what this identity acknowledged: your disk forgot. Never vote again."""

    term: Term
    reason: str


# The code of each type on the wire; a code is never given to another type.
CODES: dict[type[msgspec.Struct], int] = {
    ReadIndex: 10,
    ReadIndexReply: 11,
    SnapshotChunk: 12,
    SnapshotReply: 13,
    TimeoutNow: 14,
    Retire: 15,
}
