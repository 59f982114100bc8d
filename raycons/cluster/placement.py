"""Which host gets a replica: pure arithmetic over what the hosts report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

HostId = str


def spread(replicas: int, hosts: Sequence[HostId]) -> list[HostId]:
    """Hosts for a new cluster's replicas: one each while they last, then around again.

    >>> spread(3, ["a", "b"])
    ['a', 'b', 'a']

    Raises ValueError where there is no host.
    """
    if not hosts:
        raise ValueError("no host can hold a replica")
    return [hosts[number % len(hosts)] for number in range(replicas)]


def home_for_replacement(
    alive: Iterable[HostId], voters: Iterable[HostId], lost: HostId
) -> HostId | None:
    """A host for the successor of a voter that was on `lost`; None: wait for a better day.

    Two voters on one host would let one machine take both, so a host that holds another voter is
    out of the question, unless the cluster already had to double up: then a host is taken that ends
    up no fuller than the fullest one was before.

    >>> home_for_replacement(["a", "b", "c"], ["a", "b", "gone"], "gone")
    'c'
    >>> home_for_replacement(["a", "b"], ["a", "b", "gone"], "gone") is None
    True
    >>> home_for_replacement(["a"], ["a", "a", "a"], "a")
    'a'
    """
    load = Counter(voters)
    fullest = max(load.values(), default=1)
    load[lost] -= 1
    fitting = [host for host in alive if load[host] + 1 <= fullest]
    return min(fitting, key=lambda host: (load[host], host), default=None)


def home_for_addition(alive: Iterable[HostId], voters: Iterable[HostId]) -> HostId | None:
    """The emptiest host for one more voter; None where no host is alive.

    >>> home_for_addition(["a", "b"], ["a", "a", "b"])
    'b'
    """
    load = Counter(voters)
    return min(alive, key=lambda host: (load[host], host), default=None)
