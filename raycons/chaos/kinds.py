"""The kinds of faults by name: what each needs of a cluster, and how it is made for one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from raycons.chaos.control import GcsOutage
from raycons.chaos.disk import BadDisk, SlowDisk
from raycons.chaos.faults import Fault, Kill, Partition, Pause
from raycons.chaos.hosts import Cut, Hosts, host_of
from raycons.chaos.membership import Churn, Transfer
from raycons.chaos.namespaces import BOTH_WAYS, Chain
from raycons.chaos.network import Loss
from raycons.chaos.nodes import Nodes, Reboot, Replacement
from raycons.chaos.outage import Blackout, FullStop
from raycons.chaos.schedule import Planned
from raycons.chaos.target import Target, voters
from raycons.cluster.settings import ClusterSettings
from raycons.cluster.status import ClusterStatus, ReplicaStatus
from raycons.consensus.quorum import majority
from raycons.errors import BadArgument, ClusterError, Unavailable

LOSS = (0.02, 0.3)  # of the frames, each way; from, to
SLOW_DISK_S = (0.01, 0.3)  # more for each sync; from, to


class Aim(msgspec.Struct, frozen=True):
    """What a fault is made from."""

    target: Target
    status: ClusterStatus
    victim: ReplicaStatus  # a serving voter
    draw: float  # from 0 to 1


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault."""

    make: Callable[[Aim], Fault]
    about: str
    needs_injection: bool = False  # the cluster's members have to obey
    needs_disk: bool = False  # what a member holds has to survive its process
    needs_peers: bool = False  # more than one replica
    needs_nodes: bool = False  # the cluster lies on Ray nodes that were started for the run
    needs_hosts: bool = False  # the cluster lies on hosts that may be cut off
    alone: bool = False  # makes no sense together with others
    hits_leader: bool = False  # whatever it aims at
    within: str = ""  # what of a member it bends; a member has one fault within each at a time
    measured: bool = True  # done at once, so that the time until service is back says something


def _partition(aim: Aim) -> Fault:
    return Partition(aim.target.name, aim.victim.id)


def _deaf(aim: Aim) -> Fault:
    return Loss(aim.target, aim.victim.id, inward=1.0)


def _mute(aim: Aim) -> Fault:
    return Loss(aim.target, aim.victim.id, outward=1.0)


def _loss(aim: Aim) -> Fault:
    share = LOSS[0] + (LOSS[1] - LOSS[0]) * aim.draw
    return Loss(aim.target, aim.victim.id, outward=share, inward=share)


def _nodes(target: Target) -> Nodes:
    if target.nodes is None:
        raise ClusterError(f"the nodes of cluster {target.name!r} are not there to be killed")
    return target.nodes


def _hosts(target: Target) -> Hosts:
    if target.hosts is None:
        raise ClusterError(f"the hosts of cluster {target.name!r} are not there to be cut off")
    return target.hosts


def _cut(*chains: Chain) -> Callable[[Aim], Fault]:
    def make(aim: Aim) -> Fault:
        # Where the leader is on the host that stays, the lead goes to the victim first.
        leads = aim.victim.id == aim.status.leader
        first = None if leads else Transfer(aim.target, aim.victim.id)
        return Cut(_hosts(aim.target), host_of(aim.victim.address), chains, first)

    return make


def _slow_disk(aim: Aim) -> Fault:
    delay_s = SLOW_DISK_S[0] + (SLOW_DISK_S[1] - SLOW_DISK_S[0]) * aim.draw
    return SlowDisk(aim.target, aim.victim.id, delay_s)


def _lost_node(aim: Aim) -> Fault:
    beside = [one for one in aim.status.replicas if one.node == aim.victim.node]
    left = len(set(aim.status.voters) - {one.id for one in beside})
    if left < majority(len(aim.status.voters)):
        held = ", ".join(str(one.id) for one in beside)
        raise Unavailable(f"the node holds replicas {held}: without their disks nothing is left")
    return Replacement(_nodes(aim.target), aim.victim.node)


def _transfer(aim: Aim) -> Fault:
    others = [one.id for one in voters(aim.status) if one.id != aim.status.leader]
    if not others:
        raise Unavailable("nobody is there to hand the lead to")
    return Transfer(aim.target, others[int(aim.draw * len(others)) % len(others)])


KINDS: Mapping[str, Kind] = {
    "kill": Kind(lambda aim: Kill(aim.victim), "kill -9 of a member's process", needs_disk=True),
    "pause": Kind(lambda aim: Pause(aim.victim), "SIGSTOP, and later SIGCONT"),
    "partition": Kind(
        _partition,
        "a member is cut off both ways, from clients too",
        within="network",
        needs_injection=True,
    ),
    "deaf": Kind(
        _deaf, "a member hears nobody, and is heard", within="network", needs_injection=True
    ),
    "mute": Kind(_mute, "a member is not heard, and hears", within="network", needs_injection=True),
    "loss": Kind(
        _loss,
        "a member loses 2 to 30 % of its frames, each way",
        within="network",
        needs_injection=True,
        measured=False,
    ),
    "slow-disk": Kind(
        _slow_disk,
        "each sync of a member takes 10 to 300 ms longer",
        within="disk",
        needs_injection=True,
        needs_disk=True,
        measured=False,
    ),
    "hung-disk": Kind(
        lambda aim: SlowDisk(aim.target, aim.victim.id),
        "no sync of a member ends before the fault does",
        within="disk",
        needs_injection=True,
        needs_disk=True,
    ),
    "bad-disk": Kind(
        lambda aim: BadDisk(aim.target, aim.victim.id),
        "a sync of a member fails, which ends its process",
        within="disk",
        needs_injection=True,
        needs_disk=True,
    ),
    "transfer": Kind(
        _transfer, "the lead goes to another member", needs_peers=True, hits_leader=True
    ),
    "node": Kind(
        lambda aim: Reboot(_nodes(aim.target), aim.victim.node),
        "kill -9 of a Ray node and all on it; it comes back with its disk",
        needs_disk=True,
        needs_peers=True,
        needs_nodes=True,
        alone=True,
    ),
    "lost-node": Kind(
        _lost_node,
        "kill -9 of a Ray node and all on it; another one comes, with an empty disk",
        needs_disk=True,
        needs_peers=True,
        needs_nodes=True,
        alone=True,
    ),
    "host-cut": Kind(
        _cut(*BOTH_WAYS),
        "the leader's host is cut off both ways, with all on it and Ray's own packets",
        needs_peers=True,
        needs_hosts=True,
        alone=True,
        hits_leader=True,
    ),
    "host-deaf": Kind(
        _cut("INPUT"),
        "the leader's host hears no other, and is heard",
        needs_peers=True,
        needs_hosts=True,
        alone=True,
        hits_leader=True,
    ),
    "host-mute": Kind(
        _cut("OUTPUT"),
        "the leader's host is not heard, and hears",
        needs_peers=True,
        needs_hosts=True,
        alone=True,
        hits_leader=True,
    ),
    "gcs": Kind(
        lambda aim: GcsOutage(_nodes(aim.target), aim.draw),
        "kill -9 of Ray's control plane; it is back after 2 to 20 s, with what it kept on disk",
        needs_nodes=True,
        alone=True,
        measured=False,
    ),
    "churn": Kind(
        lambda aim: Churn(aim.target, aim.victim.id),
        "a member is added, and one that was there removed",
        alone=True,
        measured=False,
    ),
    "blackout": Kind(
        lambda aim: Blackout(voters(aim.status)),
        "kill -9 of all members at once",
        needs_disk=True,
        alone=True,
        hits_leader=True,
    ),
    "stop": Kind(
        lambda aim: FullStop(aim.target),
        "an orderly stop of the whole cluster, and a start from its disks",
        needs_disk=True,
        alone=True,
        hits_leader=True,
        measured=False,
    ),
}
ALONE = frozenset(name for name, kind in KINDS.items() if kind.alone)


def obstacle(
    name: str,
    settings: ClusterSettings,
    *,
    on_own_nodes: bool = False,
    on_own_hosts: bool = False,
) -> str:
    """Why a cluster of these settings cannot have this fault; empty where it can.

    >>> obstacle("kill", ClusterSettings(storage="memory"))
    'members in memory forget all when their process ends'
    >>> obstacle("pause", ClusterSettings(storage="memory"))
    ''
    """
    kind = KINDS[name]
    if kind.needs_injection and not settings.fault_injection:
        return "the cluster was started without fault injection"
    if kind.needs_disk and settings.storage != "disk":
        return "members in memory forget all when their process ends"
    if kind.needs_peers and settings.replicas < 2:
        return "there is one replica only"
    if kind.needs_nodes and not on_own_nodes:
        return "no Ray nodes were started for the run"
    if kind.needs_hosts and not on_own_hosts:
        return "no hosts were made for the run"
    if kind.needs_hosts and settings.transport != "tcp":
        return "only members that listen on ports tell which host they are on"
    return ""


def check_names(names: Sequence[str]) -> None:
    """Raise BadArgument for a kind of fault that there is not."""
    for name in names:
        if name not in KINDS:
            raise BadArgument(f"no fault is called {name!r}; there are {', '.join(KINDS)}")


def chosen(
    names: Sequence[str],
    settings: ClusterSettings,
    *,
    on_own_nodes: bool = False,
    on_own_hosts: bool = False,
) -> tuple[str, ...]:
    """The kinds of that name, or without names all that the cluster can have.

    Raises BadArgument for a name that there is not, and for a fault that it cannot have.
    """

    def reason_against(name: str) -> str:
        return obstacle(name, settings, on_own_nodes=on_own_nodes, on_own_hosts=on_own_hosts)

    if not names:
        return tuple(name for name in KINDS if not reason_against(name))
    check_names(names)
    for name in names:
        reason = reason_against(name)
        if reason:
            raise BadArgument(f"fault {name!r}: {reason}")
    return tuple(dict.fromkeys(names))


def fault(
    planned: Planned, target: Target, status: ClusterStatus, taken: Mapping[int, Sequence[str]]
) -> tuple[Fault, int]:
    """A planned fault for the cluster as it is, not yet injected; and the replica it aims at.

    Args:
        planned: what is to happen.
        target: the cluster.
        status: how it stands.
        taken: the kinds of faults that replicas have already in this round.

    Raises Unavailable where nobody serves, ClusterError where the fault cannot reach its victim.
    """
    kind = KINDS[planned.kind]
    fit = [one for one in voters(status) if not _clash(kind, taken.get(one.id, ()))]
    if kind.needs_nodes:
        fit = [one for one in fit if one.node in _nodes(target).mortal()]
    if kind.needs_hosts:
        fit = [one for one in fit if host_of(one.address) in _hosts(target).remote()]
    if not fit:
        raise Unavailable(f"no voter of cluster {status.name!r} serves that is still to be had")
    others = [one for one in fit if one.id != status.leader] or fit
    at_leader = planned.at_leader or kind.hits_leader
    # The leader is first, where it is to be had.
    victim = fit[0] if at_leader else others[int(planned.draw * len(others)) % len(others)]
    return kind.make(Aim(target, status, victim, planned.draw)), victim.id


def _clash(kind: Kind, others: Sequence[str]) -> bool:
    """Whether a member that has the others could not tell this one from them, or lift it apart."""
    return bool(kind.within) and any(KINDS[name].within == kind.within for name in others)
