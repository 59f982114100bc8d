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
every event, or every batch of events that came together.

Applied state is written behind: at most `write_behind_s` later, in chunks that end at an entry's
end, each with a header that names that entry. The log stays above what the store holds of the
state durably, so a restart replays at most the last moments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import msgspec

from raycons.config import MemberSettings, RaftSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import (
    Apply,
    Entry,
    EntryId,
    EntryKind,
    InstallSnapshot,
    Persist,
    ReadFailed,
    ReadReady,
    Refusal,
    Retired,
    RoleChanged,
    Send,
    SnapshotMeta,
    StageChunk,
    StreamSnapshot,
)
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft import membership
from raycons.consensus.raft.core import NEVER, Start
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.messages import SnapshotChunk
from raycons.consensus.raft.replica import RaftReplica
from raycons.machines.contract import Command, Machine, State
from raycons.member.layout import Keys, LogBase, StateHeader, bootstrap, put_entries, restore
from raycons.member.ports import Ports
from raycons.member.protocol import (
    Action,
    Add,
    Answer,
    Code,
    Inspect,
    Inspected,
    Leader,
    Manage,
    Managed,
    Read,
    ReadLevel,
    Remove,
    Reserve,
    Submit,
    Transfer,
)
from raycons.member.regions import sweep
from raycons.member.requests import Requests, Waiting, WaitingChange
from raycons.member.state import WriteBehindState
from raycons.member.state_view import Digest, Staging
from raycons.member.streams import DigestTask, SnapshotStream, Streams
from raycons.store.contract import Batch, Space, Store
from raycons.transport.contract import ClientId

__all__ = ["Engine", "bootstrap"]

DUE_INTERVAL_S = 1.0  # how often a leader asks its machine whether something is due
LOG_MARKS = 16  # places of the log whose size is noted between two compactions
VERSION = 1

_encode = msgspec.msgpack.Encoder().encode
_CODES = {
    "not-leader": Code.NOT_LEADER,
    "transferring": Code.UNAVAILABLE,
    "overloaded": Code.OVERLOADED,
    "configuration-changed": Code.CONFIGURATION_CHANGED,
    "change-in-progress": Code.CHANGE_IN_PROGRESS,
    "no-such-member": Code.NO_SUCH_MEMBER,
    "last-voter": Code.LAST_VOTER,
    "invalid": Code.INVALID,
}


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
    ) -> None:
        """Open the group's replica in `store`, made before by `bootstrap`.

        Raises StoreCorrupt where its records do not fit together.
        """
        self.group = group
        self.settings = member
        self._store = store
        self._ports = ports
        self._random = random
        self._keys = Keys(group)
        found = restore(store, group)
        self.identity = found.identity
        header = found.header
        sweep(store, group, header.generation)

        self._state = WriteBehindState(
            store,
            group,
            header.generation,
            header_key=self._keys.state,
            applied=(header.index, header.term),
        )
        self._machine = make_machine(self._state)
        self._machine.load()
        self._applied_configurations = [(header.configuration_index, header.configuration)]
        self._applied_time_us = found.base.time_us

        self.replica = RaftReplica(
            found.identity.id,
            Start(
                found.hard_state,
                Log(
                    found.reader,
                    EntryId(found.base.index, found.base.term),
                    found.base.time_us,
                    found.terms,
                    found.last,
                    found.tail,
                ),
                found.configurations,
                header.index,
            ),
            raft,
            random,
            now,
        )
        self._terms = found.terms

        self._requests = Requests(ports)
        self._clients: set[ClientId] = set()
        self.addresses: tuple[tuple[ReplicaId, str, int], ...] = ()
        self._held: deque[Send] = deque()  # sends that wait for the disk, in the order of writes

        # The log's size, and where it may be cut.
        tail_bytes = sum(len(entry.data) + 32 for entry in found.tail)
        self._log_bytes = header.log_bytes + tail_bytes
        self._log_bytes_at: deque[tuple[Index, int]] = deque()  # (index, log size there)
        self._unsynced_state: Index = 0  # the state is written so far, but not yet known synced
        self._synced_with: int = 0  # the write whose durability tells
        self._durable_state: Index = header.index

        # Deadlines of the engine's own.
        self._write_out_at = NEVER
        self._due_at = NEVER
        self._due_proposed: Index = 0

        # Whole states: coming in, going out, digested.
        self._staging: tuple[int, Staging] | None = None
        self._sweep_after: int = 0  # old generations go when this write is durable
        self._streams = Streams()
        self._digests_wanted: list[tuple[ClientId, int]] = []
        self._digests: list[DigestTask] = []
        self.snapshots_sent = 0
        self.snapshots_installed = 0

    # --- events -----------------------------------------------------------------------------------

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """A message from a peer arrived."""
        self.replica.receive(sender, message, now)

    def client_connected(self, client: ClientId) -> None:
        """A client can be sent to: tell it who leads."""
        self._clients.add(client)
        self._ports.respond(client, self._leader_message())

    def client_gone(self, client: ClientId) -> None:
        """A client's connection ended."""
        self._clients.discard(client)
        self._requests.forget_client(client)

    def client(self, client: ClientId, message: Any, now: float) -> None:
        """A message from a client arrived."""
        kind = type(message)
        if kind is Submit:
            self._submit(client, message, now)
        elif kind is Read:
            self._read(client, message, now)
        elif kind is Manage:
            self._manage(client, message, now)
        elif kind is Inspect:
            self._inspect(client, message, now)

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended, and it was not us who closed it."""
        self.replica.connection_lost(peer, now)

    def durable(self, number: int, now: float) -> None:
        """Everything written up to write `number` is on disk."""
        self.replica.durable(number, now)
        held = self._held
        while held and held[0].after <= number:
            send = held.popleft()
            self._ports.send(send.to, send.message)
        if self._synced_with and number >= self._synced_with:
            self._durable_state = max(self._durable_state, self._unsynced_state)
            self._synced_with = 0
            self._compact_log()
        if self._sweep_after and number >= self._sweep_after:
            self._sweep_after = 0
            if self._staging is None:
                sweep(self._store, self.group, self._state.generation)

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
        deadline = min(self.replica.next_deadline(), self._write_out_at, self._due_at)
        if self._streams.wanted or self._digests_wanted or self._digests:
            return 0.0
        return deadline

    def end_of_turn(self, now: float) -> None:
        """Carry out the effects of all events since the last call."""
        for effect in self.replica.drain(now):
            _PERFORM[type(effect)](self, effect, now)
        if self._requests.reads:
            self._serve_reads(now)
        if now >= self._write_out_at:
            self._write_out(now)
        if self._streams.wanted or self._digests_wanted:
            self._open_views(now)
        if self._digests:
            self._continue_digest(now)
        for peer in [peer for peer in self._streams.open if not self.replica.streams_to(peer)]:
            self._streams.drop(peer)

    def shutdown(self) -> None:
        """An orderly end: give the whole state to the store, so that nothing is replayed."""
        while self._state.write_out(self._header) is not None:
            pass
        self._streams.drop_all()
        for task in self._digests:
            task.view.close()
        self._digests = []

    # --- what clients ask -------------------------------------------------------------------------

    def _submit(self, client: ClientId, message: Submit, now: float) -> None:
        outcome = self.replica.propose(message.payload, message.machine, VERSION, now)
        if type(outcome) is EntryId:
            waiting = Waiting(outcome.term, client, message.request)
            self._requests.commands[outcome.index] = waiting
        else:
            self._refuse(client, message.request, outcome)

    def _refuse(self, client: ClientId, request: int, outcome: Any, message: str = "") -> None:
        code = _CODES[outcome.reason]
        self._requests.refuse(client, request, code, outcome.leader, message or outcome.reason)

    def _read(self, client: ClientId, message: Read, now: float) -> None:
        if message.level == ReadLevel.STALE:
            body = self._machine.query(message.payload)
            self._ports.respond(client, Answer(message.request, body, self._lag_s(now)))
            return
        if len(self._requests.reads) >= self.settings.max_pending_reads:
            leader = self.replica.leader
            self._requests.refuse(client, message.request, Code.OVERLOADED, leader)
            return
        self.replica.read(self._requests.add_read(client, message), now)

    def _lag_s(self, now: float) -> float:
        """For how long a state read now may have been out of date."""
        replica = self.replica
        return 0.0 if replica.role == "leader" else max(0.0, now - replica.leader_heard_at)

    def _serve_reads(self, now: float) -> None:
        for client, read in self._requests.take_readable(self._state.applied[0]):
            self._ports.respond(client, Answer(read.request, self._machine.query(read.payload)))

    def _manage(self, client: ClientId, message: Manage, now: float) -> None:
        action = message.action
        if isinstance(action, Transfer):
            self._transfer(client, message.request, action, now)
            return
        try:
            change, value, finished = self._change(action)
            outcome = self.replica.propose_change(change, message.based_on, now)
        except membership.BadChange as error:
            refusal = Refusal(error.code, self.replica.leader)
            self._refuse(client, message.request, refusal, str(error))
            return
        if isinstance(outcome, EntryId):
            self._requests.add_change(
                WaitingChange(outcome, client, message.request, value, finished)
            )
        else:
            self._refuse(client, message.request, outcome)

    def _change(
        self, action: Action
    ) -> tuple[Callable[[Configuration], Configuration], int, Callable[[Configuration], bool]]:
        """The change that an action asks for, the value of its answer, and when it is finished."""
        if isinstance(action, Reserve):
            return membership.reserve, self.configuration.next_id, lambda _: True
        if isinstance(action, Add):
            role = Role.JOINING if action.voter else Role.LEARNER
            joiner = Peer(action.id, action.nonce, role, replaces=action.replaces, host=action.host)
            return partial(membership.add, joiner=joiner), action.id, lambda _: True
        assert isinstance(action, Remove)
        id = action.id
        return (
            partial(membership.remove, id=id),
            id,
            lambda configuration: not configuration.joint and id not in configuration.ids,
        )

    def _transfer(self, client: ClientId, request: int, action: Transfer, now: float) -> None:
        if self.replica.role == "leader" and action.to == self.replica.id:
            self._ports.respond(client, Managed(request, 0, action.to))
            return
        refusal = self.replica.transfer(action.to, now)
        if refusal is None:
            self._requests.add_transfer(client, request)
        else:
            self._refuse(client, request, refusal)

    def _inspect(self, client: ClientId, message: Inspect, now: float) -> None:
        if message.digest:
            self._digests_wanted.append((client, message.request))
        else:
            self._ports.respond(client, Inspected(message.request, _encode(self.status(now))))

    def _leader_message(self) -> Leader:
        return Leader(self.replica.term, self.replica.leader, self.addresses)

    def know(self, addresses: tuple[tuple[ReplicaId, str, int], ...]) -> None:
        """Where the members listen now: told to every client."""
        self.addresses = addresses
        for client in self._clients:
            self._ports.respond(client, self._leader_message())

    # --- effects ----------------------------------------------------------------------------------

    def _persist(self, effect: Persist, now: float) -> None:
        keys = self._keys
        batch = Batch()
        if effect.truncate_from:
            batch.delete_range(Space.LOG, keys.entry(effect.truncate_from), keys.log_end)
            self._terms = [start for start in self._terms if start[0] < effect.truncate_from]
        if effect.entries:
            self._log_bytes += put_entries(batch, keys, effect.entries)
        if effect.term_starts or effect.truncate_from:
            self._terms += effect.term_starts
            batch.put(Space.META, keys.terms, _encode(self._terms))
        if effect.hard_state is not None:
            batch.put(Space.META, keys.hard_state, _encode(effect.hard_state))
        self._write(batch, effect.number)

    def _write(self, batch: Batch, number: int) -> None:
        self._store.write(batch)
        if self._unsynced_state > self._durable_state and not self._synced_with:
            self._synced_with = number  # what was written before becomes durable with this write
        self._ports.sync(number)

    def _send(self, effect: Send, now: float) -> None:
        if effect.after <= self.replica.durable_number:
            self._ports.send(effect.to, effect.message)
        else:
            self._held.append(effect)

    def _apply(self, effect: Apply, now: float) -> None:
        state, apply = self._state, self._machine.apply
        commands = self._requests.commands
        for entry in effect.entries:
            if entry.kind == EntryKind.COMMAND:
                body = apply(
                    Command(entry.index, entry.term, entry.time_us, entry.version, entry.data)
                )
                if commands:
                    self._requests.answer_command(entry.index, entry.term, body)
            elif entry.kind == EntryKind.CONFIGURATION:
                self._configuration_applied(entry)
            state.end_entry(entry.index, entry.term)
        self._applied_time_us = effect.entries[-1].time_us
        if self._write_out_at == NEVER:
            self._write_out_at = now + self.settings.write_behind_s
        elif state.pending_bytes > self.settings.max_unwritten_bytes:
            self._write_out_at = now

    def _configuration_applied(self, entry: Entry) -> None:
        configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        self._applied_configurations.append((entry.index, configuration))
        self._requests.configuration_applied(entry.id, configuration)
        me = self.identity.id
        members = {str(peer.id): peer.role.name.lower() for peer in configuration.peers}
        fields = {"index": entry.index, "joint": configuration.joint, "members": members}
        self._ports.event("configuration", fields)
        if not configuration.joint and me not in configuration.ids and configuration.peers:
            self._ports.event("removed", {"index": entry.index})

    def _read_ready(self, effect: ReadReady, now: float) -> None:
        self._requests.confirm_read(effect.context, effect.index)

    def _read_failed(self, effect: ReadFailed, now: float) -> None:
        self._requests.fail_read(effect.context, self.replica.leader, effect.reason)

    def _role_changed(self, effect: RoleChanged, now: float) -> None:
        fields = effect._asdict()
        self._ports.event("role-changed", fields)
        if effect.role == "leader":
            self._due_at = now + DUE_INTERVAL_S
        else:
            self._due_at = NEVER
            self._due_proposed = 0
            self._requests.leadership_lost(effect.leader)
            self._streams.drop_all()
        if effect.leader:
            self._requests.transfers_ended(effect.leader)
            message = Leader(effect.term, effect.leader, self.addresses)
            for client in self._clients:
                self._ports.respond(client, message)

    def _retired(self, effect: Retired, now: float) -> None:
        self._held.clear()
        self._ports.event("retired", {"reason": effect.reason})

    # --- the state in the store -------------------------------------------------------------------

    def _header(self, index: Index, term: int) -> bytes:
        known = self._applied_configurations
        while len(known) > 1 and known[1][0] <= index:
            known.pop(0)
        configuration_index, configuration = known[0]
        return _encode(
            StateHeader(
                self._state.generation,
                index,
                term,
                configuration_index,
                configuration,
                self._log_bytes,
            )
        )

    def _write_out(self, now: float) -> None:
        """Write one chunk; the next one in the next turn, so that no commit waits for all."""
        written = self._state.write_out(self._header)
        if written is not None:
            self._unsynced_state = written[0]
            self._mark_log(written[0])
        if self._state.pending_chunks() > 1 or self._streams.wanted:
            self._write_out_at = now
        elif self._state.pending_chunks():
            self._write_out_at = now + self.settings.write_behind_s
        else:
            self._write_out_at = NEVER

    def _mark_log(self, index: Index) -> None:
        """Note how large the log was when the state held `index`, for cutting it there later."""
        marks = self._log_bytes_at
        step = self.settings.log_limit_bytes // LOG_MARKS
        if not marks or self._log_bytes - marks[-1][1] >= step:
            marks.append((index, self._log_bytes))

    def _compact_log(self) -> None:
        """Cut the older half of a log that is too long, where the state holds it durably.

        The newer half stays, so that a follower that was away for a moment needs no snapshot.
        """
        limit = self.settings.log_limit_bytes
        if self._log_bytes <= limit:
            return
        marks = self._log_bytes_at
        through, size = 0, 0
        while marks and marks[0][0] <= self._durable_state and marks[0][1] <= self._log_bytes:
            if through and self._log_bytes - marks[0][1] < limit // 2:
                break
            through, size = marks.popleft()
        if through <= self.replica.log.base.index:
            return
        self._cut_log(through, size)

    def _cut_log(self, through: Index, size: int) -> None:
        keys = self._keys
        first = self.replica.log.base.index + 1
        base = self.replica.compact(through)
        batch = Batch()
        batch.delete_range(Space.LOG, keys.entry(first), keys.entry(through + 1))
        time_us = self.replica.log.base_time_us
        batch.put(Space.META, keys.log_base, _encode(LogBase(base.index, base.term, time_us)))
        self._terms = self.replica.log.term_starts()
        batch.put(Space.META, keys.terms, _encode(self._terms))
        self._store.write(batch)
        self._log_bytes -= size
        self._log_bytes_at = deque((index, at - size) for index, at in self._log_bytes_at)
        self._ports.event("log-compacted", {"through": through, "log_bytes": self._log_bytes})

    # --- snapshots coming in ----------------------------------------------------------------------

    def _stage_chunk(self, effect: StageChunk, now: float) -> None:
        if effect.sequence == 0:
            generation = self._state.generation + 1
            self._staging = effect.snapshot, Staging(self._store, self.group, generation)
        assert self._staging is not None and self._staging[0] == effect.snapshot
        self._staging[1].add(effect.data)

    def _install_snapshot(self, effect: InstallSnapshot, now: float) -> None:
        """Flip to the staged generation, in one batch with all that must change together."""
        assert self._staging is not None and self._staging[0] == effect.snapshot
        generation = self._staging[1].generation
        self._staging = None
        keys, meta = self._keys, effect.meta
        index, term = meta.last
        self._applied_configurations = [(meta.configuration_index, meta.configuration)]
        self._terms, self._log_bytes, self._log_bytes_at = [], 0, deque()
        header = StateHeader(
            generation, index, term, meta.configuration_index, meta.configuration, 0
        )
        batch = Batch()
        batch.delete_range(Space.LOG, keys.log, keys.log_end)
        batch.put(Space.META, keys.terms, _encode(self._terms))
        batch.put(Space.META, keys.log_base, _encode(LogBase(index, term, meta.time_us)))
        batch.put(Space.META, keys.hard_state, _encode(effect.hard_state))
        batch.put(Space.META, keys.state, _encode(header))
        self._unsynced_state = index
        self._write(batch, effect.number)
        self._state.switch_to(generation, (index, term))
        self._machine.load()
        self._applied_time_us = meta.time_us
        self._write_out_at = NEVER
        self._sweep_after = effect.number
        self.snapshots_installed += 1
        self._ports.event("snapshot-installed", {"index": index, "term": term})

    # --- snapshots and digests going out ----------------------------------------------------------

    def _stream_snapshot(self, effect: StreamSnapshot, now: float) -> None:
        stream = self._streams.open.get(effect.to)
        if stream is not None and effect.snapshot == stream.id:
            if self._send_piece(effect.to, stream, effect.sequence):
                return
        elif stream is not None and effect.snapshot:
            return  # an answer about a stream of the past
        # Either the first request, or one that our view cannot go back to: a new view.
        self._streams.drop(effect.to)
        self._streams.wanted.add(effect.to)

    def _send_piece(self, to: ReplicaId, stream: SnapshotStream, sequence: int) -> bool:
        piece = stream.piece(sequence)
        if piece is None:
            return False
        chunk = SnapshotChunk(
            self.replica.term, stream.id, stream.meta, piece.sequence, piece.data, piece.final
        )
        self._ports.send(to, chunk)
        return True

    def _open_views(self, now: float) -> None:
        """Open what is wanted as soon as the store holds everything applied."""
        for _ in range(2):
            if self._state.pending_chunks():
                self._write_out(now)
        if self._state.pending_chunks():
            return
        for peer in sorted(self._streams.wanted):
            if self.replica.streams_to(peer):
                self._open_stream(peer)
        self._streams.wanted.clear()
        for client, request in self._digests_wanted:
            view = self._state.view()
            digest = Digest(view, self._machine.live)
            applied = self._state.applied[0]
            self._digests.append(DigestTask(client, request, applied, digest, view))
        self._digests_wanted = []

    def _open_stream(self, peer: ReplicaId) -> None:
        configuration_index, configuration = self._applied_configurations[-1]
        meta = SnapshotMeta(
            self._state.applied, self._applied_time_us, configuration, configuration_index
        )
        stream = SnapshotStream(
            self._random.getrandbits(62) + 1,
            meta,
            self._state.view(),
            self.settings.snapshot_chunk_bytes,
        )
        self._streams.open[peer] = stream
        self.snapshots_sent += 1
        fields = {"to": peer, "index": meta.last[0], "term": meta.last[1]}
        self._ports.event("snapshot-started", fields)
        self._send_piece(peer, stream, 0)

    def _continue_digest(self, now: float) -> None:
        task = self._digests[0]
        if task.digest.step():
            return
        self._digests.pop(0)
        task.view.close()
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
            outcome = replica.propose(data, 0, VERSION, now)
            if isinstance(outcome, EntryId):
                self._due_proposed = outcome.index
                self._due_at = now + self.settings.due_pause_s

    # --- status -----------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The configuration in force here: the latest in the log."""
        return self.replica.configuration

    def status(self, now: float) -> dict[str, Any]:
        """What this replica knows of itself and, when it leads, of its followers; JSON-able."""
        replica = self.replica
        configuration = replica.configuration
        return {
            "id": replica.id,
            "role": replica.role if replica.id in configuration.electors else "learner",
            "term": replica.term,
            "leader": replica.leader,
            "commit": replica.commit,
            "applied": self._state.applied[0],
            "applied_in_store": self._state.applied_in_store[0],
            "log_first": replica.log.base.index + 1,
            "log_last": replica.log.last_index,
            "log_bytes": self._log_bytes,
            "store_bytes": self._store.size_bytes(),
            "pending_commands": len(self._requests.commands),
            "pending_reads": len(self._requests.reads),
            "clients": len(self._clients),
            "snapshots_sent": self.snapshots_sent,
            "snapshots_installed": self.snapshots_installed,
            "retired": replica.retired,
            "lag_s": self._lag_s(now) if replica.leader else None,
            "configuration_index": replica.configuration_index,
            "configuration": msgspec.to_builtins(configuration),
            "members": [
                {
                    "id": peer.id,
                    "nonce": peer.nonce,
                    "role": peer.role.name.lower(),
                    "leaving": peer.leaving,
                    "replaces": peer.replaces,
                    "host": peer.host,
                }
                for peer in configuration.peers
            ],
            "joint": configuration.joint,
            "followers": {
                str(id): {
                    "match": progress.match,
                    "lag": replica.log.last_index - progress.match,
                    "mode": progress.mode.value,
                    "silent_s": round(now - progress.heard_at, 4),
                }
                for id, progress in replica.progress.items()
            },
        }


_PERFORM: dict[type, Callable[[Engine, Any, float], None]] = {
    Persist: Engine._persist,
    Send: Engine._send,
    Apply: Engine._apply,
    ReadReady: Engine._read_ready,
    ReadFailed: Engine._read_failed,
    StageChunk: Engine._stage_chunk,
    InstallSnapshot: Engine._install_snapshot,
    StreamSnapshot: Engine._stream_snapshot,
    RoleChanged: Engine._role_changed,
    Retired: Engine._retired,
}
