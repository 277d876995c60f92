"""Matrices of a special form for `jax.scipy.linalg`."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "block_diag",
    "circulant",
    "companion",
    "convolution_matrix",
    "dft",
    "fiedler",
    "fiedler_companion",
    "hadamard",
    "hankel",
    "helmert",
    "hilbert",
    "invhilbert",
    "invpascal",
    "leslie",
    "pascal",
    "toeplitz",
]


@compiled_when_eager()
def block_diag(*arrs: Any) -> Any:
    """Matrices along the diagonal of a larger one; vectors count as rows.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.block_diag(jnp.ones((1, 2)), jnp.ones((1, 1)))
    Array([[1., 1., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    parts = [jnp.atleast_2d(x) for x in (arrs or (jnp.zeros((1, 0)),))]
    for k, x in enumerate(parts):
        if x.ndim > 2:
            raise ValueError(
                f"Arguments to jax.scipy.linalg.block_diag must have at most 2 dimensions, got "
                f"{x} at argument {k}."
            )
    parts = promote_dtypes(*parts)
    width = sum(x.shape[1] for x in parts)
    rows, before = [], 0
    for x in parts:
        after = width - before - x.shape[1]
        rows.append(lax.pad(x, x.dtype.type(0), ((0, 0, 0), (before, after, 0))))
        before += x.shape[1]
    return jnp.concatenate(rows, axis=0)


@compiled_when_eager()
def toeplitz(c: Any, r: Any = None) -> Any:
    """Constant diagonals: `c` is the first column, `r` the first row (by default its conjugate).

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.toeplitz(jnp.array([1, 2]))
    Array([[1, 2],
           [2, 1]], dtype=int32)
    """
    c = jnp.atleast_1d(ensure_arraylike("toeplitz", c))
    r = jnp.conj(c) if r is None else jnp.atleast_1d(ensure_arraylike("toeplitz", r))
    n, m = c.shape[-1], r.shape[-1]
    lanes = jnp.broadcast_shapes(c.shape[:-1], r.shape[:-1])
    c, r = promote_dtypes(c, r)
    c, r = jnp.broadcast_to(c, (*lanes, n)), jnp.broadcast_to(r, (*lanes, m))
    line = jnp.concatenate([c[..., ::-1], r[..., 1:]], axis=-1)
    return line[..., np.arange(m)[None, :] - np.arange(n)[:, None] + n - 1]


def hankel(c: Any, r: Any = None) -> Any:
    """Constant skew diagonals: `c` is the first column, `r` the last row (by default zeros).

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.hankel(jnp.array([1, 2]))
    Array([[1, 2],
           [2, 0]], dtype=int32)
    """
    c = jnp.atleast_1d(ensure_arraylike("hankel", c))
    r = jnp.zeros_like(c) if r is None else jnp.atleast_1d(ensure_arraylike("hankel", r))
    c, r = promote_dtypes(c, r)
    line = jnp.concatenate([c, r[..., 1:]], axis=-1)
    return line[..., np.arange(c.shape[-1])[:, None] + np.arange(r.shape[-1])[None, :]]


def circulant(c: Any) -> Any:
    """Each column is the one before it, turned by one; `c` is the first.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.circulant(jnp.array([1, 2]))
    Array([[1, 2],
           [2, 1]], dtype=int32)
    """
    c = jnp.atleast_1d(ensure_arraylike("circulant", c))
    n = c.shape[-1]
    return c[..., (np.arange(n)[:, None] - np.arange(n)[None, :]) % max(n, 1)]


def companion(a: Any) -> Any:
    """The matrix whose eigenvalues are the zeros of a polynomial, highest coefficient first.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.companion(jnp.array([1., -3., 2.]))
    Array([[ 3., -2.],
           [ 1.,  0.]], dtype=float32)
    """
    a = ensure_arraylike("companion", a)
    if a.ndim < 1 or a.shape[-1] < 2:
        raise ValueError("companion: two coefficients or more are needed")
    row = (-a[..., 1:] / a[..., :1])[..., None, :]
    below = jnp.eye(a.shape[-1] - 2, a.shape[-1] - 1, dtype=row.dtype)
    below = jnp.broadcast_to(below, (*row.shape[:-2], *below.shape))
    return jnp.concatenate([row, below], axis=-2)


def convolution_matrix(a: Any, n: int, mode: str = "full") -> Any:
    """The matrix whose product with a vector of length `n` is `jnp.convolve(a, vector, mode)`.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.convolution_matrix(jnp.array([1, 2]), 2)
    Array([[1, 0],
           [2, 1],
           [0, 2]], dtype=int32)
    """
    a = ensure_arraylike("convolution_matrix", a)
    m = a.shape[-1]
    if n <= 0 or m == 0:
        raise ValueError("convolution_matrix: n must be positive and a not empty")
    if mode not in ("full", "valid", "same"):
        raise ValueError(f"'mode' must be one of 'full', 'valid', 'same', got {mode!r}")
    padded = jnp.concatenate([a, jnp.zeros((*a.shape[:-1], n - 1), a.dtype)], axis=-1)
    first = jnp.concatenate([a[..., :1], jnp.zeros((*a.shape[:-1], n - 1), a.dtype)], axis=-1)
    whole = toeplitz(padded, first)
    length = {"full": m + n - 1, "same": max(m, n), "valid": abs(m - n) + 1}[mode]
    start = (m + n - 1 - length) // 2
    return whole[..., start : start + length, :]


def _size(n: Any) -> int:
    """A number of rows, 0 for negative ones; TypeError for what is not an integer."""
    return max(operator.index(n), 0)


def dft(n: int, scale: str | None = None, *, dtype: Any = None) -> Any:
    """The matrix of the discrete Fourier transform; `scale` "sqrtn" or "n" divides by it.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.dft(2).real
    Array([[ 1.,  1.],
           [ 1., -1.]], dtype=float32)
    """
    if scale not in (None, "sqrtn", "n"):
        raise ValueError(f"scale must be None, 'sqrtn', or 'n'; got {scale!r}")
    n = _size(n)
    k = np.arange(n)
    matrix = np.exp(-2j * np.pi * (np.outer(k, k) % max(n, 1)) / max(n, 1))
    matrix = matrix / {None: 1.0, "sqrtn": math.sqrt(max(n, 1)), "n": max(n, 1)}[scale]
    default = dtypes.to_complex_dtype(dtypes.default_float())
    return jnp.asarray(matrix, default if dtype is None else dtype)


def fiedler(a: Any) -> Any:
    """The absolute differences of the elements of a vector.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.fiedler(jnp.array([1, 4]))
    Array([[0, 3],
           [3, 0]], dtype=int32)
    """
    a = jnp.atleast_1d(ensure_arraylike("fiedler", a))
    return jnp.abs(a[..., :, None] - a[..., None, :])


def hadamard(n: int, dtype: Any = int) -> Any:
    """Sylvester's matrix of 1 and -1 with orthogonal rows; `n` must be a power of two.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.hadamard(2)
    Array([[ 1,  1],
           [ 1, -1]], dtype=int32)
    """
    if not isinstance(n, (int, np.integer)) or n < 1 or n & (n - 1):
        raise ValueError(f"n must be a positive integer power of 2, got {n}")
    k = np.arange(n)
    odd = np.bitwise_count(k[:, None] & k[None, :]) % 2
    return jnp.asarray(1 - 2 * odd.astype(np.int32), dtype)


def helmert(n: int, full: bool = False) -> Any:
    """Rows that compare each sample with the mean of those before; the constant one if `full`.

    >>> import pullback.scipy as jsp
    >>> jsp.linalg.helmert(3).shape
    (2, 3)
    """
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"n must be a positive integer, got {n}")
    k = np.arange(n)
    matrix = np.tril(np.ones((n, n)), -1) - np.diag(k)
    norms = np.sqrt(np.maximum(k * (k + 1), 1))
    matrix[0] = 1 / math.sqrt(n)
    matrix[1:] /= norms[1:, None]
    return jnp.asarray(matrix if full else matrix[1:], dtypes.default_float())


def hilbert(n: int) -> Any:
    """1 / (i + j + 1).

    >>> import pullback.scipy as jsp
    >>> jsp.linalg.hilbert(2).tolist()
    [[1.0, 0.5], [0.5, 0.3333333432674408]]
    """
    n = operator.index(n)
    if n < 0:
        raise TypeError(f"the size of a matrix must not be negative, got {n}")
    k = np.arange(n)
    return jnp.asarray(1.0 / (k[:, None] + k[None, :] + 1), dtypes.default_float())


def invhilbert(n: int) -> Any:
    """The inverse of `hilbert(n)`.

    >>> import pullback.scipy as jsp
    >>> jsp.linalg.invhilbert(2).tolist()
    [[4.0, -6.0], [-6.0, 12.0]]
    """
    n = _size(n)
    values = [
        [
            (-1) ** (i + j)
            * (i + j + 1)
            * math.comb(n + i, n - j - 1)
            * math.comb(n + j, n - i - 1)
            * math.comb(i + j, i) ** 2
            for j in range(n)
        ]
        for i in range(n)
    ]
    return jnp.asarray(np.array(values, np.float64).reshape(n, n), dtypes.default_float())


def fiedler_companion(a: Any) -> Any:
    """A pentadiagonal matrix whose eigenvalues are the zeros of a polynomial, highest power first.

    M. Fiedler, "A note on companion matrices", LAA 372 (2003).

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.fiedler_companion(jnp.array([1., -3., 2.]))
    Array([[ 3., -2.],
           [ 1.,  0.]], dtype=float32)
    """
    a = jnp.atleast_1d(ensure_arraylike("fiedler_companion", a))
    c, n = -a / a[..., :1], a.shape[-1] - 1
    if n < 2:
        return c[..., 1:, None][..., :n, :n]
    out = jnp.zeros((*a.shape[:-1], n, n), c.dtype)
    out = out.at[..., 0, :2].set(c[..., 1:3]).at[..., 1, 0].set(1)
    for k in range(2, n, 2):
        out = out.at[..., k, k - 1].set(c[..., k + 1]).at[..., k - 2, k].set(1)
        if k + 1 < n:
            out = out.at[..., k, k + 1].set(c[..., k + 2]).at[..., k + 1, k - 1].set(1)
    return out


def invpascal(n: int, kind: str | None = None) -> Any:
    """The inverse of `pascal(n, kind)`.

    >>> import pullback.scipy as jsp
    >>> jsp.linalg.invpascal(2).tolist()
    [[2.0, -1.0], [-1.0, 1.0]]
    """
    kind = "symmetric" if kind is None else kind
    if kind not in ("symmetric", "lower", "upper"):
        raise ValueError(f"kind must be 'symmetric', 'lower' or 'upper', got {kind!r}")
    n = _size(n)
    lower = np.array(
        [[float((-1) ** (i + j) * math.comb(i, j)) for j in range(n)] for i in range(n)]
    ).reshape(n, n)
    values = {"lower": lower, "upper": lower.T, "symmetric": lower.T @ lower}[kind]
    return jnp.asarray(values, dtypes.default_float())


def leslie(f: Any, s: Any) -> Any:
    """A population's step: birth rates `f` in the first row, survival rates `s` below the diagonal.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.leslie(jnp.array([1., 2.]), jnp.array([0.5]))
    Array([[1. , 2. ],
           [0.5, 0. ]], dtype=float32)
    """
    f, s = promote_dtypes(*ensure_arraylike("leslie", f, s))
    if f.shape[-1] != s.shape[-1] + 1:
        raise ValueError("leslie: f must have one element more than s")
    below = jnp.eye(s.shape[-1], f.shape[-1], dtype=f.dtype) * s[..., :, None]
    return jnp.concatenate([f[..., None, :], below], axis=-2)


def pascal(n: int, kind: str | None = None) -> Any:
    """Binomial coefficients, as a "symmetric" (the default), "lower" or "upper" matrix.

    >>> import pullback.scipy as jsp
    >>> jsp.linalg.pascal(3, "lower").tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 2.0, 1.0]]
    """
    kind = "symmetric" if kind is None else kind
    if kind not in ("symmetric", "lower", "upper"):
        raise ValueError(f"kind must be 'symmetric', 'lower' or 'upper', got {kind!r}")
    n = _size(n)
    lower = np.array([[float(math.comb(i, j)) for j in range(n)] for i in range(n)]).reshape(n, n)
    values = {"lower": lower, "upper": lower.T, "symmetric": lower @ lower.T}[kind]
    return jnp.asarray(values, "float32")
