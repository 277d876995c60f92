"""Arguments of transformed functions: which are differentiated or static, and pytrees to flat."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of, has_tangents
from pullback.core.refs import unwrapped, wrapped
from pullback.core.source import describe_function

__all__ = [
    "FlatFunction",
    "as_index_tuple",
    "check_callable",
    "check_operand",
    "fix_arguments",
    "function_name",
]


class FlatFunction:
    """A function on pytrees seen as one on flat lists; remembers the structure of its result."""

    __slots__ = ("fun", "in_tree", "out_tree")

    def __init__(self, fun: Callable[..., Any], in_tree: Any) -> None:
        self.fun = fun
        self.in_tree = in_tree
        self.out_tree: Any = None

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = self.in_tree.unflatten(wrapped(leaves))
        outs, self.out_tree = tree.flatten(self.fun(*args, **kwargs))
        return unwrapped(outs)


def check_callable(fun: Any, name: str) -> None:
    """Raise unless `fun` can be called."""
    if not callable(fun):
        raise TypeError(f"{name} expects a function, got {fun!r} of type {type(fun).__name__}")
    if _is_generator(fun):
        raise TypeError(f"{name} expects a function, {describe_function(fun)} is a generator")


def _is_generator(fun: Any) -> bool:
    if type(fun) is FunctionType:  # what `inspect` finds out, without its detours
        return bool(fun.__code__.co_flags & inspect.CO_GENERATOR)
    return inspect.isgeneratorfunction(fun)


def function_name(fun: Any) -> str:
    """The name shown in jaxprs and errors."""
    while not isinstance(getattr(fun, "__name__", None), str):
        inner = getattr(fun, "func", None) or getattr(fun, "__wrapped__", None)
        if inner is None:
            return type(fun).__name__
        fun = inner
    return str(fun.__name__)


def as_index_tuple(argnums: int | Sequence[int], n: int, name: str) -> tuple[int, ...]:
    """`argnums` as non-negative positions among `n` arguments."""
    nums = (argnums,) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
    for i in nums:
        if not -n <= i < n:
            raise TypeError(
                f"{name}: differentiating with respect to argnums={argnums} requires at least "
                f"{i + 1 if i >= 0 else -i} positional arguments to be passed by the caller, but "
                f"got only {n} positional arguments."
            )
    return tuple(int(i) % n for i in nums)


def fix_arguments(
    fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], free: Sequence[int]
) -> Callable[..., Any]:
    """`fun` as a function of the positional arguments `free` only; the others keep their values."""

    def partial(*given: Any) -> Any:
        full = list(args)
        for i, x in zip(free, given, strict=True):
            full[i] = x
        return fun(*full, **kwargs)

    return partial


_SCALARS = (bool, int, float, complex)


def check_operand(x: Any, name: str, what: str = "argument") -> None:
    """Raise unless `x` is an array or a scalar."""
    if isinstance(x, (Array, np.ndarray, np.generic, *_SCALARS)):
        if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "OUSMm":
            raise TypeError(f"{name}: {what} {x!r} has dtype {x.dtype}, which arrays cannot have")
        return
    try:
        aval_of(x)
    except TypeError:
        raise TypeError(
            f"{name}: {what} {x!r} of type {type(x)} is not a valid JAX type: it is not an array, "
            "a scalar or a pytree of them"
        ) from None


def is_operand(x: Any) -> bool:
    """Whether a value can be an operand: an array, a scalar, a value of a registered type."""
    try:
        aval_of(x)
    except TypeError:
        return False
    return True


def is_differentiable_dtype(dtype: Any) -> bool:
    """Whether values of this dtype have tangents."""
    return dtype != dtypes.float0 and has_tangents(dtype)


def shaped(x: Any) -> Any:
    """The aval of an array, a scalar, or anything with a `shape` and a `dtype`."""
    try:
        return aval_of(x)
    except TypeError:
        shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
        if shape is None or dtype is None:
            raise
        return ShapedArray(shape, dtypes.canonicalize_dtype(dtype), getattr(x, "weak_type", False))
