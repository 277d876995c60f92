"""Abstract values: what tracing knows of a value.  Interned, so that equality is identity."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.dimensions import DimExpr
from pullback.core.dtypes import DType, KeyDtype

__all__ = [
    "AbstractValue",
    "ShapedArray",
    "aval_of",
    "own_aval",
    "register_aval",
    "spread_type",
    "typeof",
]


class AbstractValue:
    """Base of abstract values."""

    __slots__ = ("__weakref__",)

    def str_short(self) -> str:
        """The notation of jaxprs, such as `f32[3,4]`."""
        raise NotImplementedError(type(self).__name__)

    def str_long(self) -> str:
        """The same with whole names of dtypes, where there are any."""
        return str(self)


_interned: weakref.WeakValueDictionary[tuple[Any, ...], ShapedArray] = weakref.WeakValueDictionary()
_recent: dict[tuple[Any, ...], ShapedArray] = {}
_RECENT_LIMIT: Final = 4096
_lock = threading.Lock()


class ShapedArray(AbstractValue):
    """An array of known shape and dtype.

    `weak_type` marks values that come from Python scalars and yield to other dtypes in promotion.
    Two equal ones are the same object.

    >>> ShapedArray((2, 3), np.dtype("float32")) is ShapedArray((2, 3), np.dtype("float32"))
    True
    """

    __slots__ = ("_sharding", "_tangent", "dtype", "kind", "shape", "size", "weak_type")

    shape: tuple[int, ...]
    dtype: DType
    size: int
    """Number of elements."""
    kind: str
    """The kind of the dtype, as `dtypes.kind_of` says it."""
    weak_type: bool
    _tangent: ShapedArray | None
    _sharding: Any
    """That of a type that only tells how a value is spread (`spread_type`), else None."""

    def __new__(
        cls,
        shape: Iterable[int],
        dtype: Any,
        weak_type: bool = False,
        *,
        sharding: Any = None,
        manual_axis_type: Any = None,
        memory_space: Any = None,
    ) -> ShapedArray:
        key = (shape, dtype, weak_type)
        try:
            found = _recent.get(key)
        except TypeError:  # an unhashable shape
            found = None
        return found if found is not None else _intern(tuple(shape), dtype, bool(weak_type))

    def __reduce__(self) -> tuple[Any, ...]:
        return ShapedArray, (self.shape, self.dtype, self.weak_type)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def sharding(self) -> Any:
        """How values are spread over the axes of a mesh: not at all, unless it was told."""
        return self._sharding or sharding_hook[0](len(self.shape))

    def update(self, **changes: Any) -> ShapedArray:
        """This aval with some of `shape`, `dtype`, `weak_type` replaced."""
        now = {"shape": self.shape, "dtype": self.dtype, "weak_type": self.weak_type} | changes
        return ShapedArray(now["shape"], now["dtype"], now["weak_type"])

    def strip_weak_type(self) -> ShapedArray:
        """The same shape and dtype, not weak."""
        return ShapedArray(self.shape, self.dtype) if self.weak_type else self

    def to_tangent_aval(self) -> ShapedArray:
        """The aval of tangents: `float0` for what is not differentiable."""
        # None stands for the aval itself: a reference to itself would keep it alive for ever.
        return self if self._tangent is None else self._tangent

    def to_cotangent_aval(self) -> ShapedArray:
        """The aval of cotangents, which is that of tangents."""
        return self.to_tangent_aval()

    def str_short(self, short_dtypes: bool = True) -> str:
        """`f32[3,4]`."""
        short = short_dtypes or self.dtype == dtypes.float0  # which NumPy calls void
        name = dtypes.short_name(self.dtype) if short else self.dtype.name
        if self._sharding is not None:
            return f"{name}[{spread_shape(self.shape, self._sharding.spec)}]"
        return f"{name}[{','.join(map(str, self.shape))}]"

    def __str__(self) -> str:
        return ("~" if self.weak_type else "") + self.str_short()

    def str_long(self) -> str:
        """`~float32[3,4]`, as traced values are shown."""
        return ("~" if self.weak_type else "") + self.str_short(short_dtypes=False)

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapedArray({self.str_short(short_dtypes=False)}{weak})"


def spread_shape(shape: Iterable[Any], spec: Iterable[Any]) -> str:
    """`2@a,3`: the lengths of axes, and over which axes of a mesh they are spread."""
    texts = []
    for n, entry in zip(shape, spec, strict=True):
        name = f"({','.join(map(str, entry))})" if isinstance(entry, tuple) else entry
        texts.append(f"{n}" if entry is None else f"{n}@{name}")
    return ",".join(texts)


_spread: dict[tuple[ShapedArray, Any], ShapedArray] = {}


def spread_type(aval: ShapedArray, sharding: Any) -> ShapedArray:
    """A type that tells how values are spread, for users to look at: programs have plain ones."""
    key = aval, sharding
    found = _spread.get(key)
    if found is None:
        found = object.__new__(ShapedArray)
        for name in ShapedArray.__slots__:
            setattr(found, name, getattr(aval, name))
        found._sharding = sharding
        if len(_spread) >= _RECENT_LIMIT:
            _spread.clear()
        _spread[key] = found
    return found


sharding_hook: list[Any] = []
"""Filled by `core.sharding`: the sharding of types with so many axes."""


def _intern(shape: tuple[Any, ...], dtype: Any, weak_type: bool) -> ShapedArray:
    shape = tuple(d if type(d) is DimExpr else int(d) for d in shape)
    if not isinstance(dtype, KeyDtype):
        dtype = np.dtype(dtype)
    key = (shape, dtype, weak_type)
    with _lock:
        found = _interned.get(key)
        if found is None:
            found = object.__new__(ShapedArray)
            found.shape, found.dtype, found.weak_type = shape, dtype, weak_type
            found.size = math.prod(shape)
            found.kind = dtypes.kind_of(dtype)
            found._tangent = found._sharding = None
            _interned[key] = found
        if len(_recent) >= _RECENT_LIMIT:
            _recent.clear()
        _recent[key] = found
    if found._tangent is None and not has_tangents(dtype):
        found._tangent = _float0(shape)
    return found


def _float0(shape: tuple[int, ...]) -> ShapedArray:
    """The trivial tangent type, which is its own tangent type."""
    return ShapedArray(shape, dtypes.float0)


_differentiable: dict[Any, bool] = {}


def has_tangents(dtype: Any) -> bool:
    """Whether values of this dtype have tangents other than `float0`."""
    found = _differentiable.get(dtype)
    if found is None:
        found = bool(dtypes.issubdtype(dtype, np.inexact)) or dtype == dtypes.float0
        _differentiable[dtype] = found
    return found


_PYTHON_SCALARS: Final = (bool, int, float, complex)
registered: dict[type, Any] = {}
"""Types of operands, with what gives the aval of one."""


def register_aval(cls: type, to_aval: Any) -> None:
    """Let values of type `cls` be operands; `to_aval(value)` gives their aval."""
    registered[cls] = to_aval


own_aval: Final = attrgetter("aval")
"""The aval of what has one as an attribute."""

_canonical: dict[tuple[Any, bool], Any] = {}


def _numpy_aval(x: Any) -> ShapedArray:
    key = (x.dtype, config.x64())
    dtype = _canonical.get(key)
    if dtype is None:
        if x.dtype.kind in "OSTUMm":
            raise TypeError(
                f"Argument {str(x)!r} of type {type(x)} is not a valid JAX type: its dtype is "
                f"{x.dtype}, and arrays hold numbers and bools only"
            )
        dtype = _canonical[key] = dtypes.canonicalize_dtype(x.dtype)
    return ShapedArray(x.shape, dtype)


_scalar_avals: dict[tuple[type, bool], ShapedArray] = {}


def _scalar_aval(x: Any) -> ShapedArray:
    cls = type(x)
    if cls is int and not -(2**31) <= x < 2**31:
        return ShapedArray((), dtypes.python_scalar_dtype(int, x), True)
    key = (cls, config.x64())
    found = _scalar_avals.get(key)
    if found is None:
        found = ShapedArray((), dtypes.python_scalar_dtype(cls), cls is not bool)
        _scalar_avals[key] = found
    return found


def aval_of(x: Any) -> ShapedArray:
    """The abstract value of an operand; a TypeError names a type that cannot be one.

    >>> aval_of(1.0)
    ShapedArray(float32[], weak_type=True)
    """
    to_aval = registered.get(type(x))
    if to_aval is not None:
        return to_aval(x)  # type: ignore[no-any-return]
    if isinstance(x, (np.ndarray, np.generic)):  # first: a NumPy float64 is a Python float, too
        return _numpy_aval(x)
    for cls in type(x).__mro__:
        if cls in registered:
            return registered[cls](x)  # type: ignore[no-any-return]
    raise TypeError(
        f"Argument {str(x)!r} of type {type(x)} is not a valid JAX type: no array and no scalar"
    )


def typeof(x: Any) -> ShapedArray:
    """The type of a value as tracing sees it: `jax.typeof`."""
    return aval_of(x)


register_aval(np.ndarray, _numpy_aval)
for _cls in _PYTHON_SCALARS:
    register_aval(_cls, _scalar_aval)
