"""Jacobians and Hessians: derivatives along every basis vector at once, by vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.tracebacks import api_boundary, named_like
from pullback.ops import conversion
from pullback.transforms.arguments import as_index_tuple, check_callable, fix_arguments
from pullback.transforms.derivatives import jvp, vjp
from pullback.transforms.mapping import ANY_LANE, vmap
from pullback.transforms.shaping import eye_rows, reshape_to, split_axis

__all__ = ["hessian", "jacfwd", "jacobian", "jacrev"]


def _check(x: Any, name: str, holomorphic: bool, allow_int: bool) -> None:
    dtype = aval_of(x).dtype
    kind: type = np.complexfloating if holomorphic else np.floating
    if name == "jacrev" and not holomorphic:
        kind = np.inexact
    if not dtypes.issubdtype(dtype, kind) and not allow_int:
        if holomorphic:
            raise TypeError(
                f"{name} with holomorphic=True requires inputs with complex dtype, but got "
                f"{dtype.name}."
            )
        kinds = "real-valued" if name == "jacfwd" else "real- or complex-valued"
        above = "np.floating" if name == "jacfwd" else "np.inexact"
        raise TypeError(
            f"{name} requires {kinds} inputs (input dtype that is a sub-dtype of {above}), but got "
            f"{dtype.name}. Convert the argument to a float, or use jvp or vjp."
        )


def _check_result(x: Any, name: str, holomorphic: bool) -> None:
    dtype = aval_of(x).dtype
    if holomorphic and not dtypes.issubdtype(dtype, np.complexfloating):
        raise TypeError(
            f"{name} with holomorphic=True requires outputs with complex dtype, but got "
            f"{dtype.name}."
        )
    if not holomorphic and not dtypes.issubdtype(dtype, np.floating):
        raise TypeError(
            f"{name} requires real-valued outputs (output dtype that is a sub-dtype of "
            f"np.floating), but got {dtype.name}. For differentiation of functions with complex "
            "outputs use holomorphic=True, and of functions with integer outputs use jax.vjp "
            "directly."
        )


def _basis(example: Any) -> tuple[list[Any], Any, list[Any]]:
    """One identity matrix for each leaf, padded with zeros for the others; lanes come first."""
    leaves, structure = tree.flatten(example)
    avals = [aval_of(x) for x in leaves]
    total = sum(a.size for a in avals)
    rows, start = [], 0
    for a in avals:
        row = eye_rows(total, start, a.size, a.dtype)
        row = conversion.convert(row, a.dtype, a.weak_type)
        rows.append(reshape_to(row, (total, *a.shape)))
        start += a.size
    return rows, structure, avals


def _unravel(x: Any, axis: int, avals: Sequence[Any], structure: Any) -> Any:
    """Split axis `axis`, which runs over all elements of a pytree, into that pytree."""
    shape = aval_of(x).shape
    parts = split_axis(x, [a.size for a in avals], axis)
    shaped = [
        reshape_to(p, (*shape[:axis], *a.shape, *shape[axis + 1 :]))
        for p, a in zip(parts, avals, strict=True)
    ]
    return structure.unflatten(shaped)


def _choose(argnums: int | Sequence[int], args: Sequence[Any], name: str) -> tuple[int, ...]:
    return as_index_tuple(argnums, len(args), name)


def jacfwd(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of `fun`, column by column in forward mode; best for few inputs.

    The result has the structure of the output, and in each leaf that of the argument; the axes of
    the output come first.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.jacfwd(jnp.square)(jnp.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    check_callable(fun, "jacfwd")

    @api_boundary
    @named_like(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = _choose(argnums, args, "jacfwd")
        partial = fix_arguments(fun, args, kwargs, nums)
        chosen = tuple(args[i] for i in nums)
        for x in tree.leaves(chosen):
            _check(x, "jacfwd", holomorphic, allow_int=False)
        rows, structure, avals = _basis(chosen)

        def push(*tangents: Any) -> Any:
            return jvp(partial, chosen, structure.unflatten(tangents), has_aux=has_aux)

        out_axes = (ANY_LANE, -1, ANY_LANE) if has_aux else (ANY_LANE, -1)
        y, columns, *aux = vmap(push, out_axes=out_axes)(*rows)
        if holomorphic:
            for leaf in tree.leaves(y):
                _check_result(leaf, "jacfwd", holomorphic)

        def split(column: Any) -> Any:
            parts = _unravel(column, aval_of(column).ndim - 1, avals, structure)
            return parts[0] if isinstance(argnums, (int, np.integer)) else parts

        result = tree.map(split, columns)
        return (result, aux[0]) if has_aux else result

    return jacobian_fun


def jacrev(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]:
    """The Jacobian of `fun`, row by row in reverse mode; best for few outputs.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.jacrev(jnp.square)(jnp.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    check_callable(fun, "jacrev")

    @api_boundary
    @named_like(fun)
    def jacobian_fun(*args: Any, **kwargs: Any) -> Any:
        nums = _choose(argnums, args, "jacrev")
        partial = fix_arguments(fun, args, kwargs, nums)
        chosen = tuple(args[i] for i in nums)
        for x in tree.leaves(chosen):
            _check(x, "jacrev", holomorphic, allow_int)
        y, pull, *aux = vjp(partial, *chosen, has_aux=has_aux)
        for leaf in tree.leaves(y):
            _check_result(leaf, "jacrev", holomorphic)
        rows, out_structure, out_avals = _basis(y)
        cts = vmap(lambda *row: pull(out_structure.unflatten(row)))(*rows)
        cts = cts[0] if isinstance(argnums, (int, np.integer)) else cts
        leaves, in_structure = tree.flatten(cts)
        split = [_unravel(x, 0, out_avals, out_structure) for x in leaves]
        if out_structure.num_leaves == 0:
            result = y
        else:
            result = tree.transpose(in_structure, out_structure, in_structure.unflatten(split))
        return (result, aux[0]) if has_aux else result

    return jacobian_fun


jacobian = jacrev


def hessian(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """The matrix of second derivatives of `fun`, forward over reverse.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.hessian(lambda x: (x ** 3).sum())(jnp.array([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    inner = jacrev(fun, argnums, has_aux=has_aux, holomorphic=holomorphic)
    return jacfwd(inner, argnums, has_aux=has_aux, holomorphic=holomorphic)
