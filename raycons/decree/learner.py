"""A learner's process: it hears what acceptors accept, and asks them where it has not."""

from __future__ import annotations

import asyncio

from raycons.consensus.paxos.synod import Chosen, Learner, LearnerId
from raycons.consensus.quorum import AcceptorId
from raycons.decree.post import Post
from raycons.decree.spec import Letter, Nonces, SynodSpec, acceptor_name
from raycons.errors import Unavailable

ASK_EVERY_S = 0.5  # while something is missing: messages may be lost, and a new process knows none


class LearnerProcess:
    """One learner, on the event loop of its actor."""

    def __init__(self, spec: SynodSpec, id: LearnerId) -> None:
        self._spec = spec
        self._id = id
        self._post = Post(spec, id, spec.asker_name(id))
        self._role = Learner(spec.settings.quorums)
        self._known = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def hear(self, letter: Letter) -> None:
        """An acceptor accepted something."""
        what = self._post.read(letter, acceptor_name(letter.sender))
        for effect in self._role.receive(letter.sender, what):
            if isinstance(effect, Chosen):
                self._post.knows(effect.value)
                self._known.set()

    async def learn(self, nonces: Nonces, timeout_s: float) -> bytes:
        """What is chosen, as soon as it is known. Raises Unavailable."""
        try:
            async with asyncio.timeout(timeout_s):
                while not self._known.is_set():
                    self._ask_all(nonces)
                    try:
                        async with asyncio.timeout(ASK_EVERY_S):
                            await self._known.wait()
                    except TimeoutError:
                        continue
        except TimeoutError:
            raise Unavailable(
                f"nothing is known to be chosen after {timeout_s:g} s; where acceptors hold "
                "different ballots only a proposal finds out: propose a value, which returns what "
                "is chosen"
            ) from None
        chosen = self._role.state.chosen
        assert chosen is not None
        return chosen

    def _ask_all(self, nonces: Nonces) -> None:
        for acceptor, nonce in nonces.items():
            task = asyncio.ensure_future(self._ask(acceptor, nonce))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, acceptor: AcceptorId, nonce: int) -> None:
        import ray

        actor = await self._post.actor(acceptor_name(acceptor))
        if actor is None:
            return
        try:
            letter: Letter | None = await actor.remind.remote(nonce, self._id)
        except ray.exceptions.RayError:
            return  # it is away; it is asked again
        if letter is not None:
            await self.hear(letter)
