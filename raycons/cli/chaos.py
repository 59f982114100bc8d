"""`raycons chaos`: faults on a real cluster under load, and the proofs afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from raycons.bench.options import STORAGES, TRANSPORTS
from raycons.cli.output import Format, emit, format_option, stderr
from raycons.cli.proofs import proof_table
from raycons.cli.session import prepare
from raycons.config import WITH_A_LOG
from raycons.errors import BadArgument

if TYPE_CHECKING:
    from raycons.aio import AsyncCluster
    from raycons.bench.arena import Shape
    from raycons.chaos.hosts import LocalHosts
    from raycons.chaos.nodes import LocalNodes
    from raycons.chaos.report import ChaosReport
    from raycons.chaos.run import Plan

SVG = ".svg"


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long faults come; the last round is ended.",
)
@click.option(
    "--faults",
    "kinds",
    metavar="KIND,...",
    help="Only these (docs/verification.md); by default all that the cluster can have.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, other rounds.")
@click.option("--name", help="Use this running cluster instead of a throw-away one.")
@click.option("--replicas", default=3, show_default=True)
@click.option(
    "--nodes",
    type=click.IntRange(2, 9),
    help="Start so many Ray nodes, each with its own disk, and kill those too; not with --name.",
)
@click.option(
    "--hosts",
    type=click.IntRange(2, 9),
    help="Make so many hosts of network namespaces, with a Ray node each, and cut them off, too "
    "(Linux, root, iptables); not with --name or --nodes.",
)
@click.option("--storage", type=click.Choice(STORAGES), default="disk", show_default=True)
@click.option("--protocol", type=click.Choice(WITH_A_LOG), default="raft", show_default=True)
@click.option("--transport", type=click.Choice(TRANSPORTS), default="tcp", show_default=True)
@click.option(
    "--ray-failures",
    "failing",
    type=click.IntRange(0, 30),
    default=0,
    show_default=True,
    help="Percent of Ray's actor calls that fail, each of three ways; not with --name.",
)
@click.option(
    "--picture", type=click.Path(path_type=Path), help="Draw the run into this file, .svg."
)
@format_option
def chaos(
    minutes: float,
    kinds: str | None,
    seed: int,
    name: str | None,
    replicas: int,
    nodes: int | None,
    hosts: int | None,
    storage: Any,
    protocol: Any,
    transport: Any,
    failing: int,
    picture: Path | None,
    form: Format,
) -> int:
    """Put faults on a cluster under load, and prove that nothing was lost and all is explained.

    Without --name in a Ray and a cluster of its own, which are removed; with RAY_ADDRESS set, as in
    a Ray job, only the cluster is its own. A named cluster is left healed; its members are killed
    and stopped only where they run on this machine, and it is cut off only if it was started with
    --fault-injection. Exit code 1 if a proof fails.
    """
    if picture is not None and picture.suffix.lower() != SVG:
        raise BadArgument(f"{picture.name}: the name of the picture ends in {SVG}")
    chosen_ray = name is not None or "RAY_ADDRESS" in os.environ
    if chosen_ray and failing:
        raise BadArgument("--ray-failures: only a Ray that is started for the run can be told to")
    if chosen_ray and nodes is not None:
        raise BadArgument("--nodes: only a Ray that is started for the run can lose its nodes")
    _check_hosts(hosts, chosen_ray=chosen_ray, with_nodes=nodes is not None)
    prepare()
    import uvloop

    from raycons.bench.arena import Shape
    from raycons.chaos.kinds import check_names
    from raycons.chaos.rays import failing_calls
    from raycons.chaos.run import Plan

    plan = Plan(minutes * 60, tuple(kinds.split(",")) if kinds else (), seed, failing)
    check_names(plan.kinds)
    os.environ.update(failing_calls(failing))
    shape = Shape(replicas, storage, protocol, transport, fault_injection=True)
    with _ray(chosen_ray, nodes, hosts) as ground, _progress(plan) as progress:
        report = uvloop.run(_run(name, shape, plan, ground, progress))
    if picture is not None:
        from raycons.chaos.picture import svg

        picture.write_text(svg(report))
    emit(report, form, lambda: _table(report))
    return 0 if report.verdict else 1


def _check_hosts(hosts: int | None, *, chosen_ray: bool, with_nodes: bool) -> None:
    from raycons.chaos.namespaces import missing

    if hosts is None:
        return
    if chosen_ray or with_nodes:
        raise BadArgument("--hosts: their Ray is started for the run; not with --name or --nodes")
    reason = missing()
    if reason:
        raise BadArgument(f"--hosts: {reason}")


class _Ground(NamedTuple):
    """What the run's Ray lies on, as far as it may be killed or cut off."""

    nodes: LocalNodes | None = None
    hosts: LocalHosts | None = None


@contextlib.contextmanager
def _ray(chosen: bool, nodes: int | None, hosts: int | None) -> Iterator[_Ground]:
    """The Ray of the run; gives what of it may fail."""
    from raycons.bench.arena import private_ray
    from raycons.bench.scratch import scratch_directory
    from raycons.chaos.hosts import LocalHosts
    from raycons.chaos.nodes import LocalNodes

    if hosts is not None:
        with scratch_directory("hosts") as root, LocalHosts(root, hosts) as cut_off:
            yield _Ground(hosts=cut_off)
    elif nodes is not None:
        with scratch_directory("nodes") as root, LocalNodes(root, nodes) as killed:
            yield _Ground(nodes=killed)
    else:
        with contextlib.nullcontext() if chosen else private_ray():
            yield _Ground()


async def _run(
    name: str | None,
    shape: Shape,
    plan: Plan,
    ground: _Ground,
    progress: Callable[[float, str], None],
) -> ChaosReport:
    import msgspec

    from raycons.bench.arena import running_cluster, throwaway_cluster
    from raycons.bench.scratch import scratch_directory, scratch_root
    from raycons.chaos.nodes import spread_cluster
    from raycons.chaos.run import unleash

    def arena() -> contextlib.AbstractAsyncContextManager[AsyncCluster]:
        if ground != _Ground():
            return spread_cluster(**msgspec.structs.asdict(shape))
        return throwaway_cluster(shape, "chaos") if name is None else running_cluster(name)

    with scratch_directory("history") as scratch:
        async with arena() as cluster:
            return await unleash(
                cluster,
                plan,
                scratch=scratch,
                keep_in=scratch_root(),
                progress=progress,
                nodes=ground.nodes,
                hosts=ground.hosts,
            )


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[float, str], None]]:
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("starting", total=plan.seconds)

        def told(past: float, what: str) -> None:
            bar.update(task, description=what, completed=past)
            if not stderr.is_terminal:
                stderr.print(f"{past:6.1f} s  {what}")

        yield told


def _table(report: ChaosReport) -> RenderableType:
    measured = Table(
        title=f"{report.replicas} members on {report.storage} over {report.transport}, "
        f"{report.rounds} rounds of faults in {report.seconds:.0f} s, seed {report.seed}",
        title_justify="left",
        show_header=False,
    )
    measured.add_column(style="cyan")
    measured.add_column(justify="right")
    measured.add_row("seconds with an acknowledged write", f"{report.available:.1%}")
    measured.add_row("longest time without one", f"{report.longest_silence_ms:,.0f} ms")
    measured.add_row(
        "writes",
        f"{report.acknowledged:,} acknowledged, {report.unknown:,} unknown, "
        f"{report.refused:,} refused",
    )
    verdict = (
        Text("Verdict: nothing lost, nothing twice, all replicas equal, linearizable", "bold green")
        if report.verdict
        else Text("Verdict: a proof fails", "bold red")
    )
    return Group(measured, _faults(report), proof_table(report.proofs), verdict)


def _faults(report: ChaosReport) -> Table:
    table = Table(title="Faults", title_justify="left")
    for column in ("kind", "times", "failovers", "p50 ms", "max ms", "longest silence ms"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for one in report.faults:
        table.add_row(
            one.kind,
            str(one.count),
            str(one.failovers),
            *(
                "-" if figure is None else f"{figure:,.0f}"
                for figure in (one.failover_p50_ms, one.failover_max_ms, one.silence_max_ms)
            ),
        )
    return table
