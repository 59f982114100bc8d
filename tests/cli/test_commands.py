"""The commands on a real cluster, from `up` to `down`, each in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from raycons.cli import localray
from tests.cli.sandbox import TIMEOUT_S, Sandbox
from tests.recording import Recordings

PORTS = range(23600, 23650)
UP = ("--storage=memory", f"--port-range={PORTS[0]}-{PORTS[-1]}", "--repair-grace=12.5")


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """A sandbox with a cluster that `raycons up` made."""
    sandbox = Sandbox()
    try:
        status = sandbox.json("up", *UP)
        assert status["leader"] in status["voters"] == [1, 2, 3]
        yield sandbox
    finally:
        sandbox.close()


def test_up_again_finds_the_same_cluster(running: Sandbox) -> None:
    assert running.json("up", *UP)["uuid"] == running.json("status")["uuid"]


def test_up_with_other_settings_is_refused(running: Sandbox) -> None:
    """By all the options: what each of them sets is what the cluster compares."""
    done = running.run(
        *("up", "--replicas=5", "--storage=disk", "--transport=actor", "--reads=lease"),
        "--protocol=multipaxos",
        *("--path=/elsewhere", "--port-range=1-9", "--repair-grace=7", "--fault-injection"),
    )
    assert done.returncode == 1
    told = done.stderr.decode()
    for difference in (
        "replicas is 3, asked for 5",
        "storage is 'memory', asked for 'disk'",
        "protocol is 'raft', asked for 'multipaxos'",
        "transport is 'tcp', asked for 'actor'",
        "reads is 'read-index', asked for 'lease'",
        "path is None, asked for '/elsewhere'",
        f"port_range is ({PORTS[0]}, {PORTS[-1]}), asked for (1, 9)",
        "repair_grace is 12.5, asked for 7.0",
        "fault_injection is False, asked for True",
    ):
        assert difference in told
    assert "Traceback" not in told
    assert done.stdout == b""


def test_members_listen_where_up_said(running: Sandbox) -> None:
    addresses = [replica["address"] for replica in running.json("status")["replicas"]]
    ports = {int(address.rpartition(":")[2]) for address in addresses}
    assert len(ports) == 3
    assert ports <= set(PORTS)


def test_a_value_goes_in_and_comes_out(running: Sandbox) -> None:
    put = running.json("kv", "put", "a/1", "one")
    got = running.json("kv", "get", "a/1")
    assert (got["value"], got["revision"], got["version"]) == ("one", put["revision"], 1)
    assert running.run("kv", "get", "a/1").stdout == b"one"


def test_bytes_that_are_no_text_survive(running: Sandbox) -> None:
    content = bytes(range(256))
    assert running.run("kv", "put", "raw", "-", stdin=content).returncode == 0
    assert running.run("kv", "get", "raw").stdout == content
    assert base64.b64decode(running.json("kv", "get", "raw")["value_base64"]) == content


def test_an_absent_key_is_exit_code_one(running: Sandbox) -> None:
    assert running.json("kv", "get", "nothing", code=1) == {"key": "nothing", "found": False}


def test_a_stale_read_tells_its_age(running: Sandbox) -> None:
    running.json("kv", "put", "stale/1", "one")
    got = running.json("kv", "get", "stale/1", "--stale")
    assert (got["value"], got["version"]) == ("one", 1)
    assert 0 <= got["lag_s"] < 60
    shown = running.run("kv", "get", "stale/1", "--stale")
    assert shown.stdout == b"one"
    assert re.fullmatch(rb"at most \d+\.\d{3} s old\n", shown.stderr)
    listed = running.json("kv", "range", "stale/", "--stale")
    assert [one["key"] for one in listed["entries"]] == ["stale/1"]
    assert 0 <= listed["lag_s"] < 60
    assert b" s old" in running.run("kv", "range", "stale/", "--stale").stdout


def test_a_stale_read_of_an_absent_key_tells_its_age(running: Sandbox) -> None:
    running.json("kv", "put", "stale/10", "ten")
    absent = running.json("kv", "get", "stale/", "--stale", code=1)
    assert (absent["key"], absent["found"]) == ("stale/", False)
    assert 0 <= absent["lag_s"] < 60


def test_a_fresh_read_tells_no_age(running: Sandbox) -> None:
    running.json("kv", "put", "fresh", "one")
    assert "lag_s" not in running.json("kv", "get", "fresh")
    assert "lag_s" not in running.json("kv", "range", "fresh")


def test_compare_and_swap(running: Sandbox) -> None:
    swap = ("kv", "cas", "swapped", "v1", "--expect-absent")
    assert running.json(*swap)["succeeded"] is True
    assert running.json(*swap, code=1)["succeeded"] is False


@pytest.mark.parametrize(
    ("key", "expected", "says"),
    [
        ("cas/absent", ("--expect", "v0"), "is absent or holds another value"),
        ("cas/there", ("--expect", "v0"), "is absent or holds another value"),
        ("cas/there", ("--expect-absent",), "is not absent"),
    ],
)
def test_a_swap_that_fails_says_what_may_be_the_reason(
    running: Sandbox, key: str, expected: tuple[str, ...], says: str
) -> None:
    running.json("kv", "put", "cas/there", "v1")
    swap = ("kv", "cas", key, "v2", *expected)
    done = running.run(*swap)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.decode() == f"{key} {says}; nothing was changed\n"
    assert running.json(*swap, code=1) == {"key": key, "succeeded": False}


class Commands:
    """`raycons kv` as a handle."""

    def __init__(self, running: Sandbox) -> None:
        self._running = running

    def _told(self, *arguments: str) -> dict[str, Any]:
        done = self._running.run("kv", *arguments, "--format", "json")
        told: dict[str, Any] = json.loads(done.stdout)  # nothing where it failed
        return told

    def put(self, key: str, value: str) -> int:
        return int(self._told("put", key, value)["revision"])

    def get(self, key: str) -> str | None:
        return self._told("get", key).get("value")

    def compare_and_swap(self, key: str, *, expect: str | None, value: str) -> bool:
        expected = ["--expect-absent"] if expect is None else ["--expect", expect]
        return bool(self._told("cas", key, value, *expected)["succeeded"])

    def delete(self, key: str) -> int:
        return int(self._told("delete", key)["deleted"])


@pytest.mark.long
def test_what_commands_do_at_the_same_time_is_linearizable(
    running: Sandbox, recordings: Recordings
) -> None:
    kv = recordings.wrap(Commands(running))

    def use(name: str) -> None:
        kv.put("shared", name)
        kv.compare_and_swap("shared", expect=kv.get("shared"), value=f"{name} again")
        kv.delete("shared")

    with ThreadPoolExecutor() as pool:
        list(pool.map(use, ("one", "two")))
    assert kv.get("shared") is None


def test_range_and_delete(running: Sandbox) -> None:
    for name in ("r/1", "r/2", "r/3"):
        running.json("kv", "put", name, name)
    listed = running.json("kv", "range", "r/", "--limit", "2")
    assert [one["key"] for one in listed["entries"]] == ["r/1", "r/2"]
    assert (listed["count"], listed["more"]) == (3, True)
    assert running.json("kv", "delete", "r/", "--prefix")["deleted"] == 3
    assert running.json("kv", "range", "r/")["entries"] == []


@pytest.mark.parametrize("text", ["[/a]", "[bold]m[/bold]"])
def test_what_looks_like_markup_is_shown_as_it_is(running: Sandbox, text: str) -> None:
    put = running.run("kv", "put", text, text)
    assert (put.returncode, put.stdout.startswith(text.encode())) == (0, True), put.stderr.decode()
    assert running.run("kv", "get", text).stdout == text.encode()
    listed = running.run("kv", "range", text)
    assert (listed.returncode, listed.stdout.decode().count(text)) == (0, 2)
    swapped = running.run("kv", "cas", text, "other", "--expect", text)
    assert (swapped.returncode, swapped.stdout.startswith(text.encode())) == (0, True)
    assert running.json("kv", "delete", text)["deleted"] == 1


def test_members_come_lead_and_go(running: Sandbox) -> None:
    added = running.json("members", "add")
    new = added["added"]
    assert added["voters"] == [1, 2, 3, new]
    assert running.json("members", "transfer", str(new))["leader"] == new
    assert running.json("members", "transfer", "1") == {
        "voters": [1, 2, 3, new],
        "leader": 1,
        "added": None,
        "removed": None,
    }
    removed = running.json("members", "remove", str(new))
    assert (removed["removed"], removed["voters"]) == (new, [1, 2, 3])


def test_leadership_moves_where_it_is_sent(running: Sandbox) -> None:
    status = running.json("status")
    target = next(id for id in status["voters"] if id != status["leader"])
    assert running.json("members", "transfer", str(target))["leader"] == target


def test_a_member_that_does_not_exist_is_named(running: Sandbox) -> None:
    done = running.run("members", "remove", "99")
    assert done.returncode == 1
    assert b"no member 99" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_an_unknown_cluster_is_named(running: Sandbox) -> None:
    done = running.run("status", "--name", "elsewhere")
    assert done.returncode == 1
    assert b"'elsewhere'" in done.stderr
    assert b"'default'" in done.stderr  # the one that does run
    assert b"`raycons up --name elsewhere`" in done.stderr


def test_down_of_an_unknown_cluster_leaves_the_ray_of_the_others(running: Sandbox) -> None:
    done = running.run("down", "--name", "elsewhere")
    assert done.returncode == 1
    assert b"'elsewhere'" in done.stderr
    assert running.json("status")["name"] == "default"


def test_the_table_names_every_replica(running: Sandbox) -> None:
    shown = running.run("status").stdout.decode()
    assert "leader" in shown
    assert shown.count("serving") == 3


def test_watching_draws_anew_until_it_is_interrupted(running: Sandbox) -> None:
    ours, terminal = pty.openpty()
    watching = running.begin("status", "--watch", stdout=terminal)
    os.close(terminal)
    drawn = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        while drawn.count(b": leader replica ") < 4:  # one may be the last, on the way out
            drawn += screen.read(1 << 16)
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=TIMEOUT_S)
        with contextlib.suppress(OSError):  # the terminal's end, once all is read
            while True:
                drawn += screen.read(1 << 16)
    assert (watching.returncode, said.strip()) == (130, b"raycons: interrupted")
    assert drawn.rstrip().endswith(b"\x1b[?25h")  # the cursor is shown again


def test_watching_as_json_gives_a_line_each_time(running: Sandbox) -> None:
    watching = running.begin("status", "--watch", "--format", "json", stdout=subprocess.PIPE)
    assert watching.stdout is not None
    for _ in range(3):
        assert json.loads(watching.stdout.readline())["voters"] == [1, 2, 3]
    watching.send_signal(signal.SIGINT)
    rest, said = watching.communicate(timeout=TIMEOUT_S)
    assert (watching.returncode, said.strip()) == (130, b"raycons: interrupted")
    assert all(json.loads(line) for line in rest.splitlines())


def test_a_bench_on_the_running_cluster_gives_the_promised_figures(running: Sandbox) -> None:
    report = running.json("bench", "write", "--name", "default", "--clients", "4", "--seconds", "1")
    assert report["operations_per_second"] > 0
    assert 0 < report["p50_ms"] <= report["p99_ms"]
    assert (report["clients"], report["replicas"]) == (4, 3)
    assert (report["storage"], report["transport"]) == ("memory", "tcp")


def test_down_ends_the_ray_that_up_started(running: Sandbox) -> None:
    """The last test of this module: nothing runs after it."""
    record = json.loads((running.root / "data" / "local-ray.json").read_bytes())
    assert running.json("down") == {"name": "default", "destroyed": False, "ray_stopped": True}
    assert not (running.root / "data" / "local-ray.json").exists()
    assert localray.start_time(record["pid"]) is None
    done = running.run("status")
    assert done.returncode == 1
    assert b"`raycons up`" in done.stderr
