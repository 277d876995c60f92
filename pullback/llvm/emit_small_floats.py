"""Floats of 8 bits and fewer: kept as float32 in registers, rounded and packed here.

A number is rounded by scaling it so that its last kept bit is a unit, rounding to an integer and
scaling back.  Exponent and mantissa of the small format's normal numbers are those of float32 but
for a shift and another bias; its subnormal numbers are integers times a power of two.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import ml_dtypes
import numpy as np

from pullback.llvm.emit_text import Text
from pullback.llvm.emit_types import float_text
from pullback.records import record

__all__ = ["pack", "round_small", "unpack"]


@record()
class Format:
    """What the arithmetic needs to know; `overflow` is what replaces numbers above `largest`."""

    bits: int
    mantissa: int
    bias: int
    least_exponent: int
    largest: float
    overflow: float
    nan_code: int
    infinity_code: int | None
    signed_zero: bool


@cache
def format_of(dtype: np.dtype[Any]) -> Format:
    """The format of a dtype, as `ml_dtypes` defines it."""
    info: Any = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    code = {x: int(np.asarray(x).astype(dtype).view(np.uint8)) for x in (np.nan, np.inf)}
    overflow = float(np.asarray(1e30).astype(dtype))
    least = int(info.minexp)
    return Format(
        bits=int(info.bits),
        mantissa=int(info.nmant),
        bias=1 - least,
        least_exponent=least,
        largest=float(info.max),
        overflow=overflow,
        nan_code=code[np.nan],
        infinity_code=code[np.inf] if np.isinf(overflow) else None,
        signed_zero=bool(np.signbit(np.asarray(-0.0).astype(dtype).astype(np.float32))),
    )


class _Lanes:
    """Integer and float instructions on float32 lanes."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.i, self.f, self.flag = text.type("i32"), text.type("float"), text.type("i1")

    def n(self, value: int) -> str:
        return self.text.splat(str(value), "i32")

    def x(self, value: float) -> str:
        return self.text.splat(float_text(value, single=True), "float")

    def bits(self, x: str) -> str:
        return self.text.put(f"bitcast {self.f} {x} to {self.i}")

    def floats(self, x: str) -> str:
        return self.text.put(f"bitcast {self.i} {x} to {self.f}")

    def integer(self, word: str, x: str, y: int | str) -> str:
        return self.text.put(f"{word} {self.i} {x}, {self.n(y) if isinstance(y, int) else y}")

    def multiply(self, x: str, y: str) -> str:
        return self.text.put(f"fmul {self.f} {x}, {y}")

    def select(self, flag: str, x: str, y: str, t: str) -> str:
        return self.text.put(f"select {self.flag} {flag}, {t} {x}, {t} {y}")

    def is_nan(self, x: str) -> str:
        return self.text.put(f"fcmp uno {self.f} {x}, {x}")


# --------------------------------------------------------------------------- powers of two alone

SCALES: Final = np.dtype(ml_dtypes.float8_e8m0fnu)
"""The format without mantissa, sign and zero: a code is an exponent, the last one is NaN."""

_HALF: Final = 1 << 22
_NAN_CODE: Final = 255


def _scale_code(text: Text, x: str) -> str:
    """The code of a float32: the nearest power of two, the larger one of two that are as near."""
    v = _Lanes(text)
    bits = v.bits(x)
    code = v.integer("lshr", v.integer("add", bits, _HALF), 23)
    # Of the subnormal numbers, `ml_dtypes` rounds those above 2**-127 up.
    tiny = text.put(f"icmp ult {v.i} {bits}, {v.n(1 << 23)}")
    above = text.put(f"icmp ugt {v.i} {bits}, {v.n(_HALF)}")
    code = v.select(tiny, v.select(above, v.n(1), v.n(0), v.i), code, v.i)
    positive = text.put(f"fcmp ogt {v.f} {x}, {v.x(0.0)}")
    code = v.select(positive, code, v.n(_NAN_CODE), v.i)
    return text.intrinsic("llvm.umin", "i32", code, v.n(_NAN_CODE))


def _scale(text: Text, code: str) -> str:
    """The float32 of a code."""
    v = _Lanes(text)
    least = text.put(f"icmp eq {v.i} {code}, {v.n(0)}")
    bits = v.select(least, v.n(_HALF), v.integer("shl", code, 23), v.i)
    last = text.put(f"icmp eq {v.i} {code}, {v.n(_NAN_CODE)}")
    return v.select(last, v.x(float("nan")), v.floats(bits), v.f)


# --------------------------------------------------------------------------- the others


def round_small(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """A float32 rounded to the values of a small format."""
    if dtype == SCALES:
        return _scale(text, _scale_code(text, x))
    form, v = format_of(dtype), _Lanes(text)
    exponent = v.integer("and", v.integer("lshr", v.bits(x), 23), 255)
    low, high = form.least_exponent + 127, 250
    exponent = text.intrinsic("llvm.smax", "i32", exponent, v.n(low))
    exponent = text.intrinsic("llvm.smin", "i32", exponent, v.n(high))
    unit = v.integer("sub", exponent, form.mantissa)
    scale = v.floats(v.integer("shl", unit, 23))
    inverse = v.floats(v.integer("shl", v.integer("sub", v.n(254), unit), 23))
    whole = text.intrinsic("llvm.roundeven", "float", v.multiply(x, inverse))
    rounded = v.multiply(whole, scale)
    size = text.intrinsic("llvm.fabs", "float", rounded)
    over = text.put(f"fcmp ogt {v.f} {size}, {v.x(form.largest)}")
    limit = text.intrinsic("llvm.copysign", "float", v.x(form.overflow), x)
    result = v.select(over, limit, rounded, v.f)
    result = text.intrinsic("llvm.copysign", "float", result, x)
    if not form.signed_zero:
        zero = text.put(f"fcmp oeq {v.f} {result}, {v.x(0.0)}")
        result = v.select(zero, v.x(0.0), result, v.f)
    missing = v.x(float(np.asarray(np.nan).astype(dtype).astype(np.float32)))
    return v.select(v.is_nan(x), missing, result, v.f)


def pack(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """The byte of a float32 that the format has."""
    if dtype == SCALES:
        return text.put(f"trunc {text.type('i32')} {_scale_code(text, x)} to {text.type('i8')}")
    form, v = format_of(dtype), _Lanes(text)
    size = text.intrinsic("llvm.fabs", "float", x)
    code = v.integer("lshr", v.bits(size), 23 - form.mantissa)
    code = v.integer("sub", code, (127 - form.bias) << form.mantissa)
    least = 2.0**form.least_exponent
    steps = v.multiply(size, v.x(2.0**form.mantissa / least))
    whole = text.put(f"fptosi {v.f} {steps} to {v.i}")
    small = text.put(f"fcmp olt {v.f} {size}, {v.x(least)}")
    code = v.select(small, whole, code, v.i)
    if form.infinity_code is not None:
        infinite = text.put(f"fcmp oeq {v.f} {size}, {v.x(float('inf'))}")
        code = v.select(infinite, v.n(form.infinity_code), code, v.i)
    sign = v.integer("lshr", v.integer("and", v.bits(x), -(1 << 31)), 32 - form.bits)
    code = v.integer("or", code, sign)
    code = v.select(v.is_nan(x), v.n(form.nan_code), code, v.i)
    return text.put(f"trunc {v.i} {code} to {text.type('i8')}")


def unpack(text: Text, x: str, dtype: np.dtype[Any]) -> str:
    """The float32 of a byte."""
    if dtype == SCALES:
        return _scale(text, text.put(f"zext {text.type('i8')} {x} to {text.type('i32')}"))
    form, v = format_of(dtype), _Lanes(text)
    wide = text.put(f"zext {text.type('i8')} {x} to {v.i}")
    sign_bit = 1 << (form.bits - 1)
    code = v.integer("and", wide, sign_bit - 1)
    exponents = v.integer("add", code, (127 - form.bias) << form.mantissa)
    size = v.floats(v.integer("shl", exponents, 23 - form.mantissa))
    steps = text.put(f"sitofp {v.i} {code} to {v.f}")
    least = 2.0 ** (form.least_exponent - form.mantissa)
    small = text.put(f"icmp ult {v.i} {code}, {v.n(1 << form.mantissa)}")
    size = v.select(small, v.multiply(steps, v.x(least)), size, v.f)
    if form.infinity_code is not None:
        top = text.put(f"icmp uge {v.i} {code}, {v.n(form.infinity_code)}")
        exact = text.put(f"icmp eq {v.i} {code}, {v.n(form.infinity_code)}")
        special = v.select(exact, v.x(float("inf")), v.x(float("nan")), v.f)
        size = v.select(top, special, size, v.f)
    elif np.isnan(form.overflow):  # one code is NaN, of either sign if zeros have signs
        compared = code if form.signed_zero else wide
        nan = text.put(f"icmp eq {v.i} {compared}, {v.n(form.nan_code)}")
        size = v.select(nan, v.x(float("nan")), size, v.f)
    negative = v.integer("shl", v.integer("and", wide, sign_bit), 32 - form.bits)
    return v.floats(v.integer("or", v.bits(size), negative))
