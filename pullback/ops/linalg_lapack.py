"""LAPACK from generated code, and from references: one routine a matrix, lane by lane.

Generated code calls the Fortran routines by address, with all arguments by reference.  They take
matrices column by column, so operands are copied with their axes swapped, and results are views
that swap them back.  A lane whose routine fails, or that holds a number that is not finite, becomes
NaN.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.records import record

__all__ = [
    "Routines",
    "by_columns",
    "finite_lanes",
    "guarded",
    "lanes_nan",
    "per_lane",
    "real_dtype",
    "routine",
    "swapped",
]

_SCRATCH_BYTES: Final = 1 << 24
_ROUND_NS: Final = 5e7
_FEWEST, _MOST = 8, 64
"""Lanes that run at a time: so many have scratch memory."""
_CALL_NS: Final = 500.0
_NS: Final = 0.1
"""Nanoseconds that a routine needs for each of m * n * min(m, n) steps, roughly."""
_PREFIXES: Final = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}


def real_dtype(dtype: Any) -> Any:
    """The dtype of the absolute values."""
    return {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}.get(dtype, dtype)


# --------------------------------------------------------------------------- generated code


class Routines:
    """The routines of one precision, for the lanes of matrices `x`.

        routines.each_lane(lambda i: routines("potrf", "U", n, b.part(a, i), n, info))

    Python integers, expressions and NumPy scalars go by reference; tensors by address.  Lanes run
    on the threads of the program, a bounded number of them at a time, each with its own scratch
    memory; between these rounds the program looks for signals.
    """

    def __init__(self, b: Any, x: Any) -> None:
        self.b, self.dtype, self.lanes = b, x.dtype, tuple(x.shape[:-2])
        self.prefix = _PREFIXES[self.dtype.name]
        self.complex = dtypes.kind_of(self.dtype) == "c"
        self.real = real_dtype(self.dtype)
        m, n = x.shape[-2:]
        self.work_ns = _CALL_NS + (4 if self.complex else 1) * m * n * min(m, n) * _NS
        self.count = math.prod(self.lanes)
        most = (
            _SCRATCH_BYTES // (4 * (m * n + 1) * self.dtype.itemsize),
            int(_ROUND_NS / self.work_ns),
        )
        self.slots = min(self.count, max(_FEWEST, min(_MOST, *most)))
        self.slot: Any = None
        self.independent = True
        self.few_threads = self.count >= _FEWEST
        """Whether there are lanes enough for each to take one thread."""

    def __call__(self, name: str, *args: Any) -> None:
        self.b.call(self.prefix + name, *map(self._argument, args), work=self.work_ns)

    def unitary(self, name: str, *args: Any) -> None:
        """A routine named or... for real and un... for complex matrices."""
        self(("un" if self.complex else "or") + name, *args)

    def _argument(self, x: Any) -> Any:
        if isinstance(x, int):
            return self.b.ref(np.int32(x))
        if isinstance(x, np.generic):
            return self.b.ref(x)
        return self.b.part(x.slots, [self.slot]) if isinstance(x, _Work) else x

    def work(self, size: int, dtype: Any = None) -> _Work:
        """Scratch memory of the routine."""
        shape = (self.slots, max(int(size), 1))
        return _Work(self.b.buffer(shape, self.dtype if dtype is None else dtype))

    def status(self) -> Any:
        """Where each lane's routine says whether it succeeded."""
        return self.b.buffer((*self.lanes, 1), dtypes.int32)

    def each_lane(self, body: Callable[[list[Any]], None], independent: bool = True) -> None:
        """`body(index)` for every lane, `independent` ones at the same time."""
        self.independent = independent
        rounds, rest = divmod(self.count, self.slots)
        with self.b.loop(rounds) as r:
            self._round(body, r * self.slots, self.slots)
        if rest:
            self._round(body, rounds * self.slots, rest)

    def _round(self, body: Callable[[list[Any]], None], first: Any, count: int) -> None:
        with self.b.loop(count, independent=self.independent) as self.slot:
            lane, index = first + self.slot, list[Any]()
            for extent in reversed(self.lanes[1:]):
                index.append(lane % extent)
                lane = lane // extent
            body([lane, *reversed(index)] if self.lanes else [])


@record()
class _Work:
    """Scratch memory: a row for each of the lanes that run at a time."""

    slots: Any


def swapped(b: Any, x: Any) -> Any:
    """The last two axes swapped, as a view."""
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    return b.view(shape, lambda i: x.at([*i[:-2], i[-1], i[-2]]))


def by_columns(b: Any, x: Any) -> Any:
    """A copy of matrices, column by column, for LAPACK to overwrite."""
    return b.buffer((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype, swapped(b, x))


def finite_lanes(b: Any, x: Any) -> Any:
    """Whether all numbers of a lane are finite (a byte a lane)."""

    def finite(s: Any, e: Any) -> Any:
        if e.dtype.kind == "c":
            return s.and_(s.is_finite(s.real(e)), s.is_finite(s.imag(e)))
        return s.is_finite(e)

    rank = len(x.shape)
    tested = b.map(finite, x)
    (result,) = b.reduce(
        [tested], (rank - 2, rank - 1), [True], lambda s, a, v: [s.and_(a[0], v[0])]
    )
    return b.materialize(result)


def lanes_nan(b: Any, x: Any, status: Any, good: Any = None) -> Any:
    """`x`, with NaN in lanes whose status is not 0 or that `good` rules out."""
    rank = len(status.shape) - 1
    nan = complex(np.nan, np.nan) if x.dtype.kind == "c" else np.nan

    def at(i: tuple[Any, ...]) -> Any:
        lane = list(i[:rank])
        ok = b.s.eq(status.at([*lane, 0]), 0)
        if good is not None:
            ok = b.s.and_(ok, good.at(lane))
        return b.s.select(ok, x.at(i), b.s.const(nan, x.dtype))

    return b.view(x.shape, at)


# --------------------------------------------------------------------------- references


def routine(name: str, dtype: Any) -> Callable[..., Any]:
    """SciPy's wrapper of a routine; a real one named or... is un... for complex matrices.

    `scipy.linalg` is imported when first used: it is slow to load.
    """
    prefix = _PREFIXES[dtype.name]
    if prefix in "cz" and name.startswith("or"):
        name = "un" + name[2:]
    for module in ("scipy.linalg.lapack", "scipy.linalg.blas"):
        found: Callable[..., Any] | None = getattr(
            importlib.import_module(module), prefix + name, None
        )
        if found is not None:
            return found
    raise KeyError(f"SciPy has no LAPACK routine {prefix + name!r}")


def per_lane(fn: Callable[..., Sequence[Any]], *xs: Any, ranks: Sequence[int], like: Any) -> Any:
    """Results of `fn` on each lane, stacked; `ranks` are the ranks of one lane's operands.

    `like` are the shapes and dtypes of one lane's results, for when there are no lanes.
    """
    lanes = xs[0].shape[: xs[0].ndim - ranks[0]]
    outs = [np.empty((*lanes, *shape), dtype) for shape, dtype in like]
    for i in np.ndindex(*lanes):
        for out, value in zip(outs, fn(*[x[i] for x in xs]), strict=True):
            out[i] = value
    return outs


def guarded(x: Any, fn: Callable[[Any], Sequence[Any]]) -> list[Any]:
    """Results of a batched `fn`, NaN in lanes with numbers that are not finite."""
    bad = ~np.isfinite(x).all(axis=(-2, -1))
    if not bad.any():
        return [np.asarray(out) for out in fn(x)]
    unit = np.eye(*x.shape[-2:], dtype=x.dtype)
    outs = [np.array(out) for out in fn(np.where(bad[..., None, None], unit, x))]
    for out in outs:
        if out.dtype.kind in "fc":
            out[bad] = complex(np.nan, np.nan) if out.dtype.kind == "c" else np.nan
    return outs
