"""Measures elementary functions as users call them, in units of the last place.

`python -m tests.llvm.accuracy` writes docs/accuracy.md.  Float16 and bfloat16 are swept whole; of
float32 every 257th bit pattern is taken and of float64 a million random ones, besides what
`test_math` takes; the worst tenth of a thousand is measured again with mpmath, which also checks
the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import scipy.special
from mpmath import mp, mpf
from tqdm import tqdm

import pullback
from tests.llvm.math_harness import error_in_ulps
from tests.llvm.test_math import REFERENCES, samples, wide

Array = np.ndarray[Any, Any]
Wide = np.longdouble
DTYPES = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Function:
    """A function of ours, of NumPy or SciPy in a wider type, and of mpmath."""

    ours: Callable[..., Any]
    wider: Callable[..., Any]
    exact: Callable[..., Any]
    operands: int = 1
    long_double: bool = True
    """The wider function takes it: otherwise mpmath alone measures float64."""
    own: tuple[str, ...] = DTYPES
    """The types of which the table has the error."""


def _functions() -> Iterator[tuple[str, Function]]:
    same = "exp exp2 expm1 log log2 log10 log1p sin cos tan sinh cosh tanh arcsin arccos arctan"
    mpmath = {"exp2": lambda x: mpf(2) ** x, "log2": lambda x: mp.log(x, 2)}
    mpmath |= {"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan}
    mpmath |= {"arcsinh": mp.asinh, "arccosh": mp.acosh, "arctanh": mp.atanh}
    mpmath |= {"cbrt": lambda x: mp.sign(x) * mp.root(abs(x), 3)}
    for name in (*same.split(), "arcsinh", "arccosh", "arctanh", "cbrt", "sqrt"):
        exact = mpmath.get(name) or getattr(mp, name)
        yield name, Function(getattr(pullback.numpy, name), getattr(np, name), exact)
    yield (
        "rsqrt",
        Function(pullback.lax.rsqrt, lambda x: 1 / np.sqrt(x), lambda x: 1 / mp.sqrt(x)),
    )
    yield (
        "sigmoid",
        Function(pullback.nn.sigmoid, REFERENCES["logistic"], lambda x: 1 / (1 + mp.exp(-x))),
    )
    ours, theirs = pullback.scipy.special, scipy.special
    yield "erf", Function(ours.erf, theirs.erf, mp.erf, long_double=False)
    yield "erfc", Function(ours.erfc, theirs.erfc, mp.erfc, long_double=False)
    yield "erfinv", Function(ours.erfinv, theirs.erfinv, mp.erfinv, long_double=False)
    narrow = DTYPES[:3]
    yield "gammaln", Function(ours.gammaln, _gammaln, mp.loggamma, 1, False, narrow)
    yield "digamma", Function(ours.digamma, _digamma, mp.digamma, 1, False, narrow)
    yield "power", Function(pullback.numpy.power, np.power, mp.power, 2)
    yield "arctan2", Function(pullback.numpy.arctan2, np.arctan2, mp.atan2, 2)
    yield "hypot", Function(pullback.numpy.hypot, np.hypot, mp.hypot, 2)


def _gammaln(x: Array) -> Array:
    return np.where(np.isneginf(x), np.inf, scipy.special.gammaln(x))


def _digamma(x: Array) -> Array:
    """As in JAX, NaN at every pole."""
    return np.where((x <= 0) & (x == np.floor(x)), np.nan, scipy.special.digamma(x))


FUNCTIONS = dict(_functions())


def sweep(dtype: str, operands: int, dense: bool = True) -> list[Array]:
    """Operands: every pattern of a type of 16 bits, many of a wider one."""
    kind = np.dtype(dtype) if dtype != "bfloat16" else np.dtype(ml_dtypes.bfloat16)
    if kind.itemsize == 2:
        every = np.arange(1 << 16, dtype=np.uint16).view(kind)
        generator = np.random.default_rng(1)
        pairs = [every, *(generator.permutation(every) for _ in range(3))]
        return [np.tile(every, 4), np.concatenate(pairs)][:operands] if operands > 1 else [every]
    short, count = ("f32", 60_000) if kind.itemsize == 4 else ("f64", 300_000 if dense else 20_000)
    found = [samples(short, count, seed) for seed in range(operands)]
    if dense and operands == 1 and short == "f32":
        patterns = np.arange(0, 1 << 32, 257, dtype=np.uint64).astype(np.uint32)
        found = [np.concatenate([found[0], patterns.view(np.float32)])]
    return found


@np.errstate(all="ignore")
def measure(function: Function, dtype: str, dense: bool = True) -> tuple[float, list[Any]]:
    """The largest error found, and where."""
    inputs = sweep(dtype, function.operands, dense)
    if dtype == "float64" and not function.long_double:
        inputs = [np.random.default_rng(2).permutation(x)[:2000] for x in inputs]
    with pullback.enable_x64(True):
        got = np.asarray(pullback.jit(function.ours)(*inputs))
        if dtype == "float64" and not function.long_double:
            exact = _by_mpmath(function, inputs)
        else:
            wider = Wide if dtype == "float64" else np.float64
            exact = function.wider(*(x.astype(wider) for x in inputs))
    errors = error_in_ulps(got, exact)
    worst = np.argsort(errors)[-50:]
    if np.isfinite(errors[worst[-1]]) and function.long_double:
        chosen = [x[worst] for x in inputs]
        errors[worst] = error_in_ulps(got[worst], _by_mpmath(function, chosen))
    place = int(np.argmax(errors))
    return float(errors[place]), [x[place] for x in inputs]


def _by_mpmath(function: Function, inputs: list[Array]) -> Array:
    with mp.workdps(400):
        return np.array(
            [_value(function, [float(v) for v in xs]) for xs in zip(*inputs, strict=True)]
        )


def _value(function: Function, xs: list[float]) -> Any:
    """By NumPy's or SciPy's where there is no number to round: poles, infinities, NaN."""
    usual = function.wider(*map(np.float64, xs))
    if not all(map(np.isfinite, xs)) or np.isnan(usual):
        return Wide(usual)
    try:
        found = function.exact(*map(mpf, xs))
    except (ValueError, ZeroDivisionError, OverflowError):
        return Wide(usual)
    return wide(mp.re(found))


HEAD = """# Accuracy of elementary functions

The largest error found, in units of the last place of the exact result, of each function as it is
called under `jit` on the CPU; 0.5 is as exact as rounding allows. All 65,536 numbers of `float16`
and `bfloat16` were tried, of `float32` 16.7 million spread evenly over its bit patterns and 360,000
chosen ones, of `float64` 1.8 million (2,000 where mpmath is the only oracle: `erf`, `erfc`,
`erfinv`), and as many chosen pairs for functions of two arguments. What is exact is computed in a
wider type and, where the error is largest, by mpmath with 400 digits. Written by
`python -m tests.llvm.accuracy`. Of `float64` are missing `digamma`, which is SciPy's, and
`gammaln`, within 4 units right of -1/2; left of it the error is one of 1 next to the zeros.

| function | """


def main() -> None:
    """Write the table."""
    rows = [HEAD + " | ".join(DTYPES) + " |", "| --- |" + " ---: |" * len(DTYPES)]
    for name, function in tqdm(FUNCTIONS.items()):
        errors = {dtype: measure(function, dtype)[0] for dtype in function.own}
        cells = [f"{errors[d]:.3f}" if d in errors else "-" for d in DTYPES]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    Path("docs/accuracy.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
