"""The namespace `jax.experimental.checkify`: run-time checks as values."""

from __future__ import annotations

from typing import Final, TypeAlias

from pullback.control.checks import (
    DivisionByZeroError,
    Error,
    FailedCheckError,
    JaxException,
    JaxRuntimeError,
    NaNError,
    OOBError,
    check,
    check_error,
    debug_check,
    init_error,
)
from pullback.control.functionalize import checkify

__all__ = [
    "Error",
    "ErrorCategory",
    "JaxRuntimeError",
    "all_checks",
    "automatic_checks",
    "check",
    "check_error",
    "checkify",
    "debug_check",
    "div_checks",
    "float_checks",
    "index_checks",
    "init_error",
    "nan_checks",
    "user_checks",
]

ErrorCategory: TypeAlias = type[JaxException]

user_checks: Final = frozenset({FailedCheckError})
nan_checks: Final = frozenset({NaNError})
index_checks: Final = frozenset({OOBError})
div_checks: Final = frozenset({DivisionByZeroError})
float_checks: Final = nan_checks | div_checks
automatic_checks: Final = float_checks | index_checks
all_checks: Final = automatic_checks | user_checks
