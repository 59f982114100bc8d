"""Equal states: a replica whose state goes its own way is seen at the entry that does it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raycons.machines.contract import Command, State, Table, Tell
from raycons.simulation.states import States, WatchedState
from raycons.simulation.world import Violation
from tests.machines.dict_state import DictState


class Applied(DictState):
    """A state in memory that knows how far it is."""

    applied = (0, 0)


class Register:
    """Puts what it is told under one key, and lists the keys that it saw before."""

    def __init__(self, state: State, spoil: Callable[[bytes], bytes] = lambda data: data) -> None:
        self._state = state
        self._spoil = spoil

    def load(self) -> None:
        """Nothing is kept in fields."""

    def apply(self, command: Command, tell: Tell | None = None) -> bytes:
        self._state.put(Table.CURRENT, b"now", self._spoil(command.data))
        self._state.put_all(Table.HISTORY, {command.data: b""})
        self._state.delete(Table.CURRENT, b"never there")
        return b"done"

    def query(self, data: bytes) -> bytes:
        return self._state.get(Table.CURRENT, b"now") or b""

    def due(self, time_us: int) -> None:
        """Nothing ever is."""


def replica(states: States, state: Applied, **options: Callable[[bytes], bytes]) -> Register:
    watched = WatchedState(state, "replica 1", states)
    machine = Register(watched, **options)
    watched.watch(machine)
    machine.load()
    return machine


def command(index: int, data: bytes) -> Command:
    return Command(index, 1, 0, 1, data)


def test_equal_replicas_are_equal_also_after_a_restart() -> None:
    states = States()
    first, second = Applied(), Applied()
    one, other = replica(states, first), replica(states, second)
    for index, data in enumerate([b"a", b"b", b"c"], 1):
        one.apply(command(index, data))
        first.applied = (index, 1)
    other.apply(command(1, b"a"))
    second.applied = (2, 1)  # entry 2 was none for the machine, as far as this replica knows
    with pytest.raises(Violation, match="loads a state of entry 2"):
        replica(states, second)
    second.applied = (1, 1)
    other = replica(states, second)
    other.apply(command(2, b"b"))
    replica(states, first)


def test_another_value_is_seen_at_the_entry_that_wrote_it() -> None:
    states = States()
    replica(states, Applied()).apply(command(1, b"a"))
    strange = replica(states, Applied(), spoil=bytes.upper)
    with pytest.raises(Violation, match="equal-states: entry 1"):
        strange.apply(command(1, b"a"))


def test_a_value_that_changes_on_the_disk_is_seen_at_the_next_start() -> None:
    states, state = States(), Applied()
    replica(states, state).apply(command(1, b"a"))
    state.applied = (1, 1)
    replica(states, state)
    state.put(Table.CURRENT, b"now", b"z")
    with pytest.raises(Violation, match="loads a state of entry 1"):
        replica(states, state)
