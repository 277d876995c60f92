"""`jax.interpreters.batching`: batching rules for the primitives of libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.core.avals import aval_of
from pullback.dropin.rule_tables import AxisBatchers, Batchers, FancyBatchers
from pullback.ops import structural
from pullback.transforms.batching import BatchTrace, BatchTracer, move_batch_axis

__all__ = [
    "BatchTrace",
    "BatchTracer",
    "axis_primitive_batchers",
    "bdim_at_front",
    "broadcast",
    "defbroadcasting",
    "defreducer",
    "defvectorized",
    "fancy_primitive_batchers",
    "moveaxis",
    "not_mapped",
    "primitive_batchers",
]

primitive_batchers: Final = Batchers()
axis_primitive_batchers: Final = AxisBatchers()
fancy_primitive_batchers: Final = FancyBatchers()
not_mapped: Final = None
moveaxis = structural.moveaxis


def broadcast(x: Any, sz: int, axis: int, mesh_axis: Any = None) -> Any:
    """`x` repeated `sz` times along a new axis."""
    return structural.broadcast(x, sz, axis)


def bdim_at_front(x: Any, bdim: int | None, size: int, mesh_axis: Any = None) -> Any:
    """`x` with its lanes on axis 0; a value without lanes is repeated."""
    return move_batch_axis(x, size, bdim, 0)


def defvectorized(prim: Any) -> None:
    """The lanes of all operands are on the same axis, and so are those of the result."""

    def batch(args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        out = prim.bind(*args, **params)
        dim = dims[0]
        return out, [dim] * len(out) if prim.multiple_results else dim

    primitive_batchers[prim] = batch


def defbroadcasting(prim: Any) -> None:
    """An elementwise primitive on operands of equal or no rank."""

    def batch(args: Sequence[Any], dims: Sequence[int | None], **params: Any) -> Any:
        size = next(aval_of(x).shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
        moved = [move_batch_axis(x, size, d, 0) for x, d in zip(args, dims, strict=True)]
        out = prim.bind(*moved, **params)
        return out, [0] * len(out) if prim.multiple_results else 0

    primitive_batchers[prim] = batch


def defreducer(prim: Any) -> None:
    """A reduction over the parameter `axes`."""

    def batch(
        args: Sequence[Any], dims: Sequence[int | None], *, axes: Sequence[int], **params: Any
    ) -> Any:
        (x,), (dim,) = args, dims
        assert dim is not None
        moved = tuple(a + (a >= dim) for a in axes)
        out = prim.bind(x, axes=moved, **params)
        return out, dim - sum(a < dim for a in moved)

    primitive_batchers[prim] = batch
