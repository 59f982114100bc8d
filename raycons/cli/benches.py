"""`raycons bench`: how fast, how soon back, and against what."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from raycons.bench.options import FAULTS, STORAGES, TRANSPORTS
from raycons.cli.output import Format, emit, fields, format_option, stderr
from raycons.cli.session import prepare
from raycons.config import PROTOCOLS

if TYPE_CHECKING:
    from raycons.aio import AsyncCluster
    from raycons.bench.arena import Shape
    from raycons.bench.runs import CompareReport, FailoverReport

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


cluster_options = _options(
    click.option("--name", help="Use this running cluster instead of a throw-away one."),
    click.option("--replicas", default=3, show_default=True),
    click.option("--storage", type=click.Choice(STORAGES), default="disk", show_default=True),
    click.option("--protocol", type=click.Choice(PROTOCOLS), default="raft", show_default=True),
    click.option("--transport", type=click.Choice(TRANSPORTS), default="tcp", show_default=True),
)
load_options = _options(
    click.option("--clients", type=click.IntRange(min=1), default=64, show_default=True),
    click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        help="How long the clock runs, after a warm-up.",
    ),
    click.option("--value-bytes", type=click.IntRange(min=0), default=64, show_default=True),
)


@click.group()
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure throughput, latency, failover, and what consensus costs.

    Each bench makes a Ray and a cluster of its own and removes them; with RAY_ADDRESS set, as in a
    Ray job, only the cluster; with --name, it uses a running one.
    """
    context.obj = "RAY_ADDRESS" in os.environ  # whether the user chose a Ray
    prepare()


@bench.command()
@load_options
@cluster_options
@format_option
def write(
    clients: int,
    seconds: float,
    value_bytes: int,
    name: str | None,
    replicas: int,
    storage: Any,
    protocol: Any,
    transport: Any,
    form: Format,
) -> None:
    """Durable puts by --clients concurrent clients in one process."""
    from raycons.bench.arena import Shape
    from raycons.bench.runs import load_report, write_load

    async def measure(cluster: AsyncCluster) -> Any:
        load = await write_load(cluster, clients=clients, seconds=seconds, value_bytes=value_bytes)
        return await load_report(cluster, "write", load, value_bytes)

    report = _on_cluster(name, Shape(replicas, storage, protocol, transport), measure)
    emit(report, form, lambda: fields(report))


@bench.command()
@load_options
@cluster_options
@format_option
def read(
    clients: int,
    seconds: float,
    value_bytes: int,
    name: str | None,
    replicas: int,
    storage: Any,
    protocol: Any,
    transport: Any,
    form: Format,
) -> None:
    """Linearizable gets by --clients concurrent clients in one process."""
    from raycons.bench.arena import Shape
    from raycons.bench.runs import load_report, read_load

    async def measure(cluster: AsyncCluster) -> Any:
        load = await read_load(cluster, clients=clients, seconds=seconds, value_bytes=value_bytes)
        return await load_report(cluster, "read", load, value_bytes)

    report = _on_cluster(name, Shape(replicas, storage, protocol, transport), measure)
    emit(report, form, lambda: fields(report))


@bench.command()
@click.option("--fault", type=click.Choice(FAULTS), default="kill", show_default=True)
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True)
@cluster_options
@format_option
def failover(
    fault: Any,
    trials: int,
    name: str | None,
    replicas: int,
    storage: Any,
    protocol: Any,
    transport: Any,
    form: Format,
) -> None:
    """Time from a fault on the leader to the first acknowledged write issued after it."""
    from raycons.bench.arena import Shape
    from raycons.bench.runs import failover_report

    async def measure(cluster: AsyncCluster) -> FailoverReport:
        with progress(f"{fault} the leader", trials) as done:
            return await failover_report(cluster, fault=fault, count=trials, progress=done)

    shape = Shape(replicas, storage, protocol, transport, fault_injection=fault == "partition")
    report = _on_cluster(name, shape, measure)
    emit(report, form, lambda: fields(report))


@bench.command()
@load_options
@format_option
def bound(clients: int, seconds: float, value_bytes: int, form: Format) -> None:
    """The physical bound: the same bytes, hops and syncs between three actors, no consensus."""
    from raycons.bench.runs import bound_report

    report = _run(
        lambda: bound_report(clients=clients, seconds=seconds, value_bytes=value_bytes), None
    )
    emit(report, form, lambda: fields(report))


@bench.command()
@load_options
@click.option(
    "--operation", type=click.Choice(["write", "read"]), default="write", show_default=True
)
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@cluster_options
@format_option
def compare(
    clients: int,
    seconds: float,
    value_bytes: int,
    operation: Any,
    rounds: int,
    name: str | None,
    replicas: int,
    storage: Any,
    protocol: Any,
    transport: Any,
    form: Format,
) -> None:
    """Writes or reads against the bound of writes, in turns; medians of both and of their ratio."""
    from raycons.bench.arena import Shape
    from raycons.bench.runs import compare_report

    async def measure(cluster: AsyncCluster) -> CompareReport:
        with progress(f"bound and {operation}s, in turns", rounds) as done:
            return await compare_report(
                cluster,
                operation,
                clients=clients,
                seconds=seconds,
                value_bytes=value_bytes,
                rounds=rounds,
                progress=done,
            )

    report = _on_cluster(name, Shape(replicas, storage, protocol, transport), measure)
    emit(report, form, lambda: _compared(report))


def _compared(report: CompareReport) -> RenderableType:
    table = Table(title=f"{report.clients} clients, median of {report.rounds} rounds (least, most)")
    for column in ("", "bound", f"raycons {report.operation}s", "ratio"):
        table.add_column(column, justify="left" if not column else "right")
    for name, bound_, ours, ratio in (
        (
            "operations/s",
            report.bound_operations_per_second,
            report.raycons_operations_per_second,
            report.throughput_ratio,
        ),
        ("p50 ms", report.bound_p50_ms, report.raycons_p50_ms, report.p50_ratio),
    ):
        figures = (
            f"{one.median:,.5g} ({one.min:,.5g}, {one.max:,.5g})" for one in (bound_, ours, ratio)
        )
        table.add_row(name, *figures)
    return table


# --- where a bench runs ---------------------------------------------------------------------------


def _on_cluster(
    name: str | None, shape: Shape, measure: Callable[[AsyncCluster], Awaitable[T]]
) -> T:
    from raycons.bench.arena import running_cluster, throwaway_cluster

    def arena() -> contextlib.AbstractAsyncContextManager[AsyncCluster]:
        return throwaway_cluster(shape) if name is None else running_cluster(name)

    async def run() -> T:
        async with arena() as cluster:
            return await measure(cluster)

    return _run(run, name)


def _run(main: Callable[[], Coroutine[Any, Any, T]], name: str | None) -> T:
    """Run `main` on uvloop: in the Ray of the cluster `name`, in RAY_ADDRESS, or in a new one.

    RAY_ADDRESS is set in a Ray job, too: a bench that was submitted to a Ray cluster measures it.
    """
    import uvloop

    from raycons.bench.arena import private_ray

    if name is not None or click.get_current_context().obj:
        return uvloop.run(main())
    with private_ray():
        return uvloop.run(main())


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields what is to be told how many are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=stderr, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
