"""Reductions, running reductions, windows at their edges: ties, zeros, paddings, any function."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback
from pullback import lax

F32 = np.float32
RNG = np.random.default_rng(3)


def _same(got: Any, want: Any, rtol: float = 2e-5) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol, rtol)


def _total(module: Any, f: Any) -> Any:
    """The sum of the cosines of what `f` gives, to have a scalar whose gradient shows all."""

    def scalar(x: Any) -> Any:
        out = module.cos(f(x))
        return module.reduce_sum(out, tuple(range(out.ndim)))

    return scalar


def _gradients_agree(f: Any, x: Any, rtol: float = 2e-5) -> None:
    got = pullback.grad(_total(lax, lambda v: f(lax, v)))(x)
    _same(got, jax.jit(jax.grad(_total(jax.lax, lambda v: f(jax.lax, v))))(x), rtol)


# --------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_gradient_is_shared_by_ties(name: str) -> None:
    x = np.array([[1, 3, 3], [2, 2, 2], [0, -1, 5]], F32)
    for axes in ((0,), (1,), (0, 1)):
        _gradients_agree(lambda m, v, a=axes: getattr(m, name)(v, a), x)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradient_of_products_with_zeros(zeros: int) -> None:
    x = RNG.uniform(0.5, 1.5, (2, 5)).astype(F32)
    x[:, :zeros] = 0
    _gradients_agree(lambda m, v: m.reduce_prod(v, (1,)), x)
    _gradients_agree(lambda m, v: m.reduce_prod(v, (0, 1)), x)
    _gradients_agree(lambda m, v: m.cumprod(v, 1), x)
    _gradients_agree(lambda m, v: m.cumprod(v, 0, True), x)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_running_reductions(name: str, reverse: bool) -> None:
    x = RNG.uniform(-2, 2, (3, 7)).astype(F32)
    for axis in (0, 1):
        _gradients_agree(lambda m, v, a=axis: getattr(m, name)(v, a, reverse), x, 1e-4)


def test_running_logsumexp_of_nothing_yet() -> None:
    x = np.array([-np.inf, -np.inf, 0.5, 1.0], F32)
    _same(lax.cumlogsumexp(x), jax.lax.cumlogsumexp(x))


def test_second_derivative_of_a_product() -> None:
    x = np.array([0.0, 2.0, 3.0], F32)
    f = lambda m: lambda v: m.reduce_prod(v, (0,))  # noqa: E731
    _same(pullback.jacfwd(pullback.grad(f(lax)))(x), jax.jit(jax.jacfwd(jax.grad(f(jax.lax))))(x))


# --------------------------------------------------------------------------- values


def test_narrow_floats_are_summed_in_float32() -> None:
    x = np.ones(1000, jnp.bfloat16)
    assert float(lax.reduce_sum(x, (0,))) == 1000.0


def test_empty_reductions_give_the_identity() -> None:
    x = np.ones((0, 2), F32)
    for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        _same(getattr(lax, name)(x, (0,)), getattr(jax.lax, name)(x, (0,)))
    with pytest.raises(ValueError, match="empty axis"):
        lax.argmax(x, 0, "int32")


def test_positions_prefer_the_first_and_nan() -> None:
    x = np.array([[1, 3, 3, 2], [2, np.nan, 5, np.nan]], F32)
    for name in ("argmax", "argmin"):
        got, want = getattr(lax, name)(x, 1, np.int32), getattr(jax.lax, name)(x, 1, np.int32)
        assert got.tolist() == want.tolist()


# --------------------------------------------------------------------------- any computation


@pytest.mark.parametrize("name", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("init", [0.0, 1.0, -np.inf])
def test_reduce_by_a_known_function(name: str, init: float) -> None:
    x = RNG.uniform(0.5, 2, (3, 4)).astype(F32)
    got = lax.reduce(x, F32(init), getattr(lax, name), (0,))
    _same(got, jax.lax.reduce(x, F32(init), getattr(jax.lax, name), (0,)))


def test_reduce_by_any_function() -> None:
    x = RNG.uniform(0.5, 2, (5, 3, 2)).astype(F32)

    def hypot(m: Any) -> Any:
        return lambda a, b: m.sqrt(m.add(m.square(a), m.square(b)))

    got = lax.reduce(x, F32(0), hypot(lax), (0, 2))
    _same(got, jax.lax.reduce(x, F32(0), hypot(jax.lax), (0, 2)))
    _gradients_agree(lambda m, v: m.reduce(v, F32(0), hypot(m), (0, 2)), x)


def test_reduce_several_operands_together() -> None:
    x, places = RNG.permutation(12).astype(F32), np.arange(12, dtype=np.int32)

    def best(m: Any) -> Any:
        def combine(a: Any, b: Any) -> Any:
            take = m.ge(a[0], b[0])
            return m.select(take, a[0], b[0]), m.select(take, a[1], b[1])

        return combine

    inits = (F32(-np.inf), np.int32(-1))
    got = lax.reduce((x, places), inits, best(lax), (0,))
    want = jax.lax.reduce((x, places), inits, best(jax.lax), (0,))
    assert [float(g) for g in got] == [float(w) for w in want]


# --------------------------------------------------------------------------- windows

WINDOWS = [
    {"window_dimensions": (2, 2), "window_strides": (1, 1), "padding": "VALID"},
    {"window_dimensions": (3, 2), "window_strides": (2, 3), "padding": "SAME"},
    {"window_dimensions": (2, 3), "window_strides": (1, 2), "padding": ((1, 0), (2, 1))},
    {
        "window_dimensions": (2, 2),
        "window_strides": (2, 1),
        "padding": ((1, 1), (0, 2)),
        "base_dilation": (2, 1),
        "window_dilation": (1, 2),
    },
]


@pytest.mark.parametrize("geometry", WINDOWS)
@pytest.mark.parametrize(("name", "init"), [("add", 0.0), ("max", -np.inf), ("min", np.inf)])
def test_windows(name: str, init: float, geometry: dict[str, Any]) -> None:
    x = RNG.permutation(35).reshape(5, 7).astype(F32)

    def f(m: Any, v: Any) -> Any:
        return m.reduce_window(v, init, getattr(m, name), **geometry)

    _same(f(lax, x), f(jax.lax, x))
    if name == "add" or "base_dilation" not in geometry:
        _gradients_agree(f, x)


@pytest.mark.parametrize("geometry", WINDOWS)
def test_windows_of_any_function(geometry: dict[str, Any]) -> None:
    x = RNG.uniform(0.5, 1.5, (5, 7)).astype(F32)
    got = lax.reduce_window(x, F32(1), lax.mul, **geometry)
    _same(got, jax.lax.reduce_window(x, F32(1), jax.lax.mul, **geometry))


def test_shape_of_windows() -> None:
    x = np.ones((8, 5), F32)
    for padding in ("VALID", "SAME", "SAME_LOWER"):
        geometry: tuple[Any, ...] = ((3, 2), (2, 1), padding)
        shape = jax.lax.reduce_window(x, 0.0, jax.lax.add, *geometry).shape
        assert lax.reduce_window_shape_tuple((8, 5), *geometry) == shape


def test_max_pooling_under_vmap_of_grad() -> None:
    x = RNG.permutation(2 * 16).reshape(2, 4, 4).astype(F32)

    def f(m: Any) -> Any:
        pool = lambda v: m.reduce_window(v, -np.inf, m.max, (2, 2), (2, 2), "VALID")  # noqa: E731
        return _total(m, pool)

    got = pullback.vmap(pullback.grad(f(lax)))(x)
    _same(got, jax.jit(jax.vmap(jax.grad(f(jax.lax))))(x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("size", [127, 200, 512, 4000, 9001])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_in_long_rows(name: str, size: int, dtype: str) -> None:
    """Rows short enough for two sweeps, and longer ones: ties, zeros, NaN, infinities."""
    rng = np.random.default_rng(size)
    x = rng.integers(-3, 4, (9, size)).astype(dtype)
    if x.dtype.kind == "f":
        x[1] = -np.inf
        x[2] = np.inf
        x[3, [50, 100]] = np.nan
        x[4] = np.nan
        x[5] = np.where(np.arange(size) % 2, -0.0, 0.0)
        x[6, 77] = -np.nan
    else:
        x[1], x[2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    with pullback.enable_x64():
        found = pullback.jit(lambda x: getattr(pullback.numpy, name)(x, axis=1))(x)
    assert np.array_equal(np.asarray(found), getattr(np, name)(x, axis=1))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(64, 7), (16, 33), (3, 32, 5), (128, 1), (15, 9), (2, 4)])
def test_cumlogsumexp_of_rows(shape: tuple[int, ...], reverse: bool) -> None:
    """Rows beside each other in lanes, or one by one where there are few."""
    x = np.random.default_rng(0).normal(scale=4, size=shape).astype(np.float32)
    x[0, ..., 0] = -np.inf
    axis = len(shape) - 1
    found = pullback.jit(lambda x: lax.cumlogsumexp(x, axis=axis, reverse=reverse))(x)
    ordered = np.flip(x, -1) if reverse else x
    expected = np.logaddexp.accumulate(ordered.astype(np.float64), axis=-1)
    expected = np.flip(expected, -1) if reverse else expected
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_lanes_of_cumlogsumexp_are_rows() -> None:
    """Steps of several rows are one loop: their exponentials are those of vectors."""
    x = pullback.ShapeDtypeStruct((64, 100), "float32")
    loops = pullback.jit(lambda x: lax.cumlogsumexp(x, axis=1)).lower(x)
    memory = loops.compile().memory_analysis()
    assert memory.temp_size_in_bytes >= 2 * x.size * 4  # rows beside each other
