"""TLS exactly where Ray itself is configured with it, with Ray's own certificates.

Ray reads RAY_USE_TLS, RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT, and so do we.
Both sides show a certificate and check the other's against the CA. Host names are not compared:
Ray's certificates seldom list every node's address, and the greeting inside the channel proves
that the other side is the member that was dialed.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from raycons.errors import TransportError


class Contexts(NamedTuple):
    """The two ends of a channel; both None: plain TCP."""

    server: ssl.SSLContext | None
    client: ssl.SSLContext | None


def contexts_of_ray(environment: Mapping[str, str] = os.environ) -> Contexts:
    """What Ray's own settings ask for.

    Raises TransportError when TLS is on and a certificate or key is missing or unreadable: falling
    back to plain TCP would betray whoever turned it on.
    """
    if environment.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return Contexts(None, None)
    certificate, key = (
        _path(environment, name) for name in ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")
    )
    authority = environment.get("RAY_TLS_CA_CERT")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    if not authority:
        client.verify_mode = ssl.CERT_NONE  # Ray, too, checks certificates only where it has a CA
    try:
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(certificate, key)
            if authority:
                context.load_verify_locations(authority)
                context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise TransportError(
            f"RAY_USE_TLS is on, but its certificates cannot be loaded ({error}); check "
            f"RAY_TLS_SERVER_CERT={certificate}, RAY_TLS_SERVER_KEY={key}, "
            f"RAY_TLS_CA_CERT={authority}"
        ) from error
    return Contexts(server, client)


def _path(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(name)
    if not path:
        raise TransportError(f"RAY_USE_TLS is on, but {name} is not set")
    return path
