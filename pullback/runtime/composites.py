"""Library functions that are one compiled program when they are called eagerly.

A sampler or a softmax is a dozen primitives. Called on concrete arrays it runs as one program, by
the native call path, and gives the same bits as under jit; while something is being traced its
operations take part one by one, so that transformations see them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pullback import config
from pullback.runtime.jit import UnhashableStatic, jit

__all__ = ["compiled_when_eager"]

P = ParamSpec("P")
R = TypeVar("R")


def _comparable(x: Any) -> Any:
    return tuple(x) if isinstance(x, (list, np.ndarray)) else x


def compiled_when_eager(*static: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Compile a function for eager calls; the parameters named `static` are Python values.

    Lists and NumPy arrays among them become tuples, which can be compared. A Python integer that
    no array element holds is left to the function itself.

    >>> import pullback.numpy as jnp
    >>> @compiled_when_eager("shape")
    ... def sevens(x, shape):
    ...     return jnp.full(shape, 7) + x
    >>> sevens(1, [2])
    Array([8, 8], dtype=int32, weak_type=True)
    """

    def decorate(fun: Callable[P, R]) -> Callable[P, R]:
        program: Any = jit(fun, static_argnames=static)
        names = tuple(inspect.signature(fun).parameters)

        @functools.wraps(fun)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if config.ACTIVE:
                return fun(*args, **kwargs)
            try:
                return program(*args, **kwargs)  # type: ignore[no-any-return]
            except UnhashableStatic:
                plain = [
                    _comparable(x) if name in static else x
                    for name, x in zip(names, args, strict=False)
                ]
                named = {k: _comparable(x) if k in static else x for k, x in kwargs.items()}
                return program(*plain, **named)  # type: ignore[no-any-return]
            except OverflowError:
                return fun(*args, **kwargs)

        return call

    return decorate
