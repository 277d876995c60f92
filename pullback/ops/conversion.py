"""Changes of dtype, of representation and of precision; copies and barriers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import FIRST_ORDER, PURE, Primitive, Sample, Zero
from pullback.errors import UnsupportedError
from pullback.ops import hlo_structure
from pullback.ops.kinds import (
    ANY,
    FLOAT,
    INEXACT,
    LINEAR,
    NONDIFF,
    NONLINEAR,
    element_wise,
    float_limits,
    integer_limits,
    move_axis,
    unary,
    widened,
    zero_tangent,
)
from pullback.ops.samples import ANYWHERE, DTYPES, draw, generator, inputs, special_values

__all__ = [
    "bitcast_convert_type",
    "convert",
    "convert_element_type",
    "convert_like",
    "copy",
    "reduce_precision",
    "saturated",
    "stop_gradient",
]

# --------------------------------------------------------------------------- conversion


def _convert_abstract(
    x: ShapedArray, *, new_dtype: Any, weak_type: bool, sharding: Any = None
) -> ShapedArray:
    keys = dtypes.is_extended(x.dtype) or dtypes.is_extended(new_dtype)
    if keys and x.dtype != new_dtype:
        raise ValueError(f"Cannot convert_element_type from {x.dtype} to {new_dtype}")
    return ShapedArray(x.shape, new_dtype, bool(weak_type))


@cache
def _float_range(of: Any, to: Any) -> tuple[Any, Any]:
    """The least float that `to` can hold, and the first one above its range."""
    info = integer_limits(to)
    least = max(of.type(float(info.min)), float_limits(of).min)
    return least, of.type(float(int(info.max) + 1))


def saturated(x: Any, dtype: Any) -> Any:
    """Floats to integers: rounded towards zero, clipped to the range, NaN to 0."""
    low, above = _float_range(x.dtype, dtype)
    if ((x >= low) & (x < above)).all():
        return x.astype(dtype)
    info = integer_limits(dtype)
    wide = np.where(np.isnan(x), 0, x).astype(np.float64)
    low, high = float(info.min), float(info.max)
    if high == int(info.max):
        return np.clip(wide, low, high).astype(np.int64).astype(dtype)
    inside = np.clip(wide, low, np.nextafter(high, 0)).astype(dtype)
    return np.where(wide >= high, dtype.type(info.max), inside)


def _convert_reference(x: Any, *, new_dtype: Any, weak_type: bool, sharding: Any = None) -> Any:
    to, of = dtypes.kind_of(new_dtype), dtypes.kind_of(x.dtype)
    if of == "c" and to not in "cb":
        x, of = x.real, "f"
    if of == "f" and to in "iu":
        return saturated(x, new_dtype)
    if to == "b":
        return x != x.dtype.type(0)
    if of == "k":
        return x
    if x.dtype.kind == new_dtype.kind == "V" and of in "iu" and to in "iu":
        x = x.astype(np.int8 if of == "i" else np.uint8)  # `ml_dtypes` lacks some of the pairs
    elif to == "f" and x.dtype.itemsize == new_dtype.itemsize == 1:
        x = x.astype(np.float32)
    return x.astype(new_dtype)


def _convert_jvp(primals: Any, tangents: Any, *, new_dtype: Any, **params: Any) -> Any:
    (x,), (t,) = primals, tangents
    out = convert_element_type(x, new_dtype=new_dtype, **params)
    if type(t) is Zero or dtypes.kind_of(new_dtype) not in INEXACT:
        return out, zero_tangent(out)
    return out, convert_element_type(t, new_dtype=new_dtype, **params)


def convert(x: Any, dtype: Any, weak_type: bool = False) -> Any:
    """`x` as `dtype`; itself if it is that already."""
    aval = aval_of(x)
    if aval.dtype == dtype and aval.weak_type == weak_type:
        return x
    return convert_element_type(x, new_dtype=dtype, weak_type=weak_type, sharding=None)


def convert_like(x: Any, like: Any) -> Any:
    """`x` in the dtype of `like`."""
    return convert(x, aval_of(like).dtype)


def _convert_samples() -> Iterator[Sample]:
    rng = generator()
    every = [d for kind in ANY for d in DTYPES[kind] if d.itemsize <= 4 or d.kind == "c"]
    for source in every:
        for target in every:
            params = {"new_dtype": target, "weak_type": False, "sharding": None}
            smooth = source.kind != "f" or target.itemsize >= 4
            yield Sample((draw(rng, source, (2, 3)),), params, smooth)
            yield Sample((special_values(source),), params, False)
    for shape in ((), (0, 3)):
        yield Sample((draw(rng, dtypes.int32, shape),), params | {"new_dtype": dtypes.float32})


convert_element_type: Primitive = element_wise(
    "convert_element_type",
    _convert_reference,
    _convert_abstract,
    jvp=_convert_jvp,
    transpose=(lambda ct, x, **_: convert(ct, x.aval.dtype, x.aval.weak_type),),
    lower=lambda s, x, new_dtype, **_: s.convert(x, dtypes.physical(new_dtype)),
    hlo=lambda b, x, *, new_dtype, **_: b.s.convert(x, dtypes.physical(new_dtype)),
    samples=_convert_samples,
    literals=False,
)

# --------------------------------------------------------------------------- bit casts


def _width(dtype: Any) -> int:
    if dtypes.kind_of(dtype) == "b":
        return 1
    if dtypes.itemsize_bits(dtype) < 8:
        raise UnsupportedError(f"bitcast_convert_type of {dtype.name}, narrower than a byte")
    return int(dtype.itemsize)


def _bitcast_abstract(x: ShapedArray, *, new_dtype: Any) -> ShapedArray:
    old, new = _width(x.dtype), _width(new_dtype)
    bools = {dtypes.kind_of(x.dtype), dtypes.kind_of(new_dtype)}
    if "c" in bools and bools != {"c"}:
        raise TypeError(f"bitcast_convert_type: {x.str_short()} and {new_dtype.name} do not mix")
    if "b" in bools and bools != {"b"}:
        raise TypeError(f"bitcast_convert_type: bools have no bits to share with {x.str_short()}")
    if old == new:
        return ShapedArray(x.shape, new_dtype)
    if old > new:
        return ShapedArray((*x.shape, old // new), new_dtype)
    if not x.shape or x.shape[-1] != new // old:
        raise TypeError(
            f"bitcast_convert_type: the last axis of {x.str_short()} must have length "
            f"{new // old} to make {new_dtype.name}"
        )
    return ShapedArray(x.shape[:-1], new_dtype)


def _bitcast_reference(x: Any, *, new_dtype: Any) -> Any:
    old, new = x.dtype.itemsize, new_dtype.itemsize
    x = np.ascontiguousarray(x).reshape(x.shape)
    if old == new:
        return x.view(new_dtype)
    if old > new:
        return x.reshape(*x.shape, 1).view(new_dtype)
    return x.view(new_dtype).reshape(x.shape[:-1])


def _bitcast_batch(size: int, args: Any, dims: Any, *, new_dtype: Any) -> tuple[Any, int]:
    (x,), (dim,) = args, dims
    if dim == aval_of(x).ndim - 1:
        x, dim = move_axis(x, dim, 0), 0
    return bitcast_convert_type(x, new_dtype=new_dtype), dim


def _bitcast_lower(b: Any, x: Any, *, new_dtype: Any) -> Any:
    old, new = x.dtype.itemsize, new_dtype.itemsize
    if old == new:
        return b.map(lambda s, v: s.bitcast(v, new_dtype), x)
    return _narrower(b, x, new_dtype) if old > new else _wider(b, x, new_dtype)


def _narrower(b: Any, x: Any, dtype: Any) -> Any:
    s, wide, thin = b.s, np.dtype(f"u{x.dtype.itemsize}"), np.dtype(f"u{dtype.itemsize}")

    def at(i: Any) -> Any:
        amount = s.convert(i[-1] * (8 * thin.itemsize), wide)
        part = s.shift_right_logical(s.bitcast(x.at(i[:-1]), wide), amount)
        return s.bitcast(s.convert(part, thin), dtype)

    return b.view((*x.shape, wide.itemsize // thin.itemsize), at)


def _wider(b: Any, x: Any, dtype: Any) -> Any:
    s, wide, thin = b.s, np.dtype(f"u{dtype.itemsize}"), np.dtype(f"u{x.dtype.itemsize}")

    def at(i: Any) -> Any:
        total = s.const(0, wide)
        for k in range(x.shape[-1]):
            part = s.convert(s.bitcast(x.at((*i, k)), thin), wide)
            total = s.or_(total, s.shift_left(part, 8 * thin.itemsize * k))
        return s.bitcast(total, dtype)

    return b.view(x.shape[:-1], at)


def _bitcast_samples() -> Iterator[Sample]:
    rng = generator()
    pairs = (
        (np.float32, np.int32),
        (np.uint32, np.float32),
        (np.int32, np.uint8),
        (np.float32, np.uint16),
    )
    for old, new in pairs:
        for shape in ((), (5,), (2, 3), (0, 3)):
            yield Sample((draw(rng, np.dtype(old), shape),), {"new_dtype": np.dtype(new)}, False)
    for whole in ((4,), (2, 3, 4)):
        params = {"new_dtype": np.dtype(np.int32)}
        yield Sample((draw(rng, np.dtype(np.uint8), whole, (0, 255)),), params, False)


def _bitcast_jvp(primals: Any, tangents: Any, *, new_dtype: Any) -> Any:
    out = bitcast_convert_type(*primals, new_dtype=new_dtype)
    return out, zero_tangent(out)


bitcast_convert_type = Primitive(
    name="bitcast_convert_type",
    abstract=_bitcast_abstract,
    reference=_bitcast_reference,
    jvp=_bitcast_jvp,
    transpose=NONLINEAR,
    batch=_bitcast_batch,
    partial_eval=FIRST_ORDER,
    lower=_bitcast_lower,
    hlo=hlo_structure.bitcast,
    samples=_bitcast_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)

# --------------------------------------------------------------------------- precision

# Layout of the floats that are rounded by their bits: exponent bits, mantissa bits.
_LAYOUT = {4: (8, 23), 8: (11, 52)}


def _precision_masks(itemsize: int, exponent_bits: int, mantissa_bits: int) -> Any:
    """How many mantissa bits go; the largest and the smallest exponent fields that stay."""
    exponent, mantissa = _LAYOUT[itemsize]
    bias, kept = (1 << (exponent - 1)) - 1, (1 << (min(exponent_bits, exponent) - 1)) - 1
    drop = max(mantissa - mantissa_bits, 0)
    narrow = exponent_bits < exponent
    return drop, narrow, (bias + kept) << mantissa, (bias - kept) << mantissa


def _reduce_precision(x: Any, *, exponent_bits: int, mantissa_bits: int) -> Any:
    drop, narrow, high, low = _precision_masks(x.dtype.itemsize, exponent_bits, mantissa_bits)
    word = np.dtype(f"u{x.dtype.itemsize}").type
    bits = np.ascontiguousarray(x).reshape(x.shape).view(word)
    if drop:
        half = ((bits >> word(drop)) & word(1)) + word((1 << (drop - 1)) - 1)
        bits = (bits + half) & ~word((1 << drop) - 1)
    if narrow:
        mantissa = _LAYOUT[x.dtype.itemsize][1]
        sign = bits & word(1 << (8 * x.dtype.itemsize - 1))
        field = bits & word(((1 << _LAYOUT[x.dtype.itemsize][0]) - 1) << mantissa)
        infinity = np.array(np.inf, x.dtype).view(word)
        bits = np.where(field > word(high), sign | infinity, bits)
        bits = np.where(field <= word(low), sign, bits)
    return np.where(np.isnan(x), x, np.asarray(bits).view(x.dtype))


def _reduce_precision_lower(s: Any, x: Any, exponent_bits: int, mantissa_bits: int) -> Any:
    if x.dtype.itemsize < 4:
        wide = _reduce_precision_lower(
            s, s.convert(x, dtypes.float32), exponent_bits, mantissa_bits
        )
        return s.convert(wide, x.dtype)
    drop, narrow, high, low = _precision_masks(x.dtype.itemsize, exponent_bits, mantissa_bits)
    exponent, mantissa = _LAYOUT[x.dtype.itemsize]
    word = np.dtype(f"u{x.dtype.itemsize}")
    bits = s.bitcast(x, word)
    if drop:
        half = s.add(s.and_(s.shift_right_logical(bits, drop), 1), (1 << (drop - 1)) - 1)
        ones = (1 << (8 * word.itemsize)) - 1
        bits = s.and_(s.add(bits, half), ones ^ ((1 << drop) - 1))
    if narrow:
        sign = s.and_(bits, 1 << (8 * word.itemsize - 1))
        field = s.and_(bits, ((1 << exponent) - 1) << mantissa)
        bits = s.select(s.gt(field, high), s.or_(sign, ((1 << exponent) - 1) << mantissa), bits)
        bits = s.select(s.le(field, low), sign, bits)
    return s.select(s.is_nan(x), x, s.bitcast(bits, x.dtype))


def _precision_samples() -> Iterator[Sample]:
    values = special_values(dtypes.float32)
    values = np.concatenate(
        [values, np.array([1.2345, 1e-20, 1e30, 6e-5, 65520, 1e-39, 3.1], np.float32)]
    )
    for bits in ((5, 10), (8, 7), (4, 3), (11, 52), (8, 23), (2, 1)):
        params = {"exponent_bits": bits[0], "mantissa_bits": bits[1]}
        yield Sample((values,), params, False)
        yield Sample((values[9],), params, False)
        yield Sample((values.astype(dtypes.bfloat16),), params, False)
        yield Sample((values.astype(np.float64),), params, False)


reduce_precision: Primitive = unary(
    "reduce_precision",
    widened(_reduce_precision),
    FLOAT,
    jvp=LINEAR,
    transpose=lambda ct, x, **params: reduce_precision(ct, **params),
    lower=_reduce_precision_lower,
    hlo=hlo_structure.reduce_precision,
    samples=_precision_samples,
)

# --------------------------------------------------------------------------- identities


def _any_abstract(x: ShapedArray) -> ShapedArray:
    return x


copy: Primitive = element_wise(
    "copy",
    np.array,
    _any_abstract,
    jvp=LINEAR,
    transpose=(lambda ct, x: ct,),
    lower=lambda s, x: x,
    hlo=hlo_structure.operand,
    samples=inputs(ANY, ANYWHERE),
    literals=False,
)
stop_gradient: Primitive = element_wise(
    "stop_gradient",
    np.asarray,
    _any_abstract,
    jvp=NONDIFF,
    transpose=NONLINEAR,
    lower=lambda s, x: x,
    hlo=hlo_structure.operand,
    samples=inputs(ANY, ANYWHERE, smooth=False),
    literals=False,
)
