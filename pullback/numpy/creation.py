"""Making arrays: from Python values, filled, numbered, spaced."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from pullback import config, lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.trace import Tracer
from pullback.numpy.arrays import (
    array_of,
    broadcast_to_shape,
    convert_with_weak_type,
)
from pullback.numpy.promotion import (
    broadcast_shapes,
    check_arraylike,
    ensure_arraylike,
    shape_of,
    static_shape,
)
from pullback.numpy.scalar_types import constructor_hook
from pullback.runtime import placement, spread
from pullback.runtime.array import from_numpy

__all__ = [
    "array",
    "asarray",
    "astype",
    "copy",
    "empty",
    "empty_like",
    "from_dlpack",
    "frombuffer",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]


def placed(x: Any, device: Any = None, out_sharding: Any = None) -> Any:
    """A new array where it was asked for, a device or a sharding, or on the mesh that is set."""
    if device is not None or out_sharding is not None:
        if out_sharding is not None:
            return placement.as_asked(out_sharding, lambda: x)
        return placement.device_put(x, device)
    return spread.of_mesh_that_is_set(x) if config.LOOKERS else x


# --------------------------------------------------------------------------- from values


def array(
    object: Any,
    dtype: Any = None,
    *args: Any,
    copy: bool = True,
    order: str | None = "K",
    ndmin: int = 0,
    device: Any = None,
    out_sharding: Any = None,
) -> Any:
    """An array from numbers, nested sequences, NumPy arrays or arrays.

    The dtype is the common one of the elements, 64-bit ones narrowed unless enabled; a bare Python
    number stays weakly typed. `copy`, `order` and `ndmin` by position, as NumPy has them, give a
    DeprecationWarning. Raises TypeError for what is not a number, ValueError for ragged
    sequences, OverflowError for integers that do not fit.

    >>> import pullback.numpy as jnp
    >>> jnp.array([[1, 2], [3, 4]]), jnp.array([1, 2.5]).dtype
    (Array([[1, 2],
           [3, 4]], dtype=int32), dtype('float32'))
    """
    if args:
        copy, order, ndmin = _positional(args, (copy, order, ndmin))
    if order not in (None, "C", "K"):
        raise NotImplementedError(f"Only implemented for order='C' or 'K', got {order!r}")
    wanted = None if dtype is None else dtypes.check_user_dtype(dtype, "array")
    result = _from_object(object, wanted)
    if copy and result is object:
        result = _copied(result)
    if ndmin > result.ndim:
        result = lax.expand_dims(result, tuple(range(ndmin - result.ndim)))
    return (
        result
        if result is object and device is out_sharding is None
        else placed(result, device, out_sharding)
    )


def _positional(args: tuple[Any, ...], defaults: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(args) > len(defaults):
        raise TypeError(f"array() takes at most 5 positional arguments, got {2 + len(args)}")
    warnings.warn(
        "array: give copy, order and ndmin as keyword arguments; by position they are deprecated",
        DeprecationWarning,
        stacklevel=3,
    )
    return (*args, *defaults[len(args) :])


def _from_object(x: Any, dtype: Any) -> Any:
    offered = getattr(x, "__jax_array__", None)
    if offered is not None and not isinstance(x, Array):
        x = offered()
    if isinstance(x, Array):
        return x if dtype is None else convert_with_weak_type(x, dtype, False)
    if isinstance(x, (bool, int, float, complex)) and not isinstance(x, np.generic):
        return _from_python(x, dtype)
    if isinstance(x, (np.ndarray, np.generic)):
        return _from_numpy(x, dtype)
    if isinstance(x, (list, tuple, range)):
        return _from_sequence(x if not isinstance(x, range) else list(x), dtype)
    return _from_foreign(x, dtype)


def _from_python(x: Any, dtype: Any) -> Any:
    if dtype is None:
        aval: Any = aval_of(x)
        try:
            return array_of(np.array(x, aval.dtype), aval.dtype, aval.weak_type)
        except OverflowError:
            raise OverflowError(
                f"Python int {x} too large to convert to {aval.dtype.name}"
            ) from None
    return array_of(np.array(x, dtype), dtype)


def _from_numpy(x: Any, dtype: Any) -> Any:
    if dtype is None:
        dtype = dtypes.dtype_of(x)
    if dtypes.kind_of(x.dtype) == "c" and dtypes.kind_of(dtype) not in "cb":
        x = x.real
    return from_numpy(x, ShapedArray(x.shape, dtype), copy=True)


def _leaves(x: Any) -> list[Any]:
    if isinstance(x, (list, tuple)):
        return [leaf for each in x for leaf in _leaves(each)]
    return [x]


def _from_sequence(x: Any, dtype: Any) -> Any:
    leaves = _leaves(x)
    if not leaves:
        return array_of(np.array(x, dtypes.default_float() if dtype is None else dtype))
    for leaf in leaves:
        _check_element(leaf)
    if dtype is None:
        dtype = dtypes.result_type(*leaves)
    if all(_is_plain(leaf) for leaf in leaves):
        try:
            data = np.array(_without_arrays(x), dtypes.physical(dtype))
        except ValueError as error:
            raise ValueError(f"jnp.array: {error}") from None
        return array_of(data, dtype)
    return _stacked(x, dtype)


def _without_arrays(x: Any) -> Any:
    """Nested sequences with our arrays as NumPy's, which dtypes beyond NumPy's ask for."""
    if isinstance(x, (list, tuple)):
        return [_without_arrays(each) for each in x]
    return np.asarray(x) if isinstance(x, Array) else x


def _check_element(x: Any) -> None:
    if x is None:
        raise ValueError("None is not a valid value for jnp.array")
    if isinstance(x, (str, bytes)):
        raise TypeError(
            f"Value {str(x)!r} with dtype {np.asarray(x).dtype} is not a valid JAX array type. "
            "Only arrays of numeric types are supported by JAX."
        )


def _is_plain(x: Any) -> bool:
    return (
        not isinstance(x, Tracer)
        and not (isinstance(x, Array) and dtypes.is_extended(x.dtype))
        and getattr(x, "__jax_array__", None) is None
    )


def _stacked(x: Any, dtype: Any) -> Any:
    if not isinstance(x, (list, tuple)):
        return _from_object(x, dtype)
    rows = [_stacked(each, dtype) for each in x]
    if not rows:
        return lax.full((0,), 0, dtype)
    if any(r.shape != rows[0].shape for r in rows):
        raise ValueError(
            "jnp.array: setting an array element with a sequence: the parts have shapes "
            f"{', '.join(str(r.shape) for r in rows)}"
        )
    return lax.concatenate([lax.expand_dims(r, (0,)) for r in rows], 0)


def _from_foreign(x: Any, dtype: Any) -> Any:
    """Objects that NumPy can convert."""
    _check_element(x)
    try:
        data = np.asarray(memoryview(x)) if not _offers_array(x) else np.asarray(x)
    except TypeError:
        raise TypeError(f"Unexpected input type for array: {type(x)}") from None
    if data.dtype == object:
        raise TypeError(f"Unexpected input type for array: {type(x)}")
    return _from_numpy(data, dtype)


def _offers_array(x: Any) -> bool:
    return (
        getattr(x, "__array__", None) is not None
        or getattr(x, "__array_interface__", None) is not None
    )


def _copied(x: Any) -> Any:
    return lax.copy_p(x)


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: Any = None,
    out_sharding: Any = None,
) -> Any:
    """`array` that returns an array as it is if nothing needs to change.

    >>> import pullback.numpy as jnp
    >>> x = jnp.arange(3)
    >>> jnp.asarray(x) is x
    True
    """
    return array(a, dtype, copy=bool(copy), order=order, device=device, out_sharding=out_sharding)


constructor_hook.append(asarray)


def copy(a: Any, order: str | None = None) -> Any:
    """A copy of an array.

    >>> import pullback.numpy as jnp
    >>> jnp.copy(jnp.array([1, 2]))
    Array([1, 2], dtype=int32)
    """
    check_arraylike("copy", a)
    return array(a, copy=True, order=order or "K")


def astype(x: Any, dtype: Any, /, *, copy: bool = False, device: Any = None) -> Any:
    """`x` converted to another dtype; floats become integers by truncation.

    Complex to real drops the imaginary part.

    >>> import pullback.numpy as jnp
    >>> jnp.astype(jnp.array([1.7, -1.7]), jnp.int32)
    Array([ 1, -1], dtype=int32)
    """
    x = ensure_arraylike("astype", x)
    dtype = dtypes.check_user_dtype(dtype, "astype")
    if dtypes.kind_of(x.dtype) == "c" and dtypes.kind_of(dtype) not in "cb":
        warnings.warn(
            "Casting from complex to real dtypes will soon raise a ValueError. Please first use "
            "jnp.real or jnp.imag to take the real/imaginary component of your input.",
            DeprecationWarning,
            stacklevel=dtypes.user_stacklevel(),
        )
    result = convert_with_weak_type(x, dtype, False)
    result = _copied(result) if copy and result is x else result
    return result if device is None else placed(result, device)


def frombuffer(buffer: Any, dtype: Any = float, count: int = -1, offset: int = 0) -> Any:
    """An array of the elements in a buffer of bytes.

    >>> import pullback.numpy as jnp
    >>> jnp.frombuffer(b"\\x01\\x02", dtype=jnp.uint8)
    Array([1, 2], dtype=uint8)
    """
    return asarray(np.frombuffer(buffer, dtypes.as_dtype(dtype), count, offset))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """An array that shares the memory of an object with `__dlpack__`.

    Copied where `copy` asks for it or the elements are not contiguous (ValueError with
    `copy=False`).

    >>> import numpy as np
    >>> import pullback.numpy as jnp
    >>> jnp.from_dlpack(np.arange(3, dtype=np.int32))
    Array([0, 1, 2], dtype=int32)
    """
    return placement.from_dlpack(x, device=device, copy=copy)


# --------------------------------------------------------------------------- filled


def full(
    shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None, out_sharding: Any = None
) -> Any:
    """An array filled with a value, which may itself be an array that broadcasts to `shape`.

    >>> import pullback.numpy as jnp
    >>> jnp.full((2, 2), 7.0)
    Array([[7., 7.],
           [7., 7.]], dtype=float32, weak_type=True)
    """
    check_arraylike("full", fill_value)
    shape = static_shape(shape)
    if dtype is not None:
        dtype = dtypes.check_user_dtype(dtype, "full")
    if shape_of(fill_value) == ():
        return placed(lax.full(shape, fill_value, dtype), device, out_sharding)
    if broadcast_shapes(shape_of(fill_value), shape) != shape:
        raise ValueError(f"full: a value of shape {shape_of(fill_value)} for an array of {shape}")
    return placed(broadcast_to_shape(asarray(fill_value, dtype), shape), device, out_sharding)


def _filled(name: str, shape: Any, value: Any, dtype: Any) -> Any:
    return lax.full(static_shape(shape), value, dtypes.check_user_dtype(dtype, name))


def zeros(shape: Any, dtype: Any = None, *, device: Any = None, out_sharding: Any = None) -> Any:
    """An array of zeros, of float32 unless a dtype is given.

    >>> import pullback.numpy as jnp
    >>> jnp.zeros((2, 3))
    Array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    return placed(_filled("zeros", shape, 0, dtype), device, out_sharding)


def ones(shape: Any, dtype: Any = None, *, device: Any = None, out_sharding: Any = None) -> Any:
    """An array of ones, of float32 unless a dtype is given.

    >>> import pullback.numpy as jnp
    >>> jnp.ones(3, dtype=int)
    Array([1, 1, 1], dtype=int32)
    """
    return placed(_filled("ones", shape, 1, dtype), device, out_sharding)


def empty(shape: Any, dtype: Any = None, *, device: Any = None, out_sharding: Any = None) -> Any:
    """An array of zeros: nothing is left uninitialised.

    >>> import pullback.numpy as jnp
    >>> jnp.empty(2)
    Array([0., 0.], dtype=float32)
    """
    return placed(_filled("empty", shape, 0, dtype), device, out_sharding)


def _placed_like(a: Any, x: Any, device: Any = None, out_sharding: Any = None) -> Any:
    """A new array where it was asked for, or with the NamedSharding of another."""
    if device is None and out_sharding is None and config.LOOKERS:
        device = spread.sharding_of(a)
    return placed(x, device, out_sharding)


def _like(name: str, a: Any, value: Any, dtype: Any, shape: Any) -> Any:
    """Filled like `a`, which needs a shape and a dtype only."""
    if not isinstance(a, (Array, np.ndarray, np.generic, bool, int, float, complex)):
        if getattr(a, "shape", None) is None or getattr(a, "dtype", None) is None:
            check_arraylike(name, a)
        aval = ShapedArray(
            tuple(a.shape), dtypes.canonical(a.dtype), getattr(a, "weak_type", False)
        )
    else:
        aval = aval_of(a)
    shape = aval.shape if shape is None else static_shape(shape)
    if dtype is not None:
        return lax.full(shape, value, dtypes.check_user_dtype(dtype, name))
    weak = aval.weak_type and shape_of(value) == ()
    filled = full(shape, value, aval.dtype)
    return convert_with_weak_type(filled, aval.dtype, True) if weak else filled


def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    shape: Any = None,
    *,
    device: Any = None,
    out_sharding: Any = None,
) -> Any:
    """An array filled with a value, of the shape and dtype of `a` unless others are given.

    >>> import pullback.numpy as jnp
    >>> jnp.full_like(jnp.arange(3), 5)
    Array([5, 5, 5], dtype=int32)
    """
    check_arraylike("full_like", fill_value)
    if shape_of(fill_value) != ():
        shape = shape_of(a) if shape is None else static_shape(shape)
        filled = full(shape, fill_value, dtypes.dtype_of(a) if dtype is None else dtype)
    else:
        filled = _like("full_like", a, fill_value, dtype, shape)
    return _placed_like(a, filled, device, out_sharding)


def zeros_like(
    a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, out_sharding: Any = None
) -> Any:
    """Zeros of the shape and dtype of `a` unless others are given.

    >>> import pullback.numpy as jnp
    >>> jnp.zeros_like(jnp.arange(3))
    Array([0, 0, 0], dtype=int32)
    """
    return _placed_like(a, _like("zeros_like", a, 0, dtype, shape), device, out_sharding)


def ones_like(
    a: Any, dtype: Any = None, shape: Any = None, *, device: Any = None, out_sharding: Any = None
) -> Any:
    """Ones of the shape and dtype of `a` unless others are given.

    >>> import pullback.numpy as jnp
    >>> jnp.ones_like(jnp.zeros(2))
    Array([1., 1.], dtype=float32)
    """
    return _placed_like(a, _like("ones_like", a, 1, dtype, shape), device, out_sharding)


def empty_like(prototype: Any, dtype: Any = None, shape: Any = None, *, device: Any = None) -> Any:
    """Zeros of the shape and dtype of `prototype` unless others are given.

    >>> import pullback.numpy as jnp
    >>> jnp.empty_like(jnp.ones(2))
    Array([0., 0.], dtype=float32)
    """
    return _placed_like(prototype, _like("empty_like", prototype, 0, dtype, shape), device)
