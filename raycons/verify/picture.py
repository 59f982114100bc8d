"""A violation as a picture: one row a client, a bar from call to return; SVG, or a page with it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from raycons.errors import BadArgument
from raycons.verify.history import Operation
from raycons.verify.story import NS_PER_MS, remark, span, story
from raycons.verify.violation import Violation

LEFT, WIDTH, RIGHT = 90, 860, 50  # pixels: the clients' names, the time, room for open bars
TOP, ROW, BAR = 56, 46, 22
TICKS = 5
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600; font-size: 15px }
.axis text { fill: #777; font-size: 11px }
.axis line { stroke: #ddd }
.bar { fill: #cfe0f5; stroke: #5b87b8 }
.open { fill: #f3ead0; stroke: #b89a4a; stroke-dasharray: 5 3 }
.impossible { fill: #f8c9c4; stroke: #c0392b; stroke-width: 2 }
"""


def draw(violation: Violation, path: Path) -> None:
    """Write the picture to `path`, whose name ends in .svg or .html.

    Raises:
        BadArgument: it ends otherwise.
        OSError: it cannot be written.
    """
    check_name(path)
    picture = svg(violation)
    path.write_text(picture if path.suffix.lower() == ".svg" else page(violation, picture))


def check_name(path: Path) -> None:
    """Raises BadArgument unless the name says svg or html."""
    if path.suffix.lower() not in (".svg", ".html"):
        raise BadArgument(f"{path.name}: the name of a picture ends in .svg or .html")


def page(violation: Violation, picture: str) -> str:
    """An HTML page with the picture and the story; needs nothing else."""
    title = f"{escape(violation.key)}: not linearizable"
    text = escape("\n".join(story(violation)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<body>{picture}<pre>{text}</pre></body></html>\n"
    )


def svg(violation: Violation) -> str:
    """The picture, which needs nothing else."""
    clients = sorted({op.client for op in violation.operations})
    lanes = _lanes(violation, clients)
    height = TOP + ROW * len(lanes) + 34
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}"'
        f' height="{height}" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="12" y="24">{escape(violation.key)}: nothing explains these'
        f" {len(violation.operations)} operations</text>",
        *_axis(violation, height),
    ]
    for row, lane in enumerate(lanes):
        y = TOP + row * ROW
        name = violation.operations[lane[0]].client
        body.append(f'<text x="12" y="{y + 33}">client {name}</text>')
        body += (_bar(violation, place, y) for place in lane)
    return "\n".join([*body, "</svg>\n"])


def _lanes(violation: Violation, clients: list[int]) -> list[list[int]]:
    """The operations of each row: of one client, and a row of its own after an unknown one."""
    lanes: list[list[int]] = []
    for client in clients:
        fresh = True
        for place, op in enumerate(violation.operations):
            if op.client == client:
                if fresh:
                    lanes.append([])
                lanes[-1].append(place)
                fresh = op.unknown
    return lanes


def _axis(violation: Violation, height: int) -> Iterator[str]:
    begin, end = span(violation)
    yield '<g class="axis">'
    for tick in range(TICKS + 1):
        x = LEFT + WIDTH * tick / TICKS
        label = f"{(end - begin) * tick / TICKS / NS_PER_MS:.3f} ms"
        yield f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{TOP - 8}" y2="{height - 26}"/>'
        yield f'<text x="{x:.0f}" y="{height - 10}" text-anchor="middle">{label}</text>'
    yield "</g>"


def _bar(violation: Violation, place: int, y: int) -> str:
    op = violation.operations[place]
    begin, end = span(violation)
    x = LEFT + WIDTH * (op.call - begin) / (end - begin)
    if op.returned is None:
        right = float(LEFT + WIDTH + RIGHT)  # out of the picture
    else:
        right = LEFT + WIDTH * (op.returned - begin) / (end - begin)
    width = max(right - x, 3)
    note = remark(violation, place)
    return (
        f"<g><title>{escape(_hint(violation, op, begin, note))}</title>"
        f'<rect class="{_kind(op, note)}" x="{x:.1f}" y="{y + 18}" width="{width:.1f}"'
        f' height="{BAR}" rx="3"/>'
        f'<text x="{x + 5:.1f}" y="{y + 33}">{escape(violation.told(op))}</text></g>'
    )


def _kind(op: Operation, note: str) -> str:
    if note == "impossible":
        return "impossible"
    return "open" if op.unknown else "bar"


def _hint(violation: Violation, op: Operation, begin: int, note: str) -> str:
    since = f"{(op.call - begin) / NS_PER_MS:.6f} ms"
    until = "?" if op.returned is None else f"{(op.returned - begin) / NS_PER_MS:.6f} ms"
    text = f"client {op.client}: {violation.told(op)}, {since} to {until}"
    return f"{text} ({note})" if note else text
