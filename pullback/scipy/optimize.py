"""`jax.scipy.optimize`: minimisation of functions of a vector by BFGS and L-BFGS.

The iteration and the line search are those of Nocedal and Wright, "Numerical optimization", 2nd
ed., algorithms 6.1, 7.4 and 7.5, 3.5 and 3.6, in one compiled loop each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.transforms.gradients import value_and_grad

__all__ = ["OptimizeResults", "minimize"]


class OptimizeResults(NamedTuple):
    """What `minimize` found.

    `status` is 0 (converged), 1 (`maxiter` reached), 3 (the line search found no better point) or 5
    (the line search reached its limit).
    """

    x: Any
    success: Any
    status: Any
    fun: Any
    jac: Any
    hess_inv: Any
    nfev: Any
    njev: Any
    nit: Any


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: tuple[Any, ...] = (),
    *,
    method: str,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """A minimum of the scalar function `fun(x, *args)` of a vector, near `x0`.

    `method` is "BFGS"; its options are `gtol` (by default `tol`, or 1e-5), `norm` (of the gradient
    that is compared with it), `maxiter` and `line_search_maxiter`. The other one, which keeps the
    last `maxcor` steps instead of a matrix, has JAX's name
    "l-bfgs-experimental-do-not-rely-on-this"; its options are `gtol`, `norm`, `ftol` (the relative
    decrease of the function at which it ends; by default `tol`, or 2.2e-9), `maxiter`, `maxfun`,
    `maxgrad`, `maxcor` and `maxls`, and there is no `hess_inv`.

    >>> import pullback.numpy as jnp
    >>> found = minimize(lambda x: jnp.sum((x - 1) ** 2), jnp.zeros(2), method="BFGS")
    >>> found.x, bool(found.success)
    (Array([1., 1.], dtype=float32), True)
    """
    if not isinstance(args, tuple):
        raise TypeError(f"args argument to jax.scipy.optimize.minimize must be a tuple, got {args}")
    solver = _METHODS.get(method.lower())
    if solver is None:
        raise ValueError(f"Method {method} not recognized")
    settings = dict(options or {})
    if tol is not None:
        settings.setdefault("ftol" if solver is _lbfgs else "gtol", tol)
    x0 = jnp.asarray(x0)
    if x0.ndim != 1:
        raise TypeError(f"x0 must be a vector, got an array of shape {x0.shape}")
    return solver(lambda x: fun(x, *args), x0, **settings)


def _below(gtol: float, norm: Any) -> Callable[[Any], Any]:
    """Whether a gradient is small enough."""
    return lambda g: jnp.linalg.norm(g, ord=norm) < gtol


def _status_before(converged: Any, limit: int) -> Any:
    """The status before the first step: -1 where there is one to make."""
    return jnp.where(converged, 0, jnp.where(limit <= 0, 1, -1))


def _goes_on(state: Any) -> Any:
    return state.status < 0


def _result(end: Any, inverse: Any) -> OptimizeResults:
    """What a user gets of the last state."""
    return OptimizeResults(
        x=end.x,
        success=end.status == 0,
        status=end.status,
        fun=end.f,
        jac=end.g,
        hess_inv=inverse,
        nfev=end.evaluations,
        njev=end.evaluations,
        nit=end.steps,
    )


# --------------------------------------------------------------------------- BFGS


class _State(NamedTuple):
    x: Any
    f: Any
    g: Any
    inverse: Any
    steps: Any
    evaluations: Any
    status: Any  # -1 while it goes on


def _bfgs(
    fun: Callable[[Any], Any],
    x0: Any,
    maxiter: int | None = None,
    norm: Any = np.inf,
    gtol: float = 1e-5,
    line_search_maxiter: int = 10,
) -> OptimizeResults:
    n = x0.shape[0]
    limit = 200 * n if maxiter is None else maxiter
    both = value_and_grad(fun)
    f, g = both(x0)

    converged = _below(gtol, norm)

    def step(state: _State) -> _State:
        p = -(state.inverse @ state.g)
        found = _line_search(both, state, p, line_search_maxiter)
        s, y = found.x - state.x, found.g - state.g
        inverse = _updated(state.inverse, s, y)
        steps = state.steps + 1
        stuck = jnp.where(found.phase == _FAILED, 3, -1)
        status = jnp.where(steps >= limit, 1, stuck)
        status = jnp.where(converged(found.g), 0, status)
        evaluations = state.evaluations + found.count
        return _State(found.x, found.f, found.g, inverse, steps, evaluations, status)

    status = _status_before(converged(g), limit)
    start = _State(x0, f, g, jnp.eye(n, dtype=x0.dtype), 0, 1, status)
    end = lax.while_loop(_goes_on, step, start)
    return _result(end, end.inverse)


def _updated(inverse: Any, s: Any, y: Any) -> Any:
    """The approximate inverse Hessian with a step and its change of gradient (eq. 6.17)."""
    curvature = jnp.dot(y, s)
    useful = curvature > 0
    rho = 1 / jnp.where(useful, curvature, 1)
    hy = inverse @ y
    outer = jnp.outer(s, hy)
    new = inverse - rho * (outer + outer.T) + (rho * rho * jnp.dot(y, hy) + rho) * jnp.outer(s, s)
    return jnp.where(useful, new, inverse)


# --------------------------------------------------------------------------- L-BFGS


class _Limited(NamedTuple):
    x: Any
    f: Any
    g: Any
    moves: Any  # the last steps, the newest in the last row
    changes: Any  # the changes of the gradient in them
    weights: Any  # 1 / dot(move, change); 0 where a row is empty
    steps: Any
    evaluations: Any
    status: Any  # -1 while it goes on


def _lbfgs(
    fun: Callable[[Any], Any],
    x0: Any,
    maxiter: int | None = None,
    norm: Any = np.inf,
    maxcor: int = 10,
    ftol: float = 2.220446049250313e-09,
    gtol: float = 1e-5,
    maxfun: float | None = None,
    maxgrad: float | None = None,
    maxls: int = 20,
) -> OptimizeResults:
    n = x0.shape[0]
    limit = 200 * n if maxiter is None else maxiter
    calls = min(np.inf if maxfun is None else maxfun, np.inf if maxgrad is None else maxgrad)
    both = value_and_grad(fun)
    f, g = both(x0)

    converged = _below(gtol, norm)

    def step(state: _Limited) -> _Limited:
        found = _line_search(both, state, _direction(state), maxls)
        s, y = found.x - state.x, found.g - state.g
        curvature = jnp.dot(s, y)
        useful = curvature > 0
        weight = jnp.where(useful, 1 / jnp.where(useful, curvature, 1), 0)
        pairs = ((state.moves, s), (state.changes, y), (state.weights, weight))
        moves, changes, weights = (
            jnp.where(useful, jnp.roll(old, -1, 0).at[-1].set(new), old) for old, new in pairs
        )
        steps, evaluations = state.steps + 1, state.evaluations + found.count
        size = jnp.maximum(jnp.maximum(abs(state.f), abs(found.f)), 1)
        ended = converged(found.g) | (state.f - found.f <= ftol * size)
        status = jnp.where((steps >= limit) | (evaluations >= calls), 1, -1)
        status = jnp.where(ended, 0, status)
        status = jnp.where((found.phase == _FAILED) & ~converged(found.g), 3, status)
        point = found.x, found.f, found.g
        return _Limited(*point, moves, changes, weights, steps, evaluations, status)

    status = _status_before(converged(g), limit)
    none = jnp.zeros((maxcor, n), x0.dtype)
    start = _Limited(x0, f, g, none, none, none[:, 0], 0, 1, status)
    return _result(lax.while_loop(_goes_on, step, start), None)


def _direction(state: _Limited) -> Any:
    """The gradient times the inverse Hessian that the last steps tell of, downwards (alg. 7.4)."""

    def backwards(q: Any, row: Any) -> Any:
        move, change, weight = row
        a = weight * jnp.dot(move, q)
        return q - a * change, a

    def forwards(r: Any, row: Any) -> Any:
        (move, change, weight), a = row
        return r + move * (a - weight * jnp.dot(change, r)), None

    rows = state.moves, state.changes, state.weights
    q, factors = lax.scan(backwards, state.g, rows, reverse=True)
    last, newest = state.weights[-1], state.changes[-1]
    scale = jnp.where(last > 0, 1 / jnp.where(last > 0, last * jnp.dot(newest, newest), 1), 1)
    r, _ = lax.scan(forwards, scale * q, (rows, factors))
    return -r


_METHODS: Final[dict[str, Callable[..., OptimizeResults]]] = {
    "bfgs": _bfgs,
    "l-bfgs-experimental-do-not-rely-on-this": _lbfgs,
}


# --------------------------------------------------------------------------- line search

_ARMIJO: Final = 1e-4
_CURVATURE: Final = 0.9
_BRACKET, _ZOOM, _DONE, _FAILED = range(4)


class _Point(NamedTuple):
    """A step length with the value and the slope along the line there."""

    a: Any
    f: Any
    slope: Any


class _Search(NamedTuple):
    phase: Any
    count: Any
    trial: Any
    low: _Point  # while bracketing, the previous point
    high: _Point
    x: Any  # the best point so far, that of `low`
    f: Any
    g: Any


def _choose(condition: Any, one: _Point, other: _Point) -> _Point:
    return _Point(*(jnp.where(condition, a, b) for a, b in zip(one, other, strict=True)))


def _line_search(
    both: Callable[[Any], Any], state: _State | _Limited, p: Any, limit: int
) -> _Search:
    """A point along `p` that satisfies the strong Wolfe conditions, or the best one found."""
    slope0 = jnp.dot(state.g, p)
    zero = jnp.zeros_like(state.f)
    origin = _Point(zero, state.f, slope0)
    start = _Search(
        _BRACKET + jnp.zeros((), int), 0, zero + 1, origin, origin, state.x, state.f, state.g
    )

    def evaluate(search: _Search) -> _Search:
        x = state.x + search.trial * p
        f, g = both(x)
        point = _Point(search.trial, f, jnp.dot(g, p))
        wolfe = abs(point.slope) <= -_CURVATURE * slope0
        high = (f > state.f + _ARMIJO * point.a * slope0) | (f >= search.low.f)
        high = jnp.where(search.count == 0, ~(f <= state.f + _ARMIJO * slope0 * point.a), high)
        high = high | ~jnp.isfinite(f)
        better = ~high
        done = better & wolfe
        bracketing = search.phase == _BRACKET
        # In a bracket the far end is the previous point; in a zoom, whichever the slope shows.
        toward = jnp.where(bracketing, search.low.a, search.high.a) - search.low.a
        turned = jnp.where(bracketing, point.slope >= 0, point.slope * toward >= 0)
        far = _choose(high, point, _choose(turned, search.low, search.high))
        low = _choose(better, point, search.low)
        phase = jnp.where(bracketing & better & ~turned, _BRACKET, _ZOOM)
        phase = jnp.where(done, _DONE, phase)
        trial = jnp.where(phase == _BRACKET, 2 * point.a, _between(low, far))
        count = search.count + 1
        phase = jnp.where((count >= limit) & (phase < _DONE), _FAILED, phase)
        phase = jnp.where((phase == _ZOOM) & (low.a == far.a), _FAILED, phase)
        keep = [jnp.where(better, *pair) for pair in zip((x, f, g), search[5:], strict=True)]
        return _Search(phase, count, trial, low, far, *keep)

    end: _Search = lax.while_loop(lambda search: search.phase < _DONE, evaluate, start)
    # A step that lowers the value is good enough to go on from.
    lowered = (end.phase == _FAILED) & (end.f < state.f)
    return end._replace(phase=jnp.where(lowered, _DONE, end.phase))


def _between(low: _Point, high: _Point) -> Any:
    """The minimum of the cubic through two points (eq. 3.59), kept away from both."""
    width = high.a - low.a
    safe = jnp.where(width == 0, 1, width)
    d1 = low.slope + high.slope - 3 * (high.f - low.f) / safe
    radicand = d1 * d1 - low.slope * high.slope
    d2 = jnp.sign(width) * jnp.sqrt(jnp.maximum(radicand, 0))
    below = high.slope - low.slope + 2 * d2
    cubic = high.a - width * (high.slope + d2 - d1) / jnp.where(below == 0, 1, below)
    share = (cubic - low.a) / safe
    good = (share > 0.1) & (share < 0.9) & (radicand >= 0) & (below != 0) & jnp.isfinite(cubic)
    return jnp.where(good, cubic, low.a + width / 2)
