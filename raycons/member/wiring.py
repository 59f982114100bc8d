"""A member's transports: its peers' own, and the way in for clients that only Ray reaches."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from raycons.member.codec import MemberCodec
from raycons.member.rediscovery import Found
from raycons.member.shell import Shell
from raycons.member.spec import MemberSpec
from raycons.store.contract import Batch, Space, Store
from raycons.transport.contract import (
    Greeting,
    MemberTransport,
    PeerId,
)
from raycons.transport.gate import Gate
from raycons.transport.settings import TransportSettings
from raycons.transport.tcp import TcpMemberTransport
from raycons.transport.tls import contexts_of_ray

PORT_KEY = b"\xfe\xff\xff\xffport"  # beside the peers' records, under the number of no group


class Wiring:
    """The transports of one serving member."""

    def __init__(self, transport: MemberTransport, gate: Gate) -> None:
        self.transport = transport
        self._gate = gate
        self._handles: dict[PeerId, Any] = {}

    def learn(self, found: Mapping[PeerId, Found]) -> None:
        """Keep the actor handles of peers that were found by name."""
        self._handles.update((id, each.handle) for id, each in found.items())

    def resolve(self, peer: PeerId) -> Any | None:
        """The actor handle of a peer, if it was found."""
        return self._handles.get(peer)

    def isolate(self) -> None:
        """Drop everything to and from peers and clients; sockets stay open."""
        self._gate.stop_talking(clients=True)

    def heal(self) -> None:
        """End the isolation."""
        self._gate.talk()

    async def close(self) -> None:
        """Close what the shell does not."""


async def wire(spec: MemberSpec, greeting: Greeting, shell: Shell, store: Store) -> Wiring:
    """Listen, on the port of last time where it is free: peers then come back by themselves."""
    import ray

    gate = Gate()
    contexts = contexts_of_ray()
    transport = await TcpMemberTransport.create(
        greeting,
        spec.secret,
        shell,
        MemberCodec(),
        random=random.Random(),
        advertised_host=str(ray.util.get_node_ip_address()),  # type: ignore[no-untyped-call]
        ports=_ports(spec, store),
        gate=gate,
        settings=TransportSettings(max_frame_bytes=spec.member.max_frame_bytes),
        server_context=contexts.server,
        client_context=contexts.client,
    )
    batch = Batch()
    batch.put(Space.META, PORT_KEY, transport.address.port.to_bytes(2, "big"))
    store.write(batch)
    return Wiring(transport, gate)


def _ports(spec: MemberSpec, store: Store) -> Iterable[int]:
    allowed = range(spec.port_range[0], spec.port_range[1] + 1) if spec.port_range else (0,)
    raw = store.get(Space.META, PORT_KEY)
    before = int.from_bytes(raw, "big") if raw is not None else 0
    if before and (spec.port_range is None or before in allowed):
        return (before, *allowed)
    return allowed
