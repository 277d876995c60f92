"""The scalar operations of `core.lowering` on whole arrays.

A rule that lowers a primitive by `b.map` says what happens to each element in terms of `Scalars`;
with these methods the same rule writes operations on arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.errors import UnsupportedError
from pullback.hlo.operations import SSA, Operations

__all__ = ["ArrayScalars"]

_CHLO: Final = (
    *("asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "lgamma", "digamma"),
)
_MATH: Final = {
    "exp": "stablehlo.exponential",
    "expm1": "stablehlo.exponential_minus_one",
    "log": "stablehlo.log",
    "log1p": "stablehlo.log_plus_one",
    "sin": "stablehlo.sine",
    "cos": "stablehlo.cosine",
    "tan": "stablehlo.tan",
    "atan2": "stablehlo.atan2",
    "tanh": "stablehlo.tanh",
    "cbrt": "stablehlo.cbrt",
    "pow": "stablehlo.power",
    "logistic": "stablehlo.logistic",
    **{name: f"chlo.{name}" for name in _CHLO},
}


class ArrayScalars:
    """`core.lowering.Scalars` for the emitter's values."""

    whole_arrays: Final = True
    """Values are arrays, and there are `loop_n` and `alike`."""

    def __init__(self, b: Operations) -> None:
        self._b = b

    def loop_n(self, count: int, init: Sequence[SSA], step: Callable[..., Any]) -> list[SSA]:
        """`state = step(i, *state)` for i from 0 to count - 1."""
        emitter: Any = self._b
        out: list[SSA] = emitter.loop_n(count, init, step)
        return out

    def alike(self, *xs: SSA) -> list[SSA]:
        """Values broadcast to one shape."""
        shape = max((x.shape for x in xs), key=len)
        return [x if x.shape == shape else self._b.broadcast(x, shape) for x in xs]

    def _apply(self, name: str, *xs: Any) -> SSA:
        return self._b.apply(f"stablehlo.{name}", *xs)

    def const(self, value: Any, dtype: Any) -> SSA:
        """A constant."""
        return self._b.full((), value, dtype)

    # ------------------------------------------------------------------ arithmetic

    def add(self, x: Any, y: Any) -> SSA:
        """The sum; of bools, whether one holds."""
        return self._apply("add", x, y)

    def sub(self, x: Any, y: Any) -> SSA:
        """The difference."""
        return self._apply("subtract", x, y)

    def mul(self, x: Any, y: Any) -> SSA:
        """The product."""
        return self._apply("multiply", x, y)

    def div(self, x: Any, y: Any) -> SSA:
        """The quotient."""
        return self._apply("divide", x, y)

    def rem(self, x: Any, y: Any) -> SSA:
        """The remainder, with the sign of the dividend."""
        return self._apply("remainder", x, y)

    def neg(self, x: SSA) -> SSA:
        """The negative."""
        return self._apply("negate", x)

    def abs(self, x: SSA) -> SSA:
        """The absolute value."""
        kind = dtypes.kind_of(x.dtype)
        if kind in "ub":
            return x
        part = np.dtype(f"float{4 * x.dtype.itemsize}") if kind == "c" else x.dtype
        return self._b.apply("stablehlo.abs", x, dtype=part)

    def sign(self, x: SSA) -> SSA:
        """-1, 0 or 1."""
        if dtypes.kind_of(x.dtype) == "u":
            return self._b.convert(self.ne(x, 0), x.dtype)
        return self._apply("sign", x)

    def max(self, x: Any, y: Any) -> SSA:
        """The greater one; complex numbers are ordered by their real parts first."""
        return self._extreme("maximum", "GT", x, y)

    def min(self, x: Any, y: Any) -> SSA:
        """The lesser one."""
        return self._extreme("minimum", "LT", x, y)

    def _extreme(self, name: str, direction: str, x: Any, y: Any) -> SSA:
        first = x if isinstance(x, SSA) else y
        if dtypes.kind_of(first.dtype) != "c":
            return self._apply(name, x, y)
        b = self._b
        x, y = (v if isinstance(v, SSA) else self.const(v, first.dtype) for v in (x, y))
        ahead = self.or_(
            b.compare(direction, self.real(x), self.real(y)),
            self.and_(
                self.eq(self.real(x), self.real(y)),
                b.compare(direction, self.imag(x), self.imag(y)),
            ),
        )
        return b.select(self.or_(ahead, self.is_nan(x)), x, y)

    def clamp(self, low: Any, x: SSA, high: Any) -> SSA:
        """`x` moved into a range."""
        return self.min(self.max(low, x), high)

    def square(self, x: SSA) -> SSA:
        """The product with itself."""
        return self.mul(x, x)

    def integer_pow(self, x: SSA, y: int) -> SSA:
        """A power by repeated multiplication."""
        if y < 0:
            return self.div(1, self.integer_pow(x, -y))
        result: SSA | None = None
        while y:
            if y & 1:
                result = x if result is None else self.mul(result, x)
            y >>= 1
            if y:
                x = self.mul(x, x)
        return self._b.full(x.shape, 1, x.dtype) if result is None else result

    def fma(self, x: Any, y: Any, z: Any) -> SSA:
        """x * y + z, rounded once where a wider type holds the product."""
        first = next(v for v in (x, y, z) if isinstance(v, SSA))
        dtype = first.dtype
        if dtype == dtypes.float64:
            return self._fma_double(*(self._value(v, dtype) for v in (x, y, z)))
        wide = dtypes.float64 if dtype == dtypes.float32 else dtypes.float32
        x, y, z = (self._b.convert(self._value(v, dtype), wide) for v in (x, y, z))
        return self._b.convert(self.add(self.mul(x, y), z), dtype)

    def _value(self, x: Any, dtype: Any) -> SSA:
        return x if isinstance(x, SSA) else self.const(x, dtype)

    def _fma_double(self, x: SSA, y: SSA, z: SSA) -> SSA:
        """The errors of the product and of the sum, found exactly, are added last (Dekker)."""
        add, sub, mul = self.add, self.sub, self.mul
        product = mul(x, y)
        (x1, x0), (y1, y0) = self._halves(x), self._halves(y)
        low = add(add(add(sub(mul(x1, y1), product), mul(x1, y0)), mul(x0, y1)), mul(x0, y0))
        total = add(product, z)
        back = sub(total, product)
        rest = add(sub(product, sub(total, back)), sub(z, back))
        out = add(total, add(low, rest))
        return self.select(self.is_finite(out), out, total)

    def _halves(self, x: SSA) -> tuple[SSA, SSA]:
        scaled = self.mul(x, float(2**27 + 1))
        high = self.sub(scaled, self.sub(scaled, x))
        return high, self.sub(x, high)

    # ------------------------------------------------------------------ rounding and roots

    def floor(self, x: SSA) -> SSA:
        """Rounded down."""
        return self._apply("floor", x)

    def ceil(self, x: SSA) -> SSA:
        """Rounded up."""
        return self._apply("ceil", x)

    def trunc(self, x: SSA) -> SSA:
        """Rounded towards zero."""
        return self._b.select(self.lt(x, 0), self.ceil(x), self.floor(x))

    def round_even(self, x: SSA) -> SSA:
        """Rounded to the nearest, halves to even."""
        return self._apply("round_nearest_even", x)

    def round_away(self, x: SSA) -> SSA:
        """Rounded to the nearest, halves away from zero."""
        return self._apply("round_nearest_afz", x)

    def sqrt(self, x: SSA) -> SSA:
        """The square root."""
        return self._apply("sqrt", x)

    def rsqrt(self, x: SSA) -> SSA:
        """The inverse of the square root."""
        return self._apply("rsqrt", x)

    def is_finite(self, x: SSA) -> SSA:
        """Neither infinite nor NaN."""
        return self._b.apply("stablehlo.is_finite", x, dtype=dtypes.bool_)

    def is_nan(self, x: SSA) -> SSA:
        """Whether it is not a number."""
        return self.ne(x, x)

    def copysign(self, x: Any, y: Any) -> SSA:
        """The size of one with the sign of the other."""
        values = [v if isinstance(v, SSA) else None for v in (x, y)]
        dtype = next(v for v in values if v is not None).dtype
        word = np.dtype(f"uint{8 * dtype.itemsize}")
        sign = 1 << (8 * dtype.itemsize - 1)
        x, y = (v if isinstance(v, SSA) else self.const(v, dtype) for v in (x, y))
        size = self.and_(self._b.bitcast(x, word), sign - 1)
        return self._b.bitcast(self.or_(size, self.and_(self._b.bitcast(y, word), sign)), dtype)

    def nextafter(self, x: Any, y: Any) -> SSA:
        """The neighbour of one in the direction of the other."""
        return self._b.apply("chlo.next_after", x, y)

    # ------------------------------------------------------------------ bits

    def and_(self, x: Any, y: Any) -> SSA:
        """Bits that are set in both."""
        return self._apply("and", x, y)

    def or_(self, x: Any, y: Any) -> SSA:
        """Bits that are set in one."""
        return self._apply("or", x, y)

    def xor(self, x: Any, y: Any) -> SSA:
        """Bits that differ."""
        return self._apply("xor", x, y)

    def not_(self, x: SSA) -> SSA:
        """All bits changed."""
        return self._apply("not", x)

    def shift_left(self, x: Any, y: Any) -> SSA:
        """Bits moved up."""
        return self._apply("shift_left", x, y)

    def shift_right_logical(self, x: Any, y: Any) -> SSA:
        """Bits moved down, zeros behind."""
        return self._apply("shift_right_logical", x, y)

    def shift_right_arithmetic(self, x: Any, y: Any) -> SSA:
        """Bits moved down, the sign behind."""
        return self._apply("shift_right_arithmetic", x, y)

    def popcount(self, x: SSA) -> SSA:
        """How many bits are set."""
        return self._apply("popcnt", x)

    def clz(self, x: SSA) -> SSA:
        """How many zeros lead."""
        return self._apply("count_leading_zeros", x)

    def mulhi(self, x: Any, y: Any) -> SSA:
        """The high half of a product of unsigned integers, from products of half words."""
        first = x if isinstance(x, SSA) else y
        x, y = (v if isinstance(v, SSA) else self.const(v, first.dtype) for v in (x, y))
        bits = 8 * first.dtype.itemsize
        if bits < 64:
            wide = np.dtype(f"uint{2 * bits}")
            product = self.mul(self._b.convert(x, wide), self._b.convert(y, wide))
            return self._b.convert(self.shift_right_logical(product, bits), first.dtype)
        half, mask = bits // 2, (1 << bits // 2) - 1
        x0, y0 = self.and_(x, mask), self.and_(y, mask)
        x1, y1 = self.shift_right_logical(x, half), self.shift_right_logical(y, half)
        low = self.shift_right_logical(self.mul(x0, y0), half)
        middle = self.add(self.mul(x1, y0), low)
        other = self.add(self.mul(x0, y1), self.and_(middle, mask))
        carries = self.add(
            self.shift_right_logical(middle, half), self.shift_right_logical(other, half)
        )
        return self.add(self.mul(x1, y1), carries)

    # ------------------------------------------------------------------ comparison, conversion

    def eq(self, x: Any, y: Any) -> SSA:
        """Equal."""
        return self._b.compare("EQ", x, y)

    def ne(self, x: Any, y: Any) -> SSA:
        """Not equal."""
        return self._b.compare("NE", x, y)

    def lt(self, x: Any, y: Any) -> SSA:
        """Less."""
        return self._b.compare("LT", x, y)

    def le(self, x: Any, y: Any) -> SSA:
        """Not greater."""
        return self._b.compare("LE", x, y)

    def gt(self, x: Any, y: Any) -> SSA:
        """Greater."""
        return self._b.compare("GT", x, y)

    def ge(self, x: Any, y: Any) -> SSA:
        """Not less."""
        return self._b.compare("GE", x, y)

    def select(self, condition: SSA, if_true: Any, if_false: Any) -> SSA:
        """One of two values."""
        return self._b.select(condition, if_true, if_false)

    def convert(self, x: SSA, dtype: Any) -> SSA:
        """Another element type; to bool: whether it is not zero."""
        dtype = np.dtype(dtype)
        kind, to = dtypes.kind_of(x.dtype), dtypes.kind_of(dtype)
        if to == "b":
            return x if kind == "b" else self.ne(x, 0)
        if kind == "c" and to != "c":
            x = self.real(x)
        return self._b.convert(x, dtype)

    def bitcast(self, x: SSA, dtype: Any) -> SSA:
        """The same bits."""
        return self._b.bitcast(x, dtype)

    # ------------------------------------------------------------------ complex numbers

    def complex(self, real: Any, imag: Any) -> SSA:
        """A complex number of two parts."""
        first = real if isinstance(real, SSA) else imag
        dtype = np.dtype(f"complex{16 * first.dtype.itemsize}")
        return self._b.apply("stablehlo.complex", real, imag, dtype=dtype)

    def _part(self, name: str, x: SSA) -> SSA:
        dtype = np.dtype(f"float{4 * x.dtype.itemsize}")
        return self._b.apply(f"stablehlo.{name}", x, dtype=dtype)

    def real(self, x: SSA) -> SSA:
        """The real part."""
        return self._part("real", x) if dtypes.kind_of(x.dtype) == "c" else x

    def imag(self, x: SSA) -> SSA:
        """The imaginary part."""
        if dtypes.kind_of(x.dtype) != "c":
            return self._b.full(x.shape, 0, x.dtype)
        return self._part("imag", x)

    def conj(self, x: SSA) -> SSA:
        """The conjugate."""
        return self.complex(self.real(x), self.neg(self.imag(x)))

    # ------------------------------------------------------------------ functions

    def math(self, name: str, *xs: Any) -> SSA:
        """An elementary function."""
        if name == "exp2":
            dtype = xs[0].dtype
            if dtypes.kind_of(dtype) == "c":
                return self.math("exp", self.mul(xs[0], float(np.log(2))))
            return self._apply("power", 2, xs[0])
        operation = _MATH.get(name)
        if operation is None:
            raise UnsupportedError(f"StableHLO has no operation for the function {name}")
        return self._b.apply(operation, *xs)

    def extern(self, name: str, *xs: Any, dtype: Any = None) -> SSA:
        """Scalar library functions are of the host."""
        raise UnsupportedError(f"the function {name} of a host library has no StableHLO")
