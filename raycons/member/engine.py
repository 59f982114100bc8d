"""A member's engine: turns a replica's effects into orders to store, transport and machine.

Pure: no clock, no thread, no socket, no Ray. The member's shell runs it on an event loop; the
simulator runs the same object on a virtual one.

    events                                   effects of the replica
    receive, client, durable, tick, ...      Persist        -> store.write, ports.sync
        |                                    Send           -> ports.send, when its write is durable
        v                                    Apply          -> machine.apply, answers to clients
    replica --drain, once a turn-->          ReadReady      -> machine.query
                                             StageChunk, InstallSnapshot, StreamSnapshot

`end_of_turn` carries out the effects of all events since the last one. It must be called after
every event, or every batch of events that came together; only an answer, of a follower or of the
disk, needs none where it leaves nothing to do (`owes_turn`).

Writing and applying take longer than all the rest, so what was sent is let go before either. A
follower applies when its disk has taken up what it was given last, or 20 ms later: applying holds
the interpreter's lock, without which no thread can begin a sync (where threads do), and a core that
the leader may want. The leader applies at once, for it has someone to answer.

Applied state is written behind (see `applier` and `state`), and the log stays above what the store
holds of it durably, so a restart replays at most the last moments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    NEVER,
    Apply,
    EntryId,
    InstallSnapshot,
    Outdated,
    Persist,
    PersistAccepted,
    ReadFailed,
    ReadReady,
    Retired,
    RoleChanged,
    Send,
    StageChunk,
    StreamSnapshot,
)
from raycons.consensus.quorum import Index, ReplicaId
from raycons.machines.contract import Machine, State
from raycons.member.applier import MACHINE, VERSION, Applier, OutdatedRelease
from raycons.member.layout import bootstrap, identity_of
from raycons.member.ports import Ports
from raycons.member.protocol import (
    Inspected,
)
from raycons.member.protocols import ANSWERS, PROTOCOLS
from raycons.member.report import describe
from raycons.member.requests import Requests
from raycons.member.service import Addresses, Service
from raycons.member.streams import Streams
from raycons.store.contract import Store
from raycons.transport.contract import ClientId

__all__ = ["ANSWERS", "Engine", "bootstrap"]

DUE_INTERVAL_S = 1.0  # how often a leader asks its machine whether something is due
CHUNKS_BEFORE_VIEW = 2  # written in one turn, so that a view opens though writes go on

_encode = msgspec.msgpack.Encoder().encode


class Engine:
    """One replica of one group, with its log, its state and its clients."""

    def __init__(
        self,
        *,
        group: int,
        store: Store,
        make_machine: Callable[[State], Machine],
        ports: Ports,
        raft: RaftSettings,
        member: MemberSettings,
        random: Random,
        now: float,
        version: int = VERSION,
    ) -> None:
        """Open the group's replica in `store`, made before by `bootstrap`.

        `version` is the newest format that this release handles.

        Raises StoreCorrupt where the store's records do not fit together, OutdatedRelease where the
        group's version is above ours.
        """
        self.group = group
        self.settings = member
        self._store = store
        self._ports = ports
        self.identity = identity_of(store, group)
        protocol = PROTOCOLS[self.identity.protocol]
        self._peer_messages = protocol.messages
        self._ledger = protocol.ledger(store, group, member)
        _, configuration = self._ledger.start.configurations[-1]
        if configuration.version > version:
            raise OutdatedRelease(configuration.version, version)
        self._state = self._ledger.state
        self._machine = make_machine(self._state)
        self._machine.load()
        self.replica = protocol.replica(
            self.identity.id, self._ledger.start, raft, random, now, version
        )

        self._requests = Requests(ports)
        self._held: deque[Send] = deque()  # sends that wait for the disk, in the order of writes
        self._disk_idle = True  # or busy with a write that began before what it was last asked for

        # Deadlines of the engine's own.
        self._due_at = NEVER
        self._due_proposed: Index = 0

        self.snapshots_installed = 0
        self.messages_ignored = 0  # known to this version, but not what the sender should say
        self._applier = Applier(self._ledger, self._machine, self._requests, ports, member, version)
        self._streams = Streams(
            self.replica, self._state, self._machine, ports, random, member.snapshot_chunk_bytes
        )
        self._service = Service(
            self.replica,
            self._machine,
            self._state,
            self._requests,
            self._streams,
            ports,
            self.status,
            member.max_pending_reads,
        )

    # --- events -----------------------------------------------------------------------------------

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """A message from a peer arrived; one that peers do not say is counted and skipped."""
        if type(message) in self._peer_messages:
            self.replica.receive(sender, message, now)
        else:
            self.messages_ignored += 1

    def may_need_no_turn(self, message: Any) -> bool:
        """See GroupEngine: a follower's answer may leave nothing to do."""
        return type(message) in ANSWERS

    def client_connected(self, client: ClientId) -> None:
        """A client can be sent to: tell it who leads."""
        self._service.connected(client)

    def client_gone(self, client: ClientId) -> None:
        """A client's connection ended."""
        self._service.gone(client)

    def client(self, client: ClientId, message: Any, now: float) -> None:
        """A message from a client arrived; one that clients do not say is counted and skipped."""
        if not self._service.asked(client, message, now):
            self.messages_ignored += 1

    def know(self, addresses: Addresses) -> None:
        """Where the members listen now: told to every client."""
        self._service.know(addresses)

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended, and it was not us who closed it."""
        self.replica.connection_lost(peer, now)

    def durable(self, number: int, now: float) -> None:
        """Everything written up to write `number` is on disk."""
        self._disk_idle = True
        self.replica.durable(number, now)
        held = self._held
        while held and held[0].after <= number:
            send = held.popleft()
            self._ports.send(send.to, send.message)
        ledger = self._ledger
        needed_after = self._streams.needed_after(now) if ledger.log_is_long else 0
        cut = ledger.durable(number, needed_after)
        if cut is not None:
            fields = {"through": cut, "log_bytes": self._ledger.log_bytes}
            self._ports.event("log-compacted", fields)

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""
        replica = self.replica
        replica.tick(now)
        if now >= self._due_at:
            self._propose_due(now)
        if self._requests.transferring and replica.role == "leader" and not replica.transferee:
            self._requests.transfers_ended(0)

    def next_deadline(self) -> float:
        """When `tick` and `end_of_turn` should be called next if nothing else happens before."""
        if self._streams.working:
            return 0.0
        applier = self._applier
        return min(
            self.replica.next_deadline(), applier.apply_at, applier.write_out_at, self._due_at
        )

    @property
    def owes_turn(self) -> bool:
        """Whether the last event, an answer of a follower or of the disk, left something to do."""
        return self.replica.pending or self._applier.waiting

    @property
    def leads(self) -> bool:
        """See GroupEngine."""
        role: str = self.replica.role
        return role == "leader"

    def end_of_turn(self, now: float) -> None:
        """Carry out the effects of all events since the last call."""
        for effect in self.replica.drain(now):
            _PERFORM[type(effect)](self, effect, now)
        if self._ledger.staging and not self.replica.incoming:
            self._ledger.unstage()
        applier = self._applier
        if applier.waiting and (
            self._disk_idle
            or self.replica.role == "leader"
            or self._requests.reads
            or now >= applier.apply_at
        ):
            applier.apply(now)
        if self._requests.reads:
            self._service.serve_reads()
        if now >= applier.write_out_at:
            applier.write_out(now)
        if self._streams.working:
            self._work_on_views(now)
        self._streams.drop_unwanted()

    def shutdown(self) -> None:
        """An orderly end: give the state to the store, so that hardly anything is replayed."""
        self._applier.shutdown()
        self._streams.close()

    # --- effects ----------------------------------------------------------------------------------

    def _persist(self, effect: Persist | PersistAccepted, now: float) -> None:
        self._ports.flush()
        self._ledger.persist(effect)
        self._ports.sync(effect.number)
        self._disk_idle = False

    def _send(self, effect: Send, now: float) -> None:
        if effect.after <= self.replica.durable_number:
            self._ports.send(effect.to, effect.message)
        else:
            self._held.append(effect)

    def _apply(self, effect: Apply, now: float) -> None:
        self._applier.add(effect.entries, now)

    def _read_ready(self, effect: ReadReady, now: float) -> None:
        self._requests.confirm_read(effect.context, effect.index)

    def _read_failed(self, effect: ReadFailed, now: float) -> None:
        self._requests.fail_read(effect.context, self.replica.leader, effect.reason)

    def _role_changed(self, effect: RoleChanged, now: float) -> None:
        if effect.role != "leader":
            while self._requests.commands and self._applier.waiting:
                self._applier.apply(now)  # who waits for what was committed is answered before
        fields = effect._asdict()
        self._ports.event("role-changed", fields)
        if effect.role == "leader":
            self._due_at = now + DUE_INTERVAL_S
        else:
            self._due_at = NEVER
            self._due_proposed = 0
            self._requests.leadership_lost(effect.leader)
        if effect.leader:
            self._requests.transfers_ended(effect.leader)
            self._service.tell_leader(effect.term, effect.leader)

    def _retired(self, effect: Retired, now: float) -> None:
        self._held.clear()
        self._ports.event("retired", {"reason": effect.reason})

    def _outdated(self, effect: Outdated, now: float) -> None:
        raise OutdatedRelease(effect.group, effect.handled)

    def _stage_chunk(self, effect: StageChunk, now: float) -> None:
        self._ledger.stage(effect)
        self._streams.received(effect.sequence, len(effect.data))

    def _install_snapshot(self, effect: InstallSnapshot, now: float) -> None:
        self._ledger.install(effect)
        self._ports.sync(effect.number)
        self._applier.snapshot_installed()
        self.snapshots_installed += 1
        self._streams.installed()
        index, term = effect.meta.last
        self._ports.event("snapshot-installed", {"index": index, "term": term})

    def _stream_snapshot(self, effect: StreamSnapshot, now: float) -> None:
        self._streams.request(effect)

    # --- what reads the whole state -------------------------------------------------------------

    def _work_on_views(self, now: float) -> None:
        """Open views as soon as the store holds everything applied; do a slice of a digest."""
        if self._streams.wanting:
            for _ in range(CHUNKS_BEFORE_VIEW):
                if self._state.pending_chunks():
                    self._applier.write_out(now)
            if not self._state.pending_chunks():
                self._streams.open_views(self._ledger.snapshot_meta())
        task = self._streams.continue_digest()
        if task is not None:
            status = self.status(now)
            status["digest"] = task.digest.hexdigest()
            status["digest_at"] = task.applied
            status["digest_records"] = task.digest.counted
            self._ports.respond(task.client, Inspected(task.request, _encode(status)))

    # --- what the machine wants -------------------------------------------------------------------

    def _propose_due(self, now: float) -> None:
        """Put into the log what the machine says is due: one command at a time."""
        replica = self.replica
        if replica.role != "leader":
            self._due_at = NEVER
            return
        self._due_at = now + DUE_INTERVAL_S
        if self._due_proposed > self._state.applied[0] or replica.commit < replica.term_start:
            return
        data = self._machine.due(replica.replicated_time_us(now))
        if data is not None:
            outcome = replica.propose(data, MACHINE, self.configuration.version, now)
            if isinstance(outcome, EntryId):
                self._due_proposed = outcome.index
                self._due_at = now + self.settings.due_pause_s

    # --- status -----------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """Whom this replica talks to: the latest one, and who else decides until it is in force."""
        return self.replica.listed

    def status(self, now: float) -> dict[str, Any]:
        """What this replica knows of itself and, when it leads, of its followers; JSON-able."""
        return {
            **describe(self.replica, now),
            "applied": self._state.applied[0],
            "applied_in_store": self._state.applied_in_store[0],
            "log_bytes": self._ledger.log_bytes,
            "store_bytes": self._store.size_bytes(),
            "pending_commands": len(self._requests.commands),
            "pending_reads": len(self._requests.reads),
            "clients": self._service.clients,
            "snapshots_sent": self._streams.snapshots_sent,
            "snapshots_installed": self.snapshots_installed,
            "snapshot_bytes_moved": self._streams.bytes_moved,
            "last_snapshot_bytes": self._streams.last_snapshot_bytes,
            "messages_ignored": self.messages_ignored,
            "lag_s": self._service.lag_s(now) if self.replica.leader else None,
        }


_PERFORM: dict[type, Callable[[Engine, Any, float], None]] = {
    Persist: Engine._persist,
    PersistAccepted: Engine._persist,
    Send: Engine._send,
    Apply: Engine._apply,
    ReadReady: Engine._read_ready,
    ReadFailed: Engine._read_failed,
    StageChunk: Engine._stage_chunk,
    InstallSnapshot: Engine._install_snapshot,
    StreamSnapshot: Engine._stream_snapshot,
    RoleChanged: Engine._role_changed,
    Retired: Engine._retired,
    Outdated: Engine._outdated,
}
