"""Attempts: which call was sent to whom under which request id, and how long it is waited for."""

from __future__ import annotations

import msgspec

from raycons.client.calls import Call, RequestId
from raycons.client.deadlines import Deadlines
from raycons.client.settings import ClientSettings
from raycons.transport.contract import PeerId


class Attempts:
    """The attempts that may yet be answered; a call can have several, to several members."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._calls: dict[RequestId, Call] = {}
        self._next_request = 1
        self._patience = Deadlines[Call](settings.deadline_grain_s)

    def begin(self, call: Call, member: PeerId, now: float) -> msgspec.Struct:
        """One more attempt of `call`; gives the message to send."""
        request = self._next_request
        self._next_request += 1
        self._patience.discard(call, call.bucket)
        call.bucket = self._patience.add(call, now + call.wait_s)
        call.latest = request
        call.attempts += 1
        call.unresolved += 1
        call.requests[request] = member
        self._calls[request] = call
        return call.message(request)

    def find(self, request: RequestId) -> Call | None:
        """The call of an attempt; None where nobody cares for it any more."""
        return self._calls.get(request)

    def refuse(self, request: RequestId) -> None:
        """The attempt ended, and certainly had no effect."""
        call = self._calls[request]
        call.unresolved -= 1
        self.abandon(request)

    def abandon(self, request: RequestId) -> None:
        """The attempt will not be answered; whether it had an effect is not known."""
        call = self._calls.pop(request)
        del call.requests[request]
        if request == call.latest:
            self._patience.discard(call, call.bucket)

    def forget(self, call: Call) -> None:
        """No attempt of `call` matters any more."""
        for request in call.requests:
            del self._calls[request]
        call.requests.clear()
        self._patience.discard(call, call.bucket)

    def lost(self, member: PeerId) -> list[Call]:
        """Nothing sent to `member` will be answered; gives the calls that this touches."""
        touched: dict[Call, None] = {}
        for request, call in [*self._calls.items()]:
            if call.requests[request] == member:
                self.abandon(request)
                touched[call] = None
        return [*touched]

    def all(self) -> list[Call]:
        """Every call that awaits an answer, in the order of the first attempt."""
        return [*dict.fromkeys(self._calls.values())]

    def silent(self, now: float) -> list[Call]:
        """The calls whose last attempt was not answered in time; the next may take longer."""
        silent = self._patience.expired(now)
        for call in silent:
            call.wait_s = min(2 * call.wait_s, self._settings.last_attempt_timeout_s)
        return silent

    def next_deadline(self) -> float:
        """When patience with the next call ends; infinity where none is under way."""
        return self._patience.next()
