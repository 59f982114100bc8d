"""One seed of a group with a log: its members, clients, nemesis, and what all must agree on.

Beyond the life that every protocol's group leads, all members reach the same state in the end.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any
from zlib import crc32

import msgspec

from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.quorum import Index, ReplicaId
from raycons.machines.contract import Machine, State
from raycons.machines.kv.commands import Operation
from raycons.machines.kv.machine import KeyValueMachine
from raycons.machines.kv.settings import KeyValueSettings
from raycons.machines.sessions import Sessions
from raycons.member.protocol import Inspected
from raycons.member.state import WriteBehindState
from raycons.simulation.clients import Caller
from raycons.simulation.faults import Nemesis
from raycons.simulation.history import KEY_VALUE, SESSIONS, History
from raycons.simulation.impostors import Impostors
from raycons.simulation.life import RECOVERY_S, Life, Outcome
from raycons.simulation.members import VirtualMember
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.operator import Operator
from raycons.simulation.process import Process
from raycons.simulation.provocation import Provocations
from raycons.simulation.rare import TOLD_REASONS
from raycons.simulation.scenario import Scenario, draw
from raycons.simulation.states import States, WatchedState
from raycons.simulation.views import watch_of
from raycons.simulation.watch import watch
from raycons.simulation.world import Violation, World


class Run(Life):
    """The world of one seed. `scenario`, if given, takes the place of the one that it draws."""

    def __init__(self, seed: int, scenario: Scenario | None = None, protocol: str = "raft") -> None:
        self.world = World(seed)
        self.scenario = scenario or draw(self.world.random("scenario"), protocol)
        self.network = Network(self.world, self.world.random("network"), self.scenario.weather)
        self.invariants = watch_of(self.scenario.protocol)
        self.states = States()
        self.history = History(self.invariants)
        self.provocations = Provocations(self.world.random("provocation"), self.scenario.bends)
        self.members: dict[ReplicaId, VirtualMember] = {}
        self.events: Counter[str] = Counter()
        self._found()
        self.callers = [
            Caller(-number, self.world, self.network, self.scenario, self.history, self._floor)
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
        first = Configuration(
            tuple(
                Peer(
                    member.id,
                    member.nonce,
                    Role.VOTER if member.id <= voters else Role.LEARNER,
                    host=f"host-{member.id}",
                )
                for member in self.members.values()
            ),
            next_id=size + 1,
            lease_s=self.scenario.lease_s,
            window=self.scenario.window,
        )
        for member in self.members.values():
            member.create(first)

    def _build_joiner(self, id: ReplicaId) -> VirtualMember:
        """Make the store of a replica that was reserved; its configuration comes with the log."""
        member = self._build(id)
        member.create(Configuration((), 1))
        return member

    def _build(self, id: ReplicaId) -> VirtualMember:
        member = VirtualMember(
            id,
            self.world,
            self.network,
            self.invariants,
            self.scenario,
            partial(self._make_machine, id),
            self._count,
            self.provocations,
        )
        self.members[id] = member
        return member

    def _make_impostor(self, id: ReplicaId, address: EndpointId) -> Process:
        machine = self._make_unwatched_machine
        return Process(id, self.world, self.network, self.scenario, machine, _uncounted, address)

    def _make_unwatched_machine(self, state: State) -> Sessions:
        settings = KeyValueSettings(keep_revisions=self.scenario.keep_revisions, sweep_records=8)
        return Sessions(KeyValueMachine(state, settings), state)

    def _make_machine(self, id: ReplicaId, state: State) -> Machine:
        assert isinstance(state, WriteBehindState)
        watched = WatchedState(state, f"replica {id}", self.states)
        settings = KeyValueSettings(keep_revisions=self.scenario.keep_revisions, sweep_records=8)
        key_value = KeyValueMachine(watched, settings)
        sessions = Sessions(key_value, watched)
        watch(key_value, KEY_VALUE, self.history)
        watch(sessions, SESSIONS, self.history)
        watched.watch(sessions)
        return sessions

    def _floor(self, _: Operation) -> int:
        return self.history.floor

    def _count(self, name: str, fields: dict[str, Any]) -> None:
        if name == "role-changed":
            self.events[f"became-{fields['role']}"] += 1
            if fields["reason"] in TOLD_REASONS:
                self.events[f"because {fields['reason']}"] += 1
        else:
            self.events[name] += 1

    # --- running ----------------------------------------------------------------------------------

    def _recover_core(self) -> None:
        self.provocations.active = False
        super()._recover_core()

    def _configurations(self) -> list[Configuration]:
        """All that may be in force: the newest committed one, and what any log holds after it."""
        return [
            self.invariants.committed_configuration,
            *(
                configuration
                for id, member in self.members.items()
                if not member.destroyed
                for _, configuration in member.logged_configurations
            ),
        ]

    def _recover(self) -> None:
        """All become equal, too."""
        super()._recover()
        self._await("convergence", self._all_equal, lambda: f"applied: {self._applied()}")
        digests = self._digests()
        if len(set(digests.values())) != 1:
            raise self.world.dated(
                Violation("equal-states", f"digests at the same entry: {digests}")
            )

    # --- the end ----------------------------------------------------------------------------------

    def _present(self) -> list[VirtualMember]:
        """The members of the newest committed configuration, but for those whose disk is lost."""
        ids = self.invariants.committed_configuration.ids
        return [
            member for member in self.members.values() if member.id in ids and not member.destroyed
        ]

    def _applied(self) -> dict[ReplicaId, Index]:
        return {
            member.id: member.engine.replica.commit
            for member in self._present()
            if member.engine is not None
        }

    def _all_equal(self) -> bool:
        applied = self._applied()
        return len(applied) == len(self._present()) and set(applied.values()) == {
            self.invariants.committed_index
        }

    def _situation(self) -> str:
        roles = [
            f"{replica.id}: {replica.role} in term {replica.term}, log {replica.log.last_index}, "
            f"commit {replica.commit}"
            for member in self.members.values()
            if member.engine is not None
            for replica in [member.engine.replica]
        ]
        return "; ".join(roles)

    def _digests(self) -> dict[ReplicaId, tuple[int, str]]:
        """The applied index and state digest that each member tells when it is asked."""
        told: dict[ReplicaId, tuple[int, str]] = {}
        present = self._present()

        def note(id: ReplicaId, result: Any) -> None:
            if isinstance(result, Inspected):
                status = msgspec.msgpack.decode(result.status)
                told[id] = status["digest_at"], status["digest"]

        for member in present:
            deadline = self.operator.now + RECOVERY_S
            self.operator.core.inspect(member.id, True, deadline, partial(note, member.id))
        self.operator.end_turn()
        self._await(
            "convergence", lambda: len(told) == len(present), lambda: f"digests only of {told}"
        )
        # A commit between two answers is no difference: only equal indexes are compared.
        newest = max((index for index, _ in told.values()), default=0)
        return {id: digest for id, digest in told.items() if digest[0] == newest}

    def _fingerprint(self, coverage: dict[str, int]) -> tuple[int, ...]:
        done = repr((list(self.history.oracle.effects.items()), coverage))
        return (crc32(done.encode()),)  # equal in every process for equal runs

    def _coverage(self) -> dict[str, int]:
        counts = Counter(self.events)
        counts.update({f"fault {kind}": count for kind, count in self.nemesis.counts.items()})
        counts.update({f"order {name}": count for name, count in self.operator.counts.items()})
        counts.update({f"impostor {kind}": n for kind, n in self.impostors.counts.items()})
        counts.update({f"result {name}": count for name, count in self.history.outcomes.items()})
        counts.update({f"bend {point}": n for point, n in self.provocations.counts.items()})
        for member in self.members.values():
            counts.update({f"sent {kind.__name__}": n for kind, n in member.sent.items()})
        counts["sent Heartbeat of an idle group"] = sum(
            member.slow_heartbeats for member in self.members.values()
        )
        counts["batches torn"] = sum(m.disk.batches_torn for m in self.members.values())
        counts["committed"] = self.invariants.committed_index
        counts["messages"] = self.network.delivered
        return dict(counts)


def _uncounted(name: str, fields: dict[str, Any]) -> None:
    """What an impostor does is nobody's coverage."""


def run_seed(seed: int, seconds: float, protocol: str = "raft") -> Outcome:
    """Simulate one seed through `seconds` of faults and the recovery after them."""
    return Run(seed, protocol=protocol).execute(seconds)
