"""The functions of the top-level namespace, beside the transformations themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import config, tree
from pullback.core import axes, dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, DebugInfo
from pullback.core.source import Description, name_scope
from pullback.core.trace import Tracer
from pullback.runtime.dispatch import to_array
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand, shaped
from pullback.transforms.arguments import function_name as _name
from pullback.transforms.staging import stage

__all__ = [
    "ShapeDtypeStruct",
    "block_until_ready",
    "device_get",
    "device_put",
    "disable_jit",
    "enable_x64",
    "eval_shape",
    "make_jaxpr",
    "named_call",
    "named_scope",
]


class ShapeDtypeStruct:
    """The type of an array without its elements.

    >>> import pullback as pb
    >>> pb.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("dtype", "shape", "sharding", "weak_type")

    def __init__(
        self, shape: Any, dtype: Any, *, sharding: Any = None, weak_type: bool = False, **_: Any
    ) -> None:
        if dtype is None:
            raise ValueError("ShapeDtypeStruct: dtype must not be None")
        self.shape = tuple(shape)
        self.dtype = dtype if isinstance(dtype, dtypes.KeyDtype) else np.dtype(dtype)
        self.sharding = sharding
        self.weak_type = weak_type

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a type without axes")
        return int(self.shape[0])

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name}{weak})"

    def _key(self) -> Any:
        return self.shape, self.dtype, self.weak_type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def _struct(aval: ShapedArray) -> ShapeDtypeStruct:
    return ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _stage(fun: Callable[..., Any], args: Any, kwargs: Any, what: str) -> tuple[ClosedJaxpr, Any]:
    leaves, in_tree = tree.flatten((args, kwargs))
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


def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Shapes and dtypes of the result of `fun`, without computing it.

    Arguments are arrays, scalars, or anything with a shape and a dtype.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.eval_shape(jnp.dot, pb.ShapeDtypeStruct((2, 3), "float32"), jnp.ones(3))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    check_callable(fun, "eval_shape")
    closed, out_tree = _stage(fun, args, kwargs, "eval_shape")
    return out_tree.unflatten([_struct(a) for a in closed.out_avals])


def block_until_ready(x: Any) -> Any:
    """Wait until all arrays of a pytree are computed, and return it.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.block_until_ready(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """
    return x


def device_put(x: Any, device: Any = None, *, src: Any = None, donate: bool = False) -> Any:
    """The arrays of a pytree on the device; there is one, the CPU.

    >>> import numpy as np, pullback as pb
    >>> pb.device_put(np.ones(2)).tolist()
    [1.0, 1.0]
    """

    def put(leaf: Any) -> Any:
        check_operand(leaf, "device_put")
        return leaf if isinstance(leaf, Tracer) else to_array(leaf)

    return tree.map(put, x)


def device_get(x: Any) -> Any:
    """The arrays of a pytree as NumPy arrays.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.device_get({"a": jnp.arange(2)})
    {'a': array([0, 1], dtype=int32)}
    """
    return tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, Array) else leaf, x)


def named_scope(name: str) -> Any:
    """Put `name` on the name stack of the operations traced in a `with` block.

    >>> import pullback as pb
    >>> with pb.named_scope("layer"):
    ...     pass
    """
    if not isinstance(name, str):
        raise TypeError(f"named_scope: the name must be a string, got {name!r}")
    return name_scope(name)


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


def enable_x64(value: bool = True) -> Any:
    """Use 64-bit types by default in a `with` block.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> with pb.enable_x64():
    ...     jnp.ones(1).dtype.name
    'float64'
    """
    return config.x64.override(value)


def typeof(x: Any) -> ShapedArray:
    """The type of a value as tracing sees it.

    >>> import pullback as pb
    >>> pb.typeof(1.0)
    ShapedArray(float32[], weak_type=True)
    """
    return aval_of(x)
