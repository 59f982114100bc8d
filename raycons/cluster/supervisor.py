"""The supervisor: makes a cluster's members, resumes them after a full stop, replaces lost ones.

One named actor per cluster, so that two `start`s of one name cannot both create. It keeps nothing
that it could not learn anew: when Ray restarts it, it finds the members by their names, and the
group knows its own configuration. The cluster serves without it; only repair waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from raycons.client.shell import AsyncClient
from raycons.cluster.connection import open_client
from raycons.cluster.creation import resume_members
from raycons.cluster.fleet import Charter, Fleet, adopt
from raycons.cluster.hosts import HostReport, look_everywhere
from raycons.cluster.opening import SETTLE_S, create_or_resume, refuse_other, wait_for_leader
from raycons.cluster.placement import home_for_addition
from raycons.cluster.repair import Discard, Replace, Revive, Step, Sweep, plan
from raycons.cluster.settings import COMPARED, ClusterSettings
from raycons.cluster.status import configuration_of, lost_with_memory, view_of_leader
from raycons.consensus.configuration import Configuration, Role
from raycons.errors import (
    ClusterError,
    MembersMissing,
    NoSuchMember,
    NotApplied,
    OutcomeUnknown,
    RayconsError,
    Refused,
    Unavailable,
)
from raycons.member.clock import boottime
from raycons.member.protocol import Add, Managed, Remove, Reserve
from raycons.transport.contract import PeerId

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks at the members
SURVEY_S = 5.0  # between two looks at the hosts, while something is missing
CHANGE_S = 30.0  # for one change of the configuration to commit
FULL_LOOK_S = 20.0  # between two questions to every member, while the leader is content


class Supervising:
    """The object behind the supervisor actor, on its event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._fleet: Fleet | None = None
        self._client: AsyncClient | None = None
        self._changing = asyncio.Lock()  # creation, repair and changes by hand: one at a time
        self._lost_since: dict[PeerId, float] = {}
        self._hosts: list[HostReport] = []
        self._surveyed_at = float("-inf")
        self._notes: tuple[str, ...] = ()
        self._calm = False  # when last looked at, there was nothing to do
        self._looked_at = float("-inf")
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    # --- start ------------------------------------------------------------------------------------

    async def start(self, settings: ClusterSettings, timeout_s: float) -> Charter:
        """Create the cluster, or resume it, or find it running; returns once it has a leader.

        Raises ClusterExists where it runs, or was stopped, with other settings; MembersMissing
        where too few of its members come up in time; ClusterError where it cannot be made.
        """
        deadline = boottime() + timeout_s
        fleet = await self._opened(settings, deadline)
        await wait_for_leader(fleet, deadline)
        self._notes = ()
        return fleet.charter

    async def _opened(self, settings: ClusterSettings, deadline: float) -> Fleet:
        """The fleet; the hosts that hold its stores may still be on their way into Ray."""
        while True:
            try:
                async with self._changing:
                    return await self._found_or_made(settings)
            except MembersMissing:
                if boottime() + LOOK_S >= deadline:
                    raise
            await asyncio.sleep(LOOK_S)

    async def _found_or_made(self, settings: ClusterSettings) -> Fleet:
        self._stopping = False
        fleet = await self._adopted()
        if fleet is not None and not await self._forgotten(fleet):
            refuse_other(self._name, fleet.charter.settings, settings, COMPARED, "is running")
            return fleet
        fleet = await create_or_resume(self._name, settings, await self._survey(settings))
        self._fleet = fleet
        return fleet

    async def _adopted(self) -> Fleet | None:
        if self._fleet is not None and not await self._any_left(self._fleet):
            await self._forget_fleet()  # every actor ended: what is on disk decides anew
        if self._fleet is None:
            self._fleet = await adopt(self._name)
        return self._fleet

    async def _forgotten(self, fleet: Fleet) -> bool:
        """Whether this cluster in memory is lost for good; what is left of it is ended then."""
        if fleet.charter.settings.storage != "memory":
            return False
        if not lost_with_memory(await fleet.statuses()):
            return False
        log.warning("event=cluster-lost name=%s uuid=%s", self._name, fleet.charter.uuid)
        await fleet.close(fleet.ids)
        await fleet.gone()
        await self._forget_fleet()
        return True

    async def _forget_fleet(self) -> None:
        self._fleet = None
        self._lost_since.clear()
        await self._drop_client()

    async def _any_left(self, fleet: Fleet) -> bool:
        await fleet.refresh()
        statuses = await fleet.statuses()
        return any(status["state"] != "gone" for status in statuses.values())

    # --- supervision ------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                async with self._changing:
                    if not self._stopping:
                        await self._look()
            except RayconsError as error:
                log.warning("event=supervision-postponed cluster=%s error=%s", self._name, error)
                self._notes = (str(error),)
            except Exception:
                log.exception("event=supervision-failed cluster=%s", self._name)

    async def _look(self) -> None:
        if self._fleet is None:
            self._fleet = await adopt(self._name)
            if self._fleet is None:
                return
        if self._calm and boottime() - self._looked_at < FULL_LOOK_S:
            self._calm = await self._leader_is_content()
            if self._calm:
                return
        self._looked_at = boottime()
        self._calm = await self._look_at_everyone(self._fleet)

    async def _leader_is_content(self) -> bool:
        """Whether the leader hears every member; costs one message where asking all costs calls."""
        try:
            said = await (await self._connected()).inspect(timeout_s=LOOK_S)
        except RayconsError:
            return False
        configuration = configuration_of(said)
        followers = said["followers"]
        return (
            said["role"] == "leader"
            and not _changing(configuration)
            and {int(id) for id in followers} | {said["id"]} >= configuration.ids
            and all(follower["silent_s"] < LOOK_S for follower in followers.values())
        )

    async def _look_at_everyone(self, fleet: Fleet) -> bool:
        """Ask every member how it is, and do what there is to do; whether that is nothing."""
        await fleet.refresh()
        statuses = await fleet.statuses()
        view = view_of_leader(statuses)
        if view is None:
            # No leader to ask. If actors are missing, the group may need them to elect one.
            await self._revive_unasked(fleet, statuses)
            self._notes = ("no leader at present",)
            return False
        configuration = configuration_of(view)
        if int(view["commit"]) < int(view["configuration_index"]):
            self._notes = ("a change of members is not committed yet",)
            return False
        now = boottime()
        self._note_losses(configuration, statuses, now)
        healthy = not self._lost_since and all(id in configuration.ids for id in statuses)
        if healthy and not _changing(configuration):
            self._notes = self._strays(fleet, configuration)
            return True
        if self._lost_since and now - self._surveyed_at >= SURVEY_S:
            await self._survey(fleet.charter.settings)
        decided = plan(
            configuration=configuration,
            states={id: str(status["state"]) for id, status in statuses.items()},
            lost_since=self._lost_since,
            alive=[host.host for host in self._hosts if host.host],
            now=now,
            grace_s=fleet.charter.settings.repair_grace_s,
        )
        self._notes = decided.notes + self._strays(fleet, configuration)
        for step in decided.steps:
            await self._carry_out(step, fleet, configuration, int(view["configuration_index"]))
        return False

    def _strays(self, fleet: Fleet, configuration: Configuration) -> tuple[str, ...]:
        """Stores of this cluster that no listed replica owns: kept, and told of."""
        return tuple(
            f"{store.path} on {host.hostname} is of replica {store.id}, which is no member (any "
            "more); it is kept"
            for host in self._hosts
            for store in host.stores
            if store.uuid == fleet.charter.uuid and store.id not in configuration.ids
        )

    def _note_losses(
        self, configuration: Configuration, statuses: dict[PeerId, dict[str, Any]], now: float
    ) -> None:
        for id in configuration.ids:
            if statuses.get(id, {}).get("state") == "serving":
                self._lost_since.pop(id, None)
            else:
                self._lost_since.setdefault(id, now)
        for id in self._lost_since.keys() - configuration.ids:
            del self._lost_since[id]

    async def _revive_unasked(self, fleet: Fleet, statuses: dict[PeerId, dict[str, Any]]) -> None:
        gone = any(status["state"] == "gone" for status in statuses.values())
        if boottime() - self._surveyed_at < SURVEY_S or fleet.charter.settings.storage == "memory":
            return
        known = [configuration_of(each) for each in statuses.values() if "configuration" in each]
        missing = any(id not in statuses for each in known for id in each.ids)
        if gone or missing or not statuses:
            await fleet.refresh()
            await resume_members(fleet, await self._survey(fleet.charter.settings))

    async def _carry_out(
        self, step: Step, fleet: Fleet, configuration: Configuration, based_on: int
    ) -> None:
        log.info("event=supervision cluster=%s step=%r", self._name, step)
        match step:
            case Revive():
                node = self._node_of(step.host)
                if node is not None and step.id not in fleet.ids:
                    await fleet.spawn(step.id, node)
            case Sweep():
                await fleet.close([step.id])
            case Discard():
                await self._manage(Remove(step.id), based_on)
            case Replace():
                await self._add(fleet, step.host, configuration, based_on, replaces=step.lost)

    async def _add(
        self, fleet: Fleet, host: str, present: Configuration, based_on: int, *, replaces: PeerId
    ) -> PeerId:
        """Make a new replica on `host` and have it join; returns its id before it caught up."""
        node = self._node_of(host)
        if node is None:
            raise ClusterError(f"host {host} is not alive any more")
        reserved = await self._manage(Reserve(), based_on)
        id = reserved.value
        try:
            await fleet.spawn(id, node)
            made = await fleet.make(id)
            await fleet.remember([made.host, *(peer.host for peer in present.peers)])
            client = await self._connected()
            await fleet.begin(id, Configuration(peers=(), next_id=0), client.members)
            add = Add(id=id, nonce=made.nonce, host=made.host, voter=True, replaces=replaces)
            # Whether an add of unknown outcome happened shows in the next configuration seen.
            with contextlib.suppress(OutcomeUnknown):
                await self._manage(add, reserved.configuration_index)
        except (ClusterError, NotApplied, Refused):
            # It certainly did not join. Its id is used up; the next attempt takes another.
            await fleet.close([id])
            raise
        return id

    # --- changes by hand --------------------------------------------------------------------------

    async def add_member(self, timeout_s: float) -> PeerId:
        """Add a voter on the emptiest host; returns its id once it votes."""
        deadline = boottime() + timeout_s
        async with self._changing:
            fleet, configuration, based_on = await self._settled(deadline)
            await self._survey(fleet.charter.settings)
            voters = [peer.host for peer in configuration.peers if peer.role == Role.VOTER]
            alive = sorted(host.host for host in self._hosts if host.host)
            host = home_for_addition(alive, voters)
            if host is None:
                raise Unavailable("no living host can hold one more replica")
            id = await self._add(fleet, host, configuration, based_on, replaces=0)
        while True:
            view = view_of_leader(await fleet.statuses())
            if view is not None:
                now = configuration_of(view)
                if id in now.voters and not now.joint:
                    self._notes = ()
                    return id
            if boottime() >= deadline:
                raise OutcomeUnknown(
                    f"replica {id} was added and still catches up; see status() for how far it is"
                )
            await asyncio.sleep(SETTLE_S)

    async def remove_member(self, id: PeerId, timeout_s: float) -> None:
        """Take a replica out of the configuration and end its actor; its data stays on disk.

        Raises NoSuchMember, LastVoter.
        """
        deadline = boottime() + timeout_s
        async with self._changing:
            fleet, configuration, based_on = await self._settled(deadline)
            if configuration.peer(id) is None:
                raise NoSuchMember(
                    f"cluster {self._name!r} has no member {id}; it has {sorted(configuration.ids)}"
                )
            # A leader that removes itself may be gone before it can say so.
            with contextlib.suppress(OutcomeUnknown):
                await self._manage(Remove(id), based_on)
            await self._removed(fleet, id, deadline)
            await fleet.close([id])
            self._notes = ()

    async def _removed(self, fleet: Fleet, id: PeerId, deadline: float) -> None:
        while True:
            view = view_of_leader(await fleet.statuses())
            if view is not None:
                configuration = configuration_of(view)
                if id not in configuration.ids and not configuration.joint:
                    return
            if boottime() >= deadline:
                raise OutcomeUnknown(
                    f"the removal of replica {id} has not been seen to finish; look at status() "
                    "before you repeat it"
                )
            await asyncio.sleep(SETTLE_S)

    async def _settled(self, deadline: float) -> tuple[Fleet, Configuration, int]:
        """The fleet and a configuration that no change is under way in."""
        while True:
            try:
                fleet = await self._adopted()
            except MembersMissing as error:
                if boottime() >= deadline:
                    raise Unavailable(str(error)) from None
                await asyncio.sleep(SETTLE_S)
                continue
            if fleet is None:
                raise Unavailable(f"cluster {self._name!r} has no members at present")
            view = view_of_leader(await fleet.statuses())
            if view is not None:
                configuration = configuration_of(view)
                if not _changing(configuration):
                    return fleet, configuration, int(view["configuration_index"])
            if boottime() >= deadline:
                raise Unavailable(
                    f"cluster {self._name!r} has no leader, or another change has not finished"
                )
            await asyncio.sleep(SETTLE_S)

    # --- end --------------------------------------------------------------------------------------

    async def halt(self) -> None:
        """Stop supervising: the members are about to be ended on purpose."""
        async with self._changing:
            self._stopping = True
            await self._forget_fleet()

    def notes(self) -> tuple[str, ...]:
        """What is under way or waited for, for the status."""
        return self._notes

    # --- small things -----------------------------------------------------------------------------

    async def _survey(self, settings: ClusterSettings) -> list[HostReport]:
        self._hosts = await look_everywhere(self._name, settings)
        self._surveyed_at = boottime()
        return self._hosts

    def _node_of(self, host: str) -> str | None:
        return next((each.node for each in self._hosts if each.host == host), None)

    async def _manage(self, action: Any, based_on: int) -> Managed:
        client = await self._connected()
        return await client.manage(action, based_on=based_on, timeout_s=CHANGE_S)

    async def _connected(self) -> AsyncClient:
        fleet = self._fleet
        if fleet is None:
            raise Unavailable(f"cluster {self._name!r} has no members at present")
        if self._client is None:
            self._client = await open_client(fleet.charter)
        return self._client

    async def _drop_client(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _changing(configuration: Configuration) -> bool:
    return configuration.joint or any(peer.role == Role.JOINING for peer in configuration.peers)


class Supervisor:
    """The Ray actor: thin, because Ray ships an actor's class by value."""

    def __init__(self, name: str) -> None:
        from raycons.cluster.supervisor import Supervising
        from raycons.member.logs import log_to_file
        from raycons.member.naming import supervisor_name

        log_to_file(supervisor_name(name))
        self._supervising = Supervising(name)

    async def start(self, settings: ClusterSettings, timeout_s: float) -> Charter:
        """Create, resume or find the cluster."""
        return await self._supervising.start(settings, timeout_s)

    async def add_member(self, timeout_s: float) -> PeerId:
        """Add a voter."""
        return await self._supervising.add_member(timeout_s)

    async def remove_member(self, id: PeerId, timeout_s: float) -> None:
        """Remove a replica."""
        await self._supervising.remove_member(id, timeout_s)

    async def notes(self) -> tuple[str, ...]:
        """What is under way."""
        return self._supervising.notes()

    async def halt(self) -> None:
        """Stop supervising."""
        await self._supervising.halt()
