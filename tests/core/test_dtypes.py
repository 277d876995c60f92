"""Dtypes against JAX from the outside: the whole promotion table, weak kinds, categories."""

from __future__ import annotations

import itertools
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.dtypes
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from pullback import config
from pullback.core import dtypes
from pullback.errors import TypePromotionError

DTYPES = dtypes.SUPPORTED
KINDS = (bool, int, float, complex)
ENTRIES: tuple[Any, ...] = (*DTYPES, *KINDS)


@pytest.fixture(params=[False, True], ids=["x32", "x64"])
def x64(request: pytest.FixtureRequest) -> Iterator[bool]:
    with config.x64.override(request.param), jax.enable_x64(request.param):
        yield request.param


def outcome(function: Any, *args: Any, **kwargs: Any) -> Any:
    """The result, or the class of the error by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(*args, **kwargs)
        except Exception as e:
            return type(e).__name__


def table(ours: Any, theirs: Any) -> list[Any]:
    """The pairs on which two functions of two dtypes differ."""
    pairs = itertools.product(ENTRIES, repeat=2)
    return [(a, b, x, y) for a, b in pairs if (x := ours(a, b)) != (y := theirs(a, b))]


def test_promote_types_table(x64: bool) -> None:
    assert not table(
        lambda a, b: outcome(dtypes.promote_types, a, b),
        lambda a, b: outcome(jnp.promote_types, a, b),
    )


@pytest.mark.parametrize("mode", ["standard", "strict"])
def test_result_type_table(x64: bool, mode: str) -> None:
    with config.numpy_dtype_promotion.override(mode), jax.numpy_dtype_promotion(mode):
        assert not table(
            lambda a, b: outcome(dtypes.result_type, a, b, return_weak=True),
            lambda a, b: outcome(jax.dtypes.result_type, a, b, return_weak_type_flag=True),
        )


def test_result_type_of_three(x64: bool) -> None:
    some = [
        np.dtype(d) for d in ("bool", "uint8", "int16", "uint32", "float16", ml_dtypes.bfloat16)
    ]
    for triple in itertools.combinations_with_replacement([*some, int, float, complex], 3):
        ours = outcome(dtypes.result_type, *triple, return_weak=True)
        assert ours == outcome(jax.dtypes.result_type, *triple, return_weak_type_flag=True), triple


VALUES = [
    True,
    1,
    -3,
    2.5,
    1j,
    np.float64(1),
    np.float32(1),
    np.int64(3),
    np.uint8(3),
    np.bool_(True),
    np.ones(3),
    np.ones((2, 2), np.int16),
    np.complex128(1),
    ml_dtypes.bfloat16(1),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_dtype_of_values(x64: bool, value: Any) -> None:
    expected = outcome(jax.dtypes.result_type, value, return_weak_type_flag=True)
    assert (dtypes.dtype_of(value), dtypes.is_weakly_typed(value)) == expected
    assert dtypes.scalar_type_of(value) == jax.dtypes.scalar_type_of(value)


def test_result_type_mixes_values_and_dtypes(x64: bool) -> None:
    for a, b in itertools.product(VALUES, [*VALUES, "float16", np.dtype("int8"), float]):
        ours = outcome(dtypes.result_type, a, b, return_weak=True)
        assert ours == outcome(jax.dtypes.result_type, a, b, return_weak_type_flag=True), (a, b)


class Int(int):
    """A number that is not exactly a Python int."""


def test_unusual_values() -> None:
    assert dtypes.dtype_and_weak_type(Int(3)) == (np.dtype("int32"), True)
    with pytest.raises(TypeError, match="cannot determine the dtype of"):
        dtypes.dtype_of("a string")
    with pytest.raises(TypeError, match="not a valid JAX array type"):
        dtypes.dtype_of(np.array(["a"]))
    with pytest.raises(ValueError, match="at least one"):
        dtypes.result_type()


def test_ints_that_do_not_fit() -> None:
    for fits in (2**31 - 1, -(2**31), 0):
        assert dtypes.python_scalar_dtype(int, fits) == np.int32
    for too_large in (2**31, -(2**31) - 1, 2**70):
        with pytest.raises(OverflowError, match=f"{too_large} too large to convert to int32"):
            dtypes.python_scalar_dtype(int, too_large)
    assert dtypes.python_scalar_dtype(Int, Int(3)) == np.int32


def test_errors_of_promotion_say_what_to_do() -> None:
    with pytest.raises(TypePromotionError, match=r"8-bit floats.*astype"):
        dtypes.promote_types(ml_dtypes.float8_e5m2, "float32")
    with pytest.raises(TypePromotionError, match=r"4-bit integers.*astype"):
        dtypes.promote_types("int4", "int8")
    with (
        config.numpy_dtype_promotion.override("strict"),
        pytest.raises(TypePromotionError, match=r"'float32', 'int32'.*strict"),
    ):
        dtypes.promote_types("int32", "float32")


def test_keys_take_no_part_in_promotion() -> None:
    key = dtypes.KEY
    assert dtypes.result_type(key, key, return_weak=True) == (key, False)
    with pytest.raises(ValueError, match="not a valid dtype for JAX type promotion"):
        dtypes.result_type(key, np.float32(1))


def test_canonicalize(x64: bool) -> None:
    for d in (*DTYPES, *KINDS, "float64", "U3", "O", dtypes.float0):
        assert dtypes.canonicalize_dtype(d) == jax.dtypes.canonicalize_dtype(d)
    with pytest.raises(ValueError, match="extended"):
        dtypes.canonicalize_dtype(dtypes.KEY)
    assert dtypes.canonicalize_dtype(dtypes.KEY, allow_extended_dtype=True) is dtypes.KEY


def test_check_user_dtype_warns_like_jax() -> None:
    with pytest.warns(UserWarning, match="float64 requested in zeros is not available") as record:
        assert dtypes.check_user_dtype("float64", "zeros") == np.float32
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dtypes.check_user_dtype(float, "zeros") == np.float32
        assert dtypes.check_user_dtype(None, "zeros") == np.float32
        assert dtypes.check_user_dtype(int, "zeros") == np.int32
        with config.x64.override(True):
            assert dtypes.check_user_dtype("float64", "zeros") == np.float64


@pytest.mark.parametrize("dtype", [object, "U3", "datetime64[s]", np.longdouble])
def test_check_user_dtype_refuses(dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"got dtype .* in zeros"):
        dtypes.check_user_dtype(dtype, "zeros")


def test_to_inexact_dtype(x64: bool) -> None:
    names = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32"]
    for name in [*names, "uint64", "int64", "float64", "complex64", "bfloat16"]:
        x = outcome(jnp.zeros, (), name)
        assert dtypes.to_inexact_dtype(x.dtype) == jnp.sin(x).dtype


CATEGORIES = [
    np.generic,
    np.number,
    np.integer,
    np.signedinteger,
    np.unsignedinteger,
    np.inexact,
    np.floating,
    np.complexfloating,
    np.bool_,
    np.float32,
]


def test_issubdtype() -> None:
    theirs = {dtypes.extended: jax.dtypes.extended, dtypes.prng_key: jax.dtypes.prng_key}
    for a in (*DTYPES, *KINDS, *CATEGORIES, dtypes.float0):
        for b in (*CATEGORIES, *DTYPES, *KINDS, *theirs):
            assert dtypes.issubdtype(a, b) == jax.dtypes.issubdtype(a, theirs.get(b, b)), (a, b)
    key = jax.random.key(0).dtype
    for b in (*CATEGORIES, *theirs):
        expected = jax.dtypes.issubdtype(key, theirs.get(b, b))
        assert dtypes.issubdtype(dtypes.KEY, b) == expected, b


def test_isdtype() -> None:
    kinds = ["bool", "signed integer", "unsigned integer", "integral"]
    kinds += ["real floating", "complex floating", "numeric"]
    for a in DTYPES:
        for kind in (*kinds, ("bool", "integral"), np.dtype("float32"), jnp.bfloat16):
            assert dtypes.isdtype(a, kind) == jnp.isdtype(a, kind), (a, kind)
    with pytest.raises(ValueError, match="unknown kind 'nonsense'"):
        dtypes.isdtype("f4", "nonsense")
    with pytest.raises(TypeError, match="kind must be"):
        dtypes.isdtype("f4", 3)


def test_names_and_widths() -> None:
    for d in DTYPES:
        if d.name != "uint1":  # printed as i1 there
            with jax.enable_x64(True):
                shown = jax.core.ShapedArray((), d).str_short(short_dtypes=True)
            assert dtypes.short_name(d) + "[]" == shown
        assert dtypes.itemsize_bits(d) == jax.dtypes.itemsize_bits(d)
    assert dtypes.short_name(dtypes.float0) == "float0"
    assert dtypes.short_name(dtypes.KEY) == "key<fry>"


def test_finfo_and_iinfo_cover_every_dtype() -> None:
    for d in DTYPES:
        if dtypes.kind_of(d) == "f":
            assert float(dtypes.finfo(d).max) > 0
        if dtypes.kind_of(d) in "iu":
            assert dtypes.iinfo(d).max >= 0


def test_key_dtype_is_interned_and_frozen() -> None:
    key = dtypes.KEY
    assert pickle.loads(pickle.dumps(key)) is key is dtypes.KeyDtype()
    assert {key: 1}[dtypes.KeyDtype("fry")] == 1
    assert key != np.dtype("uint64")
    assert np.dtype("uint64") != key
    assert dtypes.physical(key) == np.uint64
    with pytest.raises(AttributeError, match="immutable"):
        key.name = "other"  # type: ignore[misc]
