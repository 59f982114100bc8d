"""What the commands print is what they were given, whatever it looks like."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import msgspec
import pytest
from rich.console import Console

from raycons.bench import arena
from raycons.bench.demo import story
from raycons.bench.demo.story import DemoReport
from raycons.bench.failover import Milliseconds
from raycons.chaos.proofs import Proof
from raycons.cli import clusters, demo, main, output
from raycons.cluster.status import ClusterStatus, ReplicaStatus

LOOKS_LIKE_MARKUP = ["[/a]", "[bold]m[/bold]", ":heart:", "[link=x]y[/link]"]

STATUS = ClusterStatus(
    name="[/name]",
    uuid="0",
    leader=1,
    term=1,
    commit=1,
    configuration_index=1,
    voters=(1,),
    tolerates=0,
    storage="disk",
    transport="tcp",
    reads="read-index",
    replicas=(
        ReplicaStatus(id=1, state="serving", role="leader", address="[/address]:1"),
        ReplicaStatus(id=2, state="failed", reason="[/reason] of [bold]it[/bold]"),
    ),
    notes=("[/note]",),
)


def demo_report(*, holds: bool) -> DemoReport:
    """What a demo reports whose only proof holds, or does not."""
    return DemoReport(
        verdict=holds,
        proofs=[Proof("[/claim]", holds, "[/detail]")],
        operations_per_second=1,
        p50_ms=1.0,
        p99_ms=1.0,
        failover_ms=Milliseconds(1.0, 1.0, (1.0,)),
        partition_ms=1.0,
        restart_s=1.0,
        acknowledged=1,
        unknown=0,
        refused=0,
        recorded=1,
        history=None,
        clients=1,
        replicas=3,
        storage="disk",
        transport="tcp",
        elapsed_s=1.0,
    )


@pytest.mark.parametrize("text", LOOKS_LIKE_MARKUP)
def test_a_line_is_not_read_as_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    output.emit(text, "table", lambda: text)
    output.note(text)
    assert capsys.readouterr() == (f"{text}\n", f"{text}\n")


def test_a_status_is_not_read_as_markup() -> None:
    # By a console that does read markup: what is data says so itself.
    console = Console(width=200)
    with console.capture() as capture:
        console.print(clusters.status_table(STATUS))
    shown = capture.get()
    for text in ("[/name]", "[/address]:1", "[/reason] of [bold]it[/bold]", "[/note]"):
        assert text in shown


def test_a_status_fits_a_terminal_and_says_what_each_column_is() -> None:
    serving = ReplicaStatus(
        id=2,
        state="serving",
        role="follower",
        term=17,
        applied=123_456,
        lag=1_042,
        log_entries=9_876,
        store_bytes=64 * 2**20,
        pid=54_321,
        address="127.0.0.1:40123",
    )
    status = msgspec.structs.replace(STATUS, replicas=(serving,), notes=())
    console = Console(width=80)
    with console.capture() as capture:
        console.print(clusters.status_table(status))
    lines = capture.get().splitlines()
    columns = "id state role term applied lag log store pid address"
    values = "2 serving follower 17 123,456 1,042 9,876 64.0 MiB 54321 127.0.0.1:40123"
    assert lines[2].split() == columns.split()
    assert lines[4].split() == values.split()


def test_a_ballot_is_shown_by_its_round_and_its_replica() -> None:
    one = ReplicaStatus(id=2, state="serving", term=7 << 32 | 3, ballot="7 of replica 3")
    status = msgspec.structs.replace(STATUS, ballot=one.ballot, replicas=(one,), notes=())
    console = Console(width=80)
    with console.capture() as capture:
        console.print(clusters.status_table(status))
    lines = capture.get().splitlines()
    assert "ballot 7 of replica 3, commit" in lines[0]
    assert " 7/3 " in lines[5]


def test_a_proof_is_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    report = demo_report(holds=False)
    output.emit(report, "table", lambda: demo._table(report))
    shown = capsys.readouterr().out
    assert "[/claim]" in shown
    assert "[/detail]" in shown
    assert "Verdict: a proof fails (1 s)" in shown


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_demo_whose_proof_fails_is_exit_code_one(
    holds: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def told(progress: Callable[[str], None]) -> DemoReport:
        progress("telling")
        return demo_report(holds=holds)

    monkeypatch.setattr(demo, "prepare", lambda: None)
    monkeypatch.setattr(arena, "private_ray", contextlib.nullcontext)
    monkeypatch.setattr(story, "tell", told)
    assert main.run(["demo", "--format", "json"]) == code
    assert json.loads(capsys.readouterr().out)["verdict"] is holds
