"""Names for the connections of clients."""

from __future__ import annotations

import itertools

from raycons.transport.contract import ClientId

_numbers = itertools.count(1)


def next_client_id() -> ClientId:
    """A name that no other client connection of this process has or had, on any transport."""
    return next(_numbers)
