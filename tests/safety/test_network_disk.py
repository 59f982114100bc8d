"""A network file system is refused wherever a store is looked for, made or opened, or nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from raycons.bench.scratch import file_system
from raycons.cluster.hosts import look_here
from raycons.errors import StoreError
from raycons.store import directory, host

from .town import play, town


def test_an_override_in_the_environment_reaches_all_of_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = file_system(tmp_path.resolve())
    monkeypatch.setattr(host, "NETWORK_FILE_SYSTEMS", frozenset({here}))
    root = tmp_path / "host-1"

    async def refused() -> None:
        async with town(tmp_path) as members:
            with pytest.raises(StoreError, match="RAYCONS_ALLOW_NETWORK_FILE_SYSTEM=1"):
                await members.open(1).make()

    async def made_and_opened_again() -> None:
        async with town(tmp_path) as members:
            await members.found([1])
            await members.stop(1)
            await members.reopen(1)

    assert "RAYCONS_ALLOW_NETWORK_FILE_SYSTEM=1" in look_here("prod", str(root), "n").problem
    play(refused)
    monkeypatch.setenv("RAYCONS_ALLOW_NETWORK_FILE_SYSTEM", "1")
    assert look_here("prod", str(root), "n").problem == ""
    play(made_and_opened_again)
    monkeypatch.delenv("RAYCONS_ALLOW_NETWORK_FILE_SYSTEM")
    with pytest.raises(StoreError, match=f"network file system .{here}"):
        directory.open(root, "prod", 1)
