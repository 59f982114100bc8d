"""Members whose probes were lost are asked again, even by a client that another member answers."""

from __future__ import annotations

from random import Random

from raycons.client.routing import NOBODY, Routing
from raycons.client.settings import ClientSettings


def test_a_member_that_knows_nothing_sends_the_client_back_to_the_silent_ones() -> None:
    routing = Routing(Random(1), ClientSettings())
    for member in (1, 2, 3):
        routing.connect(member)
    assert [routing.next_to_ask() for _ in range(4)] == [3, 1, 2, NOBODY]
    # 1 and 2 stay silent: a partition took their probes. 3 was removed long ago and does not know.
    routing.heard(3)
    routing.redirect(3, NOBODY, now=1.0)
    assert [routing.next_to_ask() for _ in range(3)] == [3, 1, 2]
