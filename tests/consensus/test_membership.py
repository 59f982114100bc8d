"""Changes of the configuration, as values."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.consensus.membership import BadChange
from raycons.consensus.quorum import has_quorum

from .shown import show_configuration


def voters(*ids: int) -> Configuration:
    return Configuration(tuple(Peer(id, 100 + id, Role.VOTER) for id in ids), next_id=max(ids) + 1)


def joined(configuration: Configuration, replaces: int = 0) -> Configuration:
    """With one more joining replica."""
    reserved = membership.reserve(configuration)
    joiner = Peer(reserved.reserved[-1], 7, Role.JOINING, replaces=replaces)
    return membership.add(reserved, joiner)


def test_ids_are_never_used_twice() -> None:
    configuration = voters(1, 2, 3)
    seen = set(configuration.ids)
    for _ in range(20):
        configuration = joined(configuration)
        (new,) = configuration.ids - seen
        seen.add(new)
        configuration = membership.remove(configuration, new)
        with pytest.raises(BadChange, match="was not reserved"):
            membership.add(configuration, Peer(new, 7, Role.JOINING))


def test_promotion_goes_through_both_halves() -> None:
    joint = membership.promote(joined(voters(1, 2, 3), replaces=2), 4)
    assert show_configuration(joint) == "1 3 4 | 1 2 3"
    assert joint.ids == {1, 2, 3, 4}
    final = membership.leave_joint(joint)
    assert show_configuration(final) == "1 3 4"
    assert final.ids == {1, 3, 4}
    assert not any(peer.replaces or peer.leaving for peer in final.peers)


def test_a_learner_stays_through_a_joint_change() -> None:
    configuration = joined(joined(voters(1, 2, 3)))
    joint = membership.promote(configuration, 4)
    assert show_configuration(joint) == "1 2 3 4 | 1 2 3 ~5"
    assert show_configuration(membership.leave_joint(joint)) == "1 2 3 4 ~5"


def test_a_member_is_added_as_a_learner_only() -> None:
    reserved = membership.reserve(voters(1, 2, 3))
    with pytest.raises(BadChange, match="must join as a learner") as caught:
        membership.add(reserved, Peer(4, 7, Role.VOTER))
    assert caught.value.code == "invalid"
    with pytest.raises(BadChange):
        membership.add(reserved, Peer(4, 7, Role.LEARNER, leaving=True))


def test_refusals_name_their_reason() -> None:
    with pytest.raises(BadChange) as caught:
        membership.remove(voters(1), 1)
    assert caught.value.code == "last-voter"
    with pytest.raises(BadChange) as caught:
        membership.remove(voters(1, 2), 3)
    assert caught.value.code == "no-such-member"
    with pytest.raises(BadChange) as caught:
        joined(voters(1, 2), replaces=5)
    assert caught.value.code == "no-such-member"


steps = st.lists(st.tuples(st.sampled_from(["join", "replace", "remove"]), st.integers(0, 20)))


@given(st.integers(1, 5), steps)
def test_quorums_of_neighbouring_configurations_meet(
    size: int, steps: list[tuple[str, int]]
) -> None:
    """The property that all safety of changes rests on: through any chain of changes, no majority
    of one configuration misses a majority of the next."""
    configuration = voters(*range(1, size + 1))
    chain = [configuration]
    for kind, number in steps:
        chosen = sorted(configuration.voters)[number % len(configuration.voters)]
        if kind == "remove" and len(configuration.voters) > 1:
            configuration = membership.remove(configuration, chosen)
        elif kind != "remove" and len(configuration.voters) < 6:
            replaces = chosen if kind == "replace" else 0
            chain.append(joined(configuration, replaces))
            new = max(chain[-1].ids)
            configuration = membership.promote(chain[-1], new)
        else:
            continue
        chain.append(configuration)
        configuration = membership.leave_joint(configuration)
        chain.append(configuration)
    for left, right in pairwise(chain):
        assert _always_meet(left, right)
    assert configuration.voters


def _always_meet(left: Configuration, right: Configuration) -> bool:
    """Whether no quorum of `right` can form outside some quorum of `left`."""
    everyone = sorted(left.ids | right.ids)
    for bits in range(1 << len(everyone)):
        inside = {id for place, id in enumerate(everyone) if bits >> place & 1}
        outside = set(everyone) - inside
        if has_quorum(left.halves, inside) and has_quorum(right.halves, outside):
            return False
    return True
