"""`jax.api_util`: functions on pytrees as functions on flat lists."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.core.jaxpr import DebugInfo
from pullback.core.source import describe_function
from pullback.dropin.shims.extend import linear_util as lu
from pullback.transforms.arguments import function_name, shaped

__all__ = [
    "argnums_partial",
    "debug_info",
    "flatten_fun",
    "flatten_fun_nokwargs",
    "infer_argnums_and_argnames",
    "safe_map",
    "shaped_abstractify",
]

shaped_abstractify = shaped


def safe_map(f: Callable[..., Any], *lists: Sequence[Any]) -> list[Any]:
    """`map` to a list, of lists that must have equal lengths.

    >>> safe_map(lambda x, y: x + y, [1, 2], [3, 4])
    [4, 6]
    """
    return [f(*xs) for xs in zip(*lists, strict=True)]


def infer_argnums_and_argnames(
    sig: inspect.Signature, argnums: Any, argnames: Any
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Positions and names of arguments, where each implies the other.

    >>> infer_argnums_and_argnames(inspect.signature(lambda a, b: None), 1, None)
    ((1,), ('b',))
    """
    kinds = inspect.Parameter
    parameters = list(sig.parameters.items())
    nums = () if argnums is None else (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (
        () if argnames is None else (argnames,) if isinstance(argnames, str) else tuple(argnames)
    )
    either = [n if p.kind is kinds.POSITIONAL_OR_KEYWORD else None for n, p in parameters]
    if argnums is None and argnames is not None:
        return tuple(i for i, n in enumerate(either) if n in names), names
    if argnums is not None and argnames is None:
        return nums, tuple(n for i in nums if 0 <= i < len(either) and (n := either[i]))
    return nums, names


def debug_info(
    traced_for: str,
    fun: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    *,
    static_argnums: Sequence[int] = (),
    static_argnames: Sequence[str] = (),
    result_paths_thunk: Any = None,
    sourceinfo: str | None = None,
    signature: inspect.Signature | None = None,
) -> DebugInfo:
    """What is said of a function in jaxprs and errors: its name, line and arguments.

    `sourceinfo` and `signature` are used in the place of the function's own; static arguments are
    left out.
    """
    try:
        names: list[str] | None = list((signature or inspect.signature(fun)).parameters)
    except (TypeError, ValueError):
        names = None
    if names is not None:
        static = {names[i] for i in static_argnums if -len(names) <= i < len(names)}
        static |= set(static_argnames)
        names = [name for name in names if name not in static]
    where = describe_function(fun) if sourceinfo is None else sourceinfo
    return DebugInfo(traced_for, where, None if names is None else tuple(names))


@lu.transformation_with_aux2
def _flattened(f: Any, store: lu.Store, in_tree: Any, *leaves: Any) -> list[Any]:
    args, kwargs = in_tree.unflatten(leaves)
    outs, out_tree = tree.flatten(f(*args, **kwargs))
    store.store(out_tree)
    return outs


@lu.transformation_with_aux2
def _flattened_without_kwargs(f: Any, store: lu.Store, in_tree: Any, *leaves: Any) -> list[Any]:
    outs, out_tree = tree.flatten(f(*in_tree.unflatten(leaves)))
    store.store(out_tree)
    return outs


def flatten_fun(fun: lu.WrappedFun, in_tree: Any) -> tuple[lu.WrappedFun, Callable[[], Any]]:
    """The function of flat leaves of `(args, kwargs)`, and a thunk for its result's structure."""
    wrapped: tuple[lu.WrappedFun, Callable[[], Any]] = _flattened(fun, in_tree)
    return wrapped


def flatten_fun_nokwargs(
    fun: lu.WrappedFun, in_tree: Any
) -> tuple[lu.WrappedFun, Callable[[], Any]]:
    """The function of flat leaves of `args`, and a thunk for its result's structure."""
    wrapped: tuple[lu.WrappedFun, Callable[[], Any]] = _flattened_without_kwargs(fun, in_tree)
    return wrapped


@lu.transformation2
def _with_fixed(f: Any, dynamic: Any, fixed: Any, *given: Any, **kwargs: Any) -> Any:
    args = list(fixed)
    for i, x in zip(dynamic, given, strict=True):
        args[i] = x
    return f(*args, **kwargs)


def argnums_partial(
    f: lu.WrappedFun,
    dyn_argnums: int | Sequence[int],
    args: Sequence[Any],
    require_static_args_hashable: bool = True,
) -> tuple[lu.WrappedFun, tuple[Any, ...]]:
    """`f` as a function of some positional arguments, and those arguments."""
    nums = (dyn_argnums,) if isinstance(dyn_argnums, int) else tuple(dyn_argnums)
    dynamic = tuple(i % len(args) for i in nums)
    fixed = tuple(None if i in dynamic else x for i, x in enumerate(args))
    if require_static_args_hashable:
        for x in fixed:
            try:
                hash(x)
            except TypeError:
                raise ValueError(
                    f"a static argument of {function_name(f.f)} is not hashable: {x!r}"
                ) from None
    return _with_fixed(f, dynamic, fixed), tuple(args[i] for i in dynamic)
