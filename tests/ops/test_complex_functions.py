"""Elementary functions of complex numbers: accuracy at every scale, infinities, NaN, zeros."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from mpmath import mp, mpc

import pullback as pb

Array = np.ndarray[Any, Any]
EXACT = {
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "sinh": mp.sinh, "cosh": mp.cosh, "tanh": mp.tanh,
    "exp": mp.exp, "log": mp.log, "sqrt": mp.sqrt, "reciprocal": lambda z: 1 / z, "arcsin": mp.asin,
    "arccos": mp.acos, "arctan": mp.atan, "arcsinh": mp.asinh, "arccosh": mp.acosh,
    "arctanh": mp.atanh,
}  # fmt: skip
SPECIAL = (np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0)
KEPT = {"log", "log1p", "sqrt", "arctan", "arctanh", "arcsin", "arccos", "arccosh", "arcsinh"}
"""An infinity beside a NaN stays one where C says so; XLA makes NaN, or an angle, of some."""


def numbers(dtype: str) -> Array:
    """Parts of every scale, off the axes, which are branch cuts of some."""
    rng, real = np.random.default_rng(0), np.dtype(dtype).type(0).real.dtype
    info = np.finfo(real)
    top = 0.999 * np.log10(float(info.max))
    scales = 10.0 ** rng.uniform(np.log10(float(info.tiny)), top, 60)
    parts = np.concatenate([scales, -scales, rng.normal(size=80), [1.0, -1.0, 0.5, 2.0]])
    z = np.empty(150, dtype)
    z.real, z.imag = rng.choice(parts, 150).astype(real), rng.choice(parts, 150).astype(real)
    return z


def by_mpmath(name: str, z: Array) -> tuple[Array, Array]:
    with mp.workprec(400 if z.dtype == np.complex64 else 2300):
        exact = [mpc(EXACT[name](mpc(v.real, v.imag))) for v in z.astype(complex).tolist()]
        parts = [[_float(w.real) for w in exact], [_float(w.imag) for w in exact]]
    with np.errstate(over="ignore"):
        re, im = (np.array(p).astype(z.real.dtype) for p in parts)
    return re, im


def _float(x: Any) -> float:
    try:
        return float(x)
    except OverflowError:
        return float(np.copysign(np.inf, 1 if x > 0 else -1))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", EXACT)
def test_both_parts_are_accurate_at_every_scale(name: str, dtype: str) -> None:
    """Four units in the last place each, also where squares would overflow or vanish."""
    z = numbers(dtype)
    with pb.enable_x64(True):
        out = np.asarray(pb.jit(getattr(pb.numpy, name))(z))
    for part, exact in zip((out.real, out.imag), by_mpmath(name, z), strict=True):
        with np.errstate(invalid="ignore"):
            wrong = (part != exact) & ~(np.abs(part - exact) <= 4 * np.spacing(np.abs(exact)))
        assert not wrong.any(), (z[wrong][:3], part[wrong][:3], exact[wrong][:3])


@pytest.mark.parametrize(
    "name", [*EXACT, "expm1", "log1p", "sign", "square", "exp2", "log10", "log2"]
)
def test_special_values(name: str) -> None:
    """Compiled and eager the same, and JAX's, to which the sign of zero means little."""
    z = np.array([complex(x, y) for x in SPECIAL for y in SPECIAL], np.complex64)
    compiled = np.asarray(pb.jit(getattr(pb.numpy, name))(z))
    eager = np.asarray(getattr(pb.numpy, name)(pb.numpy.asarray(z)))
    if name != "reciprocal":  # of zero: NumPy's has no infinity
        np.testing.assert_allclose(compiled.real, eager.real, 1e-6, 1e-6)
        np.testing.assert_allclose(compiled.imag, eager.imag, 1e-6, 1e-6)
    clear = ~np.isnan(z) if name in KEPT else np.full(z.shape, True)
    if name in ("log10", "log2", "exp2", "reciprocal"):  # XLA's take other ways at infinities
        clear = np.isfinite(z) & (z != 0)
    clear &= ~(np.signbit(z.real) & (z.real == 0)) & ~(np.signbit(z.imag) & (z.imag == 0))
    theirs = np.asarray(jax.jit(getattr(jax.numpy, name))(z))
    np.testing.assert_allclose(compiled[clear].real, theirs[clear].real, 1e-6, 1e-6)
    np.testing.assert_allclose(compiled[clear].imag, theirs[clear].imag, 1e-6, 1e-6)
