"""What clients of registers did and were told, judged as it happens.

The chain of a key gives every operation on it its place, so linearizability needs no search: an
answer must be the model's at that place, and the places of a key must agree with real time.
`floor` is the latest place of a key that anybody has been told of; whoever begins after that must
not come before it.
"""

from __future__ import annotations

from collections import Counter

from raycons import errors
from raycons.client.core import Lagging
from raycons.machines.kv.commands import (
    Delete,
    DeleteDone,
    Operation,
    Put,
    Range,
    RangeDone,
    Swap,
)
from raycons.simulation.caspaxos.chains import Chain
from raycons.simulation.caspaxos.invariants import Invariants
from raycons.simulation.world import Violation


class History:
    """All clients' operations of one run."""

    def __init__(self, invariants: Invariants) -> None:
        self.outcomes: Counter[str] = Counter()
        self._invariants = invariants
        self._floors: dict[bytes, int] = {}
        self._without_effect: set[bytes] = set()  # values of which a client was told so
        self._with_effect: set[bytes] = set()
        invariants.took_effect = self._took_effect

    def floor(self, operation: Operation) -> int:
        """What begins now on the operation's key must not stand before this place."""
        assert isinstance(operation, Put | Swap | Delete | Range)
        return self._floors.get(operation.key, 0)

    def _took_effect(self, value: bytes) -> None:
        self._with_effect.add(value)
        if value in self._without_effect:
            raise Violation(
                "errors-are-true",
                f"{value!r} took effect, though its client was told that it did not",
            )

    # --- clients ----------------------------------------------------------------------------------

    def failed(self, operation: Operation, error: Exception) -> None:
        """A client was told that `operation` ended with `error`."""
        self.outcomes[type(error).__name__] += 1
        if isinstance(operation, Put | Swap):
            if not isinstance(error, errors.NotApplied | errors.OutcomeUnknown):
                raise Violation("errors-are-true", f"{operation} ended with {error!r}")
            if isinstance(error, errors.NotApplied):
                self._without_effect.add(operation.value)
                if operation.value in self._with_effect:
                    raise Violation(
                        "errors-are-true",
                        f"{operation.value!r} took effect, and its client is told that it did not",
                    )

    def succeeded(self, operation: Operation, result: object, floor: int) -> None:
        """A client was told `result`; the operation began when the floor was `floor`."""
        if isinstance(result, Lagging):
            result = result.result
        self.outcomes[type(result).__name__] += 1
        assert isinstance(operation, Put | Swap | Delete | Range)
        chain = self._invariants.chain(operation.key)
        if isinstance(operation, Put | Swap):
            place = self._written(chain, operation, result)
        else:
            place = self._found(chain, operation, result, floor)
        if place < floor:
            raise Violation(
                "linearizability",
                f"{operation} stands at place {place} of its key, after place {floor} was seen",
            )
        self._floors[operation.key] = max(self.floor(operation), place)

    def _written(self, chain: Chain, operation: Put | Swap, result: object) -> int:
        if operation.value not in chain.places:
            raise Violation(
                "durability", f"{operation.value!r} was acknowledged, but is not chosen"
            )
        place, answer = chain.places[operation.value]
        if answer != result:
            raise Violation("client-answers", f"a client was told {result}, but it was {answer}")
        return place

    def _found(self, chain: Chain, operation: Delete | Range, result: object, floor: int) -> int:
        value: bytes | None = None
        revision: int = getattr(result, "revision", -1)
        if isinstance(result, RangeDone) and result.pairs:
            value, revision = result.pairs[0].value, result.pairs[0].mod_revision
        deleted = isinstance(result, DeleteDone) and result.deleted  # at one place and no other
        place = chain.place_of_state(value, revision, 0 if deleted else floor)
        if place is None:
            raise Violation(
                "linearizability",
                f"{operation} was told {result}, which the key was not from place {floor} on",
            )
        return place
