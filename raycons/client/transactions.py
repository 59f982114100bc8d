"""Transactions: conditions, and what to do if all of them hold, or else.

    kv.txn().when(kv.key("a").version == 0)      # absent
            .then(kv.op.put("a", b"1"))
            .otherwise(kv.op.get("a"))
            .commit()

All of it happens at one revision: nobody sees a part, and nothing comes between.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, NoReturn, Self, TypeVar

from raycons.client.calls import operation_bytes
from raycons.client.dialect import Dialect
from raycons.client.entries import Entries, Entry, Key, Outcome
from raycons.errors import BadArgument, OutcomeUnknown
from raycons.machines.kv import commands
from raycons.machines.kv.commands import Relation, Target

V = TypeVar("V")


class Condition(NamedTuple):
    """A comparison, for `when`."""

    compare: commands.Compare

    def __bool__(self) -> NoReturn:
        # `a < x < b` and `if kv.key("a").version == 0` would silently mean something else.
        raise BadArgument(
            "a condition is decided by the store: pass it to when(); to join conditions,"
            " pass several"
        )


class NumberOf:
    """A number of a key, to be compared with ==, !=, < or >; 0 where the key is absent."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: bytes, target: Target) -> None:
        self._key = key
        self._target = target

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Relation.EQUAL, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Relation.NOT_EQUAL, other)

    def __lt__(self, other: int) -> Condition:
        return self._compare(Relation.LESS, other)

    def __gt__(self, other: int) -> Condition:
        return self._compare(Relation.GREATER, other)

    def _compare(self, relation: Relation, other: object) -> Condition:
        if isinstance(other, bool) or not isinstance(other, int):
            raise BadArgument(
                f"{self._target.name.lower()} is compared with a whole number,"
                f" and this is {type(other).__name__}"
            )
        return Condition(commands.Compare(self._key, self._target, relation, other))


class ValueOf(Generic[V]):
    """The value of a key, to be compared with == or !=, and as bytes also with < or >.

    None stands for an absent key.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, key: bytes, dialect: Dialect[V]) -> None:
        self._key = key
        self._dialect = dialect

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Relation.EQUAL, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(Relation.NOT_EQUAL, other)

    def __lt__(self, other: V) -> Condition:
        return self._order(Relation.LESS, other)

    def __gt__(self, other: V) -> Condition:
        return self._order(Relation.GREATER, other)

    def _order(self, relation: Relation, other: object) -> Condition:
        codec = self._dialect.codec.name
        if codec != "bytes" or other is None:
            raise BadArgument(
                f"the store orders values by their bytes, which has no meaning for {codec} or None;"
                " use == or !=, or a handle without a codec"
            )
        return self._compare(relation, other)

    def _compare(self, relation: Relation, other: Any) -> Condition:
        operand = None if other is None else self._dialect.comparable(other)
        return Condition(commands.Compare(self._key, Target.VALUE, relation, operand))


class KeyOf(Generic[V]):
    """A key, in conditions."""

    def __init__(self, key: bytes, dialect: Dialect[V]) -> None:
        self.value = ValueOf(key, dialect)
        self.version = NumberOf(key, Target.VERSION)
        self.create_revision = NumberOf(key, Target.CREATE_REVISION)
        self.mod_revision = NumberOf(key, Target.MOD_REVISION)


class Step(NamedTuple):
    """An operation of a transaction; made by `kv.op`."""

    operation: commands.Put | commands.Delete | commands.Range


class Steps(Generic[V]):
    """Makes the operations of a transaction; the arguments are as in the handle's own methods."""

    def __init__(self, dialect: Dialect[V]) -> None:
        self._dialect = dialect

    def put(self, key: Key, value: V) -> Step:
        """Set `key` to `value`; its result is the revision."""
        return Step(self._dialect.put(key, value))

    def get(self, key: Key) -> Step:
        """Read `key`; its result is an Entry, or None."""
        return Step(self._dialect.get(key, 0))

    def delete(self, key: Key) -> Step:
        """Remove `key`; its result is how many keys were removed, 0 or 1."""
        return Step(self._dialect.delete(key))

    def delete_range(
        self, *, prefix: Key | None = None, start: Key | None = None, end: Key | None = None
    ) -> Step:
        """Remove every key in the range; its result is how many."""
        return Step(self._dialect.delete_range(prefix, start, end))

    def range(
        self,
        *,
        prefix: Key | None = None,
        start: Key | None = None,
        end: Key | None = None,
        limit: int = 0,
        keys_only: bool = False,
        descending: bool = False,
    ) -> Step:
        """Read a range; its result is Entries, cut (`more`) where it would pass a few megabytes."""
        asked = self._dialect.range(prefix, start, end, limit, keys_only, 0, descending)
        return Step(asked)


class Draft(Generic[V]):
    """A transaction being written down; the handle's `txn()` gives one that can be committed."""

    def __init__(self, dialect: Dialect[V]) -> None:
        self._dialect = dialect
        self._compares: list[commands.Compare] = []
        self._then: list[Step] = []
        self._otherwise: list[Step] = []

    def when(self, *conditions: Condition) -> Self:
        """All of these must hold, and those of earlier calls."""
        for condition in conditions:
            if not isinstance(condition, Condition):
                raise BadArgument(
                    f"when() takes conditions such as kv.key('a').version == 0, not {condition!r}"
                )
            self._compares.append(condition.compare)
        return self

    def then(self, *steps: Step) -> Self:
        """Do this, in order, if the conditions hold (and always, where there are none)."""
        self._then += map(_checked, steps)
        return self

    def otherwise(self, *steps: Step) -> Self:
        """Do this, in order, if a condition does not hold."""
        self._otherwise += map(_checked, steps)
        return self

    def _operation(self) -> commands.Txn:
        txn = commands.Txn(
            tuple(self._compares),
            tuple(step.operation for step in self._then),
            tuple(step.operation for step in self._otherwise),
        )
        if not (txn.then or txn.otherwise):
            raise BadArgument("the transaction does nothing; add then(...) or otherwise(...)")
        size_bytes = operation_bytes(txn)
        bound = self._dialect.settings.max_transaction_bytes
        if size_bytes > bound:
            raise BadArgument(
                f"the transaction has about {size_bytes} bytes; at most {bound} are allowed;"
                " split it"
            )
        return txn

    def _outcome(self, done: commands.Result) -> Outcome[V]:
        if not isinstance(done, commands.TxnDone):
            raise OutcomeUnknown(f"a transaction was answered by {type(done).__name__}")
        steps = self._then if done.succeeded else self._otherwise
        results = tuple(map(self._result, steps, done.results))
        return Outcome(done.succeeded, done.revision, results)

    def _result(
        self, step: Step, done: commands.PutDone | commands.DeleteDone | commands.RangeDone
    ) -> int | Entry[V] | Entries[V] | None:
        match done:
            case commands.PutDone(revision):
                return revision
            case commands.DeleteDone(_, deleted):
                return deleted
            case commands.RangeDone(_, pairs) if step.operation.end is None:  # type: ignore[union-attr]
                return self._dialect.entry(pairs[0]) if pairs else None
            case _:
                return self._dialect.entries(done)


def _checked(step: Step) -> Step:
    if not isinstance(step, Step):
        raise BadArgument(f"a transaction takes operations made by kv.op, not {step!r}")
    return step
