"""`jax.scipy.sparse.linalg`: linear systems solved by products with the matrix alone.

The iterations run on one flat vector; `custom_linear_solve` around them gives derivatives by
solving with the matrix or its transpose again, not through the iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pullback import lax, tree
from pullback import numpy as jnp
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.dtypes import kind_of
from pullback.flatten_util import ravel_pytree
from pullback.transforms.derivatives import linear_transpose

__all__ = ["bicgstab", "cg", "gmres"]

_Map = Callable[[Any], Any]
_Solver = Callable[[_Map, _Map, Any, Any], Any]
"""`solver(a, m, b, x0)` on flat vectors."""


def _operator(a: Any) -> _Map:
    """A linear function from a function or a square matrix, dense or sparse."""
    if callable(a) and not isinstance(a, Array):
        return lambda x: a(x)
    shape: tuple[int, ...] = getattr(a, "shape", ())
    if len(shape) == 2 and getattr(type(a), "__matmul__", None) is not None:
        if shape[0] != shape[1]:
            raise ValueError(f"linear operator must be a square matrix, but has shape: {shape}")
        return lambda x: a @ x
    raise TypeError(f"linear operator must be either a function or ndarray: {a!r}")


def _identity(x: Any) -> Any:
    return x


def _norm(x: Any) -> Any:
    return jnp.linalg.norm(x)


def _shapes(x: Any) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in tree.leaves(x)]


def _checked_start(b: Any, x0: Any) -> Any:
    if x0 is None:
        return tree.map(jnp.zeros_like, b)
    if tree.structure(x0) != tree.structure(b):
        raise ValueError(
            "x0 and b must have matching tree structure: "
            f"{tree.structure(x0)} vs {tree.structure(b)}"
        )
    if _shapes(x0) != _shapes(b):
        raise ValueError(
            f"arrays in x0 and b must have matching shapes: {_shapes(x0)} vs {_shapes(b)}"
        )
    return tree.map(jnp.asarray, x0)


def _checked_products(a: _Map) -> _Map:
    def product(x: Any) -> Any:
        y = a(x)
        if tree.structure(y) != tree.structure(x) or _shapes(y) != _shapes(x):
            raise ValueError(
                f"matvec() output shapes must match b, got {_shapes(y)} and {_shapes(x)}"
            )
        return y

    return product


def _solved(A: Any, b: Any, x0: Any, M: Any, symmetric: bool, solver: _Solver) -> Any:
    """The solution by a solver on flat vectors, with derivatives."""
    b = tree.map(jnp.asarray, b)
    x0 = _checked_start(b, x0)
    a = _checked_products(_operator(A))
    m = _identity if M is None else _operator(M)
    flat_x0 = ravel_pytree(x0)[0]

    def on_flat(precondition: _Map, start: Any) -> Callable[[_Map, Any], Any]:
        def solve(matvec: _Map, right: Any) -> Any:
            vector, unravel = ravel_pytree(right)

            def flat(f: _Map) -> _Map:
                return _identity if f is _identity else lambda v: ravel_pytree(f(unravel(v)))[0]

            first = jnp.zeros_like(vector) if start is None else start.astype(vector.dtype)
            return unravel(solver(flat(matvec), flat(precondition), vector, first))

        return solve

    turned = m
    if m is not _identity and not symmetric:
        turned = lambda y: linear_transpose(m, b)(y)[0]  # noqa: E731
    return lax.custom_linear_solve(
        a, b, on_flat(m, flat_x0), on_flat(turned, None), symmetric=symmetric
    )


def _real(b: Any) -> bool:
    return all(kind_of(aval_of(x).dtype) != "c" for x in tree.leaves(b))


def _size(b: Any) -> int:
    return sum(jnp.size(x) for x in tree.leaves(b))


def _limit(b: Any, maxiter: int | None) -> int:
    return 10 * _size(b) if maxiter is None else maxiter


# --------------------------------------------------------------------------- conjugate gradients


def _square(x: Any) -> Any:
    return jnp.vdot(x, x).real


def _cg(a: _Map, m: _Map, b: Any, x0: Any, tol: Any, atol: Any, maxiter: int) -> Any:
    enough = jnp.maximum(jnp.square(tol) * _square(b), jnp.square(atol)).astype(_square(b).dtype)

    def more(state: Any) -> Any:
        _, r, _, _, k = state
        return (_square(r) > enough) & (k < maxiter)

    def step(state: Any) -> Any:
        x, r, p, gamma, k = state
        ap = a(p)
        alpha = (gamma / jnp.vdot(p, ap).real).astype(x.dtype)
        x, r = x + alpha * p, r - alpha * ap
        z = m(r)
        new = jnp.vdot(r, z).real
        return x, r, z + (new / gamma).astype(x.dtype) * p, new, k + 1

    r = b - a(x0)
    z = m(r)
    return lax.while_loop(more, step, (x0, r, z, jnp.vdot(r, z).real, 0))[0]


def cg(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: Any = 1e-05,
    atol: Any = 0.0,
    maxiter: int | None = None,
    M: Any = None,
) -> tuple[Any, None]:
    """x with A x = b by conjugate gradients; A is hermitian and positive definite.

    `A` is a matrix, dense or sparse, or a linear function of pytrees like `b`; `M` approximates
    its inverse, and is hermitian too.  The iterations end when |b - A x| <= max(tol |b|, atol), or
    after `maxiter`, by default ten times the number of unknowns.  The second result is None.
    (Hestenes and Stiefel, J. Res. NBS 49, 1952.)

    >>> import pullback.numpy as jnp, pullback.scipy.sparse.linalg as sla
    >>> x, _ = sla.cg(jnp.array([[4.0, 1.0], [1.0, 3.0]]), jnp.array([1.0, 2.0]))
    >>> x.round(3)
    Array([0.091, 0.636], dtype=float32)
    """
    limit = _limit(b, maxiter)

    def solver(a: _Map, m: _Map, b: Any, x0: Any) -> Any:
        return _cg(a, m, b, x0, tol, atol, limit)

    return _solved(A, b, x0, M, _real(b), solver), None


# --------------------------------------------------------------------------- BiCGSTAB


def _bicgstab(a: _Map, m: _Map, b: Any, x0: Any, tol: Any, atol: Any, maxiter: int) -> Any:
    enough = jnp.maximum(jnp.square(tol) * _square(b), jnp.square(atol)).astype(_square(b).dtype)

    def more(state: Any) -> Any:
        _, r, *_, k = state
        return (_square(r) > enough) & (k < maxiter) & (k >= 0)

    def step(state: Any) -> Any:
        x, r, shadow, alpha, omega, rho, p, q, k = state
        new_rho = jnp.vdot(shadow, r)
        beta = new_rho / rho * alpha / omega
        p = r + beta * (p - omega * q)
        phat = m(p)
        q = a(phat)
        alpha = new_rho / jnp.vdot(shadow, q)
        s = r - alpha * q
        early = _square(s) < enough
        shat = m(s)
        t = a(shat)
        omega = jnp.vdot(t, s) / jnp.vdot(t, t)
        x = jnp.where(early, x + alpha * phat, x + alpha * phat + omega * shat)
        r = jnp.where(early, s, s - omega * t)
        broken = (new_rho == 0) | (alpha == 0) | ((omega == 0) & ~early)
        k = jnp.where(broken, -1, k + 1)
        return x, r, shadow, alpha, omega, new_rho, p, q, k

    r = b - a(x0)
    one = jnp.ones((), r.dtype)
    none = jnp.zeros_like(r)
    return lax.while_loop(more, step, (x0, r, r, one, one, one, none, none, 0))[0]


def bicgstab(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: Any = 1e-05,
    atol: Any = 0.0,
    maxiter: int | None = None,
    M: Any = None,
) -> tuple[Any, None]:
    """x with A x = b by the stabilised bi-conjugate gradient method; A is any square matrix.

    Parameters as those of `cg`.  (van der Vorst, SIAM J. Sci. Stat. Comput. 13, 1992.)

    >>> import pullback.numpy as jnp, pullback.scipy.sparse.linalg as sla
    >>> x, _ = sla.bicgstab(jnp.array([[4.0, 1.0], [0.0, 2.0]]), jnp.array([1.0, 2.0]))
    >>> x.round(3) + 0
    Array([0., 1.], dtype=float32)
    """
    limit = _limit(b, maxiter)

    def solver(a: _Map, m: _Map, b: Any, x0: Any) -> Any:
        return _bicgstab(a, m, b, x0, tol, atol, limit)

    return _solved(A, b, x0, M, False, solver), None


# --------------------------------------------------------------------------- GMRES


def _unit(x: Any, floor: Any = 0.0) -> tuple[Any, Any]:
    """`x` of norm one, and its norm; zero where that is not above `floor`."""
    size = _norm(x)
    good = size > floor
    unit = jnp.where(good, x / jnp.where(good, size, 1).astype(x.dtype), jnp.zeros_like(x))
    return unit, jnp.where(good, size, 0)


def _arnoldi(a: _Map, basis: Any, k: Any) -> tuple[Any, Any]:
    """The next vector of the basis, and column k of the Hessenberg matrix.

    Classical Gram-Schmidt twice: as stable as the modified one, and made of products (Giraud,
    Langou and Rozložník, Comput. Math. Appl. 50, 2005).
    """
    w = a(basis[:, k])
    whole = _norm(w)
    column = jnp.zeros(basis.shape[1], basis.dtype)
    for _ in range(2):
        part = basis.conj().T @ w
        w = w - basis @ part
        column = column + part
    eps = jnp.finfo(basis.dtype).eps
    unit, size = _unit(w, eps * whole)
    return basis.at[:, k + 1].set(unit), column.at[k + 1].set(size.astype(basis.dtype))


def _batched_cycle(a: _Map, r: Any, restart: int, _: Any) -> Any:
    """The correction from a whole Krylov space: one least-squares problem at the end."""
    unit, size = _unit(r)
    basis = jnp.zeros((r.shape[0], restart + 1), r.dtype).at[:, 0].set(unit)
    hessenberg = jnp.zeros((restart + 1, restart), r.dtype)

    def step(k: Any, state: Any) -> Any:
        basis, h = state
        basis, column = _arnoldi(a, basis, k)
        return basis, h.at[:, k].set(column)

    basis, hessenberg = lax.fori_loop(0, restart, step, (basis, hessenberg))
    right = jnp.zeros(restart + 1, r.dtype).at[0].set(size.astype(r.dtype))
    y = jnp.linalg.lstsq(hessenberg, right)[0]
    return basis[:, :-1] @ y


def _rotation(x: Any, y: Any) -> tuple[Any, Any]:
    """c and s, with [[c, s], [-s', c']] (x, y) = (r, 0) for complex numbers too."""
    size = jnp.sqrt(abs(x) ** 2 + abs(y) ** 2)
    safe = jnp.where(size == 0, 1, size).astype(x.dtype)
    return jnp.where(size == 0, 1, x.conj() / safe), jnp.where(size == 0, 0, y.conj() / safe)


def _incremental_cycle(a: _Map, r: Any, restart: int, enough: Any) -> Any:
    """The correction from a Krylov space that grows until the residual is small.

    Givens rotations keep the Hessenberg matrix triangular (Saad and Schultz, SIAM J. Sci. Stat.
    Comput. 7, 1986).
    """
    unit, size = _unit(r)
    basis = jnp.zeros((r.shape[0], restart + 1), r.dtype).at[:, 0].set(unit)
    triangle = jnp.eye(restart + 1, restart, dtype=r.dtype)
    right = jnp.zeros(restart + 1, r.dtype).at[0].set(size.astype(r.dtype))
    turns = jnp.zeros((restart, 2), r.dtype)

    def more(state: Any) -> Any:
        *_, residual, k = state
        return (residual > enough) & (k < restart)

    def step(state: Any) -> Any:
        basis, triangle, right, turns, _, k = state
        basis, column = _arnoldi(a, basis, k)

        def turn(j: Any, c: Any) -> Any:
            cos, sin = turns[j, 0], turns[j, 1]
            x, y = c[j], c[j + 1]
            return c.at[j].set(cos * x + sin * y).at[j + 1].set(-sin.conj() * x + cos.conj() * y)

        column = lax.fori_loop(0, k, turn, column)
        cos, sin = _rotation(column[k], column[k + 1])
        turns = turns.at[k].set(jnp.stack([cos, sin]))
        column = column.at[k].set(cos * column[k] + sin * column[k + 1]).at[k + 1].set(0)
        last = right[k]
        right = right.at[k].set(cos * last).at[k + 1].set(-sin.conj() * last)
        # Columns that are not reached stay those of the identity, with zeros on the right.
        return basis, triangle.at[:, k].set(column), right, turns, abs(right[k + 1]), k + 1

    state = (basis, triangle, right, turns, size, 0)
    basis, triangle, right, _, _, k = lax.while_loop(more, step, state)
    reached = jnp.arange(restart) < k
    y = lax.linalg.triangular_solve(
        triangle[:-1], jnp.where(reached, right[:-1], 0)[:, None], left_side=True, lower=False
    )
    return basis[:, :-1] @ y[:, 0]


_CYCLES: Final = {"batched": _batched_cycle, "incremental": _incremental_cycle}


def _gmres(
    a: _Map, m: _Map, b: Any, x0: Any, tol: Any, atol: Any, restart: int, limit: int, method: str
) -> Any:
    size = _norm(b)
    enough = jnp.maximum(tol * size, atol).astype(size.dtype)
    preconditioned = _norm(m(b))
    inner = preconditioned * jnp.minimum(1, enough / jnp.where(size == 0, 1, size))

    def more(state: Any) -> Any:
        _, r, k = state
        return (_norm(r) > enough) & (k < limit)

    def step(state: Any) -> Any:
        x, r, k = state
        x = x + _CYCLES[method](lambda v: m(a(v)), m(r), restart, inner)
        return x, b - a(x), k + 1

    return lax.while_loop(more, step, (x0, b - a(x0), 0))[0]


def gmres(
    A: Any,
    b: Any,
    x0: Any = None,
    *,
    tol: Any = 1e-05,
    atol: Any = 0.0,
    restart: int = 20,
    maxiter: int | None = None,
    M: Any = None,
    solve_method: str = "batched",
) -> tuple[Any, Any]:
    """x with A x = b by the generalised minimal residual method; A is any square matrix.

    `restart` bounds the dimension of the Krylov space, `maxiter` the number of restarts.
    `solve_method` is "incremental", which stops within a space as soon as the residual is small, or
    "batched", which always builds the whole of it.  Other parameters as those of `cg`; the second
    result is -1 if the solution has NaNs, else 0.

    >>> import pullback.numpy as jnp, pullback.scipy.sparse.linalg as sla
    >>> x, info = sla.gmres(jnp.array([[4.0, 1.0], [0.0, 2.0]]), jnp.array([1.0, 2.0]))
    >>> x.round(3) + 0, int(info)
    (Array([0., 1.], dtype=float32), 0)
    """
    if solve_method not in _CYCLES:
        raise ValueError(
            f"invalid solve_method {solve_method}, must be either 'incremental' or 'batched'"
        )
    limit, space = _limit(b, maxiter), min(restart, _size(b))

    def solver(a: _Map, m: _Map, b: Any, x0: Any) -> Any:
        return _gmres(a, m, b, x0, tol, atol, space, limit, solve_method)

    x = _solved(A, b, x0, M, False, solver)
    bad = jnp.isnan(_norm(ravel_pytree(x)[0]))
    return x, jnp.where(bad, -1, 0)
