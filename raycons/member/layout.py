"""Where a group's records lie in a member's store, and what they are.

    META     group + "identity"   whose store this is; written once
             group + "hard"       term and vote
             group + "base"       the entry after which the log begins
             group + "terms"      where the terms of the log begin: a short list (Raft)
             group + "state"      header of the applied state: which generation, up to which entry
    LOG      group + index        entries; in MultiPaxos each with the ballot of its acceptance
    CURRENT, HISTORY              group + generation + the machines' keys (see `regions`)

One log, one order: an entry's batch is written before the batch that applies it, through the same
write-ahead log, so that after a crash the state is never ahead of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import Entry, EntryKind, HardState, Proposal, Term
from raycons.consensus.quorum import Index, ReplicaId
from raycons.errors import StoreCorrupt
from raycons.store.contract import PUT, Batch, Space, Store, after

_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_proposal = msgspec.msgpack.Decoder(Proposal).decode
FIRST_GENERATION = 1
T = TypeVar("T")


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Whose store this is."""

    id: ReplicaId
    nonce: int
    protocol: str = "raft"  # by which the replica agrees with the others, and which reads its log


class LogBase(msgspec.Struct, frozen=True, array_like=True):
    """The entry after which the log begins."""

    index: Index
    term: Term
    time_us: int


class StateHeader(msgspec.Struct, frozen=True, array_like=True):
    """What the applied state in the store stands for; written with each batch of it."""

    generation: int
    index: Index
    term: Term
    configuration_index: Index
    configuration: Configuration
    log_bytes: int  # about the size of the log up to `index`, for compaction after a restart
    time_us: int = 0  # replicated time at `index`; 0 in older stores
    upcoming: tuple[tuple[Index, Configuration], ...] = ()  # chosen, and not yet in force


class Keys:
    """The keys of one group."""

    def __init__(self, group: int) -> None:
        prefix = group.to_bytes(4, "big")
        self.identity = prefix + b"identity"
        self.hard_state = prefix + b"hard"
        self.log_base = prefix + b"base"
        self.terms = prefix + b"terms"
        self.state = prefix + b"state"
        self.log = prefix
        self.log_end = after(prefix)

    def entry(self, index: Index) -> bytes:
        """The key of entry `index` in LOG."""
        return self.log + index.to_bytes(8, "big")


class StoredLog:
    """Reads entries back; implements `consensus.contract.LogReader`."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def read(self, first: Index, last: Index, max_bytes: int) -> list[Entry]:
        """Entries from `first` to `last`, at least one, until `max_bytes` is passed.

        Raises StoreCorrupt where one is missing: an acknowledged entry was lost.
        """
        entries: list[Entry] = []
        size = 0
        start, end = self._keys.entry(first), self._keys.entry(last + 1)
        for _, value in self._store.scan(Space.LOG, start, end):
            size += len(value)
            if entries and size > max_bytes:
                break
            entry = self._entry(value)
            if entry.index != first + len(entries):
                raise StoreCorrupt(f"the log lacks entry {first + len(entries)}")
            entries.append(entry)
        if not entries:
            raise StoreCorrupt(f"the log lacks entry {first}")
        return entries

    def _entry(self, record: bytes) -> Entry:
        return _decode_entry(record)

    def last_index(self) -> Index | None:
        """The index of the last entry; None where the log holds none."""
        for key, _ in self._store.scan(Space.LOG, self._keys.log, self._keys.log_end, reverse=True):
            return int.from_bytes(key[-8:], "big")
        return None


class StoredSlots(StoredLog):
    """Reads what an acceptor accepted; a `LogReader` for slots that are chosen."""

    def _entry(self, record: bytes) -> Entry:
        return _decode_proposal(record).entry

    def accepted_after(self, index: Index) -> list[Proposal]:
        """What was accepted in slots above `index`, in their order, with gaps."""
        first = self._keys.entry(index + 1)
        return [
            _decode_proposal(record)
            for _, record in self._store.scan(Space.LOG, first, self._keys.log_end)
        ]


def put_entries(batch: Batch, keys: Keys, entries: Sequence[Entry]) -> int:
    """Add log entries to a batch; returns their size in bytes."""
    size = 0
    operations = batch.operations
    for entry in entries:
        data = _encode(entry)
        size += len(data)
        operations.append((PUT, Space.LOG, keys.entry(entry.index), data))
    return size


def put_proposals(batch: Batch, keys: Keys, accepted: Sequence[Proposal]) -> int:
    """Add what was accepted to a batch, each in its slot; returns the size in bytes."""
    size = 0
    operations = batch.operations
    for proposal in accepted:
        data = _encode(proposal)
        size += len(data)
        operations.append((PUT, Space.LOG, keys.entry(proposal.entry.index), data))
    return size


def starts_after(base: Index, starts: list[tuple[Index, Term]]) -> list[tuple[Index, Term]]:
    """Where the terms of the entries after `base` begin.

    >>> starts_after(5, [(1, 1), (4, 2), (9, 3)])
    [(6, 2), (9, 3)]
    """
    before = [start for start in starts if start[0] <= base + 1]
    return [(base + 1, term) for _, term in before[-1:]] + starts[len(before) :]


def bootstrap(
    store: Store,
    group: int,
    id: ReplicaId,
    nonce: int,
    configuration: Configuration,
    protocol: str = "raft",
) -> None:
    """Write a new replica's first records, unsynced; `store` must hold none of the group.

    `configuration` is the group's first one, the same for all that begin it; for a replica that
    joins later it has no peers, for it learns the true one from the log.
    Raises StoreCorrupt if the group is there already: a replica is made once.
    """
    keys = Keys(group)
    if store.get(Space.META, keys.identity) is not None:
        raise StoreCorrupt(f"the store holds a replica of group {group} already")
    batch = Batch()
    batch.put(Space.META, keys.identity, _encode(Identity(id, nonce, protocol)))
    batch.put(Space.META, keys.hard_state, _encode(HardState()))
    batch.put(Space.META, keys.log_base, _encode(LogBase(0, 0, 0)))
    batch.put(Space.META, keys.terms, _encode([]))
    header = StateHeader(FIRST_GENERATION, 0, 0, 0, configuration, 0)
    batch.put(Space.META, keys.state, _encode(header))
    store.write(batch)


class Restored(NamedTuple):
    """A replica's records as they were found."""

    identity: Identity
    hard_state: HardState
    base: LogBase
    terms: list[tuple[Index, Term]]
    header: StateHeader
    applied_time_us: int  # replicated time of the header's entry
    last: Index
    reader: StoredLog
    tail: list[Entry]  # what follows the applied state
    configurations: list[tuple[Index, Configuration]]


def restore(store: Store, group: int) -> Restored:
    """Read a replica back. Raises StoreCorrupt where the records do not fit together."""
    keys = Keys(group)
    read = _RecordReader(store, group)
    base = read.record(keys.log_base, LogBase)
    header = read.record(keys.state, StateHeader)
    terms = read.record(keys.terms, list[tuple[Index, Term]])
    reader = StoredLog(store, keys)
    last = reader.last_index()
    last = base.index if last is None else last
    if not base.index <= header.index <= last:
        raise StoreCorrupt(
            f"group {group}'s state is at entry {header.index}, "
            f"but its log spans {base.index} to {last}"
        )
    applied_time_us = base.time_us
    if header.index > base.index:
        applied_time_us = reader.read(header.index, header.index, 1)[0].time_us
    tail: list[Entry] = []
    while header.index + len(tail) < last:
        tail += reader.read(header.index + len(tail) + 1, last, 1 << 20)
    configurations = [(header.configuration_index, header.configuration)]
    configurations += [
        (entry.index, msgspec.msgpack.decode(entry.data, type=Configuration))
        for entry in tail
        if entry.kind == EntryKind.CONFIGURATION
    ]
    return Restored(
        read.record(keys.identity, Identity),
        read.record(keys.hard_state, HardState),
        base,
        [start for start in terms if start[0] <= last],
        header,
        applied_time_us,
        last,
        reader,
        tail,
        configurations,
    )


class RestoredSlots(NamedTuple):
    """A MultiPaxos replica's records as they were found."""

    identity: Identity
    hard_state: HardState
    base: LogBase
    header: StateHeader
    reader: StoredSlots
    accepted: list[Proposal]  # above the applied state


def restore_slots(store: Store, group: int) -> RestoredSlots:
    """Read a MultiPaxos replica back. Raises StoreCorrupt where the records do not fit together."""
    keys = Keys(group)
    read = _RecordReader(store, group)
    base = read.record(keys.log_base, LogBase)
    header = read.record(keys.state, StateHeader)
    reader = StoredSlots(store, keys)
    if base.index > header.index:
        raise StoreCorrupt(
            f"group {group}'s state is at entry {header.index}, but its log begins after entry "
            f"{base.index}"
        )
    return RestoredSlots(
        read.record(keys.identity, Identity),
        read.record(keys.hard_state, HardState),
        base,
        header,
        reader,
        reader.accepted_after(header.index),
    )


def identity_of(store: Store, group: int) -> Identity:
    """Whose store it is. Raises StoreCorrupt where that is not to be found."""
    return _RecordReader(store, group).record(Keys(group).identity, Identity)


class _RecordReader:
    """Reads META records, checking that they are there and whole."""

    def __init__(self, store: Store, group: int) -> None:
        self._store = store
        self._group = group

    def record(self, key: bytes, type: type[T]) -> T:
        value = self._store.get(Space.META, key)
        if value is None:
            raise StoreCorrupt(f"the store lacks record {key!r} of group {self._group}")
        try:
            return msgspec.msgpack.decode(value, type=type)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"record {key!r} is damaged: {error}") from error
