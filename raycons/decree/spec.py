"""What crosses between the actors of a synod, and what they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from raycons.consensus.paxos.messages import Proposal
from raycons.consensus.quorum import AcceptorId
from raycons.decree.arguments import SynodSettings


class SynodSpec(msgspec.Struct, frozen=True):
    """Which synod an actor belongs to."""

    name: str
    uuid: str
    settings: SynodSettings

    def proposer_ids(self) -> range:
        """Proposers and learners share one row of numbers, for acceptors answer both."""
        return range(1, self.settings.proposers + 1)

    def learner_ids(self) -> range:
        """See `proposer_ids`."""
        first = self.settings.proposers + 1
        return range(first, first + self.settings.learners)

    def acceptor_ids(self) -> range:
        """Acceptors are numbered apart."""
        return range(1, self.settings.acceptors + 1)

    def actor(self, name: str) -> str:
        """What Ray calls the actor that charts call `name`."""
        return f"{self.name}/{name}"

    def asker_name(self, id: int) -> str:
        """What a proposer or learner is called in charts: p1, p2, ..., l1, l2, ..."""
        first = self.settings.proposers
        return f"p{id}" if id <= first else f"l{id - first}"


def acceptor_name(id: AcceptorId) -> str:
    """What an acceptor is called in charts."""
    return f"a{id}"


Nonces = Mapping[AcceptorId, int]  # of their stores: another store's answer would be amnesia


class Letter(msgspec.Struct, frozen=True):
    """A message under way."""

    id: str  # no other message has it
    sender: int
    what: Any


class AcceptorStatus(msgspec.Struct, frozen=True):
    """How an acceptor is."""

    id: AcceptorId
    state: str  # serving | vacant: without its store it answers nobody | unreachable
    reason: str  # why it does not serve
    pid: int  # of its process at present; 0: unknown
    node: str  # Ray's id of its node
    promised: str  # the ballot, as round.proposer; "" where there is none
    accepted: Proposal | None
