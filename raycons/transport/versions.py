"""Which protocol versions a side speaks, and which one two sides speak with each other.

Each side offers a range in its greeting, and both take the newest version that lies in both ranges:
nobody has to ask, for both compute the same. So members of two releases talk as long as the newer
one still speaks what the older one does.
"""

from __future__ import annotations

from typing import NamedTuple


class Versions(NamedTuple):
    """A range of protocol versions; both ends belong to it."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        """In words, for refusals: `protocol version 4`, `protocol versions 3 to 4`."""
        if self.oldest == self.newest:
            return f"protocol version {self.newest}"
        return f"protocol versions {self.oldest} to {self.newest}"


def agreed(own: Versions, theirs: Versions) -> int | None:
    """The newest version that both sides speak; None where there is none.

    >>> agreed(Versions(3, 5), Versions(4, 9)), agreed(Versions(3, 5), Versions(6, 9))
    (5, None)
    """
    newest = min(own.newest, theirs.newest)
    return newest if newest >= max(own.oldest, theirs.oldest) else None


def disagreement(own: Versions, theirs: Versions) -> str:
    """Why two sides cannot talk, as `own` tells it."""
    return f"it speaks {theirs}, this side {own}: upgrade the older of the two"
