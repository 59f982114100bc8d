"""A run as a picture: acknowledged writes of each second, over bands for the faults; SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from raycons.chaos.report import ChaosReport, Incident

LEFT, WIDTH, RIGHT = 60, 1000, 20  # pixels
TOP, HEIGHT, BOTTOM = 110, 240, 40
NAME_ROWS = 4  # the faults' names take turns in so many rows
TICKS = 10
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600; font-size: 15px }
.axis { fill: #777; font-size: 11px }
.fault { fill: #f3d9d4 }
.writes { fill: #5b87b8 }
.none { fill: #c0392b }
"""


def svg(report: ChaosReport) -> str:
    """The picture, which needs nothing else."""
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    title = (
        f"{report.rounds} rounds of faults, {report.transport}, seed {report.seed}: "
        f"{report.available:.1%} of the seconds with an acknowledged write"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="12" y="24">{escape(title)}</text>',
            *(_band(report, row, one) for row, one in enumerate(report.incidents)),
            *_bars(report),
            *_axis(report),
            "</svg>\n",
        ]
    )


def _x(report: ChaosReport, at_s: float) -> float:
    return LEFT + WIDTH * min(1.0, at_s / max(report.seconds, 1e-9))


def _band(report: ChaosReport, row: int, incident: Incident) -> str:
    left, right = _x(report, incident.began_s), _x(report, incident.healed_s)
    name = escape("+".join(incident.kinds))
    hint = f"{name}, from {incident.began_s:.1f} to {incident.healed_s:.1f} s"
    if incident.failover_ms is not None:
        hint += f"; back after {incident.failover_ms:.0f} ms"
    return (
        f'<g><title>{hint}</title><rect class="fault" x="{left:.1f}" y="{TOP - 8}"'
        f' width="{max(right - left, 1):.1f}" height="{HEIGHT + 8}"/>'
        f'<text x="{left:.1f}" y="{TOP - 60 + 14 * (row % NAME_ROWS)}">{name}</text></g>'
    )


def _bars(report: ChaosReport) -> Iterator[str]:
    most = max(report.acknowledged_per_second, default=0) or 1
    wide = max(WIDTH / max(report.seconds, 1.0) - 1, 0.5)
    for second, count in enumerate(report.acknowledged_per_second):
        tall = HEIGHT * count / most
        kind = "writes" if count else "none"
        yield (
            f'<rect class="{kind}" x="{_x(report, second):.1f}"'
            f' y="{TOP + HEIGHT - max(tall, 2):.1f}" width="{wide:.1f}"'
            f' height="{max(tall, 2):.1f}"/>'
        )


def _axis(report: ChaosReport) -> Iterator[str]:
    most = max(report.acknowledged_per_second, default=0)
    yield f'<text class="axis" x="8" y="{TOP + 4}">{most:,}/s</text>'
    yield f'<text class="axis" x="8" y="{TOP + HEIGHT}">0</text>'
    for tick in range(TICKS + 1):
        at_s = report.seconds * tick / TICKS
        yield (
            f'<text class="axis" x="{_x(report, at_s):.1f}" y="{TOP + HEIGHT + 20}"'
            f' text-anchor="middle">{at_s:.0f} s</text>'
        )
