"""`raycons explore`: every order of events of a small scope, and how many states there are."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import click
import msgspec

from raycons.cli.output import Format, emit, fields, format_option, stderr, stdout
from raycons.errors import BadArgument
from raycons.simulation.explorer import explore
from raycons.simulation.mutants.synod import all_mistakes, mistake_named
from raycons.simulation.synod_chart import chart_of
from raycons.simulation.synod_scope import SynodScope

MAX_STATES = 5_000_000


class Explored(msgspec.Struct, frozen=True):
    """What an exploration came to."""

    states: int
    transitions: int
    depth: int
    seconds: float
    broken: str | None
    story: list[str]


@click.group(name="explore")
def command() -> None:
    """Go through all states of a small scope, not just some of a large one.

    Every message that was sent may arrive at any time, again and again, or never.
    """


@command.command()
@click.option("--proposers", type=click.IntRange(min=1), default=None, help="Default: 2.")
@click.option("--acceptors", type=click.IntRange(min=1), default=None, help="Default: 3.")
@click.option(
    "--rounds",
    default=None,
    metavar="N[,N...]",
    help="How high the ballots go: for all proposers, or for each. Default: 1.",
)
@click.option("--without-refusals", is_flag=True, help="Lose all refusals: ten times fewer states.")
@click.option(
    "--mistake",
    type=click.Choice([each.name for each in all_mistakes()]),
    default=None,
    help="Plant a mistake, in a scope that shows it unless you name another.",
)
@click.option(
    "--chart",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Draw what leads to a broken state into this file, .svg or .txt.",
)
@click.option(
    "--states",
    "most",
    type=click.IntRange(min=1),
    default=MAX_STATES,
    show_default=True,
    help="Refuse a scope with more.",
)
@format_option
@click.pass_context
def synod(
    context: click.Context,
    proposers: int | None,
    acceptors: int | None,
    rounds: str | None,
    without_refusals: bool,
    mistake: str | None,
    chart: Path | None,
    most: int,
    form: Format,
) -> None:
    """Single-decree Paxos: whether two values can be chosen.

    States that differ only in which acceptor is which count once. 2 proposers, 3 acceptors and one
    round: some 300,000 states, half a minute. With more of anything it soon takes hours.

    Exit code 1 where something is broken, with the shortest story that leads to it.
    """
    if chart is not None and chart.suffix.lower() not in (".svg", ".txt"):
        raise BadArgument(f"{chart.name}: the name of a chart ends in .svg or .txt")
    if chart is not None and not chart.absolute().parent.is_dir():
        raise BadArgument(f"{chart}: there is no such directory; make it first")
    planted = None if mistake is None else mistake_named(mistake)
    own = any(each is not None for each in (proposers, acceptors, rounds)) or without_refusals

    def scope() -> SynodScope:
        if planted is not None and not own:
            return planted.scope()
        numbers = _rounds(rounds or "1")
        return SynodScope(proposers or 2, acceptors or 3, numbers, refusals=not without_refusals)

    with nullcontext() if planted is None else planted.planted():
        begin, explored = time.monotonic(), scope()
        found = explore(explored, most)
        seconds = round(time.monotonic() - begin, 3)
        drawn = chart_of(found, explored) if chart is not None and found.broken else None
    _show(
        Explored(found.states, found.transitions, found.depth, seconds, found.broken, found.story),
        form,
    )
    if chart is not None and drawn is None:
        stderr.print(f"nothing is broken, so nothing is drawn into {chart}", style="dim")
    elif chart is not None and drawn is not None:
        drawn.save(chart)
        stderr.print(f"drawn into {chart}", style="dim")
    context.exit(0 if found.broken is None else 1)


def _rounds(text: str) -> int | list[int]:
    try:
        numbers = [int(each) for each in text.split(",")]
    except ValueError:
        raise BadArgument(f"--rounds {text}: expected a number, or one for each proposer") from None
    return numbers[0] if len(numbers) == 1 else numbers


def _show(report: Explored, form: Format) -> None:
    plain = {name: getattr(report, name) for name in ("states", "transitions", "depth", "seconds")}
    emit(report, form, lambda: fields(plain, "single-decree Paxos, every order of events"))
    if form == "json":
        return
    if report.broken is None:
        stdout.print("No two values are chosen in any of them.")
        return
    for line in report.story:
        stdout.print(line)
    stdout.print(report.broken, style="bold red")
