"""What must hold after every step of MultiPaxos; each check costs in proportion to what changed.

    chosen-once              no slot has two chosen values, and what is chosen never changes
    safe-value               a ballot proposes what may be chosen already, or else what it likes
                             ("Paxos Made Simple", P2c), after a quorum of the slot's era promised
    one-value-a-ballot       a ballot proposes one value in a slot, and has one owner, once
    promises-kept            promises never fall, and nothing below them is accepted or acknowledged
    promise-is-whole         a promise tells all that its sender had accepted
    learned-is-chosen        what a replica takes for chosen without having accepted it is chosen
    decided-is-durable       what is applied is on the disks of a quorum of the slot's era
    acknowledged-is-durable  what a replica says that it holds is on its disk
    executed-in-order        slots are applied one after the other, without holes, with one time
    lease-exclusivity        no lease holds once a later ballot has a leader
    recovery                 a restart finds everything that was durable
    monotony                 ballot and commit never fall; replicated time does not run backwards
    configuration            one change at a time; only acceptors campaign
    eras                     an era begins when a quorum of it holds all that comes before
    retired-for-a-reason     nobody is told to retire whose disk forgot nothing
    identity                 an id is given to one replica only

Quorums are counted here, from mirrors of what the replicas wrote, so that a wrong count, or a
configuration used too early or too late, in the code under test is seen before it does harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    Apply,
    Effect,
    Entry,
    EntryId,
    EntryKind,
    InstallSnapshot,
    PersistAccepted,
    RoleChanged,
)
from raycons.consensus.messages import Retire, SnapshotChunk, SnapshotReply
from raycons.consensus.paxos.multipaxos.ballots import DECIDED, owner_of, told
from raycons.consensus.paxos.multipaxos.messages import (
    Accept,
    Accepted,
    HeartbeatReply,
    Prepare,
    Promise,
)
from raycons.consensus.paxos.multipaxos.replica import MultiPaxosReplica
from raycons.consensus.quorum import Index, ReplicaId
from raycons.simulation.agreement import Agreement
from raycons.simulation.mirror import decode_configuration, is_quorum
from raycons.simulation.slot_beliefs import SlotBeliefs
from raycons.simulation.slot_mirror import Ballot, Held, SlotMirror
from raycons.simulation.world import Violation


class SlotInvariants(Agreement):
    """The global view that no replica has: every disk, every proposal, everything chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.beliefs = SlotBeliefs()
        self.committed_configuration = Configuration((), 1)  # the newest that is chosen
        self.committed_index: Index = 0  # the highest that a replica knows to be chosen
        self._mirrors: dict[ReplicaId, SlotMirror] = {}
        self._entries: dict[EntryId, Entry] = {}  # by name
        self._proposed: dict[tuple[Index, Ballot], EntryId] = {}
        self._holders: dict[tuple[Index, Ballot], set[ReplicaId]] = {}
        self._chosen: dict[Index, EntryId] = {}
        self._chosen_in: dict[Index, Ballot] = {}
        self._eras: list[tuple[Index, Index, Configuration]] = []  # first slot, chosen in, who
        self._campaigns: dict[Ballot, int] = {}  # in which life of its owner each was used
        self._lives: Counter[ReplicaId] = Counter()
        self._last_led: Ballot = 0
        self._times: list[int] = [0]  # replicated time of each applied slot
        self._snapshots: dict[int, Index] = {}  # the last slot of each that was streamed
        self._ballots: dict[ReplicaId, Ballot] = {}
        self._commit: dict[ReplicaId, Index] = {}
        self._applied: dict[ReplicaId, Index] = {}

    # --- lives of replicas ------------------------------------------------------------------------

    def created(self, id: ReplicaId, configuration: Configuration) -> SlotMirror:
        """A fresh store was bootstrapped; the driver keeps its mirror up to date."""
        if id in self._mirrors:
            raise Violation("identity", f"a new replica is given id {id}, which another one had")
        self._mirrors[id] = SlotMirror(id, configuration, self._durable)
        if configuration.peers:
            self.committed_configuration = configuration
            self._eras = [(0, 0, configuration)]
        return self._mirrors[id]

    def started(self, replica: MultiPaxosReplica) -> None:
        """The process of `replica` came up and read its disk."""
        mirror, log = self._mirrors[replica.id], replica.log
        self._lives[replica.id] += 1
        base = log.base
        held = {one.entry.index: one for one in log._reader.accepted_after(base.index)}  # type: ignore[attr-defined]
        for slot, durable in mirror.slots.items():
            found = held.get(slot)
            if slot > base.index and (found is None or found.ballot < durable.ballot):
                raise Violation(
                    "recovery",
                    f"replica {replica.id} had {durable} durable, but has {found} in slot {slot} "
                    "after the restart",
                )
        if replica.term < mirror.durable_promised:
            raise Violation(
                "recovery",
                f"replica {replica.id} had promised {told(mirror.durable_promised)}, but restarts "
                f"with {told(replica.term)}",
            )
        for one in held.values():
            self._check_name(replica.id, one.entry)
        configurations = [(era.slot, era.configuration) for era in replica.eras]
        mirror.recovered(base, held.values(), configurations, replica.term)
        self._ballots[replica.id] = replica.term
        self._commit[replica.id] = self._applied[replica.id] = replica.commit

    # --- effects ----------------------------------------------------------------------------------

    def drained(self, replica: MultiPaxosReplica, effects: Sequence[Effect], now: float) -> None:
        """The replica gave out these effects; called before they are carried out.

        `now` is the time on its own clock.
        """
        mirror = self._mirrors[replica.id]
        if replica.role == "leader" and replica.term < self._last_led and replica.lease_holds(now):
            raise Violation(
                "lease-exclusivity",
                f"leader {replica.id} of {told(replica.term)} holds a lease, but "
                f"{told(self._last_led)} leads",
            )
        for effect in effects:
            if isinstance(effect, PersistAccepted):
                self._persisted(replica, mirror, effect)
            elif isinstance(effect, Apply):
                self._to_apply(replica, mirror, effect.entries)
            elif isinstance(effect, InstallSnapshot):
                self._installed(replica, mirror, effect)
            elif isinstance(effect, RoleChanged):
                self._role_changed(replica, effect)
        if replica.term < self._ballots[replica.id] or replica.commit < self._commit[replica.id]:
            raise Violation(
                "monotony",
                f"replica {replica.id} falls from {told(self._ballots[replica.id])}, commit "
                f"{self._commit[replica.id]} to {told(replica.term)}, commit {replica.commit}",
            )
        self._ballots[replica.id], self._commit[replica.id] = replica.term, replica.commit

    def _persisted(
        self, replica: MultiPaxosReplica, mirror: SlotMirror, write: PersistAccepted
    ) -> None:
        if write.hard_state is not None and write.hard_state.term < mirror.promised:
            raise Violation(
                "promises-kept",
                f"replica {replica.id} promised {told(mirror.promised)}, and now writes "
                f"{told(write.hard_state.term)}",
            )
        promised = mirror.promised
        mirror.persist(write)
        for proposal in write.accepted:
            entry, ballot = proposal.entry, proposal.ballot
            slot = entry.index
            self._check_name(replica.id, entry)
            if slot <= self._applied[replica.id]:
                raise Violation(
                    "executed-in-order",
                    f"replica {replica.id} takes {entry.id} up in a slot that it has applied",
                )
            if ballot == DECIDED:
                if self._chosen.get(slot) != entry.id:
                    raise Violation(
                        "learned-is-chosen",
                        f"replica {replica.id} takes {entry.id} for chosen, but "
                        f"{self._chosen.get(slot)} is",
                    )
                continue
            if ballot < promised:
                raise Violation(
                    "promises-kept",
                    f"replica {replica.id} accepts {entry.id} in {told(ballot)}, but promised "
                    f"{told(promised)}",
                )
            self._check_proposal(slot, ballot, entry.id)

    def _check_name(self, id: ReplicaId, entry: Entry) -> None:
        """An entry's name stands for one value, whoever proposes it again."""
        known = self._entries.setdefault(entry.id, entry)
        if known is not entry and known != entry:
            raise Violation(
                "one-value-a-ballot", f"replica {id} holds {entry}, another one {known}"
            )

    def _installed(
        self, replica: MultiPaxosReplica, mirror: SlotMirror, write: InstallSnapshot
    ) -> None:
        last = EntryId(*write.meta.last)
        if last.index > self.committed_index or self._chosen.get(last.index) != last:
            raise Violation(
                "learned-is-chosen",
                f"replica {replica.id} installs a snapshot of {last}, which was not chosen",
            )
        if write.meta.time_us != self._times[last.index]:
            raise Violation("executed-in-order", f"a snapshot of {last} tells another time")
        mirror.install(write)
        self._applied[replica.id] = last.index

    # --- proposals --------------------------------------------------------------------------------

    def _configuration_at(self, slot: Index) -> Configuration:
        """Who decides in a slot."""
        return next(who for first, _, who in reversed(self._eras) if first <= slot)

    def _check_proposal(self, slot: Index, ballot: Ballot, entry: EntryId) -> None:
        """A value in a slot in a ballot, when it is first seen."""
        earlier = self._proposed.get((slot, ballot))
        if earlier is not None:
            if earlier != entry:
                raise Violation(
                    "one-value-a-ballot",
                    f"{told(ballot)} proposes {entry} in a slot in which it proposed {earlier}",
                )
            return
        self._proposed[slot, ballot] = entry
        self._check_opening(slot)
        chosen = self._chosen.get(slot)
        if chosen is not None:
            # A leader that does not know that it was deposed proposes in vain.
            if chosen != entry and self._chosen_in[slot] < ballot:
                raise Violation(
                    "chosen-once", f"{told(ballot)} proposes {entry}, but {chosen} is chosen"
                )
            return
        self._check_safe(slot, ballot, entry)

    def _check_opening(self, slot: Index) -> None:
        """Acceptors of the past may be gone for good once a later era has begun."""
        configuration = next((who for first, _, who in self._eras if first == slot), None)
        if configuration is None:
            return
        holders = [id for id, disk in self._mirrors.items() if disk.learn(self._chosen) >= slot - 1]
        if not is_quorum(configuration, holders):
            raise Violation(
                "eras",
                f"slot {slot} opens the era of {sorted(configuration.voters)}, but only {holders} "
                "know all that comes before",
            )

    def _check_safe(self, slot: Index, ballot: Ballot, entry: EntryId) -> None:
        """P2c: a quorum promised, and the highest that any of it had accepted is this, or nothing.

        Quorums have only to be large, so for each ballot the largest set of those who had accepted
        nothing above it stands for all.
        """
        configuration = self._configuration_at(slot)
        promised = {
            id: self._mirrors[id].accepted_below(slot, ballot)
            for id in configuration.voters
            if self._mirrors[id].durable_promised >= ballot
        }
        if is_quorum(configuration, [id for id, held in promised.items() if held is None]):
            return
        for candidate in {held for held in promised.values() if held is not None}:
            below = [
                id
                for id, held in promised.items()
                if held is None or held.ballot <= candidate.ballot
            ]
            if candidate.entry == entry and is_quorum(configuration, below):
                return
        raise Violation(
            "safe-value",
            f"{told(ballot)} proposes {entry} in era {sorted(configuration.voters)}, where those "
            f"who promised had accepted {promised}",
        )

    def _durable(self, id: ReplicaId, slot: Index, held: Held) -> None:
        """A replica has this on its disk: it may be what makes it chosen."""
        if held.ballot == DECIDED:
            return
        holders = self._holders.setdefault((slot, held.ballot), set())
        holders.add(id)
        known = self._chosen.get(slot)
        if known == held.entry:
            return
        configuration = self._configuration_at(slot)
        if not is_quorum(configuration, holders):
            return
        if known is not None:
            raise Violation("chosen-once", f"{held.entry} is chosen, but {known} was")
        self._chosen[slot], self._chosen_in[slot] = held.entry, held.ballot
        entry = self._entries[held.entry]
        if entry.kind == EntryKind.CONFIGURATION:
            self._configuration_chosen(slot, decode_configuration(entry.data))

    def _configuration_chosen(self, slot: Index, configuration: Configuration) -> None:
        first, before, _ = self._eras[-1]
        if slot < first or (before and slot <= before):
            raise Violation(
                "configuration",
                f"a change is chosen in slot {slot}, but that of slot {before} is in force from "
                f"{first} on",
            )
        self._eras.append((slot + configuration.window, slot, configuration))
        self.committed_configuration = configuration

    # --- leaders ----------------------------------------------------------------------------------

    def _role_changed(self, replica: MultiPaxosReplica, effect: RoleChanged) -> None:
        if effect.role in ("candidate", "leader") and not any(
            replica.id in era.configuration.voters for era in replica.eras
        ):
            if effect.role == "candidate" or replica.role == "leader":
                raise Violation(
                    "configuration", f"replica {replica.id} is {effect.role}, but is no acceptor"
                )
        if effect.role == "leader":
            self._last_led = max(self._last_led, effect.term)

    def last_change(self, replica: MultiPaxosReplica) -> Index:
        """Where the replica, as a leader, has proposed a change of the configuration last."""
        return replica.change_at

    # --- messages ---------------------------------------------------------------------------------

    def sent(self, id: ReplicaId, to: ReplicaId, message: Any) -> None:
        """A replica's message leaves now: what it vouches for must be on disk."""
        kind = type(message)
        mirror = self._mirrors[id]
        if kind is Accept:
            for entry in message.entries:
                self._check_name(id, entry)
                self._check_proposal(entry.index, message.ballot, entry.id)
        elif kind is Accepted:
            self._check_acknowledged(mirror, message)
        elif kind is HeartbeatReply:
            self._check_known(mirror, message.decided)
            self._check_promise_on_disk(mirror, message.ballot)
        elif kind is Promise:
            self._check_promise_on_disk(mirror, message.ballot)
            self._check_whole(mirror, message)
        elif kind is Prepare:
            self._check_promise_on_disk(mirror, message.ballot)
            life = self._campaigns.setdefault(message.ballot, self._lives[id])
            if life != self._lives[id] or owner_of(message.ballot) != id:
                raise Violation("one-value-a-ballot", f"{told(message.ballot)} is used once more")
        elif kind is Retire:
            if not self._mirrors[to].lost:
                raise Violation(
                    "retired-for-a-reason",
                    f"replica {id} tells {to} to retire: {message.reason}; its disk lost nothing",
                )
        elif kind is SnapshotChunk:
            self._snapshots[message.snapshot] = message.meta.last[0]
        elif kind is SnapshotReply and message.installed:
            self._check_known(mirror, self._snapshots[message.snapshot])

    def _check_promise_on_disk(self, mirror: SlotMirror, ballot: Ballot) -> None:
        if mirror.durable_promised < ballot:
            raise Violation(
                "acknowledged-is-durable",
                f"replica {mirror.id} speaks in {told(ballot)}, but only "
                f"{told(mirror.durable_promised)} is promised on its disk",
            )

    def _check_acknowledged(self, mirror: SlotMirror, message: Accepted) -> None:
        for first, last in message.slots:
            for slot in range(first, last + 1):
                if not mirror.holds_in(slot, message.ballot) and (
                    mirror.learn(self._chosen) < slot and not self._holds_chosen(mirror, slot)
                ):
                    raise Violation(
                        "acknowledged-is-durable",
                        f"replica {mirror.id} acknowledges slot {slot} in {told(message.ballot)}, "
                        f"but holds {mirror.slots.get(slot)} on disk",
                    )
        self._check_known(mirror, message.decided)

    def _holds_chosen(self, mirror: SlotMirror, slot: Index) -> bool:
        held = mirror.slots.get(slot)
        return held is not None and held.entry == self._chosen.get(slot)

    def _check_known(self, mirror: SlotMirror, decided: Index) -> None:
        if mirror.learn(self._chosen) < decided:
            raise Violation(
                "acknowledged-is-durable",
                f"replica {mirror.id} says that it holds what is chosen up to {decided}, but does "
                f"up to {mirror.known}",
            )

    def _check_whole(self, mirror: SlotMirror, message: Promise) -> None:
        told_of = {proposal.entry.index: proposal for proposal in message.accepted}
        for slot in mirror.slots:
            if slot < message.first or (message.next and slot >= message.next):
                continue
            held, proposal = mirror.accepted_below(slot, message.ballot), told_of.get(slot)
            if held is None or slot <= message.base:
                continue
            if proposal is None or proposal.ballot < held.ballot:
                raise Violation(
                    "promise-is-whole",
                    f"replica {mirror.id} promises {told(message.ballot)} without telling of "
                    f"{held}: it tells of {proposal}",
                )

    # --- what is applied --------------------------------------------------------------------------

    def _to_apply(
        self, replica: MultiPaxosReplica, mirror: SlotMirror, entries: Sequence[Entry]
    ) -> None:
        for entry in entries:
            self._applied[replica.id] += 1
            slot = self._applied[replica.id]
            if entry.index != slot:
                raise Violation(
                    "executed-in-order",
                    f"replica {replica.id} applies slot {entry.index} where {slot} is next",
                )
            if self._chosen.get(slot) != entry.id:
                holders = {
                    told(ballot): ids for (at, ballot), ids in self._holders.items() if at == slot
                }
                raise Violation(
                    "decided-is-durable",
                    f"replica {replica.id} applies {entry.id}, but {self._chosen.get(slot)} is "
                    f"chosen: {holders}",
                )
            self._check_time(replica.id, entry)
            change = None
            if entry.kind == EntryKind.CONFIGURATION:
                change = decode_configuration(entry.data)
            mirror.applied(slot, change)
            self.committed_index = max(self.committed_index, slot)

    def _check_time(self, id: ReplicaId, entry: Entry) -> None:
        times = self._times
        if entry.index == len(times):
            if entry.time_us < times[-1]:
                raise Violation("monotony", f"replicated time runs backwards at {entry.id}")
            times.append(entry.time_us)
        elif times[entry.index] != entry.time_us:
            raise Violation(
                "executed-in-order",
                f"replica {id} applies {entry.id} at {entry.time_us}, another one at "
                f"{times[entry.index]}",
            )
