"""Settings as context managers, and what the program runs on; public names of the top level."""

from __future__ import annotations

import functools
import platform
import sys
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any, Final

from pullback import config
from pullback.core.devices import check_device, devices
from pullback.core.trace import eager
from pullback.llvm import jit as native
from pullback.llvm import pool
from pullback.version import __version__

__all__ = [
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
    "log_compiles",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "print_environment_info",
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


check_tracer_leaks: Final = _Override(config.check_tracer_leaks, True)
checking_leaks: Final = functools.partial(check_tracer_leaks, True)
debug_infs: Final = _Override(config.debug_infs, True)
debug_key_reuse: Final = _Override(config.debug_key_reuse, True)
debug_nans: Final = _Override(config.debug_nans, True)
default_matmul_precision: Final = _Override(config.default_matmul_precision)
default_prng_impl: Final = _Override(config.default_prng_impl)
enable_checks: Final = _Override(config.enable_checks, True)
enable_custom_prng: Final = _Override(config.enable_custom_prng, True)
explain_cache_misses: Final = _Override(config.explain_cache_misses, True)
log_compiles: Final = _Override(config.log_compiles, True)
numpy_dtype_promotion: Final = _Override(config.numpy_dtype_promotion)
numpy_rank_promotion: Final = _Override(config.numpy_rank_promotion)
threefry_partitionable: Final = _Override(config.threefry_partitionable, True)
transfer_guard: Final = _Override(config.transfer_guard)
transfer_guard_device_to_device: Final = _Override(config.transfer_guard_device_to_device)
transfer_guard_device_to_host: Final = _Override(config.transfer_guard_device_to_host)
transfer_guard_host_to_device: Final = _Override(config.transfer_guard_host_to_device)


def default_device(device: Any = None) -> AbstractContextManager[None]:
    """In a `with` block new arrays go to `device`; there is one device.

    >>> import pullback as pb
    >>> with pb.default_device(pb.devices()[0]):
    ...     pass
    """
    check_device(device, "default_device")
    manager: AbstractContextManager[None] = config.default_device.override(device)
    return manager


def ensure_compile_time_eval() -> AbstractContextManager[None]:
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
    return eager()


def print_environment_info(return_string: bool = False) -> str | None:
    """Print (or return) versions and the machine, for reports of defects.

    >>> import pullback as pb
    >>> "numpy" in pb.print_environment_info(return_string=True)
    True
    """
    info = {
        "pullback": __version__,
        **{name: metadata.version(name) for name in ("numpy", "scipy", "llvmlite", "ml_dtypes")},
        "python": sys.version.replace("\n", " "),
        "device info": f"{devices()[0]} ({native.host_cpu()}, {native.vector_bits()}-bit vectors)",
        "threads": pool.num_threads(),
        "platform": platform.platform(),
    }
    text = "\n".join(f"{name + ':':<14} {value}" for name, value in info.items())
    if return_string:
        return text
    print(text)
    return None
