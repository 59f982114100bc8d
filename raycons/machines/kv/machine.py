"""The key-value machine: etcd v3's data model over an ordered map of bytes.

Each operation of a command that changes something raises the revision by one and writes at it. The
present record of a key is in one table; what it replaced goes into the other, the records that a
command overwrote together in one page. A read at an old revision finds its way back through these
(`undo`). `keys` and `records` have the layout, `compaction` says how the old is forgotten.
"""

from __future__ import annotations

from typing import TypeGuard, assert_never

import msgspec

from raycons.machines.contract import Command, Live, State, Table, Tell
from raycons.machines.kv.commands import (
    Compact,
    Delete,
    DeleteDone,
    Failed,
    KeyValue,
    Operation,
    Operations,
    Put,
    PutDone,
    Queries,
    Range,
    RangeDone,
    Result,
    Swap,
    SwapDone,
    Sweep,
    Txn,
)
from raycons.machines.kv.compaction import Compaction
from raycons.machines.kv.keys import PAIR
from raycons.machines.kv.ranges import read_range, refused_range
from raycons.machines.kv.records import HEADER_BYTES, unpack_numbers
from raycons.machines.kv.settings import (
    KeyValueSettings,
    invalid,
    refused_pair,
    refused_span,
)
from raycons.machines.kv.transactions import transact
from raycons.machines.kv.versions import Versions

# What msgspec raises for bytes that are no message of ours; deep nesting ends in RecursionError.
_MALFORMED = (msgspec.DecodeError, RecursionError)


class KeyValueMachine:
    """Ordered keys and values with revisions; a `Machine`.

    `state` holds everything; `settings` bound what is accepted. Call `load` before the first use
    over a state that may not be empty.
    """

    def __init__(self, state: State, settings: KeyValueSettings | None = None) -> None:
        self._settings = settings or KeyValueSettings()
        self._state = state
        self._versions = Versions(state)
        self._compaction = Compaction(self._versions, state, self._settings)
        self._encoder = msgspec.msgpack.Encoder()
        self._operations = msgspec.msgpack.Decoder(Operations)
        self._queries = msgspec.msgpack.Decoder(Queries)

    @property
    def revision(self) -> int:
        """The revision of the last change."""
        return self._versions.revision

    @property
    def compacted(self) -> int:
        """The oldest revision that can be read."""
        return self._versions.compacted

    def load(self) -> None:
        """Read the counters from the state."""
        self._versions.load()
        self._compaction.load()

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        """Carry out the encoded `Operations` in order; returns their encoded `Results`.

        Good puts cannot fail, so their answer is told before the work begins.
        """
        try:
            operations = self._operations.decode(command.data)
        except _MALFORMED:
            # Without the decoder's own words: they differ between its releases, and this answer may
            # be remembered by every replica.
            return self._encoder.encode((invalid("these bytes are no operations"),))
        versions = self._versions
        if self._are_good_puts(operations):  # the usual command, which may be hundreds of them
            first = versions.revision + 1
            done = [PutDone(revision) for revision in range(first, first + len(operations))]
            answer = self._encoder.encode(done)
            if tell is not None:
                tell(answer)
            versions.put_all(operations)
        else:
            results = [self._carry_out(operation) for operation in operations]
            answer = self._encoder.encode(results)
        versions.save()
        return answer

    def _are_good_puts(self, operations: Operations) -> TypeGuard[tuple[Put, ...]]:
        """Whether all are puts, with nothing to refuse."""
        max_key_bytes, max_value_bytes = (
            self._settings.max_key_bytes,
            self._settings.max_value_bytes,
        )
        for operation in operations:
            if (
                type(operation) is not Put
                or not 0 < len(operation.key) <= max_key_bytes
                or len(operation.value) > max_value_bytes
            ):
                return False
        return True

    def query(self, data: bytes) -> bytes:
        """Answer the encoded `Queries` in order; returns their encoded `Results`.

        Where the pairs, and what was read of the past to find them, pass `max_queries_bytes`, the
        last queries get no result: ask them again.
        """
        try:
            queries = self._queries.decode(data)
        except _MALFORMED as error:
            return self._encoder.encode((invalid(f"these bytes are no ranges: {error}"),))
        revision = self._versions.revision
        undo = self._versions.undo
        get = self._state.get
        current = Table.CURRENT
        room_bytes = self._settings.max_queries_bytes
        results: list[Result] = []
        append = results.append
        for asked in queries:
            if room_bytes < 0:
                break
            key = asked.key
            # One key as it is now: the usual question, answered with no detour.
            if key and asked.end is None and not (asked.revision or asked.keys_only):
                record = get(current, PAIR + key)
                if record is None:
                    append(RangeDone(revision, (), 0, False))
                    continue
                if not asked.count_only:
                    room_bytes -= len(record)
                    mod, create, version = unpack_numbers(record)
                    pair = KeyValue(key, record[HEADER_BYTES:], create, mod, version)
                    append(RangeDone(revision, (pair,), 1, False))
                    continue
            read_before = undo.read_bytes
            result = self._range(asked)
            append(result)
            room_bytes -= undo.read_bytes - read_before
            if type(result) is RangeDone:
                room_bytes -= sum(len(pair.key) + len(pair.value or b"") for pair in result.pairs)
        return self._encoder.encode(results)

    def due(self, time_us: int) -> bytes | None:
        """A compaction or a sweep, when one is due."""
        operation = self._compaction.due()
        return None if operation is None else self._encoder.encode((operation,))

    def liveness(self) -> Live:
        """False for superseded records that no revision can see any more."""
        return self._compaction.liveness()

    def _carry_out(self, operation: Operation) -> Result:
        match operation:
            case Put(key, value):
                return self._put(key, value)
            case Delete():
                return self._delete(operation)
            case Range():
                return self._range(operation)
            case Swap():
                return self._swap(operation)
            case Txn():
                return transact(self._versions, self._settings, operation)
            case Compact():
                return self._compaction.compact(operation)
            case Sweep():
                return self._compaction.sweep(operation)
            case _:
                assert_never(operation)

    def _put(self, key: bytes, value: bytes) -> PutDone | Failed:
        refused = refused_pair(self._settings, key, value)
        if refused is not None:
            return refused
        versions = self._versions
        versions.revision += 1
        versions.put(key, value, versions.revision)
        return PutDone(versions.revision)

    def _delete(self, asked: Delete) -> DeleteDone | Failed:
        refused = refused_span(asked.key, asked.end)
        if refused is not None:
            return refused
        versions = self._versions
        deleted = versions.delete(asked.key, asked.end, versions.revision + 1)
        if deleted:
            versions.revision += 1
        return DeleteDone(versions.revision, deleted)

    def _range(self, asked: Range) -> RangeDone | Failed:
        refused = refused_range(self._versions, asked)
        if refused is not None:
            return refused
        return read_range(self._versions, self._settings, asked, self._versions.revision)

    def _swap(self, asked: Swap) -> SwapDone | Failed:
        refused = refused_pair(self._settings, asked.key, asked.value)
        if refused is not None:
            return refused
        pair = self._versions.get(asked.key)
        current = None if pair is None else pair.value
        if current != asked.expect:
            return SwapDone(self._versions.revision, False, current)
        self._put(asked.key, asked.value)
        return SwapDone(self._versions.revision, True, None)
