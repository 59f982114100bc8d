"""Replicas on a hand-driven world: messages, syncs and the clock move only when told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import (
    Apply,
    Effect,
    Entry,
    EntryId,
    HardState,
    InstallSnapshot,
    PersistAccepted,
    Proposal,
    ReadReady,
    Retired,
    Send,
    SnapshotMeta,
    StageChunk,
    StreamSnapshot,
)
from raycons.consensus.messages import SnapshotChunk
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.paxos.multipaxos.slots import Slots

SETTINGS = RaftSettings(election_timeout_s=1.0, heartbeat_interval_s=0.1)
Message = tuple[int, int, Any]  # from, to, what


def voters(*ids: int, window: int = 8, lease_s: float = 0.0) -> Configuration:
    peers = tuple(Peer(id, 0, Role.VOTER) for id in ids)
    return Configuration(peers, max(ids) + 1, window=window, lease_s=lease_s)


class Node:
    """One replica, its disk and what it has applied."""

    def __init__(self, id: int, configuration: Configuration) -> None:
        self.id = id
        self.slots: dict[int, Proposal] = {}
        self.hard_state = HardState()
        self.base = EntryId(0, 0)
        self.configurations = [(0, configuration)]
        self.applied: list[Entry] = []
        self.synced = 0  # the newest write on disk
        self.writes: list[tuple[int, PersistAccepted]] = []
        self.held: list[Send] = []
        self.ready: dict[int, int] = {}
        self.retired = ""
        self.replica: MultiPaxosReplica

    def read(self, first: int, last: int, max_bytes: int) -> list[Entry]:
        return [self.slots[slot].entry for slot in range(first, last + 1)]

    def start(self, now: float, random: Random) -> None:
        """Come up on what is on disk; all that was applied is in the state."""
        self.held, self.writes, self.synced = [], [], 0
        decided = self.applied[-1].index if self.applied else self.base.index
        above = [held for slot, held in sorted(self.slots.items()) if slot > decided]
        time_us = self.applied[-1].time_us if self.applied else 0
        start = Start(
            self.hard_state,
            Slots(self, self.base, decided, above),
            list(self.configurations),
            time_us,
        )
        self.replica = MultiPaxosReplica(self.id, start, SETTINGS, random, now)


class Group:
    """All replicas, and the messages under way between them."""

    def __init__(self, configuration: Configuration, ids: Iterable[int] = ()) -> None:
        self.now = 100.0
        self.random = Random(7)
        self.nodes: dict[int, Node] = {}
        self.messages: deque[Message] = deque()
        self.lost: Callable[[int, int, Any], bool] = lambda source, to, message: False
        self.lazy: set[int] = set()  # whose disks sync only when told
        for id in sorted(ids or configuration.ids):
            self.add(id, configuration)

    def add(self, id: int, configuration: Configuration) -> Node:
        self.nodes[id] = Node(id, configuration)
        self.nodes[id].start(self.now, self.random)
        return self.nodes[id]

    def __getitem__(self, id: int) -> MultiPaxosReplica:
        return self.nodes[id].replica

    # --- what happens -----------------------------------------------------------------------------

    def elect(self, id: int) -> None:
        """Let the election timer of one replica come due, and everything settle."""
        self[id].tick(max(self.now, self[id].election_deadline))
        self.run()
        assert self[id].role == "leader", self[id].role

    def propose(self, id: int, data: bytes) -> EntryId:
        told = self[id].propose(data, 0, 1, self.now)
        assert isinstance(told, EntryId), told
        return told

    def beat(self, id: int) -> None:
        """A heartbeat interval passes, for a leader."""
        self.now += SETTINGS.heartbeat_interval_s
        self[id].tick(self.now)
        self.run()

    def restart(self, id: int) -> None:
        self.nodes[id].start(self.now, self.random)
        self.run()

    def cut_off(self, *ids: int) -> None:
        self.lost = lambda source, to, message: source in ids or to in ids

    def heal(self) -> None:
        self.lost = lambda source, to, message: False

    def run(self) -> None:
        """Until nothing is under way any more."""
        for _ in range(10_000):
            for node in self.nodes.values():
                self.drain(node)
            if not self.messages:
                if not any(node.replica.pending for node in self.nodes.values()):
                    return
                continue
            source, to, message = self.messages.popleft()
            if to in self.nodes and not self.lost(source, to, message):
                self.nodes[to].replica.receive(source, message, self.now)
        raise AssertionError("it never settles")

    def drain(self, node: Node) -> list[Effect]:
        effects = node.replica.drain(self.now)
        for effect in effects:
            self._perform(node, effect)
        if node.id not in self.lazy:
            self.sync(node.id)
        return effects

    def sync(self, id: int) -> None:
        node = self.nodes[id]
        if node.writes:
            node.synced = node.writes[-1][0]
            node.writes = []
            node.replica.durable(node.synced, self.now)
            for send in node.held:
                self.messages.append((id, send.to, send.message))
            node.held = []

    def _perform(self, node: Node, effect: Effect) -> None:
        if isinstance(effect, PersistAccepted):
            for held in effect.accepted:
                node.slots[held.entry.index] = held
            if effect.hard_state is not None:
                node.hard_state = effect.hard_state
            node.writes.append((effect.number, effect))
        elif isinstance(effect, Send):
            if effect.after <= node.synced:
                self.messages.append((node.id, effect.to, effect.message))
            else:
                node.held.append(effect)
        elif isinstance(effect, Apply):
            node.applied += effect.entries
        elif isinstance(effect, ReadReady):
            node.ready[effect.context] = effect.index
        elif isinstance(effect, Retired):
            node.retired = effect.reason
        elif isinstance(effect, StreamSnapshot):
            self._stream(node, effect)
        elif isinstance(effect, StageChunk):
            pass
        elif isinstance(effect, InstallSnapshot):
            self._install(node, effect)

    def _stream(self, node: Node, effect: StreamSnapshot) -> None:
        last = node.applied[-1]
        index, configuration = node.configurations[-1]
        meta = SnapshotMeta((last.index, last.term), last.time_us, configuration, index)
        chunk = SnapshotChunk(node.replica.term, 77, meta, 0, b"state", True)
        self.messages.append((node.id, effect.to, chunk))

    def _install(self, node: Node, effect: InstallSnapshot) -> None:
        node.base = EntryId(*effect.meta.last)
        node.hard_state = effect.hard_state
        node.slots = {slot: held for slot, held in node.slots.items() if slot > node.base.index}
        giver = next(each for each in self.nodes.values() if each.replica.commit >= node.base.index)
        node.applied = [entry for entry in giver.applied if entry.index <= node.base.index]
        node.writes.append((effect.number, PersistAccepted(effect.number, (), None)))

    # --- what came of it --------------------------------------------------------------------------

    def data(self, id: int) -> list[bytes]:
        """The commands that a replica has applied."""
        return [entry.data for entry in self.nodes[id].applied if entry.kind == 1]

    def compact(self, id: int, through: int) -> None:
        """Throw the beginning of a log away."""
        node = self.nodes[id]
        node.base = node.replica.log.compact(through)
        node.slots = {slot: held for slot, held in node.slots.items() if slot > through}
