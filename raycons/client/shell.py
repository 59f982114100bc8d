"""The client core on asyncio: one timer, one flush a turn or full frame, a future per operation."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from raycons import errors
from raycons.client import outcome
from raycons.client.calls import Pending
from raycons.client.core import ClientCore, Know, Lagging, Output, Transmit
from raycons.client.settings import ClientSettings
from raycons.client.staying import StaysHere
from raycons.machines.kv import commands
from raycons.member.clock import boottime
from raycons.member.protocol import Action, Inspected, Managed, ReadLevel
from raycons.transport.contract import Address, ClientHandler, ClientTransport, PeerId

MakeTransport = Callable[[ClientHandler], ClientTransport]
Rediscover = Callable[[], Awaitable[Mapping[PeerId, Address]]]

_LONGEST_TIMEOUT_S = 1e9

_log = logging.getLogger(__name__)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # a cancelled caller may still be on its way to `cancel`
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def range_result(told: Any) -> tuple[commands.RangeDone, float]:
    """A read's result, and its age in seconds; raises as `AsyncClient.read` does."""
    result, lag_s = told if isinstance(told, Lagging) else (told, 0.0)
    if type(result) is commands.Failed:
        raise outcome.failed(result)
    if type(result) is not commands.RangeDone:
        raise errors.ProtocolMismatch(f"a range was answered by {type(result).__name__}")
    return result, lag_s


class AsyncClient(StaysHere):
    """A client of one cluster on the running event loop; see `raycons.transport.contract`.

    Args:
        transport: makes the connection layer; called once, with this client as its handler.
        members: where the members listen, as far as known at the start.
        rediscover: asked for the members' addresses while none is reachable and someone waits.
        settings: bounds and timings.
        seed: of the jitter and of the nonces; None: from the operating system.
    """

    def __init__(
        self,
        transport: MakeTransport,
        members: Mapping[PeerId, Address],
        rediscover: Rediscover | None = None,
        settings: ClientSettings | None = None,
        seed: int | None = None,
    ) -> None:
        self.settings = settings or ClientSettings()
        self._loop = asyncio.get_running_loop()
        self._rediscover = rediscover
        source = random.SystemRandom() if seed is None else random.Random(seed)
        self._now = boottime()
        self._due = self._now + self.settings.timeout_s  # of what this turn asks without a timeout
        self._core = ClientCore(source, self.settings, self._now, _settle)
        self._turn_begun = False
        self._answered = False  # answers began this turn, and nothing was asked in it yet
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._search: asyncio.Task[None] | None = None
        self._searched = -self.settings.rediscovery_interval_s + self._now
        self._closed = False
        self._lost: errors.ClusterLost | None = None  # why there is nothing to wait for any more
        self._transport = transport(self)
        self._begin_turn()
        self._core.know(members, self._now)

    # --- operations -------------------------------------------------------------------------------

    async def submit(
        self, operation: commands.Operation, timeout_s: float | None = None
    ) -> commands.Result:
        """Have `operation` carried out once; `timeout_s` None: as in the settings.

        Raises:
            NotApplied: (`Overloaded`, `Unavailable`, `Closed`) it certainly had no effect.
            OutcomeUnknown: it may have taken effect, or may still.
            Refused: the store refused it by its rules.
        """
        result: commands.Result = await self._outcome(self.begin(operation, timeout_s))
        if type(result) is commands.Failed:
            raise outcome.failed(result)
        return result

    async def read(
        self, query: commands.Range, level: ReadLevel, timeout_s: float | None = None
    ) -> tuple[commands.RangeDone, float]:
        """Ask `query`; gives the result, and how old it may be in seconds (0.0: not at all).

        Raises:
            Unavailable: no answer within the timeout.
            Compacted, FutureRevision: the asked revision cannot be read.
        """
        return range_result(await self._outcome(self.begin_read(query, level, timeout_s)))

    # One coroutine more costs an operation a tenth of its time: what comes by the hundred awaits
    # the future itself, `begin(...).done`, and gives `ended` what it raises.

    def begin(self, operation: commands.Operation, timeout_s: float | None = None) -> Pending:
        """The first half of `submit`: as `done`, the future of what the core tells."""
        if not self._turn_begun or self._answered:
            self._join_turn()
        deadline = self._due if timeout_s is None else self._deadline(timeout_s)
        pending = self._core.submit(operation, deadline, self._loop.create_future())
        if self._core.fills_frame(pending):
            self._send_frame(pending)
        return pending

    def begin_read(
        self, query: commands.Range, level: ReadLevel, timeout_s: float | None = None
    ) -> Pending:
        """The first half of `read`, which `range_result` completes; see `begin`."""
        if not self._turn_begun or self._answered:
            self._join_turn()
        deadline = self._due if timeout_s is None else self._deadline(timeout_s)
        pending = self._core.read(query, level, deadline, self._loop.create_future())
        if self._core.fills_frame(pending):
            self._send_frame(pending)
        return pending

    def ended(self, pending: Pending, error: BaseException) -> None:
        """The wait for an operation ended with `error`; raises what tells more, if any."""
        if self._lost is None:
            if isinstance(error, asyncio.CancelledError):
                self._begin_turn()
                self._core.cancel(pending)
        elif isinstance(error, errors.RayconsError):
            raise self._lost from error

    async def manage(
        self, action: Action, based_on: int = 0, timeout_s: float | None = None
    ) -> Managed:
        """Change the group, from the configuration with index `based_on`.

        Raises:
            ConfigurationChanged, ChangeInProgress, NoSuchMember, LastVoter: nothing was changed.
            NotApplied, OutcomeUnknown: as for any operation.
        """
        self._join_turn()
        pending = self._core.manage(
            action, based_on, self._deadline(timeout_s), self._loop.create_future()
        )
        managed: Managed = await self._outcome(pending)
        return managed

    async def inspect(
        self,
        member: PeerId | None = None,
        *,
        digest: bool = False,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The status of `member` (None: the leader; 0: anyone); see `raycons.cluster.status`.

        Raises:
            Unavailable: the member did not answer within the timeout.
        """
        self._join_turn()
        pending = self._core.inspect(
            member, digest, self._deadline(timeout_s), self._loop.create_future()
        )
        inspected: Inspected = await self._outcome(pending)
        return msgspec.msgpack.decode(inspected.status, type=dict[str, Any])

    @property
    def leader(self) -> PeerId:
        """Who leads, as far as this client knows; 0: nobody known."""
        return self._core.routing.leader

    @property
    def members(self) -> dict[PeerId, Address]:
        """Where the members listen, as far as this client knows."""
        return dict(self._core.routing.addresses)

    @property
    def reachable(self) -> list[PeerId]:
        """The members that this client is connected to."""
        return list(self._core.routing.connected)

    async def close(self) -> None:
        """End all operations with Closed or OutcomeUnknown, the session, and the connections."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._search is not None:
            self._search.cancel()
        self._carry_out(self._core.close(boottime()))
        await asyncio.sleep(0)  # lets the transport send what ends the session
        await self._transport.close()

    # --- what the transport tells -----------------------------------------------------------------

    def connected(self, member: PeerId) -> None:
        """See ClientHandler."""
        self._begin_turn()
        self._core.connected(member, self._now)

    def lost(self, member: PeerId) -> None:
        """See ClientHandler."""
        self._begin_turn()
        self._core.lost(member, self._now)

    def received(self, member: PeerId, message: Any) -> None:
        """See ClientHandler."""
        if not self._turn_begun:
            self._begin_turn(self._answers_taken)
            self._answered = True
        self._core.received(member, message, self._now)

    # --- turns of the loop ------------------------------------------------------------------------

    def _begin_turn(self, then: Callable[[], None] | None = None) -> None:
        """Take the time once a turn, and end it when all that it brings has been gathered.

        `then`: what ends it, if not `_end_turn` after all that is ready to run by now.
        """
        if not self._turn_begun:
            if self._lost is not None:
                raise self._lost
            self._turn_begun = True
            self._now = boottime()
            self._due = self._now + self.settings.timeout_s
            self._loop.call_soon(then or self._end_turn)

    def _join_turn(self) -> None:
        """Something is asked: by who was answered in this turn perhaps, and worked since."""
        if self._turn_begun:
            self._now = boottime()
            self._due = self._now + self.settings.timeout_s
        else:
            self._begin_turn()
        self._answered = False

    def _answers_taken(self) -> None:
        """Those whose answers came are about to run, and to ask again: end the turn after them."""
        self._loop.call_soon(self._end_turn)

    def _send_frame(self, pending: Pending) -> None:
        """The leader works on a full frame while the rest of this turn gathers the next."""
        self._carry_out(self._core.send_frame(pending, boottime()))
        self._transport.flush()

    def _end_turn(self) -> None:
        self._turn_begun = self._answered = False
        if self._closed:
            return
        self._carry_out(self._core.end_of_turn(boottime()))
        self._transport.flush()
        due = self._core.next_deadline()
        # A timer that comes too early only looks again; deadlines move later far more often.
        if self._timer is None or due < self._timer_due:
            self._arm(due)
        if self._core.in_flight and not self._core.routing.connected:
            self._look_for_members()

    def _carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            if type(output) is Transmit:
                self._transport.send(output.member, output.message)
            elif type(output) is Know:
                self._transport.know(output.addresses)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due != float("inf"):
            self._timer_due = due
            self._timer = self._loop.call_later(max(0.0, due - boottime()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._begin_turn()
        self._core.tick(boottime())

    def _deadline(self, timeout_s: float | None) -> float:
        if timeout_s is None:
            timeout_s = self.settings.timeout_s
        elif not _is_number(timeout_s) or not 0.0 < timeout_s < _LONGEST_TIMEOUT_S:
            raise errors.BadArgument(
                f"timeout is {timeout_s!r}; give a positive number of seconds, or None for the"
                f" handle's own ({self.settings.timeout_s:g} s)"
            )
        return self._now + timeout_s

    async def _outcome(self, pending: Pending) -> Any:
        try:
            return await pending.done
        except BaseException as error:
            self.ended(pending, error)
            raise

    # --- when nobody can be reached ---------------------------------------------------------------

    def _look_for_members(self) -> None:
        if self._rediscover is not None and self._search is None:
            self._search = self._loop.create_task(self._find_members(self._rediscover))

    async def _find_members(self, rediscover: Rediscover) -> None:
        """Ask outside for the members' addresses, not too often, until one is connected."""
        interval_s = self.settings.rediscovery_interval_s
        try:
            while self._core.in_flight and not self._core.routing.connected:
                await asyncio.sleep(max(0.0, self._searched + interval_s - boottime()))
                if self._core.routing.connected:
                    return
                self._searched = boottime()
                try:
                    found = await rediscover()
                except errors.ClusterLost as error:
                    self._lost = error
                    self._search = None  # this task, which `close` must not cancel
                    await self.close()
                    return
                except errors.RayconsError as error:
                    _log.warning("cannot find the members: %s", error)
                    self._core.absence = str(error)
                    continue
                self._core.absence = ""
                if found:
                    self._begin_turn()
                    self._core.know(found, self._now)
        finally:
            self._search = None
