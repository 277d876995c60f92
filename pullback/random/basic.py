"""The samplers all others are made of: bits, uniform numbers, integers, coin tosses."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.dtypes import check_user_dtype
from pullback.core.trace import Tracer
from pullback.lax.structural import broadcast_shapes
from pullback.ops import conversion, elementwise, rearrange, sampling, slicing
from pullback.ops.kinds import integer_limits
from pullback.random.engines import bits_of
from pullback.random.keys import one_key, sample_shape, split_into
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "bernoulli",
    "bits",
    "broadcast_parameter",
    "float_dtype",
    "parameter_shape",
    "rademacher",
    "randint",
    "uniform",
    "uniform_of",
]

# --------------------------------------------------------------------------- parameters


def float_dtype(name: str, dtype: Any) -> Any:
    """The canonical float dtype that the sampler called `name` was asked for."""
    if dtype is None:
        return dtypes.default_float()
    if dtypes.kind_of(dtypes.as_dtype(dtype)) != "f":
        asked = dtypes.as_dtype(dtype).name
        raise ValueError(f"dtype argument to `{name}` must be a float dtype, got {asked}")
    return check_user_dtype(dtype, name)


def parameter_shape(name: str, shape: Any, *parameters: Any) -> tuple[int, ...]:
    """The shape of the result: `shape`, to which parameters must broadcast, or theirs if None."""
    shapes = [aval_of(p).shape for p in parameters]
    if shape is None:
        return broadcast_shapes(*shapes) if shapes else ()
    result = sample_shape(shape)
    for s in shapes:
        pairs = zip(reversed(s), reversed(result), strict=False)
        if len(s) > len(result) or any(n not in (1, m) for n, m in pairs):
            raise ValueError(
                f"{name}: parameters of shapes {shapes} do not broadcast to shape {result}"
            )
    return result


def as_dtype(x: Any, dtype: Any) -> Any:
    """A parameter in the dtype of the computation: a NumPy scalar if it is a number."""
    if isinstance(x, (bool, int, float, np.generic)):
        return np.asarray(x).astype(dtype)[()]
    return conversion.convert(x, dtype)


def broadcast_parameter(x: Any, dtype: Any, shape: Sequence[int]) -> Any:
    """A parameter in the dtype and shape of the result."""
    x = as_dtype(x, dtype)
    own = aval_of(x).shape
    if own == tuple(shape):
        return x
    dims = tuple(range(len(shape) - len(own), len(shape)))
    return rearrange.broadcast_in_dim(
        x, shape=tuple(shape), broadcast_dimensions=dims, sharding=None
    )


def operand(x: Any, dtype: Any, shape: Sequence[int]) -> Any:
    """As `broadcast_parameter`, but scalars stay scalars, which element-wise operations take."""
    return as_dtype(x, dtype) if aval_of(x).ndim == 0 else broadcast_parameter(x, dtype, shape)


# --------------------------------------------------------------------------- bits


@compiled_when_eager("shape", "dtype", "out_sharding")
def bits(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """Uniform unsigned integers: uint32 (uint64 with 64-bit types) unless `dtype` says otherwise.

    >>> from pullback.random.keys import PRNGKey
    >>> bits(PRNGKey(0), (2,), 'uint8').dtype
    dtype('uint8')
    """
    found = dtypes.default_uint() if dtype is None else check_user_dtype(dtype, "bits")
    if dtypes.kind_of(found) != "u":
        raise ValueError(
            f"dtype argument to `bits` must be an unsigned int dtype, got {dtypes.as_dtype(dtype)}"
        )
    return random_bits(one_key("bits", key), found.itemsize * 8, sample_shape(shape))


def random_bits(key: Any, width: int, shape: tuple[int, ...]) -> Any:
    """Bits of a checked key."""
    return bits_of(key, width, shape)


# --------------------------------------------------------------------------- uniform


@compiled_when_eager("shape", "dtype", "out_sharding")
def uniform(
    key: Any,
    shape: Any = (),
    dtype: Any = None,
    minval: Any = 0.0,
    maxval: Any = 1.0,
    *,
    out_sharding: Any = None,
) -> Any:
    """Uniform floats in [minval, maxval).

    >>> from pullback.random.keys import PRNGKey
    >>> uniform(PRNGKey(0), (2,)).shape
    (2,)
    """
    found, shape = float_dtype("uniform", dtype), sample_shape(shape)
    return uniform_of(one_key("uniform", key), shape, found, minval, maxval)


def uniform_of(
    key: Any, shape: tuple[int, ...], dtype: Any, minval: Any = 0.0, maxval: Any = 1.0
) -> Any:
    """Uniform floats of a checked key: random fractions under the exponent of 1, less 1."""
    unsigned = np.dtype(f"uint{dtype.itemsize * 8}")
    width = sampling.random_bit_width(dtype)
    fraction = conversion.convert(random_bits(key, width, shape), unsigned)
    shift = unsigned.type(width - sampling.mantissa_bits(dtype))
    fraction = elementwise.shift_right_logical(fraction, shift)
    fraction = elementwise.or_(fraction, unsigned.type(sampling.one_bits(dtype)))
    one_to_two = elementwise.bitcast_convert_type(fraction, new_dtype=dtype)
    numbers = elementwise.sub(one_to_two, dtype.type(1))
    if _is_number(minval, 0) and _is_number(maxval, 1):
        return numbers
    parameter_shape("uniform", shape, minval, maxval)
    low, high = operand(minval, dtype, shape), operand(maxval, dtype, shape)
    if aval_of(low).shape != aval_of(high).shape:
        low, high = (broadcast_parameter(x, dtype, shape) for x in (low, high))
    width_of = elementwise.sub(high, low)
    return elementwise.max_(low, sampling.fma(numbers, width_of, low))


def _is_number(x: Any, value: float) -> bool:
    return isinstance(x, (int, float, np.generic)) and bool(x == value)


# --------------------------------------------------------------------------- randint


@compiled_when_eager("shape", "dtype", "out_sharding")
def randint(
    key: Any,
    shape: Any,
    minval: Any,
    maxval: Any,
    dtype: Any = None,
    *,
    out_sharding: Any = None,
) -> Any:
    """Uniform integers in [minval, maxval).

    >>> from pullback.random.keys import PRNGKey
    >>> bool((randint(PRNGKey(0), (9,), 2, 4) < 4).all())
    True
    """
    found = dtypes.default_int() if dtype is None else check_user_dtype(dtype, "randint")
    if dtypes.kind_of(found) not in "iu":
        raise TypeError(f"randint only accepts integer dtypes, got {found}")
    key, shape = one_key("randint", key), sample_shape(shape)
    parameter_shape("randint", shape, minval, maxval)
    # Narrow types are computed in 32 bits, so that a limit one past their range is seen.
    wide = found if found.itemsize >= 4 else np.dtype(np.int32)
    info = integer_limits(found)
    low, _ = _clipped(minval, wide, int(info.min), int(info.max))
    limit = int(info.max) + (wide != found)
    high, above = _clipped(maxval, wide, info.min, limit)
    beyond = above if wide == found else np.False_
    low, high = operand(low, wide, shape), operand(high, wide, shape)
    if aval_of(low).shape != aval_of(high).shape:
        low, high = (broadcast_parameter(x, wide, shape) for x in (low, high))
    return conversion.convert(_integers(key, shape, low, high, beyond, wide), found)


def _clipped(x: Any, dtype: Any, low: int, high: int) -> tuple[Any, Any]:
    """A limit in `dtype`, clipped into [low, high], and whether it was above."""
    if not isinstance(x, Tracer) and aval_of(x).ndim == 0:
        number = np.asarray(x)[()]
        value = int(number) if not isinstance(x, int) else operator.index(x)
        return dtype.type(min(max(value, low), high)), np.bool_(value > high)
    if dtypes.kind_of(aval_of(x).dtype) not in "iu":
        x = conversion.convert(x, dtype)
    of: Any = aval_of(x).dtype
    own: Any = dtypes.iinfo(of)
    above = elementwise.gt(x, of.type(high)) if own.max > high else np.False_
    if own.min < low or own.max > high:
        x = elementwise.max_(x, of.type(max(low, own.min)))
        x = elementwise.min_(x, of.type(min(high, own.max)))
    return conversion.convert(x, dtype), above


def _integers(
    key: Any, shape: tuple[int, ...], low: Any, high: Any, beyond: Any, dtype: Any
) -> Any:
    """Two words a number, so that the remainder by the span is nearly unbiased."""
    e = elementwise
    unsigned = np.dtype(f"uint{dtype.itemsize * 8}")
    one = unsigned.type(1)
    first, second = (random_bits(k, dtype.itemsize * 8, shape) for k in split_into(key, 2))
    span = e.convert_element_type(
        e.sub(high, low), new_dtype=unsigned, weak_type=False, sharding=None
    )
    span = e.where(e.le(high, low), one, span)
    if not (isinstance(beyond, np.bool_) and not beyond):
        wrapped = e.and_(beyond, e.gt(high, low))
        span = e.where(wrapped, e.add(span, one), span)
    half = e.rem(unsigned.type(2 ** (dtype.itemsize * 4)), span)
    whole = e.rem(e.mul(half, half), span)
    offset = e.add(e.mul(e.rem(first, span), whole), e.rem(second, span))
    return e.add(low, conversion.convert(e.rem(offset, span), dtype))


# --------------------------------------------------------------------------- coin tosses


@compiled_when_eager("shape", "mode", "out_sharding")
def bernoulli(
    key: Any, p: Any = 0.5, shape: Any = None, mode: str = "low", *, out_sharding: Any = None
) -> Any:
    """True with probability `p`; `mode="high"` resolves small probabilities better.

    >>> from pullback.random.keys import PRNGKey
    >>> bernoulli(PRNGKey(0), 1.0, (2,))
    Array([ True,  True], dtype=bool)
    """
    if mode not in ("high", "low"):
        raise ValueError(f"got {mode=}, expected 'high' or 'low'")
    aval = aval_of(p)
    if dtypes.kind_of(aval.dtype) != "f":
        raise TypeError(f"bernoulli probability `p` must have a floating dtype, got {aval.dtype}.")
    key, shape = one_key("bernoulli", key), parameter_shape("bernoulli", shape, p)
    dtype: Any = aval.dtype
    p = operand(p, dtype, shape)
    if mode == "low":
        return elementwise.lt(uniform_of(key, shape, dtype), p)
    coarse, fine = two_uniforms(key, shape, dtype)
    info: Any = dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    fine = elementwise.mul(fine, dtype.type(info.eps))
    return elementwise.lt(fine, elementwise.sub(p, coarse))


def two_uniforms(key: Any, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Two arrays of uniform numbers, cut from one of shape [2, ...]."""
    both = uniform_of(key, (2, *shape), dtype)

    def half(k: int) -> Any:
        part = slicing.slice_(
            both,
            start_indices=(k, *[0] * len(shape)),
            limit_indices=(k + 1, *shape),
            strides=None,
        )
        return rearrange.squeeze(part, dimensions=(0,))

    return half(0), half(1)


@compiled_when_eager("shape", "dtype", "out_sharding")
def rademacher(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Any:
    """-1 or 1 with equal probability, of an int or float dtype.

    >>> from pullback.random.keys import PRNGKey
    >>> rademacher(PRNGKey(0), (3,)).dtype
    dtype('int32')
    """
    found = dtypes.default_int() if dtype is None else check_user_dtype(dtype, "rademacher")
    heads = bernoulli(one_key("rademacher", key), 0.5, sample_shape(shape))
    twice = elementwise.mul(found.type(2), conversion.convert(heads, found))
    return elementwise.sub(twice, found.type(1))
