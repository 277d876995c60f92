"""Coordinate grids, the index builders `r_`, `c_`, `mgrid`, `ogrid`, and window functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy.arrays import array_of, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.floats import i0
from pullback.numpy.promotion import ensure_arraylike, promote_dtypes, static_shape
from pullback.numpy.ranges import arange, linspace
from pullback.transforms.mapping import vmap

__all__ = [
    "bartlett",
    "blackman",
    "c_",
    "fromfunction",
    "hamming",
    "hanning",
    "index_exp",
    "indices",
    "ix_",
    "kaiser",
    "meshgrid",
    "mgrid",
    "ogrid",
    "r_",
    "s_",
]

s_: Final = np.s_
index_exp: Final = np.index_exp


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list[Any]:
    """Coordinate arrays of the grid that vectors span.

    With indexing "ij" axis k belongs to vector k; with "xy" the first two are swapped.

    >>> import pullback.numpy as jnp
    >>> jnp.meshgrid(jnp.arange(2), jnp.arange(2))[0]
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    vectors = [ensure_arraylike("meshgrid", x) for x in xi]
    if not copy:
        raise ValueError("jax.numpy.meshgrid only supports copy=True")
    if indexing not in ("xy", "ij"):
        raise ValueError(f"Valid values for indexing are 'xy' and 'ij', got {indexing}")
    if any(v.ndim > 1 for v in vectors):
        raise ValueError("Arguments to jax.numpy.meshgrid must be at most 1D")
    vectors = [lax.reshape(v, (v.size,)) for v in vectors]
    axes = list(range(len(vectors)))
    if indexing == "xy" and len(axes) >= 2:
        axes[:2] = [1, 0]
    lengths = [0] * len(vectors)
    for v, axis in zip(vectors, axes, strict=True):
        lengths[axis] = v.shape[0]
    return [
        lax.broadcast_in_dim(v, _only(lengths, k) if sparse else lengths, (k,))
        for v, k in zip(vectors, axes, strict=True)
    ]


def _only(lengths: Sequence[int], axis: int) -> list[int]:
    return [n if k == axis else 1 for k, n in enumerate(lengths)]


def indices(dimensions: Sequence[int], dtype: Any = None, sparse: bool = False) -> Any:
    """The indices of the elements of an array: one grid an axis, stacked (or a tuple if sparse).

    >>> import pullback.numpy as jnp
    >>> jnp.indices((2, 2))[0]
    Array([[0, 0],
           [1, 1]], dtype=int32)
    """
    shape = static_shape(dimensions)
    dtype = dtypes.check_user_dtype(int if dtype is None else dtype, "indices")
    if sparse:
        return tuple(lax.broadcasted_iota(dtype, _only(shape, k), k) for k in range(len(shape)))
    if not shape:
        return lax.full((0,), 0, dtype)
    grids = [lax.broadcasted_iota(dtype, (1, *shape), k + 1) for k in range(len(shape))]
    return lax.concatenate(grids, 0)


def fromfunction(
    function: Callable[..., Any], shape: Any, *, dtype: Any = float, **kwargs: Any
) -> Any:
    """The array whose elements are `function` of their indices, called once for all by `vmap`.

    >>> import pullback.numpy as jnp
    >>> jnp.fromfunction(lambda i, j: i + j, (2, 2), dtype=int)
    Array([[0, 1],
           [1, 2]], dtype=int32)
    """
    shape = static_shape(shape)
    for k in reversed(range(len(shape))):
        in_axes = tuple(0 if axis == k else None for axis in range(len(shape)))
        function = vmap(function, in_axes=in_axes)
    return function(*(arange(n, dtype=dtype) for n in shape), **kwargs)


def ix_(*args: Any) -> tuple[Any, ...]:
    """Arrays that index the outer product of vectors of indices.

    >>> import pullback.numpy as jnp
    >>> [i.shape for i in jnp.ix_(jnp.array([0, 2]), jnp.array([1, 3, 4]))]
    [(2, 1), (1, 3)]
    """
    result = []
    for k, a in enumerate(args):
        a = ensure_arraylike("ix_", a)
        if a.ndim != 1:
            raise ValueError(
                f"Arguments to jax.numpy.ix_ must be 1-dimensional, got shape {a.shape}"
            )
        if a.dtype == bool:
            raise NotImplementedError("Boolean arguments to jax.numpy.ix_ are not implemented")
        if a.size == 0:
            a = lax.convert_element_type(a, np.dtype(np.int32))
        shape = [1] * len(args)
        shape[k] = a.shape[0]
        result.append(lax.reshape(a, shape))
    return tuple(result)


# --------------------------------------------------------------------------- index builders


def _numbers(s: slice, context: str) -> Any:
    """The numbers of a slice; an imaginary step is how many there are, ends included."""
    start, stop, step = (
        concrete_or_error(None, v, f"It is in an index of jnp.{context}.")
        for v in (s.start, s.stop, s.step)
    )
    start = 0 if start is None else start
    if step is not None and dtypes.kind_of(dtypes.dtype_of(step)) == "c":
        return linspace(start, stop, int(abs(complex(step))))
    return arange(start, stop, 1 if step is None else step)


class _Grid:
    """`jnp.mgrid[...]` or `jnp.ogrid[...]`: coordinates of a grid described by slices.

    >>> import pullback.numpy as jnp
    >>> jnp.mgrid[0:2], jnp.ogrid[0:1:3j]
    (Array([0, 1], dtype=int32), Array([0. , 0.5, 1. ], dtype=float32))
    """

    def __init__(self, name: str, sparse: bool) -> None:
        self.name, self.sparse = name, sparse

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return _numbers(key, self.name)
        vectors = promote_dtypes(*(_numbers(s, self.name) for s in key))
        grids = meshgrid(*vectors, sparse=self.sparse, indexing="ij")
        if self.sparse:
            return grids
        return lax.concatenate([lax.expand_dims(g, (0,)) for g in grids], 0)


mgrid: Final = _Grid("mgrid", False)
ogrid: Final = _Grid("ogrid", True)


class _Join:
    """`jnp.r_[...]` or `jnp.c_[...]`: joins slices, numbers and arrays along an axis.

    >>> import pullback.numpy as jnp
    >>> jnp.r_[1:3, 5], jnp.c_[jnp.arange(2), jnp.arange(2)]
    (Array([1, 2, 5], dtype=int32), Array([[0, 0],
           [1, 1]], dtype=int32))
    """

    def __init__(self, name: str, axis: int, ndmin: int, trans1d: int) -> None:
        self.name, self.axis, self.ndmin, self.trans1d = name, axis, ndmin, trans1d

    def __getitem__(self, key: Any) -> Any:
        axis, ndmin, trans1d = self.axis, self.ndmin, self.trans1d
        key = key if isinstance(key, tuple) else (key,)
        if key and isinstance(key[0], str):
            if key[0] in ("r", "c"):
                return self._matrix(key[0], key[1:])
            axis, ndmin, trans1d = self._directive(key[0])
            key = key[1:]
        parts = [self._part(item, ndmin, trans1d) for item in key]
        parts = [lax.reshape(p, (1,)) if p.ndim == 0 else p for p in promote_dtypes(*parts)]
        return lax.concatenate(parts, axis + parts[0].ndim if axis < 0 else axis)

    def _matrix(self, kind: str, key: Any) -> Any:
        """What is joined as a matrix: a vector is one of its rows ("r") or columns ("c")."""
        joined = self[key]
        if joined.ndim != 1:
            return joined
        return lax.expand_dims(joined, (0,) if kind == "r" else (1,))

    def _directive(self, text: str) -> tuple[int, int, int]:
        try:
            numbers = [int(part) for part in text.split(",")]
        except ValueError:
            raise ValueError(
                f"could not understand directive {text!r} of jnp.{self.name}"
            ) from None
        defaults = [self.axis, self.ndmin, self.trans1d]
        axis, ndmin, trans1d = numbers + defaults[len(numbers) :]
        return axis, ndmin, trans1d

    def _part(self, item: Any, ndmin: int, trans1d: int) -> Any:
        if isinstance(item, str):
            raise ValueError("string directive must be placed at the beginning")
        part = _numbers(item, self.name) if isinstance(item, slice) else asarray(item)
        have = part.ndim
        if have >= ndmin:
            return part
        position = trans1d if trans1d >= 0 else ndmin - have + trans1d + 1
        before = min(max(position, 0), ndmin - have)
        # trans1d says where the axes of the part start among those of the result.
        shape = (*(1,) * before, *part.shape, *(1,) * (ndmin - have - before))
        return lax.reshape(part, shape)


r_: Final = _Join("r_", 0, 1, -1)
c_: Final = _Join("c_", -1, 2, 0)


# --------------------------------------------------------------------------- windows


def _window(M: int, values: Callable[[int], Any]) -> Any:
    dtype = dtypes.default_float()
    return lax.full((M,), 1, dtype) if M <= 1 else array_of(values(M), dtype)


def bartlett(M: int) -> Any:
    """A triangular window of `M` points, zero at both ends.

    >>> import pullback.numpy as jnp
    >>> jnp.bartlett(3)
    Array([0., 1., 0.], dtype=float32)
    """
    return _window(M, np.bartlett)


def blackman(M: int) -> Any:
    """A Blackman window of `M` points: 0.42 - 0.5 cos + 0.08 cos of twice the angle.

    >>> import pullback.numpy as jnp
    >>> jnp.blackman(1)
    Array([1.], dtype=float32)
    """
    return _window(M, np.blackman)


def hamming(M: int) -> Any:
    """A Hamming window of `M` points: 0.54 - 0.46 cos.

    >>> import pullback.numpy as jnp
    >>> jnp.hamming(1)
    Array([1.], dtype=float32)
    """
    return _window(M, np.hamming)


def hanning(M: int) -> Any:
    """A Hann window of `M` points: 0.5 - 0.5 cos.

    >>> import pullback.numpy as jnp
    >>> jnp.hanning(1)
    Array([1.], dtype=float32)
    """
    return _window(M, np.hanning)


def kaiser(M: int, beta: Any) -> Any:
    """A Kaiser window of `M` points with the shape parameter `beta`.

    >>> import pullback.numpy as jnp
    >>> jnp.kaiser(1, 2.0)
    Array([1.], dtype=float32)
    """
    dtype = dtypes.default_float()
    if M <= 1:
        return lax.full((M,), 1, dtype)
    alpha = 0.5 * (M - 1)
    profile = np.sqrt(np.maximum(0, 1 - ((np.arange(M) - alpha) / alpha) ** 2))
    beta = convert_with_weak_type(beta, dtype, False)
    scaled = lax.mul(beta, array_of(profile, dtype))
    return lax.div(i0(scaled), lax.broadcast(i0(beta), (M,)))
