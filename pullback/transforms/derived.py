"""What transformations make of jaxprs, remembered by the jaxprs.

A jitted function is differentiated at each eager step of a training loop, but its program is the
same: the jaxprs of its derivative, of the known and unknown parts, of the transpose are made once.
They are also the same objects each time, by which the runtime finds their compiled programs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, Concatenate, ParamSpec, TypeVar

from pullback import config
from pullback.core import axes
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.trace import Tracer

__all__ = ["made_once"]

P = ParamSpec("P")
R = TypeVar("R")
Transformation = Callable[Concatenate[ClosedJaxpr, P], R]


def made_once(transform: Transformation[P, R]) -> Transformation[P, R]:
    """Remember `transform(closed, *options)` on the jaxpr, by options, settings and named axes.

    Not for jaxprs with constants, which are of one trace, nor results that refer to tracers.
    """

    @functools.wraps(transform)
    def remembered(closed: ClosedJaxpr, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if closed.consts:
            return transform(closed, *args, **kwargs)
        options = tuple(map(_hashable, (*args, *kwargs.values())))
        around = config.fingerprint(), axes.environment(), axes.batching_axis()
        key = (transform, options, tuple(kwargs), around)
        found: R | None = closed.derived.get(key)
        if found is None:
            found = transform(closed, *args, **kwargs)
            if not any(isinstance(c, Tracer) for c in _constants(found)):
                closed.derived[key] = found
        return found

    return remembered


def _hashable(option: Any) -> Any:
    return option if isinstance(option, (bool, int)) else tuple(option)


def _constants(result: Any) -> Iterable[Any]:
    parts = result if isinstance(result, tuple) else vars(result).values()
    return [c for part in parts if isinstance(part, ClosedJaxpr) for c in part.consts]
