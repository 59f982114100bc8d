"""What clients ask of the session table and what it answers, as they travel and as they are logged.

A tag is never given to another type, and fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import msgspec


class _Wire(msgspec.Struct, frozen=True, array_like=True, gc=False):
    pass


# --- commands of a session, the data of COMMAND entries ------------------------------------------


class Open(_Wire, tag=1, frozen=True):
    """Register a session; `nonce` makes a retry of the registration find the one already made."""

    nonce: bytes  # 16 random bytes
    ttl_s: float


class Do(_Wire, tag=2, frozen=True):
    """Carry out `body` once, however often this arrives.

    `number` counts the session's commands from 1 and is kept by every retry. Numbers may arrive out
    of order. The client promises never to ask again about numbers below `acknowledged`.
    """

    session: int
    number: int
    acknowledged: int
    body: msgspec.Raw  # the inner machine's command


class KeepAlive(_Wire, tag=3, frozen=True):
    """The session lives; answers below `acknowledged` can go."""

    session: int
    acknowledged: int


class Close(_Wire, tag=4, frozen=True):
    """The session ends now."""

    session: int


class Expire(_Wire, tag=5, frozen=True):
    """The leader noticed that sessions ran out; which ones is decided when this is applied.

    `limit` bounds the work of one entry: the oldest so many of them end now; 0: all.
    """

    limit: int = 0


class Own(_Wire, tag=6, frozen=True):
    """A command of the group itself (sweeping), outside any session."""

    body: msgspec.Raw


SessionCommand = Open | Do | KeepAlive | Close | Expire | Own


# --- answers --------------------------------------------------------------------------------------


class Opened(_Wire, tag=1, frozen=True):
    """The session's id, unique for all time in the group."""

    session: int
    ttl_s: float


class Done(_Wire, tag=2, frozen=True):
    """The inner machine's answer; the same bytes for every retry."""

    body: msgspec.Raw


class UnknownSession(_Wire, tag=3, frozen=True):
    """No such session (any more): nothing was done now; an earlier attempt may have been."""

    session: int


class Forgotten(_Wire, tag=4, frozen=True):
    """The number lies below what the client acknowledged: nothing was done now."""

    number: int


class Alive(_Wire, tag=5, frozen=True):
    """The session was found and refreshed, or closed, or there was nothing to answer."""


class Crowded(_Wire, tag=6, frozen=True):
    """There is no room to remember another answer, or another session: nothing was done now.

    Room comes back when the client acknowledges answers (or when other sessions end); the same
    number may then be tried again.
    """

    message: str


class Invalid(_Wire, tag=7, frozen=True):
    """The command is not one that a client should send; it changed nothing."""

    message: str


SessionAnswer = Opened | Done | UnknownSession | Forgotten | Alive | Crowded | Invalid
