"""Integrals, hypergeometric functions and harmonics against SciPy's and mpmath's, over ranges."""

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import pullback as pb
import pullback.numpy as jnp
from pullback.scipy import special

ONE = {
    "dawsn": (-12, 12),
    "exp1": (1e-6, 60),
    "expi": (-60, 60),
    "spence": (0, 30),
    "sici": (-80, 80),
    "fresnel": (-30, 30),
}
MANY: dict[str, list[tuple[float, float]]] = {
    "owens_t": [(-6, 6), (-5, 5)],
    "hyp1f1": [(-3, 5), (0.3, 6), (-20, 20)],
    "hyp2f1": [(-2, 3), (-2, 3), (0.5, 6), (-9, 0.98)],
}


def points(*ranges: tuple[float, float]) -> list[Any]:
    rng = np.random.default_rng(3)
    return [rng.uniform(*r, 400) for r in ranges]


def both(name: str, xs: list[Any]) -> Any:
    """Results eagerly and compiled."""
    function = getattr(special, name)
    for f in (function, pb.jit(function)):
        out = f(*xs)
        yield out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("name", [*ONE, *MANY])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_scipy(name: str, dtype: str) -> None:
    with pb.enable_x64(dtype == "float64"):
        xs = [x.astype(dtype) for x in points(*MANY.get(name, [ONE.get(name, (0, 1))]))]
        truth = getattr(scipy.special, name)(*[x.astype(np.float64) for x in xs])
        truth = truth if isinstance(truth, tuple) else (truth,)
        eps = np.finfo(dtype).eps
        for found in both(name, xs):
            for a, b in zip(found, truth, strict=True):
                assert a.dtype == dtype
                np.testing.assert_allclose(a, b, rtol=2 * eps, atol=1e-300)


@pytest.mark.parametrize("order", [0, 1, 2, 5, 60])
def test_expn(order: int) -> None:
    (x,) = points((1e-3, 40))
    with pb.enable_x64(True):
        for found in both("expn", [float(order), x]):
            np.testing.assert_allclose(found[0], scipy.special.expn(order, x), rtol=1e-15)
    assert np.isnan(special.expn(2.5, 1.0))
    assert np.isnan(special.expn(-1, 1.0))
    assert special.expn(2, 1.0).dtype == np.float32


def test_faddeeva() -> None:
    x, y = points((-20, 20), (-3, 20))
    with pb.enable_x64(True):
        for (found,) in both("wofz", [x + 1j * y]):
            np.testing.assert_allclose(found, scipy.special.wofz(x + 1j * y), rtol=1e-13)
        slope = pb.grad(special.wofz, holomorphic=True)(0.3 + 0.4j)
        with mpmath.workdps(30):
            w = lambda z: mpmath.exp(-z * z) * mpmath.erfc(-1j * z)  # noqa: E731
            np.testing.assert_allclose(slope, complex(mpmath.diff(w, 0.3 + 0.4j)), rtol=1e-13)
    assert special.wofz(1).dtype == np.complex64


SLOPES: dict[str, tuple[Any, list[tuple[float, ...]]]] = {
    "dawsn": (lambda x: mpmath.exp(-x * x) * mpmath.erfi(x) * mpmath.sqrt(mpmath.pi) / 2, [(0.7,)]),
    "exp1": (mpmath.e1, [(0.3,), (4.0,)]),
    "expi": (mpmath.ei, [(0.3,), (-2.0,)]),
    "spence": (lambda x: mpmath.polylog(2, 1 - x), [(0.4,), (1.0,), (1.9,)]),
    "hyp1f1": (mpmath.hyp1f1, [(1.2, 2.3, 0.7), (1.2, 2.3, -3.0), (-0.6, 1.5, 4.0)]),
    "hyp2f1": (mpmath.hyp2f1, [(1.2, 0.7, 2.3, 0.6), (1.2, 0.7, 2.3, -3.0), (0.5, 1.5, 0.8, 0.9)]),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_are_those_of_mpmath(name: str) -> None:
    truth, places = SLOPES[name]
    with pb.enable_x64(True), mpmath.workdps(30):
        for at in places:
            slopes = pb.grad(getattr(special, name), tuple(range(len(at))))(*at)
            for k, slope in enumerate(slopes):
                order = tuple(int(i == k) for i in range(len(at)))
                expected = mpmath.diff(truth, *((at, order) if len(at) > 1 else (at[0], 1)))
                expected = complex(expected).real
                np.testing.assert_allclose(slope, expected, rtol=1e-11)


def test_slopes_by_finite_differences() -> None:
    with pb.enable_x64(True):
        cases: list[tuple[Any, tuple[float, ...]]] = [
            (lambda x: sum(special.fresnel(x)), (1.3,)),
            (lambda x: sum(special.sici(x)), (2.1,)),
            (special.owens_t, (0.8, 1.4)),
            (lambda x: special.expn(0, x), (0.9,)),
            (lambda x: special.expn(3, x), (0.9,)),
            (lambda x: jnp.sum(special.bessel_jn(x, v=4) * jnp.arange(1.0, 6)), (2.2,)),
        ]
        for f, at in cases:
            slopes = pb.grad(f, tuple(range(len(at))))(*at)
            for k, slope in enumerate(slopes):
                up, down = list(at), list(at)
                up[k], down[k] = at[k] + 1e-6, at[k] - 1e-6
                np.testing.assert_allclose(slope, (f(*up) - f(*down)) / 2e-6, rtol=1e-8)
        assert float(pb.grad(lambda x: special.sici(x)[0])(0.0)) == 1.0


def test_bessel() -> None:
    z = np.linspace(-30, 60, 50).reshape(5, 10)
    with pb.enable_x64(True):
        found = pb.jit(lambda z: special.bessel_jn(z, v=7))(z)
        truth = scipy.special.jv(np.arange(8)[:, None, None], z)
        np.testing.assert_allclose(found, truth, atol=1e-15)
    assert special.bessel_jn(jnp.float32(1.5), v=2, n_iter=30).shape == (3,)
    with pytest.raises(TypeError):
        special.bessel_jn(1.0, v=2.5)  # type: ignore[arg-type]


def test_spherical_harmonics() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(0, 40, 300)
    m = rng.integers(-41, 41, 300)
    theta, phi = rng.uniform(0, np.pi, 300), rng.uniform(-7, 7, 300)
    truth = scipy.special.sph_harm_y(n, m, theta, phi)
    with pb.enable_x64(True):
        for f in (special.sph_harm_y, pb.jit(lambda *a: special.sph_harm_y(*a, n_max=40))):
            np.testing.assert_allclose(f(n, m, theta, phi), truth, atol=1e-12)
        slope = pb.grad(lambda t: special.sph_harm_y(3, 2, t, 0.4).real)(0.9)
        ends = [scipy.special.sph_harm_y(3, 2, t, 0.4).real for t in (0.9 + 1e-6, 0.9 - 1e-6)]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-8)
    assert special.sph_harm_y(n, m, theta, phi).dtype == np.complex64
    with pytest.raises(pb.errors.ConcretizationTypeError, match="n_max"):
        pb.jit(special.sph_harm_y)(n, m, theta, phi)
    with pytest.raises(NotImplementedError, match="diff_n"):
        special.sph_harm_y(1, 0, 0.3, 0.4, diff_n=1)


def test_errors() -> None:
    z = jnp.ones(2) * 1j
    for name, count in (("dawsn", 1), ("exp1", 1), ("expi", 1), ("sici", 1), ("hyp1f1", 3)):
        with pytest.raises(ValueError, match=r"real-valued|complex-valued"):
            getattr(special, name)(*[z] * count)
    with pytest.raises(TypeError, match="not supported"):
        special.spence(1)
    with pytest.raises(pb.errors.UnsupportedError, match="order"):
        pb.grad(special.expn)(2.0, 1.0)
