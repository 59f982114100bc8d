"""When a turn ends: with its first read while little arrives, after all reads otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from raycons.transport.turn import FEW, QUIET_S, Turn


class Loop:
    """A loop whose time and callbacks the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def run(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Rig:
    """A turn whose handler answers whatever arrived."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.turns = 0
        self.flushes = 0
        loop: Any = self.loop
        self.turn = Turn(loop, self._turn_over)

    def _turn_over(self) -> None:
        self.turns += 1
        self.turn.flush_later(self)
        self.turn.flush_later(self)

    def flush(self) -> None:
        self.flushes += 1

    def read(self) -> None:
        self.turn.arrived()
        self.turn.read_over()


def test_a_turn_of_a_quiet_loop_ends_with_its_read() -> None:
    rig = Rig()
    rig.read()
    assert (rig.turns, rig.flushes) == (1, 2)
    assert rig.loop.soon == []  # not one more trip around the loop, not even to write


def test_turns_of_a_busy_loop_wait_for_the_reads_of_all_sockets() -> None:
    rig = Rig()
    for _ in range(FEW):
        rig.read()
    assert rig.turns == FEW
    rig.read()
    rig.read()
    assert rig.turns == FEW
    rig.loop.run()
    assert rig.turns == FEW + 1
    assert rig.flushes == 2 * rig.turns


def test_a_busy_loop_becomes_quiet_again() -> None:
    rig = Rig()
    for _ in range(FEW):
        rig.read()
    rig.loop.now += 2 * QUIET_S
    rig.read()
    assert rig.turns == FEW + 1


def test_a_read_that_brings_nothing_whole_ends_no_turn() -> None:
    rig = Rig()
    rig.turn.read_over()
    assert rig.turns == 0
    assert rig.loop.soon == []


def test_a_turn_that_is_to_end_anyway_takes_the_read_with_it() -> None:
    rig = Rig()
    rig.turn.flush_later(rig)
    rig.read()
    assert rig.turns == 0
    rig.loop.run()
    assert rig.turns == 1
    assert rig.flushes == 3


def test_real_loops_have_the_clock_that_is_read() -> None:
    async def run() -> None:
        ended: list[bool] = []
        turn = Turn(asyncio.get_running_loop(), lambda: ended.append(True))
        turn.arrived()
        turn.read_over()
        assert ended

    asyncio.run(run())
