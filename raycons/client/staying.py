"""Handles stay in the process that made them: it holds their connections and their session."""

from __future__ import annotations

from typing import NoReturn

from raycons.errors import BadArgument


class StaysHere:
    """Base of what cannot be pickled, and so not be given to a task or actor, with the remedy."""

    def __reduce__(self) -> NoReturn:
        """Refuse. Not with a TypeError: in its place Ray would show pages of its own."""
        raise BadArgument(
            f"a {type(self).__name__} belongs to the process that made it, and cannot be sent to "
            f"another: give the task or actor {self._named()}"
        )

    def _named(self) -> str:
        return "the cluster's name, and call raycons.connect(name) there"
