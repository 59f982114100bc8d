"""A network between processes: connections, links with weather, and partitions.

A link is one direction between two endpoints. What the weather does to it: delay, jitter, loss,
duplication, reordering. A partition blocks links: what is sent meanwhile is lost (`CUT`), or held
back and delivered after the healing, as TCP does when a cut is short (`HOLD`).

Between members the weather does more than a transport would: within one connection TCP neither
repeats nor reorders. Replicas must not care. A client may: it takes a refusal as the answer to the
one copy of a request that it sent; so its links lose and delay, but do not repeat or reorder.

Connections follow what a member's transport sees. A process that dies is noticed within
milliseconds, through the connections that end, unless the notice cannot get through; then it comes
after the healing. A partition alone ends no connection. Frames carry the incarnation of the process
they are for, so that a restarted one never sees those meant for its predecessor.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from itertools import product
from random import Random
from typing import Any, Protocol

import msgspec

from raycons.consensus.quorum import ReplicaId
from raycons.simulation.world import World
from raycons.transport.contract import Greeting

EndpointId = int  # a replica's id, unless it is an impostor's; clients have negative ones
LONGEST_PAUSE_S = 0.5  # before whoever was refused tries again
IMPOSTORS: EndpointId = 1000  # a process under the id of another member's has this much more
Link = tuple[EndpointId, EndpointId]  # from, to
Pair = tuple[EndpointId, EndpointId]  # the lower id first


class Endpoint(Protocol):
    """A process as the network sees it."""

    address: EndpointId
    incarnation: int  # rises with every start of the process
    running: bool

    @property
    def greeting(self) -> Greeting | None:
        """What a member's process says of itself when a connection begins; None: a client."""

    def admits(self, peer: EndpointId, greeting: Greeting | None) -> bool:
        """Whether it lets in whoever shows this greeting."""

    def arrived(self, source: EndpointId, message: Any) -> None:
        """A message was delivered."""

    def connected(self, peer: EndpointId, greeting: Greeting | None) -> None:
        """A connection to `peer` is up, where there was none."""

    def disconnected(self, peer: EndpointId) -> None:
        """The connection to `peer` ended, and it was not this side that closed it."""


class Weather(msgspec.Struct, frozen=True):
    """How the links behave; probabilities are per message."""

    delay_s: float = 0.0005  # the least time on the way
    jitter_s: float = 0.0005  # the mean of what is added to it
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0  # how often a message does not queue behind the one before it


class Block(enum.Enum):
    """What becomes of a message on a blocked link."""

    CUT = "cut"
    HOLD = "hold"


class Network:
    """Carries messages between endpoints; see the head of this file."""

    def __init__(self, world: World, random: Random, weather: Weather) -> None:
        self._world = world
        self._random = random
        self._endpoints: dict[EndpointId, Endpoint] = {}
        self._last_arrival: dict[Link, float] = {}
        self._blocked: dict[Link, Block] = {}
        self._clogs: dict[Link, float] = {}  # seconds that messages take longer
        self._held: dict[Link, list[tuple[int, Any]]] = {}
        self._up: dict[Pair, tuple[int, int]] = {}  # the incarnations that are connected
        self._half_open: dict[Link, int] = {}  # (dead, survivor) -> survivor's incarnation
        self._attempts: set[Pair] = set()  # membership only, never iterated
        self._notices: dict[Pair, int] = {}  # ends of connections that are yet to be noticed
        self.weather = weather
        self.delivered = 0
        self.dropped = 0

    # --- processes --------------------------------------------------------------------------------

    def add(self, endpoint: Endpoint) -> None:
        """Make an endpoint known; it connects once it is started."""
        self._endpoints[endpoint.address] = endpoint

    def remove(self, endpoint: Endpoint) -> None:
        """Forget an endpoint whose process has ended, and will not come back."""
        assert not endpoint.running
        del self._endpoints[endpoint.address]

    def started(self, id: EndpointId) -> None:
        """The process of endpoint `id` has come up: connect it to the others."""
        for peer in self._endpoints:
            if peer != id:
                self._attempt_later((id, peer))

    def died(self, id: EndpointId) -> None:
        """The process of endpoint `id` is gone: its connections end."""
        for peer in self._endpoints:
            incarnations = self._up.pop(_pair(id, peer), None) if peer != id else None
            if incarnations is not None:
                survivor = incarnations[0] if peer < id else incarnations[1]
                self._tell_of_death((id, peer), survivor)

    def reset(self, one: EndpointId, other: EndpointId) -> None:
        """End the connection between two living processes; it is made anew soon after."""
        incarnations = self._up.pop(_pair(one, other), None)
        if incarnations is not None:
            low, high = _pair(one, other)
            self._tell_of_death((high, low), incarnations[0])
            self._tell_of_death((low, high), incarnations[1])

    def is_connected(self, one: EndpointId, other: EndpointId) -> bool:
        """Whether a connection is up (it may be blocked)."""
        return _pair(one, other) in self._up

    def _tell_of_death(self, link: Link, incarnation: int) -> None:
        if link in self._blocked:
            self._half_open[link] = incarnation
        else:
            delay_s = self._random.uniform(0.001, 0.015)
            self._notices[_pair(*link)] = self._notices.get(_pair(*link), 0) + 1
            self._world.after(delay_s, self._notice_death, (link, incarnation))

    def _notice_death(self, argument: tuple[Link, int]) -> None:
        (dead, survivor), incarnation = argument
        endpoint = self._endpoints.get(survivor)
        self._notices[_pair(dead, survivor)] -= 1
        if endpoint is not None and endpoint.running and endpoint.incarnation == incarnation:
            endpoint.disconnected(dead)
        self._attempt_later((dead, survivor))

    def _attempt_later(self, link: Link, refused: bool = False) -> None:
        pair = _pair(*link)
        if pair[1] < 0:
            return  # two clients have nothing to say to each other
        if pair not in self._attempts and pair not in self._up:
            self._attempts.add(pair)
            longest_s = LONGEST_PAUSE_S if refused else 0.05
            self._world.after(self._random.uniform(longest_s / 50, longest_s), self._connect, pair)

    def _connect(self, pair: Pair) -> None:
        self._attempts.discard(pair)
        if pair[0] not in self._endpoints or pair[1] not in self._endpoints:
            return  # removed meanwhile
        low, high = self._endpoints[pair[0]], self._endpoints[pair[1]]
        if not (low.running and high.running) or pair in self._up:
            return  # who starts later tries again
        if self._notices.get(pair):
            return  # the old connection's end is noticed first, and tries again
        if pair in self._blocked or pair[::-1] in self._blocked:
            return  # the healing tries again
        if not (low.admits(high.address, high.greeting) and high.admits(low.address, low.greeting)):
            self._attempt_later(pair, refused=True)
            return
        self._up[pair] = (low.incarnation, high.incarnation)
        for one, other in ((low, high), (high, low)):
            if pair in self._up:  # the first may have died of what it wrote down of the second
                one.connected(other.address, other.greeting)

    # --- messages ---------------------------------------------------------------------------------

    def send(self, source: EndpointId, target: EndpointId, message: Any) -> None:
        """Send, or drop: nothing is promised."""
        link = (source, target)
        incarnations = self._up.get(link if source < target else (target, source))
        if incarnations is None:
            self.dropped += 1
            return
        incarnation = incarnations[1] if source < target else incarnations[0]
        block = self._blocked.get(link)
        if block is None:
            self._deliver_later(link, incarnation, message)
        elif block is Block.HOLD:
            self._held.setdefault(link, []).append((incarnation, message))
        else:
            self.dropped += 1

    def _deliver_later(self, link: Link, incarnation: int, message: Any) -> None:
        weather, random = self.weather, self._random
        if weather.loss and random.random() < weather.loss:
            self.dropped += 1
            return
        arrival = self._world.now + weather.delay_s + random.expovariate(1.0) * weather.jitter_s
        if self._clogs:
            arrival += self._clogs.get(link, 0.0)
        between_members = link[0] > 0 and link[1] > 0
        if not (between_members and weather.reordering and random.random() < weather.reordering):
            last = self._last_arrival.get(link, 0.0)
            arrival = max(arrival, last)
            self._last_arrival[link] = arrival
        self._world.at(arrival, self._deliver, (link, incarnation, message))
        if between_members and weather.duplication and random.random() < weather.duplication:
            again = arrival + random.expovariate(0.1) * weather.jitter_s
            self._world.at(again, self._deliver, (link, incarnation, message))

    def _deliver(self, delivery: tuple[Link, int, Any]) -> None:
        link, incarnation, message = delivery
        endpoint = self._endpoints.get(link[1])
        if endpoint is None or endpoint.incarnation != incarnation or not endpoint.running:
            self.dropped += 1
            return
        self.delivered += 1
        endpoint.arrived(link[0], message)

    # --- partitions -------------------------------------------------------------------------------

    def block(self, links: Iterable[Link], how: Block) -> None:
        """Let nothing through on `links` from now on; what is on its way still arrives."""
        for link in links:
            self._blocked[link] = how

    def unblock(self, links: Iterable[Link]) -> None:
        """Let messages through again: first those held back, and the news of dead processes."""
        for link in links:
            self._blocked.pop(link, None)
            for incarnation, message in self._held.pop(link, ()):
                self._deliver_later(link, incarnation, message)
            survivor = self._half_open.pop(link, None)
            if survivor is not None:
                self._tell_of_death(link, survivor)
            elif link[0] in self._endpoints and link[1] in self._endpoints:
                self._attempt_later(link)

    def clog(self, links: Iterable[Link], delay_s: float) -> None:
        """Messages on `links` take `delay_s` longer from now on; 0 ends it."""
        for link in links:
            if delay_s:
                self._clogs[link] = delay_s
            else:
                self._clogs.pop(link, None)

    def heal(self) -> None:
        """Unblock and unclog every link."""
        self._clogs.clear()
        self.unblock(list(self._blocked))

    @property
    def is_whole(self) -> bool:
        """Whether no link is blocked."""
        return not self._blocked


def replica_at(address: EndpointId) -> ReplicaId:
    """The id that a member's process at this address goes by."""
    return address % IMPOSTORS


def _pair(one: EndpointId, other: EndpointId) -> Pair:
    return (one, other) if one < other else (other, one)


# --- shapes of partitions: which links to block ---------------------------------------------------


def isolate(one: EndpointId, everyone: Iterable[EndpointId]) -> list[Link]:
    """Both directions between `one` and all others.

    >>> isolate(2, [1, 2, 3])
    [(2, 1), (1, 2), (2, 3), (3, 2)]
    """
    others = [other for other in everyone if other != one]
    return [link for other in others for link in ((one, other), (other, one))]


def split(left: Iterable[EndpointId], right: Iterable[EndpointId]) -> list[Link]:
    """Both directions between two sides.

    >>> split([1], [2, 3])
    [(1, 2), (2, 1), (1, 3), (3, 1)]
    """
    return [link for pair in product(list(left), list(right)) for link in (pair, pair[::-1])]


def one_way(sources: Iterable[EndpointId], targets: Iterable[EndpointId]) -> list[Link]:
    """What `sources` send does not arrive; what they are sent does.

    >>> one_way([1], [2, 3])
    [(1, 2), (1, 3)]
    """
    return [
        (source, target)
        for source, target in product(list(sources), list(targets))
        if source != target
    ]


def bridge(order: list[EndpointId]) -> list[Link]:
    """Everyone reaches only the neighbours in `order`, which is a ring for four or more.

    >>> bridge([1, 2, 3])
    [(1, 3), (3, 1)]
    """
    size = len(order)
    return list(_apart(order, size))


def _apart(order: list[EndpointId], size: int) -> Iterator[Link]:
    for left, right in product(range(size), range(size)):
        distance = abs(left - right)
        around = size - distance if size > 3 else distance
        if distance and min(distance, around) > 1:
            yield order[left], order[right]
