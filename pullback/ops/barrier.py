"""The barrier: an identity on several values, across which the compiler fuses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pullback.core import dtypes
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    instantiate,
)
from pullback.ops.kinds import zero_tangent
from pullback.ops.samples import draw, generator

__all__ = ["optimization_barrier"]


def _jvp(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
    """The tangents that are not zero pass a barrier of their own."""
    outs = optimization_barrier(*primals)
    moving = [k for k, t in enumerate(tangents) if type(t) is not Zero]
    passed = optimization_barrier(*[tangents[k] for k in moving]) if moving else []
    tangents_out: list[Any] = [zero_tangent(x) for x in outs]
    for k, t in zip(moving, passed, strict=True):
        tangents_out[k] = t
    return outs, tangents_out


def _transpose(cts: Any, *args: Any) -> list[Any]:
    moving = [k for k, ct in enumerate(cts) if type(ct) is not Zero]
    passed = optimization_barrier(*[instantiate(cts[k]) for k in moving]) if moving else []
    result = list(cts)
    for k, ct in zip(moving, passed, strict=True):
        result[k] = ct
    return result


def _samples() -> Iterator[Sample]:
    rng = generator()
    x = draw(rng, dtypes.float32, (2, 3))
    yield Sample((x,))
    yield Sample((x, draw(rng, dtypes.int32, (4,)), draw(rng, dtypes.float32, ())))


optimization_barrier: Primitive = Primitive(
    name="optimization_barrier",
    abstract=lambda *avals: list(avals),
    reference=lambda *xs: list(xs),
    jvp=_jvp,
    transpose=_transpose,
    batch=lambda size, args, dims: (optimization_barrier(*args), list(dims)),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *xs: [b.materialize(x) for x in xs],
    hlo=lambda b, *xs: b.ops("stablehlo.optimization_barrier", xs, b.types),
    samples=_samples,
    multiple_results=True,
    effects=PURE,
    literals=False,
)
