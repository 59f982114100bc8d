"""A member's transports: its peers' own, and the way in for clients that only Ray reaches."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable
from typing import Any

from raycons.errors import Unavailable
from raycons.member.codec import MemberCodec
from raycons.member.lookup import actor_named
from raycons.member.naming import member_name
from raycons.member.shell import Shell
from raycons.member.spec import MemberSpec
from raycons.store.contract import Batch, Space, Store
from raycons.transport.actor import ActorMemberTransport
from raycons.transport.actor_clients import ActorClients, WithActorClients
from raycons.transport.contract import Greeting, MemberTransport, PeerId
from raycons.transport.gate import Gate
from raycons.transport.settings import TransportSettings
from raycons.transport.tcp import TcpMemberTransport
from raycons.transport.tls import contexts_of_ray

PORT_KEY = b"\xfe\xff\xff\xffport"  # beside the peers' records, under the number of no group


class Wiring:
    """The transports of one serving member, and what its actor's methods forward to."""

    def __init__(
        self,
        transport: MemberTransport,
        gate: Gate,
        clients: ActorClients,
        peers: ActorMemberTransport | None,
    ) -> None:
        """`clients` come by actor calls; `peers` too, if it is not None."""
        self.transport = transport
        self.clients = clients
        self._gate = gate
        self._peers = peers

    @property
    def peers(self) -> ActorMemberTransport:
        """Where peers' actor calls go. Raises Unavailable where peers use sockets."""
        if self._peers is None:
            raise Unavailable("the members of this cluster talk over TCP, not by actor calls")
        return self._peers

    def isolate(self) -> None:
        """Drop everything to and from peers and clients; sockets stay open."""
        self._gate.stop_talking(clients=True)

    def lose(self, *, outward: float, inward: float) -> None:
        """Drop these shares of what is sent to, and comes from, peers and clients."""
        self._gate.lose(outward=outward, inward=inward)

    def heal(self) -> None:
        """End the isolation, and the loss."""
        self._gate.talk()


async def wire(spec: MemberSpec, greeting: Greeting, shell: Shell, store: Store) -> Wiring:
    """Make the transport that the cluster uses.

    Raises TransportError where no port is free.
    """
    settings = TransportSettings(max_frame_bytes=spec.member.max_frame_bytes)
    gate = Gate()
    if spec.transport == "actor":
        actors = ActorMemberTransport(
            greeting,
            shell,
            MemberCodec(),
            resolve=resolver(spec.cluster),
            random=random.Random(),
            gate=gate,
            settings=settings,
        )
        return Wiring(actors, gate, actors.clients, actors)
    sockets = await _listen(spec, greeting, shell, store, gate, settings)
    clients = ActorClients(greeting, shell, sockets.common)
    return Wiring(WithActorClients(sockets, clients), gate, clients, None)


async def _listen(
    spec: MemberSpec,
    greeting: Greeting,
    shell: Shell,
    store: Store,
    gate: Gate,
    settings: TransportSettings,
) -> TcpMemberTransport:
    """Listen, on the port of last time where it is free: peers then come back by themselves."""
    import ray

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
        settings=settings,
        server_context=contexts.server,
        client_context=contexts.client,
    )
    batch = Batch()
    batch.put(Space.META, PORT_KEY, transport.address.port.to_bytes(2, "big"))
    store.write(batch)
    return transport


def _ports(spec: MemberSpec, store: Store) -> Iterable[int]:
    allowed = range(spec.port_range[0], spec.port_range[1] + 1) if spec.port_range else (0,)
    raw = store.get(Space.META, PORT_KEY)
    before = int.from_bytes(raw, "big") if raw is not None else 0
    if before and (spec.port_range is None or before in allowed):
        return (before, *allowed)
    return allowed


def resolver(cluster: str) -> Callable[[PeerId], Any]:
    """Finds the actors of a cluster's members by name; None for one that has none."""

    def resolve(peer: PeerId) -> Any:
        with contextlib.suppress(Unavailable):
            return actor_named(member_name(cluster, peer))
        return None

    return resolve
