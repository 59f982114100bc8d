"""Equal states at equal entries: what every replica's machines hold, compared as they change.

    equal-states    at each entry, all replicas' machines change their state in the same way; and
                    what a restart or a snapshot brings is what these changes add up to

The first replica to apply an entry shows what it does to the state; the others must do the same, so
that equal states stay equal, at a cost in proportion to what changes. A state that a process loads
is read as a whole, and told from others by a sum over its pairs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from raycons.consensus.quorum import Index
from raycons.machines.contract import Command, Machine, State, Table, Tell
from raycons.simulation.world import Violation

Changes = dict[tuple[int, bytes], bytes | None]  # of what table and key into what; None: deleted
FIRST, LAST = b"", b"\xff" * 64  # before and behind all keys


class AppliedState(State, Protocol):
    """A state that knows how far it is."""

    @property
    def applied(self) -> tuple[int, int]:
        """Index and term of the last entry that it holds."""


class States:
    """What the state is after each entry, as the first replica to apply it showed."""

    def __init__(self) -> None:
        self._changes: dict[Index, Changes] = {}
        self._pairs: dict[tuple[int, bytes], int] = {}  # of the newest state: each pair's part
        self._sum = 0
        self._indexes: list[Index] = [0]  # of the entries that changed something, and the
        self._sums: list[int] = [0]  # sum after each

    def changed(self, who: str, index: Index, changes: Changes) -> None:
        """A replica's machines have carried out entry `index`."""
        first = self._changes.get(index)
        if first is None:
            self._changes[index] = changes
            self._add(index, changes)
        elif first != changes:
            raise Violation(
                "equal-states",
                f"entry {index} makes {changes} of the state of {who}; of another's, {first}",
            )

    def loaded(self, who: str, index: Index, pairs: Iterator[tuple[int, bytes, bytes]]) -> None:
        """A replica's state, that of entry `index`, was read back, or received."""
        expected = self._sums[bisect_right(self._indexes, index) - 1]
        if sum(map(hash, pairs)) != expected:
            raise Violation(
                "equal-states",
                f"{who} loads a state of entry {index} that is not what its changes add up to",
            )

    def _add(self, index: Index, changes: Changes) -> None:
        if not changes:
            return
        pairs = self._pairs
        for place, value in changes.items():
            self._sum -= pairs.pop(place, 0)
            if value is not None:
                self._sum += pairs.setdefault(place, hash((*place, value)))
        self._indexes.append(index)
        self._sums.append(self._sum)


class WatchedState:
    """A machine's `State`, whose changes are gathered until the entry's end."""

    def __init__(self, state: AppliedState, who: str, states: States) -> None:
        self._state = state
        self._who = who
        self._states = states
        self._changes: Changes = {}
        # Reading is the state's own.
        self.get = state.get
        self.get_all = state.get_all
        self.scan = state.scan

    def put(self, table: Table, key: bytes, value: bytes) -> None:
        """See State."""
        self._changes[table, key] = value
        self._state.put(table, key, value)

    def put_all(self, table: Table, pairs: Mapping[bytes, bytes]) -> None:
        """See State."""
        self._changes.update(((table, key), value) for key, value in pairs.items())
        self._state.put_all(table, pairs)

    def delete(self, table: Table, key: bytes) -> None:
        """See State."""
        self._changes[table, key] = None
        self._state.delete(table, key)

    def watch(self, machine: Machine) -> None:
        """Compare what the outermost machine over this state does with each entry, and loads."""
        apply, load = machine.apply, machine.load

        def apply_and_compare(command: Command, tell: Tell | None = None) -> bytes:
            answer = apply(command, tell)
            changes, self._changes = self._changes, {}
            self._states.changed(self._who, command.index, changes)
            return answer

        def load_and_compare() -> None:
            self._states.loaded(self._who, self._state.applied[0], self._everything())
            load()

        _replace(machine, "apply", apply_and_compare)
        _replace(machine, "load", load_and_compare)

    def _everything(self) -> Iterator[tuple[int, bytes, bytes]]:
        for table in Table:
            for key, value in self._state.scan(table, FIRST, LAST):
                yield table, key, value


def _replace(machine: Machine, name: str, method: Any) -> None:
    setattr(machine, name, method)
