"""`lu`: a matrix with its rows permuted as the product of a unit lower and an upper triangle.

Results are both triangles in one matrix, LAPACK's row swaps (from 0), and the permutation that
they make.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Primitive, Sample, Zero, registry
from pullback.ops import hlo_linalg, kinds, linalg_blocked, linalg_lapack, linalg_small, windows
from pullback.ops.arithmetic import add
from pullback.ops.gather import gather
from pullback.ops.joining import pad
from pullback.ops.linalg_lapack import Routines, routine
from pullback.ops.linalg_matrices import (
    check_matrix,
    decomposition,
    eye_like,
    matmul,
    matrix_samples,
    part,
    stripped,
    tangents_of,
    tril,
    triu,
)
from pullback.ops.linalg_triangular import solve_triangle

__all__ = ["lu", "lu_pivots_to_permutation", "rows_taken"]


# --------------------------------------------------------------------------- lu


def _lu_abstract(x: ShapedArray) -> list[ShapedArray]:
    check_matrix("lu", x)
    m, n = x.shape[-2:]
    swaps = stripped(x, (min(m, n),), dtypes.int32)
    return [stripped(x, (m, n)), swaps, stripped(x, (m,), dtypes.int32)]


def _lu_reference(x: Any) -> list[Any]:
    m, n = x.shape[-2:]
    k = min(m, n)
    if not x.size:
        swaps = np.broadcast_to(np.arange(k, dtype=np.int32), (*x.shape[:-2], k))
        rows = np.broadcast_to(np.arange(m, dtype=np.int32), (*x.shape[:-2], m))
        return [x.copy(), swaps.copy(), rows.copy()]
    getrf = routine("getrf", x.dtype)
    like = [((m, n), x.dtype), ((k,), np.dtype(np.int32))]
    both, swaps = linalg_lapack.per_lane(lambda a: getrf(a)[:2], x, ranks=(2,), like=like)
    return [both, swaps, _permutation_reference(swaps, permutation_size=m)]


def _lu_lower(b: Any, x: Any) -> list[Any]:
    m, n = x.shape[-2:]
    lanes, k = x.shape[:-2], min(m, n)
    if not np.prod(x.shape):
        swaps = b.iota((*lanes, k), dtypes.int32, len(lanes))
        return [x, swaps, b.iota((*lanes, m), dtypes.int32, len(lanes))]
    if linalg_small.is_small_lu(x):
        return linalg_small.lu(b, x)
    if linalg_blocked.is_large(x):
        both, swaps = linalg_blocked.lu(b, x)
        from_zero = b.map(lambda s, e: s.sub(e, 1), swaps)
        return [both, from_zero, _permutation_lower(b, from_zero, permutation_size=m)]
    call = Routines(b, x)
    both, status = linalg_lapack.by_columns(b, x), call.status()
    swaps = b.buffer((*lanes, k), dtypes.int32)

    def lane(i: list[Any]) -> None:
        call("getrf", m, n, b.part(both, i), m, b.part(swaps, i), b.part(status, i))

    call.each_lane(lane)
    from_zero = b.map(lambda s, e: s.sub(e, 1), swaps)
    order = _permutation_lower(b, from_zero, permutation_size=m)
    return [linalg_lapack.swapped(b, both), from_zero, order]


def rows_taken(x: Any, order: Any) -> Any:
    """The rows of every matrix in an order, an array of their numbers per lane."""
    aval, count = aval_of(x), aval_of(order).shape[-1]
    lanes = tuple(range(aval.ndim - 2))
    numbers = windows.GatherDimensionNumbers(
        offset_dims=(aval.ndim - 1,),
        collapsed_slice_dims=(aval.ndim - 2,),
        start_index_map=(aval.ndim - 2,),
        operand_batching_dims=lanes,
        start_indices_batching_dims=lanes,
    )
    shape = (*aval.shape[:-2], count, 1)
    return gather(
        x,
        kinds.broadcast(order, shape, range(len(shape) - 1)),
        dimension_numbers=numbers,
        slice_sizes=(*(1,) * (aval.ndim - 1), aval.shape[-1]),
        indices_are_sorted=False,
        unique_indices=True,
        mode=windows.GatherScatterMode.PROMISE_IN_BOUNDS,
        fill_value=None,
    )


def _square(x: Any, size: int) -> Any:
    """A triangle of rectangular shape continued by a unit matrix to `size` rows and columns."""
    m, n = aval_of(x).shape[-2:]
    lanes = ((0, 0, 0),) * (aval_of(x).ndim - 2)
    rest = ((0, size - m, 0), (0, size - n, 0))
    return pad(x, kinds.scalar_like(x, 0), padding_config=(*lanes, *rest))


def _lu_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    """P dA = dL U + L dU, and L^-1 P dA U^-1 holds the two in its triangles."""
    (x,), (t,) = primals, tangents
    both, swaps, order = outs = lu(x)
    if type(t) is Zero or 0 in aval_of(x).shape:
        return outs, tangents_of(outs)
    m, n = aval_of(x).shape[-2:]
    k = min(m, n)
    lower = _square(tril(part(both, None, (0, k)), -1), m)
    lower = add(lower, eye_like(lower))
    upper = _square(triu(part(both, (0, k), None)), n)
    if n > k:
        unit = eye_like(upper)
        upper = add(upper, registry["sub"](unit, _square(part(unit, (0, k), (0, k)), n)))
    inner = solve_triangle(lower, rows_taken(t, order), lower=True, unit=True)
    inner = solve_triangle(upper, inner, left=False, lower=False)
    dots = add(matmul(lower, tril(inner, -1)), matmul(triu(inner), upper))
    return outs, [dots, *tangents_of([swaps, order])]


def _lu_samples() -> Iterator[Sample]:
    yield from matrix_samples(
        [(4, 4), (2, 5, 3), (3, 5), (1, 1), (0, 0), (3, 0), (2, 3, 9, 9), (40, 40)], tol=200.0
    )()
    yield from matrix_samples([(3, 3, 4, 4), (19, 5, 3), (8, 3, 5), (9, 1, 1)], tol=200.0)()
    yield Sample((np.zeros((2, 2), np.float32),), smooth=False)
    singular = np.zeros((10, 3, 3), np.float32)
    singular[::2] = np.eye(3)
    singular[1, 1:, 0] = singular[3, :, 2] = 1
    yield Sample((singular,), smooth=False)


lu: Primitive = decomposition(
    "lu",
    abstract=_lu_abstract,
    reference=_lu_reference,
    jvp=_lu_jvp,
    lower=_lu_lower,
    hlo=hlo_linalg.lu,
    samples=_lu_samples,
    results=3,
)

# --------------------------------------------------------------------------- permutations


def _permutation_abstract(swaps: ShapedArray, *, permutation_size: int) -> ShapedArray:
    if swaps.ndim < 1 or swaps.dtype != dtypes.int32 or swaps.shape[-1] > permutation_size:
        raise (TypeError if swaps.dtype != dtypes.int32 else ValueError)(
            f"lu_pivots_to_permutation takes at most {permutation_size} int32 row swaps a lane, "
            f"got {swaps.str_short()}"
        )
    return ShapedArray((*swaps.shape[:-1], permutation_size), dtypes.int32)


def _permutation_reference(swaps: Any, *, permutation_size: int) -> Any:
    lanes = swaps.shape[:-1]
    order = np.empty((*lanes, permutation_size), np.int32)
    order[...] = np.arange(permutation_size, dtype=np.int32)
    for k in range(swaps.shape[-1]):
        other = swaps[..., k : k + 1].astype(np.int64)
        moved = np.take_along_axis(order, other, -1)
        np.put_along_axis(order, other, order[..., k : k + 1].copy(), -1)
        order[..., k : k + 1] = moved
    return order


def _permutation_lower(b: Any, swaps: Any, *, permutation_size: int) -> Any:
    lanes = swaps.shape[:-1]
    shape = (*lanes, permutation_size)
    order = b.buffer(shape, dtypes.int32, b.iota(shape, dtypes.int32, len(lanes)))
    swaps = b.materialize(swaps)

    def lane(i: list[Any]) -> None:
        with b.loop(swaps.shape[-1]) as k:
            other = b.let(b.s.index(swaps.at([*i, k]), 0, permutation_size - 1))
            here, there = b.load(order, [*i, k]), b.load(order, [*i, other])
            b.store(order, [*i, k], there)
            b.store(order, [*i, other], here)

    windows.loop_nest(b, lanes, lane, [True] * len(lanes))
    return order


def _permutation_samples() -> Iterator[Sample]:
    rng = np.random.default_rng(4)
    for shape, size in (((4,), 4), ((2, 3), 5), ((0,), 3), ((2, 2, 6), 6)):
        start = np.arange(shape[-1])
        swaps = start + rng.integers(0, size - start, shape) if shape[-1] else np.zeros(shape)
        yield Sample((swaps.astype(np.int32),), {"permutation_size": size})


lu_pivots_to_permutation: Primitive = decomposition(
    "lu_pivots_to_permutation",
    abstract=_permutation_abstract,
    reference=_permutation_reference,
    jvp=kinds.nondifferentiable(kinds.late("lu_pivots_to_permutation")),
    lower=_permutation_lower,
    hlo=hlo_linalg.permutation,
    samples=_permutation_samples,
    results=0,
)
