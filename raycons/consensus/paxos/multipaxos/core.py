"""The state of a MultiPaxos replica, and the few moves that every duty makes with it.

A replica is put together in `replica.py` from one class a duty, each standing on this one. Every
replica is acceptor and learner, and a proposer while it leads. The moves here keep these:

- `term`, the highest ballot that we promised, never falls, and nothing is accepted below it.
- A slot is chosen, for us, where we accepted it in the ballot whose leader says so, or were told
  the value; `commit` is the end of the prefix of such slots, and never falls.
- What others may rely on leaves only after it is on disk (`reply`, `after_everything`).
- A configuration that was chosen in slot i governs from slot i + window on.

An entry is a value: its `term` is the ballot of whoever proposed it first, and stays with it when
others propose it again. So the pair of index and term names one entry, whoever got it chosen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any, Literal, NamedTuple

import msgspec

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import (
    NEVER,
    Apply,
    Effect,
    Entry,
    EntryKind,
    HardState,
    PersistAccepted,
    Proposal,
    Refusal,
    RoleChanged,
    Send,
)
from raycons.consensus.paxos.multipaxos.ballots import DECIDED, Ballot, ballot_of, round_of, told
from raycons.consensus.paxos.multipaxos.eras import Era, era_of, joined
from raycons.consensus.paxos.multipaxos.slots import Slots
from raycons.consensus.quorum import Index, ReplicaId
from raycons.provocation import bendable

RoleName = Literal["follower", "pre-candidate", "candidate", "leader"]
UNKNOWN_WINDOW = 128  # taken for it by one that joins, and knows no configuration yet
OPEN_WINDOWS = 4  # an acceptor that lags takes slots up to so many windows above what it knows

_decode_configuration = msgspec.msgpack.Decoder(Configuration).decode


class Start(NamedTuple):
    """What a replica restores from its disk."""

    hard_state: HardState
    slots: Slots
    configurations: Sequence[tuple[Index, Configuration]]  # chosen; the one in force first
    time_us: int  # replicated time of the last slot whose effect the state has


class Write(NamedTuple):
    """A write that the disk has not reported yet."""

    number: int
    accepted: Sequence[Proposal]
    commit: Index  # ours when it was given out
    at: float


class Core:
    """Shared state and moves; see the head of this file."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        self.id = id
        self.settings = settings
        self.random = random
        self.newest_version = 1  # the newest format that this release handles

        # On disk. What we accepted bounds our promise even if that was not written.
        self.log = start.slots
        accepted = [held.ballot for held in self.log.open.values() if held.ballot != DECIDED]
        self.term: Ballot = max([start.hard_state.term, *accepted])
        self.eras = [era_of(index, configuration) for index, configuration in start.configurations]

        self._listed_for: Configuration | None = None
        self._listed = self.configuration

        # In memory.
        self.highest: Ballot = self.term  # that we heard of
        self.role: RoleName = "follower"
        self.leader: ReplicaId = 0
        self.commit: Index = self.log.decided
        known = start.hard_state.decided
        self.chosen = {
            slot for slot, held in self.log.open.items() if slot <= known or held.ballot == DECIDED
        }
        self.watermark: tuple[Ballot, Index] = (0, 0)  # of the leader that we last heard
        self.time_us = start.time_us  # replicated time at `commit`
        self.retired = False
        self.silent = False  # it is over for us, retired or outdated: hear and say nothing more

        # Writes: the pending ones become one PersistAccepted at the next drain.
        self.write_number = 0  # of the newest write given out
        self.durable_number = 0
        self.hard_state_write = 0  # the write that made the present promise durable
        self.unwritten: list[Proposal] = []
        self.hard_state_dirty = False
        self.writes: deque[Write] = deque()
        self._durable_commit: Index = self.commit

        # Followers and candidates.
        self.leader_heard_at = -NEVER
        self.leader_connection_lost = False
        self.quick_retry_s = 0.0  # how soon to ask again after a quick campaign failed
        self.quick_after = 0.0  # no quick campaign before this time
        # A restart forgets promises to leaders: keep still as long as any could last.
        self.promised_until = now + self.lease_s if self.lease_s else 0.0
        self.election_deadline = 0.0

        # Leaders, and whoever hands over.
        self.transferee: ReplicaId = 0
        self.released = False  # this leader has asked somebody to campaign: no more leases

        self._sends: list[Effect] = []  # wait for nothing: given out first
        self._effects: list[Effect] = []
        self._persist_at = 0  # where in `_effects` the pending write belongs

    # --- looking ----------------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """The latest that is chosen, as far as we know; it may not be in force yet."""
        return self.eras[-1].configuration

    @property
    def configuration_index(self) -> Index:
        """The slot in which it was chosen."""
        return self.eras[-1].slot

    @property
    def ballot(self) -> str:
        """The ballot that we promised, as people read it."""
        return told(self.term)

    @property
    def listed(self) -> Configuration:
        """The latest that is chosen; as a joint one, with who decides until it is in force."""
        newest = self.configuration
        if len(self.eras) == 1:
            return newest
        if self._listed_for is not newest:
            self._listed_for = newest
            self._listed = joined(newest, [era.configuration for era in self.eras[:-1]])
        return self._listed

    @property
    def applied(self) -> Index:
        """What Apply effects were given for."""
        return self.commit

    @property
    def window(self) -> int:
        """How far above the chosen prefix slots may be proposed."""
        return self.configuration.window

    @property
    def lease_s(self) -> float:
        """How long a promise to a leader lasts; 0 without leases."""
        return max(era.configuration.lease_s for era in self.eras)

    def era_at(self, slot: Index) -> Era:
        """The era of a slot above the chosen prefix, and not beyond the window."""
        for era in reversed(self.eras):
            if era.first <= slot:
                return era
        return self.eras[0]

    @property
    def open_eras(self) -> list[Era]:
        """Those of the slots above the chosen prefix; the first of `eras` may be over."""
        eras = self.eras
        return eras[1:] if len(eras) > 1 and eras[1].first <= self.commit + 1 else eras

    def electors(self) -> list[ReplicaId]:
        """Everyone else who is an acceptor in some era of open slots, in a fixed order."""
        voters = {id for era in self.open_eras for id in era.configuration.voters}
        return sorted(voters - {self.id})

    def peers(self) -> list[ReplicaId]:
        """Everyone else who is sent what is proposed, in a fixed order.

        Those who go, too, until the first slot of the era without them is chosen.
        """
        ids = {id for era in self.eras for id in era.configuration.ids}
        return sorted(ids - {self.id})

    def is_acceptor(self) -> bool:
        """Whether our word counts in some era of open slots."""
        return any(self.id in era.configuration.voters for era in self.open_eras)

    def prepared_by(self, granted: Collection[ReplicaId]) -> bool:
        """Whether these are a quorum of phase 1 in every era of open slots."""
        return all(era.prepares(granted) for era in self.open_eras)

    def chosen_by(self, accepted: Collection[ReplicaId]) -> bool:
        """Whether these are a quorum of phase 2, and so meet all of phase 1, in every era."""
        return all(era.chooses(accepted) for era in self.open_eras)

    def can_still_win(self, refused: Collection[ReplicaId]) -> bool:
        """Whether a quorum of phase 1 could still come of those who have not refused."""
        return self.prepared_by({*self.electors(), self.id} - set(refused))

    def hears_leader(self, now: float) -> bool:
        """Whether a leader is known to be alive: then nobody else gets our promise."""
        if self.role == "leader":
            return True
        return (
            self.leader != 0
            and not self.leader_connection_lost
            and now < self.leader_heard_at + self.settings.election_timeout_s
        )

    def bound(self, now: float) -> bool:
        """Whether a lease forbids us to promise anything to others, or to campaign."""
        return now < self.promised_until

    def disk_silent(self, now: float, for_s: float) -> bool:
        """Whether a write has waited for the disk for longer than `for_s`."""
        return bool(self.writes) and now - self.writes[0].at > for_s

    def next_ballot(self) -> Ballot:
        """One of our own, above all that we know of."""
        return ballot_of(round_of(max(self.highest, self.term)) + 1, self.id)

    def not_leader(self) -> Refusal:
        """The refusal of what only a leader may do."""
        return Refusal("not-leader", self.leader)

    # --- effects ----------------------------------------------------------------------------------

    def emit(self, effect: Effect) -> None:
        """Give an effect out with the next drain."""
        self._effects.append(effect)

    def send(self, to: ReplicaId, message: Any) -> None:
        """Send what needs no disk of ours."""
        self._sends.append(Send(to, message))

    def reply(self, to: ReplicaId, message: Any) -> None:
        """Send what speaks for our promise: not before that is on disk."""
        self._effects.append(Send(to, message, self.after_hard_state()))

    def after_hard_state(self) -> int:
        """The write that a message about our promise must wait for; 0: none."""
        if self.hard_state_dirty:
            return self.write_number + 1
        return self.hard_state_write if self.hard_state_write > self.durable_number else 0

    def after_everything(self) -> int:
        """The write that a message about what we accepted must wait for; 0: none."""
        if self.hard_state_dirty or self.unwritten:
            return self.write_number + 1
        return self.write_number if self.write_number > self.durable_number else 0

    def flush_writes(self, now: float) -> None:
        """Turn what is pending into one numbered write.

        It goes before every effect that was given since the last one: proposals are written before
        they are applied, or acknowledged.
        """
        if not (self.hard_state_dirty or self.unwritten):
            return
        self.write_number += 1
        hard_state = None
        if self.hard_state_dirty:
            hard_state = HardState(self.term, decided=self.commit)
            self.hard_state_write = self.write_number
        effect = PersistAccepted(self.write_number, self.unwritten, hard_state)
        self._effects.insert(self._persist_at, effect)
        self._persist_at += 1
        self.writes.append(Write(self.write_number, self.unwritten, self.commit, now))
        self.unwritten, self.hard_state_dirty = [], False

    def note_durable(self, number: int) -> list[Proposal]:
        """Writes up to `number` are on disk; gives what they hold in our ballot."""
        self.durable_number = max(self.durable_number, number)
        proposals: list[Proposal] = []
        while self.writes and self.writes[0].number <= number:
            write = self.writes.popleft()
            self._durable_commit = max(self._durable_commit, write.commit)
            proposals += [held for held in write.accepted if held.ballot == self.term]
        return proposals

    @property
    def durable_commit(self) -> Index:
        """Up to where we hold what is chosen on our disk."""
        if not (self.writes or self.unwritten or self.hard_state_dirty):
            self._durable_commit = self.commit
        return self._durable_commit

    # --- slots ------------------------------------------------------------------------------------

    def accept(self, proposal: Proposal) -> None:
        """Take a proposal up in its slot; it is written with the next drain."""
        self.log.put(proposal)
        self.unwritten.append(proposal)

    def learn(self, entry: Entry) -> None:
        """This is chosen in its slot, above the prefix that we know."""
        slot = entry.index
        held = self.log.open.get(slot)
        # An entry's name names its value: we may hold it already, accepted in whatever ballot.
        if held is None or held.entry.term != entry.term:
            self.accept(Proposal(DECIDED, entry))
        self.chosen.add(slot)

    def told_decided(self, decided: Index, ballot: Ballot) -> None:
        """The leader of `ballot` says that all up to `decided` is chosen.

        What we accepted in that very ballot is what it proposed, so that is chosen. What we
        accepted in another ballot may be something else.
        """
        known_in, known = self.watermark
        begin = max(self.commit, known) if known_in == ballot else self.commit
        for slot in range(begin + 1, min(decided, self.log.last_index) + 1):
            held = self.log.open.get(slot)
            if held is not None and held.ballot == ballot:
                self.chosen.add(slot)
        self.watermark = ballot, max(decided, known if known_in == ballot else 0)

    def advance(self, now: float) -> None:
        """Apply the chosen prefix as far as it reaches now, in order and without holes."""
        log, chosen = self.log, self.chosen
        entries: list[Entry] = []
        newest = self.eras
        while self.commit + 1 in chosen:
            entry = log.decide()
            chosen.discard(entry.index)
            self.commit += 1
            entries.append(self._in_time(entry))
            if entry.kind == EntryKind.CONFIGURATION:
                configuration = _decode_configuration(entry.data)
                self.eras = [*self.eras, era_of(entry.index, configuration)]
                self.check_version(configuration)
            if self.eras[-1].first == self.commit + 1:
                # A restart must know so much without the acceptors of the era that ends here.
                self.hard_state_dirty = True
            while len(self.eras) > 1 and self.eras[1].first <= self.commit:
                self.eras = self.eras[1:]
        if entries:
            self.emit(Apply(entries))
            self.committed_further(entries, now)
            if self.eras is not newest:
                self.eras_changed(now)

    def _in_time(self, entry: Entry) -> Entry:
        """The entry as it is applied: replicated time does not run backwards.

        What was proposed again may carry an older time than what stands before it now.
        """
        if entry.time_us >= self.time_us:
            self.time_us = entry.time_us
            return entry
        return msgspec.structs.replace(entry, time_us=self.time_us)

    # --- roles ------------------------------------------------------------------------------------

    def promise(self, ballot: Ballot) -> None:
        """Accept nothing below `ballot` from now on."""
        assert ballot > self.term
        self.term = ballot
        self.highest = max(self.highest, ballot)
        self.hard_state_dirty = True

    def become_follower(self, leader: ReplicaId, now: float, reason: str) -> None:
        """Follow `leader` (0: nobody yet) in the ballot that we promised."""
        if self.role == "leader":
            self.stop_leading(now)
        changed = self.role != "follower" or self.leader != leader
        self.role, self.leader = "follower", leader
        if changed:
            self.announce(reason)
            self.leader_changed()

    def announce(self, reason: str) -> None:
        """Tell the driver what we are now, and why."""
        self._effects.append(RoleChanged(self.role, self.term, self.leader, reason))

    @bendable("impatient-election")
    def reset_election_timer(self, now: float) -> None:
        """Wait a random time between one and two election timeouts."""
        self.election_deadline = now + self.settings.election_timeout_s * (1 + self.random.random())

    # --- told to the duties -----------------------------------------------------------------------

    def stop_leading(self, now: float) -> None:
        """Leadership ends; each duty forgets what only a leader keeps."""
        self.transferee = 0
        self.reset_election_timer(now)

    def leader_changed(self) -> None:
        """Another leader, or none: what was asked of the old one will not be answered."""

    def committed_further(self, entries: Sequence[Entry], now: float) -> None:
        """These, up to `commit`, are known to be chosen now."""

    def eras_changed(self, now: float) -> None:
        """A configuration was chosen, or the first slot that it governs."""

    def check_version(self, configuration: Configuration) -> None:
        """Provided by `reconfiguration`."""
        raise NotImplementedError


Handler = Callable[[Any, ReplicaId, Any, float], None]
