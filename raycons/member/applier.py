"""Committed entries on their way into the machine, and the machine's state on its way to the store.

    add --> committed --apply--> machine --state, gathered in chunks--> write_out --> store

A full chunk of state is due at once, for it gathers nothing more; a part of one at most
`write_behind_s` after it was begun. Neither is done all at once where much has gathered, so that no
heartbeat and no commit waits for it: a turn applies a slice, and writes out a chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

import msgspec

from raycons.config import MemberSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import NEVER, Entry, EntryId, EntryKind
from raycons.consensus.quorum import Index
from raycons.machines.contract import Command, Machine
from raycons.member.ledger import Ledger
from raycons.member.ports import Ports
from raycons.member.requests import Requests
from raycons.provocation import bendable

DEFER_S = 0.02  # a follower applies this long after its commit though its disk has not answered
SLICE_ENTRIES = 500  # applied in one turn at most, or so many bytes, and one entry at least
SLICE_BYTES = 256 * 1024
LONG_BYTES = 2048  # a command that takes a while, about 30 small puts
MACHINE = 0  # the one machine that a group feeds today
VERSION = 1  # the newest format of an entry's data that this code reads; it writes the group's


class UnreadableEntry(Exception):
    """A committed entry of a format that this version does not know.

    Passing over it would leave this replica with another state than the others: it stops instead.
    """

    def __init__(self, entry: Entry, version: int) -> None:
        super().__init__(
            f"entry {entry.index} is of kind {entry.kind}, for machine {entry.machine}, in format "
            f"{entry.version}; this member reads format {version}: run a newer raycons here"
        )


class OutdatedRelease(Exception):
    """The group writes in a format that this release does not know; the store is as it was."""

    def __init__(self, group: int, handled: int) -> None:
        super().__init__(
            f"the group's version is {group}, and this release of raycons handles {handled}: run a "
            "newer raycons here; the store goes on with it"
        )


class Applier:
    """Feeds a group's machine, answers those who waited, and keeps the store not far behind."""

    def __init__(
        self,
        ledger: Ledger,
        machine: Machine,
        requests: Requests,
        ports: Ports,
        settings: MemberSettings,
        version: int,
    ) -> None:
        """`version` is the newest format that the machine reads."""
        self.write_out_at = NEVER  # when to call `write_out`
        self.apply_at = NEVER  # when to call `apply` at the latest
        self._ledger = ledger
        self._state = ledger.state
        self._machine = machine
        self._requests = requests
        self._ports = ports
        self._write_behind_s = settings.write_behind_s
        self._version = version
        self._committed: deque[Entry] = deque()  # not yet applied
        # Configurations on their way into force, and the entry with which each is.
        self._coming = deque(
            (index + configuration.window, index, configuration)
            for index, configuration in ledger.upcoming
        )

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """These are committed, after all that were added before."""
        if not self._committed:
            self.apply_at = now + DEFER_S
        self._committed += entries

    @property
    def waiting(self) -> bool:
        """Whether something is committed and not applied."""
        return bool(self._committed)

    @bendable("late-apply")
    def apply(self, now: float) -> None:
        """Apply a slice of what is committed, and answer those who waited for it.

        Raises:
            UnreadableEntry: a newer version wrote the entry; this replica cannot go on.
        """
        committed = self._committed
        if self._requests.commands:
            self._ports.flush()
        else:
            self._ports.step_aside()  # nobody waits here, and the leader may want this core
        entries = size_bytes = 0
        while committed and entries < SLICE_ENTRIES and size_bytes < SLICE_BYTES:
            entry = committed.popleft()
            self._apply_entry(entry)
            entries += 1
            size_bytes += len(entry.data)
        self._ledger.entries_applied(entry.time_us)
        while self._coming and self._coming[0][0] <= entry.index:
            self._in_force(*self._coming.popleft()[1:])
        self.apply_at = 0.0 if committed else NEVER
        if self._state.full_chunks:
            self.write_out_at = now
        elif self.write_out_at == NEVER:
            self.write_out_at = now + self._write_behind_s

    def write_out(self, now: float) -> None:
        """Give one chunk to the store; the answers of this turn leave before."""
        self._ports.flush()
        self._ledger.write_out()
        if self._state.full_chunks:
            self.write_out_at = now
        elif self._state.pending_chunks():
            self.write_out_at = now + self._write_behind_s
        else:
            self.write_out_at = NEVER

    def snapshot_installed(self) -> None:
        """The state was replaced by one that holds all that was committed before."""
        self._committed.clear()
        self._coming.clear()
        self._machine.load()
        self.write_out_at = self.apply_at = NEVER

    def shutdown(self) -> None:
        """Give what was applied to the store, so that hardly anything is replayed."""
        while self._ledger.write_out():
            pass

    def _apply_entry(self, entry: Entry) -> None:
        if entry.kind == EntryKind.COMMAND:
            if entry.machine != MACHINE or entry.version > self._version:
                raise UnreadableEntry(entry, self._version)
            command = Command(entry.index, entry.term, entry.time_us, entry.version, entry.data)
            waited_for = entry.index in self._requests.commands
            early = partial(self._tell, entry.id) if waited_for and self._is_long(command) else None
            body = self._machine.apply(command, early)
            if waited_for:
                self._requests.answer_command(entry.index, entry.term, body)
        elif entry.kind == EntryKind.CONFIGURATION:
            self._configuration_applied(entry)
        elif entry.kind != EntryKind.NOOP:
            raise UnreadableEntry(entry, self._version)
        self._state.end_entry(entry.index, entry.term, entry.time_us)

    @bendable("early-answer")
    def _is_long(self, command: Command) -> bool:
        """Whether to carry the command out takes longer than to send its answer ahead."""
        return len(command.data) >= LONG_BYTES

    def _tell(self, entry: EntryId, answer: bytes) -> None:
        """The answer to a long command is certain: its client works on meanwhile."""
        self._requests.answer_command(entry.index, entry.term, answer)
        self._ports.flush()

    def _configuration_applied(self, entry: Entry) -> None:
        configuration = msgspec.msgpack.decode(entry.data, type=Configuration)
        self._ledger.configuration_applied(entry.index, configuration)
        if configuration.window:
            at = entry.index + configuration.window
            self._coming.append((at, entry.index, configuration))
        else:
            self._in_force(entry.index, configuration)

    def _in_force(self, index: Index, configuration: Configuration) -> None:
        """The configuration of entry `index` decides from now on."""
        self._requests.configuration_applied(index, configuration)
        me = self._ledger.identity.id
        members = {str(peer.id): peer.role.name.lower() for peer in configuration.peers}
        fields = {"index": index, "joint": configuration.joint, "members": members}
        self._ports.event("configuration", fields)
        if not configuration.joint and me not in configuration.ids and configuration.peers:
            self._ports.event("removed", {"index": index})
