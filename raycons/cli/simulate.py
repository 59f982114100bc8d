"""`raycons simulate`: many seeds of the virtual world, or one of them again."""

from __future__ import annotations

import click
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from raycons.errors import BadArgument
from raycons.simulation.campaign import DEFAULT_SECONDS, PROTOCOLS, Campaign, Finding, simulate
from raycons.simulation.determinism import check_determinism
from raycons.simulation.life import Outcome
from raycons.simulation.shrink import Shrunk, shrink

STORY_LINES = 40


@click.command(name="simulate")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="raft", show_default=True)
@click.option("--seeds", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--first-seed", type=int, default=0, show_default=True, help="Where to begin.")
@click.option("--seed", type=int, default=None, help="Run this one seed, to see it again.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Virtual seconds of faults in each seed.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--check-determinism",
    "compared",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Instead, run N seeds twice, in processes with different hash seeds, and compare.",
)
@click.option(
    "--shrink",
    "shrinks",
    is_flag=True,
    help="Leave out the faults that a failing seed does not need, and show the rest (in JSON: "
    "`shrunk`, for each violation).",
)
@click.option(
    "--require-coverage",
    is_flag=True,
    help="Exit with 3 if something that is listed as rare never happened.",
)
@click.option(
    "--format", "output", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@click.pass_context
def command(
    context: click.Context,
    protocol: str,
    seeds: int,
    first_seed: int,
    seed: int | None,
    seconds: float,
    jobs: int,
    compared: int | None,
    require_coverage: bool,
    shrinks: bool,
    output: str,
) -> None:
    """Run groups in a virtual world full of faults, and check every step.

    Exit code 1 if an invariant broke; the command that replays it is printed with it.
    Whatever is listed as rare and never happened is named at the end.
    """
    if compared is not None:
        context.exit(compare(range(first_seed, first_seed + compared), seconds, output, protocol))
    campaign = run(protocol, seeds, first_seed, seed, seconds, jobs)
    if output == "json":
        print_json(campaign, seconds, shrinks=shrinks)
    else:
        _print_table(campaign)
        for finding in campaign.violations if shrinks else ():
            print_shrunk(_shrunk(finding, seconds, protocol))
    if campaign.violations:
        context.exit(1)
    context.exit(3 if require_coverage and campaign.never_reached else 0)


def run(
    protocol: str,
    seeds: int,
    first_seed: int,
    seed: int | None,
    seconds: float,
    jobs: int,
) -> Campaign:
    """Run the campaign; raises click.UsageError for what no campaign can be."""
    if seed is not None:
        first_seed, seeds = seed, 1
    try:
        return _with_progress(protocol, seeds, first_seed, seconds, jobs)
    except BadArgument as error:
        raise click.UsageError(str(error)) from error


def print_json(campaign: Campaign, seconds: float, *, shrinks: bool) -> None:
    """Print what the campaign came to, and with `shrinks` what each of its violations needs."""
    told = msgspec.to_builtins(campaign)
    if shrinks:
        told["shrunk"] = [
            _shrunk(finding, seconds, campaign.protocol) for finding in campaign.violations
        ]
    click.echo(msgspec.json.encode(told).decode())


def _shrunk(finding: Finding, seconds: float, protocol: str) -> Shrunk:
    """Leave out what the failure of a seed does not need."""
    seed = finding.seed
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"shrinking seed {seed}", total=None)
        shrunk = shrink(
            seed, seconds, lambda name: progress.update(task, description=name), protocol
        )
    if shrunk is None:
        raise click.ClickException(f"seed {seed} did not fail again; run --check-determinism")
    return shrunk


def print_shrunk(shrunk: Shrunk) -> None:
    """Tell the story of what is left of a failing seed."""
    console, broken = Console(), shrunk.outcome.violation
    assert broken is not None
    lines = [
        *shrunk.outcome.story[-STORY_LINES:],
        f"seed {shrunk.outcome.seed}, after {shrunk.runs} runs: "
        f"{broken.invariant}: {broken.message}",
        f"needs: {', '.join([*shrunk.faults, *shrunk.bends]) or 'no fault'}",
        f"does not need: {', '.join(shrunk.left_out) or 'nothing that could be left out'}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def compare(seeds: range, seconds: float, output: str, protocol: str = "raft") -> int:
    """Run each seed in two processes and print which differ; returns the exit code."""
    differences = check_determinism(seeds, seconds, protocol)
    if output == "json":
        told = {"seeds": len(seeds), "differences": differences}
        click.echo(msgspec.json.encode(told).decode())
    else:
        for found in differences:
            click.echo(f"seed {found.seed}: {found.traces[0]} in one process, {found.traces[1]}")
        equal = len(seeds) - len(differences)
        click.echo(f"{equal} of {len(seeds)} seeds were the same in two processes")
    return 1 if differences else 0


def _with_progress(
    protocol: str, seeds: int, first_seed: int, seconds: float, jobs: int
) -> Campaign:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{seeds} seeds of {seconds:g} virtual seconds", total=seeds)

        def advance(outcome: Outcome) -> None:
            progress.advance(task)

        return simulate(protocol, seeds, first_seed, seconds, jobs, advance)


def _print_table(campaign: Campaign) -> None:
    console = Console()
    last_seed = campaign.first_seed + campaign.seeds - 1
    table = Table(title=f"{campaign.protocol}, seeds {campaign.first_seed} to {last_seed}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_row("violations", str(len(campaign.violations)))
    table.add_row("seeds per second", f"{campaign.seeds_per_second:.2f}")
    table.add_row("events", f"{campaign.events:,}")
    table.add_row("events per second", f"{campaign.events_per_second:,.0f}")
    table.add_section()
    for name, count in campaign.coverage.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    if campaign.never_reached:
        missing = ", ".join(campaign.never_reached)
        console.print(f"never reached: {missing}", markup=False, highlight=False, soft_wrap=True)
    for finding in campaign.violations:
        _print_finding(console, finding)


def _print_finding(console: Console, finding: Finding) -> None:
    for line in finding.story[-STORY_LINES:]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"seed {finding.seed}, step {finding.step}, virtual second {finding.time_s}: "
        f"{finding.invariant}: {finding.message}",
        style="bold red",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"replay: {finding.replay}", markup=False, soft_wrap=True)
