"""Every ordered pair of transformations, and sampled triples, on small functions, against JAX.

A wrapper takes a function of one vector to another of the same kind; it is written once for both
systems (`sys` is pullback or jax, `lax` its lax).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy
import numpy as np
import pytest

import pullback
import pullback.lax
import pullback.numpy

Fun = Callable[[Any], Any]


def w_jit(sys: Any, f: Fun) -> Fun:
    return sys.jit(f)


def w_vmap(sys: Any, f: Fun) -> Fun:
    jnp = sys.numpy
    return lambda x: sys.vmap(f)(jnp.stack([x, 2.0 * x, x + 0.1])).sum(0)


def w_vmap_inner_axis(sys: Any, f: Fun) -> Fun:
    jnp = sys.numpy
    return lambda x: sys.vmap(f, in_axes=1, out_axes=1)(jnp.stack([x, x * x], axis=1))[:, 1]


def w_jvp(sys: Any, f: Fun) -> Fun:
    return lambda x: sys.jvp(f, (x,), (sys.numpy.cos(x),))[1]


def w_vjp(sys: Any, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        y, pull = sys.vjp(f, x)
        return pull(sys.numpy.sin(y))[0]

    return g


def w_grad(sys: Any, f: Fun) -> Fun:
    return sys.grad(lambda x: (f(x) ** 2).sum())


def w_linearize(sys: Any, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        y, f_lin = sys.linearize(f, x)
        return y + f_lin(2.0 * x)

    return g


def w_scan(sys: Any, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        def body(carry: Any, row: Any) -> Any:
            new = 0.5 * f(carry) + row
            return new, (new * x).sum()

        carry, ys = sys.lax.scan(body, x, sys.numpy.stack([x, 0.3 * x]))
        return carry + ys.sum()

    return g


def w_fori(sys: Any, f: Fun) -> Fun:
    return lambda x: sys.lax.fori_loop(0, 2, lambda i, v: f(v) * 0.5 + i * x, x)


def w_cond(sys: Any, f: Fun) -> Fun:
    return lambda x: sys.lax.cond(x.sum() > 0.5, f, lambda v: f(2.0 * v) - v, x)


def w_switch(sys: Any, f: Fun) -> Fun:
    return lambda x: sys.lax.switch(
        (x[0] > 0.2).astype("int32") + 1, [lambda v: v, f, lambda v: v * f(v)], x
    )


def w_custom_jvp(sys: Any, f: Fun) -> Fun:
    @sys.custom_jvp
    def g(x: Any) -> Any:
        return f(x)

    @g.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        y, dy = sys.jvp(f, primals, tangents)
        return y, 1.5 * dy

    return g


def w_custom_vjp(sys: Any, f: Fun) -> Fun:
    @sys.custom_vjp
    def g(x: Any) -> Any:
        return f(x)

    g.defvjp(lambda x: (f(x), x), lambda x, ct: (sys.vjp(f, x)[1](0.5 * ct)[0],))
    return g


def w_while(sys: Any, f: Fun) -> Fun:
    def g(x: Any) -> Any:
        def cond(carry: Any) -> Any:
            return carry[0] < 3

        i, v = sys.lax.while_loop(cond, lambda c: (c[0] + 1, 0.5 * f(c[1])), (0, x))
        return v + i

    return g


WRAPPERS = [
    w_jit,
    w_vmap,
    w_vmap_inner_axis,
    w_jvp,
    w_vjp,
    w_grad,
    w_linearize,
    w_scan,
    w_fori,
    w_cond,
    w_switch,
    w_custom_jvp,
    w_custom_vjp,
    w_while,
]
FORWARD_ONLY = {w_jvp, w_linearize}
REVERSE = {w_vjp, w_grad}


def f_elementwise(sys: Any) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.sin(x) * jnp.exp(-x) + x / (1.0 + x * x)


def f_matmul(sys: Any) -> Fun:
    jnp = sys.numpy
    m = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)
    return lambda x: jnp.tanh(m @ x) + x.sum() * m[0]


def f_indexing(sys: Any) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.where(x > 0.3, x[::-1] * x, x.at[1].set(x[0] * x[2]))


def f_reductions(sys: Any) -> Fun:
    jnp = sys.numpy
    return lambda x: jnp.cumsum(x) / (1.0 + jnp.max(x)) + jnp.mean(x * x)


FUNCTIONS = [f_elementwise, f_matmul, f_indexing, f_reductions]
X = np.array([0.4, 0.9, -0.3], np.float32)


def _supported(chain: tuple[Any, ...]) -> bool:
    """Reverse mode does not pass a while loop, forward mode no custom_vjp; chain[0] is outer."""
    for i, outer in enumerate(chain):
        inner = chain[i + 1 :]
        if outer in REVERSE and w_while in inner:
            return False
        if outer in FORWARD_ONLY and w_custom_vjp in inner:
            return False
        if outer is w_custom_jvp and w_custom_vjp in inner:
            return False
        if outer is w_custom_vjp and w_while in inner:
            return False
    return True


def _apply(sys: Any, chain: tuple[Any, ...], function: Any) -> Fun:
    f = function(sys)
    for wrapper in reversed(chain):
        f = wrapper(sys, f)
    return f


def _check(chain: tuple[Any, ...], function: Any) -> None:
    ours = np.asarray(_apply(pullback, chain, function)(pullback.numpy.asarray(X)))
    theirs = np.asarray(_apply(jax, chain, function)(jax.numpy.asarray(X)))
    assert ours.dtype == theirs.dtype
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=2e-5, atol=2e-5)


def _name(value: Any) -> str:
    return "-".join(w.__name__[2:] for w in value) if isinstance(value, tuple) else value.__name__


PAIRS = [c for c in itertools.product(WRAPPERS, WRAPPERS) if _supported(c)]
_rng = random.Random(0)
TRIPLES = _rng.sample([c for c in itertools.product(WRAPPERS, repeat=3) if _supported(c)], 60)


@pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda w: w.__name__[2:])
@pytest.mark.parametrize("function", FUNCTIONS, ids=_name)
def test_single(wrapper: Any, function: Any) -> None:
    _check((wrapper,), function)


@pytest.mark.parametrize("chain", PAIRS, ids=_name)
def test_pairs(chain: tuple[Any, ...]) -> None:
    _check(chain, FUNCTIONS[PAIRS.index(chain) % len(FUNCTIONS)])


@pytest.mark.parametrize("chain", TRIPLES, ids=_name)
def test_triples(chain: tuple[Any, ...]) -> None:
    _check(chain, FUNCTIONS[TRIPLES.index(chain) % len(FUNCTIONS)])
