"""The chart of a run, as users hold it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from raycons.charts.events import Event
from raycons.charts.rows import rows
from raycons.charts.svg import svg
from raycons.charts.text import text
from raycons.errors import BadArgument


class Chart:
    """A message-sequence chart; printed it is text, in a notebook a picture.

    Args:
        events: in an order in which no receipt is above its sending (see `ordered`).
        actors: in which order they stand from left to right.
        title: above the picture.

    Raises BadArgument where a receipt is above its sending.
    """

    def __init__(
        self, events: Sequence[Event], actors: Sequence[str] = (), title: str = ""
    ) -> None:
        self.events = list(events)
        self.title = title
        self._rows = rows(self.events, actors)

    def text(self) -> str:
        """For terminals: a line a message."""
        return text(self._rows)

    def svg(self) -> str:
        """A picture that needs nothing else."""
        return svg(self._rows, self.title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file whose name ends in .svg or .txt.

        Raises BadArgument where it ends otherwise, OSError where it cannot be written.
        """
        file = Path(path)
        drawings = {".svg": self.svg, ".txt": self.text}
        if file.suffix.lower() not in drawings:
            raise BadArgument(f"{file.name}: the name of a chart ends in .svg or .txt")
        file.write_text(drawings[file.suffix.lower()](), encoding="utf-8")

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str:
        return self.svg()
