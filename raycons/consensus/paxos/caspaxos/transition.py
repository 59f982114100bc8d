"""What a proposer is told to do to a register, and what it tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from raycons.consensus.contract import Send
from raycons.consensus.paxos.caspaxos.messages import Key, Stamp
from raycons.consensus.paxos.messages import Ballot


class Change(NamedTuple):
    """What a transition made of a register."""

    value: bytes
    deleted: bool  # a tombstone
    outcomes: Sequence[Any]  # one for each request, to be told once the value is chosen


class Transition(Protocol):
    """What requests do to a register. Deterministic, and it changes nothing but what it returns."""

    def change(self, value: bytes, erased: Stamp, round: int, requests: Sequence[Any]) -> Change:
        """Carry out `requests`, in order, on `value` (empty: nothing was ever accepted).

        `erased` is the highest stamp of registers that were erased, this one perhaps; `round` that
        of the ballot, which is above all of earlier changes.
        """

    def look(self, value: bytes, requests: Sequence[Any]) -> Sequence[Any]:
        """What `requests`, all of which only read, find in `value`."""


class Decided(NamedTuple):
    """The request was carried out, by the change that was chosen under `ballot`."""

    key: Key
    request: Any
    outcome: Any
    ballot: Ballot
    repeated: bool  # an earlier change with it, under another ballot, may have been chosen too


class Deleted(NamedTuple):
    """The register is a tombstone now, by a change of this proposer: it can be collected."""

    key: Key


class GaveUp(NamedTuple):
    """The request is not tried any more; `harmless`: it certainly had no effect."""

    key: Key
    request: Any
    harmless: bool


Effect = Send | Decided | Deleted | GaveUp
