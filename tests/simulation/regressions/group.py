"""A simulated group driven by hand: the shipped members and client, all invariants, no chance.

A script says what is written, who crashes and who is cut off. Whatever a client is told is judged
as in a campaign.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from msgspec.structs import replace

from raycons.client.settings import ClientSettings
from raycons.config import MemberSettings, RaftSettings
from raycons.machines.kv.commands import Put, Range, RangeDone
from raycons.member.protocol import ReadLevel
from raycons.simulation import network as shapes
from raycons.simulation.clients import ClientProcess
from raycons.simulation.members import VirtualMember
from raycons.simulation.network import Block, Weather
from raycons.simulation.run import Run
from raycons.simulation.scenario import draw
from raycons.simulation.world import World

SEED = 1
PATIENCE_S = 5.0  # virtual seconds that everything in a script may take


class Group:
    """Members that all run, and one client."""

    def __init__(self, voters: int = 3, log_limit_bytes: int = 64_000_000) -> None:
        drawn = draw(World(SEED).random("scenario"))
        scenario = replace(
            drawn,
            voters=voters,
            learners=0,
            clients=1,
            lease_s=0.0,
            drift=0.0,
            turn_s=0.0,
            sync_s=0.001,
            weather=Weather(),
            raft=RaftSettings(),
            member=MemberSettings(log_limit_bytes=log_limit_bytes, snapshot_chunk_bytes=2000),
            client=ClientSettings(attempt_timeout_s=0.3),
            rates={},
            bends={},
        )
        self._run = Run(SEED, scenario)
        self.members = self._run.members
        self.client = self._run.callers[0]
        for member in self.members.values():
            member.start()
        ClientProcess.start(self.client)  # without the callers that draw what they do

    # --- time -----------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._run.world.run(self._run.world.now + seconds)

    def await_leader(self) -> VirtualMember:
        """The running leader of the highest term, as soon as its term's first entry commits."""
        self._run.world.run(self._run.world.now + PATIENCE_S, lambda: bool(self._leaders()))
        return self._leaders()[-1]

    def _leaders(self) -> list[VirtualMember]:
        found = [
            (member.engine.replica.term, member.id)
            for member in self.members.values()
            if member.engine is not None
            and member.engine.replica.role == "leader"
            and member.engine.replica.commit >= member.engine.replica.term_start
        ]
        return [self.members[id] for _, id in sorted(found)]

    # --- faults ---------------------------------------------------------------------------------

    def isolate(self, member: VirtualMember) -> None:
        """Cut a member off from all others, and from the client."""
        everyone = [*self.members, self.client.id]
        self._run.network.block(shapes.isolate(member.id, everyone), Block.CUT)

    def silence(self, member: VirtualMember) -> None:
        """What a member tells the client is lost, while it hears everything."""
        self._run.network.block(shapes.one_way([member.id], [self.client.id]), Block.CUT)

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._run.network.heal()

    # --- what the client does ---------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, timeout_s: float = PATIENCE_S) -> Any:
        """Write, and give what the client was told: a result or an exception."""
        return self._ended(self.begin_put(key, value, timeout_s), timeout_s)

    def begin_put(self, key: bytes, value: bytes, timeout_s: float = PATIENCE_S) -> list[Any]:
        """Begin to write; what the client is told comes into the list, judged."""
        operation, told, floor = Put(key, value), [], self._run.history.floor

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                self._run.history.failed(operation, result)
            else:
                self._run.history.succeeded(operation, result, floor)
            told.append(result)

        self.client.core.submit(operation, self.client.now + timeout_s, done)
        self.client.end_turn()
        return told

    def get(self, key: bytes) -> bytes | None:
        """Read the newest value."""
        operation, told, floor = Range(key), [], self._run.history.floor
        deadline = self.client.now + PATIENCE_S
        self.client.core.read(operation, ReadLevel.LINEARIZABLE, deadline, told.append)
        self.client.end_turn()
        [result] = self._wait_for(told, PATIENCE_S)
        assert isinstance(result, RangeDone), result
        self._run.history.succeeded(operation, result, floor)
        return result.pairs[0].value if result.pairs else None

    def _ended(self, told: list[Any], timeout_s: float) -> Any:
        return self._wait_for(told, timeout_s)[0]

    def _wait_for(self, told: list[Any], timeout_s: float) -> list[Any]:
        self._run.world.run(self._run.world.now + timeout_s + 1.0, lambda: bool(told))
        return told

    # --- the end ----------------------------------------------------------------------------------

    @property
    def events(self) -> Counter[str]:
        """How often members told of what."""
        return self._run.events

    @property
    def effects(self) -> list[bytes]:
        """The writes that took effect, each as often as it did."""
        return list(self._run.history.oracle.effects)

    def all_equal(self) -> bool:
        """Whether all running members hold, and have applied, the same log after a second."""
        self.wait(1.0)
        replicas = [m.engine.replica for m in self.members.values() if m.engine is not None]
        return len({(replica.log.last, replica.applied) for replica in replicas}) == 1
