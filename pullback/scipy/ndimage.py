"""`jax.scipy.ndimage`: interpolation in arrays of any rank."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core import dtypes
from pullback.numpy.promotion import ensure_arraylike
from pullback.runtime.composites import compiled_when_eager

__all__ = ["map_coordinates"]


def _mirror(i: Any, n: int) -> Any:
    """Reflection about the centres of the edge elements: d c b | a b c d | c b a."""
    period = max(2 * (n - 1), 1)
    turn = i % period
    return jnp.minimum(turn, period - turn) if n > 1 else jnp.zeros_like(i)


def _reflect(i: Any, n: int) -> Any:
    """Reflection about the edges: c b a | a b c d | d c b."""
    turn = i % (2 * n)
    return jnp.minimum(turn, 2 * n - 1 - turn)


_FIX: Final[dict[str, Callable[[Any, int], Any]]] = {
    "constant": lambda i, n: i,
    "nearest": lambda i, n: jnp.clip(i, 0, n - 1),
    "wrap": lambda i, n: i % n,
    "mirror": _mirror,
    "reflect": _reflect,
}


def _rounded(x: Any) -> Any:
    """The nearest whole number, halves away from zero."""
    return x if dtypes.kind_of(x.dtype) in "iub" else lax.round(x)


def _nodes(coordinate: Any, order: int, dtype: Any) -> list[tuple[Any, Any]]:
    """Indices and weights of the elements that a coordinate is interpolated from."""
    if order == 0:
        return [(_rounded(coordinate).astype(np.int32), jnp.ones((), dtype))]
    below = jnp.floor(coordinate)
    upper = (coordinate - below).astype(dtype)
    index = below.astype(np.int32)
    return [(index, 1 - upper), (index + 1, upper)]


def _term(x: Any, corner: Any, mode: str, cval: Any) -> Any:
    """One corner's elements times their weights."""
    fixed = [_FIX[mode](i, n) for (i, _), n in zip(corner, x.shape, strict=True)]
    values = x[tuple(jnp.clip(i, 0, n - 1) for i, n in zip(fixed, x.shape, strict=True))]
    if mode == "constant":
        for i, n in zip(fixed, x.shape, strict=True):
            values = jnp.where((i >= 0) & (i < n), values, cval)
    for _, weight in corner:
        values = values * weight
    return values


@compiled_when_eager("order", "mode")
def map_coordinates(
    input: Any, coordinates: Sequence[Any], order: int, mode: str = "constant", cval: Any = 0.0
) -> Any:
    """`input` at `coordinates`, one array for each of its axes, by interpolation.

    `order` is 0 (nearest) or 1 (linear); NotImplementedError for more.  Outside, `mode` says what
    is there: "constant" (`cval`), "nearest", "wrap", "mirror" or "reflect", as in SciPy.  The
    result has the coordinates' shape and the input's dtype; integers are rounded.

    >>> import pullback.numpy as jnp, pullback.scipy.ndimage
    >>> x = jnp.array([[0.0, 1.0], [2.0, 3.0]])
    >>> pullback.scipy.ndimage.map_coordinates(x, [jnp.array([0.5]), jnp.array([0.5])], order=1)
    Array([1.5], dtype=float32)
    """
    x = ensure_arraylike("map_coordinates", input)
    points = [ensure_arraylike("map_coordinates", c) for c in coordinates]
    if len(points) != x.ndim:
        raise ValueError(
            f"coordinates must be a sequence of length input.ndim, but {len(points)} != {x.ndim}"
        )
    if mode not in _FIX:
        raise NotImplementedError(
            f"jax.scipy.ndimage.map_coordinates does not yet support mode {mode}. "
            f"Currently supported modes are {set(_FIX)}."
        )
    if order not in (0, 1):
        raise NotImplementedError("jax.scipy.ndimage.map_coordinates currently requires order<=1")
    whole = dtypes.kind_of(x.dtype) in "iub"
    weights = dtypes.default_float() if whole else jnp.finfo(x.dtype).dtype
    cval = jnp.asarray(cval, x.dtype)
    nodes = [_nodes(c, order, weights) for c in points]
    terms = [_term(x, corner, mode, cval) for corner in itertools.product(*nodes)]
    total = sum(terms[1:], start=terms[0])
    total = _rounded(total) if whole and order == 1 else total
    return lax.convert_element_type(total, x.dtype)
