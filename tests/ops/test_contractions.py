"""`dot_general` and `conv_general_dilated` by NumPy, against JAX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

import pullback as pb
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import Linear, Primitive, Sample, Zero
from pullback.core.trace import EVAL
from pullback.ops import elementwise, reductions  # noqa: F401  (rules look them up by name)
from pullback.ops.contractions import dot_general
from pullback.ops.convolution import conv_general_dilated
from pullback.ops.precision import Precision, canonicalize_precision

CASES = [(p, s) for p in (dot_general, conv_general_dilated) for s in p.samples()]
IDS = [f"{p.name}-{'-'.join(str(aval_of(x)) for x in s.args)}" for p, s in CASES]


@pytest.fixture(autouse=True)
def evaluate_by_reference() -> Iterator[None]:
    """Primitives run by their NumPy references, without the runtime."""
    before = EVAL.evaluator

    def evaluate(primitive: Any, args: Any, params: Any) -> Any:
        primitive.abstract(*map(aval_of, args), **params)
        return np.asarray(primitive.reference(*map(np.asarray, args), **params))

    EVAL.evaluator = evaluate
    with jax.enable_x64(True):
        yield
    EVAL.evaluator = before


def oracle(primitive: Primitive, sample: Sample) -> Any:
    params = {k: v for k, v in sample.params.items() if k != "out_sharding"}
    if primitive is conv_general_dilated:
        params["dimension_numbers"] = lax.ConvDimensionNumbers(*params["dimension_numbers"])
    return lambda *args: getattr(lax, primitive.name)(*args, **params)


def close(actual: Any, expected: Any, tol: float = 2e-5) -> None:
    expected = np.asarray(expected)
    assert np.asarray(actual).dtype == expected.dtype
    if expected.dtype.itemsize == 2:
        tol = 2e-2
    wide = np.complex128 if np.iscomplexobj(expected) else np.float64
    np.testing.assert_allclose(
        np.asarray(actual).astype(wide), expected.astype(wide), atol=tol, rtol=tol
    )


def is_inexact(x: Any) -> bool:
    return bool(np.issubdtype(np.asarray(x).dtype, np.inexact))


@pytest.mark.parametrize(("primitive", "sample"), CASES, ids=IDS)
def test_value_and_type(primitive: Primitive, sample: Sample) -> None:
    expected = oracle(primitive, sample)(*sample.args)
    aval = primitive.abstract(
        *[ShapedArray(x.shape, x.dtype) for x in sample.args], **sample.params
    )
    assert (aval.shape, aval.dtype) == (expected.shape, expected.dtype)
    actual = primitive(*sample.args, **sample.params)
    assert actual.shape == aval.shape
    close(actual, expected)


@pytest.mark.parametrize(("primitive", "sample"), CASES, ids=IDS)
def test_derivatives(primitive: Primitive, sample: Sample) -> None:
    if not all(is_inexact(x) for x in sample.args):
        pytest.skip("integers have no derivatives")
    rng = np.random.default_rng(0)
    args, fun = sample.args, oracle(primitive, sample)
    tangents = tuple(np.asarray(rng.normal(size=x.shape)).astype(x.dtype) for x in args)
    out, pull = jax.vjp(fun, *args)
    _, out_dot = primitive.jvp(args, tangents, **sample.params)
    close(out_dot, jax.jvp(fun, args, tangents)[1], 1e-4)
    _, half = primitive.jvp(args, (tangents[0], Zero(aval_of(args[1]))), **sample.params)
    close(half, fun(tangents[0], args[1]), 1e-4)
    ct = np.asarray(rng.normal(size=out.shape)).astype(out.dtype)
    expected = pull(ct)
    lhs = primitive.transpose(ct, Linear(aval_of(args[0])), args[1], **sample.params)[0]
    rhs = primitive.transpose(ct, args[0], Linear(aval_of(args[1])), **sample.params)[1]
    close(lhs, expected[0], 1e-4)
    close(rhs, expected[1], 1e-4)


@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("primitive", "sample"), CASES, ids=IDS)
def test_lanes(primitive: Primitive, sample: Sample, which: tuple[bool, bool]) -> None:
    size = 3
    for position in range(min(x.ndim for x in sample.args) + 1):
        args, dims = [], []
        for x, lanes in zip(sample.args, which, strict=True):
            stacked = np.stack([np.roll(x, k) for k in range(size)], position) if lanes else x
            args.append(stacked)
            dims.append(position if lanes else None)
        out, dim = primitive.batch(size, args, dims, **sample.params)
        for k in range(size):
            lane = [
                np.take(x, k, d) if d is not None else x for x, d in zip(args, dims, strict=True)
            ]
            expected = primitive.reference(*lane, **sample.params)
            np.testing.assert_allclose(
                np.take(np.asarray(out), k, dim).astype(np.complex128),
                np.asarray(expected).astype(np.complex128),
                atol=1e-2 if np.asarray(expected).dtype.itemsize == 2 else 1e-4,
            )


def refuse(primitive: Primitive, shapes: Any, **params: Any) -> str:
    avals = [ShapedArray(s, np.dtype("float32")) for s in shapes]
    with pytest.raises((TypeError, ValueError)) as caught:
        primitive.abstract(*avals, **params)
    return str(caught.value)


def test_errors_of_dot_general_name_both_operands() -> None:
    rest = {"precision": None, "preferred_element_type": None}
    text = refuse(dot_general, [(2, 3), (2, 3)], dimension_numbers=(((1,), (0,)), ((), ())), **rest)
    assert "contracting dimensions to have the same shape, got (3,) and (2,)" in text
    assert "f32[2,3] and f32[2,3]" in text
    text = refuse(dot_general, [(2, 3), (3, 4)], dimension_numbers=(((1,), (2,)), ((), ())), **rest)
    assert "rhs of rank 2" in text
    text = refuse(
        dot_general, [(2, 3), (2, 4)], dimension_numbers=(((0,), (0,)), ((0,), (0,))), **rest
    )
    assert "disjoint" in text


@pytest.mark.parametrize(
    ("shapes", "changes", "words"),
    [
        (((1, 3, 8, 8), (4, 2, 3, 3)), {}, "3 // 1 != 2"),
        (((1, 3, 8, 8), (4, 3, 3)), {}, "ndim to be equal, got 4 and 3"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"window_strides": (1,)}, "same number of dimensions"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"window_strides": (0, 1)}, "positive"),
        (((1, 3, 8, 8), (4, 3, 3, 3)), {"feature_group_count": 2}, "does not divide 3"),
        (((1, 4, 8, 8), (3, 2, 3, 3)), {"feature_group_count": 2}, "3 is not a multiple of 2"),
        (((5, 3, 8, 8), (4, 3, 3, 3)), {"batch_group_count": 2}, "does not divide 5"),
        (((5, 3, 8, 8), (4, 3, 3, 3)), {"batch_group_count": 0}, "positive integer"),
    ],
)
def test_errors_of_convolutions(shapes: Any, changes: Any, words: str) -> None:
    params = next(iter(conv_general_dilated.samples())).params
    assert words in refuse(conv_general_dilated, shapes, **{**params, **changes})


def test_precision_names() -> None:
    assert canonicalize_precision("highest") == (Precision.HIGHEST, Precision.HIGHEST)
    assert canonicalize_precision(("high", None)) == (Precision.HIGH, Precision.DEFAULT)
    assert str(canonicalize_precision("F16_F16_F32")) == "F16_F16_F32"
    assert Precision("tensorfloat32") is Precision.HIGH
    with pytest.raises(ValueError, match="'exact'"):
        canonicalize_precision("exact")


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("spec", ["ij,j->i", "ji,j->i", "j,ij->i", "bij,bj->bi", "bji,bj->bi"])
def test_a_complex_matrix_times_a_vector_is_not_packed(spec: str, dtype: str) -> None:
    rng = np.random.default_rng(4)
    sizes = {"i": 70, "j": 90, "b": 3}
    operands, _ = spec.split("->")
    shapes = [[sizes[k] for k in operand] for operand in operands.split(",")]
    with pb.enable_x64():
        x, y = (
            (rng.integers(-8, 9, s) + 1j * rng.integers(-8, 9, s)).astype(dtype) for s in shapes
        )
        program = pb.jit(lambda x, y: pb.numpy.einsum(spec, x, y))
        assert np.array_equal(np.asarray(program(x, y)), np.einsum(spec, x, y))
        assert "pb_gemm" not in program.lower(x, y).as_text("loops")
