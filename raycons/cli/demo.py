"""`raycons demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from raycons.cli.output import Format, emit, format_option, stderr
from raycons.cli.proofs import proof_table
from raycons.cli.session import prepare

if TYPE_CHECKING:
    from raycons.bench.demo.story import DemoReport


@click.command()
@format_option
def demo(form: Format) -> int:
    """Load three members, kill the leader five times, cut it off, restart all, prove it all.

    Runs in a Ray of its own, on data that is removed afterwards. Exit code 1 if a proof fails; a
    history of clients that does not prove to be linearizable is kept.
    """
    import uvloop

    prepare()
    from raycons.bench.arena import private_ray
    from raycons.bench.demo.story import STEPS, tell

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=stderr) as bar:
        task = bar.add_task("starting Ray", total=STEPS + 1)

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1)
            if not stderr.is_terminal:
                stderr.print(what)

        with private_ray():
            report = uvloop.run(tell(step))
        bar.update(task, description="done", completed=STEPS + 1)
    emit(report, form, lambda: _table(report))
    return 0 if report.verdict else 1


def _table(report: DemoReport) -> RenderableType:
    measured = Table(
        title=f"{report.replicas} members on {report.storage}, {report.clients} clients",
        title_justify="left",
        show_header=False,
    )
    measured.add_column(style="cyan")
    measured.add_column(justify="right")
    measured.add_row("durable writes per second", f"{report.operations_per_second:,}")
    measured.add_row("latency p50 / p99", f"{report.p50_ms:.1f} / {report.p99_ms:.1f} ms")
    kills = report.failover_ms
    measured.add_row(
        f"failover after kill -9, {len(kills.samples)} times",
        f"p50 {kills.p50:.0f}, max {kills.max:.0f} ms",
    )
    measured.add_row("failover after a partition", f"{report.partition_ms:.0f} ms")
    measured.add_row("restart of all members", f"{report.restart_s:.1f} s")
    measured.add_row(
        "writes under faults",
        f"{report.acknowledged:,} acknowledged, {report.unknown:,} unknown, "
        f"{report.refused:,} refused",
    )
    verdict = (
        ("Verdict: nothing lost, nothing twice, all replicas equal, linearizable", "bold green")
        if report.verdict
        else ("Verdict: a proof fails", "bold red")
    )
    end = Text.assemble(verdict, f" ({report.elapsed_s:.0f} s)")
    return Group(measured, proof_table(report.proofs), end)
