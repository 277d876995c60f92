"""Primitives that say something to the compiler: `optimization_barrier` and `platform_index`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core.avals import ShapedArray
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
    instantiate,
)
from pullback.errors import UnsupportedError

__all__ = ["PLATFORM", "optimization_barrier", "platform_index"]

_NO_HLO: Final = NotApplicable("hlo", "the accelerator backend is not written yet")


def _barrier_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    outs = optimization_barrier.bind(*primals)
    given = [t for t in tangents if type(t) is not Zero]
    dots = iter(optimization_barrier.bind(*given) if given else ())
    return outs, [t if type(t) is Zero else next(dots) for t in tangents]


def _barrier_transpose(cts: Sequence[Any], *args: Any) -> list[Any]:
    return list(optimization_barrier.bind(*[instantiate(ct) for ct in cts]))


optimization_barrier: Final = Primitive(
    name="optimization_barrier",
    abstract=lambda *avals: list(avals),
    reference=lambda *xs: list(xs),
    jvp=_barrier_jvp,
    transpose=_barrier_transpose,
    batch=lambda size, args, dims: (optimization_barrier.bind(*args), list(dims)),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *xs: [b.materialize(x) for x in xs],
    hlo="stablehlo.optimization_barrier",
    samples=lambda: [
        Sample((np.arange(3.0, dtype=np.float32), np.ones((2, 2), np.float32))),
    ],
    multiple_results=True,
    effects=PURE,
    literals=False,
)

PLATFORM: Final = "cpu"
"""What programs are compiled for."""


def _platform_reference(*, platforms: tuple[tuple[str, ...] | None, ...]) -> Any:
    for i, names in enumerate(platforms):
        if names is None or PLATFORM in names:
            return np.int32(i)
    listed = [name for names in platforms for name in names or ()]
    raise UnsupportedError(
        f"platform_dependent: there is no function for the platform {PLATFORM!r}, only for "
        f"{listed}; give one, or a default"
    )


def _platform_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    index = platform_index.bind(**params)
    return index, Zero(index.aval.to_tangent_aval())


platform_index: Final = Primitive(
    name="platform_index",
    abstract=lambda *, platforms: ShapedArray((), np.dtype(np.int32)),
    reference=_platform_reference,
    jvp=_platform_jvp,
    transpose=NotApplicable("transpose of platform_index", "it is an integer", TypeError),
    batch=lambda size, args, dims, **params: (platform_index.bind(**params), None),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *, platforms: b.constant(_platform_reference(platforms=platforms)),
    hlo=_NO_HLO,
    samples=lambda: [Sample((), {"platforms": (("tpu",), ("cpu",), None)})],
    multiple_results=False,
    effects=PURE,
    literals=False,
)
