"""Gives back the room of registers that were deleted (section 3.1 of the paper).

A tombstone cannot simply be forgotten. What it came from, or a change that was refused because of
it, may still be on its way to an acceptor: where nothing stands against it any more, it would be
accepted, and the deleted value come back. So, in this order:

    settle     a change that changes nothing puts the tombstone, under one ballot, on all acceptors
    outgrow    every proposer drops what it has under way for the key, raises its age, and takes
               only ballots above the tombstone's from now on
    forbid     every acceptor answers no message any more that a proposer sent at its earlier age
    erase      every acceptor forgets the register, if it has neither accepted nor promised anything
               since

After `forbid` an acceptor acts only on ballots above the tombstone's. So some acceptors may have
erased it and others not: whoever has it counts for less than any later change, and nothing at all
means the same as the tombstone. All acceptors and all proposers take part; while one is away, or
the configuration changes, the tombstones stay.

What a register remembers of clients goes with it. Its stamp stays, as the least that each acceptor
tells of registers that it does not know: see `raycons.machines.register`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from raycons.consensus.contract import NEVER, Send
from raycons.consensus.paxos.caspaxos.messages import (
    Age,
    Epoch,
    Erase,
    Forbid,
    Forbidden,
    Key,
    Outgrow,
    Outgrown,
    Stamp,
)
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.paxos.messages import Ballot
from raycons.consensus.quorum import ReplicaId

COLLECTED_AT_ONCE = 256


class Settlement(Protocol):
    """What a transition makes of the request that settles a tombstone."""

    deleted: bool  # the register still is a tombstone
    stamp: Stamp  # above which all will be that it does not know
    round: int  # above which all ballots must be from now on


class _Tombstone(NamedTuple):
    ballot: Ballot
    settlement: Settlement


class Collector:
    """Collects the tombstones of one proposer, some at a time."""

    def __init__(self, proposer: Proposer, settle: Any, first_number: int) -> None:
        """`settle` is the request that settles; `first_number` was used by no other process."""
        self._proposer = proposer
        self._settle = settle
        self._number = first_number
        self._proposers: frozenset[ReplicaId] = frozenset()
        self._acceptors: frozenset[ReplicaId] = frozenset()
        self._epoch: Epoch = 0
        self._deadline = NEVER
        self._settling: set[Key] = set()
        self._tombstones: dict[Key, _Tombstone] = {}
        self._outgrown: dict[ReplicaId, Age] = {}
        self._forbidden: set[ReplicaId] = set()
        self._step = "idle"  # settle | outgrow | forbid
        self._effects: list[Send] = []
        self.collected = 0  # registers, since the process began
        self.given_up = 0  # collections

    @property
    def busy(self) -> bool:
        """Whether a collection is under way."""
        return self._step != "idle"

    def begin(
        self,
        keys: Iterable[Key],
        proposers: frozenset[ReplicaId],
        acceptors: frozenset[ReplicaId],
        now: float,
    ) -> None:
        """Collect what is deleted of `keys`, among these, who are all that there are."""
        assert not self.busy
        self._number += 1
        self._proposers, self._acceptors = proposers, acceptors
        self._epoch = self._proposer.epoch
        self._tombstones, self._outgrown, self._forbidden = {}, {}, set()
        self._settling = set(keys)
        self._become("settle", now)
        for key in sorted(self._settling):
            if not self._proposer.submit(key, self._settle, now, everywhere=True):
                self._settling.discard(key)

    def settled(self, key: Key, ballot: Ballot, settlement: Settlement, now: float) -> None:
        """All acceptors have accepted what there was of `key`, under `ballot`."""
        if self._step == "settle" and key in self._settling:
            self._settling.discard(key)
            if settlement.deleted:
                self._tombstones[key] = _Tombstone(ballot, settlement)
            self._go_on(now)

    def unsettled(self, key: Key, now: float) -> None:
        """Not all acceptors answered, or something else is asked of `key`."""
        if self._step == "settle":
            self._settling.discard(key)
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        if self._settling:
            return
        if not self._tombstones:
            self._give_up()
            return
        self._become("outgrow", now)
        above = max(
            max(tombstone.ballot.round, tombstone.settlement.round)
            for tombstone in self._tombstones.values()
        )
        outgrow = Outgrow(self._number, tuple(self._tombstones), above, self._epoch)
        self._send(self._proposers, outgrow)

    def outgrown(self, sender: ReplicaId, message: Outgrown, now: float) -> None:
        """A proposer has done so."""
        if self._step != "outgrow" or message.number != self._number:
            return
        self._outgrown[sender] = message.age
        if self._outgrown.keys() >= self._proposers:
            self._become("forbid", now)
            ages = tuple(sorted(self._outgrown.items()))
            self._send(self._acceptors, Forbid(self._number, ages, self._epoch))

    def forbidden(self, sender: ReplicaId, message: Forbidden) -> None:
        """An acceptor has done so."""
        if self._step != "forbid" or message.number != self._number:
            return
        self._forbidden.add(sender)
        if self._forbidden >= self._acceptors:
            found = self._tombstones
            stamp = max(tombstone.settlement.stamp for tombstone in found.values())
            registers = tuple((key, tombstone.ballot) for key, tombstone in found.items())
            self._send(self._acceptors, Erase(registers, stamp, self._epoch))
            self.collected += len(registers)
            self._become("idle", NEVER)

    def tick(self, now: float) -> None:
        """A step takes too long, or the configuration is another."""
        if self.busy and (now >= self._deadline or self._proposer.epoch != self._epoch):
            self._give_up()

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        return self._deadline

    def drain(self) -> list[Send]:
        """What is to be sent since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def _give_up(self) -> None:
        self.given_up += 1
        self._become("idle", NEVER)

    def _become(self, step: str, now: float) -> None:
        self._step, self._deadline = step, now + self._proposer.settings.step_patience_s

    def _send(self, to: frozenset[ReplicaId], message: Outgrow | Forbid | Erase) -> None:
        self._effects += [Send(member, message) for member in sorted(to)]
