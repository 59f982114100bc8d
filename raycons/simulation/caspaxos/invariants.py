"""What must hold of a group of registers, whatever happens; checked as each thing happens.

- A ballot is used once, for one value; a value is chosen when a quorum of its epoch's acceptors has
  said that it accepted it. Chosen values are one chain (`chains`).
- An acceptor's promises never regress, it accepts nothing below them, and what it said is in its
  store after any crash: unless the register was erased, as its collector had ordered.
- What is erased is a tombstone that all acceptors had accepted; whoever erased it takes nothing
  that is not above it, and what knows of nothing knows how far erasures went.
- There is one configuration an epoch, made from the one before.
"""

from __future__ import annotations

from collections.abc import Callable

from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.caspaxos.acceptor import Register
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Erase,
    Inform,
    Key,
    Message,
    Outgrown,
    Prepare,
    Promise,
    Told,
)
from raycons.consensus.paxos.messages import NO_BALLOT, Ballot
from raycons.consensus.quorum import ReplicaId, has_quorum
from raycons.member.caspaxos.reconfiguring import CONFIGURATION_KEY
from raycons.simulation.caspaxos.chains import Chain, Proposal
from raycons.simulation.world import Violation

UNKNOWN = Register()


class Invariants:
    """Watches all members of one run."""

    def __init__(self) -> None:
        self.chains: dict[Key, Chain] = {}
        self.configurations: dict[int, Configuration] = {}
        self.epoch = 0  # the newest that any member knows
        self.chosen = 0  # changes
        self.erased = 0  # registers, by all acceptors together
        self._accepted: dict[tuple[Key, Ballot], set[ReplicaId]] = {}
        self._values: dict[tuple[Key, Ballot], bytes] = {}
        # What each acceptor told of each key, as the highest promise and the highest acceptance.
        self._told: dict[ReplicaId, dict[Key, tuple[Ballot, Ballot]]] = {}
        self._epochs: dict[ReplicaId, int] = {}  # whose configuration they told of
        self._ages: dict[ReplicaId, int] = {}  # that proposers spoke at
        self._gone: dict[tuple[ReplicaId, Key], Ballot] = {}  # under which they were erased
        self.took_effect: Callable[[bytes], None] = _ignored

    def chain(self, key: Key) -> Chain:
        """The chain of a key."""
        chain = self.chains.get(key)
        if chain is None:
            chain = self.chains[key] = Chain(key)
        return chain

    # --- configurations ---------------------------------------------------------------------------

    def adopted(self, epoch: int, configuration: Configuration) -> None:
        """A member takes this for the configuration of the epoch."""
        known = self.configurations.setdefault(epoch, configuration)
        if known != configuration:
            raise Violation(
                "one-configuration", f"epoch {epoch} has both {known} and {configuration}"
            )
        self.epoch = max(self.epoch, epoch)

    @property
    def configuration(self) -> Configuration:
        """The newest that any member knows."""
        return self.configurations[self.epoch]

    # --- proposers --------------------------------------------------------------------------------

    def proposed(self, key: Key, ballot: Ballot, proposal: Proposal) -> None:
        """A proposer made a change, from what it found under `proposal.base`."""
        name = (key, ballot)
        if name in self._values:
            raise Violation("ballot-once", f"{key!r}: {ballot} is used a second time")
        self._values[name] = proposal.value
        if key == CONFIGURATION_KEY:
            return
        chain = self.chain(key)
        chain.proposals[ballot] = proposal
        if proposal.base == NO_BALLOT and proposal.erased < max(chain.released.values(), default=0):
            raise Violation(
                "erasures-are-known",
                f"{key!r}: {ballot} is made of nothing, by acceptors that tell of erasures up to "
                f"{proposal.erased}, and not of {chain.released}",
            )

    def outgrown(self, id: ReplicaId, key: Key, round: int, highest: int, under_way: bool) -> None:
        """A proposer says that it has outgrown a key, and uses only ballots above `round`."""
        if under_way or highest < round:
            raise Violation(
                "outgrown-is-over",
                f"member {id}, {key!r}: goes on from {highest}, not from {round}"
                + (", with what it had under way" if under_way else ""),
            )

    # --- acceptors --------------------------------------------------------------------------------

    def kept(self, id: ReplicaId, key: Key, before: Register | None, now: Register) -> None:
        """An acceptor changes what it remembers of a key."""
        old = before or UNKNOWN
        if now.promised <= self._gone.get((id, key), NO_BALLOT):
            raise Violation(
                "erased-stays-erased",
                f"member {id}, {key!r}: takes {now.promised} after it erased {self._gone[id, key]}",
            )
        if now.promised < old.promised or now.accepted < old.accepted:
            raise Violation(
                "promises-stand",
                f"member {id}, {key!r}: from {old.promised}, {old.accepted} back to "
                f"{now.promised}, {now.accepted}",
            )
        if now.accepted == old.accepted:
            return
        if now.accepted < old.promised:
            raise Violation(
                "promises-stand",
                f"member {id}, {key!r}: accepts {now.accepted} after it promised {old.promised}",
            )
        if now.value != self._values.get((key, now.accepted)):
            raise Violation("ballot-once", f"{key!r}: {now.accepted} has two values")

    def sent(self, id: ReplicaId, message: Message) -> None:
        """An acceptor's answer leaves: it stands for what is on its disk."""
        if isinstance(message, Promise | Told):
            # What a crash kept an acceptor from saying at once may be on its disk all the same.
            promised = message.ballot if isinstance(message, Promise) else message.accepted
            self._tell(id, message.key, promised, message.accepted)
            if message.accepted != NO_BALLOT:
                self._count(id, message.key, message.accepted)
        elif isinstance(message, Accepted):
            self._tell(id, message.key, message.ballot, message.ballot)
            self._count(id, message.key, message.ballot)
        elif isinstance(message, Prepare | Accept | Outgrown):
            self._ages[id] = max(message.age, self._ages.get(id, 0))
        elif isinstance(message, Inform):
            self._epochs[id] = max(message.epoch, self._epochs.get(id, 0))
        elif isinstance(message, Erase):
            for key, ballot in message.registers:
                chain = self.chain(key)
                electors = self.configurations[message.epoch].electors
                if not electors <= self._accepted.get((key, ballot), set()):
                    raise Violation(
                        "erased-is-everywhere", f"{key!r}: not all acceptors have {ballot}"
                    )
                chain.released[ballot] = message.stamp

    def _tell(self, id: ReplicaId, key: Key, promised: Ballot, accepted: Ballot) -> None:
        if max(promised, accepted) <= self._gone.get((id, key), NO_BALLOT):
            return  # it had waited for the disk while the register was erased
        told = self._told.setdefault(id, {})
        before = told.get(key, (NO_BALLOT, NO_BALLOT))
        told[key] = max(before[0], promised), max(before[1], accepted)

    def _count(self, id: ReplicaId, key: Key, ballot: Ballot) -> None:
        if key == CONFIGURATION_KEY:
            return
        holders = self._accepted.setdefault((key, ballot), set())
        if id in holders:
            return
        holders.add(id)
        chain = self.chain(key)
        proposal = chain.proposals.get(ballot)
        if proposal is None:
            raise Violation("ballot-once", f"{key!r}: nobody proposed {ballot}")
        if self._is_quorum(proposal.epoch, holders):
            known = len(chain.members)
            written = chain.chosen(ballot)
            self.chosen += len(chain.members) - known
            for value in written:
                self.took_effect(value)

    def _is_quorum(self, epoch: int, holders: set[ReplicaId]) -> bool:
        """Whether they are one of the epoch, or of a later one that is in force."""
        return any(
            has_quorum(self.configurations[one].halves, holders)
            for one in range(epoch, self.epoch + 1)
            if one in self.configurations
        )

    def erasing(self, id: ReplicaId, key: Key, register: Register | None) -> None:
        """An acceptor is about to forget a register."""
        chain = self.chain(key)
        if register is None or not register.deleted or register.accepted not in chain.released:
            raise Violation(
                "erased-is-deleted", f"member {id} erases {key!r}, which it holds as {register}"
            )
        if register.promised != register.accepted:
            raise Violation(
                "promises-stand", f"member {id} erases {key!r}, and forgets {register.promised}"
            )
        self._told.get(id, {}).pop(key, None)
        self._gone[id, key] = register.accepted
        self.erased += 1

    def opened(
        self, id: ReplicaId, get: Callable[[Key], Register | None], age: int, epoch: int
    ) -> None:
        """A member starts over its store: all that it said must be there."""
        if epoch < self._epochs.get(id, 0):
            raise Violation(
                "epoch-is-durable",
                f"member {id} told of epoch {self._epochs[id]}, and is in epoch {epoch}",
            )
        if age < self._ages.get(id, 0):
            raise Violation(
                "age-is-durable", f"member {id} was {self._ages[id]} years old, and is {age}"
            )
        for key, (promised, accepted) in self._told.get(id, {}).items():
            register = get(key) or UNKNOWN
            if register.promised < promised or register.accepted < accepted:
                raise Violation(
                    "acknowledged-is-durable",
                    f"member {id}, {key!r}: it told of {promised}, {accepted}, and its store "
                    f"holds {register.promised}, {register.accepted}",
                )


def _ignored(value: bytes) -> None:
    pass
