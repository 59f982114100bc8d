"""Real replicas over a network, disks and a clock that stand still until the scenario moves them.

Messages wait on their link, in order, until they are delivered. Nothing happens by itself: no
timer fires, no byte moves. After every step the invariants of Raft (paper, figure 3) are checked
over everything that ever happened, so a scenario fails where safety breaks, not only where it
looks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import msgspec

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    Apply,
    Effect,
    Entry,
    EntryId,
    EntryKind,
    InstallSnapshot,
    Outdated,
    Persist,
    ReadFailed,
    ReadReady,
    Retired,
    Send,
    SnapshotMeta,
    StageChunk,
    StreamSnapshot,
    Term,
)
from raycons.consensus.messages import SnapshotChunk
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import Appended, VoteReply
from raycons.consensus.raft.replica import RaftReplica

from .disk import Disk, Image, State
from .shown import kind

Link = tuple[ReplicaId, ReplicaId]
PIECE = 2  # commands in one piece of a snapshot
FAILED = -1


class Patience(Random):
    """Randomness that a scenario can foresee: replica n waits n tenths longer than the least."""

    def __init__(self, id: ReplicaId, incarnation: int) -> None:
        super().__init__(1000 * id + incarnation)
        self.share = 0.1 * id

    def random(self) -> float:
        return self.share


class Stream:
    """A snapshot on its way: one view of a leader's state, cut into pieces."""

    def __init__(self, id: int, meta: SnapshotMeta, state: State) -> None:
        self.id = id
        self.meta = meta
        self.sent = -1  # the newest piece that left; only that one, or the next, can be had
        self.pieces = [state[at : at + PIECE] for at in range(0, len(state), PIECE)] or [()]


class Node:
    """One replica, and the driver around it."""

    def __init__(self, id: ReplicaId, image: Image) -> None:
        self.id = id
        self.disk = Disk(image)
        self.incarnation = 0
        self.replica: RaftReplica | None = None  # None: crashed
        self.reset(image)

    def reset(self, image: Image) -> None:
        """Forget what was only in memory."""
        self.applied: list[tuple[Index, str]] = list(image.state)
        self.applied_last = image.base
        self.applied_time_us = image.base_time_us
        self.applied_configuration = (image.configuration_index, image.configuration)
        self.held_sends: list[Send] = []
        self.staging: tuple[int, list[tuple[Index, str]]] = (0, [])
        self.streams: dict[ReplicaId, Stream] = {}
        self.streams_opened = 0
        self.retired = ""
        self.outdated = ""
        self.reads: dict[int, Index] = {}  # by context: where it may be served, or FAILED


class World:
    """The group, and everything between its replicas."""

    def __init__(
        self,
        configuration: Configuration,
        settings: RaftSettings,
        software: Mapping[ReplicaId, int],
    ) -> None:
        self.configuration = configuration
        self.software = software  # the newest format that each handles, where it is not 1
        self.settings = settings
        self.now = 0.0
        self.nodes: dict[ReplicaId, Node] = {}
        self.queues: dict[Link, deque[Any]] = {}
        self.cut: set[Link] = set()  # what is sent here is lost
        self.held: set[Link] = set()  # what is sent here waits for an explicit delivery
        self.paused: set[ReplicaId] = set()
        self.together: ReplicaId = 0  # this replica's events are gathered into one drain
        self.delivered: Counter[tuple[Link, str]] = Counter()
        # What can never be taken back.
        self.leaders: dict[Term, ReplicaId] = {}
        self.committed: dict[Index, Entry] = {}
        self.committed_by: dict[Index, Term] = {}  # at the latest in this term
        self.votes: dict[tuple[Term, ReplicaId], ReplicaId] = {}

    # --- replicas ---------------------------------------------------------------------------------

    def add(self, id: ReplicaId, image: Image) -> None:
        """Make a replica with this disk, and start it."""
        self.nodes[id] = Node(id, image)
        self.start(id)

    def start(self, id: ReplicaId) -> None:
        """Start a replica on what its disk holds durably."""
        node = self.nodes[id]
        assert node.replica is None, f"replica {id} runs already"
        node.disk.crash()
        node.reset(node.disk.durable)
        node.incarnation += 1
        random = Patience(id, node.incarnation)
        version = self.software.get(id, 1)
        node.replica = RaftReplica(id, node.disk.start(), self.settings, random, self.now, version)

    def crash(self, id: ReplicaId) -> None:
        """A replica's process dies, and with it all that was not synced or was in flight to it."""
        node = self.nodes[id]
        node.replica = None
        node.disk.crash()
        for link in self.links():
            if id in link:
                self.queues[link].clear()

    def replica(self, id: ReplicaId) -> RaftReplica:
        """A running replica."""
        found = self.nodes[id].replica
        assert found is not None, f"replica {id} is down"
        return found

    def running(self) -> list[RaftReplica]:
        """All that run, by id."""
        return [node.replica for _, node in sorted(self.nodes.items()) if node.replica]

    # --- network ----------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        return sorted(self.queues)

    def queue(self, link: Link) -> deque[Any]:
        """What is on its way over a link, oldest first."""
        return self.queues.setdefault(link, deque())

    def send(self, sender: ReplicaId, effect: Send) -> None:
        """Put a message on its link, or lose it."""
        assert effect.to in self.nodes, f"replica {sender} sends {effect.message} to {effect.to}"
        self._check_word(self.nodes[sender], effect)
        link = (sender, effect.to)
        if link not in self.cut and self.nodes[effect.to].replica is not None:
            self.queue(link).append(effect.message)

    def deliver(self, link: Link, message: Any) -> None:
        """A message arrives."""
        self.delivered[link, kind(message)] += 1
        sender, receiver = link
        if self.nodes[receiver].replica is not None:
            self.replica(receiver).receive(sender, message, self.now)
            self.drain(receiver)

    def settle(self) -> None:
        """Deliver and sync until nothing moves any more."""
        for _ in range(2000):
            moved = False
            for link in self.links():
                queue = self.queues[link]
                if queue and link not in self.held and link[1] not in self.paused:
                    self.deliver(link, queue.popleft())
                    moved = True
            if not moved:
                return
        raise AssertionError("the replicas never come to rest")

    # --- time -------------------------------------------------------------------------------------

    def tick(self, id: ReplicaId) -> None:
        self.replica(id).tick(self.now)
        self.drain(id)

    def fire(self, id: ReplicaId) -> None:
        """Move the clock to a replica's next deadline, and wake only this replica."""
        self.now = max(self.now, self.replica(id).next_deadline())
        self.tick(id)

    def wait(self, seconds: float) -> None:
        """Let time pass, with every timer, delivery and sync in its turn."""
        end = self.now + seconds
        self.settle()
        for _ in range(10_000):
            awake = [each for each in self.running() if each.id not in self.paused]
            due = min(awake, key=lambda each: (each.next_deadline(), each.id), default=None)
            if due is None or due.next_deadline() > end:
                self.now = end
                return
            self.now = max(self.now, due.next_deadline())
            self.tick(due.id)
            self.settle()
        raise AssertionError("timers fire without end")

    # --- the driver -------------------------------------------------------------------------------

    def drain(self, id: ReplicaId) -> None:
        """Carry out a replica's effects, and sync its disk unless it is held."""
        if self.together == id:
            return
        node = self.nodes[id]
        for _ in range(100):
            for effect in self.replica(id).drain(self.now):
                self._perform(node, effect)
            for peer in list(node.streams):
                if not self.replica(id).streams_to(peer):
                    del node.streams[peer]
            if node.disk.held or not node.disk.unsynced:
                self._check_figure_3()
                return
            self.sync(id, node.disk.unsynced)
        raise AssertionError(f"replica {id} writes without end")

    def sync(self, id: ReplicaId, count: int) -> None:
        """The oldest `count` writes are on disk; the replica hears of it, not yet drained."""
        node = self.nodes[id]
        number = node.disk.sync(count)
        self.replica(id).durable(number, self.now)
        ready = [send for send in node.held_sends if send.after <= number]
        node.held_sends = [send for send in node.held_sends if send.after > number]
        for send in ready:
            self.send(id, send)

    def _perform(self, node: Node, effect: Effect) -> None:
        match effect:
            case Persist():
                node.disk.write(effect.number, node.disk.current.persisted(effect))
            case Send():
                if effect.after > self.replica(node.id).durable_number:
                    node.held_sends.append(effect)
                else:
                    self.send(node.id, effect)
            case Apply():
                for entry in effect.entries:
                    self._apply(node, entry)
            case ReadReady():
                assert effect.context not in node.reads, "a read was answered twice"
                node.reads[effect.context] = effect.index
            case ReadFailed():
                assert effect.context not in node.reads, "a read was answered twice"
                node.reads[effect.context] = FAILED
            case StageChunk():
                if effect.sequence == 0:
                    node.staging = (effect.snapshot, [])
                assert node.staging[0] == effect.snapshot, "pieces of two snapshots were mixed"
                node.staging[1].extend(msgspec.msgpack.decode(effect.data, type=State))
            case InstallSnapshot():
                self._install(node, effect)
            case StreamSnapshot():
                self._stream(node, effect)
            case Retired():
                node.retired = effect.reason
            case Outdated():
                node.outdated = f"{effect.group} above {effect.handled}"

    def _apply(self, node: Node, entry: Entry) -> None:
        assert entry.index == node.applied_last.index + 1, "entries are applied in order"
        held = node.disk.current.term(entry.index)
        assert held == entry.term, f"replica {node.id} applies {entry.id} before it is written"
        known = self.committed.setdefault(entry.index, entry)
        self.committed_by.setdefault(entry.index, self.replica(node.id).term)
        assert known == entry, f"state machine safety: {known} and {entry} at {entry.index}"
        node.applied_last, node.applied_time_us = entry.id, entry.time_us
        if entry.kind == EntryKind.COMMAND:
            node.applied.append((entry.index, entry.data.decode()))
        elif entry.kind == EntryKind.CONFIGURATION:
            configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
            node.applied_configuration = (entry.index, configuration)

    def _install(self, node: Node, effect: InstallSnapshot) -> None:
        assert node.staging[0] == effect.snapshot
        state = tuple(node.staging[1])
        expected = tuple(
            (index, entry.data.decode())
            for index, entry in sorted(self.committed.items())
            if index <= effect.meta.last[0] and entry.kind == EntryKind.COMMAND
        )
        assert state[-len(expected) :] == expected if expected else not state
        node.disk.write(effect.number, node.disk.current.installed(effect, state))
        node.applied, node.applied_last = list(state), EntryId(*effect.meta.last)
        node.applied_time_us = effect.meta.time_us
        node.applied_configuration = (effect.meta.configuration_index, effect.meta.configuration)

    def _stream(self, node: Node, effect: StreamSnapshot) -> None:
        stream = node.streams.get(effect.to)
        if stream is not None and effect.snapshot and effect.snapshot != stream.id:
            return  # an answer about a stream of the past
        if (
            stream is None
            or not effect.snapshot
            or effect.sequence not in (stream.sent, stream.sent + 1)
        ):
            node.streams_opened += 1
            index, configuration = node.applied_configuration
            meta = SnapshotMeta(node.applied_last, node.applied_time_us, configuration, index)
            # Named after the node, its incarnation and a count, so that no name comes twice.
            name = node.id * 10_000 + node.incarnation * 100 + node.streams_opened
            stream = node.streams[effect.to] = Stream(name, meta, tuple(node.applied))
        sequence = stream.sent = effect.sequence if effect.snapshot == stream.id else 0
        data = msgspec.msgpack.encode(stream.pieces[sequence])
        final = sequence == len(stream.pieces) - 1
        term = self.replica(node.id).term
        chunk = SnapshotChunk(term, stream.id, stream.meta, sequence, data, final)
        self.send(node.id, Send(effect.to, chunk))

    def compact(self, id: ReplicaId, through: Index) -> None:
        """Give a replica's state to its disk, and cut the log up to `through`."""
        node, replica = self.nodes[id], self.replica(id)
        state = tuple(pair for pair in node.applied if pair[0] <= through)
        configurations = [
            (index, configuration)
            for index, configuration in [
                (node.disk.current.configuration_index, node.disk.current.configuration),
                node.applied_configuration,
            ]
            if index <= through
        ]
        assert through <= replica.applied
        base = replica.log.compact(through)
        node.disk.write_behind(node.disk.current.compacted(base, state, configurations[-1]))

    # --- invariants -------------------------------------------------------------------------------

    def _check_word(self, node: Node, effect: Send) -> None:
        """What a replica gives its word for is on its disk."""
        durable, message = node.disk.durable, effect.message
        assert durable.hard_state.term >= message.term, f"{message} speaks of an unwritten term"
        if isinstance(message, VoteReply) and message.granted:
            key = (message.term, node.id)
            assert self.votes.setdefault(key, effect.to) == effect.to, f"{node.id} voted twice"
            if durable.hard_state.term == message.term:
                assert durable.hard_state.vote == effect.to, "a vote left before it was durable"
        if isinstance(message, Appended):
            assert message.matched <= durable.last.index, f"{message} is not on disk"
            theirs = self.nodes[effect.to].replica
            if theirs is not None and theirs.role == "leader" and theirs.term == message.term:
                term = theirs.log.term(message.matched)
                mine = durable.term(message.matched)
                assert term is None or mine is None or mine == term, f"{message}: logs differ"

    def _check_figure_3(self) -> None:
        for replica in self.running():
            if replica.role != "leader":
                continue
            known = self.leaders.setdefault(replica.term, replica.id)
            assert known == replica.id, f"election safety: {known}, {replica.id} in {replica.term}"
            for index, entry in self.committed.items():
                # Leader completeness, for the leaders of later terms.
                held = replica.log.term(index)
                if self.committed_by[index] < replica.term and index > replica.log.base.index:
                    assert held == entry.term, f"leader {replica.id} lacks {entry.id}"
        self._check_log_matching(self.running())

    def _check_log_matching(self, replicas: Iterable[RaftReplica]) -> None:
        images = [self.nodes[replica.id].disk.current for replica in replicas]
        for left in images:
            for right in images:
                agree = False
                last = min(left.last.index, right.last.index)
                for index in range(last, max(left.base.index, right.base.index), -1):
                    mine = left.entries[index - left.base.index - 1]
                    theirs = right.entries[index - right.base.index - 1]
                    agree = agree or mine.term == theirs.term
                    assert not agree or mine == theirs, f"log matching: {mine} and {theirs}"
