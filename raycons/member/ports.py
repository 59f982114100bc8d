"""What the engine asks of the world around it.

The shell gives it in production, the simulator in tests.
"""

from __future__ import annotations

from typing import Any, Protocol

from raycons.transport.contract import ClientId, PeerId


class Ports(Protocol):
    """The engine's only way out, besides the store that it writes."""

    def send(self, to: PeerId, message: Any) -> None:
        """Send to a peer, or drop."""

    def respond(self, client: ClientId, message: Any) -> None:
        """Send to a client, or drop."""

    def flush(self) -> None:
        """Let go now of what was sent in this turn: what follows in it takes time."""

    def step_aside(self) -> None:
        """As `flush`, and let other processes run first: what follows is not urgent."""

    def sync(self, number: int) -> None:
        """Make all that was written to the store durable, then call `engine.durable(number)`.

        Returns at once. Numbers rise; one call of `durable` may stand for all earlier numbers.
        """

    def event(self, name: str, fields: dict[str, Any]) -> None:
        """Something worth a log line or a metric: role-changed, snapshot-started, retired, ..."""
