"""`pullback.nn` against `jax.nn`: values, dtypes, derivatives, initial values bit for bit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jax_numpy
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import nn, random

ELEMENT_WISE = [
    "celu",
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "swish",
    "tanh",
]
POINTS = np.array([-100, -6.5, -3, -1, -0.3, -0.0, 0, 0.2, 1, 2.5, 3, 6, 7, 100], np.float32)
ROWS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
MASK = np.random.default_rng(1).random((3, 5, 4)) < 0.7


def agree(actual: Any, expected: Any, tol: float = 2e-6) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if actual.dtype.itemsize == 2:
        actual, expected, tol = actual.astype(np.float32), expected.astype(np.float32), 1e-2
    np.testing.assert_allclose(actual, expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("name", ELEMENT_WISE)
def test_values_of_activations(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    agree(ours(jnp.asarray(POINTS)), theirs(POINTS))
    for dtype in ("float16", "bfloat16"):
        moderate = POINTS[1:-1].astype(jax_numpy.dtype(dtype))
        agree(ours(jnp.asarray(moderate)), theirs(moderate))


@pytest.mark.parametrize("name", ELEMENT_WISE)
def test_derivatives_of_activations(name: str) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    agree(pb.vmap(pb.grad(ours))(jnp.asarray(POINTS)), jax.vmap(jax.grad(theirs))(POINTS), 1e-5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # from JAX itself
def test_integers_become_floats_as_in_jax() -> None:
    x = np.array([-2, 0, 3], np.int32)
    for name in ("relu", "gelu", "softplus", "elu", "hard_tanh", "softmax", "log_softmax"):
        agree(getattr(nn, name)(jnp.asarray(x)), getattr(jax.nn, name)(x))


def test_relu_is_flat_at_zero() -> None:
    assert float(pb.grad(nn.relu)(0.0)) == 0.0
    assert float(pb.grad(nn.relu6)(6.0)) == 0.0


def test_parameters_of_activations() -> None:
    x, theirs = jnp.asarray(POINTS), jax.nn
    agree(nn.gelu(x, approximate=False), theirs.gelu(POINTS, approximate=False))
    agree(nn.leaky_relu(x, 0.3), theirs.leaky_relu(POINTS, 0.3))
    agree(nn.elu(x, 0.5), theirs.elu(POINTS, 0.5))
    agree(nn.celu(x, 0.5), theirs.celu(POINTS, 0.5))
    agree(nn.squareplus(x, 1.0), theirs.squareplus(POINTS, 1.0))
    agree(nn.glu(jnp.asarray(ROWS), -1), theirs.glu(ROWS, -1))
    agree(nn.log1mexp(jnp.asarray(POINTS[7:])), theirs.log1mexp(POINTS[7:]))
    agree(pb.grad(nn.log1mexp)(0.3), jax.grad(theirs.log1mexp)(0.3))
    with pytest.raises(ValueError, match="even"):
        nn.glu(jnp.ones(3))


@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "logsumexp", "logmeanexp", "standardize"]
)
@pytest.mark.parametrize("axis", [-1, 0, (0, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_over_axes(name: str, axis: Any, masked: bool) -> None:
    ours, theirs = getattr(nn, name), getattr(jax.nn, name)
    where = {"where": MASK} if masked else {}
    tol = 1e-2 if name == "standardize" else 1e-5  # few elements are left: small variances
    agree(ours(jnp.asarray(ROWS), axis, **where), theirs(ROWS, axis, **where), tol)
    if not masked:
        ours_grad = pb.grad(lambda x: (ours(x, axis) ** 2).sum())(jnp.asarray(ROWS))
        agree(ours_grad, jax.grad(lambda x: (theirs(x, axis) ** 2).sum())(ROWS), 1e-4)


def test_logsumexp_in_full() -> None:
    a, b = ROWS[0], ROWS[1]
    agree(nn.logsumexp(jnp.asarray(a)), jax.nn.logsumexp(a))
    agree(
        nn.logsumexp(jnp.asarray(a) * 1000, 0, keepdims=True),
        jax.nn.logsumexp(a * 1000, 0, keepdims=True),
    )
    ours = nn.logsumexp(jnp.asarray(a), 0, b=jnp.asarray(b), return_sign=True)
    theirs = jax.nn.logsumexp(a, 0, b=b, return_sign=True)
    agree(ours[0], theirs[0], 1e-5)
    agree(ours[1], theirs[1])
    agree(nn.logsumexp(jnp.full(3, -jnp.inf)), jax.nn.logsumexp(np.full(3, -np.inf, np.float32)))
    agree(nn.logsumexp(jnp.asarray(a), b=-1.0), jax.nn.logsumexp(a, b=-1.0))
    agree(
        nn.softmax(jnp.array([1e4, 0.0, -1e4])),
        jax.nn.softmax(np.array([1e4, 0, -1e4], np.float32)),
    )


def test_one_hot() -> None:
    x = np.array([[0, 2], [3, -1]], np.int32)
    for axis in (-1, 0, 1):
        agree(nn.one_hot(jnp.asarray(x), 3, axis=axis), jax.nn.one_hot(x, 3, axis=axis))
    agree(nn.one_hot(jnp.asarray(x), 3, dtype=jnp.int8), jax.nn.one_hot(x, 3, dtype=np.int8))
    agree(nn.one_hot(2, 4), jax.nn.one_hot(2, 4))


def test_standardize_with_given_moments() -> None:
    x = jnp.asarray(ROWS)
    agree(
        nn.standardize(x, mean=0.5, variance=2.0), jax.nn.standardize(ROWS, mean=0.5, variance=2.0)
    )


@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3, "local_window_size": (1, 2)},
        {"local_window_size": 2},
        {"query_seq_lengths": np.array([2, 5], np.int32)},
        {"key_value_seq_lengths": np.array([7, 3], np.int32)},
        {"return_residual": True},
    ],
)
def test_attention(heads: int, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    q = rng.normal(size=(2, 5, 4, 8)).astype(np.float32)
    k = rng.normal(size=(2, 7, heads, 8)).astype(np.float32)
    v = rng.normal(size=(2, 7, heads, 8)).astype(np.float32)
    bias = rng.normal(size=(2, 4, 5, 7)).astype(np.float32)
    mask = rng.random((1, 1, 5, 7)) < 0.8
    for extra in ({}, {"bias": bias}, {"mask": mask}):
        ours = nn.dot_product_attention(*map(jnp.asarray, (q, k, v)), **options, **extra)
        theirs = jax.nn.dot_product_attention(q, k, v, **options, **extra)
        for a, b in zip(
            ours if isinstance(ours, tuple) else [ours],
            theirs if isinstance(theirs, tuple) else [theirs],
            strict=True,
        ):
            agree(a, b, 1e-5)


def test_attention_without_batch_and_errors() -> None:
    q = np.random.default_rng(3).normal(size=(5, 4, 8)).astype(np.float32)
    x = jnp.asarray(q)
    agree(nn.dot_product_attention(x, x, x), jax.nn.dot_product_attention(q, q, q), 1e-5)
    with pytest.raises(ValueError, match=r"\(1, 5, 4, 8\)"):
        nn.dot_product_attention(x, x[:, :, :4], x[:, :, :4])


INITIALIZERS = [
    "normal",
    "uniform",
    "truncated_normal",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "xavier_normal",
    "kaiming_uniform",
]


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initial_values(name: str) -> None:
    shape = (3, 3, 4, 6)
    ours = getattr(nn.initializers, name)()(random.key(3), shape)
    theirs = getattr(jax.nn.initializers, name)()(jax.random.key(3), shape)
    agree(ours, theirs, 1e-6)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_variance_scaling(mode: str, distribution: str, dtype: str) -> None:
    args = (0.7, mode, distribution, 1, 0, (2,))
    ours = nn.initializers.variance_scaling(*args)(random.key(1), (4, 6, 5), dtype)
    theirs = jax.nn.initializers.variance_scaling(*args)(jax.random.key(1), (4, 6, 5), dtype)
    agree(ours, theirs, 1e-5)


def test_plain_initial_values() -> None:
    agree(nn.initializers.constant(3)(None, (2,)), jax.nn.initializers.constant(3)(None, (2,)))
    agree(
        nn.initializers.zeros(None, (2,), jnp.int32), jax.nn.initializers.zeros(None, (2,), "int32")
    )
    agree(nn.initializers.ones(None, (2,)), jax.nn.initializers.ones(None, (2,)))
    with pytest.raises(ValueError, match="2D"):
        nn.initializers.he_normal()(random.key(0), (3,))
    with pytest.raises(ValueError, match="mode"):
        nn.initializers.variance_scaling(1.0, "fan", "normal")(random.key(0), (3, 3))
    with pytest.raises(ValueError, match="distribution"):
        nn.initializers.variance_scaling(1.0, "fan_in", "cauchy")(random.key(0), (3, 3))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (3, 3, 2, 4)])
@pytest.mark.parametrize("column_axis", [-1, 0])
def test_orthogonal(shape: tuple[int, ...], column_axis: int) -> None:
    ours = nn.initializers.orthogonal(1.5, column_axis)(random.key(2), shape)
    theirs = jax.nn.initializers.orthogonal(1.5, column_axis)(jax.random.key(2), shape)
    agree(ours, theirs, 1e-5)


def test_delta_orthogonal() -> None:
    for shape in ((3, 2, 4), (3, 4, 2, 4)):
        ours = nn.initializers.delta_orthogonal()(random.key(2), shape)
        theirs = jax.nn.initializers.delta_orthogonal()(jax.random.key(2), shape)
        agree(ours, theirs, 1e-5)
    with pytest.raises(ValueError, match="fan_in"):
        nn.initializers.delta_orthogonal()(random.key(2), (3, 4, 2))
