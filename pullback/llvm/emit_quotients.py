"""Divisions without dividing, and exact.

Bytes divided by a number known now, as in `image / 255`, are two multiplications: with
1 / c = high + low, n / c is n high + (n low), the sum rounded once (N. Brisebarre and J.-M. Muller,
"Correctly rounded multiplication by arbitrary precision constants", IEEE Trans. Comput. 57, 2008).
There are so few bytes that each quotient is compared with the rounded one.

Many numbers divided by one that a loop does not change, as in `x / x.max()`, are three operations
with its rounded reciprocal r: q = x r, then q + (x - q y) r, where x - q y has no error (P. W.
Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", IBM J. Res.
Dev. 34, 1990; N. Brisebarre, J.-M. Muller and S. K. Raina, "Accelerating correctly rounded
floating-point division when the divisor is known in advance", IEEE Trans. Comput. 53, 2004).  That
asks for numbers far from overflow and underflow; vectors that have others are divided.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np

from pullback.llvm.emit_text import Text
from pullback.llvm.emit_types import lanes_type, splat

__all__ = ["byte_factors", "divide_by_one"]

_BYTES: Final = np.arange(-128.0, 256.0)
_LEAST: Final = 1e-20
_MOST: Final = 1e20


@lru_cache(maxsize=256)
def byte_factors(divisor: float) -> tuple[float, float] | None:
    """`high` and `low` with `fma(n, high, n * low)` the float32 nearest to `n / divisor`.

    None unless that is so for every n that 8 bits hold; the divisor is a float32.

    >>> byte_factors(255.0)
    (0.003921568859368563, -2.319175823606301e-10)
    """
    if not _LEAST < divisor < _MOST:
        return None
    high = np.float32(1 / divisor)
    low = np.float32(1 / divisor - float(high))
    large = _BYTES * float(high)  # exact: 8 bits times 24
    small = (_BYTES * float(low)).astype(np.float32)
    total = large + small
    lost = (large - total) + small
    rounded = total.astype(np.float32)
    # Rounding twice is rounding once, but where the first one lands between two numbers.
    between = np.abs(total - rounded) * 2 == np.spacing(np.abs(rounded)).astype(np.float64)
    # A quotient of 24 bits each is never as close to the middle as 53 bits can tell.
    right = rounded == (_BYTES / divisor).astype(np.float32)
    if not right.all() or (between & (lost != 0)).any():
        return None
    return float(high), float(low)


# --------------------------------------------------------------------------- by one number

_WIDTHS: Final = {"float": (32, 23, 127, 60), "double": (64, 52, 1023, 400)}
"""Bits, bits of the mantissa, bias, and how far from 1, in powers of two, numbers may be."""


def divide_by_one(text: Text, outer: Text, t: str, x: str, y: str, many: str) -> str:
    """A vector `x` divided by the scalar `y`, all of whose lanes are `many`.

    What `y` alone decides goes to the scope of `outer`, of one lane.
    """
    bits, mantissa, bias, far = _WIDTHS[t]
    low, span = (bias - far) << mantissa, (2 * far) << mantissa
    word = f"i{bits}"
    number = outer.put(f"bitcast {t} {y} to {word}")
    above = outer.put(f"sub {word} {number}, {low}")
    wild = outer.put(f"icmp ugt {word} {above}, {span}")  # also if it is negative
    one = outer.put(f"fdiv {t} 1.0, {y}")
    v = lanes_type(t, text.lanes)
    single = outer.put(f"insertelement {v} poison, {t} {one}, i64 0")
    mask = f"<{text.lanes} x i32> zeroinitializer"
    inverse = outer.put(f"shufflevector {v} {single}, {v} poison, {mask}")
    name = f"pb_quotient_{text.suffix(t)}"
    if name not in text.module.quotients:
        text.module.quotients.add(name)
        text.module.functions.append(_definition(text.module, name, t, text.lanes))
    return text.put(f"call {v} @{name}({v} {x}, {v} {many}, {v} {inverse}, i1 {wild})")


def _definition(module: Any, name: str, t: str, lanes: int) -> str:
    """`x / y` from the reciprocal of y; by dividing if a lane asks for it, or y is `wild`.

    x - q y is computed as -(q y - x), which gives zeros the sign of x.
    """
    bits, mantissa, bias, far = _WIDTHS[t]
    v, w, flags = lanes_type(t, lanes), lanes_type(f"i{bits}", lanes), lanes_type("i1", lanes)
    suffix = f"v{lanes}f{bits}"
    fma, some = f"llvm.fma.{suffix}", f"llvm.vector.reduce.or.v{lanes}i1"
    module.declare(fma, f"declare {v} @{fma}({v}, {v}, {v})")
    module.declare(some, f"declare i1 @{some}({flags})")

    def of(number: int) -> str:
        return splat(str(number), f"i{bits}", lanes)

    parameters = f"{v} %x, {v} %y, {v} %r, i1 %wild"
    return f"""define internal {v} @{name}({parameters}) alwaysinline nounwind {{
  %q = fmul {v} %x, %r
  %minus = fneg {v} %x
  %over = call {v} @{fma}({v} %q, {v} %y, {v} %minus)
  %rest = fneg {v} %over
  %near = call {v} @{fma}({v} %rest, {v} %r, {v} %q)
  %bits = bitcast {v} %x to {w}
  %size = and {w} %bits, {of((1 << (bits - 1)) - 1)}
  %above = sub {w} %size, {of((bias - far) << mantissa)}
  %far = icmp ugt {w} %above, {of((2 * far) << mantissa)}
  %nonzero = icmp ne {w} %size, {of(0)}
  %odd = and {flags} %far, %nonzero
  %any = call i1 @{some}({flags} %odd)
  %slow = or i1 %any, %wild
  br i1 %slow, label %divide, label %done, !prof !{{!"branch_weights", i32 1, i32 1000}}
divide:
  %exact = fdiv {v} %x, %y
  br label %done
done:
  %result = phi {v} [ %near, %0 ], [ %exact, %divide ]
  ret {v} %result
}}"""
