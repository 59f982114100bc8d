"""Clients on virtual time: the shipped client core, and callers that keep it busy.

Every write carries a value that no other operation writes (its token), so that its effect can be
found, and counted, wherever it went.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

from raycons import errors
from raycons.client.calls import Pending
from raycons.client.core import ClientCore, Transmit
from raycons.machines.kv.commands import (
    Compare,
    Delete,
    Operation,
    Put,
    Range,
    RangeDone,
    Relation,
    Swap,
    SwapDone,
    Target,
    Txn,
)
from raycons.member.protocol import ReadLevel
from raycons.simulation.clock import Clock
from raycons.simulation.network import EndpointId, Network
from raycons.simulation.scenario import Scenario
from raycons.simulation.world import World
from raycons.transport.contract import Greeting

LIBRARY_END = b"l"  # all keys begin with "k" or "m": a range up to here is all the k's


class ClientProcess:
    """A process with a client core: events in, messages out, one timer."""

    def __init__(self, id: EndpointId, world: World, network: Network, scenario: Scenario) -> None:
        self.id = self.address = id
        self.incarnation = 0
        self.running = False
        self.world = world
        self.scenario = scenario
        self._network = network
        self.random = world.random(f"client {id}")
        self._clock = Clock(self.random.uniform(1.0, 1000.0), 1.0)
        self._timer_at = float("inf")
        self._turn_scheduled = False
        self.core = self._new_core()
        network.add(self)

    def _new_core(self) -> ClientCore:
        random = self.world.random(f"client core {self.id} {self.incarnation}")
        return ClientCore(random, self.scenario.client, self.now)

    @property
    def now(self) -> float:
        """The time on this client's clock."""
        return self._clock.read(self.world.now)

    def start(self) -> None:
        """Start, or start anew: nothing is remembered of what was under way."""
        self.incarnation += 1
        self.running = True
        self._timer_at = float("inf")
        self.core = self._new_core()
        self._network.started(self.id)

    def crash(self) -> None:
        """The process dies; nobody hears of its operations any more."""
        self.running = False
        self.world.tell("crash", f"client {self.id}")
        self._network.died(self.id)

    def arrived(self, source: EndpointId, message: Any) -> None:
        """See Endpoint."""
        self.world.tell("deliver", source, "->", self.id, message)
        self.core.received(source, message, self.now)
        self.end_turn()

    greeting = None

    def admits(self, peer: EndpointId, greeting: Greeting | None) -> bool:
        """See Endpoint: a client is told addresses of members only."""
        return greeting is not None and greeting.id == peer

    def connected(self, peer: EndpointId, greeting: Greeting | None) -> None:
        """See Endpoint."""
        self.core.connected(peer, self.now)
        self.end_turn()

    def disconnected(self, peer: EndpointId) -> None:
        """See Endpoint."""
        self.core.lost(peer, self.now)
        self.end_turn()

    def end_turn(self) -> None:
        """Carry out what the core wants, and keep its deadline."""
        for output in self.core.end_of_turn(self.now):
            if isinstance(output, Transmit):
                self._network.send(self.id, output.member, output.message)
        deadline = self.core.next_deadline()
        if deadline == float("inf"):
            return
        at = self._clock.when(deadline)
        if at < self._timer_at:
            self._timer_at = at
            self.world.at(at, self._timer_fired, (self.incarnation, at))

    def _timer_fired(self, timer: tuple[int, float]) -> None:
        incarnation, at = timer
        if incarnation == self.incarnation and at == self._timer_at and self.running:
            self._timer_at = float("inf")
            self.core.tick(self.now)
            self.end_turn()


class Judge(Protocol):
    """Told what became of each operation."""

    outcomes: Counter[str]

    def failed(self, operation: Operation, error: Exception) -> None:
        """A client was told that `operation` ended with `error`."""

    def succeeded(self, operation: Operation, result: object, floor: int) -> None:
        """A client was told `result`; the operation began when the floor was `floor`."""


class Caller(ClientProcess):
    """A client whose callers write and read a few keys, each one operation after the other."""

    def __init__(
        self,
        id: EndpointId,
        world: World,
        network: Network,
        scenario: Scenario,
        history: Judge,
        floor: Callable[[Operation], int],
    ) -> None:
        """`floor` gives the place behind which an operation that begins now must stand."""
        super().__init__(id, world, network, scenario)
        self._history = history
        self._floor = floor
        self._count = 0
        self._kinds = list(scenario.work)
        self._weights = list(accumulate(scenario.work.values()))
        self._seen: dict[bytes, bytes | None] = {}  # what was last read, for swaps that may work
        self.busy = 0
        self.stopping = False
        self.last_write_began = -1.0  # of the latest one that succeeded; virtual seconds

    def start(self) -> None:
        """See ClientProcess; the callers begin."""
        super().start()
        self.busy = 0
        for _ in range(self.scenario.concurrency):
            self._think(self.incarnation)

    def _think(self, incarnation: int) -> None:
        pause_s = self.random.expovariate(1.0) * self.scenario.think_s
        self.world.after(pause_s, self._begin, incarnation)

    def _begin(self, incarnation: int) -> None:
        if incarnation != self.incarnation or not self.running or self.stopping:
            return
        operation = self.draw()
        done = partial(self._ended, operation, self._floor(operation), self.world.now, incarnation)
        deadline = self.now + self.scenario.timeout_s
        try:
            if isinstance(operation, Range):
                stale = self.random.random() < self.scenario.stale_share
                level = ReadLevel.STALE if stale else ReadLevel.LINEARIZABLE
                pending = self.core.read(operation, level, deadline, done)
            else:
                pending = self.core.submit(operation, deadline, done)
        except errors.Overloaded as error:
            self._history.failed(operation, error)
            self._think(incarnation)
            return
        self.busy += 1
        self.world.tell("begin", f"client {self.id}", operation)
        if self.random.random() < 0.03:
            patience_s = self.random.uniform(0.0, self.scenario.timeout_s)
            self.world.after(patience_s, self._cancel, (incarnation, pending))
        self.end_turn()

    def _cancel(self, argument: tuple[int, Pending]) -> None:
        incarnation, pending = argument
        if incarnation == self.incarnation and self.running and pending.done is not None:
            self.core.cancel(pending)
            self.busy -= 1
            self._history.outcomes["cancelled"] += 1
            self.end_turn()
            self._think(incarnation)

    def _ended(
        self, operation: Operation, floor: int, began: float, incarnation: int, result: Any
    ) -> None:
        if incarnation != self.incarnation or not self.running:
            return
        self.busy -= 1
        self.world.tell("end", f"client {self.id}", operation, "->", result)
        if isinstance(result, Exception):
            self._history.failed(operation, result)
        else:
            self._history.succeeded(operation, result, floor)
            self._remember(operation, result)
            if not isinstance(operation, Range):
                self.last_write_began = max(self.last_write_began, began)
        self._think(incarnation)

    def _remember(self, operation: Operation, result: Any) -> None:
        match operation, result:
            case Put(key, value), _:
                self._seen[key] = value
            case Swap(key, _, value), SwapDone():
                self._seen[key] = value if result.succeeded else result.current
            case Delete(key, None), _:
                self._seen[key] = None
            case Range(key, None), RangeDone():
                self._seen[key] = result.pairs[0].value if result.pairs else None
            case _:
                pass

    # --- what they do -----------------------------------------------------------------------------

    def draw(self) -> Operation:
        """What this caller does next."""
        random = self.random
        key = b"k%d" % random.randrange(self.scenario.keys)
        [kind] = random.choices(self._kinds, cum_weights=self._weights)
        if kind == "get":
            return Range(key)
        if kind == "scan":
            return Range(b"k", LIBRARY_END)
        if kind == "delete":
            return Delete(key)
        self._count += 1
        value = b"%d.%d" % (-self.id, self._count)
        if random.random() < 0.3:
            value += b"." * self.scenario.value_bytes
        if kind == "put":
            return Put(key, value)
        if kind == "swap":
            return Swap(key, self._seen.get(key), value)
        if kind == "move":
            return Txn((), (Put(b"m%d" % self.id, value), Delete(key)), ())
        seen = self._seen.get(key)
        relation = random.choice([Relation.EQUAL, Relation.NOT_EQUAL])
        compare = Compare(key, Target.VALUE, relation, seen)
        other = b"k%d" % random.randrange(self.scenario.keys)
        return Txn(
            (compare,), (Put(b"m%d" % self.id, value), Delete(other), Range(key)), (Range(other),)
        )
