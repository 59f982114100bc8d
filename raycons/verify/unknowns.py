"""The operations of unknown outcome that a search may still place: rules 2, 3 and 4 of `search`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from raycons.errors import BadArgument
from raycons.verify.history import Operation
from raycons.verify.models.contract import SEVERAL, Model
from raycons.verify.order import Order
from raycons.verify.ring import Ring


class Unknowns:
    """Groups of operations that differ in their calls alone, and how many of each were placed.

    Args:
        ops: all operations of the search.
        order: what real time says about them.
        model: what they obey.
    """

    def __init__(self, ops: Sequence[Operation], order: Order, model: Model) -> None:
        self._opens = order.opens
        self._group_of: dict[int, int] = {}
        groups: dict[Hashable, list[int]] = {}
        for number in order.unknown:
            op = ops[number]
            if not model.only_reads(op):
                # One that more than its call holds back is alike with none.
                alone = number if number in order.predecessor else None
                key = hashable((op.op, op.key, op.value, op.old, alone))
                groups.setdefault(key, []).append(number)
        self._groups = list(groups.values())  # by the call of their first
        for place, group in enumerate(self._groups):
            self._group_of.update(dict.fromkeys(group, place))
        self._used = [0] * len(self._groups)
        self._unused = Ring(range(len(self._groups)), len(self._groups))
        self._index([ops[group[0]] for group in self._groups], model)

    def _index(self, ops: Sequence[Operation], model: Model) -> None:
        self._requires = [hashable(model.requires(op)) for op in ops]
        self._leading_to: dict[Hashable, list[int]] = {}
        for place, op in enumerate(ops):
            self._leading_to.setdefault(hashable(model.leads_to(op)), []).append(place)
        self._is_indexed = SEVERAL not in self._leading_to

    def __contains__(self, op: int) -> bool:
        return op in self._group_of

    def __bool__(self) -> bool:
        return bool(self._groups)

    def all(self, position: int) -> Iterator[int]:
        """The first that is left of each group, if it was called by then."""
        for place in self._unused:
            if self._opens[self._groups[place][0]] > position:
                break
            yield from self._first(place, position)

    def leading_to(self, wanted: set[Hashable], position: int) -> Iterator[int]:
        """Those of `all` that lead to one of the states, at once or by way of others."""
        if not self._is_indexed:
            yield from self.all(position)
            return
        reached = set(wanted)
        ahead = list(wanted)
        while ahead:
            for place in self._leading_to.get(ahead.pop(), ()):
                for op in self._first(place, position):
                    required = self._requires[place]
                    if required is not SEVERAL and required not in reached:
                        reached.add(required)
                        ahead.append(required)
                    yield op

    def _first(self, place: int, position: int) -> Iterator[int]:
        group, used = self._groups[place], self._used[place]
        if used < len(group) and self._opens[group[used]] <= position:
            yield group[used]

    def lift(self, op: int) -> None:
        """Place one, which was the first that is left of its group."""
        place = self._group_of[op]
        self._used[place] += 1
        if self._used[place] == len(self._groups[place]):
            self._unused.lift(place)

    def put_back(self, op: int) -> None:
        """Undo the last `lift` that is not undone, which must have been of this one."""
        place = self._group_of[op]
        if self._used[place] == len(self._groups[place]):
            self._unused.put_back(place)
        self._used[place] -= 1


def hashable(state: Any) -> Hashable:
    """The state, or something as good to compare where it is made of lists, dicts or sets.

    >>> hashable([1, {"a": 2}]) == hashable([1, {"a": 2}])
    True

    Raises:
        BadArgument: it is made of anything else that cannot be hashed.
    """
    try:
        hash(state)
    except TypeError:
        return _rebuilt(state)
    return state  # type: ignore[no-any-return]


def _rebuilt(state: Any) -> Hashable:
    match state:
        case list() | tuple():
            return type(state), tuple(hashable(item) for item in state)
        case dict():
            return dict, frozenset((key, hashable(value)) for key, value in state.items())
        case set():
            return set, frozenset(state)
        case _:
            raise BadArgument(
                f"a model's state must be hashable, and {type(state).__name__} is not:"
                " make it a frozen dataclass, or a tuple"
            )
