"""`checking_leaks`: a traced value that is kept is found at the end of its trace, with its line."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.errors import UnexpectedTracerError
from pullback.experimental import checkify
from pullback.experimental.jet import jet

kept: list[Any] = []
X = jnp.ones(3)


def leaky(x: Any) -> Any:
    kept.append(x * 2)
    return jnp.sum(x)


LINE = leaky.__code__.co_firstlineno + 1


@pb.custom_jvp
def squared(x: Any) -> Any:
    return x**2


@squared.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return squared(*primals), 2 * primals[0] * tangents[0]


@pb.custom_vjp
def cubed(x: Any) -> Any:
    return x**3


cubed.defvjp(lambda x: (cubed(x), x), lambda x, ct: (3 * x**2 * ct,))


def clean(x: Any) -> Any:
    return forward(cubed(x))


def forward(x: Any) -> Any:
    def body(c: Any, _: Any) -> Any:
        return lax.cond(c > 0, jnp.sin, jnp.cos, c) + x[0], c

    c, ys = lax.scan(body, jnp.sum(squared(x)), None, length=3)
    return c + jnp.sum(pb.checkpoint(lambda v: v * jnp.sum(ys))(x))


@pytest.fixture(scope="module", autouse=True)
def _only_what_these_tests_make_is_collected() -> Iterator[None]:
    """The check collects garbage after every trace; among what other tests left that takes long."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


CALLS: dict[str, Callable[[Any], Any]] = {
    "jit": lambda f: pb.jit(f)(X),
    "grad": lambda f: pb.grad(f)(X),
    "vmap": lambda f: pb.vmap(f)(X[None]),
    "jvp": lambda f: pb.jvp(f, (X,), (X,)),
    "linearize": lambda f: pb.linearize(f, X),
    "vjp": lambda f: pb.vjp(f, X),
    "jacrev of jacrev": lambda f: pb.jacrev(pb.jacrev(f))(X),
    "scan": lambda f: lax.scan(lambda c, x: (c + f(x), None), 0.0, X[None]),
    "cond": lambda f: lax.cond(True, f, f, X),
    "while": lambda f: lax.while_loop(lambda c: c < 1, lambda c: c + jnp.abs(f(c[None])) + 1, 0.0),
    "make_jaxpr": lambda f: pb.make_jaxpr(f)(X),
    "checkpoint": lambda f: pb.grad(pb.checkpoint(f))(X),
    "jit of vmap of grad": lambda f: pb.jit(pb.vmap(pb.grad(f)))(X[None]),
    "checkify": lambda f: checkify.checkify(f)(X),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_leak_is_found(name: str) -> None:
    kept.clear()
    with pb.checking_leaks(), pytest.raises(UnexpectedTracerError) as caught:
        CALLS[name](leaky)
    assert "still referred to" in str(caught.value)
    assert f"{__file__}:{LINE} (leaky)" in str(caught.value)
    kept.clear()


@pytest.mark.parametrize("name", sorted(CALLS))
def test_nothing_is_found_where_nothing_leaks(name: str) -> None:
    with pb.checking_leaks():
        CALLS[name](forward if name == "jvp" else clean)  # custom_vjp has no forward mode


def test_jet() -> None:
    kept.clear()
    with pb.checking_leaks():
        jet(lambda x: jnp.sin(x) * x, (X,), ((X,),))
        with pytest.raises(UnexpectedTracerError, match="still referred to"):
            jet(leaky, (X,), ((X,),))
    kept.clear()


def test_for_the_whole_process() -> None:
    kept.clear()
    pb.config.update("jax_check_tracer_leaks", True)
    try:
        with pytest.raises(UnexpectedTracerError, match=r"leaky"):
            pb.vmap(leaky)(X[None])
        kept.clear()
        pb.vmap(clean)(X[None])
    finally:
        pb.config.update("jax_check_tracer_leaks", False)
    pb.vmap(leaky)(X[None])
    with pytest.raises(UnexpectedTracerError, match="outlived"):
        kept.pop() + 1
