"""`jax.scipy.special`: special functions, over the element-wise operations of `lax`."""

from __future__ import annotations

import math
import operator
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.control.custom_jvp import custom_jvp
from pullback.core import dtypes
from pullback.nn import normalization
from pullback.nn.normalization import logsumexp
from pullback.numpy.arrays import as_array
from pullback.numpy.operands import strong
from pullback.scipy import complex_gamma, normal_quantiles
from pullback.scipy.integrals import (
    bessel_jn,
    dawsn,
    exp1,
    expi,
    expn,
    fresnel,
    hyp1f1,
    hyp2f1,
    owens_t,
    sici,
    spence,
    sph_harm_y,
    wofz,
)
from pullback.scipy.logarithms import (
    boxcox,
    boxcox1p,
    entr,
    expit,
    kl_div,
    logit,
    one,
    operands,
    real,
    rel_entr,
    xlog1py,
    xlogy,
)

__all__ = [
    "bernoulli",
    "bessel_jn",
    "beta",
    "betainc",
    "betaln",
    "boxcox",
    "boxcox1p",
    "comb",
    "dawsn",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp1",
    "expi",
    "expit",
    "expn",
    "factorial",
    "fresnel",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "hyp1f1",
    "hyp2f1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "kl_div",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "owens_t",
    "poch",
    "polygamma",
    "rel_entr",
    "sici",
    "softmax",
    "spence",
    "sph_harm_y",
    "wofz",
    "xlog1py",
    "xlogy",
    "zeta",
]

_LOG_SQRT_2PI: Final = 0.5 * math.log(2 * math.pi)


# --------------------------------------------------------------------------- gamma and beta


def gammaln(x: Any) -> Any:
    """The logarithm of the absolute value of the gamma function.

    >>> import pullback.scipy as jsp
    >>> jsp.special.gammaln(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    return lax.lgamma(one("gammaln", x))


def loggamma(x: Any) -> Any:
    """The logarithm of the gamma function of positive numbers, NaN for other real ones.

    Of complex numbers it is the branch that is real on the positive axis and continuous outside
    of the negative one.

    >>> import pullback.scipy as jsp
    >>> jsp.special.loggamma(1.0)
    Array(0., dtype=float32, weak_type=True)
    """
    x = one("loggamma", x)
    if dtypes.kind_of(x.dtype) == "c":
        return strong(complex_gamma.loggamma(x))
    return jnp.where(x <= 0, np.nan, lax.lgamma(x))


def gammasgn(x: Any) -> Any:
    """The sign of the gamma function: 1, -1, or NaN at its poles.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.special.gammasgn(jnp.array([2.0, -0.5, -1.5]))
    Array([ 1., -1.,  1.], dtype=float32)
    """
    (x,) = real("gammasgn", x)
    floor = lax.floor(x)
    pole = (x < 0) & (x == floor)
    sign = jnp.where((x > 0) | (jnp.mod(floor, 2) == 0), 1, -1).astype(x.dtype)
    sign = jnp.where(pole | jnp.isnan(x) | (x == -np.inf), np.nan, sign)
    return jnp.where(x == 0, jnp.where(jnp.signbit(x), -1, 1).astype(x.dtype), sign)


def gamma(x: Any) -> Any:
    """The gamma function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.gamma(5.0)), 3)
    24.0
    """
    x = one("gamma", x)
    if dtypes.kind_of(x.dtype) == "c":
        return strong(lax.exp(complex_gamma.loggamma(x)))
    return gammasgn(x) * lax.exp(lax.lgamma(x))


def factorial(n: Any, exact: bool = False) -> Any:
    """n!, and 0 for negative n.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.factorial(4)), 3)
    24.0
    """
    if exact:
        raise NotImplementedError("factorial with exact=True")
    n = one("factorial", n)
    return jnp.where(n < 0, 0, lax.exp(lax.lgamma(n + 1)))


def betaln(a: Any, b: Any) -> Any:
    """The logarithm of the beta function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.betaln(1.0, 2.0)), 4)
    -0.6931
    """
    a, b = operands("betaln", a, b)
    return lax.lgamma(a) + lax.lgamma(b) - lax.lgamma(a + b)


def beta(a: Any, b: Any) -> Any:
    """The beta function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.beta(1.0, 2.0)), 4)
    0.5
    """
    a, b = real("beta", a, b)
    return gammasgn(a) * gammasgn(b) * gammasgn(a + b) * lax.exp(betaln(a, b))


def comb(N: Any, k: Any, *, repetition: bool = False) -> Any:
    """How many sets of k of N things there are; with repetition of things, if that is asked for.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.comb(5, 2)), 3)
    10.0
    """
    n, k = operands("comb", N, k)
    n = n + k - 1 if repetition else n
    value = lax.exp(lax.lgamma(n + 1) - lax.lgamma(k + 1) - lax.lgamma(n - k + 1))
    value = jnp.where((k < 0) | (k > n) | (n < 0), 0, value)
    return jnp.where(k == 0, 1, value) if repetition else value


def betainc(a: Any, b: Any, x: Any) -> Any:
    """The regularised incomplete beta function.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.betainc(1.0, 1.0, 0.5))
    0.5
    """
    return lax.betainc(*operands("betainc", a, b, x))


def gammainc(a: Any, x: Any) -> Any:
    """The regularised lower incomplete gamma function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.gammainc(1.0, 1.0)), 4)
    0.6321
    """
    return lax.igamma(*operands("gammainc", a, x))


def gammaincc(a: Any, x: Any) -> Any:
    """The regularised upper incomplete gamma function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.gammaincc(1.0, 1.0)), 4)
    0.3679
    """
    return lax.igammac(*operands("gammaincc", a, x))


def digamma(x: Any) -> Any:
    """The derivative of `gammaln`.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.digamma(1.0)), 4)
    -0.5772
    """
    return lax.digamma(one("digamma", x))


def polygamma(n: Any, x: Any) -> Any:
    """The n-th derivative of `digamma`.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.polygamma(1, 1.0)), 4)
    1.6449
    """
    order = as_array(n)
    if dtypes.kind_of(order.dtype) not in "biu":
        raise ValueError(
            f"Argument `n` to polygamma must be of integer type. Got dtype {order.dtype}."
        )
    return lax.polygamma(*operands("polygamma", n, x))


def zeta(x: Any, q: Any = None) -> Any:
    """The Hurwitz zeta function; `q` is needed.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.zeta(2.0, 1.0)), 4)
    1.6449
    """
    if q is None:
        raise NotImplementedError(
            "Riemann zeta function not implemented; pass q != None to compute the Hurwitz Zeta "
            "function."
        )
    return lax.zeta(*operands("zeta", x, q))


def multigammaln(a: Any, d: Any) -> Any:
    """The logarithm of the gamma function of `d` dimensions.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.multigammaln(2.0, 1)), 4)
    0.0
    """
    d = operator.index(d)
    a = one("multigammaln", a)
    constant = d * (d - 1) / 4 * math.log(math.pi)
    terms = lax.lgamma(a[..., None] - jnp.arange(d, dtype=a.dtype) / 2)
    return jnp.sum(terms, axis=-1) + jnp.asarray(constant, a.dtype)


def poch(z: Any, m: Any) -> Any:
    """gamma(z + m) / gamma(z).

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.poch(2.0, 2.0)), 3)
    6.0
    """
    z, m = real("poch", z, m)
    sign = gammasgn(z) * gammasgn(z + m)
    return jnp.where(m == 0, 1, sign * lax.exp(lax.lgamma(z + m) - lax.lgamma(z)))


def bernoulli(n: int) -> Any:
    """The Bernoulli numbers B_0 to B_n.

    >>> import pullback.scipy as jsp
    >>> jsp.special.bernoulli(2).round(4)
    Array([ 1.    , -0.5   ,  0.1667], dtype=float32)
    """
    n = operator.index(n)
    if n < 0:
        raise ValueError("n must be a non-negative integer.")
    return jnp.asarray(_bernoulli_numbers(n), dtypes.default_float())


def _bernoulli_numbers(n: int) -> Any:
    """B_k = (-1)^(k/2 + 1) 2 k! zeta(k) / (2 pi)^k for even k."""
    values = np.zeros(n + 1)
    values[0] = 1
    if n:
        values[1] = -0.5
    for k in range(2, n + 1, 2):
        zeta_k = (
            math.fsum(j**-k for j in range(1, 2000))
            if k > 4
            else math.pi**k / (6 if k == 2 else 90)
        )
        size = math.lgamma(k + 1) - k * math.log(2 * math.pi)
        values[k] = (-1) ** (k // 2 + 1) * 2 * math.exp(size) * zeta_k
    return values


# --------------------------------------------------------------------------- error functions


def erf(x: Any) -> Any:
    """The error function.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.erf(1.0)), 4)
    0.8427
    """
    return lax.erf(one("erf", x))


def erfc(x: Any) -> Any:
    """1 - erf(x), accurate where that is small.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.erfc(1.0)), 4)
    0.1573
    """
    return lax.erfc(one("erfc", x))


def erfinv(x: Any) -> Any:
    """The inverse of `erf`.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.erfinv(0.5)), 4)
    0.4769
    """
    return lax.erf_inv(one("erfinv", x))


def erfcx(x: Any) -> Any:
    """exp(x^2) erfc(x), which stays in range for large x.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.erfcx(30.0)), 5)
    0.0188
    """
    x = strong(one("erfcx", x))
    if dtypes.kind_of(x.dtype) == "c":
        return wofz(lax.complex(-x.imag, x.real))
    bound = 4.0 if x.dtype != np.float64 else 25.0
    large = x > bound
    near = jnp.where(large, 0, x)
    far = jnp.where(large, x, bound)
    inverse = 1 / (far * far)
    series, term = jnp.ones_like(far), jnp.ones_like(far)
    for k in range(1, 9):
        term = term * inverse * (-(2 * k - 1) / 2)
        series = series + term
    asymptotic = series / (far * math.sqrt(math.pi))
    return jnp.where(large, asymptotic, lax.exp(near * near) * lax.erfc(near))


def ndtr(x: Any) -> Any:
    """The cumulative distribution function of the normal distribution.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.ndtr(0.0))
    0.5
    """
    x = strong(one("ndtr", x))
    if dtypes.kind_of(x.dtype) == "c":
        raise TypeError(f"ndtr takes float32 or float64, got {x.dtype}")
    return 0.5 * lax.erfc(-x * math.sqrt(0.5))


def ndtri(p: Any) -> Any:
    """The inverse of `ndtr`.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.ndtri(0.975)), 3)
    1.96
    """
    p = strong(one("ndtri", p))
    if dtypes.kind_of(p.dtype) == "c":
        raise TypeError(f"ndtri takes real numbers, got {p.dtype}")
    return normal_quantiles.ndtri(p)


@custom_jvp
def _log_ndtr(x: Any) -> Any:
    low, high = (-20.0, 8.0) if x.dtype == np.float64 else (-9.0, 5.0)
    middle = jnp.clip(x, low, high)
    by_log = jnp.log(0.5 * lax.erfc(-middle * math.sqrt(0.5)))
    above = -0.5 * lax.erfc(jnp.maximum(x, high) * math.sqrt(0.5))
    below = jnp.minimum(x, low)
    inverse, series, term = 1 / (below * below), jnp.ones_like(x), jnp.ones_like(x)
    for k in range(1, 9):
        term = term * inverse * -(2 * k - 1)
        series = series + term
    tail = -0.5 * below * below - jnp.log(-below) - _LOG_SQRT_2PI + jnp.log(series)
    return jnp.where(x > high, above, jnp.where(x < low, tail, by_log))


@_log_ndtr.defjvp
def _log_ndtr_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    value = _log_ndtr(x)
    return value, t * lax.exp(-0.5 * x * x - _LOG_SQRT_2PI - value)


def log_ndtr(x: Any, series_order: int = 3) -> Any:
    """The logarithm of `ndtr`, also far out in the lower tail.

    `series_order` is accepted; the number of terms that is used gives full precision.

    >>> import pullback.scipy as jsp
    >>> round(float(jsp.special.log_ndtr(-20.0)), 2)
    -203.92
    """
    if operator.index(series_order) < 0:
        raise ValueError("series_order must be non-negative.")
    x = strong(one("log_ndtr", x))
    if x.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"x.dtype={x.dtype} is not supported, see docstring for supported types.")
    return _log_ndtr(x)


# --------------------------------------------------------------------------- Bessel


def i0e(x: Any) -> Any:
    """exp(-|x|) times the modified Bessel function of order 0.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.i0e(0.0))
    1.0
    """
    return lax.bessel_i0e(one("i0e", x))


def i0(x: Any) -> Any:
    """The modified Bessel function of order 0.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.i0(0.0))
    1.0
    """
    x = one("i0", x)
    # As a product, |x| has the derivative 0 at 0, which i0 has there.
    return lax.exp(lax.mul(x, lax.sign(x))) * lax.bessel_i0e(x)


def i1e(x: Any) -> Any:
    """exp(-|x|) times the modified Bessel function of order 1.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.i1e(0.0))
    0.0
    """
    return lax.bessel_i1e(one("i1e", x))


def i1(x: Any) -> Any:
    """The modified Bessel function of order 1.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.i1(0.0))
    0.0
    """
    x = one("i1", x)
    return lax.exp(lax.abs(x)) * lax.bessel_i1e(x)


def softmax(x: Any, /, *, axis: Any = None) -> Any:
    """exp(x) divided by its sum over `axis`, by default over all elements.

    >>> softmax(jnp.zeros((2, 2))).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    return normalization.softmax(x, axis)


def log_softmax(x: Any, /, *, axis: Any = None) -> Any:
    """log(softmax(x)) over `axis`, by default over all elements.

    >>> float(jnp.exp(log_softmax(jnp.zeros(4))[0]))
    0.25
    """
    return normalization.log_softmax(x, axis)
