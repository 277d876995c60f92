"""Transformations and constructs as wrappers: from a function of one vector to another such.

Each is written once for both systems; `sys` is a `System`, which is pullback or jax.  `sys.rule`
scales the derivatives of custom rules: where it is not 1 the rules say something else than the
functions do, which shows whether they are used; where it is 1 finite differences can check them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Fun = Callable[[Any], Any]


@dataclass(frozen=True)
class System:
    """pullback or jax, and the factor of custom rules."""

    module: Any
    rule: float = 1.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def w_jit(sys: System, f: Fun) -> Fun:
    return sys.jit(f)


def w_vmap(sys: System, f: Fun) -> Fun:
    jnp = sys.numpy
    return lambda x: sys.vmap(f)(jnp.stack([x, 2.0 * x, x + 0.1])).sum(0)


def w_vmap_inner_axis(sys: System, f: Fun) -> Fun:
    jnp = sys.numpy
    return lambda x: sys.vmap(f, in_axes=1, out_axes=1)(jnp.stack([x, x * x], axis=1))[:, 1]


def w_vmap_named(sys: System, f: Fun) -> Fun:
    """Lanes that hear of each other."""
    jnp = sys.numpy

    def lane(x: Any) -> Any:
        return f(x) * sys.lax.pmean(x, "lanes") + sys.lax.axis_index("lanes")

    return lambda x: sys.vmap(lane, axis_name="lanes")(jnp.stack([x, jnp.sin(x)])).sum(0)


def w_jvp(sys: System, f: Fun) -> Fun:
    return lambda x: sys.jvp(f, (x,), (sys.numpy.cos(x),))[1]


def w_vjp(sys: System, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        y, pull = sys.vjp(f, x)
        return pull(sys.numpy.sin(y))[0]

    return g


def w_grad(sys: System, f: Fun) -> Fun:
    return sys.grad(lambda x: (f(x) ** 2).sum())


def w_linearize(sys: System, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        y, f_lin = sys.linearize(f, x)
        return y + f_lin(2.0 * x)

    return g


def w_remat(sys: System, f: Fun) -> Fun:
    inner = sys.checkpoint(f)
    return lambda x: inner(sys.numpy.sin(x)) + x


def w_remat_policy(sys: System, f: Fun) -> Fun:
    policy = sys.checkpoint_policies.save_only_these_names("kept")

    def named(x: Any) -> Any:
        return sys.ad_checkpoint.checkpoint_name(f(x), "kept") * sys.numpy.cos(x)

    return sys.checkpoint(named, policy=policy)


def w_scan(sys: System, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            new = 0.5 * f(carry) + row
            return new, (new * x).sum()

        carry, ys = sys.lax.scan(body, x, sys.numpy.stack([x, 0.3 * x]))
        return carry + ys.sum()

    return g


def w_fori(sys: System, f: Fun) -> Fun:
    return lambda x: sys.lax.fori_loop(0, 2, lambda i, v: f(v) * 0.5 + i * x, x)


def w_while(sys: System, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        def cond(carry: Any) -> Any:
            return carry[0] < 3

        i, v = sys.lax.while_loop(cond, lambda c: (c[0] + 1, 0.5 * f(c[1])), (0, x))
        return v + i

    return g


def w_cond(sys: System, f: Fun) -> Fun:
    return lambda x: sys.lax.cond(x.sum() > 0.5, f, lambda v: f(2.0 * v) - v, x)


def w_switch(sys: System, f: Fun) -> Fun:
    return lambda x: sys.lax.switch(
        (x[0] > 0.2).astype("int32") + 1, [lambda v: v, f, lambda v: v * f(v)], x
    )


def w_custom_jvp(sys: System, f: Fun) -> Fun:
    @sys.custom_jvp
    def g(x: Any) -> Any:
        return f(x)

    @g.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        y, dy = sys.jvp(f, primals, tangents)
        return y, sys.rule * dy

    return g


def w_custom_vjp(sys: System, f: Fun) -> Fun:
    @sys.custom_vjp
    def g(x: Any) -> Any:
        return f(x)

    g.defvjp(lambda x: (f(x), x), lambda x, ct: (sys.vjp(f, x)[1](sys.rule * ct)[0],))
    return g


def w_pure_callback(sys: System, f: Fun) -> Fun:
    """Sine and cosine by NumPy, with each other as derivatives."""

    def host(function: Callable[[Any], Any], x: Any) -> Any:
        out = sys.ShapeDtypeStruct(x.shape, x.dtype)
        return sys.pure_callback(
            lambda v: function(np.asarray(v)), out, x, vmap_method="expand_dims"
        )

    @sys.custom_jvp
    def sin(x: Any) -> Any:
        return host(np.sin, x)

    @sys.custom_jvp
    def cos(x: Any) -> Any:
        return host(np.cos, x)

    sin.defjvp(lambda xs, ts: (sin(*xs), cos(*xs) * ts[0]))
    cos.defjvp(lambda xs, ts: (cos(*xs), -sin(*xs) * ts[0]))
    return lambda x: f(sin(x)) + sin(2.0 * x)


SEEN: list[Any] = []
"""What callbacks saw."""


def w_debug(sys: System, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        y = f(x)
        sys.debug.callback(lambda v: SEEN.append(np.asarray(v)), y)
        return y * 1.5

    return g


def w_io_callback(sys: System, f: Fun) -> Fun:
    """A number from outside, of which nothing is differentiated."""

    def read(v: Any) -> Any:
        SEEN.append(np.asarray(v))
        return np.float64(0.25)

    def g(x: Any) -> Any:
        fixed = sys.lax.stop_gradient(x)
        number = sys.experimental.io_callback(read, sys.ShapeDtypeStruct((), "float64"), fixed)
        return f(x) + number

    return g


WRAPPERS = [
    w_jit,
    w_vmap,
    w_vmap_inner_axis,
    w_vmap_named,
    w_jvp,
    w_vjp,
    w_grad,
    w_linearize,
    w_remat,
    w_remat_policy,
    w_scan,
    w_fori,
    w_while,
    w_cond,
    w_switch,
    w_custom_jvp,
    w_custom_vjp,
    w_pure_callback,
    w_debug,
    w_io_callback,
]
CALLBACKS = {w_debug, w_io_callback}


def f_elementwise(sys: System) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.sin(x) * jnp.exp(-x) + x / (1.0 + x * x)


def f_matmul(sys: System) -> Fun:
    jnp = sys.numpy
    m = np.linspace(-1, 1, 9).reshape(3, 3)
    return lambda x: jnp.tanh(m @ x) + x.sum() * m[0]


def f_indexing(sys: System) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.where(x > 0.3, x[::-1] * x, x.at[1].set(x[0] * x[2]))


def f_reductions(sys: System) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.cumsum(x) / (1.0 + jnp.max(x)) + jnp.mean(x * x)


FUNCTIONS = [f_elementwise, f_matmul, f_indexing, f_reductions]
X = np.array([0.4, 0.9, -0.3])
DIRECTION = np.array([0.7, -0.2, 0.5])
Chain = tuple[Any, ...]


def compose(sys: System, chain: Chain, function: Any) -> Fun:
    """The function in all wrappers; the first of the chain is the outermost."""
    f = function(sys)
    for wrapper in reversed(chain):
        f = wrapper(sys, f)
    return f


def derivative(sys: System, chain: Chain, f: Fun, *, through_while: bool = False) -> Fun | None:
    """f(x) and its derivative along DIRECTION, or its pullback of DIRECTION.

    None in JAX for a pullback through a while loop.
    """
    if w_custom_vjp not in chain:
        return lambda x: sys.jvp(f, (x,), (sys.numpy.asarray(DIRECTION),))
    if w_while in chain and not through_while:
        return None

    def back(x: Any) -> Any:
        y, pull = sys.vjp(f, x)
        return y, pull(sys.numpy.asarray(DIRECTION))[0]

    return back


def is_pullback(chain: Chain) -> bool:
    """Whether `derivative` goes backwards."""
    return w_custom_vjp in chain
