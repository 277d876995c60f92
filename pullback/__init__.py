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
    disable_jit,
    enable_x64,
    eval_shape,
    fwd_and_bwd,
    make_jaxpr,
    named_call,
    named_scope,
    typeof,
)
from pullback.control.callbacks import effects_barrier, pure_callback
from pullback.control.closures import closure_convert, custom_gradient
from pullback.control.custom_jvp import custom_jvp
from pullback.control.custom_vjp import custom_vjp
from pullback.control.remat import checkpoint, remat
from pullback.core.array import Array
from pullback.core.devices import (
    Device,
    default_backend,
    device_count,
    devices,
    local_device_count,
    local_devices,
    process_count,
    process_index,
    process_indices,
)
from pullback.core.sharding import (
    NamedSharding,
    make_mesh,
    set_mesh,
)
from pullback.core.sharding import PartitionSpec as P
from pullback.runtime.jit import clear_caches, jit
from pullback.runtime.placement import (
    device_put,
    device_put_replicated,
    device_put_sharded,
    live_arrays,
    reshard,
)
from pullback.runtime.pmap import pmap
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
    "Device",
    "NamedSharding",
    "P",
    "ShapeDtypeStruct",
    "__version__",
    "ad_checkpoint",
    "block_until_ready",
    "check_tracer_leaks",
    "checking_leaks",
    "checkpoint",
    "checkpoint_policies",
    "clear_caches",
    "closure_convert",
    "config",
    "custom_batching",
    "custom_derivatives",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "debug",
    "debug_infs",
    "debug_key_reuse",
    "debug_nans",
    "default_backend",
    "default_device",
    "default_matmul_precision",
    "default_prng_impl",
    "device_count",
    "device_get",
    "device_put",
    "device_put_replicated",
    "device_put_sharded",
    "devices",
    "disable_jit",
    "dlpack",
    "dtypes",
    "effects_barrier",
    "enable_checks",
    "enable_custom_prng",
    "enable_x64",
    "ensure_compile_time_eval",
    "errors",
    "eval_shape",
    "experimental",
    "explain_cache_misses",
    "flatten_util",
    "fwd_and_bwd",
    "grad",
    "hessian",
    "image",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "lax",
    "linear_transpose",
    "linearize",
    "live_arrays",
    "local_device_count",
    "local_devices",
    "log_compiles",
    "make_jaxpr",
    "make_mesh",
    "named_call",
    "named_scope",
    "nn",
    "numpy",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "pmap",
    "print_environment_info",
    "process_count",
    "process_index",
    "process_indices",
    "pure_callback",
    "random",
    "remat",
    "reshard",
    "scipy",
    "set_mesh",
    "sharding",
    "stages",
    "threefry_partitionable",
    "transfer_guard",
    "transfer_guard_device_to_device",
    "transfer_guard_device_to_host",
    "transfer_guard_host_to_device",
    "tree",
    "tree_util",
    "typeof",
    "typing",
    "value_and_grad",
    "vjp",
    "vmap",
]

_LAZY: Final = frozenset(
    (
        "ad_checkpoint",
        "checkpoint_policies",
        "custom_batching",
        "debug",
        "dlpack",
        "experimental",
        "flatten_util",
        "image",
        "nn",
        "random",
        "scipy",
        "sharding",
        "stages",
    )
)
"""Namespaces that are imported when somebody first asks for them."""

_ENVIRONMENT: Final = """
check_tracer_leaks checking_leaks debug_infs debug_key_reuse debug_nans default_device
default_matmul_precision default_prng_impl enable_checks enable_custom_prng
ensure_compile_time_eval explain_cache_misses log_compiles numpy_dtype_promotion
numpy_rank_promotion print_environment_info threefry_partitionable transfer_guard
transfer_guard_device_to_device transfer_guard_device_to_host transfer_guard_host_to_device
"""
_LAZY_NAMES: Final = dict.fromkeys(_ENVIRONMENT.split(), "environment")
"""Names with the module that has them, which is imported when somebody first asks for one."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pullback.{name}")
    if name in _LAZY_NAMES:
        value = getattr(importlib.import_module(f"pullback.{_LAZY_NAMES[name]}"), name)
        return globals().setdefault(name, value)
    raise AttributeError(f"module 'pullback' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
