"""Sparse Jacobians and Hessians against dense ones; patterns against what really depends."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.experimental import sparse
from pullback.experimental.sparse.coloring import column_colors, star_colors

RNG = np.random.default_rng(0)
BAND = np.triu(np.tril(RNG.normal(size=(12, 12)), 1), -1).astype(np.float32)


def laplace(x: Any) -> Any:
    return jnp.pad(x, 1)[2:] - 2 * x + jnp.pad(x, 1)[:-2] + jnp.exp(x)


def blocks(x: Any) -> Any:
    return jnp.sin(x.reshape(4, 3)).sum(1) * x[:4]


def stepping(x: Any) -> Any:
    def step(c: Any, row: Any) -> Any:
        return c * 0.5, row[0] * row[1] + c

    return lax.scan(step, 1.0, x.reshape(6, 2))[1]


@pb.custom_jvp
def squared(x: Any) -> Any:
    return x**2


squared.defjvps(lambda t, ans, x: 2 * x * t)

FUNCTIONS: dict[str, tuple[Any, int | None]] = {
    "element-wise": (lambda x: jnp.tanh(x) * jnp.arange(12) + 1, 11),
    "stencil": (laplace, 34),
    "banded matrix": (lambda x: BAND @ jnp.sin(x), 34),
    "blocks": (blocks, 15),
    "gather": (lambda x: x[jnp.array([3, 3, 7])] ** 2, 3),
    "jit and where": (lambda x: pb.jit(jnp.where)(x > 0, x, 2 * x), 12),
    "known choice": (lambda x: jnp.where(np.arange(12) < 3, x, 0), 3),
    "running sum": (jnp.cumsum, 78),
    "scan": (stepping, 12),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, c: c * x, x), 12),
    "cond": (lambda x: lax.cond(x[0] > 0, lambda x: x, lambda x: -x[::-1], x), 24),
    "custom rule": (squared, 12),
    "rounding": (lambda x: jnp.floor(x) + x[0] * 0.0 + x, 12),
    "concatenation": (lambda x: jnp.concatenate([x[:2], jnp.ones(3), x[5:6] * x[6]]), 4),
    "sorting": (lambda x: jnp.sort(x.reshape(4, 3), axis=1), 36),
    "no rule": (lambda x: jnp.linalg.inv(jnp.eye(2) + x[:4].reshape(2, 2)), 16),
    "convolution": (lambda x: jnp.convolve(x, jnp.array([1.0, 0.0, -2.0]), "same"), 22),
    "channels": (
        lambda x: lax.conv_general_dilated(
            x.reshape(1, 2, 6), BAND[:6].reshape(6, 2, 6)[:3, :, :2], (2,), [(1, 0)]
        ),
        None,
    ),
    "scalar": (lambda x: x[0] * x[5], 2),
    "matrix product": (lambda x: x.reshape(3, 4) @ x.reshape(4, 3), 60),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobians(name: str) -> None:
    f, entries = FUNCTIONS[name]
    x = RNG.normal(size=12).astype(np.float32) + 2
    dense = np.asarray(pb.jacrev(f)(x))
    pattern = sparse.jacobian_sparsity(f)(x)
    entries = np.count_nonzero(dense) if entries is None else entries
    assert pattern.nse == entries
    assert not np.any(dense[~np.asarray(pattern.todense())])
    for mode in (None, "fwd", "rev"):
        jac = sparse.sparse_jacobian(f, mode=mode)(x)
        assert jac.shape == dense.shape
        assert jac.nse == entries
        np.testing.assert_allclose(jac.todense(), dense, rtol=2e-5, atol=1e-5)
    compiled = pb.jit(sparse.sparse_jacobian(f))(x)
    np.testing.assert_allclose(compiled.todense(), dense, rtol=2e-5, atol=1e-5)


def test_the_number_of_passes() -> None:
    pattern = sparse.jacobian_sparsity(laplace)(jnp.zeros(1000))
    assert pattern.nse == 2998
    matrix = scipy.sparse.csr_matrix(
        (np.ones(2998), tuple(np.asarray(pattern.indices).T)), shape=(1000, 1000)
    )
    assert max(column_colors(matrix)) == 2
    assert max(star_colors(matrix)) == 2


def rosenbrock(x: Any) -> Any:
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def arrow(x: Any) -> Any:
    return x[0] * jnp.sum(jnp.sin(x)) + jnp.sum(x**3)


def grid(x: Any) -> Any:
    z = x.reshape(4, 4)
    return jnp.sum(jnp.sqrt(1 + (z[1:, 1:] - z[:-1, 1:]) ** 2 + (z[1:, 1:] - z[1:, :-1]) ** 2))


@pytest.mark.parametrize("f", [rosenbrock, arrow, grid])
def test_hessians(f: Any) -> None:
    with pb.enable_x64(True):
        x = RNG.normal(size=16)
        dense = np.asarray(pb.hessian(f)(x))
        hess = pb.jit(sparse.sparse_hessian(f))(x)
        np.testing.assert_allclose(hess.todense(), dense, atol=1e-9)
        assert hess.nse < 100
        pattern = np.asarray(sparse.hessian_sparsity(f)(x).todense())
        assert not np.any(dense[~pattern])
        given = sparse.sparse_hessian(f, sparsity=pattern)(x)
        np.testing.assert_allclose(given.todense(), dense, atol=1e-9)


def test_patterns_that_are_given_and_other_arguments() -> None:
    f = lambda a, x: a * laplace(x)  # noqa: E731
    x = RNG.normal(size=8).astype(np.float32)
    pattern = sparse.jacobian_sparsity(f, argnums=1)(2.0, x)
    for given in (pattern, pattern.todense()):
        jac = sparse.sparse_jacobian(f, argnums=1, sparsity=given)(3.0, x)
        np.testing.assert_allclose(jac.todense(), pb.jacfwd(f, argnums=1)(3.0, x), rtol=1e-5)


def test_colourings_of_random_matrices() -> None:
    for seed in range(5):
        a = scipy.sparse.random(40, 30, density=0.1, random_state=seed, format="csr")
        colors = column_colors(a)
        for row in a.toarray():
            used = colors[row != 0]
            assert len(set(used)) == len(used)
        s = scipy.sparse.random(25, 25, density=0.12, random_state=seed)
        near = ((s + s.T).toarray() != 0) & ~np.eye(25, dtype=bool)
        colors = star_colors(scipy.sparse.csr_matrix(near | np.eye(25, dtype=bool)))
        for i, j in zip(*np.nonzero(near), strict=True):
            assert colors[i] != colors[j]
            for k in np.nonzero(near[j])[0]:
                for m in np.nonzero(near[k])[0]:
                    if k != i and m != j:
                        assert len({colors[i], colors[j], colors[k], colors[m]}) > 2 or m == i


def test_errors() -> None:
    with pytest.raises(TypeError, match="of an array"):
        sparse.sparse_jacobian(lambda d: d["a"])({"a": jnp.ones(2)})
    with pytest.raises(TypeError, match="one array"):
        sparse.sparse_jacobian(lambda x: (x, x))(jnp.ones(2))
    with pytest.raises(ValueError, match="mode must be"):
        sparse.sparse_jacobian(laplace, mode="x")
