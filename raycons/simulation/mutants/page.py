"""The table of a hunt, as it stands in `docs/verification.md` between two markers."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from raycons.errors import BadArgument
from raycons.simulation.mutants.hunt import Found, Hunt

BEGIN = "<!-- mutants: begin -->"
END = "<!-- mutants: end -->"


def update(path: Path, report: Hunt, command: str) -> None:
    """Write the table, its command, the date and the machine between the markers of `path`.

    Raises BadArgument where the file lacks the markers.
    """
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadArgument(f"{path} has no lines {BEGIN} and {END} to write the table between")
    path.write_text(f"{before}{BEGIN}\n{render(report, command)}{END}{after}", encoding="utf-8")


def render(report: Hunt, command: str) -> str:
    """The Markdown of a hunt: what was run and where, the mutants found, those that were not."""
    found = [one for one in report.mutants if one.found == one.campaigns]
    missed = [one for one in report.mutants if one.found < one.campaigns]
    lines = [
        "",
        f"{len(found)} of {len(report.mutants)} mutants were found by each of {report.campaigns} "
        f"campaigns of at most {report.seeds} seeds, {report.virtual_seconds:g} virtual seconds "
        "of faults a seed.",
        "",
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, {machine()}",
        "",
        *_rows(found, report.seeds),
    ]
    if missed:
        lines += ["", "Not found by every campaign, so a hole or a rare one:", ""]
        lines += _rows(missed, report.seeds)
    return "\n".join(lines) + "\n\n"


def _rows(results: list[Found], seeds: int) -> list[str]:
    lines = [
        "| mutant | what it does wrong | source | world | median | min | max | found by | replay |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        middle, least, most = numbers(one, seeds)
        checks = ", ".join(f"{name} {count}" for name, count in one.invariants.items()) or "-"
        cells = [one.name, one.description, one.source, one.world, middle, least, most, checks]
        seed = re.search(r"--seed \S+", one.replay)
        cells.append(f"`{seed.group()}`" if seed else "-")
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
