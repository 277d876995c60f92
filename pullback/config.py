"""Configuration: process-wide values, thread-local overrides, environment variables.

A setting is an object that is read by calling it (`config.x64()`), changed for the process by
`config.update(name, value)`, and overridden for a block by `with setting(value):`.  While any
override is in force `ACTIVE` is not empty, which keeps the native call path out of the way: a
compiled program belongs to one configuration (`fingerprint`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

ACTIVE: Final[list[Any]] = []
"""Not empty while a thread traces or overrides a setting; native calls look at its size."""


class _Overrides(threading.local):
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


_overrides = _Overrides()
_settings: dict[str, Setting] = {}
_listeners: list[Callable[[], None]] = []


class Setting:
    """One configuration value: call it without arguments to read it, with one to override it."""

    __slots__ = ("check", "doc", "in_fingerprint", "name", "value")

    def __init__(
        self, name: str, value: Any, check: Callable[[Any], Any], doc: str, in_fingerprint: bool
    ) -> None:
        self.name, self.check, self.doc, self.in_fingerprint = name, check, doc, in_fingerprint
        env = os.environ.get(name.replace("jax_", "pullback_", 1).upper(), None)
        env = os.environ.get(name.upper()) if env is None else env
        self.value = value if env is None else check(env)
        _settings[name] = self

    def __call__(self) -> Any:
        """The value in force in this thread."""
        values = _overrides.values
        return values[self.name] if values and self.name in values else self.value

    @contextmanager
    def override(self, value: Any) -> Iterator[None]:
        """Use `value` in this thread for the duration of a `with` block."""
        values, name = _overrides.values, self.name
        before = dict(values)
        values[name] = self.check(value)
        ACTIVE.append(self)
        try:
            yield
        finally:
            ACTIVE.pop()
            _overrides.values = before


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in ("1", "true", "yes", "on"):
            return True
        if value.lower() in ("0", "false", "no", "off", ""):
            return False
        raise ValueError(f"a boolean setting takes 0/1/true/false, not {value!r}")
    return bool(value)


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError(f"expected one of {allowed}, got {value!r}")
        return value

    return check


def _optional_string(value: Any) -> Any:
    return None if value is None else str(value)


x64: Final = Setting(
    "jax_enable_x64", False, _boolean, "64-bit types by default; otherwise 32-bit ones.", True
)
numpy_dtype_promotion: Final = Setting(
    "jax_numpy_dtype_promotion",
    "standard",
    _one_of("standard", "strict"),
    "`strict` refuses implicit promotion between different dtypes.",
    True,
)
numpy_rank_promotion: Final = Setting(
    "jax_numpy_rank_promotion",
    "allow",
    _one_of("allow", "warn", "raise"),
    "What to do when operands of different rank are broadcast.",
    True,
)
default_matmul_precision: Final = Setting(
    "jax_default_matmul_precision", None, _optional_string, "Precision of matmul and conv.", True
)
disable_jit: Final = Setting(
    "jax_disable_jit", False, _boolean, "Run jitted functions operation by operation.", False
)
default_prng_impl: Final = Setting(
    "jax_default_prng_impl", "threefry2x32", _one_of("threefry2x32"), "Generator of new keys.", True
)
debug_nans: Final = Setting("jax_debug_nans", False, _boolean, "Raise at the first NaN.", True)
check_tracer_leaks: Final = Setting(
    "jax_check_tracer_leaks",
    False,
    _boolean,
    "Raise when a traced value outlives its trace.",
    False,
)
traceback_filtering: Final = Setting(
    "jax_traceback_filtering",
    "auto",
    _one_of("auto", "off", "tracebackhide", "remove_frames", "quiet_remove_frames"),
    "How our own frames are hidden from tracebacks.",
    False,
)
threefry_partitionable: Final = Setting(
    "jax_threefry_partitionable",
    True,
    _boolean,
    "Bits of an element depend on its index alone.",
    True,
)


def update(name: str, value: Any) -> None:
    """Set a value for the whole process.

    >>> update("jax_enable_x64", False)
    """
    if name not in _settings:
        raise AttributeError(f"there is no setting {name!r}; known: {', '.join(sorted(_settings))}")
    setting = _settings[name]
    setting.value = setting.check(value)
    for listener in _listeners:
        listener()


def read(name: str) -> Any:
    """The value of a setting by name."""
    if name not in _settings:
        raise AttributeError(f"there is no setting {name!r}; known: {', '.join(sorted(_settings))}")
    return _settings[name]()


def values() -> dict[str, Any]:
    """All settings with the values in force."""
    return {name: setting() for name, setting in _settings.items()}


def on_update(listener: Callable[[], None]) -> None:
    """Call `listener` after each process-wide change."""
    _listeners.append(listener)


def fingerprint() -> tuple[Any, ...]:
    """What a traced program depends on besides its arguments."""
    return tuple(s() for s in _settings.values() if s.in_fingerprint)


def __getattr__(name: str) -> Any:
    """`config.jax_enable_x64`: the value of a setting as an attribute."""
    setting = _settings.get(name)
    if setting is None:
        raise AttributeError(f"there is no setting {name!r}; known: {', '.join(sorted(_settings))}")
    return setting()
