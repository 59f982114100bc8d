"""Changes of who belongs to the group, and of who leads it.

One change at a time, each computed from the configuration that it replaces and refused against
any other. A joint configuration is left as soon as it has committed; a joiner is promoted as soon
as it has caught up; both by whoever leads then, so a change outlives the leader that began it.
Raft paper, section 6; no change before an entry of our own term has committed: see the correction
of 2015 to the single-server changes (raft-dev), whose interleaving needs exactly that.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from raycons.config import RaftSettings
from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Role
from raycons.consensus.contract import Entry, EntryId, EntryKind, Refusal
from raycons.consensus.messages import TimeoutNow
from raycons.consensus.quorum import Index, ReplicaId
from raycons.consensus.raft.core import Start
from raycons.consensus.raft.messages import Append
from raycons.consensus.raft.progress import Progress
from raycons.consensus.raft.snapshot import Snapshots

Change = Callable[[Configuration], Configuration]

_decode = msgspec.msgpack.Decoder(Configuration).decode


class Changes(Snapshots):
    """The duty of changing members and handing over."""

    def __init__(
        self, id: ReplicaId, start: Start, settings: RaftSettings, random: Random, now: float
    ) -> None:
        super().__init__(id, start, settings, random, now)
        self.departing: dict[ReplicaId, Progress] = {}  # removed, and not yet told so

    # --- configurations ---------------------------------------------------------------------------

    def propose_change(self, change: Change, based_on: Index, now: float) -> EntryId | Refusal:
        """Append the configuration that `change` makes of the present one.

        `based_on` is the index of the configuration that the caller computed from.
        Raises membership.BadChange where the change does not fit.
        """
        if self.role != "leader":
            return self.not_leader()
        if based_on != self.configuration_index:
            return Refusal("configuration-changed", self.id)
        if not self.settled() or self.transferee:
            return Refusal("change-in-progress", self.id)
        return self._append_configuration(change(self.configuration), now)

    def settled(self) -> bool:
        """Whether a new change may begin: none is under way, and our term has committed."""
        return (
            self.commit >= self.term_start
            and self.commit >= self.configuration_index
            and not self.configuration.joint
        )

    def _append_configuration(self, configuration: Configuration, now: float) -> EntryId:
        id = self.append_as_leader(
            EntryKind.CONFIGURATION, msgspec.msgpack.encode(configuration), now
        )
        self._use(id.index, configuration)
        known = self.progress
        self.progress = {
            peer: known.get(peer) or Progress(self.log.last_index, now) for peer in self.peers()
        }
        self.departing = {peer: known[peer] for peer in known if peer not in self.progress}
        return id

    def configuration_appended(self, entry: Entry) -> None:
        """A configuration is in force from the moment it is in the log."""
        self._use(entry.index, _decode(entry.data))

    def _use(self, index: Index, configuration: Configuration) -> None:
        self.configurations.append((index, configuration))

    def committed_further(self, now: float) -> None:
        """Take the next step of a change whose last step has committed."""
        while len(self.configurations) > 1 and self.configurations[1][0] <= self.commit:
            self.configurations.pop(0)
        if self.role != "leader" or self.commit < self.configuration_index:
            return
        if self.commit < self.term_start:
            return
        if self.configuration.joint:
            self._append_configuration(membership.leave_joint(self.configuration), now)
            return
        self._tell_departing()
        if self.id not in self.configuration.voters:
            self._leave_office(now)
        else:
            for peer, progress in list(self.progress.items()):
                if self._promote_if_caught_up(peer, progress, now):
                    break

    def follower_advanced(self, peer: ReplicaId, progress: Progress, now: float) -> None:
        """A joiner may have caught up; so may the one we are handing over to."""
        if self.role != "leader":
            return
        self._promote_if_caught_up(peer, progress, now)
        if peer == self.transferee:
            self._let_campaign(now)

    def _promote_if_caught_up(self, peer: ReplicaId, progress: Progress, now: float) -> bool:
        member = self.configuration.peer(peer)
        if member is None or member.role != Role.JOINING or not self.settled() or self.transferee:
            return False
        if self.log.last_index - progress.match > self.settings.caught_up_entries:
            return False
        if progress.match < self.configuration_index:
            return False  # in a short log nobody lags far; this one may never have come up
        self._append_configuration(membership.promote(self.configuration, peer), now)
        return True

    def _tell_departing(self) -> None:
        """Let the removed see the configuration without them: once, without waiting for it."""
        for peer, progress in self.departing.items():
            previous = progress.match
            term = self.log.term(previous)
            if term is not None and previous < self.commit:
                entries = self.log.slice(previous + 1, self.commit, self.settings.max_append_bytes)
                self.send(peer, Append(self.term, (previous, term), tuple(entries), self.commit))
        self.departing = {}

    def _leave_office(self, now: float) -> None:
        """We led the group to a configuration without us: the most caught-up voter goes next."""
        voters = [id for id in self.peers() if id in self.configuration.voters]
        best = max(voters, key=lambda id: self.progress[id].match)
        self.released = True
        self.send(best, TimeoutNow(self.term))
        self.become_follower(0, now, "removed from the configuration")

    def stop_leading(self, now: float) -> None:
        """Whoever leads next tells the removed, if their removal stands."""
        super().stop_leading(now)
        self.departing = {}

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
        if to == 0 and voters:
            to = max(voters, key=lambda id: (self.progress[id].match, self.progress[id].heard_at))
        if to == self.id:
            return None
        if to not in voters:
            return Refusal("no-such-member", self.id)
        self.transferee = to
        self.wake(now)
        self.transfer_deadline = now + self.settings.transfer_timeout_s
        self._let_campaign(now)
        return None

    def _let_campaign(self, now: float) -> None:
        progress = self.progress[self.transferee]
        if progress.match == self.log.last_index:
            self.released = True  # from here on no lease read in this term: the message may be late
            self.send(self.transferee, TimeoutNow(self.term))

    def mind_transfer(self, now: float) -> None:
        """With each beat: repeat what may have got lost; give up after the deadline."""
        if not self.transferee:
            return
        if now >= self.transfer_deadline or self.transferee not in self.progress:
            self.transferee = 0
        else:
            self._let_campaign(now)
