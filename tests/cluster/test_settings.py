"""Arguments of `start`, without Ray."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import raycons
import raycons.aio
from raycons.client.settings import ClientSettings
from raycons.cluster.connection import client_settings
from raycons.cluster.hosts import decode_settings, encode_settings
from raycons.cluster.naming import check_name
from raycons.cluster.settings import (
    BOUND_TO_DATA,
    COMPARED,
    ClusterSettings,
    check_settings,
    differences,
)
from raycons.config import MIB, MemberSettings, RaftSettings
from raycons.errors import BadArgument, RayconsError


def blocking_start_of_aio(name: str, **arguments: Any) -> None:
    """`raycons.aio.start`, waited for."""
    asyncio.run(_start_of_aio(name, arguments))


async def _start_of_aio(name: str, arguments: dict[str, Any]) -> None:
    await raycons.aio.start(name, **arguments)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"replicas": 0}, "replicas=0"),
        ({"replicas": -1}, "replicas=-1"),
        ({"replicas": 99}, "replicas=99"),
        ({"replicas": True}, "replicas=True"),
        ({"replicas": "3"}, "replicas='3'"),
        ({"storage": "tape"}, "storage='tape'"),
        ({"transport": "udp"}, "transport='udp'"),
        ({"reads": "dirty"}, "reads='dirty'"),
        ({"port_range": (0, 5)}, "port_range"),
        ({"port_range": (5, 4)}, "port_range"),
        ({"port_range": (5,)}, "port_range"),
        ({"port_range": 5}, "port_range=5"),
        ({"port_range": (1, "9")}, "port_range"),
        ({"fault_injection": "yes"}, "fault_injection='yes'"),
        ({"repair_grace_s": 0.0}, "repair_grace=0.0"),
        ({"repair_grace_s": "x"}, "repair_grace='x'"),
        ({"repair_grace_s": float("nan")}, "repair_grace=nan"),
        ({"raft": {"a": 1}}, "RaftSettings(...)"),
        ({"raft": RaftSettings(election_timeout_s=-1)}, "raft.election_timeout_s=-1"),
        ({"raft": RaftSettings(election_timeout_s=0.05)}, "more than heartbeat_interval_s=0.06"),
        ({"raft": RaftSettings(heartbeat_interval_s=0)}, "raft.heartbeat_interval_s=0"),
        ({"raft": RaftSettings(max_append_bytes=0)}, "raft.max_append_bytes=0"),
        ({"raft": RaftSettings(max_inflight_messages=1.5)}, "raft.max_inflight_messages=1.5"),  # type: ignore[arg-type]
        ({"raft": RaftSettings(lease_margin=1.0)}, "raft.lease_margin=1.0"),
        ({"member": 7}, "MemberSettings(...)"),
        ({"member": MemberSettings(max_value_bytes=0)}, "member.max_value_bytes=0"),
        ({"member": MemberSettings(max_value_bytes="1")}, "member.max_value_bytes='1'"),  # type: ignore[arg-type]
        ({"member": MemberSettings(session_ttl_s=-5.0)}, "member.session_ttl_s=-5.0"),
        ({"member": MemberSettings(max_value_bytes=16 * MIB)}, "max_frame_bytes=16777216"),
        ({"member": MemberSettings(max_frame_bytes=MIB)}, "max_frame_bytes=1048576"),
        ({"member": MemberSettings(max_frame_bytes=64 * MIB)}, "at most 33554432"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(BadArgument) as refused:
        check_settings(ClusterSettings(**settings))
    assert named in str(refused.value)


def test_an_even_number_is_allowed_with_a_warning_that_says_why() -> None:
    with pytest.warns(UserWarning, match="survives no more losses than 3"):
        check_settings(ClusterSettings(replicas=4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_settings(ClusterSettings(replicas=3))


def test_differences_name_setting_and_both_values() -> None:
    running = ClusterSettings()
    asked = ClusterSettings(replicas=5, transport="actor")
    assert differences(running, asked, COMPARED) == (
        "replicas is 3, asked for 5, transport is 'tcp', asked for 'actor'"
    )
    assert differences(running, asked, BOUND_TO_DATA) == "replicas is 3, asked for 5"
    assert differences(running, ClusterSettings(repair_grace_s=1.0), BOUND_TO_DATA) == ""


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"repair_grace_s": 1.0}, "repair_grace is 30.0, asked for 1.0"),
        (
            {"raft": RaftSettings(election_timeout_s=1.0)},
            "raft.election_timeout_s is 0.2, asked for 1.0",
        ),
        (
            {"member": MemberSettings(max_key_bytes=9)},
            "member.max_key_bytes is 8192, asked for 9",
        ),
    ],
)
def test_no_setting_of_a_running_cluster_is_ignored(asked: dict[str, Any], named: str) -> None:
    assert differences(ClusterSettings(), ClusterSettings(**asked), COMPARED) == named


def test_every_setting_is_compared() -> None:
    assert set(COMPARED) == set(ClusterSettings.__struct_fields__)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"port_range": 5}, "port_range=5"),
        ({"repair_grace": "x"}, "repair_grace='x'"),
        ({"raft": {}}, "raft={}"),
        ({"member": 0}, "member=0"),
        ({"path": 5}, "path=5"),
        ({"transport": []}, "transport=[]"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"client": {"timeout_s": 5}}, "ClientSettings(...)"),
        ({"client": ClientSettings(timeout_s=-1.0)}, "client.timeout_s=-1.0"),
    ],
)
@pytest.mark.parametrize("start", [raycons.start, blocking_start_of_aio])
def test_start_names_its_bad_argument(
    start: Callable[..., Any], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadArgument) as refused:
        start("never-made", **arguments)
    assert named in str(refused.value)


def test_connect_names_its_bad_argument() -> None:
    with pytest.raises(BadArgument, match=r"ClientSettings\(\.\.\.\)"):
        raycons.connect("never-made", client=5)  # type: ignore[arg-type]


def test_a_client_has_the_bounds_that_the_cluster_was_started_with() -> None:
    settings = client_settings(MemberSettings(max_key_bytes=9, max_value_bytes=8 * MIB))
    assert (settings.max_key_bytes, settings.max_value_bytes) == (9, 8 * MIB)
    assert 8 * MIB + 9 < settings.max_transaction_bytes < 16 * MIB
    small = client_settings(MemberSettings(max_frame_bytes=6 * MIB))
    assert small.max_transaction_bytes < 6 * MIB
    assert client_settings(MemberSettings()) == ClientSettings()


def test_settings_survive_their_file() -> None:
    settings = ClusterSettings(
        replicas=5, port_range=(1, 9), reads="lease", raft=RaftSettings(election_timeout_s=1.0)
    )
    assert decode_settings(encode_settings(settings)) == settings
    with pytest.raises(msgspec.MsgspecError):
        decode_settings(b"{")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-a", ".a", "a b", "a" * 65, "ä"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BadArgument, match="cluster name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "prod", "prod-2.eu_west", "A" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


def test_what_an_error_says_raycons_offers_is_there() -> None:
    for name, kind in (
        ("raft", RaftSettings),
        ("member", MemberSettings),
        ("client", ClientSettings),
    ):
        assert getattr(raycons, kind.__name__) is kind
        with pytest.raises(BadArgument, match=rf"expected {kind.__name__}\(...\), which raycons"):
            raycons.start("x", **{name: {}})  # type: ignore[arg-type]


def test_every_error_that_a_user_can_meet_is_used() -> None:
    package = Path(raycons.__file__).parent
    lists = (package / "errors.py", package / "__init__.py")
    source = "".join(file.read_text() for file in package.rglob("*.py") if file not in lists)
    kinds = [kind for kind in vars(raycons.errors).values() if isinstance(kind, type)]
    for kind in kinds:
        assert issubclass(kind, RayconsError)
        assert kind.__subclasses__() or re.search(rf"\b{kind.__name__}\b", source), kind
    assert set(raycons.__all__) <= set(dir(raycons)) | set(raycons._LATE)
