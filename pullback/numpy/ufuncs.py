"""The ufunc objects: functions with `reduce`, `accumulate`, `outer`, `at` and `reduceat`.

Those that have a monoid of their own (sums, products, extrema, logic) reduce by the reductions of
the library; any other function reduces by a loop.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.tracebacks import shorten
from pullback.numpy.arrays import as_array
from pullback.numpy.promotion import canonical_axes, canonical_axis, check_arraylike

__all__ = ["frompyfunc", "ufunc"]

Function = Callable[..., Any]


class ufunc:
    """A function of `nin` scalars with `nout` results, applied element by element.

    Made by `frompyfunc`; those of the library are objects of this class too.

    >>> import pullback.numpy as jnp
    >>> jnp.add(1, 2), jnp.add.reduce(jnp.arange(4)), jnp.add.accumulate(jnp.arange(4))
    (Array(3, dtype=int32, weak_type=True), Array(6, dtype=int32), Array([0, 1, 3, 6], dtype=int32))
    """

    def __init__(
        self,
        func: Function,
        /,
        nin: int,
        nout: int,
        *,
        name: str | None = None,
        nargs: int | None = None,
        identity: Any = None,
        call: Function | None = None,
        reduce: Function | None = None,
        accumulate: Function | None = None,
        at: Function | None = None,
        reduceat: Function | None = None,
        logical: bool = False,
    ) -> None:
        self.__name__ = name or func.__name__
        self.__doc__ = func.__doc__
        self._func = func
        self._call = call or func
        self._nin, self._nout = operator.index(nin), operator.index(nout)
        self._nargs = operator.index(self._nin if nargs is None else nargs)
        self._identity = identity
        self._reduce, self._accumulate, self._at = reduce, accumulate, at
        self._reduceat = reduceat
        self._logical = logical

    @property
    def nin(self) -> int:
        """Number of operands."""
        return self._nin

    @property
    def nout(self) -> int:
        """Number of results."""
        return self._nout

    @property
    def nargs(self) -> int:
        """Number of arguments."""
        return self._nargs

    @property
    def identity(self) -> Any:
        """The neutral element, or None."""
        return self._identity

    def __hash__(self) -> int:
        return hash((self._func, self.__name__, self._nin, self._nout))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ufunc) and (
            (self._func, self.__name__, self._nin, self._nout)
            == (other._func, other.__name__, other._nin, other._nout)
        )

    def __repr__(self) -> str:
        return f"<jnp.ufunc '{self.__name__}'>"

    def __call__(self, *args: Any, out: None = None, where: None = None) -> Any:
        """Apply the function; operands are broadcast."""
        if out is not None:
            raise NotImplementedError(f"out argument of {self}: arrays are immutable")
        if where is not None:
            raise NotImplementedError(f"where argument of {self}: use jnp.where")
        try:
            if len(args) != self._nin:
                raise TypeError(
                    f"{self.__name__} takes {self._nin} positional arguments, got {len(args)}"
                )
            return self._call(*args)
        except Exception as error:
            shorten(error)
            raise

    def _need_binary(self, method: str) -> None:
        if self._nin != 2:
            raise ValueError(f"{method} only supported for binary ufuncs, {self} is not one")
        if self._nout != 1:
            raise ValueError(f"{method} only supported for functions returning a single value")

    def reduce(
        self,
        a: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: None = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = None,
    ) -> Any:
        """Combine the elements along one, several or (None) all axes.

        >>> import pullback.numpy as jnp
        >>> jnp.multiply.reduce(jnp.array([2, 3, 4]))
        Array(24, dtype=int32)
        """
        self._need_binary("reduce")
        if out is not None:
            raise NotImplementedError(f"out argument of {self.__name__}.reduce()")
        if where is not None and self._identity is None and initial is None:
            raise ValueError(
                f"reduction operation {self.__name__} does not have an identity, so to use a where "
                "mask one has to specify 'initial'."
            )
        a = as_array(a)
        if self._reduce is not None:
            axes = axis if axis is None or isinstance(axis, tuple) else canonical_axis(axis, a.ndim)
            return self._reduce(
                a, axis=axes, dtype=dtype, keepdims=keepdims, initial=initial, where=where
            )
        return self._reduce_by_loop(
            a, canonical_axes(axis, a.ndim), dtype, keepdims, initial, where
        )

    def _reduce_by_loop(
        self, a: Any, axes: tuple[int, ...], dtype: Any, keepdims: bool, initial: Any, where: Any
    ) -> Any:
        rows, mask = _rows(self._operand(a, dtype), axes, dtype), None
        if where is not None:
            mask = _rows(_spread(where, a.shape), axes, np.dtype(bool))
        start = self._identity if initial is None else initial
        first = 0
        if start is None:
            if rows.shape[0] == 0:
                raise ValueError(f"zero-size array to reduction {self.__name__} without identity")
            result, first = lax.index_in_dim(rows, 0, keepdims=False), 1
        else:
            result = lax.full(rows.shape[1:], start, rows.dtype)

        def step(i: Any, result: Any) -> Any:
            row = lax.dynamic_index_in_dim(rows, i, keepdims=False)
            combined = lax.convert_element_type(self._call(result, row), result.dtype)
            if mask is None:
                return combined
            return lax.select(lax.dynamic_index_in_dim(mask, i, keepdims=False), combined, result)

        if first < rows.shape[0]:
            result = lax.fori_loop(first, rows.shape[0], step, result)
        return lax.expand_dims(result, sorted(axes)) if keepdims else result

    def _operand(self, a: Any, dtype: Any = None) -> Any:
        """`a` as an array; of bools for a logical function, unless another dtype is asked for."""
        a = as_array(a)
        return lax.ne(a, lax.full_like(a, 0)) if self._logical and dtype is None else a

    def accumulate(self, a: Any, axis: int = 0, dtype: Any = None, out: None = None) -> Any:
        """The results of combining the first one, two, three ... elements along an axis.

        >>> import pullback.numpy as jnp
        >>> jnp.subtract.accumulate(jnp.array([5, 1, 1]))
        Array([5, 4, 3], dtype=int32)
        """
        self._need_binary("accumulate")
        if out is not None:
            raise NotImplementedError(f"out argument of {self.__name__}.accumulate()")
        if axis is None:
            raise ValueError("accumulate does not support axis=None")
        a = self._operand(a, dtype)
        axis = canonical_axis(axis, a.ndim)
        if self._accumulate is not None:
            return self._accumulate(a, axis=axis, dtype=dtype)
        rows = _rows(a, (axis,), dtype)
        if rows.shape[0] == 0:
            return a

        def step(carry: Any, row: Any) -> Any:
            result = lax.convert_element_type(self._call(carry, row), carry.dtype)
            return result, result

        first = lax.slice_in_dim(rows, 0, 1)
        rest = lax.slice_in_dim(rows, 1, rows.shape[0])
        _, results = lax.scan(step, lax.squeeze(first, (0,)), rest)
        return _move_axis(lax.concatenate([first, results], 0), 0, axis)

    def outer(self, A: Any, B: Any, /) -> Any:
        """Combine every element of `A` with every one of `B`: shape `A.shape + B.shape`.

        >>> import pullback.numpy as jnp
        >>> jnp.add.outer(jnp.arange(2), jnp.arange(3))
        Array([[0, 1, 2],
               [1, 2, 3]], dtype=int32)
        """
        self._need_binary("outer")
        check_arraylike(f"{self.__name__}.outer", A, B)
        A, B = as_array(A), as_array(B)
        return self._call(lax.reshape(A, (*A.shape, *(1,) * B.ndim)), B)

    def at(self, a: Any, indices: Any, b: Any = None, /, *, inplace: bool = True) -> Any:
        """A copy of `a` with the function applied at `indices`; repeated ones count every time.

        >>> import pullback.numpy as jnp
        >>> jnp.add.at(jnp.zeros(3), jnp.array([0, 0]), 1.0, inplace=False)
        Array([2., 0., 0.], dtype=float32)
        """
        if inplace:
            raise NotImplementedError(
                "Because JAX arrays are immutable, jnp.ufunc.at() cannot operate inplace like "
                "np.ufunc.at(). Instead, you can pass inplace=False and capture the result; e.g. "
                f"arr = jnp.{self.__name__}.at(arr, ind, val, inplace=False)"
            )
        a = self._operand(a)
        if b is None:
            return a.at[indices].apply(self._call)
        if self._at is not None:
            return self._at(a, indices, b)
        return self._at_by_loop(a, indices, b)

    def _at_by_loop(self, a: Any, indices: Any, b: Any) -> Any:
        numbers = lax.reshape(lax.iota(np.dtype("int32"), a.size), a.shape)
        places = as_array(numbers[indices])
        values = lax.reshape(_spread(b, places.shape), (places.size,))
        none = lax.full((0,), 0, a.dtype), lax.full((0,), 0, values.dtype)
        a = lax.convert_element_type(a, dtypes.result_type(a, self._call(*none)))
        places, flat = lax.reshape(places, (places.size,)), lax.reshape(a, (a.size,))

        def step(i: Any, flat: Any) -> Any:
            place = lax.dynamic_index_in_dim(places, i, keepdims=False)
            value = lax.dynamic_index_in_dim(values, i, keepdims=False)
            new = self._call(lax.dynamic_index_in_dim(flat, place, keepdims=False), value)
            new = lax.convert_element_type(new, flat.dtype)
            return lax.dynamic_update_index_in_dim(flat, new, place, 0)

        return lax.reshape(lax.fori_loop(0, places.shape[0], step, flat), a.shape)

    def reduceat(
        self, a: Any, indices: Any, axis: int = 0, dtype: Any = None, out: None = None
    ) -> Any:
        """Combine the elements of the slices that start at `indices` and end at the next one.

        >>> import pullback.numpy as jnp
        >>> jnp.add.reduceat(jnp.arange(8), jnp.array([0, 4]))
        Array([ 6, 22], dtype=int32)
        """
        self._need_binary("reduceat")
        if out is not None:
            raise NotImplementedError(f"out argument of {self.__name__}.reduceat()")
        if axis is None or isinstance(axis, (tuple, list)):
            raise ValueError("reduceat requires a single integer axis.")
        a, indices = as_array(a), as_array(indices)
        if indices.ndim != 1:
            raise ValueError("reduceat requires a 1-dimensional array of indices")
        axis = canonical_axis(axis, a.ndim)
        rows = _rows(a, (axis,), dtype)
        length, count = rows.shape[0], indices.shape[0]
        if count == 0:
            return _move_axis(rows[:0], 0, axis)
        last = lax.full((1,), length, indices.dtype)
        ends = lax.concatenate([lax.slice_in_dim(indices, 1, count), last], 0)
        starts = indices

        def step(i: Any, result: Any) -> Any:
            row = lax.dynamic_index_in_dim(rows, i, keepdims=True)
            combined = lax.convert_element_type(self._call(result, row), result.dtype)
            inside = lax.bitwise_and(
                lax.gt(lax.broadcast(i, (count,)), starts), lax.lt(lax.broadcast(i, (count,)), ends)
            )
            inside = lax.broadcast_in_dim(inside, result.shape, (0,))
            return lax.select(inside, combined, result)

        result = rows[starts]
        i32 = starts.dtype.type
        return _move_axis(lax.fori_loop(i32(0), i32(length), step, result), 0, axis)


def _move_axis(x: Any, source: int, target: int) -> Any:
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    return lax.transpose(x, order)


def _rows(a: Any, axes: tuple[int, ...], dtype: Any) -> Any:
    """`a` with `axes` flattened into a leading one."""
    if dtype is not None:
        a = lax.convert_element_type(a, dtype)
    rest = [k for k in range(a.ndim) if k not in axes]
    moved = lax.transpose(a, (*axes, *rest))
    count = int(np.prod([a.shape[k] for k in axes], dtype=int))
    return lax.reshape(moved, (count, *(a.shape[k] for k in rest)))


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    x = as_array(x)
    have = aval_of(x).shape
    return lax.broadcast_in_dim(x, shape, tuple(range(len(shape) - len(have), len(shape))))


def frompyfunc(func: Function, /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """A ufunc from a function of scalars that is written with this library.

    >>> import pullback.numpy as jnp
    >>> f = jnp.frompyfunc(lambda x, y: x * y + 1, 2, 1)
    >>> f(jnp.array([1, 2]), 10), f.reduce(jnp.arange(1, 4))
    (Array([11, 21], dtype=int32), Array(10, dtype=int32))
    """
    from_scalars = scalar_vectorizer[0]
    return ufunc(func, nin, nout, identity=identity, call=from_scalars(func))


scalar_vectorizer: list[Function] = []
"""Filled by `vectorization`: `vectorize`."""
