"""Carries every register over, from a joint configuration to the one that comes after it.

    list     majorities of old and new voters say, page by page, which registers they have
    carry    each of them is changed by nothing, so that a majority of the new voters holds it
    inherit  a majority of the new voters takes over what is known of registers that were erased

An acceptor says it in the joint epoch, in which it answers no round of an earlier one any more: so
what a majority of the old voters holds is all that can have been chosen before.
"""

from __future__ import annotations

from random import Random

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import Send
from raycons.consensus.paxos.caspaxos.messages import (
    Epoch,
    Inherit,
    Inherited,
    Key,
    Listed,
    Listing,
)
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.quorum import ReplicaId, has_quorum
from raycons.member.caspaxos.reconfiguring import CARRY, CONFIGURATION_KEY, Reconfigure


class Carrying:
    """How far the registers are carried over. `failed`: it has to begin anew."""

    def __init__(
        self, proposer: Proposer, configuration: Configuration, epoch: Epoch, random: Random
    ) -> None:
        """`configuration` is the joint one, of this epoch."""
        self._proposer = proposer
        self._configuration = configuration
        self._epoch = epoch
        self._number = random.getrandbits(40)  # of the page that is asked for
        self._after: Key = b""  # up to here all is carried
        self._pages: dict[ReplicaId, tuple[Key, ...]] = {}
        self._left: set[Key] = set()  # of this page
        self._configuration_carried = False
        self._erased = 0
        self._inheriting = False
        self._heirs: set[ReplicaId] = set()
        self._effects: list[Send] = []
        self.failed = False

    def begin(self) -> None:
        """Ask all acceptors for their first page, or the next."""
        for acceptor in sorted(self._configuration.electors):
            self.ask(acceptor)

    def ask(self, acceptor: ReplicaId) -> None:
        """Ask one, which may not have been in the epoch before."""
        if not self._inheriting:
            listing = Listing(self._number, self._after, self._epoch)
            self._effects.append(Send(acceptor, listing))

    def drain(self) -> list[Send]:
        """What is to be sent since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def listed(self, sender: ReplicaId, message: Listed, now: float) -> bool:
        """An acceptor says which registers it has; whether that led on."""
        if message.number != self._number or self._left or self._inheriting:
            return False
        self._pages[sender] = message.keys
        self._erased = max(self._erased, message.erased)
        if not has_quorum(self._configuration.halves, frozenset(self._pages)):
            return False
        self._carry(now)
        return True

    def _carry(self, now: float) -> None:
        """Carry over all that is known to be up to where the shortest page ends."""
        full = [keys[-1] for keys in self._pages.values() if keys]
        if self._configuration_carried and not full:
            self._hand_down()
            return
        self._left = set()
        if not self._configuration_carried:
            self._configuration_carried = True
            self._left.add(CONFIGURATION_KEY)
            self._proposer.submit(CONFIGURATION_KEY, Reconfigure(0, None), now)
        if full:
            end = min(full)
            keys = {key for page in self._pages.values() for key in page if key <= end}
            for key in sorted(keys):
                if not self._proposer.submit(key, CARRY, now):
                    self.failed = True  # too much is asked of it
                    return
                self._left.add(key)
            self._after = end

    def carried(self, key: Key) -> None:
        """A register is where it must be; after the last of a page, ask for the next one."""
        if key in self._left:
            self._left.discard(key)
            if not self._left:
                self._number += 1
                self._pages = {}
                self.begin()

    def _hand_down(self) -> None:
        self._inheriting = True
        for acceptor in sorted(self._configuration.voters):
            inherit = Inherit(self._number, self._erased, self._epoch)
            self._effects.append(Send(acceptor, inherit))

    def inherited(self, sender: ReplicaId, message: Inherited) -> bool:
        """A new voter knows what was erased; whether a majority of them does."""
        if not self._inheriting or message.number != self._number:
            return False
        self._heirs.add(sender)
        return has_quorum((self._configuration.voters,), frozenset(self._heirs))
