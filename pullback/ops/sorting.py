"""sort and top_k.

Numbers sort in one total order in which 0 and -0 are equal, and NaNs are equal and last; complex
numbers by real, then by imaginary part.  `top_k` takes the largest first, in the order of the bits:
-0 below 0, NaN above infinity, NaN with a sign below all; among equals the first comes first.

Compiled, every element becomes an unsigned integer of the same order.  Short rows are ranked by
comparing all pairs, which vectorises; long ones are radix sorted, eight bits at a time, carrying
their positions, by which the operands are then gathered.  Both are stable.  The few largest of a
long row are kept in a list while passing over it.  Numbers alone, and many rows, or long ones, of
keys that fit next to their positions in 64 bits, are sorted by kernels (`ops/sorting_kernels.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
)
from pullback.ops import hlo_indexing, sorting_exchanges, sorting_kernels
from pullback.ops.gather import take_along_axis
from pullback.ops.rearrange import iota, move_to_front, sample_values

__all__ = ["SHORTEST_PARTITION", "argsort", "lower_partition", "permutation", "sort", "top_k"]

_NONLINEAR: Final = NotApplicable("transpose", "the operation is not linear")

# --------------------------------------------------------------------------- keys, by NumPy


def _sortable(x: Any) -> list[Any]:
    """Arrays whose lexicographic order (last first, as in `np.lexsort`) is the order of `x`."""
    kind = dtypes.kind_of(x.dtype)
    if kind == "c":
        return [x.imag, x.real]
    if kind == "b":
        return [x.view(np.uint8)]
    if x.dtype.kind == "V":  # a dtype of ml_dtypes
        return [x.astype(np.float32 if kind == "f" else np.int32)]
    return [x]


def permutation(keys: Sequence[Any], axis: int) -> Any:
    """The stable order of NumPy arrays along an axis."""
    parts = [part for key in reversed(keys) for part in _sortable(key)]
    if len(parts) == 1:
        return parts[0].argsort(axis, kind="stable")
    return np.lexsort(parts, axis)


def _sort_reference(*xs: Any, dimension: int, is_stable: bool, num_keys: int) -> list[Any]:
    if len(xs) == 1 and xs[0].dtype.kind in "iuf":
        return [np.sort(xs[0], dimension, kind="stable")]
    order = permutation(xs[:num_keys], dimension)
    return [np.take_along_axis(x, order, dimension) for x in xs]


def _descending_bits(x: Any) -> Any:
    """Unsigned integers in the opposite order of `top_k`'s."""
    kind = dtypes.kind_of(x.dtype)
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    bits = x.view(unsigned)
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    if kind == "f":
        bits = np.where(bits & sign, ~bits, bits | sign)
    elif kind == "i":
        bits = x.astype(unsigned) ^ sign
    return ~bits


def _top_k_reference(x: Any, *, k: int, axis: int) -> list[Any]:
    order = _descending_bits(np.ascontiguousarray(x)).argsort(axis, kind="stable")
    order = order[(slice(None),) * axis + (slice(k),)]
    return [np.take_along_axis(x, order, axis), order.astype(np.int32)]


# --------------------------------------------------------------------------- keys, compiled


def _ordered_bits(s: Any, x: Any, total: bool) -> Any:
    """An unsigned integer in the order of `x`; with `total` in that of the bits."""
    kind = dtypes.kind_of(x.dtype)
    if kind == "b":
        return s.convert(x, np.uint8)
    if kind == "u":
        return x
    bits_of = np.dtype(f"u{np.dtype(x.dtype).itemsize}")
    sign = 1 << (8 * bits_of.itemsize - 1)
    if kind == "i":  # of four and of two bits, too
        whole = s.convert(x, np.dtype(f"i{bits_of.itemsize}"))
        return s.xor(s.bitcast(whole, bits_of), s.const(sign, bits_of))
    if kind == "f" and not total:
        # 0 == -0, and all NaNs are one.
        zero, nan = s.const(0, x.dtype), s.const(np.nan, x.dtype)
        x = s.select(s.eq(x, zero), zero, s.select(s.is_nan(x), nan, x))
    bits = s.bitcast(x, bits_of)
    negative = s.ne(s.and_(bits, s.const(sign, bits_of)), s.const(0, bits_of))
    return s.select(negative, s.not_(bits), s.or_(bits, s.const(sign, bits_of)))


def _key_rows(b: Any, x: Any, axis: int, total: bool, descending: bool) -> list[Any]:
    """Keys of `x` as arrays [rows, n], the most significant first."""
    n = x.shape[axis]
    rest = [d for k, d in enumerate(x.shape) if k != axis]
    rows = int(np.prod(rest, dtype=np.int64))
    moved = b.view([*rest, n], lambda i: x.at([*i[:axis], i[-1], *i[axis:-1]]))
    parts = [moved]
    if dtypes.kind_of(x.dtype) == "c":
        parts = [b.map("real", moved), b.map("imag", moved)]

    def key(s: Any, value: Any) -> Any:
        bits = _ordered_bits(s, value, total)
        return s.not_(bits) if descending else bits

    return [b.reshape(b.map(key, part), (rows, n)) for part in parts]


_SHORT: Final = 32
SHORTEST_PARTITION: Final = 512
"""Elements of an axis that is worth a selection."""
_FEW: Final = 4
_VERY_FEW: Final = 128
"""The largest are found one by one if they are less than such a part: the latter, where keys are
partitioned with their positions."""


def _order(b: Any, keys: Sequence[Any], wanted: sorting_kernels.Wanted | None = None) -> Any:
    """The stable order [rows, n] of rows of keys, as int32 (int64 for very long rows).

    At least the places that are `wanted` are right.
    """
    rows, n = keys[0].shape
    dtype = np.dtype(np.int32 if n < 2**31 else np.int64)
    if len(keys) == 1 and sorting_kernels.has_order(b, keys[0]):
        return sorting_kernels.order(b, keys[0], wanted)
    keys = [b.materialize(key) for key in keys]
    if n <= _SHORT:
        return _rank(b, keys, rows, n, dtype)
    order = None
    for key in reversed(keys):
        order = _radix(b, key, order, rows, n, dtype)
    return order


def _rank(b: Any, keys: Sequence[Any], rows: int, n: int, dtype: Any) -> Any:
    """Every element goes where the number of those before it says."""
    s, order = b.s, b.buffer((rows, n), dtype)
    with b.loop(rows, independent=True) as r, b.loop(n) as i:
        mine = [b.let(key.at([r, i])) for key in keys]
        count = b.var(0, np.int64)
        with b.loop(n) as j:
            theirs = [key.at([r, j]) for key in keys]
            before = j < i
            for a, m in zip(reversed(theirs), reversed(mine), strict=True):
                before = s.or_(s.lt(a, m), s.and_(s.eq(a, m), before))
            count.set(s.add(count.get(), s.convert(before, np.int64)))
        b.store(order, [r, s.index(count.get(), 0, n - 1)], s.convert(i, dtype))
    return order


def _radix(b: Any, key: Any, order: Any, rows: int, n: int, dtype: Any) -> Any:
    """`order` (None: as they stand) sorted by one key, eight bits a pass."""
    width = key.dtype.itemsize
    values = [b.buffer((rows, n), key.dtype) for _ in range(2)]
    orders = [b.buffer((rows, n), dtype) for _ in range(2)]
    counts = b.buffer((rows, 256), np.int32 if n < 2**31 else np.int64)
    s = b.s
    with b.loop(rows, independent=True) as r:
        with b.loop(n, independent=True) as i:
            at = s.convert(i, dtype) if order is None else b.load(order, [r, i])
            b.store(orders[0], [r, i], at)
            b.store(values[0], [r, i], key.at([r, s.index(at, 0, n - 1)]))
        _passes(b, r, n, counts, values, orders)
    return orders[width % 2]


def _passes(b: Any, r: Any, n: Any, counts: Any, values: Sequence[Any], orders: Any) -> None:
    """Sort the first `n` of a row, from the first pair of buffers to and fro."""
    for turn in range(values[0].dtype.itemsize):
        source, target = turn % 2, 1 - turn % 2
        ends = (values[source], orders[source]), (values[target], orders[target])
        _counting_pass(b, r, n, 8 * turn, counts, *ends)


def _counting_pass(
    b: Any, r: Any, n: Any, shift: int, counts: Any, source: Any, target: Any
) -> None:
    """Move `n` of a row from `source` to `target`, ordered by eight bits of the key."""
    s, room = b.s, source[0].shape[1]
    one = s.const(1, counts.dtype)

    def bucket(value: Any) -> Any:
        digit = value
        if shift:
            digit = s.shift_right_logical(value, s.const(shift, value.dtype))
        if np.dtype(value.dtype).itemsize > 1:
            digit = s.and_(digit, s.const(255, value.dtype))
        return s.index(digit, 0, 255)

    with b.loop(256, independent=True) as k:
        b.store(counts, [r, k], s.const(0, counts.dtype))
    with b.loop(n) as i:
        at = b.let(bucket(b.load(source[0], [r, i])))
        b.store(counts, [r, at], s.add(b.load(counts, [r, at]), one))
    total = b.var(0, counts.dtype)
    with b.loop(256) as k:
        here = b.let(b.load(counts, [r, k]))
        b.store(counts, [r, k], total.get())
        total.set(s.add(total.get(), here))
    with b.loop(n) as i:
        value = b.let(b.load(source[0], [r, i]))
        at = b.let(bucket(value))
        slot = b.let(b.load(counts, [r, at]))
        b.store(counts, [r, at], s.add(slot, one))
        into = [r, s.index(slot, 0, room - 1)]
        b.store(target[0], into, value)
        b.store(target[1], into, b.load(source[1], [r, i]))


def _row_of(i: Sequence[Any], shape: Sequence[int], axis: int) -> Any:
    """The row [rows, n] in which the element at `i` of an array is."""
    row: Any = 0
    for k, n in enumerate(shape):
        if k != axis:
            row = row * n + i[k]
    return row


def _taken(b: Any, x: Any, order: Any, shape: Sequence[int], axis: int) -> Any:
    """`x` along `axis` in the order given by rows."""
    n = x.shape[axis]

    def element(i: Any) -> Any:
        at = b.s.index(order.at([_row_of(i, shape, axis), i[axis]]), 0, n - 1)
        return x.at([*i[:axis], at, *i[axis + 1 :]])

    return b.view(shape, element)


def _sort_lower(b: Any, *xs: Any, dimension: int, is_stable: bool, num_keys: int) -> Any:
    shape = xs[0].shape
    if 0 in shape or shape[dimension] == 1:
        return list(xs)
    if len(xs) == 1 and dtypes.kind_of(xs[0].dtype) != "c" and shape[dimension] > _SHORT:
        return [_sort_alone(b, xs[0], dimension)]
    if sorting_exchanges.has_few(xs, dimension, num_keys):
        return sorting_exchanges.sorted_by_exchanges(b, xs, dimension, num_keys)
    keys = [k for x in xs[:num_keys] for k in _key_rows(b, x, dimension, False, False)]
    order = _order(b, keys)
    sources = [x if b.is_cheap(x) else b.materialize(x) for x in xs]
    return [_taken(b, x, order, shape, dimension) for x in sources]


def _rows_of(b: Any, x: Any, axis: int) -> Any:
    """`x` as [rows, n] along an axis."""
    n, rest = x.shape[axis], [d for k, d in enumerate(x.shape) if k != axis]
    if axis != len(x.shape) - 1:
        moved = x
        x = b.view([*rest, n], lambda i: moved.at([*i[:axis], i[-1], *i[axis:-1]]))
    return b.reshape(x, (int(np.prod(rest, dtype=np.int64)), n))


def _placed(b: Any, rows: Any, shape: Sequence[int], axis: int) -> Any:
    """Rows as an array of a shape, of which they are an axis."""
    if axis == len(shape) - 1:
        return b.reshape(rows, shape)
    return b.view(shape, lambda i: rows.at([_row_of(i, shape, axis), i[axis]]))


def _sort_alone(b: Any, x: Any, axis: int) -> Any:
    rows = _rows_of(b, x, axis)
    out = sorting_kernels.sorted_rows(b, rows, lambda s, value: _ordered_bits(s, value, False))
    return _placed(b, out, x.shape, axis)


def lower_partition(b: Any, x: Any, low: Any, high: Any, axis: int, places: bool) -> Any:
    """`ops.partitions.partition` of a long axis."""
    s, int64 = b.s, np.dtype(np.int64)
    wanted = s.convert(low.at([]), int64), s.add(s.convert(high.at([]), int64), 1)
    if places:
        order = _order(b, _key_rows(b, x, axis, False, False), wanted)
        return _placed(b, order, x.shape, axis)
    if not sorting_kernels.partitions(b, x.shape[axis]):
        return _sort_alone(b, x, axis)
    rows = _rows_of(b, x, axis)
    out = sorting_kernels.partitioned(
        b, rows, lambda s, value: _ordered_bits(s, value, True), wanted
    )
    return _placed(b, out, x.shape, axis)


def _top_k_lower(b: Any, x: Any, *, k: int, axis: int) -> Any:
    shape = [*x.shape[:axis], k, *x.shape[axis + 1 :]]
    if 0 in shape:
        return [b.full(shape, 0, x.dtype), b.full(shape, 0, np.int32)]
    n = x.shape[axis]
    keys = _key_rows(b, b.materialize(x), axis, True, True)
    few = _VERY_FEW if sorting_kernels.has_order(b, keys[0]) else _FEW
    if _SHORT < n < 2**31 and few * k <= n:
        return _top_by_kernel(b, x, k, axis)
    x = b.materialize(x)
    order = _order(b, keys, (np.int64(0), np.int64(k)))
    positions = b.view(
        shape,
        lambda i: b.s.convert(order.at([_row_of(i, shape, axis), i[axis]]), np.int32),
    )
    return [_taken(b, x, order, shape, axis), positions]


def _top_by_kernel(b: Any, x: Any, k: int, axis: int) -> Any:
    """By a kernel, which knows numbers of 32 and 64 bits; for narrow floats those are keys."""
    shape, n = [*x.shape[:axis], k, *x.shape[axis + 1 :]], x.shape[axis]
    moved = _rows_of(b, x, axis)
    rows = moved.shape[0]
    same = np.dtype(dtypes.physical(x.dtype)).itemsize >= 4
    numbers = b.materialize(moved if same else b.map(_wide, moved))
    dtype = np.dtype(numbers.dtype)
    words = dtype.itemsize // 4 * 2 * (k + max(k, _TOP_BLOCK) + _TOP_WIDEST)
    values, order = b.buffer((rows, k), dtype), b.buffer((rows, k), np.dtype(np.int32))
    symbol = f"pb_top_{dtype.kind}{8 * dtype.itemsize}"
    work = b.buffer((rows, words), np.dtype(np.int64))
    b.call(symbol, numbers, values, order, work, *map(np.int64, (rows, n, k)))

    placed = _placed(b, order, shape, axis)
    if not same:
        return [_taken(b, b.materialize(x), order, shape, axis), placed]
    return [_placed(b, values, shape, axis), placed]


_TOP_BLOCK: Final = 16
_TOP_WIDEST: Final = 16
"""What the kernel wants room for, beside the numbers themselves (`llvm.top_kernels`)."""


def _wide(s: Any, value: Any) -> Any:
    """A number of 32 bits in the place of a narrower one."""
    kind = dtypes.kind_of(value.dtype)
    if kind == "i":
        return s.convert(value, np.dtype(np.int32))
    return s.convert(_ordered_bits(s, value, True), np.dtype(np.uint32))


# --------------------------------------------------------------------------- sort


def _sort_abstract(*xs: Any, dimension: int, is_stable: bool, num_keys: int) -> list[ShapedArray]:
    if not 1 <= num_keys <= len(xs):
        raise TypeError(f"sort: num_keys={num_keys} with {len(xs)} operands")
    if any(x.shape != xs[0].shape for x in xs) or not 0 <= dimension < xs[0].ndim:
        types = ", ".join(map(str, xs))
        raise TypeError(f"sort: operands ({types}) need one shape with an axis {dimension}")
    for x in xs[:num_keys]:
        if dtypes.kind_of(x.dtype) not in "biufc":
            raise TypeError(f"sort: keys of type {x} have no order")
    return list(xs)


def _sort_jvp(
    primals: Any, tangents: Any, *, dimension: int, is_stable: bool, num_keys: int
) -> Any:
    params = {"dimension": dimension, "is_stable": is_stable, "num_keys": num_keys}
    if all(type(t) is Zero for t in tangents):
        outs = sort(*primals, **params)
        return outs, [Zero(aval_of(out).to_tangent_aval()) for out in outs]
    places = iota(
        dtype=dtypes.int32, shape=aval_of(primals[0]).shape, dimension=dimension, sharding=None
    )
    *outs, order = sort(*primals, places, **params)
    moved = [
        Zero(aval_of(out).to_tangent_aval())
        if type(t) is Zero
        else take_along_axis(t, order, dimension)
        for out, t in zip(outs, tangents, strict=True)
    ]
    return outs, moved


def _sort_batch(size: int, args: Any, dims: Any, *, dimension: int, **params: Any) -> Any:
    xs = [move_to_front(x, d, size) for x, d in zip(args, dims, strict=True)]
    return sort(*xs, dimension=dimension + 1, **params), [0] * len(xs)


def _special(dtype: Any) -> Any:
    return np.array([0.0, -0.0, np.nan, 1, -np.inf, np.inf, -0.0, -2, np.nan, 0.0]).astype(dtype)


def _sort_samples() -> list[Sample]:
    def sample(*xs: Any, axis: int = 0, keys: int = 1, smooth: bool = True) -> Sample:
        params = {"dimension": axis, "is_stable": True, "num_keys": keys}
        return Sample(xs, params, smooth=smooth)

    rng = np.random.default_rng(3)
    distinct = rng.permutation(12).reshape(3, 4).astype(np.float32)
    return [
        sample(distinct, axis=1),
        sample(distinct, distinct + 1, axis=0),
        sample(rng.permutation(70).astype(np.float32)),
        sample(np.zeros((0,), np.float32)),
        sample(np.ones((2, 0), np.float32), axis=0),
        sample(_special(np.float32), np.arange(10, dtype=np.int32), smooth=False),
        sample(_special(dtypes.bfloat16), np.arange(10, dtype=np.int32), smooth=False),
        sample(rng.integers(-5, 5, (40,), np.int32), np.arange(40, dtype=np.int32)),
        sample(rng.integers(0, 9, (2, 50)).astype(np.uint8), axis=1),
        sample(rng.integers(0, 2, (5,)) == 1),
        sample(
            rng.integers(0, 3, (60,), np.int32),
            sample_values(60, dtype="complex64"),
            np.arange(60, dtype=np.float32),
            keys=2,
            smooth=False,
        ),
    ]


sort: Final[Primitive] = Primitive(
    name="sort",
    abstract=_sort_abstract,
    reference=_sort_reference,
    jvp=_sort_jvp,
    transpose=_NONLINEAR,
    batch=_sort_batch,
    partial_eval=FIRST_ORDER,
    lower=_sort_lower,
    hlo=hlo_indexing.sort,
    samples=_sort_samples,
    multiple_results=True,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- top_k


def _top_k_abstract(x: Any, *, k: int, axis: int) -> list[ShapedArray]:
    if dtypes.kind_of(x.dtype) not in "biuf":
        raise ValueError(f"top_k: elements of {x} have no order")
    if not 0 <= axis < x.ndim or not 0 <= k <= x.shape[axis]:
        raise ValueError(f"top_k: {x} needs an axis {axis} of at least {k} elements")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    return [ShapedArray(shape, d, x.weak_type) for d in (x.dtype, dtypes.int32)]


def _top_k_jvp(primals: Any, tangents: Any, *, k: int, axis: int) -> Any:
    (values, order), t = top_k(*primals, k=k, axis=axis), tangents[0]
    no_tangent = Zero(aval_of(order).to_tangent_aval())
    if type(t) is Zero:
        return [values, order], [Zero(aval_of(values).to_tangent_aval()), no_tangent]
    return [values, order], [take_along_axis(t, order, axis), no_tangent]


def _top_k_batch(size: int, args: Any, dims: Any, *, k: int, axis: int) -> Any:
    x = move_to_front(args[0], dims[0], size)
    return top_k(x, k=k, axis=axis + 1), [0, 0]


top_k: Final[Primitive] = Primitive(
    name="top_k",
    abstract=_top_k_abstract,
    reference=_top_k_reference,
    jvp=_top_k_jvp,
    transpose=_NONLINEAR,
    batch=_top_k_batch,
    partial_eval=FIRST_ORDER,
    lower=_top_k_lower,
    hlo=hlo_indexing.top_k,
    samples=lambda: [
        Sample((np.array([3, 1, 4, 1, 5, 9, 2], np.float32),), {"k": 3, "axis": 0}),
        Sample((sample_values(3, 50, dtype="int32"),), {"k": 4, "axis": 1}),
        Sample((sample_values(4, 3, dtype="uint8"),), {"k": 2, "axis": 0}),
        Sample((_special(np.float32),), {"k": 10, "axis": 0}, smooth=False),
        Sample((_special(dtypes.bfloat16),), {"k": 5, "axis": 0}, smooth=False),
        Sample((np.array([True, False, True]),), {"k": 2, "axis": 0}),
        Sample((np.zeros((2, 3), np.float32),), {"k": 0, "axis": 1}),
    ],
    multiple_results=True,
    effects=PURE,
    literals=False,
)


def argsort(x: Any, axis: int) -> Any:
    """The stable order of `x` along an axis, as int32."""
    shape = aval_of(x).shape
    places = iota(dtype=dtypes.int32, shape=shape, dimension=axis, sharding=None)
    return sort(x, places, dimension=axis, is_stable=True, num_keys=1)[1]
