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
from pullback.config import make_user_context
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
    host_count,
    host_id,
    host_ids,
    local_device_count,
    local_devices,
    process_count,
    process_index,
    process_indices,
)
from pullback.core.dtypes import float0
from pullback.core.meshes import PartitionSpec as P
from pullback.core.meshes import make_mesh, set_mesh
from pullback.core.sharding import NamedSharding
from pullback.runtime import logs as _logs  # noqa: F401  (watches its settings)
from pullback.runtime.array import Shard
from pullback.runtime.jit import clear_caches, jit
from pullback.runtime.placement import (
    device_put,
    device_put_replicated,
    device_put_sharded,
    live_arrays,
    reshard,
)
from pullback.runtime.pmap import pmap
from pullback.transforms.derivatives import jvp, linear_transpose, linearize, vjp
from pullback.transforms.gradients import grad, value_and_grad
from pullback.transforms.jacobians import hessian, jacfwd, jacobian, jacrev
from pullback.transforms.mapping import vmap
from pullback.version import __version__

__all__ = [
    "Array",
    "Device",
    "NamedSharding",
    "P",
    "Ref",
    "ShapeDtypeStruct",
    "Shard",
    "__version__",
    "ad_checkpoint",
    "allow_f16_reductions",
    "array_garbage_collection_guard",
    "auto_pcast",
    "block_until_ready",
    "check_indices",
    "check_tracer_leaks",
    "checking_leaks",
    "checkpoint",
    "checkpoint_policies",
    "clear_caches",
    "closure_convert",
    "config",
    "copy_to_host_async",
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
    "distributed",
    "dlpack",
    "ds",
    "dtypes",
    "effects_barrier",
    "empty_ref",
    "enable_checks",
    "enable_custom_prng",
    "enable_x64",
    "ensure_compile_time_eval",
    "errors",
    "eval_shape",
    "experimental",
    "explain_cache_misses",
    "ffi",
    "flatten_util",
    "float0",
    "free_ref",
    "freeze",
    "fwd_and_bwd",
    "grad",
    "hessian",
    "host_count",
    "host_id",
    "host_ids",
    "image",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jax2tf_associative_scan_reductions",
    "jit",
    "jvp",
    "lax",
    "legacy_prng_key",
    "linear_transpose",
    "linearize",
    "live_arrays",
    "local_device_count",
    "local_devices",
    "log_compiles",
    "make_array_from_callback",
    "make_array_from_process_local_data",
    "make_array_from_single_device_arrays",
    "make_jaxpr",
    "make_mesh",
    "make_user_context",
    "memory",
    "monitoring",
    "named_call",
    "named_scope",
    "new_ref",
    "nn",
    "no_execution",
    "no_tracing",
    "numpy",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "pmap",
    "print_environment_info",
    "process_count",
    "process_index",
    "process_indices",
    "profiler",
    "pure_callback",
    "random",
    "ref",
    "remat",
    "remove_size_one_mesh_axis_from_type",
    "reshard",
    "scipy",
    "set_mesh",
    "shard_map",
    "sharding",
    "smap",
    "softmax_custom_jvp",
    "stages",
    "thread_guard",
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
        "distributed",
        "dlpack",
        "experimental",
        "export",
        "ffi",
        "flatten_util",
        "image",
        "memory",
        "monitoring",
        "nn",
        "profiler",
        "random",
        "ref",
        "scipy",
        "sharding",
        "stages",
    )
)
"""Namespaces that are imported when somebody first asks for them."""

_ENVIRONMENT: Final = """
allow_f16_reductions array_garbage_collection_guard auto_pcast check_indices check_tracer_leaks
checking_leaks debug_infs debug_key_reuse debug_nans default_device default_matmul_precision
default_prng_impl enable_checks enable_custom_prng ensure_compile_time_eval explain_cache_misses
jax2tf_associative_scan_reductions legacy_prng_key log_compiles no_execution no_tracing
numpy_dtype_promotion numpy_rank_promotion print_environment_info
remove_size_one_mesh_axis_from_type softmax_custom_jvp subnormals thread_guard
threefry_partitionable transfer_guard transfer_guard_device_to_device
transfer_guard_device_to_host transfer_guard_host_to_device
"""
_ASSEMBLY: Final = """
copy_to_host_async make_array_from_callback make_array_from_process_local_data
make_array_from_single_device_arrays
"""
_LAZY_NAMES: Final = {
    **dict.fromkeys(_ENVIRONMENT.split(), "environment"),
    **dict.fromkeys(_ASSEMBLY.split(), "runtime.assembly"),
    **dict.fromkeys(("shard_map", "smap"), "runtime.shard_map"),
    **dict.fromkeys(("Ref", "empty_ref", "free_ref", "freeze", "new_ref"), "ref"),
    "ds": "core.slices",
}
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
