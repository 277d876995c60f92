"""`jax._src.api_util`: `jax.api_util`, and checks of the arguments of transformations."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree_util
from pullback.core.source import describe_function as fun_sourceinfo
from pullback.dropin.shims.api_util import *  # noqa: F403
from pullback.dropin.shims.api_util import __all__ as _names
from pullback.pytree.prefix import flatten_axes

__all__ = [  # noqa: PLE0604
    "check_callable",
    "donation_vector",
    "flatten_axes",
    "fun_signature",
    "fun_sourceinfo",
    "is_hashable",
    "rebase_donate_argnums",
    "resolve_kwargs",
    *_names,
]


def _ensure_index(x: Any) -> int | tuple[int, ...]:
    try:
        return operator.index(x)
    except TypeError:
        return tuple(map(operator.index, x))


def _ensure_index_tuple(x: Any) -> tuple[int, ...]:
    index = _ensure_index(x)
    return (index,) if isinstance(index, int) else index


def is_hashable(arg: Any) -> bool:
    """Whether a value has a hash.

    >>> is_hashable(1), is_hashable([])
    (True, False)
    """
    try:
        hash(arg)
    except TypeError:
        return False
    return True


def check_callable(fun: Any) -> None:
    """Raise TypeError unless `fun` is a function."""
    if not callable(fun):
        raise TypeError(f"Expected a callable value, got {fun}")
    if inspect.isgeneratorfunction(fun):
        raise TypeError(f"Expected a function, got a generator function: {fun}")


def fun_signature(fun: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a function, None if it tells none."""
    try:
        return inspect.signature(fun)
    except (ValueError, TypeError):
        return None


def resolve_kwargs(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """Arguments by position, defaults among them; TypeError if some can be given by name only.

    >>> resolve_kwargs(lambda x, y=2: None, (1,), {})
    (1, 2)
    """
    bound = inspect.signature(fun).bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs and kwargs:
        raise TypeError(f"keyword arguments could not be resolved to positions: {bound.kwargs}")
    return bound.args


def rebase_donate_argnums(
    donate_argnums: Sequence[int], static_argnums: Sequence[int]
) -> tuple[int, ...]:
    """Positions of donated arguments among those that are not static.

    >>> rebase_donate_argnums((1,), (0,))
    (0,)
    """
    if not set(donate_argnums).isdisjoint(static_argnums):
        raise ValueError("static_argnums and donate_argnums cannot intersect.")
    return tuple(i - sum(j < i for j in static_argnums) for i in sorted(donate_argnums))


def donation_vector(
    donate_argnums: Sequence[int], donate_argnames: Sequence[str], in_tree: Any
) -> tuple[bool, ...]:
    """For each leaf of `(args, kwargs)` whether it is donated.

    >>> donation_vector((0,), (), tree_util.tree_structure(((1, (2, 3)), {})))
    (True, False, False)
    """
    args, kwargs = tree_util.tree_unflatten(in_tree, [0] * in_tree.num_leaves)
    donated: list[bool] = []
    for i, arg in enumerate(args):
        donated += [i in donate_argnums] * len(tree_util.tree_leaves(arg))
    for name in sorted(kwargs):
        donated += [name in donate_argnames] * len(tree_util.tree_leaves(kwargs[name]))
    return tuple(donated)
