"""Settings, tolerances and platforms for tests in the style of JAX's own."""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

import pullback
from pullback import config
from pullback.core import dtypes as core_dtypes
from pullback.dropin.shims._src.case_samplers import dtypes
from pullback.dropin.shims.version import __version_info__

__all__ = [
    "default_gradient_tolerance",
    "default_tolerance",
    "device_under_test",
    "global_config_context",
    "ignore_warning",
    "is_device_tpu",
    "jaxlib_version",
    "join_tolerance",
    "numpy_version",
    "overridden",
    "pytest_mark_if_available",
    "run_on_devices",
    "skip_on_devices",
    "strict_promotion_if_dtypes_match",
    "supported_dtypes",
    "test_device_matches",
    "thread_local_config_context",
    "thread_unsafe_test",
    "thread_unsafe_test_class",
    "tolerance",
    "with_config",
    "with_global_config",
]

# --------------------------------------------------------------------------- tolerances

_TOLERANCES: Final = {"f": {1: 1e-1, 2: 1e-3, 4: 1e-6, 8: 1e-15}, "c": {8: 1e-6, 16: 1e-15}}
_GRADIENTS: Final = {"f": {1: 1e-1, 2: 1e-2, 4: 2e-3, 8: 1e-5}, "c": {8: 1e-3, 16: 1e-5}}


def _table(by_kind: dict[str, dict[int, float]]) -> dict[Any, float]:
    names = (
        "float8_e4m3fn float8_e4m3b11fnuz float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz bfloat16 "
        "float16 float32 float64 complex64 complex128"
    )
    table = {}
    for name in names.split():
        dtype = np.dtype(getattr(core_dtypes, name, name))
        table[dtype] = by_kind[core_dtypes.kind_of(dtype)][dtype.itemsize]
    table[np.dtype(core_dtypes.bfloat16)] = 1e-2 if by_kind is _TOLERANCES else 1e-1
    return table


def default_tolerance() -> dict[Any, float]:
    """Relative and absolute tolerances by dtype."""
    exact = {np.dtype(k): 0.0 for k in ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
    return exact | _table(_TOLERANCES)


default_gradient_tolerance: Final = _table(_GRADIENTS)


def tolerance(dtype: Any, tol: Any = None) -> Any:
    """The tolerance of a dtype: `tol` itself, or the dtype's of a dict, or the default."""
    tol = {} if tol is None else tol
    if not isinstance(tol, dict):
        return tol
    given = {np.dtype(key): value for key, value in tol.items()}
    wanted = np.dtype(pullback.dtypes.canonicalize_dtype(dtype))
    return given.get(wanted, default_tolerance().get(wanted, 0.0))


def join_tolerance(x: Any, y: Any) -> Any:
    """The wider of two tolerances, dtype by dtype."""
    x, y = (default_tolerance() if t is None else t for t in (x, y))
    if not isinstance(x, dict) and not isinstance(y, dict):
        return max(x, y)
    if not isinstance(x, dict):
        x = dict.fromkeys(y, x)
    if not isinstance(y, dict):
        y = dict.fromkeys(x, y)
    return {k: max(x.get(k, 0.0), y.get(k, 0.0)) for k in x | y}


# --------------------------------------------------------------------------- the machine


def device_under_test() -> str:
    """The platform that tests run on."""
    return str(pullback.devices()[0].platform)


def supported_dtypes() -> set[Any]:
    """The dtypes that arrays may have."""
    return {np.dtype(d).type for d in dtypes.all}


def test_device_matches(device_types: Sequence[str]) -> bool:
    """Whether the platform is among `device_types`."""
    return device_under_test() in device_types


test_device_matches.__test__ = False  # type: ignore[attr-defined]


def is_device_tpu(version: int | None = None, variant: str = "") -> bool:
    """Whether the platform is a TPU."""
    return test_device_matches(["tpu"])


def numpy_version() -> tuple[int, ...]:
    """NumPy's version as numbers."""
    return tuple(int(part) for part in np.__version__.split(".")[:3] if part.isdigit())


def jaxlib_version() -> tuple[int, ...]:
    """The version of jaxlib that is stood for."""
    return tuple(__version_info__)


def _on(wanted: bool, device_types: Sequence[str], reason: str) -> Callable[[Any], Any]:
    def decorate(test: Any) -> Any:
        @functools.wraps(test)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            if test_device_matches(device_types) is not wanted:
                self.skipTest(reason or f"{test.__name__} is not run on {device_under_test()}")
            return test(self, *args, **kwargs)

        return run

    return decorate


def run_on_devices(*enabled_devices: str, skip_reason: str = "") -> Callable[[Any], Any]:
    """Run a test on these platforms alone."""
    return _on(True, enabled_devices, skip_reason)


def skip_on_devices(*disabled_devices: str, skip_reason: str = "") -> Callable[[Any], Any]:
    """Do not run a test on these platforms."""
    return _on(False, disabled_devices, skip_reason)


# --------------------------------------------------------------------------- settings


@contextlib.contextmanager
def global_config_context(**kwargs: Any) -> Iterator[None]:
    """Settings of the process for a block."""
    before = {name: config.read(name) for name in kwargs}
    try:
        for name, value in kwargs.items():
            config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            config.update(name, value)


def with_config(**kwargs: Any) -> Callable[[Any], Any]:
    """Settings for all tests of a class, or for one test."""

    def decorate(test: Any) -> Any:
        if isinstance(test, type):
            changed = test._default_thread_local_config | kwargs  # type: ignore[attr-defined]
            test._default_thread_local_config = changed  # type: ignore[attr-defined]
            return test

        @functools.wraps(test)
        def run(*args: Any, **kw: Any) -> Any:
            with overridden(kwargs):
                return test(*args, **kw)

        return run

    return decorate


def with_global_config(**kwargs: Any) -> Callable[[type[Any]], type[Any]]:
    """Settings of the process for all tests of a class."""

    def decorate(case: type[Any]) -> type[Any]:
        case._default_global_config = case._default_global_config | kwargs
        return case

    return decorate


def thread_local_config_context(**kwargs: Any) -> Any:
    """Settings of this thread for a block."""
    return overridden(kwargs)


@contextlib.contextmanager
def overridden(values: dict[str, Any]) -> Iterator[None]:
    """Settings of this thread for a block."""
    with contextlib.ExitStack() as stack:
        for name, value in values.items():
            stack.enter_context(config.setting(name).override(value))
        yield


def strict_promotion_if_dtypes_match(dtypes: Iterable[Any]) -> Any:
    """Strict promotion if all dtypes are one, else the standard."""
    strict = len({np.dtype(d) for d in dtypes}) <= 1
    return config.setting("jax_numpy_dtype_promotion").override("strict" if strict else "standard")


@contextlib.contextmanager
def ignore_warning(*, message: str = "", category: type[Warning] = Warning, **kw: Any) -> Any:
    """Without some warnings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=message, category=category, **kw)
        yield


def thread_unsafe_test(condition: bool = True) -> Callable[[Any], Any]:
    """Tests are not run in threads here."""
    return lambda test: test


thread_unsafe_test_class = thread_unsafe_test


def pytest_mark_if_available(marker: str) -> Callable[[Any], Any]:
    """A mark of pytest's, where that runs the tests."""

    def decorate(test: Any) -> Any:
        pytest = sys.modules.get("pytest")
        return test if pytest is None else getattr(pytest.mark, marker)(test)

    return decorate
