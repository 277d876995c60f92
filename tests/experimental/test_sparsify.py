"""Functions of dense arrays on sparse ones, against the same functions on dense arrays."""

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, nn
from pullback.experimental import sparse

RNG = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    x = RNG.normal(size=shape).astype(np.float32)
    return np.where(RNG.uniform(size=shape) < 0.5, x, 0).astype(np.float32)


X, Y, V = draw(4, 5), draw(4, 5), RNG.normal(size=5).astype(np.float32)

FUNCTIONS: dict[str, Any] = {
    "unary": lambda x, y: jnp.sin(x) + jnp.expm1(-x) * 2.0,
    "product": lambda x, y: (3 * x) @ V,
    "both": lambda x, y: x @ y.T,
    "elementwise": lambda x, y: x * y - x / 2 + x**2,
    "dense operand": lambda x, y: x * V + y * 3,
    "sums": lambda x, y: (x.sum(0), y.sum(), jnp.sum(x, 1)),
    "structure": lambda x, y: jnp.concatenate([x.T, y.T], axis=1)[1:3].reshape(-1),
    "rows": lambda x, y: x[1] + y[-1, ::-1],
    "jit": lambda x, y: pb.jit(lambda x: jnp.tanh(x) @ V)(x),
    "remat": lambda x, y: pb.checkpoint(lambda x: jnp.tan(x))(x),
    "cond": lambda x, y: lax.cond(V[0] > 0, lambda x: 2 * x, lambda x: -x, x),
    "loop": lambda x, y: lax.fori_loop(0, 3, lambda i, c: (c[0] + x @ V, c[1] * 2), (V[:4], x)),
    "scan": lambda x, y: lax.scan(lambda c, row: (c + row.sum(), row @ V), 0.0, x),
    "dense": lambda x, y: jnp.cos(sparse.todense(x)) + y,
    "dense plus": lambda x, y: x + jnp.ones((4, 5)),
    "casts": lambda x, y: jnp.sqrt(jnp.abs(x)).astype("bfloat16").astype("float32"),
}


# With a batch axis, axes are not mixed, and a loop keeps the layout of its carry.
CASES = [(name, 0) for name in FUNCTIONS] + [
    (name, 1) for name in FUNCTIONS if name not in ("structure", "both", "loop")
]


@pytest.mark.parametrize(("name", "n_batch"), CASES)
def test_functions(name: str, n_batch: int) -> None:
    f = FUNCTIONS[name]
    x, y = (sparse.BCOO.fromdense(v, n_batch=n_batch) for v in (X, Y))
    expected = f(jnp.asarray(X), jnp.asarray(Y))
    for run in (sparse.sparsify(f), pb.jit(sparse.sparsify(f))):
        found = run(x, y)
        is_sparse = lambda v: isinstance(v, sparse.JAXSparse)  # noqa: E731
        leaves = [sparse.todense(v) for v in pb.tree.leaves(found, is_leaf=is_sparse)]
        for a, b in zip(leaves, pb.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_results_stay_sparse_and_dense_ones_are_refused() -> None:
    x = sparse.BCOO.fromdense(X)
    assert isinstance(sparse.sparsify(lambda x: 3 * x + x)(x), sparse.BCOO)
    assert isinstance(sparse.sparsify(jnp.sin)(sparse.BCSR.fromdense(X)), sparse.BCOO)
    with pytest.raises(NotImplementedError, match="sparse rule for cos"):
        sparse.sparsify(jnp.cos)(x)
    with pytest.raises(NotImplementedError, match="densification"):
        sparse.sparsify(lambda x: x + 1)(x)
    with pytest.raises(NotImplementedError, match="sparse rule"):
        sparse.sparsify(nn.softmax)(x)


def test_gradients_through_sparsify() -> None:
    x = sparse.BCOO.fromdense(X)
    f = lambda x: jnp.sum(jnp.sin(2 * x) @ V)  # noqa: E731
    slope = sparse.grad(sparse.sparsify(f))(x)
    np.testing.assert_allclose(slope.todense(), pb.grad(f)(X) * (X != 0), atol=1e-5)
