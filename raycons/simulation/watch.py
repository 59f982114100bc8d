"""A witness for machines: the shipped ones, with what they do reported as they do it."""

from __future__ import annotations

from typing import Protocol

from raycons.machines.contract import Command, Machine, Tell
from raycons.simulation.world import Violation


class Witness(Protocol):
    """Told what a replica's machine was given, and what it answered."""

    def witnessed(self, place: str, command: Command, answer: bytes) -> None:
        """The machine at `place` answered `command`."""


def watch(machine: Machine, place: str, witness: Witness) -> None:
    """Have every command that `machine` carries out told to `witness`."""
    apply = machine.apply

    def apply_and_tell(command: Command, tell: Tell | None = None) -> bytes:
        told: list[bytes] = []

        def early(answer: bytes) -> None:
            told.append(answer)
            if tell is not None:
                tell(answer)

        answer = apply(command, early)
        if told not in ([], [answer]):
            raise Violation(
                "one answer", f"{place}, entry {command.index}: told {told}, then gave {answer!r}"
            )
        witness.witnessed(place, command, answer)
        return answer

    setattr(machine, "apply", apply_and_tell)  # noqa: B010  mypy forbids the plain assignment
