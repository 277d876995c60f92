"""Private attributes of JAX's classes that libraries read, for ours, once `jax` is imported."""

from __future__ import annotations

from typing import Any

from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import Literal
from pullback.core.meshes import Mesh
from pullback.core.primitive import Primitive
from pullback.core.sharding import NamedSharding, Sharding
from pullback.core.trace import Trace
from pullback.runtime.jit import JitFunction

__all__ = ["attach"]


def _devices_of(sharding: Sharding) -> tuple[Any, ...]:
    """The devices in order."""
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
        return tuple(sharding.mesh.devices.flat)
    return tuple(sharding.device_set)


def attach() -> None:
    """Give our classes the attributes that those of JAX have."""
    # What kind of primitive an equation has: none of ours calls a function outside a jaxpr.
    setattr(Primitive, "call_primitive", False)  # noqa: B010
    setattr(Primitive, "map_primitive", False)  # noqa: B010

    # An equation is applied again by `primitive.bind(*operands, **bind_params)`.
    setattr(Primitive, "get_bind_params", lambda primitive, params: dict(params))  # noqa: B010

    # Whether two tracers belong together is asked by `tracer._trace.main`.
    setattr(Trace, "main", property(lambda trace: trace))  # noqa: B010

    # The old name of the type of tangents.
    setattr(ShapedArray, "at_least_vspace", ShapedArray.to_tangent_aval)  # noqa: B010

    # Libraries tell a compiled function by the name of its type.
    JitFunction.__name__ = "PjitFunction"
    JitFunction.__qualname__ = "PjitFunction"

    # Printed by themselves, types have whole names of dtypes, and literals their class.
    setattr(ShapedArray, "__str__", ShapedArray.str_long)  # noqa: B010
    setattr(Literal, "__repr__", lambda literal: f"Literal({literal.val})")  # noqa: B010

    for name in ("_addressable_device_assignment", "_device_assignment", "_internal_device_list"):
        setattr(Sharding, name, property(_devices_of))
