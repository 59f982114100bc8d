"""The key-value machine's operations and their results, as they travel and as they are logged.

The data model is etcd v3's: one revision counter for the group, raised by one by each command that
changes something (a transaction is one command); every key has the revision that created it, the
one that last changed it, and a version that counts its changes since.

A tag is never given to another type, and fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import enum

import msgspec


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


# --- operations -----------------------------------------------------------------------------------


class Put(_Wire, tag=1, frozen=True):
    """Set `key` to `value`."""

    key: bytes
    value: bytes


class Delete(_Wire, tag=2, frozen=True):
    """Remove `key`, or every key from `key` up to, not including, `end` (b"" : to the last key)."""

    key: bytes
    end: bytes | None = None


class Range(_Wire, tag=3, frozen=True):
    """Read `key`, or every key from `key` up to, not including, `end` (b"" : to the last key)."""

    key: bytes
    end: bytes | None = None
    limit: int = 0  # at most so many pairs; 0: all
    revision: int = 0  # as of this revision; 0: the present
    keys_only: bool = False
    count_only: bool = False
    descending: bool = False
    # Stop at the limit instead of counting on: a page then costs its own size, not that of the
    # whole range, and `count` is the number of pairs found.
    uncounted: bool = False


class Swap(_Wire, tag=4, frozen=True):
    """Set `key` to `value` if it now holds `expect` (None: if it is absent)."""

    key: bytes
    expect: bytes | None
    value: bytes


class Target(enum.IntEnum):
    """What a comparison looks at."""

    VALUE = 0
    VERSION = 1  # 0: the key is absent
    CREATE_REVISION = 2
    MOD_REVISION = 3


class Relation(enum.IntEnum):
    """How it must stand to the operand."""

    EQUAL = 0
    NOT_EQUAL = 1
    LESS = 2
    GREATER = 3


class Compare(_Wire, frozen=True):
    """A condition of a transaction; an absent key has value None and all numbers 0."""

    key: bytes
    target: Target
    relation: Relation
    operand: int | bytes | None


class Txn(_Wire, tag=5, frozen=True):
    """If all of `compares` hold, do `then`, else `otherwise`; all at one revision."""

    compares: tuple[Compare, ...]
    then: tuple[Put | Delete | Range, ...]
    otherwise: tuple[Put | Delete | Range, ...]


class Compact(_Wire, tag=6, frozen=True):
    """Forget what is needed only for reads at revisions below `revision`."""

    revision: int


class Sweep(_Wire, tag=7, frozen=True):
    """Delete about `records` superseded values that a compaction made dead.

    Proposed by the leader, never needed for correctness: reads refuse compacted revisions at once.
    """

    records: int


Operation = Put | Delete | Range | Swap | Txn | Compact | Sweep


# --- results --------------------------------------------------------------------------------------


class KeyValue(_Wire, frozen=True):
    """One key as it is, or was at the asked revision."""

    key: bytes
    value: bytes | None  # None: not asked for
    create_revision: int
    mod_revision: int
    version: int


class PutDone(_Wire, tag=1, frozen=True):
    """The put happened at `revision`."""

    revision: int


class DeleteDone(_Wire, tag=2, frozen=True):
    """So many keys were removed; `revision` is the store's afterwards."""

    revision: int
    deleted: int


class RangeDone(_Wire, tag=3, frozen=True):
    """The pairs asked for; `count` is how many there are without the limit.

    `more`: pairs were left out, because of the limit or because the answer grew too large; go on
    after (descending: before) the last key, at this `revision`.
    """

    revision: int  # the store's revision when the range was read
    pairs: tuple[KeyValue, ...]
    count: int
    more: bool


class SwapDone(_Wire, tag=4, frozen=True):
    """Whether the swap happened; if not, `current` is what the key holds (None: absent)."""

    revision: int
    succeeded: bool
    current: bytes | None


class TxnDone(_Wire, tag=5, frozen=True):
    """Which branch was taken, and the result of each of its operations."""

    revision: int
    succeeded: bool
    results: tuple[PutDone | DeleteDone | RangeDone, ...]


class CompactDone(_Wire, tag=6, frozen=True):
    """Revisions below `compacted` can no longer be read."""

    revision: int
    compacted: int


class Failure(enum.StrEnum):
    """Why an operation was refused."""

    COMPACTED = "compacted"  # `bound` is the oldest revision that can be read
    FUTURE_REVISION = "future-revision"  # `bound` is the newest
    INVALID = "invalid"
    # Where there is no log (`machines.register`):
    UNSUPPORTED = "unsupported"  # the cluster's protocol cannot do this
    FORGOTTEN = "forgotten"  # nothing was done now; whether it was done before is not known


class Failed(_Wire, tag=7, frozen=True):
    """The operation broke a rule and changed nothing.

    The answer to a command is remembered in the replicated state, and its `message` with it: the
    wording belongs to the machine's version, and holds nothing that differs between replicas.
    """

    reason: Failure
    bound: int
    message: str


FORGOTTEN = Failed(Failure.FORGOTTEN, 0, "its session is not remembered")
# As FORGOTTEN, but for the attempt that is answered: what it did itself may be forgotten already.
DOUBTFUL = Failed(Failure.FORGOTTEN, 1, "its session is not remembered any more")


class SweepDone(_Wire, tag=8, frozen=True):
    """So many dead values were deleted; `finished` when no others can be left."""

    deleted: int
    finished: bool


Result = PutDone | DeleteDone | RangeDone | SwapDone | TxnDone | CompactDone | Failed | SweepDone

# A command's body is a tuple of operations, applied in order, each with a revision of its own; its
# answer is the tuple of their results. A query is a tuple of ranges. Bytes that do not decode as
# such are answered by a tuple of one Failed.
Operations = tuple[Operation, ...]
Results = tuple[Result, ...]
Queries = tuple[Range, ...]
