"""A copy of a store, from an image or in a second process, is told from the store itself."""

from __future__ import annotations

from raycons.member.peers import PeerBook
from raycons.store.memory import MemoryStore
from raycons.transport.contract import SPOKEN, Address, Greeting


def greeting(
    incarnation: int, opening: int, *, nonce: int = 7, address: tuple[str, int] | None = None
) -> Greeting:
    return Greeting(
        versions=SPOKEN,
        cluster="c",
        id=2,
        nonce=nonce,
        incarnation=incarnation,
        opening=opening,
        address=address,
    )


def test_a_peer_may_come_again_and_grow_older() -> None:
    book = PeerBook(MemoryStore())
    for each in (greeting(1, 100), greeting(1, 100), greeting(2, 200), greeting(5, 500)):
        assert book.refusal(each) is None
        book.meet(each)


def test_an_older_incarnation_is_an_old_copy() -> None:
    book = PeerBook(MemoryStore())
    book.meet(greeting(5, 500))
    refusal = book.refusal(greeting(4, 400))
    assert refusal is not None
    assert "incarnation 5 was seen" in refusal


def test_the_same_incarnation_with_another_opening_is_a_twin() -> None:
    book = PeerBook(MemoryStore())
    book.meet(greeting(5, 500))
    refusal = book.refusal(greeting(5, 501))
    assert refusal is not None
    assert "two processes" in refusal


def test_what_was_seen_is_remembered_across_restarts() -> None:
    store = MemoryStore()
    PeerBook(store).meet(greeting(5, 500, address=("10.0.0.2", 4000)))
    again = PeerBook(store)
    assert again.refusal(greeting(4, 400)) is not None
    assert again.refusal(greeting(5, 501)) is not None
    assert again.refusal(greeting(6, 600)) is None
    assert again.addresses == {2: Address("10.0.0.2", 4000)}


def test_addresses_come_from_greetings_and_from_elsewhere() -> None:
    book = PeerBook(MemoryStore())
    assert book.locate({2: Address("10.0.0.2", 4000)})
    assert not book.locate({2: Address("10.0.0.2", 4000)})
    book.meet(greeting(1, 100))  # says nothing of an address
    assert book.addresses == {2: Address("10.0.0.2", 4000)}
    book.meet(greeting(1, 100, address=("10.0.0.2", 4001)))
    assert book.addresses == {2: Address("10.0.0.2", 4001)}
    # An address is no acquaintance: learning one does not fence anybody.
    assert book.locate({2: Address("10.0.0.2", 4002)})
    assert book.refusal(greeting(1, 100)) is None
    assert book.refusal(greeting(1, 101)) is not None
