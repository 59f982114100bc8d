"""`raycons mutants`: how many seeds the simulator needs to find each planted bug."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click
from rich.progress import Progress
from rich.table import Table

from raycons.cli.output import Format, emit, format_option, stderr, stdout
from raycons.simulation.campaign import DEFAULT_SECONDS
from raycons.simulation.mutants import Mutant, choose, page
from raycons.simulation.mutants.hunt import Found, Hunt, hunt, live

STORY_LINES = 40


@click.command(name="mutants")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--campaigns", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Tried at most in each campaign.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Virtual seconds of faults in each seed.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--seed", type=int, default=None, help="Run one mutant on this one seed, and tell.")
@click.option(
    "--update",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=None,
    help="Also write the tables of whole duties between the markers of this file.",
)
@format_option
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    campaigns: int,
    seeds: int,
    seconds: float,
    jobs: int,
    seed: int | None,
    update: Path | None,
    form: Format,
) -> None:
    """Plant bugs into the simulated code, and see whether they are found.

    All of them, or those named; the name of a duty (elections, replication, commit, reads, leases,
    membership, snapshots, sessions, storage, identity, multipaxos, registers) stands for all of
    its own.

    Exit code 1 if a campaign did not find one; with --seed: if that seed found it, as `raycons
    simulate` would.
    """
    chosen = choose(names)
    if seed is not None:
        if len(chosen) != 1:
            raise click.UsageError("--seed replays one mutant: name it")
        context.exit(replay(chosen[0], seed, seconds))
    report = _with_progress(chosen, campaigns, seeds, seconds, jobs)
    emit(report, form, lambda: _table(report))
    if update is not None:
        options = [f"--campaigns={campaigns}", f"--seeds={seeds}", f"--jobs={jobs}"]
        if seconds != DEFAULT_SECONDS:
            options.append(f"--seconds={seconds:g}")
        page.update(update, report, shlex.join(["raycons", "mutants", *names, *options]))
    context.exit(0 if all(found.found == campaigns for found in report.mutants) else 1)


def replay(mutant: Mutant, seed: int, seconds: float) -> int:
    """Run one seed with the bug planted, and print how it ended; returns the exit code."""
    with mutant.planted():
        outcome = live(mutant, seed, seconds)
    broken = outcome.violation
    if broken is None:
        stdout.print(f"{mutant.name}: seed {seed} does not find it in {outcome.events} events")
        return 0
    for line in outcome.story[-STORY_LINES:]:
        stdout.print(line)
    stdout.print(
        f"{mutant.name}: seed {seed}, step {broken.step}, virtual second {broken.time_s}: "
        f"{broken.invariant}: {broken.message}",
        style="bold red",
    )
    return 1


def _with_progress(
    mutants: Sequence[Mutant], campaigns: int, seeds: int, seconds: float, jobs: int
) -> Hunt:
    with Progress(console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
        task = progress.add_task(f"{len(mutants)} mutants", total=len(mutants))

        def advance(found: Found) -> None:
            progress.advance(task)

        return hunt(mutants, campaigns, seeds, seconds, jobs, advance)


def _table(report: Hunt) -> Table:
    table = Table(title=f"{report.campaigns} campaigns of at most {report.seeds} seeds")
    table.add_column("mutant")
    for heading in ("found", "median", "min", "max"):
        table.add_column(heading, justify="right")
    table.add_column("by")
    table.add_column("replay")
    for found in report.mutants:
        table.add_row(
            found.name,
            f"{found.found}/{found.campaigns}",
            *page.numbers(found, report.seeds),
            ", ".join(found.invariants),
            found.replay,
        )
    return table
