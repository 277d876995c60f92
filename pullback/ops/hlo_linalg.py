"""StableHLO of linear algebra: operations where there are any, XLA's own expansions, or loops.

`Qr`, `Eigh` and `ProductOfElementaryHouseholderReflectors` are custom calls that XLA expands into
its own operations on every platform.  LU is a loop over columns; `hlo_reflectors` and `hlo_svd`
hold the other loops.  What is left (eigenvalues and Schur forms of general matrices) exists on
hosts only, as in other systems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Type, Value, enum, flag
from pullback.errors import UnsupportedError
from pullback.ops import hlo_reflectors

__all__ = [
    "cholesky",
    "cholesky_update",
    "eigh",
    "geqrf",
    "householder_product",
    "lanes_nan",
    "lu",
    "ormqr",
    "permutation",
    "product",
    "qr",
    "real_type",
    "swapped",
    "triangular_solve",
    "tridiagonal_solve",
    "unit",
]


def _call(
    b: Emitter, target: str, xs: Sequence[Value], types: Sequence[Type], config: str = ""
) -> list[Value]:
    attributes = {"call_target_name": f'"{target}"'}
    if config:
        attributes["backend_config"] = f'"{config}"'
    return b.ops("stablehlo.custom_call", xs, types, attributes)


def _empty(x: Value) -> bool:
    return 0 in x.shape


def real_type(dtype: Any) -> Any:
    """The type of the parts of complex numbers."""
    complex_ = dtypes.kind_of(dtype) == "c"
    return np.dtype(f"float{dtype.itemsize * 4}") if complex_ else dtype


def _triangle(b: Emitter, x: Value, lower: bool, offset: int = 0) -> Value:
    """The elements of one triangle; zeros elsewhere. `offset` moves the diagonal."""
    rows, columns = (b.iota(x.shape, dtypes.int32, len(x.shape) - k) for k in (2, 1))
    moved = b.apply("stablehlo.add", rows, offset)
    kept = b.compare("GE" if lower else "LE", moved, columns)
    return b.select(kept, x, b.full((), 0, x.dtype))


def swapped(b: Emitter, x: Value, conjugate: bool) -> Value:
    """Transposed matrices."""
    rank = len(x.shape)
    out = b.transpose(x, (*range(rank - 2), rank - 1, rank - 2))
    return b.s.conj(out) if conjugate and dtypes.kind_of(x.dtype) == "c" else out


def unit(b: Emitter, shape: Sequence[int], dtype: Any) -> Value:
    """Ones on the diagonal."""
    rows, columns = (b.iota(shape, dtypes.int32, len(shape) - k) for k in (2, 1))
    return b.convert(b.compare("EQ", rows, columns), dtype)


def product(b: Emitter, x: Value, y: Value) -> Value:
    """The exact product of stacks of matrices."""
    rank = len(x.shape)
    lanes = ", ".join(map(str, range(rank - 2)))
    numbers = (
        f"lhs_batching_dimensions = [{lanes}], rhs_batching_dimensions = [{lanes}], "
        f"lhs_contracting_dimensions = [{rank - 1}], rhs_contracting_dimensions = [{rank - 2}]"
    )
    highest = enum("precision", "HIGHEST")
    attributes = {
        "dot_dimension_numbers": f"#stablehlo.dot<{numbers}>",
        "precision_config": f"[{highest}, {highest}]",
    }
    shape = (*x.shape[:-1], y.shape[-1])
    return b.op("stablehlo.dot_general", [x, y], shape, x.dtype, attributes)


def cholesky(b: Emitter, x: Value) -> Value:
    """The lower factor; all of it is NaN where the matrix is not positive."""
    if _empty(x):
        return x
    factor = b.op("stablehlo.cholesky", [x], x.shape, x.dtype, {"lower": flag(True)})
    factor = _triangle(b, factor, lower=True)
    good = b.s.eq(factor, factor)
    rank = len(x.shape)
    last = (rank - 2, rank - 1)
    whole = b.reduce([good], last, [True], lambda s, a, v: [s.and_(a[0], v[0])])[0]
    kept = b.broadcast(whole, x.shape, range(rank - 2))
    bad = complex(math.nan, math.nan) if dtypes.kind_of(x.dtype) == "c" else math.nan
    nan = _triangle(b, b.full(x.shape, bad, x.dtype), lower=True)
    return b.select(kept, factor, nan)


def cholesky_update(b: Emitter, r: Value, w: Value) -> Value:
    """The upper factor of R' R + w w', by a rotation for each row."""
    s, n = b.s, r.shape[-1]
    lanes = r.shape[:-2]

    def step(k: Value, out: Value, rest: Value) -> list[Value]:
        row = hlo_reflectors.at(b, out, k, -2)
        x, y = hlo_reflectors.at(b, row, k, -1), hlo_reflectors.at(b, rest, k, -1)
        pair = b.concatenate([b.reshape(v, (*lanes, 1)) for v in (x, y)], len(lanes))
        length = hlo_reflectors.norm(b, pair)
        none = s.eq(length, 0.0)
        safe = b.select(none, b.full((), 1, r.dtype), length)
        cosine = b.select(none, b.full((), 1, r.dtype), s.div(x, safe))
        sine = s.div(y, safe)
        c, d = (b.broadcast(v, row.shape, range(len(lanes))) for v in (cosine, sine))
        turned = s.add(s.mul(c, row), s.mul(d, rest))
        rest = s.sub(s.mul(c, rest), s.mul(d, row))
        here = s.eq(hlo_reflectors.positions(b, out, -2), k)
        return [b.select(here, hlo_reflectors.across(b, turned, out), out), rest]

    return b.loop_n(n, [_triangle(b, r, lower=False), w], step)[0]


def triangular_solve(
    b: Emitter,
    a: Value,
    x: Value,
    *,
    left_side: bool,
    lower: bool,
    transpose_a: bool,
    conjugate_a: bool,
    unit_diagonal: bool,
) -> Value:
    """The solution of a triangular system."""
    if _empty(x):
        return x
    complex_ = dtypes.kind_of(a.dtype) == "c"
    if conjugate_a and not transpose_a and complex_:
        a = b.s.conj(a)
    kind = "NO_TRANSPOSE"
    if transpose_a:
        kind = "ADJOINT" if conjugate_a and complex_ else "TRANSPOSE"
    attributes = {
        "left_side": flag(left_side),
        "lower": flag(lower),
        "unit_diagonal": flag(unit_diagonal),
        "transpose_a": enum("transpose", kind),
    }
    return b.op("stablehlo.triangular_solve", [a, x], x.shape, x.dtype, attributes)


# --------------------------------------------------------------------------- orthogonal factors


def geqrf(b: Emitter, x: Value) -> list[Value]:
    """Reflectors below the diagonal, R above it, and the factors of the reflectors."""
    types = b.types
    if _empty(x):
        return [x, b.full(*types[1][:1], 0, types[1][1])]
    return _call(b, "Qr", [x], types)


def householder_product(b: Emitter, a: Value, taus: Value) -> Value:
    """The first columns of the product of reflectors."""
    if _empty(a):
        return a
    target = "ProductOfElementaryHouseholderReflectors"
    return _call(b, target, [a, taus], [(a.shape, a.dtype)])[0]


def _widened(b: Emitter, a: Value, taus: Value, columns: int) -> tuple[Value, Value]:
    """Reflectors with columns of zeros behind, up to a count."""
    lanes, (m, n), k = a.shape[:-2], a.shape[-2:], taus.shape[-1]
    if n > columns:
        a = b.slice(a, [0] * len(a.shape), (*lanes, m, columns))
    elif n < columns:
        a = b.concatenate([a, b.full((*lanes, m, columns - n), 0, a.dtype)], len(lanes) + 1)
    if k < columns:
        rest = b.full((*lanes, columns - k), 0, taus.dtype)
        taus = b.concatenate([taus, rest], len(lanes))
    return a, taus


def ormqr(b: Emitter, a: Value, taus: Value, c: Value, *, left: bool, transpose: bool) -> Value:
    """A matrix times all of an orthogonal one that reflectors give."""
    if _empty(c) or _empty(taus):
        return c
    q = householder_product(b, *_widened(b, a, taus, a.shape[-2]))
    if transpose:
        q = swapped(b, q, conjugate=True)
    return product(b, q, c) if left else product(b, c, q)


def qr(b: Emitter, x: Value, *, pivoting: bool, full_matrices: bool, use_magma: Any) -> list[Value]:
    """Orthonormal columns and an upper triangle."""
    lanes, (m, n) = x.shape[:-2], x.shape[-2:]
    k = m if full_matrices else min(m, n)
    if _empty(x):
        outs = [unit(b, (*lanes, m, k), x.dtype), b.full((*lanes, k, n), 0, x.dtype)]
        return [*outs, b.iota((*lanes, n), dtypes.int32, len(lanes))] if pivoting else outs
    small = min(m, n)
    types: list[Type] = [(x.shape, x.dtype), ((*lanes, small), x.dtype)]
    packed, taus, *order = hlo_reflectors.pivoted(b, x) if pivoting else _call(b, "Qr", [x], types)
    q = householder_product(b, *_widened(b, packed, taus, k))
    r = b.slice(packed, [0] * len(x.shape), (*lanes, min(k, m), n))
    return [q, _triangle(b, r, lower=False), *order]


# --------------------------------------------------------------------------- eigenvalues


def eigh(b: Emitter, x: Value, *, lower: bool, **_: Any) -> list[Value]:
    """Eigenvectors and ascending eigenvalues of a Hermitian matrix, by Jacobi rotations."""
    types = b.types
    if _empty(x):
        return [x, b.full(types[1][0], 0, types[1][1])]
    # The other triangle is not to be read.
    half, other = _triangle(b, x, lower), _triangle(b, x, lower, offset=-1 if lower else 1)
    whole = b.s.add(half, swapped(b, other, conjugate=True))
    if dtypes.kind_of(x.dtype) == "c":  # nor are the imaginary parts of the diagonal
        on = unit(b, x.shape, dtypes.bool_)
        whole = b.select(on, b.s.convert(b.s.real(whole), x.dtype), whole)
    precision = "1e-10" if x.dtype in (dtypes.float32, dtypes.complex64) else "1e-24"
    vectors, values = _call(b, "Eigh", [whole], types, f"1,1,100,{precision}")
    return [lanes_nan(b, x, v) for v in (vectors, values)]


def lanes_nan(b: Emitter, x: Value, out: Value) -> Value:
    """A result that is NaN in the lanes where the operand is not finite."""
    good = (
        b.s.is_finite(x)
        if dtypes.kind_of(x.dtype) != "c"
        else b.s.and_(b.s.is_finite(b.s.real(x)), b.s.is_finite(b.s.imag(x)))
    )
    rank = len(x.shape)
    axes = (rank - 2, rank - 1)
    kept = b.reduce([good], axes, [True], lambda s, a, v: [s.and_(a[0], v[0])])[0]
    return _or_nan(b, kept, out)


def _or_nan(b: Emitter, kept: Value, x: Value) -> Value:
    bad = complex(math.nan, math.nan) if dtypes.kind_of(x.dtype) == "c" else math.nan
    where = b.broadcast(kept, x.shape, range(len(kept.shape)))
    return b.select(where, x, b.full((), bad, x.dtype))


# --------------------------------------------------------------------------- LU


def lu(b: Emitter, x: Value) -> list[Value]:
    """Both triangles, the row swaps, and the order of the rows that comes of them."""
    lanes, (m, n) = x.shape[:-2], x.shape[-2:]
    k, rank = min(m, n), len(lanes)
    order = b.iota((*lanes, m), dtypes.int32, rank)
    swaps = b.iota((*lanes, k), dtypes.int32, rank)
    if _empty(x):
        return [x, swaps, order]
    return b.loop_n(k, [x, swaps, order], lambda i, *state: _column(b, i, *state))


def _column(b: Emitter, i: Value, x: Value, swaps: Value, order: Value) -> list[Value]:
    """Bring the largest element of column `i` up and take the column out of the rest."""
    s, lanes, (m, n) = b.s, x.shape[:-2], x.shape[-2:]
    rank = len(lanes)
    rows, columns = (b.iota(x.shape, dtypes.int32, rank + k) for k in (0, 1))
    zero = b.full((), 0, x.dtype)

    def picked(values: Value, where: Value, axis: int) -> Value:
        part = b.select(where, values, b.full((), 0, values.dtype))
        return b.reduce([part], [axis], [0], lambda s, a, v: [s.add(a[0], v[0])])[0]

    column = picked(x, s.eq(columns, i), rank + 1)
    numbers = b.iota(column.shape, dtypes.int32, rank)
    size = _size(b, column)
    size = b.select(s.ge(numbers, i), size, b.full((), -1, size.dtype))

    def better(s: Any, a: Any, v: Any) -> list[Any]:
        first = s.and_(s.eq(v[0], a[0]), s.lt(v[1], a[1]))
        take = s.or_(s.gt(v[0], a[0]), first)
        return [s.select(take, new, old) for new, old in zip(v, a, strict=True)]

    pivot = b.reduce([size, numbers], [rank], [-2, m], better)[1]
    pivot = s.min(pivot, m - 1)
    spread = b.broadcast(pivot, x.shape, range(rank))
    at_i, at_pivot = s.eq(rows, i), s.eq(rows, spread)
    row_i, row_pivot = picked(x, at_i, rank), picked(x, at_pivot, rank)
    axes = (*range(rank), rank + 1)
    row_i, upper = (b.broadcast(r, x.shape, axes) for r in (row_i, row_pivot))
    x = b.select(at_i, upper, b.select(at_pivot, row_i, x))
    column = b.broadcast(picked(x, s.eq(columns, i), rank + 1), x.shape, range(rank + 1))
    top = b.broadcast(
        picked(picked(x, at_i, rank), s.eq(b.iota((*lanes, n), dtypes.int32, rank), i), rank),
        x.shape,
        range(rank),
    )
    factor = b.select(s.eq(top, zero), column, s.div(column, top))
    below = s.gt(rows, i)
    rest = s.sub(x, s.mul(factor, upper))
    x = b.select(
        s.and_(below, s.gt(columns, i)), rest, b.select(s.and_(below, s.eq(columns, i)), factor, x)
    )
    swaps = b.select(s.eq(b.iota(swaps.shape, dtypes.int32, rank), i),
                     b.broadcast(pivot, swaps.shape, range(rank)), swaps)  # fmt: skip
    return [x, swaps, _exchanged(b, order, i, pivot)]


def _size(b: Emitter, x: Value) -> Value:
    """How large a pivot is: for complex numbers the sum of the sizes of the parts, as LAPACK."""
    if dtypes.kind_of(x.dtype) != "c":
        out: Value = b.s.abs(x)
    else:
        out = b.s.add(b.s.abs(b.s.real(x)), b.s.abs(b.s.imag(x)))
    return out


def _exchanged(b: Emitter, order: Value, i: Value, other: Value) -> Value:
    """Two entries of each row exchanged, the one with the same number and one of its own."""
    s, rank = b.s, len(order.shape) - 1
    numbers = b.iota(order.shape, dtypes.int32, rank)
    spread = b.broadcast(other, order.shape, range(rank))
    at_i, at_other = s.eq(numbers, i), s.eq(numbers, spread)

    def picked(where: Value) -> Value:
        part = b.select(where, order, 0)
        out = b.reduce([part], [rank], [0], lambda s, a, v: [s.add(a[0], v[0])])[0]
        return b.broadcast(out, order.shape, range(rank))

    here, there = picked(at_i), picked(at_other)
    return b.select(at_i, there, b.select(at_other, here, order))


def permutation(b: Emitter, swaps: Value, *, permutation_size: int) -> Value:
    """The order of rows after a sequence of swaps."""
    lanes, k = swaps.shape[:-1], swaps.shape[-1]
    rank = len(lanes)
    order = b.iota((*lanes, permutation_size), dtypes.int32, rank)
    numbers = b.iota(swaps.shape, dtypes.int32, rank)

    def step(i: Value, order: Value) -> list[Value]:
        mine = b.select(b.s.eq(numbers, i), swaps, 0)
        other = b.reduce([mine], [rank], [0], lambda s, a, v: [s.add(a[0], v[0])])[0]
        return [_exchanged(b, order, i, other)]

    return b.loop_n(k, [order], step)[0]


# --------------------------------------------------------------------------- the rest


def tridiagonal_solve(
    b: Emitter, low: Value, middle: Value, high: Value, rhs: Value, *, perturb_singular: bool
) -> Value:
    """Elimination along the diagonals (Thomas), forwards and back."""
    if perturb_singular:
        raise UnsupportedError("tridiagonal_solve with perturb_singular runs on hosts only")
    n, rank = middle.shape[-1], len(middle.shape) - 1
    if _empty(rhs):
        return rhs
    s = b.s

    def at(x: Value, i: Value) -> Value:
        """What stands at number `i` of the axis of the diagonals."""
        axis = rank
        where = s.eq(b.iota(x.shape, dtypes.int32, axis), i)
        part = b.select(where, x, b.full((), 0, x.dtype))
        return b.reduce([part], [axis], [0], lambda s, a, v: [s.add(a[0], v[0])])[0]

    def put(x: Value, i: Value, value: Value) -> Value:
        where = s.eq(b.iota(x.shape, dtypes.int32, rank), i)
        axes = [k for k in range(len(x.shape)) if k != rank]
        return b.select(where, b.broadcast(value, x.shape, axes), x)

    def wide(x: Value) -> Value:
        """A number per lane for all right sides."""
        return b.broadcast(x, (*middle.shape[:-1], rhs.shape[-1]), range(rank))

    def down(i: Value, factors: Value, out: Value) -> list[Value]:
        before = s.sub(i, 1)
        pivot = s.sub(at(middle, i), s.mul(at(low, i), at(factors, before)))
        factors = put(factors, i, s.div(at(high, i), pivot))
        value = s.sub(at(out, i), s.mul(wide(at(low, i)), at(out, before)))
        return [factors, put(out, i, s.div(value, wide(pivot)))]

    start = b.full(middle.shape, 0, middle.dtype)
    factors, out = b.loop_n(n, [start, rhs], down)

    def up(k: Value, out: Value) -> list[Value]:
        i = s.sub(n - 2, k)
        value = s.sub(at(out, i), s.mul(wide(at(factors, i)), at(out, s.add(i, 1))))
        return [put(out, i, value)]

    return b.loop_n(n - 1, [out], up)[0]
