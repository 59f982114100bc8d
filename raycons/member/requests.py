"""What clients wait for: commands in the log, reads to be confirmed, changes of the group.

Each waits under what will decide it: a command under its entry's index and term, a read under the
index that must be applied, a change under the configuration that ends it. When this replica stops
leading, all that was in its log is answered "leadership lost": it may yet take effect.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import EntryId, ReadContext, Term
from raycons.consensus.quorum import Index, ReplicaId
from raycons.member.ports import Ports
from raycons.member.protocol import Answer, Code, Managed, Read, Refused
from raycons.transport.contract import ClientId


class Waiting(NamedTuple):
    """A command in the log, and who wants its answer."""

    term: Term
    client: ClientId
    request: int


class WaitingChange(NamedTuple):
    """A change of the group under way."""

    entry: EntryId
    client: ClientId
    request: int
    value: int
    finished: Callable[[Configuration], bool]


class Requests:
    """The clients' requests that have no answer yet."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self.commands: dict[Index, Waiting] = {}
        self.reads: dict[ReadContext, tuple[ClientId, Read]] = {}
        self._next_context = 0
        self._confirmed: list[tuple[Index, ReadContext]] = []  # a heap
        self._changes: list[WaitingChange] = []
        self._transfers: list[tuple[ClientId, int]] = []

    def refuse(
        self, client: ClientId, request: int, code: Code, leader: ReplicaId, message: str = ""
    ) -> None:
        """Tell a client that its request was not carried out."""
        self._ports.respond(client, Refused(request, code, leader, message))

    def forget_client(self, client: ClientId) -> None:
        """The client is gone: its commands go on, but nobody waits for them."""
        for context in [c for c, (of, _) in self.reads.items() if of == client]:
            del self.reads[context]

    # --- commands ---------------------------------------------------------------------------------

    def answer_command(self, index: Index, term: Term, body: bytes) -> None:
        """The entry at `index` was applied."""
        waiting = self.commands.pop(index, None)
        if waiting is None:
            return
        if waiting.term == term:
            self._ports.respond(waiting.client, Answer(waiting.request, body))
        else:  # another leader's entry took its place: ours is gone for good
            self.refuse(waiting.client, waiting.request, Code.UNAVAILABLE, 0, "overwritten")

    # --- reads ------------------------------------------------------------------------------------

    def add_read(self, client: ClientId, read: Read) -> ReadContext:
        """A read waits to be confirmed under the returned context."""
        self._next_context += 1
        self.reads[self._next_context] = (client, read)
        return self._next_context

    def confirm_read(self, context: ReadContext, index: Index) -> None:
        """The read may be served once `index` is applied."""
        if context in self.reads:
            heapq.heappush(self._confirmed, (index, context))

    def take_readable(self, applied: Index) -> list[tuple[ClientId, Read]]:
        """The confirmed reads that can be served now."""
        taken = []
        while self._confirmed and self._confirmed[0][0] <= applied:
            found = self.reads.pop(heapq.heappop(self._confirmed)[1], None)
            if found is not None:
                taken.append(found)
        return taken

    def fail_read(self, context: ReadContext, leader: ReplicaId, reason: str) -> None:
        """The read cannot be served here."""
        found = self.reads.pop(context, None)
        if found is not None:
            client, read = found
            code = Code.NOT_LEADER if leader else Code.UNAVAILABLE
            self.refuse(client, read.request, code, leader, reason)

    # --- changes ----------------------------------------------------------------------------------

    def add_change(self, change: WaitingChange) -> None:
        """A change waits until an applied configuration finishes it."""
        self._changes.append(change)

    def add_transfer(self, client: ClientId, request: int) -> None:
        """A transfer waits for another leader."""
        self._transfers.append((client, request))

    def configuration_applied(self, index: Index, configuration: Configuration) -> None:
        """A configuration committed: some changes may be finished."""
        still: list[WaitingChange] = []
        for change in self._changes:
            if index >= change.entry.index and change.finished(configuration):
                done = Managed(change.request, index, change.value)
                self._ports.respond(change.client, done)
            else:
                still.append(change)
        self._changes = still

    def transfers_ended(self, leader: ReplicaId) -> None:
        """Another leader is known: every transfer is done; 0: it failed."""
        for client, request in self._transfers:
            if leader:
                self._ports.respond(client, Managed(request, 0, leader))
            else:
                self.refuse(client, request, Code.UNAVAILABLE, 0, "the transfer timed out")
        self._transfers = []

    @property
    def transferring(self) -> bool:
        """Whether somebody waits for a transfer."""
        return bool(self._transfers)

    # --- losing office ----------------------------------------------------------------------------

    def leadership_lost(self, leader: ReplicaId) -> None:
        """What this replica put in its log may still commit, or not: the clients must ask again."""
        for waiting in self.commands.values():
            self.refuse(waiting.client, waiting.request, Code.LEADERSHIP_LOST, leader)
        self.commands.clear()
        for change in self._changes:
            self.refuse(change.client, change.request, Code.LEADERSHIP_LOST, leader)
        self._changes = []
