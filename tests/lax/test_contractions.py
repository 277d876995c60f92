"""Products and convolutions of the façade against JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from pullback import config
from pullback import lax as ours
from pullback.core.avals import aval_of
from pullback.core.trace import EVAL

rng = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def evaluate_by_reference() -> Iterator[None]:
    """Primitives run by their NumPy references, without the runtime."""
    before = EVAL.evaluator

    def evaluate(primitive: Any, args: Any, params: Any) -> Any:
        primitive.abstract(*map(aval_of, args), **params)
        return np.asarray(primitive.reference(*map(np.asarray, args), **params))

    EVAL.evaluator = evaluate
    yield
    EVAL.evaluator = before


def values(*shape: int) -> np.ndarray:
    return rng.uniform(-1, 1, shape).astype("float32")


def agree(name: str, *args: Any, **kwargs: Any) -> None:
    expected = getattr(jax.lax, name)(*args, **kwargs)
    actual = getattr(ours, name)(*args, **kwargs)
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), atol=2e-5, rtol=1e-4)


def both_refuse(name: str, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011  (the type is what is compared)
        getattr(jax.lax, name)(*args, **kwargs)
    with pytest.raises(theirs.type):
        getattr(ours, name)(*args, **kwargs)


@pytest.mark.parametrize(
    ("left", "right"), [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4))]
)
def test_dot(left: Any, right: Any) -> None:
    agree("dot", values(*left), values(*right))


def test_other_products() -> None:
    agree("batch_matmul", values(5, 2, 3), values(5, 3, 4))
    agree("dot_general", values(5, 2, 3), values(3, 5), (((2,), (0,)), ((0,), (1,))))
    agree("dot_general", values(2, 3), values(3), (((1,), (0,)), ((), ())), "highest", "bfloat16")
    agree("ragged_dot", values(6, 4), values(3, 4, 2), np.array([2, 0, 3], "int32"))


def test_products_refuse() -> None:
    both_refuse("dot", values(2, 3), values(2, 3))
    both_refuse("dot", values(2, 3), np.float32(1))
    both_refuse("batch_matmul", values(2, 3, 4), values(4, 3))
    both_refuse("batch_matmul", values(2), values(2))
    both_refuse("dot_general", values(2, 3), values(3), (((0,), (0,)), ((), ())))


@pytest.mark.parametrize("padding", ["SAME", "VALID", "SAME_LOWER", [(1, 2), (0, 1)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_convolutions(padding: Any, strides: Any) -> None:
    x, w = values(2, 3, 8, 7), values(4, 3, 3, 2)
    agree("conv", x, w, strides, padding)
    agree("conv_with_general_padding", x, w, strides, padding, None, (2, 1))
    names = ("NHWC", "HWIO", "NHWC")
    agree("conv_general_dilated", values(2, 8, 7, 3), values(3, 2, 3, 4), strides, padding,
          dimension_numbers=names)  # fmt: skip


@pytest.mark.parametrize("kernel", [False, True])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(0, 1), (2, 2)]])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_conv_transpose(padding: Any, strides: Any, kernel: bool) -> None:
    w = values(3, 4, 5, 3) if kernel else values(3, 4, 3, 5)
    for consistent in (False, True):
        agree("conv_transpose", values(2, 5, 6, 3), w, strides, padding, transpose_kernel=kernel,
              use_consistent_padding=consistent)  # fmt: skip


def test_conv_transpose_in_one_and_three_dimensions() -> None:
    agree("conv_transpose", values(2, 5, 3), values(3, 3, 4), (2,), "SAME", rhs_dilation=(2,))
    agree("conv_transpose", values(1, 3, 4, 3, 2), values(2, 2, 2, 2, 3), (1, 2, 1), "VALID")


def test_patches_and_local() -> None:
    agree("conv_general_dilated_patches", values(2, 3, 8, 7), (3, 2), (1, 2), "SAME")
    agree("conv_general_dilated_patches", values(2, 8, 7, 3), (3, 2), (2, 1), "VALID",
          dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    agree("conv_general_dilated_local", values(2, 3, 4, 5), values(5, 12, 3, 4), (1, 1), "VALID",
          (2, 2))  # fmt: skip
    agree("conv_general_dilated_local", values(2, 4, 5, 3), values(3, 4, 12, 5), (1, 1), "VALID",
          (2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip


def test_convolutions_refuse() -> None:
    x, w = values(5, 3, 8, 8), values(4, 3, 3, 3)
    both_refuse("conv", x, w[:, :2], (1, 1), "SAME")
    both_refuse("conv", x, w[0], (1, 1), "SAME")
    both_refuse("conv", x, w, (1,), "SAME")
    both_refuse("conv", x, w, (1, 1), "FOO")
    both_refuse("conv", x, w, (1, 1), [(1, 1)])
    both_refuse("conv", x, w.astype("int32"), (1, 1), "SAME")
    both_refuse("conv_general_dilated", x, w, (1, 1), "SAME", (2, 2))
    both_refuse("conv_general_dilated", x, w, (1, 1), "SAME", None, (0, 1))
    both_refuse("conv_general_dilated", x, w, (1, 1), "SAME", feature_group_count=2)
    both_refuse("conv_general_dilated", x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO"))


def test_shapes_and_names() -> None:
    shape, window = (1, 8, 8, 3), (3, 3, 3, 4)
    names = ("NHWC", "HWIO", "NHWC")
    for name, args in [
        ("conv_dimension_numbers", (shape, window, names)),
        ("conv_dimension_numbers", (shape, window, None)),
        ("conv_general_permutations", (names,)),
        ("padtype_to_pads", ((8, 8), (2, 4), (1, 3), "SAME_LOWER")),
        ("conv_general_shape_tuple", (shape, window, (2, 2), "SAME", names)),
        ("conv_transpose_shape_tuple", (shape, window, (2, 2), "SAME", names)),
        ("conv_shape_tuple", ((1, 3, 8, 8), (4, 3, 3, 3), (1, 2), [(1, 1), (0, 2)])),
    ]:
        assert tuple(getattr(ours, name)(*args)) == tuple(getattr(jax.lax, name)(*args))
    for bad in [("NHWC", "HWIO", "NHWX"), ("NHWC", "HWI", "NHWC"), ("NHWC", "HWIO", "NHHC")]:
        both_refuse("conv_dimension_numbers", shape, window, bad)


def test_default_precision() -> None:
    seen: list[Any] = []
    before = EVAL.evaluator
    EVAL.evaluator = lambda primitive, args, params: seen.append(params["precision"])
    try:
        with config.default_matmul_precision.override("high"):
            ours.dot(values(3), values(3))
            ours.dot(values(3), values(3), precision="highest")
    finally:
        EVAL.evaluator = before
    high, highest = ours.Precision.HIGH, ours.Precision.HIGHEST
    assert seen == [(high, high), (highest, highest)]
