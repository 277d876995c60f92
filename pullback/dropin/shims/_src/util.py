"""`jax._src.util`: small functions on lists that libraries and tests use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from pullback import numpy as jnp
from pullback.dropin.shims._src.util_objects import *  # noqa: F403
from pullback.dropin.shims._src.util_objects import __all__ as _objects
from pullback.runtime.jit import clear_caches as clear_all_caches

__all__ = [  # noqa: PLE0604
    *_objects,
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
    "canonicalize_axis_tuple",
    "ceil_of_ratio",
    "clear_all_caches",
    "flatten",
    "fun_name",
    "fun_qual_name",
    "memoize",
    "moveaxis",
    "multi_weakref_lru_cache",
    "pprint_bytes",
    "set_module",
    "stable_unique",
    "subs_list2",
    "subvals",
    "toposort",
    "unflatten",
    "wrap_name",
    "weakref_lru_cache",
    "wraps",
]

NumpyComplexWarning: Final[type[Warning]] = getattr(np.exceptions, "ComplexWarning", Warning)


def _same_length(sequences: Sequence[Sequence[Any]]) -> None:
    if len({len(xs) for xs in sequences}) > 1:
        raise AssertionError(f"lists of different lengths: {[len(xs) for xs in sequences]}")


def safe_zip(*xs: Iterable[Any]) -> list[tuple[Any, ...]]:
    """`zip` of sequences that must have one length.

    >>> safe_zip([1, 2], "ab")
    [(1, 'a'), (2, 'b')]
    """
    lists = [list(x) for x in xs]
    if not lists:
        raise TypeError("safe_zip requires at least 1 argument")
    lengths = tuple(len(x) for x in lists)
    for k, length in enumerate(lengths):
        if length != lengths[0]:
            raise ValueError(
                f"safe_zip() argument {k} has length {length} but argument 0 has length "
                f"{lengths[0]}. All lengths: {lengths}"
            )
    return list(zip(*lists, strict=True))


def _mapped(name: str, f: Callable[..., Any], xs: tuple[Iterable[Any], ...]) -> list[Any]:
    lists = [list(x) for x in xs]
    if not lists:
        raise TypeError(f"{name} requires at least 2 arguments")
    for k, x in enumerate(lists):
        if len(x) != len(lists[0]):
            differs = "shorter" if len(x) < len(lists[0]) else "longer"
            raise ValueError(f"{name}() argument {k + 1} is {differs} than argument 1")
    return list(map(f, *lists))


def safe_map(f: Callable[..., Any], *xs: Iterable[Any]) -> list[Any]:
    """`map` over sequences that must have one length.

    >>> safe_map(max, [1, 5], [3, 4])
    [3, 5]
    """
    return _mapped("safe_map", f, xs)


def foreach(f: Callable[..., Any], *xs: Iterable[Any]) -> None:
    """Call `f` for each element."""
    _mapped("foreach", f, xs)


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
        raise AssertionError(f"split_list_checked: {lengths} of {len(xs)} elements")
    return split_list(xs, lengths)[:-1]


def partition_list(which: Sequence[bool], xs: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Those marked False, those marked True.

    >>> partition_list([False, True, True], "abc")
    (['a'], ['b', 'c'])
    """
    _same_length([which, xs])
    pairs = list(zip(which, xs, strict=True))
    return [x for w, x in pairs if not w], [x for w, x in pairs if w]


def merge_lists(
    which: Sequence[bool], if_false: Sequence[Any], if_true: Sequence[Any]
) -> list[Any]:
    """The inverse of `partition_list`.

    >>> merge_lists([False, True, True], "a", "bc")
    ['a', 'b', 'c']
    """
    if sum(map(bool, which)) != len(if_true) or len(which) != len(if_false) + len(if_true):
        raise AssertionError("merge_lists: the lists are not those of the marks")
    false, true = iter(if_false), iter(if_true)
    return [next(true) if w else next(false) for w in which]


def subs_list(subs: Sequence[int | None], src: Sequence[Any], base: Sequence[Any]) -> list[Any]:
    """Elements of `src` by number, where there is one, and else those of `base`."""
    rest = iter(base)
    return [src[i] if i is not None else next(rest) for i in subs]


def subs_list2(
    subs1: Sequence[int | None],
    subs2: Sequence[int | None],
    src1: Sequence[Any],
    src2: Sequence[Any],
    base: Sequence[Any],
) -> list[Any]:
    """Elements of two lists by number, those of the first before those of the second.

    >>> subs_list2([None, 0, None], [0, None, None], "a", "b", "c")
    ['b', 'a', 'c']
    """
    rest = iter(base)
    return [
        src1[i] if i is not None else src2[j] if j is not None else next(rest)
        for i, j in zip(subs1, subs2, strict=True)
    ]


def subvals(lst: Sequence[Any], replace: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """With other values at some places.

    >>> subvals([1, 2, 3], [(1, 5)])
    (1, 5, 3)
    """
    values = list(lst)
    for at, value in replace:
        values[at] = value
    return tuple(values)


def concatenate(xs: Iterable[Sequence[Any]]) -> list[Any]:
    """One list of several."""
    return [x for part in xs for x in part]


flatten = concatenate


def unflatten(xs: Iterable[Any], ns: Sequence[int]) -> list[list[Any]]:
    """Parts of these lengths, which make up the list.

    >>> unflatten([1, 2, 3], [1, 2])
    [[1], [2, 3]]
    """
    return split_list_checked(list(xs), ns)


def stable_unique(it: Iterable[Any]) -> Iterable[Any]:
    """Each element once, in the order in which they came first."""
    return dict.fromkeys(it).keys()


def toposort(end_nodes: Iterable[Any]) -> list[Any]:
    """Nodes and all their `parents` before them, parents first."""
    done: dict[int, Any] = {}
    todo = [(node, False) for node in reversed(list(end_nodes))]
    while todo:
        node, parents_done = todo.pop()
        if id(node) in done:
            continue
        if parents_done:
            done[id(node)] = node
        else:
            todo.append((node, True))
            todo += [(parent, False) for parent in reversed(node.parents)]
    return list(done.values())


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


def canonicalize_axis_tuple(
    axis: int | Sequence[int] | None, ndim: int, allow_duplicate: bool = False
) -> tuple[int, ...]:
    """Axes counted from the front, all of them for None; ValueError if one is there twice.

    >>> canonicalize_axis_tuple((0, -1), 3)
    (0, 2)
    """
    if axis is None:
        return tuple(range(ndim))
    given = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    axes = tuple(canonicalize_axis(a, ndim) for a in given)
    if len(set(axes)) != len(axes) and not allow_duplicate:
        raise ValueError(f"repeated axis: {axis}")
    return axes


def moveaxis(x: Any, src: int | Sequence[int], dst: int | Sequence[int]) -> Any:
    """`jax.numpy.moveaxis`."""
    return x if src == dst else jnp.moveaxis(x, src, dst)


def ceil_of_ratio(x: int, y: int) -> int:
    """The quotient, rounded up.

    >>> ceil_of_ratio(5, 2)
    3
    """
    return -(-x // y)


def pprint_bytes(num_bytes: float) -> str:
    """A number of bytes for people.

    >>> pprint_bytes(123456)
    '123.46KB'
    """
    prefixes = ["", "K", "M", "G", "T", "P", "E", "Z", "Y"]
    power = 0
    while num_bytes >= 1000 and power < len(prefixes) - 1:
        num_bytes, power = num_bytes / 1000, power + 1
    return f"{num_bytes:.2f}{prefixes[power]}B"


def wrap_name(transform_name: str, name: str) -> str:
    """`jit(f)`."""
    return f"{transform_name}({name})"


def _innermost(fun: Any) -> Any:
    while isinstance(fun, functools.partial):
        fun = fun.func
    return fun


def fun_name(fun: Any, default_name: str = "<unnamed function>") -> str:
    """The name of a function, or of the one in a partial application.

    >>> fun_name(functools.partial(max, 1)), fun_name(object())
    ('max', '<unnamed function>')
    """
    return str(getattr(_innermost(fun), "__name__", default_name))


def fun_qual_name(fun: Any) -> str:
    """The same with the names of what it is defined in."""
    return str(getattr(_innermost(fun), "__qualname__", "<unnamed function>"))


def set_module(module: str) -> Callable[[Any], Any]:
    """Decorate a function or class: `module` is where it says that it is defined."""

    def decorate(made: Any) -> Any:
        made.__module__ = module
        return made

    return decorate


def _check_place(t: tuple[Any, ...], idx: int, end: int) -> None:
    if not 0 <= idx < end:
        raise AssertionError((idx, len(t)))


def tuple_insert(t: tuple[Any, ...], idx: int, val: Any) -> tuple[Any, ...]:
    """With `val` at `idx`."""
    _check_place(t, idx, len(t) + 1)
    return (*t[:idx], val, *t[idx:])


def tuple_delete(t: tuple[Any, ...], idx: int) -> tuple[Any, ...]:
    """Without the element at `idx`."""
    _check_place(t, idx, len(t))
    return (*t[:idx], *t[idx + 1 :])


def tuple_update(t: tuple[Any, ...], idx: int, val: Any) -> tuple[Any, ...]:
    """With `val` in the place of the element at `idx`."""
    _check_place(t, idx, len(t))
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


def memoize(f: Callable[..., Any]) -> Callable[..., Any]:
    """`functools.cache`."""
    return functools.cache(f)


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


multi_weakref_lru_cache = weakref_lru_cache


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
