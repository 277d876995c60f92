"""The operators and methods of arrays and tracers, from one table: `install` puts them on `Array`.

Operators have a fast route: operands of one type, or a Python scalar beside an array of its kind,
go straight to the primitive. Everything else goes through the function of `jax.numpy`, which
promotes and broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.trace import EVAL, current
from pullback.core.tracebacks import bounded, shorten
from pullback.numpy import (
    arithmetic,
    arrays,
    creation,
    cumulative,
    elementwise,
    floats,
    indexing,
    matrices,
    positions,
    predicates,
    products,
    reductions,
    selection,
    shaping,
    sorting,
    ufunc_table,
)
from pullback.numpy.index_update import IndexUpdateHelper
from pullback.numpy.promotion import is_arraylike, literal_operand
from pullback.ops import elementwise as ops
from pullback.runtime import shortcuts
from pullback.runtime.dispatch import to_array
from pullback.runtime.placement import device_put

__all__ = ["install"]

Function = Callable[..., Any]

_FROM_NUMPY: Final = (np.ndarray, np.generic)

# --------------------------------------------------------------------------- operators


def _forward(primitive: Any, function: Function, kinds: str) -> Function:
    """`self OP other`, for dtypes in `kinds` by the primitive itself."""

    def method(self: Any, other: Any) -> Any:
        try:
            aval = self.aval
            if isinstance(other, Array):
                if other.aval is aval and aval.kind in kinds:
                    return current.trace.process(primitive, (self, other), {})
                if aval.kind in kinds:
                    found = shortcuts.broadcast(primitive, self, other)
                    if found is not None:
                        return found
                return function(self, other)
            if isinstance(other, _FROM_NUMPY) and current.trace is EVAL:
                return method(self, to_array(other))
            if not aval.weak_type and aval.kind in kinds:
                trace = current.trace
                scalar = literal_operand(other, aval.dtype, trace)
                if scalar is not None:
                    return trace.process(primitive, (self, scalar), {})
            if not is_arraylike(other):
                return NotImplemented
            return function(self, other)
        except Exception as error:
            shorten(error)
            raise

    return method


def _reflected(name: str, primitive: Any, function: Function, kinds: str) -> Function:
    """`other OP self`; `other` is no array of ours."""

    def method(self: Any, other: Any) -> Any:
        try:
            aval = self.aval
            if isinstance(other, _FROM_NUMPY) and current.trace is EVAL:
                return getattr(to_array(other), name)(self)
            if not aval.weak_type and aval.kind in kinds:
                trace = current.trace
                scalar = literal_operand(other, aval.dtype, trace)
                if scalar is not None:
                    return trace.process(primitive, (scalar, self), {})
            if not is_arraylike(other):
                return NotImplemented
            return function(other, self)
        except Exception as error:
            shorten(error)
            raise

    return method


def _plain(function: Function) -> Function:
    def method(self: Any, other: Any) -> Any:
        try:
            return function(self, other) if is_arraylike(other) else NotImplemented
        except Exception as error:
            shorten(error)
            raise

    return method


def _plain_reflected(function: Function) -> Function:
    def method(self: Any, other: Any) -> Any:
        try:
            return function(other, self) if is_arraylike(other) else NotImplemented
        except Exception as error:
            shorten(error)
            raise

    return method


_functions: Final = elementwise.FUNCTIONS
_ufuncs: Final = ufunc_table.UFUNCS

_FAST: Final[tuple[tuple[str, Any, Function, str], ...]] = (
    ("add", ops.add, _ufuncs["add"], "iufc"),
    ("sub", ops.sub, _ufuncs["subtract"], "iufc"),
    ("mul", ops.mul, _ufuncs["multiply"], "iufc"),
    ("truediv", ops.div, _functions["true_divide"], "fc"),
    ("and", ops.and_, _ufuncs["bitwise_and"], "iub"),
    ("or", ops.or_, _ufuncs["bitwise_or"], "iub"),
    ("xor", ops.xor, _ufuncs["bitwise_xor"], "iub"),
)
_COMPARISONS: Final[tuple[tuple[str, Any, Function, str], ...]] = (
    ("lt", ops.lt, _functions["less"], "iufb"),
    ("le", ops.le, _functions["less_equal"], "iufb"),
    ("gt", ops.gt, _functions["greater"], "iufb"),
    ("ge", ops.ge, _functions["greater_equal"], "iufb"),
    ("eq", ops.eq, _functions["equal"], "iufcb"),
    ("ne", ops.ne, _functions["not_equal"], "iufcb"),
)
_GENERAL: Final[tuple[tuple[str, Function], ...]] = (
    ("floordiv", arithmetic.floor_divide),
    ("mod", arithmetic.remainder),
    ("divmod", arithmetic.divmod),
    ("matmul", products.matmul),
    ("lshift", predicates.left_shift),
    ("rshift", predicates.right_shift),
)


def _power(self: Any, other: Any) -> Any:
    aval = self.aval
    if type(other) is int and aval.kind in "fc":
        trace = current.trace
        if other == 2 and trace is EVAL:  # calls without parameters cost less
            return trace.process(ops.square, (self,), {})
        return trace.process(ops.integer_pow, (self,), {"y": other})
    if type(other) is float and aval.kind in "fc" and not aval.weak_type:
        trace = current.trace
        return trace.process(ops.pow_, (self, literal_operand(other, aval.dtype, trace)), {})
    return arithmetic.power(self, other) if is_arraylike(other) else NotImplemented


def _reflected_power(self: Any, other: Any) -> Any:
    aval = self.aval
    if type(other) in (int, float) and aval.kind in "fc" and not aval.weak_type:
        trace = current.trace
        return trace.process(ops.pow_, (literal_operand(other, aval.dtype, trace), self), {})
    return arithmetic.power(other, self) if is_arraylike(other) else NotImplemented


def _negated(self: Any) -> Any:
    try:
        if self.aval.kind in "iufc":
            return current.trace.process(ops.neg, (self,), {})
        return _ufuncs["negative"](self)
    except Exception as error:
        shorten(error)
        raise


def _rounded(self: Any, ndigits: int | None = None) -> Any:
    out = predicates.round(self, decimals=ndigits or 0)
    return out.astype(int) if ndigits is None else out


# --------------------------------------------------------------------------- container protocol


def _iterate(self: Any) -> Iterator[Any]:
    if not self.aval.shape:
        raise TypeError("iteration over a 0-d array")
    found = shortcuts.rows(self)
    return iter([self[k] for k in range(self.aval.shape[0])] if found is None else found)


def _length(self: Any) -> int:
    try:
        if not self.aval.shape:
            raise TypeError("len() of unsized object")
        return self.aval.shape[0]  # type: ignore[no-any-return]
    except Exception as error:
        shorten(error)
        raise


def _itemsize(self: Any) -> int:
    """Size of one element in bytes."""
    return self.aval.dtype.itemsize  # type: ignore[no-any-return]


def _nbytes(self: Any) -> int:
    """Size of the elements in bytes."""
    return self.aval.size * self.aval.dtype.itemsize  # type: ignore[no-any-return]


def _contains(self: Any, item: Any) -> bool:
    if len(self.aval.shape) != 1:
        raise ValueError(f"`in` searches arrays of one axis, got {self.aval}")
    return bool(reductions.any(self == item))


def _set_item(self: Any, index: Any, value: Any) -> None:
    raise TypeError(
        "JAX arrays are immutable and do not support in-place item assignment. Instead of "
        "x[idx] = y, use x = x.at[idx].set(y) or another .at[] method."
    )


def _array_namespace(self: Any, *, api_version: str | None = None) -> Any:
    if api_version is not None and api_version not in ("2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"the array API version {api_version!r} is not supported")
    return namespace[0]


namespace: Final[list[Any]] = []
"""Filled by the package: the module `jax.numpy`."""

# --------------------------------------------------------------------------- methods


def _to_device(self: Any, device: Any, *, stream: Any = None) -> Any:
    if stream is not None:
        raise NotImplementedError("to_device: streams are not supported")
    return device_put(self, device)


def _astype(self: Any, dtype: Any, copy: bool = False, device: Any = None) -> Any:
    return creation.astype(self, dtype, copy=copy, device=device)


def _varargs(args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 else args


def _reshape(self: Any, *args: Any, order: str = "C", copy: bool | None = None, **kw: Any) -> Any:
    return shaping.reshape(self, _varargs(args), order, copy=copy, **kw)


def _transpose(self: Any, *axes: Any) -> Any:
    axes = _varargs(axes) if axes else None  # type: ignore[assignment]
    return shaping.transpose(self, (axes,) if isinstance(axes, int) else axes)


def _flatten(self: Any, order: str = "C", *, out_sharding: Any = None) -> Any:
    return shaping.ravel(self, order)


def _sort(
    self: Any,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Any:
    return sorting.sort(self, axis, kind=kind, order=order, stable=stable, descending=descending)


def _copy(self: Any) -> Any:
    return creation.array(self, copy=True)


def _view(self: Any, dtype: Any = None, type: None = None) -> Any:
    if type is not None:
        raise NotImplementedError("`type` argument of array.view() is not supported.")
    new = dtypes.check_user_dtype(dtype, "view")
    if new == self.dtype:
        return self
    if self.ndim == 0 and new.itemsize != self.dtype.itemsize:
        raise ValueError("view() of a 0d array is only supported if the itemsize is unchanged.")
    old_bits, new_bits = dtypes.itemsize_bits(self.dtype), dtypes.itemsize_bits(new)
    x, n = self, self.shape[-1] if self.ndim else 1
    if self.dtype.kind == "c":
        parts = lax.stack([lax.real(x), lax.imag(x)], self.ndim)
        return _view(lax.reshape(parts, (*self.shape[:-1], 2 * n)) if self.ndim else parts, new)
    if new.kind == "c":
        parts = _view(x, np.dtype(f"float{new.itemsize * 4}"))
        return lax.complex(parts[..., ::2], parts[..., 1::2])
    if dtypes.kind_of(self.dtype) == "b":
        x = x.astype(np.uint8)
    if new == dtypes.bool_:
        return (x.view(np.uint8) != 0) if self.dtype != dtypes.bool_ else x
    if new_bits > old_bits:
        factor = new_bits // old_bits
        if n % factor:
            raise ValueError(
                "When changing to a larger dtype, its size must be a divisor of the total size in "
                "bytes of the last axis of the array."
            )
        x = lax.reshape(x, (*x.shape[:-1], n // factor, factor))
    out = lax.bitcast_convert_type(x, new)
    if new_bits < old_bits:
        out = lax.reshape(out, (*self.shape[:-1], n * (old_bits // new_bits)))
    return out


def _nonzero(self: Any, *, fill_value: Any = None, size: int | None = None) -> Any:
    return positions.nonzero(self, size=size, fill_value=fill_value)


def _compress(
    self: Any,
    condition: Any,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: Any = 0,
    out: None = None,
) -> Any:
    return selection.compress(condition, self, axis, size=size, fill_value=fill_value, out=out)


def _clip(self: Any, min: Any = None, max: Any = None) -> Any:
    return predicates.clip(self, min, max)


def _delete(self: Any, **options: Any) -> None:
    """Release the buffer: arrays are freed with their last reference, so nothing happens."""


def _to_bytes(self: Any, order: str = "C") -> bytes:
    return np.asarray(self).tobytes(order)  # type: ignore[arg-type]


def _byteswap(self: Any) -> Any:
    return arrays.array_of(np.asarray(self).byteswap(), self.dtype)


def _flat(self: Any) -> Any:
    raise NotImplementedError(
        "JAX Arrays do not implement the arr.flat property: consider arr.flatten() instead."
    )


_METHODS: Final[dict[str, Function]] = {
    "all": reductions.all,
    "any": reductions.any,
    "argmax": reductions.argmax,
    "argmin": reductions.argmin,
    "argpartition": sorting.argpartition,
    "argsort": sorting.argsort,
    "astype": _astype,
    "byteswap": _byteswap,
    "choose": selection.choose,
    "clip": _clip,
    "clone": _copy,
    "compress": _compress,
    "conj": floats.conj,
    "conjugate": floats.conjugate,
    "copy": _copy,
    "cumprod": cumulative.cumprod,
    "cumsum": cumulative.cumsum,
    "delete": _delete,
    "diagonal": matrices.diagonal,
    "dot": products.dot,
    "flatten": _flatten,
    "max": reductions.max,
    "mean": reductions.mean,
    "min": reductions.min,
    "nonzero": _nonzero,
    "prod": reductions.prod,
    "ptp": reductions.ptp,
    "ravel": shaping.ravel,
    "repeat": shaping.repeat,
    "reshape": _reshape,
    "round": predicates.round,
    "searchsorted": sorting.searchsorted,
    "sort": _sort,
    "squeeze": shaping.squeeze,
    "std": reductions.std,
    "sum": reductions.sum,
    "swapaxes": shaping.swapaxes,
    "take": selection.take,
    "tobytes": _to_bytes,
    "to_device": _to_device,
    "trace": matrices.trace,
    "transpose": _transpose,
    "var": reductions.var,
    "view": _view,
}
_PROPERTIES: Final[dict[str, Function]] = {
    "T": shaping.transpose,
    "at": IndexUpdateHelper,
    "flat": _flat,
    "imag": floats.imag,
    "itemsize": _itemsize,
    "mT": shaping.matrix_transpose,
    "nbytes": _nbytes,
    "real": floats.real,
}
_PROTOCOL: Final[dict[str, Function]] = {
    "__abs__": _functions["absolute"],
    "__array_namespace__": _array_namespace,
    "__contains__": _contains,
    "__getitem__": indexing.getitem,
    "__invert__": _functions["bitwise_not"],
    "__iter__": _iterate,
    "__len__": _length,
    "__neg__": _negated,
    "__pos__": floats.positive,
    "__pow__": _power,
    "__round__": _rounded,
    "__rpow__": _reflected_power,
    "__setitem__": _set_item,
}


def _table() -> dict[str, Any]:
    table: dict[str, Any] = _PROTOCOL | bounded(_PROTOCOL, __name__)
    for name, primitive, function, kinds in _FAST:
        table[f"__{name}__"] = _forward(primitive, function, kinds)
        table[f"__r{name}__"] = _reflected(f"__{name}__", primitive, function, kinds)
    for name, primitive, function, kinds in _COMPARISONS:
        table[f"__{name}__"] = _forward(primitive, function, kinds)
    for name, function in _GENERAL:
        table[f"__{name}__"] = _plain(function)
        table[f"__r{name}__"] = _plain_reflected(function)
    table.update(_METHODS | bounded(_METHODS, __name__))
    for name, function in _PROPERTIES.items():
        table[name] = property(function, doc=function.__doc__)
    return table


def install(cls: type) -> None:
    """Put the operators and methods on the base class of arrays."""
    for name, value in _table().items():
        setattr(cls, name, value)


install(Array)
