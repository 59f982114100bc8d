"""The client's session over time: made when first needed, kept alive, made anew when it ended."""

from __future__ import annotations

import math
from random import Random

from raycons.client.calls import Call, Opening, Renewal
from raycons.client.session import Session
from raycons.client.settings import ClientSettings
from raycons.machines.sessions import Opened


class Registration:
    """The present session, and the calls under way that make or keep one; at most one of each."""

    def __init__(self, random: Random, settings: ClientSettings) -> None:
        self.session: Session | None = None
        self._opening: Opening | None = None
        self._renewal: Renewal | None = None
        self._random = random
        self._settings = settings

    @property
    def under_way(self) -> bool:
        """Whether there is no session yet, but one was asked for."""
        return self.session is None and self._opening is not None

    def begin(self) -> Opening | None:
        """The call that makes a session; None where it is under way."""
        if self._opening is not None:
            return None
        nonce = self._random.getrandbits(128).to_bytes(16, "big")
        self._opening = Opening(nonce, self._settings)
        return self._opening

    def opened(self, opened: Opened, now: float) -> None:
        """The session is made."""
        self._opening = None
        self.session = Session(opened, now)

    def renew(self) -> Renewal | None:
        """The call that keeps the session alive and tells its mark; None where it is under way."""
        if self.session is None or self._renewal is not None:
            return None
        self._renewal = Renewal(self.session, self._settings)
        return self._renewal

    def renewed(self, renewal: Renewal, now: float) -> None:
        """The renewal was answered, or is of no use: the next one comes in its time."""
        renewal.session.refreshed(now)
        if renewal is self._renewal:
            self._renewal = None

    def failed(self, call: Call, now: float) -> None:
        """The group refused the call by a rule; another one may be made."""
        if call is self._opening:
            self._opening = None
        if isinstance(call, Renewal):
            self.renewed(call, now)

    def ended(self, session: Session) -> Renewal | None:
        """The group does not know `session`; gives the renewal that is now of no use, if any."""
        session.ended = True
        if self.session is session:
            self.session = None
        renewal = self._renewal
        if renewal is None or renewal.session is not session:
            return None
        self._renewal = None
        return renewal

    def end(self) -> Session | None:
        """The client is closed; gives the session that is to be ended, if there is one."""
        session, self.session = self.session, None
        self._opening = self._renewal = None
        return session

    @property
    def renewal_due(self) -> float:
        """When the session should be renewed; infinity where there is none, or it is under way."""
        if self.session is None or self._renewal is not None:
            return math.inf
        return self.session.keep_alive_due
