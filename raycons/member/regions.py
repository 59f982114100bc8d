"""Where the states of groups lie in a member's store.

A key in the store is the group (4 bytes), the generation (4 bytes), the machine's key; a table is
a space of its own. The generation tells one installed snapshot's state from the next, so that a new
state is built beside the old one and takes its place at once, by the header that names it.
"""

from __future__ import annotations

from typing import Final

from raycons.store.contract import Batch, Space, Store, after

SPACES: Final = (Space.CURRENT, Space.HISTORY)  # by table
PREFIX_BYTES: Final = 8


def state_prefix(group: int, generation: int) -> bytes:
    r"""What the store's keys of one generation of a group's state begin with.

    >>> state_prefix(1, 2)
    b'\x00\x00\x00\x01\x00\x00\x00\x02'
    """
    return group.to_bytes(4, "big") + generation.to_bytes(4, "big")


def sweep(store: Store, group: int, keep_generation: int) -> bool:
    """Remove every generation of the group's state but one, unsynced; False: there was no other.

    For old states whose successor was installed, and for staged ones that a crash left half done.
    """
    kept = state_prefix(group, keep_generation)
    first, last = state_prefix(group, 0), after(group.to_bytes(4, "big"))
    batch = Batch()
    for space in SPACES:
        for start, end in ((first, kept), (after(kept), last)):
            if next(store.scan(space, start, end), None) is not None:
                batch.delete_range(space, start, end)
    if not len(batch):
        return False
    store.write(batch)
    return True
