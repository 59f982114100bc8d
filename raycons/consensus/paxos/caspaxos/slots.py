"""What a proposer has under way for one key."""

from __future__ import annotations

from typing import Any

import msgspec

from raycons.consensus.paxos.caspaxos.messages import Stamp
from raycons.consensus.paxos.caspaxos.transition import Change
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.consensus.quorum import AcceptorId


class Waiting(msgspec.Struct, gc=False):
    """A request that is not decided."""

    request: Any
    since: float
    reads: bool  # it changes nothing
    everywhere: bool  # all acceptors must have the change, not only a quorum
    proposals: int = 0  # changes that it was part of, all of which may yet be chosen


class Round(msgspec.Struct):
    """A change under way, or its first phase."""

    ballot: Ballot
    deadline: float
    everywhere: bool
    promises: set[AcceptorId]
    highest: Ballot = NO_BALLOT  # of those accepted that the promises told of, and its value
    value: bytes = b""
    erased: Stamp = 0
    # In the second phase:
    following: Ballot = NO_BALLOT
    proposing: list[Waiting] | None = None  # None: still in the first phase
    change: Change | None = None
    accepted: set[AcceptorId] = msgspec.field(default_factory=set)


class Lead(msgspec.Struct):
    """Promises for the next change of a key, that came with the last."""

    ballot: Ballot
    holders: set[AcceptorId]
    base: Ballot  # under which the holders accepted `value`
    value: bytes


class Reading(msgspec.Struct):
    """A read under way."""

    number: int
    deadline: float
    waiting: list[Waiting]
    answers: dict[AcceptorId, tuple[Ballot, bytes]]


class Slot:
    """What a proposer does for one key."""

    __slots__ = ("lead", "queue", "readers", "reading", "refusals", "resume_at", "round")

    def __init__(self) -> None:
        self.queue: list[Waiting] = []
        self.round: Round | None = None
        self.lead: Lead | None = None
        self.readers: list[Waiting] = []
        self.reading: Reading | None = None
        self.refusals = 0  # in a row, for the pause before the next ballot
        self.resume_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, waits, or is kept for later."""
        return not (self.queue or self.round or self.lead or self.readers or self.reading)
