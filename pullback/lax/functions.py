"""`lax`: functions of one operand, and special functions of two and three."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from pullback.core.array import Array
from pullback.lax.operands import operands
from pullback.ops import elementwise as ops
from pullback.ops import special

__all__ = [
    "AccuracyMode",
    "Tolerance",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bessel_i0e",
    "bessel_i1e",
    "betainc",
    "bitwise_not",
    "cbrt",
    "ceil",
    "clz",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "imag",
    "is_finite",
    "lgamma",
    "log",
    "log1p",
    "logistic",
    "neg",
    "polygamma",
    "population_count",
    "random_gamma_grad",
    "real",
    "rsqrt",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "zeta",
]


class AccuracyMode(enum.Enum):
    """How accurate a function is asked to be; ours are within 2 ulp in both modes."""

    HIGHEST = "highest"
    DEFAULT = "default"


@dataclass(frozen=True)
class Tolerance:
    """The error that is allowed of a function; ours are within 2 ulp whatever is asked."""

    atol: float = 0.0
    rtol: float = 0.0
    ulps: int = 0


def abs(x: Any) -> Array:
    """Absolute value; the modulus of complex numbers.

    >>> float(abs(-2.0))
    2.0
    """
    return ops.abs_.bind(x)  # type: ignore[no-any-return]


def acos(x: Any) -> Array:
    """Inverse cosine.

    >>> float(acos(1.0))
    0.0
    """
    return ops.acos.bind(x)  # type: ignore[no-any-return]


def acosh(x: Any) -> Array:
    """Inverse hyperbolic cosine.

    >>> float(acosh(1.0))
    0.0
    """
    return ops.acosh.bind(x)  # type: ignore[no-any-return]


def asin(x: Any) -> Array:
    """Inverse sine.

    >>> float(asin(0.0))
    0.0
    """
    return ops.asin.bind(x)  # type: ignore[no-any-return]


def asinh(x: Any) -> Array:
    """Inverse hyperbolic sine.

    >>> float(asinh(0.0))
    0.0
    """
    return ops.asinh.bind(x)  # type: ignore[no-any-return]


def atan(x: Any) -> Array:
    """Inverse tangent.

    >>> float(atan(0.0))
    0.0
    """
    return ops.atan.bind(x)  # type: ignore[no-any-return]


def atanh(x: Any) -> Array:
    """Inverse hyperbolic tangent.

    >>> float(atanh(0.0))
    0.0
    """
    return ops.atanh.bind(x)  # type: ignore[no-any-return]


def bessel_i0e(x: Any) -> Array:
    """Exponentially scaled modified Bessel function of order 0: exp(-abs(x)) I0(x).

    >>> float(bessel_i0e(0.0))
    1.0
    """
    return special.bessel_i0e.bind(x)  # type: ignore[no-any-return]


def bessel_i1e(x: Any) -> Array:
    """Exponentially scaled modified Bessel function of order 1: exp(-abs(x)) I1(x).

    >>> float(bessel_i1e(0.0))
    0.0
    """
    return special.bessel_i1e.bind(x)  # type: ignore[no-any-return]


def bitwise_not(x: Any) -> Array:
    """Bitwise complement; logical not of bools.

    >>> int(bitwise_not(5))
    -6
    """
    return ops.not_.bind(x)  # type: ignore[no-any-return]


def cbrt(x: Any, *, accuracy: Any = None) -> Array:
    """Cube root.

    >>> float(cbrt(8.0))
    2.0
    """
    return ops.cbrt.bind(x)  # type: ignore[no-any-return]


def ceil(x: Any) -> Array:
    """The least integer that is not less.

    >>> float(ceil(1.5))
    2.0
    """
    return ops.ceil.bind(x)  # type: ignore[no-any-return]


def clz(x: Any) -> Array:
    """Number of leading zero bits.

    >>> int(clz(1))
    31
    """
    return ops.clz.bind(x)  # type: ignore[no-any-return]


def cos(x: Any, *, accuracy: Any = None) -> Array:
    """Cosine.

    >>> float(cos(0.0))
    1.0
    """
    return ops.cos.bind(x)  # type: ignore[no-any-return]


def cosh(x: Any) -> Array:
    """Hyperbolic cosine.

    >>> float(cosh(0.0))
    1.0
    """
    return ops.cosh.bind(x)  # type: ignore[no-any-return]


def digamma(x: Any) -> Array:
    """Derivative of the logarithm of the gamma function.

    >>> f"{float(digamma(1.0)):.4f}"
    '-0.5772'
    """
    return special.digamma.bind(x)  # type: ignore[no-any-return]


def erf(x: Any) -> Array:
    """Error function.

    >>> float(erf(0.0))
    0.0
    """
    return special.erf.bind(x)  # type: ignore[no-any-return]


def erf_inv(x: Any) -> Array:
    """Inverse of the error function.

    >>> float(erf_inv(0.0))
    0.0
    """
    return special.erf_inv.bind(x)  # type: ignore[no-any-return]


def erfc(x: Any) -> Array:
    """Complementary error function: 1 - erf(x).

    >>> float(erfc(0.0))
    1.0
    """
    return special.erfc.bind(x)  # type: ignore[no-any-return]


def exp(x: Any, *, accuracy: Any = None) -> Array:
    """Exponential.

    >>> float(exp(0.0))
    1.0
    """
    return ops.exp.bind(x)  # type: ignore[no-any-return]


def exp2(x: Any, *, accuracy: Any = None) -> Array:
    """Two to the power of x.

    >>> float(exp2(3.0))
    8.0
    """
    return ops.exp2.bind(x)  # type: ignore[no-any-return]


def expm1(x: Any, *, accuracy: Any = None) -> Array:
    """exp(x) - 1, accurate near 0.

    >>> float(expm1(0.0))
    0.0
    """
    return ops.expm1.bind(x)  # type: ignore[no-any-return]


def floor(x: Any) -> Array:
    """The greatest integer that is not greater.

    >>> float(floor(1.5))
    1.0
    """
    return ops.floor.bind(x)  # type: ignore[no-any-return]


def imag(x: Any) -> Array:
    """Imaginary part of complex numbers.

    >>> float(imag(1 + 2j))
    2.0
    """
    return ops.imag.bind(x)  # type: ignore[no-any-return]


def is_finite(x: Any) -> Array:
    """Whether an element is neither infinite nor NaN.

    >>> bool(is_finite(1.0))
    True
    """
    return ops.is_finite.bind(x)  # type: ignore[no-any-return]


def lgamma(x: Any) -> Array:
    """Logarithm of the absolute value of the gamma function.

    >>> float(lgamma(1.0))
    0.0
    """
    return special.lgamma.bind(x)  # type: ignore[no-any-return]


def log(x: Any, *, accuracy: Any = None) -> Array:
    """Natural logarithm.

    >>> float(log(1.0))
    0.0
    """
    return ops.log.bind(x)  # type: ignore[no-any-return]


def log1p(x: Any, *, accuracy: Any = None) -> Array:
    """log(1 + x), accurate near 0.

    >>> float(log1p(0.0))
    0.0
    """
    return ops.log1p.bind(x)  # type: ignore[no-any-return]


def logistic(x: Any, *, accuracy: Any = None) -> Array:
    """Logistic function: 1 / (1 + exp(-x)).

    >>> float(logistic(0.0))
    0.5
    """
    return ops.logistic.bind(x)  # type: ignore[no-any-return]


def neg(x: Any) -> Array:
    """Negation.

    >>> float(neg(2.0))
    -2.0
    """
    return ops.neg.bind(x)  # type: ignore[no-any-return]


def population_count(x: Any) -> Array:
    """Number of bits that are set.

    >>> int(population_count(7))
    3
    """
    return ops.population_count.bind(x)  # type: ignore[no-any-return]


def real(x: Any) -> Array:
    """Real part of complex numbers.

    >>> float(real(1 + 2j))
    1.0
    """
    return ops.real.bind(x)  # type: ignore[no-any-return]


def rsqrt(x: Any, *, accuracy: Any = None) -> Array:
    """Reciprocal of the square root.

    >>> float(rsqrt(4.0))
    0.5
    """
    return ops.rsqrt.bind(x)  # type: ignore[no-any-return]


def sign(x: Any) -> Array:
    """-1, 0 or 1; x / abs(x) of complex numbers.

    >>> float(sign(-3.0))
    -1.0
    """
    return ops.sign.bind(x)  # type: ignore[no-any-return]


def sin(x: Any, *, accuracy: Any = None) -> Array:
    """Sine.

    >>> float(sin(0.0))
    0.0
    """
    return ops.sin.bind(x)  # type: ignore[no-any-return]


def sinh(x: Any) -> Array:
    """Hyperbolic sine.

    >>> float(sinh(0.0))
    0.0
    """
    return ops.sinh.bind(x)  # type: ignore[no-any-return]


def sqrt(x: Any, *, accuracy: Any = None) -> Array:
    """Square root.

    >>> float(sqrt(4.0))
    2.0
    """
    return ops.sqrt.bind(x)  # type: ignore[no-any-return]


def square(x: Any) -> Array:
    """x * x.

    >>> float(square(3.0))
    9.0
    """
    return ops.square.bind(x)  # type: ignore[no-any-return]


def tan(x: Any, *, accuracy: Any = None) -> Array:
    """Tangent.

    >>> float(tan(0.0))
    0.0
    """
    return ops.tan.bind(x)  # type: ignore[no-any-return]


def tanh(x: Any, *, accuracy: Any = None) -> Array:
    """Hyperbolic tangent.

    >>> float(tanh(0.0))
    0.0
    """
    return ops.tanh.bind(x)  # type: ignore[no-any-return]


def igamma(a: Any, x: Any) -> Array:
    """Regularized lower incomplete gamma function.

    >>> float(igamma(1.0, 0.0))
    0.0
    """
    return special.igamma.bind(*operands("igamma", a, x))  # type: ignore[no-any-return]


def igamma_grad_a(a: Any, x: Any) -> Array:
    """Derivative of `igamma` with respect to its first argument.

    >>> float(igamma_grad_a(1.0, 0.0))
    0.0
    """
    return special.igamma_grad_a.bind(*operands("igamma_grad_a", a, x))  # type: ignore[no-any-return]


def igammac(a: Any, x: Any) -> Array:
    """Regularized upper incomplete gamma function.

    >>> float(igammac(1.0, 0.0))
    1.0
    """
    return special.igammac.bind(*operands("igammac", a, x))  # type: ignore[no-any-return]


def polygamma(m: Any, x: Any) -> Array:
    """Derivative of order m of the digamma function.

    >>> f"{float(polygamma(1.0, 1.0)):.4f}"
    '1.6449'
    """
    return special.polygamma.bind(*operands("polygamma", m, x))  # type: ignore[no-any-return]


def random_gamma_grad(*args: Any) -> Array:
    """Derivative of a sample `x` of the gamma distribution with respect to its shape: of `a, x`.

    >>> float(random_gamma_grad(1.0, 0.0))
    0.0
    """
    return special.random_gamma_grad.bind(*operands("random_gamma_grad", *args))  # type: ignore[no-any-return]


def zeta(x: Any, q: Any) -> Array:
    """Hurwitz zeta function: the sum of (q + k) ** -x over k >= 0.

    >>> f"{float(zeta(2.0, 1.0)):.4f}"
    '1.6449'
    """
    return special.zeta.bind(*operands("zeta", x, q))  # type: ignore[no-any-return]


def betainc(a: Any, b: Any, x: Any) -> Array:
    """Regularized incomplete beta function.

    >>> float(betainc(1.0, 1.0, 0.25))
    0.25
    """
    checked = operands("betainc", a, b, x)
    return special.regularized_incomplete_beta.bind(*checked)  # type: ignore[no-any-return]
