"""Sparse arrays in every layout against the same operations on dense arrays."""

import itertools
import operator
from typing import Any

import jax
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as oracle_sparse

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.experimental import sparse

RNG = np.random.default_rng(0)
LAYOUTS = [(b, d) for b in range(4) for d in range(4) if b + d <= 3]


def draw(*shape: int, density: float = 0.4) -> Any:
    x = RNG.normal(size=shape).astype(np.float32)
    return np.where(RNG.uniform(size=shape) < density, x, 0).astype(np.float32)


def doubled(mat: Any) -> Any:
    """The same array with entries that appear twice, and padding whose data are not zero."""
    n, data, indices = mat.n_batch, mat.data, mat.indices
    limit = np.array(mat.shape[n : n + mat.n_sparse], np.int32)
    pad = jnp.broadcast_to(limit, (*indices.shape[:n], 2, mat.n_sparse))
    ones = jnp.ones((*data.shape[:n], 2 * bool(mat.n_sparse), *data.shape[n + 1 :]))
    data = jnp.concatenate([data / 2, data / 2, ones], axis=n)
    indices = jnp.concatenate([indices, indices, pad], axis=n)[..., : data.shape[n], :]
    return sparse.BCOO((data, indices), shape=mat.shape)


def all_layouts(x: Any) -> Any:
    for n_batch, n_dense in LAYOUTS:
        if n_batch + n_dense <= x.ndim:
            yield sparse.BCOO.fromdense(x, n_batch=n_batch, n_dense=n_dense)


@pytest.mark.parametrize(("n_batch", "n_dense"), LAYOUTS)
def test_to_dense_and_back(n_batch: int, n_dense: int) -> None:
    x = draw(3, 4, 5)
    mat = sparse.BCOO.fromdense(x, n_batch=n_batch, n_dense=n_dense)
    assert (mat.n_batch, mat.n_dense, mat.shape) == (n_batch, n_dense, x.shape)
    np.testing.assert_array_equal(mat.todense(), x)
    more = pb.jit(lambda x: sparse.bcoo_fromdense(x, nse=61, n_batch=n_batch, n_dense=n_dense))(x)
    np.testing.assert_array_equal(more.todense(), x)
    twice = doubled(mat)
    np.testing.assert_allclose(twice.todense(), x, rtol=1e-6)
    once = twice.sum_duplicates()
    assert once.nse == mat.nse
    np.testing.assert_array_equal(once.indices, mat.indices)
    np.testing.assert_allclose(once.todense(), x, rtol=1e-6)
    fixed = pb.jit(lambda m: m.sum_duplicates(nse=mat.nse + 2))(twice)
    assert fixed.nse == mat.nse + 2
    np.testing.assert_allclose(fixed.todense(), x, rtol=1e-6)
    np.testing.assert_array_equal(sparse.bcoo_sort_indices(twice).todense(), twice.todense())
    picked = sparse.bcoo_extract(twice, jnp.asarray(x))
    np.testing.assert_array_equal(picked.todense(), x)
    for target in LAYOUTS:
        moved = mat.update_layout(n_batch=target[0], n_dense=target[1], on_inefficient=None)
        assert (moved.n_batch, moved.n_dense) == target
        np.testing.assert_array_equal(moved.todense(), x)


def test_layouts_that_waste_memory_are_refused() -> None:
    mat = sparse.BCOO.fromdense(draw(3, 4))
    with pytest.raises(sparse.SparseEfficiencyError, match="n_batch from 0 to 1"):
        mat.update_layout(n_batch=1)
    with pytest.warns(sparse.SparseEfficiencyWarning):
        mat.update_layout(n_dense=1, on_inefficient="warn")


def test_structural_operations() -> None:
    x = draw(3, 4, 5)
    for mat in all_layouts(x):
        n, d = mat.n_batch, mat.n_dense
        for axes in itertools.chain.from_iterable(
            itertools.combinations(range(3), k) for k in range(4)
        ):
            found = sparse.bcoo_reduce_sum(mat, axes=axes)
            np.testing.assert_allclose(found.todense(), x.sum(axes), atol=1e-5)
            turned = sparse.bcoo_rev(mat, axes)
            np.testing.assert_array_equal(turned.todense(), np.flip(x, axes))
        for start, limit, stride in (
            ((1, 0, 2), (3, 4, 5), (1, 2, 1)),
            ((0, 1, 0), (3, 2, 5), (2, 1, 3)),
        ):
            window = tuple(slice(*w) for w in zip(start, limit, stride, strict=True))
            found = sparse.bcoo_slice(mat, start_indices=start, limit_indices=limit, strides=stride)
            np.testing.assert_array_equal(found.todense(), x[window])
        cut = pb.jit(lambda m, i: sparse.bcoo_dynamic_slice(m, (i, 1, 9), (2, 2, 3)))(mat, 1)
        np.testing.assert_array_equal(cut.todense(), x[1:3, 1:3, 2:5])
        for axis in range(3):
            both = sparse.bcoo_concatenate([mat, 2 * mat, mat], dimension=axis)
            expected = np.concatenate([x, 2 * x, x], axis=axis)
            np.testing.assert_array_equal(both.todense(), expected)
        groups = [range(n), range(n, 3 - d), range(3 - d, 3)]
        order = tuple(k for g in groups for k in reversed(g))
        np.testing.assert_array_equal(mat.transpose(order).todense(), x.transpose(order))


def test_reshapes_and_broadcasts() -> None:
    x = draw(4, 6, 2)
    for n_batch, n_dense, shape in (
        (0, 0, (8, 6)),
        (0, 0, (2, 2, 12)),
        (1, 0, (2, 2, 12)),
        (1, 1, (4, 3, 2, 2)),
        (0, 1, (24, 2)),
        (2, 0, (24, 2)),
    ):
        mat = sparse.BCOO.fromdense(x, n_batch=n_batch, n_dense=n_dense)
        np.testing.assert_array_equal(mat.reshape(*shape).todense(), x.reshape(shape))
    mat = sparse.BCOO.fromdense(x)
    np.testing.assert_array_equal(mat.reshape(-1).todense(), x.reshape(-1))
    with pytest.raises(ValueError, match="cannot"):
        sparse.BCOO.fromdense(x, n_batch=1).reshape(8, 6)
    y = draw(1, 3)
    for n_batch, n_dense in ((0, 0), (1, 0), (0, 1), (1, 1)):
        mat = sparse.BCOO.fromdense(y, n_batch=n_batch, n_dense=n_dense)
        for shape, dims in (
            ((4, 3), (0, 1)),
            ((2, 1, 3), (1, 2)),
            ((1, 3, 2), (0, 1)),
            ((5, 1, 2, 3), (1, 3)),
        ):
            found = sparse.bcoo_broadcast_in_dim(mat, shape=shape, broadcast_dimensions=dims)
            expected = np.asarray(lax.broadcast_in_dim(y, shape, dims))
            np.testing.assert_array_equal(found.todense(), expected)
        thin = sparse.bcoo_squeeze(mat, dimensions=(0,))
        np.testing.assert_array_equal(thin.todense(), y[0])


def test_indexing() -> None:
    x = draw(4, 5, 3)
    mat = sparse.BCOO.fromdense(x)
    for index in (
        0, -1, (1, 2), (0, 1, 2), slice(1, 3), (slice(None), slice(4, None, -2)), (..., 1),
        (None, 2), (slice(None), None, -2), (slice(3, 0, -1), ..., slice(0, 2)),
    ):  # fmt: skip
        np.testing.assert_array_equal(mat[index].todense(), x[index])
    np.testing.assert_array_equal(pb.jit(lambda m, i: m[i])(mat, 2).todense(), x[2])
    assert len(list(mat)) == 4
    picked = np.array([2, 0, -1, 2])
    for index in (
        picked,
        (slice(None), picked),
        (slice(1, 3), None, picked, 0),
        (0, picked),
        (..., picked % 3),
    ):
        np.testing.assert_array_equal(mat[index].todense(), x[index])
    batch = sparse.BCOO.fromdense(x, n_batch=1)
    np.testing.assert_array_equal(pb.jit(lambda m, i: m[i])(batch, picked).todense(), x[picked])
    for index in (x > 0, (picked, picked), np.array([[0, 1]]), (0, slice(None), picked)):
        with pytest.raises(NotImplementedError, match="by arrays"):
            mat[index]


# --------------------------------------------------------------------------- products

NUMBERS: list[Any] = [
    (((2,), (0,)), ((), ())),
    (((0,), (1,)), ((), ())),
    (((2,), (2,)), ((0,), (0,))),
    (((1,), (1,)), ((0, 2), (0, 2))),
    (((0, 2), (0, 2)), ((), ())),
    (((), ()), ((0,), (0,))),
    (((1,), (0,)), ((2,), (1,))),
]


@pytest.mark.parametrize("numbers", NUMBERS, ids=range(len(NUMBERS)))
def test_products_with_dense_arrays(numbers: Any) -> None:
    x, y = draw(3, 3, 3), RNG.normal(size=(3, 3, 3)).astype(np.float32)
    expected = np.asarray(lax.dot_general(x, y, numbers))
    (lhs_c, rhs_c), (lhs_b, rhs_b) = numbers
    turned = ((rhs_c, lhs_c), (rhs_b, lhs_b))
    other_way = np.asarray(lax.dot_general(y, x, turned))
    for mat in all_layouts(x):
        dense = range(3 - mat.n_dense, 3)
        if any(k in dense for k in (*lhs_c, *lhs_b)):
            continue
        found = pb.jit(lambda m, y: sparse.bcoo_dot_general(m, y, dimension_numbers=numbers))(
            mat, y
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)
        found = sparse.bcoo_dot_general(doubled(mat), y, dimension_numbers=numbers)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        found = sparse.bcoo_dot_general(y, mat, dimension_numbers=turned)
        np.testing.assert_allclose(found, other_way, atol=1e-5)


@pytest.mark.parametrize("numbers", NUMBERS, ids=range(len(NUMBERS)))
def test_products_of_sparse_arrays(numbers: Any) -> None:
    x, y = draw(3, 3, 3), draw(3, 3, 3)
    expected = np.asarray(lax.dot_general(x, y, numbers))
    for n_batch in (0, 1):
        a, b = (sparse.BCOO.fromdense(v, n_batch=n_batch) for v in (x, y))
        found = sparse.bcoo_dot_general(a, b, dimension_numbers=numbers)
        np.testing.assert_allclose(found.todense(), expected, atol=1e-5)
        found = sparse.bcoo_dot_general(doubled(a), doubled(b), dimension_numbers=numbers)
        np.testing.assert_allclose(found.todense(), expected, atol=1e-5)
    a, b = sparse.BCOO.fromdense(x), sparse.BCOO.fromdense(y)
    traced = pb.jit(lambda a, b: sparse.bcoo_dot_general(a, b, dimension_numbers=numbers))(a, b)
    np.testing.assert_allclose(traced.todense(), expected, atol=1e-5)


def test_a_product_of_sparse_matrices_has_only_the_entries_that_meet() -> None:
    a = sparse.eye(1000)
    assert (a @ a).nse == 1000


def test_operators() -> None:
    x, y, z = draw(4, 5), draw(5, 3), draw(4, 5)
    a, b, c = (sparse.BCOO.fromdense(v) for v in (x, y, z))
    v = RNG.normal(size=5).astype(np.float32)
    w = RNG.normal(size=4).astype(np.float32)
    for found, expected in (
        (a @ v, x @ v),
        (w @ a, w @ x),
        (a @ b, x @ y),
        (a @ y, x @ y),
        (x @ b, x @ y),
        (a * c, x * z),
        (doubled(a) * doubled(c), x * z),
        (a * z, x * z),
        (a * v, x * v),
        (a * w[:, None], x * w[:, None]),
        (2 * a, 2 * x),
        (a + c, x + z),
        (a - c, x - z),
        (a + z, x + z),
        (z - a, z - x),
        (a / 2, x / 2),
        (a**2, x**2),
        (doubled(a) ** 2, x**2),
        (-a, -x),
        (abs(a), abs(x)),
        (a.T, x.T),
        (a.sum(), x.sum()),
        (a.sum(0), x.sum(0)),
        (a.sum(1, keepdims=True), x.sum(1, keepdims=True)),
        (a.astype("int32"), x.astype("int32")),
    ):
        np.testing.assert_allclose(sparse.todense(found), expected, atol=1e-5)
    with pytest.raises(NotImplementedError, match="densification"):
        a + 1
    numbers = (((1,), (0,)), ((), ()))
    at = a.indices[:, :1] * jnp.array([1, 0]) + jnp.array([0, 2])
    sampled = sparse.bcoo_dot_general_sampled(z, y, at, dimension_numbers=numbers)
    np.testing.assert_allclose(sampled, (z @ y)[tuple(np.asarray(at).T)], atol=1e-5)


@pytest.mark.parametrize("format_", ["bcsr", "coo", "csr", "csc"])
def test_other_formats(format_: str) -> None:
    cls = {"bcsr": sparse.BCSR, "coo": sparse.COO, "csr": sparse.CSR, "csc": sparse.CSC}[format_]
    x, y = draw(4, 5), RNG.normal(size=(5, 3)).astype(np.float32)
    mat: Any = cls.fromdense(x)
    np.testing.assert_array_equal(mat.todense(), x)
    np.testing.assert_allclose(pb.jit(lambda m, y: m @ y)(mat, y), x @ y, atol=1e-5)
    np.testing.assert_allclose(mat @ y[:, 0], x @ y[:, 0], atol=1e-5)
    assert mat.nse == np.count_nonzero(x)
    if format_ != "bcsr":
        np.testing.assert_array_equal(mat.T.todense(), x.T)
    np.testing.assert_array_equal(
        sparse.eye(3, 4, 1, sparse_format=format_).todense(), np.eye(3, 4, 1)
    )
    assert sparse.empty((2, 3), sparse_format=format_).shape == (2, 3)


def test_compressed_rows() -> None:
    x = draw(2, 4, 5)
    for n_batch, n_dense in ((1, 0), (0, 1)):
        mat = sparse.BCSR.fromdense(x, n_batch=n_batch, n_dense=n_dense)
        np.testing.assert_array_equal(mat.todense(), x)
        np.testing.assert_array_equal(sparse.BCSR.from_bcoo(mat.to_bcoo()).todense(), x)
    mat = sparse.BCSR.fromdense(x, n_batch=1)
    y = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    numbers = (((2,), (1,)), ((0,), (0,)))
    found = sparse.bcsr_dot_general(mat, y, dimension_numbers=numbers)
    np.testing.assert_allclose(found, x @ y, atol=1e-5)
    both = sparse.bcsr_concatenate([mat, mat], dimension=1)
    np.testing.assert_array_equal(both.todense(), np.concatenate([x, x], 1))
    picked = sparse.bcsr_extract(mat.indices, mat.indptr, jnp.asarray(x))
    np.testing.assert_array_equal(picked, mat.data)
    single = sparse.BCSR.fromdense(x[0])
    theirs = scipy.sparse.csr_matrix(x[0])
    np.testing.assert_array_equal(single.indptr, theirs.indptr)
    np.testing.assert_array_equal(sparse.BCSR.from_scipy_sparse(theirs).todense(), x[0])
    np.testing.assert_array_equal(sparse.BCOO.from_scipy_sparse(theirs).todense(), x[0])
    wide = sparse.bcsr_broadcast_in_dim(single, shape=(3, 4, 5), broadcast_dimensions=(1, 2))
    np.testing.assert_array_equal(wide.todense(), np.broadcast_to(x[0], (3, 4, 5)))


# --------------------------------------------------------------------------- transformations


def test_mapped_over_batches() -> None:
    x = draw(3, 4, 5)
    mat = sparse.BCOO.fromdense(x, n_batch=1)
    v = RNG.normal(size=5).astype(np.float32)
    np.testing.assert_allclose(pb.vmap(lambda m: m @ v)(mat), x @ v, atol=1e-5)
    turned = pb.vmap(lambda m: m.T)(mat)
    np.testing.assert_array_equal(turned.todense(), x.transpose(0, 2, 1))
    nse = int((x != 0).sum((1, 2)).max())
    made = pb.vmap(lambda x: sparse.bcoo_fromdense(x, nse=nse))(x)
    assert (made.n_batch, made.shape) == (1, (3, 4, 5))
    np.testing.assert_array_equal(made.todense(), x)
    total, rows = lax.scan(lambda c, m: (c + m.sum(), m @ v), jnp.float32(0), mat)
    np.testing.assert_allclose(total, x.sum(), rtol=1e-5)
    np.testing.assert_allclose(rows, x @ v, atol=1e-5)


def test_gradients() -> None:
    x, y = draw(4, 5), RNG.normal(size=(5, 3)).astype(np.float32)
    mat = sparse.BCOO.fromdense(x)
    ct = RNG.normal(size=(4, 3)).astype(np.float32)

    def loss(m: Any, y: Any) -> Any:
        return jnp.sum(jnp.sin(m @ y) * ct)

    of_mat, of_y = pb.jit(sparse.grad(loss, argnums=(0, 1)))(mat, y)
    dense = pb.grad(loss, argnums=(0, 1))(x, y)
    np.testing.assert_allclose(of_mat.todense(), np.where(x != 0, dense[0], 0), atol=1e-5)
    np.testing.assert_allclose(of_y, dense[1], atol=1e-5)
    value, slope = sparse.value_and_grad(loss)(mat, y)
    np.testing.assert_allclose(value, loss(x, y), rtol=1e-5)
    assert isinstance(slope, sparse.BCOO)
    for transform in (sparse.jacfwd, sparse.jacrev):
        jac = transform(lambda m: m @ y)(mat)
        assert jac.shape == (4, 3, 4, 5)
        expected = pb.jacrev(lambda m: m @ y)(x) * (x != 0)
        np.testing.assert_allclose(jac.todense(), expected, atol=1e-5)
    out, aux = sparse.grad(lambda m: (jnp.sum(m.data**2), m.nse), has_aux=True)(mat)
    assert aux == mat.nse
    np.testing.assert_allclose(out.data, 2 * mat.data, rtol=1e-6)
    product = sparse.grad(lambda m: jnp.sum((m @ m.T).todense() * 2.0))(mat)
    expected = pb.grad(lambda x: jnp.sum(x @ x.T) * 2.0)(x) * (x != 0)
    np.testing.assert_allclose(product.todense(), expected, atol=1e-5)


def test_random_arrays() -> None:
    key = pb.random.key(0)
    mat = sparse.random_bcoo(key, (40, 50), nse=0.1, dtype=jnp.float32, sorted_indices=True)
    assert mat.nse == 200
    assert np.count_nonzero(mat.todense()) == 200
    batch = sparse.random_bcoo(key, (2, 6, 3), nse=4, n_batch=1, n_dense=1)
    assert (batch.n_batch, batch.n_dense, batch.nse) == (1, 1, 4)


@pytest.mark.parametrize("unique", [True, False])
def test_random_places_are_those_of_jax(unique: bool) -> None:
    for shape, n_batch in (((4, 4), 0), ((3, 4, 4), 1)):
        kwds = {"nse": 5, "n_batch": n_batch, "unique_indices": unique, "dtype": "float32"}
        found = sparse.random_bcoo(pb.random.key(3), shape, **kwds)
        want = oracle_sparse.random_bcoo(jax.random.key(3), shape, **kwds)
        np.testing.assert_array_equal(found.indices, want.indices)
        np.testing.assert_array_equal(found.data, want.data)


@pytest.mark.parametrize("act", [operator.eq, operator.ne, operator.lt, operator.ge], ids=str)
def test_comparisons_would_be_dense(act: Any) -> None:
    mat = sparse.BCOO.fromdense(jnp.eye(2))
    for other in (mat, 1.0, jnp.eye(2)):
        with pytest.raises(NotImplementedError, match=r"dense output: BCOO of shape \(2, 2\)"):
            act(mat, other)
    for quotient in (operator.truediv, operator.pow):
        with pytest.raises(NotImplementedError, match="dense output"):
            quotient(2.0, mat)


def test_convolution_of_sparse_signals() -> None:
    x, k = draw(1, 1, 12), draw(1, 1, 4, density=0.7)
    for padding in ("VALID", "SAME", [(2, 1)]):
        settings = {"window_strides": (1,), "padding": padding}
        found = sparse.bcoo_conv_general_dilated(
            sparse.BCOO.fromdense(x), sparse.BCOO.fromdense(k), **settings
        )
        expected = lax.conv_general_dilated(x, k, (1,), padding)
        np.testing.assert_allclose(found.todense(), expected, atol=1e-5)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Invalid data\.shape"):
        sparse.BCOO((jnp.ones(2), jnp.zeros((3, 2), int)), shape=(3, 3))
    with pytest.raises(pb.errors.ConcretizationTypeError, match="nse"):
        pb.jit(sparse.bcoo_fromdense)(jnp.eye(2))
    with pytest.raises(NotImplementedError, match="dense dimensions"):
        sparse.BCOO.fromdense(draw(3, 4), n_dense=1) @ jnp.ones(4)
    with pytest.raises(TypeError, match="same shape"):
        sparse.eye(3) @ jnp.ones(4)
    with pytest.raises(NotImplementedError, match="__add__"):
        sparse.CSR.fromdense(draw(3, 4)) + 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(sparse.eye(3))
