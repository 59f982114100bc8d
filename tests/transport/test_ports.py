"""Ports are taken by listening, not by binding alone."""

from __future__ import annotations

import socket
from contextlib import closing

from raycons.transport.ports import listen_on_first_free


def test_two_that_both_could_bind_a_port_do_not_both_get_it() -> None:
    with closing(socket.socket()) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))  # and does not listen: with address reuse others bind it too
        first = bound.getsockname()[1]
        ports = range(first, first + 8)
        with (
            closing(listen_on_first_free("127.0.0.1", ports)) as one,
            closing(listen_on_first_free("127.0.0.1", ports)) as two,
        ):
            assert one.getsockname()[1] == first
            assert two.getsockname()[1] != first
