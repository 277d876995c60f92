"""`jax.interpreters.partial_eval`: functions of partly known arguments, and dead code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.core.avals import AbstractValue
from pullback.core.jaxpr import DebugInfo, Jaxpr, verify
from pullback.core.trace import current_trace, set_trace
from pullback.dropin.shims.extend.linear_util import WrappedFun
from pullback.transforms import dce
from pullback.transforms.linearize import PartialTrace, PartialTracer
from pullback.transforms.staging import StagedTracer, stage

__all__ = [
    "DynamicJaxprTracer",
    "JaxprTracer",
    "PartialVal",
    "Val",
    "dce_jaxpr",
    "dce_jaxpr_consts",
    "trace_to_jaxpr_dynamic",
    "trace_to_jaxpr_nounits",
]

DynamicJaxprTracer = StagedTracer
JaxprTracer = PartialTracer
Val = Any


class PartialVal(tuple[Any, Any]):
    """A value that is known, `(None, value)`, or of which the type is known, `(aval, None)`.

    >>> PartialVal.known(3).is_known()
    True
    """

    __slots__ = ()

    def __new__(cls, xs: tuple[AbstractValue | None, Any]) -> PartialVal:
        return tuple.__new__(cls, xs)

    @classmethod
    def known(cls, const: Any) -> PartialVal:
        """A known value."""
        return cls((None, const))

    @classmethod
    def unknown(cls, aval: AbstractValue) -> PartialVal:
        """A value of this type."""
        return cls((aval, None))

    def is_known(self) -> bool:
        """Whether the value is known."""
        return self[0] is None

    def get_known(self) -> Any:
        """The value, None if it is not known."""
        return self[1] if self.is_known() else None


def trace_to_jaxpr_nounits(
    fun: WrappedFun, pvals: Sequence[PartialVal], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[PartialVal], list[Any]]:
    """Run `fun`, computing what is known and recording what depends on unknown arguments.

    Returns the recorded jaxpr of the unknown arguments, the results (known ones with values), and
    the jaxpr's constants. `instantiate` asks for results in the jaxpr even if they are known.
    """
    trace = PartialTrace(current_trace(), getattr(fun, "__name__", "a function"))
    args = [p[1] if p.is_known() else trace.argument(p[0]) for p in pvals]
    unknown = [x for x, p in zip(args, pvals, strict=True) if not p.is_known()]
    try:
        with set_trace(trace):
            outs = list(fun.call_wrapped(*args))
        forced = [instantiate] * len(outs) if isinstance(instantiate, bool) else list(instantiate)
        recorded = [f or trace.is_unknown(x) for f, x in zip(forced, outs, strict=True)]
        atoms = [trace.atom(x) for x, r in zip(outs, recorded, strict=True) if r]
    finally:
        trace.close()
    info = fun.debug_info or DebugInfo("partial_eval", fun.__name__)
    closed = trace.close_recorded(unknown, atoms, info)
    avals = iter(closed.out_avals)
    results = [
        PartialVal.unknown(next(avals)) if r else PartialVal.known(x)
        for x, r in zip(outs, recorded, strict=True)
    ]
    return closed.jaxpr, results, closed.consts


def trace_to_jaxpr_dynamic(
    fun: WrappedFun,
    in_avals: Sequence[AbstractValue],
    *,
    keep_inputs: Sequence[bool] | None = None,
    lower: bool = False,
    auto_dce: bool = False,
) -> tuple[Jaxpr, list[AbstractValue], list[Any]]:
    """The jaxpr of `fun`, the types of its results, and the jaxpr's constants.

    `keep_inputs` says which arguments the jaxpr has; the function must not use the others.
    `auto_dce` leaves out equations whose results nobody uses. All types are low ones here, so
    that `lower` has nothing to do.
    """
    closed = stage(fun.call_wrapped, in_avals, description=fun.__name__, debug_info=fun.debug_info)
    jaxpr = dce_jaxpr(closed.jaxpr, True, instantiate=True)[0] if auto_dce else closed.jaxpr
    if keep_inputs is not None:
        invars = [v for v, keep in zip(jaxpr.invars, keep_inputs, strict=True) if keep]
        jaxpr = jaxpr.replace(invars=invars)
        verify(jaxpr)
    return jaxpr, list(closed.out_avals), closed.consts


def dce_jaxpr(
    jaxpr: Jaxpr, used_outputs: bool | Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool]]:
    """The jaxpr without what only unused results need, and which arguments are left.

    `instantiate` keeps arguments that are not used.
    """
    n_out, n_in = len(jaxpr.outvars), len(jaxpr.invars)
    used = [used_outputs] * n_out if isinstance(used_outputs, bool) else list(used_outputs)
    pruned, used_in = dce.dce_jaxpr(jaxpr, used)
    keep = [instantiate] * n_in if isinstance(instantiate, bool) else list(instantiate)
    kept = [u or k for u, k in zip(used_in, keep, strict=True)]
    invars = [v for v, k in zip(jaxpr.invars, kept, strict=True) if k]
    return pruned.replace(invars=invars), kept


def dce_jaxpr_consts(
    jaxpr: Jaxpr, used_outputs: Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Jaxpr, list[bool], list[bool]]:
    """The same, and which constants are left before which arguments are."""
    n_consts = len(jaxpr.constvars)
    opened = jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars])
    given = [instantiate] * len(jaxpr.invars) if isinstance(instantiate, bool) else instantiate
    pruned, used = dce_jaxpr(opened, used_outputs, [*[False] * n_consts, *given])
    kept = sum(used[:n_consts])
    closed = pruned.replace(constvars=pruned.invars[:kept], invars=pruned.invars[kept:])
    return closed, used[:n_consts], used[n_consts:]
