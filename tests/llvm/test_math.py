"""Elementary functions: accuracy against wider arithmetic and mpmath, special values, widths."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
from mpmath import mp, mpf

from pullback.llvm import jit, math
from pullback.llvm.math.coefficients import POLYNOMIALS
from tests.llvm.math_harness import compiled, error_in_ulps, module_text

Array = np.ndarray[Any, Any]
WIDE = np.longdouble
MAIN_WIDTH = {"f32": 16, "f64": 8}
TYPE: dict[str, np.dtype[Any]] = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
EXACT = {"rem", "nextafter", "round_half_even", "round_half_away"}
BOUND = 2.0
"""Units in the last place."""


def logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def round_half_away(x: Array) -> Array:
    halves = np.where(np.abs(x) < 2.0**52, 0.5, 0.0)
    return np.asarray(np.copysign(np.floor(np.abs(x) + halves), x))


REFERENCES: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "logistic": logistic,
    "log": np.log, "log2": np.log2, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "pow": np.power, "cbrt": np.cbrt, "rem": np.fmod, "nextafter": np.nextafter,
    "erf": scipy.special.erf, "erfc": scipy.special.erfc, "erf_inv": scipy.special.erfinv,
    "round_half_even": np.rint, "round_half_away": round_half_away,
}  # fmt: skip

MPMATH: dict[str, Callable[[mpf], mpf]] = {"erf": mp.erf, "erfc": mp.erfc, "erf_inv": mp.erfinv}
"""What NumPy does not have in long double."""

BEFORE_OVERFLOW = {"f32": (88.7, 89.4, 127.99, 103.9), "f64": (709.7, 710.4, 1023.99, 745.1)}
THRESHOLDS = (0.35, 0.4142, 0.47, 0.5, 0.55, 0.7071, 0.9, 1.0, 1.4142, 1.5, 3.95, 5.95, 9.0, 10.0)


def around(points: tuple[float, ...], dtype: str, steps: int) -> Array:
    """Neighbours of some points, on both sides of zero."""
    spread = np.arange(-steps, steps + 1)
    centre = np.array(points, TYPE[dtype])[:, None]
    near = (centre + spread * np.spacing(centre)).astype(TYPE[dtype]).ravel()
    return np.concatenate([near, -near])


def samples(dtype: str, count: int, seed: int) -> Array:
    """Every exponent, numbers of usual size, numbers close to 1 and to where a formula changes."""
    generator, type_ = np.random.default_rng(seed), TYPE[dtype]
    unsigned = np.uint32 if dtype == "f32" else np.uint64
    patterns = generator.integers(0, np.iinfo(unsigned).max, count, unsigned, endpoint=True)
    usual = generator.standard_normal(2 * count) * np.exp2(generator.integers(-6, 9, 2 * count))
    near_one = 1 + generator.standard_normal(count) * np.exp2(generator.uniform(-52, -1, count))
    pieces = (
        patterns.view(type_), usual.astype(type_), near_one.astype(type_), -near_one.astype(type_),
        generator.uniform(-1, 1, count).astype(type_), SPECIAL[dtype],
        around((*THRESHOLDS, *BEFORE_OVERFLOW[dtype]), dtype, 20),
    )  # fmt: skip
    return generator.permutation(np.concatenate(pieces))


SPECIAL = {
    dtype: np.array(
        [
            0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 1e5, 1e30, np.inf, np.nan, info.max, info.tiny,
            info.smallest_subnormal, info.smallest_subnormal * 12345, info.eps, 2.0**24 + 1,
            3 * 2.0**60,
            -0.0, -0.5, -1.0, -1.5, -2.0, -2.5, -3.0, -1e5, -1e30, -np.inf, -info.max, -info.tiny,
            -info.smallest_subnormal, -info.eps, -(2.0**24) - 1, -3 * 2.0**60,
        ],
        TYPE[dtype],
    )
    for dtype, info in (("f32", np.finfo(np.float32)), ("f64", np.finfo(np.float64)))
}  # fmt: skip


def arguments(name: str, dtype: str, count: int) -> list[Array]:
    return [samples(dtype, count, seed) for seed in range(math.arity(name))]


def assert_accurate(name: str, inputs: list[Array], got: Array, exact: Array) -> None:
    errors = error_in_ulps(got, exact)
    worst = int(np.argmax(errors))
    where = [x[worst] for x in inputs]
    assert errors[worst] <= (0.5 if name in EXACT else BOUND), (
        f"{name}{where}: {got[worst]!r}, exact {exact[worst]!r}, {float(errors[worst])} ulp"
    )


def assert_same_bits(name: str, dtype: str, inputs: list[Array]) -> None:
    """Vectors of every width compute what scalars do."""
    expected = compiled(name, dtype, 1)(*inputs).tobytes()
    for width in (4, 8, 16):
        assert compiled(name, dtype, width)(*inputs).tobytes() == expected, width


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


def test_names() -> None:
    assert set(REFERENCES) <= math.NAMES
    assert math.supported("tanh")
    assert not math.supported("airy")
    assert math.arity("exp") == 1
    assert math.arity("pow") == 2


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_single_precision(name: str) -> None:
    inputs = arguments(name, "f32", 60_000)
    exact = REFERENCES[name](*(x.astype(np.float64) for x in inputs))
    if name == "nextafter":
        exact = np.nextafter(*inputs)
    assert_accurate(name, inputs, compiled(name, "f32", 16)(*inputs), exact.astype(WIDE))


@pytest.mark.skipif(np.finfo(WIDE).nmant < 63, reason="long double is not wider than double")
@pytest.mark.parametrize("name", sorted(set(REFERENCES) - set(MPMATH)))
def test_double_precision(name: str) -> None:
    inputs = arguments(name, "f64", 20_000)
    exact = REFERENCES[name](*(x.astype(WIDE) for x in inputs))
    if name in EXACT:
        exact = REFERENCES[name](*inputs)
    assert_accurate(name, inputs, compiled(name, "f64", 8)(*inputs), exact.astype(WIDE))


def wide(value: mpf) -> Any:
    """An mpmath number as the sum of two doubles."""
    high = float(value)
    return WIDE(high) + (WIDE(float(value - mpf(high))) if np.isfinite(high) else 0)


@pytest.mark.skipif(np.finfo(WIDE).nmant < 63, reason="long double is not wider than double")
@pytest.mark.parametrize("name", sorted(MPMATH))
def test_double_precision_against_mpmath(name: str) -> None:
    generator = np.random.default_rng(3)
    low, high = {"erf": (-7, 7), "erfc": (-7, 27), "erf_inv": (-1, 1)}[name]
    x = np.concatenate(
        [
            generator.uniform(low, high, 500),
            generator.uniform(-0.9, 0.9, 600),
            1 - np.exp2(generator.uniform(-52, -6, 200)),
            np.exp2(generator.uniform(-1000, 0, 50)),
        ]
    )
    with mp.workdps(40):
        exact = np.array([wide(MPMATH[name](mpf(v))) for v in x.tolist()])
    assert_accurate(name, [x], compiled(name, "f64", 8)(x), exact)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name: str, dtype: str) -> None:
    """Against mpmath, the argument reduced with as many digits of pi as it takes."""
    generator = np.random.default_rng(4)
    top = 127 if dtype == "f32" else 1023
    x = np.exp2(generator.uniform(10, top, 500)).astype(TYPE[dtype])
    multiples = (np.exp2(generator.uniform(0, 40, 500)).round() * np.pi / 2).astype(TYPE[dtype])
    hard = np.array([6381956970095103 * 2.0**797], np.float64)  # closest to a multiple of pi / 2
    x = np.concatenate([x, multiples, hard[: int(dtype == "f64")].astype(TYPE[dtype])])
    with mp.workdps(360):
        exact = np.array([wide(getattr(mp, name)(mpf(v))) for v in x.tolist()])
    assert_accurate(name, [x], compiled(name, dtype, MAIN_WIDTH[dtype])(x), exact)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_special_values(name: str, dtype: str) -> None:
    """NaN, infinities and the sign of zero are those of NumPy and SciPy."""
    grid = np.meshgrid(*[SPECIAL[dtype]] * math.arity(name))
    inputs = [np.ascontiguousarray(x.ravel()) for x in grid]
    got = compiled(name, dtype, 8)(*inputs)
    expected = REFERENCES[name](*inputs).astype(TYPE[dtype])
    for kind in (np.isnan, np.isposinf, np.isneginf, lambda x: (x == 0) & np.signbit(x)):
        wrong = np.flatnonzero(kind(got) != kind(expected))
        shown = [([x[i] for x in inputs], got[i], expected[i]) for i in wrong[:5]]
        assert not shown, f"{name}: (inputs, got, expected) {shown}"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_same_bits_at_every_width(name: str, dtype: str) -> None:
    assert_same_bits(name, dtype, [x[:6000] for x in arguments(name, dtype, 1500)])


def test_exact_points() -> None:
    x = np.array([0.0], np.float32)
    assert compiled("cos", "f32", 4)(x) == 1.0
    assert compiled("exp", "f32", 4)(x) == 1.0
    angles = np.linspace(-1000, 1000, 100_001).astype(np.float32)
    assert np.abs(compiled("sin", "f32", 16)(angles)).max() <= 1.0


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_kernels_share_a_module(dtype: str) -> None:
    """Helpers are named as dependencies once, and declarations join as a set."""
    keys = {("sin", dtype, 8), ("cos", dtype, 8), ("pow", dtype, 8), ("exp", dtype, 4)}
    keys |= {dependency for key in keys for dependency in math.dependencies(*key)}
    lines = {line for key in keys for line in math.declarations(*key)}
    text = "\n".join([*sorted(lines), *(math.define(*key) for key in sorted(keys))])
    assert jit.compile_object(text, name="together")
    assert ("reduce", dtype, 8) in keys


def test_text_is_small() -> None:
    """Compile time is a feature."""
    for name in ("exp", "log", "tanh", "logistic", "expm1", "log1p", "erf", "sin", "cos"):
        assert math.define(name, "f32", 16).count("\n") < 60, name
    assert "fast" not in module_text("exp", "f32", 16)


def fitting_script() -> Any:
    path = Path(__file__).parents[2] / "scripts" / "fit_math.py"
    if not path.exists():
        pytest.skip("the script is not part of this distribution")
    specification = importlib.util.spec_from_file_location("fit_math", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["fit_math"] = module
    specification.loader.exec_module(module)
    return module


def test_coefficients_come_from_the_script() -> None:
    script = fitting_script()
    with mp.workdps(script.DIGITS):
        fits = [f for f in (*script.exponentials(), *script.circular()) if f.dtype == "f32"]
        for fit in fits:
            numbers, _ = script.rounded_coefficients(fit, script.remez(fit)[0])
            assert tuple(numbers) == POLYNOMIALS[fit.name, fit.dtype], fit.name
