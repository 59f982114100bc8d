"""What a member of a cluster of registers keeps in its store.

    META     group + "identity"        whose store this is; written once
             group + "configuration"   the newest one that is known to be chosen, and its epoch
             group + "proposer"        age, and the round that all ballots are above
             group + "acceptor"        ages of proposers, and the stamp of what was erased
    CURRENT  group + key               registers
    HISTORY  group + key               which of them are tombstones: to be collected

What a turn changes is gathered, and written in one batch at its end: one sync covers all keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.caspaxos.acceptor import AcceptorState, Register
from raycons.consensus.paxos.caspaxos.messages import Epoch, Key
from raycons.consensus.paxos.caspaxos.rounds import ProposerState
from raycons.consensus.quorum import ReplicaId
from raycons.errors import StoreCorrupt
from raycons.member.layout import Identity, Keys
from raycons.store.contract import Batch, Space, Store, after

T = TypeVar("T")

CACHED_REGISTERS = 4096
MAX_CACHED_BYTES = 64 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decode_register = msgspec.msgpack.Decoder(Register).decode


class KnownConfiguration(msgspec.Struct, frozen=True, array_like=True):
    """A chosen configuration; epoch 0: none is known yet."""

    epoch: Epoch
    configuration: Configuration


def bootstrap(
    store: Store, group: int, id: ReplicaId, nonce: int, configuration: Configuration
) -> None:
    """Write a new replica's first records, unsynced; `store` must hold none of the group.

    `configuration` lists the founders of a new group; it is empty for a replica that joins.

    Raises StoreCorrupt where the group's records are there already.
    """
    keys = Keys(group)
    if store.get(Space.META, keys.identity) is not None:
        raise StoreCorrupt(f"the store holds a replica of group {group} already")
    epoch = 1 if configuration.peers else 0
    batch = Batch()
    batch.put(Space.META, keys.identity, _encode(Identity(id, nonce, "caspaxos")))
    known = KnownConfiguration(epoch, configuration)
    batch.put(Space.META, _configuration_key(keys), _encode(known))
    store.write(batch)


class Ledger:
    """The records of one member; implements `Registers`.

    Raises StoreCorrupt where records are missing that must be there, or do not decode.
    """

    def __init__(self, store: Store, group: int) -> None:
        keys = Keys(group)
        self._store = store
        self._prefix = keys.log
        self._keys = keys
        self._configuration_key = _configuration_key(keys)
        self._proposer_key = keys.log + b"proposer"
        self._acceptor_key = keys.log + b"acceptor"
        self.identity = self._must_read(keys.identity, Identity)
        self.known = self._must_read(self._configuration_key, KnownConfiguration)
        self.proposer = self._read(self._proposer_key, ProposerState) or ProposerState()
        self.acceptor = self._read(self._acceptor_key, AcceptorState) or AcceptorState()
        self._changed: dict[Key, Register | None] = {}  # None: erased
        self._cached: dict[Key, Register] = {}
        self._batch = Batch()  # of what is not a register

    def _read(self, key: bytes, kind: type[T]) -> T | None:
        raw = self._store.get(Space.META, key)
        try:
            return None if raw is None else msgspec.msgpack.decode(raw, type=kind)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"record {key!r} cannot be read: {error}") from error

    def _must_read(self, key: bytes, kind: type[T]) -> T:
        record = self._read(key, kind)
        if record is None:
            raise StoreCorrupt(f"the store lacks its record {key!r}")
        return record

    # --- registers --------------------------------------------------------------------------------

    def get(self, key: Key) -> Register | None:
        """See Registers."""
        if key in self._changed:
            return self._changed[key]
        cached = self._cached.get(key)
        if cached is not None:
            return cached
        raw = self._store.get(Space.CURRENT, self._prefix + key)
        if raw is None:
            return None
        try:
            register = _decode_register(raw)
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"the register of key {key!r} cannot be read: {error}") from error
        self._cache(key, register)
        return register

    def put(self, key: Key, register: Register) -> None:
        """See Registers."""
        self._changed[key] = register

    def erase(self, key: Key) -> None:
        """See Registers."""
        self._changed[key] = None

    def keys(self, after: Key) -> Iterator[Key]:
        """See Registers; between turns, when everything is in the store."""
        return self._scan(Space.CURRENT, after)

    def tombstones(self) -> Iterator[Key]:
        """The keys whose registers are tombstones; between turns."""
        return self._scan(Space.HISTORY, b"")

    def _scan(self, space: Space, behind: Key) -> Iterator[Key]:
        assert not self._changed
        start = self._prefix + behind + b"\x00"
        for key, _ in self._store.scan(space, start, after(self._prefix)):
            yield key[len(self._prefix) :]

    # --- the rest ---------------------------------------------------------------------------------

    def keep_proposer(self, state: ProposerState) -> None:
        """Remember the proposer's state."""
        self.proposer = state
        self._batch.put(Space.META, self._proposer_key, _encode(state))

    def keep_acceptor(self, state: AcceptorState) -> None:
        """Remember the acceptor's state."""
        self.acceptor = state
        self._batch.put(Space.META, self._acceptor_key, _encode(state))

    def keep_configuration(self, known: KnownConfiguration) -> None:
        """Remember the configuration."""
        self.known = known
        self._batch.put(Space.META, self._configuration_key, _encode(known))

    def write(self) -> bool:
        """Write what changed since the last call, in one batch; False: nothing did."""
        batch, changed = self._batch, self._changed
        if not changed and not batch:
            return False
        self._batch, self._changed = Batch(), {}
        for key, register in changed.items():
            name = self._prefix + key
            if register is None:
                batch.delete(Space.CURRENT, name)
                batch.delete(Space.HISTORY, name)
                self._cached.pop(key, None)
                continue
            batch.put(Space.CURRENT, name, _encode(register))
            before = self._cached.get(key)
            if register.deleted:
                batch.put(Space.HISTORY, name, b"")
            elif before is None or before.deleted:
                batch.delete(Space.HISTORY, name)
            self._cache(key, register)
        self._store.write(batch)
        return True

    def _cache(self, key: Key, register: Register) -> None:
        self._cached.pop(key, None)
        if len(register.value) <= MAX_CACHED_BYTES:
            self._cached[key] = register
            if len(self._cached) > CACHED_REGISTERS:
                del self._cached[next(iter(self._cached))]


def _configuration_key(keys: Keys) -> bytes:
    return keys.log + b"configuration"
