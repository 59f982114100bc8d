"""A violation for a person at a terminal: who did what when, and why it cannot have been so."""

from __future__ import annotations

from collections.abc import Iterator

from raycons.verify.history import Operation
from raycons.verify.violation import Violation

BAR = 32  # characters from the first call to the last return
NS_PER_MS = 1e6


def story(violation: Violation) -> list[str]:
    r"""The lines to print.

    >>> from raycons.verify import Operation, check
    >>> put = Operation(0, "put", "x", 0, 1_000_000, "1")
    >>> get = Operation(1, "get", "x", 2_000_000, 4_000_000)
    >>> print("\n".join(story(check([put, get]).violation)))
    x: nothing explains these 2 of 2 operations
    <BLANKLINE>
      client  operation    from ms  to ms
           0  put "1"        0.000  1.000  |=======|
           1  get: absent    2.000  4.000                  |==============|  <- impossible
    <BLANKLINE>
    This much can be explained:
      before             absent
      0: put "1"    then "1"
    Then one of these has to be next, and none can be:
      1: get: absent    not possible where the state is "1"
    """
    return [
        f"{violation.key}: nothing explains these {len(violation.operations):,} of"
        f" {violation.of:,} operations",
        "",
        *_timeline(violation),
        "",
        *_explanation(violation),
    ]


def span(violation: Violation) -> tuple[int, int]:
    """The first call, and the last moment that is known: of a return, or else of a call."""
    ops = violation.operations
    end = max(op.call if op.returned is None else op.returned for op in ops)
    begin = min(op.call for op in ops)
    return begin, max(end, begin + 1)


def remark(violation: Violation, place: int) -> str:
    """What is special about one of its operations."""
    op = violation.operations[place]
    if op is violation.impossible:
        return "impossible"
    return "before all this, within it, or never" if place in violation.loose else ""


def _timeline(violation: Violation) -> Iterator[str]:
    begin, end = span(violation)
    rows = [("client", "operation", "from ms", "to ms")]
    for op in violation.operations:
        until = "?" if op.returned is None else f"{(op.returned - begin) / NS_PER_MS:.3f}"
        since = f"{(op.call - begin) / NS_PER_MS:.3f}"
        rows.append((str(op.client), violation.told(op), since, until))
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    for place, (client, what, since, until) in enumerate(rows, -1):
        line = f"  {client:>{wide[0]}}  {what:<{wide[1]}}  {since:>{wide[2]}}  {until:>{wide[3]}}"
        if place >= 0:
            line += f"  {_bar(violation.operations[place], begin, end)}"
            note = remark(violation, place)
            line += f" <- {note}" if note else ""
        yield line.rstrip()


def _bar(op: Operation, begin: int, end: int) -> str:
    def column(time: int) -> int:
        return min((time - begin) * BAR // (end - begin), BAR - 1)

    first = column(op.call)
    last = BAR - 1 if op.returned is None else column(op.returned)
    close = ">" if op.returned is None else "|"
    bar = "|" + "=" * (last - first - 1) + close if last > first else "|"
    return " " * first + bar + " " * (BAR - first - len(bar)) + " "


def _explanation(violation: Violation) -> Iterator[str]:
    yield "This much can be explained:"
    start = violation.start
    if violation.is_cut:
        start += "  (or anything else: with no other state before can more be explained)"
    steps = [
        (f"{one.op.client}: {violation.told(one.op)}", one.state) for one in violation.explained
    ]
    wide = max(len(what) for what, _ in [*steps, ("before", "")])
    yield f"  {'before':<{wide}}         {start}"
    for what, state in steps:
        yield f"  {what:<{wide}}    then {state}"
    yield "Then one of these has to be next, and none can be:"
    for dead in violation.dead_ends:
        yield f"  {dead.op.client}: {violation.told(dead.op)}    {dead.reason}"
