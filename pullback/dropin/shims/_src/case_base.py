"""`JaxTestCase`: comparisons of arrays, pytrees, compiled and eager results."""

# ruff: noqa: PT009, PT027  (assertions as methods are what this class is about)

from __future__ import annotations

import contextlib
import functools
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from absl.testing import parameterized

import pullback
from pullback import config
from pullback.dropin.shims._src import case_events
from pullback.dropin.shims._src.case_samplers import is_sequence
from pullback.dropin.shims._src.case_settings import global_config_context, overridden, tolerance
from pullback.dropin.shims._src.deprecations import is_accelerated

__all__ = ["BufferDonationTestCase", "JaxTestCase"]

# --------------------------------------------------------------------------- test cases


def _is_tree(x: Any) -> bool:
    return isinstance(x, (dict, list, tuple))


def _dtype_of(x: Any) -> np.dtype[Any]:
    return np.dtype(x.dtype) if isinstance(x, _ARRAYS) else np.asarray(x).dtype


_ARRAYS: Final = (pullback.Array, np.ndarray, np.generic)


class JaxTestCase(parameterized.TestCase):
    """A test case under strict settings, with comparisons of arrays and pytrees."""

    _default_global_config: ClassVar[dict[str, Any]] = {}
    _default_thread_local_config: ClassVar[dict[str, Any]] = {
        "jax_enable_checks": True,
        "jax_numpy_dtype_promotion": "strict",
        "jax_numpy_rank_promotion": "raise",
        "jax_traceback_filtering": "off",
        "jax_legacy_prng_key": "error",
    }

    def setUp(self) -> None:
        """Put the settings in force until the test has ended."""
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(global_config_context(**self._default_global_config))
        stack.enter_context(overridden(self._default_thread_local_config))

    def rng(self) -> Any:
        """Random numbers that depend on the name of the test alone."""
        return np.random.RandomState(zlib.adler32(self._testMethodName.encode()))

    # comparisons

    def assertDtypesMatch(self, x: Any, y: Any, *, canonicalize_dtypes: bool = True) -> None:
        """The dtypes are equal, where 64 bits may be off."""
        ours, theirs = _dtype_of(x), _dtype_of(y)
        if canonicalize_dtypes and not config.read("jax_enable_x64"):
            canonical = pullback.dtypes.canonicalize_dtype
            ours, theirs = np.dtype(canonical(ours)), np.dtype(canonical(theirs))
        self.assertEqual(ours, theirs)

    def assertArraysAllClose(
        self, actual: Any, desired: Any, *, check_dtypes: bool = True, atol: Any = None,
        rtol: Any = None, err_msg: str = "",
    ) -> None:  # fmt: skip
        """Shapes are equal and elements close; NaNs are equal."""
        self.assertEqual(np.shape(actual), np.shape(desired))
        if check_dtypes:
            self.assertDtypesMatch(actual, desired)
        x, y = np.asarray(actual), np.asarray(desired)
        atol = max(tolerance(_dtype_of(x), atol), tolerance(_dtype_of(y), atol))
        rtol = max(tolerance(_dtype_of(x), rtol), tolerance(_dtype_of(y), rtol))
        np.testing.assert_allclose(
            _widened(x), _widened(y), atol=atol, rtol=rtol, err_msg=err_msg, equal_nan=True
        )

    def assertArraysEqual(
        self, actual: Any, desired: Any, *, check_dtypes: bool = True, err_msg: str = "",
        allow_object_dtype: bool = False, verbose: bool = True,
    ) -> None:  # fmt: skip
        """Shapes and elements are equal."""
        if check_dtypes:
            self.assertDtypesMatch(actual, desired)
        x, y = _widened(_plain(actual)), _widened(_plain(desired))
        np.testing.assert_array_equal(x, y, err_msg=err_msg, verbose=verbose)

    def assertAllClose(
        self, actual: Any, desired: Any, *, check_dtypes: bool = True, atol: Any = None,
        rtol: Any = None, canonicalize_dtypes: bool = True, err_msg: str = "",
    ) -> None:  # fmt: skip
        """Arrays, scalars or containers of them are close."""
        again = functools.partial(
            self.assertAllClose, check_dtypes=check_dtypes, atol=atol, rtol=rtol,
            canonicalize_dtypes=canonicalize_dtypes, err_msg=err_msg,
        )  # fmt: skip
        if isinstance(actual, dict):
            self.assertIsInstance(desired, dict)
            self.assertEqual(set(actual), set(desired))
            for key, value in actual.items():
                again(value, desired[key])
        elif _is_tree(actual) and not isinstance(desired, _ARRAYS):
            self.assertTrue(is_sequence(desired))
            self.assertEqual(len(actual), len(desired))
            for one, other in zip(actual, desired, strict=True):
                again(one, other)
        elif isinstance(actual, _ARRAYS) or np.isscalar(actual) or _is_tree(actual):
            self.assertTrue(
                isinstance(desired, _ARRAYS) or np.isscalar(desired) or _is_tree(desired)
            )
            if check_dtypes:
                self.assertDtypesMatch(actual, desired, canonicalize_dtypes=canonicalize_dtypes)
            self.assertArraysAllClose(
                np.asarray(actual), np.asarray(desired), check_dtypes=False, atol=atol, rtol=rtol,
                err_msg=err_msg,
            )  # fmt: skip
        elif actual is None or desired is None:
            self.assertIs(actual, desired)
        else:
            self.assertEqual(actual, desired)

    def assertMultiLineStrippedEqual(self, expected: str, what: str) -> None:
        """Texts are equal but for blanks at the ends of lines."""
        one, other = (re.sub(r"\s*\n\s*", "\n", text).strip() for text in (expected, what))
        self.assertEqual(one, other, f"Found\n{what}\nExpecting\n{expected}")

    def assertDeprecationWarnsOrRaises(
        self, deprecation_id: str, message: str, *, error_class: type[Exception] = ValueError
    ) -> Any:
        """A DeprecationWarning is given, or an error raised where that is accelerated."""
        if is_accelerated(deprecation_id):
            return self.assertRaisesRegex(error_class, message)
        return self.assertWarnsRegex(DeprecationWarning, message)

    def assertCacheMisses(
        self, func: Callable[[], Any], *, cpp: int | None = None, aot_call: int | None = None,
        tracing: int | None = None, lowering: int | None = None,
        compilation_after_persistent_cache_miss: int | None = None,
    ) -> None:  # fmt: skip
        """The call traces, lowers and compiles so many functions."""
        wanted = [
            (cpp, case_events.count_pjit_cpp_cache_miss),
            (aot_call, case_events.count_aot_jit_cpp_cache_miss),
            (tracing, case_events.count_jit_tracing_cache_miss),
            (lowering, case_events.count_jit_and_pmap_lowerings),
            (
                compilation_after_persistent_cache_miss,
                case_events.count_compilation_after_persistent_cache_miss,
            ),
        ]
        asked = [(n, counter) for n, counter in wanted if n is not None]
        with contextlib.ExitStack() as stack:
            counts = [(n, stack.enter_context(counter())) for n, counter in asked]
            func()
        for n, count in counts:
            self.assertEqual(n, count())

    @contextlib.contextmanager
    def assertNoWarnings(self) -> Iterator[None]:
        """Nothing warns in the block."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        self.assertEqual([str(w.message) for w in caught], [])

    # compiled code

    def _CompileAndCheck(
        self, fun: Callable[..., Any], args_maker: Callable[[], Sequence[Any]], *,
        check_dtypes: bool = True, tol: Any = None, rtol: Any = None, atol: Any = None,
        check_cache_misses: bool = True,
    ) -> None:  # fmt: skip
        """Compiled and eager results agree, and a second call does not trace again."""
        args = args_maker()
        calls = 0

        def counted(*xs: Any) -> Any:
            nonlocal calls
            calls += 1
            return fun(*xs)

        compiled = pullback.jit(counted)
        expected = fun(*args)
        results = [compiled(*args) for _ in range(2)]
        if check_cache_misses:
            self.assertEqual(calls, 1, "the second call of a compiled function traced it again")
        close = {"check_dtypes": check_dtypes, "atol": atol or tol, "rtol": rtol or tol}
        for result in results:
            self.assertAllClose(expected, result, **close)
        fresh = args_maker()
        self.assertAllClose(fun(*fresh), compiled(*fresh), **close)

    def _CheckAgainstNumpy(
        self, numpy_reference_op: Callable[..., Any], lax_op: Callable[..., Any],
        args_maker: Callable[[], Sequence[Any]], check_dtypes: bool = True, tol: Any = None,
        atol: Any = None, rtol: Any = None, canonicalize_dtypes: bool = True,
    ) -> None:  # fmt: skip
        """Results agree with NumPy's."""
        args = args_maker()
        self.assertAllClose(
            numpy_reference_op(*args), lax_op(*args), check_dtypes=check_dtypes, atol=atol or tol,
            rtol=rtol or tol, canonicalize_dtypes=canonicalize_dtypes,
        )  # fmt: skip


def _plain(x: Any) -> Any:
    if isinstance(x, pullback.Array) and pullback.dtypes.issubdtype(
        x.dtype, pullback.dtypes.prng_key
    ):
        return np.asarray(pullback.random.key_data(x))
    return np.asarray(x)


def _widened(x: Any) -> Any:
    """Small floats as float32, which NumPy compares."""
    return x.astype(np.float32) if x.dtype.kind == "V" or x.dtype.name in _NARROW else x


_NARROW: Final = frozenset(["bfloat16"])


class BufferDonationTestCase(JaxTestCase):
    """A test case with assertions on donated arrays."""

    def assertDeleted(self, x: Any) -> None:
        """The memory of `x` was given away."""
        self.assertTrue(x.is_deleted())

    def assertNotDeleted(self, x: Any) -> None:
        """`x` has its memory."""
        self.assertFalse(x.is_deleted())
