"""`jax._src.util`: small functions on lists that libraries and tests use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

__all__ = [
    "NumpyComplexWarning",
    "cache",
    "canonicalize_axis",
    "concatenate",
    "curry",
    "foreach",
    "merge_lists",
    "partition_list",
    "prod",
    "safe_map",
    "safe_zip",
    "split_list",
    "split_list_checked",
    "subs_list",
    "tuple_delete",
    "tuple_insert",
    "tuple_replace",
    "tuple_update",
    "unzip2",
    "unzip3",
    "use_cpp_class",
    "use_cpp_method",
    "weakref_lru_cache",
    "wraps",
]

NumpyComplexWarning: Final[type[Warning]] = getattr(np.exceptions, "ComplexWarning", Warning)


def _same_length(sequences: Sequence[Sequence[Any]], what: str) -> None:
    if len({len(xs) for xs in sequences}) > 1:
        raise ValueError(f"{what}: lengths differ: {[len(xs) for xs in sequences]}")


def safe_zip(*xs: Iterable[Any]) -> list[tuple[Any, ...]]:
    """`zip` of sequences that must have one length.

    >>> safe_zip([1, 2], "ab")
    [(1, 'a'), (2, 'b')]
    """
    lists = [list(x) for x in xs]
    _same_length(lists, "safe_zip")
    return list(zip(*lists, strict=True))


def safe_map(f: Callable[..., Any], *xs: Iterable[Any]) -> list[Any]:
    """`map` over sequences that must have one length.

    >>> safe_map(max, [1, 5], [3, 4])
    [3, 5]
    """
    lists = [list(x) for x in xs]
    _same_length(lists, "safe_map")
    return list(map(f, *lists))


def foreach(f: Callable[..., Any], *xs: Iterable[Any]) -> None:
    """Call `f` for each element."""
    safe_map(f, *xs)


def unzip2(xys: Iterable[tuple[Any, Any]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """First and second elements.

    >>> unzip2([(1, "a"), (2, "b")])
    ((1, 2), ('a', 'b'))
    """
    both = list(xys)
    return tuple(x for x, _ in both), tuple(y for _, y in both)


def unzip3(triples: Iterable[tuple[Any, Any, Any]]) -> tuple[tuple[Any, ...], ...]:
    """First, second and third elements."""
    all_three = list(triples)
    return tuple(tuple(t[k] for t in all_three) for k in range(3))


def split_list(args: Sequence[Any], ns: Sequence[int]) -> list[list[Any]]:
    """Leading parts of given lengths, and the rest.

    >>> split_list([1, 2, 3, 4], [1, 2])
    [[1], [2, 3], [4]]
    """
    parts, rest = [], list(args)
    for n in ns:
        parts.append(rest[:n])
        rest = rest[n:]
    return [*parts, rest]


def split_list_checked(xs: Sequence[Any], lengths: Sequence[int]) -> list[list[Any]]:
    """Parts of given lengths, which make up the list."""
    if sum(lengths) != len(xs):
        raise ValueError(f"split_list_checked: {lengths} of {len(xs)} elements")
    return split_list(xs, lengths)[:-1]


def partition_list(which: Sequence[bool], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Those marked False, those marked True.

    >>> partition_list([False, True, True], "abc")
    (['a'], ['b', 'c'])
    """
    _same_length([which, xs], "partition_list")
    pairs = list(zip(which, xs, strict=True))
    return [x for w, x in pairs if not w], [x for w, x in pairs if w]


def merge_lists(
    which: Sequence[bool], if_false: Sequence[Any], if_true: Sequence[Any]
) -> list[Any]:
    """The inverse of `partition_list`.

    >>> merge_lists([False, True, True], "a", "bc")
    ['a', 'b', 'c']
    """
    false, true = iter(if_false), iter(if_true)
    merged = [next(true) if w else next(false) for w in which]
    if len(if_false) + len(if_true) != len(merged):
        raise ValueError("merge_lists: elements are left over")
    return merged


def subs_list(subs: Sequence[int | None], src: Sequence[Any], base: Sequence[Any]) -> list[Any]:
    """Elements of `src` by number, where there is one, and else those of `base`."""
    rest = iter(base)
    return [src[i] if i is not None else next(rest) for i in subs]


def concatenate(xs: Iterable[Sequence[Any]]) -> list[Any]:
    """One list of several."""
    return [x for part in xs for x in part]


def prod(xs: Iterable[Any]) -> Any:
    """The product, 1 for nothing."""
    return functools.reduce(lambda a, b: a * b, xs, 1)


def canonicalize_axis(axis: int, num_dims: int) -> int:
    """An axis counted from the front; raises ValueError for one that there is not.

    >>> canonicalize_axis(-1, 3)
    2
    """
    if not -num_dims <= axis < num_dims:
        raise ValueError(f"axis {axis} is out of bounds for array of dimension {num_dims}")
    return axis % num_dims if num_dims else axis


def tuple_insert(t: tuple[Any, ...], idx: int, val: Any) -> tuple[Any, ...]:
    """With `val` at `idx`."""
    return (*t[:idx], val, *t[idx:])


def tuple_delete(t: tuple[Any, ...], idx: int) -> tuple[Any, ...]:
    """Without the element at `idx`."""
    return (*t[:idx], *t[idx + 1 :])


def tuple_update(t: tuple[Any, ...], idx: int, val: Any) -> tuple[Any, ...]:
    """With `val` in the place of the element at `idx`."""
    return (*t[:idx], val, *t[idx + 1 :])


def tuple_replace(tup: tuple[Any, ...], index: int, item: Any) -> tuple[Any, ...]:
    """The same as `tuple_update`, for negative indices too."""
    return tuple_update(tup, index % len(tup), item)


def curry(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the first operands, that gives one of the others."""
    return functools.wraps(f)(functools.partial(functools.partial, f))


def cache(max_size: int | None = 4096, **_: Any) -> Callable[[Any], Any]:
    """`functools.lru_cache`."""
    return functools.lru_cache(maxsize=max_size)


def weakref_lru_cache(
    f: Callable[..., Any] | None = None,
    *,
    maxsize: int | None = 2048,
    trace_context_in_key: bool = True,
    explain: Any = None,
) -> Any:
    """Remember results by arguments, which are kept; without a function, the decorator.

    Settings are no part of what is remembered, whatever `trace_context_in_key` says.
    """
    decorate = functools.lru_cache(maxsize=maxsize)
    return decorate if f is None else decorate(f)


def wraps(
    wrapped: Callable[..., Any], namestr: str | None = None, docstr: str | None = None, **_: Any
) -> Callable[[Any], Any]:
    """`functools.wraps` with a name and a docstring made of those of the function."""

    def decorate(fun: Any) -> Any:
        functools.update_wrapper(fun, wrapped)
        name = getattr(wrapped, "__name__", "<unnamed function>")
        if namestr is not None:
            fun.__name__ = namestr.format(fun=name)
        if docstr is not None:
            fun.__doc__ = docstr.format(fun=name, doc=getattr(wrapped, "__doc__", ""))
        return fun

    return decorate


def use_cpp_class(cpp_cls: Any) -> Callable[[Any], Any]:
    """The class itself: nothing here is in C++."""
    return lambda cls: cls


def use_cpp_method(is_enabled: bool = True) -> Callable[[Any], Any]:
    """The method itself."""
    return lambda method: method
