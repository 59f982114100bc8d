"""Equal seeds make equal runs, in processes that hash strings differently."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from raycons.cli.simulate import command
from raycons.errors import BadArgument
from raycons.simulation.determinism import check_determinism

CARELESS = """
    from raycons.simulation.network import Network

    def started(network, id):
        for peer in {str(peer) for peer in network._endpoints if peer != id}:
            network._attempt_later((id, int(peer)))

    Network.started = started
"""


def test_seeds_are_the_same_in_every_process() -> None:
    assert check_determinism(range(7, 15), seconds=5.0) == []


def test_an_order_that_depends_on_string_hashes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python imports `sitecustomize` before anything else; here it brings the mistake along.
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(CARELESS))
    monkeypatch.syspath_prepend(tmp_path)
    found = check_determinism([7, 8], seconds=2.0)
    assert found
    assert found[0].traces[0] != found[0].traces[1]
    arguments = ["--check-determinism", "2", "--first-seed", "7", "--seconds", "2"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert f"seed {found[0].seed}: {found[0].traces[0]}" in result.output


def test_the_command_compares_a_sample() -> None:
    arguments = ["--check-determinism", "2", "--seconds", "1", "--format", "json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"seeds": 2, "differences": []}


def test_no_seeds_are_refused() -> None:
    with pytest.raises(BadArgument, match="at least one seed"):
        check_determinism([], 1.0)
