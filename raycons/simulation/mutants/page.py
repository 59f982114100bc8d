"""The tables of a hunt, one a duty, as they stand in `docs/verification.md` between markers."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

from raycons.errors import BadArgument
from raycons.simulation.mutants.hunt import Found, Hunt
from raycons.simulation.mutants.registry import DUTIES, choose


def update(path: Path, report: Hunt, command: str) -> None:
    """Write each whole duty of the report, with command, date and machine, between its markers.

    Raises BadArgument where the file lacks the markers of one, or the report has no whole duty.
    """
    text = path.read_text(encoding="utf-8")
    written = 0
    for duty in DUTIES:
        results = [found for found in report.mutants if found.duty == duty]
        if {found.name for found in results} != {one.name for one in choose([duty])}:
            continue
        begin, end = f"<!-- mutants of {duty}: begin -->", f"<!-- mutants of {duty}: end -->"
        before, opened, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise BadArgument(f"{path} lacks the lines {begin!r} and {end!r} for the table")
        text = f"{before}{begin}\n{render(results, report, command)}{end}{after}"
        written += 1
    if not written:
        raise BadArgument(f"{path} has a table for each duty: hunt all of one, not some mutants")
    path.write_text(text, encoding="utf-8")


def render(results: list[Found], report: Hunt, command: str) -> str:
    """The Markdown of one duty: what was run, when and where, and what became of each mutant."""
    day = time.strftime("%Y-%m-%d")  # for the reader alone: nothing is decided by it
    lines = [
        "",
        *_rows(results, report.seeds),
        "",
        f"`{command}`, {day}, {machine()}.",
    ]
    return "\n".join(lines) + "\n\n"


def _rows(results: list[Found], seeds: int) -> list[str]:
    lines = [
        "| mutant | source | found | median | min | max | by | first seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        seed = re.search(r"--seed (\S+)", one.replay)
        cells = [
            f"**{one.name}**: {one.description}",
            one.source,
            f"{one.found}/{one.campaigns}",
            *numbers(one, seeds),
            ", ".join(one.invariants) or "-",
            seed[1] if seed else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def numbers(found: Found, seeds: int) -> tuple[str, str, str]:
    """Median, least and most seeds to detection, as text; `>200`: not within 200."""
    beyond = f">{seeds}"
    return (
        beyond if found.median_seeds is None else f"{found.median_seeds:g}",
        beyond if found.min_seeds is None else str(found.min_seeds),
        beyond if found.max_seeds is None else str(found.max_seeds),
    )


def machine() -> str:
    """This machine in a few words."""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )
