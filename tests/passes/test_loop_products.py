"""Products of the steps of a loop become one product of all steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, subjaxprs, verify
from pullback.passes import loop_products
from pullback.passes.loop_products import gather_products
from pullback.passes.simplify import simplify

Array = Any
LENGTH, BATCH, WIDTH = 6, 3, 32


def _normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return 0.1 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


XS = _normal(LENGTH, BATCH, WIDTH)
W, V, H = _normal(WIDTH, WIDTH, seed=1), _normal(WIDTH, WIDTH, seed=2), _normal(BATCH, WIDTH)


def _gathered(fun: Callable[..., Any], *args: Any) -> ClosedJaxpr:
    closed = gather_products(simplify(pb.make_jaxpr(fun)(*args)))
    verify(closed.jaxpr)
    return closed


def _products(eqns: list[JaxprEqn]) -> int:
    return sum(eqn.primitive.name == "dot_general" for eqn in eqns)


def _counts(closed: ClosedJaxpr) -> tuple[int, int]:
    """Products inside of loops, and outside."""
    inside = [e for eqn in closed.jaxpr.eqns for jaxpr in subjaxprs(eqn) for e in jaxpr.eqns]
    return _products(inside), _products(closed.jaxpr.eqns)


def _loops(closed: ClosedJaxpr) -> list[JaxprEqn]:
    return [eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "scan"]


def _by_hand(step: Any, carry: Any, xs: Any, reverse: bool = False) -> tuple[Any, list[Any]]:
    """A scan as a Python loop of eager operations."""
    ys: list[Any] = [None] * len(xs)
    for i in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[i] = step(carry, jnp.asarray(xs[i]))
    return carry, ys


# --------------------------------------------------------------------------- in front


def _cell(w: Array, v: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh(x @ w + h @ v)
        return h, h

    return step


def _encoded(w: Array, v: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.sin(h + jnp.tanh(x @ w) @ v)
        return h, h

    return step


def _from_the_left(w: Array, v: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = jnp.tanh((w @ x.T).T + h @ v)
        return h, h

    return step


def _used_twice(w: Array, v: Array) -> Callable[[Array, Array], tuple[Array, Array]]:
    def step(h: Array, x: Array) -> tuple[Array, Array]:
        scaled = x / jnp.sum(jnp.exp(x), axis=-1, keepdims=True)
        h = jnp.tanh(scaled @ w + h @ v)
        return h * scaled, h

    return step


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("cell", "inside", "outside"),
    [(_cell, 1, 1), (_encoded, 0, 2), (_from_the_left, 1, 1), (_used_twice, 1, 1)],
)
def test_products_of_rows_are_made_in_front(
    cell: Any, inside: int, outside: int, reverse: bool
) -> None:
    def program(xs: Array, w: Array, v: Array) -> Any:
        return lax.scan(cell(w, v), jnp.asarray(H), xs, reverse=reverse)

    closed = _gathered(program, XS, W, V)
    assert _counts(closed) == (inside, outside)
    got = pb.jit(program)(XS, W, V)
    want = _by_hand(cell(jnp.asarray(W), jnp.asarray(V)), jnp.asarray(H), XS, reverse)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], np.stack(want[1]), rtol=1e-5, atol=1e-6)


def test_costly_work_for_products_is_not_done_twice() -> None:
    def program(xs: Array, w: Array, v: Array) -> Any:
        return lax.scan(_used_twice(w, v), jnp.asarray(H), xs)

    (loop,) = _loops(_gathered(program, XS, W, V))
    names = {e.primitive.name for e in loop.params["jaxpr"].jaxpr.eqns}
    assert names.isdisjoint({"exp", "div", "reduce_sum"})


def test_a_matrix_that_an_inner_loop_makes_stays_inside() -> None:
    def step(h: Array, x: Array, w: Array) -> tuple[Array, Array]:
        made = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 0.5), (0, w))[1]
        return h + jnp.tanh(x @ made), h

    def program(xs: Array, w: Array) -> Any:
        return lax.scan(lambda h, x: step(h, x, w), jnp.asarray(H), xs)

    verify(gather_products(pb.make_jaxpr(program)(XS, W)).jaxpr)
    want = _by_hand(lambda h, x: step(h, x, jnp.asarray(W)), jnp.asarray(H), XS)
    np.testing.assert_allclose(pb.jit(program)(XS, W)[0], want[0], rtol=1e-5, atol=1e-6)


def test_steps_may_call_python() -> None:
    seen: list[float] = []

    def program(xs: Array, w: Array) -> Any:
        def step(h: Array, x: Array) -> tuple[Array, Array]:
            product = x @ w
            pb.debug.callback(lambda v: seen.append(float(v)), product[0, 0], ordered=True)
            return h + product, h

        return lax.scan(step, jnp.asarray(H), xs)

    closed = _gathered(program, XS, W)
    assert _counts(closed) == (0, 1)
    got = pb.jit(program)(XS, W)[0]
    pb.effects_barrier()
    np.testing.assert_allclose(got, H + (XS @ W).sum(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen, (XS @ W)[:, 0, 0], rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------- behind


def test_products_that_are_only_results_are_made_behind() -> None:
    def step(h: Array, x: Array, v: Array) -> tuple[Array, Array]:
        h = jnp.tanh(h + x)
        return h, h @ v

    def program(xs: Array, v: Array) -> Any:
        return lax.scan(lambda h, x: step(h, x, v), jnp.asarray(H), xs)

    closed = _gathered(program, XS, V)
    assert _counts(closed) == (0, 1)
    got = pb.jit(program)(XS, V)
    want = _by_hand(lambda h, x: step(h, x, jnp.asarray(V)), jnp.asarray(H), XS)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], np.stack(want[1]), rtol=1e-5, atol=1e-6)


SUMS = {
    "plain": lambda x, y: x.T @ y,
    "transposed": lambda x, y: (y.T @ x).T,
    "two": lambda x, y: x.T @ y + (y.T @ x).T,
    "with a sum": lambda x, y: x.T @ y + jnp.sum(y),
    "with another": lambda x, y: x.T @ y + jnp.sum(jnp.cos(y)),
    "lanes": lambda x, y: jnp.einsum("bik,bjk->bij", x.reshape(3, 4, 8), y.reshape(3, 4, 8)),
    "reshaped": lambda x, y: (x.T @ y).reshape(16, 64),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_products_are_made_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_products, "SMALL", 16)
    term, start = SUMS[name], 2 + SUMS[name](jnp.asarray(H), jnp.asarray(H))

    def step(carry: Any, x: Array) -> Any:
        h, total = carry
        h = jnp.sin(h + x)
        return (h, total + term(x, h)), None

    def program(xs: Array) -> Any:
        return lax.scan(step, (jnp.asarray(H), start), xs)[0]

    closed = _gathered(program, XS)
    assert _counts(closed)[0] == 0
    (loop,) = _loops(closed)
    assert loop.params["num_carry"] == (2 if name == "with another" else 1)
    want, _ = _by_hand(step, (jnp.asarray(H), start), XS)
    got = pb.jit(program)(XS)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-5, atol=1e-5)


def test_a_loop_of_sums_alone_is_gone() -> None:
    def program(xs: Array, ys: Array) -> Any:
        zeros = jnp.zeros((WIDTH, WIDTH))
        return lax.scan(lambda s, xy: (s + xy[0].T @ xy[1], None), zeros, (xs, ys))[0]

    closed = _gathered(program, XS, 2 * XS)
    assert _loops(closed) == []
    want = np.einsum("tbi,tbj->ij", XS, 2 * XS)
    np.testing.assert_allclose(pb.jit(program)(XS, 2 * XS), want, rtol=1e-5, atol=1e-6)


def test_gradients_of_a_recurrent_network() -> None:
    def loss(w: Array, v: Array, b: Array, xs: Array) -> Any:
        def step(h: Array, x: Array) -> tuple[Array, Array]:
            h = jnp.tanh(x @ w + h @ v + b)
            return h, h

        return jnp.sum(lax.scan(step, jnp.asarray(H), xs)[1] ** 2)

    gradient = pb.grad(loss, argnums=(0, 1, 2, 3))
    bias = _normal(WIDTH, seed=5)
    closed = _gathered(gradient, W, V, bias, XS)
    forwards, backwards = _loops(closed)
    assert [_products(e.params["jaxpr"].jaxpr.eqns) for e in (forwards, backwards)] == [1, 1]
    assert backwards.params["num_carry"] == 1  # the cotangent of the state: no sums
    got = pb.jit(gradient)(W, V, bias, XS)
    h, states = H, []
    for x in XS:
        states.append(h)
        h = np.tanh(x @ W + h @ V + bias)
    after = [*states[1:], h]
    g, want = np.zeros_like(H), [np.zeros_like(W), np.zeros_like(V), 0 * bias, np.zeros_like(XS)]
    for t in reversed(range(LENGTH)):
        d = (g + 2 * after[t]) * (1 - after[t] ** 2)
        want[0] += XS[t].T @ d
        want[1] += states[t].T @ d
        want[2] += d.sum(0)
        want[3][t] = d @ W.T
        g = d @ V.T
    for a, e in zip(got, want, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------- left alone


def _alone(length: int = LENGTH, batch: int = BATCH, width: int = WIDTH) -> bool:
    """Whether the products of such a loop stay in it."""
    xs, w, h = np.ones((length, batch, width), "f"), np.ones((width, width), "f"), np.zeros(())

    def program(xs: Array, w: Array) -> Any:
        return lax.scan(lambda h, x: (h + jnp.sum(jnp.tanh(x @ w)), None), jnp.asarray(h), xs)

    return _counts(_gathered(program, xs, w)) == (1, 0)


def test_products_large_enough_stay() -> None:
    assert not _alone()
    assert _alone(length=loop_products.TURNS - 1)
    assert _alone(batch=loop_products.TALL)
    assert _alone(width=loop_products.DEEP - 1)


def test_stacks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_products, "ROOM", 0)
    assert not _alone()  # as large as the rows that there are

    def program(xs: Array, w: Array) -> Any:
        return lax.scan(lambda h, x: (h + jnp.sum(jnp.tanh(x @ w)), None), 0.0, xs)

    wide = _normal(WIDTH, 2 * WIDTH)
    assert _counts(_gathered(program, XS, wide)) == (1, 0)
    monkeypatch.setattr(loop_products, "ROOM", 2 * XS.nbytes)
    assert _counts(_gathered(program, XS, wide)) == (0, 1)


def test_sums_that_a_loop_reads_stay() -> None:
    def step(total: Array, x: Array) -> Any:
        return total + x.T @ x, jnp.sum(total)

    def program(xs: Array) -> Any:
        return lax.scan(step, jnp.zeros((WIDTH, WIDTH)), xs)

    assert _counts(_gathered(program, XS)) == (1, 0)


def test_integers_stay() -> None:
    def program(xs: Array) -> Any:
        zeros = jnp.zeros((WIDTH, WIDTH), "int32")
        return lax.scan(lambda s, x: (s + x.T @ x, None), zeros, xs)[0]

    assert _counts(_gathered(program, XS.astype("int32"))) == (1, 0)


def test_inner_loops_are_searched() -> None:
    def program(xs: Array, w: Array) -> Any:
        def outer(total: Array, _: Any) -> Any:
            step = _cell(w, total)
            return lax.scan(step, total[:BATCH], xs)[1].sum(0).T @ jnp.ones((BATCH, WIDTH)), None

        return lax.scan(outer, jnp.asarray(V), None, length=3)[0]

    def inner(eqn: JaxprEqn) -> list[JaxprEqn]:
        return [e for jaxpr in subjaxprs(eqn) for e in jaxpr.eqns]

    (loop,) = _loops(_gathered(program, XS, W))
    (scan,) = [e for e in inner(loop) if e.primitive.name == "scan"]
    assert (_products(inner(scan)), _products(inner(loop))) == (1, 2)
