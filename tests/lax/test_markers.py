"""Markers, random bits by counters, ragged and scaled products, reductions by any function."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jax_numpy
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("algorithm", "shape", "dtype"),
    [(0, (5,), "uint32"), (0, (2, 3), "uint8"), (1, (5,), "uint32"), (1, (6,), "uint16")],
)
def test_bits_are_those_of_jax(algorithm: int, shape: Any, dtype: str) -> None:
    state = np.array([7, 9, 0xFFFFFFFF, 4], np.uint32)
    theirs = jax.lax.rng_bit_generator(
        jax_numpy.asarray(state), shape, dtype, jax.lax.RandomAlgorithm(algorithm)
    )
    for run in (lambda f: f, pb.jit):
        f = run(lambda s: lax.rng_bit_generator(s, shape, dtype, algorithm))
        for ours, want in zip(f(jnp.asarray(state)), theirs, strict=True):
            np.testing.assert_array_equal(ours, want)
            assert ours.dtype == want.dtype


def test_bits_of_states_in_lanes() -> None:
    states = RANDOM.integers(0, 2**32, (3, 4), np.uint32)
    f = lambda s: lax.rng_bit_generator(s, (5,))[1]  # noqa: E731
    np.testing.assert_array_equal(
        pb.vmap(f)(jnp.asarray(states)), np.stack([f(jnp.asarray(s)) for s in states])
    )
    with pytest.raises(TypeError, match=r"uint32\[4\]"):
        lax.rng_bit_generator(np.array([1, 2], np.uint32), (3,))


def test_uniform_numbers_from_the_state() -> None:
    f = pb.jit(lambda: lax.rng_uniform(2.0, 5.0, (2000,)))
    first, second = np.asarray(f()), np.asarray(f())
    assert (first != second).any()
    assert first.min() >= 2
    assert first.max() < 5
    assert abs(first.mean() - 3.5) < 0.15
    assert lax.rng_uniform(np.int32(3), np.int32(5), (50,)).dtype == np.int32
    with pytest.raises(ValueError, match="one dtype"):
        lax.rng_uniform(1.0, 2, (3,))


def test_sinks_are_kept() -> None:
    def f(x: Any) -> Any:
        lax.dce_sink({"a": jnp.sin(x), "b": jnp.cos(x)})
        return x + 1

    assert pb.jit(f)(1.0).item() == 2.0
    assert pb.grad(f)(1.0).item() == 1.0
    assert pb.vmap(f)(jnp.ones(2)).tolist() == [2.0, 2.0]
    text = str(pb.make_jaxpr(f)(1.0))
    assert "dce_sink[prevent_mlir_dce=False]" in text


def test_tokens() -> None:
    token = pb.jit(lambda x: lax.after_all(lax.create_token(x), lax.create_token()))(1.0)
    assert token.size == 0
    with pytest.raises(TypeError, match="token"):
        lax.after_all(1.0)


def test_dtype() -> None:
    for x in (3, 2.5, np.zeros(2), np.int8, "float32", bool, int):
        assert lax.dtype(x) == jax.lax.dtype(x)
    assert lax.dtype(jnp.ones(2, jnp.bfloat16)) == jnp.bfloat16
    for bad in ([1], None, object()):
        with pytest.raises(TypeError, match="Cannot determine dtype"):
            lax.dtype(bad)


# --------------------------------------------------------------------------- ragged products

B, M, K, N, G = 3, 4, 5, 2, 2
RAGGED = [
    # sizes, dot numbers, ragged axis, axes of groups, shape of rhs
    ([1, 2], (((2,), (2,)), ((0,), (1,))), 1, (0,), (G, B, K, N)),
    ([[1, 1], [2, 2], [0, 3]], (((2,), (2,)), ((0,), (1,))), 1, (0,), (G, B, K, N)),
    ([2, 2], (((2,), (1,)), ((0,), (0,))), 2, (), (B, K, N)),
    ([[2, 2], [1, 4], [0, 0]], (((2,), (1,)), ((0,), (0,))), 2, (), (B, K, N)),
    ([1, 2], (((2,), (1,)), ((0,), (0,))), 0, (), (B, K, N)),
]


@pytest.mark.parametrize("case", range(len(RAGGED)))
def test_ragged_products_are_those_of_jax(case: int) -> None:
    sizes, dot, ragged, groups, shape = RAGGED[case]
    x = RANDOM.standard_normal((B, M, K)).astype(np.float32)
    y = RANDOM.standard_normal(shape).astype(np.float32)
    counts = np.asarray(sizes, np.int32)
    ours = lax.RaggedDotDimensionNumbers(dot, (ragged,), groups)
    theirs = jax.lax.RaggedDotDimensionNumbers(dot, (ragged,), groups)
    want = jax.lax.ragged_dot_general(x, y, counts, theirs)
    np.testing.assert_allclose(
        lax.ragged_dot_general(x, y, counts, ours), want, rtol=1e-5, atol=1e-5
    )


def test_ragged_errors() -> None:
    x, y = np.ones((B, M, K), np.float32), np.ones((G, B, K, N), np.float32)
    dot = (((2,), (2,)), ((0,), (1,)))
    numbers = lax.RaggedDotDimensionNumbers(dot, (1, 2), (0,))
    with pytest.raises(TypeError, match="exactly one"):
        lax.ragged_dot_general(x, y, np.array([1, 1]), numbers)
    numbers = lax.RaggedDotDimensionNumbers(dot, (1,), (0,))
    with pytest.raises(TypeError, match="integers"):
        lax.ragged_dot_general(x, y, np.array([1.0, 1.0]), numbers)


def test_scaled_dot() -> None:
    x = RANDOM.standard_normal((2, 3, 8)).astype(np.float32)
    y = RANDOM.standard_normal((2, 8, 4)).astype(np.float32)
    s = RANDOM.uniform(0.5, 2, (2, 3, 2)).astype(np.float32)
    t = RANDOM.uniform(0.5, 2, (2, 4, 4)).astype(np.float32)
    got = lax.scaled_dot(x, y, lhs_scale=s, rhs_scale=t, preferred_element_type=np.float32)
    want = (x * s.repeat(4, 2)) @ (y * t.repeat(2, 1))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert lax.scaled_dot(x, y).dtype == jnp.bfloat16
    with pytest.raises(TypeError, match="divisible"):
        lax.scaled_dot(x, y, lhs_scale=s.repeat(2, 2)[..., :3])


# --------------------------------------------------------------------------- any function


def test_reduce_by_any_function() -> None:
    x = jnp.asarray(RANDOM.standard_normal((3, 7)).astype(np.float32))
    places = jnp.arange(21, dtype=jnp.int32).reshape(3, 7)

    def larger(a: Any, b: Any) -> Any:
        first = a[0] >= b[0]
        return jnp.where(first, a[0], b[0]), jnp.where(first, a[1], b[1])

    f = lambda v: lax.reduce((v, places), (-jnp.inf, jnp.int32(-1)), larger, (1,))  # noqa: E731
    for values, where in (f(x), pb.jit(f)(x)):
        np.testing.assert_array_equal(values, np.asarray(x).max(1))
        np.testing.assert_array_equal(where, np.asarray(x).argmax(1) + 7 * np.arange(3))
    assert "reduce[" in str(pb.make_jaxpr(f)(x))
    norm = lambda v: lax.reduce(v, 0.0, lambda a, b: jnp.sqrt(a * a + b * b), (0,)).sum()  # noqa: E731
    want = np.asarray(x) / np.linalg.norm(np.asarray(x), axis=0)
    np.testing.assert_allclose(pb.grad(norm)(x), want, rtol=1e-5, atol=1e-6)


def test_select_and_scatter_is_the_gradient_of_pooling() -> None:
    x = RANDOM.standard_normal((4, 5)).astype(np.float32)
    ct = RANDOM.standard_normal((3, 4)).astype(np.float32)

    def pooled(v: Any) -> Any:
        return lax.reduce_window(v, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID")

    (want,) = pb.vjp(pooled, jnp.asarray(x))[1](jnp.asarray(ct))
    scalars = (1.0, 1.0)
    got = lax.select_and_scatter_p.bind(
        jnp.asarray(x),
        jnp.asarray(ct),
        jnp.float32(0),
        select_jaxpr=pb.make_jaxpr(lambda a, b: a >= b)(*scalars),
        select_consts=(),
        scatter_jaxpr=pb.make_jaxpr(lambda a, b: a + b)(*scalars),
        scatter_consts=(),
        window_dimensions=(2, 2),
        window_strides=(1, 1),
        padding=((0, 0), (0, 0)),
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)


# --------------------------------------------------------------------------- narrow formats


def _rounded(x: np.ndarray[Any, Any], size: int, data: Any, scale: Any) -> Any:
    """Blocks rounded one by one, by NumPy and ml_dtypes."""
    out = np.empty_like(x)
    limit = float(jnp.finfo(data).max)
    for index in np.ndindex(*x.shape[:-1], x.shape[-1] // size):
        place = (*index[:-1], slice(index[-1] * size, (index[-1] + 1) * size))
        block = x[place]
        largest = np.abs(block).max()
        if scale.name == "float8_e8m0fnu":
            s = np.float32(2.0 ** (np.floor(np.log2(largest)) - np.floor(np.log2(limit))))
        else:
            s = np.float32(np.float32(largest / limit).astype(scale))
        out[place] = np.clip(block / s, -limit, limit).astype(data).astype(np.float32) * s
    return out


@pytest.mark.parametrize("mode", ["mxfp8", "nvfp4"])
def test_scaled_dot_general(mode: Any) -> None:
    config = pb.nn.get_scaled_dot_general_config(mode)
    x = RANDOM.standard_normal((2, 3, 64)).astype(np.float32)
    y = RANDOM.standard_normal((2, 64, 4)).astype(np.float32)
    numbers = (((2,), (1,)), ((0,), (0,)))
    f = lambda a, b: pb.nn.scaled_dot_general(a, b, numbers, configs=[config] * 3)  # noqa: E731
    formats = config.block_size, np.dtype(config.data_type), np.dtype(config.scale_type)
    left, right = _rounded(x, *formats), _rounded(y.swapaxes(1, 2).copy(), *formats)
    want = np.einsum("bmk,bnk->bmn", left, right)
    np.testing.assert_allclose(f(x, y), want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pb.jit(f)(x, y), want, rtol=1e-5, atol=1e-5)
    exact = np.einsum("bmn,bkn->bmk", np.ones((2, 3, 4), np.float32), y)
    gradient = pb.grad(lambda a: f(a, y).sum())(x)
    assert np.abs(gradient - exact).max() < (0.6 if mode == "mxfp8" else 1.5)
    with pytest.raises(ValueError, match="Unsupported mode"):
        pb.nn.get_scaled_dot_general_config("int3")


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn"])
def test_six_bit_floats(name: str) -> None:
    dtype = getattr(jnp, name)
    values = np.linspace(-9, 9, 101, dtype=np.float32)
    want = values.astype(np.dtype(dtype)).astype(np.float32)
    f = lambda v: v.astype(dtype).astype(jnp.float32)  # noqa: E731
    np.testing.assert_array_equal(f(jnp.asarray(values)), want)
    np.testing.assert_array_equal(pb.jit(f)(values), want)


def test_ragged_all_to_all() -> None:
    """Against a loop over senders and receivers."""
    lanes, rows = 3, 6
    x = RANDOM.standard_normal((lanes, rows, 2)).astype(np.float32)
    sizes = RANDOM.integers(0, 3, (lanes, lanes))
    sizes[:, -1] = 0
    starts = np.cumsum(sizes, 1) - sizes
    places = np.cumsum(sizes, 0) - sizes  # where the rows of lane i begin at lane j
    want = np.full((lanes, rows, 2), -1, np.float32)
    for i in range(lanes):
        for j in range(lanes):
            block = x[i, starts[i, j] : starts[i, j] + sizes[i, j]]
            want[j, places[i, j] : places[i, j] + sizes[i, j]] = block

    def send(*args: Any) -> Any:
        return lax.ragged_all_to_all(*args, axis_name="i")

    mapped = pb.vmap(send, axis_name="i")
    args = (x, np.full_like(x, -1), starts, sizes, places, sizes.T)
    args = tuple(map(jnp.asarray, args))
    np.testing.assert_array_equal(mapped(*args), want)
    np.testing.assert_array_equal(pb.jit(mapped)(*args), want)
    gradient = pb.grad(lambda v: mapped(v, *args[1:]).sum())(args[0])
    assert gradient.sum().item() == 2 * sizes.sum()
