"""Fits the polynomials of the elementary functions and writes `pullback/llvm/math/coefficients.py`.

Run as `python scripts/fit_math.py`; every number in that file comes from here, so that anybody can
reproduce it. A fit is a weighted minimax polynomial found by the exchange algorithm of Remez on a
dense Chebyshev grid (E. W. Cheney, *Introduction to Approximation Theory*, chapter 3), in mpmath
arithmetic; its coefficients are then rounded to the format of the kernel. `--report` prints the
weighted error of each fit, before and after rounding, in bits.
"""

from __future__ import annotations

import argparse
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

DIGITS = 60
mp.dps = DIGITS
Real = Callable[[mpf], mpf]
OUTPUT = Path(__file__).parent.parent / "pullback" / "llvm" / "math" / "coefficients.py"
FLOATS = {"f32": np.float32, "f64": np.float64}
GRID_PER_TERM = 30
PI_BITS = 1200
"""As many bits of 1/pi as the arguments of a double precision sine can need."""


def identity(x: mpf) -> mpf:
    return x


def square(x: mpf) -> mpf:
    return x**2


def one(x: mpf) -> mpf:
    return mpf(1)


@dataclass(frozen=True)
class Fit:
    """`target(x)` approximated on [low, high] by a polynomial in `variable(x)`.

    The error is multiplied by `weight(x)`: one over the function gives relative errors.
    """

    name: str
    dtype: str
    terms: int
    low: mpf
    high: mpf
    target: Real
    weight: Real = one
    variable: Real = identity
    two_parts: bool = False
    """Whether the constant term is the sum of the first two numbers."""


@dataclass(frozen=True)
class Split:
    """A constant as a sum of numbers of the format, the first ones cut to `bits` bits."""

    name: str
    dtype: str
    value: Callable[[], mpf]
    bits: tuple[int, ...]


# ------------------------------------------------------------------------------- minimax


def chebyshev_grid(low: mpf, high: mpf, count: int) -> list[mpf]:
    middle, radius = (high + low) / 2, (high - low) / 2
    return [middle - radius * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def evaluate(coefficients: list[mpf], u: mpf) -> mpf:
    return mp.polyval(coefficients, u, asc=True)


def solve_reference(
    points: list[int], u: list[mpf], target: list[mpf], weight: list[mpf]
) -> list[mpf]:
    """Coefficients whose weighted error alternates with one size on the reference points."""
    size = len(points)
    matrix = mp.matrix(size, size)
    right = mp.matrix(size, 1)
    for row, i in enumerate(points):
        for power in range(size - 1):
            matrix[row, power] = u[i] ** power
        matrix[row, size - 1] = (-1) ** row / weight[i]
        right[row] = target[i]
    solution = mp.lu_solve(matrix, right)
    return [solution[i] for i in range(size - 1)]


def extrema(error: list[mpf]) -> list[int]:
    """The largest error of each run of one sign."""
    best: list[int] = []
    for i, value in enumerate(error):
        if best and (value > 0) == (error[best[-1]] > 0):
            if abs(value) > abs(error[best[-1]]):
                best[-1] = i
        else:
            best.append(i)
    return best


def trim(candidates: list[int], error: list[mpf], size: int) -> list[int]:
    """Drops alternation points from the ends, the smaller one first, until `size` are left."""
    while len(candidates) > size:
        first, last = abs(error[candidates[0]]), abs(error[candidates[-1]])
        candidates = candidates[1:] if first < last else candidates[:-1]
    return candidates


def remez(fit: Fit) -> tuple[list[mpf], mpf]:
    grid = chebyshev_grid(fit.low, fit.high, GRID_PER_TERM * (fit.terms + 1))
    u = [fit.variable(x) for x in grid]
    target = [fit.target(x) for x in grid]
    weight = [fit.weight(x) for x in grid]
    size = fit.terms + 1
    points = [round(i * (len(grid) - 1) / (size - 1)) for i in range(size)]
    for _ in range(60):
        coefficients = solve_reference(points, u, target, weight)
        error = [
            w * (t - evaluate(coefficients, v)) for w, t, v in zip(weight, target, u, strict=True)
        ]
        candidates = trim(extrema(error), error, size)
        largest = max(abs(e) for e in error)
        smallest = min(abs(error[i]) for i in candidates)
        if len(candidates) < size or largest < smallest * mpf("1.001"):
            break
        points = candidates
    return coefficients, largest


# ------------------------------------------------------------------------------- rounding


def round_to(dtype: str, value: mpf) -> float:
    """`value` rounded to nearest in the format (mpmath rounds once)."""
    bits = {"f32": 24, "f64": 53}[dtype]
    with mp.workprec(bits):
        rounded = float(+value)
    if dtype == "f32":
        assert struct.unpack("<f", struct.pack("<f", rounded))[0] == rounded
    return rounded


def split(constant: Split) -> tuple[float, ...]:
    rest, parts = constant.value(), []
    for bits in constant.bits:
        with mp.workprec(bits):
            part = float(+rest)
        parts.append(part)
        rest = rest - mpf(part)
    return tuple(parts)


def rounded_coefficients(fit: Fit, coefficients: list[mpf]) -> tuple[list[float], float]:
    """The coefficients as numbers of the format, and the error in bits."""
    if not fit.two_parts:
        return polish(fit, [round_to(fit.dtype, c) for c in coefficients])
    constant = round_to(fit.dtype, coefficients[0])
    rest = replace(fit, target=lambda x: fit.target(x) - constant)
    start = [coefficients[0] - constant, *coefficients[1:]]
    polished, error = polish(rest, [round_to(fit.dtype, c) for c in start])
    return [constant, *polished], error


def weighted_basis(fit: Fit) -> tuple[list[list[mpf]], list[mpf]]:
    """Weighted powers of the variable on a grid, and the weighted target."""
    grid = chebyshev_grid(fit.low, fit.high, 16 * fit.terms)
    rows, target = [], []
    for x in grid:
        u, w = fit.variable(x), fit.weight(x)
        rows.append([w * u**power for power in range(fit.terms)])
        target.append(w * fit.target(x))
    return rows, target


def polish(fit: Fit, rounded: list[float]) -> tuple[list[float], float]:
    """Moves coefficients by units in the last place, one or two at a time, while that helps."""
    rows, target = weighted_basis(fit)
    exact = [mpf(c) for c in rounded]
    error = np.array([float(t - mp.fdot(row, exact)) for row, t in zip(rows, target, strict=True)])
    basis = np.array(rows, dtype=float).T
    coefficients = np.array(rounded, dtype=FLOATS[fit.dtype])
    step = np.spacing(np.abs(coefficients)).astype(float)
    moves = [(i, s) for i in range(fit.terms) for s in (-1.0, 1.0)]
    changes = np.array([-s * step[i] * basis[i] for i, s in moves])
    for _ in range(40):
        worst = np.abs(error).max()
        single = np.abs(error + changes).max(axis=1)
        pairs = np.abs(error + changes[:, None] + changes[None, :]).max(axis=2)
        best = min(single.min(), pairs.min())
        if best >= worst * 0.999:
            break
        if single.min() <= pairs.min():
            chosen = [int(single.argmin())]
        else:
            chosen = [int(i) for i in np.unravel_index(int(pairs.argmin()), pairs.shape)]
        for k in chosen:
            error = error + changes[k]
            coefficients[moves[k][0]] += moves[k][1] * step[moves[k][0]]
    return [float(c) for c in coefficients], math.log2(np.abs(error).max())


# ------------------------------------------------------------------------------- the fits

F32, F64 = "f32", "f64"
LN2 = mp.ln2
HALF_LN2 = LN2 / 2 * (1 + mpf(2) ** -10)
SQRT2 = mp.sqrt(2)


def tail(function: Real) -> tuple[Real, Real, Real]:
    """Target, weight and variable of P in f(x) = x + x^3 P(x^2)."""
    return lambda x: (function(x) - x) / x**3, lambda x: x**3 / function(x), square


def exponentials() -> Iterator[Fit]:
    for dtype, terms, terms2 in ((F32, 5, 6), (F64, 10, 11)):
        # exp(r) = 1 + r + r^2 P(r)
        yield Fit(
            "exp", dtype, terms, -HALF_LN2, HALF_LN2,
            lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 * mp.exp(-r),
        )  # fmt: skip
        # expm1(r) = r + r^2 P(r), with a relative error also near 0
        yield Fit(
            "expm1", dtype, terms + 1, -HALF_LN2, HALF_LN2,
            lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r),
        )  # fmt: skip
        # 2^r = 1 + r P(r)
        yield Fit(
            "exp2", dtype, terms2, mpf("-0.5005"), mpf("0.5005"),
            lambda r: mp.expm1(r * LN2) / r, lambda r: r * mp.exp(-r * LN2),
        )  # fmt: skip


def logarithms() -> Iterator[Fit]:
    # log(1 + f) = f - f^2/2 + f^3 P(f) for 1 + f in [sqrt(1/2), sqrt(2)]
    for dtype, terms in ((F32, 8), (F64, 20)):
        yield Fit(
            "log", dtype, terms, 1 / SQRT2 - 1, SQRT2 - 1,
            lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, lambda f: f**3 / mp.log1p(f),
        )  # fmt: skip


def hyperbolics() -> Iterator[Fit]:
    for dtype, sinh_terms, tanh_terms in ((F32, 3, 5), (F64, 7, 11)):
        yield Fit("sinh", dtype, sinh_terms, mpf("1e-4"), mpf(1), *tail(mp.sinh))
        yield Fit("tanh", dtype, tanh_terms, mpf("1e-4"), mpf("0.55"), *tail(mp.tanh))


def circular() -> Iterator[Fit]:
    quarter = mp.pi / 4 * (1 + mpf(2) ** -10)
    for dtype, terms, tan_terms in ((F32, 3, 7), (F64, 6, 15)):
        yield Fit("sin", dtype, terms, mpf("1e-4"), quarter, *tail(mp.sin))
        yield Fit("tan", dtype, tan_terms, mpf("1e-4"), quarter, *tail(mp.tan))
        # cos(x) = 1 - x^2 / 2 + x^4 P(x^2)
        yield Fit(
            "cos", dtype, terms, mpf("1e-4"), quarter,
            lambda x: (mp.cos(x) - 1 + x**2 / 2) / x**4, lambda x: x**4 / mp.cos(x), square,
        )  # fmt: skip


ERF_NEAR = mpf("0.9")
ERF_FAR = {F32: (mpf("3.95"), mpf(2)), F64: (mpf("5.95"), mpf("3.5"))}
"""From there erf is 1, and where the polynomial is centred."""


def erf_ratio(w: mpf) -> mpf:
    """erfinv(x) / x - 1 where w = -log(1 - x^2)."""
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x - 1


def erfcx(x: mpf) -> mpf:
    return mp.exp(x * x) * mp.erfc(x)


def error_functions() -> Iterator[Fit]:
    for dtype, near, far in ((F32, 7, 16), (F64, 13, 37)):
        # erf(x) = x + x P(x^2)
        yield Fit(
            "erf", dtype, near, mpf("1e-4"), ERF_NEAR,
            lambda x: mp.erf(x) / x - 1, lambda x: x / mp.erf(x), square,
        )  # fmt: skip
        # erf(x) = P((x - centre) / 2)
        high, centre = ERF_FAR[dtype]
        yield Fit(
            "erf_far", dtype, far, ERF_NEAR, high,
            mp.erf, lambda x: 1 / mp.erf(x), lambda x, centre=centre: (x - centre) / 2,
        )  # fmt: skip
    # erfc(x) = exp(-x^2) P((x - 2) / (x + 2)) / (x + 2), P(0) in two parts
    for dtype, terms, high in ((F32, 11, mpf("10.3")), (F64, 25, mpf("27.4"))):
        yield Fit(
            "erfc", dtype, terms, mpf("0.46"), high,
            lambda x: erfcx(x) * (x + 2), lambda x: 1 / (erfcx(x) * (x + 2)),
            lambda x: (x - 2) / (x + 2), two_parts=True,
        )  # fmt: skip
    # erfinv(x) = x + x P(w - 3), and beyond x + x P(sqrt(w) / 2 - c), P(0) in two parts
    for dtype, near, far, end, c in ((F32, 11, 11, "16.7", 1.5), (F64, 25, 31, "37.5", 2.125)):
        yield Fit(
            "erf_inv", dtype, near, mpf("1e-7"), mpf(6),
            erf_ratio, lambda w: 1 / (1 + erf_ratio(w)), lambda w: w - 3,
        )  # fmt: skip
        yield Fit(
            "erf_inv_far", dtype, far, mp.sqrt(6) - mpf("1e-3"), mp.sqrt(mpf(end)),
            lambda s: erf_ratio(s * s), lambda s: 1 / (1 + erf_ratio(s * s)),
            lambda s, c=c: s / 2 - c, two_parts=True,
        )  # fmt: skip


def powers() -> Iterator[Fit]:
    # log2((1 + s) / (1 - s)) = s (c1 + s^2 (c1 / 3 + s^2 P(s^2))), c1 = 2 / log(2)
    def log2_quotient(s: mpf) -> mpf:
        return 2 * mp.atanh(s) / LN2

    for dtype, terms in ((F32, 4), (F64, 8)):
        yield Fit(
            "pow_log2", dtype, terms, mpf("1e-4"), (SQRT2 - 1) / (SQRT2 + 1),
            lambda s: (log2_quotient(s) / s - 2 / LN2 - 2 * s**2 / (3 * LN2)) / s**4,
            lambda s: s**5 / log2_quotient(s), square,
        )  # fmt: skip


def inverse_circular() -> Iterator[Fit]:
    for dtype, asin_terms, atan_terms in ((F32, 5, 11), (F64, 13, 22)):
        yield Fit("asin", dtype, asin_terms, mpf("1e-4"), mpf("0.5"), *tail(mp.asin))
        yield Fit("atan", dtype, atan_terms, mpf("1e-4"), mpf(1), *tail(mp.atan))


def inverse_hyperbolic() -> Iterator[Fit]:
    for dtype, terms, atanh_terms in ((F32, 6, 7), (F64, 13, 15)):
        yield Fit("asinh", dtype, terms, mpf("1e-4"), mpf("0.5"), *tail(mp.asinh))
        yield Fit("atanh", dtype, atanh_terms, mpf("1e-4"), mpf("0.5"), *tail(mp.atanh))
        # acosh(1 + t) = sqrt(2 t) (1 + t P(t))
        yield Fit(
            "acosh", dtype, terms, mpf("1e-4"), mpf("0.5"),
            lambda t: (mp.acosh(1 + t) / mp.sqrt(2 * t) - 1) / t,
            lambda t: t * mp.sqrt(2 * t) / mp.acosh(1 + t),
        )  # fmt: skip


def roots() -> Iterator[Fit]:
    # m^(-1/3) = P(m - 1.5), improved by iteration
    for dtype, terms in ((F32, 6), (F64, 8)):
        yield Fit(
            "inverse_cbrt", dtype, terms, mpf(1), mpf(2),
            lambda m: 1 / mp.cbrt(m), mp.cbrt, lambda m: m - mpf("1.5"),
        )  # fmt: skip


def gamma_functions() -> Iterator[Fit]:
    # lgamma(2 + u) = u P(u)
    yield Fit(
        "lgamma", F64, 18, mpf("-0.5"), mpf("0.5"),
        lambda u: mp.loggamma(2 + u) / u, lambda u: u / mp.loggamma(2 + u),
    )  # fmt: skip


BESSEL_NEAR = mpf("7.75")
"""The size from which I_n(x) is a polynomial in 1 / x."""


def bessel_functions() -> Iterator[Fit]:
    for order in (0, 1):
        # exp(-x) I_n(x) = exp(-x) (x / 2)^n P(x^2)
        def near(x: mpf, order: int = order) -> mpf:
            return mp.besseli(order, x) / (x / 2) ** order

        # ... = P(1 / x - c) / sqrt(x)
        def far(t: mpf, order: int = order) -> mpf:
            return mp.besseli(order, 1 / t) * mp.exp(-1 / t) / mp.sqrt(t)

        yield Fit(
            f"bessel_i{order}", F64, 16, mpf("1e-4"), BESSEL_NEAR,
            near, lambda x, near=near: 1 / near(x), square,
        )  # fmt: skip
        yield Fit(
            f"bessel_i{order}_far", F64, 25, mpf("1e-5"), 1 / BESSEL_NEAR,
            far, lambda t, far=far: 1 / far(t), lambda t: 8 * t - mpf("0.5"),
        )  # fmt: skip


FITS: tuple[Callable[[], Iterator[Fit]], ...] = (
    exponentials, logarithms, hyperbolics, circular, error_functions, powers,
    inverse_circular, inverse_hyperbolic, roots, gamma_functions, bessel_functions,
)  # fmt: skip

SPLITS: tuple[Split, ...] = (
    # n * hi is exact for every exponent n
    Split("ln2", F32, lambda: mp.ln2, (15, 24)),
    Split("ln2", F64, lambda: mp.ln2, (42, 53)),
    Split("log2e", F32, lambda: 1 / mp.ln2, (24, 24)),
    Split("log2e", F64, lambda: 1 / mp.ln2, (53, 53)),
    Split("2/log(2)", F32, lambda: 2 / mp.ln2, (24, 24)),
    Split("2/log(2)", F64, lambda: 2 / mp.ln2, (53, 53)),
    Split("2/(3 log(2))", F32, lambda: 2 / (3 * mp.ln2), (24, 24)),
    Split("2/(3 log(2))", F64, lambda: 2 / (3 * mp.ln2), (53, 53)),
    Split("half_pi", F32, lambda: mp.pi / 2, (24, 24, 24)),
    Split("half_pi", F64, lambda: mp.pi / 2, (53, 53, 53)),
)

# ------------------------------------------------------------------------------- output

HEADER = '''"""Coefficients of the kernels; written by scripts/fit_math.py, do not edit.

Polynomials have their constant term first; constants are unevaluated sums, largest part first.
"""

'''


def formatted(name: str, values: dict[tuple[str, str], list[float]]) -> str:
    lines = [f"{name}: dict[tuple[str, str], tuple[float, ...]] = {{\n"]
    for (function, dtype), numbers in values.items():
        lines.append(f'    ("{function}", "{dtype}"): (\n')
        lines += [f"        {number!r},\n" for number in numbers]
        lines.append("    ),\n")
    return "".join([*lines, "}\n"])


def wrapped(integer: int) -> str:
    """A long integer as an expression of several lines."""
    digits = f"{integer:x}"
    rows = [digits[i : i + 80] for i in range(0, len(digits), 80)]
    return "int(\n" + "".join(f'    "{row}"\n' for row in rows) + "    , 16)  # fmt: skip"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", action="store_true", help="print the error of each fit")
    parser.add_argument("--only", default="", help="fit this function only, write nothing")
    options = parser.parse_args()
    polynomials: dict[tuple[str, str], list[float]] = {}
    for fit in (fit for family in FITS for fit in family()):
        if options.only not in ("", fit.name):
            continue
        coefficients, largest = remez(fit)
        rounded, after = rounded_coefficients(fit, coefficients)
        polynomials[fit.name, fit.dtype] = rounded
        if options.report or options.only:
            before = float(mp.log(largest, 2))
            print(f"{fit.name:>14} {fit.dtype} {fit.terms:3} terms {before:7.2f} {after:7.2f} bits")
    with mp.workprec(PI_BITS + 100):
        inverse_pi = int(mp.floor(mpf(2) ** PI_BITS / mp.pi))
    constants = {(c.name, c.dtype): list(split(c)) for c in SPLITS}
    if not options.only:
        parts = (formatted("POLYNOMIALS", polynomials), formatted("CONSTANTS", constants))
        bits = f"INVERSE_PI_BITS = {PI_BITS}\nINVERSE_PI = {wrapped(inverse_pi)}\n"
        OUTPUT.write_text(HEADER + "\n".join((*parts, bits)))


if __name__ == "__main__":
    main()
