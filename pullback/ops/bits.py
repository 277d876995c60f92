"""Operations on the bits of integers and on bools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.primitive import Primitive, Sample
from pullback.ops.kinds import BITS, BY_ELEMENTS, INT, NONDIFF, binary, unary, widened
from pullback.ops.samples import ANYWHERE, draw, generator, inputs

__all__ = [
    "and_",
    "clz",
    "mulhi",
    "not_",
    "or_",
    "population_count",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "xor",
]

_FULL = (-(2**31), 2**31 - 1)


def _full_range(count: int) -> Any:
    def samples() -> Iterator[Sample]:
        rng = generator()
        for dtype in (np.int32, np.uint32, np.uint8, np.int64, np.uint64):
            info = np.iinfo(dtype)
            for shape in ((), (9,), (0, 2)):
                yield Sample(
                    tuple(
                        rng.integers(info.min, info.max, shape, dtype, endpoint=True) + dtype(0)
                        for _ in range(count)
                    )
                )
        yield from inputs(INT, *([ANYWHERE] * count))()

    return samples


def _logical(name: str, reference: Any) -> Primitive:
    return binary(
        name,
        widened(reference),
        BITS,
        jvp=NONDIFF,
        lower=name if name == "xor" else name + "_",
        hlo=f"stablehlo.{name}",
        samples=inputs(BITS, ANYWHERE, ANYWHERE),
    )


and_: Primitive = _logical("and", np.bitwise_and)
or_: Primitive = _logical("or", np.bitwise_or)
xor: Primitive = _logical("xor", np.bitwise_xor)
not_: Primitive = unary(
    "not",
    widened(np.invert),
    BITS,
    jvp=NONDIFF,
    lower="not_",
    hlo="stablehlo.not",
    samples=inputs(BITS, ANYWHERE),
)

# --------------------------------------------------------------------------- counts


def _bits(x: Any) -> Any:
    """The bits as unsigned integers; the upper ones of a narrow type are not part of it."""
    whole, width = x.view(f"u{x.dtype.itemsize}"), dtypes.itemsize_bits(x.dtype)
    return whole if width == 8 * x.dtype.itemsize else whole & ((1 << width) - 1)


def _from_bits(bits: Any, dtype: Any) -> Any:
    return bits.view(dtype) if dtype.kind in "iu" else bits.view(np.int8).astype(dtype)


def _population_count(x: Any) -> Any:
    return np.bitwise_count(_bits(x)).astype(x.dtype)


def _clz(x: Any) -> Any:
    width, rest = dtypes.itemsize_bits(x.dtype), _bits(x).astype(np.uint64)
    length = np.zeros(x.shape, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        high = rest >> np.uint64(step)
        length += np.where(high != 0, step, 0)
        rest = np.where(high != 0, high, rest)
    return (width - length - (rest != 0)).astype(x.dtype)


population_count: Primitive = unary(
    "population_count",
    _population_count,
    INT,
    jvp=NONDIFF,
    lower="popcount",
    hlo="stablehlo.popcnt",
    samples=_full_range(1),
)
clz: Primitive = unary(
    "clz",
    _clz,
    INT,
    jvp=NONDIFF,
    lower="clz",
    hlo="stablehlo.count_leading_zeros",
    samples=_full_range(1),
)

# --------------------------------------------------------------------------- shifts


def _logical_right(x: Any, y: Any) -> Any:
    return _from_bits(np.right_shift(_bits(x), _bits(y)), x.dtype)


def _arithmetic_right(x: Any, y: Any) -> Any:
    """By NumPy, which shifts the sign in, also for amounts as large as the width and larger."""
    if x.dtype.kind == "u":
        signed = x.view(f"i{x.dtype.itemsize}")
        return np.right_shift(signed, y.view(signed.dtype)).view(x.dtype)
    return np.right_shift(x, y)


def _arithmetic_lower(s: Any, x: Any, y: Any) -> Any:
    if dtypes.kind_of(x.dtype) == "i":
        return s.shift_right_arithmetic(x, y)
    signed = np.dtype(x.dtype.name.removeprefix("u"))
    return s.bitcast(s.shift_right_arithmetic(s.bitcast(x, signed), s.bitcast(y, signed)), x.dtype)


def _shift(name: str, reference: Any, lower: Any) -> Primitive:
    def samples() -> Iterator[Sample]:
        rng = generator()
        for dtype in (np.int32, np.uint32, np.int8, np.uint8):
            width = 8 * np.dtype(dtype).itemsize
            for shape in ((), (5,), (2, 3), (0, 3)):
                x, y = draw(rng, np.dtype(dtype), shape, _FULL), rng.integers(0, width, shape)
                yield Sample((x, np.asarray(y, dtype)))
            yield Sample((x, np.array(3, dtype)))
        yield from inputs(INT, ANYWHERE, ANYWHERE, ints=(0, 7))()

    return binary(
        name,
        reference,
        INT,
        jvp=NONDIFF,
        lower=lower,
        hlo=f"stablehlo.{name}",
        samples=samples,
    )


shift_left: Primitive = _shift("shift_left", widened(np.left_shift), "shift_left")
shift_right_logical: Primitive = _shift(
    "shift_right_logical", _logical_right, "shift_right_logical"
)
shift_right_arithmetic: Primitive = _shift(
    "shift_right_arithmetic", _arithmetic_right, _arithmetic_lower
)

# --------------------------------------------------------------------------- wide products


def _mulhi(x: Any, y: Any) -> Any:
    width = 8 * x.dtype.itemsize
    if width < 64:
        wide = np.multiply(x, y, dtype=np.int64 if x.dtype.kind == "i" else np.uint64)
        return (wide >> wide.dtype.type(width)).astype(x.dtype)
    return np.asarray((x.astype(object) * y.astype(object)) >> width).astype(x.dtype)


def _mulhi_lower(s: Any, x: Any, y: Any) -> Any:
    """The signed high half is the unsigned one less each operand where the other is negative."""
    if x.dtype.kind == "u":
        return s.mulhi(x, y)
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    top = 8 * x.dtype.itemsize - 1
    high = s.bitcast(s.mulhi(s.bitcast(x, unsigned), s.bitcast(y, unsigned)), x.dtype)
    high = s.sub(high, s.and_(s.shift_right_arithmetic(x, top), y))
    return s.sub(high, s.and_(s.shift_right_arithmetic(y, top), x))


mulhi: Primitive = binary(
    "mulhi",
    _mulhi,
    INT,
    jvp=NONDIFF,
    lower=_mulhi_lower,
    hlo=BY_ELEMENTS,
    samples=_full_range(2),
)
