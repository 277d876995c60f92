"""Arguments of transformed functions: which are differentiated or static, and pytrees to flat."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of, has_tangents
from pullback.core.refs import unwrapped, wrapped

__all__ = [
    "FlatFunction",
    "as_index_tuple",
    "check_callable",
    "check_operand",
    "fix_arguments",
    "function_name",
    "is_operand",
    "refuse_arguments",
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
        raise TypeError(
            f"Expected a callable value, got {fun}: the argument of {name} must be a function, not "
            f"of type {type(fun).__name__}"
        )
    if _is_generator(fun):
        raise TypeError(
            f"Expected a function, got a generator function: {fun}, which {name} cannot take"
        )


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


def _path_of_argument(fun: Any, path: Sequence[Any]) -> str:
    """The place of a leaf of `(args, kwargs)` by the names of the parameters: `x[0]['w']`."""
    part, first, *rest = path
    in_args = part.idx == 0
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    if not in_args:
        named = any(p.name == first.key for p in parameters)
        collecting = [p.name for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        name = first.key if named or not collecting else f"{collecting[0]}[{first.key!r}]"
        return f"{name}{tree.keystr(tuple(rest))}"
    for k, p in enumerate(parameters):
        if p.kind is inspect.Parameter.VAR_POSITIONAL:
            return f"{p.name}[{first.idx - k}]{tree.keystr(tuple(rest))}"
        if k == first.idx:
            return f"{p.name}{tree.keystr(tuple(rest))}"
    return f"args[{first.idx}]{tree.keystr(tuple(rest))}"


def refuse_arguments(
    fun: Any, args: Any, kwargs: dict[str, Any], is_one: Callable[[Any], bool]
) -> None:
    """Raise for the first leaf that is no operand, saying which it is."""
    for path, x in tree.leaves_with_path((args, kwargs)):
        if not is_one(x):
            raise TypeError(
                f"Error interpreting argument to {fun} as an abstract array. The problematic value "
                f"is of type {type(x)} and was passed to the function at path "
                f"{_path_of_argument(fun, path)}.\nThis typically means that a jit-wrapped "
                "function was called with a non-array argument, and this argument was not marked "
                "as static using the static_argnums or static_argnames parameters of jax.jit. "
                f"The value is {x!r}."
            )


def as_index_tuple(argnums: int | Sequence[int], n: int, name: str) -> tuple[int, ...]:
    """`argnums` as non-negative positions among `n` arguments."""
    if type(argnums) is int and 0 <= argnums < n:
        return (argnums,)
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


_ARRAYS_AND_SCALARS: Final = (Array, bool, int, float, complex)
_NUMPY_TYPES: Final = (np.ndarray, np.generic)


def check_operand(x: Any, name: str, what: str = "argument") -> None:
    """Raise unless `x` is an array or a scalar."""
    if isinstance(x, _ARRAYS_AND_SCALARS):
        return
    if isinstance(x, _NUMPY_TYPES):
        if x.dtype.kind in "OUSMm":
            raise TypeError(
                f"Dtype {x.dtype} is not a valid JAX array type. Only arrays of numeric types are "
                f"supported by JAX. It is that of {x!r}, the {what} of {name}."
            )
        return
    try:
        aval_of(x)
    except TypeError:
        raise TypeError(
            f"Argument {str(x)!r} of type {type(x)} is not a valid JAX type. The {what} of {name} "
            "must be an array, a scalar or a pytree of them."
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
