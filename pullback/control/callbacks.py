"""Callbacks: equations whose work is a Python function of the user's.

`pure_callback` computes values and may be dropped, repeated or merged; `io_callback` is run exactly
as often as the program says; `debug_callback` reports and has no results.  Evaluated now they are
plain calls.  In compiled code the program calls back into Python (`Builder.callback`); by then the
function in the parameters is replaced by its number (`passes/host_calls.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback import config, tree
from pullback.control.scan import bind_scan
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.effects import IO, ORDERED_IO, Effect
from pullback.core.primitive import (
    FIRST_ORDER,
    NO_SAMPLES,
    PURE,
    NotApplicable,
    Primitive,
)
from pullback.core.refs import is_ref
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace, set_trace
from pullback.errors import LoweringError
from pullback.ops import structural
from pullback.transforms.arguments import check_callable, check_operand, shaped
from pullback.transforms.batching import move_batch_axis
from pullback.transforms.shaping import row, stack_rows
from pullback.transforms.staging import stage

__all__ = [
    "VMAP_METHODS",
    "HostFunction",
    "HostNumber",
    "array_hook",
    "batch_by_method",
    "callback_primitives",
    "debug_callback",
    "effects_barrier",
    "io_callback",
    "io_callback_primitive",
    "pure_callback",
    "pure_callback_primitive",
]

VMAP_METHODS: Final = (
    "sequential",
    "sequential_unrolled",
    "expand_dims",
    "broadcast_all",
    "legacy_vectorized",
    None,
)
array_hook: Final[list[Callable[[Any, Any], Any]]] = []
"""Filled by `runtime`: an array of ours from NumPy's elements and an aval."""


# --------------------------------------------------------------------------- the user's function


@dataclass(frozen=True)
class HostFunction:
    """A Python function on pytrees, as one on flat arrays."""

    callback_func: Callable[..., Any]
    in_tree: Any
    out_tree: Any = None
    """The structure that results must have; None if there are none."""

    def __call__(self, *leaves: Any) -> list[Any]:
        args, kwargs = self.in_tree.unflatten(leaves)
        before = current_trace()
        if before is EVAL:
            result = self.callback_func(*args, **kwargs)
        else:
            with set_trace(EVAL):
                result = self.callback_func(*args, **kwargs)
        if self.out_tree is None:
            return []
        outs, out_tree = tree.flatten(result)
        if out_tree != self.out_tree:
            raise TypeError(
                f"a callback returned another structure than announced: "
                f"{describe_function(self.callback_func)} returned {out_tree}, "
                f"result_shape_dtypes has {self.out_tree}"
            )
        return outs

    def run(self, arrays: Sequence[Any], avals: Sequence[ShapedArray]) -> list[Any]:
        """The results on concrete arrays, as NumPy arrays of the announced types."""
        outs = self(*arrays)
        return [self._checked(i, x, a) for i, (x, a) in enumerate(zip(outs, avals, strict=True))]

    def _checked(self, i: int, x: Any, aval: ShapedArray) -> np.ndarray[Any, Any]:
        wanted = dtypes.physical(aval.dtype)
        if isinstance(aval.dtype, dtypes.KeyDtype):
            return np.asarray(x._data)
        try:
            given = ShapedArray(np.shape(x), _result_dtype(x, wanted))
        except TypeError:
            given = None
        if given is None or given.shape != aval.shape or given.dtype != wanted:
            raise TypeError(
                f"a callback returned another type than announced: result {i} of "
                f"{describe_function(self.callback_func)} is {x!r} of type "
                f"{given or type(x).__name__}, result_shape_dtypes says {aval}"
            )
        return np.ascontiguousarray(x, dtype=wanted).reshape(aval.shape)


def _result_dtype(x: Any, wanted: Any) -> Any:
    """The dtype of a result; a Python scalar takes the wanted one where it fits."""
    if type(x) in (bool, int, float, complex):
        kind, to = dtypes.python_scalar_dtype(type(x)).kind, dtypes.kind_of(wanted)
        fits = {"b": "b", "i": "iufc", "f": "fc", "c": "c"}[kind]
        return wanted if to in fits else dtypes.python_scalar_dtype(type(x))
    return dtypes.canonicalize_dtype(np.asarray(x).dtype)


@dataclass(frozen=True)
class HostNumber:
    """Stands for a `HostFunction` in a program to be compiled: its place in the table of these."""

    index: int


def _arrays(values: Sequence[Any]) -> list[Any]:
    return [array_hook[0](x, aval_of(x)) for x in values]


# --------------------------------------------------------------------------- batching


def _lanes_one_by_one(
    primitive: Primitive,
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    params: dict[str, Any],
    unrolled: bool,
) -> tuple[list[Any], list[int | None]]:
    """Apply the callback to one lane after the other, in order."""
    moved = [_to_front(x, size, d) for x, d in zip(args, dims, strict=True)]
    batched = [d is not None for d in dims]
    if size == 0:
        avals = _with_lanes(params.get("result_avals", ()), 0)
        stacked = [structural.zeros(a) for a in avals]
    elif unrolled or current_trace() is EVAL:
        outs = [
            primitive.bind(
                *[row(x, i) if b else x for x, b in zip(moved, batched, strict=True)], **params
            )
            for i in range(size)
        ]
        stacked = [stack_rows(rows) for rows in zip(*outs, strict=True)]
    else:
        stacked = _scan_lanes(primitive, size, moved, batched, params)
    return stacked, [0] * len(stacked)


def _to_front(x: Any, size: int, d: int | None) -> Any:
    return x if d is None else move_batch_axis(x, size, d, 0)


def _scan_lanes(
    primitive: Primitive,
    size: int,
    args: Sequence[Any],
    batched: Sequence[bool],
    params: dict[str, Any],
) -> list[Any]:
    consts = [x for x, b in zip(args, batched, strict=True) if not b]
    rows = [x for x, b in zip(args, batched, strict=True) if b]

    def body(*operands: Any) -> list[Any]:
        fixed, lane = iter(operands[: len(consts)]), iter(operands[len(consts) :])
        result: list[Any] = primitive.bind(
            *[next(lane) if b else next(fixed) for b in batched], **params
        )
        return result

    avals = [aval_of(x) for x in consts]
    avals += [a.update(shape=a.shape[1:]) for a in map(aval_of, rows)]
    closed = stage(body, avals, description=f"vmap of {primitive}")
    return bind_scan(closed, consts, [], rows, length=size, reverse=False)


def _with_lanes(avals: Sequence[ShapedArray], size: int) -> tuple[ShapedArray, ...]:
    return tuple(a.update(shape=(size, *a.shape)) for a in avals)


def batch_by_method(
    primitive: Primitive,
    name: str,
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    params: dict[str, Any],
) -> tuple[list[Any], list[int | None]]:
    """Lanes of a call of a foreign function, as its `vmap_method` says."""
    method = params["vmap_method"]
    if method is None:
        raise NotImplementedError(
            f"vmap is only supported for the {name} primitive when vmap_method is one of "
            "'sequential', 'sequential_unrolled', 'expand_dims', 'broadcast_all', or "
            "'legacy_vectorized'. Got vmap_method=None. The first calls once a lane, the third and "
            "fourth once, on arrays with a leading axis."
        )
    if method in ("sequential", "sequential_unrolled"):
        unrolled = method == "sequential_unrolled"
        return _lanes_one_by_one(primitive, size, args, dims, params, unrolled)
    moved = [_to_front(x, size, d) for x, d in zip(args, dims, strict=True)]
    if method == "broadcast_all":
        moved = [move_batch_axis(x, size, d, 0) for x, d in zip(args, dims, strict=True)]
    elif method == "expand_dims":
        moved = [
            structural.broadcast(x, 1, 0) if d is None else x
            for x, d in zip(moved, dims, strict=True)
        ]
    new = params | {"result_avals": _with_lanes(params["result_avals"], size)}
    outs: list[Any] = primitive.bind(*moved, **new)
    return outs, [0] * len(outs)


def _batch_pure(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    return batch_by_method(pure_callback_primitive, "pure_callback", size, args, dims, params)


def _batch_io(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    if params["ordered"]:
        raise ValueError(
            "Cannot `vmap` ordered IO callback, since the order of its lanes would be our choice; "
            "use ordered=False, or lax.map over the lanes"
        )
    return _lanes_one_by_one(io_callback_primitive, size, args, dims, params, unrolled=False)


def _batch_debug(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    return _lanes_one_by_one(debug_callback, size, args, dims, params, unrolled=False)


# --------------------------------------------------------------------------- the primitives


def _abstract(*avals: Any, result_avals: Sequence[ShapedArray], **_: Any) -> list[Any]:
    return list(result_avals)


def _reference(
    *values: Any, callback: HostFunction, result_avals: Sequence[ShapedArray], **_: Any
) -> list[Any]:
    return callback.run(_arrays(values), result_avals)


def _lower(b: Any, *xs: Any, callback: Any, result_avals: Any = (), **_: Any) -> list[Any]:
    if not isinstance(callback, HostNumber):
        raise LoweringError("a callback that has no number reached the compiler")
    results: list[Any] = b.callback(callback.index, xs, result_avals)
    return results


def _hlo(b: Any, *xs: Any, callback: Any, **_: Any) -> list[Any]:
    if not isinstance(callback, HostNumber):
        raise LoweringError("a callback that has no number reached the emitter")
    results: list[Any] = b.host_call(callback.index, xs)
    return results


def _not_differentiable(name: str) -> Callable[..., Any]:
    def jvp(primals: Any, tangents: Any, *, callback: HostFunction, **_: Any) -> Any:
        words = (
            "Pure callbacks do not support JVP. Please use `jax.custom_jvp` to use callbacks while "
            "taking gradients"
            if name == "pure_callback"
            else "IO callbacks do not support JVP"
        )
        raise ValueError(
            f"{words}. {describe_function(callback.callback_func)} is a Python function without a "
            "derivative: give it a rule by jax.custom_jvp or custom_vjp, or stop the gradient at "
            "its arguments by lax.stop_gradient."
        )

    return jvp


def _io_effect(*, ordered: bool, **_: Any) -> frozenset[Effect]:
    return _ORDERED_IO_EFFECTS if ordered else _IO_EFFECTS


_IO_EFFECTS: Final = frozenset((IO,))
_ORDERED_IO_EFFECTS: Final = frozenset((ORDERED_IO,))


def _debug_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
    return debug_callback.bind(*primals, **params), []


def _debug_abstract(*avals: Any, **_: Any) -> list[Any]:
    return []


def _debug_reference(*values: Any, callback: HostFunction, **_: Any) -> list[Any]:
    callback(*_arrays(values))
    return []


def _primitive(name: str, batch: Any, effects: Any, **rules: Any) -> Primitive:
    slots: dict[str, Any] = {
        "abstract": _abstract,
        "reference": _reference,
        "jvp": _not_differentiable(name),
        "transpose": NotApplicable(f"transpose of {name}", "a Python function is not linear"),
        "partial_eval": FIRST_ORDER,
        "lower": _lower,
        "hlo": _hlo,
        "samples": NO_SAMPLES,
        "multiple_results": True,
        "literals": False,
    }
    return Primitive(name=name, batch=batch, effects=effects, **slots | rules)


pure_callback_primitive: Final = _primitive("pure_callback", _batch_pure, PURE)
io_callback_primitive: Final = _primitive("io_callback", _batch_io, _io_effect)
debug_callback: Final[Primitive] = _primitive(
    "debug_callback",
    _batch_debug,
    lambda *, effect, **_: frozenset((effect,)),
    abstract=_debug_abstract,
    reference=_debug_reference,
    jvp=_debug_jvp,
)
callback_primitives: Final = frozenset(
    (pure_callback_primitive, io_callback_primitive, debug_callback)
)


# --------------------------------------------------------------------------- for users


def _result_avals(name: str, specs: Any) -> tuple[tuple[ShapedArray, ...], Any]:
    leaves, out_tree = tree.flatten(specs)
    avals = []
    for spec in leaves:
        try:
            aval = shaped(spec)
        except TypeError:
            raise TypeError(
                f"{name}: result_shape_dtypes must hold ShapeDtypeStructs or arrays, got {spec!r}"
            ) from None
        wide = getattr(spec, "dtype", aval.dtype)
        if not config.x64() and np.dtype(wide) != aval.dtype:
            raise ValueError(
                f"{name}: result_shape_dtypes has the 64-bit type {np.dtype(wide)}, but 64-bit "
                "types are off; set jax_enable_x64, or announce (and return) a 32-bit type"
            )
        avals.append(aval)
    return tuple(avals), out_tree


def _operands(name: str, callback: Any, args: Any, kwargs: Any) -> tuple[list[Any], Any]:
    check_callable(callback, name)
    leaves, in_tree = tree.flatten((args, kwargs))
    for x in leaves:
        check_operand(x, f"{name} of {describe_function(callback)}")
        if is_ref(x):
            raise TypeError(
                f"{name} of {describe_function(callback)}: a reference of type {aval_of(x)} cannot "
                "be passed to Python code; pass its value, `ref[...]`"
            )
    return leaves, in_tree


def pure_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    sharding: Any = None,
    vmap_method: str | None = None,
    **kwargs: Any,
) -> Any:
    """Call a Python function without side effects from traced code.

    `callback(*args, **kwargs)` gets arrays and returns a pytree of arrays of the shapes and dtypes
    that `result_shape_dtypes` (`ShapeDtypeStruct`s) announces. It may be called any number of
    times, or never where its results are not used. `vmap_method` says what vmap does: see
    `VMAP_METHODS`. It is not differentiable; give it a rule by `custom_jvp`.

    >>> import numpy as np, pullback as pb
    >>> @pb.jit
    ... def f(x):
    ...     return 2 * pb.pure_callback(np.cos, pb.ShapeDtypeStruct((), "float32"), x)
    >>> float(f(0.0))
    2.0
    """
    if vmap_method not in VMAP_METHODS:
        raise ValueError(
            f"vmap_method must be on of the allowed methods {list(VMAP_METHODS)}, but got: "
            f"{vmap_method}"
        )
    leaves, in_tree = _operands("pure_callback", callback, args, kwargs)
    avals, out_tree = _result_avals("pure_callback", result_shape_dtypes)
    outs = pure_callback_primitive.bind(
        *leaves,
        callback=HostFunction(callback, in_tree, out_tree),
        result_avals=avals,
        sharding=None,
        vmap_method=vmap_method,
    )
    return out_tree.unflatten(outs)


def io_callback(
    callback: Callable[..., Any],
    result_shape_dtypes: Any,
    *args: Any,
    sharding: Any = None,
    ordered: bool = False,
    **kwargs: Any,
) -> Any:
    """Call a Python function that has side effects from traced code.

    It is called exactly when the program gets there, even if its results are not used. Ordered
    callbacks keep their order among each other. Not differentiable; an ordered one cannot be
    vmapped.

    >>> import pullback as pb
    >>> from pullback.experimental import io_callback
    >>> seen = []
    >>> pb.jit(lambda x: io_callback(lambda v: seen.append(float(v)), None, x, ordered=True))(1.5)
    >>> seen
    [1.5]
    """
    leaves, in_tree = _operands("io_callback", callback, args, kwargs)
    avals, out_tree = _result_avals("io_callback", result_shape_dtypes)
    outs = io_callback_primitive.bind(
        *leaves,
        callback=HostFunction(callback, in_tree, out_tree),
        result_avals=avals,
        sharding=None,
        ordered=bool(ordered),
    )
    return out_tree.unflatten(outs)


def effects_barrier() -> None:
    """Wait until all effects have happened; they have, since execution is synchronous.

    >>> import pullback as pb
    >>> pb.effects_barrier()
    """
