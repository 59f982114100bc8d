"""A member on virtual time: the shipped engine, with a simulated disk, clock and network around it.

It does what the member's shell does in production, and no more: it hands events over, ends turns,
keeps the one timer. On the way it shows the invariants what passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import Apply, Effect, Persist, ReadContext, Send
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import Appended, Heartbeat, SnapshotChunk
from raycons.errors import StoreCorrupt, StoreError
from raycons.machines.contract import Machine, State
from raycons.member.engine import ANSWERS, Engine, bootstrap
from raycons.member.protocol import Manage
from raycons.simulation.beliefs import CHECKED
from raycons.simulation.clock import Clock
from raycons.simulation.disk import Disk
from raycons.simulation.images import Image
from raycons.simulation.invariants import Invariants
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.provocation import Provocations
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World
from raycons.transport.contract import ClientId

GROUP = 1
FREQUENT = frozenset((Apply, Persist, Send))  # effects that only `Invariants` looks at

Event = Callable[[float], None]  # takes the member's time
MakeMachine = Callable[[State], Machine]


class VirtualMember:
    """One replica's process, which may be down, and its disk, which stays. Implements `Ports`."""

    def __init__(
        self,
        id: ReplicaId,
        world: World,
        network: Network,
        invariants: Invariants,
        scenario: Scenario,
        make_machine: MakeMachine,
        counted: Callable[[str, dict[str, Any]], None],
        provocations: Provocations,
    ) -> None:
        self.id = id
        self.incarnation = 0
        self.running = False
        self.paused = False
        self.destroyed = False
        self.engine: Engine | None = None
        self._world = world
        self._network = network
        self._invariants = invariants
        self._beliefs = invariants.beliefs
        self._scenario = scenario
        self._make_machine = make_machine
        self._counted = counted
        self._random = world.random(f"member {id}")
        self.disk = Disk(world, world.random(f"disk {id}"), scenario.sync_s)
        self.disk.failed = self._disk_failed
        self.disk.lateness_s = provocations.sync_lateness_s
        self._provocations = provocations
        self.clock = Clock(self._random.uniform(1.0, 1000.0), self.draw_rate())
        self.sent: Counter[type] = Counter()
        self.slow_heartbeats = 0  # of those sent
        self._inbox: list[Event] = []
        self._turn_owed = False  # an event may have given the engine work
        self._turn_scheduled = False
        self._timer_at = float("inf")  # virtual time
        self._clients: dict[EndpointId, ClientId] = {}
        self._endpoints: dict[ClientId, EndpointId] = {}
        self._next_client: ClientId = 1

        self.nonce = self._random.getrandbits(48)

    # --- life -------------------------------------------------------------------------------------

    def create(self, configuration: Configuration) -> None:
        """Make the store of a fresh replica."""
        bootstrap(self.disk, GROUP, self.id, self.nonce, configuration)
        self.disk.sync()
        self._mirror = self._invariants.created(self.id, configuration)
        self._image = Image(self.id, GROUP, self.disk.content, self._invariants.pieces)
        self.disk.written = self._image.written
        self._network.add(self)

    def start(self) -> None:
        """Start the process over what the disk holds."""
        assert not self.running
        self.incarnation += 1
        self.running, self.paused = True, False
        self._world.tell("start", f"member {self.id}", f"incarnation {self.incarnation}")
        self._inbox.clear()
        self._timer_at = float("inf")
        try:
            self._open()
            self._end_turn()
        except StoreError as error:
            self._disk_failed(error)

    def _open(self) -> None:
        self.engine = Engine(
            group=GROUP,
            store=self.disk,
            make_machine=self._make_machine,
            ports=self,
            raft=self._scenario.raft,
            member=self._scenario.member,
            random=self._world.random(f"engine {self.id} {self.incarnation}"),
            now=self.now,
        )
        self._provocations.bend(self.engine)
        self._image.started(self.engine)
        replica = self.engine.replica
        # The invariants see each effect as it leaves the shipped replica, before it is carried out.
        drain = partial(self._drain, replica.drain)
        setattr(replica, "drain", drain)  # noqa: B010  mypy forbids the plain assignment
        setattr(replica, "read", partial(self._read, replica.read))  # noqa: B010
        self._invariants.started(replica)
        self._beliefs.started(replica, lambda: self.now)
        self._network.started(self.id)

    def crash(self) -> None:
        """The process dies, and with it what the disk had not synced."""
        if not self.running:
            return
        self.running, self.paused = False, False
        self.engine = None
        self._beliefs.stopped(self.id)
        self._inbox.clear()
        self._clients.clear()
        self._endpoints.clear()
        lost = self.disk.crash()
        self._world.tell("crash", f"member {self.id}", f"{lost} batches lost")
        self._network.died(self.id)

    def _disk_failed(self, error: StoreError) -> None:
        """As in production: no write is tried again, the process ends, its successor looks.

        A replica that finds a record damaged must not serve again: it stays down for good.
        """
        self._counted(type(error).__name__, {})
        self._world.tell("disk-failed", f"member {self.id}", error)
        self.crash()
        if isinstance(error, StoreCorrupt):
            self.destroyed = True
        else:
            self._world.after(self._random.uniform(0.02, 1.0), self.restart)

    def restart(self, _: Any = None) -> None:
        """Start the process, unless it runs, or must not."""
        if not self.running and not self.destroyed:
            self.start()

    def pause(self) -> None:
        """The process stands still; its connections stay, and its clock goes on."""
        if self.running and not self.paused:
            self.paused = True
            self._world.tell("pause", f"member {self.id}")

    def resume(self) -> None:
        """The process goes on: it hears first what has arrived, and looks at its clock after."""
        if self.running and self.paused:
            self.paused = False
            self._world.tell("resume", f"member {self.id}")
            self._turn(None)

    @property
    def logged_configurations(self) -> list[tuple[Index, Configuration]]:
        """The newest configuration in the log at the last start or write, and those before it."""
        return [entry for entry in self._mirror.configurations[-2:] if entry[1].peers]

    # --- time -------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time on this member's own clock."""
        return self.clock.read(self._world.now)

    def change_clock(self, rate: float, forward_s: float) -> None:
        """The clock leaps ahead, and goes on at another rate."""
        self.clock.jump(forward_s)
        self.clock.run_at(rate, self._world.now)
        self._world.tell("clock", f"member {self.id}", f"+{forward_s:.3f} s, rate {rate:.3f}")
        if self.running and not self.paused:
            self._timer_at = float("inf")
            self._arm()

    def draw_rate(self) -> float:
        """A rate for the clock, within the scenario's drift."""
        drift = self._scenario.drift
        return self._random.uniform(1 - drift, 1 + drift)

    def _arm(self) -> None:
        engine = self.engine
        assert engine is not None
        deadline = engine.next_deadline()
        if deadline == float("inf"):
            return
        at = self.clock.when(deadline)
        # An armed timer that is too early stays: it arms the next when it fires, as in the shell.
        if at < self._timer_at:
            self._timer_at = at
            self._world.at(at, self._timer_fired, (self.incarnation, at))

    def _timer_fired(self, timer: tuple[int, float]) -> None:
        incarnation, at = timer
        if incarnation != self.incarnation or at != self._timer_at or not self.running:
            return
        self._timer_at = float("inf")
        if not self.paused:
            try:
                self._tick_if_due()
            except StoreError as error:
                self._disk_failed(error)

    def _tick_if_due(self) -> None:
        engine = self.engine
        assert engine is not None
        now = self.now
        if now >= engine.next_deadline():
            engine.tick(now)
            self._end_turn()
        else:
            self._arm()

    # --- events -----------------------------------------------------------------------------------

    def arrived(self, source: EndpointId, message: Any) -> None:
        """See Endpoint."""
        self._world.tell("deliver", source, "->", self.id, message)
        if source > 0:
            self._take(partial(self._receive, source, message))
        else:
            client = self._clients.get(source)
            if client is not None:
                self._take(partial(self._serve, client, message))

    def connected(self, peer: EndpointId) -> None:
        """See Endpoint."""
        if peer < 0:
            client = self._next_client
            self._next_client += 1
            self._clients[peer], self._endpoints[client] = client, peer
            self._take(partial(self._greet, client))

    def disconnected(self, peer: EndpointId) -> None:
        """See Endpoint."""
        if peer > 0:
            self._take(partial(self._lose, peer))
        else:
            client = self._clients.pop(peer, None)
            if client is not None:
                del self._endpoints[client]
                self._take(partial(self._forget, client))

    def _take(self, event: Event) -> None:
        """Handle the event at once, or with others in a later turn."""
        if self.paused or self._scenario.turn_s or self._inbox:
            self._inbox.append(event)
            if not self._turn_scheduled and not self.paused:
                self._turn_scheduled = True
                self._world.after(self._scenario.turn_s, self._turn)
        else:
            try:
                event(self.now)
                self._end_owed_turn()
            except StoreError as error:
                self._disk_failed(error)

    def _turn(self, _: Any) -> None:
        self._turn_scheduled = False
        if not self.running or self.paused:
            return
        events, self._inbox = self._inbox, []
        now = self.now
        try:
            for event in events:
                event(now)
            self._end_owed_turn()
            self._tick_if_due()
        except StoreError as error:
            self._disk_failed(error)

    def _receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        assert self.engine is not None
        replica = self.engine.replica
        if type(message) in CHECKED:
            before = (replica.role, replica.commit, replica.election_deadline)
            self.engine.receive(sender, message, now)
            self._beliefs.received(replica, sender, message, before)
        else:
            self.engine.receive(sender, message, now)
        if type(message) not in ANSWERS or self.engine.owes_turn:
            self._turn_owed = True

    def _serve(self, client: ClientId, message: Any, now: float) -> None:
        assert self.engine is not None
        replica = self.engine.replica
        before = replica.configuration_index
        self._turn_owed = True
        self.engine.client(client, message, now)
        if isinstance(message, Manage) and replica.configuration_index != before:
            self._invariants.changed(self.id, before, message.based_on)

    def _greet(self, client: ClientId, now: float) -> None:
        """It is told who leads, which takes no turn."""
        assert self.engine is not None
        self.engine.client_connected(client)

    def _lose(self, peer: ReplicaId, now: float) -> None:
        assert self.engine is not None
        self._world.tell("lost", peer, "->", self.id)
        self._turn_owed = True
        self.engine.connection_lost(peer, now)

    def _forget(self, client: ClientId, now: float) -> None:
        assert self.engine is not None
        self._turn_owed = True
        self.engine.client_gone(client)

    def _became_durable(self, incarnation: int, number: int) -> None:
        """The disk finished a sync, and has not crashed since it began."""
        self._mirror.synced(self.disk.batches_durable)
        if incarnation == self.incarnation and self.running:
            self._take(partial(self._tell_durable, number))

    def _tell_durable(self, number: int, now: float) -> None:
        assert self.engine is not None
        self.engine.durable(number, now)
        if self.engine.owes_turn:
            self._turn_owed = True
        self._beliefs.check_itself(self.engine.replica, self._mirror)

    def _end_owed_turn(self) -> None:
        if self._turn_owed:
            self._end_turn()

    def _end_turn(self) -> None:
        self._turn_owed = False
        engine = self.engine
        assert engine is not None
        engine.end_of_turn(self.now)
        base = engine.replica.log.base
        if base.index > self._mirror.base.index:
            self._mirror.compacted(base)
        self._arm()

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

    # --- what the engine asks for (Ports) ---------------------------------------------------------

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
        self.sent[kind] += 1
        self._network.send(self.id, to, message)

    def respond(self, client: ClientId, message: Any) -> None:
        """See Ports."""
        endpoint = self._endpoints.get(client)
        if endpoint is not None:
            self._network.send(self.id, endpoint, message)

    def flush(self) -> None:
        """See Ports."""

    def step_aside(self) -> None:
        """See Ports."""

    def sync(self, number: int) -> None:
        """See Ports."""
        self._mirror.given_to_disk(number, self.disk.batches_written)
        self.disk.request_sync(number, partial(self._became_durable, self.incarnation))

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """See Ports."""
        if name == "snapshot-installed":
            self._image.installed()
        self._world.tell(name, f"member {self.id}", fields)
        self._counted(name, fields)
