"""A client over sockets, and over actor calls to each member whose port stays out of reach.

A driver may reach the ports of some members only, or lose its way to them while they live (a
firewall, a route). For each member by itself:

    sockets only --(no connection for PATIENCE_S, and its port takes none)--> calls beside them
    calls beside --(a socket is open again)--> sockets only

A port that takes connections is never given up: what is wrong there (another secret, a member that
is paused) calls would only hide. The handler sees one way at a time: it hears `lost` between two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from raycons.transport.contract import Address, ClientHandler, ClientTransport, PeerId

PATIENCE_S = 3.0  # a member that was killed listens again within two seconds

Make = Callable[[ClientHandler], ClientTransport]
TakesConnections = Callable[[Address], Awaitable[bool]]


class FallbackClientTransport:
    """Implements `ClientTransport`; to be made on the loop that will run it."""

    def __init__(
        self,
        handler: ClientHandler,
        *,
        sockets: Make,
        calls: Make,
        takes_connections: TakesConnections,
        patience_s: float | None = None,
    ) -> None:
        """`sockets` and `calls` make the two ways, each for the handler it is given.

        `patience_s`: how long a member may be without a socket; None: as long as usual.
        """
        self._handler = handler
        self._takes_connections = takes_connections
        self._patience_s = PATIENCE_S if patience_s is None else patience_s
        self._known: dict[PeerId, Address] = {}
        self._by_socket: set[PeerId] = set()  # members that a socket is open to
        self._by_call: set[PeerId] = set()  # members that answer calls, and are sent to by them
        self._called: set[PeerId] = set()  # members that calls are tried to
        self._waits: dict[PeerId, asyncio.Task[None]] = {}  # of members without a socket
        self._sockets = sockets(_Way(handler, self._socket_opened, self._socket_lost))
        self._calls = calls(_Way(handler, self._call_opened, self._call_lost))

    # --- ClientTransport --------------------------------------------------------------------------

    def send(self, member: PeerId, message: Any) -> None:
        """Send, or drop: the client's own timers notice."""
        way = self._calls if member in self._by_call else self._sockets
        way.send(member, message)

    def flush(self) -> None:
        """See `ClientTransport`."""
        self._sockets.flush()
        self._calls.flush()

    def know(self, addresses: Mapping[PeerId, Address]) -> None:
        """The members to keep connections to; others are let go."""
        for id in self._known.keys() - addresses.keys():
            self._by_socket.discard(id)
            self._hang_up(id)
        self._known = dict(addresses)
        self._sockets.know(addresses)
        for id in addresses:
            self._begin_to_wait(id)

    async def close(self) -> None:
        """Close all connections; the handler hears nothing after this."""
        self._known = {}
        for wait in self._waits.values():
            wait.cancel()
        self._waits.clear()
        await self._calls.close()
        await self._sockets.close()

    # --- sockets ----------------------------------------------------------------------------------

    def _socket_opened(self, member: PeerId) -> None:
        by_call = member in self._by_call
        self._hang_up(member)
        self._by_socket.add(member)
        if by_call:
            self._handler.lost(member)  # what was under way by calls is asked again
        self._handler.connected(member)

    def _socket_lost(self, member: PeerId) -> None:
        self._by_socket.discard(member)
        if member not in self._by_call:
            self._handler.lost(member)
        self._begin_to_wait(member)

    # --- calls ------------------------------------------------------------------------------------

    def _begin_to_wait(self, member: PeerId) -> None:
        ways = (self._by_socket, self._called, self._waits)
        if member in self._known and not any(member in way for way in ways):
            waiting = asyncio.get_running_loop().create_task(self._wait(member))
            self._waits[member] = waiting

    async def _wait(self, member: PeerId) -> None:
        """Have calls tried once sockets have had their time, and the port is shut even now."""
        while True:
            await asyncio.sleep(self._patience_s)
            if not await self._takes_connections(self._known[member]):
                break
        del self._waits[member]
        self._called.add(member)
        self._tell_calls()

    def _hang_up(self, member: PeerId) -> None:
        wait = self._waits.pop(member, None)
        if wait is not None:
            wait.cancel()
        self._by_call.discard(member)
        if member in self._called:
            self._called.discard(member)
            self._tell_calls()

    def _tell_calls(self) -> None:
        self._calls.know({id: at for id, at in self._known.items() if id in self._called})

    def _call_opened(self, member: PeerId) -> None:
        admitting = asyncio.get_running_loop().create_task(self._admit(member))
        self._waits[member] = admitting

    async def _admit(self, member: PeerId) -> None:
        """Whoever answers may be another process than the one that was out of reach: look again."""
        reachable = await self._takes_connections(self._known[member])
        del self._waits[member]
        if reachable:
            self._hang_up(member)
            self._begin_to_wait(member)
        else:
            self._by_call.add(member)
            self._handler.connected(member)

    def _call_lost(self, member: PeerId) -> None:
        admitting = self._waits.pop(member, None)
        if admitting is not None:
            admitting.cancel()
        if member in self._by_call:
            self._by_call.discard(member)
            self._handler.lost(member)


class _Way:
    """The handler of one of the two transports."""

    def __init__(
        self,
        handler: ClientHandler,
        opened: Callable[[PeerId], None],
        ended: Callable[[PeerId], None],
    ) -> None:
        self._opened = opened
        self._ended = ended
        self.received = handler.received  # no detour for what comes by the thousand

    def connected(self, member: PeerId) -> None:
        """See ClientHandler."""
        self._opened(member)

    def lost(self, member: PeerId) -> None:
        """See ClientHandler."""
        self._ended(member)
