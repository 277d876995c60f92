"""`dot_general`: products summed over contracted axes, with its rules and its lowering.

Every matrix product, einsum and dense layer becomes this primitive.  The result has the batch
axes, then the free axes of the left operand, then those of the right one.  The compiler calls a
matrix kernel of `llvm.gemm` for it, except for products so small that a loop in place is cheaper.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    is_linear,
)
from pullback.ops import conversion, hlo_windows, kinds, narrow_products, structural

__all__ = [
    "DotDimensionNumbers",
    "compute_dtype",
    "dot_general",
    "gemm",
    "has_kernel",
]

DotDimensionNumbers: TypeAlias = tuple[
    tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]
]
"""`((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`."""


# --------------------------------------------------------------------------- axes


@dataclass(frozen=True)
class _Axes:
    """The axes of both operands by their role, in the order in which the result takes them."""

    lhs_contract: tuple[int, ...]
    rhs_contract: tuple[int, ...]
    lhs_batch: tuple[int, ...]
    rhs_batch: tuple[int, ...]
    lhs_free: tuple[int, ...]
    rhs_free: tuple[int, ...]


def _axes(lhs_ndim: int, rhs_ndim: int, dimension_numbers: Any) -> _Axes:
    (lc, rc), (lb, rb) = dimension_numbers
    lhs_free = tuple(k for k in range(lhs_ndim) if k not in lc and k not in lb)
    rhs_free = tuple(k for k in range(rhs_ndim) if k not in rc and k not in rb)
    return _Axes(tuple(lc), tuple(rc), tuple(lb), tuple(rb), lhs_free, rhs_free)


def _sizes(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[k] for k in axes)


# --------------------------------------------------------------------------- types


_KINDS: Final = "buifc"
_finfo: Final[Any] = dtypes.finfo


def _precision(dtype: Any) -> tuple[int, int, float]:
    kind = dtypes.kind_of(dtype)
    largest = float(_finfo(dtype).max) if kind in "fc" else float(kind == "i")
    rank = _KINDS.index("i" if kind == "u" else kind)
    return rank, dtypes.itemsize_bits(dtype), largest


def product_dtype(lhs: Any, rhs: Any) -> Any:
    """The dtype of a product: the one of higher precision, not a third that holds both.

    Kinds first, then bits, then the range. Raises TypeError if neither is higher.

    >>> product_dtype(np.dtype("int8"), np.dtype("uint16"))
    dtype('uint16')
    """
    if lhs == rhs:
        return lhs
    left, right = _precision(lhs), _precision(rhs)
    if left == right:
        raise TypeError(
            f"dot_general: neither of {lhs.name} and {rhs.name} has the higher precision; convert "
            "one of the operands"
        )
    return lhs if left > right else rhs


def compute_dtype(*operands: Any) -> Any:
    """The dtype in which products of these dtypes are summed: narrow floats in float32.

    >>> compute_dtype(np.dtype("float16"), np.dtype("float16"))
    dtype('float32')
    """
    dtype = operands[0]
    for other in operands[1:]:
        dtype = product_dtype(dtype, other)
    narrow = dtypes.kind_of(dtype) == "f" and dtypes.itemsize_bits(dtype) < 32
    return dtypes.float32 if narrow else dtype


def _operand_text(lhs: Any, rhs: Any) -> str:
    return f"operands are {kinds.operand_types([lhs, rhs])}"


def _check_axes(side: str, aval: Any, contract: Any, batch: Any, both: str) -> None:
    used = (*batch, *contract)
    if any(not 0 <= k < aval.ndim for k in used):
        raise TypeError(
            f"dot_general requires {side} dimension numbers to be nonnegative and less than the "
            f"number of axes of the {side} value, got {side}_batch of {tuple(batch)} and "
            f"{side}_contracting of {tuple(contract)} for {side} of rank {aval.ndim}; {both}"
        )
    if len(set(used)) != len(used):
        raise TypeError(
            f"dot_general requires {side} batch dimensions to be disjoint from contracting "
            f"dimensions, each named once; got {side}_batch {tuple(batch)} and {side}_contracting "
            f"{tuple(contract)}; {both}"
        )


def _check(lhs: Any, rhs: Any, dimension_numbers: Any) -> _Axes:
    (lc, rc), (lb, rb) = dimension_numbers
    both = _operand_text(lhs, rhs)
    _check_axes("lhs", lhs, lc, lb, both)
    _check_axes("rhs", rhs, rc, rb, both)
    for what, left, right in (("batch", lb, rb), ("contracting", lc, rc)):
        left, right = _sizes(lhs.shape, left), _sizes(rhs.shape, right)
        if left != right:
            lhs_what = (
                "lhs batch dimensions and rhs batch dimensions"
                if what == "batch"
                else ("contracting dimensions")
            )
            raise TypeError(
                f"dot_general requires {lhs_what} to have the same shape, got {left} and {right}; "
                f"{both}"
            )
    return _axes(lhs.ndim, rhs.ndim, dimension_numbers)


def result_dtype(name: str, lhs: Any, rhs: Any, preferred: Any) -> Any:
    """The element type of a product, and whether both operands may be multiplied."""
    for aval in (lhs, rhs):
        kinds.check_accepts(name, aval, kinds.ANY)
    natural = product_dtype(lhs.dtype, rhs.dtype)
    if preferred is None:
        return natural
    integral = all(dtypes.kind_of(d) in "iu" for d in (natural, preferred))
    if integral and dtypes.itemsize_bits(preferred) < dtypes.itemsize_bits(natural):
        raise TypeError(
            "`preferred_element_type` must not be narrower than the original type, got "
            f"preferred_element_type of {preferred} for result type of {natural}."
        )
    return preferred


def _abstract(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> ShapedArray:
    axes = _check(lhs, rhs, dimension_numbers)
    dtype = result_dtype("dot_general", lhs, rhs, preferred_element_type)
    shape = (
        *_sizes(lhs.shape, axes.lhs_batch),
        *_sizes(lhs.shape, axes.lhs_free),
        *_sizes(rhs.shape, axes.rhs_free),
    )
    weak = lhs.weak_type and rhs.weak_type and preferred_element_type is None
    return ShapedArray(shape, dtype, weak)


# --------------------------------------------------------------------------- reference


def _reference(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> Any:
    (lc, rc), (lb, _) = dimension_numbers
    dtype = lhs.dtype
    simple = dtype == rhs.dtype and preferred_element_type in (None, dtype) and not lb
    simple = simple and len(lc) == 1 and lhs.ndim <= 2 and rhs.ndim <= 2
    if simple and dtype.kind in "fc" and dtype.itemsize >= 4:
        return np.dot(lhs if lc[0] == lhs.ndim - 1 else lhs.T, rhs if rc[0] == 0 else rhs.T)
    return _general_reference(lhs, rhs, dimension_numbers, preferred_element_type)


def _general_reference(lhs: Any, rhs: Any, dimension_numbers: Any, preferred: Any) -> Any:
    axes = _axes(lhs.ndim, rhs.ndim, dimension_numbers)
    natural = product_dtype(lhs.dtype, rhs.dtype)
    dtype = natural if preferred is None else preferred
    inner = compute_dtype(natural, dtype)
    batch = _sizes(lhs.shape, axes.lhs_batch)
    m, n = _sizes(lhs.shape, axes.lhs_free), _sizes(rhs.shape, axes.rhs_free)
    k = math.prod(_sizes(lhs.shape, axes.lhs_contract))
    left = lhs.transpose(axes.lhs_batch + axes.lhs_free + axes.lhs_contract)
    right = rhs.transpose(axes.rhs_batch + axes.rhs_contract + axes.rhs_free)
    left = left.reshape(*batch, math.prod(m), k).astype(inner, copy=False)
    right = right.reshape(*batch, k, math.prod(n)).astype(inner, copy=False)
    return np.matmul(left, right).reshape(batch + m + n).astype(dtype, copy=False)


# --------------------------------------------------------------------------- derivatives


def _jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    (lhs, rhs), (lhs_dot, rhs_dot) = primals, tangents
    out = dot_general(lhs, rhs, **params)
    if dtypes.kind_of(aval_of(out).dtype) not in kinds.INEXACT:
        return out, kinds.zero_tangent(out)
    terms = []
    if type(lhs_dot) is not Zero:
        terms.append(dot_general(lhs_dot, rhs, **params))
    if type(rhs_dot) is not Zero:
        terms.append(dot_general(lhs, rhs_dot, **params))
    return out, kinds.add_tangents(terms, out)


def _inverse(permutation: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.argsort(permutation))


def _permute(x: Any, permutation: tuple[int, ...]) -> Any:
    if permutation == tuple(range(len(permutation))):
        return x
    return structural.transpose(x, permutation=permutation)


def _cotangent(
    ct: Any, aval: Any, other: Any, mine: Any, theirs: Any, ct_free: range, **params: Any
) -> Any:
    """The cotangent of one operand: that of the result contracted with the other operand.

    `mine` and `theirs` are (batch, free, contracting) axes of the operand of type `aval` and of
    `other`; `ct_free` are the axes of `ct` that came from the free axes of `other`.
    """
    (batch, free, contract), (o_batch, o_free, o_contract) = mine, theirs
    ct_batch = tuple(range(len(batch)))
    # `other` keeps its contracting axes in ascending order; these are ours in that order.
    matched = tuple(contract[k] for k in np.argsort(o_contract, kind="stable"))
    params["preferred_element_type"] = _cotangent_dtype(ct, aval, other, params)
    ct_axes, ct_first = tuple(ct_free), _inverse((*batch, *free, *matched))
    other_first = _inverse((*batch, *matched, *free))
    if other_first == tuple(range(len(other_first))) and other_first != ct_first:
        numbers = ((o_free, ct_axes), (o_batch, ct_batch))
        out, order = dot_general(other, ct, dimension_numbers=numbers, **params), other_first
    else:
        numbers = ((ct_axes, o_free), (ct_batch, o_batch))
        out, order = dot_general(ct, other, dimension_numbers=numbers, **params), ct_first
    out = _permute(out, order)
    if aval_of(out).dtype == aval.dtype:
        return out
    return conversion.convert_element_type(
        out, new_dtype=aval.dtype, weak_type=False, sharding=None
    )


def _cotangent_dtype(ct: Any, aval: Any, other: Any, params: dict[str, Any]) -> Any:
    natural = product_dtype(aval_of(ct).dtype, aval_of(other).dtype)
    if dtypes.kind_of(natural) == "c" != dtypes.kind_of(aval.dtype):
        return None  # the imaginary part is dropped afterwards
    same = natural == aval.dtype and params["preferred_element_type"] is None
    return None if same else aval.dtype


def _transpose(
    ct: Any, lhs: Any, rhs: Any, *, dimension_numbers: Any, out_sharding: Any = None, **params: Any
) -> list[Any]:
    lhs_aval = lhs.aval if is_linear(lhs) else aval_of(lhs)
    rhs_aval = rhs.aval if is_linear(rhs) else aval_of(rhs)
    a = _axes(lhs_aval.ndim, rhs_aval.ndim, dimension_numbers)
    left = (a.lhs_batch, a.lhs_free, a.lhs_contract)
    right = (a.rhs_batch, a.rhs_free, a.rhs_contract)
    split, end = len(a.lhs_batch) + len(a.lhs_free), aval_of(ct).ndim
    params["out_sharding"] = None
    if is_linear(lhs):
        return [_cotangent(ct, lhs_aval, rhs, left, right, range(split, end), **params), None]
    start = len(a.lhs_batch)
    return [None, _cotangent(ct, rhs_aval, lhs, right, left, range(start, split), **params)]


# --------------------------------------------------------------------------- batching


def _shifted(axes: Sequence[int], dim: int) -> tuple[int, ...]:
    """Axes of one lane as axes of the array with a batch axis at `dim`."""
    return tuple(k + (k >= dim) for k in axes)


def _batch(
    size: int, args: Any, dims: Any, *, dimension_numbers: Any, **params: Any
) -> tuple[Any, int]:
    (lhs, rhs), (ld, rd) = args, dims
    (lc, rc), (lb, rb) = dimension_numbers
    if ld is not None:
        lc, lb = _shifted(lc, ld), _shifted(lb, ld)
    if rd is not None:
        rc, rb = _shifted(rc, rd), _shifted(rb, rd)
    if ld is not None and rd is not None:
        lb, rb, out_dim = (ld, *lb), (rd, *rb), 0
    elif ld is not None:
        out_dim = len(lb) + sum(k not in lc and k not in lb for k in range(ld))
    else:
        lhs_ndim = aval_of(lhs).ndim
        before = sum(k not in rc and k not in rb for k in range(rd))
        out_dim = lhs_ndim - len(lc) + before
    numbers = ((tuple(lc), tuple(rc)), (tuple(lb), tuple(rb)))
    return dot_general(lhs, rhs, dimension_numbers=numbers, **params), out_dim


# --------------------------------------------------------------------------- lowering

_ELEMENTS: Final = {
    dtypes.float32: "f32",
    dtypes.float64: "f64",
    dtypes.complex64: "c64",
    dtypes.complex128: "c128",
}
THIN: Final = 8
"""Rows of a thin operand, at most."""
_COLUMN_BYTES: Final = 32
"""Bytes of few columns, at most: of more, broadcast elements times rows are faster."""
_LONG_BYTES: Final = 256
"""Bytes of the terms of a sum below which what is done for each of thin operands takes longer."""
_CALL_NS: Final = 300.0
_NS: Final = 0.004
"""Nanoseconds of a multiplication and an addition, by the bytes of an element, at least."""
_INLINE_WORK: Final = 512
"""Multiplications a lane below which loops in place beat a call of the kernel."""
_INLINE_DEPTH: Final = 4
"""Contracted length up to which the product is left to the element-wise code around it."""


def has_kernel(dtype: Any) -> bool:
    """Whether there is a compiled matrix kernel for elements of `dtype`."""
    return dtype in _ELEMENTS


@dataclass(frozen=True)
class Matrix:
    """Matrices in a buffer, one per lane: strides of lanes, rows and columns, in elements."""

    buffer: Any
    lane: int
    row: int
    column: int


def gemm(b: Any, lhs: Matrix, rhs: Matrix, lanes: int, m: int, n: int, k: int, dtype: Any) -> Any:
    """A tensor `[lanes, m, n]` of products, by the matrix kernel for `dtype`."""
    out = b.buffer((lanes, m, n), dtype)
    numbers = (
        lanes, lhs.lane, rhs.lane, m * n,
        m, n, k,
        lhs.row, lhs.column, rhs.row, rhs.column, n,
    )  # fmt: skip
    work = lanes * m * n * k * _NS * dtypes.physical(dtype).itemsize
    operands = (lhs.buffer, rhs.buffer, out)
    kernel = f"pb_{_kind(lhs, rhs, m, n, k, dtype)}_{_ELEMENTS[dtype]}"
    b.call(kernel, *operands, *map(np.int64, numbers), work=_CALL_NS + work)
    return out


def _kind(lhs: Matrix, rhs: Matrix, m: int, n: int, k: int, dtype: Any) -> str:
    """The matrix kernel for these operands: single rows, and few, have kernels of their own."""
    if dtypes.issubdtype(dtype, np.complexfloating):
        return "gemm"
    row = m == 1 and 1 in (lhs.column, rhs.column)
    column = n == 1 and 1 in (rhs.row, lhs.row)
    if row or column:
        return "row"
    few_columns = n * dtype.itemsize <= _COLUMN_BYTES and lhs.column == 1
    few = rhs.row == 1 if m <= THIN else few_columns
    return "thin" if few and k * dtype.itemsize >= _LONG_BYTES else "gemm"


def strides_of(shape: Sequence[int]) -> list[int]:
    """Elements between neighbours along each axis of an array in C order."""
    strides, step = [0] * len(shape), 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= shape[axis]
    return strides


def _joint_stride(shape: Sequence[int], strides: Sequence[int], axes: Sequence[int]) -> int | None:
    """The one stride with which these axes, taken as one, are walked; None if there is none."""
    axes = [k for k in axes if shape[k] != 1]
    for outer, inner in itertools.pairwise(axes):
        if strides[outer] != strides[inner] * shape[inner]:
            return None
    return strides[axes[-1]] if axes else 0


def _transposed(b: Any, x: Any, order: Sequence[int]) -> Any:
    if tuple(order) == tuple(range(len(order))):
        return x
    inverse = _inverse(order)
    return b.view(
        [x.shape[k] for k in order], lambda idx: x.at([idx[inverse[k]] for k in range(len(order))])
    )


def matrix(b: Any, x: Any, groups: Sequence[Sequence[int]]) -> Matrix:
    """An operand as matrices, copied only if no strides describe it as it is.

    `groups` are its axes: those of lanes, of rows and of columns.
    """
    strides = strides_of(x.shape)
    joint = [_joint_stride(x.shape, strides, axes) for axes in groups]
    if None in joint or (1 not in joint[1:] and math.prod(x.shape) > 1):
        x = _transposed(b, x, [k for axes in groups for k in axes])
        sizes = [len(axes) for axes in groups]
        strides, ends = strides_of(x.shape), np.cumsum(sizes)
        joint = [
            _joint_stride(x.shape, strides, range(end - size, end))
            for size, end in zip(sizes, ends, strict=True)
        ]
    lane, row, column = (stride or 0 for stride in joint)
    return Matrix(b.materialize(x), lane, row, column)


def _contract_order(b: Any, lhs: Any, axes: _Axes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The contracted axes of both operands in the order in which the left one stores them."""
    order = sorted(range(len(axes.lhs_contract)), key=lambda k: axes.lhs_contract[k])
    return (
        tuple(axes.lhs_contract[k] for k in order),
        tuple(axes.rhs_contract[k] for k in order),
    )


def _lower(
    b: Any,
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> Any:
    axes = _axes(len(lhs.shape), len(rhs.shape), dimension_numbers)
    natural = product_dtype(lhs.dtype, rhs.dtype)
    dtype = natural if preferred_element_type is None else preferred_element_type
    batch, m = _sizes(lhs.shape, axes.lhs_batch), _sizes(lhs.shape, axes.lhs_free)
    n, k = _sizes(rhs.shape, axes.rhs_free), _sizes(lhs.shape, axes.lhs_contract)
    rows, columns, depth = math.prod(m), math.prod(n), math.prod(k)
    inner, lanes = compute_dtype(natural, dtype), math.prod(batch)
    tiles = narrow_products.tile_kernel(b, lhs.dtype, rhs.dtype, inner, rows, columns, depth)
    if tiles is None:
        if dtypes.kind_of(inner) in "iu" and rows * columns * depth > _INLINE_WORK:
            inner = narrow_products.exact_floats(lhs.dtype, rhs.dtype, depth) or inner
        lhs, rhs = b.converted(lhs, inner), b.converted(rhs, inner)
    if tiles is None and _prefers_loops(inner, rows, columns, depth, inner != natural):
        out = _lower_loops(b, lhs, rhs, axes, inner)
    else:
        lhs_contract, rhs_contract = _contract_order(b, lhs, axes)
        left = matrix(b, lhs, (axes.lhs_batch, axes.lhs_free, lhs_contract))
        right = matrix(b, rhs, (axes.rhs_batch, rhs_contract, axes.rhs_free))
        if tiles is not None:
            out = narrow_products.by_tiles(b, tiles, left, right, lanes, rows, columns, depth)
        else:
            out = gemm(b, left, right, lanes, rows, columns, depth, inner)
        out = b.reshape(out, batch + m + n)
    if dtypes.kind_of(dtype) in "iu" and dtypes.kind_of(out.dtype) == "f":
        out = b.converted(out, dtypes.int64)  # which wraps where a conversion of floats saturates
    return b.converted(out, dtype)


def _prefers_loops(dtype: Any, rows: int, columns: int, depth: int, converted: bool) -> bool:
    small = rows * columns * depth <= _INLINE_WORK or depth <= _INLINE_DEPTH
    # What is read once is converted on the way; BLAS would pack a complex matrix first.
    once = 1 in (rows, columns) and (converted or dtypes.kind_of(dtype) == "c")
    return not has_kernel(dtype) or small or once or rows == columns == 1


def _sums_rows(lhs: Any, rhs: Any, axes: _Axes) -> bool:
    """Whether a matrix times a vector is a sum of stored rows, not a sum along each of them."""
    matrix = (lhs, axes.lhs_contract) if axes.lhs_free else (rhs, axes.rhs_contract)
    return bool(matrix[0].shape) and len(matrix[0].shape) - 1 not in matrix[1]


def _lower_loops(b: Any, lhs: Any, rhs: Any, axes: _Axes, dtype: Any) -> Any:
    """A sum over the contracted axes of a lazy product, which the compiler fuses as it likes."""
    batch, m = _sizes(lhs.shape, axes.lhs_batch), _sizes(lhs.shape, axes.lhs_free)
    n, k = _sizes(rhs.shape, axes.rhs_free), _sizes(lhs.shape, axes.lhs_contract)
    outside = _sums_rows(lhs, rhs, axes) and 1 in (math.prod(m), math.prod(n))
    groups = (batch, k, m, n) if outside else (batch, m, n, k)
    ends = np.cumsum([0, *map(len, groups)])
    boolean = dtypes.kind_of(dtype) == "b"

    def element(idx: tuple[Any, ...]) -> Any:
        lanes, *parts = (idx[start:end] for start, end in itertools.pairwise(ends))
        i, j, inner = (*parts[1:], parts[0]) if outside else parts
        left = _scatter_index(
            (axes.lhs_batch, lanes), (axes.lhs_free, i), (axes.lhs_contract, inner)
        )
        right = _scatter_index(
            (axes.rhs_batch, lanes), (axes.rhs_free, j), (axes.rhs_contract, inner)
        )
        x, y = lhs.at(left), rhs.at(right)
        return b.s.and_(x, y) if boolean else b.s.mul(x, y)

    products = b.view(tuple(itertools.chain(*groups)), element)
    if not k:
        return products

    def combine(s: Any, sums: Any, values: Any) -> list[Any]:
        return [s.or_(sums[0], values[0]) if boolean else s.add(sums[0], values[0])]

    start = len(batch) if outside else int(ends[3])
    over = tuple(range(start, start + len(k)))
    return b.reduce([products], over, [False if boolean else 0], combine)[0]


def _scatter_index(*parts: tuple[Sequence[int], Sequence[Any]]) -> list[Any]:
    """An index from (axes, values) pairs that cover every axis once."""
    pairs = [pair for axes, values in parts for pair in zip(axes, values, strict=True)]
    return [value for _, value in sorted(pairs, key=lambda pair: pair[0])]


# --------------------------------------------------------------------------- samples


def _samples() -> Iterator[Sample]:
    rng = np.random.default_rng(7)

    def draw(shape: tuple[int, ...], dtype: Any) -> Any:
        kind = dtypes.kind_of(np.dtype(dtype))
        if kind == "b":
            return rng.random(shape) < 0.4
        if kind in "iu":
            return rng.integers(-4 if kind == "i" else 0, 5, shape).astype(dtype)
        values = rng.uniform(-1, 1, shape)
        if kind == "c":
            values = values + 1j * rng.uniform(-1, 1, shape)
        return values.astype(dtype)

    def sample(
        a: Any, c: Any, numbers: Any, dtype: Any = "float32", preferred: Any = None
    ) -> Sample:
        preferred = None if preferred is None else np.dtype(preferred)
        params = {
            "dimension_numbers": numbers,
            "precision": None,
            "preferred_element_type": preferred,
            "out_sharding": None,
        }
        lhs, rhs = dtype if isinstance(dtype, tuple) else (dtype, dtype)
        return Sample((draw(a, lhs), draw(c, rhs)), params, tol=4.0)

    plain = (((1,), (0,)), ((), ()))
    for dtype in ("float32", "float64", "complex64", "complex128", "int32", "uint8", "bool",
                  "float16", dtypes.bfloat16):  # fmt: skip
        yield sample((3, 4), (4, 5), plain, dtype)
    yield sample((17, 33), (33, 20), plain)
    yield sample((33, 17), (20, 33), (((0,), (1,)), ((), ())), "float64")
    yield sample((33, 17), (33, 20), (((0,), (0,)), ((), ())), "complex64")
    yield sample((40, 30), (30,), plain)
    yield sample((40,), (30, 40), (((0,), (1,)), ((), ())))
    yield sample((9,), (9,), (((0,), (0,)), ((), ())))
    yield sample((3,), (4,), (((), ()), ((), ())))
    yield sample((), (4,), (((), ()), ((), ())))
    yield sample((0, 4), (4, 3), plain)
    yield sample((3, 0), (0, 2), plain)
    yield sample((5, 2, 3), (5, 3, 4), (((2,), (1,)), ((0,), (0,))))
    yield sample((9, 5, 16), (16, 9, 5), (((2,), (0,)), ((1, 0), (2, 1))))
    yield sample((12, 3, 11), (3, 13, 12), (((0, 1), (2, 0)), ((), ())))
    yield sample((11, 3, 12), (12, 13, 3), (((1, 2), (2, 0)), ((), ())), "float64")
    yield sample((4, 12, 3, 11), (11, 13, 4), (((3,), (0,)), ((0,), (2,))))
    yield sample((3, 4), (4, 5), plain, "int8", "int32")
    yield sample((3, 4), (4, 5), plain, dtypes.bfloat16, "float32")
    yield sample((3, 4), (4, 5), plain, ("float32", dtypes.bfloat16))
    yield sample((3, 4), (4, 5), plain, ("complex64", "float32"))


dot_general: Final = Primitive(
    name="dot_general",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=hlo_windows.dot_general,
    samples=_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
