"""A member of the group whose every effect and word is shown to the invariants as it passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    Apply,
    Effect,
    Persist,
    PersistAccepted,
    ReadContext,
    Send,
)
from raycons.consensus.messages import SnapshotChunk
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import Appended, Heartbeat
from raycons.member.layout import Keys
from raycons.member.protocol import Manage
from raycons.simulation.images import Image
from raycons.simulation.network import Network
from raycons.simulation.process import GROUP, Counted, MakeMachine, Process
from raycons.simulation.provocation import Provocations
from raycons.simulation.scenario import Scenario
from raycons.simulation.views import Watch
from raycons.simulation.world import World
from raycons.store.contract import Batch, Space
from raycons.transport.contract import ClientId

FREQUENT = frozenset(
    (Apply, Persist, PersistAccepted, Send)
)  # effects that only `Invariants` looks at


class VirtualMember(Process):
    """One replica's process and disk, watched."""

    def __init__(
        self,
        id: ReplicaId,
        world: World,
        network: Network,
        invariants: Watch,
        scenario: Scenario,
        make_machine: MakeMachine,
        counted: Counted,
        provocations: Provocations,
    ) -> None:
        super().__init__(id, world, network, scenario, make_machine, counted)
        self._invariants = invariants
        self._beliefs = invariants.beliefs
        self._provocations = provocations
        self.disk.lateness_s = provocations.sync_lateness_s
        if "lost-fsync" in scenario.rates:
            self.disk.lie()
        self.doubtful = False  # its disk has lied: nobody may count on it any more
        self.slow_heartbeats = 0  # of those sent
        # The store as some of its incarnations left it, the newest last.
        self.earlier: deque[tuple[int, Batch]] = deque(maxlen=3)

    # --- life -------------------------------------------------------------------------------------

    def create(self, configuration: Configuration) -> None:
        """Make the store of a fresh replica, which connects from now on."""
        self.bootstrap(configuration)
        self._mirror = self._invariants.created(self.id, configuration)
        self._image = Image(
            self.id,
            GROUP,
            self.disk.content,
            self._invariants.pieces,
            keeps_later=self._scenario.protocol == "multipaxos",
        )
        self.disk.written = self._image.written
        self._network.add(self)

    def _open(self) -> None:
        super()._open()
        assert self.engine is not None
        self._provocations.bend(self.engine)
        self._image.started(self.engine)
        replica = self.engine.replica
        # The invariants see each effect as it leaves the shipped replica, before it is carried out.
        drain = partial(self._drain, replica.drain)
        setattr(replica, "drain", drain)  # noqa: B010  mypy forbids the plain assignment
        setattr(replica, "read", partial(self._read, replica.read))  # noqa: B010
        self._invariants.started(replica)
        self._beliefs.started(replica, lambda: self.now)

    def crash(self) -> None:
        """The process dies, and with it what the disk had not synced."""
        if not self.running:
            return
        self._beliefs.stopped(self.id)
        super().crash()
        if "impostor" in self._scenario.rates:
            self.earlier.append((self.greeting.incarnation, self.disk.image()))

    def forget(self, batches: int) -> int:
        """The process dies, and its disk loses batches that it had reported as durable.

        What stands is the vote with its term, and the configuration that the replica acts on; so
        the log as far as that, and with it whatever was cut from the log or took its place.
        """
        self.crash()
        keys = Keys(GROUP)
        last_of_configuration = keys.entry(self._mirror.configurations[-1][0])

        def stands(space: Space, key: bytes) -> bool:
            if space is Space.META:
                return key == keys.hard_state
            return space is Space.LOG and key <= last_of_configuration

        forgotten = self.disk.forget(batches, stands)
        if forgotten:
            self.doubtful = True
            self._mirror.forgotten()
        return forgotten

    @property
    def configuration(self) -> Configuration:
        """The one that it acts on, or will when it is back."""
        configuration: Configuration = self._mirror.configuration
        return configuration

    @property
    def sound(self) -> bool:
        """Whether nothing has befallen its disk that may end it yet, or did."""
        return not (self.destroyed or self.disk.rotten or self.doubtful)

    @property
    def leading(self) -> bool:
        """Whether it takes itself for the leader."""
        return self.engine is not None and self.engine.replica.role == "leader"

    @property
    def vouches_for(self) -> Any:
        """What its disk has reported as durable, in its mirror's words."""
        return self._mirror.vouched

    def holds_durably(self, vouched: Any) -> bool:
        """Whether what another one vouches for survives a crash here."""
        holds: bool = self._mirror.holds(vouched)
        return holds

    @property
    def logged_configurations(self) -> list[tuple[Index, Configuration]]:
        """The newest configuration in the log at the last start or write, and those before it."""
        return [entry for entry in self._mirror.configurations[-2:] if entry[1].peers]

    # --- what it hears ----------------------------------------------------------------------------

    def _receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        assert self.engine is not None
        replica: Any = self.engine.replica
        if type(message) in self._beliefs.checked:
            before = (replica.role, replica.commit, replica.election_deadline)
            super()._receive(sender, message, now)
            self._beliefs.received(replica, sender, message, before)
        else:
            super()._receive(sender, message, now)

    def _serve(self, client: ClientId, message: Any, now: float) -> None:
        assert self.engine is not None
        replica = self.engine.replica
        replaced, before = replica.configuration_index, self._invariants.last_change(replica)
        super()._serve(client, message, now)
        if isinstance(message, Manage) and self._invariants.last_change(replica) != before:
            self._invariants.changed(self.id, replaced, message.based_on)

    def _became_durable(self, incarnation: int, number: int) -> None:
        self._mirror.synced(self.disk.batches_durable)
        super()._became_durable(incarnation, number)

    def _tell_durable(self, number: int, now: float) -> None:
        super()._tell_durable(number, now)
        assert self.engine is not None
        self._beliefs.check_itself(self.engine.replica, self._mirror)

    # --- what it does -----------------------------------------------------------------------------

    def _end_turn(self) -> None:
        super()._end_turn()
        assert self.engine is not None
        base = self.engine.replica.log.base
        if base.index > self._mirror.base.index:
            self._mirror.compacted(base)

    def _drain(self, original: Callable[[float], list[Effect]], now: float) -> list[Effect]:
        effects = original(now)
        assert self.engine is not None
        if effects:
            self._invariants.drained(self.engine.replica, effects, now)
            self._beliefs.check_itself(self.engine.replica, self._mirror)
            rare = [effect for effect in effects if type(effect) not in FREQUENT]
            if rare:
                self._beliefs.drained(self.engine.replica, rare)
                self._image.drained(rare)
            first = effects[0]
            if type(first) is Persist and first.truncate_from:
                self._counted("log-truncated", {})
        return effects

    def _read(
        self, original: Callable[[ReadContext, float], None], context: ReadContext, now: float
    ) -> None:
        self._beliefs.read_began(self.id, context, self._invariants.committed_index)
        original(context, now)

    def send(self, to: ReplicaId, message: Any) -> None:
        """See Ports."""
        self._invariants.sent(self.id, to, message)
        kind = type(message)
        if kind is Appended:
            self._beliefs.acknowledged(self.id, message)
        elif kind is SnapshotChunk:
            self._invariants.pieces.sent(message)
        elif kind is Heartbeat and message.pace > 1:
            self.slow_heartbeats += 1
        super().send(to, message)

    def sync(self, number: int) -> None:
        """See Ports."""
        self._mirror.given_to_disk(number, self.disk.batches_written)
        super().sync(number)

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """See Ports."""
        if name == "snapshot-installed":
            self._image.installed()
        super().event(name, fields)
        if name == "retired":
            self._world.after(0.0, self._retire)

    def _retire(self, _: Any) -> None:
        """As in production: an identity that its leader retired never serves again."""
        self.crash()
        self.destroyed = True
