"""The configuration of a cluster of registers: where it is, who tells of it, how it changes.

It is a register of its own, under the empty key, which no client can name. So it is chosen as any
value is, by the acceptors that it lists, and a change is a compare-and-set on its epoch: no two
configurations have the same epoch, and each was computed from the one before. Members keep the
newest that they know to be chosen in their stores, and tell it to whoever speaks of an older one.

Acceptors answer requests of their own epoch only. A change of voters is in two steps (sections 2.3
of the paper), with a joint configuration in between, in which both phases need a majority of the
old voters and a majority of the new:

    joint       chosen by a majority of the old voters. As soon as a majority of them is in it, no
                round of the epoch before can be completed any more
    carry       every register is changed by nothing, so that a majority of the new voters holds it;
                which there are, majorities of both that are in the joint epoch say, page by page
    inherit     a majority of the new voters takes over what is known of registers that were erased
    settled     chosen by majorities of both; what the old voters hold alone is not needed any more

Any voter can go on with it: whoever ordered the change begins at once, the others when nothing has
happened for a while. Two that do it at once do no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import NamedTuple

from raycons.config import RegisterSettings
from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.contract import NEVER, Send
from raycons.consensus.paxos.caspaxos.messages import (
    Epoch,
    Inform,
    Informed,
    Inherited,
    Key,
    Listed,
)
from raycons.consensus.paxos.caspaxos.proposer import Proposer
from raycons.consensus.paxos.caspaxos.transition import Decided, GaveUp
from raycons.consensus.quorum import Joint, ReplicaId
from raycons.member.caspaxos.carrying import Carrying
from raycons.member.caspaxos.ledger import KnownConfiguration, Ledger
from raycons.member.caspaxos.reconfiguring import CARRY, CONFIGURATION_KEY, Reconfigure
from raycons.member.ports import Ports
from raycons.member.protocol import Action, Add, Code, Manage, Managed, Refused, Remove, Reserve
from raycons.transport.contract import ClientId


class _Order(NamedTuple):
    """A change that a client ordered."""

    client: ClientId
    request: int
    successor: Configuration
    value: int
    finished: Callable[[Configuration], bool]


class Electorate:
    """The configuration as one member knows it, and the changes that it makes."""

    def __init__(
        self,
        ledger: Ledger,
        proposer: Proposer,
        ports: Ports,
        settings: RegisterSettings,
        random: Random,
        adopted: Callable[[KnownConfiguration], None],
    ) -> None:
        """`adopted` is told of each newer configuration."""
        self._id = ledger.identity.id
        self._ledger = ledger
        self._proposer = proposer
        self._ports = ports
        self._settings = settings
        self._random = random
        self._adopted = adopted
        self._effects: list[Send] = []
        self._under_way: dict[Reconfigure, _Order] = {}
        self._unfinished: list[_Order] = []  # chosen, and waiting for the end of the joint epoch
        self._carrying: Carrying | None = None
        self._due = NEVER  # when to go on with a change of others, or to begin a step anew

    @property
    def epoch(self) -> Epoch:
        """Of the configuration that is known."""
        return self._ledger.known.epoch

    @property
    def configuration(self) -> Configuration:
        """The configuration that is known."""
        return self._ledger.known.configuration

    def opened(self, now: float) -> None:
        """The member has just been opened: a change may be under way."""
        self._watch(now, at_once=False)

    # --- what clients order -----------------------------------------------------------------------

    def manage(self, client: ClientId, message: Manage, now: float) -> None:
        """A change of the members."""
        configuration = self.configuration
        action = message.action
        refusal: tuple[Code, str] | None = None
        if not isinstance(action, Reserve | Add | Remove):
            text = "members of a cluster of registers are all alike: there is no leader to choose"
            refusal = Code.INVALID, text
        elif self._id not in configuration.ids:
            refusal = Code.UNAVAILABLE, "this member is not part of the cluster (any more)"
        elif message.based_on != self.epoch:
            text = f"the configuration has epoch {self.epoch}, not {message.based_on}"
            refusal = Code.CONFIGURATION_CHANGED, text
        elif configuration.joint or self._under_way:
            refusal = Code.CHANGE_IN_PROGRESS, "another change has not finished"
        else:
            refusal = self._order(client, message.request, action, now)
        if refusal is not None:
            code, text = refusal
            self._ports.respond(client, Refused(message.request, code, 0, text))

    def _order(
        self, client: ClientId, request: int, action: Reserve | Add | Remove, now: float
    ) -> tuple[Code, str] | None:
        configuration = self.configuration
        try:
            successor = successor_of(configuration, action)
        except membership.BadChange as error:
            return _CODES[error.code], str(error)
        finished: Callable[[Configuration], bool] = _at_once
        value = configuration.next_id if isinstance(action, Reserve) else action.id
        if isinstance(action, Remove):
            finished = partial(_is_without, action.id)
        asked = Reconfigure(self.epoch, successor)
        if not self._proposer.submit(CONFIGURATION_KEY, asked, now):
            return Code.OVERLOADED, "too many changes wait"
        self._under_way[asked] = _Order(client, request, successor, value, finished)
        return None

    # --- what is chosen ---------------------------------------------------------------------------

    def decided(self, effect: Decided, now: float) -> None:
        """The configuration's register was changed, or a register was carried over."""
        if effect.request == CARRY:
            self._carried(effect.key)
            return
        known: KnownConfiguration | None = effect.outcome
        if known is not None and known.epoch > self.epoch:
            concerned = self.configuration.ids | known.configuration.ids
            self.adopt(known, now)
            for member in sorted(concerned):
                self.inform(member)
        if effect.request.successor is None:
            self._carried(effect.key)
            return
        order = self._under_way.pop(effect.request, None)
        if order is None:
            return
        done = KnownConfiguration(effect.request.based_on + 1, order.successor)
        if known == done:
            self._unfinished.append(order)
            self._answer_finished()
            self._watch(now, at_once=True)
        else:
            text = "the configuration was changed meanwhile"
            refused = Refused(order.request, Code.CONFIGURATION_CHANGED, 0, text)
            if effect.repeated:  # it may have been in force, and changed again since
                refused = Refused(order.request, Code.LEADERSHIP_LOST, 0, text)
            self._ports.respond(order.client, refused)

    def _carried(self, key: Key) -> None:
        if self._carrying is not None:
            self._carrying.carried(key)

    def gave_up(self, effect: GaveUp) -> None:
        """No quorum in time."""
        if effect.request == CARRY or effect.request.successor is None:
            self._carrying = None  # the step begins anew when it is due
            return
        order = self._under_way.pop(effect.request, None)
        if order is not None:
            code = Code.UNAVAILABLE if effect.harmless else Code.LEADERSHIP_LOST
            refused = Refused(order.request, code, 0, "no quorum answered in time")
            self._ports.respond(order.client, refused)

    def adopt(self, known: KnownConfiguration, now: float) -> None:
        """A configuration that is chosen; nothing happens if it is not newer."""
        if known.epoch <= self.epoch:
            return
        self._ledger.keep_configuration(known)
        self._carrying = None
        self._adopted(known)
        self._answer_finished()
        self._watch(now, at_once=False)
        configuration = known.configuration
        fields = {"epoch": known.epoch, "joint": configuration.joint}
        self._ports.event("configuration", {**fields, "voters": sorted(configuration.voters)})

    def _answer_finished(self) -> None:
        still: list[_Order] = []
        for order in self._unfinished:
            if order.finished(self.configuration):
                managed = Managed(order.request, self.epoch, order.value)
                self._ports.respond(order.client, managed)
            else:
                still.append(order)
        self._unfinished = still

    # --- telling others ---------------------------------------------------------------------------

    def inform(self, to: ReplicaId) -> None:
        """Tell a member what the configuration is."""
        if self.epoch and to != self._id:
            round = self._ledger.proposer.round
            self._effects.append(Send(to, Inform(self.epoch, self.configuration, round)))

    # --- from a joint configuration to the next ---------------------------------------------------

    def _watch(self, now: float, *, at_once: bool) -> None:
        """Have an eye on a change that is under way."""
        self._due = NEVER
        if self.configuration.joint and self._id in self.configuration.electors:
            patience_s = self._settings.step_patience_s
            self._due = now if at_once else now + patience_s * self._random.uniform(1.0, 3.0)

    def tick(self, now: float) -> None:
        """Begin, or begin anew, to carry the registers over."""
        if now < self._due:
            return
        self._be_patient(now)
        for member in sorted(self.configuration.ids):
            self.inform(member)
        self._carrying = Carrying(self._proposer, self.configuration, self.epoch, self._random)
        self._carrying.begin()

    def _be_patient(self, now: float) -> None:
        self._due = now + self._settings.step_patience_s * self._random.uniform(1.0, 2.0)

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        return self._due

    def drain(self) -> list[Send]:
        """What is to be sent since the last call."""
        effects, self._effects = self._effects, []
        if self._carrying is not None:
            effects += self._carrying.drain()
        return effects

    def informed(self, sender: ReplicaId, message: Informed) -> None:
        """A member is in this epoch now: it can be asked."""
        if self._carrying is not None and message.epoch == self.epoch:
            self._carrying.ask(sender)

    def listed(self, sender: ReplicaId, message: Listed, now: float) -> None:
        """An acceptor says which registers it has."""
        carrying = self._carrying
        if carrying is None:
            return
        if carrying.listed(sender, message, now):
            self._be_patient(now)
        if carrying.failed:
            self._carrying = None  # the step begins anew when it is due

    def inherited(self, sender: ReplicaId, message: Inherited, now: float) -> None:
        """A new voter knows what was erased; when a majority does, the old ones can go."""
        if self._carrying is not None and self._carrying.inherited(sender, message):
            self._carrying = None
            settled = membership.leave_joint(self.configuration)
            self._proposer.submit(CONFIGURATION_KEY, Reconfigure(self.epoch, settled), now)


_CODES = {
    "no-such-member": Code.NO_SUCH_MEMBER,
    "last-voter": Code.LAST_VOTER,
    "invalid": Code.INVALID,
}


def successor_of(configuration: Configuration, action: Action) -> Configuration:
    """The configuration that `action` makes of this one; joint where voters change.

    Raises BadChange where it does not fit.
    """
    match action:
        case Reserve():
            return membership.reserve(configuration)
        case Add(id, nonce, host, voter, replaces):
            role = Role.JOINING if voter else Role.LEARNER
            joiner = Peer(id, nonce, role, replaces=replaces, host=host)
            added = membership.add(configuration, joiner)
            return membership.promote(added, id) if voter else added
        case Remove(id):
            return membership.remove(configuration, id)
        case _:
            raise AssertionError(f"{action} changes no configuration")


def quorums_of(configuration: Configuration, id: ReplicaId) -> Joint | None:
    """The quorums that member `id` counts in; None where the configuration does not list it.

    Who was removed proposes nothing any more, though a quorum would answer: what is erased is not
    agreed upon with it.
    """
    return Joint(configuration.halves) if id in configuration.ids else None


def _at_once(_: Configuration) -> bool:
    return True


def _is_without(id: ReplicaId, configuration: Configuration) -> bool:
    return not configuration.joint and id not in configuration.ids
