"""Special functions, element by element: error functions, Bessel, incomplete beta.

References are SciPy's, which compute float32 in double precision.  Those of the gamma family are in
`ops/gamma.py`.  The compiler calls SciPy's scalar routines where it has no kernel of its own.
"""

from __future__ import annotations

import math
from typing import Any

from pullback.core.primitive import Primitive
from pullback.errors import UnsupportedError
from pullback.ops import hlo_special
from pullback.ops.arithmetic import add, div, mul, neg, sign, square, sub
from pullback.ops.comparison import eq, where
from pullback.ops.exponential import exp, log, log1p
from pullback.ops.gamma import (
    digamma,
    extern,
    igamma,
    igamma_grad_a,
    igammac,
    lgamma,
    polygamma,
    random_gamma_grad,
    scipy_function,
    zeta,
)
from pullback.ops.kinds import FLOAT, binary, unary
from pullback.ops.samples import ANYWHERE, inputs

__all__ = [
    "bessel_i0e",
    "bessel_i1e",
    "digamma",
    "erf",
    "erf_inv",
    "erfc",
    "igamma",
    "igamma_grad_a",
    "igammac",
    "lgamma",
    "polygamma",
    "random_gamma_grad",
    "regularized_incomplete_beta",
    "zeta",
]

_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_HALF_SQRT_PI = math.sqrt(math.pi) / 2

# --------------------------------------------------------------------------- error functions

erf: Primitive = unary(
    "erf",
    scipy_function("erf"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, mul(exp(neg(square(x))), _TWO_OVER_SQRT_PI)),
    lower="erf",
    hlo="chlo.erf",
    samples=inputs(FLOAT, ANYWHERE),
)
erfc: Primitive = unary(
    "erfc",
    scipy_function("erfc"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, mul(exp(neg(square(x))), -_TWO_OVER_SQRT_PI)),
    lower="erfc",
    hlo="chlo.erfc",
    samples=inputs(FLOAT, ANYWHERE),
)
erf_inv: Primitive = unary(
    "erf_inv",
    scipy_function("erfinv"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, mul(exp(square(ans)), _HALF_SQRT_PI)),
    lower="erf_inv",
    hlo="chlo.erf_inv",
    samples=inputs(FLOAT, (-0.95, 0.95)),
)

# --------------------------------------------------------------------------- Bessel functions


def _i1e_slope(ans: Any, x: Any) -> Any:
    """i0e(x) - i1e(x) (sign(x) + 1/x), and 1/2 at 0."""
    zero = eq(x, 0.0)
    safe = where(zero, 1.0, x)
    slope = sub(bessel_i0e(x), mul(ans, add(sign(safe), div(1.0, safe))))
    return where(zero, 0.5, slope)


bessel_i0e: Primitive = unary(
    "bessel_i0e",
    scipy_function("i0e"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, sub(bessel_i1e(x), mul(sign(x), ans))),
    lower="bessel_i0e",
    hlo=hlo_special.bessel_i0e,
    samples=inputs(FLOAT, (-5, 5)),
)
bessel_i1e: Primitive = unary(
    "bessel_i1e",
    scipy_function("i1e"),
    FLOAT,
    jvp=lambda ans, x: lambda t: mul(t, _i1e_slope(ans, x)),
    lower="bessel_i1e",
    hlo="chlo.bessel_i1e",
    samples=inputs(FLOAT, (-5, 5)),
)

# --------------------------------------------------------------------------- incomplete beta


def _no_slope(ans: Any, a: Any, b: Any, x: Any) -> Any:
    raise UnsupportedError(
        "the derivative of betainc with respect to a and b has no rule; only that with respect to x"
    )


def _beta_density(a: Any, b: Any, x: Any) -> Any:
    powers = add(mul(sub(b, 1.0), log1p(neg(x))), mul(sub(a, 1.0), log(x)))
    return exp(add(powers, sub(lgamma(add(a, b)), add(lgamma(a), lgamma(b)))))


regularized_incomplete_beta: Primitive = binary(
    "regularized_incomplete_beta",
    scipy_function("betainc"),
    FLOAT,
    jvp=(_no_slope, _no_slope, lambda ans, a, b, x: lambda t: mul(t, _beta_density(a, b, x))),
    lower=extern("betainc"),
    hlo=hlo_special.incomplete_beta,
    samples=inputs(FLOAT, (0.5, 3), (0.5, 3), (0.1, 0.9), specials="", differentiable=(2,)),
)
