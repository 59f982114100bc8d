"""The first part of a start: create the cluster, or resume it from its stores, and see it led."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from raycons.cluster.creation import found_cluster, resume_members
from raycons.cluster.fleet import Charter, Fleet, new_uuid
from raycons.cluster.hosts import HostReport, StoreReport
from raycons.cluster.settings import BOUND_TO_DATA, ClusterSettings, differences
from raycons.cluster.status import newest_configuration, view_of_leader
from raycons.errors import ClusterError, ClusterExists, MembersMissing
from raycons.member.clock import boottime
from raycons.transport.contract import PeerId

SETTLE_S = 0.05  # between two looks while somebody waits


def refuse_other(
    name: str, has: ClusterSettings, asked: ClusterSettings, names: Sequence[str], how: str
) -> None:
    """Raise ClusterExists where the settings differ in one of `names`; `how` the cluster exists."""
    where = differences(has, asked, names)
    if where:
        raise ClusterExists(
            f"cluster {name!r} {how} with other settings: {where}; use the same settings, or "
            f"connect({name!r}), or another name"
        )


async def create_or_resume(
    name: str, settings: ClusterSettings, hosts: Sequence[HostReport]
) -> Fleet:
    """Bring the cluster up on living hosts: from its stores where there is any, else as a new one.

    Raises ClusterExists where it was stopped with other settings, or lies in another place;
    MembersMissing where no store is found, but not every node could be asked, or one remembers the
    cluster; ClusterError where it cannot be made.
    """
    stores = [store for host in hosts for store in host.stores]
    secret = secrets.token_bytes(32)
    if not stores:
        _refuse_to_create_unseen(name, hosts)
        _refuse_to_create_beside(name, hosts)
        _refuse_to_create_again(name, settings, hosts)
        charter = Charter(name=name, uuid=new_uuid(), secret=secret, settings=settings)
        return await found_cluster(charter, hosts)
    uuid, before = _stopped_cluster(name, stores)
    refuse_other(name, before, settings, BOUND_TO_DATA, "was stopped")
    fleet = Fleet(Charter(name=name, uuid=uuid, secret=secret, settings=settings))
    await resume_members(fleet, hosts)
    return fleet


def _refuse_to_create_unseen(name: str, hosts: Sequence[HostReport]) -> None:
    """Raise MembersMissing where a node may hold the cluster that is about to be made anew."""
    silent = ", ".join(host.node for host in hosts if host.silent)
    if silent:
        raise MembersMissing(
            f"no store of cluster {name!r} was found, but Ray's nodes {silent} did not say which "
            "they hold; start again when they answer or are gone: nothing was created"
        )


def _refuse_to_create_beside(name: str, hosts: Sequence[HostReport]) -> None:
    """Raise ClusterExists where a cluster of the name was stopped, and lies in another place."""
    places = ", ".join(f"{host.elsewhere} on {host.hostname}" for host in hosts if host.elsewhere)
    if places:
        raise ClusterExists(
            f"a cluster named {name!r} was stopped before, and its stores lie in {places}: start "
            "it without path=, or use another name; nothing was created"
        )


def _refuse_to_create_again(
    name: str, settings: ClusterSettings, hosts: Sequence[HostReport]
) -> None:
    """Raise ClusterExists or MembersMissing where a host remembers a cluster of the name.

    A host that was away when the cluster was destroyed still does: better a refusal too many, which
    names the remedy, than a second cluster beside the data of the first.
    """
    for host in hosts:
        marker = host.marker
        if marker is None:
            continue
        if marker.problem:
            raise MembersMissing(
                f"no store of cluster {name!r} was found, but {host.hostname} holds a marker that "
                f"cannot be read: {marker.problem}; nothing was created. {_give_up(name, None)}"
            )
        if marker.path != settings.path:
            place, remedy = _place(marker.path)
            raise ClusterExists(
                f"a cluster named {name!r} was stopped before (uuid {marker.uuid}), and its stores "
                f"lie in {place}, as {host.hostname} remembers: start it {remedy}, or use another "
                f"name; nothing was created. {_give_up(name, marker.path)}"
            )
        raise MembersMissing(
            f"cluster {name!r} (uuid {marker.uuid}) exists, as {host.hostname} remembers, but no "
            f"living host holds a store of it: its members are, or were, on hosts "
            f"{', '.join(marker.hosts)}; living are {_living(hosts)}. Bring them back and start "
            f"again; nothing was created. {_give_up(name, marker.path)}"
        )


def _place(path: str | None) -> tuple[str, str]:
    """A data root in words, and how `start` is told of it."""
    return (path, f"with path={path!r}") if path else ("the default place", "without path=")


def _give_up(name: str, path: str | None) -> str:
    where = f", path={path!r}" if path else ""
    return f"stop({name!r}, destroy=True{where}) gives its data up"


def _living(hosts: Sequence[HostReport]) -> str:
    return ", ".join(host.host or f"{host.hostname} ({host.problem})" for host in hosts)


def _stopped_cluster(name: str, stores: Sequence[StoreReport]) -> tuple[str, ClusterSettings]:
    """The identity and the settings of the cluster that the stores are of."""
    uuids = sorted({store.uuid for store in stores if store.uuid})
    if not uuids:
        problems = "; ".join(f"{store.path}: {store.problem}" for store in stores)
        raise MembersMissing(
            f"stores of cluster {name!r} were found, but none of them can be read: {problems}; "
            f"stop({name!r}, destroy=True) gives them up"
        )
    if len(uuids) > 1:
        places = "; ".join(f"{store.path} is of {store.uuid}" for store in stores)
        raise ClusterError(
            f"the hosts hold stores of {len(uuids)} clusters named {name!r}: {places}; move the "
            "directories of all but one away"
        )
    known = [store.settings for store in stores if store.settings is not None]
    if not known:
        places = ", ".join(store.path for store in stores)
        raise ClusterError(f"the settings beside the stores cannot be read: {places}")
    return uuids[0], known[0]


async def wait_for_leader(fleet: Fleet, deadline: float) -> None:
    """Wait until a member leads. Raises MembersMissing at the deadline, naming who is not there."""
    while True:
        statuses = await fleet.statuses()
        if view_of_leader(statuses) is not None:
            return
        if boottime() >= deadline:
            raise MembersMissing(_who_is_missing(fleet.charter.name, statuses))
        await asyncio.sleep(SETTLE_S)


def _who_is_missing(name: str, statuses: Mapping[PeerId, Mapping[str, Any]]) -> str:
    serving = [id for id, status in statuses.items() if status["state"] == "serving"]
    told = [
        f"replica {id}: {status['state']} ({status['reason']})"
        for id, status in sorted(statuses.items())
        if status["state"] != "serving"
    ]
    newest = newest_configuration(statuses)
    told += [
        f"replica {peer.id}: no living host holds its store (it was on host {peer.host})"
        for peer in (newest.peers if newest is not None else ())
        if peer.id not in statuses
    ]
    return (
        f"cluster {name!r} has no leader, or no quorum: replicas {serving} are up; missing: "
        + ("; ".join(told) or "none is known by name")
        + ". Bring their hosts back and start again; nothing was created beside them. "
        + f"stop({name!r}, destroy=True) gives the data up"
    )
