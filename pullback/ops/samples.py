"""Operands for the generated tests: random ones of every dtype and shape, and the special values.

The `samples` slot of a primitive is made here: `inputs(INEXACT, (-3, 3))` for a function of one
operand in the interval, `inputs(NUMERIC, ANYWHERE, ANYWHERE)` for one of two.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.primitive import Sample

__all__ = [
    "ANYWHERE",
    "DTYPES",
    "draw",
    "generator",
    "inputs",
    "joined",
    "special_values",
]

ANYWHERE: Final = (-3.0, 3.0)
DTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "f": tuple(np.dtype(d) for d in (np.float32, dtypes.bfloat16, np.float16, np.float64)),
    "c": (np.dtype(np.complex64), np.dtype(np.complex128)),
    "i": (np.dtype(np.int32), np.dtype(np.int8), np.dtype(np.int64)),
    "u": (np.dtype(np.uint32), np.dtype(np.uint8)),
    "b": (np.dtype(np.bool_),),
}
_SHAPES: Final[tuple[tuple[int, ...], ...]] = ((), (5,), (2, 3), (67,), (0, 3))
_SMALL: Final[tuple[tuple[int, ...], ...]] = ((7,),)

Interval = tuple[float, float]


def generator() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20240229)


def draw(
    rng: np.random.Generator, dtype: Any, shape: Sequence[int], interval: Interval = ANYWHERE
) -> Any:
    """Random elements of `dtype`, within the interval as far as the type allows."""
    low, high = interval
    shape = tuple(shape)
    kind = dtypes.kind_of(dtype)
    if kind == "b":
        return rng.random(shape) < 0.5
    if kind in "iu":
        low = max(math.ceil(low), 0) if kind == "u" else math.ceil(low)
        return np.asarray(rng.integers(low, max(math.floor(high), low) + 1, shape)).astype(dtype)
    if kind == "c":
        return np.asarray(
            rng.uniform(low, high, shape) + 1j * rng.uniform(low, high, shape)
        ).astype(dtype)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


_FLOATS: Final = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    7.0,
    1e-3,
    -1e4,
    math.inf,
    -math.inf,
    math.nan,
)


def special_values(dtype: Any) -> Any:
    """The elements of a dtype at which implementations go wrong; none for complex ones."""
    kind = dtypes.kind_of(dtype)
    if kind == "f":
        return np.array(_FLOATS).astype(dtype)
    if kind == "b":
        return np.array([False, True])
    if kind == "c":
        return np.array([0, 1, -1, 1j, -1j, 0.5 + 0.25j]).astype(dtype)
    info: Any = np.iinfo(dtype)
    edges = {int(info.min), int(info.max), 0, 1, 2, 3, 7} | ({-1, -2, -7} if kind == "i" else set())
    return np.array(sorted(edges)).astype(dtype)


def inputs(
    accepts: str,
    *intervals: Interval,
    specials: str = "fiub",
    ints: Interval = (-9, 9),
    smooth: bool = True,
    tol: float = 1.0,
    narrow: bool = True,
    differentiable: tuple[int, ...] | None = None,
    **params: Any,
) -> Callable[[], Iterable[Sample]]:
    """Samples of an element-wise operation, one interval an operand.

    `specials` are the kinds of dtypes whose special values are tried too, in all combinations;
    `narrow=False` leaves out the floats of 16 bits.
    """

    def of(dtype: Any, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> Sample:
        integral = dtypes.kind_of(dtype) in "iu"
        spans = [ints if integral else interval for interval in intervals]
        args = [draw(rng, dtype, s, i) for s, i in zip(shapes, spans, strict=True)]
        return Sample(tuple(args), dict(params), smooth, tol, differentiable)

    def samples() -> Iterator[Sample]:
        rng = generator()
        for kind in accepts:
            for place, dtype in enumerate(DTYPES[kind]):
                if dtype.itemsize < 4 and kind == "f" and not narrow:
                    continue
                for shape in _SHAPES if place == 0 else _SMALL:
                    yield of(dtype, [shape] * len(intervals), rng)
                if place == 0 and len(intervals) > 1:
                    yield from (of(dtype, s, rng) for s in _with_scalars(len(intervals)))
                if kind in specials and place < 2:
                    yield _special(dtype, len(intervals), params, tol)

    return samples


def _with_scalars(count: int) -> Iterator[list[tuple[int, ...]]]:
    for k in range(count):
        yield [() if n == k else (2, 3) for n in range(count)]


def _special(dtype: Any, count: int, params: dict[str, Any], tol: float) -> Sample:
    values = special_values(dtype)
    rows = np.array(list(itertools.product(range(len(values)), repeat=count)))
    return Sample(tuple(values[rows[:, k]] for k in range(count)), dict(params), False, tol)


def joined(*parts: Callable[[], Iterable[Sample]]) -> Callable[[], Iterable[Sample]]:
    """The samples of several generators."""
    return lambda: itertools.chain.from_iterable(part() for part in parts)
