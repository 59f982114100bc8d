"""Members whose probes were lost are asked again, though no timer of a call is left to do so."""

from __future__ import annotations

from random import Random

from raycons.client.routing import NOBODY, Routing
from raycons.client.settings import ClientSettings

SETTINGS = ClientSettings(attempt_timeout_s=1.0)


def routing_to(*members: int) -> Routing:
    routing = Routing(Random(1), SETTINGS)
    for member in members:
        routing.connect(member)
    return routing


def test_a_silent_member_is_asked_again_after_a_while() -> None:
    routing = routing_to(1)
    assert [routing.next_to_ask(now=10.0) for _ in range(2)] == [1, NOBODY]
    assert routing.may_send_at() == 11.0
    assert routing.next_to_ask(now=10.9) == NOBODY
    assert routing.next_to_ask(now=11.0) == 1


def test_a_member_that_answers_without_knowing_does_not_hide_the_silent_ones() -> None:
    routing = routing_to(1, 2, 3)
    asked = []
    for step in range(12):
        # 1 and 2 stay silent: a partition took their probes. 3 was removed and does not know.
        asked.append(routing.next_to_ask(now=10.0 + step / 4))
        routing.heard(3)
    assert asked.count(1) == asked.count(2) == 3


def test_nobody_connected_means_nobody_to_wait_for() -> None:
    assert routing_to().may_send_at() == float("inf")
