"""Compiled convolutions, by each of their ways, against what NumPy gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.ops.convolution import conv_general_dilated

LAST, FIRST = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
TURNED = ("NHWC", "HWIO", "NCHW")

# (shape of the operand, shape of the kernel, layouts, groups, further parameters)
FEW_PRODUCTS: list[tuple[Any, ...]] = [
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": "SAME"}),
    ((2, 9, 8, 20), (3, 3, 1, 60), LAST, 20, {"padding": "SAME"}),
    ((2, 9, 8, 20), (3, 3, 1, 20), TURNED, 20, {"padding": "SAME"}),
    ((2, 20, 9, 33), (20, 1, 3, 3), FIRST, 20, {"padding": "SAME"}),
    ((2, 20, 9, 33), (40, 1, 3, 3), FIRST, 20, {"padding": "VALID"}),
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": [(1, 4), (3, 0)]}),
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": [(-2, 1), (1, -1)]}),
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": "SAME", "window_strides": (2, 3)}),
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": "SAME", "rhs_dilation": (2, 5)}),
    ((2, 9, 8, 20), (3, 3, 1, 20), LAST, 20, {"padding": [(1, 1), (2, 0)], "lhs_dilation": (2, 1)}),
    ((2, 1, 1, 20), (3, 3, 1, 20), LAST, 20, {"padding": [(1, 1), (1, 1)], "lhs_dilation": (2, 2)}),
    ((2, 9, 8, 3), (2, 2, 3, 4), LAST, 1, {"padding": "SAME"}),
    ((2, 2, 2, 20), (3, 3, 1, 20), LAST, 20, {"padding": [(5, 5), (5, 5)]}),
]


# Products gathered while they are packed, or multiplied where they are.
MANY_PRODUCTS: list[tuple[Any, ...]] = [
    ((2, 16, 16, 32), (3, 3, 32, 40), LAST, 1, {"padding": "SAME"}),
    ((2, 16, 16, 32), (3, 3, 32, 200), LAST, 1, {"padding": "SAME"}),
    ((2, 13, 11, 20), (3, 3, 20, 37), LAST, 1, {"padding": "SAME"}),
    ((2, 16, 16, 32), (1, 1, 32, 40), LAST, 1, {"padding": "VALID"}),
    ((1, 7, 7, 300), (3, 3, 300, 24), LAST, 1, {"padding": "SAME"}),
    ((2, 16, 16, 24), (3, 3, 24, 40), LAST, 1, {"padding": "SAME", "window_strides": (2, 2)}),
    ((2, 16, 16, 24), (3, 3, 24, 40), LAST, 1, {"padding": "SAME", "rhs_dilation": (2, 2)}),
    ((2, 16, 16, 24), (3, 3, 24, 40), LAST, 1, {"padding": [(2, 1)] * 2, "lhs_dilation": (2, 2)}),
    ((2, 16, 16, 32), (3, 3, 16, 40), LAST, 2, {"padding": "SAME"}),
    ((5, 24, 24, 12), (5, 24, 24, 16), ("CHWN", "IHWO", "HWNC"), 1, {"padding": [(1, 1)] * 2}),
    ((2, 32, 16, 16), (40, 32, 3, 3), FIRST, 1, {"padding": "SAME"}),
    ((2, 16, 16, 7), (7, 7, 7, 40), LAST, 1, {"padding": "SAME"}),
]


def _both(x: Any, w: Any, layouts: Any, groups: int, params: Any) -> tuple[Any, Any]:
    def convolution(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            w,
            **{"window_strides": (1, 1), **params},
            dimension_numbers=layouts,
            feature_group_count=groups,
        )

    (equation,) = pb.make_jaxpr(convolution)(x, w).jaxpr.eqns
    expected = conv_general_dilated.reference(x, w, **equation.params)
    return pb.jit(convolution)(x, w), expected


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("shape", "kernel", "layouts", "groups", "params"), FEW_PRODUCTS)
def test_few_products(
    shape: Any, kernel: Any, layouts: Any, groups: int, params: Any, dtype: str
) -> None:
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-9, 9, s).astype(dtype) for s in (shape, kernel))
    with pb.enable_x64():
        found, expected = _both(x, w, layouts, groups, params)
    assert found.dtype == expected.dtype
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(("shape", "kernel", "layouts", "groups", "params"), MANY_PRODUCTS)
def test_many_products(
    shape: Any, kernel: Any, layouts: Any, groups: int, params: Any, dtype: str
) -> None:
    rng = np.random.default_rng(4)
    x, w = (rng.integers(-2, 3, s).astype(np.dtype(dtype)) for s in (shape, kernel))
    with pb.enable_x64():
        found, expected = _both(x, w, layouts, groups, params)
    assert found.dtype == expected.dtype
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_infinite_kernel_meets_the_zeros_around_the_operand() -> None:
    x, w = np.ones((1, 4, 4, 16), np.float32), np.ones((3, 3, 1, 16), np.float32)
    w[0, 0] = np.inf
    found, expected = _both(x, w, LAST, 16, {"padding": "SAME"})
    assert np.array_equal(np.asarray(found), expected, equal_nan=True)
    assert np.isnan(expected).any()


def test_depthwise_convolutions_keep_no_copy_of_the_operand() -> None:
    def depthwise(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=LAST, feature_group_count=64
        )

    x, w = np.ones((2, 16, 16, 64), np.float32), np.ones((3, 3, 1, 64), np.float32)
    compiled = pb.jit(depthwise).lower(x, w).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 1
