"""The functions of the top-level namespace, beside the transformations themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import config, monitoring, tree
from pullback.core import axes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of, spread_type
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import ClosedJaxpr, DebugInfo
from pullback.core.sharding import type_sharding
from pullback.core.source import Description, name_scope
from pullback.core.structs import ShapeDtypeStruct
from pullback.core.trace import Tracer
from pullback.core.tracebacks import api_boundary
from pullback.runtime import spread
from pullback.runtime.array import ArrayImpl
from pullback.runtime.jit import jit
from pullback.runtime.residence import REMOTE
from pullback.transforms.arguments import (
    FlatFunction,
    as_index_tuple,
    check_callable,
    fix_arguments,
    is_operand,
    refuse_arguments,
    shaped,
)
from pullback.transforms.arguments import function_name as _name
from pullback.transforms.derivatives import vjp
from pullback.transforms.staging import stage

__all__ = [
    "ShapeDtypeStruct",
    "block_until_ready",
    "device_get",
    "disable_jit",
    "enable_x64",
    "eval_shape",
    "fwd_and_bwd",
    "make_jaxpr",
    "named_call",
    "named_scope",
]


def _struct(aval: ShapedArray, sharding: Any = None) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type, sharding=sharding)


def _stage(fun: Callable[..., Any], args: Any, kwargs: Any, what: str) -> tuple[ClosedJaxpr, Any]:
    leaves, in_tree = tree.flatten((args, kwargs))
    refuse_arguments(fun, args, kwargs, lambda x: is_operand(x) or hasattr(x, "dtype"))
    avals = [shaped(x) for x in leaves]
    flat = FlatFunction(fun, in_tree)
    info = DebugInfo(what, _name(fun))
    closed = stage(flat, avals, description=Description(fun, what), debug_info=info)
    return closed, flat.out_tree


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: Any = (),
    axis_env: Any = None,
    return_shape: bool = False,
) -> Callable[..., Any]:
    """A function that gives the jaxpr of `fun` for its arguments, without running it.

    `axis_env` binds names of axes: a sequence of pairs of a name and a size.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.make_jaxpr(lambda x: jnp.sin(x) * 2)(1.0)
    { lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = mul b 2.0:f32[] in (c,) }
    """
    check_callable(fun, "make_jaxpr")
    nums = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)

    @api_boundary
    @functools.wraps(fun)
    def jaxpr_maker(*args: Any, **kwargs: Any) -> Any:
        static = {i % len(args): args[i] for i in nums} if args else {}
        dynamic = [x for i, x in enumerate(args) if i not in static]

        def partial(*given: Any, **named: Any) -> Any:
            it = iter(given)
            full = [static[i] if i in static else next(it) for i in range(len(args))]
            return fun(*full, **named)

        functools.update_wrapper(partial, fun)
        with axes.bound(axis_env or ()):
            closed, out_tree = _stage(partial, tuple(dynamic), kwargs, "make_jaxpr")
        if return_shape:
            return closed, out_tree.unflatten([_struct(a) for a in closed.out_avals])
        return closed

    return jaxpr_maker


def fwd_and_bwd(
    fun: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool = False,
    jitted: bool = True,
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and the backward pass of `fun` as two functions, each compiled once.

    `fwd(*args)` returns `(result, residuals)`, and the auxiliary result after them with `has_aux`;
    `bwd(residuals, ct)` the cotangents of the arguments `argnums`.

    >>> import pullback as pb
    >>> fwd, bwd = pb.fwd_and_bwd(lambda x, y: x * y, argnums=(0, 1))
    >>> result, residuals = fwd(3.0, 5.0)
    >>> [float(ct) for ct in bwd(residuals, 1.0)]
    [5.0, 3.0]
    """
    check_callable(fun, "fwd_and_bwd")

    def fwd(*args: Any) -> Any:
        nums = as_index_tuple(argnums, len(args), "fwd_and_bwd")
        partial = fix_arguments(fun, args, {}, nums)
        functools.update_wrapper(partial, fun)
        return vjp(partial, *[args[i] for i in nums], has_aux=has_aux)

    def bwd(residuals: Any, ct: Any) -> Any:
        cts = residuals(ct)
        return cts[0] if isinstance(argnums, (int, np.integer)) else cts

    functools.update_wrapper(fwd, fun)
    return (jit(fwd), jit(bwd)) if jitted else (fwd, bwd)


@api_boundary
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Shapes and dtypes of the result of `fun`, without computing it.

    Arguments are arrays, scalars, or anything with a shape and a dtype.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.eval_shape(jnp.dot, pb.ShapeDtypeStruct((2, 3), "float32"), jnp.ones(3))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    check_callable(fun, "eval_shape")
    closed, out_tree = _stage(fun, args, kwargs, "eval_shape")
    avals = closed.out_avals
    given = [spread.sharding_of(x) for x in tree.leaves((args, kwargs))]
    where = spread.shardings_of_types(closed, given) if any(given) else [None] * len(avals)
    return out_tree.unflatten([_struct(a, s) for a, s in zip(avals, where, strict=True)])


def block_until_ready(x: Any) -> Any:
    """Wait until all arrays of a pytree are computed, and return it.

    Our own programs are done when a call returns; those on plugins' devices run on their own.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.block_until_ready(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """
    for leaf in tree.leaves(x) if REMOTE else ():
        if type(leaf) is ArrayImpl:
            leaf.block_until_ready()
    return x


def device_get(x: Any) -> Any:
    """The arrays of a pytree as NumPy arrays; traced values and random keys stay what they are.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.device_get({"a": jnp.arange(2)})
    {'a': array([0, 1], dtype=int32)}
    """
    for leaf in tree.leaves(x) if REMOTE else ():
        if type(leaf) is ArrayImpl:
            leaf.copy_to_host_async()
    return tree.map(_on_host, x)


def _on_host(leaf: Any) -> Any:
    if not isinstance(leaf, Array) or isinstance(leaf, Tracer):
        return leaf
    return leaf if isinstance(leaf.dtype, KeyDtype) else np.asarray(leaf)  # NumPy has no keys


def named_scope(name: str) -> Any:
    """Put `name` on the name stack of the operations traced in a `with` block.

    >>> import pullback as pb
    >>> with pb.named_scope("layer"):
    ...     pass
    """
    if not isinstance(name, str):
        raise TypeError(f"named_scope name argument must be a string. It is {name!r}.")
    return _ReportedScope(name) if monitoring.listening() else name_scope(name)


class _ReportedScope:
    """A name scope whose time is told to listeners."""

    __slots__ = ("name", "scope", "timed")

    def __init__(self, name: str) -> None:
        self.name = name
        self.scope = name_scope(name)
        self.timed = monitoring.timed(monitoring.NAMED_SCOPE, scope=name)

    def __enter__(self) -> None:
        self.timed.__enter__()
        self.scope.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self.scope.__exit__(*exc)
        self.timed.__exit__(*exc)

    def __call__(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator: each call of `fun` is in the scope."""

        @functools.wraps(fun)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            with _ReportedScope(self.name):
                return fun(*args, **kwargs)

        return scoped


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """`fun` under a name scope, its own name by default.

    >>> import pullback as pb
    >>> pb.named_call(lambda x: x + 1, name="increment")(1)
    2
    """
    scope = name or _name(fun)

    @functools.wraps(fun)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with name_scope(scope):
            return fun(*args, **kwargs)

    return wrapped


def disable_jit(disable: bool = True) -> Any:
    """Run jitted functions and loops operation by operation in a `with` block.

    >>> import pullback as pb
    >>> with pb.disable_jit():
    ...     float(pb.jit(lambda x: x + 1)(1.0))
    2.0
    """
    return config.disable_jit.override(disable)


def enable_x64(new_val: Any = True) -> Any:
    """Use 64-bit types by default in a `with` block.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> with pb.enable_x64():
    ...     jnp.ones(1).dtype.name
    'float64'
    """
    return config.x64.override(new_val)


def typeof(x: Any) -> ShapedArray:
    """The type of a value as tracing sees it.

    >>> import pullback as pb
    >>> pb.typeof(1.0)
    ShapedArray(float32[], weak_type=True)
    """
    aval = aval_of(x)
    sharding = type_sharding(spread.sharding_of(x), len(aval.shape))
    return aval if sharding is None else spread_type(aval, sharding)
