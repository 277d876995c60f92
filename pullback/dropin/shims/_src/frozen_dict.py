"""`jax._src.frozen_dict`: dicts as keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

__all__ = ["FrozenDict"]

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(Mapping[K, V]):
    """A dict that does not change and has a hash.

    >>> FrozenDict({"a": 1}) == FrozenDict({"a": 1}), FrozenDict({"a": 1})["a"]
    (True, 1)
    """

    __slots__ = ("_items",)

    def __init__(self, d: Mapping[K, V]) -> None:
        self._items = dict(d)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, FrozenDict) and self._items == other._items

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenDict({self._items!r})"
