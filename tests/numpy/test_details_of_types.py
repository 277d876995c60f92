"""Types of results, modes and texts of errors that tests in JAX's style look at closely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as theirs
import numpy as np
import pytest

import pullback
import pullback.numpy as ours

X = np.array([1.5, 0.0, 2.0], np.float32)
I8 = np.array([1, 0, 3], np.int8)
BOOLS = np.array([True, False, True])
Call = Callable[[Any], Any]

CASES: dict[str, Call] = {
    "accumulate": lambda np_: np_.logical_and.accumulate(X),
    "accumulate as float": lambda np_: np_.logical_and.accumulate(X, dtype="float32"),
    "xor of numbers": lambda np_: np_.logical_xor.accumulate(I8),
    "at of a logical function": lambda np_: np_.logical_xor.at(
        X, np.array([0, 0]), 2.0, inplace=False
    ),
    "at promotes bools": lambda np_: np_.bitwise_or.at(BOOLS, np.array([0, 1]), 2, inplace=False),
    "at promotes integers": lambda np_: np_.logaddexp.at(I8, np.array([0, 0]), 2, inplace=False),
    "reduction of nothing": lambda np_: np_.logical_xor.reduce(np.zeros((0, 3))),
    "typed exponent": lambda np_: np_.asarray(3) ** np_.int8(3),
    "typed exponent of a bool": lambda np_: np_.array(True) ** np_.uint8(2),
    "typed exponent of a float": lambda np_: np_.float16(3) ** np_.int32(3),
    "weak exponent": lambda np_: np_.int8(3) ** 3,
    "product of integers": lambda np_: np_.linalg.multi_dot([I8[None], I8[:, None], I8[None]]),
    "put clips below": lambda np_: np_.put(
        X, np.array([0, 5, -1]), np.array([7.0, 8.0, 9.0]), mode="clip", inplace=False
    ),
    "complex as floats": lambda np_: np_.array([1 + 2j, 3 - 4j], "complex64").view("float32"),
    "floats as complex": lambda np_: np_.arange(6, dtype="float32").view("complex64"),
    "complex as integers": lambda np_: np_.array([[1 + 2j]], "complex64").view("int32"),
    "integers as complex": lambda np_: (np_.arange(4, dtype="int32") << 24).view("complex64"),
}


@pytest.mark.parametrize("name", CASES)
def test_results(name: str) -> None:
    got, want = CASES[name](ours), CASES[name](theirs)
    assert (got.dtype, got.shape, got.weak_type) == (want.dtype, want.shape, want.weak_type)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-6)


def test_complex_to_real_gives_a_warning() -> None:
    x = ours.array([1 + 2j])
    with pytest.warns(DeprecationWarning, match="Casting from complex to real dtypes will soon"):
        assert x.astype("float32").tolist() == [1.0]


WRONG: dict[str, Call] = {
    "take": lambda j: j.numpy.take(X, 1, mode="foo"),
    "put": lambda j: j.numpy.put(X, 0, 1),
    "fill_diagonal": lambda j: j.numpy.fill_diagonal(np.eye(2), 1),
    "text": lambda j: j.numpy.asarray(X)["a"],
    "set": lambda j: j.numpy.asarray(X).at[:2].set(np.ones((3,), np.float32)),
    "matvec of vectors": lambda j: j.numpy.matvec(X, X),
    "matvec": lambda j: j.numpy.matvec(np.eye(2), X),
    "vecmat": lambda j: j.numpy.vecmat(X, np.eye(2)),
    "tensordot": lambda j: j.numpy.tensordot(X, X),
    "compress": lambda j: j.numpy.compress(BOOLS, X, size=7),
    "quantile": lambda j: j.numpy.quantile(X, 0.5, method="foo"),
    "median": lambda j: j.numpy.median(X + 1j),
    "isin": lambda j: j.numpy.isin(X, X, method="foo"),
    "object": lambda j: j.numpy.zeros(3, dtype=object),
    "int": lambda j: int(j.numpy.asarray(X)),
    "bool": lambda j: bool(j.numpy.asarray(X)),
    "flat": lambda j: j.numpy.asarray(X).flat[0],
    "mT": lambda j: j.numpy.asarray(X).mT,
    "sin of integers": lambda j: j.lax.sin(1),
    "bools": lambda j: j.lax.add(True, False),
    "bits of floats": lambda j: j.lax.bitwise_not(1.0),
    "slice": lambda j: j.jit(lambda x: j.lax.slice(x, (2,), (5,)))(X),
    "slice backwards": lambda j: j.jit(lambda x: j.lax.slice(x, (2,), (1,)))(X),
    "slice sizes": lambda j: j.lax.dynamic_slice(X, (0,), (4,)),
    "update rank": lambda j: j.lax.dynamic_update_slice(X, np.ones((1, 1), np.float32), (0,)),
    "update shape": lambda j: j.lax.dynamic_update_slice(X, np.ones(4, np.float32), (0,)),
    "update dtype": lambda j: j.lax.dynamic_update_slice(X, np.ones(2, np.int32), (0,)),
    "number of indices": lambda j: j.lax.dynamic_slice(X, (0, 0), (1,)),
    "index dtypes": lambda j: j.lax.dynamic_slice(np.eye(2), (np.int8(0), np.int32(0)), (1, 1)),
    "axes twice": lambda j: j.lax.reduce_sum(np.eye(2), (0, 0)),
    "logical": lambda j: j.lax.reduce_and(X, (0,)),
    "index dtype": lambda j: j.lax.argmax(X, 0, "float32"),
    "num_keys": lambda j: j.lax.sort((X, X), num_keys=3),
    "dot": lambda j: j.lax.dot(np.eye(2), X),
    "mantissa": lambda j: j.lax.reduce_precision(X, 5, -1),
    "bits that do not fit": lambda j: j.lax.bitcast_convert_type(I8, "float16"),
    "bits of bools": lambda j: j.lax.bitcast_convert_type(BOOLS, "uint8"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_what_jax_says(name: str) -> None:
    import pullback

    with pytest.raises(Exception) as want:  # noqa: PT011
        WRONG[name](jax)
    with pytest.raises(type(want.value)) as got:
        WRONG[name](pullback)
    assert str(want.value).rstrip(".") in str(got.value)


@pytest.mark.parametrize("narrow", ["int2", "uint2", "int4", "uint4"])
def test_bits_of_narrow_integers(narrow: str) -> None:
    wide = np.arange(12, dtype=np.uint8) * 21
    for x in (wide, np.linspace(-2, 2, 3, dtype=np.float32)):
        got = jax_like(ours, x, narrow)
        want = jax_like(theirs, x, narrow)
        assert got[0].shape == want[0].shape
        np.testing.assert_array_equal(np.asarray(got[0].astype("int32")), want[0].astype("int32"))
        np.testing.assert_array_equal(np.asarray(got[1]), x)


def jax_like(np_: Any, x: Any, narrow: str) -> Any:
    lax = jax.lax if np_ is theirs else __import__("pullback").lax
    bits = lax.bitcast_convert_type(x, narrow)
    return bits, lax.bitcast_convert_type(bits, x.dtype)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int32"])
def test_rint_of_whole_numbers_has_the_widest_enabled_float(dtype: str) -> None:
    with jax.enable_x64(True), pullback.enable_x64(True):
        x = np.ones(2, dtype)
        assert ours.rint(x).dtype == theirs.rint(x).dtype == np.float64
