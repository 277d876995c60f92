"""Reductions along axes: sum, product, extremes, logic, and the positions of extremes.

Sums and products of 16-bit floats are accumulated in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import is_symbolic
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
)
from pullback.ops import slicing, structural
from pullback.ops.arithmetic import add, div, extremum, mul
from pullback.ops.comparison import eq
from pullback.ops.conversion import convert
from pullback.ops.kinds import (
    ANY,
    BITS,
    NONDIFF,
    NONLINEAR,
    NUMERIC,
    ORDERED,
    broadcast,
    check_accepts,
    float_limits,
    integer_limits,
    late,
    linear_jvp,
    nondifferentiable,
    widened,
    zero_tangent,
)
from pullback.ops.samples import ANYWHERE, DTYPES, draw, generator, special_values

__all__ = [
    "argmax",
    "argmin",
    "check_axes",
    "highest",
    "identity_of",
    "kept_axes",
    "lowest",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_prod",
    "reduce_sum",
    "reduce_xor",
]

Axes = tuple[int, ...]

# --------------------------------------------------------------------------- axes and identities


def check_axes(name: str, x: Any, axes: Sequence[int]) -> None:
    """Raise unless `axes` are distinct axes of `x`."""
    if len(set(axes)) != len(axes) or not all(0 <= a < len(x.shape) for a in axes):
        wrong = [a for a in axes if not 0 <= a < len(x.shape)]
        raise ValueError(
            f"reduction axes {tuple(axes)} contains out-of-bounds indices for "
            f"{x.str_short(short_dtypes=False)}."
            if wrong
            else f"duplicate value in 'axes' of reduction: {tuple(axes)}"
        )


def kept_axes(rank: int, axes: Sequence[int]) -> Axes:
    """The axes that a reduction keeps."""
    return tuple(k for k in range(rank) if k not in axes)


def lowest(dtype: Any) -> Any:
    """The identity of max: the least element."""
    return _extreme(dtype, -math.inf)


def highest(dtype: Any) -> Any:
    """The identity of min: the greatest element."""
    return _extreme(dtype, math.inf)


def _extreme(dtype: Any, infinity: float) -> Any:
    kind = dtypes.kind_of(dtype)
    if kind == "c":
        return dtype.type(complex(infinity, 0.0))
    if kind == "f":
        return _float_extreme(dtype, infinity)
    if kind == "b":
        return np.bool_(infinity > 0)
    info = integer_limits(dtype)
    return dtype.type(info.max if infinity > 0 else info.min)


def _float_extreme(dtype: Any, infinity: float) -> Any:
    value = dtype.type(infinity)
    if np.isinf(value):
        return value
    limits = float_limits(dtype)  # some 8-bit floats have no infinities
    return limits.max if infinity > 0 else limits.min


@cache
def identity_of(name: str, dtype: Any) -> Any:
    """The identity of `sum`, `prod`, `max`, `min`, `and`, `or` or `xor` for a dtype."""
    if name in ("max", "min"):
        return lowest(dtype) if name == "max" else highest(dtype)
    if name == "and":
        return ~dtype.type(0)
    return dtype.type(1 if name == "prod" else 0)


def _result_shape(name: str, x: Any, axes: Axes, accepts: str) -> tuple[int, ...]:
    if name in ("reduce_and", "reduce_or", "reduce_xor") and dtypes.kind_of(x.dtype) not in accepts:
        raise TypeError(
            f"logical reduction requires operand dtype bool or int, got {x.dtype.name}."
        )
    check_accepts(name, x, accepts)
    check_axes(name, x, axes)
    return tuple(n for k, n in enumerate(x.shape) if k not in axes)


# --------------------------------------------------------------------------- the family


def _check_wide_enough(x: ShapedArray) -> None:
    if x.dtype in (np.float16, dtypes.bfloat16) and not config.allow_f16_reductions():
        raise TypeError(
            f"reduce_sum of {x.str_short()} is not allowed where jax_allow_f16_reductions is False"
        )


def _batch(bind: Callable[..., Any]) -> Callable[..., Any]:
    def batch(size: int, args: Any, dims: Any, *, axes: Axes, **params: Any) -> tuple[Any, int]:
        (x,), (dim,) = args, dims
        moved = tuple(a + (a >= dim) for a in axes)
        return bind(x, axes=moved, **params), dim - sum(a < dim for a in moved)

    return batch


def _samples(accepts: str, interval: Any = ANYWHERE) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        rng = generator()
        cases = (((), ()), ((5,), (0,)), ((2, 3), (1,)), ((2, 3, 4), (0, 2)), ((0, 3), (0,)))
        for kind in accepts:
            for place, dtype in enumerate(DTYPES[kind]):
                for shape, axes in cases if place == 0 else cases[2:3]:
                    smooth = accepts != ANY or 0 not in shape
                    yield Sample((draw(rng, dtype, shape, interval),), {"axes": axes}, smooth)
        yield Sample(
            (draw(rng, dtypes.float32 if "f" in accepts else dtypes.bool_, (3, 0)),),
            {"axes": (0, 1)},
            accepts != ANY,
        )
        if "f" in accepts:
            yield Sample((special_values(dtypes.float32),), {"axes": (0,)}, False)
            yield Sample((draw(rng, dtypes.float32, (7, 300)),), {"axes": (1,)}, tol=8.0)
            yield Sample((draw(rng, dtypes.float32, (300, 7)),), {"axes": (0,)}, tol=8.0)

    return samples


def _reduction(
    name: str,
    ufunc: Any,
    accepts: str,
    *,
    jvp: Any,
    transpose: Any = NONLINEAR,
    combine: Callable[..., Any],
    samples: Callable[[], Iterator[Sample]],
) -> Primitive:
    full_name = f"reduce_{name}"

    def abstract(x: ShapedArray, *, axes: Axes, out_sharding: Any = None) -> ShapedArray:
        if name == "sum":
            _check_wide_enough(x)
        weak = x.weak_type and accepts != BITS
        return ShapedArray(_result_shape(full_name, x, axes, accepts), x.dtype, weak)

    def reference(x: Any, *, axes: Axes, out_sharding: Any = None) -> Any:
        dtype = x.dtype
        return ufunc.reduce(x, axes, dtype, None, False, identity_of(name, dtype))

    def lower(b: Any, x: Any, *, axes: Axes, out_sharding: Any = None) -> Any:
        dtype = x.dtype
        narrow = dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4
        if narrow:
            x = b.map(lambda s, v: s.convert(v, dtypes.float32), x)
        zero = identity_of(name, x.dtype)
        (out,) = b.reduce([x], axes, [zero], lambda s, a, v: [combine(s, a[0], v[0])])
        return b.map(lambda s, v: s.convert(v, dtype), out) if narrow else out

    bind = late(full_name)
    return Primitive(
        name=full_name,
        abstract=abstract,
        reference=widened(reference),
        jvp=nondifferentiable(bind) if jvp is NONDIFF else jvp,
        transpose=transpose,
        batch=_batch(bind),
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=lower,
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def spread(x: Any, shape: Sequence[int], axes: Axes) -> Any:
    """The result of a reduction along `axes`, repeated along them to the operand's shape."""
    return broadcast(x, shape, kept_axes(len(shape), axes))


# --------------------------------------------------------------------------- sum and product

reduce_sum: Primitive = _reduction(
    "sum",
    np.add,
    NUMERIC,
    jvp=linear_jvp(late("reduce_sum")),
    transpose=lambda ct, x, axes, **_: [spread(ct, x.aval.shape, axes)],
    combine=lambda s, a, v: s.add(a, v),
    samples=_samples(NUMERIC),
)


def _prod_jvp(primals: Any, tangents: Any, *, axes: Axes, **params: Any) -> tuple[Any, Any]:
    (x,), (t,) = primals, tangents
    out = reduce_prod(x, axes=axes, **params)
    return out, zero_tangent(out) if type(t) is Zero else _prod_tangent(x, t, axes)


def _prod_tangent(x: Any, t: Any, axes: Axes) -> Any:
    """The tangent of a product by a tree of pairs, which divides by nothing."""
    factors, slopes = _rows(x, axes), _rows(t, axes)
    while (n := aval_of(factors).shape[0]) > 1:
        half = n // 2
        (a, b, odd), (ta, tb, todd) = _thirds(factors, half), _thirds(slopes, half)
        slopes = _joined(add(mul(ta, b), mul(a, tb)), todd)
        factors = _joined(mul(a, b), odd)
    return reduce_sum(slopes, axes=(0,), out_sharding=None)


def _rows(x: Any, axes: Axes) -> Any:
    """`x` with the reduced axes as one axis in front."""
    shape = aval_of(x).shape
    kept = kept_axes(len(shape), axes)
    count = math.prod(shape[a] for a in axes)
    x = structural.transpose(x, permutation=(*axes, *kept))
    sizes = (count, *(shape[k] for k in kept))
    return structural.reshape(x, new_sizes=sizes, dimensions=None, sharding=None)


def _thirds(x: Any, half: int) -> tuple[Any, Any, Any]:
    n = aval_of(x).shape[0]
    odd = _slice(x, 2 * half, n) if n % 2 else None
    return _slice(x, 0, half), _slice(x, half, 2 * half), odd


def _joined(x: Any, rest: Any) -> Any:
    return x if rest is None else structural.concatenate(x, rest, dimension=0)


def _slice(x: Any, start: int, stop: int) -> Any:
    shape = aval_of(x).shape
    first = (start, *(0 for _ in shape[1:]))
    return slicing.slice_(x, start_indices=first, limit_indices=(stop, *shape[1:]), strides=None)


reduce_prod: Primitive = _reduction(
    "prod",
    np.multiply,
    NUMERIC,
    jvp=_prod_jvp,
    combine=lambda s, a, v: s.mul(a, v),
    samples=_samples(NUMERIC, (0.5, 1.5)),
)

# --------------------------------------------------------------------------- extremes


def _extremum_jvp(name: str) -> Callable[..., tuple[Any, Any]]:
    bind = late(name)

    def jvp(primals: Any, tangents: Any, *, axes: Axes, **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, axes=axes, **params)
        if type(t) is Zero:
            return out, zero_tangent(out)
        hits = convert(eq(x, spread(out, aval_of(x).shape, axes)), aval_of(t).dtype)
        total = reduce_sum(mul(t, hits), axes=axes, out_sharding=None)
        return out, div(total, reduce_sum(hits, axes=axes, out_sharding=None))

    return jvp


reduce_max: Primitive = _reduction(
    "max",
    np.maximum,
    ANY,
    jvp=_extremum_jvp("reduce_max"),
    combine=extremum("max"),
    samples=_samples(ANY),
)
reduce_min: Primitive = _reduction(
    "min",
    np.minimum,
    ANY,
    jvp=_extremum_jvp("reduce_min"),
    combine=extremum("min"),
    samples=_samples(ANY),
)

# --------------------------------------------------------------------------- logic

reduce_and: Primitive = _reduction(
    "and",
    np.bitwise_and,
    BITS,
    jvp=NONDIFF,
    combine=lambda s, a, v: s.and_(a, v),
    samples=_samples(BITS),
)
reduce_or: Primitive = _reduction(
    "or",
    np.bitwise_or,
    BITS,
    jvp=NONDIFF,
    combine=lambda s, a, v: s.or_(a, v),
    samples=_samples(BITS),
)
reduce_xor: Primitive = _reduction(
    "xor",
    np.bitwise_xor,
    BITS,
    jvp=NONDIFF,
    combine=lambda s, a, v: s.xor(a, v),
    samples=_samples(BITS),
)

# --------------------------------------------------------------------------- positions of extremes


_WIDE: Final = tuple(np.dtype(t) for t in ("float32", "float64", "int32", "int64"))
_WORTH: Final = 512
_NEAR: Final = 1 << 15
"""Bytes of a row that is long enough for two sweeps, and of one that stays in the first cache."""


def _place_dtype(last: Any) -> Any:
    """Half as many vectors of places, if they fit."""
    return dtypes.int32 if is_symbolic(last) or last < 2**31 else dtypes.int64


def _first_place(b: Any, x: Any, worst: Any, better: Any) -> Any:
    """Where the last axis is first as good as its best: two sweeps with little to do in each."""
    axes, last = (len(x.shape) - 1,), x.shape[-1]
    (best,) = b.reduce([x], axes, [worst], lambda s, a, v: [better(s, a[0], v[0])])
    places = b.iota(x.shape, _place_dtype(last), axes[0])

    def place(i: Sequence[Any]) -> Any:
        value, top = x.at(i), best.at(i[:-1])
        same = b.s.eq(value, top)
        if dtypes.kind_of(x.dtype) == "f":  # the best of a row with NaN is NaN
            same = b.s.or_(same, b.s.and_(b.s.ne(top, top), b.s.ne(value, value)))
        return b.s.select(same, places.at(i), b.s.const(last, places.dtype))

    least = extremum("min")
    found = b.reduce([b.view(x.shape, place)], axes, [last], lambda s, a, v: [least(s, a[0], v[0])])
    return found[0]


def _position(name: str, find: Any, better: str) -> Primitive:
    def abstract(x: ShapedArray, *, axes: Axes, index_dtype: Any) -> ShapedArray:
        shape = _result_shape(name, x, axes, ORDERED)
        if len(axes) != 1:
            raise ValueError(f"{name} takes one axis, got {axes}")
        if dtypes.kind_of(index_dtype) not in "iu":
            raise TypeError(f"index_dtype must be an integer type, but got {index_dtype}")
        if x.shape[axes[0]] == 0:
            raise ValueError(f"{name} of an empty axis: axis {axes[0]} of {x.str_short()}")
        return ShapedArray(shape, index_dtype)

    def reference(x: Any, *, axes: Axes, index_dtype: Any) -> Any:
        if x.dtype.kind not in "biuf":
            x = x.astype(np.float32 if dtypes.kind_of(x.dtype) == "f" else np.int8)
        return find(x, axis=axes[0]).astype(index_dtype)

    worst = lowest if better == "gt" else highest

    def combine(s: Any, a: Any, v: Any) -> Any:
        """The better of two (value, position) pairs: NaN first, then the value, then the place."""
        nan_a, nan_v = s.ne(a[0], a[0]), s.ne(v[0], v[0])
        first = s.lt(v[1], a[1])
        ahead = s.or_(getattr(s, better)(v[0], a[0]), s.and_(s.eq(v[0], a[0]), first))
        take = s.select(nan_v, s.or_(s.not_(nan_a), first), s.and_(s.not_(nan_a), ahead))
        return [s.select(take, v[0], a[0]), s.select(take, v[1], a[1])]

    def pairs(b: Any, x: Any, *, axes: Axes, index_dtype: Any) -> Any:
        if x.dtype == dtypes.bool_:
            x = b.map(lambda s, v: s.convert(v, np.dtype(np.int8)), x)
        last = x.shape[axes[0]]
        places = b.iota(x.shape, _place_dtype(last), axes[0])
        found = b.reduce([x, places], axes, [worst(x.dtype), last], combine)[1]
        return b.map(lambda s, k: s.convert(k, index_dtype), found)

    def lower(b: Any, x: Any, *, axes: Axes, index_dtype: Any) -> Any:
        row = x.shape[-1] * x.dtype.itemsize
        if axes != (len(x.shape) - 1,) or x.dtype not in _WIDE or not _WORTH <= row <= _NEAR:
            return pairs(b, x, axes=axes, index_dtype=index_dtype)
        found = _first_place(b, x, worst(x.dtype), extremum("max" if better == "gt" else "min"))
        return b.map(lambda s, k: s.convert(k, index_dtype), found)

    bind = late(name)
    return Primitive(
        name=name,
        abstract=abstract,
        reference=reference,
        jvp=nondifferentiable(bind),
        transpose=NONLINEAR,
        batch=_batch(bind),
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=pairs,
        samples=_position_samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def _position_samples() -> Iterator[Sample]:
    rng = generator()
    for dtype in (np.float32, np.int32, np.uint8, np.bool_, dtypes.bfloat16):
        for shape, axis in (((5,), 0), ((2, 3), 1), ((2, 3, 4), 1), ((3, 0), 0)):
            params = {"axes": (axis,), "index_dtype": dtypes.int32}
            yield Sample((draw(rng, np.dtype(dtype), shape),), params)
        yield Sample((special_values(np.dtype(dtype)),), params, False)
    repeated = np.array([[1, 3, 3, 2], [-np.inf] * 4, [2, np.nan, 5, np.nan]], np.float32)
    yield Sample((repeated,), {"axes": (1,), "index_dtype": dtypes.int32}, False)


argmax: Primitive = _position("argmax", np.argmax, "gt")
argmin: Primitive = _position("argmin", np.argmin, "lt")
