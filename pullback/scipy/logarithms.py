"""Logarithms, entropies and logistic functions of `jax.scipy.special`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.control.custom_jvp import custom_jvp
from pullback.core import dtypes
from pullback.numpy.arrays import as_array
from pullback.numpy.operands import strong, strong_unless_scalar
from pullback.numpy.promotion import promote_args_inexact

__all__ = [
    "boxcox",
    "boxcox1p",
    "entr",
    "expit",
    "kl_div",
    "logit",
    "one",
    "operands",
    "real",
    "rel_entr",
    "xlog1py",
    "xlogy",
]


def operands(name: str, *args: Any) -> list[Any]:
    """The operands as arrays, broadcast, of one inexact dtype."""
    return [as_array(x) for x in promote_args_inexact(name, *args)]


def one(name: str, x: Any) -> Any:
    """One operand as an array of an inexact dtype."""
    return operands(name, x)[0]


def real(name: str, *args: Any) -> list[Any]:
    """`operands` that are real; ValueError if they are complex."""
    found = operands(name, *args)
    if dtypes.kind_of(found[0].dtype) == "c":
        raise ValueError(f"{name} does not support complex-valued inputs.")
    return found


def logit(x: Any) -> Any:
    """log(x / (1 - x)).

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.logit(0.5))
    0.0
    """
    x = one("logit", x)
    return strong_unless_scalar(lax.log(x / (1 - x)) if x.dtype.kind == "c" else _logit(x))


@custom_jvp
def _logit(x: Any) -> Any:
    return lax.log(x / (1 - x))


@_logit.defjvp
def _logit_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _logit(x), t / (x * (1 - x))


def expit(x: Any) -> Any:
    """1 / (1 + exp(-x)).

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.expit(0.0))
    0.5
    """
    return lax.logistic(one("expit", x))


@custom_jvp
def _xlogy(x: Any, y: Any) -> Any:
    zero = x == 0
    return jnp.where(zero, 0, x * jnp.log(jnp.where(zero, 1, y)))


@_xlogy.defjvp
def _xlogy_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (x_dot, y_dot) = primals, tangents
    return _xlogy(x, y), x_dot * jnp.log(y) + y_dot * (x / y)


def xlogy(x: Any, y: Any) -> Any:
    """x log(y), and 0 where x is 0.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.xlogy(0.0, 0.0))
    0.0
    """
    return _xlogy(*operands("xlogy", x, y))


@custom_jvp
def _xlog1py(x: Any, y: Any) -> Any:
    zero = x == 0
    return jnp.where(zero, 0, x * jnp.log1p(jnp.where(zero, 1, y)))


@_xlog1py.defjvp
def _xlog1py_jvp(primals: Any, tangents: Any) -> Any:
    (x, y), (x_dot, y_dot) = primals, tangents
    return _xlog1py(x, y), x_dot * jnp.log1p(y) + y_dot * (x / (1 + y))


def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), and 0 where x is 0.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.xlog1py(0.0, -1.0))
    0.0
    """
    return _xlog1py(*operands("xlog1py", x, y))


@custom_jvp
def _xlogx(x: Any) -> Any:
    return _xlogy(x, x)


@_xlogx.defjvp
def _xlogx_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _xlogx(x), t * (jnp.log(x) + 1)


def entr(x: Any) -> Any:
    """-x log(x), 0 at 0 and -inf below.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.entr(1.0))
    -0.0
    """
    (x,) = real("entr", x)
    return jnp.where(x < 0, -np.inf, -_xlogx(jnp.where(x < 0, 1, x)))


def rel_entr(p: Any, q: Any) -> Any:
    """p log(p / q), 0 where p is 0, inf outside of the domain.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.rel_entr(1.0, 1.0))
    0.0
    """
    single = jnp.ndim(p) == 0
    p, q = real("rel_entr", p, q)
    both = (p > 0) & (q > 0)
    safe_p, safe_q = jnp.where(both, p, 1), jnp.where(both, q, 1)
    value = _xlogx(safe_p) - _xlogy(safe_p, safe_q)
    result = jnp.where(both, value, jnp.where((p == 0) & (q >= 0), 0.0, np.inf))
    return result if single else strong(result)  # scalars compared with 0 stay weak


def kl_div(p: Any, q: Any) -> Any:
    """p log(p / q) - p + q, inf outside of the domain.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.kl_div(1.0, 1.0))
    0.0
    """
    p, q = real("kl_div", p, q)
    return rel_entr(p, q) - p + q


def boxcox(x: Any, lmbda: Any) -> Any:
    """(x^lmbda - 1) / lmbda, and log(x) where lmbda is 0.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.boxcox(3.0, 1.0))
    2.0
    """
    x, lmbda = operands("boxcox", x, lmbda)
    return _power_mean(jnp.log(x), lmbda)


def boxcox1p(x: Any, lmbda: Any) -> Any:
    """`boxcox(1 + x, lmbda)`, accurate for small x.

    >>> import pullback.scipy as jsp
    >>> float(jsp.special.boxcox1p(2.0, 1.0))
    2.0
    """
    x, lmbda = operands("boxcox1p", x, lmbda)
    return _power_mean(jnp.log1p(x), lmbda)


def _power_mean(log: Any, lmbda: Any) -> Any:
    zero = lmbda == 0
    safe = jnp.where(zero, 1, lmbda)
    return jnp.where(zero, log, jnp.expm1(safe * log) / safe)
