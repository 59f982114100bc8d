"""What tests record is judged: a read that was old fails the test, and its story is told.

And every test that has clients records what they do, or it is said here why not.
"""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path

import pytest

from raycons.client.kv import AsyncKv
from tests.recording import Recordings

from .town import Town, play, town


class Careless:
    """A handle that takes for linearizable what one member holds."""

    def __init__(self, kv: AsyncKv[bytes]) -> None:
        self._kv = kv

    async def get(self, key: str) -> bytes | None:
        return await self._kv.get(key, level="stale")


async def only_one_without_the_news(members: Town, recordings: Recordings) -> list[int]:
    """Two of three members go on without the third; then it is the only one. Gives the others."""
    await members.found()
    kv = recordings.wrap(AsyncKv(members.client()))
    await kv.put("x", b"old")
    apart = next(id for id in members.members if id != members.leader())
    await members.stop(apart)
    await kv.put("x", b"new")
    others = list(members.members)
    for other in others:
        await members.stop(other)
    await members.reopen(apart)
    return others


def test_a_stale_read_of_a_member_that_was_cut_off_fails_the_test(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)

    async def story() -> None:
        async with town(tmp_path) as members:
            await only_one_without_the_news(members, recordings)
            await recordings.wrap(Careless(AsyncKv(members.client()))).get("x")

    play(story)
    with pytest.raises(pytest.fail.Exception) as failed:
        recordings.judge()
    told = str(failed.value)
    assert told.startswith(f"not linearizable: {tmp_path / 'history-cluster.jsonl'}")
    assert '0: put "new"    then "new"' in told
    assert "<- impossible" in told


def test_a_linearizable_read_waits_for_the_others(tmp_path: Path, recordings: Recordings) -> None:
    async def story() -> None:
        async with town(tmp_path) as members:
            others = await only_one_without_the_news(members, recordings)
            read = asyncio.create_task(recordings.wrap(AsyncKv(members.client())).get("x"))
            await asyncio.sleep(0.1)
            assert not read.done()
            for other in others:
                await members.reopen(other)
            assert await read == b"new"

    play(story)


def test_a_history_without_operations_fails_the_test(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    recordings.wrap({})
    with pytest.raises(pytest.fail.Exception, match="nothing was recorded"):
        recordings.judge()


def test_what_cannot_be_decided_fails_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.recording.CHECK_S", 0.0)
    recordings = Recordings(tmp_path)
    call = recordings.recorder("cluster").begin("put", "x", b"1")
    recordings.recorder("cluster").done(call, None)
    with pytest.raises(pytest.fail.Exception, match="undecided"):
        recordings.judge()


# --- no test forgets it ---------------------------------------------------------------------------

TESTS = Path(__file__).parents[1]
HANDLE = re.compile(r"(?:[\w)\]]\.kv|\bAsyncKv(?:\[\w+\])?)\(")
ALLOWED = re.compile(
    r"""
    wrap\(.*?(?:\.kv|AsyncKv(?:\[\w+\])?)\(    # into a recorder
    | \.kv\(\)\.(?:range|scan)\(              # reads of several keys, which no history holds
    | \.kv\(\)\._client\b                     # a look inside
    | \bAsyncKv\([\w.()]*\)\.put\(             # one write, without Ray, to see that it is served
    """,
    re.VERBOSE,
)

# Who gets a handle that does not record, and why.
UNRECORDED = {
    "client": "one machine that plays the members",
    "safety/test_failed_sync.py": "its process ends, and a recorder's last operations with it",
    "safety/test_memory.py": "its history would be as large as its stores",
    "safety/test_million_keys.py": "its history would be as large as its stores",
    "chaos/test_run.py::test_each_proof_fails_where_its_claim_is_not_true": "behind the recorder",
    "cli/test_demo.py::LOSES_A_WRITE": "behind the recorder",
    "cluster/test_lifecycle.py::test_a_new_cluster_serves_the_whole_interface": "a transaction",
    "cluster/test_lifecycle.py::test_tasks_and_actors_connect_by_name": "recorded by who calls",
    "cluster/test_misuse.py::test_values_up_to_the_bound_that_the_cluster_was_started_with": (
        "a transaction"
    ),
    "cluster/test_misuse.py::test_a_handle_is_not_for_tasks": "it is refused",
    "cluster/test_registers.py::"
    "test_what_registers_cannot_do_is_refused_and_members_come_and_go": "all it asks is refused",
    "cluster/test_nodes.py::test_everything_is_killed_and_ray_starts_anew": (
        "its process is killed, and writes its history by itself"
    ),
}


def unrecorded(place: str, text: str) -> list[str]:
    """Where a handle is made that does not record, in a script within a text, too: `file::name`."""
    lines = [ALLOWED.sub("", line) for line in text.splitlines()]
    return [
        f"{place}::{_name(statement)}"
        for statement in ast.parse(text).body
        if any(map(HANDLE.search, lines[statement.lineno - 1 : statement.end_lineno]))
    ]


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign):
        return ast.unparse(statement.targets[0])
    return getattr(statement, "name", "")


def excuse(found: str) -> str | None:
    """The one of the list that it falls under."""
    place = found.partition("::")[0]
    return next(
        (each for each in (found, place, *place.split("/")[:1]) if each in UNRECORDED), None
    )


def test_every_handle_to_a_cluster_records() -> None:
    found = [
        one
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for one in unrecorded(path.relative_to(TESTS).as_posix(), path.read_text())
    ]
    excuses = {one: excuse(one) for one in found}
    forgotten = sorted(one for one, given in excuses.items() if given is None)
    assert not forgotten, "use recordings.wrap(...), or say above why not"
    assert set(excuses.values()) == UNRECORDED.keys()


def test_a_handle_that_does_not_record_is_found() -> None:
    text = """
def test_something(yard, recordings):
    recordings.wrap(yard.start().kv()).put("a", b"1")
    assert not cluster.kv().range(prefix="b")
    {}

SCRIPT = "kv = recordings.wrap(cluster.kv())"
"""
    for line, forgets in (
        ("kv = cluster.kv()", True),
        ("kv = raycons.connect(name).kv()", True),
        ("await AsyncKv(client).get(1)", True),
        ("one, other = recordings.wrap(cluster.kv()), cluster.kv()", True),
        ("kv = recordings.wrap(AsyncKv[int](client))", False),
    ):
        expected = ["x.py::test_something"] if forgets else []
        assert unrecorded("x.py", text.format(line)) == expected
