"""Arguments of `start`, without Ray."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import pytest

from raycons.cluster.hosts import decode_settings, encode_settings
from raycons.cluster.naming import check_name
from raycons.cluster.settings import (
    BOUND_TO_DATA,
    COMPARED,
    ClusterSettings,
    check_settings,
    differences,
)
from raycons.config import RaftSettings
from raycons.errors import BadArgument


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
        ({"repair_grace_s": 0.0}, "repair_grace_s"),
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
    assert differences(running, ClusterSettings(repair_grace_s=1.0), COMPARED) == ""


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
