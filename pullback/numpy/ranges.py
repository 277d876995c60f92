"""Numbers in a row: counted, or evenly spaced on a line or a logarithmic scale."""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.dimensions import is_symbolic, larger
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import (
    array_of,
    broadcast_to_shape,
    convert_with_weak_type,
)
from pullback.numpy.creation import placed
from pullback.numpy.promotion import (
    canonical_axis,
    check_arraylike,
    promote_shapes,
    shape_of,
)
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "arange",
    "geomspace",
    "linspace",
    "logspace",
]


_STATIC: Final = "Its length would depend on a traced value; jnp.linspace takes a static length."


def arange(
    start: Any,
    stop: Any = None,
    step: Any = None,
    dtype: Any = None,
    *,
    device: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Numbers from `start` (0 if it is the only one) up to, not including, `stop`.

    All arguments must be concrete. Raises ValueError for a step of zero.

    >>> import pullback.numpy as jnp
    >>> jnp.arange(3), jnp.arange(1, 2, 0.5)
    (Array([0, 1, 2], dtype=int32), Array([1. , 1.5], dtype=float32))
    """
    return placed(_range(start, stop, step, dtype), device, out_sharding)


def _range(start: Any, stop: Any, step: Any, dtype: Any) -> Any:
    if dtype is not None:
        dtype = dtypes.check_user_dtype(dtype, "arange")
    if start is None and stop is None:
        raise TypeError("jnp.arange requires one of start and stop")
    check_arraylike("arange", *(x for x in (start, stop, step) if x is not None))
    given = [_concrete("arange", x) for x in (start, stop, step)]
    if dtype is None:
        dtype = dtypes.result_type(*(x for x in (start, stop, step) if x is not None))
    if any(
        not is_symbolic(x) and dtypes.kind_of(dtypes.dtype_of(x)) == "c"
        for x in given
        if x is not None
    ):
        raise ValueError("jnp.arange takes no complex start, stop or step")
    if dtypes.kind_of(dtype) not in "iufc":
        raise TypeError(f"jnp.arange takes numeric dtypes, got {dtype}")
    first, last, stride = (0, given[0], given[2]) if given[1] is None else given
    first, stride = (0 if first is None else first), (1 if stride is None else stride)
    if stride == 0:
        raise ZeroDivisionError("jnp.arange: step must not be zero")
    if any(map(is_symbolic, (first, last, stride))):
        return _symbolic_range(first, last, stride, dtype)
    if all(isinstance(v, int) for v in (first, last, stride)) and dtypes.kind_of(dtype) in "iuf":
        return _integer_range(range(first, last, stride), dtype)
    return array_of(np.arange(first, last, stride).astype(dtypes.physical(dtype)), dtype)


def _concrete(name: str, x: Any) -> Any:
    """The Python number behind an argument that has to be static."""
    if x is None or is_symbolic(x):
        return x
    x = concrete_or_error(None, x, f"It is an argument of jnp.{name}. {_STATIC}")
    if shape_of(x) != ():
        raise ValueError(f"jnp.{name}: arguments must be scalars, got shape {shape_of(x)}")
    return np.asarray(x)[()].item() if isinstance(x, (Array, np.ndarray, np.generic)) else x


def _symbolic_range(first: Any, last: Any, stride: Any, dtype: Any) -> Any:
    if not all(is_symbolic(v) or isinstance(v, int) for v in (first, last, stride)):
        raise ValueError("jnp.arange with a symbolic dimension takes integers besides")
    if is_symbolic(stride):
        raise ValueError("jnp.arange takes no symbolic step")
    span = last - first if stride > 0 else first - last
    size = larger(0, (span + abs(stride) - 1) // abs(stride))
    out = lax.iota(dtype, size)
    if stride != 1:
        out = lax.mul(out, dtype.type(stride))
    return (
        out
        if is_symbolic(first) is False and first == 0
        else lax.add(out, lax.convert_element_type(first, dtype))
    )


def _integer_range(numbers: range, dtype: Any) -> Any:
    if numbers.start == 0 and numbers.step == 1:
        return lax.iota(dtype, len(numbers))
    return array_of(np.arange(numbers.start, numbers.stop, numbers.step).astype(dtype), dtype)


@compiled_when_eager("num", "endpoint", "retstep", "dtype", "axis", "device")
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """`num` evenly spaced numbers from `start` to `stop`, both included unless `endpoint=False`.

    Bounds may be arrays: the new axis is at `axis`. With `retstep`, also the spacing.

    >>> import pullback.numpy as jnp
    >>> jnp.linspace(0, 1, 5)
    Array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    num = operator.index(concrete_or_error(None, num, "It is `num` of jnp.linspace."))
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    check_arraylike("linspace", start, stop)
    dtype, work = _space_types("linspace", start, stop, dtype)
    start, stop = (convert_with_weak_type(x, work, False) for x in (start, stop))
    start, stop = _same_shape(*promote_shapes("linspace", start, stop))
    out, delta = _spaced(start, stop, num, endpoint)
    out = _moved(out, axis)
    if dtypes.kind_of(dtype) in "iu" and dtypes.kind_of(work) == "f":
        out = lax.floor(out)
    out = convert_with_weak_type(out, dtype, False)
    out = out if device is None else placed(out, device)
    return (out, delta) if retstep else out


def _space_types(name: str, start: Any, stop: Any, dtype: Any) -> tuple[Any, Any]:
    """The type of the result, and the inexact one that its numbers are computed in."""
    bounds = dtypes.result_type(start, stop)
    if dtype is None:
        inexact = dtypes.to_inexact_dtype(bounds)
        return inexact, inexact
    dtype = dtypes.check_user_dtype(dtype, name)
    return dtype, dtypes.to_inexact_dtype(dtypes.promote_types(bounds, dtype))


def _same_shape(a: Any, b: Any) -> tuple[Any, Any]:
    shape = a.shape if a.ndim >= b.ndim else b.shape
    return broadcast_to_shape(a, shape), broadcast_to_shape(b, shape)


def _spaced(start: Any, stop: Any, num: int, endpoint: bool) -> tuple[Any, Any]:
    """The numbers on a new first axis, and their spacing."""
    parts = num - 1 if endpoint else num
    shape = (num, *start.shape)
    if parts < 1:
        return lax.broadcast(start, (num,)), lax.full_like(start, np.nan)
    delta = lax.div(lax.sub(stop, start), lax.full_like(start, parts))
    real = dtypes.to_real_dtype(start.dtype)
    count = num - 1 if endpoint else num
    k = convert_with_weak_type(lax.iota(real, count), start.dtype, False)
    k = lax.broadcast_in_dim(k, (count, *start.shape), (0,))
    part = convert_with_weak_type(
        lax.div(lax.full((), 1, real), lax.full((), parts, real)), start.dtype, False
    )
    t = lax.mul(k, lax.full_like(k, part))
    # `stop` is divided before it is multiplied: then linspace(0, 25, 6) are whole numbers.
    step = lax.mul(stop, lax.full_like(stop, part))
    a, b = lax.broadcast(start, (count,)), lax.broadcast(step, (count,))
    out = lax.add(lax.mul(a, lax.sub(lax.full_like(t, 1), t)), lax.mul(k, b))
    if endpoint:
        out = lax.concatenate([out, lax.expand_dims(stop, (0,))], 0)
    return lax.reshape(out, shape), delta


def _moved(x: Any, axis: int) -> Any:
    """`x` with its first axis moved to `axis`."""
    axis = canonical_axis(axis, x.ndim)
    if axis == 0:
        return x
    return lax.transpose(x, [*range(1, axis + 1), 0, *range(axis + 1, x.ndim)])


@compiled_when_eager("num", "endpoint", "dtype", "axis")
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`base` raised to evenly spaced exponents.

    >>> import pullback.numpy as jnp
    >>> jnp.logspace(0, 2, 3, base=2)
    Array([1., 2., 4.], dtype=float32)
    """
    num = operator.index(concrete_or_error(None, num, "It is `num` of jnp.logspace."))
    check_arraylike("logspace", start, stop)
    dtype, work = _space_types("logspace", start, stop, dtype)
    start, stop = (convert_with_weak_type(x, work, False) for x in (start, stop))
    exponents = linspace(start, stop, num, endpoint, dtype=work, axis=axis)
    base = convert_with_weak_type(base, work, False)
    base, exponents = promote_shapes("logspace", base, exponents)
    return convert_with_weak_type(lax.pow(base, exponents), dtype, False)


@compiled_when_eager("num", "endpoint", "dtype", "axis")
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """Numbers from `start` to `stop` with a constant ratio.

    >>> import pullback.numpy as jnp
    >>> jnp.geomspace(1, 1, 2)
    Array([1., 1.], dtype=float32)
    """
    num = operator.index(concrete_or_error(None, num, "It is `num` of jnp.geomspace."))
    check_arraylike("geomspace", start, stop)
    dtype, work = _space_types("geomspace", start, stop, dtype)
    start, stop = (convert_with_weak_type(x, work, False) for x in (start, stop))
    start, stop = _same_shape(*promote_shapes("geomspace", start, stop))
    if dtypes.kind_of(work) == "c":
        size = lax.convert_element_type(lax.abs(start), work)
        zero = lax.eq(size, lax.full_like(size, 0))
        size = lax.select(zero, lax.full_like(size, 1), size)
        sign = lax.div(start, size)
    else:
        both = lax.eq(lax.sign(start), lax.sign(stop))
        sign = lax.select(both, lax.sign(start), lax.full_like(start, 1))
    exponents = linspace(lax.log(lax.div(start, sign)), lax.log(lax.div(stop, sign)), num, endpoint)
    out = lax.mul(lax.broadcast(sign, (num,)), lax.exp(exponents))
    out = _with_exact_ends(out, start, stop, endpoint)
    return convert_with_weak_type(_moved(out, axis), dtype, False)


def _with_exact_ends(out: Any, start: Any, stop: Any, endpoint: bool) -> Any:
    n = out.shape[0]
    if n < 2:
        return lax.broadcast(start, (n,))
    ends = [lax.expand_dims(start, (0,)), lax.slice_in_dim(out, 1, n - 1 if endpoint else n)]
    if endpoint:
        ends.append(lax.expand_dims(stop, (0,)))
    return lax.concatenate(ends, 0)
