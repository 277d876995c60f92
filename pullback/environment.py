"""Settings as context managers, and what the program runs on; public names of the top level."""

from __future__ import annotations

import functools
import platform
import sys
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any, Final

from pullback import config
from pullback.core.devices import check_default_device
from pullback.core.devices import default_device as chosen_device
from pullback.core.trace import eager_where_known
from pullback.llvm import jit as native
from pullback.llvm import pool
from pullback.version import __version__

__all__ = [
    "allow_f16_reductions",
    "array_garbage_collection_guard",
    "auto_pcast",
    "check_indices",
    "check_tracer_leaks",
    "checking_leaks",
    "debug_infs",
    "debug_key_reuse",
    "debug_nans",
    "default_device",
    "default_matmul_precision",
    "default_prng_impl",
    "enable_checks",
    "enable_custom_prng",
    "ensure_compile_time_eval",
    "explain_cache_misses",
    "jax2tf_associative_scan_reductions",
    "legacy_prng_key",
    "log_compiles",
    "no_execution",
    "no_tracing",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "print_environment_info",
    "remove_size_one_mesh_axis_from_type",
    "softmax_custom_jvp",
    "subnormals",
    "thread_guard",
    "threefry_partitionable",
    "transfer_guard",
    "transfer_guard_device_to_device",
    "transfer_guard_device_to_host",
    "transfer_guard_host_to_device",
]


class _Override:
    """`name(value)`: a context manager (and decorator) that overrides a setting in this thread."""

    def __init__(self, setting: Any, default: Any = None) -> None:
        self._setting = setting
        self._default = default
        self.__name__ = setting.name.removeprefix("jax_")
        self.__doc__ = f"In a `with` block, in this thread. {setting.doc}"

    def __call__(self, new_val: Any = None) -> AbstractContextManager[None]:
        value = self._default if new_val is None and self._default is not None else new_val
        manager: AbstractContextManager[None] = self._setting.override(value)
        return manager

    def __repr__(self) -> str:
        return f"<setting {self.__name__}>"


check_indices: Final = _Override(config.check_indices, True)
check_tracer_leaks: Final = _Override(config.check_tracer_leaks, True)
checking_leaks: Final = functools.partial(check_tracer_leaks, True)
debug_infs: Final = _Override(config.debug_infs, True)
debug_key_reuse: Final = _Override(config.debug_key_reuse, True)
debug_nans: Final = _Override(config.debug_nans, True)
default_matmul_precision: Final = _Override(config.default_matmul_precision)
default_prng_impl: Final = _Override(config.default_prng_impl)
enable_checks: Final = _Override(config.enable_checks, True)
enable_custom_prng: Final = _Override(config.enable_custom_prng, True)
allow_f16_reductions: Final = _Override(config.allow_f16_reductions)
array_garbage_collection_guard: Final = _Override(
    config.setting("jax_array_garbage_collection_guard")
)
auto_pcast: Final = _Override(config.setting("jax_auto_pcast"), True)
jax2tf_associative_scan_reductions: Final = _Override(
    config.setting("jax2tf_associative_scan_reductions"), True
)
legacy_prng_key: Final = _Override(config.legacy_prng_key)
no_execution: Final = _Override(config.no_execution, True)
no_tracing: Final = _Override(config.no_tracing, True)
remove_size_one_mesh_axis_from_type: Final = _Override(
    config.setting("jax_remove_size_one_mesh_axis_from_type"), True
)
softmax_custom_jvp: Final = _Override(config.softmax_custom_jvp, True)
subnormals: Final = _Override(config.subnormals)
thread_guard: Final = _Override(config.setting("jax_thread_guard"), True)
explain_cache_misses: Final = _Override(config.explain_cache_misses, True)
log_compiles: Final = _Override(config.log_compiles, True)
numpy_dtype_promotion: Final = _Override(config.numpy_dtype_promotion)
numpy_rank_promotion: Final = _Override(config.numpy_rank_promotion)
threefry_partitionable: Final = _Override(config.threefry_partitionable, True)
transfer_guard_device_to_device: Final = _Override(config.transfer_guard_device_to_device)
transfer_guard_device_to_host: Final = _Override(config.transfer_guard_device_to_host)
transfer_guard_host_to_device: Final = _Override(config.transfer_guard_host_to_device)


def transfer_guard(new_val: str) -> AbstractContextManager[None]:
    """In a `with` block what happens on transfers between the host and plugins' devices.

    `allow`, `log`, `disallow` (of implicit ones), `log_explicit` or `disallow_explicit` (of all). A
    refused transfer is a JaxRuntimeError. On the CPU device nothing is transferred.

    >>> import pullback as pb
    >>> with pb.transfer_guard("disallow"):
    ...     float(pb.numpy.ones(()))
    1.0
    """
    manager: AbstractContextManager[None] = config.transfer_guard.override(new_val)
    return manager


def default_device(new_val: Any = None) -> AbstractContextManager[None]:
    """In a `with` block programs run on `new_val`, a device or the name of a platform.

    Arrays that were put on a device stay there, and what is computed of them, too.

    >>> import pullback as pb
    >>> with pb.default_device(pb.devices()[0]):
    ...     pass
    """
    check_default_device(new_val)
    manager: AbstractContextManager[None] = config.default_device.override(new_val)
    return manager


def ensure_compile_time_eval() -> AbstractContextManager[Any]:
    """In a `with` block operations on concrete values run now, even in a function being traced.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @pb.jit
    ... def f(x):
    ...     with pb.ensure_compile_time_eval():
    ...         n = int(jnp.sum(jnp.arange(4)))
    ...     return x * n
    >>> float(f(1.0))
    6.0
    """
    return eager_where_known()


def print_environment_info(return_string: bool = False) -> str | None:
    """Print (or return) versions and the machine, for reports of defects.

    >>> import pullback as pb
    >>> "numpy" in pb.print_environment_info(return_string=True)
    True
    """
    vectors = f"{native.vector_bits()}-bit vectors"
    info = {
        "pullback": __version__,
        **{name: metadata.version(name) for name in ("numpy", "scipy", "llvmlite", "ml_dtypes")},
        "python": sys.version.replace("\n", " "),
        "device info": f"{chosen_device()} on {native.host_cpu()}, {vectors}",
        "threads": pool.num_threads(),
        "platform": platform.platform(),
    }
    text = "\n".join(f"{name + ':':<14} {value}" for name, value in info.items())
    if return_string:
        return text
    print(text)
    return None
