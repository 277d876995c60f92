"""`x.at[index]`: reads and functional updates with control of what happens out of bounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import config, lax
from pullback.core import dtypes
from pullback.core.source import outside_as_chosen
from pullback.core.trace import EVAL, current_trace
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.creation import asarray
from pullback.numpy.indexing import (
    PICKED,
    Part,
    Picked,
    Plan,
    Window,
    cut,
    index_vector,
    mode_name,
    normalized,
    numpy_index,
    numpy_position,
    parse,
    picked_position,
    same_dtype,
    take_plan,
    without_windows,
)
from pullback.numpy.promotion import is_arraylike, unwrap
from pullback.runtime.array import ArrayImpl, is_here, make_array
from pullback.runtime.placement import as_asked

__all__ = ["IndexUpdateHelper", "IndexUpdateRef", "scatter_plan", "scatter_update"]


class IndexUpdateHelper:
    """What `x.at` is: index it to get the operations of `IndexUpdateRef`."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        self.array = array

    def __getitem__(self, index: Any) -> IndexUpdateRef:
        return IndexUpdateRef(self.array, index)

    def __repr__(self) -> str:
        return f"_IndexUpdateHelper({self.array!r})"


class IndexUpdateRef:
    """`x.at[index]`: its methods return a new array, or read with a mode.

    Keywords of all methods: `mode` says what happens out of bounds (`"drop"`/`"fill"`, the default
    of updates; `"clip"`, the default of reads; `"promise_in_bounds"`), `indices_are_sorted` and
    `unique_indices` are promises, `wrap_negative_indices` counts negative ones from the end.

    >>> import pullback.numpy as jnp
    >>> x = jnp.zeros(3)
    >>> x.at[1].set(5.0), x.at[jnp.array([0, 0])].add(1.0)
    (Array([0., 5., 0.], dtype=float32), Array([2., 0., 0.], dtype=float32))
    """

    __slots__ = ("array", "index")

    def __init__(self, array: Any, index: Any) -> None:
        self.array, self.index = array, index

    def __repr__(self) -> str:
        return f"_IndexUpdateRef({self.array!r}, {self.index!r})"

    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: Any = None,
        fill_value: Any = None,
        out_sharding: Any = None,
        wrap_negative_indices: bool = True,
    ) -> Any:
        """`x[index]`; with mode `"fill"`, elements out of bounds read `fill_value` (default: nan,
        the smallest integer, the largest unsigned one).

        >>> import pullback.numpy as jnp
        >>> jnp.arange(3.0).at[jnp.array([0, 9])].get(mode="fill")
        Array([ 0., nan], dtype=float32)
        """
        index, windows = without_windows(self.index, self.array.ndim)
        array = cut(self.array, windows)
        with outside_as_chosen(mode):
            found = take_plan(
                array,
                parse(array.shape, index),
                mode,
                fill_value,
                indices_are_sorted,
                unique_indices,
                wrap_negative_indices,
            )
        return found if out_sharding is None else as_asked(out_sharding, lambda: found)

    def set(self, values: Any, **options: Any) -> Any:
        """`x[index] = values` on a copy.

        >>> import pullback.numpy as jnp
        >>> jnp.arange(3).at[1].set(7)
        Array([0, 7, 2], dtype=int32)
        """
        return scatter_update(self.array, self.index, values, lax.scatter, **options)

    def add(self, values: Any, **options: Any) -> Any:
        """`x[index] += values` on a copy; indices that repeat count every time."""
        return scatter_update(self.array, self.index, values, lax.scatter_add, **options)

    def subtract(self, values: Any, **options: Any) -> Any:
        """`x[index] -= values` on a copy; indices that repeat count every time."""
        return scatter_update(self.array, self.index, values, lax.scatter_sub, **options)

    def multiply(self, values: Any, **options: Any) -> Any:
        """`x[index] *= values` on a copy; indices that repeat count every time."""
        return scatter_update(self.array, self.index, values, lax.scatter_mul, **options)

    mul = multiply

    def divide(self, values: Any, **options: Any) -> Any:
        """`x[index] /= values` on a copy; indices that repeat count every time."""
        ones = lax.full_like(self.array, 1)
        return self.array / scatter_update(ones, self.index, values, lax.scatter_mul, **options)

    def power(self, values: Any, **options: Any) -> Any:
        """`x[index] **= values` on a copy; indices that repeat count every time."""
        ones = lax.full_like(self.array, 1)
        return self.array ** scatter_update(ones, self.index, values, lax.scatter_mul, **options)

    def min(self, values: Any, **options: Any) -> Any:
        """`x[index] = minimum(x[index], values)` on a copy."""
        return scatter_update(self.array, self.index, values, lax.scatter_min, **options)

    def max(self, values: Any, **options: Any) -> Any:
        """`x[index] = maximum(x[index], values)` on a copy."""
        return scatter_update(self.array, self.index, values, lax.scatter_max, **options)

    def apply(self, func: Callable[[Any], Any], **options: Any) -> Any:
        """`x[index] = func(x[index])` on a copy; `func` is element-wise.

        >>> import pullback.numpy as jnp
        >>> jnp.arange(3.0).at[1:].apply(jnp.negative)
        Array([ 0., -1., -2.], dtype=float32)
        """

        def scatter(x: Any, indices: Any, updates: Any, numbers: Any, **kwargs: Any) -> Any:
            shape = np.shape(updates)
            return lax.scatter_apply(x, indices, func, numbers, update_shape=shape, **kwargs)

        return scatter_update(self.array, self.index, 0, scatter, **options)


def scatter_update(
    x: Any,
    index: Any,
    values: Any,
    scatter: Callable[..., Any],
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: Any = None,
    out_sharding: Any = None,
    wrap_negative_indices: bool = True,
) -> Any:
    """Update a copy of `x` at `index` by one of the scatters of `lax`."""
    x, values = as_array(x), unwrap(values) if is_arraylike(values) else asarray(values)
    index, windows = without_windows(index, x.ndim)
    if windows:
        options: Any = {
            "indices_are_sorted": indices_are_sorted,
            "unique_indices": unique_indices,
            "mode": mode,
            "wrap_negative_indices": wrap_negative_indices,
        }
        new = scatter_update(cut(x, windows), index, values, scatter, **options)
        return _put_back(x, windows, new, mode_name(mode) == "clip", wrap_negative_indices)
    plan = parse(x.shape, index)
    x_aval, (x, values) = x.aval, _common_dtype(x, values)
    values = _spread(values, plan)
    if scatter is lax.scatter and mode is None and wrap_negative_indices:
        found = _eager_set(x, values, plan)
        if found is not None:
            return convert_with_weak_type(found, x_aval.dtype, x_aval.weak_type)
    mode = mode_name(mode)
    picked = [normalized(p, plan.shape[p.axis], wrap_negative_indices) for p in plan.picked]
    if scatter is lax.scatter and _is_window(plan, picked):
        out = _set_window(x, values, plan, picked)
    else:
        with outside_as_chosen(mode):
            out = _scattered(
                x,
                values,
                plan,
                picked,
                scatter,
                indices_are_sorted=indices_are_sorted,
                # One place for each index of the parts: no two of them are the same.
                unique_indices=unique_indices or not plan.picked_shape,
                mode="fill" if mode is None else mode,
            )
    return convert_with_weak_type(out, x_aval.dtype, x_aval.weak_type)


def _put_back(x: Any, windows: Sequence[Window], new: Any, clip: bool, wrap: bool) -> Any:
    """`x` with what is inside of the windows replaced; unchanged if one of them does not fit.

    With `clip` such a window is moved inside; with `wrap`, negative starts count from the end.
    """
    starts: list[Any] = [0] * x.ndim
    fits: Any = np.bool_(True)
    for w in windows:
        n = x.shape[w.axis]
        start = w.start + (w.start < 0) * n if wrap else w.start
        fits = fits & (start >= 0) & (start <= n - w.size)
        starts[w.axis] = start
    done = lax.dynamic_update_slice(x, new, starts)
    return done if clip else lax.select(as_array(fits), done, x)


def scatter_plan(x: Any, plan: Plan, values: Any, scatter: Callable[..., Any]) -> Any:
    """`x` updated at a plan, by values of the shape and dtype of what it reads.

    Indices out of bounds are clamped, as they are on reading.
    """
    new = plan.new_axes()
    values = lax.squeeze(values, new) if new else values
    picked = [normalized(p, plan.shape[p.axis], True) for p in plan.picked]
    if scatter is lax.scatter and not plan.picked_shape and not _strided(plan):
        return _set_window(x, values, plan, picked)
    options = {"indices_are_sorted": False, "unique_indices": False, "mode": "clip"}
    return _scattered(x, values, plan, picked, scatter, **options)


def _eager_set(x: Any, values: Any, plan: Plan) -> Any:
    """The update of concrete arrays, by NumPy; None where an index is out of bounds or traced."""
    if type(x) is not ArrayImpl or type(values) is not ArrayImpl or current_trace() is not EVAL:
        return None
    if not (is_here(x) and is_here(values)) or config.LOOKERS:
        return None
    where = numpy_index(plan, clamp=False)
    if where is None:
        return None
    new, rank = values._data, len(plan.picked_shape)
    if rank:
        have, want = picked_position(plan), numpy_position(plan)
        if have != want:
            new = np.moveaxis(new, range(have, have + rank), range(want, want + rank))
    data = x._data.copy()
    data[where] = new
    return make_array(data, x.aval)


def _common_dtype(x: Any, values: Any) -> tuple[Any, Any]:
    """Both in their common dtype; a FutureWarning if that is not the dtype of `x`."""
    dtype, _ = dtypes.result_type_and_weak(x, values)
    if dtype != x.dtype:
        if not dtypes.is_extended(dtype):
            warnings.warn(
                "scatter inputs have incompatible types: cannot safely cast value from "
                f"dtype={dtypes.dtype_of(values).name} to dtype={x.dtype.name} with "
                "jax_numpy_dtype_promotion=standard. In future JAX releases this will result in an "
                "error. Convert the value with astype.",
                FutureWarning,
                stacklevel=dtypes.user_stacklevel(),
            )
        x = convert_with_weak_type(x, dtype, False)
    return x, convert_with_weak_type(values, dtype, x.aval.weak_type)


def _spread(values: Any, plan: Plan) -> Any:
    """The values broadcast to the shape of the indexed array, without the axes `None` makes."""
    shape = plan.result_shape()
    if values.ndim > len(shape):
        raise ValueError(
            f"Cannot broadcast to shape with fewer dimensions: arr_shape={values.shape} "
            f"shape={shape}"
        )
    aligned = shape[len(shape) - values.ndim :]
    if any(n not in (1, m) for n, m in zip(values.shape, aligned, strict=True)):
        raise ValueError(
            f"Incompatible types for broadcasting: input type={values.aval.str_short(False)} and "
            f"requested type={values.aval.update(shape=shape).str_short(False)}"
        )
    new = plan.new_axes()
    values = broadcast_to_shape(values, shape)
    return lax.squeeze(values, new) if new else values


def _is_window(plan: Plan, picked: Sequence[Picked]) -> bool:
    """Whether the index is a box at a constant place."""
    return (
        all(part.step == 1 for part in plan.parts)
        and all(type(p.indices) is int and 0 <= p.indices < plan.shape[p.axis] for p in picked)
        and not plan.picked_shape
    )


def _set_window(x: Any, values: Any, plan: Plan, picked: Sequence[Picked]) -> Any:
    if values.size == 0:
        return x
    starts: list[Any] = [0] * x.ndim
    shape = [1] * x.ndim
    for part in plan.parts:
        starts[part.axis], shape[part.axis] = part.start, part.size
    for p in picked:
        starts[p.axis] = p.indices
    starts = same_dtype(starts)
    values = lax.reshape(values, shape) if values.shape != tuple(shape) else values
    if tuple(shape) == x.shape:
        return values
    return lax.dynamic_update_slice(x, values, starts, allow_negative_indices=False)


def _scattered(
    x: Any,
    values: Any,
    plan: Plan,
    picked: Sequence[Picked],
    scatter: Callable[..., Any],
    **options: Any,
) -> Any:
    """Parts of step 1 are windows of the scatter; strided parts become index arrays."""
    batch_shape, columns = _batch(plan, picked)
    windows: list[int] = []
    at = 0
    for item in plan.order:
        if item is PICKED:
            at += len(plan.picked_shape)
        elif isinstance(item, Part):
            if item.step == 1:
                windows.append(at)
            at += 1
    axes = tuple(c.axis for c in columns)
    inserted = tuple(sorted({p.axis for p in picked} | _strided(plan)))
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(windows),
        inserted_window_dims=inserted,
        scatter_dims_to_operand_dims=axes,
    )
    if not columns:
        indices: Any = np.zeros((0,), np.int32)
    else:
        indices = index_vector(columns, batch_shape)
    return scatter(x, indices, values, numbers, **options)


def _strided(plan: Plan) -> set[int]:
    return {part.axis for part in plan.parts if part.step != 1}


def _batch(plan: Plan, picked: Sequence[Picked]) -> tuple[tuple[int, ...], list[Picked]]:
    """The axes of the updates that are no windows, and the indices along them."""
    rank = len(plan.picked_shape)
    shape: list[int] = []
    places: list[tuple[Any, int]] = []
    for item in plan.order:
        if item is PICKED:
            places.append((PICKED, len(shape)))
            shape.extend(plan.picked_shape)
        elif isinstance(item, Part) and item.step != 1:
            places.append((item, len(shape)))
            shape.append(item.size)
    columns = []
    for item, at in places:
        behind = len(shape) - at - (rank if item is PICKED else 1)
        if item is PICKED:
            columns += [Picked(p.axis, _aligned(p.indices, behind)) for p in picked]
        else:
            where = item.start + item.step * np.arange(item.size)
            columns.append(Picked(item.axis, _aligned(where, behind)))
    for part in plan.parts:
        if part.step == 1 and part.start:
            columns.append(Picked(part.axis, part.start))
    return tuple(shape), columns


def _aligned(indices: Any, behind: int) -> Any:
    """Index arrays with axes of length 1 for the axes of the batch that come after theirs."""
    if type(indices) is int or not behind:
        return indices
    if isinstance(indices, np.ndarray):
        return indices.reshape(*indices.shape, *(1,) * behind)
    return lax.reshape(indices, (*indices.shape, *(1,) * behind))
