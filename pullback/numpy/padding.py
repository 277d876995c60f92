"""`pad`, in all of NumPy's modes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy import reductions, statistics
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.predicates import rint
from pullback.numpy.promotion import ensure_arraylike
from pullback.numpy.ranges import linspace
from pullback.numpy.vectorization import apply_along_axis
from pullback.runtime.composites import compiled_when_eager

__all__ = ["pad"]

Widths = Sequence[tuple[int, int]]

_ALLOWED: dict[str, tuple[str, ...]] = {
    "empty": (),
    "edge": (),
    "wrap": (),
    "constant": ("constant_values",),
    "linear_ramp": ("end_values",),
    "maximum": ("stat_length",),
    "mean": ("stat_length",),
    "median": ("stat_length",),
    "minimum": ("stat_length",),
    "reflect": ("reflect_type",),
    "symmetric": ("reflect_type",),
}


@compiled_when_eager("pad_width", "mode", "stat_length", "reflect_type")
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """The array with more elements at the ends of its axes.

    `pad_width` is (before, after) for each axis, for all, or one number, or a dict by axis. Modes:
    constant (`constant_values`), edge, empty, linear_ramp (`end_values`), maximum, mean, median,
    minimum (`stat_length`), reflect, symmetric (`reflect_type`), wrap, or a function of padded
    vectors.

    >>> import pullback.numpy as jnp
    >>> jnp.pad(jnp.array([1, 2]), (1, 2)), jnp.pad(jnp.array([1, 2, 3]), 1, mode="reflect")
    (Array([0, 1, 2, 0, 0], dtype=int32), Array([2, 1, 2, 3, 2], dtype=int32))
    """
    array = ensure_arraylike("pad", array)
    widths = _widths(pad_width, array.ndim)
    if callable(mode):
        return _pad_by_function(array, widths, mode, kwargs)
    if mode not in _ALLOWED:
        raise NotImplementedError(f"Unimplemented padding mode {mode!r} for np.pad.")
    unknown = set(kwargs) - set(_ALLOWED[mode])
    if unknown:
        raise ValueError(f"unsupported keyword arguments for mode {mode!r}: {set(unknown)}")
    if mode != "constant" and any(w < 0 for pair in widths for w in pair):
        raise ValueError("index can't contain negative values")
    return _MODES[mode](array, widths, **kwargs)


def _pairs(value: Any, rank: int, what: str) -> list[tuple[Any, Any]]:
    """One pair an axis, from a pair, a number, or one of them for each axis."""
    if isinstance(value, Mapping):
        found: list[tuple[Any, Any]] = [(0, 0)] * rank
        for axis, entry in value.items():
            pair = entry if isinstance(entry, (tuple, list)) else (entry, entry)
            found[operator.index(axis)] = (pair[0], pair[1])
        return found
    if not isinstance(value, (tuple, list)):
        value = as_array(value) if not isinstance(value, np.ndarray) else value
        if value.ndim == 0:
            return [(value, value)] * rank
        value = [value[k] for k in range(value.shape[0])]
    entries = [_entry(v) for v in value]
    if all(len(e) == 1 for e in entries):
        flat = [e[0] for e in entries]
        if len(flat) == 1:
            return [(flat[0], flat[0])] * rank
        if len(flat) == 2:
            return [(flat[0], flat[1])] * rank
    else:
        pairs = [(e[0], e[-1]) for e in entries]
        if len(pairs) == rank:
            return pairs
        if len(pairs) == 1:
            return pairs * rank
    raise ValueError(
        f"jnp.pad: {what} with nd={rank} has unsupported shape {np.shape(value)}. Valid shapes are "
        f"({rank}, 2), (1, 2), (2,), (1,), or ()."
    )


def _entry(v: Any) -> list[Any]:
    if isinstance(v, (tuple, list)):
        return list(v)
    x = v if isinstance(v, np.ndarray) else as_array(v)
    return [v] if x.ndim == 0 else [x[k] for k in range(x.shape[0])]


def _widths(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    pairs = _pairs(pad_width, rank, "pad_width")
    concrete = [concrete_or_error(None, w, "pad_width must be static") for p in pairs for w in p]
    if any(np.asarray(w).dtype.kind not in "iu" for w in concrete):
        raise TypeError("`pad_width` must be of integral type.")
    numbers = [int(np.asarray(w)) for w in concrete]
    if any(n < 0 for n in numbers):
        raise ValueError(f"index can't contain negative values; got pad_width={pad_width}")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _pad_constant(array: Any, widths: Widths, constant_values: Any = 0) -> Any:
    values = _pairs(constant_values, array.ndim, "constant_values")
    pairs = [
        tuple(convert_with_weak_type(asarray(v), array.dtype, array.weak_type) for v in pair)
        for pair in values
    ]
    for axis, ((before, after), (low, high)) in enumerate(zip(widths, pairs, strict=True)):
        for amount, value, side in ((before, low, 0), (after, high, 1)):
            config = [(0, 0, 0)] * array.ndim
            config[axis] = (amount, 0, 0) if side == 0 else (0, amount, 0)
            array = lax.pad(array, value, config) if amount else array
    return array


def _pad_empty(array: Any, widths: Widths) -> Any:
    return _pad_constant(array, widths)


def _joined(before: Any, array: Any, after: Any, axis: int) -> Any:
    parts = [p for p in (before, array, after) if p is not None and p.shape[axis]]
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def _edges(array: Any, axis: int) -> tuple[Any, Any]:
    n = array.shape[axis]
    return (
        lax.slice_in_dim(array, 0, 1, axis=axis),
        lax.slice_in_dim(array, n - 1, n, axis=axis),
    )


def _repeated(x: Any, count: int, axis: int) -> Any:
    """An array of length 1 along an axis, repeated there."""
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    return broadcast_to_shape(x, shape)


def _check_not_empty(array: Any, axis: int, pair: tuple[int, int], mode: str) -> None:
    if array.shape[axis] == 0 and any(pair):
        raise ValueError(f"Cannot apply '{mode}' padding to empty axis")


def _pad_edge(array: Any, widths: Widths) -> Any:
    for axis, pair in enumerate(widths):
        _check_not_empty(array, axis, pair, "edge")
        if any(pair):
            first, last = _edges(array, axis)
            array = _joined(
                _repeated(first, pair[0], axis), array, _repeated(last, pair[1], axis), axis
            )
    return array


def _pad_linear_ramp(array: Any, widths: Widths, end_values: Any = 0) -> Any:
    ends = _pairs(end_values, array.ndim, "end_values")
    for axis, (pair, (low, high)) in enumerate(zip(widths, ends, strict=True)):
        _check_not_empty(array, axis, pair, "linear_ramp")
        if any(pair):
            first, last = (lax.squeeze(e, (axis,)) for e in _edges(array, axis))
            before = _ramp(low, first, pair[0], axis, array)
            after = lax.rev(_ramp(high, last, pair[1], axis, array), (axis,))
            array = _joined(before, array, after, axis)
    return array


def _ramp(end: Any, edge: Any, count: int, axis: int, array: Any) -> Any:
    ramp = linspace(asarray(end), edge, count, endpoint=False, dtype=array.dtype, axis=axis)
    return convert_with_weak_type(ramp, array.dtype, array.weak_type)


def _statistic(function: Callable[..., Any]) -> Callable[..., Any]:
    def pad_by(array: Any, widths: Widths, stat_length: Any = None) -> Any:
        lengths: list[tuple[Any, Any]] = [(None, None)] * array.ndim
        if stat_length is not None:
            lengths = list(_widths(stat_length, array.ndim))
        for axis, (pair, (low, high)) in enumerate(zip(widths, lengths, strict=True)):
            _check_not_empty(array, axis, pair, "statistic")
            n = array.shape[axis]
            low, high = (n if v is None else min(v, n) for v in (low, high))
            if low < 1 or high < 1:
                raise ValueError("stat_length of 0 yields no value for padding")
            front = lax.slice_in_dim(array, 0, low, axis=axis)
            back = lax.slice_in_dim(array, n - high, n, axis=axis)
            before, after = (
                _like(function(x, axis=axis, keepdims=True), array) for x in (front, back)
            )
            array = _joined(
                _repeated(before, pair[0], axis), array, _repeated(after, pair[1], axis), axis
            )
        return array

    return pad_by


def _like(x: Any, array: Any) -> Any:
    if dtypes.kind_of(array.dtype) in "iu" and dtypes.kind_of(x.dtype) == "f":
        x = rint(x)
    return convert_with_weak_type(x, array.dtype, array.weak_type)


def _pad_mirror(array: Any, widths: Widths, reflect_type: str = "even", skip: int = 0) -> Any:
    """Mirrored at the ends; `skip` elements at the mirror are not repeated."""
    if reflect_type not in ("even", "odd"):
        raise ValueError(f"reflect_type must be 'even' or 'odd', got {reflect_type!r}")
    for axis, (before, after) in enumerate(widths):
        _check_not_empty(array, axis, (before, after), "reflect" if skip else "symmetric")
        if array.shape[axis] == 1 and skip:
            # There is nothing to mirror but the element itself.
            array = _pad_edge(
                array, [(before, after) if k == axis else (0, 0) for k in range(array.ndim)]
            )
            continue
        step = array.shape[axis] - skip
        while before > 0 or after > 0:  # each time as much as one original length at both ends
            sides = (min(before, step), False), (min(after, step), True)
            parts = [_mirrored(array, *side, axis, reflect_type, skip) for side in sides]
            array = _joined(parts[0], array, parts[1], axis)
            before, after = before - sides[0][0], after - sides[1][0]
    return array


def _mirrored(array: Any, take: int, at_end: bool, axis: int, kind: str, skip: int) -> Any:
    """What comes before the first, or behind the last of an axis."""
    n = array.shape[axis]
    start = n - skip - take if at_end else skip
    part = lax.rev(lax.slice_in_dim(array, start, start + take, axis=axis), (axis,))
    if kind == "odd":
        edge = _repeated(_edges(array, axis)[at_end], take, axis)
        part = lax.sub(lax.add(edge, edge), part)
    return part


def _pad_reflect(array: Any, widths: Widths, reflect_type: str = "even") -> Any:
    return _pad_mirror(array, widths, reflect_type, 1)


def _pad_wrap(array: Any, widths: Widths) -> Any:
    for axis, (before, after) in enumerate(widths):
        _check_not_empty(array, axis, (before, after), "wrap")
        n = array.shape[axis]
        if before or after:
            index = np.arange(-before, n + after) % n
            array = array[(*(slice(None),) * axis, index)]
    return array


def _pad_by_function(
    array: Any, widths: Widths, function: Callable[..., Any], kwargs: dict[str, Any]
) -> Any:
    padded = _pad_empty(array, widths)
    for axis, pair in enumerate(widths):
        padded = apply_along_axis(function, axis, padded, pair, axis, kwargs)
    return padded


_MODES: dict[str, Callable[..., Any]] = {
    "constant": _pad_constant,
    "edge": _pad_edge,
    "empty": _pad_empty,
    "linear_ramp": _pad_linear_ramp,
    "maximum": _statistic(reductions.max),
    "mean": _statistic(reductions.mean),
    "median": _statistic(statistics.median),
    "minimum": _statistic(reductions.min),
    "reflect": _pad_reflect,
    "symmetric": _pad_mirror,
    "wrap": _pad_wrap,
}
