"""A member of a group of registers, whose every step is shown to the invariants as it happens."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.caspaxos.acceptor import Register
from raycons.consensus.paxos.caspaxos.messages import Key, Message
from raycons.consensus.paxos.caspaxos.rounds import ProposerState
from raycons.consensus.paxos.caspaxos.transition import Change
from raycons.consensus.quorum import ReplicaId
from raycons.machines.kv.settings import KeyValueSettings
from raycons.member.caspaxos.engine import RegisterEngine, bootstrap
from raycons.member.caspaxos.ledger import KnownConfiguration
from raycons.simulation.caspaxos.chains import Proposal
from raycons.simulation.caspaxos.invariants import Invariants
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.process import GROUP, Counted, Process
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World
from raycons.store.contract import Batch


class RegisterProcess(Process):
    """One member's process and disk."""

    engine: RegisterEngine | None  # type: ignore[assignment]  # the other protocol's

    def __init__(
        self,
        id: ReplicaId,
        world: World,
        network: Network,
        scenario: Scenario,
        counted: Counted,
        address: EndpointId | None = None,
    ) -> None:
        super().__init__(id, world, network, scenario, _no_machine, counted, address)

    def bootstrap(self, configuration: Configuration) -> None:
        """Make the store of a fresh replica."""
        bootstrap(self.disk, GROUP, self.id, self.nonce, configuration)
        self.disk.sync()

    def _open_engine(self, random: Random) -> RegisterEngine:  # type: ignore[override]
        return RegisterEngine(
            group=GROUP,
            store=self.disk,
            ports=self,
            key_value=KeyValueSettings(),
            registers=self._scenario.registers,
            random=random,
            now=self.now,
        )


class RegisterMember(RegisterProcess):
    """One member, watched."""

    def __init__(
        self,
        id: ReplicaId,
        world: World,
        network: Network,
        invariants: Invariants,
        scenario: Scenario,
        counted: Counted,
    ) -> None:
        super().__init__(id, world, network, scenario, counted)
        self._invariants = invariants
        self.told: Counter[str] = Counter()  # messages sent, by name
        self.rare: Counter[str] = Counter()  # what its past incarnations counted
        # The store as some of its incarnations left it, the newest last.
        self.earlier: deque[tuple[int, Batch]] = deque(maxlen=3)
        self._known = KnownConfiguration(0, Configuration((), 1))

    # --- life -------------------------------------------------------------------------------------

    def create(self, configuration: Configuration) -> None:
        """Make the store of a fresh replica, which connects from now on."""
        self.bootstrap(configuration)
        self._network.add(self)

    def _open_engine(self, random: Random) -> RegisterEngine:  # type: ignore[override]
        engine = super()._open_engine(random)
        ledger = engine.acceptor.registers
        age, epoch = engine.proposer.state.age, engine.electorate.epoch
        self._invariants.opened(self.id, ledger.get, age, epoch)
        for owner, name, watcher in (
            (ledger, "put", self._put),
            (ledger, "erase", self._erase),
            (engine.proposer, "_change", self._change),
            (engine.proposer, "outgrow", self._outgrow),
            (engine, "_send", self._sends),
            (engine.electorate, "_adopted", self._adopts),
        ):
            original = getattr(owner, name)
            setattr(owner, name, partial(watcher, original))
        self._adopt(engine.electorate.epoch, engine.configuration)
        return engine

    def crash(self) -> None:
        """The process dies, and with it what the disk had not synced."""
        if not self.running:
            return
        self.count()
        super().crash()
        if "impostor" in self._scenario.rates:
            self.earlier.append((self.greeting.incarnation, self.disk.image()))

    def count(self) -> None:
        """Add up what this incarnation did."""
        if self.engine is not None:
            proposer, collector = self.engine.proposer, self.engine.collector
            self.rare["short rounds"] += proposer.short_rounds
            self.rare["quick reads"] += proposer.quick_reads
            self.rare["refused rounds"] += proposer.refusals
            self.rare["collected"] += collector.collected
            self.rare["collections given up"] += collector.given_up

    @property
    def known(self) -> KnownConfiguration:
        """The newest configuration that it acted on; after a crash it may know an older one."""
        return self._known

    @property
    def configuration(self) -> Configuration:
        """The newest configuration that it acted on."""
        return self._known.configuration

    @property
    def sound(self) -> bool:
        """Whether nothing has befallen its disk that may end it yet, or did."""
        return not (self.destroyed or self.disk.rotten)

    @property
    def leading(self) -> bool:
        """Nobody leads."""
        return False

    # --- what it does -----------------------------------------------------------------------------

    def _put(self, original: Any, key: Key, register: Register) -> None:
        assert self.engine is not None
        self._invariants.kept(self.id, key, self.engine.acceptor.registers.get(key), register)
        original(key, register)

    def _erase(self, original: Any, key: Key) -> None:
        assert self.engine is not None
        self._invariants.erasing(self.id, key, self.engine.acceptor.registers.get(key))
        original(key)

    def _change(self, original: Any, key: Key, round: Any, requests: Sequence[Any]) -> Change:
        change: Change = original(key, round, requests)
        assert self.engine is not None
        proposal = Proposal(
            round.highest,
            change.value,
            requests,
            change.outcomes,
            self.engine.proposer.epoch,
            round.erased,
        )
        self._invariants.proposed(key, round.ballot, proposal)
        return change

    def _outgrow(self, original: Any, keys: Sequence[Key], state: ProposerState) -> None:
        original(keys, state)
        assert self.engine is not None
        proposer = self.engine.proposer
        for key in keys:
            slot = proposer._slots.get(key)
            under_way = slot is not None and (slot.round or slot.lead) is not None
            self._invariants.outgrown(self.id, key, state.round, proposer._highest, under_way)

    def _sends(self, original: Any, to: ReplicaId, message: Message) -> None:
        self._invariants.sent(self.id, message)
        self.told[type(message).__name__] += 1
        original(to, message)

    def _adopts(self, original: Any, known: KnownConfiguration) -> None:
        self._adopt(known.epoch, known.configuration)
        original(known)

    def _adopt(self, epoch: int, configuration: Configuration) -> None:
        if epoch:
            self._invariants.adopted(epoch, configuration)
            if epoch > self._known.epoch:
                self._known = KnownConfiguration(epoch, configuration)


def _no_machine(state: Any) -> Any:
    raise AssertionError("a group of registers has no machine of a log")
