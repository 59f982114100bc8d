"""A proposer's process: one proposal at a time, until something is chosen or time is up."""

from __future__ import annotations

import asyncio
import secrets
from random import SystemRandom
from typing import Any

from raycons.consensus.contract import Send
from raycons.consensus.paxos.messages import Accept
from raycons.consensus.paxos.synod import Chosen, Proposer, ProposerId
from raycons.consensus.quorum import AcceptorId
from raycons.decree.post import Post
from raycons.decree.spec import Nonces, SynodSpec, acceptor_name
from raycons.errors import OutcomeUnknown, Unavailable
from raycons.member.clock import boottime


class ProposerProcess:
    """One proposer, on the event loop of its actor; a new process uses none of its old ballots."""

    def __init__(self, spec: SynodSpec, id: ProposerId, nonces: Nonces) -> None:
        self._spec = spec
        self._nonces = nonces
        self._post = Post(spec, id, spec.asker_name(id))
        self._role = Proposer(id, secrets.randbits(63), spec.settings.quorums, SystemRandom())
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self._asked: set[bytes] = set()  # the values that acceptors were asked to accept
        self._answered: set[AcceptorId] = set()  # in this proposal
        self._tasks: set[asyncio.Task[None]] = set()

    async def propose(self, value: bytes, timeout_s: float) -> bytes:
        """Get something chosen; gives what is.

        Raises Unavailable where it was not and the value was not proposed, OutcomeUnknown where it
        may still be chosen.
        """
        deadline = boottime() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            raise Unavailable(
                f"another proposal kept this proposer busy for {timeout_s:g} s; nothing was "
                "proposed: try again, or use another proposer"
            ) from None
        try:
            return await self._propose(value, deadline, timeout_s)
        finally:
            self._turn.release()

    async def _propose(self, value: bytes, deadline: float, timeout_s: float) -> bytes:
        role = self._role
        if role.state.chosen is not None:
            return role.state.chosen
        self._answered.clear()
        self._carry_out(role.propose(value, boottime()))
        while (chosen := self._chosen()) is None:
            now = boottime()
            if now >= deadline:
                role.abandon()
                raise self._error(value, timeout_s)
            self._news.clear()
            try:
                async with asyncio.timeout(min(deadline, role.next_deadline()) - now):
                    await self._news.wait()
            except TimeoutError:
                self._carry_out(role.tick(boottime()))
        return chosen

    def _chosen(self) -> bytes | None:
        return self._role.state.chosen

    def _error(self, value: bytes, timeout_s: float) -> Exception:
        heard = f"{len(self._answered)} of {len(self._nonces)} acceptors answered"
        if value in self._asked:
            return OutcomeUnknown(
                f"nothing is known to be chosen after {timeout_s:g} s ({heard}), but the value was "
                "proposed and may still be: propose again, which returns what is chosen"
            )
        return Unavailable(
            f"nothing is known to be chosen after {timeout_s:g} s ({heard}), and the value was not "
            "proposed: see to it that a quorum of the acceptors runs, and try again"
        )

    def _carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                if isinstance(effect.message, Accept):
                    self._asked.add(effect.message.proposal.value)
                task = asyncio.ensure_future(self._ask(effect.to, effect.message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif isinstance(effect, Chosen):
                self._post.knows(effect.value)
        self._news.set()

    async def _ask(self, acceptor: AcceptorId, message: Any) -> None:
        import ray

        name = acceptor_name(acceptor)
        letter = self._post.write(message, name)
        actor = await self._post.actor(name) if await self._post.arrives() else None
        if actor is None:
            return
        try:
            answer = await actor.receive.remote(self._nonces[acceptor], letter)
        except ray.exceptions.RayError:
            return  # it is away: as good as lost
        if answer is not None:
            self._answered.add(acceptor)
            what = self._post.read(answer, name)
            self._carry_out(self._role.receive(acceptor, what, boottime()))
