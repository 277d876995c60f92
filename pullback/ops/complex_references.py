"""NumPy's elementary functions of complex numbers, with JAX's values at infinities and NaN.

C's functions, which NumPy calls, keep one part where the other has no value; compiled programs, and
JAX, give NaN for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.ops.kinds import widened

__all__ = ["REFERENCES", "exp2", "expm1", "power", "sign"]

Function = Callable[[Any], Any]
_NAN: Final = complex("nan+nanj")


def _endless(x: Any) -> Any:
    return ~np.isfinite(x)


_UNDEFINED: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "sin": lambda x, y: _endless(x),
    "cos": lambda x, y: _endless(x),
    "tan": lambda x, y: _endless(x) & np.isfinite(y),
    "sinh": lambda x, y: _endless(y),
    "cosh": lambda x, y: _endless(y),
    "tanh": lambda x, y: _endless(y) & np.isfinite(x),
    "exp": lambda x, y: _endless(y),
    "expm1": lambda x, y: _endless(y),
    "arcsin": lambda x, y: np.isnan(y) & (x == 0),
    "arccos": lambda x, y: np.isnan(y) & (x == 0),
    "arccosh": lambda x, y: np.isnan(y) & (x == 0),
    "arctanh": lambda x, y: np.isnan(y) & (x == 0),
    "arcsinh": lambda x, y: np.isnan(x) & (y == 0),
    "arctan": lambda x, y: np.isnan(x) & (y == 0),
}
"""Where the parts of z = x + iy give no value to either part of the function."""


def _with_nan(name: str) -> Function:
    function, undefined = getattr(np, name), _UNDEFINED[name]

    def reference(z: Any) -> Any:
        out = function(z)
        if z.dtype.kind == "c" and not np.isfinite(z).all():
            out = np.where(undefined(z.real, z.imag), out.dtype.type(_NAN), out)
        return out

    return reference


REFERENCES: Final[dict[str, Function]] = {name: _with_nan(name) for name in _UNDEFINED}
"""By NumPy's name."""


def expm1(z: Any) -> Any:
    """exp(z) - 1, that of a real number on the real axis."""
    out = REFERENCES["expm1"](z)
    if z.dtype.kind != "c" or np.isfinite(z).all():
        return out
    real = (np.expm1(z.real) + 1j * np.zeros_like(z.imag)).astype(z.dtype)
    return np.where(z.imag == 0, real, out)


@widened
def exp2(z: Any) -> Any:
    """2 to the power z."""
    if z.dtype.kind != "c":
        return np.exp2(z)
    scaled = np.empty_like(z)
    scaled.real, scaled.imag = z.real * np.log(2.0), z.imag * np.log(2.0)
    return REFERENCES["exp"](scaled)


@widened
def sign(z: Any) -> Any:
    """z / |z|; of a real zero it is that zero."""
    if z.dtype.kind == "f":
        return np.copysign(np.sign(z), z)  # np.sign(-0.0) is 0.0
    if z.dtype.kind != "c":
        return np.sign(z)
    out, size = np.empty_like(z), np.where(z == 0, 1, np.abs(z))
    out.real, out.imag = z.real / size, z.imag / size
    return out


def power(z: Any, y: int) -> Any:
    """A complex number to an integer power; negative ones are reciprocals."""
    if y >= 0:
        return np.power(z, y, dtype=z.dtype)
    return np.reciprocal(np.power(z, -y, dtype=z.dtype))
