"""What an operator does to a cluster under load: hands over the lead, adds and removes members."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from raycons.chaos.target import Target
from raycons.cluster.status import ClusterStatus
from raycons.errors import NoSuchMember, OutcomeUnknown, RayconsError

TRANSFER_S = 10.0
CHANGE_S = 60.0
ADDED_S = 30.0  # for one that was asked for, and of which nothing is known
PAUSE_S = 0.5


class Transfer:
    """Leadership goes to another member."""

    def __init__(self, target: Target, to: int) -> None:
        self._target = target
        self._to = to

    async def inject(self) -> None:
        """Hand it over; raises Unavailable where `to` does not catch up in time."""
        await self._target.cluster.transfer_leader(self._to, timeout=TRANSFER_S)

    async def lift(self) -> None:
        """Nothing to undo: one leader is as good as another."""


class Churn:
    """A new member joins, and then one that was there is removed, the leader perhaps.

    `leaving` is the one, unless the new one was put beside another.
    """

    def __init__(self, target: Target, leaving: int) -> None:
        self._target = target
        self._leaving = leaving

    async def inject(self) -> None:
        """Add a member; returns once it votes, also where its coming has to be seen in the end."""
        try:
            await self._target.cluster.add_member(timeout=CHANGE_S)
        except OutcomeUnknown:
            await self._until_added()

    async def _until_added(self) -> None:
        """Wait for a change that may be under way; raises TimeoutError where it is not."""
        async with asyncio.timeout(ADDED_S):
            while True:
                if await self._is_larger():
                    return
                await asyncio.sleep(PAUSE_S)

    async def _is_larger(self) -> bool:
        with contextlib.suppress(RayconsError):
            status = await self._target.status()
            return len(status.voters) > self._target.charter.settings.replicas
        return False

    async def lift(self) -> None:
        """Remove the one that is to leave, as soon as that can be done.

        Nobody is removed where nobody came: the cluster keeps its size. Raises TimeoutError where
        it cannot be done.
        """
        async with asyncio.timeout(CHANGE_S):
            while True:
                try:
                    return await self._remove()
                except RayconsError:
                    await asyncio.sleep(PAUSE_S)

    async def _remove(self) -> None:
        cluster = self._target.cluster
        if len(await cluster.members()) > self._target.charter.settings.replicas:
            leaving = departing(await self._target.status(), self._leaving)
            with contextlib.suppress(NoSuchMember):
                await cluster.remove_member(leaving, timeout=CHANGE_S)


def departing(status: ClusterStatus, planned: int) -> int:
    """Who is to be removed: `planned`, unless others are closer together on one host.

    An operator who moves a member makes room where the new one was put: else two would be left
    beside each other, and one host could take both.
    """
    voters = [one for one in status.replicas if one.id in status.voters]
    load = Counter(one.host for one in voters)
    crowded = [one.id for one in voters if load[one.host] == max(load.values())]
    return planned if planned in crowded else min(crowded, default=planned)
