"""A member's process on virtual time: the shipped engine, with a simulated disk, clock and network.

It does what the member's shell does in production, and no more: it hands events over, ends turns,
keeps the one timer, greets its peers and remembers them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.errors import StoreCorrupt, StoreError
from raycons.machines.contract import Machine, State
from raycons.member.admission import refusal
from raycons.member.engine import Engine, bootstrap
from raycons.member.peers import PeerBook
from raycons.simulation.clock import Clock
from raycons.simulation.disk import Disk
from raycons.simulation.network import EndpointId, Network, replica_at
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World
from raycons.store.openings import Opening, opened
from raycons.transport.contract import SPOKEN, ClientId, Greeting

GROUP = 1
CLUSTER = "simulated"

Event = Callable[[float], None]  # takes the process's time
MakeMachine = Callable[[State], Machine]
Counted = Callable[[str, dict[str, Any]], None]


class Process:
    """One replica's process, which may be down, and its disk, which stays. Implements `Ports`.

    `id` is the replica's, `address` the process's own in the network: nearly always the same.
    """

    def __init__(
        self,
        id: ReplicaId,
        world: World,
        network: Network,
        scenario: Scenario,
        make_machine: MakeMachine,
        counted: Counted,
        address: EndpointId | None = None,
    ) -> None:
        self.id = id
        self.address = id if address is None else address
        self.incarnation = 0
        self.running = False
        self.paused = False
        self.destroyed = False
        self.stays_down = False  # whoever would start it again, until the faults have ended
        self.engine: Engine | None = None
        self._world = world
        self._network = network
        self._scenario = scenario
        self._make_machine = make_machine
        self._counted = counted
        self._random = world.random(f"member {self.address}")
        self.disk = Disk(world, world.random(f"disk {self.address}"), scenario.sync_s)
        self.disk.failed = self._disk_failed
        self.clock = Clock(self._random.uniform(1.0, 1000.0), self.draw_rate())
        self.sent: Counter[type] = Counter()
        self._inbox: list[Event] = []
        self._turn_owed = False  # an event may have given the engine work
        self._turn_scheduled = False
        self._timer_at = float("inf")  # virtual time
        self._asked_sync = 0
        self._clients: dict[EndpointId, ClientId] = {}
        self._endpoints: dict[ClientId, EndpointId] = {}
        self._next_client: ClientId = 1
        self._peers: dict[ReplicaId, EndpointId] = {}  # whom a connection is up to
        # The incarnations of peers in the book, and after how many batches each is on the disk.
        self._met: dict[ReplicaId, tuple[int, int]] = {}
        self.nonce = self._random.getrandbits(48)

    def __repr__(self) -> str:
        return f"member {self.address}"

    # --- life -------------------------------------------------------------------------------------

    def bootstrap(self, configuration: Configuration) -> None:
        """Make the store of a fresh replica."""
        bootstrap(self.disk, GROUP, self.id, self.nonce, configuration, self._scenario.protocol)
        self.disk.sync()

    def start(self) -> None:
        """Start the process over what the disk holds."""
        assert not self.running
        self.incarnation += 1
        self.running, self.paused = True, False
        self._world.tell("start", f"{self}", f"incarnation {self.incarnation}")
        self._inbox.clear()
        self._timer_at = float("inf")
        self._asked_sync = 0
        try:
            self._open()
            self._network.started(self.address)
            self._end_turn()
        except StoreError as error:
            self._disk_failed(error)

    def _open(self) -> None:
        opening = opened(self.disk, partial(self._random.getrandbits, 63))
        self._greeting = self._greet_as(opening)
        self._book = PeerBook(self.disk)
        self.engine = self._open_engine(
            self._world.random(f"engine {self.address} {self.incarnation}")
        )

    def _open_engine(self, random: Random) -> Engine:
        return Engine(
            group=GROUP,
            store=self.disk,
            make_machine=self._make_machine,
            ports=self,
            raft=self._scenario.raft,
            member=self._scenario.member,
            random=random,
            now=self.now,
        )

    def _greet_as(self, opening: Opening) -> Greeting:
        return Greeting(
            versions=SPOKEN,
            cluster=CLUSTER,
            id=self.id,
            nonce=self.nonce,
            incarnation=opening.incarnation,
            opening=opening.opening,
            address=None,
            earlier=opening.earlier,
        )

    def crash(self) -> None:
        """The process dies, and with it what the disk had not synced."""
        if not self.running:
            return
        self.running, self.paused = False, False
        self.engine = None
        self._inbox.clear()
        self._clients.clear()
        self._endpoints.clear()
        self._peers.clear()
        lost = self.disk.crash()
        durable = self.disk.batches_durable
        self._met = {id: met for id, met in self._met.items() if met[1] <= durable}
        self._world.tell("crash", f"{self}", f"{lost} batches lost")
        self._network.died(self.address)

    def _disk_failed(self, error: StoreError) -> None:
        """As in production: no write is tried again, the process ends, its successor looks.

        A replica that finds a record damaged must not serve again: it stays down for good.
        """
        self._counted(type(error).__name__, {})
        self._world.tell("disk-failed", f"{self}", error)
        self.crash()
        if isinstance(error, StoreCorrupt):
            self.destroyed = True
        else:
            self._world.after(self._random.uniform(0.02, 1.0), self.restart)

    def restart(self, _: Any = None) -> None:
        """Start the process, unless it runs, or must not."""
        if not (self.running or self.destroyed or self.stays_down):
            self.start()

    def pause(self) -> None:
        """The process stands still; its connections stay, and its clock goes on."""
        if self.running and not self.paused:
            self.paused = True
            self._world.tell("pause", f"{self}")

    def resume(self) -> None:
        """The process goes on: it hears first what has arrived, and looks at its clock after."""
        if self.running and self.paused:
            self.paused = False
            self._world.tell("resume", f"{self}")
            self._turn(None)

    # --- time -------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time on this member's own clock."""
        return self.clock.read(self._world.now)

    def change_clock(self, rate: float, forward_s: float) -> None:
        """The clock leaps ahead, and goes on at another rate."""
        self.clock.jump(forward_s)
        self.clock.run_at(rate, self._world.now)
        self._world.tell("clock", f"{self}", f"+{forward_s:.3f} s, rate {rate:.3f}")
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

    # --- connections ------------------------------------------------------------------------------

    @property
    def greeting(self) -> Greeting:
        """See Endpoint."""
        return self._greeting

    def admits(self, peer: EndpointId, greeting: Greeting | None) -> bool:
        """See Endpoint: one connection to each peer, as in production, and none to a copy."""
        if greeting is None:
            return True
        assert self.engine is not None
        if self._peers.get(greeting.id, peer) != peer:
            return False
        reason = refusal(self._greeting, self.engine.configuration, self._book, greeting)
        if reason is not None:
            self._world.tell("refused", peer, "->", self.address, reason)
            self._counted("peer-refused", {})
        return reason is None

    def connected(self, peer: EndpointId, greeting: Greeting | None) -> None:
        """See Endpoint."""
        if greeting is None:
            client = self._next_client
            self._next_client += 1
            self._clients[peer], self._endpoints[client] = client, peer
            self._take(partial(self._greet, client))
        else:
            self._peers[greeting.id] = peer
            self._take(partial(self._meet, greeting))

    def disconnected(self, peer: EndpointId) -> None:
        """See Endpoint."""
        if peer > 0:
            id = replica_at(peer)
            if self._peers.get(id) == peer:
                del self._peers[id]
            self._take(partial(self._lose, id))
        else:
            client = self._clients.pop(peer, None)
            if client is not None:
                del self._endpoints[client]
                self._take(partial(self._forget, client))

    def _greet(self, client: ClientId, now: float) -> None:
        """It is told who leads, which takes no turn."""
        assert self.engine is not None
        self.engine.client_connected(client)

    def _meet(self, greeting: Greeting, now: float) -> None:
        """Remember how old the peer's store is; once more what was asked covers the news."""
        if self._book.meet(greeting):
            self._met[greeting.id] = greeting.incarnation, self.disk.batches_written
            self.disk.request_sync(
                self._asked_sync, partial(self._became_durable, self.incarnation)
            )

    def remembers(self, peer: ReplicaId, incarnation: int) -> bool:
        """Whether it will never forget that the peer's store was opened so often."""
        met = self._met.get(peer)
        return met is not None and met[0] >= incarnation and met[1] <= self.disk.batches_durable

    def _lose(self, peer: ReplicaId, now: float) -> None:
        assert self.engine is not None
        self._world.tell("lost", peer, "->", self.address)
        self._turn_owed = True
        self.engine.connection_lost(peer, now)

    def _forget(self, client: ClientId, now: float) -> None:
        assert self.engine is not None
        self._turn_owed = True
        self.engine.client_gone(client)

    # --- events -----------------------------------------------------------------------------------

    def arrived(self, source: EndpointId, message: Any) -> None:
        """See Endpoint."""
        self._world.tell("deliver", source, "->", self.address, message)
        if source > 0:
            self._take(partial(self._receive, replica_at(source), message))
        else:
            client = self._clients.get(source)
            if client is not None:
                self._take(partial(self._serve, client, message))

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
        self.engine.receive(sender, message, now)
        if not self.engine.may_need_no_turn(message) or self.engine.owes_turn:
            self._turn_owed = True

    def _serve(self, client: ClientId, message: Any, now: float) -> None:
        assert self.engine is not None
        self._turn_owed = True
        self.engine.client(client, message, now)

    def _became_durable(self, incarnation: int, number: int) -> None:
        """The disk finished a sync, and has not crashed since it began."""
        if incarnation == self.incarnation and self.running:
            self._take(partial(self._tell_durable, number))

    def _tell_durable(self, number: int, now: float) -> None:
        assert self.engine is not None
        self.engine.durable(number, now)
        if self.engine.owes_turn:
            self._turn_owed = True

    def _end_owed_turn(self) -> None:
        if self._turn_owed:
            self._end_turn()

    def _end_turn(self) -> None:
        self._turn_owed = False
        engine = self.engine
        assert engine is not None
        engine.end_of_turn(self.now)
        self._arm()

    # --- what the engine asks for (Ports) ---------------------------------------------------------

    def send(self, to: ReplicaId, message: Any) -> None:
        """See Ports."""
        self.sent[type(message)] += 1
        self._network.send(self.address, self._peers.get(to, to), message)

    def respond(self, client: ClientId, message: Any) -> None:
        """See Ports."""
        endpoint = self._endpoints.get(client)
        if endpoint is not None:
            self._network.send(self.address, endpoint, message)

    def flush(self) -> None:
        """See Ports."""

    def step_aside(self) -> None:
        """See Ports."""

    def sync(self, number: int) -> None:
        """See Ports."""
        self._asked_sync = number
        self.disk.request_sync(number, partial(self._became_durable, self.incarnation))

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """See Ports."""
        self._world.tell(name, f"{self}", fields)
        self._counted(name, fields)
