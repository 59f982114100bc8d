"""The Ray actors of a synod: thin, because Ray ships an actor's class by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raycons.decree.spec import AcceptorStatus, Letter, Nonces, SynodSpec


class AcceptorActor:
    """Every method hands over to `raycons.decree.acceptor.AcceptorProcess`."""

    def __init__(self, spec: SynodSpec, id: int) -> None:
        from raycons.decree.acceptor import AcceptorProcess
        from raycons.member.logs import log_to_file

        log_to_file(spec.actor(f"a{id}"))
        self._process = AcceptorProcess(spec, id)

    async def make(self) -> int:
        """Make the store, once."""
        return await self._process.make()

    async def receive(self, nonce: int, letter: Letter) -> Letter | None:
        """A proposer asks."""
        return await self._process.receive(nonce, letter)

    async def remind(self, nonce: int, learner: int) -> Letter | None:
        """A learner asks."""
        return await self._process.remind(nonce, learner)

    async def status(self, nonce: int) -> AcceptorStatus:
        """How it is."""
        return await self._process.status(nonce)


class ProposerActor:
    """Every method hands over to `raycons.decree.proposer.ProposerProcess`."""

    def __init__(self, spec: SynodSpec, id: int, nonces: Nonces) -> None:
        from raycons.decree.proposer import ProposerProcess
        from raycons.member.logs import log_to_file

        log_to_file(spec.actor(spec.asker_name(id)))
        self._process = ProposerProcess(spec, id, nonces)

    async def propose(self, value: bytes, timeout_s: float) -> bytes:
        """Get something chosen."""
        return await self._process.propose(value, timeout_s)


class LearnerActor:
    """Every method hands over to `raycons.decree.learner.LearnerProcess`."""

    def __init__(self, spec: SynodSpec, id: int) -> None:
        from raycons.decree.learner import LearnerProcess
        from raycons.member.logs import log_to_file

        log_to_file(spec.actor(spec.asker_name(id)))
        self._process = LearnerProcess(spec, id)

    async def hear(self, letter: Letter) -> None:
        """An acceptor tells."""
        await self._process.hear(letter)

    async def learn(self, nonces: Nonces, timeout_s: float) -> bytes:
        """What is chosen."""
        return await self._process.learn(nonces, timeout_s)


def actor_class(kind: type, name: str, node: str | None = None) -> Any:
    """The actor class under its options: `name` in Ray, pinned to `node` (None: anywhere).

    It ends with the program that makes it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from raycons.member.naming import NAMESPACE

    options: dict[str, Any] = {
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": 0,  # a call that may have happened is not made again
        "name": name,
        "namespace": NAMESPACE,
    }
    if node is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(kind).options(**options)
