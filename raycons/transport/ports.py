"""Taking a port to listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from raycons.errors import TransportError

BACKLOG = 1024  # connections that wait to be accepted


def listen_on_first_free(host: str, ports: Sequence[int]) -> socket.socket:
    """A socket that listens on the first of `ports` that nobody has.

    It listens at once: with address reuse two processes can bind one port, and only the second
    call to listen fails. Raises TransportError where all are taken.
    """
    for port in ports:
        try:
            return socket.create_server((host, port), backlog=BACKLOG)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise TransportError(f"cannot listen on {host}:{port}: {error}") from error
    tried = f"{ports[0]} to {ports[-1]}" if ports else "of an empty range"
    raise TransportError(
        f"no free port on {host} among {tried}; "
        "widen port_range, or leave it out to let the system choose"
    )
