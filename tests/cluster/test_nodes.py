"""Several Ray nodes on one machine, each with a data root of its own: nodes, heads and power fail.

Each test runs a script in a process of its own, because a driver that lost its Ray cannot have
another. What the scripts of a test do through `kv_of` is one history, which is judged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recording import judge

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

import raycons
from raycons.cluster.rays import _hush_death_notices
from raycons.verify import Operation, Recorder, encoded, read_history

home = Path(sys.argv[1])
recorder = Recorder(home / f"history-{os.getpid()}.jsonl", first_client=os.getpid() * 10_000)


def kv_of(cluster):
    return recorder.wrap(cluster.kv())


def eventually(condition, within_s, what):
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.2)


def add_node(ray_cluster, name, cpus=1):
    root = home / name
    root.mkdir(exist_ok=True)
    return ray_cluster.add_node(
        num_cpus=cpus,
        env_vars={"RAYCONS_HOME": str(root), "RAY_worker_niceness": "0"},
        object_store_memory=80 * 1024 * 1024,
    )


def three_nodes(joined=True):
    return some_nodes("head", "b", "c", joined=joined)


def some_nodes(head, *others, joined=True):
    os.environ["RAYCONS_HOME"] = str(home / head)
    (home / head).mkdir(exist_ok=True)
    ray_cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "env_vars": {"RAYCONS_HOME": str(home / head), "RAY_worker_niceness": "0"},
            "object_store_memory": 80 * 1024 * 1024,
            "include_dashboard": False,
        },
    )
    nodes = [add_node(ray_cluster, name) for name in others]
    if joined:
        ray.init(address=ray_cluster.address, log_to_driver=False)
        _hush_death_notices()
    return ray_cluster, nodes


def whole(cluster, voters=3):
    status = cluster.status()
    up = [each for each in status.replicas if each.state == "serving" and each.listed == "voter"]
    return status.leader and len(up) == voters == len(status.voters) and status
"""


FILL = """
cluster = raycons.start("prod")
kv = kv_of(cluster)
for number in range(500):
    kv.put(f"key/{number}", str(number).encode())
(home / "uuid").write_text(cluster.uuid)
(home / "pids").write_text(" ".join(str(each.pid) for each in cluster.status().replicas))
"""
JOIN = "ray_cluster, nodes = three_nodes()"
# A script ends without a word to Ray: what it left is killed, or left alone, at once.
EXIT = "\nrecorder.close()\nos._exit(0)\n"
FIND_ALL = """
cluster = raycons.start("prod")
assert cluster.uuid == (home / "uuid").read_text()
kv = kv_of(cluster)
pairs = {entry.name: entry.value for entry in cluster.kv().scan(prefix="key/")}
assert pairs == {f"key/{number}": str(number).encode() for number in range(500)}
assert all(kv.get(key) == value for key, value in pairs.items())
status = eventually(lambda: whole(cluster), 30, "all three serve")
assert {each.incarnation for each in status.replicas} == {2}
raycons.stop("prod", destroy=True)
assert not list(home.glob("*/prod/replica-*"))
"""


def run(tmp_path: Path, script: str, *, within_s: float = 300) -> None:
    """Run a script with the prelude, end all processes that it left behind, judge the history."""
    with started(tmp_path, textwrap.dedent(script) + EXIT) as process:
        assert process.wait(timeout=within_s) == 0, told_by(tmp_path)
        judge(sorted(tmp_path.glob("history-*.jsonl")))


def run_until_killed(tmp_path: Path, script: str, *, within_s: float = 300) -> None:
    """Run a script until it says that it is filled, then kill all at once, members first."""
    filled, deadline = tmp_path / "filled", time.monotonic() + within_s
    with started(tmp_path, script) as process:
        while not filled.exists():
            assert process.poll() is None, told_by(tmp_path)
            assert time.monotonic() < deadline, told_by(tmp_path)
            time.sleep(0.01)
        members = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        others = processes_of(process.pid)
        assert set(members) < set(others)
        assert process.poll() is None  # the driver lives, and with it Ray: nobody ended in order
        for pid in dict.fromkeys(members + others):
            os.kill(pid, signal.SIGKILL)
        assert process.wait(timeout=30) == -signal.SIGKILL
        judge(sorted(tmp_path.glob("history-*.jsonl")))


@contextlib.contextmanager
def started(tmp_path: Path, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process of a script with the prelude; it, and all that it made, is killed at the end."""
    # Ray notes the address of the newest head in its directory, for every program of the machine. A
    # short path: sockets lie below it.
    ray_home = tempfile.mkdtemp(prefix="rn", dir="/tmp")
    environment = os.environ | {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": ray_home,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    environment.pop("RAY_ADDRESS", None)
    with (tmp_path / "told").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + script, str(tmp_path)],
            stdout=output,  # a file: Ray's processes inherit it, and would hold a pipe open
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for pid in processes_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(ray_home, ignore_errors=True)


def told_by(tmp_path: Path) -> str:
    """The last that a script printed."""
    return (tmp_path / "told").read_text()[-6000:]


def processes_of(session: int) -> list[int]:
    """Every process that the script's session still holds."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_members_spread_and_a_lost_node_is_made_up_for(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        ray_cluster, nodes = three_nodes()
        cluster = raycons.start("prod", repair_grace=2.0)
        kv = kv_of(cluster)
        kv.put("a", b"1")
        status = cluster.status()
        assert len({each.host for each in status.replicas}) == 3, status
        assert len({each.node for each in status.replicas}) == 3, status
        stores = sorted(str(path.relative_to(home)) for path in home.glob("*/prod/replica-*"))
        assert len({path.split("/")[0] for path in stores}) == 3, stores

        lost = next(each for each in status.replicas if each.node == nodes[1].node_id)
        ray_cluster.remove_node(nodes[1], allow_graceful=False)
        kv.put("b", b"2")  # two of three go on

        # No host is free of other voters: wait, and say so.
        def waiting():
            return any("no host is free" in note for note in cluster.status().notes)
        eventually(waiting, 60, "the supervisor says that it waits for a host")
        assert lost.id in cluster.status().voters

        add_node(ray_cluster, "d")
        eventually(
            lambda: lost.id not in cluster.status().voters and whole(cluster), 60, "repaired"
        )
        status = cluster.status()
        assert len({each.host for each in status.replicas}) == 3, status
        assert kv.get("a") == b"1" and kv.get("b") == b"2"
        """,
    )


def test_a_node_that_returns_in_time_keeps_its_replica(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        ray_cluster, nodes = three_nodes()
        cluster = raycons.start("prod", repair_grace=600.0)
        kv = kv_of(cluster)
        kv.put("a", b"1")
        before = cluster.status()
        ray_cluster.remove_node(nodes[1], allow_graceful=False)
        eventually(
            lambda: sum(each.state == "serving" for each in cluster.status().replicas) == 2,
            60, "the loss is noticed",
        )
        kv.put("b", b"2")
        add_node(ray_cluster, "c")  # the same disk, under a new id of Ray's
        eventually(lambda: whole(cluster), 60, "all three serve again")
        after = cluster.status()
        assert after.voters == before.voters == (1, 2, 3)
        assert {each.host for each in after.replicas} == {each.host for each in before.replicas}
        assert max(each.incarnation for each in after.replicas) == 2
        assert kv.get("b") == b"2"
        """,
    )


def test_clients_go_on_without_the_head_s_control_plane(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        ray_cluster, nodes = three_nodes()
        cluster = raycons.start("prod")
        kv = kv_of(cluster)
        kv.put("before", b"1")
        gcs = ray_cluster.head_node.all_processes["gcs_server"][0].process
        os.kill(gcs.pid, signal.SIGKILL)
        acknowledged = 0

        def go_on(seconds):
            global acknowledged
            slowest, before, end = 0.0, acknowledged, time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                kv.put(f"during/{acknowledged}", b"x", timeout=5)
                kv.put("newest", str(acknowledged).encode(), timeout=5)
                kv.get("newest", timeout=5)
                slowest = max(slowest, time.monotonic() - began)
                acknowledged += 1
            print("writes", acknowledged - before, "slowest", slowest)
            assert acknowledged - before > 50
            assert slowest < 2.0

        go_on(15)
        ray_cluster.head_node.kill_gcs_server(check_alive=False)  # forgets the process that ended
        ray_cluster.head_node.start_gcs_server()
        go_on(15)
        assert len(cluster.kv().range(prefix="during/", keys_only=True)) == acknowledged

        # Ray has no fault tolerance here: who comes back knows nobody, and says so to all.
        for question in (cluster.status, lambda: raycons.connect("prod"), cluster.add_member,
                         lambda: raycons.start("prod"), lambda: raycons.stop("prod", destroy=True)):
            try:
                question()
            except raycons.Unavailable as error:
                print(error)
                assert "ray.shutdown(), then ray.init()" in str(error)
            else:
                raise AssertionError("no error")
        """,
    )


def test_past_rays_limit_everything_ends_and_resumes(tmp_path: Path) -> None:
    """Without its control plane for a minute, Ray ends the actors; the data stays."""
    # The nodes live as long as the process that made them, and Ray ends a driver too: so the driver
    # that fills the cluster is a process of its own.
    filling = PRELUDE + "ray.init(address=sys.argv[2], log_to_driver=False)" + FILL + EXIT
    outer = f"""
ray_cluster, nodes = three_nodes(joined=False)
subprocess.run([sys.executable, "-c", {filling!r}, str(home), ray_cluster.address], check=True)
pids = [int(pid) for pid in (home / "pids").read_text().split()]
gcs = ray_cluster.head_node.all_processes["gcs_server"][0].process
os.kill(gcs.pid, signal.SIGKILL)
began = time.monotonic()
eventually(
    lambda: not any(Path(f"/proc/{{pid}}").exists() for pid in pids), 150, "Ray ends the members"
)
assert time.monotonic() - began > 30, "they ended long before Ray's limit"
"""
    run(tmp_path, outer)
    run(tmp_path, JOIN + FIND_ALL)


def test_everything_is_killed_and_ray_starts_anew(tmp_path: Path) -> None:
    """Members and Ray end by SIGKILL while a client writes: what it was told of is all there."""
    writing = """
recorder.close()
kv = cluster.kv()
with open(home / "history-last.jsonl", "wb", buffering=0) as told:  # a recorder has a buffer
    for number in range(1_000_000):
        key, began = f"last/{number}", time.monotonic_ns()
        kv.put(key, b"x")
        told.write(encoded(Operation(0, "put", key, began, time.monotonic_ns(), "x")))
        if number == 100:
            (home / "filled").touch()
"""
    found = """
told = [operation.key for operation in read_history(home / "history-last.jsonl")]
last = {entry.name for entry in cluster.kv().scan(prefix="last/")}
assert len(told) > 100 and set(told) <= last, (len(told), len(last))
under_way = f"last/{len(told)}"
assert last <= {*told, under_way}
recorder.begin("put", under_way, b"x")  # it may be there, too
for key in (*told, under_way):
    kv.get(key)
"""
    run_until_killed(tmp_path, JOIN + FILL + writing)
    resumed = FIND_ALL.replace("raycons.stop(", found + "raycons.stop(", 1)
    run(tmp_path, JOIN + resumed)


def test_hosts_without_a_store_remember_the_cluster_until_it_is_destroyed(tmp_path: Path) -> None:
    run(
        tmp_path,
        JOIN
        + """
cluster = raycons.start("prod", replicas=1)
kv_of(cluster).put("a", b"1")
(home / "uuid").write_text(cluster.uuid)
raycons.stop("prod")
""",
    )
    run(
        tmp_path,
        """
        import concurrent.futures

        uuid = (home / "uuid").read_text()
        holder = next(home.glob("*/prod/replica-*")).parents[1]
        holder_id = (holder / "host-id").read_text()
        ray_cluster, nodes = some_nodes(*sorted({"head", "b", "c"} - {holder.name}))
        try:
            other = raycons.start("prod", replicas=1, timeout=3)
        except raycons.MembersMissing as error:
            assert holder_id in str(error) and uuid in str(error), error
        else:
            raise AssertionError(f"{uuid} and now {other.uuid}")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(raycons.start, "prod", replicas=1)
            add_node(ray_cluster, holder.name)
            cluster = waiting.result()
        assert cluster.uuid == uuid
        kv = kv_of(cluster)
        assert kv.get("a") == b"1"

        # A host that was away when the cluster was made learns of it with the next member.
        add_node(ray_cluster, "d")
        cluster.add_member()
        hosts = {each.host for each in cluster.status().replicas}
        markers = sorted(home.glob("*/prod/cluster.json"))
        assert [marker.parents[1].name for marker in markers] == ["b", "c", "d", "head"]
        assert len(hosts) == 2
        assert all(host in marker.read_text() for marker in markers for host in hosts)

        raycons.stop("prod", destroy=True)
        assert not list(home.glob("*/prod/*"))
        assert raycons.start("prod", replicas=1).uuid != uuid
        raycons.stop("prod", destroy=True)
        """,
    )
