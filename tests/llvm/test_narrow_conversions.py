"""Conversions between narrow types, evaluated and compiled, give the same elements."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp

NARROW = ["int2", "uint2", "int4", "uint4", "int8", "uint8", "bool", "float4_e2m1fn"]
NARROW += ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "bfloat16", "float16", "float32"]
VALUES = [0, 1, -1, 1.5, 3, 7, -8, 6, 2.0**-127, 3e38, np.inf, np.nan, -100, 200]


@pytest.mark.parametrize("source", NARROW)
def test_compiled_as_evaluated(source: str) -> None:
    x = jnp.array(VALUES, "float32").astype(source)
    for target in NARROW:
        now = x.astype(target)
        compiled = pb.jit(lambda x, target=target: x.astype(target))(x)
        wide = [np.asarray(y).astype("float32") for y in (now, compiled)]
        np.testing.assert_array_equal(*wide, err_msg=f"{source} to {target}")


def test_powers_of_two() -> None:
    codes = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu)
    wide = pb.jit(lambda x: x.astype("float32"))(codes)
    np.testing.assert_array_equal(np.asarray(wide), codes.astype("float32"))
    back = pb.jit(lambda x: x.astype(ml_dtypes.float8_e8m0fnu))(wide)
    np.testing.assert_array_equal(np.asarray(back).view(np.uint8), codes.view(np.uint8))
    grid = itertools.product([1.0, 1.25, 1.4999, 1.5, 1.75, 1.9999], [-127, -126, -1, 0, 5, 127])
    near = np.array([m * 2.0**e for m, e in grid], np.float32)
    got = pb.jit(lambda x: x.astype(ml_dtypes.float8_e8m0fnu))(near)
    want = near.astype(ml_dtypes.float8_e8m0fnu)
    np.testing.assert_array_equal(np.asarray(got).view(np.uint8), want.view(np.uint8))


def test_doubles_become_half_in_one_rounding() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
    finite = codes[np.isfinite(codes)]
    middles = (finite[:-1] + finite[1:]) / 2
    around = [middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)]
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, 65520.0, 65519.999999999, 1e-60, -1e-60]
    x = np.concatenate([codes, *around, middles * (1 + 1e-12), np.array(ends)])
    with pb.enable_x64(), np.errstate(all="ignore"):
        found = np.asarray(pb.jit(lambda x: x.astype(np.float16))(x))
        one = [pb.jit(lambda x: x.astype(np.float16))(np.float64(y)) for y in ends]
        expected, expected_one = x.astype(np.float16), np.array(ends).astype(np.float16)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    np.testing.assert_array_equal(np.array(one), expected_one)
