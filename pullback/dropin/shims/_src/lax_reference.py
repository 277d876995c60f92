"""`jax._src.lax_reference`: the operations of `jax.lax` by NumPy and SciPy, for tests to compare.

Written by their definitions and for small operands: convolutions and windows are explicit sums.
"""

from __future__ import annotations

import builtins
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import scipy.special

from pullback import lax

__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "betainc", "bitcast_convert_type", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "broadcast", "broadcast_in_dim", "cbrt", "ceil", "clamp", "clz", "complex",
    "concatenate", "conj", "conv", "conv_general_dilated", "conv_with_general_padding",
    "convert_element_type", "cos", "cosh", "digamma", "div", "dot", "dot_general",
    "dynamic_slice", "dynamic_update_slice", "eq", "erf", "erf_inv", "erfc", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "igamma", "igammac", "imag", "is_finite", "le", "lgamma",
    "log", "log1p", "logistic", "lt", "max", "min", "mul", "mulhi", "ne", "neg", "nextafter",
    "pad", "padtype_to_pads", "population_count", "pow", "ragged_dot", "real", "reciprocal",
    "reduce", "reduce_window", "rem", "reshape", "rev", "round", "rsqrt", "select", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "slice", "sort",
    "sort_key_val", "sqrt", "square", "squeeze", "sub", "sum", "tan", "tanh", "top_k",
    "transpose",
]  # fmt: skip

_slice: Final = slice
_largest: Final = builtins.max
_special: Final[Any] = scipy.special

# --------------------------------------------------------------------------- elements

neg = np.negative
sign = np.sign
floor = np.floor
ceil = np.ceil
abs = np.absolute
exp, exp2, expm1, log, log1p = np.exp, np.exp2, np.expm1, np.log, np.log1p
tanh, sin, cos, tan = np.tanh, np.sin, np.cos, np.tan
asin, acos, atan, atan2 = np.arcsin, np.arccos, np.arctan, np.arctan2
sinh, cosh, asinh, acosh, atanh = np.sinh, np.cosh, np.arcsinh, np.arccosh, np.arctanh
sqrt, cbrt, square, reciprocal = np.sqrt, np.cbrt, np.square, np.reciprocal
nextafter, is_finite = np.nextafter, np.isfinite
bitwise_not, bitwise_and, bitwise_or = np.bitwise_not, np.bitwise_and, np.bitwise_or
bitwise_xor, shift_left, shift_right_arithmetic = np.bitwise_xor, np.left_shift, np.right_shift
add, sub, pow, max, min = np.add, np.subtract, np.power, np.maximum, np.minimum
eq, ne, ge, gt, le, lt = (
    np.equal, np.not_equal, np.greater_equal, np.greater, np.less_equal, np.less,
)  # fmt: skip
real, imag, select = np.real, np.imag, np.where
dot, squeeze, transpose, sort, sum = np.dot, np.squeeze, np.transpose, np.sort, np.sum
igamma, igammac = _special.gammainc, _special.gammaincc


def mul(x: Any, y: Any, /, *, out_dtype: Any = None) -> Any:
    """The product, in the dtype that is asked for."""
    return np.multiply(x, y) if out_dtype is None else np.multiply(x, y).astype(out_dtype)


def div(lhs: Any, rhs: Any) -> Any:
    """The quotient; that of integers goes towards zero."""
    if not np.issubdtype(np.result_type(lhs), np.integer):
        return np.divide(lhs, rhs)
    quotient = np.floor_divide(lhs, rhs)
    return np.where((quotient < 0) & (quotient * rhs != lhs), quotient + 1, quotient)


def rem(lhs: Any, rhs: Any) -> Any:
    """The remainder, with the sign of the dividend."""
    return np.fmod(lhs, rhs)


def round(x: Any) -> Any:
    """To the nearest integer, halves away from zero."""
    x = np.asarray(x)
    return (np.trunc(x) + np.copysign(np.abs(x - np.trunc(x)) >= 0.5, x)).astype(x.dtype)


def logistic(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return (1 / (1 + np.exp(-x))).astype(np.asarray(x).dtype)


def rsqrt(x: Any) -> Any:
    """1 / sqrt(x)."""
    return np.ones_like(x) / np.sqrt(x)


def complex(x: Any, y: Any) -> Any:
    """x + i y."""
    return (x + 1j * y).astype(np.complex128 if np.asarray(x).dtype == np.float64 else np.complex64)


def conj(x: Any) -> Any:
    """The conjugate, complex also for real numbers."""
    wide = np.asarray(x).dtype in (np.float64, np.complex128)
    return np.conj(x).astype(np.complex128 if wide else np.complex64)


def _by_scipy(f: Callable[..., Any]) -> Callable[..., Any]:
    def function(*xs: Any) -> Any:
        dtype = np.asarray(xs[0]).dtype
        return np.asarray(f(*(np.asarray(x, np.float64) for x in xs))).astype(dtype)

    return function


lgamma = _by_scipy(_special.gammaln)
digamma = _by_scipy(_special.digamma)
erf = _by_scipy(_special.erf)
erfc = _by_scipy(_special.erfc)
erf_inv = _by_scipy(_special.erfinv)
betainc = _by_scipy(_special.betainc)
bessel_i0e = _by_scipy(_special.i0e)
bessel_i1e = _by_scipy(_special.i1e)


def _bits(x: Any) -> tuple[Any, int]:
    width = 8 * np.asarray(x).dtype.itemsize
    return np.asarray(x).astype(np.uint64) & np.uint64(2**width - 1), width


def population_count(x: Any) -> Any:
    """How many bits are set."""
    return np.bitwise_count(_bits(x)[0]).astype(np.asarray(x).dtype)


def clz(x: Any) -> Any:
    """How many bits in front are not set."""
    bits, width = _bits(x)
    lengths = [width - int(b).bit_length() for b in bits.ravel()]
    return np.reshape(lengths, bits.shape).astype(np.asarray(x).dtype)


def shift_right_logical(x: Any, y: Any) -> Any:
    """Shifted, with zeros in front."""
    bits, width = _bits(x)
    amount = np.asarray(y).astype(np.uint64)
    shifted = np.where(amount < width, bits >> np.minimum(amount, np.uint64(63)), np.uint64(0))
    return shifted.astype(np.asarray(x).dtype)


def mulhi(x: Any, y: Any) -> Any:
    """The upper half of the product of integers."""
    width = 8 * np.asarray(x).dtype.itemsize
    exact = np.asarray(x).astype(object) * np.asarray(y).astype(object)
    return np.asarray(exact // 2**width).astype(np.asarray(x).dtype)


def clamp(min: Any, operand: Any, max: Any) -> Any:
    """Between the bounds."""
    return np.clip(operand, min, max).astype(np.asarray(operand).dtype)


# --------------------------------------------------------------------------- types and shapes


def convert_element_type(operand: Any, dtype: Any) -> Any:
    """In another dtype."""
    return np.asarray(operand).astype(dtype)


def bitcast_convert_type(operand: Any, dtype: Any) -> Any:
    """The bits as another dtype."""
    x, dtype = np.asarray(operand), np.dtype(dtype)
    ratio = x.dtype.itemsize / dtype.itemsize
    if ratio > 1:
        return np.ascontiguousarray(x)[..., None].view(dtype)
    return x.view(dtype) if ratio == 1 else np.ascontiguousarray(x).view(dtype)[..., 0]


def concatenate(operands: Sequence[Any], dimension: int) -> Any:
    """Side by side."""
    return np.concatenate(operands, axis=dimension)


def broadcast(operand: Any, sizes: Sequence[int]) -> Any:
    """With axes in front."""
    return np.broadcast_to(operand, (*sizes, *np.shape(operand)))


def broadcast_in_dim(operand: Any, shape: Any, broadcast_dimensions: Sequence[int]) -> Any:
    """In a shape, with each axis where it is told."""
    inner = [1] * len(shape)
    for axis, n in zip(broadcast_dimensions, np.shape(operand), strict=True):
        inner[axis] = n
    return np.broadcast_to(np.reshape(operand, inner), shape)


def reshape(operand: Any, new_sizes: Any, dimensions: Any = None) -> Any:
    """In another shape, after axes are in another order."""
    order = range(np.ndim(operand)) if dimensions is None else dimensions
    return np.reshape(np.transpose(operand, order), new_sizes)


def rev(operand: Any, dimensions: Sequence[int]) -> Any:
    """Backwards along axes."""
    return np.flip(operand, tuple(dimensions))


def slice(operand: Any, start_indices: Any, limit_indices: Any, strides: Any = None) -> Any:
    """A part with equal steps."""
    steps = [1] * np.ndim(operand) if strides is None else strides
    return operand[tuple(map(_slice, start_indices, limit_indices, steps))]


def _part(shape: Sequence[int], start: Any, sizes: Sequence[int]) -> tuple[Any, ...]:
    starts = [int(np.clip(s, 0, n - k)) for s, n, k in zip(start, shape, sizes, strict=True)]
    return tuple(_slice(s, s + k) for s, k in zip(starts, sizes, strict=True))


def dynamic_slice(operand: Any, start_indices: Any, slice_sizes: Sequence[int]) -> Any:
    """A part that is moved into the operand."""
    return operand[_part(operand.shape, start_indices, slice_sizes)]


def dynamic_update_slice(operand: Any, update: Any, start_indices: Any) -> Any:
    """The operand with a part replaced."""
    out = np.copy(operand)
    out[_part(out.shape, start_indices, np.shape(update))] = update
    return out


def pad(operand: Any, padding_value: Any, padding_config: Sequence[tuple[int, int, int]]) -> Any:
    """With elements around and between; a negative number takes elements away."""
    operand = np.asarray(operand)
    low, high, inner = ([int(c[k]) for c in padding_config] for k in range(3))
    spread = [n + k * _largest(n - 1, 0) for n, k in zip(operand.shape, inner, strict=True)]
    out = np.full(spread, padding_value, operand.dtype)
    out[tuple(_slice(None, None, k + 1) for k in inner)] = operand
    cut = tuple(
        _slice(_largest(-lo, 0), n - _largest(-hi, 0))
        for lo, hi, n in zip(low, high, spread, strict=True)
    )
    around = [(_largest(lo, 0), _largest(hi, 0)) for lo, hi in zip(low, high, strict=True)]
    return np.pad(out[cut], around, constant_values=np.asarray(padding_value, out.dtype))


# --------------------------------------------------------------------------- order


def sort_key_val(keys: Any, values: Any, dimension: int = -1) -> tuple[Any, Any]:
    """Keys in order, and the values that belong to them."""
    order = np.argsort(keys, axis=dimension, kind="stable")
    sorted_keys = np.take_along_axis(keys, order, axis=dimension)
    return sorted_keys, np.take_along_axis(values, order, axis=dimension)


def top_k(operand: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The largest elements along an axis and where they are."""
    rows = np.moveaxis(np.asarray(operand), axis, -1)
    backwards = np.argsort(rows[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    order = (rows.shape[-1] - 1 - backwards)[..., :k].astype(np.int32)
    picked = np.take_along_axis(rows, order, axis=-1)
    return np.moveaxis(picked, -1, axis), np.moveaxis(order, -1, axis)


# --------------------------------------------------------------------------- products


def dot_general(lhs: Any, rhs: Any, dimension_numbers: Any) -> Any:
    """Sums of products over axes, with others kept in step."""
    (left, right), (left_batch, right_batch) = dimension_numbers
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    names = [next(letters) for _ in range(np.ndim(lhs))]
    others: list[str] = [""] * np.ndim(rhs)
    for a, b in zip((*left, *left_batch), (*right, *right_batch), strict=True):
        others[b] = names[a]
    others = [name or next(letters) for name in others]
    batch = [names[a] for a in left_batch]
    free = [n for k, n in enumerate(names) if k not in (*left, *left_batch)]
    free += [n for k, n in enumerate(others) if k not in (*right, *right_batch)]
    spec = f"{''.join(names)},{''.join(others)}->{''.join(batch + free)}"
    return np.einsum(spec, lhs, rhs)


def ragged_dot(lhs: Any, rhs: Any, group_sizes: Any) -> Any:
    """Products of groups of rows with matrices; rows in no group are zero."""
    out = np.zeros((lhs.shape[0], rhs.shape[2]), np.result_type(lhs, rhs))
    start = 0
    for matrix, size in zip(rhs, np.asarray(group_sizes).tolist(), strict=True):
        out[start : start + size] = lhs[start : start + size] @ matrix
        start += size
    return out


def padtype_to_pads(
    in_shape: Any, filter_shape: Any, window_strides: Any, padding: Any
) -> list[tuple[int, int]]:
    """Widths of a padding that is given by name."""
    return lax.padtype_to_pads(in_shape, filter_shape, window_strides, padding)


def conv(lhs: Any, rhs: Any, window_strides: Any, padding: Any) -> Any:
    """A convolution whose axes are batch, feature and space."""
    pads = padtype_to_pads(lhs.shape[2:], rhs.shape[2:], window_strides, padding)
    return conv_with_general_padding(lhs, rhs, window_strides, pads, None, None)


def conv_with_general_padding(
    lhs: Any, rhs: Any, window_strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any
) -> Any:
    """A convolution with widths of padding, and holes in the operands."""
    space = np.ndim(lhs) - 2
    holes = [[d - 1 for d in (x or (1,) * space)] for x in (lhs_dilation, rhs_dilation)]
    edge = [(0, 0, 0)] * 2
    lhs = pad(lhs, 0, edge + [(lo, hi, h) for (lo, hi), h in zip(padding, holes[0], strict=True)])
    rhs = pad(rhs, 0, edge + [(0, 0, h) for h in holes[1]])
    sizes = rhs.shape[2:]
    counts = [
        _largest((n - k) // s + 1, 0)
        for n, k, s in zip(lhs.shape[2:], sizes, window_strides, strict=True)
    ]
    out = np.zeros((lhs.shape[0], rhs.shape[0], *counts), np.result_type(lhs, rhs))
    for where in itertools.product(*map(range, counts)):
        starts = [w * s for w, s in zip(where, window_strides, strict=True)]
        part: tuple[Any, ...] = tuple(_slice(s, s + k) for s, k in zip(starts, sizes, strict=True))
        window = lhs[(_slice(None), _slice(None), *part)]
        place: Any = (_slice(None), _slice(None), *where)
        out[place] = np.tensordot(window, rhs, (range(1, space + 2), range(1, space + 2)))
    return out


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
) -> Any:
    """A convolution whose axes are in any order."""
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    lhs, rhs = np.transpose(lhs, numbers.lhs_spec), np.transpose(rhs, numbers.rhs_spec)
    if isinstance(padding, str):
        wide = _dilated(rhs.shape[2:], rhs_dilation)
        padding = padtype_to_pads(lhs.shape[2:], wide, window_strides, padding)
    out = conv_with_general_padding(lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation)
    return np.transpose(out, np.argsort(numbers.out_spec))


def _dilated(lengths: Sequence[int], dilation: Any) -> tuple[int, ...]:
    steps = (1,) * len(lengths) if dilation is None else dilation
    return tuple(d * (n - 1) + 1 for n, d in zip(lengths, steps, strict=True))


# --------------------------------------------------------------------------- reductions


def _reducer(computation: Callable[..., Any], init_value: Any) -> Callable[[Any], Any]:
    def reduced(elements: Any) -> Any:
        out = init_value
        for x in elements:
            out = computation(out, x)
        return out

    return reduced


def reduce(operand: Any, init_value: Any, computation: Any, dimensions: Sequence[int]) -> Any:
    """Elements along axes put together, one after the other."""
    operand = np.asarray(operand)
    kept = [k for k in range(operand.ndim) if k not in dimensions]
    shape = [operand.shape[k] for k in kept]
    count = math.prod(operand.shape[k] for k in dimensions)
    rows = np.transpose(operand, (*kept, *dimensions)).reshape(-1, count)
    reduced = [_reducer(computation, init_value)(row) for row in rows]
    return np.asarray(reduced, dtype=operand.dtype).reshape(shape)


def reduce_window(
    operand: Any,
    init_value: Any,
    computation: Any,
    window_dimensions: Any,
    window_strides: Any,
    padding: Any,
    base_dilation: Any,
) -> Any:
    """Elements in windows put together."""
    operand = np.asarray(operand)
    lengths = _dilated(operand.shape, base_dilation)
    if isinstance(padding, str):
        padding = padtype_to_pads(lengths, window_dimensions, window_strides, padding)
    holes = (1,) * operand.ndim if base_dilation is None else base_dilation
    config = [(lo, hi, d - 1) for (lo, hi), d in zip(padding, holes, strict=True)]
    wide = pad(operand, init_value, config)
    counts = [
        _largest((n - k) // s + 1, 0)
        for n, k, s in zip(wide.shape, window_dimensions, window_strides, strict=True)
    ]
    out = np.zeros(counts, operand.dtype)
    for where in itertools.product(*map(range, counts)):
        starts = [w * s for w, s in zip(where, window_strides, strict=True)]
        part = tuple(_slice(s, s + k) for s, k in zip(starts, window_dimensions, strict=True))
        window = wide[part]
        out[where] = _reducer(computation, init_value)(window.ravel())
    return out
