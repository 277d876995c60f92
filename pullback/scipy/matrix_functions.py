"""Functions of matrices for `jax.scipy.linalg`: the exponential and the square root."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.lax import linalg as lax_linalg
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact
from pullback.runtime.composites import compiled_when_eager
from pullback.transforms.derivatives import jvp

__all__ = ["expm", "expm_frechet", "sqrtm"]

# Degree and bound of the 1-norm up to which the approximant is exact to double and single precision
# (N. J. Higham, "The scaling and squaring method for the matrix exponential revisited", SIMAX 26,
# 2005, table 2.3 and section 2).
_BOUNDS = {"double": (13, 5.371920351148152), "single": (7, 3.925724783138660)}


def _pade(degree: int) -> list[float]:
    """Coefficients of the numerator of the diagonal approximant, smallest power first."""
    return [
        math.factorial(2 * degree - k)
        // (math.factorial(degree - k) * math.factorial(k))
        * math.factorial(degree)
        / math.factorial(degree)
        for k in range(degree + 1)
    ]


@compiled_when_eager("upper_triangular", "max_squarings")
def expm(A: Any, *, upper_triangular: bool = False, max_squarings: int = 16) -> Any:
    """The exponential of a square matrix; NaN where its norm is beyond 2^max_squarings.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.expm(jnp.zeros((2, 2)))
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    (a,) = promote_dtypes_inexact(ensure_arraylike("jax.scipy.linalg.expm", A))
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"Expected A to be a (batched) square matrix, got A.shape={a.shape}.")
    if jnp.finfo(a.dtype).bits < 32:
        raise TypeError(f"expm takes float32, float64, complex64 or complex128, got {a.dtype}")
    double = np.dtype(jnp.finfo(a.dtype).dtype) == np.float64
    degree, bound = _BOUNDS["double" if double else "single"]
    norm = jnp.max(jnp.sum(jnp.abs(lax.stop_gradient(a)), axis=-2), axis=-1, initial=0)
    squarings = jnp.maximum(0, jnp.ceil(jnp.log2(norm / bound)))
    squarings = jnp.where(norm > 0, squarings, 0)
    scale = (2.0 ** -jnp.minimum(squarings, max_squarings))[..., None, None]
    x = _approximant(a * scale.astype(a.dtype), degree, upper_triangular)
    counts = squarings[..., None, None]

    def square(k: Any, x: Any) -> Any:
        return jnp.where(k < counts, jnp.matmul(x, x, precision=lax.Precision.HIGHEST), x)

    x = lax.fori_loop(0, max_squarings, square, x)
    return jnp.where(counts > max_squarings, jnp.nan, x)


def _approximant(a: Any, degree: int, triangular: bool) -> Any:
    """The quotient of p(a) and p(-a): even powers E and odd ones O give (E - O)^-1 (E + O)."""
    coefficients = _pade(degree)
    scaled = [c / coefficients[-1] for c in coefficients]
    unit = jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)
    square = jnp.matmul(a, a, precision=lax.Precision.HIGHEST)
    even, odd, power = unit * scaled[0], unit * scaled[1], square
    for k in range(2, degree + 1, 2):
        even = even + power * scaled[k]
        if k + 1 <= degree:
            odd = odd + power * scaled[k + 1]
        if k + 2 <= degree:
            power = jnp.matmul(power, square, precision=lax.Precision.HIGHEST)
    odd = jnp.matmul(a, odd, precision=lax.Precision.HIGHEST)
    if triangular:
        return lax_linalg.triangular_solve(even - odd, even + odd, left_side=True)
    return jnp.linalg.solve(even - odd, even + odd)


def expm_frechet(
    A: Any,
    E: Any,
    *,
    method: str | None = None,
    compute_expm: bool = True,
) -> Any:
    """The exponential of A, and its derivative in the direction E.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.expm_frechet(jnp.zeros((1, 1)), jnp.ones((1, 1)))[1]
    Array([[1.]], dtype=float32)
    """
    a, e = promote_dtypes_inexact(*ensure_arraylike("jax.scipy.linalg.expm_frechet", A, E))
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or e.shape != a.shape:
        raise ValueError(
            f"expected A and E to be square matrices of one shape, got {a.shape} and {e.shape}"
        )
    value, slope = jvp(expm, (a,), (e,))
    return (value, slope) if compute_expm else slope


@compiled_when_eager("blocksize")
def sqrtm(A: Any, blocksize: int = 1) -> Any:
    """The principal square root of a square matrix; complex always.

    A. Björck, S. Hammarling, "A Schur method for the square root of a matrix", LAA 52 (1983).

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.sqrtm(4 * jnp.eye(1))
    Array([[2.+0.j]], dtype=complex64)
    """
    if blocksize > 1:
        raise NotImplementedError("Blocked version is not implemented yet.")
    (a,) = promote_dtypes_inexact(ensure_arraylike("jax.scipy.linalg.sqrtm", A))
    a = a if jnp.iscomplexobj(a) else lax.complex(a, lax.full_like(a, 0))
    t, z = lax_linalg.schur(a)
    n = t.shape[-1]
    root = jnp.zeros_like(t)
    diagonal = jnp.sqrt(jnp.diagonal(t, axis1=-2, axis2=-1))

    def column(j: Any, root: Any) -> Any:
        def row(back: Any, root: Any) -> Any:
            i = j - 1 - back
            inner = jnp.sum(root[..., i, :] * root[..., :, j], axis=-1)
            sum_ = diagonal[..., i] + diagonal[..., j]
            value = (t[..., i, j] - inner) / jnp.where(sum_ == 0, 1, sum_)
            return root.at[..., i, j].set(jnp.where(sum_ == 0, 0, value))

        root = lax.fori_loop(0, j, row, root)
        return root.at[..., j, j].set(diagonal[..., j])

    # Elements on the diagonal are set after their column, so that products leave them out.
    root = lax.fori_loop(0, n, column, root)
    z_h = jnp.conj(jnp.swapaxes(z, -1, -2))
    return jnp.matmul(jnp.matmul(z, root, precision="highest"), z_h, precision="highest")
