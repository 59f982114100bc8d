"""Planted bugs: how strong is the net? Each must be found by the simulator.

    patch       how a bug gets into the shipped code, and out again
    registry    what a mutant is; all of them by name
    worlds      the scenarios in which some of them can be met at all
    elections, replication, ...    the mutants themselves, one file a duty
    synod       mistakes in single-decree Paxos, which the explorer finds
    hunt        how many seeds it takes until each is found
    page        the table of a hunt in `docs/verification.md`

The product has no bug switches: a mutant changes the shipped code of this process while it is
planted, and nothing else knows of it.
"""

from raycons.simulation.mutants.registry import Mutant, all_mutants, choose, find

__all__ = ["Mutant", "all_mutants", "choose", "find"]
