"""The supervisor: makes a cluster's members, resumes them after a full stop, replaces lost ones.

One named actor per cluster, so that two `start`s of one name cannot both create. It keeps nothing
that it could not learn anew: when Ray restarts it, it finds the members by their names, and the
group knows its own configuration. The cluster serves without it; only repair waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any

import msgspec

from raycons.client.shell import AsyncClient
from raycons.cluster.connection import open_client
from raycons.cluster.creation import found_cluster, resume_members
from raycons.cluster.fleet import Charter, Fleet, adopt, new_uuid
from raycons.cluster.hosts import HostReport, StoreReport, look_everywhere
from raycons.cluster.placement import home_for_addition
from raycons.cluster.repair import Discard, Replace, Revive, Step, Sweep, plan
from raycons.cluster.settings import BOUND_TO_DATA, COMPARED, ClusterSettings, differences
from raycons.cluster.status import view_of_leader
from raycons.consensus.configuration import Configuration, Role
from raycons.errors import (
    ClusterError,
    ClusterExists,
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
SETTLE_S = 0.05  # between two looks while somebody waits


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
        self._stopping = False
        self._task = asyncio.get_running_loop().create_task(self._supervise())

    # --- start ------------------------------------------------------------------------------------

    async def start(self, settings: ClusterSettings, timeout_s: float) -> Charter:
        """Create the cluster, or resume it, or find it running; returns once it has a leader.

        Raises ClusterExists where it runs, or was stopped, with other settings; MembersMissing
        where too few of its members come up in time; ClusterError where it cannot be made.
        """
        deadline = boottime() + timeout_s
        async with self._changing:
            self._stopping = False
            fleet = await self._adopted()
            if fleet is not None:
                self._refuse_other(fleet.charter.settings, settings, COMPARED, "is running")
            else:
                fleet = await self._create_or_resume(settings, deadline)
                self._fleet = fleet
        await self._wait_for_leader(fleet, deadline)
        return fleet.charter

    async def _adopted(self) -> Fleet | None:
        if self._fleet is not None and not await self._any_left(self._fleet):
            self._fleet = None  # every actor ended: what is on disk decides anew
            await self._drop_client()
        if self._fleet is None:
            self._fleet = await adopt(self._name)
        return self._fleet

    async def _any_left(self, fleet: Fleet) -> bool:
        await fleet.refresh()
        statuses = await fleet.statuses()
        return any(status["state"] != "gone" for status in statuses.values())

    def _refuse_other(
        self,
        has: ClusterSettings,
        asked: ClusterSettings,
        names: tuple[str, ...],
        how: str,
    ) -> None:
        where = differences(has, asked, names)
        if where:
            raise ClusterExists(
                f"cluster {self._name!r} {how} with other settings: {where}; use the same "
                f"settings, or connect({self._name!r}), or another name"
            )

    async def _create_or_resume(self, settings: ClusterSettings, deadline: float) -> Fleet:
        hosts = await self._survey(settings)
        stores = [store for host in hosts for store in host.stores]
        if not stores:
            charter = Charter(
                name=self._name,
                uuid=new_uuid(),
                secret=secrets.token_bytes(32),
                settings=settings,
            )
            return await found_cluster(charter, hosts)
        uuid, before = self._stopped_cluster(stores)
        self._refuse_other(before, settings, BOUND_TO_DATA, "was stopped")
        charter = Charter(
            name=self._name, uuid=uuid, secret=secrets.token_bytes(32), settings=settings
        )
        fleet = Fleet(charter)
        await resume_members(fleet, hosts)
        return fleet

    def _stopped_cluster(self, stores: list[StoreReport]) -> tuple[str, ClusterSettings]:
        uuids = sorted({store.uuid for store in stores if store.uuid})
        if not uuids:
            problems = "; ".join(f"{store.path}: {store.problem}" for store in stores)
            raise MembersMissing(
                f"stores of cluster {self._name!r} were found, but none of them can be read: "
                f"{problems}; stop({self._name!r}, destroy=True) gives them up"
            )
        if len(uuids) > 1:
            places = "; ".join(f"{store.path} is of {store.uuid}" for store in stores)
            raise ClusterError(
                f"the hosts hold stores of {len(uuids)} clusters named {self._name!r}: {places}; "
                "move the directories of all but one away"
            )
        known = [store.settings for store in stores if store.settings is not None]
        if not known:
            places = ", ".join(store.path for store in stores)
            raise ClusterError(f"the settings beside the stores cannot be read: {places}")
        return uuids[0], known[0]

    async def _wait_for_leader(self, fleet: Fleet, deadline: float) -> None:
        while True:
            statuses = await fleet.statuses()
            leader = view_of_leader(statuses)
            if leader is not None:
                self._notes = ()
                return
            if boottime() >= deadline:
                raise MembersMissing(self._who_is_missing(statuses))
            await asyncio.sleep(SETTLE_S)

    def _who_is_missing(self, statuses: dict[PeerId, dict[str, Any]]) -> str:
        configurations = [
            (status["configuration_index"], configuration_of(status))
            for status in statuses.values()
            if "configuration" in status
        ]
        serving = [id for id, status in statuses.items() if status["state"] == "serving"]
        told = [
            f"replica {id}: {status['state']} ({status['reason']})"
            for id, status in sorted(statuses.items())
            if status["state"] != "serving"
        ]
        if configurations:
            _, newest = max(configurations, key=lambda pair: pair[0])
            told += [
                f"replica {peer.id}: no living host holds its store (it was on host {peer.host})"
                for peer in newest.peers
                if peer.id not in statuses
            ]
        return (
            f"cluster {self._name!r} has no leader: replicas {serving} are up; missing: "
            + ("; ".join(told) or "none is known by name")
            + ". Bring their hosts back and start again; nothing was created beside them"
        )

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
        fleet = self._fleet
        statuses = await fleet.statuses()
        view = view_of_leader(statuses)
        if view is None:
            # No leader to ask. If actors are missing, the group may need them to elect one.
            await self._revive_unasked(fleet, statuses)
            self._notes = ("no leader at present",)
            return
        configuration = configuration_of(view)
        now = boottime()
        self._note_losses(configuration, statuses, now)
        healthy = not self._lost_since and all(id in configuration.ids for id in statuses)
        if healthy and not configuration.joint and not _joining(configuration):
            self._notes = ()
            return
        if self._lost_since and now - self._surveyed_at >= SURVEY_S:
            await fleet.refresh()
            await self._survey(fleet.charter.settings)
        decided = plan(
            configuration=configuration,
            states={id: str(status["state"]) for id, status in statuses.items()},
            lost_since=self._lost_since,
            alive=[host.host for host in self._hosts if host.host],
            now=now,
            grace_s=fleet.charter.settings.repair_grace_s,
        )
        self._notes = decided.notes
        for step in decided.steps:
            await self._carry_out(step, fleet, configuration, int(view["configuration_index"]))

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
                await self._add(fleet, step.host, based_on, replaces=step.lost)

    async def _add(self, fleet: Fleet, host: str, based_on: int, *, replaces: PeerId) -> PeerId:
        """Make a new replica on `host` and have it join; returns its id before it caught up."""
        node = self._node_of(host)
        if node is None:
            raise ClusterError(f"host {host} is not alive any more")
        reserved = await self._manage(Reserve(), based_on)
        id = reserved.value
        try:
            await fleet.spawn(id, node)
            made = await fleet.make(id)
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
            id = await self._add(fleet, host, based_on, replaces=0)
        while True:
            view = view_of_leader(await fleet.statuses())
            if view is not None:
                now = configuration_of(view)
                if id in now.voters and not now.joint:
                    self._notes = ()
                    return id
            if boottime() >= deadline:
                raise Unavailable(
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
            fleet = await self._adopted()
            if fleet is None:
                raise Unavailable(f"cluster {self._name!r} has no members at present")
            view = view_of_leader(await fleet.statuses())
            if view is not None:
                configuration = configuration_of(view)
                if not configuration.joint and not _joining(configuration):
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
            await self._drop_client()
            self._fleet = None

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


def configuration_of(status: dict[str, Any] | Any) -> Configuration:
    """The configuration inside a member's status."""
    return msgspec.convert(status["configuration"], Configuration)


def _joining(configuration: Configuration) -> bool:
    return any(peer.role == Role.JOINING for peer in configuration.peers)


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
