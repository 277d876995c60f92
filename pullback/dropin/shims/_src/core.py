"""`jax._src.core`: what libraries and tests use of it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

from pullback.control.callbacks import effects_barrier
from pullback.core import axes, dtypes
from pullback.core.avals import AbstractValue, ShapedArray, aval_of, typeof
from pullback.core.jaxpr import compatible
from pullback.core.meshes import ManualAxisType
from pullback.core.printer import jaxpr_text
from pullback.core.refs import Ref, is_ref
from pullback.core.structs import ShapeDtypeStruct
from pullback.core.trace import EVAL, current_trace, is_concrete
from pullback.dropin.shims import core as _public
from pullback.dropin.shims._src import shapes
from pullback.dropin.shims._src.shapes import *  # noqa: F403
from pullback.dropin.shims.extend import core as _extend
from pullback.dropin.shims.extend.core import (
    primitives,
)
from pullback.errors import (
    ConcretizationTypeError,
    ShardingTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)
from pullback.memory import Space as MemorySpace
from pullback.ref import empty_ref, free_ref, freeze, new_ref
from pullback.transforms.arguments import shaped as shaped_abstractify

__all__ = [  # noqa: PLE0604
    *_public.__all__,
    *_extend.__all__,
    *shapes.__all__,
    "AbstractToken",
    "AxisName",
    "AxisSize",
    "ConcretizationTypeError",
    "DimSize",
    "JaxprPpContext",
    "ManualAxisType",
    "MemorySpace",
    "NamedAxisEffect",
    "Ref",
    "Shape",
    "ShapeDtypeStruct",
    "ShardingTypeError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
    "UnexpectedTracerError",
    "axis_frame",
    "effects_barrier",
    "empty_ref",
    "eval_trace",
    "free_ref",
    "freeze",
    "full_lower",
    "get_aval",
    "get_referent",
    "is_concrete",
    "is_ref",
    "new_ref",
    "physical_aval",
    "pp_jaxpr",
    "pvary",
    "shaped_abstractify",
    "to_concrete_value",
    "typecheck",
    "typecompat",
    "typematch",
    "typeof",
]

get_aval = aval_of
AxisName = Hashable
AxisSize = DimSize = Any
Shape = tuple[Any, ...]
NamedAxisEffect = axes.NamedAxisEffect
eval_trace: Final = EVAL
extend_axis_env_nd = axes.bound
no_axis_name: Final = object()
closed_call_p: Final = primitives.closed_call_p
call_p: Final = primitives.call_p

nonempty_axis_env = _extend.nonempty_axis_env_DO_NOT_USE
unsafe_am_i_under_a_jit = _extend.unsafe_am_i_under_a_jit_DO_NOT_USE
unsafe_am_i_under_a_vmap = _extend.unsafe_am_i_under_a_vmap_DO_NOT_USE
unsafe_get_axis_names = _extend.unsafe_get_axis_names_DO_NOT_USE
unsafe_get_current_trace = current_trace
pp_jaxpr = jaxpr_text


class AbstractToken(AbstractValue):
    """The type of tokens, of which programs here have none."""


class JaxprPpContext:
    """The names that a printed program has used; ours keeps its own."""


def __getattr__(name: str) -> Any:
    for module in (_public, _extend, primitives):
        try:
            return getattr(module, name)
        except AttributeError:
            continue
    raise AttributeError(f"pullback lacks jax._src.core.{name}", name=name)


def physical_aval(aval: Any) -> Any:
    """The type in which elements are stored: two words for a random key."""
    if not isinstance(aval, ShapedArray):
        return aval
    return aval.update(dtype=dtypes.physical(aval.dtype))


def full_lower(val: Any) -> Any:
    """The value itself: traces here do not nest values."""
    return val


get_referent = full_lower


def to_concrete_value(x: Any) -> Any:
    """The value, None if it is traced."""
    return x if is_concrete(x) else None


def axis_frame(axis_name: Hashable) -> Any:
    """The size of a bound axis; NameError if there is none of this name."""
    return axes.axis_size(axis_name, "axis_frame")


def typecompat(aval_ref: AbstractValue, aval: AbstractValue) -> bool:
    """Whether a value of one type may stand where the other is expected."""
    return compatible(aval_ref, aval)


def typematch(t1: Any, t2: Any) -> bool:
    """Whether two types are equal but for weakness.

    >>> int32 = ShapedArray((2,), "int32")
    >>> typematch(int32, int32.update(weak_type=True))
    True
    """
    return bool(t1.strip_weak_type() == t2.strip_weak_type())


def typecheck(aval: Any, x: Any) -> bool:
    """Whether a value has a type, but for weakness."""
    return typematch(aval, aval_of(x))


def pvary(x: Any, axis_name: Any) -> Any:
    """The value itself: along an axis of one device nothing varies."""
    return x
