"""What a history is judged by: a machine that says which answers are possible.

A model is a sequential specification (Herlihy and Wing 1990, section 2): the states of one object,
and what an operation does to them. Most need `operations`, `initial` and `step` only; the rest
makes the search faster, and must then be true.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Final

from raycons.verify.history import Operation


class Impossible(enum.Enum):
    """The type of `IMPOSSIBLE`."""

    IMPOSSIBLE = enum.auto()

    def __repr__(self) -> str:
        return self.name


IMPOSSIBLE: Final = Impossible.IMPOSSIBLE


class Several(enum.Enum):
    """The type of `SEVERAL`."""

    SEVERAL = enum.auto()


SEVERAL: Final = Several.SEVERAL  # states, or not known


class Model(ABC):
    """A machine whose histories can be checked. It keeps nothing: states are handed around."""

    operations: ClassVar[Collection[str]]  # the names of its operations

    @abstractmethod
    def initial(self) -> Any:
        """The state before every operation."""

    @abstractmethod
    def step(self, state: Any, op: Operation) -> Any:
        """The state after `op`, or IMPOSSIBLE where it could not have given the answer `op.out`.

        Where `op.unknown`, there was no answer, so `op.out` is no evidence: give the state in case
        it took effect; that it did not is looked after. `state` must not be changed, and can be
        hashed or is made of lists, dicts and sets. A machine does not see clients and times: only
        `op`, `key`, `value`, `old` and `out` count.
        """

    def partition(self, op: Operation) -> object:
        """The object that `op` works on; objects do not know of each other. Default: its key.

        Locality (Herlihy and Wing 1990, theorem 1): a history is linearizable if the history of
        each object is; Horn and Kroening 2015 call it P-compositionality. Return None for all
        where an operation touches several keys.
        """
        return op.key

    def only_reads(self, op: Operation) -> bool:
        """Whether `op`, given its answer, changes the state in no state whatever."""
        return False

    def simplified(self, ops: Sequence[Operation]) -> Sequence[Operation]:
        """One partition's operations, each replaced by one that is easier to search with.

        The history must be linearizable with these exactly if it is with the given ones.
        """
        return ops

    def requires(self, op: Operation) -> Any:
        """The one state in which `op` is possible, or SEVERAL."""
        return SEVERAL

    def leads_to(self, op: Operation) -> Any:
        """The one state in which `op` leaves the object from wherever it is possible, or SEVERAL.

        Given for an operation of unknown outcome without `requires`, it is possible everywhere.
        With both, operations of unknown outcome are tried only where they are of use.
        """
        return SEVERAL

    def states(self, ops: Sequence[Operation]) -> Collection[Any] | None:
        """States of which one behaves like each possible state, as far as these `ops` can tell.

        None: not known. With it, a violation in a long history is found, and shown, without what
        came long before it.
        """
        return None

    def shown(self, state: Any) -> str:
        """A state for people."""
        return repr(state)
