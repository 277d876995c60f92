"""`vmap`: a function of one example becomes a function of many."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.dimensions import as_length
from pullback.core.refs import check_aliases
from pullback.core.source import Description, describe_function
from pullback.core.tracebacks import api_boundary, named_like
from pullback.transforms.arguments import (
    FlatFunction,
    check_callable,
    check_operand,
    is_operand,
)
from pullback.transforms.batching import batch_flat, move_batch_axis
from pullback.transforms.shaping import row

__all__ = ["vmap"]


class _AnyLane:
    """The type of `ANY_LANE`."""


ANY_LANE: Final = _AnyLane()
"""In out_axes: a result that is the same in all lanes, even if it was computed in each."""


def vmap(
    fun: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    axis_name: Hashable = None,
    axis_size: int | None = None,
    spmd_axis_name: Hashable = None,
    sum_match: bool = False,
) -> Callable[..., Any]:
    """Map `fun` over an axis of its arguments.

    `in_axes` says which axis of each positional argument (None: the same for all), as an int or a
    pytree prefix of the arguments; `out_axes` where the mapped axis goes in the results. Keyword
    arguments are mapped over their first axis. `axis_name` names the axis for collectives
    (`lax.psum`, `lax.axis_index`, ...) in `fun`. Raises ValueError when sizes or structures
    disagree.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.vmap(jnp.dot)(jnp.ones((3, 2)), jnp.ones((3, 2))).tolist()
    [2.0, 2.0, 2.0]
    """
    check_callable(fun, "vmap")
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if not (in_axes is None or isinstance(in_axes, (int, tuple))):
        raise TypeError(
            "vmap in_axes must be an int, None, or a tuple of entries corresponding to the "
            f"positional arguments passed to the function, but got {in_axes!r}."
        )

    @api_boundary
    @named_like(fun)
    def vmapped(*args: Any, **kwargs: Any) -> Any:
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ValueError(
                "vmap in_axes must be an int, None, or a tuple of entries corresponding to the "
                "positional arguments passed to the function, but got "
                f"len(in_axes)={len(in_axes)}, len(args)={len(args)} for {describe_function(fun)}"
            )
        leaves, in_tree = tree.flatten((args, kwargs))
        check_aliases(f"vmap of {describe_function(fun)}", (), leaves)
        axes = _flat_axes(in_axes, in_tree)
        dims = [_normalize(x, d, "in_axes") for x, d in zip(leaves, axes, strict=True)]
        size = _axis_size(fun, args, kwargs, leaves, dims, axis_size)
        flat = FlatFunction(fun, in_tree)
        outs, out_dims = batch_flat(
            flat,
            size,
            leaves,
            dims,
            axis_name=axis_name,
            description=Description(fun, "vmap"),
        )
        return _collect(flat.out_tree, outs, out_dims, out_axes, size, fun)

    return vmapped


def _flat_axes(in_axes: Any, in_tree: Any) -> list[Any]:
    """One entry of in_axes for each leaf of (args, kwargs)."""
    try:
        axes = tree.flatten_axes("in_axes", in_tree, (in_axes, 0))
    except ValueError as error:
        raise ValueError(f"vmap {error}") from None
    for d in axes:
        if d is not None and not isinstance(d, int):
            raise TypeError(
                "vmap in_axes must be an int, None, or (nested) container with those types as "
                f"leaves, but got {in_axes}."
            )
    return axes


def _normalize(x: Any, dim: int | None, what: str) -> int | None:
    if dim is None:
        return None
    check_operand(x, "vmap")
    ndim = aval_of(x).ndim
    if not -ndim <= dim < ndim:
        raise ValueError(
            f"vmap was requested to map its argument along axis {dim}, which implies that its "
            f"rank should be at least {dim + 1 if dim >= 0 else -dim}, but is only {ndim} (its "
            f"shape is {aval_of(x).shape}; see {what})"
        )
    return dim % ndim


def _axis_size(
    fun: Any, args: Any, kwargs: Any, leaves: Any, dims: Any, axis_size: int | None
) -> int:
    sizes = [aval_of(x).shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None]
    if axis_size is not None:
        sizes.append(axis_size)
    if not sizes:
        if not leaves:
            raise ValueError(
                "vmap wrapped function must be passed at least one argument containing an array "
                f"or axis_size must be specified, got empty *args={args} and **kwargs={kwargs} for "
                f"{describe_function(fun)}"
            )
        raise ValueError(
            "vmap must have at least one non-None value in in_axes or axis_size must be "
            f"specified; no argument of {describe_function(fun)} is mapped"
        )
    if len(set(sizes)) > 1:
        paths = [path for path, _ in tree.leaves_with_path((args, kwargs))]
        shown = "\n".join(
            f"  args{tree.keystr(path[1:])}: axis {d} of {aval_of(x)} is {aval_of(x).shape[d]}"
            for path, x, d in zip(paths, leaves, dims, strict=True)
            if d is not None
        )
        raise ValueError(f"vmap got inconsistent sizes for array axes to be mapped:\n{shown}")
    size: int = as_length(sizes[0])
    return size


def _collect(out_tree: Any, outs: Any, out_dims: Any, out_axes: Any, size: int, fun: Any) -> Any:
    try:
        wanted = tree.flatten_axes("out_axes", out_tree, out_axes)
    except ValueError as error:
        raise ValueError(f"vmap {error}") from None
    results = []
    for x, src, dst in zip(outs, out_dims, wanted, strict=True):
        if not is_operand(x):
            raise TypeError(
                f"Output from batched function {x!r} with type {type(x)} is not a valid JAX type: "
                f"a result of {describe_function(fun)}"
            )
        if dst is ANY_LANE:
            results.append(x if src is None else row(move_batch_axis(x, size, src, 0), 0))
            continue
        if dst is None:
            if src is not None:
                paths = tree.leaves_with_path(out_tree.unflatten(range(len(wanted))))
                where = tree.keystr(paths[len(results)][0])
                raise ValueError(
                    f"at vmap out_axes{where}, got axis spec None but output was batched on axis "
                    f"{src}: a result of {describe_function(fun)} differs between lanes; give the "
                    "axis where the lanes should go"
                )
            results.append(x)
            continue
        ndim = aval_of(x).ndim + (src is None)
        if not -ndim <= dst < ndim:
            raise ValueError(
                f"vmap out_axes: axis {dst} is out of bounds for array of dimension {ndim}"
            )
        results.append(move_batch_axis(x, size, src, dst % ndim))
    return out_tree.unflatten(results)
