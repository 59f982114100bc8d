"""What a seed of a group of registers draws besides what every protocol's seeds do."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from raycons.config import RegisterSettings
from raycons.simulation.scenario import Scenario, draw
from raycons.simulation.world import World

# Nobody leads, so nothing is handed over. A disk that loses what it reported as durable is an
# acceptor that forgets its promises: no quorum knows it as a leader would, so nobody is told.
LEFT_OUT = ("transfer", "lost-fsync")
WORK: dict[str, float] = {"get": 0.3, "put": 0.3, "swap": 0.25, "delete": 0.15}


def draw_registers(seed: int) -> Scenario:
    """The scenario of the seed."""
    world = World(seed)
    drawn = draw(world.random("scenario"))
    return _with_registers(drawn, world.random("registers"))


def _with_registers(drawn: Scenario, random: Random) -> Scenario:
    patience_s = random.choice([0.1, 0.3])
    return replace(
        drawn,
        learners=min(drawn.learners, 1),
        lease_s=0.0,
        work={kind: weight * 5 ** random.uniform(-1, 1) for kind, weight in WORK.items()},
        stale_share=0.0,
        rates={kind: rate for kind, rate in drawn.rates.items() if kind not in LEFT_OUT},
        bends={},
        registers=RegisterSettings(
            patience_s=patience_s,
            read_patience_s=random.choice([0.005, 0.05]),
            first_backoff_s=random.choice([0.001, 0.005]),
            last_backoff_s=random.choice([0.05, 0.3]),
            give_up_s=random.choice([0.4, 3.0]),
            max_waiting=random.choice([2, 1024]),
            collect_after_s=random.choice([0.02, 0.1, 0.5, 2.0]),
            step_patience_s=random.choice([0.3, 1.0]),
            max_sessions=random.choice([1, 2, 512]),
            max_answer_bytes=random.choice([100, 1024 * 1024]),
        ),
    )
