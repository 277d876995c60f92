"""`jax.experimental.compute_on`: where operations run, which is on the host in any case."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["compute_on", "compute_on2"]

_KNOWN: Final = ("device_host", "device", "tpu_sparsecore")


def _check(compute_type: str) -> None:
    if compute_type not in _KNOWN and not compute_type.startswith("gpu_stream:"):
        raise ValueError(
            f"Invalid compute type {compute_type}: it is one of {_KNOWN} or 'gpu_stream:<number>'"
        )


@contextlib.contextmanager
def compute_on(compute_type: str) -> Iterator[None]:
    """A context, or a decorator, in which operations run where they run anyway.

    >>> with compute_on("device_host"):
    ...     abs(-2)
    2
    """
    _check(compute_type)
    yield


def compute_on2(
    f: Callable[..., Any] | None = None,
    *,
    compute_type: str,
    out_memory_spaces: Any,
    compiler_options: Any = None,
) -> Any:
    """`f` itself, or without it a decorator that gives its function back.

    >>> compute_on2(abs, compute_type="device_host", out_memory_spaces=None)(-2)
    2
    """
    _check(compute_type)
    return f if f is not None else (lambda function: function)
