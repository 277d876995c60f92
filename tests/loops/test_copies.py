"""What loops copy in every turn: nothing large, since buffers are updated or exchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.checkpoint_policies import binomial
from pullback.core.avals import aval_of
from pullback.loops.donation import reuse_arguments
from pullback.loops.ir import Block, Copy, Loop, Program, Store, Swap, While, inner_blocks, walk
from pullback.loops.program import lower_program
from pullback.transforms.staging import stage
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 50)).astype(np.float32)
W = (0.1 * RNG.normal(size=(50, 50))).astype(np.float32)
SMALL = 512


def copied_in_loops(block: Block, inside: bool = False) -> int:
    """Bytes of the large copies within loops, each counted once."""
    total = 0
    for stmt in block:
        if isinstance(stmt, Copy) and inside:
            nbytes = stmt.count * stmt.target.buffer.dtype.itemsize
            total += nbytes if nbytes > SMALL else 0
        for inner in inner_blocks(stmt):
            total += copied_in_loops(inner, inside or isinstance(stmt, (Loop, While)))
    return total


def swaps(program: Program) -> int:
    return sum(isinstance(s, Swap) for s in walk(program.body))


def product(x: Any, w: Any, n: Any) -> Any:
    return lax.scan(lambda c, _: (c @ w, None), x, None, length=5)[0]


def reversed_rows(x: Any, w: Any, n: Any) -> Any:
    return lax.fori_loop(0, n, lambda i, c: c[::-1] * 0.5 + c, x)


def two(x: Any, w: Any, n: Any) -> Any:
    def body(i: Any, c: Any) -> Any:
        return c[0] @ w, c[1][:, ::-1] + c[0] * 0.1

    return lax.fori_loop(0, n, body, (x, x))


def nested(x: Any, w: Any, n: Any) -> Any:
    def inner(i: Any, c: Any) -> Any:
        return c[::-1] * 0.25 + c

    def outer(i: Any, c: Any) -> Any:
        return lax.fori_loop(0, i, inner, c @ w) + c

    return lax.fori_loop(0, n, outer, x)


def rotated_in_turns(x: Any, w: Any, n: Any) -> Any:
    def body(i: Any, c: Any) -> Any:
        return lax.cond(i % 2 == 0, lambda c: c @ w, lambda c: c[::-1] * 0.5, c)

    return lax.fori_loop(0, n, body, x)


def swap(x: Any, w: Any, n: Any) -> Any:
    return lax.fori_loop(0, n, lambda i, c: (c[1] * 0.5, c[0][::-1]), (x, x[:, ::-1]))


LOOPS: list[Callable[..., Any]] = [product, reversed_rows, two, nested, rotated_in_turns, swap]


@pytest.mark.parametrize("loop", LOOPS)
def test_no_large_copy_in_a_turn(loop: Callable[..., Any]) -> None:
    compiled = compile_function(loop, X, W, np.int32(0))
    assert swaps(compiled.program) >= 1
    assert copied_in_loops(compiled.program.body) == 0
    for n in (0, 1, 2, 5):
        with pb.disable_jit():
            expected = loop(X, W, n)
        flat = expected if isinstance(expected, tuple) else (expected,)
        for got, want in zip(compiled(X, W, np.int32(n)), flat, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


def test_rows_written_in_inner_loops_are_not_copied() -> None:
    def f(x: Any) -> Any:
        def row(i: Any, out: Any) -> Any:
            return lax.fori_loop(0, i, lambda j, o: o.at[i, j].add(1.0 + o[j, i]), out)

        return lax.fori_loop(0, x.shape[0], row, x)

    compiled = compile_function(f, X)
    assert copied_in_loops(compiled.program.body) == 0
    expected = X.copy()
    for i in range(40):
        for j in range(i):
            expected[i, j] += 1.0 + expected[j, i]
    np.testing.assert_allclose(compiled(X)[0], expected, rtol=1e-5)


def test_a_sweep_backwards_copies_states_only() -> None:
    def f(x: Any) -> Any:
        body = lambda c, _: (jnp.sin(c) * jnp.cos(c), None)  # noqa: E731
        return lax.scan(body, x, None, length=512, remat=binomial(8))[0].sum()

    compiled = compile_function(pb.grad(f), X)
    assert copied_in_loops(compiled.program.body) <= 2 * X.nbytes


@pytest.mark.parametrize(
    "update",
    [
        lambda x: x.at[3].set(1.0),
        lambda x: x.at[:, 2].add(x[0, 0]),
        lambda x: lax.fori_loop(0, 40, lambda i, c: c.at[i].multiply(2.0), x),
    ],
)
def test_donated_arrays_are_updated_where_they_are(update: Callable[..., Any]) -> None:
    program = lower_program(stage(lambda x: [update(x)], [aval_of(X)]))
    assert reuse_arguments(program, [(0, [0])]) == [(0, 0)]
    moved = [s for s in walk(program.body) if isinstance(s, Copy) and s.count >= X.size]
    # What is left is the copy from the argument to the output, which are the same memory then.
    assert all(s.source.buffer.root().kind == "arg" for s in moved)
    assert all(s.target.buffer.root().kind == "out" for s in moved)
    jitted = pb.jit(update, donate_argnums=0)
    for _ in range(3):  # the first call compiles
        x = jnp.asarray(X) + 0.0  # memory of ours
        place = x.unsafe_buffer_pointer()
        y = jitted(x)
        np.testing.assert_allclose(y, update(jnp.array(X)), rtol=1e-6)
    assert y.unsafe_buffer_pointer() == place


GRID = RNG.normal(size=(96, 80)).astype(np.float32)
WINDOWS = [
    (slice(1, -1), slice(1, -1)),
    (slice(None), slice(2, None)),
    (slice(0, 60), slice(None)),
    (slice(10, 90), slice(0, 75)),
]


def smoothed(u: Any, window: Any) -> Any:
    u = jnp.asarray(u)
    around = 0.5 * u[::-1] + 0.5 * u[:, ::-1]
    return u.at[window].set(around[window])


@pytest.mark.parametrize("window", WINDOWS)
def test_most_of_an_array_made_from_itself_is_written_once(window: Any) -> None:
    """Neither is the update stored and copied, nor is what stays in the loop's carry copied."""

    def steps(u: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: smoothed(c, window), u)

    once = compile_function(lambda u: smoothed(u, window), GRID)
    stored = {s.buffer.root().kind for s in walk(once.program.body) if isinstance(s, Store)}
    assert stored == {"out"}
    assert not any(isinstance(s, Copy) for s in walk(once.program.body))
    loop = compile_function(steps, GRID)
    assert swaps(loop.program) == 1
    assert copied_in_loops(loop.program.body) == 0

    def expected(u: Any) -> Any:
        out = u.copy()
        around = np.float32(0.5) * u[::-1] + np.float32(0.5) * u[:, ::-1]
        out[window] = around[window]
        return out

    np.testing.assert_allclose(once(GRID)[0], expected(GRID), rtol=1e-6)
    thrice = expected(expected(expected(GRID)))
    np.testing.assert_allclose(loop(GRID)[0], thrice, rtol=1e-5, atol=1e-6)


def test_a_small_part_is_written_in_place() -> None:
    def steps(u: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: c.at[:20].set(c[1:21] * 0.5), jnp.asarray(u))

    program = compile_function(steps, GRID).program
    assert swaps(program) == 0
    assert copied_in_loops(program.body) <= GRID[:20].nbytes
