"""A register's chain of changes: each chosen value was made from the one chosen before.

A naive model of one key carries out every request at its place in the chain, so it can say of any
answer whether it is right, and where it stands. Together with real time (`history`) that is a
complete check of linearizability, for keys are independent of each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.machines.kv.commands import (
    FORGOTTEN,
    Delete,
    DeleteDone,
    Put,
    PutDone,
    Range,
    RangeDone,
    Swap,
    SwapDone,
)
from raycons.machines.register import Record, Request
from raycons.simulation.world import Violation

Identity = tuple[int, int, int]  # session, number, place

_decode = msgspec.msgpack.Decoder(Record).decode


class Proposal(NamedTuple):
    """A change that was proposed, and may be chosen."""

    base: Ballot  # of the value that it was made from; NO_BALLOT: of nothing
    value: bytes
    requests: Sequence[Any]
    outcomes: Sequence[Any]
    epoch: int
    erased: int  # the stamp that nothing was known of, where it was made of nothing


class State(NamedTuple):
    """A key after so many requests of its chain."""

    value: bytes | None
    revision: int


class Chain:
    """What became of one key."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.proposals: dict[Ballot, Proposal] = {}
        self.head: Ballot = NO_BALLOT  # the last that is chosen, or that a chosen one came from
        self.members: set[Ballot] = {NO_BALLOT}
        self.released: dict[Ballot, int] = {}  # tombstones to be forgotten, with their stamps
        self.states: list[State] = [State(None, 0)]  # before the first request, after it, ...
        self._effects: dict[Identity, Any] = {}  # the answer to each request that was carried out
        self.places: dict[bytes, tuple[int, Any]] = {}  # of what wrote a value: where, which answer

    @property
    def place(self) -> int:
        """How many requests were carried out."""
        return len(self.states) - 1

    # --- growing ----------------------------------------------------------------------------------

    def chosen(self, ballot: Ballot) -> list[bytes]:
        """A quorum accepted it; gives the values that took effect by that.

        Raises Violation where it is not the next in one chain.
        """
        if ballot in self.members:
            return []
        if ballot < self.head:
            raise Violation(
                "one-chain", f"{self.key!r}: {ballot} is chosen, but {self.head} came of another"
            )
        path = [ballot]
        while path[-1] != self.head:
            base = self.proposals[path[-1]].base
            if base == NO_BALLOT and self.head in self.released:
                break  # nothing at all stands for a tombstone that was erased
            if base < self.head:
                raise Violation(
                    "one-chain",
                    f"{self.key!r}: {ballot} is chosen, and {path[-1]} on the way to it was made "
                    f"from {base}, not from {self.head}, which was chosen before",
                )
            path.append(base)
        if path[-1] == self.head:
            path.pop()
        written: list[bytes] = []
        for link in reversed(path):
            self.members.add(link)
            written += self._carry_out(link, self.proposals[link])
        self.head = ballot
        return written

    def _carry_out(self, ballot: Ballot, proposal: Proposal) -> list[bytes]:
        written: list[bytes] = []
        for request, outcome in zip(proposal.requests, proposal.outcomes, strict=True):
            if isinstance(request, Request):
                written += self._one(request, outcome)
        record = _decode(proposal.value)
        value, revision = self.states[-1]
        if record.value != value or (value is not None and record.revision != revision):
            raise Violation(
                "machine-answers",
                f"{self.key!r} under {ballot}: it holds {record.value!r} of revision "
                f"{record.revision}, not {value!r} of {revision}",
            )
        return written

    def _one(self, request: Request, outcome: Any) -> list[bytes]:
        operation = request.operation
        if outcome == FORGOTTEN and request.session:
            return []
        identity = (request.session, request.number, request.place)
        if request.session and identity in self._effects:
            if self._effects[identity] != outcome:
                raise Violation(
                    "exactly-once",
                    f"{self.key!r}: {operation} was answered {self._effects[identity]}, and now "
                    f"{outcome}",
                )
            return []
        expected, state = self._model(operation, outcome)
        if expected != outcome:
            raise Violation(
                "machine-answers", f"{self.key!r}: {operation} gave {outcome}, not {expected}"
            )
        self.states.append(state)
        if not request.session:
            return []
        self._effects[identity] = outcome
        if not isinstance(operation, Put | Swap):
            return []
        if operation.value in self.places:
            raise Violation("exactly-once", f"{self.key!r}: {operation.value!r} took effect twice")
        self.places[operation.value] = self.place, outcome
        return [operation.value]

    def _model(self, operation: Any, outcome: Any) -> tuple[Any, State]:
        """What it must have answered; a revision is whatever it says, as long as it rises."""
        value, revision = before = self.states[-1]
        risen = max(outcome.revision, revision + 1)
        match operation:
            case Put(_, new):
                return PutDone(risen), State(new, risen)
            case Swap(_, expect, new):
                if value == expect:
                    return SwapDone(risen, True, None), State(new, risen)
                return SwapDone(self._told(outcome), False, value), before
            case Delete():
                if value is None:
                    return DeleteDone(self._told(outcome), 0), before
                return DeleteDone(risen, 1), State(None, risen)
            case Range():
                found = self._find(before, outcome)
                return found, before
            case _:
                raise Violation("machine-answers", f"no register is asked {operation}")

    def _told(self, outcome: Any) -> int:
        """The revision that an answer without a change names; 0 where the register was erased."""
        value, revision = self.states[-1]
        return 0 if value is None and outcome.revision == 0 else revision

    def _find(self, state: State, outcome: Any) -> Any:
        """What a read finds; numbers of a pair that are not followed here are taken as told."""
        value, revision = state
        if value is None:
            return RangeDone(self._told(outcome), (), 0, False)
        if not outcome.pairs:
            return (value, revision)  # unequal to any answer
        [pair] = outcome.pairs
        pairs = (msgspec.structs.replace(pair, value=value, mod_revision=revision),)
        return RangeDone(revision, pairs, 1, False)

    # --- answers ----------------------------------------------------------------------------------

    def place_of_state(self, value: bytes | None, revision: int, floor: int) -> int | None:
        """The first place from `floor` on at which the key was so; None: it never was."""
        if value is None and revision == 0:
            return next(
                (n for n in range(floor, len(self.states)) if self.states[n].value is None), None
            )
        first = bisect_left(self.states, revision, key=lambda state: state.revision)
        place = max(first, floor)
        if place < len(self.states) and self.states[place] == State(value, revision):
            return place
        return None
