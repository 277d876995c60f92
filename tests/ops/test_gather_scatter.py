"""gather and scatter of random axis numbers agree with JAX: values, derivatives and batching."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

import pullback
from pullback import lax

KINDS = ("scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max")


@dataclass
class Case:
    """A random gather, and the scatter that mirrors it."""

    x: Any
    indices: Any
    updates: Any
    numbers: tuple[Any, ...]
    sizes: tuple[int, ...]
    mode: str

    def gather(self, lax: Any, x: Any, indices: Any) -> Any:
        """Read the windows."""
        numbers = lax.GatherDimensionNumbers(*self.numbers)
        mode = "fill" if self.mode == "drop" else self.mode
        return lax.gather(x, indices, numbers, self.sizes, mode=mode, fill_value=-1)

    def scatter(self, lax: Any, kind: str, x: Any, indices: Any, updates: Any) -> Any:
        """Write the windows."""
        numbers = lax.ScatterDimensionNumbers(*self.numbers)
        return getattr(lax, kind)(x, indices, updates, numbers, mode=self.mode)

    def every(self, lax: Any, x: Any, indices: Any, updates: Any) -> list[Any]:
        """Read the windows, and write them in each way."""
        scattered = [self.scatter(lax, kind, x, indices, updates) for kind in KINDS]
        return [self.gather(lax, x, indices), *scattered]


def draw(seed: int) -> Case:
    """Random shapes, axis numbers and positions, some of them outside."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(2, 5, rank))
    order = [int(k) for k in rng.permutation(rank)]
    batching = sorted(order[: rng.integers(0, rank)])
    rest = [k for k in order if k not in batching]
    # XLA applies only the last update where positions have no entry at all: one at least.
    indexed = rest[: rng.integers(1, len(rest) + 1)]
    collapsed = sorted(k for k in rest if rng.random() < 0.4)
    dropped = (*batching, *collapsed)
    sizes = tuple(1 if k in dropped else int(rng.integers(1, n + 1)) for k, n in enumerate(shape))
    batch = [shape[k] for k in batching] + [int(n) for n in rng.integers(1, 4, rng.integers(0, 3))]
    places = [int(d) for d in rng.permutation(len(batch))]
    indices_shape = [0] * len(batch)
    for n, d in zip(batch, places, strict=True):
        indices_shape[d] = n
    indices = rng.integers(-1, 5, (*indices_shape, len(indexed))).astype(np.int32)
    kept = [m for k, m in enumerate(sizes) if k not in dropped]
    windows_rank = len(kept) + len(batch)
    offsets = tuple(sorted(int(d) for d in rng.permutation(windows_rank)[: len(kept)]))
    window, outer = iter(kept), iter(indices_shape)
    updates_shape = [next(window) if d in offsets else next(outer) for d in range(windows_rank)]
    steps = (tuple(batching), tuple(places[: len(batching)]))
    return Case(
        rng.standard_normal(shape).astype(np.float32),
        indices,
        rng.standard_normal(updates_shape).astype(np.float32),
        (offsets, tuple(collapsed), tuple(indexed), *steps),
        sizes,
        str(rng.choice(["clip", "drop"])),
    )


def close(ours: Any, theirs: Any) -> None:
    """Trees of equal arrays, but for the order of sums."""
    for a, b in zip(pullback.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("seed", range(60))
def test_values(seed: int) -> None:
    case = draw(seed)
    operands = case.x, case.indices, case.updates
    ours, theirs = case.every(lax, *operands), jax.jit(partial(case.every, jax.lax))(*operands)
    close(ours, theirs)
    if seed < 12:
        close(pullback.jit(partial(case.every, lax))(*operands), theirs)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["scatter", "scatter_add", "scatter_min", "scatter_max"])
def test_gradients(kind: str, seed: int) -> None:
    case = draw(seed)
    if kind in ("scatter_min", "scatter_max"):
        case.mode = "drop"  # with "clip" JAX's own gradients are infinite where windows move

    def loss(library: Any, x: Any, updates: Any) -> Any:
        y = case.scatter(library.lax, kind, x, case.indices, updates)
        z = case.gather(library.lax, y, case.indices)
        return (z * z).sum() + (y * y * y).sum()

    ours = pullback.grad(partial(loss, pullback), (0, 1))(case.x, case.updates)
    theirs = jax.jit(jax.grad(partial(loss, jax), (0, 1)))(case.x, case.updates)
    close(ours, theirs)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("axes", [(0, None, None), (None, 1, None), (None, None, 0), (1, 0, 1)])
def test_batching(axes: tuple[int | None, ...], seed: int) -> None:
    case = draw(seed)
    rng = np.random.default_rng(seed)
    operands = [
        x if d is None else np.stack([x, np.roll(x, 1), rng.permuted(x)], min(d, x.ndim))
        for x, d in zip((case.x, case.indices, case.updates), axes, strict=True)
    ]
    axes = tuple(
        None if d is None else min(d, x.ndim - 1) for x, d in zip(operands, axes, strict=True)
    )

    def mapped(library: Any, *operands: Any) -> list[Any]:
        def scatter(*operands: Any) -> list[Any]:
            return [case.scatter(library.lax, kind, *operands) for kind in KINDS[:2]]

        results = [library.vmap(scatter, axes)(*operands)]
        if axes[:2] != (None, None):
            gather = library.vmap(partial(case.gather, library.lax), axes[:2])
            results.append(gather(*operands[:2]))
        return results

    close(mapped(pullback, *operands), jax.jit(partial(mapped, jax))(*operands))


def test_scatter_mul_gradients_need_unique_indices() -> None:
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    indices = np.array([[0], [2]])

    def product(unique: bool) -> Any:
        return lambda u: lax.scatter_mul(
            np.ones(3, np.float32) * 3, indices, u, numbers, unique_indices=unique
        ).sum()

    gradient = pullback.grad(product(True))(np.ones(2, np.float32))
    np.testing.assert_allclose(np.asarray(gradient), [3, 3])
    with pytest.raises(NotImplementedError, match="unique_indices"):
        pullback.grad(product(False))(np.ones(2, np.float32))


def test_the_last_update_wins_and_takes_the_gradient() -> None:
    numbers = lax.ScatterDimensionNumbers((), (0,), (0,))
    indices = np.array([[1], [1], [0]])

    def write(u: Any) -> Any:
        return lax.scatter(np.zeros(3, np.float32), indices, u, numbers)

    u = np.array([5.0, 6.0, 7.0], np.float32)
    np.testing.assert_array_equal(np.asarray(write(u)), [7, 6, 0])
    jacobian = pullback.jacobian(write)(u)
    np.testing.assert_array_equal(np.asarray(jacobian), [[0, 0, 1], [0, 1, 0], [0, 0, 0]])
