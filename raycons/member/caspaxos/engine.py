"""The engine of a member of a cluster of registers: the same member, without a log or a leader.

Pure, as `raycons.member.engine` is, and run by the same shell and the same simulator. Every member
is a proposer, of whatever its clients ask, and every voter an acceptor. What a turn has for another
member leaves in one bundle, and what it changed of any register is written in one batch: one frame
and one sync cover all keys.

    receive, client, tick, ...          proposer, collector, electorate  --Send--> bundles, or self
        |                                   acceptor                     --answers-->
    end_of_turn --> bundles leave --> one batch is written, and a sync asked for
    durable     --> the answers that waited for it leave

An acceptor's answer leaves when its disk has what it says, unless it is a refusal. What a member
sends to itself takes the same way, but for the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import msgspec

from raycons.config import RegisterSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.paxos.caspaxos.acceptor import Acceptor
from raycons.consensus.paxos.caspaxos.collection import Collector
from raycons.consensus.paxos.caspaxos.messages import (
    Accept,
    Accepted,
    Bundle,
    Elsewhere,
    Forbidden,
    Inform,
    Informed,
    Inherited,
    Listed,
    Listing,
    Message,
    Outdated,
    Outgrow,
    Outgrown,
    Prepare,
    Promise,
    Refusal,
    Stamp,
    Told,
)
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.paxos.caspaxos.rounds import ProposerState
from raycons.consensus.paxos.caspaxos.transition import Change, Decided, Deleted, GaveUp
from raycons.consensus.quorum import ReplicaId
from raycons.machines.kv.settings import KeyValueSettings
from raycons.machines.register import REMEDY, Registry, Request, Settle
from raycons.member.caspaxos.electorate import Electorate, quorums_of
from raycons.member.caspaxos.ledger import KnownConfiguration, Ledger, bootstrap
from raycons.member.caspaxos.reconfiguring import Reconfigure, reconfigure
from raycons.member.caspaxos.service import Service
from raycons.member.caspaxos.tombstones import Tombstones
from raycons.member.contract import Addresses
from raycons.member.ports import Ports
from raycons.member.protocol import Code, Inspect, Inspected, Manage, Read, Refused, Submit
from raycons.store.contract import Store
from raycons.store.openings import incarnation
from raycons.transport.contract import ClientId

__all__ = ["RegisterEngine", "bootstrap"]

COLLECT = Settle("collect")
# What leaves when the disk has what it vouches for. A configuration too: a member that told of one,
# forgot it, and served the one before again could agree to an erasure that others know nothing of.
HELD = (Promise, Accepted, Told, Forbidden, Inform, Informed, Listed, Inherited)
MAX_BUNDLE_BYTES = 2 * 1024 * 1024

_encode = msgspec.msgpack.Encoder().encode


class Meaning:
    """What requests do: to the configuration's register, or to a key's; a `Transition`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def change(self, value: bytes, erased: Stamp, round: int, requests: Sequence[Any]) -> Change:
        """See Transition."""
        if isinstance(requests[0], Reconfigure):
            return Change(*reconfigure(value, list(requests)))
        return Change(*self._registry.change(value, erased, round, requests))

    def look(self, value: bytes, requests: Sequence[Any]) -> Sequence[Any]:
        """See Transition."""
        return self._registry.look(value, requests)


class Older(NamedTuple):
    """To this member itself: the state in which it carries the order out is on disk."""

    collector: ReplicaId
    order: Outgrow
    state: ProposerState


class RegisterEngine:
    """One member of one group of registers; a `GroupEngine`."""

    def __init__(
        self,
        *,
        group: int,
        store: Store,
        ports: Ports,
        key_value: KeyValueSettings,
        registers: RegisterSettings,
        random: Random,
        now: float,
    ) -> None:
        """Open the member's records in `store`, made before by `bootstrap`.

        Raises StoreCorrupt where they do not fit together.
        """
        self.group = group
        self._store = store
        self._ports = ports
        self._ledger = Ledger(store, group)
        self.identity = self._ledger.identity
        self.id = self.identity.id
        known = self._ledger.known
        registry = Registry(key_value, registers)
        registry.highest = self._ledger.acceptor.erased
        self.acceptor = Acceptor(self._ledger, self._ledger.acceptor, known.epoch)
        self.proposer = Proposer(
            self.id,
            random.getrandbits(48),
            Meaning(registry),
            random,
            registers,
            self._ledger.proposer,
            known.epoch,
            quorums_of(known.configuration, self.id),
        )
        self.collector = Collector(self.proposer, COLLECT, random.getrandbits(40))
        self._service = Service(self.id, self.proposer, registry, ports, incarnation(store))
        self.electorate = Electorate(
            self._ledger, self.proposer, ports, registers, random, self._adopted
        )
        self.electorate.opened(now)
        self._service.serves = self.id in known.configuration.ids
        self._tombstones = Tombstones(self._ledger, self.collector, registers.collect_after_s, now)

        self._number = 0  # of the last write
        self._durable = 0
        self._answers: list[tuple[ReplicaId, Message | Older]] = []  # of this turn, for its write
        self._held: deque[tuple[int, ReplicaId, Message | Older]] = deque()
        self._out: dict[ReplicaId, list[Message]] = {}
        self._own: deque[Message | Older] = deque()  # to this member itself
        self.messages_ignored = 0  # known to this version, but not what the sender should say

    # --- events -----------------------------------------------------------------------------------

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """See GroupEngine."""
        if type(message) is not Bundle:
            self.messages_ignored += 1
            return
        for one in message.messages:
            self._handle(sender, one, now)

    def may_need_no_turn(self, message: Any) -> bool:
        """See GroupEngine."""
        return False

    def client_connected(self, client: ClientId) -> None:
        """See GroupEngine."""
        self._service.connected(client)

    def client_gone(self, client: ClientId) -> None:
        """See GroupEngine."""
        self._service.gone(client)

    def client(self, client: ClientId, message: Any, now: float) -> None:
        """See GroupEngine."""
        match message:
            case Submit():
                self._service.submit(client, message, now)
            case Read():
                self._service.read(client, message, now)
            case Manage():
                self.electorate.manage(client, message, now)
            case Inspect(request, digest):
                self._inspect(client, request, digest, now)
            case _:
                self.messages_ignored += 1

    def _inspect(self, client: ClientId, request: int, digest: bool, now: float) -> None:
        if digest:
            text = f"a digest of the whole state is not possible in this cluster: {REMEDY}"
            self._ports.respond(client, Refused(request, Code.INVALID, 0, text))
        else:
            self._ports.respond(client, Inspected(request, _encode(self.status(now))))

    def know(self, addresses: Addresses) -> None:
        """See GroupEngine."""
        self._service.know(addresses)

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """See GroupEngine. What was asked of it is asked again when patience ends."""

    def durable(self, number: int, now: float) -> None:
        """See GroupEngine."""
        self._durable = max(self._durable, number)
        held = self._held
        while held and held[0][0] <= self._durable:
            _, to, message = held.popleft()
            self._send(to, message)

    def tick(self, now: float) -> None:
        """See GroupEngine."""
        self.proposer.tick(now)
        self.collector.tick(now)
        self.electorate.tick(now)
        if now >= self._tombstones.due:
            self._tombstones.collect(self.configuration, now)

    def next_deadline(self) -> float:
        """See GroupEngine."""
        return min(
            self.proposer.next_deadline(),
            self.collector.next_deadline(),
            self.electorate.next_deadline(),
            self._tombstones.due,
        )

    @property
    def owes_turn(self) -> bool:
        """See GroupEngine."""
        return bool(self._own or self._out or self.proposer.pending)

    @property
    def leads(self) -> bool:
        """See GroupEngine: nobody waits for anybody's heartbeats."""
        return True

    def end_of_turn(self, now: float) -> None:
        """See GroupEngine."""
        self._settle(now)
        self._flush()  # what is sent leaves before anything is written
        self._write()
        answers, self._answers = self._answers, []
        for to, message in answers:
            if self._number <= self._durable:
                self._send(to, message)
            else:
                self._held.append((self._number, to, message))
        if self._own:
            self.end_of_turn(now)  # an answer to ourselves that waits for no disk
        self._flush()

    def _write(self) -> None:
        if self._ledger.write():
            self._number += 1
            self._ports.sync(self._number)

    def _settle(self, now: float) -> None:
        """Go on until nothing is left that this member can do by itself."""
        while True:
            while self._own:
                self._handle(self.id, self._own.popleft(), now)
            for effect in self.proposer.drain(now):
                match effect:
                    case Decided():
                        self._decided(effect, now)
                    case GaveUp():
                        self._gave_up(effect, now)
                    case Deleted(key):
                        self._tombstones.add(key, now)
                    case to, message, _:
                        self._send(to, message)
            for to, message, _ in (*self.collector.drain(), *self.electorate.drain()):
                self._answer(to, message)
            if self._own:
                continue
            self._tombstones.note_end(now)
            if not self.proposer.pending:
                return

    def shutdown(self) -> None:
        """See GroupEngine: every turn left its changes in the store."""

    # --- messages ---------------------------------------------------------------------------------

    def _send(self, to: ReplicaId, message: Message | Older) -> None:
        if to == self.id:
            self._own.append(message)
        elif not isinstance(message, Older):
            self._out.setdefault(to, []).append(message)

    def _flush(self) -> None:
        """Let bundles leave."""
        out, self._out = self._out, {}
        for to, messages in out.items():
            for bundle in _bundles(messages):
                self._ports.send(to, bundle)
        if out:
            self._ports.flush()

    def _answer(self, to: ReplicaId, message: Message | None) -> None:
        if message is None:
            return
        if isinstance(message, HELD):
            self._answers.append((to, message))
        else:
            self._send(to, message)

    def _handle(self, sender: ReplicaId, message: Message | Older, now: float) -> None:
        match message:
            case Promise() | Accepted() | Refusal() | Outdated() | Told():
                self.proposer.receive(sender, message, now)
            case Outgrow(_, _, round, epoch):
                if epoch == self.electorate.epoch:
                    older = self._ledger.proposer.older(round)
                    self._ledger.keep_proposer(older)
                    self._answers.append((self.id, Older(sender, message, older)))
            case Older(collector, order, state):
                if order.epoch == self.electorate.epoch:
                    self.proposer.outgrow(order.keys, state)
                    self._send(collector, Outgrown(order.number, state.age))
            case Outgrown():
                self.collector.outgrown(sender, message, now)
            case Forbidden():
                self.collector.forbidden(sender, message)
            case Elsewhere(epoch):
                if epoch < self.electorate.epoch:
                    self.electorate.inform(sender)
            case Inform(epoch, configuration, round):
                if epoch >= self.electorate.epoch:
                    self._rise_above(round)
                    self.electorate.adopt(KnownConfiguration(epoch, configuration), now)
                    self._answer(sender, Informed(epoch))
            case Informed():
                self.electorate.informed(sender, message)
            case Listed():
                self.electorate.listed(sender, message, now)
            case Inherited():
                self.electorate.inherited(sender, message, now)
            case _:
                self._accept(sender, message)

    def _accept(self, sender: ReplicaId, message: Any) -> None:
        """A request to the acceptor."""
        if isinstance(message, Listing):
            self._write()  # the store is asked for the keys
        if isinstance(message, Prepare | Accept):
            # After a pause, what stood in our proposer's way is no longer the highest: keep up.
            self.proposer.notice(message)
        answer = self.acceptor.receive(message)
        if self.acceptor.state is not self._ledger.acceptor:
            self._ledger.keep_acceptor(self.acceptor.state)
        if type(answer) is Elsewhere and answer.epoch > message.epoch:
            self.electorate.inform(sender)
        self._answer(sender, answer)

    # --- what is chosen ---------------------------------------------------------------------------

    def _decided(self, effect: Decided, now: float) -> None:
        request = effect.request
        if isinstance(request, Request):
            self._service.decided(effect)
        elif request == COLLECT:
            self.collector.settled(effect.key, effect.ballot, effect.outcome, now)
        else:
            self.electorate.decided(effect, now)

    def _gave_up(self, effect: GaveUp, now: float) -> None:
        if isinstance(effect.request, Request):
            self._service.gave_up(effect)
        elif effect.request == COLLECT:
            self.collector.unsettled(effect.key, now)
        else:
            self.electorate.gave_up(effect)

    # --- configurations ---------------------------------------------------------------------------

    @property
    def configuration(self) -> Configuration:
        """See GroupEngine: the newest that is known to be chosen."""
        return self.electorate.configuration

    def _rise_above(self, round: int) -> None:
        self.proposer.rise_above(round)
        known = self._ledger.proposer
        if known.above(round) is not known:
            self._ledger.keep_proposer(known.above(round))

    def _adopted(self, known: KnownConfiguration) -> None:
        self.acceptor.epoch = known.epoch
        self.proposer.configure(known.epoch, quorums_of(known.configuration, self.id))
        serves = self.id in known.configuration.ids
        if serves != self._service.serves:
            self._service.serves = serves
            self._service.introduce()

    # --- status -----------------------------------------------------------------------------------

    def status(self, now: float) -> dict[str, Any]:
        """See GroupEngine."""
        configuration = self.configuration
        voter = self.id in configuration.electors
        return {
            "id": self.id,
            "protocol": "caspaxos",
            "role": "acceptor" if voter else "proposer",
            "epoch": self.electorate.epoch,
            "configuration_index": self.electorate.epoch,
            # What there is none of without leader and log; only configurations have an index.
            "term": 0,
            "ballot": "",
            "leader": 0,
            "log_first": 1,
            "log_last": 0,
            "commit": self.electorate.epoch,
            "applied": self.electorate.epoch,
            "followers": {},
            "configuration": msgspec.to_builtins(configuration),
            "joint": configuration.joint,
            "age": self.proposer.state.age,
            "waiting": self.proposer.waiting,
            "refusals": self.proposer.refusals,
            "short_rounds": self.proposer.short_rounds,
            "quick_reads": self.proposer.quick_reads,
            "tombstones": len(self._tombstones),
            "collected": self.collector.collected,
            "collections_given_up": self.collector.given_up,
            "clients": self._service.clients,
            "store_bytes": self._store.size_bytes(),
            "messages_ignored": self.messages_ignored,
        }


def _bundles(messages: list[Message]) -> list[Bundle]:
    """The messages in as few bundles as stay well below a frame's bound."""
    bundles: list[Bundle] = []
    begin, size = 0, 0
    for place, message in enumerate(messages):
        grows = len(message.value) if isinstance(message, Accept | Promise | Told) else 0
        if size and size + grows > MAX_BUNDLE_BYTES:
            bundles.append(Bundle(tuple(messages[begin:place])))
            begin, size = place, 0
        size += grows
    bundles.append(Bundle(tuple(messages[begin:])))
    return bundles
