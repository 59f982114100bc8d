"""What clients did and were told, judged as it happens.

The order of the log gives every operation its place, so linearizability needs no search: an answer
must be the model's at that place (`Oracle`), and the places must agree with real time. `floor` is
the latest place that anybody has been told of; whoever begins after that must not come before it.
"""

from __future__ import annotations

from collections import Counter

from raycons import errors
from raycons.client.core import Lagging
from raycons.machines.contract import Command
from raycons.machines.kv.commands import Operation, Range, RangeDone
from raycons.simulation.oracle import Oracle, token
from raycons.simulation.views import Watch
from raycons.simulation.world import Violation

SESSIONS, KEY_VALUE = "sessions", "key-value"  # the places of watched machines


class History:
    """All clients' operations of one run; also the witness of all machines."""

    def __init__(self, invariants: Watch) -> None:
        self.oracle = Oracle()
        self.outcomes: Counter[str] = Counter()
        self.floor = 0  # the highest revision that a client has been told
        self._invariants = invariants
        self._without_effect: set[bytes] = set()  # tokens of which a client was told so

    def witnessed(self, place: str, command: Command, answer: bytes) -> None:
        """See Witness."""
        first = self._invariants.answered(place, command.index, command.data, answer)
        if first and place == KEY_VALUE:
            known = len(self.oracle.effects)
            self.oracle.applied(command.index, command.data, answer)
            if self._without_effect and len(self.oracle.effects) > known:
                self._check_denied()

    def _check_denied(self) -> None:
        for unique in reversed(self.oracle.effects):
            if unique in self._without_effect:
                raise Violation(
                    "errors-are-true",
                    f"{unique!r} took effect in entry {self.oracle.effects[unique].entry}, "
                    "though its client was told that it did not",
                )
            if self.oracle.effects[unique].entry != self.oracle.index:
                return

    # --- clients ----------------------------------------------------------------------------------

    def failed(self, operation: Operation, error: Exception) -> None:
        """A client was told that `operation` ended with `error`."""
        self.outcomes[type(error).__name__] += 1
        unique = token(operation)
        if isinstance(error, errors.NotApplied):
            if unique is None:
                return
            if unique in self.oracle.effects:
                raise Violation(
                    "errors-are-true",
                    f"a client was told {error!r}, but {unique!r} took effect in entry "
                    f"{self.oracle.effects[unique].entry}",
                )
            self._without_effect.add(unique)
        elif not isinstance(error, errors.OutcomeUnknown):
            raise Violation("client-answers", f"{operation} ended with {error!r}")

    def succeeded(self, operation: Operation, result: object, floor: int) -> None:
        """A client was told `result`; `floor` is what it was when the operation began."""
        self.outcomes[type(result).__name__] += 1
        if isinstance(operation, Range):
            self._read(operation, result, floor)
            return
        unique = token(operation)
        assert unique is not None
        effect = self.oracle.effects.get(unique)
        if effect is None:
            raise Violation("durability", f"{unique!r} was acknowledged, but is not committed")
        if effect.result != result:
            raise Violation(
                "client-answers", f"a client was told {result}, but it was {effect.result}"
            )
        if effect.revision < floor:
            raise Violation(
                "linearizability",
                f"{unique!r} took effect at revision {effect.revision}, after revision {floor} had "
                "been seen",
            )
        self.floor = max(self.floor, effect.revision)

    def _read(self, question: Range, result: object, floor: int) -> None:
        if isinstance(result, Lagging):
            assert isinstance(result.result, RangeDone)
            self.oracle.check_read(question, result.result)
            return
        if not isinstance(result, RangeDone):
            raise Violation("client-answers", f"{question} ended with {result}")
        self.oracle.check_read(question, result)
        if result.revision < floor:
            raise Violation(
                "linearizability",
                f"a read saw revision {result.revision}, but had begun after revision {floor} was "
                "seen",
            )
        self.floor = max(self.floor, result.revision)
