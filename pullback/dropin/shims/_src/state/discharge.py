"""`jax._src.state.discharge`: programs on references as programs on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback import tree
from pullback.control.refs_discharge import discharge
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.refs import is_ref
from pullback.errors import UnsupportedError
from pullback.ref import freeze, new_ref

__all__ = ["discharge_state", "run_state", "run_state_reference"]


def discharge_state(
    closed_jaxpr: ClosedJaxpr, *, should_discharge: bool = True, lower: bool = True
) -> ClosedJaxpr:
    """The jaxpr of values in place of references, with the last ones after its results.

    All references are replaced; all types are low ones here, so that `lower` has nothing to do.
    """
    if should_discharge is not True:
        raise UnsupportedError("discharge_state replaces all references of a jaxpr, not some")
    jaxpr = closed_jaxpr.jaxpr
    closed, changed = discharge(closed_jaxpr, whole=True)
    pure, n_out = closed.jaxpr, len(jaxpr.outvars)
    last = [
        pure.outvars[n_out + changed.index(i)] if i in changed else pure.invars[i]
        for i, v in enumerate(jaxpr.invars)
        if is_ref(v)
    ]
    return ClosedJaxpr(pure.replace(outvars=[*pure.outvars[:n_out], *last]), closed.consts)


def run_state(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of values that puts them into references, calls `f`, and reads them again.

    >>> def double(ref):
    ...     ref[...] = ref[...] * 2
    >>> run_state(double)(3.0)
    Array(6., dtype=float32, weak_type=True)
    """

    def wrapped(values: Any) -> Any:
        refs = tree.map(new_ref, values)
        f(refs)
        return tree.map(freeze, refs)

    return wrapped


run_state_reference = run_state
