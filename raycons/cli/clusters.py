"""`raycons up`, `down` and `status`."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raycons.cli import localray
from raycons.cli.output import Format, emit, format_option, note, stdout
from raycons.cli.session import connected, name_option, prepare
from raycons.config import PROTOCOLS
from raycons.errors import ClusterNotFound, RayconsError

if TYPE_CHECKING:
    from raycons.cluster.status import ClusterStatus

WATCH_S = 1.0
STARTED_BY = "RAYCONS_RAY_STARTED_BY"  # the process whose `up` had to start a Ray first


def _port_range(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """FIRST-LAST as two numbers; which ports make sense, `start` says itself."""
    if value is None:
        return None
    first, _, last = value.partition("-")
    if not (first.isdecimal() and last.isdecimal()):
        raise click.BadParameter(f"{value!r}: expected two ports, such as 7000-7010")
    return int(first), int(last)


class Stopped(msgspec.Struct, frozen=True):
    """What `down` did."""

    name: str
    destroyed: bool
    ray_stopped: bool


@click.command()
@name_option
@click.option("--replicas", default=3, show_default=True, help="How many members hold the data.")
@click.option("--storage", type=click.Choice(["disk", "memory"]), default="disk", show_default=True)
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="raft", show_default=True)
@click.option("--transport", type=click.Choice(["tcp", "actor"]), default="tcp", show_default=True)
@click.option(
    "--reads",
    type=click.Choice(["read-index", "lease"]),
    default="read-index",
    show_default=True,
    help="How the leader makes sure that a read is fresh.",
)
@click.option("--path", type=click.Path(), help="The data root on each host.")
@click.option(
    "--port-range",
    metavar="FIRST-LAST",
    callback=_port_range,
    help="Where members may listen; on any free port by default.",
)
@click.option(
    "--repair-grace",
    default=30.0,
    show_default=True,
    help="Seconds that a member may be away before it is replaced.",
)
@click.option("--fault-injection", is_flag=True, help="Let members obey injected partitions.")
@format_option
def up(
    name: str,
    replicas: int,
    storage: str,
    protocol: str,
    transport: str,
    reads: str,
    path: str | None,
    port_range: tuple[int, int] | None,
    repair_grace: float,
    fault_injection: bool,
    form: Format,
) -> None:
    """Create a cluster, or resume it from its data.

    Starts a Ray for this machine where none runs; it stays until `raycons down`.
    """
    import raycons
    from raycons.cluster.rays import join_ray

    prepare()
    asked: dict[str, Any] = {
        "replicas": replicas,
        "storage": storage,
        "protocol": protocol,
        "transport": transport,
        "reads": reads,
        "path": path,
        "port_range": port_range,
        "repair_grace": repair_grace,
        "fault_injection": fault_injection,
    }
    _check(name, asked)
    try:
        join_ray(name)
    except ClusterNotFound:
        note("no Ray runs here: starting one for this machine")
        localray.start()
        # Ray reads how to authenticate once, when it is imported: only a new process joins by
        # the token of the Ray that was just started. It is this process still, by its id.
        os.environ[STARTED_BY] = str(os.getpid())
        os.execv(sys.executable, [sys.executable, "-m", "raycons.cli", *sys.argv[1:]])
    try:
        with warnings.catch_warnings(record=True) as cautions:
            warnings.simplefilter("always")
            cluster = raycons.start(name, **asked)
    except BaseException:
        if os.environ.get(STARTED_BY) == str(os.getpid()) and _end_unused_ray(beside=name):
            note("the Ray that was started for the cluster has ended, too")
        raise
    for caution in cautions:
        if issubclass(caution.category, UserWarning):
            note(str(caution.message))
    with cluster:
        status = cluster.status()
    emit(status, form, lambda: status_table(status))


def _check(name: str, asked: dict[str, Any]) -> None:
    """Refuse what makes no sense before a Ray is started for it. Raises BadArgument."""
    from raycons.cluster.arguments import settings_of_start
    from raycons.cluster.naming import check_name

    check_name(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the start itself will say it
        settings_of_start(**asked, raft=None, member=None)


@click.command()
@name_option
@click.option("--destroy", is_flag=True, help="Remove the data of every host, too.")
@click.option("--path", type=click.Path(), help="The data root, if it is not the default.")
@click.option("--yes", is_flag=True, help="Do not ask before data is removed.")
@format_option
def down(name: str, destroy: bool, path: str | None, yes: bool, form: Format) -> None:
    """Stop a cluster; its data stays, and `up` resumes it.

    Ends the Ray that `up` started, once no cluster needs it; never another.
    """
    import raycons

    if destroy and not yes:
        click.confirm(f"Remove all data of cluster {name!r}?", abort=True, err=True)
    prepare()
    try:
        raycons.stop(name, destroy=destroy, path=path)
    except ClusterNotFound:
        if _end_unused_ray():
            note("no cluster is left: the Ray that `raycons up` started has ended")
        raise
    stops_ray = _end_unused_ray()
    done = Stopped(name, destroy, stops_ray)
    ending = "; the Ray that `raycons up` started has ended, too" if stops_ray else ""
    data = "its data is removed" if destroy else "its data is kept"
    emit(done, form, lambda: f"{name} is stopped, {data}{ending}")


def _end_unused_ray(beside: str | None = None) -> bool:
    """End the Ray that `up` started if this process is in it and no cluster is, but `beside`.

    Returns whether it did.
    """
    import ray

    from raycons.cluster.naming import running_clusters

    record = localray.recorded()
    if record is None or not ray.is_initialized():
        return False
    if str(ray.get_runtime_context().gcs_address) != record.address:
        return False
    if any(cluster != beside for cluster in running_clusters()):
        return False
    if beside is not None:
        _end_remains(beside)
    ray.shutdown()
    localray.stop(record)
    return True


def _end_remains(name: str) -> None:
    """End what a start that failed has left: Ray waits 20 s and more for actors before it ends."""
    import raycons

    with contextlib.suppress(RayconsError):
        raycons.stop(name)


@click.command()
@name_option
@click.option("--watch", is_flag=True, help=f"Again every {WATCH_S:g} s until interrupted.")
@format_option
def status(name: str, watch: bool, form: Format) -> None:
    """Show every replica's role, term, log and lag."""
    with connected(name) as cluster:
        now = cluster.status()
        if not watch:
            emit(now, form, lambda: status_table(now))
        elif form == "json":
            while True:
                emit(now, form, lambda: "")
                time.sleep(WATCH_S)
                now = cluster.status()
        else:
            with Live(status_table(now), console=stdout, auto_refresh=False) as live:
                while True:
                    time.sleep(WATCH_S)
                    live.update(status_table(cluster.status()), refresh=True)


def status_table(status: ClusterStatus) -> Group:
    """A cluster's status for a terminal."""
    losses = (
        "no quorum" if status.tolerates < 0 else f"survives {status.tolerates} more lost replica(s)"
    )
    leader = f"replica {status.leader}" if status.leader else "none"
    head = Text.assemble(
        (status.name, "bold"),
        f": leader {leader}, {_term(status)}, commit {status.commit:,}; {losses}\n"
        f"protocol {status.protocol}, storage {status.storage}, transport {status.transport}, "
        f"reads {status.reads}",
    )
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for column in ("id", "state", "role"):
        table.add_column(column, no_wrap=True)
    for column in ("term", "applied", "lag", "log", "store", "pid"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("address", no_wrap=True)
    for one in status.replicas:
        table.add_row(
            str(one.id),
            Text(one.state),
            Text(one.role, style="green" if one.id == status.leader else ""),
            one.ballot.replace(" of replica ", "/") if one.ballot else f"{one.term:,}",
            f"{one.applied:,}",
            f"{one.lag:,}",
            f"{one.log_entries:,}",
            _mebibytes(one.store_bytes),
            str(one.pid),
            Text(one.address),
        )
    reasons = [Text(f"replica {one.id}: {one.reason}") for one in status.replicas if one.reason]
    return Group(head, table, *reasons, *map(Text, status.notes))


def _term(status: ClusterStatus) -> str:
    return f"ballot {status.ballot}" if status.ballot else f"term {status.term}"


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"
