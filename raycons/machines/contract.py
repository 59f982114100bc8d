"""What a machine is: a deterministic state machine fed by a group's committed entries.

Rules of this seam
- `apply` and `query` depend on the state and their arguments alone: no clock but the replicated
  time in the command, no randomness, no I/O, no iteration over sets or over dicts built from them.
- All state lives in the injected `State`, which stores it with the applied index; what a machine
  keeps in its own fields must be derived from it (`load` rebuilds it at a restart or a snapshot).
- A broken rule of the application (a failed compare, a bad revision) is an answer, not an
  exception. An exception out of `apply` is a bug: the replica stops, the command is not answered.
- The answer of `apply` is what the client gets, as bytes that only the client decodes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class Table(enum.IntEnum):
    """The two ordered tables that a group's machines share, each with prefixes of its own."""

    CURRENT = 0  # the present state
    HISTORY = 1  # what the present state replaced and may still be asked for


class Command(NamedTuple):
    """A committed command as the machine sees it."""

    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    time_us: int  # replicated time, never runs backwards
    version: int  # the format of `data`
    data: bytes


class State(Protocol):
    """An ordered map of bytes for each table: reads see all earlier writes of applied commands."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def get_all(self, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """As many `get`, in one call: a command may be hundreds of puts."""

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """Set `key` to `value`."""

    def put_all(self, table: Table, pairs: Mapping[bytes, bytes]) -> None:
        """As many `put`, in one call."""

    def delete(self, table: Table, key: bytes) -> None:
        """Remove `key`; nothing happens where it is absent."""

    def scan(
        self, table: Table, start: bytes, end: bytes, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs from `start` up to, not including, `end`, in key order, or from the last.

        Use it up, or drop it, before the next write.
        """


Live = Callable[[Table, bytes, bytes], bool]
Tell = Callable[[bytes], None]


class Machine(Protocol):
    """A deterministic state machine; see the rules at the head of this file."""

    def load(self) -> None:
        """Read what is kept in fields from the state, after a start or an installed snapshot."""

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        """Carry out a committed command and give its answer.

        Where the answer to a long command is certain before the work is done, `tell(answer)`, once,
        has it sent meanwhile; `apply` then returns the same. The command is committed, so nothing
        can come between; and nobody can ask for the state before `apply` returns. What may still
        raise after `tell` is a fault of this replica's own store: the answer is true of the group.
        """

    def query(self, data: bytes) -> bytes:
        """Answer a question about the present state, changing nothing."""

    def due(self, time_us: int) -> bytes | None:
        """A command that the leader should propose now (expiry, sweeping), or None.

        Asked by the leader about once a second, and again after such a command was applied.
        """

    def liveness(self) -> Live:
        """Tells of the pairs of the present state whether they belong to the logical one.

        False for what only waits to be swept. It stays true of a view of this moment, whatever is
        applied while the view is read.
        """
