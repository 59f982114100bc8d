"""One seed: a group of registers, its clients, its nemesis, and the verdict.

As for the other protocols: a part full of faults; then only a quorum is healed, and every client
completes a new write; then all is healed, and every client completes another.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.quorum import ReplicaId
from raycons.member.caspaxos.ledger import KnownConfiguration
from raycons.simulation.caspaxos.history import History
from raycons.simulation.caspaxos.invariants import Invariants
from raycons.simulation.caspaxos.members import RegisterMember, RegisterProcess
from raycons.simulation.caspaxos.operator import Operator
from raycons.simulation.caspaxos.scenario import draw_registers
from raycons.simulation.clients import Caller
from raycons.simulation.faults import Nemesis
from raycons.simulation.impostors import Impostors
from raycons.simulation.life import Life, Outcome
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World


class RegisterRun(Life):
    """The world of one seed. `scenario`, if given, takes the place of the one that it draws."""

    def __init__(self, seed: int, scenario: Scenario | None = None) -> None:
        self.world = World(seed)
        self.scenario = scenario or draw_registers(seed)
        self.network = Network(self.world, self.world.random("network"), self.scenario.weather)
        self.invariants = Invariants()
        self.history = History(self.invariants)
        self.members: dict[ReplicaId, RegisterMember] = {}
        self.events: Counter[str] = Counter()
        self._found()
        self.callers = [
            Caller(
                -number, self.world, self.network, self.scenario, self.history, self.history.floor
            )
            for number in range(1, self.scenario.clients + 1)
        ]
        self.operator = Operator(
            self.world, self.network, self.scenario, self.members, self._build_joiner
        )
        self.impostors = Impostors(self.world, self.network, self._make_impostor)
        self.nemesis = Nemesis(
            self.world,
            self.network,
            self.scenario,
            self.members,
            self.callers,
            self.operator,
            self.impostors,
        )

    # --- building ---------------------------------------------------------------------------------

    def _found(self) -> None:
        """Make the first members, each of whom knows all the others."""
        voters, size = self.scenario.voters, self.scenario.voters + self.scenario.learners
        for id in range(1, size + 1):
            self._build(id)
        peers = tuple(
            Peer(
                member.id,
                member.nonce,
                Role.VOTER if member.id <= voters else Role.LEARNER,
                host=f"host-{member.id}",
            )
            for member in self.members.values()
        )
        for member in self.members.values():
            member.create(Configuration(peers, next_id=size + 1))

    def _build_joiner(self, id: ReplicaId) -> RegisterMember:
        """Make the store of a replica that was reserved; it is told the configuration later."""
        member = self._build(id)
        member.create(Configuration((), 1))
        return member

    def _build(self, id: ReplicaId) -> RegisterMember:
        member = RegisterMember(
            id, self.world, self.network, self.invariants, self.scenario, self._count
        )
        self.members[id] = member
        return member

    def _make_impostor(self, id: ReplicaId, address: EndpointId) -> RegisterProcess:
        return RegisterProcess(id, self.world, self.network, self.scenario, _uncounted, address)

    def _count(self, name: str, fields: dict[str, Any]) -> None:
        self.events[name] += 1

    # --- running ----------------------------------------------------------------------------------

    def _configurations(self) -> list[Configuration]:
        """All that a member may act on."""
        known: list[KnownConfiguration] = [
            member.known for member in self.members.values() if not member.destroyed
        ]
        return [one.configuration for one in known if one.epoch]

    def _situation(self) -> str:
        return "; ".join(
            f"{member.id}: epoch {member.engine.electorate.epoch}, "
            f"{member.engine.proposer.waiting} waiting"
            for member in self.members.values()
            if member.engine is not None
        )

    # --- the end ----------------------------------------------------------------------------------

    def _fingerprint(self, coverage: dict[str, int]) -> tuple[int, ...]:
        return tuple(coverage.values())

    def _coverage(self) -> dict[str, int]:
        counts = Counter(self.events)
        counts.update({f"fault {kind}": count for kind, count in self.nemesis.counts.items()})
        counts.update({f"order {name}": count for name, count in self.operator.counts.items()})
        counts.update({f"impostor {kind}": n for kind, n in self.impostors.counts.items()})
        counts.update({f"result {name}": count for name, count in self.history.outcomes.items()})
        for member in self.members.values():
            member.count()
            counts.update({f"sent {kind}": n for kind, n in member.told.items()})
            counts.update(member.rare)
        counts["chosen"] = self.invariants.chosen
        counts["erased"] = self.invariants.erased
        counts["messages"] = self.network.delivered
        return dict(counts)


def run_register_seed(seed: int, seconds: float) -> Outcome:
    """Simulate one seed through `seconds` of faults and the recovery after them."""
    return RegisterRun(seed).execute(seconds)


def _uncounted(name: str, fields: dict[str, Any]) -> None:
    """What an impostor does is nobody's coverage."""
