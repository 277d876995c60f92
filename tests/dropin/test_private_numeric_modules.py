"""Private modules about numbers that tests in JAX's style import: each does what it is for."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from jax._src import dtypes as their_dtypes
from jax._src.numpy import util as their_util

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.dropin.shims._src import dtypes, lax_reference, test_warning_util
from pullback.dropin.shims._src.frozen_dict import FrozenDict
from pullback.dropin.shims._src.hashable_array import HashableArray
from pullback.dropin.shims._src.internal_test_util import lax_test_util
from pullback.dropin.shims._src.lax import lax as lax_internal
from pullback.dropin.shims._src.lax import utils
from pullback.dropin.shims._src.numpy import util
from pullback.dropin.shims._src.random import prng, threefry2x32

RECORDS = lax_test_util.lax_ops()


@pytest.mark.parametrize("record", RECORDS, ids=[f"{r.op}-{r.nargs}" for r in RECORDS])
def test_operations_are_what_numpy_says(record: lax_test_util.OpRecord) -> None:
    rng = np.random.RandomState(0)
    for dtype in record.dtypes:
        xs = [record.rng_factory(rng)((3, 4), dtype) for _ in range(record.nargs)]
        with np.errstate(all="ignore"):
            want = np.asarray(getattr(lax_reference, record.op)(*xs))
        got = np.asarray(getattr(lax, record.op)(*xs))
        assert got.shape == want.shape
        tolerance = 3e-2 if np.dtype(dtype).itemsize < 4 else 1e-4
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        np.testing.assert_allclose(
            got.astype(wide), want.astype(wide), rtol=tolerance, atol=tolerance, err_msg=str(dtype)
        )


def test_structural_references() -> None:
    x = np.arange(20.0, dtype=np.float32).reshape(4, 5)
    pairs: list[tuple[Any, Any]] = [
        (lax_reference.pad(x, 7, [(1, -1, 1), (-2, 0, 2)]),
         lax.pad(x, np.float32(7), [(1, -1, 1), (-2, 0, 2)])),
        (lax_reference.dynamic_slice(x, (3, 1), (2, 2)), lax.dynamic_slice(x, (3, 1), (2, 2))),
        (lax_reference.dynamic_update_slice(x, -x[:2, :2], (9, 1)),
         lax.dynamic_update_slice(x, -x[:2, :2], (9, 1))),
        (lax_reference.rev(x, (1,)), lax.rev(x, (1,))),
        (lax_reference.slice(x, (1, 0), (4, 5), (2, 3)), lax.slice(x, (1, 0), (4, 5), (2, 3))),
        (
            lax_reference.broadcast_in_dim(x[0], (2, 5), (1,)),
            lax.broadcast_in_dim(x[0], (2, 5), (1,)),
        ),
        (lax_reference.reshape(x, (10, 2), (1, 0)), lax.reshape(x, (10, 2), (1, 0))),
        (lax_reference.bitcast_convert_type(x, np.uint8), lax.bitcast_convert_type(x, np.uint8)),
        (lax_reference.reduce(x, 1.0, np.add, (0,)), lax.reduce(x, np.float32(1), lax.add, (0,))),
        (lax_reference.reduce_window(x, 0.0, np.add, (2, 2), (1, 2), "SAME", (1, 2)),
         lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 2),
                           lax.padtype_to_pads((4, 9), (2, 2), (1, 2), "SAME"), (1, 2))),
        (lax_reference.dot_general(x, x, (((1,), (1,)), ((0,), (0,)))),
         lax.dot_general(x, x, (((1,), (1,)), ((0,), (0,))))),
        (lax_reference.ragged_dot(x, np.stack([x.T, -x.T]), [1, 2]),
         lax.ragged_dot(x, np.stack([x.T, -x.T]), np.array([1, 2]))),
    ]  # fmt: skip
    for want, got in pairs:
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-6)
    for want, got in zip(lax_reference.top_k(-x % 7, 3), lax.top_k(-x % 7, 3), strict=True):
        np.testing.assert_array_equal(np.asarray(got), want)
    values = (np.array([3, 1, 3, 2]), np.arange(4))
    for want, got in zip(
        lax_reference.sort_key_val(*values), lax.sort_key_val(*values), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(got), want)


def test_convolutions() -> None:
    rng = np.random.RandomState(1)
    x, k = rng.randn(2, 7, 6, 3).astype(np.float32), rng.randn(2, 3, 3, 4).astype(np.float32)
    for args in (
        ((2, 1), "SAME", None, (1, 2)),
        ((1, 1), [(1, 0), (0, 2)], (2, 1), None),
    ):
        want = lax_reference.conv_general_dilated(x, k, *args, ("NHWC", "HWIO", "NHWC"))
        got = lax.conv_general_dilated(x, k, *args, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "record", lax_test_util.lax_named_reduce_ops(), ids=lambda r: r.op.__name__
)
def test_reductions(record: lax_test_util.NamedReducerOpRecord) -> None:
    x = (np.arange(12) % 5).reshape(3, 4)
    for dtype in record.dtypes:
        got = np.asarray(record.op(x.astype(dtype), (1,)))
        with np.errstate(all="ignore"):
            want = np.asarray(record.reference_op(x.astype(dtype), axis=1))
        np.testing.assert_array_equal(
            got.astype(np.complex128), want.astype(dtype).astype(np.complex128)
        )


def test_mapped_axes() -> None:
    assert list(lax_test_util.all_bdims((3,), ())) == [
        (0, 0),
        (0, None),
        (1, 0),
        (1, None),
        (None, 0),
    ]
    assert lax_test_util.add_bdim(3, 2, (4, 5)) == (4, 5, 3)
    x = jnp.arange(6.0).reshape(2, 3)
    parts = lax_test_util.args_slicer([x, x], [1, None])(2)
    assert parts[0].tolist() == [2.0, 5.0]
    assert parts[1] is x


def test_conversion_of_operands() -> None:
    for name in ("promote_args_complex", "promote_args_inexact", "promote_dtypes_complex"):
        args = ("f",) if name.startswith("promote_args") else ()
        got = getattr(util, name)(*args, np.ones(2, np.int8), 2.0)
        want = getattr(their_util, name)(*args, np.ones(2, np.int8), 2.0)
        assert [(x.dtype, np.shape(x)) for x in got] == [(x.dtype, np.shape(x)) for x in want]
    with pytest.raises(TypeError, match=r"f requires ndarray, scalar, or None arguments"):
        util.check_arraylike_or_none("f", None, [1])
    with pytest.raises(TypeError, match=r"sum does not accept dtype key<fry>"):
        util.check_for_prngkeys("sum", pb.random.key(0))
    with pytest.raises(TypeError, match="float0"):
        util.check_no_float0s("f", np.zeros(2, pb.dtypes.float0))
    assert [x.tolist() for x in util.ensure_arraylike_tuple("f", (1, np.arange(2)))] == [1, [0, 1]]


def test_dtypes() -> None:
    for name in ("_jax_types", "_weak_types", "_intn_dtypes", "_float8_dtypes", "_complex_types"):
        ours, theirs = set(getattr(dtypes, name)), set(getattr(their_dtypes, name))
        assert {d for d in theirs if "6_" not in str(d)} <= ours <= theirs, name
    for a in ("int8", "float32", "bfloat16", "uint8", "complex64", 1, 1.0):
        for b in ("int8", "float32", "float16", "complex64"):
            assert dtypes.safe_to_cast(a, b) == their_dtypes.safe_to_cast(a, b), (a, b)
    for d in ("float32", "bfloat16", "bool", "int4", "complex64", "float8_e4m3fn"):
        assert dtypes.short_dtype_name(np.dtype(d)) == their_dtypes.short_dtype_name(np.dtype(d))
        assert dtypes.to_floating_dtype(d) == their_dtypes.to_floating_dtype(d), d
        assert dtypes.to_numeric_dtype(d) == their_dtypes.to_numeric_dtype(d), d
    with pytest.raises(OverflowError, match="too large to convert to int32"):
        dtypes.scalar_type_to_dtype(int, 2**40)
    with pytest.raises(TypeError, match="not a valid JAX array type"):
        dtypes.check_valid_dtype(np.dtype("U3"))
    assert dtypes.coerce_to_array(1).dtype == np.int32


def test_helpers_of_lax() -> None:
    assert lax_internal.sin is lax.sin
    x = lax_internal._convert_element_type(2, np.float16, weak_type=True)
    assert (x.dtype, x.weak_type) == (np.float16, True)
    np.testing.assert_array_equal(lax_internal._eye("float32", (2, 3), 1), np.eye(2, 3, 1))
    np.testing.assert_array_equal(lax_internal._tri("int8", (3, 3), -1), np.tri(3, k=-1))
    delta = np.asarray(lax_internal._delta("float32", (2, 3, 2), (0, 2)))
    np.testing.assert_array_equal(delta, np.eye(2)[:, None, :] * np.ones((2, 3, 2)))
    assert lax_internal._try_broadcast_shapes((2, 1), (1, 3), name="f") == (2, 3)
    with pytest.raises(TypeError, match="f got incompatible shapes"):
        lax_internal._try_broadcast_shapes((2, 1), (3, 3), name="f")
    with pytest.raises(TypeError, match=r"lax.f requires arguments to have the same dtypes"):
        lax_internal.check_same_dtypes("f", jnp.ones(2).aval, jnp.arange(2).aval)
    assert lax_internal._dilate_shape((3, 0), (2, 5)) == (5, 0)
    assert [list(r) for r in lax_internal.ranges_like("ab", "c")] == [[0, 1], [2]]
    assert lax_internal.remaining(range(5), [1], [3]) == [0, 2, 4]
    assert utils.int_dtype_for_shape((3, 2**31), signed=False) == np.uint32
    with pytest.raises(TypeError, match="ShapedArray"):
        utils.ensure_shaped(3)


def test_containers_that_hash() -> None:
    a, b = HashableArray(np.arange(3)), HashableArray([0, 1, 2])
    assert a == b
    assert {a: 1}[b] == 1
    assert a != HashableArray([0.0, 1.0, 2.0])
    d = FrozenDict({"a": 1, "b": 2})
    assert {d: 1}[FrozenDict({"b": 2, "a": 1})] == 1
    assert dict(d) == {"a": 1, "b": 2}


def test_keys() -> None:
    key = pb.random.key(3)
    assert prng.prngs["rbg"] is pb.random.key(0, impl="rbg").dtype
    np.testing.assert_array_equal(prng.random_unwrap(key), threefry2x32.threefry_seed(3))
    words = pb.random.key_data(key)
    assert prng.random_wrap(words, impl="threefry2x32") == key
    np.testing.assert_array_equal(
        threefry2x32.threefry_split(words, (2,)), prng.random_unwrap(prng.random_split(key, (2,)))
    )
    np.testing.assert_array_equal(
        threefry2x32.threefry_random_bits(words, 8, (5,)), prng.random_bits(key, 8, (5,))
    )


def test_warnings() -> None:
    with pytest.raises(UserWarning), test_warning_util.raise_on_warnings():
        warnings.warn("news", stacklevel=1)
    with (
        test_warning_util.raise_on_warnings(),
        test_warning_util.ignore_warning(message="old", category=UserWarning),
    ):
        warnings.warn("old news", stacklevel=1)
        with pytest.raises(UserWarning):
            warnings.warn("news", stacklevel=1)
