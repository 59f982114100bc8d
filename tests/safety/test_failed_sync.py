"""A failed sync is never retried: the process ends, and its successor looks at what is there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from raycons.errors import StoreFull
from raycons.member import hosting
from raycons.member.hosting import Hosting
from raycons.member.spec import MemberState
from raycons.member.syncer import ThreadSyncer
from raycons.store import directory
from raycons.store.memory import MemoryStore

from .town import eventually, member_spec, play, town


class FailingOnce(MemoryStore):
    """Fails one sync; after that it would report success, as kernels do."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        if self.syncs == 1:
            raise StoreFull("no space left")


def test_after_a_failure_nothing_is_synced_or_reported_again() -> None:
    async def story() -> None:
        store, durable = FailingOnce(), list[int]()
        failures: list[BaseException] = []
        syncer = ThreadSyncer(
            store, asyncio.get_running_loop(), durable.append, failed=failures.append
        )
        syncer.request(1)
        await eventually(lambda: failures)
        syncer._thread.join(timeout=10.0)
        assert not syncer._thread.is_alive()
        syncer.request(2)
        await asyncio.sleep(0)
        assert store.syncs == 1
        assert durable == []
        assert isinstance(failures[0], StoreFull)

    asyncio.run(story())


ENDS = """
    import asyncio, sys
    from pathlib import Path
    import pytest
    sys.path.insert(0, sys.argv[1])
    from safety import town
    from raycons.client.kv import AsyncKv
    from raycons.errors import StoreFull

    class Full:
        def __init__(self, store):
            self.store, self.full, self.acknowledged = store, False, 0
        def __getattr__(self, name):
            return getattr(self.store, name)
        def fail(self):
            raise StoreFull("no space left")
        def sync(self):
            self.fail() if self.full and WHERE == "sync" else self.store.sync()
        def begin_sync(self):
            return self.store.begin_sync() if WHERE != "sync" or BY == "kernel" else None
        def end_sync(self, error=None):
            full = self.full and WHERE == "sync"
            self.store.end_sync(OSError(28, "No space left on device") if full else error)
        def write(self, batch):
            self.fail() if self.full and WHERE == "write" else self.store.write(batch)

    async def main():
        members = town.Town(Path(sys.argv[2]))
        stores = []
        town.wrap_stores(pytest.MonkeyPatch(), lambda id, store: stores.append(Full(store))
                         or stores[-1])
        await members.found([1])
        kv = AsyncKv(members.client())
        await kv.put("key", b"acknowledged")
        stores[0].full = True
        print("full", flush=True)
        await kv.put("key", b"never acknowledged")
        print("acknowledged", flush=True)

    WHERE, BY = sys.argv[3:]
    town.leave_ray_out(pytest.MonkeyPatch())
    asyncio.run(main())
"""


@pytest.mark.parametrize(("where", "by"), [("sync", "kernel"), ("sync", "thread"), ("write", "")])
def test_a_member_whose_disk_fails_ends_without_acknowledging(
    tmp_path: Path, where: str, by: str
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-c", textwrap.dedent(ENDS)),
            *(str(Path(__file__).parents[1]), str(tmp_path), where, by),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 74, ended.stderr  # as sysexits.h calls an input or output error
    assert ended.stdout.split() == ["full"]
    assert "no space left" in ended.stderr


def test_a_member_that_is_out_of_room_says_so_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "REOPEN_AFTER_S", 0.05)

    async def story() -> None:
        async with town(tmp_path) as members:
            await members.found([1])
            await members.stop(1)
            original = directory.MemberDirectory.open_store

            def full(held: directory.MemberDirectory) -> None:
                raise StoreFull("no space left; free some")

            with monkeypatch.context() as patch:
                patch.setattr(directory.MemberDirectory, "open_store", full)
                member = Hosting(member_spec(members.root(1), 1))
                members.members[1] = member
                await eventually(lambda: member.state is MemberState.FAILED)
                assert "no space left; free some" in member.reason
            assert directory.MemberDirectory.open_store is original
            await eventually(lambda: member.state is MemberState.SERVING)

    play(story)
