"""Who is let in: the members that the configuration means, and no copies of them."""

from __future__ import annotations

from raycons.consensus.configuration import Configuration
from raycons.member.peers import PeerBook
from raycons.transport.contract import Greeting


def refusal(
    own: Greeting, configuration: Configuration, book: PeerBook, greeting: Greeting
) -> str | None:
    """Why whoever shows `greeting` is not let in by the member `own`; None if it is.

    An identity is a replica's id with the nonce of its store: a store that was made anew under an
    old id is a stranger. What is not listed may be about to join, under an id that was reserved.
    """
    if greeting.cluster != own.cluster:
        return f"this member belongs to cluster {own.cluster}"
    if greeting.id == 0:
        return None  # a client
    if greeting.id == own.id:
        return f"this member is replica {greeting.id} itself"
    listed = configuration.peer(greeting.id)
    if listed is not None:
        if listed.nonce != greeting.nonce:
            return f"replica {greeting.id} of the configuration has another store nonce"
    elif greeting.id < configuration.next_id and greeting.id not in configuration.reserved:
        return f"replica {greeting.id} is no longer part of the cluster"
    return book.refusal(greeting)
