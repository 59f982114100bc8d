"""What clients may ask of the group itself, as changes of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from raycons.consensus import membership
from raycons.consensus.configuration import Configuration, Peer, Role
from raycons.member.protocol import Add, Code, Remove, Reserve

# A replica's reasons to refuse, as clients are told them.
CODES = {
    "not-leader": Code.NOT_LEADER,
    "transferring": Code.UNAVAILABLE,
    "overloaded": Code.OVERLOADED,
    "configuration-changed": Code.CONFIGURATION_CHANGED,
    "change-in-progress": Code.CHANGE_IN_PROGRESS,
    "no-such-member": Code.NO_SUCH_MEMBER,
    "last-voter": Code.LAST_VOTER,
    "invalid": Code.INVALID,
}


class Plan(NamedTuple):
    """How an action is carried out."""

    change: Callable[[Configuration], Configuration]
    value: int  # of the answer
    finished: Callable[[Configuration], bool]  # whether this committed configuration ends it


def plan(action: Reserve | Add | Remove, configuration: Configuration) -> Plan:
    """The plan for `action`, computed from `configuration`."""
    if isinstance(action, Reserve):
        return Plan(membership.reserve, configuration.next_id, lambda _: True)
    id = action.id
    if isinstance(action, Add):
        role = Role.JOINING if action.voter else Role.LEARNER
        joiner = Peer(id, action.nonce, role, replaces=action.replaces, host=action.host)
        return Plan(partial(membership.add, joiner=joiner), id, lambda _: True)
    return Plan(
        partial(membership.remove, id=id),
        id,
        lambda committed: not committed.joint and id not in committed.ids,
    )
