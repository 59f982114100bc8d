"""What must hold after every step; each check costs in proportion to what the step changed.

The names are those of the Raft paper's figure 3, where they stand there; more are in `beliefs`
(what replicas make of each other's words), `images` (what lies on disks), `states` (what machines
hold) and `torn` (what is left of a log when power fails):

    election-safety          one leader a term, elected by a quorum of durable votes
    vote-once                an identity gives one vote a term, its own or another's, and answers
                             only when it is on disk
    campaigns                a term begins with a candidate; whoever asks for votes follows nobody
    leader-append-only       a leader never cuts or overwrites its own log
    log-matching             an entry's id names one content, and one predecessor; and a replica's
                             log ends where its writes do
    leader-completeness      a leader holds all that was committed in earlier terms
    state-machine-safety     at each index all replicas apply the same entry, with the same answer
    committed-is-durable     an entry commits on a quorum's disks, through one of the leader's term,
                             and no disk that has it gives it up
    acknowledged-is-durable  a follower acknowledges only what its disk holds
    lease-exclusivity        no lease holds once a later term has a leader
    recovery                 a restart finds everything that was durable
    monotony                 term and commit never fall
    configuration            the one in force is the latest in the log; only its electors campaign;
                             a leader changes it after its term's first commit, one at a time
    identity                 an id is given to one replica only

`election-safety` and `committed-is-durable` count quorums by themselves, from mirrors of what the
replicas wrote, so that a wrong count in the code under test is seen at once, before it does harm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    Apply,
    Effect,
    Entry,
    EntryId,
    EntryKind,
    InstallSnapshot,
    Persist,
    RoleChanged,
    Term,
)
from raycons.consensus.messages import SnapshotChunk, SnapshotReply
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.messages import Appended, VoteReply
from raycons.consensus.raft.replica import RaftReplica
from raycons.simulation.agreement import Agreement
from raycons.simulation.beliefs import Beliefs
from raycons.simulation.mirror import Mirror, all_entries, decode_configuration, is_quorum
from raycons.simulation.world import Violation


class Invariants(Agreement):
    """The global view that no replica has: every log, every vote, everything committed."""

    def __init__(self) -> None:
        super().__init__()
        self.beliefs = Beliefs()
        self._mirrors: dict[ReplicaId, Mirror] = {}
        self._known: dict[EntryId, tuple[Term, Entry]] = {}  # id -> predecessor's term, content
        self._committed: list[EntryId] = [EntryId(0, 0)]  # by index
        self._commits: list[tuple[Index, Term]] = []  # up to where each term's leader committed
        self.committed_configuration = Configuration((), 1)
        self._time_us = 0  # replicated time, as far as it is committed
        self._leaders: dict[Term, ReplicaId] = {}
        self._last_led: Term = 0
        self._campaigned: set[Term] = {0}  # terms that had a candidate
        self._votes: dict[tuple[ReplicaId, Term], ReplicaId] = {}
        self._snapshots: dict[int, Index] = {}  # the last entry of each that was streamed
        self._terms: dict[ReplicaId, Term] = {}
        self._commit: dict[ReplicaId, Index] = {}
        self._applied: dict[ReplicaId, Index] = {}

    @property
    def committed_index(self) -> Index:
        """The highest index that is known to be committed."""
        return len(self._committed) - 1

    # --- lives of replicas ------------------------------------------------------------------------

    def created(self, id: ReplicaId, configuration: Configuration) -> Mirror:
        """A fresh store was bootstrapped; the driver keeps its mirror up to date."""
        if id in self._mirrors:
            raise Violation("identity", f"a new replica is given id {id}, which another one had")
        self._mirrors[id] = Mirror(id, configuration)
        if configuration.peers:
            self.committed_configuration = configuration
        return self._mirrors[id]

    def started(self, replica: RaftReplica) -> None:
        """The process of `replica` came up and read its disk."""
        mirror, log = self._mirrors[replica.id], replica.log
        entries = all_entries(replica.log)
        previous = log.base.term
        for entry in entries:
            self._check_matching(replica.id, previous, entry)
            previous = entry.term
        recovered = [log.base.term, *(entry.term for entry in entries)]
        held = mirror.durable_last
        # Below the base of a snapshot whose installing was lost, the mirror no longer knows terms.
        if max(log.base.index, mirror.base.index) <= held:
            kept = held - log.base.index < len(recovered)
            if not kept or recovered[held - log.base.index] != (mirror.term(held) or 0):
                raise Violation(
                    "recovery",
                    f"replica {replica.id} had {held} durable, but its log is "
                    f"{log.base.index}..{log.last_index} after the restart",
                )
        durable = mirror.durable_hard_state
        if replica.term < durable.term or (
            replica.term == durable.term and durable.vote and replica.vote != durable.vote
        ):
            raise Violation(
                "recovery",
                f"replica {replica.id} had {durable} durable, but restarts in term "
                f"{replica.term} with vote {replica.vote}",
            )
        configurations = list(replica.configurations)
        hard_state = type(durable)(replica.term, replica.vote)
        mirror.recovered(log.base, recovered[1:], configurations, hard_state)
        self._terms[replica.id] = replica.term
        self._commit[replica.id] = 0  # commit is not on disk; it is found again
        self._applied[replica.id] = replica.applied

    # --- effects ----------------------------------------------------------------------------------

    def drained(self, replica: RaftReplica, effects: Sequence[Effect], now: float) -> None:
        """The replica gave out these effects; called before they are carried out.

        `now` is the time on its own clock.
        """
        mirror = self._mirrors[replica.id]
        if replica.role == "leader" and replica.term < self._last_led and replica.lease_holds(now):
            raise Violation(
                "lease-exclusivity",
                f"leader {replica.id} of term {replica.term} holds a lease, but term "
                f"{self._last_led} has a leader",
            )
        if replica.commit > self.committed_index:
            self._check_commit(replica, mirror)
        for effect in effects:
            if isinstance(effect, Persist):
                self._persisted(replica, mirror, effect)
            elif isinstance(effect, Apply):
                self._to_apply(replica, mirror, effect.entries)
            elif isinstance(effect, InstallSnapshot):
                self._installed(replica, mirror, effect)
            elif isinstance(effect, RoleChanged):
                self._role_changed(replica, mirror, effect)
        self._check_monotony(replica)
        self._check_office(replica)
        ends, written = replica.log.last, mirror.last_index
        if ends != (written, mirror.term(written)):
            raise Violation(
                "log-matching",
                f"replica {replica.id} takes its log to end with {ends}, but wrote only up to "
                f"{written} of term {mirror.term(written)}",
            )
        if replica.configuration != mirror.configuration:
            raise Violation(
                "configuration",
                f"replica {replica.id} acts on {replica.configuration}, but the latest in its log "
                f"is {mirror.configuration}",
            )

    def _persisted(self, replica: RaftReplica, mirror: Mirror, write: Persist) -> None:
        cuts = write.truncate_from and write.truncate_from <= mirror.last_index
        if cuts and self._leaders.get(replica.term) == replica.id and replica.role == "leader":
            raise Violation(
                "leader-append-only",
                f"leader {replica.id} of term {replica.term} cuts its log at {write.truncate_from}",
            )
        if cuts and write.truncate_from <= self._commit[replica.id]:
            raise Violation(
                "state-machine-safety",
                f"replica {replica.id} cuts its log from {write.truncate_from}, but applied up to "
                f"{self._commit[replica.id]}",
            )
        if cuts:
            self._check_cut(mirror, write.truncate_from)
        first = write.truncate_from if cuts else mirror.last_index + 1
        previous = mirror.term(first - 1)
        for offset, entry in enumerate(write.entries):
            if entry.index != first + offset or previous is None:
                raise Violation(
                    "log-matching",
                    f"replica {replica.id} writes entry {entry.index} where "
                    f"{first + offset} is next",
                )
            self._check_matching(replica.id, previous, entry)
            previous = entry.term
            if entry.kind == EntryKind.CONFIGURATION:
                self._check_change(replica, mirror, entry)
        mirror.persist(write)

    def _check_cut(self, mirror: Mirror, first: Index) -> None:
        """What is committed stays on every disk that has it: so it stays on a quorum's."""
        if first <= self.committed_index and self._committed[first].term == mirror.term(first):
            raise Violation(
                "committed-is-durable",
                f"replica {mirror.id} cuts {self._committed[first]}, which is committed",
            )

    def _check_office(self, replica: RaftReplica) -> None:
        """A leader without whom a configuration has committed leads no more."""
        if (
            replica.role == "leader"
            and replica.id not in replica.configuration.electors
            and replica.commit >= replica.configuration_index
        ):
            raise Violation("configuration", f"replica {replica.id} leads, but was removed")

    def _check_change(self, replica: RaftReplica, mirror: Mirror, entry: Entry) -> None:
        """A leader changes members when its term and the last change have committed."""
        if replica.role != "leader" or entry.term != replica.term:
            return
        pending = mirror.configurations[-1][0]
        if replica.commit < pending or mirror.term(replica.commit) not in (None, replica.term):
            raise Violation(
                "configuration",
                f"leader {replica.id} of term {replica.term} changes members in entry "
                f"{entry.index}, but has committed only up to {replica.commit}; "
                f"the last change is entry {pending}",
            )

    def last_change(self, replica: RaftReplica) -> Index:
        """Where the replica has put a change of the configuration last."""
        return replica.configuration_index

    def _check_matching(self, id: ReplicaId, previous: Term, entry: Entry) -> None:
        """An id names one content and one predecessor; so by induction, one whole log."""
        known = self._known.get((entry.index, entry.term))  # type: ignore[call-overload]
        if known is None:
            self._known[EntryId(entry.index, entry.term)] = (previous, entry)
        elif known[0] != previous or (known[1] is not entry and known[1] != entry):
            raise Violation(
                "log-matching",
                f"replica {id} holds {entry} after term {previous}, "
                f"another one {known[1]} after term {known[0]}",
            )

    def _installed(self, replica: RaftReplica, mirror: Mirror, write: InstallSnapshot) -> None:
        last = EntryId(*write.meta.last)
        if last.index > self.committed_index or self._committed[last.index] != last:
            raise Violation(
                "state-machine-safety",
                f"replica {replica.id} installs a snapshot of {last}, which was not committed",
            )
        mirror.install(write)
        self._applied[replica.id] = last.index

    # --- elections --------------------------------------------------------------------------------

    def _role_changed(self, replica: RaftReplica, mirror: Mirror, effect: RoleChanged) -> None:
        if effect.role in ("candidate", "leader") and not any(
            replica.id in configuration.electors
            for configuration in self._uncommitted_configurations(replica, mirror)
        ):
            raise Violation(
                "configuration", f"replica {replica.id} is {effect.role}, but is no voter"
            )
        if effect.role in ("pre-candidate", "candidate"):
            if effect.leader:
                raise Violation(
                    "campaigns",
                    f"replica {replica.id} is {effect.role}, and follows {effect.leader}",
                )
            if effect.role == "candidate":
                self._campaigned.add(effect.term)
        if effect.role == "leader":
            self._elected(replica, mirror, effect.term)

    def _elected(self, replica: RaftReplica, mirror: Mirror, term: Term) -> None:
        id = replica.id
        other = self._leaders.setdefault(term, id)
        self._last_led = max(self._last_led, term)
        if other != id:
            raise Violation("election-safety", f"replicas {other} and {id} both lead term {term}")
        own = mirror.durable_hard_state
        voters = [voter for voter in self._mirrors if self._votes.get((voter, term)) == id]
        if own.term == term and own.vote == id:
            voters.append(id)
        if not self._is_quorum(replica, mirror, voters):
            raise Violation(
                "election-safety",
                f"replica {id} leads term {term} with the durable votes of {voters} only",
            )
        index = self._committed_before(term)
        held = mirror.term(index)
        if index > mirror.base.index and held != self._committed[index].term:
            raise Violation(
                "leader-completeness",
                f"replica {id} leads term {term}, but its log ({mirror.base.index}.."
                f"{mirror.last_index}) lacks {self._committed[index]}, which was committed",
            )

    def _uncommitted_configurations(
        self, replica: RaftReplica, mirror: Mirror
    ) -> list[Configuration]:
        """The last one that the replica knows to be committed, and those after it."""
        known = self._commit[replica.id]
        later = [own for index, own in mirror.configurations if index > known]
        committed = [own for index, own in mirror.configurations if index <= known]
        return [*committed[-1:], *later, replica.configuration]

    def _committed_before(self, term: Term) -> Index:
        """The highest index committed by a leader of an earlier term."""
        for index, committed_in in reversed(self._commits):
            if committed_in < term:
                return index
        return 0

    # --- messages ---------------------------------------------------------------------------------

    def sent(self, id: ReplicaId, to: ReplicaId, message: Any) -> None:
        """A replica's message leaves now: what it vouches for must be on disk."""
        mirror = self._mirrors[id]
        durable = mirror.durable_hard_state
        if isinstance(message, VoteReply):
            if not message.granted:
                return
            earlier = self._votes.setdefault((id, message.term), to)
            if earlier != to:
                raise Violation(
                    "vote-once",
                    f"replica {id} votes for {to} in term {message.term}, and did for {earlier}",
                )
            if durable.term < message.term or (durable.term == message.term and durable.vote != to):
                raise Violation(
                    "vote-once",
                    f"replica {id} votes for {to} in term {message.term}, "
                    f"but {durable} is on its disk",
                )
        elif isinstance(message, Appended):
            # An answer that waited for the disk while a later term came is like one that was late
            # on the network: what it spoke of may have been cut since.
            if message.term == self._terms[id] and message.matched > mirror.durable_last:
                raise Violation(
                    "acknowledged-is-durable",
                    f"replica {id} acknowledges {message.matched} to {to}, "
                    f"but holds {mirror.durable_last} on disk",
                )
            if message.term > durable.term:
                raise Violation(
                    "acknowledged-is-durable",
                    f"replica {id} answers in term {message.term}, but {durable} is on its disk",
                )
        elif isinstance(message, SnapshotChunk):
            self._snapshots[message.snapshot] = message.meta.last[0]
        elif isinstance(message, SnapshotReply) and message.installed:
            last = self._snapshots[message.snapshot]
            if mirror.durable_last < last:
                raise Violation(
                    "acknowledged-is-durable",
                    f"replica {id} acknowledges a snapshot up to {last} that is not on its disk",
                )

    # --- commits ----------------------------------------------------------------------------------

    def _check_commit(self, replica: RaftReplica, mirror: Mirror) -> None:
        """The commit index passes all that were known: it must do so by the paper's rule, now."""
        index = replica.commit
        term = mirror.term(index)
        if term is None or (replica.role == "leader" and term != replica.term):
            raise Violation(
                "committed-is-durable",
                f"{replica.role} {replica.id} of term {replica.term} "
                f"commits {index} of term {term}",
            )
        holders = [id for id, disk in self._mirrors.items() if disk.holds_durably(index, term)]
        if not self._is_quorum(replica, mirror, holders):
            raise Violation(
                "committed-is-durable",
                f"replica {replica.id} commits {EntryId(index, term)}, "
                f"which only {holders} hold on disk",
            )
        # A leader commits only through an entry of its own term: that names the term.
        if self._commits and self._commits[-1][1] == term:
            self._commits[-1] = (index, term)
        else:
            self._commits.append((index, term))

    def _is_quorum(
        self, replica: RaftReplica, mirror: Mirror, members: Collection[ReplicaId]
    ) -> bool:
        """Whether `members` are one for the configuration before or after these effects.

        `drained` checks that the replica's own is the latest in its log.
        """
        return any(
            is_quorum(configuration, members)
            for configuration in (mirror.configuration, replica.configuration)
        )

    def _to_apply(self, replica: RaftReplica, mirror: Mirror, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._applied[replica.id] += 1
            if entry.index != self._applied[replica.id]:
                raise Violation(
                    "state-machine-safety",
                    f"replica {replica.id} applies entry {entry.index} where "
                    f"{self._applied[replica.id]} is next",
                )
            if entry.index <= self.committed_index:
                if self._committed[entry.index] != (entry.index, entry.term):
                    raise Violation(
                        "state-machine-safety",
                        f"replica {replica.id} applies {entry.id}, "
                        f"but {self._committed[entry.index]} is committed",
                    )
            elif entry.index == self.committed_index + 1:
                self._committed.append(entry.id)
                if entry.time_us < self._time_us:
                    raise Violation(
                        "monotony", f"replicated time runs backwards at {entry.id}: {entry.time_us}"
                    )
                self._time_us = entry.time_us
                if entry.kind == EntryKind.CONFIGURATION:
                    self.committed_configuration = decode_configuration(entry.data)
            else:
                raise Violation(
                    "state-machine-safety",
                    f"replica {replica.id} applies {entry.id} after {self.committed_index}",
                )
            if mirror.term(entry.index) != entry.term:
                told = f"replica {replica.id} applies {entry.id}, not in its log"
                raise Violation("log-matching", told)

    def _check_monotony(self, replica: RaftReplica) -> None:
        if replica.term < self._terms[replica.id]:
            raise Violation(
                "monotony",
                f"replica {replica.id} falls from term {self._terms[replica.id]} to {replica.term}",
            )
        if replica.term not in self._campaigned:
            told = f"replica {replica.id} enters term {replica.term} without a candidate"
            raise Violation("campaigns", told)
        if replica.commit < self._commit[replica.id]:
            raise Violation(
                "monotony",
                f"replica {replica.id}'s commit falls from {self._commit[replica.id]} "
                f"to {replica.commit}",
            )
        self._terms[replica.id], self._commit[replica.id] = replica.term, replica.commit
