"""Values, functions and sets that `jax._src.util` wraps so that they compare as programs need."""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable, Iterable, Iterator, MutableSet
from typing import Any, Generic, NoReturn, TypeVar, final

__all__ = [
    "HashableFunction",
    "HashablePartial",
    "HashableWrapper",
    "OrderedSet",
    "StrictABC",
    "StrictABCMeta",
]

T = TypeVar("T")


@final
class HashableFunction:
    """A function that is equal to another one of the same code and the same `closure`.

    >>> def adding(n):
    ...     return HashableFunction(lambda x: x + n, (n,))
    >>> adding(1) == adding(1), adding(1) == adding(2), adding(1)(2)
    (True, False, 3)
    """

    __slots__ = ("closure", "f")

    def __init__(self, f: Callable[..., Any], closure: Hashable) -> None:
        self.f = f
        self.closure = closure

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashableFunction) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        return getattr(self.f, "__code__", self.f), self.closure

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<hashable {self.f.__name__} with closure={self.closure}>"


@final
class HashablePartial:
    """A function with first arguments, equal to another one of the same code and arguments."""

    __slots__ = ("args", "f", "kwargs")

    def __init__(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.f = f
        self.args = args
        self.kwargs = kwargs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashablePartial) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        code = getattr(self.f, "__code__", self.f)
        return code, self.args, tuple(sorted(self.kwargs.items()))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*self.args, *args, **self.kwargs, **kwargs)


@final
class HashableWrapper:
    """Any value as a key: equal values are equal, and those without a hash only to themselves."""

    __slots__ = ("_hash", "x")

    def __init__(self, x: Any) -> None:
        self.x = x
        try:
            self._hash: int | None = hash(x)
        except TypeError:
            self._hash = None

    def __hash__(self) -> int:
        return id(self.x) if self._hash is None else self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashableWrapper):
            return False
        return self.x is other.x if self._hash is None else bool(self.x == other.x)


class OrderedSet(MutableSet[T], Generic[T]):
    """A set that remembers in which order its elements came.

    >>> list(OrderedSet([3, 1, 3]))
    [3, 1]
    """

    def __init__(self, elements: Iterable[T] = ()) -> None:
        self._elements: dict[T, None] = dict.fromkeys(elements)

    def add(self, value: T) -> None:
        """One more element."""
        self._elements[value] = None

    def discard(self, value: T) -> None:
        """Without an element."""
        self._elements.pop(value, None)

    def update(self, values: Iterable[T]) -> None:
        """More elements."""
        self._elements.update(dict.fromkeys(values))

    def __iter__(self) -> Iterator[T]:
        return iter(self._elements)

    def __len__(self) -> int:
        return len(self._elements)

    def __contains__(self, value: object) -> bool:
        return value in self._elements


class StrictABCMeta(abc.ABCMeta):
    """Of abstract classes that have no virtual subclasses."""

    def register(cls, subclass: type[T]) -> NoReturn:
        """Refused."""
        raise NotImplementedError(f"{cls} does not support virtual subclasses")

    __instancecheck__ = type.__instancecheck__


class StrictABC(metaclass=StrictABCMeta):
    """Base of abstract classes without virtual subclasses."""

    __slots__ = ()
