"""An acceptor of registers: for each key what it promised, and what it accepted.

Pure. `receive` gives the answer; what changed is in `registers` and `state` by then, and an answer
other than a refusal leaves only when that is on disk: an acceptor that forgets is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Age,
    Elsewhere,
    Epoch,
    Erase,
    Forbid,
    Forbidden,
    Inherit,
    Inherited,
    Key,
    Listed,
    Listing,
    Message,
    Outdated,
    Prepare,
    Promise,
    Query,
    Refusal,
    Stamp,
    ToAcceptor,
    Told,
)
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot

LISTED_AT_ONCE = 256


class Register(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an acceptor must never forget of a key, unless it is erased."""

    promised: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    value: bytes = b""
    deleted: bool = False  # the value is a tombstone


UNKNOWN = Register()


class AcceptorState(msgspec.Struct, frozen=True, array_like=True):
    """What it must never forget besides."""

    ages: tuple[tuple[int, Age], ...] = ()  # of proposers: what comes from younger ones is too old
    erased: Stamp = 0  # the highest of all registers that were erased


class Registers(Protocol):
    """Where an acceptor keeps its registers."""

    def get(self, key: Key) -> Register | None:
        """The register, or None."""

    def put(self, key: Key, register: Register) -> None:
        """Remember the register."""

    def erase(self, key: Key) -> None:
        """Forget it."""

    def keys(self, after: Key) -> Iterator[Key]:
        """The keys behind `after`, in order."""


class Acceptor:
    """Promises, and accepts what no promise forbids."""

    def __init__(self, registers: Registers, state: AcceptorState, epoch: Epoch) -> None:
        """`state` is what the disk holds, AcceptorState() at first."""
        self.registers = registers
        self.state = state
        self.epoch = epoch
        self._ages = dict(state.ages)

    def receive(self, message: ToAcceptor) -> Message | None:
        """A request; gives its answer, if it has one."""
        if message.epoch != self.epoch:
            return Elsewhere(self.epoch)
        match message:
            case Prepare():
                return self._prepare(message)
            case Accept():
                return self._accept(message)
            case Query(key, number):
                known = self.registers.get(key) or UNKNOWN
                return Told(key, number, known.accepted, known.value)
            case Forbid(number, ages):
                return self._forbid(number, ages)
            case Erase(registers, stamp):
                self._erase(registers, stamp)
                return None
            case Listing(number, after):
                return self._list(number, after)
            case Inherit(number, erased):
                self._inherit(erased)
                return Inherited(number)

    def _prepare(self, message: Prepare) -> Message:
        key, ballot = message.key, message.ballot
        if self._outgrown(ballot, message.age):
            return Outdated(key, ballot)
        known = self.registers.get(key) or UNKNOWN
        if ballot < known.promised:
            return Refusal(key, ballot, known.promised)
        if ballot > known.promised:
            self.registers.put(key, msgspec.structs.replace(known, promised=ballot))
        return Promise(key, ballot, known.accepted, known.value, self.state.erased)

    def _accept(self, message: Accept) -> Message:
        key, ballot = message.key, message.ballot
        if self._outgrown(ballot, message.age):
            return Outdated(key, ballot)
        known = self.registers.get(key) or UNKNOWN
        if ballot == known.accepted:
            # Again. The promise of `following` still holds, whatever was promised since.
            return Accepted(key, ballot)
        if ballot < known.promised:
            return Refusal(key, ballot, known.promised)
        promised = max(ballot, message.following)
        self.registers.put(key, Register(promised, ballot, message.value, message.deleted))
        return Accepted(key, ballot)

    def _outgrown(self, ballot: Ballot, age: Age) -> bool:
        return age < self._ages.get(ballot.proposer, 0)

    # --- collection -------------------------------------------------------------------------------

    def _forbid(self, number: int, ages: tuple[tuple[int, Age], ...]) -> Message:
        for proposer, age in ages:
            self._ages[proposer] = max(age, self._ages.get(proposer, 0))
        self._become(ages=tuple(sorted(self._ages.items())))
        return Forbidden(number)

    def _erase(self, registers: tuple[tuple[Key, Ballot], ...], stamp: Stamp) -> None:
        self._inherit(stamp)
        for key, ballot in registers:
            known = self.registers.get(key)
            # A promise above the tombstone's ballot stands: whoever got it has seen the tombstone,
            # and a lower ballot that took its place would not be seen.
            if known is not None and known.accepted == known.promised == ballot:
                self.registers.erase(key)

    # --- configurations ---------------------------------------------------------------------------

    def _list(self, number: int, after: Key) -> Message:
        keys: list[Key] = []
        for key in self.registers.keys(after):
            keys.append(key)
            if len(keys) == LISTED_AT_ONCE:
                break
        return Listed(number, tuple(keys), self.state.erased)

    def _inherit(self, erased: Stamp) -> None:
        if erased > self.state.erased:
            self._become(erased=erased)

    def _become(self, **fields: object) -> None:
        self.state = msgspec.structs.replace(self.state, **fields)
