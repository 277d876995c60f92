"""Pullback: composable transformations of NumPy programs, in pure Python, with their own compiler.

>>> import pullback as pb
>>> import pullback.numpy as jnp
>>> float(pb.grad(lambda x: jnp.sin(x) * x)(0.0))
0.0

The programming model and the names are those of JAX; see the README.
"""

import importlib
from typing import Any, Final

from pullback import config, custom_derivatives, dtypes, errors, lax, numpy, tree, tree_util, typing
from pullback.api import (
    ShapeDtypeStruct,
    block_until_ready,
    device_get,
    device_put,
    disable_jit,
    enable_x64,
    eval_shape,
    make_jaxpr,
    named_call,
    named_scope,
    typeof,
)
from pullback.control.custom_jvp import custom_jvp
from pullback.control.custom_vjp import custom_vjp
from pullback.core.array import Array
from pullback.runtime.jit import clear_caches, jit
from pullback.transforms.derivatives import (
    grad,
    jvp,
    linear_transpose,
    linearize,
    value_and_grad,
    vjp,
)
from pullback.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from pullback.transforms.mapping import vmap
from pullback.version import __version__

__all__ = [
    "Array",
    "ShapeDtypeStruct",
    "__version__",
    "block_until_ready",
    "clear_caches",
    "config",
    "custom_derivatives",
    "custom_jvp",
    "custom_vjp",
    "device_get",
    "device_put",
    "disable_jit",
    "dtypes",
    "enable_x64",
    "errors",
    "eval_shape",
    "flatten_util",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "make_jaxpr",
    "named_call",
    "named_scope",
    "nn",
    "numpy",
    "random",
    "tree",
    "tree_util",
    "typeof",
    "typing",
    "value_and_grad",
    "vjp",
    "vmap",
]

_LAZY: Final = frozenset(("flatten_util", "nn", "random"))
"""Namespaces that are imported when somebody first asks for them."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pullback.{name}")
    raise AttributeError(f"module 'pullback' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
