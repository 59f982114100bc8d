"""A failing seed with fewer faults: what is left is needed for the failure.

Kinds of faults and bends are left out one after the other, as long as the same invariant still
breaks; a simple form of delta debugging (Zeller and Hildebrandt, IEEE TSE 2002).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from raycons.simulation.life import Outcome
from raycons.simulation.protocols import simulated
from raycons.simulation.scenario import Scenario

MAX_RUNS = 60


class Shrunk(msgspec.Struct, frozen=True):
    """The smallest failing run that was found."""

    scenario: Scenario
    outcome: Outcome
    faults: list[str]  # the kinds that are left
    bends: list[str]  # the points that are left
    left_out: list[str]
    runs: int  # how many it took


def shrink(
    seed: int,
    seconds: float,
    progress: Callable[[str], None] | None = None,
    protocol: str = "raft",
) -> Shrunk | None:
    """Leave out what the failure of `seed` does not need; None if it does not fail.

    `progress` is called with the name of what is about to be left out.
    """
    draw, begin, _ = simulated(protocol)
    scenario = draw(seed)
    outcome, runs = begin(seed, scenario).execute(seconds), 1
    if outcome.violation is None:
        return None
    invariant = outcome.violation.invariant
    left_out: list[str] = []
    for name in [*scenario.rates, *scenario.bends]:
        if runs == MAX_RUNS:
            break
        if progress is not None:
            progress(name)
        smaller = _without(scenario, name)
        again = begin(seed, smaller).execute(seconds)
        runs += 1
        if again.violation is not None and again.violation.invariant == invariant:
            scenario, outcome = smaller, again
            left_out.append(name)
    return Shrunk(scenario, outcome, list(scenario.rates), list(scenario.bends), left_out, runs)


def _without(scenario: Scenario, name: str) -> Scenario:
    """The scenario without a kind of fault, or a bend."""
    return msgspec.structs.replace(
        scenario,
        rates={kind: rate for kind, rate in scenario.rates.items() if kind != name},
        bends={point: rate for point, rate in scenario.bends.items() if point != name},
    )
