"""The protocols that are simulated: how a seed of each is drawn and lived through."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from raycons.errors import BadArgument
from raycons.simulation import rare
from raycons.simulation.caspaxos import rare as rare_registers
from raycons.simulation.caspaxos.run import RegisterRun
from raycons.simulation.caspaxos.scenario import draw_registers
from raycons.simulation.life import Outcome
from raycons.simulation.run import Run
from raycons.simulation.scenario import Scenario, draw
from raycons.simulation.world import World


class Life(Protocol):
    """The world of one seed."""

    scenario: Scenario

    def execute(self, seconds: float) -> Outcome:
        """Live through `seconds` with faults, then through the recovery."""


class Simulated(NamedTuple):
    """One protocol."""

    draw: Callable[[int], Scenario]  # what a seed draws
    begin: Callable[[int, Scenario], Life]
    listed: tuple[str, ...]  # the rare things that a campaign is expected to meet

    def run(self, seed: int, seconds: float) -> Outcome:
        """Live through one seed, as it draws it."""
        return self.begin(seed, self.draw(seed)).execute(seconds)


def _draw(protocol: str, seed: int) -> Scenario:
    return draw(World(seed).random("scenario"), protocol)


SIMULATED = {
    "raft": Simulated(partial(_draw, "raft"), Run, rare.LISTED),
    "multipaxos": Simulated(partial(_draw, "multipaxos"), Run, rare.LISTED_OF_SLOTS),
    "caspaxos": Simulated(draw_registers, RegisterRun, rare_registers.LISTED),
}


def simulated(protocol: str) -> Simulated:
    """The protocol of that name. Raises BadArgument where there is none."""
    if protocol not in SIMULATED:
        known = ", ".join(SIMULATED)
        raise BadArgument(f"there is no simulation of protocol {protocol!r}; choose from: {known}")
    return SIMULATED[protocol]
