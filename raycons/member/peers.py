"""What a member remembers of its peers: how old their stores were, and where they listened.

A store that is opened raises its incarnation counter and mints a random `opening`. Whoever shows an
incarnation below the highest one seen, or the same one with another `opening`, holds a copy of the
store (a restored disk image, a twin on a machine that was cut off): it must not be talked to, for
it could vote twice or forget what it acknowledged. So does whoever shows a higher incarnation that
did not pass through the `opening` that was seen: a copy that is opened often enough counts as far.

The record is written before any message of the peer is acted on, through the write-ahead log that
a vote or an acknowledgement goes through after it. What the peer acknowledges can count for a
leader before anything is synced here, so whoever keeps the book has it synced at once.

Known limits: a copy that is opened more often than a greeting tells of, between two meetings, is
taken for the store; and so is any copy by whoever never met the store since it was copied.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from raycons.store.contract import Batch, Space, Store, after
from raycons.transport.contract import Address, Greeting, PeerId

# Groups' keys begin with the group's number; this prefix is one that no group has.
PREFIX = b"\xfe\xff\xff\xffpeer/"


class PeerRecord(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one peer."""

    nonce: int
    incarnation: int
    opening: int
    address: tuple[str, int] | None


class PeerBook:
    """The peers that this member has met, kept in its store."""

    def __init__(self, store: Store) -> None:
        """Reads what `store` remembers."""
        self._store = store
        self._records: dict[PeerId, PeerRecord] = {}
        for key, value in store.scan(Space.META, PREFIX, after(PREFIX)):
            id = int.from_bytes(key[len(PREFIX) :], "big")
            self._records[id] = msgspec.msgpack.decode(value, type=PeerRecord)

    def refusal(self, greeting: Greeting) -> str | None:
        """Why the peer is a copy of one that was met before; None if it is not."""
        known = self._records.get(greeting.id)
        if known is None or known.nonce != greeting.nonce:
            return None
        if greeting.incarnation < known.incarnation:
            return (
                f"replica {greeting.id} shows incarnation {greeting.incarnation} of its store, "
                f"but incarnation {known.incarnation} was seen before: an old copy of the store "
                "(a restored disk image?) must not serve; remove its directory"
            )
        if greeting.incarnation == known.incarnation and greeting.opening != known.opening:
            return (
                f"two processes hold incarnation {greeting.incarnation} of replica "
                f"{greeting.id}'s store: the first one seen is kept, this one is a copy"
            )
        openings_between = greeting.incarnation - known.incarnation - 1
        if 0 <= openings_between < len(greeting.earlier):
            if greeting.earlier[openings_between] != known.opening:
                return (
                    f"replica {greeting.id} was seen at incarnation {known.incarnation} of its "
                    "store, but not by this copy of it (a restored disk image?), which must not "
                    "serve; remove its directory"
                )
        return None

    def meet(self, greeting: Greeting) -> bool:
        """Remember an admitted peer's age and, if it says so, where it listens; whether it is news.

        News is to be synced soon, though nothing need wait for it.
        """
        known = self._records.get(greeting.id)
        if greeting.address is not None:
            address: tuple[str, int] | None = (greeting.address[0], greeting.address[1])
        else:
            address = known.address if known is not None else None
        record = PeerRecord(greeting.nonce, greeting.incarnation, greeting.opening, address)
        if record == known:
            return False
        self._keep(greeting.id, record)
        return True

    def locate(self, addresses: Mapping[PeerId, Address]) -> bool:
        """Take over addresses learned elsewhere; whether anything was new."""
        news = False
        for id, address in addresses.items():
            known = self._records.get(id) or PeerRecord(0, 0, 0, None)
            if known.address != (address.host, address.port):
                news = True
                self._keep(
                    id,
                    PeerRecord(
                        known.nonce, known.incarnation, known.opening, (address.host, address.port)
                    ),
                )
        return news

    @property
    def addresses(self) -> dict[PeerId, Address]:
        """Where each peer was last known to listen."""
        return {
            id: Address(*record.address)
            for id, record in self._records.items()
            if record.address is not None
        }

    def _keep(self, id: PeerId, record: PeerRecord) -> None:
        self._records[id] = record
        batch = Batch()
        batch.put(Space.META, PREFIX + id.to_bytes(8, "big"), msgspec.msgpack.encode(record))
        self._store.write(batch)
