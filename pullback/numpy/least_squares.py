"""Ranks, pseudo-inverses and least squares of `jax.numpy.linalg`, by singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback import lax
from pullback.control.custom_jvp import custom_jvp
from pullback.core import dtypes
from pullback.lax import linalg as lax_linalg
from pullback.numpy import reductions, shaping
from pullback.numpy.promotion import shape_of
from pullback.numpy.solvers import adjoint, inexact, product, stack, svd
from pullback.ops import linalg_matrices
from pullback.ops.linalg_lapack import real_dtype
from pullback.runtime.composites import compiled_when_eager

__all__ = ["cond", "lstsq", "matrix_rank", "pinv"]


def epsilon(dtype: Any) -> float:
    """The distance from 1 to the next number."""
    return float(np.finfo(dtype).eps)


@compiled_when_eager("hermitian")
def matrix_rank(
    M: Any,
    rtol: Any = None,
    *,
    hermitian: bool = False,
    tol: Any = None,
) -> Any:
    """How many singular values exceed `rtol` times the largest one (or `tol`).

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.matrix_rank(jnp.ones((3, 3)))
    Array(1, dtype=int32)
    """
    if rtol is not None and tol is not None:
        raise ValueError("matrix_rank: one of rtol and tol may be given, not both")
    M = inexact("matrix_rank", M)
    if M.ndim < 2:
        return lax.convert_element_type(
            reductions.any(lax.ne(M, lax.full_like(M, 0))), dtypes.int32
        )
    s = svd(M, full_matrices=False, compute_uv=False, hermitian=hermitian)
    if tol is None:
        if rtol is None:
            rtol = max(M.shape[-2:]) * epsilon(s.dtype)
        tol = reductions.max(s, axis=-1, initial=0) * rtol
    tol = lax.expand_dims(tol, (tol.ndim,)) if np.ndim(tol) else tol
    return reductions.sum(s > tol, axis=-1)


@compiled_when_eager("p")
def cond(x: Any, p: Any = None) -> Any:
    """The ratio of the extreme singular values: smallest to largest for `p` -2, else inverted."""
    x = stack("cond", x)
    s = svd(x, compute_uv=False)
    largest, smallest = s[..., 0], s[..., -1]
    result = smallest / largest if p == -2 else largest / smallest
    undefined = reductions.any(lax.ne(x, x), axis=(-2, -1))
    inf = lax.full_like(result, np.inf)
    return lax.select(
        lax.bitwise_and(lax.ne(result, result), lax.bitwise_not(undefined)), inf, result
    )


@custom_jvp
def _pinv(a: Any, rtol: Any) -> Any:
    u, s, vt = lax_linalg.svd(a, full_matrices=False)
    cutoff = rtol * s[..., :1]
    kept = s > cutoff
    inverse = lax.select(kept, 1 / lax.select(kept, s, lax.full_like(s, 1)), lax.full_like(s, 0))
    inverse = lax.convert_element_type(inverse, a.dtype)
    return product(linalg_matrices.columns_scaled(adjoint(vt), inverse), adjoint(u))


@_pinv.defjvp
def _pinv_jvp(primals: Any, tangents: Any) -> Any:
    """G. H. Golub, V. Pereyra, "The differentiation of pseudo-inverses...", SINUM 10 (1973)."""
    (a, rtol), (t, _) = primals, tangents
    p = _pinv(a, rtol)
    t_h, p_h = adjoint(t), adjoint(p)
    beside = t_h - product(product(t_h, a), p)
    below = t_h - product(p, product(a, t_h))
    slope = product(product(p, p_h), beside) + product(product(below, p_h), p)
    return p, slope - product(product(p, t), p)


@compiled_when_eager("hermitian")
def pinv(a: Any, rtol: Any = None, hermitian: bool = False, *, rcond: Any = None) -> Any:
    """The Moore-Penrose inverse; singular values up to `rtol` times the largest count as 0.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.pinv(jnp.array([[2.], [0.]]))
    Array([[0.5, 0. ]], dtype=float32)
    """
    if rcond is not None and rtol is not None:
        raise ValueError("pinv: only one of rtol and rcond may be given")
    rtol = rcond if rtol is None else rtol
    a = stack("pinv", a)
    m, n = a.shape[-2:]
    if not m or not n:
        return lax.full((*a.shape[:-2], n, m), 0, a.dtype)
    real = real_dtype(a.dtype)
    if rtol is None:
        rtol = 10.0 * max(m, n) * epsilon(real)
    rtol = (
        shaping.ravel(lax.convert_element_type(rtol, real))
        if not np.ndim(rtol)
        else (lax.expand_dims(rtol, (np.ndim(rtol),)))
    )
    return _pinv(a, rtol)


def lstsq(
    a: Any, b: Any, rcond: float | None = None, *, numpy_resid: bool = False
) -> tuple[Any, Any, Any, Any]:
    """The shortest x that minimises |a x - b|; also residuals, the rank, and singular values.

    Residuals are there always, unless `numpy_resid` asks for NumPy's empty array where the rank is
    not full.

    >>> import pullback.numpy as jnp
    >>> x, residual, rank, s = jnp.linalg.lstsq(jnp.ones((3, 1)), jnp.array([1., 2., 3.]))
    >>> bool(abs(x[0] - 2) < 1e-5), int(rank)
    (True, 1)
    """
    x, residuals, rank, s = _least_squares(a, b, rcond)
    n = x.shape[0]
    if numpy_resid and s.shape[0] and (shape_of(a)[0] <= n or int(rank) != n):
        residuals = lax.full((0,), 0, s.dtype)
    return x, residuals, rank, s


@compiled_when_eager()
def _least_squares(a: Any, b: Any, rcond: Any) -> tuple[Any, Any, Any, Any]:
    a, b = inexact("lstsq", a, b)
    if a.shape[0] != b.shape[0]:
        raise ValueError("Leading dimensions of input arrays must match")
    if a.ndim != 2:
        raise TypeError(f"{a.ndim}-dimensional array given. Array must be two-dimensional")
    if b.ndim not in (1, 2):
        raise TypeError(f"{b.ndim}-dimensional array given. b must be one- or two-dimensional")
    vector = b.ndim == 1
    b = b[:, None] if vector else b
    m, n = a.shape
    if not a.size or not b.size:
        return _lstsq_empty(a, b, vector)
    rtol = epsilon(a.dtype) * max(m, n) if rcond is None else rcond
    u, s, vt = lax_linalg.svd(a, full_matrices=False)
    kept = s >= rtol * s[0]
    rank = reductions.sum(kept)
    inverse = lax.select(kept, 1 / lax.select(kept, s, lax.full_like(s, 1)), lax.full_like(s, 0))
    parts = linalg_matrices.rows_scaled(
        product(adjoint(u), b), lax.convert_element_type(inverse, a.dtype)
    )
    x = product(adjoint(vt), parts)
    off = b - product(a, x)
    residuals = reductions.sum(lax.real(off * lax.conj(off)) if _complex(off) else off**2, axis=0)
    return (x[:, 0] if vector else x), residuals, rank, s


def _complex(x: Any) -> bool:
    return dtypes.kind_of(x.dtype) == "c"


def _lstsq_empty(a: Any, b: Any, vector: bool) -> tuple[Any, Any, Any, Any]:
    (m, n), k = a.shape, b.shape[1]
    real = real_dtype(a.dtype)
    x = lax.full((n, k), 0, a.dtype)
    residuals = reductions.sum(lax.square(lax.abs(b)), axis=0)
    rank = lax.full((), 0, dtypes.default_int())
    return (x[:, 0] if vector else x), residuals, rank, lax.full((min(m, n),), 0, real)
