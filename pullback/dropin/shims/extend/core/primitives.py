"""`jax.extend.core.primitives`: the primitives under the names `<name>_p`.

Most are records of ours by the same name.  A few that JAX has make no equations here (`call`,
`closed_call`, `device_put`): libraries compare equations with them and find none.
"""

from __future__ import annotations

from typing import Any, Final

from pullback import lax, random
from pullback.control import cond, custom_jvp, custom_vjp, jit, linear_solve, loops, remat, scan
from pullback.core.primitive import registry
from pullback.dropin.open_primitive import CallPrimitive, Primitive

__all__: list[str] = []

_loaded: Final = (
    lax,
    random,
    cond,
    custom_jvp,
    custom_vjp,
    jit,
    linear_solve,
    loops,
    remat,
    scan,
)
"""Imported so that their primitives are known by name."""

_OTHER_NAMES: Final = {
    "add_jaxvals_p": "add_any",
    "linear_solve_p": "custom_linear_solve",
    "remat_p": "remat2",
    "scatter_add_p": "scatter_add",
    "scatter_max_p": "scatter_max",
    "scatter_min_p": "scatter_min",
    "scatter_mul_p": "scatter_mul",
}
call_p: Final = CallPrimitive("call")
closed_call_p: Final = CallPrimitive("closed_call")
core_call_p: Final = call_p
device_put_p: Final = Primitive("device_put")
stop_gradient_p: Final = Primitive("stop_gradient")


def __getattr__(name: str) -> Any:
    if name.endswith("_p"):
        record = registry.get(_OTHER_NAMES.get(name, name.removesuffix("_p")))
        if record is not None:
            return record
    raise AttributeError(f"module 'jax.extend.core.primitives' has no attribute {name!r}")
