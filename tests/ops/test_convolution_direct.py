"""Convolutions with features last, and their gradients, against loops in NumPy."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.llvm import jit, library
from pullback.ops import convolution_depthwise, convolution_direct
from pullback.ops.convolution_geometry import Geometry, output_space, phases_of

LAST = ("NHWC", "HWIO", "NHWC")
Pairs = tuple[tuple[int, int], tuple[int, int]]

# (shape of the operand, shape of the kernel, strides, padding, dilations of both, groups)
CASES: list[tuple[Any, ...]] = [
    ((2, 9, 11, 16), (3, 3, 16, 32), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((2, 9, 11, 17), (3, 3, 17, 37), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((3, 9, 11, 24), (3, 3, 24, 140), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((2, 13, 12, 10), (5, 3, 10, 70), (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((2, 13, 12, 10), (5, 3, 10, 70), (2, 3), ((0, 2), (3, -1)), (1, 1), (2, 1), 1),
    ((2, 13, 12, 24), (3, 3, 12, 18), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 2),
    ((2, 7, 6, 24), (4, 4, 24, 18), (1, 1), ((2, 2), (2, 1)), (2, 2), (1, 1), 1),
    ((2, 7, 6, 24), (1, 1, 24, 18), (1, 1), ((0, 0), (0, 0)), (2, 2), (1, 1), 1),
    ((2, 13, 12, 3), (7, 7, 3, 20), (2, 2), ((3, 3), (3, 3)), (1, 1), (1, 1), 1),
    ((2, 13, 12, 20), (1, 1, 20, 24), (2, 2), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
    ((2, 8, 8, 20), (1, 1, 20, 24), (1, 1), ((2, 0), (0, 9)), (1, 1), (1, 1), 1),
    ((1, 7, 7, 130), (3, 3, 130, 90), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    *(((2, 9, 11, 32), (3, 3, 32, n), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1) for n in (1, 5)),
    ((2, 13, 12, 3), (7, 7, 3, 64), (2, 2), ((3, 3), (3, 3)), (1, 1), (1, 1), 1),
    ((2, 9, 11, 32), (3, 3, 16, 4), (2, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 2),
    ((2, 20, 21, 36), (7, 7, 1, 36), (1, 1), ((3, 3), (3, 3)), (1, 1), (1, 1), 36),
    ((2, 9, 8, 80), (3, 3, 1, 80), (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1), 80),
    ((2, 9, 8, 20), (3, 3, 1, 20), (1, 1), ((1, 4), (3, 0)), (1, 1), (2, 2), 20),
    ((2, 9, 8, 20), (3, 3, 1, 20), (1, 1), ((-2, 1), (1, -1)), (1, 1), (1, 1), 20),
    ((2, 9, 8, 20), (3, 2, 1, 20), (1, 1), ((1, 1), (2, 0)), (2, 1), (1, 1), 20),
    ((1, 3, 3, 130), (5, 5, 1, 130), (1, 1), ((2, 2), (2, 2)), (1, 1), (1, 1), 130),
    ((4, 33, 28, 8), (3, 3, 8, 9), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
]


def _spread(x: Any, padding: Pairs, dilation: Sequence[int]) -> Any:
    """The operand with zeros between and around its elements, or without some of its edges."""
    for axis, (pair, step) in enumerate(zip(padding, dilation, strict=True), 1):
        low, high = pair
        size = (x.shape[axis] - 1) * step + 1
        shape = list(x.shape)
        shape[axis] = size + max(low, 0) + max(high, 0)
        wide = np.moveaxis(np.zeros(shape), axis, 0)
        first = max(low, 0)
        wide[first : first + size : step] = np.moveaxis(x, axis, 0)
        x = np.moveaxis(wide[max(-low, 0) : len(wide) + min(high, 0)], 0, axis)
    return x


def _expected(
    x: Any, w: Any, strides: Any, padding: Any, lhs: Any, rhs: Any, groups: int
) -> np.ndarray:
    """A loop over the elements of the window."""
    x, w = _spread(x.astype(float), padding, lhs), w.astype(float)
    ins, outs = w.shape[2], w.shape[3] // groups
    room = [x.shape[k + 1] - (w.shape[k] - 1) * rhs[k] - 1 for k in range(2)]
    height, width = (r // s + 1 for r, s in zip(room, strides, strict=True))
    out = np.zeros((x.shape[0], height, width, w.shape[3]))
    for i, j, g in itertools.product(*map(range, w.shape[:2]), range(groups)):
        rows = slice(i * rhs[0], i * rhs[0] + (height - 1) * strides[0] + 1, strides[0])
        columns = slice(j * rhs[1], j * rhs[1] + (width - 1) * strides[1] + 1, strides[1])
        met = x[:, rows, columns, g * ins : (g + 1) * ins]
        out[..., g * outs : (g + 1) * outs] += met @ w[i, j, :, g * outs : (g + 1) * outs]
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients(case: Any, dtype: str) -> None:
    """Small integers, so that sums are exact; gradients by what they say of directions."""
    shape, kernel, strides, padding, lhs, rhs, groups = case
    rng = np.random.default_rng(1)
    x, w = (rng.integers(-3, 4, s).astype(dtype) for s in (shape, kernel))

    def convolution(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(
            x, w, strides, padding, lhs, rhs, LAST, feature_group_count=groups
        )

    expected = _expected(x, w, *case[2:])
    ct = rng.integers(-3, 4, expected.shape).astype(dtype)

    def gradients(x: Any, w: Any, ct: Any) -> Any:
        out, back = pb.vjp(convolution, x, w)
        return out, back(ct)

    with pb.enable_x64():
        found, (x_bar, w_bar) = pb.jit(gradients)(x, w, ct)
    assert np.array_equal(np.asarray(found), expected)
    for _ in range(3):
        dx, dw = (rng.integers(-3, 4, s) for s in (shape, kernel))
        assert np.sum(np.asarray(x_bar) * dx) == np.sum(_expected(dx, w, *case[2:]) * ct)
        assert np.sum(np.asarray(w_bar) * dw) == np.sum(_expected(x, dw, *case[2:]) * ct)


def test_nothing_is_copied() -> None:
    def convolution(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=LAST)

    x, w = np.ones((2, 16, 16, 64), np.float32), np.ones((3, 3, 64, 64), np.float32)
    compiled = pb.jit(convolution).lower(x, w).compile()
    assert compiled.memory_analysis().temp_size_in_bytes <= 1


def test_infinities_in_the_kernel_meet_the_zeros_around_the_operand() -> None:
    x, w = np.ones((1, 4, 4, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
    w[0, 0] = np.inf
    found = pb.jit(lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "SAME", None, None, LAST))
    values = np.asarray(found(x, w))
    assert np.isnan(values[:, 0]).all()
    assert np.isnan(values[:, :, 0]).all()
    assert np.isinf(values[:, 1:, 1:]).all()


BFLOAT16: list[tuple[Any, ...]] = [
    ((2, 9, 11, 32), (3, 3, 32, 32), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((2, 9, 11, 64), (3, 3, 64, 40), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1), 1),
    ((1, 13, 11, 96), (3, 5, 96, 130), (2, 1), ((0, 2), (2, 3)), (1, 1), (2, 1), 1),
    ((1, 3, 3, 32), (1, 1, 32, 8), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 1),
    ((2, 7, 6, 32), (4, 4, 32, 18), (1, 1), ((2, 2), (2, 1)), (2, 2), (1, 1), 1),
    ((2, 7, 6, 30), (3, 3, 30, 18), (1, 1), ((2, 2), (2, 1)), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", BFLOAT16)
def test_bfloat16_is_summed_in_float32_and_rounded_once(case: Any) -> None:
    shape, kernel, strides, padding, lhs, rhs, _ = case
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-9, 10, s).astype(ml_dtypes.bfloat16) for s in (shape, kernel))
    exact = _expected(x, w, *case[2:])
    for dtype, expected in ((np.float32, exact), (None, exact.astype(ml_dtypes.bfloat16))):
        found = pb.jit(
            lambda x, w, dtype=dtype: lax.conv_general_dilated(
                x, w, strides, padding, lhs, rhs, LAST, preferred_element_type=dtype
            )
        )(x, w)
        assert found.dtype == (dtype or expected.dtype)
        assert np.array_equal(np.asarray(found), expected)


def test_bfloat16_with_features_in_front() -> None:
    shape, kernel, strides, padding = (2, 16, 18, 64), (3, 3, 64, 96), (1, 2), ((1, 1), (0, 2))
    rng = np.random.default_rng(3)
    x, w = (rng.integers(-9, 10, s).astype(ml_dtypes.bfloat16) for s in (shape, kernel))
    expected = _expected(x, w, strides, padding, (1, 1), (1, 1), 1).astype(ml_dtypes.bfloat16)
    found = pb.jit(lambda x, w: lax.conv_general_dilated(x, w, strides, padding))(
        np.ascontiguousarray(x.transpose(0, 3, 1, 2)), w.transpose(3, 2, 0, 1).copy()
    )
    assert np.array_equal(np.asarray(found), expected.transpose(0, 3, 1, 2))


@pytest.mark.skipif(not library.has("pb_tiles_direct_bf16"), reason="no tile registers")
def test_tile_registers_multiply_windows() -> None:
    caller, rng = _Caller(library.kernel_module), np.random.default_rng(3)
    x, w = (rng.integers(-9, 10, s).astype(ml_dtypes.bfloat16) for s in BFLOAT16[1][:2])
    pads, specs = ((1, 1), (1, 1)), ((0, 3, 1, 2), (3, 2, 0, 1))
    g, space = _geometry((2, 64, 9, 11), (40, 64, 3, 3), specs, pads, (1, 1))
    float32 = np.dtype(np.float32)
    assert convolution_direct.tiles_fit(caller, x, w, g, (0, 3, 1, 2), float32)
    out = caller.buffer((2, *space, 40), float32)
    convolution_direct.by_tiles(caller, x, w, g, out, (0, 3, 1, 2), True)
    assert np.array_equal(out, _expected(x, w, *BFLOAT16[1][2:]))


# --------------------------------------------------------------------------- every width of vectors


class _Caller:
    """Stands for the builder: what lowering tells a kernel goes to that kernel at once."""

    def __init__(self, load: Callable[[str], jit.LoadedModule]) -> None:
        self.load = functools.cache(load)

    def materialize(self, x: Any) -> Any:
        return x

    def view(self, shape: Any, element: Any) -> Any:
        return np.array([element(idx) for idx in np.ndindex(*shape)]).reshape(shape)

    def constant(self, x: Any) -> Any:
        return x

    def has(self, symbol: str) -> bool:
        return library.has(symbol)

    def buffer(self, shape: Any, dtype: Any) -> Any:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = np.full(size + 64, 77, np.uint8)  # at a cache line, as those of programs
        start = -memory.ctypes.data % 64
        return memory[start : start + size].view(dtype).reshape(shape)

    def call(self, symbol: str, *arrays: Any) -> None:
        types = [ctypes.c_void_p] * len(arrays)
        function = ctypes.CFUNCTYPE(None, *types)(self.load(symbol).address(symbol))
        function(*(a.ctypes.data for a in arrays))


class _Lazy:
    """A tensor that is asked for its elements."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def at(self, index: Sequence[int]) -> Any:
        return self.x[tuple(index)]


def _compiled(symbol: str) -> jit.LoadedModule:
    """A kernel for the vectors that are set now."""
    return library.kernel_module.__wrapped__(symbol)


def _geometry(
    x: Sequence[int],
    w: Sequence[int],
    specs: Any,
    padding: Pairs,
    rhs_dilation: Sequence[int],
    *,
    groups: int = 1,
    by_batch: bool = False,
) -> tuple[Geometry, tuple[int, ...]]:
    """A convolution with one phase, and its spatial lengths; shapes are by role."""
    space = output_space(x[2:], w[2:], (1, 1), padding, (1, 1), rhs_dilation)
    rules = zip(space, w[2:], padding, rhs_dilation, strict=True)
    phases = tuple(phases_of(n, k, 1, low, 1, rd)[0] for n, k, (low, _), rd in rules)
    x_spec, w_spec = specs
    return Geometry(x_spec, w_spec, groups, by_batch, x[0], w[0], w[1], phases), space


@pytest.fixture(params=[128, 256, None])
def caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> _Caller:
    """Calls kernels of vectors of so many bits, or of those that the machine has."""
    if request.param is not None:
        monkeypatch.setattr(jit, "vector_bits", lambda: request.param)
    return _Caller(_compiled)


def _whole_numbers(dtype: Any, *shapes: Sequence[int]) -> list[Any]:
    """Operands whose products and sums are exact."""
    rng = np.random.default_rng(shapes[0])
    return [rng.integers(-3, 4, shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f8")])
@pytest.mark.parametrize("outs", [8, 24, 37, 150])
def test_vectors_of_every_width(outs: int, dtype: Any, caller: _Caller) -> None:
    pads = ((1, 1), (1, 1))
    x, w = _whole_numbers(dtype, (2, 9, 7, 19), (3, 3, 19, outs))
    specs = (0, 3, 1, 2), (3, 2, 0, 1)
    g, space = _geometry((2, 19, 9, 7), (outs, 19, 3, 3), specs, pads, (1, 1))
    assert convolution_direct.fits(x, g, (0, 3, 1, 2), dtype)
    out = caller.buffer((2, *space, outs), dtype)
    convolution_direct.direct(caller, x, w, g, out, (0, 3, 1, 2), True)
    assert np.array_equal(out, _expected(x, w, (1, 1), pads, (1, 1), (1, 1), 1))
    (ct,) = _whole_numbers(dtype, out.shape)
    specs = (3, 0, 1, 2), (3, 0, 1, 2)
    g, space = _geometry((19, 2, 9, 7), (outs, 2, 9, 7), specs, pads, (1, 1))
    assert convolution_direct.gradient_fits(x, g, (2, 3, 0, 1), dtype)
    gradient = caller.buffer((*space, 19, outs), dtype)
    convolution_direct.gradient(caller, x, ct, g, gradient, (2, 3, 0, 1), True)
    wide = np.pad(x, ((0, 0), *pads, (0, 0)))
    for i, j in itertools.product(range(3), range(3)):
        met = wide[:, i : i + 9, j : j + 7].reshape(-1, 19)
        assert np.array_equal(gradient[i, j], met.T @ ct.reshape(-1, outs))


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f8")])
@pytest.mark.parametrize("features", [16, 23, 100])
def test_features_apart_at_every_width(features: int, dtype: Any, caller: _Caller) -> None:
    pads = ((2, 2), (2, 2))
    x, w = _whole_numbers(dtype, (3, 7, 17, features), (5, 5, 1, features))
    sizes, specs = ((3, 1, 7, 17), (1, 1, 5, 5)), ((0, 3, 1, 2), (3, 2, 0, 1))
    g, space = _geometry(*sizes, specs, pads, (1, 1), groups=features)
    assert convolution_depthwise.depthwise_fits(x, g, (0, 3, 1, 2), dtype)
    out = caller.buffer((3, *space, features), dtype)
    convolution_depthwise.depthwise(caller, x, w, g, out, (0, 3, 1, 2), True)
    assert np.array_equal(out, _expected(x, w, (1, 1), pads, (1, 1), (1, 1), features))
    (ct,) = _whole_numbers(dtype, out.shape)
    sizes, specs = ((1, 3, 7, 17), (1, 3, 7, 17)), ((3, 0, 1, 2), (3, 0, 1, 2))
    g, space = _geometry(*sizes, specs, pads, (1, 1), groups=features, by_batch=True)
    assert convolution_depthwise.depthwise_gradient_fits(x, g, (2, 3, 0, 1), dtype)
    gradient = caller.buffer((*space, 1, features), dtype)
    convolution_depthwise.depthwise_gradient(caller, x, ct, g, gradient, (2, 3, 0, 1), True)
    wide = np.pad(x, ((0, 0), *pads, (0, 0)))
    for i, j in itertools.product(range(5), range(5)):
        met = wide[:, i : i + 7, j : j + 17]
        assert np.array_equal(gradient[i, j, 0], np.sum(met * ct, (0, 1, 2)))


@pytest.mark.parametrize("dtype", [np.dtype("f4"), np.dtype("f8")])
@pytest.mark.parametrize("outs", [1, 2, 3, 4, 7])
def test_few_features_at_every_width(outs: int, dtype: Any, caller: _Caller) -> None:
    pads = ((1, 1), (1, 1))
    x, w = _whole_numbers(dtype, (2, 5, 7, 48), (3, 3, 48, outs))
    specs = (0, 3, 1, 2), (3, 2, 0, 1)
    g, space = _geometry((2, 48, 5, 7), (outs, 48, 3, 3), specs, pads, (1, 1))
    assert convolution_direct.few_fits(x, g, (0, 3, 1, 2), dtype)
    out = caller.buffer((2, *space, outs), dtype)
    convolution_direct.few(caller, x, _Lazy(w), g, out, (0, 3, 1, 2), True)
    assert np.array_equal(out, _expected(x, w, (1, 1), pads, (1, 1), (1, 1), 1))
