"""The key-value store as anyone would write it first: all pairs copied for each revision."""

from __future__ import annotations

from raycons.machines.kv.commands import (
    Compact,
    CompactDone,
    Compare,
    Delete,
    DeleteDone,
    Failed,
    Failure,
    KeyValue,
    Operation,
    Put,
    PutDone,
    Range,
    RangeDone,
    Relation,
    Result,
    Swap,
    SwapDone,
    Sweep,
    Target,
    Txn,
    TxnDone,
)

Pairs = dict[bytes, KeyValue]


class Reference:
    def __init__(self) -> None:
        self.history: list[Pairs] = [{}]  # by revision
        self.compacted = 0

    @property
    def revision(self) -> int:
        return len(self.history) - 1

    def do(self, operation: Operation) -> Result | None:
        """The expected result; None for a sweep, which must not be noticed."""
        present = self.history[-1]
        match operation:
            case Put(key, value):
                self.history.append(self._set(present, key, value))
                return PutDone(self.revision)
            case Delete(key, end):
                left = {k: pair for k, pair in present.items() if not _within(k, key, end)}
                if len(left) < len(present):
                    self.history.append(left)
                return DeleteDone(self.revision, len(present) - len(left))
            case Swap(key, expect, value):
                current = present[key].value if key in present else None
                if current != expect:
                    return SwapDone(self.revision, False, current)
                self.history.append(self._set(present, key, value))
                return SwapDone(self.revision, True, None)
            case Range():
                return self._readable(operation) or self._read(operation, present, self.revision)
            case Txn():
                return self._transact(operation)
            case Compact(revision):
                if revision > self.revision:
                    return Failed(Failure.FUTURE_REVISION, self.revision, "")
                if revision <= self.compacted:
                    return Failed(Failure.COMPACTED, self.compacted, "")
                self.compacted = revision
                return CompactDone(self.revision, revision)
            case Sweep():
                return None

    def _set(self, pairs: Pairs, key: bytes, value: bytes) -> Pairs:
        at = len(self.history)
        old = pairs.get(key)
        new = KeyValue(
            key, value, old.create_revision if old else at, at, old.version + 1 if old else 1
        )
        return {**pairs, key: new}

    def _readable(self, asked: Range) -> Failed | None:
        if asked.revision > self.revision:
            return Failed(Failure.FUTURE_REVISION, self.revision, "")
        if 0 < asked.revision < self.compacted:
            return Failed(Failure.COMPACTED, self.compacted, "")
        return None

    def _read(self, asked: Range, present: Pairs, now: int) -> RangeDone:
        source = self.history[asked.revision] if asked.revision else present
        found = [
            source[key]
            for key in sorted(source, reverse=asked.descending)
            if _within(key, asked.key, asked.end)
        ]
        if asked.count_only:
            return RangeDone(now, (), len(found), False)
        shown = found[: asked.limit] if asked.limit else found
        more = len(shown) < len(found)
        if asked.keys_only:
            shown = [KeyValue(p.key, None, *_numbers(p)) for p in shown]
        return RangeDone(now, tuple(shown), len(shown) if asked.uncounted else len(found), more)

    def _transact(self, txn: Txn) -> TxnDone | Failed:
        present = self.history[-1]
        for branch in (txn.then, txn.otherwise):
            puts = [op.key for op in branch if isinstance(op, Put)]
            deletes = [op for op in branch if isinstance(op, Delete)]
            if len(set(puts)) < len(puts) or any(
                _within(key, delete.key, delete.end) for key in puts for delete in deletes
            ):
                return Failed(Failure.INVALID, 0, "")
        succeeded = all(_holds(present, compare) for compare in txn.compares)
        branch = txn.then if succeeded else txn.otherwise
        for op in branch:
            if isinstance(op, Range) and (refused := self._readable(op)) is not None:
                return refused
        pairs, now, at = present, self.revision, len(self.history)
        results: list[PutDone | DeleteDone | RangeDone] = []
        for op in branch:
            if isinstance(op, Put):
                pairs, now = self._set(pairs, op.key, op.value), at
                results.append(PutDone(at))
            elif isinstance(op, Delete):
                left = {k: pair for k, pair in pairs.items() if not _within(k, op.key, op.end)}
                now = at if len(left) < len(pairs) else now
                results.append(DeleteDone(now, len(pairs) - len(left)))
                pairs = left
            else:
                results.append(self._read(op, pairs, now))
        if now == at:
            self.history.append(pairs)
        return TxnDone(now, succeeded, tuple(results))


def _numbers(pair: KeyValue) -> tuple[int, int, int]:
    return pair.create_revision, pair.mod_revision, pair.version


def _within(key: bytes, start: bytes, end: bytes | None) -> bool:
    return key == start if end is None else start <= key and (not end or key < end)


def _holds(pairs: Pairs, compare: Compare) -> bool:
    pair = pairs.get(compare.key)
    actual = {
        Target.VALUE: pair.value if pair else None,
        Target.VERSION: pair.version if pair else 0,
        Target.CREATE_REVISION: pair.create_revision if pair else 0,
        Target.MOD_REVISION: pair.mod_revision if pair else 0,
    }[compare.target]
    if compare.relation in (Relation.EQUAL, Relation.NOT_EQUAL):
        return (actual == compare.operand) == (compare.relation is Relation.EQUAL)
    if actual is None or compare.operand is None:
        return False
    if compare.relation is Relation.LESS:
        return actual < compare.operand  # type: ignore[operator]
    return actual > compare.operand  # type: ignore[operator]
