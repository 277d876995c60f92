"""Reads at computed places: the places stay in registers, and have 32 bits where they fit."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest

from pullback import config, lax
from pullback import numpy as pnp
from pullback.scipy import ndimage
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
ROWS = RNG.integers(-9, 9, 200).astype(np.int32)
COLUMNS = RNG.integers(-7, 7, 200).astype(np.int32)
MATRIX = RNG.standard_normal((9, 7)).astype(np.float32)


def test_an_array_of_indices_is_not_stored() -> None:
    def pick(x: Any, i: Any, j: Any) -> Any:
        return x[i, j]

    program = compile_function(pick, MATRIX, ROWS, COLUMNS)
    np.testing.assert_array_equal(program(MATRIX, ROWS, COLUMNS)[0], MATRIX[ROWS, COLUMNS])
    assert program.loops.count("for ") == 1
    assert "t0[" not in program.loops
    assert "x i64>" not in program.module.text


def test_interpolation_is_one_loop() -> None:
    image = RNG.standard_normal((40, 30)).astype(np.float32)
    places = RNG.uniform(-3, 45, (2, 100)).astype(np.float32)

    def sample(x: Any, i: Any, j: Any) -> Any:
        return ndimage.map_coordinates(x, [i, j], order=1, mode="nearest")

    program = compile_function(sample, image, *places)
    assert program.loops.count("for ") == 1
    row, column = (np.clip(p, 0, n - 1) for p, n in zip(places, image.shape, strict=True))
    i, j = np.minimum(row.astype(int), 38), np.minimum(column.astype(int), 28)
    u, v = row - i, column - j
    upper = (1 - v) * image[i, j] + v * image[i, j + 1]
    lower = (1 - v) * image[i + 1, j] + v * image[i + 1, j + 1]
    (result,) = program(image, *places)
    np.testing.assert_allclose(result, (1 - u) * upper + u * lower, atol=1e-5)


def test_places_beyond_32_bits_stay_right() -> None:
    big = np.array([3, -(1 << 40), 1 << 40, 2, 5, -100, 0, 1] * 4, np.int64)
    x = np.arange(6, dtype=np.float32)

    def pick(x: Any, i: Any) -> Any:
        return x.at[i].get(mode="clip")

    with config.x64.override(True):
        program = compile_function(pick, x, big)
        np.testing.assert_array_equal(program(x, big)[0], x[np.clip(big, 0, 5)])


@pytest.mark.parametrize("axis", [0, 1])
def test_stacks_that_are_read_in_every_way(axis: int) -> None:
    """As a whole, at a known row, and in a loop around which they were made."""

    def row(x: Any, k: int) -> Any:
        return x[k] if axis == 0 else x[:, k]

    def everything(x: Any, y: Any) -> list[Any]:
        pair = pnp.stack([pnp.sin(x), y + x], axis)
        other = pnp.stack([row(pair, 0), y * row(pair, 0)], axis)

        def turn(carry: Any, _: Any) -> Any:
            inner = pnp.stack([carry, row(other, 1)], axis)
            return row(inner, 1) + 0.5 * row(inner, 0), inner.sum()

        return [pair, *lax.scan(turn, x, None, length=3)]

    x, y = (RNG.standard_normal(9).astype(np.float32) for _ in range(2))
    pair, carry, sums = compile_function(everything, x, y)(x, y)
    np.testing.assert_allclose(pair, np.stack([np.sin(x), y + x], axis), rtol=1e-5)
    state, totals, second = x, [], y * np.sin(x)
    for _ in range(3):
        totals.append(state.sum() + second.sum())
        state = second + np.float32(0.5) * state
    np.testing.assert_allclose(carry, state, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums, totals, rtol=1e-4, atol=1e-5)


def test_work_on_two_inputs_joins_where_both_are_needed() -> None:
    def both(x: Any, y: Any) -> Any:
        u, v = pnp.sin(x) + 1.0, pnp.cos(y) - 1.0
        return u * v + u / v, u - v

    x, y = (RNG.uniform(1, 2, 100).astype(np.float32) for _ in range(2))
    program = compile_function(lambda x, y: list(both(x, y)), x, y)
    assert program.loops.count("for ") == 1
    u, v = np.sin(x) + 1, np.cos(y) - 1
    for got, want in zip(program(x, y), (u * v + u / v, u - v), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("bits", [128, 256, 512])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int16", "uint8", "complex64"])
@pytest.mark.parametrize("stride", [2, 3, 4, 5, 8, 9])
def test_small_strides(stride: int, dtype: str, bits: int) -> None:
    """Vectors side by side are shuffled; at no stride is anything read after the last element."""
    for n in (37, 64, 300):
        memory, x = _before_a_guard(n * stride - stride + 1, np.dtype(dtype))
        x[:] = np.arange(x.size) % 100
        with config.x64.override(True):
            program = compile_function(lambda x, s=stride: x[::s] + x[::s], x, vector_bits=bits)
        np.testing.assert_array_equal(program(x)[0], 2 * x[::stride])
        gathers = "llvm.masked.gather" in program.module.text
        most = 8 if bits >= 32 * np.dtype(dtype).itemsize else 4
        assert gathers == (stride > most) or n == 37 or dtype in ("uint8", "int16", "complex64")
        del memory


def _before_a_guard(count: int, dtype: np.dtype[Any]) -> tuple[mmap.mmap, Any]:
    """An array that ends where memory may not be touched."""
    pages = -(-count * dtype.itemsize // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None)
    end = whole.ctypes.data + pages * mmap.PAGESIZE
    assert libc.mprotect(ctypes.c_void_p(end), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    start = pages * mmap.PAGESIZE - count * dtype.itemsize
    return memory, whole[start : pages * mmap.PAGESIZE].view(dtype)


def test_distances_gather_nothing() -> None:
    """Three coordinates a point: loads of whole vectors, and shuffles."""
    x = RNG.standard_normal((64, 3)).astype(np.float32)

    def distances(x: Any) -> Any:
        return pnp.sqrt(pnp.sum((x[:, None] - x[None]) ** 2, axis=-1))

    program = compile_function(distances, x)
    assert "llvm.masked.gather" not in program.module.text
    expected = np.sqrt(((x[:, None].astype(float) - x[None]) ** 2).sum(-1))
    np.testing.assert_allclose(program(x)[0], expected, rtol=1e-6)


def test_rows_that_one_sum_takes_are_not_stored_first() -> None:
    places = RNG.integers(0, 90, (3, 40)).astype(np.int32)
    weights = RNG.standard_normal((3, 40)).astype(np.float32)
    image = RNG.standard_normal((50, 90)).astype(np.float32)

    def neighbours(x: Any, w: Any) -> Any:
        return (x.at[:, places].get(mode="promise_in_bounds") * w).sum(1)

    program = compile_function(neighbours, image, weights)
    np.testing.assert_allclose(
        program(image, weights)[0], (image[:, places] * weights).sum(1), atol=1e-5
    )
    assert "t0[" not in program.loops


def test_vectors_go_along_what_is_written() -> None:
    """Reading rows far apart costs what reading at computed places costs; writing them, more."""
    places = RNG.integers(0, 90, (6, 64)).astype(np.int32)
    image = RNG.standard_normal((64, 90)).astype(np.float32)

    def neighbours(x: Any) -> Any:
        return x.at[:, places].get(mode="promise_in_bounds").sum(1)

    program = compile_function(neighbours, image)
    np.testing.assert_allclose(program(image)[0], image[:, places].sum(1), atol=1e-5)
    inner = [line for line in program.loops.splitlines() if " by " in line]
    (name,) = {line.split("for ")[1].split(" in")[0] for line in inner}
    assert f" + {name}] = v0" in program.loops
