"""An acceptor's process: its state on disk before each answer, and no answer without its store.

The constructor, which Ray may run again at any time, only opens. The store is made once, by `make`,
which whoever starts the synod calls; so an acceptor that lost its disk stays vacant. Requests name
the store that is meant, by its nonce: one that was made anew under the old number is not answered
for either.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import msgspec

from raycons.consensus.contract import Send
from raycons.consensus.paxos.messages import NO_BALLOT
from raycons.consensus.paxos.synod import Acceptor, AcceptorState, Keep, LearnerId
from raycons.consensus.quorum import AcceptorId
from raycons.decree.post import Post, synod_directory
from raycons.decree.spec import AcceptorStatus, Letter, SynodSpec, acceptor_name
from raycons.errors import StoreCorrupt, StoreError, StoreLocked
from raycons.member.kernel_syncer import make_syncer
from raycons.member.syncer import Syncer, end_process
from raycons.store import directory
from raycons.store.contract import Batch, Space

log = logging.getLogger(__name__)

STATE_KEY = b"acceptor"
REOPEN_AFTER_S = 0.5  # a store that another process still holds is tried again


class AcceptorProcess:
    """One acceptor, on the event loop of its actor."""

    def __init__(self, spec: SynodSpec, id: AcceptorId) -> None:
        self._spec = spec
        self._id = id
        self._learners = tuple(spec.learner_ids())
        self._post = Post(spec, id, acceptor_name(id))
        self._held: directory.MemberDirectory | None = None
        self._store: Any = None
        self._role = Acceptor(self._learners, AcceptorState())
        self._reason = ""
        self._syncer: Syncer | None = None
        self._durable = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None

    # --- the store --------------------------------------------------------------------------------

    async def make(self) -> int:
        """Make the store, once; gives its nonce. Raises StoreError where there is one already."""
        root, name = synod_directory(self._spec).parent, self._spec.name

        def create() -> None:
            directory.create(root, cluster_name=name, cluster_id=self._spec.uuid, replica=self._id)

        await asyncio.get_running_loop().run_in_executor(None, create)
        await self._opened()
        if self._held is None:
            raise StoreError(f"acceptor {self._id} cannot open what it made: {self._reason}")
        return self._held.identity.nonce

    async def _opened(self) -> bool:
        """Whether the store is open; it is opened where it was not."""
        if self._store is None:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._open())
            await asyncio.shield(self._opening)
        return self._store is not None

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        root, name = synod_directory(self._spec).parent, self._spec.name
        while self._store is None:
            held: directory.MemberDirectory | None = None
            try:
                held = await loop.run_in_executor(None, directory.open, root, name, self._id)
                store = await loop.run_in_executor(None, held.open_store)
                found = store.get(Space.META, STATE_KEY)
            except StoreLocked as error:
                self._reason = str(error)
                if held is not None:
                    held.close()
                await asyncio.sleep(REOPEN_AFTER_S)
                continue
            except StoreError as error:
                self._reason = str(error)
                log.warning("event=vacant acceptor=%d reason=%s", self._id, error)
                if held is not None:
                    if isinstance(error, StoreCorrupt):
                        held.retire(self._reason)
                    held.close()
                self._opening = None  # `make` may not have been called yet
                return
            if found is not None:
                state = msgspec.msgpack.decode(found, type=AcceptorState)
                self._role = Acceptor(self._learners, state)
            self._syncer = make_syncer(store, loop, self._on_disk, on_disk=True)
            self._held, self._store, self._reason = held, store, ""
            log.info("event=serving acceptor=%d promised=%s", self._id, self._role.state.promised)

    # --- messages ---------------------------------------------------------------------------------

    async def receive(self, nonce: int, letter: Letter) -> Letter | None:
        """A proposer's request, and the answer; None where there is none, or it was lost."""
        if not await self._serves(nonce):
            return None
        proposer = self._spec.asker_name(letter.sender)
        what = self._post.read(letter, proposer)
        sends = await self._carry_out(self._role.receive(letter.sender, what))
        answer: Letter | None = None
        for send in sends:
            if send.to in self._learners:
                task = asyncio.ensure_future(self._tell(send.to, send.message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                answer = self._post.write(send.message, proposer)
        return answer if await self._post.arrives() else None

    async def remind(self, nonce: int, learner: LearnerId) -> Letter | None:
        """A learner asks what was accepted here."""
        if not await self._serves(nonce):
            return None
        sends = await self._carry_out(self._role.remind(learner))
        letters = [self._post.write(each.message, self._spec.asker_name(learner)) for each in sends]
        return letters[0] if letters and await self._post.arrives() else None

    async def _serves(self, nonce: int) -> bool:
        if not await self._opened():
            return False
        assert self._held is not None
        return self._held.identity.nonce == nonce

    async def _carry_out(self, effects: list[Any]) -> list[Send]:
        """Write what is to be kept; gives what is to be sent, as soon as it may leave."""
        for effect in effects:
            if isinstance(effect, Keep):
                self._keep(effect)
        sends = [effect for effect in effects if isinstance(effect, Send)]
        await self._until_on_disk(max((send.after for send in sends), default=0))
        return sends

    def _keep(self, what: Keep) -> None:
        batch = Batch()
        batch.put(Space.META, STATE_KEY, msgspec.msgpack.encode(what.state))
        try:
            self._store.write(batch)
        except StoreError as error:
            # The role is ahead of its disk, and the store is done for: the next process looks.
            end_process(error)
        assert self._syncer is not None
        self._syncer.request(what.number)

    async def _until_on_disk(self, number: int) -> None:
        if number > self._durable:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((number, waiter))
            await waiter

    def _on_disk(self, number: int) -> None:
        self._durable = number
        for wanted, waiter in self._waiters:
            if wanted <= number and not waiter.done():
                waiter.set_result(None)
        self._waiters = [each for each in self._waiters if each[0] > number]

    async def _tell(self, learner: LearnerId, what: Any) -> None:
        import ray

        name = self._spec.asker_name(learner)
        letter = self._post.write(what, name)
        actor = await self._post.actor(name) if await self._post.arrives() else None
        if actor is not None:
            try:
                await actor.hear.remote(letter)
            except ray.exceptions.RayError:
                return  # it is away; when it is back it asks

    # --- what is known here -----------------------------------------------------------------------

    async def status(self, nonce: int) -> AcceptorStatus:
        """How it is, for those who mean the store of that nonce."""
        import ray

        serving = await self._serves(nonce)
        if not serving and self._store is not None:
            self._reason = "its store is not the one that was made when the synod was started"
        state = self._role.state
        promised = state.promised
        return AcceptorStatus(
            id=self._id,
            state="serving" if serving else "vacant",
            reason=self._reason,
            pid=os.getpid(),
            node=ray.get_runtime_context().get_node_id(),
            promised="" if promised == NO_BALLOT else f"{promised.round}.{promised.proposer}",
            accepted=state.accepted,
        )
