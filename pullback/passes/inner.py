"""Rewriting jaxprs inside equations, for passes that look at each jaxpr on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn

__all__ = ["with_inner"]

Rewrite = Callable[[Jaxpr], Jaxpr]


def with_inner(eqn: JaxprEqn, rewrite: Rewrite) -> JaxprEqn:
    """The equation with its inner jaxprs rewritten; itself where each stays the same object.

    >>> from pullback.core.jaxpr import new_eqn
    >>> from pullback.ops.barrier import optimization_barrier
    >>> eqn = new_eqn([], [], optimization_barrier, {})
    >>> with_inner(eqn, lambda jaxpr: jaxpr) is eqn
    True
    """
    changed = {}
    for name, value in eqn.params.items():
        new = _inner(value, rewrite)
        if new is not value:
            changed[name] = new
    return eqn.replace(params=eqn.params | changed) if changed else eqn


def _inner(value: Any, rewrite: Rewrite) -> Any:
    if isinstance(value, ClosedJaxpr):
        jaxpr = rewrite(value.jaxpr)
        return value if jaxpr is value.jaxpr else ClosedJaxpr(jaxpr, value.consts)
    if isinstance(value, Jaxpr):
        return rewrite(value)
    if isinstance(value, (tuple, list)) and any(isinstance(x, (ClosedJaxpr, Jaxpr)) for x in value):
        parts = [_inner(x, rewrite) for x in value]
        kind = type(value)
        new = kind(parts) if kind in (tuple, list) else kind(*parts)
        return value if all(x is y for x, y in zip(new, value, strict=True)) else new
    return value
