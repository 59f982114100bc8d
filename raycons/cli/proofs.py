"""How the proofs of a run are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from raycons.chaos.proofs import Proof


def proof_table(proofs: Sequence[Proof]) -> Table:
    """A row for each claim: whether it holds, and what was found."""
    table = Table(title="Proofs", title_justify="left", show_header=False)
    table.add_column()
    table.add_column()
    table.add_column(overflow="fold")
    for proof in proofs:
        sign = Text("holds", style="green") if proof.holds else Text("FAILS", style="bold red")
        table.add_row(sign, Text(proof.claim), Text(proof.detail))
    return table
