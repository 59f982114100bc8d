"""Bringing members up: the founders of a new cluster, or the holders of an old one's stores."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from raycons.cluster.fleet import Charter, Fleet, is_doubtful
from raycons.cluster.hosts import HostReport, destroy_everywhere
from raycons.cluster.placement import spread
from raycons.cluster.settings import ClusterSettings
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.quorum import majority
from raycons.errors import ClusterError
from raycons.member.spec import Introduction
from raycons.transport.contract import Address

log = logging.getLogger(__name__)


class _Doubtful(ClusterError):
    """Too few are known to have begun, and enough of them may have."""


async def found_cluster(charter: Charter, hosts: Sequence[HostReport]) -> Fleet:
    """Make the members of a new cluster, one on each host while hosts last.

    First every member makes its store, and with it its nonce; then all living hosts write down that
    there is this cluster; then all members are given the configuration that lists them. Nothing can
    be acknowledged before a majority has it. Raises ClusterError.
    """
    usable = sorted((host for host in hosts if host.host), key=lambda host: host.host)
    if not usable:
        problems = "; ".join(f"{host.hostname}: {host.problem}" for host in hosts)
        raise ClusterError(f"no host can hold a replica: {problems or 'Ray has no living node'}")
    nodes = {host.host: host.node for host in usable}
    fleet = Fleet(charter)
    ids = range(1, charter.settings.replicas + 1)
    homes = dict(zip(ids, spread(len(ids), [host.host for host in usable]), strict=True))
    try:
        await _all(fleet.spawn(id, nodes[homes[id]]) for id in ids)
        made = await _all(fleet.make(id) for id in ids)
        await fleet.remember(homes.values())
        configuration = _founders(made, charter.settings)
        began = await _all(
            (fleet.begin(id, configuration, {}) for id in ids), enough=majority(len(ids))
        )
    except _Doubtful as error:
        # It may serve, and may have acknowledged: the next start finds what there is.
        raise ClusterError(str(error)) from error
    except ClusterError:
        # Fewer than a majority have a configuration, so nothing was, or ever can be, acknowledged:
        # leave nothing in the way of the next attempt.
        await fleet.close(fleet.ids)
        await fleet.gone()
        await destroy_everywhere(charter.name, charter.settings.path, charter.uuid)
        raise
    log.info("event=cluster-founded name=%s uuid=%s homes=%s", charter.name, charter.uuid, homes)
    await fleet.locate(_addresses(began))
    return fleet


async def _all(
    calls: Iterable[Coroutine[Any, Any, Introduction]], *, enough: int = 0
) -> list[Introduction]:
    """What all calls give, once all have ended; raises a ClusterError where one fails.

    With `enough`, that many successes will do: the supervisor replaces the others. Raises _Doubtful
    where there may have been as many.
    """
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    successes = [outcome for outcome in outcomes if isinstance(outcome, Introduction)]
    for failure in failures:
        log.warning("event=founding-failed error=%s", failure)
    if failures and len(successes) < (enough or len(outcomes)):
        errors = [each for each in failures if isinstance(each, ClusterError)]
        doubtful = [each for each in errors if is_doubtful(each)]
        if enough and len(successes) + len(doubtful) >= enough:
            raise _Doubtful(f"{doubtful[0]}; it may have begun all the same: start again")
        raise failures[0]
    return successes


def _founders(made: Sequence[Introduction], settings: ClusterSettings) -> Configuration:
    peers = tuple(
        Peer(id=each.id, nonce=each.nonce, role=Role.VOTER, host=each.host) for each in made
    )
    return Configuration(
        peers=peers,
        next_id=len(peers) + 1,
        lease_s=settings.lease_s,
        window=settings.window,
    )


def _addresses(members: Sequence[Introduction]) -> dict[int, Address]:
    return {each.id: Address(*each.address) for each in members if each.address is not None}


async def resume_members(fleet: Fleet, hosts: Sequence[HostReport]) -> None:
    """Make an actor for every store of the cluster that a living host holds and no actor serves.

    Who of them votes is not decided by what is found: the group's log says it. A member that cannot
    come up is left to its own status.
    """
    ours = [
        (store.id, host)
        for host in hosts
        for store in host.stores
        if store.uuid == fleet.charter.uuid
    ]
    # Also where a host was away, or ran a raycons that did not, when the cluster was made.
    await fleet.remember({host.host for _, host in ours})
    wanted = {id: host.node for id, host in ours if id not in fleet.ids}
    outcomes = await asyncio.gather(
        *(fleet.spawn(id, node) for id, node in wanted.items()), return_exceptions=True
    )
    up = [outcome for outcome in outcomes if isinstance(outcome, Introduction)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            log.warning("event=resume-failed cluster=%s error=%s", fleet.charter.name, outcome)
    await fleet.locate(_addresses(up))
