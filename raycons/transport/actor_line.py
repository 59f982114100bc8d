"""A line to one Ray actor: frames go there in calls, and one call that waits there shows it alive.

    hello    --> the actor's greeting, or why it refuses
    push     --> frames; several turns' worth while earlier calls are under way
    listen   --> answers when there are frames for us, or after a while; fails when the actor dies

Ray authenticates its own calls; the greeting tells identity and incarnation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple, Protocol

import msgspec
from ray.exceptions import RayError

from raycons.transport.contract import Greeting, Malformed, PeerId
from raycons.transport.greeting import Refusal
from raycons.transport.inlet import Common, Deliver, Inlet
from raycons.transport.links import same_opening
from raycons.transport.versions import agreed, disagreement
from raycons.transport.wire import HEADER, HEADER_BYTES

MAX_CALLS = 4  # pushes under way on one line; what is sent meanwhile leaves in the next
LISTEN_S = 10.0  # a listening call is answered after this at the latest
CALL_DEADLINE_S = 3 * LISTEN_S  # a call that has not ended by then is given up


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """What an actor answers to every call of a line."""

    greeting: Greeting  # of the actor as it is now: a restart shows in it
    refusal: str  # why the caller is not let in; empty: it is
    frames: bytes  # for the caller


encode_reply = msgspec.msgpack.Encoder().encode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


class Calls(NamedTuple):
    """The three calls, bound to a live handle; each returns an ObjectRef of an encoded Reply."""

    hello: Callable[[], Awaitable[bytes]]
    push: Callable[[bytes], Awaitable[bytes]]
    listen: Callable[[], Awaitable[bytes]]


class LineOwner(Protocol):
    """Who keeps the line, and is told how it fares."""

    def judge(self, id: PeerId, greeting: Greeting) -> Refusal | None:
        """What speaks against the actor that answered."""

    def line_opened(self, id: PeerId, greeting: Greeting) -> Deliver:
        """The actor can be sent to; who takes what it says."""

    def line_ended(self, id: PeerId, reason: str) -> None:
        """The line broke, or an attempt to make it failed; it is tried again."""


class _Broken(Exception):
    """The line cannot be used any more."""


def _interpreter_ends(error: RuntimeError) -> bool:
    """Whether Python refuses new work for its threads, as it does once the process is ending.

    Ray Client's calls leave by such threads too.
    """
    text = str(error)
    return text.startswith("cannot schedule new futures") or text.endswith("interpreter shutdown")


class Line:
    """One task that keeps the line up; see the head of this file."""

    def __init__(
        self,
        id: PeerId,
        owner: LineOwner,
        connect: Callable[[], Calls | None],
        common: Common,
        random: Random,
    ) -> None:
        """`connect` finds the actor, in a thread, as Ray may have to ask its head; None: nobody."""
        self.greeting: Greeting | None = None  # of the actor; None while the line is down
        self.version = 0  # of the protocol, that both sides speak; set with `greeting`
        self._id = id
        self._owner = owner
        self._connect = connect
        self._common = common
        self._random = random
        self._calls: Calls | None = None
        self._hurry = asyncio.Event()
        self._broken: asyncio.Future[str] = common.loop.create_future()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._task = common.loop.create_task(self._run(), name=f"line to member {id}")

    def send(self, kind: int, group: int, body: bytes) -> None:
        """Gather one frame, or drop and count it."""
        common = self._common
        if self.greeting is None:
            common.counters["dropped_unreachable"] += 1
            return
        size = len(body)
        if size > common.settings.max_frame_bytes:
            common.counters["dropped_oversize"] += 1
            return
        if self._gathered_bytes > common.settings.peer_buffer_bytes:
            common.counters["dropped_full"] += 1
            return
        if not self._gathered:
            common.turn.flush_later(self)
        incarnation = self.greeting.incarnation
        self._gathered.append(HEADER.pack(size, self.version, kind, group, incarnation))
        self._gathered.append(body)
        self._gathered_bytes += size + HEADER_BYTES

    def flush(self) -> None:
        """Push what was gathered, unless enough calls are under way: then the next to end does."""
        if not self._gathered or self._calls is None or len(self._under_way) >= MAX_CALLS:
            return
        frames = b"".join(self._gathered)
        counters = self._common.counters
        counters["frames_sent"] += len(self._gathered) // 2
        counters["bytes_sent"] += self._gathered_bytes
        self._gathered.clear()
        self._gathered_bytes = 0
        task = self._common.loop.create_task(self._push(self._calls, frames))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def hurry(self) -> None:
        """There is a sign that the actor answers again: do not sit out the pause."""
        self._hurry.set()

    def break_off(self, reason: str) -> None:
        """This life of the actor is over, or not to be talked to: say hello anew."""
        if self.greeting is not None and not self._broken.done():
            self._broken.set_result(reason)

    def stop(self) -> None:
        """Keep the line no more; the owner hears nothing after this."""
        self._task.cancel()
        self._forget()

    async def _push(self, calls: Calls, frames: bytes) -> None:
        broken = self._broken
        try:
            self._check(await self._call(calls.push(frames)))
        except _Broken as error:
            if not broken.done():
                broken.set_result(str(error))
            return
        except RuntimeError as error:
            if not _interpreter_ends(error):
                raise
            return
        # This task still counts as under way: make room before looking for more to send.
        self._under_way.discard(asyncio.current_task())
        self.flush()

    async def _run(self) -> None:
        settings = self._common.settings
        pause_s = settings.first_backoff_s
        while True:
            began = self._common.loop.time()
            try:
                await self._attempt()
            except _Broken as error:
                self._forget()
                self._owner.line_ended(self._id, str(error))
            except RuntimeError as error:
                if not _interpreter_ends(error):
                    raise
                self._forget()
                return  # nobody is left to tell
            if self._common.loop.time() - began > settings.max_backoff_s:
                pause_s = settings.first_backoff_s
            self._hurry.clear()
            try:
                async with asyncio.timeout(pause_s * self._random.uniform(0.5, 1.0)):
                    await self._hurry.wait()
                pause_s = settings.first_backoff_s
            except TimeoutError:
                pause_s = min(2 * pause_s, settings.max_backoff_s)

    async def _attempt(self) -> None:
        """One life of the line; ends with _Broken."""
        try:
            calls = await asyncio.to_thread(self._connect)
        except (RayError, ValueError, ConnectionError) as error:  # ValueError: no actor of the name
            raise _Broken(str(error)) from error
        if calls is None:
            raise _Broken(f"no actor is known for member {self._id}")
        reply = await self._call(calls.hello())
        if reply.refusal:
            self._common.counters.reject("refused_by_other", reply.refusal, self._who)
            raise _Broken(f"refused: {reply.refusal}")
        version = agreed(self._common.versions, reply.greeting.versions)
        if version is None:
            reason = disagreement(self._common.versions, reply.greeting.versions)
            self._common.counters.reject("rejected_version", reason, self._who)
            raise _Broken(reason)
        refusal = self._owner.judge(self._id, reply.greeting)
        if refusal is not None:
            self._common.counters.reject(refusal.counter, refusal.reason, self._who)
            raise _Broken(refusal.reason)
        self.greeting, self.version, self._calls = reply.greeting, version, calls
        self._broken = self._common.loop.create_future()
        self._common.counters["connections_opened"] += 1
        inlet = Inlet(self._common)
        inlet.open(self._id, version, self._owner.line_opened(self._id, reply.greeting))
        try:
            await self._listen(calls, inlet)
        finally:
            inlet.shut()

    async def _listen(self, calls: Calls, inlet: Inlet) -> None:
        while True:
            listening = self._common.loop.create_task(self._call(calls.listen()))
            try:
                await asyncio.wait((listening, self._broken), return_when=asyncio.FIRST_COMPLETED)
                if not listening.done():
                    raise _Broken(self._broken.result())
                reply = listening.result()
            finally:
                listening.cancel()
            self._check(reply)
            if reply.frames:
                try:
                    inlet.feed(reply.frames)
                except Malformed as error:
                    self._common.counters.reject("rejected_malformed", str(error), self._who)
                    raise _Broken(str(error)) from error

    async def _call(self, reference: Awaitable[bytes]) -> Reply:
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                return decode_reply(await reference)
        except (RayError, ConnectionError) as error:
            # The first line names the error; what follows is Ray's advice for its own users.
            raise _Broken(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
        except TimeoutError as error:
            raise _Broken("a call was not answered in time") from error
        except msgspec.MsgspecError as error:
            raise _Broken(f"an answer that is none: {error}") from error

    def _check(self, reply: Reply) -> None:
        if reply.refusal:
            raise _Broken(f"refused: {reply.refusal}")
        if self.greeting is None or not same_opening(reply.greeting, self.greeting):
            raise _Broken("the actor began a new life")

    def _forget(self) -> None:
        self.greeting = None
        self._calls = None
        for task in tuple(self._under_way):
            task.cancel()
        self._under_way.clear()
        self._common.counters["dropped_unreachable"] += len(self._gathered) // 2
        self._gathered.clear()
        self._gathered_bytes = 0

    @property
    def _who(self) -> str:
        return f"the actor of member {self._id}"
