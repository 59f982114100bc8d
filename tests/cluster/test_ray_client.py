"""A driver that came through Ray Client (`ray://`), with and without a way to the ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.test_nodes import run

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_driver_through_ray_client_falls_back_to_actor_calls(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import asyncio, socket

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        os.environ["RAYCONS_HOME"] = str(home)
        Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "env_vars": {"RAYCONS_HOME": str(home), "RAY_worker_niceness": "0"},
                "object_store_memory": 80 * 1024 * 1024,
                "include_dashboard": False,
                "ray_client_server_port": port,
            },
        )
        ray.init(f"ray://127.0.0.1:{port}", namespace="elsewhere", log_to_driver=False)
        assert ray.util.client.ray.is_connected()


        async def transport(client):
            return type(client._transport).__name__


        def serve(cluster, key):
            kv = kv_of(cluster)
            kv.put(key, b"1", timeout=30)
            assert kv.get(key, timeout=30) == b"1"
            assert whole(cluster), cluster.status()
            return cluster.kv()._client.run(transport)


        assert serve(raycons.start("prod"), "by-port") == "FallbackClientTransport"

        async def no_way(host, port, **_):
            attempts.append(port)
            raise ConnectionRefusedError(f"{host}:{port}")

        attempts = []
        asyncio.open_connection = no_way
        cluster = raycons.connect("prod")
        assert len(attempts) == 3  # it tried every member before it gave the ports up
        assert serve(cluster, "by-calls") == "ActorClientTransport"

        # The leader is killed under it: calls find the next one as connections do.
        leader = cluster.status().replica(cluster.status().leader)
        os.kill(leader.pid, signal.SIGKILL)
        kv = kv_of(cluster)
        kv.put("after", b"2", timeout=30)
        assert kv.get("by-calls", timeout=30) == b"1"
        raycons.stop("prod", destroy=True)
        """,
    )
