"""What a protocol is: a deterministic object, fed with events, giving effects.

Rules of this seam
- A replica has no clock, no randomness of its own and no I/O. `now` comes with each event, in
  seconds of a clock that counts suspension; randomness is injected; older entries are read through
  `LogReader`.
- Events are method calls; they may be gathered. `drain` then gives the effects of all of them.
- Effects are carried out in the order given. The one condition that safety rests on is spelled out
  on the effect: a `Send` with `after=n` leaves only when write n is on disk.
- `Persist`, `PersistAccepted` and `InstallSnapshot` carry numbers that rise by one. The driver
  calls `durable(n)` when that write, and so every earlier one, is on disk.
- Single-threaded: no two calls overlap.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from raycons.config import RaftSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import Index, ReplicaId

Term = int
WriteNumber = int
ReadContext = int
NEVER = float("inf")  # a deadline of nothing
ENTRY_OVERHEAD_BYTES = 64  # what an entry costs beyond its data, roughly


class EntryId(NamedTuple):
    """Names an entry: two logs that hold the same id hold the same log up to it."""

    index: Index  # type: ignore[assignment]  # hides tuple.index
    term: Term


class EntryKind(enum.IntEnum):
    """What an entry's data is. Numbers are part of the log's format."""

    NOOP = 0  # a leader's first entry
    COMMAND = 1  # for the machine; opaque here
    CONFIGURATION = 2  # an encoded Configuration


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One position of the log."""

    index: Index
    term: Term
    kind: int  # EntryKind
    machine: int  # which machine of the group reads the data
    version: int  # the format of the data
    time_us: int  # replicated time: microseconds that leaders have counted since the group began
    data: bytes

    @property
    def id(self) -> EntryId:
        """The entry's name."""
        return EntryId(self.index, self.term)


class Proposal(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry that a Paxos acceptor accepted in its slot, and the ballot under which it did."""

    ballot: Term
    entry: Entry


class HardState(msgspec.Struct, frozen=True, array_like=True):
    """What must be on disk before a replica may answer for it."""

    term: Term = 0  # in Paxos: the highest ballot that this acceptor promised itself to
    vote: ReplicaId = 0  # whom this replica voted for in `term`; 0: nobody
    decided: Index = 0  # Paxos: what the slots hold up to here is known to be chosen


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot of the state stands for."""

    last: tuple[Index, Term]  # the last entry whose effect the state includes
    time_us: int  # that entry's replicated time
    configuration: Configuration
    configuration_index: Index
    upcoming: tuple[tuple[Index, Configuration], ...] = ()  # chosen, and not yet in force


# --- effects --------------------------------------------------------------------------------------


class Persist(NamedTuple):
    """Write to disk, in one batch: cut the log from `truncate_from`, append, set the hard state."""

    number: WriteNumber
    truncate_from: Index  # 0: nothing to cut
    entries: Sequence[Entry]
    term_starts: Sequence[tuple[Index, Term]]  # where `entries` begin a new term
    hard_state: HardState | None  # None: as before


class PersistAccepted(NamedTuple):
    """Write to disk, in one batch: these proposals, each in place of what its slot held.

    Slots come in any order, and may leave gaps.
    """

    number: WriteNumber
    accepted: Sequence[Proposal]
    hard_state: HardState | None  # None: as before


class Send(NamedTuple):
    """Send to a replica; not before write `after` is on disk (0: at once)."""

    to: ReplicaId
    message: Any
    after: WriteNumber = 0


class Apply(NamedTuple):
    """These entries are committed: feed them to the machine, in order."""

    entries: Sequence[Entry]


class ReadReady(NamedTuple):
    """The read may be served as soon as everything up to `index` is applied."""

    context: ReadContext
    index: Index  # type: ignore[assignment]  # hides tuple.index


class ReadFailed(NamedTuple):
    """The read cannot be served here; nothing was read."""

    context: ReadContext
    reason: str


class StageChunk(NamedTuple):
    """Put a received piece of a snapshot aside, in a new generation of the state."""

    snapshot: int
    sequence: int  # 0 begins the snapshot, and discards whatever was staged before
    data: bytes


class InstallSnapshot(NamedTuple):
    """Make the staged snapshot the state, in one batch with the new log base.

    The log is emptied; in Paxos, up to the snapshot's last entry: what an acceptor accepted in
    later slots may be chosen by that.
    """

    number: WriteNumber
    snapshot: int
    meta: SnapshotMeta
    hard_state: HardState


class StreamSnapshot(NamedTuple):
    """Send piece `sequence` of snapshot `snapshot` to a replica (0: open a new snapshot)."""

    to: ReplicaId
    snapshot: int
    sequence: int


class RoleChanged(NamedTuple):
    """The replica is now this to its group."""

    role: str  # follower | pre-candidate | candidate | leader
    term: Term
    leader: ReplicaId  # 0: unknown
    reason: str


class Retired(NamedTuple):
    """This identity must never vote or acknowledge again."""

    reason: str


class Outdated(NamedTuple):
    """The group writes in a format that this release does not handle: only a newer one goes on."""

    group: int  # the group's version
    handled: int  # the newest that this release handles


Effect = (
    Persist
    | PersistAccepted
    | Send
    | Apply
    | ReadReady
    | ReadFailed
    | StageChunk
    | InstallSnapshot
    | StreamSnapshot
    | RoleChanged
    | Retired
    | Outdated
)


class Refusal(NamedTuple):
    """Why a replica did not take a proposal; nothing was appended."""

    reason: str  # not-leader | overloaded | transferring | configuration-changed | ...
    leader: ReplicaId  # who might take it; 0: unknown


# --- the replica ----------------------------------------------------------------------------------


class LogReader(Protocol):
    """Reads entries that are no longer in memory."""

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Entries from `first` to `last` inclusive, at least one, until `max_bytes` is passed."""


class LogView(Protocol):
    """What a driver may see of a replica's log."""

    base: EntryId  # the entry after which it begins
    last_index: Index


class FollowerView(Protocol):
    """What a driver may see of a leader's book on one follower."""

    heard_at: float

    @property
    def match(self) -> Index:
        """Up to where the follower holds the log, as it told."""

    @property
    def condition(self) -> str:
        """How it is being sent to, in a word."""


class Replica(Protocol):
    """One replica of one group, whatever the protocol."""

    id: ReplicaId
    settings: RaftSettings
    newest_version: int  # the newest format that this release handles
    role: Any  # as in RoleChanged
    term: Term
    leader: ReplicaId  # 0: unknown
    leader_heard_at: float
    commit: Index
    term_start: Index  # a leader's: it knows what was committed before once this is
    transferee: ReplicaId  # whom a leader hands over to; 0: nobody
    durable_number: WriteNumber
    incoming: int  # the snapshot being received; 0: none
    retired: bool

    @property
    def ballot(self) -> str:
        """The term as people read it, where it is a ballot; else nothing."""

    @property
    def log(self) -> LogView:
        """The log, as far as a driver needs it."""

    @property
    def progress(self) -> Mapping[ReplicaId, FollowerView]:
        """A leader's followers."""

    @property
    def configuration(self) -> Configuration:
        """The newest that this replica acts on, or is about to."""

    @property
    def configuration_index(self) -> Index:
        """The entry that it came with."""

    @property
    def listed(self) -> Configuration:
        """The same, with those besides whose word counts until it is in force, as leaving.

        Whom to talk to, and whom not to end yet.
        """

    @property
    def pending(self) -> bool:
        """Whether the last event, an answer of a follower or of the disk, left something to do."""

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """A message from a peer arrived."""

    def propose(self, data: bytes, machine: int, version: int, now: float) -> EntryId | Refusal:
        """Append a command; its fate is known when the entry at that index is applied."""

    def propose_change(
        self, change: Callable[[Configuration], Configuration], based_on: Index, now: float
    ) -> EntryId | Refusal:
        """Append the configuration that `change` makes of the one of index `based_on`.

        Raises membership.BadChange where the change does not fit.
        """

    def transfer(self, to: ReplicaId, now: float) -> Refusal | None:
        """Hand leadership to voter `to` (0: the most caught-up one); None when it is under way."""

    def replicated_time_us(self, now: float) -> int:
        """Time that the group has counted; a leader's to say."""

    def streams_to(self, peer: ReplicaId) -> bool:
        """Whether a snapshot to `peer` is still wanted; the driver drops its view otherwise."""

    def read(self, context: ReadContext, now: float) -> None:
        """Ask for a linearizable read; answered by ReadReady or ReadFailed."""

    def durable(self, number: WriteNumber, now: float) -> None:
        """Write `number` and all before it are on disk."""

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended and it was not us who closed it."""

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""

    def next_deadline(self) -> float:
        """When `tick` should be called next, if nothing else happens before."""

    def drain(self, now: float) -> list[Effect]:
        """The effects of all events since the last drain."""
