"""What a member actor does: find its store, serve it, and say plainly when it cannot.

    constructor -> opening -> serving            the store is there
                           -> vacant             it is not: wait for `make`, or to be removed
                           -> retired            its bytes fail their checks
                           -> failed             full, read-only, locked: tried again
                           -> outdated           the group is above this release; as serving too
    make: vacant -> made     begin: made -> serving
                                         -> failed          no port is free: tried again

Ray runs a constructor again with its old arguments, also on a machine that lacks the store, also
when the disk is gone. So the constructor only ever opens. Making a store is a separate call, which
a replica's maker sends once, and a store in memory is gone with its process for good.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
from pathlib import Path
from typing import Any

from raycons.consensus.configuration import Configuration
from raycons.errors import BadArgument, StoreCorrupt, StoreError, Unavailable
from raycons.machines.contract import Machine, State
from raycons.machines.kv import KeyValueMachine
from raycons.machines.sessions import Sessions
from raycons.member import rediscovery
from raycons.member.applier import OutdatedRelease
from raycons.member.layout import Keys
from raycons.member.metrics import Exporter
from raycons.member.opening import bootstrap, key_value_bounds
from raycons.member.shell import GROUP, Shell
from raycons.member.spec import Introduction, MemberSpec, MemberState
from raycons.member.wiring import Wiring, wire
from raycons.store import directory
from raycons.store.ailing import AilingStore
from raycons.store.contract import Space, Store
from raycons.store.memory import MemoryStore
from raycons.store.openings import Opening, opened
from raycons.transport.contract import SPOKEN, Address, Greeting, PeerId

log = logging.getLogger(__name__)

REOPEN_AFTER_S = 1.0  # a store that was full or locked is tried again
UPKEEP_S = 1.0  # between metrics, and looks for peers that nobody reached
UNREACHABLE_S = 3.0  # a peer away for so long is looked up through Ray
SETTINGS_FILE = "settings.json"


class Hosting:
    """One member: the object behind the Ray actor, on the actor's event loop."""

    def __init__(self, spec: MemberSpec) -> None:
        self.spec = spec
        self.state = MemberState.OPENING
        self.reason = ""
        self._root = Path(spec.path) if spec.path else directory.default_root()
        self._directory: directory.MemberDirectory | None = None
        self._store: Store | None = None
        self._ailing: AilingStore | None = None  # the same, with fault_injection
        self._shell: Shell | None = None
        self._wiring: Wiring | None = None
        self._nonce = 0
        self._opening = Opening(0, 0)
        self._host = ""
        self._loop = asyncio.get_running_loop()
        self._changing = asyncio.Lock()
        self._tasks = {self._loop.create_task(self._open())}
        self._opened = asyncio.Event()

    # --- opening ----------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Find the store and serve it; keep trying while the obstacle may pass."""
        while self.state in (MemberState.OPENING, MemberState.FAILED):
            try:
                async with self._changing:
                    await self._open_once()
            except StoreCorrupt as error:
                self._retire(str(error))
            except StoreError as error:
                self._become(MemberState.FAILED, str(error))
            except OutdatedRelease as error:
                self._become(MemberState.OUTDATED, str(error))
            except Exception as error:
                log.exception("event=open-failed replica=%d", self.spec.id)
                self._become(MemberState.FAILED, f"{type(error).__name__}: {error}")
            self._opened.set()
            if self.state in (MemberState.FAILED, MemberState.RETIRED, MemberState.OUTDATED):
                await self._let_go()
            if self.state is MemberState.FAILED:
                await asyncio.sleep(REOPEN_AFTER_S)

    async def _open_once(self) -> None:
        if self.spec.storage == "memory":
            if self._store is not None:
                await self._serve(self._store)
                return
            self._host = _node_id()
            self._become(MemberState.VACANT, "a store in memory ends with its process")
            return
        path = directory.replica_path(self._root, self.spec.cluster, self.spec.id)
        self._host = await self._loop.run_in_executor(None, directory.host_id, self._root)
        if not path.is_dir():
            self._become(MemberState.VACANT, f"there is no store at {path}")
            return
        identity = directory.read_identity(path)
        if identity.cluster_id != self.spec.uuid:
            self._become(
                MemberState.VACANT,
                f"the store at {path} is of another cluster of this name, {identity.cluster_id}",
            )
            return
        if identity.retired is not None:
            self._nonce = identity.nonce
            self._become(MemberState.RETIRED, identity.retired)
            return
        self._directory = directory.open(self._root, self.spec.cluster, self.spec.id)
        self._nonce = identity.nonce
        self._store = await self._open_store(self._directory)
        await self._enter(self._store)

    async def _open_store(self, place: directory.MemberDirectory) -> Store:
        store = await self._loop.run_in_executor(None, place.open_store)
        if not self.spec.fault_injection:
            return store
        self._ailing = AilingStore(store)
        return self._ailing

    async def _enter(self, store: Store) -> None:
        self._opening = await self._loop.run_in_executor(None, opened, store)
        if _is_bootstrapped(store):
            await self._serve(store)
        else:
            self._become(MemberState.MADE, "waits for its first configuration")

    # --- making -----------------------------------------------------------------------------------

    async def make(self) -> Introduction:
        """Make this replica's store, once. Raises StoreError where it is not wanted (any more)."""
        await self._opened.wait()
        async with self._changing:
            if self.state is not MemberState.VACANT:
                raise StoreError(
                    f"replica {self.spec.id} of {self.spec.cluster!r} is {self.state.value}, "
                    "not vacant: a store is made once"
                )
            if self.spec.storage == "memory":
                self._nonce = secrets.randbits(63)
                self._store = MemoryStore()
            else:
                identity = await self._loop.run_in_executor(None, self._make_directory)
                self._nonce = identity.nonce
                self._directory = directory.open(self._root, self.spec.cluster, self.spec.id)
                self._store = await self._open_store(self._directory)
            await self._enter(self._store)
        return await self.introduce()

    def _make_directory(self) -> directory.Identity:
        spec = self.spec
        identity = directory.create(
            self._root,
            cluster_name=spec.cluster,
            cluster_id=spec.uuid,
            replica=spec.id,
            storage=spec.storage,
        )
        path = directory.replica_path(self._root, spec.cluster, spec.id)
        (path / SETTINGS_FILE).write_bytes(spec.settings)
        return identity

    async def begin(
        self, configuration: Configuration, addresses: dict[PeerId, Address]
    ) -> Introduction:
        """Give a made store its first configuration, and serve.

        `configuration` lists the founders of a new group; it is empty for a replica that joins.
        A member that has it and cannot serve, for want of a port say, raises and tries again.
        """
        async with self._changing:
            if self.state is not MemberState.MADE or self._store is None:
                raise StoreError(
                    f"replica {self.spec.id} of {self.spec.cluster!r} is {self.state.value}, not "
                    "newly made: its first configuration is given once"
                )
            bootstrap(
                self._store, GROUP, self.spec.id, self._nonce, configuration, self.spec.protocol
            )
            await self._loop.run_in_executor(None, self._store.sync)
            try:
                await self._serve(self._store)
            except Exception as error:
                self._become(MemberState.FAILED, f"{type(error).__name__}: {error}")
                await self._let_go()
                self._spawn(self._open())
                raise
        self.locate(addresses)
        return await self.introduce()

    def locate(self, addresses: dict[PeerId, Address]) -> None:
        """Learn where peers listen, from whoever made them."""
        if self._shell is not None and self.state is MemberState.SERVING:
            self._shell.locate({id: at for id, at in addresses.items() if id != self.spec.id})

    # --- serving ----------------------------------------------------------------------------------

    async def _serve(self, store: Store) -> None:
        spec = self.spec
        greeting = Greeting(
            versions=SPOKEN,
            cluster=spec.uuid,
            id=spec.id,
            nonce=self._nonce,
            incarnation=self._opening.incarnation,
            opening=self._opening.opening,
            address=None,
            earlier=self._opening.earlier,
        )
        shell = Shell(
            greeting=greeting,
            store=store,
            make_machine=self._make_machine,
            raft=spec.raft,
            member=spec.member,
            durable_store=spec.storage == "disk",
            failed=self._broke,
            retired=self._retire_by_group,
        )
        self._shell = shell
        self._wiring = await wire(spec, greeting, shell, store)
        shell.start(self._wiring.transport)
        self._become(MemberState.SERVING, "")
        # What exists now lives as long as the process: keep the collector from walking it, and
        # from running after every few hundred messages.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._spawn(self._upkeep(shell))

    def _make_machine(self, state: State) -> Machine:
        return Sessions(KeyValueMachine(state, key_value_bounds(self.spec.member)), state)

    async def _upkeep(self, shell: Shell) -> None:
        """Once a second: metrics out, and news of peers that no connection reached."""
        exporter = Exporter(self.spec.cluster, self.spec.id)
        pause = 0.1  # peers are looked up at once after a start
        while self.state is MemberState.SERVING:
            await asyncio.sleep(pause)
            pause = UPKEEP_S
            try:
                shell.publish_metrics(exporter)
                missing = shell.unreachable(UNREACHABLE_S)
                if missing:
                    found = await rediscovery.find_members(
                        self.spec.cluster, self.spec.uuid, missing
                    )
                    shell.locate(rediscovery.addresses(found))
                    if not found:
                        pause = UNREACHABLE_S
            except Exception:
                log.exception("event=upkeep-failed replica=%d", self.spec.id)

    # --- ends -------------------------------------------------------------------------------------

    def _broke(self, error: BaseException) -> None:
        """The replica cannot go on: end it without writing anything more."""
        log.critical("event=replica-broke replica=%d", self.spec.id, exc_info=error)
        if isinstance(error, StoreCorrupt):
            self._retire(str(error))
        elif isinstance(error, StoreError):
            # What the disk holds is not known any more: the next process looks.
            os._exit(74)
        elif isinstance(error, OutdatedRelease):
            self._become(MemberState.OUTDATED, str(error))
        else:
            self._become(MemberState.FAILED, f"{type(error).__name__}: {error}")
        if self._shell is not None:
            self._spawn(self._shell.abandon())

    def _retire_by_group(self, reason: str) -> None:
        self._retire(reason)
        if self._shell is not None:
            self._spawn(self._shell.abandon())

    def _retire(self, reason: str) -> None:
        self._become(MemberState.RETIRED, reason)
        path = directory.replica_path(self._root, self.spec.cluster, self.spec.id)
        try:
            held = self._directory
            if held is None:
                held = directory.open(self._root, self.spec.cluster, self.spec.id)
            held.retire(reason)
        except StoreError as error:
            # An identity file that cannot be read or written refuses the next opening as well.
            log.critical("event=retire-failed path=%s error=%s", path, error)

    async def close(self) -> None:
        """Bring everything to disk and let go of the store; the actor can be killed afterwards."""
        async with self._changing:
            self._become(MemberState.CLOSED, "the cluster was stopped")
            for task in self._tasks:
                if task is not asyncio.current_task():
                    task.cancel()
            if self._shell is not None:
                await self._shell.stop()
            if self._store is not None:
                await self._loop.run_in_executor(None, self._store.sync)
            self._release()

    async def _let_go(self) -> None:
        """Undo an opening that failed half way; a store in memory is kept for the next one."""
        if self._shell is not None:
            await self._shell.abandon()
            self._shell = None
        if self.spec.storage != "memory":
            self._release()

    def _release(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    # --- what others ask --------------------------------------------------------------------------

    async def introduce(self) -> Introduction:
        """Who this is and where it listens, once it is known whether there is a store."""
        await self._opened.wait()
        address = self._wiring.transport.address if self._wiring is not None else None
        return Introduction(
            uuid=self.spec.uuid,
            id=self.spec.id,
            state=self.state,
            reason=self.reason,
            nonce=self._nonce,
            incarnation=self._opening.incarnation,
            host=self._host,
            node=_node_id(),
            pid=os.getpid(),
            address=(address.host, address.port) if address is not None else None,
            transport=self.spec.transport,
            storage=self.spec.storage,
            secret=self.spec.secret,
            settings=self.spec.settings,
        )

    def status(self) -> dict[str, Any]:
        """All that is known here, as plain values."""
        import platform

        from raycons.version import __version__

        address = self._wiring.transport.address if self._wiring is not None else None
        status: dict[str, Any] = {
            "id": self.spec.id,
            "uuid": self.spec.uuid,
            "state": self.state.value,
            "reason": self.reason,
            "nonce": self._nonce,
            "incarnation": self._opening.incarnation,
            "host": self._host,
            "hostname": platform.node(),
            "node": _node_id(),
            "pid": os.getpid(),
            "niceness": os.nice(0),
            "version": __version__,
            "address": f"{address.host}:{address.port}" if address is not None else "",
        }
        if self._shell is not None and self.state is MemberState.SERVING:
            status.update(self._shell.status())
            status["store_bytes"] = self._store.size_bytes() if self._store is not None else 0
        return status

    def fault(self, *, isolate: bool) -> None:
        """Cut this member off from everybody, or heal it. Raises BadArgument if not allowed."""
        self._check_faults_allowed()
        if self._wiring is not None:
            self._wiring.isolate() if isolate else self._wiring.heal()

    def lose(self, *, outward: float, inward: float) -> None:
        """Lose these shares of what is sent and heard. Raises BadArgument if not allowed."""
        self._check_faults_allowed()
        for name, share in (("outward", outward), ("inward", inward)):
            if not 0 <= share <= 1:
                raise BadArgument(f"{name}={share!r}: expected a share from 0 to 1")
        if self._wiring is not None:
            self._wiring.lose(outward=outward, inward=inward)

    def slow_disk(self, delay_s: float) -> None:
        """Let each sync take so much longer. Raises BadArgument if not allowed."""
        self._check_faults_allowed()
        if self._ailing is not None:
            self._ailing.slow_down(delay_s)

    def break_disk(self) -> None:
        """Let the next sync fail. Raises BadArgument if not allowed."""
        self._check_faults_allowed()
        if self._ailing is not None:
            self._ailing.break_down()

    def _check_faults_allowed(self) -> None:
        if not self.spec.fault_injection:
            raise BadArgument(
                f"cluster {self.spec.cluster!r} was started without fault_injection=True"
            )

    @property
    def wiring(self) -> Wiring:
        """The transports. Raises Unavailable while the member does not serve."""
        if self._wiring is None or self.state is not MemberState.SERVING:
            raise Unavailable(f"replica {self.spec.id} is {self.state.value}: {self.reason}")
        return self._wiring

    # --- small things -----------------------------------------------------------------------------

    def _become(self, state: MemberState, reason: str) -> None:
        if (state, reason) != (self.state, self.reason):
            log.info(
                "event=member-state cluster=%s replica=%d state=%s reason=%r",
                self.spec.cluster,
                self.spec.id,
                state.value,
                reason,
            )
        self.state, self.reason = state, reason

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_bootstrapped(store: Store) -> bool:
    """Whether the group's records are there: a made store has none before it begins."""
    return store.get(Space.META, Keys(GROUP).identity) is not None


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
