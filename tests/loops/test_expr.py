"""The algebra of indices against Python's integers."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from pullback.loops.expr import (
    Affine,
    Axis,
    Const,
    Expr,
    Op,
    affine,
    bounds,
    delinearize,
    index_max,
    index_min,
    linearize,
)


def evaluate(e: Expr, at: dict[Axis, int]) -> Any:
    """What an index is worth for values of the axes."""
    if isinstance(e, Axis):
        return at[e]
    if isinstance(e, Affine):
        return e.const + sum(k * evaluate(a, at) for a, k in e.terms.items())
    if isinstance(e, Const):
        return e.value
    assert isinstance(e, Op)
    x, *rest = [evaluate(a, at) for a in e.args]
    operations: dict[str, Any] = {
        "floordiv": lambda: x // e.attr,
        "mod": lambda: x % e.attr,
        "imin": lambda: min(x, *rest),
        "imax": lambda: max(x, *rest),
        "imul": lambda: x * rest[0],
        "lt": lambda: x < rest[0],
    }
    return operations[e.name]()


def grow(rng: random.Random, axes: list[Axis], steps: int) -> list[tuple[Affine, Any]]:
    """Random indices, each with a function of the axes' values that says what it should be."""
    pool: list[tuple[Affine, Any]] = [(affine(a), lambda at, a=a: at[a]) for a in axes]
    for _ in range(steps):
        pool.append(combined(rng, rng.choice(pool), rng.choice(pool)))
    return pool


def combined(rng: random.Random, x: tuple[Affine, Any], y: tuple[Affine, Any]) -> Any:
    """One more index from two others."""
    (i, f), (j, g) = x, y
    c = rng.randrange(1, 9)
    choices: list[tuple[Affine, Any]] = [
        (i + j, lambda at: f(at) + g(at)),
        (i - j, lambda at: f(at) - g(at)),
        (i * c, lambda at: f(at) * c),
        (i // c, lambda at: f(at) // c),
        (i % c, lambda at: f(at) % c),
        (index_min(i, c), lambda at: min(f(at), c)),
        (index_max(i, j), lambda at: max(f(at), g(at))),
    ]
    return rng.choice(choices)


@pytest.mark.parametrize("seed", range(40))
def test_simplified_indices_keep_their_value_and_their_bounds(seed: int) -> None:
    rng = random.Random(seed)
    axes = [Axis(rng.randrange(1, 7)) for _ in range(3)]
    pool = grow(rng, axes, 12)
    for values in itertools.product(*(range(a.extent or 1) for a in axes)):
        at = dict(zip(axes, values, strict=True))
        for index, expected in pool:
            assert evaluate(index, at) == expected(at)
            low, high = bounds(index)
            assert low <= expected(at) <= high


@pytest.mark.parametrize("seed", range(20))
def test_comparisons_decided_by_bounds_are_right(seed: int) -> None:
    rng = random.Random(seed)
    axes = [Axis(rng.randrange(1, 5)) for _ in range(2)]
    pool = grow(rng, axes, 6)
    (x, f), (y, g) = rng.choice(pool), rng.choice(pool)
    for values in itertools.product(*(range(a.extent or 1) for a in axes)):
        at = dict(zip(axes, values, strict=True))
        assert evaluate(x < y, at) == (f(at) < g(at))


@pytest.mark.parametrize("shape", [(8, 12), (4, 2, 12), (24, 4), (96,), (2, 2, 6, 4), (3, 32)])
def test_a_reshape_and_back_is_nothing(shape: tuple[int, ...]) -> None:
    i, j = Axis(8), Axis(12)
    flat = affine(i) * 12 + affine(j)
    if shape == (3, 32):  # mixes the axes
        return
    assert linearize(delinearize(flat, shape), shape) == flat


def test_quotients_and_remainders_of_merged_axes() -> None:
    i, j = Axis(8), Axis(12)
    flat = affine(i) * 12 + affine(j)
    assert flat // 12 == affine(i)
    assert flat % 12 == affine(j)
    assert (flat // 4) * 4 + flat % 4 == flat
    assert flat // 24 == affine(i) // 2


def test_truth_of_a_symbolic_comparison_is_refused() -> None:
    with pytest.raises(TypeError, match="not known"):
        bool(affine(Axis(4)) < 2)
