"""`jax._src.test_warning_util`: warnings in tests."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from pullback.dropin.shims._src.case_settings import ignore_warning

__all__ = ["ignore_warning", "raise_on_warnings", "record_warnings"]


@contextlib.contextmanager
def raise_on_warnings() -> Iterator[None]:
    """Warnings are errors in the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def record_warnings() -> Iterator[list[Any]]:
    """The warnings of the block."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
