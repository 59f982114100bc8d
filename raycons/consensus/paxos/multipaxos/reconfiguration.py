"""Reconfiguration: a change that is chosen in slot i governs the slots from i + window on.

So every slot has one set of acceptors, on which all agree before anything is proposed in it
(Lamport, Malkhi and Zhou, "Reconfiguring a State Machine", 2010, section 3), and no quorum need be
joint. The leader fills the slots between with no-ops, so that a change does not wait for traffic;
and it proposes in the first slot of the new era only when a quorum of that holds all that came
before. Whoever sees that slot chosen knows that nothing rests on the acceptors of the past.

One change at a time, each computed from the configuration that it replaces and refused against any
other. A joiner is promoted, and a version raised, by whoever leads then.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from raycons.config import RaftSettings
from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Role
from raycons.consensus.contract import EntryId, EntryKind, Outdated, Refusal
from raycons.consensus.messages import TimeoutNow
from raycons.consensus.paxos.multipaxos.core import Start
from raycons.consensus.paxos.multipaxos.messages import Heartbeat
from raycons.consensus.paxos.multipaxos.progress import Progress
from raycons.consensus.paxos.multipaxos.snapshot import Snapshots
from raycons.consensus.quorum import Index, ReplicaId

Change = Callable[[Configuration], Configuration]


class Reconfiguration(Snapshots):
    """The duty of changing members and handing over."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.change_at: Index = 0  # the slot of the last change that this leader proposed
        self.transfer_deadline = 0.0

    # --- configurations ---------------------------------------------------------------------------

    def propose_change(self, change: Change, based_on: Index, now: float) -> EntryId | Refusal:
        """Propose the configuration that `change` makes of the present one.

        `based_on` is the slot of the configuration that the caller computed from.
        Raises membership.BadChange where the change does not fit.
        """
        if self.role != "leader":
            return self.not_leader()
        if based_on != self.configuration_index:
            return Refusal("configuration-changed", self.id)
        if not self.settled() or self.transferee:
            return Refusal("change-in-progress", self.id)
        return self._change(change(self.configuration), now)

    def settled(self) -> bool:
        """Whether a new change may begin: the last one is in force, and we know all of them."""
        return (
            self.commit >= self.term_start and self.commit >= self.change_at and len(self.eras) == 1
        )

    def _change(self, configuration: Configuration, now: float) -> EntryId:
        if configuration.joint:
            # Eras take turns at a slot, so their quorums need not meet.
            configuration = membership.leave_joint(configuration)
        id = self.assign(EntryKind.CONFIGURATION, msgspec.msgpack.encode(configuration), now)
        self.change_at = id.index
        return id

    def become_leader(self, now: float) -> None:
        """A change that an earlier leader began goes on."""
        self.change_at = 0
        super().become_leader(now)
        self._fill_window()

    def eras_changed(self, now: float) -> None:
        """Take the next step of a change: towards its first slot, or away from what was before."""
        super().eras_changed(now)
        if self.role != "leader":
            return
        self._meet_peers(now)
        self._fill_window()
        self.conclude(now)
        self.heartbeat_due = now  # so that all know soon, and the era can open
        if len(self.eras) == 1 and self.id not in self.configuration.voters:
            self._leave_office(now)

    def _fill_window(self) -> None:
        """Propose no-ops up to the first slot of an era to come: see `_value_for`."""
        self.next_slot = max(self.next_slot, self.eras[-1].first + 1)

    def _meet_peers(self, now: float) -> None:
        """New ones are sent to from now on; those who go are told the last they need to know."""
        known = self.progress
        self.progress = {
            peer: known.get(peer) or Progress(self.first_own, now) for peer in self.peers()
        }
        farewell = Heartbeat(self.term, self.commit, self.first_own, self.round)
        for peer in known:
            if peer not in self.progress:
                self.send(peer, farewell)

    def peer_advanced(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """A joiner may have caught up; so may the one we are handing over to."""
        self._promote_if_caught_up(peer, progress, now)
        if peer == self.transferee:
            self._let_campaign()

    def _promote_if_caught_up(self, peer: ReplicaId, progress: Progress, now: float) -> bool:
        member = self.configuration.peer(peer)
        if member is None or member.role != Role.JOINING or not self.settled() or self.transferee:
            return False
        if self.commit - progress.known > self.settings.caught_up_entries:
            return False
        if progress.known < self.configuration_index:
            return False  # in a short log nobody lags far; this one may never have come up
        self._change(membership.promote(self.configuration, peer), now)
        return True

    def _leave_office(self, now: float) -> None:
        """We led the group to a configuration without us: the most caught-up voter goes next."""
        voters = [id for id in self.peers() if id in self.configuration.voters]
        best = max(voters, key=lambda id: self.progress[id].held(self.first_own))
        self.released = True
        self.send(best, TimeoutNow(self.term))
        self.become_follower(0, now, "removed from the configuration")

    # --- handing over -----------------------------------------------------------------------------

    def transfer(self, to: ReplicaId, now: float) -> Refusal | None:
        """Hand leadership to voter `to` (0: the most caught-up one); None when it is under way.

        New proposals are refused until it succeeds or `transfer_timeout_s` has passed.
        """
        if self.role != "leader":
            return self.not_leader()
        if not self.settled():
            return Refusal("change-in-progress", self.id)
        voters = [id for id in self.peers() if id in self.configuration.voters]
        progress, first = self.progress, self.first_own
        if to == 0 and voters:
            to = max(voters, key=lambda id: (progress[id].held(first), progress[id].heard_at))
        if to == self.id:
            return None
        if to not in voters:
            return Refusal("no-such-member", self.id)
        self.transferee = to
        self.transfer_deadline = now + self.settings.transfer_timeout_s
        self._let_campaign()
        return None

    def _let_campaign(self) -> None:
        if self.progress[self.transferee].held(self.first_own) >= self.next_slot - 1:
            self.released = True  # from here on no lease read: the message may be late
            self.send(self.transferee, TimeoutNow(self.term))

    def mind_transfer(self, now: float) -> None:
        """With each beat: repeat what may have got lost; give up after the deadline."""
        if not self.transferee:
            return
        if now >= self.transfer_deadline or self.transferee not in self.progress:
            self.transferee = 0
        else:
            self._let_campaign()

    # --- upgrades ---------------------------------------------------------------------------------

    def mind_version(self, now: float) -> None:
        """With each beat: raise the group's version as far as every member has told of."""
        if self.newest_version <= self.configuration.version:
            return
        if not self.settled() or self.transferee:
            return
        versions = [progress.version for progress in self.progress.values()]
        handled = min([self.newest_version, *versions])
        if handled > self.configuration.version:
            self._change(membership.raise_version(self.configuration, handled), now)

    def check_version(self, configuration: Configuration) -> None:
        """Fall silent where a group's version is above ours; until this release is replaced."""
        if configuration.version > self.newest_version and not self.silent:
            self.silent = True
            self.emit(Outdated(configuration.version, self.newest_version))
