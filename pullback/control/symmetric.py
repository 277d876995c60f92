"""`symmetric_product`: a matrix times its own transpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pullback.control.composite import composite
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.primitive import Primitive, Sample
from pullback.ops import elementwise, linalg_matrices
from pullback.ops.kinds import scalar_like
from pullback.ops.samples import draw, generator

__all__ = ["symmetric_product"]


def _product(a: Any, c: Any, *, alpha: float, beta: float) -> list[Any]:
    for aval in (aval_of(a), aval_of(c)):
        if dtypes.kind_of(aval.dtype) != "f":
            raise TypeError(f"symmetric_product takes real matrices, got {aval.str_short()}")
    product = linalg_matrices.matmul(a, linalg_matrices.transposed(a))
    scaled = elementwise.mul(product, scalar_like(product, alpha))
    return [elementwise.add(scaled, elementwise.mul(c, scalar_like(c, beta)))]


def _samples() -> Iterator[Sample]:
    rng = generator()
    for batch in ((), (2,)):
        a, c = draw(rng, dtypes.float32, (*batch, 3, 4)), draw(rng, dtypes.float32, (*batch, 3, 3))
        yield Sample((a, c + c.swapaxes(-1, -2)), {"alpha": 1.5, "beta": -0.5}, tol=4.0)


symmetric_product: Final[Primitive] = composite("symmetric_product", _product, samples=_samples)
