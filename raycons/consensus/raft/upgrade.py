"""Upgrades: the group writes in a newer format once every member handles it, and not before.

A release handles all formats up to its newest, and followers tell theirs in each answer to a
heartbeat. When all that receive the log, learners too, have told of one above the group's, the
leader raises `Configuration.version` to the lowest of them, by an entry of the log. What is written
in the new format stands behind that entry in every log, so whoever cuts the one has cut the other.

A replica of a release that is older than the group's version, one that joins late or was taken back
to an older release, learns it from that entry, or from a snapshot's configuration, before it meets
anything that it cannot read. It falls silent: what it does not acknowledge makes it no voter. The
store is as it was, and a newer release goes on with it.

Known limit: a member that is taken back to an older release just after it told of a newer one is
counted as newer, and is silent once the version has risen.
"""

from __future__ import annotations

from raycons.consensus import membership
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import Entry, Outdated
from raycons.consensus.raft.change import Changes


class Upgrades(Changes):
    """The duty of agreeing on a format."""

    def mind_version(self, now: float) -> None:
        """With each beat: raise the group's version as far as every member has told of."""
        if self.newest_version <= self.configuration.version:
            return
        if not self.settled() or self.transferee:
            return
        told = [progress.version for progress in self.progress.values()]
        handled = min([self.newest_version, *told])
        if handled > self.configuration.version:
            self._append_configuration(membership.raise_version(self.configuration, handled), now)

    def configuration_appended(self, entry: Entry) -> None:
        """What follows a raise may be in a format that we do not handle."""
        super().configuration_appended(entry)
        self.check_version(self.configuration)

    def check_version(self, configuration: Configuration) -> None:
        """Fall silent where a group's version is above ours; until this release is replaced."""
        if configuration.version > self.newest_version and not self.silent:
            self.silent = True
            self.emit(Outdated(configuration.version, self.newest_version))
