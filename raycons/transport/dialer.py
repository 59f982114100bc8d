"""Keeps one connection to one address alive."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from random import Random

from raycons.transport.connection import Connection
from raycons.transport.contract import Address
from raycons.transport.settings import TransportSettings


class Dialer:
    """Dials, waits until that connection ended, dials again: one task as long as it lives.

    The pause doubles from `first_backoff_s` to `max_backoff_s`, less a random part so that members
    that lost the same peer do not come back in step. It starts over once a connection has lasted
    longer than the longest pause: one that is closed right after its greeting is no success.
    """

    def __init__(
        self,
        address: Address,
        make: Callable[[], Connection],
        *,
        settings: TransportSettings,
        random: Random,
        context: ssl.SSLContext | None = None,
        failed: Callable[[str], None] | None = None,
        may_dial: Callable[[], bool] = lambda: True,
    ) -> None:
        """`make` makes a connection; `failed` hears why an attempt did not even reach a socket."""
        self.address = address  # may be changed; the next attempt goes there
        self._make = make
        self._settings = settings
        self._random = random
        self._context = context
        self._failed = failed
        self._may_dial = may_dial
        self._hurry = asyncio.Event()
        self._connection: Connection | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"dial {address}")

    def hurry(self) -> None:
        """There is a sign that the address answers again: do not sit out the pause."""
        self._hurry.set()

    def stop(self) -> None:
        """Dial no more; a connection that has not greeted yet is given up."""
        self._task.cancel()
        if self._connection is not None and self._connection.peer is None:
            self._connection.abort()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = self._settings.first_backoff_s
        while True:
            began = loop.time()
            if self._may_dial():
                await self._attempt()
            connection = self._connection
            was_open = connection is not None and connection.peer is not None
            if was_open and loop.time() - began > self._settings.max_backoff_s:
                pause_s = self._settings.first_backoff_s
            self._connection = None
            self._hurry.clear()
            try:
                async with asyncio.timeout(pause_s * self._random.uniform(0.5, 1.0)):
                    await self._hurry.wait()
                pause_s = self._settings.first_backoff_s
            except TimeoutError:
                pause_s = min(2 * pause_s, self._settings.max_backoff_s)

    async def _attempt(self) -> None:
        """One connection, from the attempt to its end."""
        loop = asyncio.get_running_loop()
        host, port = self.address
        # Certificates of a Ray cluster seldom list every node's address; the greeting proves
        # that the other side is the member that was dialed.
        tls = {} if self._context is None else {"ssl": self._context, "server_hostname": ""}
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                _, connection = await loop.create_connection(self._make, host, port, **tls)  # type: ignore[call-overload]
        except (OSError, TimeoutError) as error:
            if self._failed is not None:
                self._failed(f"{host}:{port} cannot be reached: {str(error) or 'no answer'}")
            return
        self._connection = connection
        # Not a bare await: stopping this task would cancel the future that others wait for.
        await asyncio.wait((connection.ended,))
