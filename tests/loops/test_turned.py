"""Arrays that are turned are read where they are, by nests cut in few pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.loops.expr import Op
from pullback.loops.ir import Copy, Store, expressions, subexpressions, walk
from tests.loops.harness import compile_function

X = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)


def neighbours(x: Any) -> Any:
    return sum(jnp.roll(x, s, a) for s in (1, -1) for a in (0, 1)) - 4.0 * x


def flux(x: Any) -> Any:
    across = jnp.roll(x, -1, 1) - x
    return across[:, 1:] - across[:, :-1] + jnp.roll(across, 2, 1)[:, 1:]


def stored_behind(x: Any) -> Any:
    # What is read both ways is stored before its readers, all of which come at one position.
    h = x * jnp.roll(x, 1, 0) + jnp.sin(x)
    k = 0.5 * (jnp.roll(h, -1, 0) - jnp.roll(h, 1, 0)) + neighbours(h)
    return h + 0.1 * (jnp.roll(k, 1, 1) - k[::-1]), k


def random_beside(x: Any) -> Any:
    return jnp.where(pb.random.uniform(pb.random.key(0), x.shape) < 0.5, neighbours(x), x)


def high_order(x: Any) -> Any:
    return sum(c * (jnp.roll(x, -c, 0) - jnp.roll(x, c, 0)) for c in range(1, 7))


PROGRAMS: list[Callable[[Any], Any]] = [
    neighbours,
    flux,
    stored_behind,
    random_beside,
    high_order,
    lambda x: jnp.roll(jnp.roll(x, 1, 0), (1, 1), (0, 1)),
    lambda x: (x * jnp.roll(x, 1, 1)).sum(1),
    lambda x: jnp.roll(x, 3, 1).T @ x,
    lambda x: jnp.roll(x, 7).reshape(30, 40)[::-1],
    lambda x: jnp.pad(jnp.roll(x, 1, 0), 2) + jnp.pad(jnp.roll(x, 1, 1), 2),
    lambda x: jnp.roll(x + 1j * x, 2, 0) * (1 + x),
    lambda x: jnp.stack([jnp.roll(x, 1, 0), jnp.roll(x, 1, 1), x])[::-1],
    lambda x: jnp.roll(x, 1, 0)[jnp.arange(5) * 7 % 40],
    lambda x: jnp.roll(x[:, 0], 1)[:, None] * x + jnp.roll(x[0], 1),
    lambda x: lax.fori_loop(0, 4, lambda i, c: c + 0.1 * neighbours(c), x),
    lambda x: lax.scan(lambda c, r: (jnp.roll(c, 1) + r, jnp.roll(c, 1) * c), x[0], x),
    lambda x: pb.vmap(pb.grad(lambda v: (jnp.roll(v, 1) * jnp.sin(v)).sum()))(x),
]


@pytest.mark.parametrize("k", range(len(PROGRAMS)))
@pytest.mark.parametrize("shape", [(40, 30), (3, 400), (64, 64)], ids=str)
def test_compiled_as_evaluated(k: int, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    if k in (8, 12):
        x = X
    got = pb.tree.leaves(pb.jit(PROGRAMS[k])(x))
    with pb.disable_jit():
        want = pb.tree.leaves(PROGRAMS[k](jnp.asarray(x)))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_neighbours_are_not_stored() -> None:
    program = compile_function(neighbours, X).program
    assert program.arena_bytes == 0
    assert not any(isinstance(s, Copy) for s in walk(program.body))
    assert sum(isinstance(s, Store) for s in walk(program.body)) <= 9


def test_expensive_work_is_compiled_once() -> None:
    """It is in no nest that is cut, though what it makes is used there."""

    def shifts(fun: Callable[[Any], Any]) -> int:
        seen: set[int] = set()
        found = [
            e
            for s in walk(compile_function(fun, X).program.body)
            for e in subexpressions(list(expressions(s)), seen)
            if type(e) is Op and e.name == "shl"
        ]
        return len(found)

    alone = shifts(lambda x: jnp.where(pb.random.uniform(pb.random.key(0), x.shape) < 0.5, 0.0, x))
    assert 0 < shifts(random_beside) <= alone


def test_no_more_pieces_than_neighbours() -> None:
    x = np.zeros((20, 20, 20), np.float32)
    around = lambda x: sum(jnp.roll(x, s, a) for s in (1, -1) for a in range(3))  # noqa: E731
    program = compile_function(around, x).program
    results = [
        s for s in walk(program.body) if isinstance(s, Store) and s.buffer.root().kind == "out"
    ]
    assert len(results) <= 9


def _values(fun: Callable[[Any], Any], x: Any) -> list[Any]:
    body = compile_function(fun, x).program.body
    return list(subexpressions([e for s in walk(body) for e in expressions(s)]))


def test_opposite_edges_share_their_code() -> None:
    program = compile_function(neighbours, X).program
    assert sum(isinstance(s, Store) for s in walk(program.body)) <= 4  # of nine pieces


@pytest.mark.parametrize("shape", [(2000,), (40, 60)], ids=str)
def test_no_condition_is_left_in_a_loop(shape: tuple[int, ...]) -> None:
    """A sum does not join a nest that is cut, and a nest is not cut more often than it can be."""
    x = np.zeros(shape, np.float32)
    summed = lambda x: (jnp.maximum(x, jnp.roll(x, 1, 0)), jnp.maximum(x, jnp.roll(x, 1, 0)).sum())  # noqa: E731
    for fun in (summed, high_order):
        assert not [e for e in _values(fun, x) if type(e) is Op and e.name == "select"]


def test_small_arrays_are_stored() -> None:
    x = np.zeros((20, 20), np.float32)
    assert not [e for e in _values(neighbours, x) if type(e) is Op and e.name == "select"]


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_turned_integers_are_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(11, 40, 2 + seed % 2))
    turns = [
        (int(s), int(a))
        for s, a in zip(rng.integers(-50, 50, 4), rng.integers(0, len(shape), 4), strict=True)
    ]
    x = rng.integers(-99, 99, shape).astype(np.int32)

    def both(xp: Any, x: Any) -> Any:
        y = x
        for s, a in turns:
            y = xp.roll(y, s, a) - 3 * xp.roll(x, -s, a) + xp.roll(x, 1, a)
        return y

    np.testing.assert_array_equal(pb.jit(lambda x: both(jnp, x))(x), both(np, x))
