"""A load whose every write can be accounted for afterwards, and the audit that does it.

Client c's write number n is one transaction of two puts:

    ledger/c/n = token of (c, n)       a key that nothing else ever writes
    tally/c    = n                     one key for all of the client's writes

The store counts the puts on a key (its version) and knows the revision of each, so a wrong store
shows:

    a lost write             an acknowledged ledger key is missing, or is not at the revision that
                             the acknowledgement named
    a write applied twice    a ledger key has version 2, and the tally's version exceeds the number
                             of the client's ledger keys
    a write undone in part   the tally's version falls short of it
    a refused write          a key is there though the client was told that it certainly is not
    writes out of order      a client's later write, issued after the earlier was acknowledged, has
                             the lower revision

A write whose outcome is unknown may be there or not, but if it is, then once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

from raycons.aio import AsyncCluster
from raycons.chaos.proofs import Proof
from raycons.errors import NotApplied, OutcomeUnknown

LEDGER = "ledger/"
TALLY = "tally/"
_KEY = re.compile(r"ledger/(\d+)/(\d+)")

# What became of a write; an acknowledged one is recorded by its revision, which is positive.
UNKNOWN = 0
REFUSED = -1

SHOWN = 3  # findings that a failed proof quotes


class LedgerEntry(NamedTuple):
    """A ledger key as the store has it."""

    client: int
    number: int
    value: bytes
    version: int
    create_revision: int


class Tally(NamedTuple):
    """A tally key as the store has it."""

    number: int
    version: int


def token(client: int, number: int) -> bytes:
    """The 64 bytes that only client `client`'s write `number` writes."""
    return hashlib.blake2b(b"%d/%d" % (client, number), digest_size=32).hexdigest().encode()


class Ledger:
    """The clients' own record: what they wrote, and what they were told of it.

    Args:
        clients: how many there are.
        prefix: what the names of all its keys begin with; apart for each ledger in one cluster.
    """

    def __init__(self, clients: int, prefix: str = "") -> None:
        self.outcomes: list[list[int]] = [[] for _ in range(clients)]
        self.prefix = prefix

    async def write(self, cluster: AsyncCluster, client: int) -> bool:
        """The client's next write; whether it was acknowledged."""
        outcomes = self.outcomes[client]
        number = len(outcomes)
        outcomes.append(UNKNOWN)  # until we are told otherwise, also if we are cancelled
        try:
            kv = cluster.kv()
            transaction = kv.txn().then(
                kv.op.put(f"{self.prefix}{LEDGER}{client:03d}/{number:08d}", token(client, number)),
                kv.op.put(f"{self.prefix}{TALLY}{client:03d}", b"%d" % number),
            )
            outcome = await transaction.commit()
        except NotApplied:
            outcomes[number] = REFUSED
        except OutcomeUnknown:
            pass
        else:
            outcomes[number] = outcome.revision
            return True
        return False

    def count(self) -> tuple[int, int, int]:
        """How many writes were acknowledged, are unknown, and were refused."""
        kinds = Counter(min(one, 1) for outcomes in self.outcomes for one in outcomes)
        return kinds[1], kinds[UNKNOWN], kinds[REFUSED]


async def entries(cluster: AsyncCluster, prefix: str = "") -> AsyncIterator[LedgerEntry]:
    """Every ledger key, by linearizable reads at one revision."""
    async for entry in cluster.kv().scan(prefix + LEDGER):
        match = _KEY.fullmatch(entry.name.removeprefix(prefix))
        if match is not None:
            yield LedgerEntry(
                int(match[1]),
                int(match[2]),
                entry.value or b"",
                entry.version,
                entry.create_revision,
            )


async def tallies(cluster: AsyncCluster, prefix: str = "") -> dict[int, Tally]:
    """Every client's tally."""
    found = await cluster.kv().range(prefix=prefix + TALLY)
    return {
        int(entry.name.removeprefix(prefix + TALLY)): Tally(
            int(entry.value or b"-1"), entry.version
        )
        for entry in found
    }


def audit(
    outcomes: list[list[int]], found: Iterable[LedgerEntry], tallied: Mapping[int, Tally]
) -> list[Proof]:
    """Compare what the clients were told with what the store has.

    Args:
        outcomes: for each client, for each of its writes: its revision, UNKNOWN or REFUSED.
        found: every ledger key of the store.
        tallied: every client's tally in the store.
    """
    present: dict[tuple[int, int], LedgerEntry] = {(one.client, one.number): one for one in found}
    lost: list[str] = []
    twice: list[str] = []
    refused: list[str] = []
    disordered: list[str] = []
    for client, told in enumerate(outcomes):
        there = 0
        newest = -1
        latest_revision = 0
        for number, outcome in enumerate(told):
            name = f"write {number} of client {client}"
            entry = present.pop((client, number), None)
            if entry is None:
                if outcome > 0:
                    lost.append(f"{name}, acknowledged at revision {outcome}, is missing")
                continue
            there += 1
            newest = number
            if outcome == REFUSED:
                refused.append(f"{name} is there, though it was refused")
            if outcome > 0 and entry.create_revision != outcome:
                lost.append(
                    f"{name}, acknowledged at revision {outcome}, is at {entry.create_revision}"
                )
            if entry.value != token(client, number):
                lost.append(f"{name} holds another value")
            if entry.version != 1:
                twice.append(f"{name} was applied {entry.version} times")
            if entry.create_revision <= latest_revision:
                disordered.append(
                    f"{name} is at revision {entry.create_revision}, the one before it at "
                    f"{latest_revision}"
                )
            latest_revision = entry.create_revision
        tally = tallied.get(client, Tally(-1, 0))
        if tally.version > there:
            twice.append(
                f"client {client} has {there} writes, and its tally was put {tally.version} times"
            )
        elif tally.version < there or (tally.number != newest and not disordered):
            lost.append(
                f"client {client} has {there} writes up to {newest}, and its tally was put "
                f"{tally.version} times, last to {tally.number}"
            )
    strangers = [f"write {number} of client {client} was never made" for client, number in present]
    acknowledged = sum(one > 0 for told in outcomes for one in told)
    return [
        _proof("every acknowledged write is present", lost, f"{acknowledged:,} writes"),
        _proof("nothing was applied twice", twice, "every key has version 1"),
        _proof("nothing refused or foreign is present", refused + strangers, "none"),
        _proof("each client's writes are in its order", disordered, "revisions rise"),
    ]


def _proof(claim: str, findings: list[str], good: str) -> Proof:
    if not findings:
        return Proof(claim, True, good)
    rest = f"; and {len(findings) - SHOWN:,} more" if len(findings) > SHOWN else ""
    return Proof(claim, False, "; ".join(findings[:SHOWN]) + rest)
