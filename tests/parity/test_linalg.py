"""Linear algebra: values, types, errors and derivatives compared with JAX's."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy
import jax.scipy.linalg
import numpy as np
import pytest

import pullback
import pullback.numpy
import pullback.scipy.linalg
from pullback import config
from tests.parity.numpy_oracle import leaves, same_class

rng = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    with jax.enable_x64(True), config.x64.override(True):
        yield


def _normal(*shape: int, imaginary: bool = False) -> Any:
    values = rng.standard_normal(shape)
    return values + 1j * rng.standard_normal(shape) if imaginary else values


def _operands(imaginary: bool) -> dict[str, Any]:
    a = _normal(4, 4, imaginary=imaginary)
    return {
        "a": a,
        "s": a @ a.conj().T + np.eye(4),
        "b": _normal(2, 3, 3, imaginary=imaginary),
        "t": _normal(4, 3, imaginary=imaginary),
        "w": _normal(3, 5, imaginary=imaginary),
        "v": _normal(4, imaginary=imaginary),
        "big": _normal(40, 40, imaginary=imaginary),
        "zero": np.zeros((4, 4)) + (0j if imaginary else 0),
    }


OPERANDS = {kind: _operands(kind == "complex") for kind in ("real", "complex")}

EXPRESSIONS = """
jnp.linalg.cholesky(s)
jnp.linalg.cholesky(s, upper=True)
jnp.linalg.cholesky(-s)
jnp.linalg.det(a), jnp.linalg.det(b), jnp.linalg.det(a[:2, :2]), jnp.linalg.det(a[:1, :1]), jnp.linalg.det(zero)
jnp.linalg.slogdet(a), jnp.linalg.slogdet(b), jnp.linalg.slogdet(zero)
jnp.linalg.inv(a), jnp.linalg.inv(b)
jnp.linalg.solve(a, v), jnp.linalg.solve(a, t), jnp.linalg.solve(b, jnp.ones((3, 2))), jnp.linalg.solve(b[0], b)
jnp.linalg.eigh(s)[0], jnp.linalg.eigvalsh(s), jnp.linalg.eigvalsh(s, "U")
jnp.linalg.svd(t, compute_uv=False), jnp.linalg.svdvals(b), jnp.linalg.svd(big)[1]
jnp.linalg.svd(s, hermitian=True)[1]
jnp.linalg.qr(t), jnp.linalg.qr(b), jnp.linalg.qr(w, mode="r"), jnp.linalg.qr(t, mode="complete")
jnp.linalg.pinv(t), jnp.linalg.pinv(b), jnp.linalg.pinv(w), jnp.linalg.pinv(zero)
jnp.linalg.matrix_rank(a), jnp.linalg.matrix_rank(zero), jnp.linalg.matrix_rank(b)
jnp.linalg.cond(a), jnp.linalg.cond(b, 1), jnp.linalg.cond(a, -2), jnp.linalg.cond(a, 'fro')
jnp.linalg.lstsq(t, v), jnp.linalg.lstsq(w, jnp.ones((3, 2)))
jnp.linalg.norm(t, 2), jnp.linalg.norm(t, 'nuc'), jnp.linalg.norm(b, -2, (1, 2)), jnp.linalg.norm(b, 2, (0, 2), keepdims=True)
jnp.linalg.matrix_power(a, -2)
jnp.linalg.tensorinv(a.reshape(2, 2, 4)), jnp.linalg.tensorsolve(a.reshape(2, 2, 4), v.reshape(2, 2))
jnp.linalg.solve(jnp.ones((2, 3)), jnp.ones(2))
jnp.linalg.cholesky(v)
jnp.linalg.inv(jnp.array([[2, 0], [0, 4]]))
lax.linalg.lu(a), lax.linalg.lu(t), lax.linalg.lu(w)
lax.linalg.qr(t, pivoting=True, full_matrices=False)
lax.linalg.triangular_solve(a, t, left_side=True, lower=True), lax.linalg.triangular_solve(a, t.T, transpose_a=True)
lax.linalg.schur(a), lax.linalg.hessenberg(a)
lax.linalg.eigh(s)[1], lax.linalg.tridiagonal(s)[1:3]
lax.linalg.tridiagonal_solve(v, v + 4, v, t)
lax.linalg.symmetric_product(t, s, alpha=2., beta=3.)
scipy.linalg.cho_factor(s)[0], scipy.linalg.cho_solve(scipy.linalg.cho_factor(s), v), scipy.linalg.cho_solve((scipy.linalg.cholesky(s, lower=True), True), t)
scipy.linalg.cholesky(s), scipy.linalg.cholesky(s, lower=True)
scipy.linalg.lu(a), scipy.linalg.lu(t, permute_l=True), scipy.linalg.lu_factor(a), scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), v), scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), t, 1)
scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), t, 2)
scipy.linalg.solve(a, v), scipy.linalg.solve(s, t, assume_a='pos'), scipy.linalg.inv(a), scipy.linalg.det(a)
scipy.linalg.solve_triangular(a, v), scipy.linalg.solve_triangular(a, t, lower=True, trans=1), scipy.linalg.solve_triangular(a, t, trans='C', unit_diagonal=True)
scipy.linalg.qr(t), scipy.linalg.qr(t, mode='economic'), scipy.linalg.qr(t, mode='r'), scipy.linalg.qr(t, pivoting=True, mode='economic')
scipy.linalg.svd(t, compute_uv=False), scipy.linalg.eigh(s, eigvals_only=True)
scipy.linalg.expm(a), scipy.linalg.expm(b), scipy.linalg.expm(20 * a), scipy.linalg.expm(zero), scipy.linalg.expm_frechet(a, s)
scipy.linalg.block_diag(a, v, t), scipy.linalg.block_diag(jnp.ones((1, 2)))
scipy.linalg.toeplitz(v), scipy.linalg.toeplitz(v, jnp.arange(3.)), scipy.linalg.hilbert(3), scipy.linalg.hankel(v), scipy.linalg.circulant(v)
scipy.linalg.polar(t)
scipy.linalg.hessenberg(a), scipy.linalg.hessenberg(a, calc_q=True)
scipy.linalg.schur(a)
scipy.linalg.pascal(4), scipy.linalg.pascal(4, 'lower'), scipy.linalg.hadamard(4), scipy.linalg.dft(4), scipy.linalg.helmert(4), scipy.linalg.invhilbert(3)
scipy.linalg.fiedler_companion(v), scipy.linalg.companion(v), scipy.linalg.leslie(v, v[1:]), scipy.linalg.fiedler(v), scipy.linalg.convolution_matrix(v, 3), scipy.linalg.invpascal(3)
jnp.poly(a), jnp.roots(v), jnp.polyfit(jnp.arange(5.), jnp.arange(5.) ** 2, 2)
"""


def _namespace(root: Any, kind: str) -> dict[str, Any]:
    values = {name: root.numpy.asarray(x) for name, x in OPERANDS[kind].items()}
    return {"jnp": root.numpy, "lax": root.lax, "scipy": root.scipy, "np": np, **values}


def _evaluate(expression: str, names: dict[str, Any]) -> Any:
    try:
        return eval(expression, dict(names))
    except Exception as error:
        return error


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS.splitlines() if e])
def test_values(expression: str, kind: str) -> None:
    theirs = _evaluate(expression, _namespace(jax, kind))
    ours = _evaluate(expression, _namespace(pullback, kind))
    if isinstance(theirs, Exception):
        assert same_class(ours, theirs), f"{ours!r}, but JAX: {theirs!r}"
        return
    if isinstance(ours, Exception):
        raise ours
    _agree(ours, theirs)


def _agree(ours: Any, theirs: Any, tol: float = 1e-8) -> None:
    pairs = list(zip(leaves(ours), leaves(theirs), strict=True))
    for x, y in pairs:
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        single = 1e-5 if x.dtype == np.float32 else 0.0
        np.testing.assert_allclose(x, y, max(tol, single), max(tol, single))


FUNCTIONS = """
lambda x: jnp.linalg.cholesky(x @ x.conj().T + jnp.eye(4))
lambda x: jnp.linalg.det(x)
lambda x: jnp.linalg.slogdet(x)
lambda x: jnp.linalg.inv(x)
lambda x: jnp.linalg.solve(x, x[:2].T @ x[:, :2].T[:, :4][:2])
lambda x: jnp.linalg.solve(x, x[0])
lambda x: jnp.linalg.eigh(x)[0]
lambda x: jnp.abs(jnp.linalg.eigh(x)[1])
lambda x: jnp.linalg.svd(x, compute_uv=False)
lambda x: jnp.abs(jnp.linalg.svd(x)[0])
lambda x: jnp.abs(jnp.linalg.svd(x[:3], full_matrices=False)[2])
lambda x: jnp.linalg.qr(x)
lambda x: jnp.linalg.qr(x[:, :2])
lambda x: jnp.linalg.qr(x[:3])
lambda x: jnp.linalg.pinv(x[:3])
lambda x: jnp.linalg.pinv(x[:, :3])
lambda x: jnp.linalg.eigvals(x)
lambda x: lax.linalg.lu(x[:, :3])[0]
lambda x: lax.linalg.triangular_solve(x, x[:, :2], left_side=True, lower=True, unit_diagonal=True)
lambda x: lax.linalg.cholesky(x @ x.conj().T + jnp.eye(4), symmetrize_input=False)
lambda x: lax.linalg.tridiagonal_solve(x[0], x[1], x[2], x)
lambda x: jnp.linalg.lstsq(x, x[0])[0]
lambda x: scipy.linalg.expm(x)
lambda x: scipy.linalg.solve(x @ x.conj().T + jnp.eye(4), x, assume_a='pos')
lambda x: jnp.linalg.norm(x, 2)
"""


def _derivatives(root: Any, text: str, kind: str) -> tuple[Any, Any]:
    """A function that gives value, tangent, gradient and lanes; the gradient alone."""
    f = eval(text, _namespace(root, kind))

    def total(x: Any) -> Any:
        parts = leaves(f(x))
        return sum((root.numpy.sin(p) * (k + 1)).real.sum() for k, p in enumerate(parts))

    gradient = root.grad(total)

    def each(x: Any, t: Any) -> list[Any]:
        return [*root.jvp(f, (x,), (t,)), gradient(x), root.vmap(f)(root.numpy.stack([x, t]))]

    return each, gradient


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("text", [e for e in FUNCTIONS.splitlines() if e])
def test_derivatives_and_lanes(text: str, kind: str) -> None:
    if kind == "complex" and "assume_a" in text:
        pytest.skip("JAX's gradient differs from that of its own solve with assume_a='gen'")
    x, t = OPERANDS[kind]["a"], OPERANDS[kind]["big"][:4, :4]
    each, gradient = _derivatives(pullback, text, kind)
    theirs = jax.jit(_derivatives(jax, text, kind)[0])(x, t)
    _agree(each(x, t), theirs, 1e-6)
    _agree(pullback.jit(gradient)(x), theirs[2], 1e-6)


def _rebuilt(name: str, x: Any) -> tuple[Any, Any]:
    """A matrix, and the same from its factors by compiled code."""
    jnp = pullback.numpy
    if name == "eigh":
        x = x + np.swapaxes(x, -1, -2).conj()
        w, v = pullback.jit(jnp.linalg.eigh)(x)
        return x, (v * w[..., None, :]) @ jnp.linalg.matrix_transpose(v).conj()
    if name == "svd":
        u, s, vt = pullback.jit(lambda x: jnp.linalg.svd(x, full_matrices=False))(x)
        return x, (u * s[..., None, :]) @ vt
    if name == "eig":
        w, v = pullback.jit(jnp.linalg.eig)(x)
        return x @ v, v * w[..., None, :]
    q, r = pullback.jit(jnp.linalg.qr)(x)
    return x, q @ r


@pytest.mark.parametrize("name", ["eigh", "svd", "eig", "qr"])
@pytest.mark.parametrize("dtype", ["float32", "complex64", "float64", "complex128"])
def test_factors_of_larger_matrices(name: str, dtype: str) -> None:
    for shape in ((60, 60), (3, 31, 31)):
        x = _normal(*shape, imaginary=dtype.startswith("c")).astype(dtype)
        want, got = _rebuilt(name, x)
        tol = 1e-4 if dtype in ("float32", "complex64") else 1e-10
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), tol, 50 * tol)


def test_equal_values_have_finite_derivatives() -> None:
    jnp = pullback.numpy
    unit = np.eye(3)
    for f in (
        lambda x: jnp.linalg.eigh(x)[0].sum(),
        lambda x: jnp.linalg.svd(x, compute_uv=False).sum(),
    ):
        np.testing.assert_allclose(np.asarray(pullback.grad(f)(unit)), unit, atol=1e-12)

    def rebuilt(x: Any) -> Any:
        u, s, vt = jnp.linalg.svd(x)
        return (u * s) @ vt

    t = rng.standard_normal((3, 3))
    for x in (unit, 2 * unit):
        assert np.isfinite(np.asarray(pullback.jvp(rebuilt, (x,), (t,))[1])).all()


def test_gradient_of_the_determinant_of_a_singular_matrix() -> None:
    x = np.diag([1.0, 2.0, 0.0, 3.0])
    got = pullback.grad(pullback.numpy.linalg.det)(x)
    np.testing.assert_allclose(np.asarray(got), np.diag([0.0, 0.0, 6.0, 0.0]), atol=1e-12)


def test_perturbations_of_hermitian_matrices_agree_with_differences() -> None:
    jnp, step = pullback.numpy, 1e-6
    for imaginary in (False, True):
        x, t = (_normal(4, 4, imaginary=imaginary) for _ in range(2))
        x, t = x @ x.conj().T + np.eye(4), t + t.conj().T
        functions: list[Callable[[Any], Any]] = [
            jnp.linalg.cholesky,
            lambda x: jnp.linalg.eigh(x)[0],
        ]
        for f in functions:
            slope = (np.asarray(f(x + step * t)) - np.asarray(f(x - step * t))) / (2 * step)
            got = pullback.jvp(f, (x,), (t,))[1]
            np.testing.assert_allclose(np.asarray(got), slope, 1e-6, 1e-6)


LISTS = """
lax.linalg.lu(a)
lax.linalg.hessenberg(a)
lax.linalg.tridiagonal(a)
lax.linalg.schur(a)
lax.linalg.schur(a, compute_schur_vectors=False)
scipy.linalg.schur(a)
lax.approx_max_k(a, 1)
lax.linalg.qr(a)
lax.linalg.eigh(a)
lax.linalg.svd(a)
"""


@pytest.mark.parametrize("call", LISTS.split("\n")[1:-1])
def test_several_results_are_a_list_where_those_of_jax_are_one(call: str) -> None:
    a = np.eye(2) + 1.0
    ours, theirs = (eval(call, {"lax": x.lax, "scipy": x.scipy, "a": a}) for x in (pullback, jax))
    assert jax.tree.structure(theirs) == jax.tree.structure(jax.tree.map(np.asarray, ours))
