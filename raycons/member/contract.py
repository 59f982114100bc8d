"""What the shell, and the simulator's process, need of an engine, whatever the protocol."""

from __future__ import annotations

from typing import Any, Protocol

from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.transport.contract import ClientId

Addresses = tuple[tuple[ReplicaId, str, int], ...]  # id, host, port


class GroupEngine(Protocol):
    """One replica of one group, with its store and its clients.

    Pure: it is told what happened, and when; what it wants it says through `member.ports`. After
    every event, or several that came together, `end_of_turn` is called; after one for which
    `may_need_no_turn` holds only where `owes_turn` does then.
    """

    def receive(self, sender: ReplicaId, message: Any, now: float) -> None:
        """A message from a peer arrived; one that peers do not say is counted and skipped."""

    def may_need_no_turn(self, message: Any) -> bool:
        """Whether a message from a peer may leave nothing to do, which `owes_turn` tells then."""

    def client_connected(self, client: ClientId) -> None:
        """A client can be sent to."""

    def client_gone(self, client: ClientId) -> None:
        """A client's connection ended."""

    def client(self, client: ClientId, message: Any, now: float) -> None:
        """A message from a client arrived; one that clients do not say is counted and skipped."""

    def know(self, addresses: Addresses) -> None:
        """Where the members listen now."""

    def connection_lost(self, peer: ReplicaId, now: float) -> None:
        """The last live connection to `peer` ended, and it was not us who closed it."""

    def durable(self, number: int, now: float) -> None:
        """Everything written up to write `number` is on disk."""

    def tick(self, now: float) -> None:
        """A deadline came due, or may have."""

    def next_deadline(self) -> float:
        """When `tick` and `end_of_turn` should be called next if nothing else happens before."""

    @property
    def owes_turn(self) -> bool:
        """Whether the last event left something to do."""

    @property
    def leads(self) -> bool:
        """Whether others wait for this replica's heartbeats."""

    @property
    def configuration(self) -> Configuration:
        """The configuration in force here."""

    def end_of_turn(self, now: float) -> None:
        """Carry out the effects of all events since the last call."""

    def status(self, now: float) -> dict[str, Any]:
        """What this replica knows of itself; JSON-able."""

    def shutdown(self) -> None:
        """An orderly end."""
