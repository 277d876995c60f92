"""`jax.scipy.interpolate`: interpolation on rectangular grids."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, final

import numpy as np

from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.core.trace import is_concrete
from pullback.numpy.promotion import check_arraylike, ensure_arraylike, promote_dtypes_inexact
from pullback.tree_util import register_pytree_node_class

__all__ = ["RegularGridInterpolator"]


@final
@register_pytree_node_class
class RegularGridInterpolator:
    """A function of `len(points)` variables from its `values` on a grid, linear or nearest.

    `points` are the coordinates of the grid along each axis, ascending or descending; `values` has
    their lengths, then any axes of its own.  Outside of the grid the result is `fill_value`, or an
    extrapolation if that is None.  `bounds_error` must be False: values are not known while a
    function is traced.  An interpolator is a pytree, and its calls can be differentiated with
    respect to the values, the grid and the query.

    >>> import pullback.numpy as jnp, pullback.scipy.interpolate
    >>> x = jnp.array([0.0, 1.0, 2.0])
    >>> f = pullback.scipy.interpolate.RegularGridInterpolator((x,), x**2)
    >>> f(jnp.array([0.5, 1.5]))
    Array([0.5, 2.5], dtype=float32)
    """

    def __init__(
        self,
        points: Sequence[Any],
        values: Any,
        method: str = "linear",
        bounds_error: bool = False,
        fill_value: Any = np.nan,
    ) -> None:
        if method not in ("linear", "nearest"):
            raise ValueError(f"method {method!r} is not defined")
        if bounds_error:
            raise NotImplementedError("`bounds_error` takes no effect under JIT")
        values = ensure_arraylike("RegularGridInterpolator", values)
        if len(points) > values.ndim:
            raise ValueError(
                f"there are {len(points)} point arrays, but values has {values.ndim} dimensions"
            )
        (values,) = promote_dtypes_inexact(values)
        if fill_value is not None:
            check_arraylike("RegularGridInterpolator", fill_value)
            fill_value = jnp.asarray(fill_value)
            if dtypes.kind_of(fill_value.dtype) == "c" and dtypes.kind_of(values.dtype) != "c":
                raise ValueError(
                    "fill_value must be either 'None' or of a type compatible with values"
                )
        grid = [_ascending(i, p, values.shape[i]) for i, p in enumerate(points)]
        turned = [i for i, (_, down) in enumerate(grid) if down]
        self.method = method
        self.bounds_error = bounds_error
        self.fill_value = fill_value
        self.grid = tuple(p for p, _ in grid)
        self.values = jnp.flip(values, axis=turned) if turned else values

    def tree_flatten(self) -> tuple[Any, Any]:
        """The arrays, and the method."""
        return (self.grid, self.values, self.fill_value), (self.method, self.bounds_error)

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Any) -> RegularGridInterpolator:
        """An interpolator from what `tree_flatten` gave."""
        self = object.__new__(cls)
        self.grid, self.values, self.fill_value = leaves
        self.method, self.bounds_error = static
        return self

    def __call__(self, xi: Any, method: str | None = None) -> Any:
        """Values at points `xi` of shape (..., len(points)), or a tuple of coordinates."""
        method = self.method if method is None else method
        if method not in ("linear", "nearest"):
            raise ValueError(f"method {method!r} is not defined")
        rank = len(self.grid)
        xi = _query(xi, rank)
        rows = xi.reshape(-1, rank)
        (rows,) = promote_dtypes_inexact(rows)
        cells = [_cell(p, rows[:, k]) for k, p in enumerate(self.grid)]
        found = self._linear(cells) if method == "linear" else self._nearest(cells)
        if self.fill_value is not None:
            outside = jnp.zeros(rows.shape[0], bool)
            for k, p in enumerate(self.grid):
                outside = outside | (rows[:, k] < p[0]) | (rows[:, k] > p[-1])
            fill = self.fill_value.astype(found.dtype)
            found = jnp.where(outside.reshape(-1, *(1,) * (found.ndim - 1)), fill, found)
        return found.reshape(xi.shape[:-1] + self.values.shape[rank:])

    def _linear(self, cells: Sequence[tuple[Any, Any]]) -> Any:
        own = (1,) * (self.values.ndim - len(self.grid))
        corners = [((i, 1 - w), (i + 1, w)) for i, w in cells]
        total: Any = 0.0
        for corner in itertools.product(*corners):
            weight = jnp.ones_like(cells[0][1])
            for _, w in corner:
                weight = weight * w
            total = total + self.values[tuple(i for i, _ in corner)] * weight.reshape(-1, *own)
        return total

    def _nearest(self, cells: Sequence[tuple[Any, Any]]) -> Any:
        return self.values[tuple(jnp.where(w <= 0.5, i, i + 1) for i, w in cells)]


def _ascending(axis: int, points: Any, length: int) -> tuple[Any, bool]:
    """The grid of an axis in ascending order, and whether that turned it around."""
    (p,) = promote_dtypes_inexact(ensure_arraylike("RegularGridInterpolator", points))
    if p.ndim != 1:
        raise ValueError(f"the points in dimension {axis} must be 1-dimensional")
    if length != p.shape[0]:
        raise ValueError(f"there are {p.shape[0]} points and {length} values in dimension {axis}")
    if not is_concrete(p):
        return p, False
    steps = np.diff(np.asarray(p))
    if np.all(steps < 0):
        return jnp.flip(p), True
    if not np.all(steps > 0):
        raise ValueError(f"the points in dimension {axis} must be strictly ascending or descending")
    return p, False


def _query(xi: Any, rank: int) -> Any:
    if isinstance(xi, tuple):
        xi = xi[0] if len(xi) == 1 and isinstance(xi[0], tuple) else xi
        xi = jnp.stack(jnp.broadcast_arrays(*(jnp.asarray(x) for x in xi)), axis=-1)
    else:
        xi = ensure_arraylike("RegularGridInterpolator", xi)
        xi = xi[..., None] if xi.ndim == 1 and rank == 1 else xi
    if xi.shape[-1:] != (rank,):
        raise ValueError(
            f"the requested sample points xi have dimension {xi.shape[-1:]}, "
            f"but this RegularGridInterpolator has dimension {rank}"
        )
    return xi


def _cell(points: Any, x: Any) -> tuple[Any, Any]:
    """The interval of the grid that a coordinate is in, and how far along it."""
    index = jnp.clip(jnp.searchsorted(points, x) - 1, 0, max(points.shape[0] - 2, 0))
    below, above = points[index], points[jnp.minimum(index + 1, points.shape[0] - 1)]
    width = above - below
    return index, jnp.where(width == 0, 0, (x - below) / jnp.where(width == 0, 1, width))
