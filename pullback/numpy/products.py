"""Products of vectors, matrices and tensors, all by `dot_general`; `einsum` is in `einsums`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy.arrays import as_array, broadcast_to_shape, convert_with_weak_type
from pullback.numpy.operands import strong
from pullback.numpy.promotion import (
    broadcast_shapes,
    canonical_axis,
    check_arraylike,
    check_no_out,
    ensure_arraylike,
    promote_dtypes,
    shape_of,
)
from pullback.numpy.shaping import moveaxis, ravel
from pullback.runtime import shortcuts
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = [
    "cross",
    "dot",
    "inner",
    "kron",
    "matmul",
    "matvec",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
    "vecmat",
]


def contract(
    a: Any, b: Any, numbers: Any, precision: Any = None, preferred_element_type: Any = None
) -> Any:
    """`dot_general` of promoted operands; weak if both were and no dtype is asked for."""
    weak = preferred_element_type is None and a.aval.weak_type and b.aval.weak_type
    if preferred_element_type is not None:
        preferred_element_type = dtypes.check_user_dtype(preferred_element_type, "dot_general")
    else:
        preferred_element_type = a.dtype
    out = lax.dot_general(
        a, b, numbers, precision=precision, preferred_element_type=preferred_element_type
    )
    return convert_with_weak_type(out, preferred_element_type, weak)


def _operands(name: str, *args: Any) -> list[Any]:
    check_arraylike(name, *args)
    return promote_dtypes(*(as_array(x) for x in args))


def dot(
    a: Any,
    b: Any,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """The sum of products over the last axis of `a` and the second last (or only) one of `b`.

    A scalar multiplies. Raises TypeError if the lengths differ.

    >>> import pullback.numpy as jnp
    >>> jnp.dot(jnp.array([1., 2.]), jnp.array([3., 4.]))
    Array(11., dtype=float32)
    """
    if precision is None is preferred_element_type:
        found = shortcuts.product(a, b)
        if found is not None:
            return found
    a, b = _operands("dot", a, b)
    if a.ndim == 0 or b.ndim == 0:
        numbers: Any = (((), ()), ((), ()))
    elif b.ndim == 1:
        numbers = (((a.ndim - 1,), (0,)), ((), ()))
    else:
        numbers = (((a.ndim - 1,), (b.ndim - 2,)), ((), ()))
    return contract(a, b, numbers, precision, preferred_element_type)


def matmul(
    a: Any,
    b: Any,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """The matrix product over the last two axes; the axes before them broadcast.

    A vector is a row on the left and a column on the right. Raises ValueError for scalars and
    TypeError if the lengths differ.

    >>> import pullback.numpy as jnp
    >>> jnp.matmul(jnp.ones((2, 3)), jnp.ones((3, 1)))
    Array([[3.],
           [3.]], dtype=float32)
    """
    if precision is None and preferred_element_type is None:
        found = shortcuts.product(a, b)
        if found is not None:
            return found
    check_arraylike("matmul", a, b)
    for position, x in enumerate((a, b)):
        if not shape_of(x):
            raise ValueError(
                f"matmul input operand {position} must have ndim at least 1, but it has ndim 0"
            )
    a, b = _operands("matmul", a, b)
    k, m = a.shape[-1], b.shape[-2 if b.ndim > 1 else 0]
    if k != m:
        raise TypeError(
            "dot_general requires contracting dimensions to have the same shape, got "
            f"({k},) and ({m},): matmul of {a.aval} and {b.aval}"
        )
    if a.ndim <= 2 and b.ndim <= 2:
        numbers = (((a.ndim - 1,), (0 if b.ndim == 1 else b.ndim - 2,)), ((), ()))
        return contract(a, b, numbers, precision, preferred_element_type)
    return _batched_matmul(a, b, precision, preferred_element_type)


def _batched_matmul(a: Any, b: Any, precision: Any, preferred: Any) -> Any:
    """Axes that only one operand has are free ones of it; the rest of the leading ones is batch."""
    row, column = a.ndim == 1, b.ndim == 1
    a_lead = a.shape[:-2] if not row else ()
    b_lead = b.shape[:-2] if not column else ()
    lead = broadcast_shapes(a_lead, b_lead)
    rank = len(lead)
    a_axes, a = _lead_axes(a, a_lead, rank, lead)
    b_axes, b = _lead_axes(b, b_lead, rank, lead)
    both = [k for k in range(rank) if k in a_axes and k in b_axes]
    a_batch, b_batch = [a_axes[k] for k in both], [b_axes[k] for k in both]
    a_contract, b_contract = a.ndim - 1, b.ndim - (1 if column else 2)
    numbers = (((a_contract,), (b_contract,)), (tuple(a_batch), tuple(b_batch)))
    out = contract(a, b, numbers, precision, preferred)
    # The result has the axes: batch, free of a (leading, row), free of b (leading, column).
    names: list[Any] = [*both]
    names += [k for k in a_axes if k not in both] + ([] if row else ["row"])
    names += [k for k in b_axes if k not in both] + ([] if column else ["column"])
    wanted: list[Any] = [k for k in range(rank) if k in names]
    wanted += ([] if row else ["row"]) + ([] if column else ["column"])
    out = lax.transpose(out, [names.index(k) for k in wanted])
    missing = [k for k in range(rank) if k not in names]
    return lax.expand_dims(out, missing) if missing else out


def _lead_axes(
    x: Any, have: tuple[int, ...], rank: int, lead: tuple[int, ...]
) -> tuple[dict[int, int], Any]:
    """The leading axes of the result that `x` has, and where; its axes of length 1 are dropped."""
    start = rank - len(have)
    drop = [k for k, n in enumerate(have) if n == 1]
    if drop:
        x = lax.squeeze(x, drop)
    kept = [start + k for k, n in enumerate(have) if n != 1]
    return {axis: at for at, axis in enumerate(kept)}, x


@compiled_when_eager("precision", "preferred_element_type")
def vdot(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products of all elements, those of `a` conjugated.

    >>> import pullback.numpy as jnp
    >>> jnp.vdot(jnp.array([1j]), jnp.array([1j]))
    Array(1.+0.j, dtype=complex64)
    """
    a, b = ensure_arraylike("vdot", a, b)
    if dtypes.kind_of(a.dtype) == "c":
        a = lax.conj(a)
    return dot(
        ravel(a), ravel(b), precision=precision, preferred_element_type=preferred_element_type
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
    """The products of vectors along an axis, those of `x1` conjugated; other axes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.vecdot(jnp.array([[1., 2.], [3., 4.]]), jnp.array([1., 1.]))
    Array([3., 7.], dtype=float32)
    """
    x1, x2 = _operands("vecdot", x1, x2)
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"axes must match; got shapes {x1.shape} and {x2.shape} with axis={axis}")
    x1, x2 = moveaxis(x1, axis, -1), moveaxis(x2, axis, -1)
    x1 = lax.conj(x1) if dtypes.kind_of(x1.dtype) == "c" else x1
    return _vectorized_dot(x1, x2, precision, preferred_element_type)


def _vectorized_dot(x1: Any, x2: Any, precision: Any, preferred: Any) -> Any:
    row = lax.reshape(x1, (*x1.shape[:-1], 1, x1.shape[-1]))
    column = lax.reshape(x2, (*x2.shape, 1))
    out = matmul(row, column, precision=precision, preferred_element_type=preferred)
    return lax.squeeze(out, (out.ndim - 2, out.ndim - 1))


def _check_core(operands: Any, signature: str) -> None:
    """Raise ValueError unless the last axes are those of a signature of `vectorize`."""
    suffix = f"on vectorized function with excluded=frozenset() and {signature=}"
    sizes: dict[str, int] = {}
    parts = signature.partition("->")[0].strip("()").split("),(")
    for x, names in zip(operands, (tuple(p.split(",")) for p in parts), strict=True):
        if x.ndim < len(names):
            raise ValueError(
                f"input with shape {x.shape} does not have enough dimensions for all core "
                f"dimensions {names} {suffix}"
            )
        for name, size in zip(names, x.shape[x.ndim - len(names) :], strict=True):
            if sizes.setdefault(name, size) != size:
                raise ValueError(
                    f"inconsistent size for core dimension {name!r}: {size} vs {sizes[name]} "
                    f"{suffix}"
                )


def matvec(x1: Any, x2: Any, /) -> Any:
    """Matrices times vectors; leading axes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.matvec(jnp.eye(2), jnp.array([3., 4.]))
    Array([3., 4.], dtype=float32)
    """
    x1, x2 = _operands("matvec", x1, x2)
    _check_core((x1, x2), "(n,m),(m)->(n)")
    out = matmul(x1, lax.expand_dims(x2, (x2.ndim,)))
    return lax.squeeze(out, (out.ndim - 1,))


def vecmat(x1: Any, x2: Any, /) -> Any:
    """Conjugated vectors times matrices; leading axes broadcast.

    >>> import pullback.numpy as jnp
    >>> jnp.vecmat(jnp.array([3., 4.]), jnp.eye(2))
    Array([3., 4.], dtype=float32)
    """
    x1, x2 = _operands("vecmat", x1, x2)
    _check_core((x1, x2), "(n),(n,m)->(m)")
    x1 = lax.conj(x1) if dtypes.kind_of(x1.dtype) == "c" else x1
    out = matmul(lax.expand_dims(x1, (x1.ndim - 1,)), x2)
    return lax.squeeze(out, (out.ndim - 2,))


@replayed_when_eager
def inner(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None) -> Any:
    """The sum of products over the last axes of both.

    >>> import pullback.numpy as jnp
    >>> jnp.inner(jnp.array([1., 2.]), jnp.array([3., 4.]))
    Array(11., dtype=float32)
    """
    a, b = _operands("inner", a, b)
    numbers: Any = (((), ()), ((), ()))
    if a.ndim and b.ndim:
        numbers = (((a.ndim - 1,), (b.ndim - 1,)), ((), ()))
    return contract(a, b, numbers, precision, preferred_element_type)


@compiled_when_eager()
def outer(a: Any, b: Any, out: None = None) -> Any:
    """The products of all elements of `a` with all of `b`: a matrix.

    >>> import pullback.numpy as jnp
    >>> jnp.outer(jnp.array([1, 2]), jnp.array([3, 4]))
    Array([[3, 4],
           [6, 8]], dtype=int32)
    """
    check_no_out("outer", out)
    a, b = _operands("outer", a, b)
    shape = (a.size, b.size)
    rows = lax.broadcast_in_dim(ravel(a), shape, (0,))
    product = lax.bitwise_and if dtypes.kind_of(rows.dtype) == "b" else lax.mul
    return product(rows, lax.broadcast_in_dim(ravel(b), shape, (1,)))


@compiled_when_eager()
def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: `b` scaled by each element of `a`.

    >>> import pullback.numpy as jnp
    >>> jnp.kron(jnp.array([1, 10]), jnp.array([1, 2]))
    Array([ 1,  2, 10, 20], dtype=int32)
    """
    a, b = _operands("kron", a, b)
    rank = max(a.ndim, b.ndim)
    a = lax.reshape(a, (*(1,) * (rank - a.ndim), *a.shape))
    b = lax.reshape(b, (*(1,) * (rank - b.ndim), *b.shape))
    wide = tuple(n for pair in zip(a.shape, b.shape, strict=True) for n in pair)
    spread_a = lax.broadcast_in_dim(a, wide, tuple(range(0, 2 * rank, 2)))
    spread_b = lax.broadcast_in_dim(b, wide, tuple(range(1, 2 * rank, 2)))
    shape = tuple(m * n for m, n in zip(a.shape, b.shape, strict=True))
    return lax.reshape(lax.mul(spread_a, spread_b), shape)


def tensordot(
    a: Any,
    b: Any,
    axes: Any = 2,
    *,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """The sum of products over so many last axes of `a` and first ones of `b`, or given pairs.

    >>> import pullback.numpy as jnp
    >>> jnp.tensordot(jnp.ones((2, 3)), jnp.ones((3, 4)), axes=1).shape
    (2, 4)
    """
    a, b = _operands("tensordot", a, b)
    if isinstance(axes, (int, np.integer)):
        n = int(axes)
        if n > min(a.ndim, b.ndim):
            raise TypeError(
                f"Number of tensordot axes (axes {n}) exceeds input ranks ({a.shape} and {b.shape})"
            )
        pair = (tuple(range(a.ndim - n, a.ndim)), tuple(range(n)))
    else:
        if len(axes) != 2:
            raise TypeError(f"tensordot axes argument must be an int or a pair, got {axes}")
        pair = (_axes(axes[0], a.ndim), _axes(axes[1], b.ndim))
        if len(pair[0]) != len(pair[1]):
            raise TypeError(f"tensordot requires axes lists to have equal length, got {axes}")
    return contract(a, b, (pair, ((), ())), precision, preferred_element_type)


def _axes(axes: Any, rank: int) -> tuple[int, ...]:
    each = axes if isinstance(axes, (tuple, list)) else (axes,)
    return tuple(canonical_axis(operator.index(k), rank) for k in each)


@compiled_when_eager("axisa", "axisb", "axisc", "axis")
def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The cross product of vectors of three (or two) components; other axes broadcast.

    Two vectors of two components give the third component alone.

    >>> import pullback.numpy as jnp
    >>> jnp.cross(jnp.array([1, 0, 0]), jnp.array([0, 1, 0]))
    Array([0, 0, 1], dtype=int32)
    """
    a, b = _operands("cross", a, b)
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("Dimension must be either 2 or 3 for cross product")
    x = [a[..., k] for k in range(a.shape[-1])]
    y = [b[..., k] for k in range(b.shape[-1])]
    if len(x) == 2 and len(y) == 2:
        return x[0] * y[1] - x[1] * y[0]
    x, y = _padded(x), _padded(y)
    parts = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]]
    shape = broadcast_shapes(*(p.shape for p in parts))
    parts = [lax.expand_dims(broadcast_to_shape(p, shape), (len(shape),)) for p in parts]
    return moveaxis(strong(lax.concatenate(parts, len(shape))), -1, axisc)


def _padded(parts: Sequence[Any]) -> list[Any]:
    return list(parts) if len(parts) == 3 else [*parts, lax.full_like(parts[0], 0)]
