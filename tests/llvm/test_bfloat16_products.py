"""Products of matrices of bfloat16 are summed in float32, whatever kernel computes them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.llvm import jit

BF16: Any = ml_dtypes.bfloat16


def _dot(dtype: Any, numbers: Any = (((1,), (0,)), ((), ()))) -> Any:
    return pb.jit(lambda x, y: lax.dot_general(x, y, numbers, preferred_element_type=dtype))


def _close(found: Any, x: Any, y: Any) -> None:
    """Within what any order of summation in float32 may give."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    bound = (x.shape[-1] + 1) * 2.0**-24 * (np.abs(x) @ np.abs(y))
    assert found.dtype == np.float32
    assert (np.abs(np.asarray(found, np.float64) - x @ y) <= bound).all()


@pytest.mark.parametrize("depth", [1, 31, 64, 200, 1025])
@pytest.mark.parametrize("sides", [(37, 53), (8, 16), (128, 96), (3, 70)])
def test_sums_are_those_of_float32(sides: tuple[int, int], depth: int) -> None:
    rng = np.random.default_rng(depth)
    m, n = sides
    x, y = (rng.normal(size=s).astype(BF16) for s in ((m, depth), (depth, n)))
    _close(_dot(np.float32)(x, y), x, y)


def test_integers_are_summed_exactly_and_rounded_once() -> None:
    rng = np.random.default_rng(2)
    x, y = (rng.integers(-128, 129, s).astype(BF16) for s in ((70, 300), (300, 40)))
    exact = x.astype(np.float64) @ y.astype(np.float64)
    assert np.array_equal(np.asarray(_dot(np.float32)(x, y)), exact)
    assert np.array_equal(np.asarray(_dot(None)(x, y)), exact.astype(BF16))


@pytest.mark.parametrize("shape", [(33, 65, 17), (130, 64, 100), (64, 32, 32)])
def test_transposed_operands_and_lanes(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    m, k, n = shape
    x, y = (rng.normal(size=s).astype(BF16) for s in ((2, k, m), (2, n, k)))
    found = _dot(np.float32, (((1,), (2,)), ((0,), (0,))))(x, y)
    _close(found, x.transpose(0, 2, 1), y.transpose(0, 2, 1))


def test_special_values() -> None:
    x, y = np.ones((40, 100), BF16), np.ones((100, 40), BF16)
    x[1, 3], x[2, 4], x[3, 5], x[3, 6] = np.nan, np.inf, np.inf, -np.inf
    found = np.asarray(_dot(np.float32)(x, y))
    assert np.isnan(found[[1, 3]]).all()
    assert (found[2] == np.inf).all()
    assert (found[4:] == 100).all()


def test_double_precision_if_asked_for() -> None:
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=s).astype(BF16) for s in ((40, 100), (100, 40)))
    with pb.enable_x64():
        found = np.asarray(_dot(np.float64)(x, y))
    np.testing.assert_allclose(found, x.astype(np.float64) @ y.astype(np.float64), rtol=1e-13)


def test_large_products_call_the_kernel_of_this_machine() -> None:
    x = np.ones((64, 64), BF16)
    text = _dot(np.float32).lower(x, x).as_text("loops")
    assert ("pb_tiles_bf16" in text) == ("bf16" in jit.tile_types())
    assert ("pb_gemm_f32" in text) == ("bf16" not in jit.tile_types())


@pytest.mark.parametrize("dtype", [BF16, np.float16])
@pytest.mark.parametrize("spec", ["ij,j->i", "ji,j->i", "j,ij->i", "bij,bj->bi", "bji,bj->bi"])
def test_a_matrix_times_a_vector_converts_on_the_way(spec: str, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    sizes = {"i": 70, "j": 90, "b": 3}
    operands, _ = spec.split("->")
    x, y = (
        rng.integers(-8, 9, [sizes[k] for k in operand]).astype(dtype)
        for operand in operands.split(",")
    )
    program = pb.jit(lambda x, y: pb.numpy.einsum(spec, x, y, preferred_element_type=np.float32))
    wide = np.einsum(spec, x.astype(np.float32), y.astype(np.float32))
    assert np.array_equal(np.asarray(program(x, y)), wide)
    compiled = program.lower(x, y).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < max(x.nbytes, y.nbytes)


def test_operands_of_several_products_are_converted_once() -> None:
    def f(x: Any, y: Any) -> Any:
        h = lax.mul(x, x)
        return lax.dot(h, y), lax.dot(y, h), lax.dot(lax.dot(x, y), y)

    x = np.ones((64, 64), np.float16)
    text = pb.jit(f).lower(x, x).as_text("loops")
    products = text.count("call pb_gemm_f32")
    assert products == 4
    assert text.count("] = float32(") == 4  # x, y, h and the product of x and y
    found = pb.jit(f)(x, x + x)
    for result, number in zip(found, (128, 128, 128 * 128), strict=True):
        assert (np.asarray(result) == number).all()
