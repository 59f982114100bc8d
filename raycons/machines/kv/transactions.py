"""Transactions: if all comparisons hold, one list of operations, else the other, at one revision.

As in etcd, a transaction that sets a key twice, or both sets and deletes it, is refused: at one
revision a key has one value. Refusals come before the first write, so a transaction happens whole
or not at all.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence

from raycons.machines.kv.commands import (
    Compare,
    Delete,
    DeleteDone,
    Failed,
    Put,
    PutDone,
    Range,
    RangeDone,
    Relation,
    Target,
    Txn,
    TxnDone,
)
from raycons.machines.kv.ranges import read_range, refused_range
from raycons.machines.kv.settings import (
    KeyValueSettings,
    invalid,
    refused_pair,
    refused_span,
)
from raycons.machines.kv.versions import Versions

_Branch = Sequence[Put | Delete | Range]


def transact(versions: Versions, settings: KeyValueSettings, txn: Txn) -> TxnDone | Failed:
    """Carry out a transaction; raises `versions.revision` by one if it changed something."""
    # Both branches are checked: whether a transaction is well-formed depends on no state.
    refused = (
        _refused_compares(txn.compares)
        or _refused_writes(settings, txn.then)
        or _refused_writes(settings, txn.otherwise)
    )
    if refused is not None:
        return refused
    succeeded = all(_holds(versions, compare) for compare in txn.compares)
    branch = txn.then if succeeded else txn.otherwise
    for operation in branch:
        if isinstance(operation, Range):
            refused = refused_range(versions, operation)
            if refused is not None:
                return refused

    revision = versions.revision + 1
    now = versions.revision  # what an operation of the branch sees as the present revision
    results: list[PutDone | DeleteDone | RangeDone] = []
    for operation in branch:
        match operation:
            case Put(key, value):
                versions.put(key, value, revision)
                now = revision
                results.append(PutDone(revision))
            case Delete(key, end):
                deleted = versions.delete(key, end, revision)
                if deleted:
                    now = revision
                results.append(DeleteDone(now, deleted))
            case Range():
                results.append(read_range(versions, settings, operation, now))
    versions.revision = now
    return TxnDone(now, succeeded, tuple(results))


def _refused_compares(compares: Sequence[Compare]) -> Failed | None:
    for compare in compares:
        if not compare.key:
            return invalid("the key of a comparison is empty; a key has at least one byte")
        if compare.target is Target.VALUE:
            if isinstance(compare.operand, int):
                return invalid(f"the value of {compare.key[:64]!r} is compared with a number")
        elif not isinstance(compare.operand, int):
            return invalid(f"a number of {compare.key[:64]!r} is compared with something else")
    return None


def _refused_writes(settings: KeyValueSettings, branch: _Branch) -> Failed | None:
    """Why the operations of a branch cannot happen at one revision, or None."""
    keys: list[bytes] = []
    for operation in branch:
        if isinstance(operation, Put):
            refused = refused_pair(settings, operation.key, operation.value)
            keys.append(operation.key)
        else:
            refused = refused_span(operation.key, operation.end)
        if refused is not None:
            return refused
    keys.sort()
    for key, following in itertools.pairwise(keys):
        if key == following:
            return invalid(f"the transaction sets the key {key[:64]!r} twice")
    for operation in branch:
        if isinstance(operation, Delete):
            nearest = bisect_left(keys, operation.key)
            if nearest < len(keys) and _reaches(operation, keys[nearest]):
                return invalid(
                    f"the transaction both sets and deletes the key {keys[nearest][:64]!r}"
                )
    return None


def _reaches(delete: Delete, key: bytes) -> bool:
    """Whether the deletion means `key`, which is not before its start."""
    if delete.end is None:
        return key == delete.key
    return not delete.end or key < delete.end


def _holds(versions: Versions, compare: Compare) -> bool:
    pair = versions.get(compare.key)
    actual: int | bytes | None
    match compare.target:
        case Target.VALUE:
            actual = None if pair is None else pair.value
        case Target.VERSION:
            actual = 0 if pair is None else pair.version
        case Target.CREATE_REVISION:
            actual = 0 if pair is None else pair.create_revision
        case Target.MOD_REVISION:
            actual = 0 if pair is None else pair.mod_revision
    operand = compare.operand
    match compare.relation:
        case Relation.EQUAL:
            return actual == operand
        case Relation.NOT_EQUAL:
            return actual != operand
        case Relation.LESS:
            return _less(actual, operand)
        case Relation.GREATER:
            return _less(operand, actual)


def _less(left: int | bytes | None, right: int | bytes | None) -> bool:
    """Order within numbers and within values; an absent value is neither less nor greater."""
    if isinstance(left, int) and isinstance(right, int):
        return left < right
    if isinstance(left, bytes) and isinstance(right, bytes):
        return left < right
    return False
