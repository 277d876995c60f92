"""Fourier transforms by the kernels for many neighbours, against NumPy in twice the precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as pnp
from pullback.llvm import fft_kernels, library, pool

SHAPES = [
    ((16, 64), 1), ((19, 120), 1), ((33, 77), 1), ((17, 1001), 1), ((20, 512), 1),
    ((64, 16), 0), ((128, 13), 0), ((3, 100, 40), 1), ((9, 26, 17), 1), ((2, 8, 64, 3), 1),
    ((70, 16), 1), ((40, 31), 1), ((5, 64), 1),
    ((1024,), 0), ((4096,), 0), ((3, 1500), 1), ((1 << 15,), 0), ((20_449,), 0), ((2, 11_011), 1),
    ((17, 16_384), 1), ((1009,), 0), ((18, 521), 1), ((100_000,), 0), ((2, 1061), 1),
]  # fmt: skip
"""Lanes that are rows or neighbours, with a rest and without; no kernel; long ones; primes."""


def _complex(shape: tuple[int, ...], dtype: Any) -> Any:
    rng = np.random.default_rng(5)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def _close(found: Any, expected: Any) -> None:
    found = np.asarray(found)
    assert found.shape == expected.shape
    bound = 40 * np.finfo(found.dtype).eps * np.abs(expected).max()
    assert np.abs(found - expected).max() <= bound


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_one_axis(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    with pb.enable_x64(True):
        x = _complex(shape, dtype)
        wide = x.astype(np.clongdouble)
        forward, back = pb.jit(lambda x: (pnp.fft.fft(x, axis=axis), pnp.fft.ifft(x, axis=axis)))(x)
        _close(forward, np.fft.fft(wide, axis=axis))
        _close(back, np.fft.ifft(wide, axis=axis))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(24, 96), (17, 64, 20), (16, 33), (40, 128), (37, 18), (33, 250), (64, 2, 2048), (2, 5000)],
)
def test_real(shape: tuple[int, ...], dtype: str) -> None:
    with pb.enable_x64(True):
        x = np.random.default_rng(3).standard_normal(shape).astype(dtype)
        spectrum = pb.jit(pnp.fft.rfft2)(x)
        _close(spectrum, np.fft.rfft2(x.astype(np.longdouble)))
        _close(pb.jit(lambda z: pnp.fft.irfft2(z, shape[-2:]))(spectrum), x)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = pool.num_threads()
    library.set_num_threads(count)
    yield
    library.set_num_threads(before)


PLANES = [(8, 64, 128), (3, 128, 70), (2, 3, 80, 96), (5, 96, 64), (4, 260, 32)]
"""Matrices that are done one by one, and too few for the threads; rows that do not fill lanes."""


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", PLANES)
def test_matrices(shape: tuple[int, ...], dtype: str, threads: int) -> None:
    """Rows and columns of a matrix at once; bits are those of one axis after the other."""
    with pb.enable_x64(True), _threads(threads):
        x = np.random.default_rng(3).standard_normal(shape).astype(dtype)
        wide = x.astype(np.longdouble)
        spectrum = pb.jit(pnp.fft.rfft2)(x)
        _close(spectrum, np.fft.rfft2(wide))
        axes = pb.jit(lambda x: pnp.fft.fft(pnp.fft.rfft(x), axis=-2))(x)
        np.testing.assert_array_equal(spectrum, axes)
        back = pb.jit(lambda z: pnp.fft.irfft2(z, shape[-2:]))(spectrum)
        _close(back, x)
        axes = pb.jit(lambda z: pnp.fft.irfft(pnp.fft.ifft(z, axis=-2), shape[-1]))(spectrum)
        np.testing.assert_array_equal(back, axes)
        z = _complex(shape, np.result_type(dtype, np.complex64))
        _close(pb.jit(pnp.fft.fft2)(z), np.fft.fft2(z.astype(np.clongdouble)))
        _close(pb.jit(pnp.fft.ifft2)(z), np.fft.ifft2(z.astype(np.clongdouble)))
        whole = tuple(range(z.ndim))
        _close(pb.jit(pnp.fft.fftn)(z), np.fft.fftn(z.astype(np.clongdouble), axes=whole))


def test_several_axes_and_the_operand_stays() -> None:
    x = pnp.asarray(_complex((32, 16, 48), "complex64"))
    before = np.array(x)
    _close(pb.jit(pnp.fft.fftn)(x), np.fft.fftn(before.astype(np.complex128)))
    _close(pb.jit(pnp.fft.ifftn)(x), np.fft.ifftn(before.astype(np.complex128)))
    assert np.array_equal(np.asarray(x), before)


def test_between_other_operations() -> None:
    x = _complex((32, 64), "complex64")
    found = pb.jit(lambda x: pnp.fft.fft(2 * x, axis=0) + x)(x)
    _close(found, np.fft.fft(2 * x.astype(np.complex128), axis=0) + x)


@pytest.mark.parametrize("shape", [(1 << 20,), (30_030,), (17, 4, 16_384)])
def test_code_does_not_grow_with_the_length(shape: tuple[int, ...]) -> None:
    """Nothing is compiled for a length but the calls of a kernel."""
    x = pb.ShapeDtypeStruct(shape, "complex64")
    compiled = pb.jit(pnp.fft.fft).lower(x).compile()
    assert compiled.memory_analysis().generated_code_size_in_bytes < 16_384


def test_a_module_has_the_kernel_that_is_asked_for() -> None:
    module, needs = fft_kernels.module_text("pb_fft_long_f32", 128)
    for name in fft_kernels.KERNELS:
        assert (f"@{name}(" in module) == (name == "pb_fft_long_f32")
    assert set(needs) == {"pb_parallel_for", "malloc", "free"}


def test_powers_of_two_have_smaller_kernels() -> None:
    module, _ = fft_kernels.module_text("pb_fft_planes_twos_f32", 512)
    whole, _ = fft_kernels.module_text("pb_fft_planes_f32", 512)
    assert "@pass_16(" in module
    assert "@pass_13(" not in module
    assert 2 * len(module) < len(whole)


def test_neighbours_are_not_copied() -> None:
    """The first pass reads the array and the last one writes it."""
    module, _ = fft_kernels.module_text("pb_fft_twos_f32", 512)
    group = module.split("@near_group(", 1)[1].split("\n}", 1)[0]
    assert "@first_16(" in group
    assert "@final_16(" in group
    assert group.count("@near_load(") == 1  # of a transform of a single pass


@pytest.mark.parametrize("count", [2, 3, 16, 17, 31])
@pytest.mark.parametrize("n", [64, 480, 1024])
def test_groups_of_fewer_neighbours_than_lanes(n: int, count: int) -> None:
    x = _complex((3, n, count), "complex64")
    wide = x.astype(np.complex128)
    _close(pb.jit(pnp.fft.fft2)(x), np.fft.fft2(wide))
    _close(pb.jit(pnp.fft.ifft2)(x), np.fft.ifft2(wide))
