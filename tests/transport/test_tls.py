"""TLS with Ray's own settings: members talk inside it, and plain or uncertified callers do not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raycons.errors import TransportError
from raycons.transport.tls import Contexts, contexts_of_ray

Play = Callable[[Callable[[Any], Any]], None]


@pytest.fixture(scope="module")
def ray_tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ray's variables, for a certificate that is its own authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command to make certificates with")
    return certify(openssl, tmp_path_factory.mktemp("tls"))


def certify(openssl: str, folder: Path) -> dict[str, str]:
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    command = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    files = ["-subj", "/CN=raycons-test", "-keyout", key, "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=60)
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": certificate,
        "RAY_TLS_SERVER_KEY": key,
        "RAY_TLS_CA_CERT": certificate,
    }


def test_members_and_clients_talk_inside_tls(play: Play, ray_tls: dict[str, str]) -> None:
    contexts = contexts_of_ray(ray_tls)

    async def scenario(harbour: Any) -> None:
        one, told_one, _, told_two = await harbour.pair(**both(contexts))
        one.send(2, 0, (1, b"x" * 1_000_000))
        await told_two.until_named("received")
        client, told_client = harbour.client(client_context=contexts.client)
        client.know({1: one.address})
        await told_client.until_named("connected")
        client.send(1, (1, b"asked"))
        await told_one.until_named("client_received")

    play(scenario)


def test_a_plain_caller_and_one_without_a_certificate_stay_out(
    play: Play, ray_tls: dict[str, str], tmp_path: Path
) -> None:
    other = contexts_of_ray(certify(shutil.which("openssl") or "", tmp_path))

    async def scenario(harbour: Any) -> None:
        member, told = await harbour.member(1, **both(contexts_of_ray(ray_tls)))
        for context in (None, other.client):
            client, told_client = harbour.client(client_context=context)
            client.know({1: member.address})
            await told_client.until_named("lost")
            assert told_client.named("connected") == []
        assert told.events == []

    play(scenario)


def both(contexts: Contexts) -> dict[str, Any]:
    return {"server_context": contexts.server, "client_context": contexts.client}


def test_without_rays_switch_there_is_no_tls() -> None:
    assert contexts_of_ray({}) == (None, None)
    assert contexts_of_ray({"RAY_USE_TLS": "0", "RAY_TLS_SERVER_CERT": "x"}) == (None, None)


def test_a_broken_setting_is_an_error_and_never_a_plain_connection(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="RAY_TLS_SERVER_CERT is not set"):
        contexts_of_ray({"RAY_USE_TLS": "1"})
    missing = str(tmp_path / "none.pem")
    with pytest.raises(TransportError, match=r"none\.pem"):
        contexts_of_ray(
            {"RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": missing, "RAY_TLS_SERVER_KEY": missing}
        )
