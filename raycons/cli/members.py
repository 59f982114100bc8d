"""`raycons members`: who holds a replica, and who leads."""

from __future__ import annotations

import click
import msgspec

from raycons.cli.output import Format, emit, format_option
from raycons.cli.session import connected, name_option

timeout_option = click.option(
    "--timeout", type=float, default=60.0, show_default=True, help="Seconds until it gives up."
)


class Changed(msgspec.Struct, frozen=True):
    """The members after a change."""

    voters: tuple[int, ...]
    leader: int
    added: int | None = None
    removed: int | None = None


@click.group()
def members() -> None:
    """Add and remove replicas, and hand over leadership."""


@members.command()
@name_option
@timeout_option
@format_option
def add(name: str, timeout: float, form: Format) -> None:
    """Add a replica on the host with the fewest; returns once it votes."""
    with connected(name) as cluster:
        added = cluster.add_member(timeout=timeout)
        status = cluster.status()
    changed = Changed(status.voters, status.leader, added=added)
    emit(changed, form, lambda: f"replica {added} votes; voters: {_listed(status.voters)}")


@members.command()
@click.argument("replica", type=int)
@name_option
@timeout_option
@format_option
def remove(replica: int, name: str, timeout: float, form: Format) -> None:
    """Take REPLICA out of the cluster; its data stays on its host's disk."""
    with connected(name) as cluster:
        cluster.remove_member(replica, timeout=timeout)
        status = cluster.status()
    changed = Changed(status.voters, status.leader, removed=replica)
    emit(changed, form, lambda: f"replica {replica} is out; voters: {_listed(status.voters)}")


@members.command()
@click.argument("replica", type=int, default=0)
@name_option
@timeout_option
@format_option
def transfer(replica: int, name: str, timeout: float, form: Format) -> None:
    """Hand leadership to REPLICA, or to the one that is most caught up."""
    with connected(name) as cluster:
        leader = cluster.transfer_leader(replica, timeout=timeout)
        voters = cluster.members()
    emit(Changed(voters, leader), form, lambda: f"replica {leader} leads")


def _listed(ids: tuple[int, ...]) -> str:
    return ", ".join(map(str, ids))
