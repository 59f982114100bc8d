"""Which links a partition blocks: the shapes that have broken real systems, drawn at random.

Jepsen's nemeses (bridge, majorities in a ring), one-way losses as in OmniPaxos (EuroSys 2023), and
their like. The shapes themselves are functions of `network`.
"""

from __future__ import annotations

from random import Random

from raycons.simulation import network
from raycons.simulation.network import EndpointId, Link

SHAPES = (
    "isolate",
    "split",
    "one-way split",
    "deaf",
    "mute",
    "ring",
    "bridge",
    "link",
    "one-way link",
)


def draw_shape(
    random: Random, members: list[EndpointId], clients: list[EndpointId]
) -> tuple[str, list[Link]]:
    """A shape by name, and the links that it blocks between `members` and `clients`."""
    order = random.sample(members, len(members))
    shape = random.choice(SHAPES)
    return shape, _links(shape, random, order, clients)


def _links(
    shape: str, random: Random, order: list[EndpointId], clients: list[EndpointId]
) -> list[Link]:
    one, everyone = order[0], order + clients
    match shape:
        case "isolate":
            return network.isolate(one, everyone)
        case "split" | "one-way split":
            cut = random.randint(1, max(1, len(order) - 1))
            left = order[:cut] + [id for id in clients if random.random() < 0.5]
            right = [id for id in everyone if id not in left]
            join = network.split if shape == "split" else network.one_way
            return join(left, right)
        case "deaf":
            return network.one_way(order[1:], [one])
        case "mute":
            return network.one_way([one], order)
        case "ring":
            return network.bridge(order)
        case "bridge":
            return bridged_halves(order)
        case "link":
            return network.isolate(one, [one, order[-1]])
        case _:
            return network.one_way([one], order[-1:])


def bridged_halves(order: list[EndpointId]) -> list[Link]:
    """Two halves that cannot reach each other, and one in the middle who reaches both.

    >>> bridged_halves([1, 2, 3])
    [(1, 3), (3, 1)]
    """
    middle = len(order) // 2
    return network.split(order[:middle], order[middle + 1 :])
