"""Configuration: process-wide values, thread-local overrides, environment variables.

A setting is an object that is read by calling it (`config.x64()`), changed for the process by
`config.update(name, value)`, and overridden for a block by `with setting(value):`.  While any
override is in force `ACTIVE` is not empty, which keeps the native call path out of the way: a
compiled program belongs to one configuration (`fingerprint`).
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from pullback.accepted_flags import ACCEPTED

ACTIVE: Final[list[Any]] = []
"""Not empty while a thread traces or overrides a setting; native calls look at its size.

Entries of several threads come and go in any order: each removes its own.
"""
_LOOKED_AT: Final = "looked at"


LOOKERS: Final[list[Any]] = []
"""Those for whom `look_at_calls` keeps `ACTIVE` from being empty."""
watchers_of_calls: Final[list[Callable[[], None]]] = []
"""Called when `look_at_calls` begins or ends for somebody."""


def look_at_calls(who: object, wanted: bool) -> None:
    """Keep `ACTIVE` from being empty as long as `who` wants to see calls, by its identity."""
    there = any(x is who for x in LOOKERS)
    if wanted == there:
        return
    if wanted:
        LOOKERS.append(who)
        ACTIVE.append(_LOOKED_AT)
    else:
        LOOKERS[:] = [x for x in LOOKERS if x is not who]
        ACTIVE.remove(_LOOKED_AT)
    for watcher in watchers_of_calls:
        watcher()


def is_plain() -> bool:
    """Whether nobody traces or overrides a setting, in any thread."""
    return len(ACTIVE) == len(LOOKERS)


class _Overrides(threading.local):
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}


_overrides = _Overrides()
_settings: dict[str, Setting] = {}
_of_process: list[tuple[Any, ...]] = []
"""The fingerprint where nothing is overridden, until a setting changes."""
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
        self.value = value if env is None else check(_number_like(value, env))
        self.watchers: list[Callable[[], None]] = []
        """Called after each change, of the process or of a thread."""
        _settings[name] = self
        _of_process.clear()

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
            ACTIVE.remove(self)  # other threads' entries may be behind it
            _overrides.values = before
            self.changed()


def _number_like(default: Any, text: str) -> Any:
    """The text of an environment variable, as a number where the default is one."""
    kind = type(default)
    return kind(text) if kind in (int, float) else text


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
            raise ValueError(
                f"new enum value must be in {list(allowed)}, got {value} of type {type(value)}."
            )
        return value

    return check


def _warn_or_error(value: Any) -> str:
    if value == "allow":
        raise ValueError(
            "jax_explicit_x64_dtypes='allow' is not supported: 64-bit types need jax_enable_x64"
        )
    return str(_one_of("warn", "error")(value))


def _one_cpu(value: Any) -> int:
    if int(value) not in (-1, 1):
        raise ValueError(f"jax_num_cpu_devices: there is one CPU device, not {value}")
    return int(value)


def _known_platform(value: Any) -> str:
    if value not in ("", "cpu"):
        raise ValueError(f"the platform {value!r} is not supported; there is 'cpu'")
    return str(value)


_LEVELS: Final = ("NOTSET", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _log_level(value: Any) -> Any:
    return None if value is None else _one_of(*_LEVELS)(str(value).upper())


def _byte_count(value: Any) -> int:
    if int(value) < 0:
        raise ValueError(f"a number of bytes is at least 0, got {value!r}")
    return int(value)


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
    "jax_default_prng_impl",
    "threefry2x32",
    _one_of("threefry2x32", "rbg", "unsafe_rbg"),
    "Generator of new keys.",
    True,
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
    "jax_default_device",
    None,
    _anything,
    "Where programs run whose arguments were not put anywhere: a device, or a platform's name.",
    False,
)
platforms: Final = Setting(
    "jax_platforms", None, _optional_string, "Backends to use; there is the CPU.", False
)
_GUARDS: Final = (None, "allow", "log", "disallow", "log_explicit", "disallow_explicit")
transfer_guard: Final = Setting(
    "jax_transfer_guard",
    None,
    _one_of(*_GUARDS),
    "What happens on transfers between the host and plugins' devices, and between these.",
    False,
)
transfer_guard_host_to_device: Final = Setting(
    "jax_transfer_guard_host_to_device", None, _one_of(*_GUARDS), "As transfer_guard.", False
)
transfer_guard_device_to_host: Final = Setting(
    "jax_transfer_guard_device_to_host", None, _one_of(*_GUARDS), "As transfer_guard.", False
)
transfer_guard_device_to_device: Final = Setting(
    "jax_transfer_guard_device_to_device", None, _one_of(*_GUARDS), "As transfer_guard.", False
)
enable_checks: Final = Setting(
    "jax_enable_checks", False, _boolean, "Check our own invariants more often.", False
)
debug_key_reuse: Final = Setting(
    "jax_debug_key_reuse",
    False,
    _boolean,
    "A key that is consumed twice is a KeyReuseError.",
    False,
)
enable_custom_prng: Final = Setting(
    "jax_enable_custom_prng", False, _boolean, "`random.PRNGKey` makes keys of the new style.", True
)
legacy_prng_key: Final = Setting(
    "jax_legacy_prng_key",
    "allow",
    _one_of("allow", "warn", "error"),
    "What samplers do with keys of the old style.",
    True,
)
random_seed_offset: Final = Setting(
    "jax_random_seed_offset", 0, int, "Added to the seed of each key that is made.", True
)
high_dynamic_range_gumbel: Final = Setting(
    "jax_high_dynamic_range_gumbel",
    False,
    _boolean,
    'Gumbel numbers, and choices made of them, use `mode="high"` unless told otherwise.',
    True,
)
softmax_custom_jvp: Final = Setting(
    "jax_softmax_custom_jvp",
    False,
    _boolean,
    "softmax has a derivative of its own, which keeps its result alone.",
    True,
)
allow_f16_reductions: Final = Setting(
    "jax_allow_f16_reductions",
    True,
    _boolean,
    "Otherwise `reduce_sum` of float16 and bfloat16 is a TypeError.",
    True,
)
no_tracing: Final = Setting(
    "jax_no_tracing", False, _boolean, "Tracing a function for `jit` is a RuntimeError.", False
)
no_execution: Final = Setting(
    "jax_no_execution", False, _boolean, "Running anything is a RuntimeError.", False
)
explicit_x64_dtypes: Final = Setting(
    "jax_explicit_x64_dtypes",
    "warn",
    _warn_or_error,
    "What to do when a 64-bit type is asked for by name and x64 is off.",
    True,
)
check_static_indices: Final = Setting(
    "jax_check_static_indices",
    False,
    _boolean,
    "An index known when tracing that is out of bounds is an IndexError.",
    True,
)
platform: Final = Setting(
    "pullback_platform",
    "",
    str,
    "Where jitted functions run: '' for our own compiler and the CPU, or the platform of a PJRT "
    "plugin, such as cuda, rocm, tpu or xla_cpu.",
    True,
)
executables_bytes: Final = Setting(
    "pullback_executables_bytes",
    2 << 30,
    _byte_count,
    "How much code, constants and scratch memory of compiled programs is kept for further calls.",
    False,
)
check_indices: Final = Setting(
    "pullback_check_indices",
    False,
    _boolean,
    "An index out of bounds is an IndexError, eagerly and in compiled programs.",
    True,
)
subnormals: Final = Setting(
    "pullback_subnormals",
    "flush_in_loops",
    _one_of("keep", "flush_in_loops", "flush"),
    "Which compiled programs take numbers below the smallest normal one for zero: none (`keep`), "
    "those with loops (`flush_in_loops`), all, as XLA's do (`flush`).",
    True,
)
disable_bwd_checks: Final = Setting(
    "jax_disable_bwd_checks",
    False,
    _boolean,
    "Do not check the types of what a custom_vjp's backward rule returns.",
    True,
)
captured_constants_warn_bytes: Final = Setting(
    "jax_captured_constants_warn_bytes",
    2_000_000_000,
    int,
    "Warn of a jitted function that captures arrays of more bytes; -1 for never.",
    False,
)
captured_constants_report_frames: Final = Setting(
    "jax_captured_constants_report_frames",
    0,
    int,
    "How many of these arrays the warning names; -1 for all.",
    False,
)
num_cpu_devices: Final = Setting(
    "jax_num_cpu_devices", -1, _one_cpu, "How many devices the CPU is; there is one.", False
)
platform_name: Final = Setting(
    "jax_platform_name", "", _known_platform, "Older than jax_platforms; there is the CPU.", False
)
logging_level: Final = Setting(
    "jax_logging_level",
    "NOTSET",
    _log_level,
    "The level of the logger `pullback`, by name; NOTSET leaves it alone.",
    False,
)
debug_log_modules: Final = Setting(
    "jax_debug_log_modules",
    "",
    str,
    "Modules, separated by commas, whose loggers write at level DEBUG to the standard error.",
    False,
)
dump_ir_to: Final = Setting(
    "jax_dump_ir_to",
    "",
    str,
    "A directory for the jaxpr, the loops and the LLVM text of each program compiled.",
    False,
)
dump_ir_modes: Final = Setting(
    "jax_dump_ir_modes",
    "stablehlo",
    str,
    "Accepted; dump_ir_to writes every form there is.",
    False,
)
compilation_cache_dir: Final = Setting(
    "jax_compilation_cache_dir",
    None,
    _optional_string,
    "Directory of the disk cache; by default that of PULLBACK_CACHE_DIR.",
    False,
)
enable_compilation_cache: Final = Setting(
    "jax_enable_compilation_cache", True, _boolean, "Use the disk cache.", False
)
compilation_cache_max_size: Final = Setting(
    "jax_compilation_cache_max_size",
    -1,
    int,
    "Bytes that the disk cache may hold; -1 for PULLBACK_CACHE_SIZE, 0 for no cache.",
    False,
)
persistent_cache_min_compile_time_secs: Final = Setting(
    "jax_persistent_cache_min_compile_time_secs",
    0.0,
    float,
    "Programs that compiled in less time are not kept in the disk cache.",
    False,
)
persistent_cache_min_entry_size_bytes: Final = Setting(
    "jax_persistent_cache_min_entry_size_bytes",
    0,
    int,
    "Programs with less code are not kept in the disk cache.",
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


for _name, (_value, _reason) in ACCEPTED.items():
    Setting(_name, _value, _anything, f"Accepted without effect. {_reason}", False)


class UserContext:
    """A value of the user's that traced functions may depend on; see `make_user_context`."""

    def __init__(self, default_value: Any) -> None:
        name = f"user_context_{sum(n.startswith('user_context') for n in _settings)}"
        self._setting = Setting(name, default_value, _anything, "A value of the user's.", True)

    @property
    def value(self) -> Any:
        """The value in force in this thread."""
        return self._setting()

    def get_global(self) -> Any:
        """The value of the process."""
        return self._setting.value

    def set_global(self, value: Any) -> None:
        """Change the value of the process."""
        update(self._setting.name, value)

    def __call__(self, value: Any) -> AbstractContextManager[None]:
        """Use `value` in this thread for a `with` block."""
        return self._setting.override(value)


def make_user_context(default_value: Any = None) -> UserContext:
    """A value that is set for a block or for the process, and that jitted functions depend on.

    A function that was traced under another value is traced again.

    >>> import pullback as pb
    >>> scale = pb.make_user_context(2.0)
    >>> f = pb.jit(lambda x: x * scale.value)
    >>> with scale(5.0):
    ...     inside = float(f(1.0))
    >>> inside, float(f(1.0))
    (5.0, 2.0)
    """
    return UserContext(default_value)


def update(name: str, value: Any) -> None:
    """Set a value for the whole process.

    >>> update("jax_enable_x64", False)
    """
    changed = setting(name)
    changed.value = changed.check(value)
    _of_process.clear()
    changed.changed()
    for listener in _listeners:
        listener()


def setting(name: str) -> Setting:
    """A setting by its name; raises AttributeError if there is none."""
    if name not in _settings:
        raise AttributeError(
            f"Unrecognized config option: {name}. There are {', '.join(sorted(_settings))}"
        )
    return _settings[name]


def read(name: str) -> Any:
    """The value of a setting by name."""
    return setting(name)()


def on_update(listener: Callable[[], None]) -> None:
    """Call `listener` after each process-wide change."""
    _listeners.append(listener)


def fingerprint() -> tuple[Any, ...]:
    """What a traced program depends on besides its arguments."""
    if _overrides.values:
        return tuple(s() for s in _settings.values() if s.in_fingerprint)
    if not _of_process:
        _of_process.append(tuple(s.value for s in _settings.values() if s.in_fingerprint))
    return _of_process[0]


def fingerprint_names() -> list[str]:
    """The names of the settings in `fingerprint`."""
    return [s.name for s in _settings.values() if s.in_fingerprint]


def parse_flags_with_absl() -> None:
    """Take settings from the command line: `--jax_enable_x64`, `--jax_platforms=cpu`.

    Flags that name no setting are left to whoever else reads the command line.
    """
    for argument in sys.argv[1:]:
        if argument == "--":
            break
        name, given, text = argument.removeprefix("-").removeprefix("-").partition("=")
        negated = not given and name.startswith("no") and name.removeprefix("no") in _settings
        name = name.removeprefix("no") if negated else name
        if argument.startswith("-") and name in _settings:
            update(name, _number_like(setting(name).value, text) if given else not negated)


def config_with_absl() -> None:
    """Define a flag of `absl` for each setting, which sets it when the program parses its flags.

    Raises ImportError without the library `absl`.
    """
    flags = importlib.import_module("absl.flags")
    app = importlib.import_module("absl.app")
    mine = [name for name in _settings if name not in flags.FLAGS]
    for name in mine:
        kind = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
        define = kind.get(type(_settings[name].value), flags.DEFINE_string)
        define(name, _settings[name].value, _settings[name].doc)

    def take_over() -> None:
        for name in mine:
            if flags.FLAGS[name].present:
                update(name, getattr(flags.FLAGS, name))

    app.call_after_init(take_over)


def __getattr__(name: str) -> Any:
    """`config.jax_enable_x64`: the value of a setting as an attribute; `config.values`: all."""
    if name == "values":
        return {n: s() for n, s in _settings.items()}
    if name == "x64_enabled":
        return x64()
    return setting(name)()
