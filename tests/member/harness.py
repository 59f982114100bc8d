"""Engines on a hand-driven world: every message, every sync and the clock move only when told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.machines.contract import Command, Live, State, Table, Tell
from raycons.member.applier import VERSION
from raycons.member.engine import Engine, bootstrap
from raycons.member.protocol import Answer, Submit
from raycons.store.contract import Batch
from raycons.store.memory import MemoryStore

GROUP = 1
CLIENT = 7


class Recorder(MemoryStore):
    """A store that remembers its batches, so that a test can crash after any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []

    def write(self, batch: Batch) -> None:
        self.batches.append(batch)
        super().write(batch)

    def after_crash(self, batches: int) -> Recorder:
        """What a crash leaves that only the first `batches` batches survived."""
        survivor = Recorder()
        for batch in self.batches[:batches]:
            survivor.write(batch)
        return survivor


class Journal:
    """A machine that keeps every command under its index, and counts them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.count = 0
        self.told_early: list[bytes | None] = []  # the count in the state after each early answer

    def load(self) -> None:
        self.count = int(self._state.get(Table.CURRENT, b"count") or b"0")

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        if command.data == b"poison":
            raise RuntimeError("this command breaks the machine")
        self.count += 1
        if tell is not None:
            tell(b"%d" % self.count)
            self.told_early.append(self._state.get(Table.CURRENT, b"count"))
        self._state.put(Table.CURRENT, b"count", b"%d" % self.count)
        self._state.put(Table.CURRENT, b"entry %08d" % command.index, command.data)
        return b"%d" % self.count

    def query(self, data: bytes) -> bytes:
        return b"%d" % self.count

    def due(self, time_us: int) -> bytes | None:
        return None

    def liveness(self) -> Live:
        return lambda table, key, value: True


class Node:
    """One engine's side of the world: the `Ports`."""

    def __init__(self, world: World, id: int, store: Recorder) -> None:
        self.world = world
        self.id = id
        self.alive = True
        self.store = store
        self.batches_synced = 0
        self.disk_stalled = False
        self.stalled: list[tuple[int, int]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.machine: Journal | None = None
        self.engine = Engine(
            group=GROUP,
            store=store,
            make_machine=self._make_machine,
            ports=self,
            raft=world.raft,
            member=world.member,
            random=Random(world.random.random()),
            now=world.now,
            version=world.handled.get(id, VERSION),
        )

    def _make_machine(self, state: State) -> Journal:
        self.machine = Journal(state)
        return self.machine

    def send(self, to: int, message: Any) -> None:
        self.world.messages += 1
        self.world.after(self.world.delay_s, lambda: self.world.deliver(self.id, to, message))

    def respond(self, client: int, message: Any) -> None:
        self.world.responses.append((self.id, message))

    def flush(self) -> None:
        self.world.flushed.append(len(self.world.responses))

    def step_aside(self) -> None:
        """See Ports."""

    def sync(self, number: int) -> None:
        covered = len(self.store.batches)
        self.world.after(self.world.sync_s, lambda: self._synced(number, covered))

    def event(self, name: str, fields: dict[str, Any]) -> None:
        self.events.append((name, fields))

    def _synced(self, number: int, covered: int) -> None:
        if self.disk_stalled:
            self.stalled.append((number, covered))
        elif self.alive:
            self.batches_synced = max(self.batches_synced, covered)
            self.world.run_event(self.id, "durable", number)

    def disk_answers_again(self) -> None:
        self.disk_stalled = False
        for number, covered in self.stalled:
            self._synced(number, covered)


class World:
    """A few nodes, a clock, and messages that take a millisecond."""

    def __init__(
        self,
        size: int = 3,
        seed: int = 1,
        handled: dict[int, int] | None = None,
        **member: Any,
    ) -> None:
        """`handled`: the newest format that a member's release knows, where it is not ours."""
        self.handled = handled or {}
        self.random = Random(seed)
        self.raft = RaftSettings()
        self.member = MemberSettings(**member)
        self.now = 0.0
        self.sync_s = 0.002
        self.delay_s = 0.001
        self.loses: Callable[[Any], bool] = lambda message: False
        self.messages = 0
        self.cut: set[tuple[int, int]] = set()
        self.responses: list[tuple[int, Any]] = []
        self.flushed: list[int] = []  # how many responses there were at each flush
        self.nodes: dict[int, Node] = {}
        self._queue: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._requests = itertools.count(1)
        peers = tuple(Peer(id, 100 + id, Role.VOTER) for id in range(1, size + 1))
        self.configuration = Configuration(peers, size + 1)
        for id in range(1, size + 1):
            store = Recorder()
            bootstrap(store, GROUP, id, 100 + id, self.configuration)
            self.open(id, store)

    def open(self, id: int, store: Recorder) -> Node:
        node = Node(self, id, store)
        node.batches_synced = len(store.batches)
        self.nodes[id] = node
        return node

    def crash(self, id: int) -> Recorder:
        """Kill a node; gives what its disk holds for certain."""
        node = self.nodes.pop(id)
        node.alive = False
        for other in list(self.nodes):
            self.after(0.005, lambda other=other: self.run_event(other, "connection_lost", id))
        return node.store.after_crash(node.batches_synced)

    def after(self, delay_s: float, action: Any) -> None:
        heapq.heappush(self._queue, (self.now + delay_s, next(self._order), action))

    def deliver(self, sender: int, to: int, message: Any) -> None:
        if to in self.nodes and (sender, to) not in self.cut and not self.loses(message):
            self.run_event(to, "receive", sender, message)

    def run_event(self, id: int, name: str, *arguments: Any) -> None:
        node = self.nodes.get(id)
        if node is not None:
            getattr(node.engine, name)(*arguments, self.now)
            if name != "durable" or node.engine.owes_turn:
                node.engine.end_of_turn(self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(1_000_000):
            deadline, id = min((n.engine.next_deadline(), n.id) for n in self.nodes.values())
            queued = self._queue[0][0] if self._queue else float("inf")
            if min(deadline, queued) > end:
                self.now = end
                return
            self.now = max(self.now, min(deadline, queued))
            if queued <= deadline:
                heapq.heappop(self._queue)[2]()
            else:
                self.run_event(id, "tick")
        raise AssertionError("the world does not come to rest")

    def leader(self) -> int:
        leaders = [
            (node.engine.replica.term, id)
            for id, node in self.nodes.items()
            if node.engine.replica.role == "leader"
        ]
        return max(leaders)[1]

    def client(self, id: int, message: Any) -> None:
        self.run_event(id, "client", CLIENT, message)

    def submit(self, id: int, data: bytes) -> int:
        request = next(self._requests)
        self.client(id, Submit(request, 0, data))
        return request

    def answers(self) -> dict[int, bytes]:
        return {m.request: m.body for _, m in self.responses if isinstance(m, Answer)}
