"""Functions of matrices, matrix equations, QR products, tridiagonal matrices, densities."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import pullback as pb
import pullback.numpy as jnp
from pullback.scipy import linalg, stats

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _wide() -> Any:
    with pb.enable_x64(True):
        yield


def draw(*shape: int, complex_: bool = False) -> Any:
    x = RNG.normal(size=shape)
    return x + 1j * RNG.normal(size=shape) if complex_ else x


@pytest.mark.parametrize("complex_", [False, True])
def test_funm(complex_: bool) -> None:
    a = draw(6, 6, complex_=complex_)
    for f, ours_f in ((np.exp, jnp.exp), (np.sin, jnp.sin)):
        ours = pb.jit(linalg.funm, static_argnums=1)(a, ours_f)
        np.testing.assert_allclose(ours, scipy.linalg.funm(a, f), rtol=1e-8, atol=1e-8)
    value, error = linalg.funm(a, jnp.exp, disp=False)
    assert value.dtype == np.complex128
    assert 0 < float(error) < 1e-8


def test_rsf2csf() -> None:
    for n in (2, 5, 8):
        a = draw(n, n)
        t, z = scipy.linalg.schur(a)
        ct, cz = pb.jit(linalg.rsf2csf)(t, z)
        np.testing.assert_allclose(cz @ ct @ cz.conj().T, a, atol=1e-12)
        np.testing.assert_allclose(np.tril(ct, -1), 0, atol=1e-13)
        np.testing.assert_allclose(cz.conj().T @ cz, np.eye(n), atol=1e-12)
        np.testing.assert_allclose(np.diag(ct), np.diag(scipy.linalg.rsf2csf(t, z)[0]), atol=1e-12)


@pytest.mark.parametrize("method", ["schur", "eigen"])
@pytest.mark.parametrize("complex_", [False, True])
def test_sylvester(method: str, complex_: bool) -> None:
    a, b, c = (draw(*s, complex_=complex_) for s in ((5, 5), (3, 3), (5, 3)))
    solve = lambda a, b, c: linalg.solve_sylvester(a, b, c, method=method)  # noqa: E731
    found = pb.jit(solve)(a, b, c)
    np.testing.assert_allclose(found, scipy.linalg.solve_sylvester(a, b, c), atol=1e-11)
    assert found.dtype == c.dtype
    if not complex_:
        steps = [draw(*x.shape) for x in (a, b, c)]
        ct = draw(5, 3)
        slopes = pb.grad(lambda *xs: jnp.sum(solve(*xs) * ct), (0, 1, 2))(a, b, c)
        ends = []
        for h in (1e-6, -1e-6):
            moved = [x + h * s for x, s in zip((a, b, c), steps, strict=True)]
            ends.append(np.sum(scipy.linalg.solve_sylvester(*moved) * ct))
        total = sum(np.sum(g * s) for g, s in zip(slopes, steps, strict=True))
        np.testing.assert_allclose(total, (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_sylvester_without_a_single_solution() -> None:
    a = np.diag([1.0, 2.0])
    assert np.all(np.isnan(linalg.solve_sylvester(a, -a, a)))
    with pytest.raises(ValueError, match="Incompatible shapes"):
        linalg.solve_sylvester(a, a[:1], a)
    with pytest.raises(ValueError, match="Unrecognized method"):
        linalg.solve_sylvester(a, a, a, method="x")


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("conjugate", [False, True])
def test_qr_multiply(complex_: bool, conjugate: bool) -> None:
    a = draw(5, 3, complex_=complex_)
    for mode, shape in (("left", (3, 4)), ("left", (3,)), ("right", (2, 5)), ("right", (5,))):
        c = draw(*shape, complex_=complex_)
        for pivoting in (False, True):
            found = linalg.qr_multiply(a, c, mode, pivoting, conjugate)
            q, r, *order = scipy.linalg.qr(a, mode="economic", pivoting=pivoting)
            q = q.conj() if conjugate else q
            np.testing.assert_allclose(found[0], q @ c if mode == "left" else c @ q, atol=1e-12)
            np.testing.assert_allclose(found[1], r, atol=1e-12)
            if pivoting:
                np.testing.assert_array_equal(found[2], order[0])
    with pytest.raises(ValueError, match="mode must be"):
        linalg.qr_multiply(a, a, mode="x")
    with pytest.raises(ValueError, match="not compatible"):
        linalg.qr_multiply(a, a, mode="left")


def test_eigh_tridiagonal() -> None:
    d, e = draw(7), draw(6)
    truth = scipy.linalg.eigh_tridiagonal(d, e)
    values, vectors = pb.jit(linalg.eigh_tridiagonal)(d, e)
    np.testing.assert_allclose(values, truth[0], atol=1e-12)
    np.testing.assert_allclose(abs(vectors), abs(truth[1]), atol=1e-10)
    some = linalg.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 3))
    np.testing.assert_allclose(some, truth[0][1:4], atol=1e-12)
    slope = pb.grad(lambda d: linalg.eigh_tridiagonal(d, e, eigvals_only=True)[2])(d)
    np.testing.assert_allclose(slope, truth[1][:, 2] ** 2, atol=1e-10)
    with pytest.raises(TypeError, match="same dtype"):
        linalg.eigh_tridiagonal(jnp.arange(3), jnp.ones(2))
    with pytest.raises(NotImplementedError, match="select='v'"):
        linalg.eigh_tridiagonal(d, e, select="v")
    with pytest.raises(ValueError, match="select must"):
        linalg.eigh_tridiagonal(d, e, select="x")


# --------------------------------------------------------------------------- densities


@pytest.mark.parametrize("bandwidth", [None, "silverman", 0.4, lambda kde: kde.n**-0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("d", [1, 3])
def test_densities(bandwidth: Any, weighted: bool, d: int) -> None:
    data, at = draw(d, 40), draw(d, 9)
    weights = RNG.uniform(size=40) if weighted else None
    ours = stats.gaussian_kde(data, bandwidth, weights)
    theirs = scipy.stats.gaussian_kde(data, bandwidth, weights)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-12)
    np.testing.assert_allclose(ours.inv_cov, theirs.inv_cov, rtol=1e-9)
    np.testing.assert_allclose(ours.neff, theirs.neff, rtol=1e-12)
    np.testing.assert_allclose(pb.jit(ours.evaluate)(at), theirs(at), rtol=1e-10)
    np.testing.assert_allclose(ours.logpdf(9 * at), theirs.logpdf(9 * at), rtol=1e-10)
    mean, cov = draw(d), np.eye(d) * 0.7
    expected = theirs.integrate_gaussian(mean, cov)
    np.testing.assert_allclose(ours.integrate_gaussian(mean, cov), expected, rtol=1e-10)
    np.testing.assert_allclose(ours.integrate_kde(ours), theirs.integrate_kde(theirs), rtol=1e-10)
    if d == 1:
        found, expected = ours.integrate_box_1d(-1.0, 0.5), theirs.integrate_box_1d(-1.0, 0.5)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_density_is_a_pytree_and_can_be_sampled() -> None:
    data = draw(2, 300)
    kde = stats.gaussian_kde(data)
    value = pb.jit(lambda kde, x: kde(x))(kde, jnp.zeros(2))
    np.testing.assert_allclose(value, scipy.stats.gaussian_kde(data)([0, 0]), rtol=1e-10)
    drawn = kde.resample(pb.random.key(0), (4000,))
    assert drawn.shape == (2, 4000)
    expected = np.cov(data, bias=True) + kde.covariance
    np.testing.assert_allclose(np.cov(drawn), expected, atol=0.15)
    assert kde.resample(pb.random.key(0)).shape == (2,)


def test_errors_of_densities() -> None:
    data = jnp.arange(12.0).reshape(2, 6) ** 2
    kde = stats.gaussian_kde(data)
    with pytest.raises(ValueError, match="dimension 3"):
        kde(jnp.ones((3, 3)))
    with pytest.raises(ValueError, match="multiple elements"):
        stats.gaussian_kde(jnp.ones((1, 1)))
    with pytest.raises(ValueError, match="length n"):
        stats.gaussian_kde(data, weights=jnp.ones(3))
    with pytest.raises(ValueError, match="bw_method"):
        stats.gaussian_kde(data, bw_method="x")
    with pytest.raises(NotImplementedError, match="complex"):
        stats.gaussian_kde(data * 1j)
    with pytest.raises(NotImplementedError, match="bandwidth"):
        kde.set_bandwidth()
    with pytest.raises(NotImplementedError, match="1D box"):
        kde.integrate_box(0, 1)
    with pytest.raises(ValueError, match="1D pdfs"):
        kde.integrate_box_1d(0, 1)
