"""The state of a Raft replica, and the few moves that every duty makes with it.

A replica is put together in `replica.py` from one class a duty, each standing on this one:
`election`, `idleness`, `replication`, `reads`, `snapshot`, `change`, `upgrade`. They share this
state, as the paper's figure 2 does; the moves here keep its invariants:

- `term` never falls; `vote` changes only with `term`, or from nobody to somebody.
- `commit` never falls and never passes the log's end.
- What others may rely on leaves only after it is on disk (`reply`).
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, Literal, NamedTuple

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    NEVER,
    Effect,
    Entry,
    EntryId,
    HardState,
    Persist,
    Refusal,
    RoleChanged,
    Send,
    Term,
)
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.log import Log
from raycons.consensus.raft.progress import Progress
from raycons.provocation import bendable

RoleName = Literal["follower", "pre-candidate", "candidate", "leader"]


class Start(NamedTuple):
    """What a replica restores from its disk."""

    hard_state: HardState
    log: Log
    configurations: list[
        tuple[Index, Configuration]
    ]  # the applied one first, then those in the log
    applied: Index


class Core:
    """Shared state and moves; see the head of this file."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        self.id = id
        self.settings = settings
        self.random = random
        self.newest_version = 1  # the newest format that this release handles; see `upgrade`

        # On disk: figure 2's persistent state. An entry's term bounds ours even if the hard state
        # was written before it.
        self.term: Term = max(start.hard_state.term, start.log.last.term)
        self.vote: ReplicaId = start.hard_state.vote if self.term == start.hard_state.term else 0
        self.log = start.log
        self.configurations = start.configurations

        # In memory.
        self.role: RoleName = "follower"
        self.leader: ReplicaId = 0
        self.commit: Index = start.applied
        self.applied: Index = start.applied  # what Apply effects were given for
        self.retired = False
        self.silent = False  # it is over for us, retired or outdated: hear and say nothing more

        # Writes: the pending ones become one Persist at the next drain.
        self.write_number = 0  # of the newest Persist or InstallSnapshot given out
        self.durable_number = 0
        self.hard_state_write = 0  # the write that made the present term and vote durable
        self.unwritten: list[Entry] = []
        self.unwritten_starts: list[tuple[Index, Term]] = []
        self.truncate_from: Index = 0
        self.hard_state_dirty = False
        self.writes: deque[tuple[int, EntryId, float]] = deque()  # (number, log end, given out at)
        self.durable_index: Index = start.log.last_index

        # Followers and candidates.
        self.leader_heard_at = -NEVER
        self.pace = 1  # heartbeat intervals from one of the leader's heartbeats to the next
        self.leader_connection_lost = False
        self.quick_retry_s = 0.0  # how soon to ask again after a quick campaign failed
        self.quick_after = 0.0  # no quick campaign before this time
        self.granted: set[ReplicaId] = set()
        self.refused: set[ReplicaId] = set()
        self.campaign_released = False
        # A restart forgets promises: keep still as long as any could last.
        self.promised_until = (
            now + self.configuration.lease_s if self.configuration.lease_s else 0.0
        )
        self.election_deadline = 0.0
        self.acknowledge: Index | None = None  # the Appended to send with the next drain

        # Leaders.
        self.progress: dict[ReplicaId, Progress] = {}
        self.term_start: Index = 0  # this term's no-op
        self.led_since = 0.0
        self.led_from_us = 0
        self.heartbeat_due = 0.0
        self.beat_due = 0.0
        self.uncommitted_bytes = 0
        self.transferee: ReplicaId = 0
        self.transfer_deadline = 0.0
        self.released = False  # this term's leader has asked somebody to campaign: no more leases

        self._sends: list[Effect] = []  # wait for nothing: given out first
        self._effects: list[Effect] = []
        self._persist_at = 0  # where in `_effects` the pending Persist belongs

    # --- looking ----------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The latest in the log, committed or not: that is the one in force."""
        return self.configurations[-1][1]

    @property
    def configuration_index(self) -> Index:
        """Where the configuration in force stands in the log."""
        return self.configurations[-1][0]

    @property
    def listed(self) -> Configuration:
        """See the contract; a joint configuration lists those who go."""
        return self.configurations[-1][1]

    @property
    def ballot(self) -> str:
        """See the contract; Raft has none."""
        return ""

    def hears_leader(self, now: float) -> bool:
        """Whether a leader is known to be alive: then nobody else gets our vote."""
        if self.role == "leader":
            return True
        return (
            self.leader != 0
            and not self.leader_connection_lost
            and now < self.leader_heard_at + self.patience_s()
        )

    def patience_s(self) -> float:
        """How long a leader, or a quorum, may be silent: longer by what heartbeats are apart more.

        See `idleness`.
        """
        settings = self.settings
        return settings.election_timeout_s + (self.pace - 1) * settings.heartbeat_interval_s

    def bound(self, now: float) -> bool:
        """Whether a lease promise forbids us to vote or to campaign."""
        return now < self.promised_until

    def disk_silent(self, now: float, for_s: float) -> bool:
        """Whether a write has waited for the disk for longer than `for_s`."""
        return bool(self.writes) and now - self.writes[0][2] > for_s

    def peers(self) -> list[ReplicaId]:
        """Everyone else who receives the log, in a fixed order."""
        return [peer.id for peer in self.configuration.peers if peer.id != self.id]

    def electors(self) -> list[ReplicaId]:
        """Everyone else whose vote counts, in a fixed order."""
        return [
            peer.id
            for peer in self.configuration.peers
            if peer.id != self.id and peer.id in self.configuration.electors
        ]

    def not_leader(self) -> Refusal:
        """The refusal of what only a leader may do."""
        return Refusal("not-leader", self.leader)

    # --- effects ----------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the last event, an answer of a follower or of the disk, left something for a
        drain to give out.

        Other events may without this telling: what they leave is seen by the drain itself.
        """
        return bool(self._sends or self._effects or self.hard_state_dirty)

    def emit(self, effect: Effect) -> None:
        """Give an effect out with the next drain."""
        self._effects.append(effect)

    def send(self, to: ReplicaId, message: Any) -> None:
        """Send what needs no disk of ours: a leader's words, whose term is durable by its votes."""
        self._sends.append(Send(to, message))

    def reply(self, to: ReplicaId, message: Any) -> None:
        """Send what speaks for our term or vote: not before they are on disk."""
        self._effects.append(Send(to, message, self.after_hard_state()))

    def after_hard_state(self) -> int:
        """The write that a message about our term or vote must wait for; 0: none."""
        if self.hard_state_dirty:
            return self.write_number + 1
        return self.hard_state_write if self.hard_state_write > self.durable_number else 0

    def after_everything(self) -> int:
        """The write that a message about our whole log must wait for; 0: none."""
        if self.hard_state_dirty or self.unwritten or self.truncate_from:
            return self.write_number + 1
        return self.write_number if self.write_number > self.durable_number else 0

    def flush_writes(self, now: float) -> None:
        """Turn what is pending into one numbered Persist.

        It goes before every effect that was given since the last one: entries are written before
        they are applied, or acknowledged.
        """
        if not (self.hard_state_dirty or self.unwritten or self.truncate_from):
            return
        self.write_number += 1
        hard_state = HardState(self.term, self.vote) if self.hard_state_dirty else None
        if hard_state is not None:
            self.hard_state_write = self.write_number
        self._effects.insert(
            self._persist_at,
            Persist(
                self.write_number,
                self.truncate_from,
                self.unwritten,
                self.unwritten_starts,
                hard_state,
            ),
        )
        self._persist_at += 1
        self.writes.append((self.write_number, self.log.last, now))
        self.unwritten, self.unwritten_starts = [], []
        self.truncate_from, self.hard_state_dirty = 0, False

    # --- the log ----------------------------------------------------------------------------------

    def append_entry(self, entry: Entry) -> None:
        """Add an entry to the log; it is written with the next drain."""
        if self.log.append(entry):
            self.unwritten_starts.append((entry.index, entry.term))
        self.unwritten.append(entry)

    def truncate_log(self, first: Index) -> None:
        """Cut the log from `first` on, and every configuration that stood there."""
        assert first > self.commit, f"replica {self.id} would cut committed entry {first}"
        self.log.truncate(first)
        self.unwritten = [entry for entry in self.unwritten if entry.index < first]
        self.unwritten_starts = [start for start in self.unwritten_starts if start[0] < first]
        self.truncate_from = min(self.truncate_from, first) if self.truncate_from else first
        self.durable_index = min(self.durable_index, first - 1)
        while self.configurations[-1][0] >= first:
            self.configurations.pop()

    def note_durable(self, number: int) -> bool:
        """Writes up to `number` are on disk; tells whether more of the log is now durable."""
        self.durable_number = max(self.durable_number, number)
        end: EntryId | None = None
        while self.writes and self.writes[0][0] <= number:
            end = self.writes.popleft()[1]
        # The term is compared too: an entry of that index may have been cut and another one,
        # not yet on disk, put in its place.
        if end is not None and end.index > self.durable_index and self.log.holds(end):
            self.durable_index = end.index
            return True
        return False

    # --- roles ------------------------------------------------------------------------------------

    def adopt_term(self, term: Term) -> None:
        """Enter a higher term, in which we have not voted."""
        assert term > self.term
        self.term, self.vote = term, 0
        self.hard_state_dirty = True
        self.acknowledge = None  # it spoke of another leader's log

    def become_follower(self, leader: ReplicaId, now: float, reason: str) -> None:
        """Follow `leader` (0: nobody yet) in the present term."""
        if self.role == "leader":
            self.stop_leading(now)
        changed = self.role != "follower" or self.leader != leader
        self.role, self.leader = "follower", leader
        self.granted, self.refused = set(), set()
        if changed:
            self.announce(reason)
            self.leader_changed()

    def announce(self, reason: str) -> None:
        """Tell the driver what we are now, and why."""
        self._effects.append(RoleChanged(self.role, self.term, self.leader, reason))

    @bendable("impatient-election")
    def reset_election_timer(self, now: float) -> None:
        """Wait a random time between one and two election timeouts (Raft paper, section 5.2)."""
        timeout = self.patience_s()
        self.election_deadline = now + timeout * (1 + self.random.random())

    # --- told to the duties -----------------------------------------------------------------------

    def stop_leading(self, now: float) -> None:
        """Leadership ends; each duty forgets what only a leader keeps."""
        self.progress = {}
        self.pace = 1
        self.transferee, self.uncommitted_bytes = 0, 0
        self.reset_election_timer(now)

    def leader_changed(self) -> None:
        """Another leader, or none: what was asked of the old one will not be answered."""
        self.pace = 1
