"""Vectorization: every value may carry one extra axis, which the batching rules keep track of."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.core import refs
from pullback.core.avals import aval_of
from pullback.core.axes import NamedAxisEffect, batching_axis, batching_over, bound
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.source import Transform, name_scope, one_line
from pullback.core.trace import (
    Trace,
    Tracer,
    check_leaks,
    check_not_leaked,
    current_trace,
    set_trace,
)
from pullback.ops import structural
from pullback.transforms.derived import made_once
from pullback.transforms.staging import stage

__all__ = ["BatchTrace", "BatchTracer", "batch_flat", "batch_jaxpr", "move_batch_axis"]

_VMAP: Final = (Transform("vmap"),)


class BatchTracer(Tracer):
    """A value for every lane; `dim` is the axis of the lanes in `value`."""

    __slots__ = ("dim", "value")

    def __init__(self, trace: Trace, value: Any, dim: int) -> None:
        aval = aval_of(value)
        shape = aval.shape[:dim] + aval.shape[dim + 1 :]
        super().__init__(trace, aval.update(shape=shape))
        self.value = value
        self.dim = dim

    def __repr__(self) -> str:
        lane, lanes = self.aval.str_long(), aval_of(self.value).str_long()
        return f"VmapTracer(aval={lane}, batched={lanes})"


class BatchTrace(Trace):
    """Applies batching rules; their operations run under the parent trace.

    An operation that mentions the name of the axis is batched even if no operand has lanes.
    """

    __slots__ = ("axis_name", "effect", "size")

    parent: Trace

    def __init__(
        self, parent: Trace, size: int, axis_name: Any = None, description: Any = "vmap"
    ) -> None:
        super().__init__(parent, description)
        self.size = size
        self.axis_name = axis_name
        self.effect = None if axis_name is None else NamedAxisEffect(axis_name)

    def pair(self, x: Any) -> tuple[Any, int | None]:
        """The value of an operand and its batch axis."""
        if type(x) is BatchTracer and x._trace is self:
            return x.value, x.dim
        if isinstance(x, Tracer):
            check_not_leaked(x)
        elif type(x) is refs.Ref:
            return self.pair(x.value()) if x._tracer is not None else (x.value(), None)
        return x, None

    def lift(self, value: Any, dim: int | None) -> Any:
        """A tracer, or the plain value when it is the same in all lanes."""
        return value if dim is None else BatchTracer(self, value, dim)

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply the primitive to all lanes at once."""
        pairs = [self.pair(x) for x in args]
        values = [v for v, _ in pairs]
        dims = [d for _, d in pairs]
        if (
            all(d is None for d in dims)
            and (self.effect is None or self.effect not in primitive.effects(**params))
            and primitive not in refs.creators
        ):
            return self.parent.process(primitive, values, params)
        if refs.needs_discharge(primitive, params):
            with set_trace(self):
                return refs.apply_hook[0](primitive, args, params)
        with set_trace(self.parent), one_line(), batching_over(self.axis_name):
            out, dim = primitive.batch(self.size, values, dims, **params)
        if primitive.multiple_results:
            return [self.lift(o, d) for o, d in zip(out, dim, strict=True)]
        return self.lift(out, dim)


def move_batch_axis(x: Any, size: int, src: int | None, dst: int) -> Any:
    """`x` with its lanes on axis `dst`; a value without lanes is repeated."""
    if src is None:
        return structural.broadcast(x, size, dst)
    return x if src == dst else structural.moveaxis(x, src, dst)


def batch_flat(
    fun: Callable[..., Sequence[Any]],
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    axis_name: Any = None,
    description: Any = "vmap",
    named: bool = True,
) -> tuple[list[Any], list[int | None]]:
    """Results of `fun` for all lanes, and where their lanes are.

    Within `fun` the name of the axis is bound. `named` puts the transformation among the name
    scopes: not where the equation has it already.
    """
    results, trace = _batch_flat(fun, size, args, dims, axis_name, description, named)
    if named:
        check_leaks(trace, description)
    return results


def _batch_flat(
    fun: Callable[..., Sequence[Any]],
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    axis_name: Any,
    description: Any,
    named: bool,
) -> tuple[tuple[list[Any], list[int | None]], weakref.ref[Trace]]:
    trace = BatchTrace(current_trace(), size, axis_name, description)
    tracers = [trace.lift(x, d) for x, d in zip(args, dims, strict=True)]
    try:
        with set_trace(trace), bound([(axis_name, size)]), name_scope(*_VMAP if named else ()):
            outs = fun(*tracers)
        pairs = [trace.pair(x) for x in outs]
    finally:
        trace.close()
    return ([v for v, _ in pairs], [d for _, d in pairs]), weakref.ref(trace)


@made_once
def batch_jaxpr(
    closed: ClosedJaxpr, size: int, batched: Sequence[bool], force: bool | Sequence[bool]
) -> tuple[ClosedJaxpr, list[bool]]:
    """The jaxpr for all lanes, with every batch axis in front; says which results have one.

    For batching rules: the axis has the name of the one that is being batched over.
    """
    axis_name = batching_axis()
    n_out = len(closed.out_avals)
    forced = [force] * n_out if isinstance(force, bool) else list(force)
    out_batched: list[bool] = []

    def fun(*args: Any) -> list[Any]:
        dims = [0 if b else None for b in batched]
        outs, out_dims = batch_flat(
            lambda *xs: eval_jaxpr(closed.jaxpr, closed.consts, *xs),
            size,
            args,
            dims,
            axis_name=axis_name,
            named=False,
        )
        out_batched[:] = [f or d is not None for f, d in zip(forced, out_dims, strict=True)]
        return [
            move_batch_axis(x, size, d, 0) if b else x
            for x, d, b in zip(outs, out_dims, out_batched, strict=True)
        ]

    avals = [
        a.update(shape=(size, *a.shape)) if b else a
        for a, b in zip(closed.in_avals, batched, strict=True)
    ]
    info = closed.jaxpr.debug_info
    jaxpr = stage(fun, avals, description=f"vmap of {info.func_src_info}", debug_info=info)
    return jaxpr, list(out_batched)
