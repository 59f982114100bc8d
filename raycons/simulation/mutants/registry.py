"""What a mutant is, and all of them by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from raycons.errors import BadArgument
from raycons.simulation.mutants.patch import Patch
from raycons.simulation.mutants.worlds import World, as_drawn

DUTIES = (
    "elections",
    "replication",
    "commit",
    "reads",
    "leases",
    "membership",
    "snapshots",
    "sessions",
    "storage",
    "identity",
    "multipaxos",
    "registers",
)
# The duties of other protocols than Raft.
PROTOCOL_OF = {"multipaxos": "multipaxos", "registers": "caspaxos"}

Plant = Callable[[Patch], None]


class Mutant(NamedTuple):
    """One bug that can be planted."""

    name: str
    duty: str
    description: str  # one line
    source: str  # who made the mistake, or which text warns of it; empty where none is known
    world: World  # what becomes of a drawn scenario, so that the bug can be met
    plant: Plant

    @property
    def protocol(self) -> str:
        """Which protocol's groups the bug is planted into."""
        return PROTOCOL_OF.get(self.duty, "raft")

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug in the shipped code of this process for a while."""
        with Patch() as patch:
            self.plant(patch)
            yield


_mutants: dict[str, Mutant] = {}


def mutant(source: str = "", world: World = as_drawn) -> Callable[[Plant], Plant]:
    """Register the decorated function, whose docstring describes the bug, under its name."""

    def register(plant: Plant) -> Plant:
        name = plant.__name__.replace("_", "-")
        duty = plant.__module__.rpartition(".")[2]
        description = (plant.__doc__ or "").partition("\n")[0]
        assert name not in _mutants and description, name
        _mutants[name] = Mutant(name, duty, description, source, world, plant)
        return plant

    return register


def all_mutants() -> list[Mutant]:
    """Every mutant, in the order of the duties and of their files."""
    for duty in DUTIES:
        importlib.import_module(f"raycons.simulation.mutants.{duty}")
    return list(_mutants.values())


def find(name: str) -> Mutant:
    """The mutant of that name. Raises BadArgument where there is none."""
    known = {mutant.name: mutant for mutant in all_mutants()}
    if name not in known:
        raise BadArgument(f"there is no mutant {name!r}; choose from: {', '.join(known)}")
    return known[name]


def choose(names: Sequence[str]) -> list[Mutant]:
    """The mutants of those names; a duty's name stands for all of its own, no name for all."""
    if not names:
        return all_mutants()
    chosen: list[Mutant] = []
    for name in names:
        if name in DUTIES:
            chosen += [mutant for mutant in all_mutants() if mutant.duty == name]
        else:
            chosen.append(find(name))
    return list(dict.fromkeys(chosen))
