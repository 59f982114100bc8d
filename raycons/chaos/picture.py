"""A run as a picture, SVG: acknowledged writes a second, and below them how long failovers took.

Bands behind both are the faults, with their names above.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from raycons.chaos.report import ChaosReport, Incident

LEFT, WIDTH, RIGHT = 60, 1000, 20  # pixels
HEAD, ROW, LETTER = 40, 14, 7  # the title's height, a row of names, and about a letter's width
WRITES, GAP, FAILOVERS, FOOT = 240, 34, 110, 40
TICKS = 10
SHORTEST_MS, DECADES = 1.0, 5  # the failovers' axis: from 1 ms to 100 s
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600; font-size: 15px }
.axis { fill: #777; font-size: 11px }
.grid { stroke: #ddd }
.fault { fill: #f3d9d4 }
.writes { fill: #5b87b8 }
.none { fill: #c0392b }
.failover { fill: #8e44ad }
"""


def svg(report: ChaosReport) -> str:
    """The picture, which needs nothing else."""
    rows = _rows(report)
    top = HEAD + ROW * (max(rows, default=0) + 1)
    lower = top + WRITES + GAP
    width, height = LEFT + WIDTH + RIGHT, lower + FAILOVERS + FOOT
    title = (
        f"{report.rounds} rounds of faults, {report.transport}, seed {report.seed}: "
        f"{report.available:.1%} of the seconds with an acknowledged write"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="12" y="24">{escape(title)}</text>',
            *(
                _band(report, one, HEAD + ROW * (row + 1) - 4, top, lower + FAILOVERS)
                for one, row in zip(report.incidents, rows, strict=True)
            ),
            *_bars(report, top),
            *_failovers(report, lower),
            *_seconds(report, lower + FAILOVERS + 20),
            "</svg>\n",
        ]
    )


def _rows(report: ChaosReport) -> list[int]:
    """For each incident the first row in which its name is not over another's."""
    ends: list[float] = []  # of the last name in each row
    rows = []
    for one in report.incidents:
        left = _name_x(report, one)
        row = next((row for row, end in enumerate(ends) if end < left), len(ends))
        ends[row:] = [left + LETTER * (len(_name(one)) + 1), *ends[row + 1 :]]
        rows.append(row)
    return rows


def _name(incident: Incident) -> str:
    return "+".join(incident.kinds)


def _name_x(report: ChaosReport, incident: Incident) -> float:
    """Where its band begins, or else where the name still fits in."""
    room = LEFT + WIDTH + RIGHT - LETTER * len(_name(incident))
    return min(_x(report, incident.began_s), room)


def _x(report: ChaosReport, at_s: float) -> float:
    return LEFT + WIDTH * min(1.0, at_s / max(report.seconds, 1e-9))


def _band(report: ChaosReport, incident: Incident, name_y: int, top: int, bottom: int) -> str:
    left, right = _x(report, incident.began_s), _x(report, incident.healed_s)
    name = escape(_name(incident))
    hint = f"{name}, from {incident.began_s:.1f} to {incident.healed_s:.1f} s"
    if incident.failover_ms is not None:
        hint += f"; back after {incident.failover_ms:.0f} ms"
    return (
        f'<g><title>{hint}</title><rect class="fault" x="{left:.1f}" y="{top}"'
        f' width="{max(right - left, 1):.1f}" height="{bottom - top}"/>'
        f'<text x="{_name_x(report, incident):.1f}" y="{name_y}">{name}</text></g>'
    )


def _bars(report: ChaosReport, top: int) -> Iterator[str]:
    highest = max(report.acknowledged_per_second, default=0)
    wide = max(WIDTH / max(report.seconds, 1.0) - 1, 0.5)
    for second, count in enumerate(report.acknowledged_per_second):
        tall = max(WRITES * count / (highest or 1), 2)
        kind = "writes" if count else "none"
        yield (
            f'<rect class="{kind}" x="{_x(report, second):.1f}" y="{top + WRITES - tall:.1f}"'
            f' width="{wide:.1f}" height="{tall:.1f}"/>'
        )
    yield _label(8, top + 10, f"{highest:,}/s")
    yield _label(8, top + WRITES, "0")


def _failovers(report: ChaosReport, top: int) -> Iterator[str]:
    """A dot for each fault on a leader: from the fault to the first write that was told as done."""
    yield _label(LEFT, top - 6, "failovers (from a fault on the leader to the next write)")
    for decade in range(DECADES + 1):
        y = top + FAILOVERS * (1 - decade / DECADES)
        yield f'<line class="grid" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        milliseconds = SHORTEST_MS * 10**decade
        text = f"{milliseconds:g} ms" if decade < 3 else f"{milliseconds / 1000:g} s"
        yield _label(8, y + 4, text)
    for one in _measured(report.incidents):
        assert one.failover_ms is not None
        above = math.log10(max(one.failover_ms, SHORTEST_MS) / SHORTEST_MS) / DECADES
        yield (
            f'<circle class="failover" r="4" cx="{_x(report, one.began_s):.1f}"'
            f' cy="{top + FAILOVERS * (1 - min(above, 1.0)):.1f}"><title>{escape(_name(one))}:'
            f" {one.failover_ms:.0f} ms</title></circle>"
        )


def _measured(incidents: Sequence[Incident]) -> list[Incident]:
    return [one for one in incidents if one.at_leader and one.failover_ms is not None]


def _seconds(report: ChaosReport, y: float) -> Iterator[str]:
    for tick in range(TICKS + 1):
        at_s = report.seconds * tick / TICKS
        yield (
            f'<text class="axis" x="{_x(report, at_s):.1f}" y="{y:.1f}"'
            f' text-anchor="middle">{at_s:.0f} s</text>'
        )


def _label(x: float, y: float, text: str) -> str:
    return f'<text class="axis" x="{x:g}" y="{y:.1f}">{text}</text>'
