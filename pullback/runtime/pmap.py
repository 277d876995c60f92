"""`pmap` where there is one device: the mapped axis has one row, which is a vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.devices import check_device, device_count
from pullback.core.source import describe_function
from pullback.runtime.jit import jit
from pullback.transforms.arguments import check_callable
from pullback.transforms.mapping import vmap

__all__ = ["pmap"]


def pmap(
    fun: Callable[..., Any],
    axis_name: Hashable = None,
    *,
    in_axes: Any = 0,
    out_axes: Any = 0,
    static_broadcasted_argnums: int | Sequence[int] = (),
    devices: Sequence[Any] | None = None,
    backend: str | None = None,
    axis_size: int | None = None,
    donate_argnums: int | Sequence[int] = (),
) -> Any:
    """`fun` compiled, one row of the mapped axis for each device.

    There is one device, so that mapped axes must have size 1 (ValueError otherwise); collectives
    over `axis_name` are over that one row. Where `out_axes` are None, results are those of one
    device. Keyword arguments are mapped over their first axis.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.pmap(lambda x: pb.lax.psum(x, "i"), axis_name="i")(jnp.ones((1, 2))).tolist()
    [[1.0, 1.0]]
    """
    check_callable(fun, "pmap")
    check_device(backend, "pmap")
    for device in devices or ():
        check_device(device, "pmap")
    static = static_broadcasted_argnums
    fixed = (static,) if isinstance(static, int) else tuple(static)

    @functools.wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        rest = [i for i in range(len(args)) if i not in {k % len(args) for k in fixed}]

        def partial(*given: Any, **named: Any) -> Any:
            full = list(args)
            for i, x in zip(rest, given, strict=True):
                full[i] = x
            return fun(*full, **named)

        axes = tuple(in_axes[i] for i in rest) if isinstance(in_axes, tuple) else in_axes
        functools.update_wrapper(partial, fun)
        stacked = tree.map(lambda a: 0 if a is None else a, out_axes, is_leaf=lambda a: a is None)
        row = vmap(partial, axes, stacked, axis_name=axis_name, axis_size=axis_size)
        out = row(*[args[i] for i in rest], **kwargs)
        if stacked == out_axes:
            return out
        leaves, structure = tree.flatten(out)
        spread = tree.flatten_axes("pmap out_axes", structure, out_axes)
        of_one = [x[0] if a is None else x for x, a in zip(leaves, spread, strict=True)]
        return structure.unflatten(of_one)

    compiled = jit(mapped, static_argnums=fixed or None, donate_argnums=donate_argnums or None)

    @functools.wraps(fun)
    def pmapped(*args: Any, **kwargs: Any) -> Any:
        _check_one_row(fun, args, in_axes, fixed)
        _check_one_row(fun, list(kwargs.values()), 0, ())
        return compiled(*args, **kwargs)

    pmapped.lower = compiled.lower  # type: ignore[attr-defined]
    pmapped.trace = compiled.trace  # type: ignore[attr-defined]
    return pmapped


def _check_one_row(
    fun: Callable[..., Any], args: Sequence[Any], in_axes: Any, fixed: Sequence[int]
) -> None:
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    for i, (x, axis) in enumerate(zip(args, axes, strict=False)):
        if i in fixed or not isinstance(axis, int):
            continue
        for leaf in tree.leaves(x):
            shape = aval_of(leaf).shape
            if not -len(shape) <= axis < len(shape):
                raise ValueError(
                    f"pmap of {describe_function(fun)}: argument {i} has no axis {axis}"
                )
            if shape[axis] > device_count():
                raise ValueError(
                    f"pmap of {describe_function(fun)}: argument {i} asks for {shape[axis]} "
                    f"devices by the size of its axis {axis}, and there is {device_count()}; use "
                    "vmap instead"
                )
