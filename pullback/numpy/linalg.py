"""`jax.numpy.linalg`: norms and products here, decompositions and solvers from `solvers`."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy import least_squares, matrices, products, reductions, shaping
from pullback.numpy.arrays import convert_with_weak_type
from pullback.numpy.least_squares import lstsq, matrix_rank, pinv
from pullback.numpy.promotion import (
    canonical_axes,
    check_arraylike,
    ensure_arraylike,
    promote_dtypes,
    promote_dtypes_inexact,
)
from pullback.numpy.solvers import (
    cholesky,
    det,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    inv,
    qr,
    slogdet,
    solve,
    svd,
    svdvals,
    tensorinv,
    tensorsolve,
)
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


@compiled_when_eager("ord", "axis", "keepdims")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm of vectors or matrices over one or two axes; without `ord`, the root of the squares.

    Vectors: any number, inf, -inf, 0. Matrices: "fro", 1, -1, inf, -inf; 2, -2 and "nuc" by
    singular values.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.norm(jnp.array([3., 4.]))
    Array(5., dtype=float32)
    """
    (x,) = promote_dtypes_inexact(ensure_arraylike("jnp.linalg.norm", x))
    if axis is None:
        if ord is None:
            flat = shaping.ravel(x)
            result = lax.sqrt(reductions.sum(_squares(flat)))
            return lax.reshape(result, (1,) * x.ndim) if keepdims else result
        axes: tuple[int, ...] = tuple(range(x.ndim))
    else:
        axes = canonical_axes(axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ValueError(
        f"Improper number of axes for norm: axis={axis!r}. Pass one axis to compute a "
        "vector-norm, or two axes to compute a matrix-norm."
    )


def _squares(x: Any) -> Any:
    if dtypes.kind_of(x.dtype) == "c":
        return lax.add(lax.square(lax.real(x)), lax.square(lax.imag(x)))
    return lax.square(x)


def _vector_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if ord is None or (not isinstance(ord, str) and _is(ord, 2)):
        return lax.sqrt(reductions.sum(_squares(x), axes, keepdims=keepdims))
    if isinstance(ord, str):
        raise ValueError(f"Invalid order '{ord}' for vector norm. Use 'jax.numpy.linalg.norm'.")
    size = lax.abs(x)
    if _is(ord, np.inf):
        return reductions.max(size, axes, keepdims=keepdims, initial=0)
    if _is(ord, -np.inf):
        return reductions.min(size, axes, keepdims=keepdims, initial=np.inf)
    if _is(ord, 0):
        nonzero = lax.convert_element_type(lax.ne(x, lax.full_like(x, 0)), size.dtype)
        return reductions.sum(nonzero, axes, keepdims=keepdims)
    if _is(ord, 1):
        return reductions.sum(size, axes, keepdims=keepdims)
    ord = convert_with_weak_type(ord, size.dtype, False)
    total = reductions.sum(size**ord, axes, keepdims=keepdims)
    return total ** (1.0 / ord)


def _is(ord: Any, value: float) -> bool:
    return isinstance(ord, (int, float, np.number)) and ord == value


def _matrix_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    row, column = axes
    if ord is None or ord in ("f", "fro"):
        return lax.sqrt(reductions.sum(_squares(x), axes, keepdims=keepdims))
    if ord in ("nuc", 2, -2):
        return _spectral_norm(x, ord, axes, keepdims)
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"Invalid order {ord!r} for matrix norm.")
    along, over = (row, column) if abs(ord) == 1 else (column, row)
    sums = reductions.sum(lax.abs(x), along, keepdims=True)
    pick = reductions.max if ord > 0 else reductions.min
    result = pick(sums, over, keepdims=True, initial=0 if ord > 0 else np.inf)
    return result if keepdims else lax.squeeze(result, sorted(axes))


def _spectral_norm(x: Any, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    values = svdvals(shaping.moveaxis(x, axes, (-2, -1)))
    if ord == "nuc":
        result = reductions.sum(values, -1)
    elif ord == 2:
        result = reductions.max(values, -1, initial=0)
    else:
        result = reductions.min(values, -1, initial=np.inf)
    return lax.expand_dims(result, sorted(axes)) if keepdims else result


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of vectors along one or several axes, taken together.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.vector_norm(jnp.array([[3., 4.]]), axis=1)
    Array([5.], dtype=float32)
    """
    x = ensure_arraylike("jnp.linalg.vector_norm", x)
    axes = canonical_axes(axis, x.ndim)
    if dtypes.kind_of(x.dtype) in "iu" and any(_is(ord, v) for v in (1, np.inf)):
        return _vector_norm(x, ord, axes, keepdims)  # sums and maxima of integers are integers
    if dtypes.kind_of(x.dtype) in "biu":
        x = lax.convert_element_type(x, dtypes.default_float())
    return _vector_norm(x, ord, axes, keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of matrices in the last two axes; see `norm` for the orders.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.matrix_norm(jnp.array([[3., 4.]]))
    Array(5., dtype=float32)
    """
    x = ensure_arraylike("jnp.linalg.matrix_norm", x)
    return norm(x, ord=ord, axis=(-2, -1), keepdims=keepdims)


@compiled_when_eager("n")
def matrix_power(a: Any, n: int) -> Any:
    """A square matrix multiplied `n` times with itself; its inverse for negative `n`.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.matrix_power(jnp.array([[1, 1], [0, 1]]), 5)
    Array([[1, 5],
           [0, 1]], dtype=int32)
    """
    a = ensure_arraylike("jnp.linalg.matrix_power", a)
    if a.ndim < 2:
        raise TypeError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")
    if a.shape[-2] != a.shape[-1]:
        raise TypeError("Last 2 dimensions of the array must be square")
    n = operator.index(n)
    if n < 0:
        a, n = inv(a), -n
    if n == 0:
        unit = matrices.eye(a.shape[-1], dtype=a.dtype)
        return lax.broadcast(unit, a.shape[:-2])
    result, square = None, a
    while n:
        if n & 1:
            result = square if result is None else products.matmul(result, square)
        n >>= 1
        square = products.matmul(square, square) if n else square
    return result


@compiled_when_eager("p")
def cond(x: Any, p: Any = None) -> Any:
    """The condition number: the norm of `x` times that of its inverse; by default the 2-norm.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.cond(jnp.diag(jnp.array([2., 4.])))
    Array(2., dtype=float32)
    """
    if p in (None, 2, -2):
        return least_squares.cond(x, p)
    (x,) = promote_dtypes_inexact(ensure_arraylike("jnp.linalg.cond", x))
    if x.ndim < 2:
        raise ValueError(f"jnp.linalg.cond: matrices are needed, got shape {x.shape}")
    return norm(x, ord=p, axis=(-2, -1)) * norm(inv(x), ord=p, axis=(-2, -1))


@compiled_when_eager("precision")
def multi_dot(arrays: Sequence[Any], *, precision: Any = None) -> Any:
    """The product of several matrices in the cheapest order; the ends may be vectors.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.multi_dot([jnp.ones((1, 2)), jnp.ones((2, 3)), jnp.ones(3)])
    Array([6.], dtype=float32)
    """
    check_arraylike("jnp.linalg.multi_dot", *arrays)
    parts = promote_dtypes(*arrays)
    if len(parts) < 2:
        raise ValueError(f"multi_dot requires at least two arrays; got {len(parts)}")
    if not all(
        p.ndim in (1, 2) if k in (0, len(parts) - 1) else p.ndim == 2 for k, p in enumerate(parts)
    ):
        raise ValueError("multi_dot: the first and last arrays must be 1D or 2D; others must be 2D")
    if any(a.shape[-1] != b.shape[0] for a, b in itertools.pairwise(parts)):
        raise ValueError(
            "multi_dot: last dimension of each array must match first dimension of following array"
        )
    order = _cheapest(parts)

    def product(i: int, j: int) -> Any:
        if i == j:
            return parts[i]
        k = order[i, j]
        return products.matmul(product(i, k), product(k + 1, j), precision=precision)

    return product(0, len(parts) - 1)


def _cheapest(parts: Sequence[Any]) -> dict[tuple[int, int], int]:
    """Where to split each range of factors (Cormen et al., Introduction to Algorithms, 15.2)."""
    n = len(parts)
    sizes = [1 if parts[0].ndim == 1 else parts[0].shape[0]]
    sizes += [1 if k == n - 1 and p.ndim == 1 else p.shape[-1] for k, p in enumerate(parts)]
    cost = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            trial = {
                k: cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            }
            split[i, j] = min(trial, key=lambda k: trial[k])
            cost[i, j] = trial[split[i, j]]
    return split


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of a diagonal of the last two axes.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.trace(jnp.eye(3))
    Array(3., dtype=float32)
    """
    return matrices.trace(x, offset, -2, -1, dtype)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The elements of a diagonal of the last two axes.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.diagonal(jnp.eye(2))
    Array([1., 1.], dtype=float32)
    """
    return matrices.diagonal(x, offset, -2, -1)


def matrix_transpose(x: Any, /) -> Any:
    """The last two axes swapped.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.matrix_transpose(jnp.ones((5, 2, 3))).shape
    (5, 3, 2)
    """
    return shaping.matrix_transpose(x)


def matmul(
    x1: Any, x2: Any, /, *, precision: Any = None, preferred_element_type: Any = None
) -> Any:
    """The matrix product; see `jax.numpy.matmul`.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.matmul(jnp.ones((1, 2)), jnp.ones((2, 1)))
    Array([[2.]], dtype=float32)
    """
    return products.matmul(
        x1, x2, precision=precision, preferred_element_type=preferred_element_type
    )


def vecdot(
    x1: Any,
    x2: Any,
    /,
    *,
    axis: int = -1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Any:
    """The products of vectors along an axis; see `jax.numpy.vecdot`.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.vecdot(jnp.array([1., 2.]), jnp.array([3., 4.]))
    Array(11., dtype=float32)
    """
    return products.vecdot(
        x1, x2, axis=axis, precision=precision, preferred_element_type=preferred_element_type
    )


def outer(x1: Any, x2: Any, /) -> Any:
    """The products of all elements of two vectors. Raises ValueError for other ranks.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.outer(jnp.array([1, 2]), jnp.array([3, 4]))
    Array([[3, 4],
           [6, 8]], dtype=int32)
    """
    x1, x2 = ensure_arraylike("jnp.linalg.outer", x1, x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(
            f"Input arrays must be one-dimensional, but they are {x1.ndim=} {x2.ndim=}"
        )
    return products.outer(x1, x2)


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross product of vectors of three components.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.cross(jnp.array([1, 0, 0]), jnp.array([0, 1, 0]))
    Array([0, 0, 1], dtype=int32)
    """
    x1, x2 = ensure_arraylike("jnp.linalg.cross", x1, x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, but they have "
            f"{x1.shape[axis]=} and {x2.shape[axis]=}"
        )
    return products.cross(x1, x2, axis=axis)


def tensordot(
    x1: Any,
    x2: Any,
    /,
    *,
    axes: Any = 2,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Sums of products over axes; see `jax.numpy.tensordot`.

    >>> import pullback.numpy as jnp
    >>> jnp.linalg.tensordot(jnp.ones((2, 3)), jnp.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    return products.tensordot(
        x1, x2, axes, precision=precision, preferred_element_type=preferred_element_type
    )
