"""The tombstones that a member is to collect: when, and again when that failed."""

from __future__ import annotations

from raycons.consensus.configuration import Configuration
from raycons.consensus.contract import NEVER
from raycons.consensus.paxos.caspaxos.collection import COLLECTED_AT_ONCE, Collector
from raycons.consensus.paxos.caspaxos.messages import Key
from raycons.member.caspaxos.ledger import Ledger

LONGEST_PAUSE = 16  # times `after_s`, between attempts to collect while a member is away


class Tombstones:
    """Those of a member's own changes: whoever deleted a key, or changed nothing of it last."""

    def __init__(self, ledger: Ledger, collector: Collector, after_s: float, now: float) -> None:
        """`after_s` is a tombstone's age when it is collected."""
        self._ledger = ledger
        self._collector = collector
        self._after_s = after_s
        self._id = ledger.identity.id
        own = [key for key in ledger.tombstones() if self._is_own(key)]
        # When each is due, and after how many attempts.
        self._waiting: dict[Key, tuple[float, int]] = dict.fromkeys(own, (now + after_s, 0))
        self._collecting: list[Key] = []
        self.due = self._next()

    def __len__(self) -> int:
        """How many are known."""
        return len(self._waiting)

    def add(self, key: Key, now: float) -> None:
        """The key was deleted."""
        self._waiting[key] = now + self._after_s, 0
        self.due = min(self.due, now + self._after_s)

    def collect(self, configuration: Configuration, now: float) -> None:
        """Begin to collect what is due, unless a collection is under way, or has to wait."""
        if self._collecting or configuration.joint or self._id not in configuration.ids:
            self.due = now + self._after_s
            return
        due = [key for key, (at, _) in self._waiting.items() if at <= now]
        if self._id in configuration.electors:
            for key in [key for key in due if not self._is_tombstone(key)]:
                del self._waiting[key]  # written again, or erased by somebody else
                due.remove(key)
        if due:
            self.due = NEVER  # until this one has ended
            self._collecting = due[:COLLECTED_AT_ONCE]
            self._collector.begin(self._collecting, configuration.ids, configuration.electors, now)
        else:
            self.due = self._next()

    def note_end(self, now: float) -> None:
        """If a collection has ended: what is a tombstone still is tried again, more seldom."""
        if not self._collecting or self._collector.busy:
            return
        for key in self._collecting:
            _, attempts = self._waiting.pop(key)
            if self._is_tombstone(key):
                pause_s = self._after_s * min(2**attempts, LONGEST_PAUSE)
                self._waiting[key] = now + pause_s, attempts + 1
        self._collecting = []
        self.due = self._next()

    def _next(self) -> float:
        return min((due for due, _ in self._waiting.values()), default=NEVER)

    def _is_own(self, key: Key) -> bool:
        register = self._ledger.get(key)
        return register is not None and register.accepted.proposer == self._id

    def _is_tombstone(self, key: Key) -> bool:
        register = self._ledger.get(key)
        return register is not None and register.deleted
