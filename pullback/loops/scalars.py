"""The scalar builder: operations on data as expressions (`core.lowering.Scalars`).

Everything composite is expanded here, so that code generation knows few operations: floats narrower
than float32 become float32 arithmetic between conversions (a conversion down rounds), complex
numbers become pairs, `sign`, `rsqrt`, `clamp` and the like become what they are made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.loops.expr import (
    BOOL,
    INT64,
    Affine,
    Const,
    Expr,
    Op,
    affine,
    bounds,
    compare,
    index_max,
    index_min,
)
from pullback.loops.folding import (
    COMPARISONS,
    as_python,
    convert_constant,
    fold,
    fold_floats,
    rounded,
)

__all__ = [
    "ALIASES",
    "SCALARS",
    "ScalarBuilder",
    "is_complex",
    "is_small_float",
    "joined",
    "parts_of",
]

FLOAT32: Final = np.dtype("float32")
_UNSIGNED: Final = {n: np.dtype(f"uint{8 * n}") for n in (1, 2, 4, 8)}
_SIGNED: Final = {n: np.dtype(f"int{8 * n}") for n in (1, 2, 4, 8)}
_MIXED: Final = {"lt": "lt", "eq": "eq", "ne": "ne"}

ALIASES: Final[dict[str, str]] = {
    "and": "and_",
    "or": "or_",
    "not": "not_",
    "population_count": "popcount",
}
"""Names of primitives whose method of `ScalarBuilder` is called otherwise."""


def is_complex(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of this dtype are pairs."""
    return dtype.kind == "c"


_wide_floats: Final = (np.dtype("float32"), np.dtype("float64"))


def is_small_float(dtype: np.dtype[Any]) -> bool:
    """Whether arithmetic on this dtype is done in float32."""
    return dtype not in _wide_floats and dtypes.kind_of(dtype) == "f"


def _is_number(x: Any) -> bool:
    return not isinstance(x, Expr)


class ScalarBuilder:
    """Builds expressions; it has no state (see `core.lowering.Scalars`)."""

    __slots__ = ()
    whole_arrays: Final = False

    # ---------------------------------------------------------------- constants and plumbing

    def const(self, value: Any, dtype: Any) -> Expr:
        """A number of a dtype, as NumPy would convert it."""
        dtype = dtypes.physical(dtypes.as_dtype(dtype))
        value = as_python(value)
        kind = dtypes.kind_of(dtype)
        if kind == "c":
            part = np.dtype(f"f{dtype.itemsize // 2}")
            number = complex(value)
            return self.complex(Const(number.real, part), Const(number.imag, part))
        if kind == "b":
            return Const(bool(value), dtype)
        if kind == "f":
            return Const(rounded(float(value), dtype), dtype)
        return Const(int(value), dtype)

    def _pair(self, x: Any, y: Any) -> tuple[Expr, Expr]:
        if isinstance(x, Expr):
            if not isinstance(y, Expr):
                return x, self.const(y, x.dtype)
            if x.dtype != y.dtype:
                raise TypeError(f"operands of dtypes {x.dtype} and {y.dtype}")
            return x, y
        if not isinstance(y, Expr):
            raise TypeError("one operand at least must be an expression")
        return self.const(x, y.dtype), y

    def _binary(self, name: str, x: Any, y: Any) -> Expr:
        x, y = self._pair(x, y)
        dtype = x.dtype
        if dtype.kind in "iu":
            folded = fold(name, x, y)
            return Op(name, (x, y), dtype) if folded is None else folded
        if dtype.kind == "f" and dtype.itemsize > 2:
            folded = fold_floats(name, x, y)
            return Op(name, (x, y), dtype) if folded is None else folded
        if dtype.kind == "c":
            return _COMPLEX_BINARY[name](self, x, y)
        if dtype.kind == "b":
            return self._boolean(name, x, y)
        if is_small_float(dtype):
            wide = Op(name, (self._widen(x), self._widen(y)), FLOAT32)
            return self.convert(wide, dtype)
        return Op(name, (x, y), dtype)

    def _boolean(self, name: str, x: Expr, y: Expr) -> Expr:
        made = {"add": "or", "max": "or", "mul": "and", "min": "and", "sub": "xor"}.get(name)
        if made is None:
            raise TypeError(f"{name} of booleans")
        return Op(made, (x, y), BOOL)

    def _widen(self, x: Expr) -> Expr:
        return self.convert(x, FLOAT32)

    def _narrowed(self, fn: Callable[..., Expr], *xs: Expr) -> Expr | None:
        """`fn` in float32, rounded once, if the operands are narrower floats."""
        dtype = xs[0].dtype
        if not is_small_float(dtype):
            return None
        return self.convert(fn(*(self._widen(x) for x in xs)), dtype)

    def _unary(self, name: str, x: Expr) -> Expr:
        if name == "neg" and type(x) is Const and dtypes.kind_of(x.dtype) == "f":
            return Const(-x.value, x.dtype)
        small = self._narrowed(lambda y: Op(name, (y,), FLOAT32), x)
        return Op(name, (x,), x.dtype) if small is None else small

    # ---------------------------------------------------------------- arithmetic

    def add(self, x: Any, y: Any) -> Expr:
        """Sum."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) + affine(y)
        return self._binary("add", x, y)

    def sub(self, x: Any, y: Any) -> Expr:
        """Difference."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) - affine(y)
        return self._binary("sub", x, y)

    def mul(self, x: Any, y: Any) -> Expr:
        """Product."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) * affine(y)
        return self._binary("mul", x, y)

    def div(self, x: Any, y: Any) -> Expr:
        """Quotient; of integers rounded to zero, by zero -1."""
        return self._binary("div", x, y)

    def rem(self, x: Any, y: Any) -> Expr:
        """Remainder with the sign of the dividend; by integer zero the dividend."""
        return self._binary("rem", x, y)

    def neg(self, x: Expr) -> Expr:
        """Negation."""
        if type(x) is Affine:
            return -x
        if x.dtype.kind == "c":
            return self.complex(self.neg(self.real(x)), self.neg(self.imag(x)))
        return self._unary("neg", x)

    def abs(self, x: Expr) -> Expr:
        """Magnitude."""
        if x.dtype.kind == "c":
            return self.math("hypot", self.real(x), self.imag(x))
        if dtypes.kind_of(x.dtype) in "ub":
            return x
        return self._unary("abs", x)

    def sign(self, x: Expr) -> Expr:
        """-1, 0 or 1; NaN and signed zeros as they are; z / |z| of complex numbers."""
        kind = dtypes.kind_of(x.dtype)
        if kind == "c":
            size = self.abs(x)
            zero = self.eq(size, 0)
            safe = self.select(zero, 1, size)
            parts = (self.div(self.real(x), safe), self.div(self.imag(x), safe))
            return self.select(zero, self.const(0, x.dtype), self.complex(*parts))
        if kind in "ub":
            return self.convert(self.ne(x, 0), x.dtype)
        if kind == "i":
            negative = self.select(self.lt(x, 0), self.const(-1, x.dtype), 0)
            return self.select(self.gt(x, 0), self.const(1, x.dtype), negative)
        small = self._narrowed(self.sign, x)
        if small is not None:
            return small
        return self.select(self.ne(x, 0), self.select(self.is_nan(x), x, self.copysign(1, x)), x)

    def max(self, x: Any, y: Any) -> Expr:
        """The greater; NaN if either is; complex numbers in lexicographic order."""
        if type(x) is Affine or type(y) is Affine:
            return index_max(x, y)
        return self._binary("max", x, y)

    def min(self, x: Any, y: Any) -> Expr:
        """The lesser; NaN if either is."""
        if type(x) is Affine or type(y) is Affine:
            return index_min(x, y)
        return self._binary("min", x, y)

    def clamp(self, low: Any, x: Expr, high: Any) -> Expr:
        """`min(max(x, low), high)`."""
        return self.min(self.max(x, low), high)

    def square(self, x: Expr) -> Expr:
        """x * x."""
        return self.mul(x, x)

    def integer_pow(self, x: Expr, y: int) -> Expr:
        """x to a constant integer power, by repeated squaring."""
        small = self._narrowed(lambda z: self.integer_pow(z, y), x)
        if small is not None:
            return small
        if y < 0:
            return self.div(self.const(1, x.dtype), self.integer_pow(x, -y))
        result: Expr | None = None
        while y:
            if y & 1:
                result = x if result is None else self.mul(result, x)
            y >>= 1
            if y:
                x = self.mul(x, x)
        return self.const(1, x.dtype) if result is None else result

    def fma(self, x: Any, y: Any, z: Any) -> Expr:
        """x * y + z, rounded once if the machine does so."""
        first, second = self._pair(x, y)
        first, third = self._pair(first, z)
        if first.dtype in _wide_floats:
            return Op("fma", (first, second, third), first.dtype)
        return self.add(self.mul(first, second), third)

    # ---------------------------------------------------------------- rounding and roots

    def floor(self, x: Expr) -> Expr:
        """Round down."""
        return self._unary("floor", x)

    def ceil(self, x: Expr) -> Expr:
        """Round up."""
        return self._unary("ceil", x)

    def trunc(self, x: Expr) -> Expr:
        """Round to zero."""
        return self._unary("trunc", x)

    def round_even(self, x: Expr) -> Expr:
        """Round to nearest, ties to even."""
        return self._unary("round_even", x)

    def round_away(self, x: Expr) -> Expr:
        """Round to nearest, ties away from zero."""
        return self._unary("round_away", x)

    def sqrt(self, x: Expr) -> Expr:
        """Square root."""
        if x.dtype.kind == "c":
            return self.math("sqrt", x)
        return self._unary("sqrt", x)

    def rsqrt(self, x: Expr) -> Expr:
        """1 / sqrt(x)."""
        small = self._narrowed(self.rsqrt, x)
        return self.div(1, self.sqrt(x)) if small is None else small

    def is_finite(self, x: Expr) -> Expr:
        """Neither infinite nor NaN."""
        if x.dtype.kind == "c":
            return self.and_(self.is_finite(self.real(x)), self.is_finite(self.imag(x)))
        if is_small_float(x.dtype):
            x = self._widen(x)
        return Op("lt", (Op("abs", (x,), x.dtype), Const(math.inf, x.dtype)), BOOL)

    def is_nan(self, x: Expr) -> Expr:
        """Not a number."""
        return self.ne(x, x)

    def copysign(self, x: Any, y: Any) -> Expr:
        """The magnitude of x with the sign of y."""
        x, y = self._pair(x, y)
        small = self._narrowed(self.copysign, x, y)
        return Op("copysign", (x, y), x.dtype) if small is None else small

    def nextafter(self, x: Any, y: Any) -> Expr:
        """The next number after x towards y."""
        x, y = self._pair(x, y)
        integer = _SIGNED[x.dtype.itemsize]
        bits = self.bitcast(x, integer)
        away = self.eq(self.gt(y, x), self.gt(x, 0))
        stepped = self.add(bits, self.select(away, self.const(1, integer), -1))
        tiny = self.select(
            self.lt(y, 0), self.const(np.iinfo(integer).min + 1, integer), self.const(1, integer)
        )
        moved = self.bitcast(self.select(self.eq(x, 0), tiny, stepped), x.dtype)
        result = self.select(self.eq(x, y), y, moved)
        return self.select(self.or_(self.is_nan(x), self.is_nan(y)), math.nan, result)

    # ---------------------------------------------------------------- bits and booleans

    def and_(self, x: Any, y: Any) -> Expr:
        """Bitwise or logical and."""
        x, y = self._pair(x, y)
        if x.dtype.kind == "b":
            for a, b in ((x, y), (y, x)):
                if type(a) is Const:
                    return b if a.value else a
        return Op("and", (x, y), x.dtype)

    def or_(self, x: Any, y: Any) -> Expr:
        """Bitwise or logical or."""
        x, y = self._pair(x, y)
        if x.dtype.kind == "b":
            for a, b in ((x, y), (y, x)):
                if type(a) is Const:
                    return a if a.value else b
        return Op("or", (x, y), x.dtype)

    def xor(self, x: Any, y: Any) -> Expr:
        """Bitwise or logical exclusive or."""
        x, y = self._pair(x, y)
        return Op("xor", (x, y), x.dtype)

    def not_(self, x: Expr) -> Expr:
        """Bitwise or logical negation."""
        if type(x) is Const and x.dtype.kind == "b":
            return Const(not x.value, BOOL)
        return Op("not", (x,), x.dtype)

    def _shift(self, name: str, x: Any, y: Any) -> Expr:
        x, y = self._pair(x, y)
        bits = dtypes.itemsize_bits(x.dtype)
        if type(y) is Const:
            if 0 <= y.value < bits:
                return Op(name, (x, y), x.dtype)
            return self._overshift(name, x, bits)
        count = self.bitcast(y, _unsigned(y.dtype))
        small = self.lt(count, bits)
        shifted = Op(name, (x, self.select(small, y, 0)), x.dtype)
        return self.select(small, shifted, self._overshift(name, x, bits))

    def _overshift(self, name: str, x: Expr, bits: int) -> Expr:
        if name == "ashr" and dtypes.kind_of(x.dtype) == "i":
            return Op(name, (x, self.const(bits - 1, x.dtype)), x.dtype)
        return self.const(0, x.dtype)

    def shift_left(self, x: Any, y: Any) -> Expr:
        """x << y; 0 if y is not in [0, bits)."""
        return self._shift("shl", x, y)

    def shift_right_logical(self, x: Any, y: Any) -> Expr:
        """x >> y filled with zeros."""
        return self._shift("lshr", x, y)

    def shift_right_arithmetic(self, x: Any, y: Any) -> Expr:
        """x >> y filled with the sign."""
        return self._shift("ashr", x, y)

    def popcount(self, x: Expr) -> Expr:
        """Number of one bits."""
        return Op("popcount", (x,), x.dtype)

    def clz(self, x: Expr) -> Expr:
        """Number of leading zeros."""
        return Op("clz", (x,), x.dtype)

    def mulhi(self, x: Any, y: Any) -> Expr:
        """High half of the product of two unsigned integers."""
        x, y = self._pair(x, y)
        return Op("mulhi", (x, y), x.dtype)

    # ---------------------------------------------------------------- comparisons, selection

    def _compare(self, name: str, x: Any, y: Any) -> Expr:
        x, y = self._pair(x, y)
        if x.dtype.kind == "c":
            return _complex_compare(self, name, x, y)
        if is_small_float(x.dtype):
            x, y = self._widen(x), self._widen(y)
        if type(x) is Const and type(y) is Const:
            return Const(COMPARISONS[name](x.value, y.value), BOOL)
        return Op(name, (x, y), BOOL)

    def eq(self, x: Any, y: Any) -> Expr:
        """x == y."""
        if type(x) is Affine or type(y) is Affine:
            return compare("eq", affine(x), affine(y))
        return self._compare("eq", x, y)

    def ne(self, x: Any, y: Any) -> Expr:
        """x != y."""
        if type(x) is Affine or type(y) is Affine:
            return compare("ne", affine(x), affine(y))
        return self._compare("ne", x, y)

    def lt(self, x: Any, y: Any) -> Expr:
        """x < y."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) < affine(y)
        return self._compare("lt", x, y)

    def le(self, x: Any, y: Any) -> Expr:
        """x <= y."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) <= affine(y)
        return self._compare("le", x, y)

    def gt(self, x: Any, y: Any) -> Expr:
        """x > y."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) > affine(y)
        return self._compare("gt", x, y)

    def ge(self, x: Any, y: Any) -> Expr:
        """x >= y."""
        if type(x) is Affine or type(y) is Affine:
            return affine(x) >= affine(y)
        return self._compare("ge", x, y)

    def select(self, condition: Expr, if_true: Any, if_false: Any) -> Expr:
        """One of two values."""
        x, y = self._pair(if_true, if_false)
        if type(condition) is Const:
            return x if condition.value else y
        if x is y:
            return x
        if x.dtype.kind == "c":
            return self.complex(
                self.select(condition, self.real(x), self.real(y)),
                self.select(condition, self.imag(x), self.imag(y)),
            )
        return Op("select", (condition, x, y), x.dtype)

    def index(self, x: Expr, low: int = 0, high: int | None = None) -> Expr:
        """An integer as an index, clamped into [low, high] unless `high` is None."""
        i = affine(self.convert(x, INT64))
        if high is None:
            return i
        if x.dtype == np.dtype("uint64"):  # above 2**63 it would look negative
            x = self.min(x, max(high, 0))
            i = affine(self.convert(x, INT64))
        return index_max(index_min(i, high), low)

    # ---------------------------------------------------------------- conversion

    def convert(self, x: Expr, dtype: Any) -> Expr:
        """To another dtype, as `lax.convert_element_type` does."""
        dtype = dtypes.physical(dtypes.as_dtype(dtype))
        source = x.dtype
        if dtype == source:
            return x
        if dtype.kind == "c":
            part = np.dtype(f"f{dtype.itemsize // 2}")
            if source.kind == "c":
                re, im = self.real(x), self.imag(x)
                return self.complex(self.convert(re, part), self.convert(im, part))
            return self.complex(self.convert(x, part), Const(0.0, part))
        if source.kind == "c":
            if dtype.kind == "b":
                return self.or_(self.ne(self.real(x), 0), self.ne(self.imag(x), 0))
            return self.convert(self.real(x), dtype)
        if dtype.kind == "b":
            return self.ne(x, 0)
        if type(x) is Const:
            return convert_constant(x, dtype)
        if is_small_float(dtype) and source != FLOAT32:
            if dtypes.kind_of(source) == "f" and not is_small_float(source):
                return Op("convert", (x,), dtype)  # float64: rounded once
            return self.convert(self.convert(x, FLOAT32), dtype)
        if is_small_float(source) and dtype != FLOAT32:
            return self.convert(self.convert(x, FLOAT32), dtype)
        return Op("convert", (x,), dtype)

    def bitcast(self, x: Expr, dtype: Any) -> Expr:
        """The same bits as another dtype of the same width."""
        dtype = dtypes.physical(dtypes.as_dtype(dtype))
        if dtype == x.dtype:
            return x
        if dtype.kind == "b":
            return self.ne(x, 0)
        if x.dtype.kind == "b":
            return self.bitcast(self.convert(x, np.dtype("uint8")), dtype)
        return Op("bitcast", (x,), dtype)

    # ---------------------------------------------------------------- complex numbers

    def complex(self, real: Any, imag: Any) -> Expr:
        """A complex number from its parts."""
        re, im = self._pair(real, imag)
        dtype = np.dtype("complex64" if re.dtype == FLOAT32 else "complex128")
        return Op("complex", (re, im), dtype)

    def real(self, x: Expr) -> Expr:
        """The real part."""
        return self._part(x, 0)

    def imag(self, x: Expr) -> Expr:
        """The imaginary part; 0 of a real number."""
        if x.dtype.kind != "c":
            return self.const(0, x.dtype)
        return self._part(x, 1)

    def _part(self, x: Expr, which: int) -> Expr:
        if x.dtype.kind != "c":
            return x
        if type(x) is Op and x.name == "complex":
            return x.args[which]
        return Op("imag" if which else "real", (x,), np.dtype(f"f{x.dtype.itemsize // 2}"))

    def conj(self, x: Expr) -> Expr:
        """The complex conjugate."""
        if x.dtype.kind != "c":
            return x
        return self.complex(self.real(x), self.neg(self.imag(x)))

    # ---------------------------------------------------------------- functions

    def math(self, name: str, *xs: Any) -> Expr:
        """An elementary function by its `lax` name."""
        first = next(x for x in xs if isinstance(x, Expr))
        args = [x if isinstance(x, Expr) else self.const(x, first.dtype) for x in xs]
        if first.dtype.kind == "c":
            return _complex_math(self, name, *args)
        if any(a.dtype != first.dtype for a in args):
            raise TypeError(f"{name} of {', '.join(str(a.dtype) for a in args)}")
        if dtypes.kind_of(first.dtype) != "f":
            raise TypeError(f"{name} is for floats, not {first.dtype}")
        small = self._narrowed(lambda *ys: self.math(name, *ys), *args)
        if small is not None:
            return small
        if name in _OWN_MATH:
            return _OWN_MATH[name](self, *args)
        return Op("math", tuple(args), first.dtype, name)

    def extern(self, name: str, *xs: Any, dtype: Any = None) -> Expr:
        """A scalar library function by its name."""
        first = next(x for x in xs if isinstance(x, Expr))
        args = tuple(x if isinstance(x, Expr) else self.const(x, first.dtype) for x in xs)
        return Op("extern", args, first.dtype if dtype is None else np.dtype(dtype), name)


def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.itemsize in _UNSIGNED and dtype.kind in "iu":
        return _UNSIGNED[dtype.itemsize]
    return np.dtype(dtype.name if dtype.name.startswith("u") else f"u{dtype.name}")


# ------------------------------------------------------------------------ derived functions


def _sqrt(s: ScalarBuilder, x: Expr) -> Expr:
    return s.sqrt(x)


def _hypot(s: ScalarBuilder, x: Expr, y: Expr) -> Expr:
    """Scaled, so that neither overflows nor underflows; infinite if either part is."""
    x, y = s.abs(x), s.abs(y)
    large, least = s.max(x, y), s.min(x, y)
    ratio = s.div(least, s.select(s.eq(large, 0), 1, large))
    size = s.mul(large, s.sqrt(s.add(1, s.mul(ratio, ratio))))
    infinite = s.or_(s.eq(x, math.inf), s.eq(y, math.inf))
    return s.select(infinite, s.const(math.inf, x.dtype), size)


_OWN_MATH: Final[dict[str, Callable[..., Expr]]] = {
    "sqrt": _sqrt,
    "rsqrt": ScalarBuilder.rsqrt,
    "hypot": _hypot,
}


def _complex_compare(s: ScalarBuilder, name: str, x: Expr, y: Expr) -> Expr:
    if name == "eq":
        return s.and_(s.eq(s.real(x), s.real(y)), s.eq(s.imag(x), s.imag(y)))
    if name == "ne":
        return s.or_(s.ne(s.real(x), s.real(y)), s.ne(s.imag(x), s.imag(y)))
    strict = s._compare(name[0] + "t", s.real(x), s.real(y))
    tie = s.and_(s.eq(s.real(x), s.real(y)), s._compare(name, s.imag(x), s.imag(y)))
    return s.or_(strict, tie)


_COMPLEX_BINARY: Final[dict[str, Callable[..., Expr]]] = {}
_COMPLEX_MATH: Final[dict[str, Callable[..., Expr]]] = {}


def complex_binary(name: str) -> Callable[[Callable[..., Expr]], Callable[..., Expr]]:
    """Register the expansion of a binary operation on complex numbers."""
    return lambda fn: _COMPLEX_BINARY.setdefault(name, fn)


def complex_math(name: str) -> Callable[[Callable[..., Expr]], Callable[..., Expr]]:
    """Register the expansion of an elementary function of complex numbers."""
    return lambda fn: _COMPLEX_MATH.setdefault(name, fn)


def _complex_math(s: ScalarBuilder, name: str, *xs: Expr) -> Expr:
    if name not in _COMPLEX_MATH:
        raise TypeError(f"{name} of complex numbers is not supported")
    return _COMPLEX_MATH[name](s, *xs)


def index_bounds(x: Expr) -> tuple[int, int]:
    """Bounds of an integer expression, for clamping."""
    return bounds(affine(x))


SCALARS: Final = ScalarBuilder()


def parts_of(x: Expr) -> list[Expr]:
    """The real and imaginary parts of a complex number; anything else as it is."""
    return [SCALARS.real(x), SCALARS.imag(x)] if x.dtype.kind == "c" else [x]


def joined(parts: Sequence[Expr]) -> Expr:
    """The inverse of `parts_of`."""
    return parts[0] if len(parts) == 1 else SCALARS.complex(parts[0], parts[1])
