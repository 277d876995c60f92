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

    __slots__ = ("check", "doc", "in_fingerprint", "name", "value", "watchers")

    def __init__(
        self, name: str, value: Any, check: Callable[[Any], Any], doc: str, in_fingerprint: bool
    ) -> None:
        self.name, self.check, self.doc, self.in_fingerprint = name, check, doc, in_fingerprint
        env = os.environ.get(name.replace("jax_", "pullback_", 1).upper(), None)
        env = os.environ.get(name.upper()) if env is None else env
        self.value = value if env is None else check(env)
        self.watchers: list[Callable[[], None]] = []
        """Called after each change, of the process or of a thread."""
        _settings[name] = self

    def changed(self) -> None:
        """Tell the watchers."""
        for watcher in self.watchers:
            watcher()

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
            self.changed()
            yield
        finally:
            ACTIVE.pop()
            _overrides.values = before
            self.changed()


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


def _anything(value: Any) -> Any:
    return value


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
debug_infs: Final = Setting("jax_debug_infs", False, _boolean, "Raise at the first infinity.", True)
explain_cache_misses: Final = Setting(
    "jax_explain_cache_misses", False, _boolean, "Log why a function is traced again.", False
)
log_compiles: Final = Setting(
    "jax_log_compiles", False, _boolean, "Log each new program of a jitted function.", False
)
default_device: Final = Setting(
    "jax_default_device", None, _anything, "Where new arrays go; there is one device.", False
)
platforms: Final = Setting(
    "jax_platforms", None, _optional_string, "Backends to use; there is the CPU.", False
)
_GUARDS: Final = ("allow", "log", "disallow", "log_explicit", "disallow_explicit")
transfer_guard: Final = Setting(
    "jax_transfer_guard",
    "allow",
    _one_of(*_GUARDS),
    "Transfers between host and devices; there are none.",
    False,
)
transfer_guard_host_to_device: Final = Setting(
    "jax_transfer_guard_host_to_device", "allow", _one_of(*_GUARDS), "As transfer_guard.", False
)
transfer_guard_device_to_host: Final = Setting(
    "jax_transfer_guard_device_to_host", "allow", _one_of(*_GUARDS), "As transfer_guard.", False
)
transfer_guard_device_to_device: Final = Setting(
    "jax_transfer_guard_device_to_device", "allow", _one_of(*_GUARDS), "As transfer_guard.", False
)
enable_checks: Final = Setting(
    "jax_enable_checks", False, _boolean, "Check our own invariants more often.", False
)
debug_key_reuse: Final = Setting(
    "jax_debug_key_reuse", False, _boolean, "Accepted; keys are not tracked.", False
)
enable_custom_prng: Final = Setting(
    "jax_enable_custom_prng", False, _boolean, "Accepted; typed keys always work.", False
)
compilation_cache_dir: Final = Setting(
    "jax_compilation_cache_dir",
    None,
    _optional_string,
    "Accepted; the directory is set by PULLBACK_CACHE_DIR.",
    False,
)
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
    setting.changed()
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


def fingerprint_names() -> list[str]:
    """The names of the settings in `fingerprint`."""
    return [s.name for s in _settings.values() if s.in_fingerprint]


def __getattr__(name: str) -> Any:
    """`config.jax_enable_x64`: the value of a setting as an attribute."""
    setting = _settings.get(name)
    if setting is None:
        raise AttributeError(f"there is no setting {name!r}; known: {', '.join(sorted(_settings))}")
    return setting()
