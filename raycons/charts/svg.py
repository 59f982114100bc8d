"""A chart as a picture, which needs nothing else: SVG."""

from __future__ import annotations

import html
from collections.abc import Iterator

from raycons.charts.events import Kind
from raycons.charts.rows import Arrow, Mark, Rows, printable

LEFT, TOP, ROW, FOOT = 86, 74, 26, 26  # pixels: the times, the names, a row, below the last
LETTER = 6.3  # about the width of a letter of a message
MIN_LANE, MAX_LANE = 110.0, 230.0
LOST_AT = 0.72  # of the way, where a lost message ends
NAME = "raycons-chart"
RULES = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600; font-size: 15px }
.name { font-weight: 600; font-size: 13px; text-anchor: middle }
.head { fill: #eef3f9; stroke: #5b87b8 }
.time { fill: #888; font-size: 10.5px; text-anchor: end }
.life { stroke: #b9c4d0 }
.down { stroke: #c0392b; stroke-dasharray: 2 5 }
.arrow { stroke: #3b6ea5; fill: none }
.point { fill: #3b6ea5 }
.lost { stroke: #c0392b; stroke-dasharray: 5 3; fill: none }
.words { font-size: 11.5px; stroke: #fff; stroke-width: 4px; paint-order: stroke }
.gone { fill: #c0392b }
.cross { stroke: #c0392b; stroke-width: 2; fill: none }
.chosen { fill: #fff1c4; stroke: #b8860b; stroke-width: 1.5 }
.strong { font-weight: 600; text-anchor: middle }
.again { fill: #fff; stroke: #2e8b57; stroke-width: 2 }
.note { fill: #888 }
"""
# In a notebook the picture is part of the page, whose own elements these rules must not touch.
STYLE = "".join(f".{NAME} {rule}\n" for rule in RULES.split("\n") if rule)


def svg(rows: Rows, title: str = "") -> str:
    """The chart."""
    return _Drawing(rows, title).whole()


def escape(words: str) -> str:
    """The words as text of an SVG."""
    return html.escape(printable(words))


class _Drawing:
    def __init__(self, rows: Rows, title: str) -> None:
        self.rows = rows
        self.title = title
        longest = max([0, *(len(arrow.text) for arrow in rows.arrows)])
        self.lane = min(MAX_LANE, max(MIN_LANE, longest * LETTER / 1.5))
        self.x = {name: LEFT + self.lane * (n + 0.5) for n, name in enumerate(rows.actors)}
        self.width = LEFT + self.lane * len(rows.actors) + 12
        for arrow in rows.arrows:
            x, anchor = self._beside(arrow)
            if anchor == "start":
                self.width = max(self.width, x + _width(arrow) + 8)
        for mark in rows.marks:
            self.width = max(self.width, self.x[mark.actor] + len(mark.text) * LETTER + 24)
        self.bottom = TOP + ROW * len(rows.times_s)

    def whole(self) -> str:
        """All of it, the lifelines behind, the words in front."""
        height = self.bottom + FOOT
        size = f'width="{self.width:.0f}" height="{height}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size}'
                f' viewBox="0 0 {self.width:.0f} {height}" role="img" class="{NAME}"'
                ' style="background: #fff">',
                f"<title>{escape(self.title or 'message-sequence chart')}</title>",
                f"<style>\n{STYLE}</style>",
                f'<text class="title" x="12" y="24">{escape(self.title)}</text>',
                *self._lifelines(),
                *self._times(),
                *(line for arrow in self.rows.arrows for line in self._line(arrow)),
                *(line for mark in self.rows.marks for line in self._mark(mark)),
                *(self._words(arrow) for arrow in self.rows.arrows),
                "</svg>\n",
            ]
        )

    def _y(self, row: int) -> float:
        return TOP + ROW * (row + 0.75)

    def _lifelines(self) -> Iterator[str]:
        for name, x in self.x.items():
            half = max(22.0, len(name) * 4.2 + 10)
            yield (
                f'<rect class="head" x="{x - half:.1f}" y="38" width="{2 * half:.1f}" height="24"'
                f' rx="4"/><text class="name" x="{x:.1f}" y="55">{escape(name)}</text>'
            )
            begin, kind = 62.0, "life"
            for mark in self.rows.marks:
                changes = {Kind.CRASHED: "down", Kind.RESTARTED: "life"}
                if mark.actor == name and mark.kind in changes:
                    yield self._life(kind, x, begin, self._y(mark.row))
                    begin, kind = self._y(mark.row), changes[mark.kind]
            yield self._life(kind, x, begin, self.bottom + 12)

    def _life(self, kind: str, x: float, begin: float, end: float) -> str:
        return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{begin:.1f}" y2="{end:.1f}"/>'

    def _times(self) -> Iterator[str]:
        before = ""
        for row, seconds in enumerate(self.rows.times_s):
            shown = f"{seconds * 1000:,.2f} ms"
            if shown != before:
                y = self._y(row) + 4
                yield f'<text class="time" x="{LEFT - 16}" y="{y:.1f}">{shown}</text>'
            before = shown

    def _ends(self, arrow: Arrow) -> tuple[float, float, float, float]:
        x1, x2 = self.x[arrow.source], self.x[arrow.target]
        y1, y2 = self._y(arrow.begins), self._y(arrow.ends)
        if arrow.lost:
            x2 = x1 + (x2 - x1) * LOST_AT
        return x1, y1, x2, y2

    def _line(self, arrow: Arrow) -> Iterator[str]:
        x1, y1, x2, y2 = self._ends(arrow)
        hint = f"{arrow.source} to {arrow.target}: {arrow.text}"
        if arrow.lost:
            yield (
                f"<g><title>{escape(hint)}, lost</title>"
                f'<line class="lost" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
                f"{_cross(x2, y2, 5)}</g>"
            )
            return
        side = 1 if x2 > x1 else -1
        length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1.0)
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        back_x, back_y = x2 - 9 * dx, y2 - 9 * dy
        points = " ".join(
            f"{x:.1f},{y:.1f}"
            for x, y in (
                (x2, y2),
                (back_x - 4 * dy * side, back_y + 4 * dx * side),
                (back_x + 4 * dy * side, back_y - 4 * dx * side),
            )
        )
        yield (
            f"<g><title>{escape(hint)}</title>"
            f'<line class="arrow" x1="{x1:.1f}" y1="{y1:.1f}" x2="{back_x:.1f}" y2="{back_y:.1f}"/>'
            f'<polygon class="point" points="{points}"/></g>'
        )

    def _words(self, arrow: Arrow) -> str:
        """The text, below the end of its arrow, which comes from above."""
        _, _, _, y = self._ends(arrow)
        x, anchor = self._beside(arrow)
        kind = "words gone" if arrow.lost else "words"
        text = escape(f"{arrow.text} (lost)" if arrow.lost else arrow.text)
        return (
            f'<text class="{kind}" x="{x:.1f}" y="{y + 11:.1f}" text-anchor="{anchor}">'
            f"{text}</text>"
        )

    def _beside(self, arrow: Arrow) -> tuple[float, str]:
        """Where a text stands: towards the arrow's source, but never over the times."""
        x1, _, x2, _ = self._ends(arrow)
        if x2 < x1:
            return x2 + 6, "start"
        if x2 - 6 - _width(arrow) < LEFT:
            return float(LEFT), "start"
        return x2 - 6, "end"

    def _mark(self, mark: Mark) -> Iterator[str]:
        x, y = self.x[mark.actor], self._y(mark.row)
        if mark.kind is Kind.CHOSEN:
            half = max(26.0, len(mark.text) * LETTER / 2 + 14)
            yield (
                f'<rect class="chosen" x="{x - half:.1f}" y="{y - 8.5:.1f}" width="{2 * half:.1f}"'
                f' height="18" rx="9"/><text class="strong" x="{x:.1f}" y="{y + 4.5:.1f}">'
                f"{escape(mark.text)}</text>"
            )
            return
        if mark.kind is Kind.CRASHED:
            yield _cross(x, y, 7)
        else:
            kind = "again" if mark.kind is Kind.RESTARTED else "note"
            yield f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        tone = "words gone" if mark.kind is Kind.CRASHED else "words"
        text = escape(mark.text or mark.kind.value)
        yield f'<text class="{tone}" x="{x + 11:.1f}" y="{y + 4:.1f}">{text}</text>'


def _width(arrow: Arrow) -> float:
    return (len(arrow.text) + (7 if arrow.lost else 0)) * LETTER


def _cross(x: float, y: float, size: int) -> str:
    return (
        f'<path class="cross" d="M{x - size:.1f} {y - size:.1f}l{2 * size} {2 * size}'
        f'm0 {-2 * size}l{-2 * size} {2 * size}"/>'
    )
