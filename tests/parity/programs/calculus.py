"""Derivatives: custom rules, implicit functions, second order, finance, masks."""

from __future__ import annotations

import functools
from typing import Any

from tests.parity.programs.registry import program


@program(needs=("scipy.stats",))
def black_scholes(jax: Any) -> Any:
    """Prices and greeks of European calls by grad, over a grid by vmap."""
    jnp = jax.numpy

    def price(spot: Any, strike: Any, vol: Any, rate: Any, time: Any) -> Any:
        d1 = (jnp.log(spot / strike) + (rate + 0.5 * vol**2) * time) / (vol * jnp.sqrt(time))
        d2 = d1 - vol * jnp.sqrt(time)
        cdf = jax.scipy.stats.norm.cdf
        return spot * cdf(d1) - strike * jnp.exp(-rate * time) * cdf(d2)

    args = (100.0, jnp.linspace(80.0, 120.0, 5), 0.2, 0.03, 1.5)
    axes = (None, 0, None, None, None)
    greeks = {
        "delta": jax.grad(price, 0),
        "vega": jax.grad(price, 2),
        "rho": jax.grad(price, 3),
        "theta": jax.grad(price, 4),
        "gamma": jax.grad(jax.grad(price, 0), 0),
        "vanna": jax.grad(jax.grad(price, 0), 2),
    }
    return jax.vmap(price, axes)(*args), {
        name: jax.jit(jax.vmap(g, axes))(*args) for name, g in greeks.items()
    }


@program(needs=("scipy.special",))
def implied_volatility(jax: Any) -> Any:
    """Newton's method for a root, differentiated implicitly with custom_vjp."""
    jnp, lax = jax.numpy, jax.lax

    def price(vol: Any, strike: Any) -> Any:
        d1 = (-jnp.log(strike) + 0.5 * vol**2) / vol
        cdf = jax.scipy.special.ndtr
        return cdf(d1) - strike * cdf(d1 - vol)

    @jax.custom_vjp
    def implied(target: Any, strike: Any) -> Any:
        def body(_: Any, vol: Any) -> Any:
            value, slope = jax.value_and_grad(price)(vol, strike)
            return vol - (value - target) / slope

        return lax.fori_loop(0, 8, body, jnp.full_like(target, 0.5))

    def forward(target: Any, strike: Any) -> Any:
        vol = implied(target, strike)
        return vol, (vol, strike)

    def backward(residuals: Any, ct: Any) -> Any:
        dvol, dstrike = jax.grad(price, (0, 1))(*residuals)
        return ct / dvol, -ct * dstrike / dvol

    implied.defvjp(forward, backward)
    strikes = jnp.array([0.9, 1.0, 1.1])
    prices = jax.vmap(price, (None, 0))(0.3, strikes)
    vols = jax.jit(jax.vmap(implied))(prices, strikes)
    return vols, jax.vmap(jax.grad(implied, (0, 1)))(prices, strikes)


@program()
def custom_jvp_rules(jax: Any) -> Any:
    """log1p(exp(x)) and safe sqrt with custom_jvp, through grad, vmap, jit and second order."""
    jnp = jax.numpy

    @jax.custom_jvp
    def softplus(x: Any) -> Any:
        return jnp.log(1.0 + jnp.exp(x))

    @softplus.defjvp
    def softplus_jvp(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return softplus(x), (1.0 - 1.0 / (1.0 + jnp.exp(x))) * t

    @functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
    def power(x: Any, n: int) -> Any:
        return x**n

    @power.defjvp
    def power_jvp(n: int, primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return power(x, n), n * power(x, n - 1) * t

    @jax.custom_jvp
    def norm(x: Any, y: Any) -> Any:
        return jnp.sqrt(x**2 + y**2)

    norm.defjvps(lambda t, ans, x, y: jnp.where(ans > 0, x / ans, 0.0) * t, None)
    xs = jnp.linspace(-3.0, 120.0, 5)
    return (
        jax.vmap(jax.grad(softplus))(xs),
        jax.jit(jax.vmap(jax.grad(jax.grad(softplus))))(xs[:2]),
        jax.grad(lambda x: power(x, 3) + power(x, 2))(2.0),
        jax.grad(norm, (0, 1))(0.0, 0.0),
        jax.jvp(norm, (3.0, 4.0), (1.0, 1.0)),
    )


@program()
def straight_through_and_reversal(jax: Any) -> Any:
    """custom_vjp: straight-through rounding, gradient reversal and clipping of cotangents."""
    jnp = jax.numpy

    @jax.custom_vjp
    def round_through(x: Any) -> Any:
        return jnp.round(x)

    round_through.defvjp(lambda x: (jnp.round(x), None), lambda _, ct: (ct,))

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def clip_gradient(bound: float, x: Any) -> Any:
        return x

    clip_gradient.defvjp(lambda bound, x: (x, None), lambda b, _, ct: (jnp.clip(ct, -b, b),))

    def loss(x: Any) -> Any:
        h = round_through(3.0 * x) + jax.lax.stop_gradient(x) * x
        return jnp.sum(clip_gradient(2.0, h) ** 3)

    x = jnp.linspace(-1.0, 1.0, 7)
    batch = jnp.stack([x, 2 * x])
    return jax.grad(loss)(x), jax.jit(jax.vmap(jax.value_and_grad(loss)))(batch)


@program(rtol=1e-4)
def fixed_point_implicit(jax: Any) -> Any:
    """A fixed point by while_loop, its vjp by another fixed point, over a pytree."""
    jnp, lax = jax.numpy, jax.lax

    def f(params: Any, z: Any) -> Any:
        return jnp.tanh(params["w"] @ z + params["b"])

    def iterate(g: Any, z: Any) -> Any:
        def going(s: Any) -> Any:
            old, new = s
            return jnp.max(jnp.abs(old - new)) > 1e-6

        return lax.while_loop(going, lambda s: (s[1], g(s[1])), (z, g(z)))[1]

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def fixed_point(f: Any, params: Any, z: Any) -> Any:
        return iterate(lambda z: f(params, z), z)

    def forward(f: Any, params: Any, z: Any) -> Any:
        out = fixed_point(f, params, z)
        return out, (params, out)

    def backward(f: Any, residuals: Any, ct: Any) -> Any:
        params, z = residuals
        _, vjp_z = jax.vjp(lambda z: f(params, z), z)
        _, vjp_p = jax.vjp(lambda p: f(p, z), params)
        u = iterate(lambda u: ct + vjp_z(u)[0], jnp.zeros_like(ct))
        return vjp_p(u)[0], jnp.zeros_like(z)

    fixed_point.defvjp(forward, backward)
    params = {"w": 0.3 * jax.random.normal(jax.random.key(0), (4, 4)), "b": jnp.arange(4.0) / 4}
    zero = jnp.zeros(4)
    value = fixed_point(f, params, zero)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(fixed_point(f, p, zero) ** 2)))(params)
    return value, grads


@program()
def hessian_vector_products(jax: Any) -> Any:
    """Forward over reverse, reverse over reverse and reverse over forward agree on Rosenbrock."""
    jnp = jax.numpy

    def rosenbrock(x: Any) -> Any:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    x = jnp.array([1.2, -0.7, 0.4, 1.1])
    v = jnp.array([0.3, 1.0, -1.0, 0.5])
    forward_reverse = jax.jvp(jax.grad(rosenbrock), (x,), (v,))[1]
    reverse_reverse = jax.grad(lambda x: jnp.vdot(jax.grad(rosenbrock)(x), v))(x)
    reverse_forward = jax.grad(lambda x: jax.jvp(rosenbrock, (x,), (v,))[1])(x)
    h = jax.hessian(rosenbrock)(x)
    _, linear = jax.linearize(jax.grad(rosenbrock), x)
    columns = jax.vmap(linear)(jnp.eye(4))
    return forward_reverse, reverse_reverse, reverse_forward, h, h @ v, columns


@program()
def jacobians_of_trees(jax: Any) -> Any:
    """Jacobians with several arguments and dictionaries in and out, forward and reverse."""
    jnp = jax.numpy

    def f(p: Any, x: Any) -> Any:
        y = jnp.sin(p["a"] * x) + p["b"]
        return {"y": y, "total": (y.sum(), x[0] * p["a"])}

    p = {"a": 2.0, "b": jnp.array([0.1, 0.2, 0.3])}
    x = jnp.array([0.5, -1.0, 2.0])
    return (
        jax.jacfwd(f, argnums=(0, 1))(p, x),
        jax.jacrev(f, argnums=1)(p, x),
        jax.jacrev(jax.jacfwd(lambda x: f(p, x)["y"]))(x),
    )


@program(needs=("scipy.special",))
def masks_without_nans(jax: Any) -> Any:
    """The double-where trick, NaNs that leak without it, and logs at zero."""
    jnp = jax.numpy
    x = jnp.array([-1.0, 0.0, 0.5, 4.0])

    def leaky(x: Any) -> Any:
        return jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()

    def safe(x: Any) -> Any:
        positive = jnp.where(x > 0, x, 1.0)
        return jnp.where(x > 0, jnp.sqrt(positive), 0.0).sum()

    def entropy(p: Any) -> Any:
        return -jnp.sum(jax.scipy.special.xlogy(p, p))

    p = jnp.array([0.0, 0.25, 0.75])
    gradient = jax.grad(leaky)(x)
    return (
        gradient,
        jnp.isnan(gradient),
        jnp.nan_to_num(gradient, posinf=9.0),
        jax.grad(safe)(x),
        entropy(p),
        jax.grad(entropy)(p[1:]),
        jax.grad(lambda x: jnp.max(jnp.maximum(x, 0.5)))(x),
        jax.grad(lambda x: jnp.abs(x).sum() + jnp.clip(x, -0.5, 3.0).prod())(x + 0.25),
        jnp.nanmean(jnp.where(x > 0, x, jnp.nan)),
    )


@program(rtol=1e-4)
def meta_learning(jax: Any) -> Any:
    """MAML: the gradient of a loss after an inner gradient step, vmapped over tasks."""
    jnp = jax.numpy

    def net(p: Any, x: Any) -> Any:
        return jnp.tanh(x[:, None] * p["w1"] + p["b1"]) @ p["w2"]

    def loss(p: Any, x: Any, y: Any) -> Any:
        return jnp.mean((net(p, x) - y) ** 2)

    def adapted(p: Any, x: Any, y: Any) -> Any:
        for _ in range(2):
            p = jax.tree.map(lambda p, g: p - 0.1 * g, p, jax.grad(loss)(p, x, y))
        return loss(p, x, y)

    def outer(p: Any, xs: Any, ys: Any) -> Any:
        return jax.vmap(adapted, (None, 0, 0))(p, xs, ys).mean()

    k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
    params = {
        "w1": jax.random.normal(k1, (8,)),
        "b1": jnp.zeros(8),
        "w2": jax.random.normal(k2, (8,)),
    }
    xs = jax.random.uniform(k3, (3, 6), minval=-2, maxval=2)
    ys = jnp.sin(xs + jnp.arange(3.0)[:, None])
    return jax.jit(jax.value_and_grad(outer))(params, xs, ys)


@program(rtol=1e-4)
def rematerialized_layers(jax: Any) -> Any:
    """jax.checkpoint around layers, in a scan over stacked parameters."""
    jnp, lax = jax.numpy, jax.lax
    w = 0.5 * jax.random.normal(jax.random.key(0), (4, 6, 6))
    x = jax.random.normal(jax.random.key(1), (5, 6))

    @jax.checkpoint
    def layer(x: Any, w: Any) -> Any:
        return x + jnp.sin(x @ w) * jax.nn.sigmoid(x)

    def loss(w: Any) -> Any:
        return jnp.mean(lax.scan(lambda x, w: (layer(x, w), None), x, w)[0] ** 2)

    def unrolled(w: Any) -> Any:
        h = x
        for wi in w:
            h = jax.remat(layer)(h, wi)
        return jnp.mean(h**2)

    return jax.jit(jax.value_and_grad(loss))(w), jax.grad(unrolled)(w)


@program()
def second_derivative_operators(jax: Any) -> Any:
    """A physics-informed loss: u_xx and u_t of a small network, gradient in the parameters."""
    jnp = jax.numpy

    def u(p: Any, t: Any, x: Any) -> Any:
        return jnp.dot(jnp.tanh(p[0] * t + p[1] * x + p[2]), p[3])

    def residual(p: Any, t: Any, x: Any) -> Any:
        u_t = jax.grad(u, 1)(p, t, x)
        u_xx = jax.grad(jax.grad(u, 2), 2)(p, t, x)
        return u_t - 0.1 * u_xx

    @jax.jit
    def loss(p: Any, ts: Any, xs: Any) -> Any:
        return jnp.mean(jax.vmap(residual, (None, 0, 0))(p, ts, xs) ** 2)

    p = tuple(jax.random.normal(jax.random.key(i), (7,)) for i in range(4))
    ts, xs = jnp.linspace(0, 1, 6), jnp.linspace(-1, 1, 6)
    return loss(p, ts, xs), jax.grad(loss)(p, ts, xs)


@program(rtol=1e-9, whole_jit=False)
def double_precision(jax: Any) -> Any:
    """enable_x64: finite differences, a quadrature and a cancellation that float32 cannot do."""
    jnp = jax.numpy
    with jax.enable_x64(True):
        x = jnp.linspace(0.0, 1.0, 101)
        f = jnp.exp(-(x**2))
        simpson = (f[0] + f[-1] + 4 * f[1:-1:2].sum() + 2 * f[2:-1:2].sum()) / 300.0
        g = jax.grad(lambda x: jnp.sin(x) ** 3)(0.7)
        difference = (jnp.sin(0.7 + 1e-6) ** 3 - jnp.sin(0.7 - 1e-6) ** 3) / 2e-6
        cancellation = jax.jit(lambda x: jnp.sqrt(x + 1.0) - jnp.sqrt(x))(1e8)
        integers = jnp.arange(3) + 2**40
        return simpson, g, jnp.abs(g - difference) < 1e-8, cancellation, integers, x.dtype.name


@program()
def linear_operators(jax: Any) -> Any:
    """linear_transpose, vjp as adjoint, and jax.linearize for a least-squares gradient."""
    jnp = jax.numpy

    def blur(x: Any) -> Any:
        return jnp.convolve(x, jnp.array([0.25, 0.5, 0.25]), mode="same")[::2]

    x = jnp.arange(9.0) ** 2
    y = blur(x)
    (adjoint,) = jax.linear_transpose(blur, x)(y)
    _, pull = jax.vjp(blur, x)
    out, push = jax.linearize(blur, x)
    return y, adjoint, pull(y)[0], push(jnp.ones(9)), jnp.vdot(y, out) - jnp.vdot(adjoint, x)
