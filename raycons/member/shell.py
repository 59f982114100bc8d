"""The world around a member's engine: event loop, clock, timer, syncer, transport.

The engine is a deterministic object that is told what happened; this is what tells it, and what
carries out its wishes:

    transport --received--> engine      engine --send, respond--> transport
    timer     --tick----->  engine      engine --sync--> syncer --durable--> engine

All of it runs on one event loop, one callback at a time. `end_of_turn` runs once after all that one
turn of the loop brought, so that what arrives together is written, sent and answered together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from typing import Any

from raycons.config import MemberSettings, RaftSettings
from raycons.machines.contract import Machine, State
from raycons.member.admission import refusal
from raycons.member.clock import boottime
from raycons.member.contract import GroupEngine
from raycons.member.kernel_syncer import make_syncer
from raycons.member.metrics import Exporter, Meter
from raycons.member.opening import open_engine
from raycons.member.peers import PeerBook
from raycons.member.protocol import Answer, Submit
from raycons.member.syncer import Syncer
from raycons.store.contract import Store
from raycons.transport.contract import Address, ClientId, Greeting, MemberTransport, PeerId

log = logging.getLogger(__name__)

GROUP = 0  # the one group that a member serves today
LATE_S = 0.05  # a timer this late means that the loop was blocked, or the process paused
NEVER = float("inf")
# Loops count in whole milliseconds, from one that began up to a millisecond ago, so a timer can
# fire early and in vain. What is far off may as well be a little late; what is near may not.
TIMER_GRAIN_S = 0.0005
FAR_S = 0.03  # above what a follower waits for its disk before it applies
FAR_GRAIN_S = 0.0015


class Shell:
    """One serving replica: implements the engine's `Ports` and the transport's `MemberHandler`."""

    def __init__(
        self,
        *,
        greeting: Greeting,
        store: Store,
        make_machine: Callable[[State], Machine],
        raft: RaftSettings,
        member: MemberSettings,
        durable_store: bool,
        failed: Callable[[BaseException], None],
        retired: Callable[[str], None],
    ) -> None:
        """Opens the replica in `store`; it takes part once `start` gives it a transport.

        `greeting` is this member's identity; `failed` is called once, with what broke, when the
        replica cannot go on, `retired` when the group told this identity to end; `durable_store` is
        False for a store in memory.
        """
        self._greeting = greeting
        self._store = store
        self._failed = failed
        self._retired = retired
        self._loop = asyncio.get_running_loop()
        self._peers = PeerBook(store)
        self._transport: MemberTransport | None = None
        self._connected: set[PeerId] = set()
        self._last_contact: dict[PeerId, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = NEVER
        self._armed_far = True  # what the timer was armed for was far off then
        self._turn_scheduled = False
        self._turn_owed = False  # something arrived that may have given the engine work
        self._known_configuration: object = None
        self._stopped = False
        self._heartbeat_s = raft.heartbeat_interval_s
        self._asked_sync = 0  # the newest write that the engine wanted synced
        self._probe: tuple[ClientId, int, float] | None = None  # the command that is being timed
        self.meter = Meter()
        self.engine: GroupEngine = open_engine(
            group=GROUP,
            store=store,
            make_machine=make_machine,
            ports=self,
            raft=raft,
            member=member,
            random=random.Random(),
            now=boottime(),
        )
        # Last, so that nobody looks after the disk of a replica that could not be opened.
        self._syncer: Syncer = make_syncer(
            store, self._loop, self._on_durable, on_disk=durable_store
        )

    # --- life -------------------------------------------------------------------------------------

    def start(self, transport: MemberTransport) -> None:
        """Take part: send through `transport`, keep the engine's deadlines."""
        self._transport = transport
        self._end_turn()

    async def stop(self) -> None:
        """Hand over what is pending to the disk and let go of everything but the store."""
        if not self._stopped:
            self.engine.shutdown()
        await self._halt()

    async def abandon(self) -> None:
        """Let go of everything but the store after a failure; nothing more is written."""
        await self._halt()

    async def _halt(self) -> None:
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        await self._syncer.close()
        if self._transport is not None:
            await self._transport.close()

    # --- what the engine asks for (Ports) ---------------------------------------------------------

    def send(self, to: PeerId, message: Any) -> None:
        """Send to a peer, or drop."""
        if self._transport is not None:
            self._transport.send(to, GROUP, message)

    def respond(self, client: ClientId, message: Any) -> None:
        """Send to a client, or drop."""
        probe = self._probe
        if probe is not None and type(message) is Answer:
            if message.request == probe[1] and client == probe[0]:
                self.meter.commit_took(boottime() - probe[2])
                self._probe = None
        if self._transport is not None:
            self._transport.respond(client, GROUP, message)

    def flush(self) -> None:
        """Write to the sockets now: what follows takes time."""
        if self._transport is not None:
            self._transport.flush()

    def step_aside(self) -> None:
        """Write to the sockets now, and let whom it wakes run first, where cores are scarce."""
        self.flush()
        os.sched_yield()

    def sync(self, number: int) -> None:
        """Make durable all that was written so far, then say so."""
        self._asked_sync = number
        self._syncer.request(number)

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """A log line, and a count."""
        self.meter.count_event(name, fields)
        details = " ".join(f"{key}={value!r}" for key, value in fields.items())
        log.info("event=%s replica=%d %s", name, self._greeting.id, details)
        if name == "retired":
            self._retired(str(fields.get("reason", "the group refused this identity")))

    # --- what the transport tells (MemberHandler) -------------------------------------------------

    def admit(self, greeting: Greeting) -> str | None:
        """None to let the peer or client in, or the reason to refuse it."""
        return refusal(self._greeting, self.engine.configuration, self._peers, greeting)

    def connected(self, peer: PeerId, greeting: Greeting) -> None:
        """A connection to `peer` is up."""
        self._connected.add(peer)
        self._last_contact[peer] = boottime()
        before = self._peers.addresses.get(peer)
        if self._peers.meet(greeting):
            self._syncer.request(self._asked_sync)  # once more: it covers the news
        if self._peers.addresses.get(peer) != before:
            self._refresh_addresses()
        self._schedule_turn()

    def lost(self, peer: PeerId) -> None:
        """The last connection to `peer` ended, and it was not this side that closed it."""
        self._connected.discard(peer)
        now = boottime()
        self._last_contact[peer] = now
        if not self._stopped:
            self._guard(self.engine.connection_lost, peer, now)
            self._schedule_turn()

    def received(self, sender: PeerId, group: int, message: Any) -> None:
        """A message from a peer."""
        if group == GROUP and not self._stopped:
            engine = self.engine
            try:
                engine.receive(sender, message, boottime())
            except BaseException as error:  # noqa: BLE001  reported, and ends the replica
                self._fail(error)
            # Most confirmations of a heartbeat ask for nothing, and are all that an idle leader
            # hears; an acknowledgement from more than a quorum asks for nothing either. Whatever
            # else is to be done has a turn of its own, or a deadline.
            if not engine.may_need_no_turn(message) or engine.owes_turn:
                self._turn_owed = True

    def client_connected(self, client: ClientId) -> None:
        """A client's connection is up: it is told who leads."""
        if not self._stopped:
            self._guard(self.engine.client_connected, client)

    def client_received(self, client: ClientId, group: int, message: Any) -> None:
        """A message from a client."""
        if group != GROUP or self._stopped:
            return
        self._turn_owed = True
        now = boottime()
        if type(message) is Submit:
            self.meter.submitted(len(message.payload))
            if self._probe is None or now - self._probe[2] > 1.0:
                self._probe = (client, message.request, now)
        try:
            self.engine.client(client, message, now)
        except BaseException as error:  # noqa: BLE001  reported, and ends the replica
            self._fail(error)

    def client_gone(self, client: ClientId) -> None:
        """The client's connection ended."""
        if not self._stopped:
            self._guard(self.engine.client_gone, client)
            self._schedule_turn()

    def turn_over(self) -> None:
        """What arrived together has been handed over."""
        if self._turn_owed:
            self._end_turn_at(boottime())

    # --- disk, timer, turns -----------------------------------------------------------------------

    def _on_durable(self, number: int) -> None:
        if self._stopped:
            return
        now = boottime()
        self._guard(self.engine.durable, number, now)
        if self.engine.owes_turn:
            self._end_turn_at(now)

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._scheduled_turn)

    def _scheduled_turn(self) -> None:
        self._turn_scheduled = False
        self._end_turn()

    def _end_turn(self) -> None:
        self._end_turn_at(boottime())

    def _end_turn_at(self, now: float) -> None:
        if self._stopped:
            return
        self._turn_owed = False
        try:
            self.engine.end_of_turn(now)
        except BaseException as error:  # noqa: BLE001  reported, and ends the replica
            self._fail(error)
            return
        deadline = max(now, self.engine.next_deadline())  # 0: there is more to do at once
        armed_for, heartbeat_s = self._armed_for, self._heartbeat_s
        # An overdue timer stays whatever is wanted: it shows that this process was stopped, and has
        # a follower listen before it campaigns. One armed anew for what is due by now does not.
        if now <= armed_for and (
            deadline < armed_for
            or (
                self._armed_far
                and armed_for < now + 2 * heartbeat_s
                and deadline > armed_for + heartbeat_s
            )
        ):
            self._arm(deadline, now)
        if self.engine.configuration is not self._known_configuration:
            self._refresh_addresses()
        self._syncer.yield_to_disk(now)

    def _arm(self, deadline: float, now: float) -> None:
        # Deadlines mostly move away (each heartbeat moves the election's): an armed timer stays,
        # which spares a timer per message, until it would soon wake an idle follower in vain. One
        # for what was near then stays in any case: it spares a busy follower two for each entry.
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = deadline
        delay = deadline - now
        self._armed_far = delay > FAR_S
        if delay > 0.0:
            delay += FAR_GRAIN_S if self._armed_far else TIMER_GRAIN_S
        self._timer = self._loop.call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        now = boottime()
        if now - self._armed_for <= LATE_S:
            self._tick_at(now)
        elif self.engine.leads:
            # Our heartbeats are overdue; but what the sockets hold by now may say that we no longer
            # lead, or that our followers are still there.
            self._loop.call_soon(self._tick)
        else:
            # A follower that was stopped finds its election timeout passed, on a silence that was
            # its own. Where the whole machine was stopped, its leader was too. So listen first.
            self._timer = self._loop.call_later(self._heartbeat_s, self._tick)

    def _tick(self) -> None:
        self._tick_at(boottime())

    def _tick_at(self, now: float) -> None:
        if not self._stopped:
            self._armed_for = NEVER
            self._guard(self.engine.tick, now)
            self._end_turn_at(now)

    def _guard(self, event: Callable[..., None], *arguments: Any) -> None:
        try:
            event(*arguments)
        except BaseException as error:  # noqa: BLE001  reported, and ends the replica
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self._stopped:
            self._stopped = True
            self._failed(error)

    # --- addresses --------------------------------------------------------------------------------

    def locate(self, addresses: dict[PeerId, Address]) -> None:
        """Take over addresses that were learned through Ray."""
        if self._peers.locate(addresses):
            self._refresh_addresses()

    def unreachable(self, seconds: float) -> list[PeerId]:
        """The peers of the configuration that no connection reached for so long."""
        now = boottime()
        wanted = self.engine.configuration.ids - {self._greeting.id}
        return sorted(
            peer
            for peer in wanted - self._connected
            if now - self._last_contact.setdefault(peer, now - seconds) >= seconds
        )

    def _refresh_addresses(self) -> None:
        """Tell the transport whom to keep connections to."""
        configuration = self.engine.configuration
        self._known_configuration = configuration
        addresses = self._peers.addresses
        addresses.pop(self._greeting.id, None)
        if configuration.ids:
            # A replica that joins knows no configuration yet, and answers whoever it has met.
            addresses = {id: at for id, at in addresses.items() if id in configuration.ids}
        if self._transport is not None:
            if not self._transport.address.port:
                # Members that talk by actor calls find each other by name; only the ids count.
                addresses = dict.fromkeys(configuration.ids or addresses, Address("", 0))
                addresses.pop(self._greeting.id, None)
            self._transport.know(addresses)
            addresses[self._greeting.id] = self._transport.address
            self.engine.know(tuple((id, at.host, at.port) for id, at in sorted(addresses.items())))

    # --- what others ask --------------------------------------------------------------------------

    @property
    def connections(self) -> list[PeerId]:
        """The peers with a live connection."""
        return sorted(self._connected)

    def status(self) -> dict[str, Any]:
        """The engine's status, with what only the shell knows."""
        status = dict(self.engine.status(boottime()))
        status["connections"] = self.connections
        if self._transport is not None:
            status["transport_counters"] = dict(self._transport.counters)
        return status

    def publish_metrics(self, exporter: Exporter) -> None:
        """Hand what was counted to Ray; called about once a second."""
        if not self._stopped:
            self.meter.synced(self._syncer.take_durations())
            exporter.publish(self.meter, lambda: self.engine.status(boottime()), self._transport)
