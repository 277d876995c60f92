"""Counts of what a block makes the system do, for tests in the style of JAX's own.

Tracing, lowering and compiling are reported by `pullback.monitoring`.  What JAX counts besides are
steps of its own runtime, which have no counterpart: tests that count those are skipped.
"""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from pullback import monitoring

__all__ = [
    "assert_num_jit_and_pmap_compilations",
    "collect_lowered_jaxprs",
    "count_aot_jit_cpp_cache_miss",
    "count_compilation_after_persistent_cache_miss",
    "count_device_put",
    "count_device_put_fast_path_hit",
    "count_internal_device_puts",
    "count_jax_array_shard_arg_calls",
    "count_jit_and_pmap_lowerings",
    "count_jit_compilation_cache_miss",
    "count_jit_tracing_cache_miss",
    "count_pjit_cpp_cache_miss",
    "count_primitive_compiles",
    "count_subjaxpr_to_hlo_conversion",
]


@contextlib.contextmanager
def _counting(*events: str) -> Iterator[Callable[[], int]]:
    """How often something was reported in the block."""
    seen: list[str] = []

    def listen(event: str, *_: Any, **__: Any) -> None:
        if event in events:
            seen.append(event)

    monitoring.register_event_listener(listen)
    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield lambda: len(seen)
    finally:
        monitoring.unregister_event_listener(listen)
        monitoring.unregister_event_duration_listener(listen)


def count_jit_tracing_cache_miss() -> Any:
    """Count the functions that are traced."""
    return _counting(monitoring.TRACE)


def count_jit_and_pmap_lowerings() -> Any:
    """Count the programs that are lowered, or found on the disk."""
    return _counting(monitoring.LOWER, monitoring.CACHE_HIT)


def count_compilation_after_persistent_cache_miss() -> Any:
    """Count the programs that are compiled and were not found on the disk."""
    return _counting(monitoring.COMPILE)


count_jit_compilation_cache_miss = count_jit_and_pmap_lowerings
count_primitive_compiles = count_jit_and_pmap_lowerings
count_pjit_cpp_cache_miss = count_jit_tracing_cache_miss


@contextlib.contextmanager
def assert_num_jit_and_pmap_compilations(times: int) -> Iterator[None]:
    """Raise AssertionError unless so many programs are lowered in the block."""
    with count_jit_and_pmap_lowerings() as count:
        yield
    if count() != times:
        raise AssertionError(f"expected exactly {times} compilations, got {count()}")


def _uncounted(what: str) -> Callable[..., NoReturn]:
    def skip(*_: Any, **__: Any) -> NoReturn:
        raise unittest.SkipTest(f"pullback has no {what} to count")

    return skip


count_device_put = _uncounted("steps of device_put")
count_device_put_fast_path_hit = _uncounted("fast path of device_put")
count_internal_device_puts = _uncounted("steps of device_put")
count_jax_array_shard_arg_calls = _uncounted("sharding of arguments")
count_aot_jit_cpp_cache_miss = _uncounted("cache of calls of compiled programs")
count_subjaxpr_to_hlo_conversion = _uncounted("functions of MLIR for inner jaxprs")
collect_lowered_jaxprs = _uncounted("modules of MLIR")
