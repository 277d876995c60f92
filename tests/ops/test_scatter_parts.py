"""Windows that several threads write: the bits of one thread, in the order of the updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback.numpy as jnp
from pullback import lax
from pullback.llvm import pool
from pullback.loops.ir import Call, Loop, Program, Store, walk
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
ROWS, WIDTH, UPDATES = 300, 80, 900
X = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
U = RNG.normal(size=(UPDATES, WIDTH)).astype(np.float32)
POSITIONS = RNG.integers(-ROWS - 20, ROWS + 20, UPDATES).astype(np.int32)


def in_order(x: Any, i: Any, u: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """One update after the other; those outside are dropped."""
    out = x.copy()
    for k, row in zip(i, u, strict=True):
        k = k + len(x) if k < 0 else k
        if 0 <= k < len(x):
            out[k] = combine(out[k], row)
    return out


def shares(program: Program) -> int:
    """Loops over as many parts as there are threads."""
    loops = [s for s in walk(program.body) if isinstance(s, Loop) and not s.extent.is_const]
    calls = [s.symbol for s in walk(program.body) if isinstance(s, Call)]
    assert calls == ["pb_pool_threads"] * len(loops)
    return sum(s.parallel for s in loops)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["set", "add", "multiply", "min", "max"])
def test_duplicates_keep_their_order(threads: int, kind: str) -> None:
    combine = {
        "set": lambda old, new: new,
        "add": np.add,
        "multiply": np.multiply,
        "min": np.minimum,
        "max": np.maximum,
    }[kind]
    compiled = compile_function(
        lambda x, i, u: getattr(jnp.asarray(x).at[i], kind)(u), X, POSITIONS, U
    )
    assert shares(compiled.program) == 1
    pool.set_num_threads(threads)
    (out,) = compiled(X, POSITIONS, U)
    pool.set_num_threads(None)
    np.testing.assert_array_equal(out, in_order(X, POSITIONS, U, combine))


@pytest.mark.parametrize("threads", [1, 3])
def test_the_second_axis_of_windows_and_clipped_positions(threads: int) -> None:
    x = np.ascontiguousarray(np.stack([X, 2 * X, 3 * X]))  # 3, ROWS, WIDTH
    u = np.ascontiguousarray(np.stack([U, -U, U + 1]))
    numbers = lax.ScatterDimensionNumbers((0, 2), (1,), (1,))
    compiled = compile_function(
        lambda x, i, u: lax.scatter_add(x, i[:, None], u, numbers, mode="clip"),
        *(x, POSITIONS, np.ascontiguousarray(u)),
    )
    assert shares(compiled.program) == 1
    pool.set_num_threads(threads)
    (out,) = compiled(x, POSITIONS, u)
    pool.set_num_threads(None)
    clipped = np.clip(POSITIONS, 0, ROWS - 1)
    for k in range(3):
        np.testing.assert_array_equal(out[k], in_order(x[k], clipped, u[k], np.add))


def test_few_or_short_windows_are_written_by_one_thread() -> None:
    few = compile_function(lambda x, i, u: jnp.asarray(x).at[i].add(u), X, POSITIONS[:40], U[:40])
    assert shares(few.program) == 0
    flat = np.zeros(100_000, np.float32)
    i, u = np.arange(100_000, dtype=np.int32), np.ones(100_000, np.float32)
    short = compile_function(lambda x, i, u: jnp.asarray(x).at[i].add(u), flat, i, u)
    assert shares(short.program) == 0


def stored(function: Callable[..., Any], *args: Any) -> int:
    """Elements of the temporaries that a program writes."""
    program = compile_function(function, *args).program
    buffers = {s.buffer.root() for s in walk(program.body) if isinstance(s, Store)}
    return sum(b.size for b in buffers if b.kind == "temp" and b.dtype == np.float32)


def test_cheap_updates_are_computed_where_they_are_written() -> None:
    """One number for all rows is no array of rows; what reads the operand is computed before."""
    assert stored(lambda x, i: jnp.asarray(x).at[i].set(2.5), X, POSITIONS) == 0
    assert stored(lambda x, i, u: jnp.asarray(x).at[i].add(-u), X, POSITIONS, U) == 0
    assert stored(lambda x, u: lax.dynamic_update_slice(x, u + 1.0, (3, 0)), X, U[:9]) == 0
    assert stored(lambda x, i, u: jnp.asarray(x).at[i].add(jnp.exp(u)), X, POSITIONS, U) == U.size
    assert stored(lambda x: jnp.asarray(x).at[:9].set(jnp.asarray(x)[9:18]), X) == 9 * WIDTH


def test_rows_made_from_the_number_of_the_step_are_written_at_once() -> None:
    def rows(x: Any) -> Any:
        step = lambda out, i: (out.at[i].set(x * i), None)  # noqa: E731
        return lax.scan(step, jnp.zeros((30, WIDTH)), jnp.arange(30))[0]

    assert stored(rows, X[0]) == 0
    (out,) = compile_function(rows, X[0])(X[0])
    np.testing.assert_array_equal(out, X[0] * np.arange(30, dtype=np.float32)[:, None])


@pytest.mark.parametrize(("kind", "masked"), [("set", 0), ("add", 1)])
def test_only_what_is_read_too_is_stored_under_masks(kind: str, masked: int) -> None:
    """Ragged rows: the last vector of one repeats elements, which must not be added twice."""
    x, u = np.zeros((40, 1003), np.float32), np.ones((90, 1003), np.float32)
    at = RNG.integers(0, 40, 90).astype(np.int32)
    program = compile_function(lambda x, i, u: getattr(jnp.asarray(x).at[i], kind)(u), x, at, u)
    assert program.module.text.count("call void @llvm.masked.store") == masked
    expected = np.bincount(at, minlength=40) if kind == "add" else np.isin(np.arange(40), at)
    np.testing.assert_array_equal(program(x, at, u)[0], np.tile(expected[:, None], 1003))


def test_updates_that_read_the_operand_see_it_as_it_was() -> None:
    def shifted(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: c.at[1:].set(c[:-1]), jnp.asarray(x))

    (out,) = compile_function(shifted, X)(X)
    expected = X.copy()
    for _ in range(3):
        expected[1:] = expected[:-1].copy()
    np.testing.assert_array_equal(out, expected)
