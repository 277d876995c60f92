"""Smaller helpers of `jax._src.test_util`: checks of values and jaxprs, devices, the process."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import sys
import sysconfig
import unittest
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Final, final

import numpy as np

import pullback
from pullback import config, monitoring, tree
from pullback.core import dtypes
from pullback.core.meshes import AxisType, Mesh
from pullback.dropin.shims._src.case_settings import tolerance
from pullback.dropin.shims.extend.core import subjaxprs

__all__ = [
    "NUM_GENERATED_CASES",
    "SKIP_SLOW_TESTS",
    "TEST_NUM_THREADS",
    "TEST_WITH_PERSISTENT_COMPILATION_CACHE",
    "MeshSpec",
    "ToleranceDict",
    "assert_dot_precision",
    "assert_dot_preferred_element_type",
    "capture_stderr",
    "capture_stdout",
    "check_close",
    "check_eq",
    "check_raises",
    "check_raises_regexp",
    "complex_plane_sample",
    "create_mesh",
    "cuda_versions",
    "device_kind_match",
    "device_supports_buffer_donation",
    "fwd_bwd_jaxprs",
    "get_tpu_version",
    "is_asan",
    "is_cloud_tpu",
    "is_cloud_tpu_at_least",
    "is_cuda_compute_capability_at_least",
    "is_cuda_compute_capability_equal",
    "is_cuda_version_at_least",
    "is_device_cuda",
    "is_device_rocm",
    "is_device_tpu_at_least",
    "is_gil_disabled",
    "is_msan",
    "is_optimized_build",
    "is_running_under_pytest",
    "is_sanitized",
    "is_test_rbe",
    "is_tsan",
    "is_valid_shape",
    "iter_eqns",
    "num_float_bits",
    "parse_version",
    "pattern_search",
    "pjrt_c_api_version_at_least",
    "rand_like",
    "register_event_duration_listener",
    "request_cpu_devices",
    "running_in_cloud_tpu_vm",
    "runtime_environment",
    "sanitize_test_name",
    "set_env",
    "skip_on_flag",
    "skip_under_pytest",
    "stablehlo_version_at_least",
    "to_default_dtype",
    "with_explicit_mesh",
    "with_jax_dtype_defaults",
    "with_mesh",
    "with_mesh_from_kwargs",
]

ToleranceDict = dict[Any, float]
MeshSpec = list[tuple[str, int]]
_finfo: Final[Any] = dtypes.finfo


@final
class Flag:
    """A choice of the environment, as an object with a `value`."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _is_set(name: str) -> bool:
    return os.environ.get(name, "0").lower() in ("1", "true", "yes")


NUM_GENERATED_CASES: Final = Flag(int(os.environ.get("JAX_NUM_GENERATED_CASES", "10")))
SKIP_SLOW_TESTS: Final = Flag(_is_set("JAX_SKIP_SLOW_TESTS"))
TEST_NUM_THREADS: Final = Flag(0)
TEST_WITH_PERSISTENT_COMPILATION_CACHE: Final = Flag(
    _is_set("JAX_TEST_WITH_PERSISTENT_COMPILATION_CACHE")
)


# --------------------------------------------------------------------------- checks of values


def check_eq(xs: Any, ys: Any, err_msg: str = "") -> None:
    """Raise AssertionError unless two pytrees of arrays hold equal elements."""
    tree.map(lambda x, y: np.testing.assert_array_equal(x, y, err_msg=err_msg), xs, ys)


def check_close(xs: Any, ys: Any, atol: Any = None, rtol: Any = None, err_msg: str = "") -> None:
    """Raise AssertionError unless two pytrees are close, by default as close as dtypes allow."""

    def check(x: Any, y: Any) -> None:
        x, y = np.asarray(x), np.asarray(y)
        if x.dtype == dtypes.float0 or y.dtype == dtypes.float0:
            assert x.dtype == y.dtype, f"{x.dtype} != {y.dtype}"
            return
        relative, absolute = (
            max(tolerance(x.dtype, tol), tolerance(y.dtype, tol)) for tol in (rtol, atol)
        )
        x, y = (v.astype(np.float32) if v.dtype.itemsize < 4 else v for v in (x, y))
        np.testing.assert_allclose(x, y, relative, absolute, err_msg=err_msg)

    tree.map(check, xs, ys)


def _raised(thunk: Callable[[], Any], err_type: type[BaseException]) -> str:
    try:
        thunk()
    except err_type as error:
        return str(error)
    raise AssertionError(f"{err_type.__name__} was not raised")


def check_raises(thunk: Callable[[], Any], err_type: type[BaseException], msg: str) -> None:
    """Raise AssertionError unless an error is raised whose text begins with `msg`."""
    text = _raised(thunk, err_type)
    assert text.startswith(msg), f"\n{text}\n\n{msg}\n"


def check_raises_regexp(
    thunk: Callable[[], Any], err_type: type[BaseException], pattern: str
) -> None:
    """Raise AssertionError unless an error is raised whose text begins as `pattern` says."""
    text = _raised(thunk, err_type)
    assert re.match(pattern, text), f"\n{text}\n\n{pattern}\n"


def rand_like(rng: np.random.RandomState, x: Any) -> Any:
    """Normal numbers of the shape and dtype of `x`."""
    x = np.asarray(x) if isinstance(x, (bool, int, float, complex)) else x
    values = rng.standard_normal(np.shape(x))
    if dtypes.issubdtype(x.dtype, np.complexfloating):
        values = values + 1j * rng.standard_normal(np.shape(x))
    return np.asarray(values, x.dtype)


def complex_plane_sample(dtype: Any, size_re: int = 10, size_im: int | None = None) -> Any:
    """A grid over the complex plane: infinities, extremes, zero, and powers on both axes.

    >>> complex_plane_sample(np.complex64, 0).shape
    (3, 3)
    """
    real = np.finfo(dtype).dtype
    size_im = size_re if size_im is None else size_im
    rows, columns = _axis_sample(real, size_im), _axis_sample(real, size_re)
    grid = np.empty((rows.size, columns.size), dtype)
    grid.real, grid.imag = columns[None, :], rows[:, None]
    return grid


def _axis_sample(dtype: Any, size: int) -> Any:
    """`3 + 2 * size` numbers from one infinity to the other, symmetric around zero."""
    if size == 0:
        return np.array([-np.inf, 0, np.inf], dtype)
    info = np.finfo(dtype)
    exponents = np.linspace(np.log2(info.tiny), np.log2(info.max), size)
    positive = [info.tiny, *(2.0 ** np.round(exponents[1:-1])), info.max][-size:]
    half = np.array([*positive, np.inf]).astype(dtype)
    return np.concatenate([-half[::-1], np.zeros(1, dtype), half])


def is_valid_shape(shape: Any, dtype: Any) -> bool:
    """Whether arrays of this shape and dtype can be made."""
    from_scalar = not isinstance(shape, (tuple, list))
    return not (from_scalar and np.dtype(dtype).kind not in "biufcV")


def num_float_bits(dtype: Any) -> int:
    """The bits of a real number of a dtype.

    >>> num_float_bits(np.complex64)
    32
    """
    return int(_finfo(dtypes.canonicalize_dtype(dtype)).bits)


_DEFAULTS: Final = {"i": int, "u": np.uint64, "f": float, "c": complex}


def to_default_dtype(arr: Any) -> Any:
    """A NumPy array in the default dtype of its kind.

    >>> to_default_dtype(np.arange(3)).dtype
    dtype('int32')
    """
    array = np.asarray(arr)
    default = _DEFAULTS.get(dtypes.kind_of(array.dtype))
    return array if default is None else array.astype(dtypes.canonicalize_dtype(default))


def with_jax_dtype_defaults(
    func: Callable[..., Any], use_defaults: Any = True
) -> Callable[..., Any]:
    """A function of NumPy's whose results have default dtypes, where `use_defaults` says so."""

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        if isinstance(use_defaults, bool):
            return tree.map(to_default_dtype, out) if use_defaults else out
        return tree.map(lambda x, use: to_default_dtype(x) if use else x, out, use_defaults)

    return wrapped


# --------------------------------------------------------------------------- checks of programs


def iter_eqns(jaxpr: Any) -> Iterator[Any]:
    """All equations of a jaxpr, then those of the jaxprs that they hold."""
    yield from jaxpr.eqns
    for inner in subjaxprs(jaxpr):
        yield from iter_eqns(inner)


def fwd_bwd_jaxprs(f: Callable[..., Any], *example_args: Any) -> tuple[Any, Any]:
    """The program that computes results and residuals, and the one of the cotangents."""
    forward, shapes = pullback.make_jaxpr(lambda *args: pullback.vjp(f, *args), return_shape=True)(
        *example_args
    )
    out, pull = shapes
    return forward, pullback.make_jaxpr(lambda pull, ct: pull(ct))(pull, out)


def _products(fun: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    jaxpr = pullback.make_jaxpr(functools.partial(fun, **kwargs))(*args)
    return [e for e in iter_eqns(jaxpr.jaxpr) if e.primitive.name == "dot_general"]


def assert_dot_precision(expected_precision: Any, fun: Callable[..., Any], *args: Any) -> None:
    """Raise AssertionError unless every product of a program has this precision."""
    pair = expected_precision
    if pair is not None and not isinstance(pair, tuple):
        pair = (pair, pair)
    for found in (e.params["precision"] for e in _products(fun, args, {})):
        assert found == pair, f"Unexpected precision: {expected_precision} != {found}"


def assert_dot_preferred_element_type(
    expected: Any, fun: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Raise AssertionError unless the products of a program have this element type only."""
    found = {e.params["preferred_element_type"] for e in _products(fun, args, kwargs)}
    named = ", ".join(sorted(map(str, found)))
    assert found == {expected}, f"Unexpected preferred_element_type: {expected} != {named}"


# --------------------------------------------------------------------------- devices and meshes


def create_mesh(
    mesh_shape: Sequence[int], axis_names: Any, iota_order: bool = False, axis_types: Any = None
) -> Mesh:
    """A mesh over the devices; raises SkipTest if there are too few."""
    size, devices = int(np.prod(mesh_shape)), pullback.devices()
    if len(devices) < size:
        raise unittest.SkipTest(f"Test requires {size} global devices and found {len(devices)}.")
    return Mesh(np.array(devices[:size]).reshape(mesh_shape), axis_names, axis_types=axis_types)


def with_mesh_from_kwargs(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a test: it runs with the mesh that its parameter `mesh` names sizes of."""

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        with with_mesh(kwargs["mesh"]):
            return f(*args, **kwargs)

    return run


def with_explicit_mesh(
    sizes: Sequence[int], names: Any, axis_types: Any = None, iota_order: bool = False
) -> Callable[[Any], Any]:
    """Decorate a test: it runs with a mesh of explicit axes, which it gets as `mesh`."""
    types = (AxisType.Explicit,) * len(names) if axis_types is None else axis_types

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            mesh = create_mesh(sizes, names, iota_order, types)
            with pullback.set_mesh(mesh):
                return test(*args, **kwargs, mesh=mesh)

        run.__name__ = test.__name__
        return run

    return decorate


@contextlib.contextmanager
def with_mesh(named_shape: MeshSpec) -> Generator[None, None, None]:
    """A mesh of named sizes for a block."""
    names, sizes = zip(*named_shape, strict=True) if named_shape else ((), ())
    with create_mesh(sizes, names):
        yield


def request_cpu_devices(nr_devices: int) -> None:
    """Ask for so many devices; there is one, and tests that need more are skipped."""


def device_supports_buffer_donation() -> Callable[[Any], Any]:
    """Decorate a test that needs donation, which is always there."""
    return lambda test: test


def pattern_search(patterns: str | Sequence[str], string: str) -> str | None:
    """The first of the patterns that is found in a string."""
    given = (patterns,) if isinstance(patterns, str) else patterns
    return next((p for p in given if re.search(p, string)), None)


def device_kind_match(device_patterns: str | Sequence[str]) -> str | None:
    """The first pattern that the name of the first device matches."""
    return pattern_search(device_patterns, pullback.devices()[0].device_kind)


def _is_not(*_: Any) -> bool:
    """The answer to questions after other hardware and other builds."""
    return False


is_device_cuda = is_device_rocm = is_cloud_tpu = _is_not
is_device_tpu_at_least = is_cloud_tpu_at_least = _is_not
is_cuda_compute_capability_at_least = is_cuda_compute_capability_equal = _is_not
is_cuda_version_at_least = _is_not
is_asan = is_msan = is_tsan = is_sanitized = _is_not
cuda_versions: Final = None


is_test_rbe = _is_not
running_in_cloud_tpu_vm: Final = False


def pjrt_c_api_version_at_least(major_version: int, minor_version: int) -> bool:
    """Whether plugins have at least this version, which ours always have."""
    return True


def stablehlo_version_at_least(required_version: str) -> bool:
    """Whether StableHLO is of at least this version, which ours always is."""
    return True


def parse_version(v: str) -> tuple[int, ...]:
    """A version as numbers.

    >>> parse_version("1.2.3")
    (1, 2, 3)
    """
    return tuple(int(part) for part in re.findall(r"\d+", v)[:3])


def get_tpu_version() -> int:
    """Raises ValueError: the device is no TPU."""
    raise ValueError("Device is not TPU")


# --------------------------------------------------------------------------- the process


def is_optimized_build() -> bool:
    """Whether code is compiled with optimizations."""
    return True


def is_gil_disabled() -> bool:
    """Whether this is a free-threaded interpreter."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def runtime_environment() -> str | None:
    """`pytest` under pytest, else None."""
    return "pytest" if is_running_under_pytest() else None


def is_running_under_pytest() -> bool:
    """Whether pytest runs the tests."""
    return "pytest" in sys.modules


def skip_under_pytest(reason: str) -> Callable[[Any], Any]:
    """Decorate a test that pytest must not run."""
    return unittest.skipIf(is_running_under_pytest(), reason)


def skip_on_flag(flag_name: str, skip_value: Any) -> Callable[[Any], Any]:
    """Decorate a test that is skipped while a setting has a value."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            if config.read(flag_name) == skip_value:
                self.skipTest(f"{test.__name__} not supported when {flag_name} is {skip_value}")
            return test(self, *args, **kwargs)

        return run

    return decorate


def sanitize_test_name(s: str) -> str:
    """A name of letters, digits and single underscores.

    >>> sanitize_test_name("a[b, c] d")
    'a_b_c_d'
    """
    return re.sub(r"[^a-zA-Z0-9]+", "_", s)


@contextlib.contextmanager
def set_env(**kwargs: str | None) -> Iterator[None]:
    """Set variables of the environment for a block; None removes one."""
    before = {name: os.environ.get(name) for name in kwargs}
    try:
        _put_env(kwargs)
        yield
    finally:
        _put_env(before)


def _put_env(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def capture_stdout() -> Iterator[Callable[[], str]]:
    """A function that gives what was printed in the block."""
    buffer = io.StringIO()
    with contextlib.redirect_stdout(buffer):
        yield buffer.getvalue


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """A function that gives what was written to the standard error in the block."""
    buffer = io.StringIO()
    with contextlib.redirect_stderr(buffer):
        yield buffer.getvalue


@contextlib.contextmanager
def register_event_duration_listener(callback: Any) -> Iterator[None]:
    """Tell `callback` of events with durations in the block."""
    monitoring.register_event_duration_secs_listener(callback)
    try:
        yield
    finally:
        monitoring.unregister_event_duration_listener(callback)
