"""What a loop or a branch stores is not read where that store does not reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from tests.loops.harness import compile_function

Fun = Callable[[Any], Any]


def product_in_a_loop(w: Any) -> Any:
    turned = w.T
    first = w @ turned[:, :3]
    last, _ = lax.scan(lambda c, _: (c + w @ turned @ c / 50.0, None), w, None, length=2)
    return first, last


def gradient_of_a_loop(w: Any) -> Any:
    def loss(w: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            return c + w[::-1] + jnp.abs(w @ w.T @ w / 51.0), None

        return jnp.sin(lax.scan(body, w, None, length=1)[0]).sum()

    return pb.grad(loss)(w)


def product_in_branches(w: Any) -> Any:
    turned = w.T
    outs = [
        lax.cond(flag, lambda t: w @ t @ w, lambda t: (t @ w)[:1] + w @ t @ w, turned)
        for flag in (w[0, 0] > 5.0, w[0, 0] < 5.0)
    ]
    return outs, turned @ w, jnp.sin(turned)


def rows_that_do_not_change(w: Any) -> Any:
    turned = jnp.flip(w, 1)
    last, rows = lax.scan(lambda c, _: (turned, (turned, c)), w, None, length=3)
    return last, rows, jnp.sin(turned).sum(0)


def loop_in_a_loop(w: Any) -> Any:
    turned = w.T

    def outer(c: Any, _: Any) -> Any:
        flipped = c[::-1]
        inner = lax.fori_loop(0, 2, lambda _, d: jnp.sin(d @ (turned @ flipped) / 99.0), c)
        return inner, flipped.sum(0)

    return lax.scan(outer, w, None, length=2), turned.sum(1)


def loop_of_unknown_length(w: Any) -> Any:
    turned = w.T

    def body(state: Any) -> Any:
        c, n = state
        return jnp.tanh(w @ (turned @ c)), n + 1

    return lax.while_loop(lambda s: (s[1] < 3) & (s[0].sum() < 1e6), body, (w, 0)), w @ turned


@pytest.mark.parametrize(
    "fun",
    [
        product_in_a_loop,
        gradient_of_a_loop,
        product_in_branches,
        rows_that_do_not_change,
        loop_in_a_loop,
        loop_of_unknown_length,
    ],
)
@pytest.mark.parametrize("shape", [(3, 2), (17, 3), (20, 20), (33, 40)], ids=str)
def test_stored_once(fun: Fun, shape: tuple[int, int]) -> None:
    w = jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))
    compiled = pb.tree.leaves(pb.jit(fun)(w))
    with pb.disable_jit():
        expected = pb.tree.leaves(fun(w))
    for got, want in zip(compiled, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


def test_neighbours_far_away_are_computed_again() -> None:
    # The flux of a Laplacian: three passes over a large array would all come from memory.
    def flux(u: Any) -> Any:
        lap = 4.0 * u[1:-1, 1:-1] - (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2])
        across = lap[1:, 1:-1] - lap[:-1, 1:-1]
        limited = jnp.where(across * (u[2:-1, 2:-2] - u[1:-2, 2:-2]) > 0, 0.0, across)
        return u[2:-2, 2:-2] - 0.1 * (limited[1:] - limited[:-1])

    large = np.random.default_rng(0).normal(size=(600, 600)).astype(np.float32)
    assert compile_function(flux, large).program.arena_bytes == 0
    assert compile_function(flux, large[:60, :60]).program.arena_bytes > 0
    with pb.disable_jit():
        want = flux(jnp.asarray(large))
    np.testing.assert_allclose(pb.jit(flux)(large), want, rtol=1e-4, atol=1e-5)


def test_terms_of_two_long_sums_are_not_stored() -> None:
    def filtered(x: Any) -> Any:
        total = weights = 0.0
        for k in range(40):
            near = jnp.exp(-((x[k : k + 4000] - x[20:4020]) ** 2))
            total, weights = total + near * x[k : k + 4000], weights + near
        return total / weights

    x = np.random.default_rng(0).normal(size=4039).astype(np.float32)
    program = compile_function(filtered, x)
    assert program.program.arena_bytes <= 4 * 16064  # of forty
    windows = np.lib.stride_tricks.sliding_window_view(x, 4000)[:40].astype(float)
    near = np.exp(-((windows - x[20:4020]) ** 2))
    expected = (near * windows).sum(0) / near.sum(0)
    np.testing.assert_allclose(program(x)[0], expected, rtol=1e-4, atol=1e-5)


def test_stencils_of_many_places_read_one_array() -> None:
    def mean(u: Any) -> Any:
        c = u[1:-1, 1:-1, 1:-1]
        across = u[2:, 1:-1, 1:-1] - 2.0 * c + u[:-2, 1:-1, 1:-1]
        along = u[1:-1, 2:, 1:-1] - 2.0 * c + u[1:-1, :-2, 1:-1]
        return 0.1 * across + 0.1 * along + 0.1 * (u[1:-1, 1:-1, 2:] - u[1:-1, 1:-1, :-2]) + c

    def step(_: Any, c: Any) -> Any:
        u, v = c
        v = v.at[1:-1, 1:-1, 1:-1].set(mean(u))
        return u.at[1:-1, 1:-1, 1:-1].set(mean(v)), v

    u = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    program = compile_function(lambda u: lax.fori_loop(0, 3, step, (u, u)), u).program
    assert program.arena_bytes <= 64  # nothing of the grid


def test_parts_made_of_other_arrays_are_computed_where_they_go() -> None:
    def mean(u: Any) -> Any:
        return 0.5 * (u[:-2] + u[1:-1] + u[2:])

    def step(_: Any, c: Any) -> Any:
        u, v = c
        v = v.at[1:-1].set(mean(u))
        return u.at[1:-1].set(mean(v)), v

    u = np.random.default_rng(0).normal(size=300).astype(np.float32)
    program = compile_function(lambda u: lax.fori_loop(0, 3, step, (u, u + 1)), u).program
    assert program.arena_bytes <= 64  # neither of the means


def test_a_part_is_stored_after_the_array_around_it() -> None:
    def f(x: Any, y: Any) -> Any:
        z = jnp.exp(y) * jnp.sin(y)
        whole = x.at[2:6].set(z + jnp.tanh(y))
        return whole.at[:4].set(z * jnp.cos(whole[4:])), z

    x, y = np.arange(8.0, dtype=np.float32), np.linspace(0, 1, 4, dtype=np.float32)
    z = np.exp(y) * np.sin(y)
    whole = x.copy()
    whole[2:6] = z + np.tanh(y)
    whole[:4] = z * np.cos(whole[4:])
    got = pb.jit(f)(x, y)
    np.testing.assert_allclose(got[0], whole, rtol=1e-5)
    np.testing.assert_allclose(got[1], z, rtol=1e-5)
