"""A node's clock: monotonic, counting suspension, but running at a rate of its own."""

from __future__ import annotations

# A timer fires a little after its deadline, as it does on a real machine; that also keeps rounding
# from asking for the same moment twice.
TIMER_LATENESS_S = 0.00005


class Clock:
    """Turns virtual time into what a node reads, and back.

    >>> clock = Clock(offset_s=100.0, rate=1.01)
    >>> clock.read(10.0)
    110.1
    """

    __slots__ = ("_offset_s", "_rate")

    def __init__(self, offset_s: float, rate: float) -> None:
        self._offset_s = offset_s
        self._rate = rate

    def read(self, now: float) -> float:
        """What the node reads at virtual second `now`."""
        return self._offset_s + self._rate * now

    def when(self, deadline: float) -> float:
        """The virtual second at which a timer set for `deadline` on this clock fires."""
        return (deadline - self._offset_s) / self._rate + TIMER_LATENESS_S

    def run_at(self, rate: float, now: float) -> None:
        """Go on from the present reading at another rate."""
        self._offset_s = self.read(now) - rate * now
        self._rate = rate

    def jump(self, forward_s: float) -> None:
        """Leap ahead, as a clock does that was stopped with its machine; it never goes back."""
        if forward_s < 0:
            raise ValueError(f"a monotonic clock does not go back (by {-forward_s} s)")
        self._offset_s += forward_s
