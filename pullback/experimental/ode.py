"""`jax.experimental.ode`: ordinary differential equations by the Dormand–Prince method.

Steps adapt to the error (Hairer, Nørsett and Wanner, "Solving ordinary differential equations I",
sections II.4 and II.5); values between them come from a polynomial of degree four through the ends
and the middle of a step (Shampine, Math. Comp. 46, 1986).  The derivative integrates the adjoint
equation backwards (Pontryagin, 1962), in memory that does not grow with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax, tree
from pullback import numpy as jnp
from pullback.control.closures import closure_convert
from pullback.control.custom_vjp import custom_vjp
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.flatten_util import ravel_pytree
from pullback.numpy.promotion import is_arraylike, promote_dtypes_inexact
from pullback.transforms.derivatives import vjp
from pullback.transforms.mapping import vmap

__all__ = [
    "abs2",
    "fit_4th_order_polynomial",
    "initial_step_size",
    "interp_fit_dopri",
    "mean_error_ratio",
    "odeint",
    "optimal_step_size",
    "runge_kutta_step",
]

_NODES: Final = np.array([1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0, 0.0])
_STAGES: Final = np.array(
    [
        [1 / 5, 0, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0],
    ]
)
_SOLUTION: Final = np.array([35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0])
_ERROR: Final = _SOLUTION - np.array(
    [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40]
)
_MIDDLE: Final = 0.5 * np.array(
    [
        6025192743 / 30085553152,
        0,
        51252292925 / 65400821598,
        -2691868925 / 45128329728,
        187940372067 / 1594534317056,
        -1776094331 / 19743644256,
        11237099 / 235043384,
    ]
)


# --------------------------------------------------------------------------- one step


def abs2(x: Any) -> Any:
    """The square of the absolute value.

    >>> abs2(3 - 4j)
    Array(25., dtype=float32, weak_type=True)
    """
    if jnp.iscomplexobj(x):
        return jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x))
    return jnp.square(x)


def fit_4th_order_polynomial(y0: Any, y1: Any, y_mid: Any, dy0: Any, dy1: Any, dt: Any) -> Any:
    """Coefficients, highest first, of the polynomial on [0, 1] with these values and slopes."""
    a = -2 * dt * dy0 + 2 * dt * dy1 - 8 * y0 - 8 * y1 + 16 * y_mid
    b = 5 * dt * dy0 - 3 * dt * dy1 + 18 * y0 + 14 * y1 - 32 * y_mid
    c = -4 * dt * dy0 + dt * dy1 - 11 * y0 - 5 * y1 + 16 * y_mid
    return a, b, c, dt * dy0, y0


def interp_fit_dopri(y0: Any, y1: Any, k: Any, dt: Any) -> Any:
    """Coefficients of the polynomial within a step of the Dormand–Prince method."""
    middle = y0 + dt.astype(y0.dtype) * jnp.dot(jnp.asarray(_MIDDLE, y0.dtype), k)
    return jnp.asarray(fit_4th_order_polynomial(y0, y1, middle, k[0], k[-1], dt))


def initial_step_size(
    fun: Callable[..., Any], t0: Any, y0: Any, order: Any, rtol: Any, atol: Any, f0: Any
) -> Any:
    """A first step, from the sizes of the first and the second derivative (II.4, p. 169)."""
    y0, f0 = promote_dtypes_inexact(y0, f0)
    dtype = dtypes.to_real_dtype(y0.dtype)
    scale = atol + jnp.abs(y0) * rtol
    d0 = jnp.linalg.norm(y0 / scale.astype(dtype))
    d1 = jnp.linalg.norm(f0 / scale.astype(dtype))
    flat = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = jnp.where(flat, 1e-6, 0.01 * d0 / jnp.where(flat, 1, d1))
    f1 = fun(y0 + h0.astype(dtype) * f0, t0 + h0)
    d2 = jnp.linalg.norm((f1 - f0) / scale.astype(dtype)) / h0
    still = (d1 <= 1e-15) & (d2 <= 1e-15)
    rate = jnp.where(still, 1, jnp.maximum(d1, d2))
    h1 = jnp.where(still, jnp.maximum(1e-6, h0 * 1e-3), (0.01 / rate) ** (1.0 / (order + 1.0)))
    return jnp.minimum(100.0 * h0, h1)


def runge_kutta_step(
    func: Callable[..., Any], y0: Any, f0: Any, t0: Any, dt: Any
) -> tuple[Any, Any, Any, Any]:
    """The state and the slope after `dt`, an estimate of the error, and all the slopes (7, n)."""
    dtype = f0.dtype
    step = dt.astype(dtype)

    def stage(i: Any, k: Any) -> Any:
        ti = t0 + dt * jnp.asarray(_NODES, dt.dtype)[i - 1]
        yi = y0.astype(dtype) + step * jnp.dot(jnp.asarray(_STAGES, dtype)[i - 1], k)
        return k.at[i].set(func(yi, ti))

    k = jnp.zeros((7, f0.shape[0]), dtype).at[0].set(f0)
    k = lax.fori_loop(1, 7, stage, k)
    y1 = step * jnp.dot(jnp.asarray(_SOLUTION, dtype), k) + y0
    error = step * jnp.dot(jnp.asarray(_ERROR, dtype), k)
    return y1, k[-1], error, k


def mean_error_ratio(error_estimate: Any, rtol: Any, atol: Any, y0: Any, y1: Any) -> Any:
    """The root mean square of the error over what is allowed."""
    allowed = atol + rtol * jnp.maximum(jnp.abs(y0), jnp.abs(y1))
    ratio = error_estimate / allowed.astype(dtypes.to_real_dtype(y0.dtype))
    return jnp.sqrt(jnp.mean(abs2(ratio)))


def optimal_step_size(
    last_step: Any,
    mean_error_ratio: Any,
    safety: float = 0.9,
    ifactor: float = 10.0,
    dfactor: float = 0.2,
    order: float = 5.0,
) -> Any:
    """The next step: at most `ifactor` times the last one, at least `dfactor` times."""
    dfactor = jnp.where(mean_error_ratio < 1, 1.0, dfactor)
    safe = jnp.where(mean_error_ratio == 0, 1, mean_error_ratio)
    factor = jnp.minimum(ifactor, jnp.maximum(safe ** (-1.0 / order) * safety, dfactor))
    return jnp.where(mean_error_ratio == 0, last_step * ifactor, last_step * factor)


# --------------------------------------------------------------------------- integration


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    *args: Any,
    rtol: Any = 1.4e-8,
    atol: Any = 1.4e-8,
    mxstep: Any = np.inf,
    hmax: Any = np.inf,
) -> Any:
    """The solution of dy/dt = func(y, t, *args) with y(t[0]) = y0, at the increasing times `t`.

    `y0` is an array or a pytree of arrays, and so is what `func` returns; the result has an axis of
    times in front.  `mxstep` bounds the number of steps between two times, `hmax` their length.
    Reverse mode is available for y0, t, args, and what `func` closes over.

    >>> import pullback.numpy as jnp
    >>> y = odeint(lambda y, t: -y, jnp.array(1.0), jnp.array([0.0, 1.0]))
    >>> y.round(4)
    Array([1.    , 0.3679], dtype=float32)
    """
    for x in tree.leaves(args):
        if not is_arraylike(x):
            raise TypeError(
                f"The contents of odeint *args must be arrays or scalars, but got {type(x)}."
            )
    if jnp.issubdtype(jnp.asarray(t).dtype, jnp.integer):
        raise TypeError("t must be an array of floats, but got integers.")
    t = jnp.asarray(t)
    y0 = tree.map(jnp.asarray, y0)
    converted, consts = closure_convert(func, y0, t[0], *args)
    flat, unravel = ravel_pytree(y0)
    problem = _Problem(converted, unravel, (rtol, atol, mxstep, hmax))
    out = problem.solve(flat, t, *args, *consts)
    return vmap(unravel)(out)


class _Problem:
    """An equation on flat vectors, with its tolerances."""

    def __init__(self, func: Callable[..., Any], unravel: Any, settings: Any) -> None:
        self.func, self.unravel, self.settings = func, unravel, settings
        solve = custom_vjp(self.integrate)
        solve.defvjp(self.forward, self.backward)
        self.solve = solve

    def slope(self, y: Any, t: Any, *args: Any) -> Any:
        return ravel_pytree(self.func(self.unravel(y), t, *args))[0]

    def integrate(self, y0: Any, ts: Any, *args: Any) -> Any:
        return _integrate(lambda y, t: self.slope(y, t, *args), y0, ts, *self.settings)

    def forward(self, y0: Any, ts: Any, *args: Any) -> Any:
        ys = self.integrate(y0, ts, *args)
        return ys, (ys, ts, args)

    def backward(self, residuals: Any, g: Any) -> Any:
        """Cotangents of y0, the times and the arguments, by the adjoint equation."""
        ys, ts, args = residuals
        leaves, structure = tree.flatten(args)
        smooth = [dtypes.kind_of(aval_of(x).dtype) in "fc" for x in leaves]
        theta = [x for x, s in zip(leaves, smooth, strict=True) if s]

        def slope(y: Any, t: Any, *theta: Any) -> Any:
            given = iter(theta)
            full = [next(given) if s else x for x, s in zip(leaves, smooth, strict=True)]
            return self.slope(y, t, *tree.unflatten(structure, full))

        y_bar, ts_bar, theta_bar = _adjoint(slope, ys, ts, theta, g, self.settings)
        bars = iter(theta_bar)
        full = [next(bars) if s else None for s in smooth]
        return (y_bar, ts_bar, *tree.unflatten(structure, full))


def _adjoint(
    slope: Callable[..., Any], ys: Any, ts: Any, theta: Any, g: Any, settings: Any
) -> tuple[Any, Any, Any]:
    """The adjoint state carried from the last time to the first, with jumps by `g`.

    Time runs as -t, so that it increases.
    """
    zero = [jnp.zeros_like(x) for x in theta]
    start, unravel = ravel_pytree((ys[0], g[0], ts[0], zero))

    def backwards(state: Any, minus_t: Any) -> Any:
        y, y_bar, _, _ = unravel(state)
        rate, pull = vjp(slope, y, -minus_t, *theta)
        y_bar, t_bar, *theta_bar = pull(y_bar)
        return ravel_pytree((-rate, y_bar, t_bar, theta_bar))[0].astype(start.dtype)

    def interval(carry: Any, i: Any) -> Any:
        y_bar, t0_bar, theta_bar = carry
        t_bar = jnp.dot(slope(ys[i], ts[i], *theta), g[i]).astype(ts.dtype)
        state = ravel_pytree((ys[i], y_bar, t0_bar - t_bar, theta_bar))[0]
        times = jnp.stack([-ts[i], -ts[i - 1]])
        _, y_bar, t0_bar, theta_bar = unravel(
            _integrate(backwards, state.astype(start.dtype), times, *settings)[1]
        )
        return (y_bar + g[i - 1], t0_bar, theta_bar), t_bar

    carry = (g[-1], jnp.zeros((), ts.dtype), zero)
    order = jnp.arange(ts.shape[0] - 1, 0, -1)
    (y_bar, t0_bar, theta_bar), t_bars = lax.scan(interval, carry, order)
    return y_bar, jnp.concatenate([t0_bar[None], t_bars[::-1]]), theta_bar


def _integrate(
    func: Callable[..., Any], y0: Any, ts: Any, rtol: Any, atol: Any, mxstep: Any, hmax: Any
) -> Any:
    """The states at all times, (times, n)."""
    f0 = func(y0, ts[0])
    y0, f0 = promote_dtypes_inexact(y0, f0)
    first = initial_step_size(func, ts[0], y0, 4, rtol, atol, f0)
    dt = jnp.clip(first, min=0.0, max=hmax).astype(ts.dtype)

    def advance(carry: Any, target: Any) -> Any:
        def more(state: Any) -> Any:
            i, _, _, t, dt, _, _ = state
            return (t < target) & (i < mxstep) & (dt > 0)

        def step(state: Any) -> Any:
            i, y, f, t, dt, last, coefficients = state
            new_y, new_f, error, k = runge_kutta_step(func, y, f, t, dt)
            ratio = mean_error_ratio(error, rtol, atol, y, new_y)
            fitted = interp_fit_dopri(y, new_y, k, dt)
            next_dt = jnp.clip(optimal_step_size(dt, ratio), min=0.0, max=hmax).astype(dt.dtype)
            taken = [new_y, new_f, t + dt, next_dt, t, fitted]
            kept = [y, f, t, next_dt, last, coefficients]
            chosen = [jnp.where(ratio <= 1.0, a, b) for a, b in zip(taken, kept, strict=True)]
            return (i + 1, *chosen)

        _, *carry = lax.while_loop(more, step, (0, *carry))
        _, _, t, _, last, coefficients = carry
        share = (target - last) / jnp.where(t == last, 1, t - last)
        return carry, jnp.polyval(coefficients, share.astype(coefficients.dtype))

    # Until a step is taken the polynomial is the first state.
    coefficients = jnp.zeros((5, y0.shape[0]), y0.dtype).at[-1].set(y0)
    _, ys = lax.scan(advance, [y0, f0, ts[0], dt, ts[0], coefficients], ts[1:])
    return jnp.concatenate([y0[None], ys])
