"""Functions of `jax.scipy.linalg` by Schur forms, QR products, and tridiagonal eigenproblems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.lax import linalg as lax_linalg
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes_inexact
from pullback.ops.linalg_matrices import adjoint

__all__ = ["eigh_tridiagonal", "funm", "qr_multiply", "rsf2csf", "solve_sylvester"]


def _square(name: str, *args: Any) -> list[Any]:
    checked = ensure_arraylike(f"jax.scipy.linalg.{name}", *args)
    found = promote_dtypes_inexact(*(checked if len(args) > 1 else (checked,)))
    for a in found:
        if a.ndim != 2 or a.shape[0] != a.shape[1]:
            raise ValueError(f"expected A to be a (batched) square matrix, got A.shape={a.shape}.")
    return list(found)


def _complex(x: Any) -> Any:
    return x.astype(dtypes.to_complex_dtype(x.dtype))


def _is_complex(*xs: Any) -> bool:
    return any(dtypes.kind_of(x.dtype) == "c" for x in xs)


# --------------------------------------------------------------------------- functions of matrices


def _parlett(t: Any, values: Any) -> tuple[Any, Any]:
    """f of a triangle from f of its diagonal, and the least denominator on the way.

    Superdiagonal by superdiagonal, from T F = F T (Golub and Van Loan, "Matrix computations", 4th
    ed., algorithm 9.1.1).
    """
    n = t.shape[0]
    rows, columns = np.arange(n)[:, None], np.arange(n)[None, :]
    diagonal = jnp.diagonal(t)
    gaps = diagonal[None, :] - diagonal[:, None]
    tiny = jnp.finfo(t.dtype).eps
    sizes = jnp.abs(gaps)
    safe = jnp.where(sizes == 0, tiny, gaps)

    def step(p: Any, f: Any) -> Any:
        here = columns - rows == p
        return f + jnp.where(here, (t @ f - f @ t) / safe, 0)

    f = lax.fori_loop(1, n, step, jnp.diag(values))
    above = np.asarray(columns > rows)
    least = jnp.min(jnp.where(above, sizes, jnp.inf), initial=jnp.abs(t[0, 0]) if n else 1.0)
    return f, least


def funm(A: Any, func: Callable[[Any], Any], disp: bool = True) -> Any:
    """func(A) for a square matrix, where `func` acts on arrays of eigenvalues; complex.

    With `disp` False an estimate of the relative error is returned too.  Close eigenvalues cost
    accuracy, as in SciPy.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.funm(jnp.array([[0., 1.], [0., 2.]]), jnp.exp).real.round(3)
    Array([[1.   , 3.195],
           [0.   , 7.389]], dtype=float32)
    """
    (a,) = _square("funm", A)
    t, z = lax_linalg.schur(_complex(a))
    f, least = _parlett(t, func(jnp.diagonal(t)))
    out = z @ f @ adjoint(z)
    if disp:
        return out
    tol = jnp.finfo(a.dtype).eps
    least = jnp.where(least == 0, tol, least)
    spread = jnp.linalg.norm(jnp.triu(t, 1), 1)
    error = jnp.minimum(1, jnp.maximum(tol, (tol / least) * spread))
    return out, jnp.where(jnp.all(jnp.isfinite(f)), error, jnp.inf)


def rsf2csf(T: Any, Z: Any, check_finite: bool = True) -> tuple[Any, Any]:
    """The complex Schur form of a real one: blocks of two become triangles by rotations.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> t, _ = jsp.linalg.rsf2csf(jnp.array([[0., 1.], [-1., 0.]]), jnp.eye(2))
    >>> jnp.diagonal(t).round(4)
    Array([0.+1.j, 0.-1.j], dtype=complex64)
    """
    t, z = _square("rsf2csf", T, Z)
    if t.shape != z.shape:
        raise ValueError(f"Input array shapes must match: Z: {z.shape} vs. T: {t.shape}")
    t, z = _complex(t), _complex(z)
    n = t.shape[0]
    eps = jnp.finfo(t.dtype).eps

    def turned(state: Any, m: Any) -> Any:
        t, z = state
        block = lax.dynamic_slice(t, (m - 1, m - 1), (2, 2))
        half = (block[0, 0] - block[1, 1]) / 2
        square = half * half + block[0, 1] * block[1, 0]
        root = jnp.sqrt(square)
        shift = half + jnp.where(square.real > 0, -root, root)
        r = jnp.sqrt(jnp.abs(shift) ** 2 + jnp.abs(block[1, 0]) ** 2).astype(t.dtype)
        c, s = shift / r, block[1, 0] / r
        g = jnp.stack([jnp.stack([c.conj(), s]), jnp.stack([-s, c])])
        t = lax.dynamic_update_slice(t, g @ lax.dynamic_slice(t, (m - 1, 0), (2, n)), (m - 1, 0))
        back = adjoint(g)
        t, z = (
            lax.dynamic_update_slice(x, lax.dynamic_slice(x, (0, m - 1), (n, 2)) @ back, (0, m - 1))
            for x in (t, z)
        )
        return t, z

    def step(k: Any, state: Any) -> Any:
        m = n - 1 - k
        t = state[0]
        scale = jnp.abs(t[m - 1, m - 1]) + jnp.abs(t[m, m])
        wanted = jnp.abs(t[m, m - 1]) > eps * scale
        t, z = lax.cond(wanted, lambda s: turned(s, m), lambda s: s, state)
        return t.at[m, m - 1].set(0), z

    t, z = lax.fori_loop(0, max(n - 1, 0), step, (t, z))
    return t, z


# --------------------------------------------------------------------------- Sylvester's equation


def _by_schur(a: Any, b: Any, c: Any, tol: float) -> Any:
    """Columns of the solution in the Schur bases (Bartels and Stewart, CACM 15, 1972)."""
    r, u = lax_linalg.schur(_complex(a))
    s, v = lax_linalg.schur(_complex(b))
    f = adjoint(u) @ c.astype(r.dtype) @ v
    n = s.shape[0]
    unit = jnp.eye(r.shape[0], dtype=r.dtype)

    def step(k: Any, y: Any) -> Any:
        right = f[:, k] - y @ s[:, k] + y[:, k] * s[k, k]
        column = lax_linalg.triangular_solve(
            r + s[k, k] * unit, right[:, None], left_side=True, lower=False
        )
        return y.at[:, k].set(column[:, 0])

    y = lax.fori_loop(0, n, step, jnp.zeros_like(f))
    return _where_regular(u @ y @ adjoint(v), jnp.diagonal(r), jnp.diagonal(s), tol)


def _by_eigenvectors(a: Any, b: Any, c: Any, tol: float) -> Any:
    r, u = jnp.linalg.eig(a)
    s, v = jnp.linalg.eig(b)
    f = jnp.linalg.solve(u, c.astype(u.dtype) @ v)
    y = f / (r[:, None] + s[None, :])
    x = adjoint(jnp.linalg.solve(adjoint(v), adjoint(u @ y)))
    return _where_regular(x, r, s, tol)


def _where_regular(x: Any, r: Any, s: Any, tol: float) -> Any:
    """NaN where A and -B have an eigenvalue in common: there is no single solution."""
    sums = jnp.abs(r[:, None] + s[None, :])
    return jnp.where(jnp.any(sums < tol), jnp.nan, x)


def solve_sylvester(A: Any, B: Any, C: Any, *, method: str = "schur", tol: float = 1e-08) -> Any:
    """X with A X + X B = C; NaN where eigenvalues of A and -B are nearer than `tol`.

    `method` is "schur" or "eigen" (which needs diagonalisable matrices).  Derivatives are solutions
    of the same equation.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.solve_sylvester(2 * jnp.eye(2), jnp.eye(2), jnp.ones((2, 2))).round(4)
    Array([[0.3333, 0.3333],
           [0.3333, 0.3333]], dtype=float32)
    """
    solvers = {"schur": _by_schur, "eigen": _by_eigenvectors}
    a, b, c = promote_dtypes_inexact(*ensure_arraylike("jax.scipy.linalg.solve_sylvester", A, B, C))
    if (
        any(x.ndim != 2 for x in (a, b, c))
        or a.shape[0] != a.shape[1]
        or b.shape[0] != b.shape[1]
        or c.shape != (a.shape[0], b.shape[0])
    ):
        raise ValueError(
            f"Incompatible shapes for Sylvester equation:\nA: {a.shape}\nB: {b.shape}\nC: {c.shape}"
        )
    if method not in solvers:
        raise ValueError(
            f'Unrecognized method {method}. The two valid methods are either "schur" or "eigen".'
        )
    real = not _is_complex(a, b, c)

    def solution(a: Any, b: Any, c: Any) -> Any:
        x = solvers[method](lax.stop_gradient(a), lax.stop_gradient(b), c, tol)
        return x.real if real else x

    return lax.custom_linear_solve(
        lambda x: a @ x + x @ b,
        c,
        solve=lambda _, y: solution(a, b, y),
        transpose_solve=lambda _, y: solution(a.T, b.T, y),
    )


# --------------------------------------------------------------------------- QR, tridiagonal


def qr_multiply(
    a: Any,
    c: Any,
    mode: str = "right",
    pivoting: bool = False,
    conjugate: bool = False,
    overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Any, ...]:
    """c Q (or Q c, for mode "left") and R, for a = Q R; the order of columns too if `pivoting`.

    `conjugate` takes the conjugate of Q.  A vector c gives a vector.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.qr_multiply(jnp.eye(2), jnp.array([1., 2.]))[0] + 0
    Array([1., 2.], dtype=float32)
    """
    if mode not in ("left", "right"):
        raise ValueError(f"mode must be 'right' or 'left', got {mode!r}")
    a, c = promote_dtypes_inexact(*ensure_arraylike("jax.scipy.linalg.qr_multiply", a, c))
    q, r, *order = lax_linalg.qr(a, pivoting=pivoting, full_matrices=False)
    q = q.conj() if conjugate else q
    left = mode == "left"
    expected = q.shape[-1] if left else q.shape[-2]
    given = c.shape[0] if c.ndim == 1 else c.shape[-2 if left else -1]
    if given != expected:
        what, axis = ("Q @ c", "columns") if left else ("c @ Q", "rows")
        raise ValueError(
            f"Array shapes are not compatible for {what} operation: a has shape {a.shape} so Q has "
            f"{expected} {axis}, but c has {given} {'rows' if left else 'columns'} "
            f"(expected {expected})."
        )
    return (q @ c if left else c @ q, r, *order)


def eigh_tridiagonal(
    d: Any,
    e: Any,
    *,
    eigvals_only: bool = False,
    select: str = "a",
    select_range: tuple[float, float] | None = None,
    tol: float | None = None,
    key: Any = None,
) -> Any:
    """Ascending eigenvalues and eigenvectors of a symmetric tridiagonal matrix.

    `d` (N,) is its diagonal, `e` (N - 1,) the one beside it; complex ones make it Hermitian.
    `select="i"` keeps the eigenvalues with indices from `select_range`, both ends included.  `tol`
    and `key` are accepted: the method needs neither, and has full precision.

    >>> import pullback.numpy as jnp, pullback.scipy as jsp
    >>> jsp.linalg.eigh_tridiagonal(jnp.ones(2), jnp.ones(1), eigvals_only=True).round(4) + 0
    Array([0., 2.], dtype=float32)
    """
    d, e = ensure_arraylike("jax.scipy.linalg.eigh_tridiagonal", d, e)
    if d.dtype != e.dtype:
        raise TypeError(
            f"diagonal and off-diagonal values must have same dtype, got {d.dtype} and {e.dtype}"
        )
    if d.ndim != 1 or e.ndim != 1 or e.shape[0] != max(d.shape[0] - 1, 0):
        raise ValueError(f"expected shapes (N,) and (N - 1,), got {d.shape} and {e.shape}")
    if select not in ("a", "i", "v"):
        raise ValueError("'select must have a value in {'a', 'i', 'v'}.")
    if select == "v":
        raise NotImplementedError("eigh_tridiagonal(..., select='v') is not implemented")
    d, e = promote_dtypes_inexact(d, e)
    first, last = 0, d.shape[0] - 1
    if select == "i":
        if select_range is None:
            raise ValueError("for select='i', select_range must be specified.")
        first, last = (int(k) for k in select_range)
        if not 0 <= first <= last < d.shape[0]:
            raise ValueError("Got empty index range in select_range.")
    matrix = jnp.diag(d) + jnp.diag(e, -1) + jnp.diag(e.conj(), 1)
    vectors, values = lax_linalg.eigh(matrix)
    values, vectors = values[first : last + 1], vectors[:, first : last + 1]
    return values if eigvals_only else (values, vectors)
