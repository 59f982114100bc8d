"""A chart for terminals: a line a message, with its words at the right, so that it stays narrow.

  ms   p1     a1     a2
0.00   ├─────▶│      │      p1 to a1: prepare 1.1
0.03   ├──────┼───✗  │      p1 to a2: prepare 1.1, lost
"""

from __future__ import annotations

from raycons.charts.events import Kind
from raycons.charts.rows import Arrow, Mark, Rows, printable

MARGIN = 9  # characters of the times
MIN_LANE = 7
MARKS = {
    Kind.CHOSEN: "◆",
    Kind.CRASHED: "✗",
    Kind.RESTARTED: "○",
    Kind.NOTE: "•",
}


def text(rows: Rows) -> str:
    """The chart; lines end in newlines."""
    lane = max([MIN_LANE, *(len(name) + 2 for name in rows.actors)])
    columns = {name: MARGIN + lane * place for place, name in enumerate(rows.actors)}
    head = [" "] * (MARGIN + lane * len(rows.actors))
    for name, column in columns.items():
        head[column : column + len(name)] = name
    head[MARGIN - 5 : MARGIN - 3] = "ms"
    lines = ["".join(head).rstrip()]
    down: set[str] = set()
    items: list[tuple[int, Arrow | Mark]] = [(each.ends, each) for each in rows.arrows]
    items += [(each.row, each) for each in rows.marks]
    for row, item in sorted(items, key=lambda pair: pair[0]):
        line = list(f"{rows.times_s[row] * 1000:>{MARGIN - 3}.2f}".ljust(len(head)))
        for name, column in columns.items():
            line[column] = "┊" if name in down else "│"
        if isinstance(item, Arrow):
            _arrow(line, columns[item.source], columns[item.target], lost=item.lost)
            told = f"{item.source} to {item.target}: {item.text}{', lost' if item.lost else ''}"
        else:
            line[columns[item.actor]] = MARKS[item.kind]
            told = f"{item.actor}: {item.text or item.kind}"
            if item.kind is Kind.CRASHED:
                down.add(item.actor)
            elif item.kind is Kind.RESTARTED:
                down.discard(item.actor)
        lines.append(f"{''.join(line)}{printable(told)}")
    return "".join(f"{line}\n" for line in lines)


def _arrow(line: list[str], source: int, target: int, *, lost: bool) -> None:
    step = 1 if target > source else -1
    end = target - 3 * step if lost else target - step
    for column in range(source + step, end, step):
        line[column] = "┼" if line[column] in "│┊" else "─"
    line[source] = "├" if step > 0 else "┤"
    if lost:
        line[end] = "✗"
    else:
        line[end] = "▶" if step > 0 else "◀"
