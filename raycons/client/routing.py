"""Where to send: who is connected, who leads, and how long to hold back after a refusal.

Two kinds of news arrive about the leader. A `Leader` push carries a term, so the newest one wins. A
hint in a refusal carries none: it is believed only where we have nothing better, that is, when the
refusal comes from the very member that we took for the leader, or when we know of no leader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from raycons.client.settings import ClientSettings
from raycons.member.protocol import Leader, addresses
from raycons.transport.contract import Address, PeerId

NOBODY: PeerId = 0


class Routing:
    """What the client believes about the members; all times are seconds of the caller's clock."""

    def __init__(self, random: Random, settings: ClientSettings) -> None:
        self.leader: PeerId = NOBODY
        self.term = 0
        self.connected: dict[PeerId, None] = {}  # in the order in which they connected
        self.addresses: dict[PeerId, Address] = {}
        self.held_until = 0.0  # nothing goes to a leader, and nobody is probed, before this
        self._random = random
        self._settings = settings
        self._backoff_s = settings.first_backoff_s
        self._redirects = 0  # hints followed since the last sign of a leader
        self._asked_last: PeerId = NOBODY
        self._silent_until: dict[PeerId, float] = {}  # probed, and not to be again before
        self._unheard_since: dict[PeerId, float] = {}  # when the first was sent of what is unheard

    # --- questions --------------------------------------------------------------------------------

    @property
    def reachable_leader(self) -> PeerId:
        """The leader, if one is known and connected; else NOBODY."""
        return self.leader if self.leader in self.connected else NOBODY

    def may_send_at(self) -> float:
        """When a call for the leader may be sent; infinity while nobody is connected."""
        if self.reachable_leader != NOBODY:
            return self.held_until
        asked = self._silent_until
        first = min((asked.get(member, 0.0) for member in self.connected), default=math.inf)
        return max(self.held_until, first)

    def anyone(self, attempts: int) -> PeerId:
        """Some connected member, the same one until attempts fail; NOBODY where none is."""
        members = list(self.connected)
        return members[attempts % len(members)] if members else NOBODY

    def next_to_ask(self, now: float) -> PeerId:
        """Whom to probe for the leader: each connected member in turn; NOBODY where none is left.

        A member that has not answered the last probe is left alone for a while, unless there is
        news of it: each probe is a command that may take effect. Not for good, though, for the
        probe or its answer may have been lost while the connection lived.
        """
        members = [
            member for member in self.connected if self._silent_until.get(member, 0.0) <= now
        ]
        if not members:
            return NOBODY
        # Ids in a ring, from the one after the last that was asked.
        later = [member for member in members if member > self._asked_last]
        self._asked_last = min(later or members)
        self._silent_until[self._asked_last] = now + self._settings.attempt_timeout_s
        return self._asked_last

    # --- news -------------------------------------------------------------------------------------

    def learn(self, sender: PeerId, news: Leader) -> bool:
        """A member told who leads; True if that changed where commands go."""
        if news.term < self.term:
            return False
        before = self.leader
        # Where there are no terms any member serves: stay with the one that does.
        served = news.term == 0 and self.reachable_leader != NOBODY
        # That nobody leads is believed of a newer term, or from the very member that led.
        credible = news.term > self.term or news.leader != NOBODY or sender == self.leader
        if credible and not served:
            self.term, self.leader = news.term, news.leader
        self._learn_addresses(sender, addresses(news))
        if self.leader == before:
            return False
        self.release()
        return True

    def _learn_addresses(self, sender: PeerId, told: dict[PeerId, Address]) -> None:
        if sender == self.leader:
            # A leader's list is the newest, but may lack a member that has not yet told it where it
            # listens: what is connected stays.
            kept = {id: at for id, at in self.addresses.items() if id in self.connected}
            self.addresses = {**kept, **told}
        else:
            # A member that lags may name members that moved or left: it may add, not change.
            self.addresses = {**told, **self.addresses}

    def know(self, known: Mapping[PeerId, Address]) -> None:
        """Addresses found in another way replace what was known; beliefs about terms stay."""
        self.addresses = dict(known)

    def connect(self, member: PeerId) -> None:
        """`member` can be sent to: ask it first, and now, where the leader is not known."""
        self.connected[member] = None
        self._silent_until.pop(member, None)
        if self.reachable_leader in (NOBODY, member):
            self._asked_last = member - 1
            self.release()

    def lose(self, member: PeerId) -> None:
        """The connection to `member` ended; if it led, nobody is believed to lead."""
        if member not in self.connected:
            return  # it could not be reached, which is no news of who leads
        del self.connected[member]
        self._unheard_since.pop(member, None)
        if self.leader == member:
            self.leader = NOBODY
            self.release()  # a live member may already know the next leader

    def redirect(self, sender: PeerId, hint: PeerId, now: float) -> None:
        """`sender` refused because it does not lead, and named `hint` (NOBODY: does not know)."""
        if self.reachable_leader not in (NOBODY, sender):
            return  # an old attempt, refused after we learned better
        self.leader = hint if hint != sender else NOBODY
        self._redirects += 1
        if self.reachable_leader == NOBODY or self._redirects > self._settings.free_redirects:
            self.hold(now)
        else:
            self.held_until = 0.0  # the pause was for finding it

    def doubt(self, member: PeerId) -> None:
        """`member` kept silent: it may not lead any more, so ask the others, and it again."""
        self._silent_until.pop(member, None)
        self._unheard_since.pop(member, None)
        if self.leader == member:
            self.leader = NOBODY
            self._asked_last = member

    def served(self, member: PeerId) -> None:
        """`member` answered as only a leader, or one who knows the leader, can."""
        if self.reachable_leader == NOBODY:
            self.leader = member
            self.held_until = 0.0  # the pause was for finding it
        if self.leader == member:
            self._redirects = 0
            self._backoff_s = self._settings.first_backoff_s

    def sent(self, member: PeerId, now: float) -> None:
        """Something was sent to `member`, that it should answer."""
        self._unheard_since.setdefault(member, now)

    def heard(self, member: PeerId) -> None:
        """A message came from `member`: it may be probed again."""
        self._silent_until.pop(member, None)
        self._unheard_since.pop(member, None)

    def missed(self, member: PeerId, now: float) -> None:
        """An operation that was sent to `member` ended without its answer.

        However short callers' patience is: who has been silent for as long as an attempt may take,
        whatever was asked of it, is doubted.
        """
        if now - self._unheard_since.get(member, now) >= self._settings.attempt_timeout_s:
            self.doubt(member)

    # --- patience ---------------------------------------------------------------------------------

    def pushed_back(self, member: PeerId, now: float) -> None:
        """`member` could not take a call now; an old leader's word does not hold up a new one's."""
        if self.reachable_leader in (NOBODY, member):
            self.hold(now)

    def pause_s(self, attempts: int) -> float:
        """How long a call that is not for the leader waits after so many attempts."""
        longest = self._settings.last_backoff_s
        pause = min(self._settings.first_backoff_s * 2.0 ** min(attempts, 16), longest)
        return pause * self._random.uniform(0.75, 1.25)

    def hold(self, now: float) -> None:
        """Hold back, longer each time up to a bound; once for refusals that come together."""
        if now < self.held_until:
            return
        self.held_until = now + self._backoff_s * self._random.uniform(0.75, 1.25)
        self._backoff_s = min(2 * self._backoff_s, self._settings.last_backoff_s)

    def release(self) -> None:
        """There is news: whatever made us hold back may be over."""
        self.held_until = 0.0
        self._silent_until.clear()
        self._redirects = 0
        self._backoff_s = self._settings.first_backoff_s
