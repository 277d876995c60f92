"""Sparse Jacobians and Hessians of functions whose sparsity is found out, beyond JAX's.

The pattern of dependencies comes from the function's jaxpr (`sparsity`), colours say which columns
or rows can be computed together (`coloring`), one mapped forward or reverse pass computes them, and
the elements are picked out of the results.  A tridiagonal Jacobian of any size takes three passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import numpy as jnp
from pullback import tree
from pullback.core.avals import aval_of
from pullback.experimental.sparse.bcoo import BCOO
from pullback.experimental.sparse.coloring import column_colors, star_colors
from pullback.experimental.sparse.sparsity import dependencies
from pullback.lazy import LazyModule
from pullback.numpy.promotion import is_arraylike
from pullback.transforms import derivatives, gradients
from pullback.transforms.arguments import FlatFunction
from pullback.transforms.mapping import vmap
from pullback.transforms.staging import stage

_sp: Final = LazyModule("scipy.sparse")

__all__ = ["hessian_sparsity", "jacobian_sparsity", "sparse_hessian", "sparse_jacobian"]


def _closed(f: Callable[..., Any], args: tuple[Any, ...], argnums: int) -> tuple[Any, Any]:
    """The jaxpr of `f` as a function of one argument, and the aval of its result."""
    x = args[argnums]

    def alone(x: Any) -> Any:
        return f(*args[:argnums], x, *args[argnums + 1 :])

    if not is_arraylike(x):
        raise TypeError(f"sparse derivatives are of functions of an array, got {type(x)}")
    flat = FlatFunction(alone, tree.structure(((0,), {})))
    closed = stage(flat, [aval_of(x)], description="sparse_jacobian")
    if len(closed.out_avals) != 1 or flat.out_tree != tree.structure(0):
        raise TypeError("sparse derivatives are of functions whose result is one array")
    return closed, closed.out_avals[0]


def _as_bcoo(pattern: Any, data: Any, out_shape: Any, in_shape: Any) -> BCOO:
    coo = pattern.tocsr().tocoo()
    places = [
        *(np.unravel_index(coo.row, out_shape) if out_shape else ()),
        *(np.unravel_index(coo.col, in_shape) if in_shape else ()),
    ]
    indices = np.stack(places, axis=-1) if places else np.zeros((coo.nnz, 0))
    return BCOO(
        (data, jnp.asarray(indices.astype(np.int32))),
        shape=(*out_shape, *in_shape),
        indices_sorted=True,
        unique_indices=True,
    )


def _sorted(pattern: Any) -> Any:
    pattern = pattern.tocsr()
    pattern.eliminate_zeros()
    pattern.sort_indices()
    return pattern


def jacobian_sparsity(f: Callable[..., Any], argnums: int = 0) -> Callable[..., BCOO]:
    """Where the Jacobian of `f` may have nonzero elements, whatever the values are.

    The result, for arguments like those of `f`, is a BCOO array of booleans of shape (*result,
    *argument).  Constants that `f` closes over count with their values.

    >>> import pullback.numpy as jnp
    >>> jacobian_sparsity(jnp.diff)(jnp.zeros(3)).todense().astype(int)
    Array([[1, 1, 0],
           [0, 1, 1]], dtype=int32)
    """

    def pattern_of(*args: Any) -> BCOO:
        closed, out = _closed(f, args, argnums)
        pattern = _sorted(dependencies(closed)[0])
        data = jnp.ones(pattern.nnz, bool)
        return _as_bcoo(pattern, data, out.shape, jnp.shape(args[argnums]))

    return pattern_of


def hessian_sparsity(f: Callable[..., Any], argnums: int = 0) -> Callable[..., BCOO]:
    """Where the Hessian of a scalar function may have nonzero elements; see `jacobian_sparsity`."""
    return jacobian_sparsity(gradients.grad(f, argnums=argnums), argnums)


def _given(sparsity: Any, rows: int, columns: int) -> Any:
    """A pattern that the caller gives, as a matrix of `scipy.sparse`."""
    if isinstance(sparsity, BCOO):
        places = np.asarray(sparsity.indices)
        split = sparsity.ndim - _axes(sparsity.shape, columns)
        row, column = (
            np.ravel_multi_index(tuple(part.T), size) if size else np.zeros(len(places), int)
            for part, size in (
                (places[:, :split], sparsity.shape[:split]),
                (places[:, split:], sparsity.shape[split:]),
            )
        )
        ones = np.ones(len(places), np.int8)
        return _sorted(_sp.csr_matrix((ones, (row, column)), shape=(rows, columns)))
    table = np.asarray(sparsity).reshape(rows, columns) != 0
    return _sorted(_sp.csr_matrix(table.astype(np.int8)))


def _axes(shape: tuple[int, ...], size: int) -> int:
    """How many trailing axes have `size` elements together."""
    count, total = 0, 1
    while total < size and count < len(shape):
        count += 1
        total *= shape[-count]
    return count


def sparse_jacobian(
    f: Callable[..., Any],
    argnums: int = 0,
    *,
    sparsity: Any = None,
    mode: str | None = None,
) -> Callable[..., BCOO]:
    """The Jacobian of a function of one array, as a BCOO array, by coloured derivatives.

    `sparsity` is the pattern (dense or BCOO, of shape (*result, *argument)) if it is known; else it
    is found out from the function.  `mode` is "fwd" (columns of one colour share a forward pass) or
    "rev" (rows share a reverse pass); by default the one with fewer passes.  The result has the
    entries of the pattern, in order.  Patterns are found when the function is traced: `jit` the
    result to do so once.

    >>> import pullback.numpy as jnp
    >>> jac = sparse_jacobian(lambda x: x[1:] * x[:-1])(jnp.array([1.0, 2.0, 3.0]))
    >>> jac.todense()
    Array([[2., 1., 0.],
           [0., 3., 2.]], dtype=float32)
    """
    if mode not in (None, "fwd", "rev"):
        raise ValueError(f"mode must be 'fwd', 'rev' or None, got {mode!r}")

    def jac_fun(*args: Any) -> BCOO:
        closed, out = _closed(f, args, argnums)
        x = jnp.asarray(args[argnums])
        rows = int(np.prod(out.shape, dtype=np.int64))
        if sparsity is None:
            pattern = _sorted(dependencies(closed)[0])
        else:
            pattern = _given(sparsity, rows, x.size)
        columns: Any = None if mode == "rev" else column_colors(pattern)
        lines: Any = None if mode == "fwd" else column_colors(pattern.T)
        forward = mode == "fwd" or (mode is None and _count(columns) <= _count(lines))

        def alone(x: Any) -> Any:
            return f(*args[:argnums], x, *args[argnums + 1 :])

        coo = pattern.tocoo()
        if forward:
            seeds = _seeds(columns, x.shape, x.dtype)
            push = derivatives.linearize(alone, x)[1]
            found = vmap(push)(seeds).reshape(seeds.shape[0], rows)
            data = found[columns[coo.col], coo.row]
        else:
            seeds = _seeds(lines, out.shape, out.dtype)
            pull = derivatives.vjp(alone, x)[1]
            found = vmap(lambda ct: pull(ct)[0])(seeds).reshape(seeds.shape[0], x.size)
            data = found[lines[coo.row], coo.col]
        return _as_bcoo(pattern, data, out.shape, x.shape)

    return jac_fun


def _count(colors: Any) -> int:
    return int(np.max(colors, initial=-1)) + 1


def _seeds(colors: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """For every colour the sum of the unit vectors of its columns."""
    table = colors[None, :] == np.arange(max(_count(colors), 1))[:, None]
    return jnp.asarray(table.reshape(-1, *shape)).astype(dtype)


def sparse_hessian(
    f: Callable[..., Any], argnums: int = 0, *, sparsity: Any = None
) -> Callable[..., BCOO]:
    """The Hessian of a scalar function of one array, as a BCOO array, by a star colouring.

    Products of the Hessian with one vector for each colour are forward passes over the gradient;
    an element that shares its sum with another one is read from the other triangle.  Parameters as
    those of `sparse_jacobian`.

    >>> import pullback.numpy as jnp
    >>> hess = sparse_hessian(lambda x: jnp.sum(x[1:] * x[:-1]))(jnp.ones(3))
    >>> hess.todense()
    Array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """

    def hess_fun(*args: Any) -> BCOO:
        x = jnp.asarray(args[argnums])
        slope = gradients.grad(f, argnums=argnums)
        if sparsity is None:
            closed, _ = _closed(slope, args, argnums)
            pattern = dependencies(closed)[0]
        else:
            pattern = _given(sparsity, x.size, x.size)
        pattern = _sorted((pattern + pattern.T).astype(bool).astype(np.int8))
        colors = star_colors(pattern)

        def alone(x: Any) -> Any:
            return slope(*args[:argnums], x, *args[argnums + 1 :])

        seeds = _seeds(colors, x.shape, x.dtype)
        push = derivatives.linearize(alone, x)[1]
        found = vmap(push)(seeds).reshape(seeds.shape[0], x.size)
        row, color = _places(pattern, colors)
        return _as_bcoo(pattern, found[color, row], x.shape, x.shape)

    return hess_fun


def _places(pattern: Any, colors: Any) -> tuple[Any, Any]:
    """Where to read every element (i, j): in row i, if no other column there has j's colour."""
    coo = pattern.tocoo()
    counts: dict[tuple[int, int], int] = {}
    for i, c in zip(coo.row.tolist(), colors[coo.col].tolist(), strict=True):
        counts[i, c] = counts.get((i, c), 0) + 1
    rows, read = [], []
    for i, j in zip(coo.row.tolist(), coo.col.tolist(), strict=True):
        alone = counts[i, int(colors[j])] == 1
        rows.append(i if alone else j)
        read.append(int(colors[j] if alone else colors[i]))
    return np.array(rows, int), np.array(read, int)
