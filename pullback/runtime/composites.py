"""Library functions that are one compiled program when they are called eagerly.

A sampler or a softmax is a dozen primitives. Called on concrete arrays it runs as one program, by
the native call path, and gives the same bits as under jit; while something is being traced its
operations take part one by one, so that transformations see them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pullback import config, tree
from pullback.core.trace import EVAL, current
from pullback.core.tracebacks import shorten
from pullback.runtime.jit import jit
from pullback.runtime.placement import as_asked
from pullback.runtime.statics import UnhashableStatic
from pullback.transforms.arguments import is_operand

__all__ = ["compiled_when_eager"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled_when_eager(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function for eager calls; the parameters named `static` are Python values.

    Lists and NumPy arrays among them become tuples, which can be compared. The function itself gets
    what no program can be called with: other static values that cannot be compared (an array),
    integers that no array element holds, and objects that are no arrays.

    >>> import pullback.numpy as jnp
    >>> @compiled_when_eager("shape")
    ... def sevens(x, shape):
    ...     return jnp.full(shape, 7) + x
    >>> sevens(1, [2])
    Array([8, 8], dtype=int32, weak_type=True)
    """

    def decorate(fun: Callable[P, R]) -> Callable[P, R]:
        program: Any = None  # made by the first call: there are hundreds of functions

        def by_name(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
            names = tuple(inspect.signature(fun).parameters)
            return [*zip_longest(names[: len(args)], args), *kwargs.items()]

        def called_again(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
            """The result where a static value can be compared once it is a tuple."""
            pairs = by_name(args, kwargs)
            values = [_comparable(x) if name in static else x for name, x in pairs]
            named = dict(zip(kwargs, values[len(args) :], strict=True))
            return program(*values[: len(args)], **named)

        def takes(args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
            """Whether all arguments that are not static are arrays and scalars."""
            given = [x for name, x in by_name(args, kwargs) if name not in static]
            return all(map(is_operand, tree.leaves(given)))

        @functools.wraps(fun)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal program
            try:
                if kwargs and kwargs.get("out_sharding") is not None:
                    return as_asked(kwargs.pop("out_sharding"), call, *args, **kwargs)  # type: ignore[no-any-return]
                if config.ACTIVE and current.trace is not EVAL:
                    return fun(*args, **kwargs)
                if program is None:
                    program = jit(fun, static_argnames=static)
                try:
                    try:
                        return program(*args, **kwargs)  # type: ignore[no-any-return]
                    except UnhashableStatic:
                        return called_again(args, kwargs)  # type: ignore[no-any-return]
                except (UnhashableStatic, OverflowError):
                    pass
                except TypeError:
                    if takes(args, kwargs):
                        raise
                    offered = tree.map(_offered, (args, kwargs))
                    if takes(*offered):
                        return call(*offered[0], **offered[1])
                return fun(*args, **kwargs)
            except Exception as error:
                shorten(error)
                raise

        return call

    return decorate


def _offered(x: Any) -> Any:
    """The array behind an object that offers one."""
    offer = getattr(x, "__jax_array__", None)
    return x if offer is None else offer()


def _comparable(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        x = x.tolist()
    return tuple(map(_comparable, x)) if isinstance(x, (list, tuple)) else x
