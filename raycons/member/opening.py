"""Opens a replica as its store says: which protocol made it, and so which engine drives it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from raycons.config import MemberSettings, RaftSettings, RegisterSettings
from raycons.consensus.configuration import Configuration
from raycons.consensus.quorum import ReplicaId
from raycons.machines.contract import Machine, State
from raycons.machines.kv.settings import KeyValueSettings
from raycons.member.caspaxos.engine import RegisterEngine
from raycons.member.caspaxos.ledger import bootstrap as bootstrap_registers
from raycons.member.contract import GroupEngine
from raycons.member.engine import Engine
from raycons.member.layout import bootstrap as bootstrap_log
from raycons.member.layout import identity_of
from raycons.member.ports import Ports
from raycons.store.contract import Store


def bootstrap(
    store: Store,
    group: int,
    id: ReplicaId,
    nonce: int,
    configuration: Configuration,
    protocol: str,
) -> None:
    """Write a new replica's first records, unsynced; `store` must hold none of the group.

    `configuration` lists the founders of a new group; it is empty for a replica that joins.

    Raises StoreCorrupt where the group's records are there already.
    """
    if protocol == "caspaxos":
        bootstrap_registers(store, group, id, nonce, configuration)
    else:
        bootstrap_log(store, group, id, nonce, configuration, protocol)


def open_engine(
    *,
    group: int,
    store: Store,
    make_machine: Callable[[State], Machine],
    ports: Ports,
    raft: RaftSettings,
    member: MemberSettings,
    random: Random,
    now: float,
) -> GroupEngine:
    """Open the group's replica in `store`, made before by `bootstrap`.

    `make_machine` and `raft` are for the protocols with a log.

    Raises StoreCorrupt where the store's records do not fit together, OutdatedRelease where the
    group's version is above ours.
    """
    if identity_of(store, group).protocol == "caspaxos":
        return RegisterEngine(
            group=group,
            store=store,
            ports=ports,
            key_value=key_value_bounds(member),
            registers=RegisterSettings(),
            random=random,
            now=now,
        )
    return Engine(
        group=group,
        store=store,
        make_machine=make_machine,
        ports=ports,
        raft=raft,
        member=member,
        random=random,
        now=now,
    )


def key_value_bounds(member: MemberSettings) -> KeyValueSettings:
    """What keys, values and answers may measure."""
    return KeyValueSettings(
        max_key_bytes=member.max_key_bytes,
        max_value_bytes=member.max_value_bytes,
        max_queries_bytes=member.max_frame_bytes // 2,
    )
