"""The inverse of the normal distribution function, against mpmath."""

import mpmath
import numpy as np
import pytest
import scipy.special

import pullback as pb
from pullback.scipy import special


def _exact(p: float) -> mpmath.mpf:
    """Newton's steps with 40 digits from SciPy's value."""
    x = mpmath.mpf(float(scipy.special.ndtri(p)))
    for _ in range(3):
        x -= (mpmath.erfc(-x / mpmath.sqrt(2)) / 2 - p) / mpmath.npdf(x)
    return x


@pytest.mark.parametrize(("dtype", "smallest"), [("float32", -44.0), ("float64", -322.0)])
def test_within_four_units_in_the_last_place(dtype: str, smallest: float) -> None:
    rng = np.random.default_rng(0)
    tails = 10 ** rng.uniform(smallest, -0.5, 150)
    near = 10 ** rng.uniform(-2, np.log10(0.5), 150)
    edges = [0.125, np.nextafter(0.125, 0), 0.875, np.exp(-24.5), 0.4999, 0.5001, 1e-44]
    with pb.enable_x64(dtype == "float64"), mpmath.workdps(40):
        p = np.concatenate([tails, near, 1 - near, edges]).astype(dtype)
        ours = np.asarray(pb.jit(special.ndtri)(p))
        assert ours.dtype == dtype
        for pi, x in zip(p.tolist(), ours, strict=True):
            exact = _exact(pi)
            unit = np.spacing(np.abs(x.dtype.type(float(exact))))
            assert abs(mpmath.mpf(float(x)) - exact) <= 4 * mpmath.mpf(float(unit)), pi


def test_the_ends_and_what_is_outside() -> None:
    p = np.array([0, 1, 0.5, -0.1, 1.1, np.nan], np.float32)
    expected = [-np.inf, np.inf, 0, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(special.ndtri(p), expected)


def test_half_precision_is_rounded_from_single() -> None:
    p = np.array([1e-4, 0.1, 0.3, 0.9], np.float16)
    expected = np.asarray(special.ndtri(p.astype(np.float32))).astype(np.float16)
    np.testing.assert_array_equal(special.ndtri(p), expected)


def test_the_slope_is_one_over_the_density() -> None:
    p = np.float32(0.03)
    x = float(special.ndtri(p))
    slope = float(pb.grad(special.ndtri)(p))
    np.testing.assert_allclose(slope, np.sqrt(2 * np.pi) * np.exp(x * x / 2), rtol=1e-5)


def test_one_logarithm_is_all_that_is_transcendental() -> None:
    text = str(pb.make_jaxpr(special.ndtri)(np.ones(4, np.float32)))
    assert text.count(" log ") == 1
    assert not any(f" {name} " in text for name in ("exp", "erfc", "erf_inv"))


def test_complex_numbers_have_no_quantile() -> None:
    with pytest.raises(TypeError, match="ndtri takes real numbers, got complex64"):
        special.ndtri(1j)
