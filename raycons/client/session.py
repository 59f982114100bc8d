"""A client's registered identity: which command numbers are open, and when to say "still here"."""

from __future__ import annotations

from raycons.machines.sessions import Opened


class Session:
    """The client's half of a session; the other half is in the group's replicated state.

    The mark `acknowledged` tells the group that answers below it can be forgotten. It must not pass
    a number that may be asked for again: a retry that finds its answer forgotten cannot learn
    whether it took effect. A number that was given up (all its callers left) counts as answered, so
    that one cancelled call does not hold every later answer in the group's memory.
    """

    def __init__(self, opened: Opened, now: float) -> None:
        self.id = opened.session
        self.acknowledged = 1  # the lowest number that is neither answered nor given up
        self.ended = False  # the group said that it does not know this session
        self._ttl_s = opened.ttl_s
        self._next = 1
        self._settled: set[int] = set()  # above the mark
        self._refreshed = now

    def take_number(self) -> int:
        """The number of a new command."""
        number = self._next
        self._next += 1
        return number

    def settle(self, number: int) -> None:
        """`number` was answered or given up, and will not be asked for again."""
        if number != self.acknowledged:
            self._settled.add(number)
            return
        self.acknowledged += 1
        while self.acknowledged in self._settled:
            self._settled.remove(self.acknowledged)
            self.acknowledged += 1

    def refreshed(self, now: float) -> None:
        """The group carried out a command of this session."""
        self._refreshed = now

    @property
    def keep_alive_due(self) -> float:
        """When an idle session should be refreshed: two more chances are left after this one."""
        return self._refreshed + self._ttl_s / 3
