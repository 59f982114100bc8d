"""A look at all hosts by the supervisor, whose own disk may hang. Ray is replaced here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import ray

from raycons.cluster import hosts
from raycons.cluster.settings import ClusterSettings


@pytest.fixture
def hung_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """One host, the caller's own, whose disk answers nobody; the event: somebody looks at it."""
    looking, mended = threading.Event(), threading.Event()

    def look_here(cluster: str, path: str | None, node: str) -> None:
        looking.set()
        mended.wait(20)

    context = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(hosts, "in_worker", lambda: True)
    monkeypatch.setattr(hosts, "ray_nodes", lambda: [{"NodeID": "here", "Alive": True}])
    monkeypatch.setattr(hosts, "look_here", look_here)
    monkeypatch.setattr(hosts, "TASK_S", 0.05)
    yield looking
    mended.set()


def test_a_disk_that_hangs_takes_no_thread_from_the_rest(hung_disk: threading.Event) -> None:
    async def story() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with asyncio.timeout(10):
            for _ in range(3):
                [report] = await hosts.look_everywhere("prod", ClusterSettings())
                assert (report.node, report.silent) == ("here", True)
            assert hung_disk.is_set()
            assert await asyncio.to_thread(lambda: "answered") == "answered"

    asyncio.run(story())
