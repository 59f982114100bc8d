"""Seeds in which members are upgraded one by one, each when it is restarted, amid faults.

A member that met a version or an entry above what its release handles would raise, and end the run.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from raycons.member.applier import VERSION
from raycons.member.engine import Engine
from raycons.simulation import process
from raycons.simulation.run import Run
from raycons.simulation.scenario import draw
from raycons.simulation.world import World

NEXT = VERSION + 1
FAULTS = {"crash": 0.6, "partition": 0.2, "transfer": 0.3, "membership": 0.3, "pause": 0.2}


def upgrading(opened: list[tuple[int, int]], founders: int, *, ports: Any, **rest: Any) -> Engine:
    """A founder's second life, and whoever joins, is of the next release."""
    version = NEXT if ports.incarnation > 1 or ports.id > founders else VERSION
    opened.append((ports.id, version))
    return Engine(ports=ports, version=version, **rest)


def test_groups_go_over_to_the_next_format_amid_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: list[int] = []
    for seed in (3, 4, 6):
        opened: list[tuple[int, int]] = []
        monkeypatch.setattr(process, "Engine", partial(upgrading, opened, 3))
        scenario = draw(World(seed).random("scenario"))
        run = Run(seed, msgspec.structs.replace(scenario, voters=3, learners=0, rates=FAULTS))
        outcome = run.execute(12.0)
        assert outcome.violation is None, (seed, outcome.violation)
        configuration = run.invariants.committed_configuration
        last_lives = dict(opened)
        handled = {id: last_lives[id] for id in configuration.ids}
        assert configuration.version <= min(handled.values()), (seed, handled)
        versions.append(configuration.version)
    assert max(versions) == NEXT
