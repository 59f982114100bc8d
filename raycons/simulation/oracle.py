"""The key-value store as it must be: a naive model, fed by what is committed, in order.

It holds every version of every key, so it can say of any answer whether it is right, and of which
revision. Together with the order of the log that makes a complete check of linearizability: each
operation has a place in one order (its revision), the answer must be the model's at that place, and
an operation that began after another had returned must not stand before it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgspec

from raycons.machines.kv.commands import (
    Compact,
    Compare,
    Delete,
    DeleteDone,
    KeyValue,
    Operation,
    Operations,
    Put,
    PutDone,
    Range,
    RangeDone,
    Relation,
    Result,
    Results,
    Swap,
    SwapDone,
    Sweep,
    Target,
    Txn,
    TxnDone,
)
from raycons.simulation.world import Violation

_operations = msgspec.msgpack.Decoder(Operations)
_results = msgspec.msgpack.Decoder(Results)


class Effect(NamedTuple):
    """What became of an operation."""

    entry: int  # the index of the entry that carried it
    revision: int  # the store's revision just after it
    result: Result


class Oracle:
    """The model, and where each operation took effect.

    `effects` is keyed by an operation's token: the unique value that it writes.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.index = 0  # the last entry fed in
        self.effects: dict[bytes, Effect] = {}
        self._present: dict[bytes, KeyValue] = {}
        self._versions: dict[bytes, list[tuple[int, KeyValue | None]]] = {}

    # --- commands ---------------------------------------------------------------------------------

    def applied(self, index: int, body: bytes, answer: bytes) -> None:
        """A replica, the first one, carried out the commands `body` of entry `index`.

        Raises Violation if the answer is wrong, or one of the operations took effect before.
        """
        operations = _operations.decode(body)
        if any(isinstance(operation, Compact | Sweep) for operation in operations):
            return  # housekeeping, which changes nothing that a client can see
        self.index = index
        expected: list[Result] = []
        for operation in operations:
            result = self._carry_out(operation)
            expected.append(result)
            unique = token(operation)
            if unique is None:
                continue
            earlier = self.effects.get(unique)
            if earlier is not None:
                raise Violation(
                    "exactly-once",
                    f"{unique!r} took effect in entry {earlier.entry} and again in {index}",
                )
            self.effects[unique] = Effect(index, self.revision, result)
        got = _results.decode(answer)
        if got != tuple(expected):
            raise Violation(
                "machine-answers", f"entry {index}: the answer is {got}, not {tuple(expected)}"
            )

    def _carry_out(self, operation: Operation) -> Result:
        match operation:
            case Put():
                self.revision += 1
                self._put(operation)
                return PutDone(self.revision)
            case Delete():
                return self._delete(operation)
            case Swap():
                pair = self._present.get(operation.key)
                current = None if pair is None else pair.value
                if current != operation.expect:
                    return SwapDone(self.revision, False, current)
                self.revision += 1
                self._put(Put(operation.key, operation.value))
                return SwapDone(self.revision, True, None)
            case Txn():
                return self._transact(operation)
            case Range():
                return self._read(operation, self.revision)
            case _:
                raise Violation("machine-answers", f"no client sent {operation}")

    def _transact(self, txn: Txn) -> TxnDone:
        succeeded = all(self._holds(compare) for compare in txn.compares)
        branch = txn.then if succeeded else txn.otherwise
        before = self.revision
        changed = False
        results: list[PutDone | DeleteDone | RangeDone] = []
        for operation in branch:
            # Every change of a transaction happens at the same revision.
            self.revision = before + 1
            if isinstance(operation, Put):
                self._put(operation)
                changed = True
                results.append(PutDone(self.revision))
            elif isinstance(operation, Delete):
                keys = self._keys(operation.key, operation.end)
                self._remove(keys)
                changed = changed or bool(keys)
                self.revision = before + changed
                results.append(DeleteDone(self.revision, len(keys)))
            else:
                self.revision = before + changed
                results.append(self._read(operation, self.revision))
        self.revision = before + changed
        return TxnDone(self.revision, succeeded, tuple(results))

    def _holds(self, compare: Compare) -> bool:
        pair = self._present.get(compare.key)
        left: int | bytes | None
        if compare.target == Target.VALUE:
            left = None if pair is None else pair.value
        elif compare.target == Target.VERSION:
            left = 0 if pair is None else pair.version
        elif compare.target == Target.CREATE_REVISION:
            left = 0 if pair is None else pair.create_revision
        else:
            left = 0 if pair is None else pair.mod_revision
        if compare.relation == Relation.EQUAL:
            return left == compare.operand
        if compare.relation == Relation.NOT_EQUAL:
            return left != compare.operand
        raise Violation("machine-answers", f"no client compares by {compare.relation}")

    def _put(self, put: Put) -> None:
        before = self._present.get(put.key)
        created = self.revision if before is None else before.create_revision
        version = 1 if before is None else before.version + 1
        self._set(put.key, KeyValue(put.key, put.value, created, self.revision, version))

    def _delete(self, delete: Delete) -> DeleteDone:
        keys = self._keys(delete.key, delete.end)
        self.revision += bool(keys)
        self._remove(keys)
        return DeleteDone(self.revision, len(keys))

    def _remove(self, keys: list[bytes]) -> None:
        for key in keys:
            self._set(key, None)

    def _set(self, key: bytes, pair: KeyValue | None) -> None:
        if pair is None:
            del self._present[key]
        else:
            self._present[key] = pair
        self._versions.setdefault(key, []).append((self.revision, pair))

    def _keys(self, start: bytes, end: bytes | None) -> list[bytes]:
        if end is None:
            return [start] if start in self._present else []
        return sorted(key for key in self._present if key >= start and (not end or key < end))

    # --- questions --------------------------------------------------------------------------------

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        versions = self._versions.get(key)
        if not versions:
            return None
        place = bisect_right(versions, revision, key=lambda version: version[0])
        return versions[place - 1][1] if place else None

    def _read(self, question: Range, revision: int) -> RangeDone:
        if question.end is None:
            keys = [question.key]
        else:
            keys = sorted(
                key
                for key in self._versions
                if key >= question.key and (not question.end or key < question.end)
            )
        found = [self._at(key, revision) for key in keys]
        pairs = tuple(pair for pair in found if pair is not None)
        return RangeDone(revision, pairs, len(pairs), False)

    def check_read(self, question: Range, got: RangeDone) -> None:
        """Whether `got` is what the store held at the revision that it names."""
        if got.revision > self.revision:
            raise Violation(
                "linearizability",
                f"a read saw revision {got.revision}, but only {self.revision} is committed",
            )
        expected = self._read(question, got.revision)
        if got != expected:
            raise Violation("linearizability", f"a read returned {got}, not {expected}")


def token(operation: Operation) -> bytes | None:
    """The unique value that tells a client's operation from all others; None for reads."""
    match operation:
        case Put() | Swap():
            return operation.value
        case Txn():
            puts = [step for step in operation.then if isinstance(step, Put)]
            return puts[0].value if puts else None
        case _:
            return None
