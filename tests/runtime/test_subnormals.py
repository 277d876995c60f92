"""Numbers below the smallest normal one: zero in programs with loops, or where that is chosen."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.llvm import pool

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64", "arm64", "aarch64"),
    reason="the mode is set on x86-64 and aarch64",
)

SMALL = np.float32(1e-30)
SMALLER = SMALL * np.float32(1e-12)  # about 1e-42, by NumPy


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = pool.num_threads()
    pool.set_num_threads(n)
    try:
        yield
    finally:
        pool.set_num_threads(before)


def product(x: Any) -> Any:
    return x * jnp.float32(1e-12)


def kept_here() -> bool:
    """Whether this thread itself still keeps them."""
    return bool(SMALL * np.float32(1e-12) == SMALLER > 0)


def looped(x: Any) -> Any:
    return pb.lax.fori_loop(0, 3, lambda i, v: v * jnp.float32(1e-4), x)


def test_programs_without_loops_keep_them() -> None:
    assert pb.jit(product)(SMALL) == SMALLER
    assert pb.jit(lambda x: x * 1e20)(SMALLER) == SMALLER * np.float32(1e20)
    assert pb.jit(jnp.sin)(SMALLER) == SMALLER


def test_loops_take_them_for_zero() -> None:
    assert pb.jit(looped)(SMALL) == 0.0
    assert looped(SMALL) == 0.0
    scan = pb.jit(lambda xs: pb.lax.scan(lambda c, x: (c + x, x * 2), 0.0, xs))
    total, doubled = scan(np.full(4, SMALLER))
    assert total == 0.0
    assert not np.asarray(doubled).any()
    assert kept_here()


def test_gradients_of_loops_take_them_for_zero() -> None:
    def end(x: Any) -> Any:
        return pb.lax.scan(lambda c, _: (c * jnp.float32(1e-4), None), x, None, length=10)[0]

    assert pb.jit(pb.grad(end))(1.0) == 0.0
    with pb.subnormals("keep"):
        assert pb.jit(pb.grad(end))(1.0) > 0.0


def test_the_setting() -> None:
    for mode, straight, loop in (
        ("keep", SMALLER, SMALLER),
        ("flush", 0.0, 0.0),
        ("flush_in_loops", SMALLER, 0.0),
    ):
        with pb.subnormals(mode):
            assert pb.jit(product)(SMALL) == straight
            np.testing.assert_allclose(pb.jit(looped)(SMALL), loop, rtol=1e-2)
    with pytest.raises(ValueError, match="flush_in_loops"), pb.subnormals("no"):
        pass


def test_all_threads_do_the_same() -> None:
    x = np.full(1 << 20, SMALL)
    f = pb.jit(product)
    for n in (1, 2, 4):
        with threads(n):
            assert (np.asarray(f(x)) == SMALLER).all()
            with pb.subnormals("flush"):
                assert not np.asarray(f(x)).any()


def test_python_keeps_them_inside_a_program_and_after_it() -> None:
    seen = []

    def callback(x: Any) -> Any:
        seen.append(kept_here())
        return np.float32(x)

    def program(x: Any) -> Any:
        y = product(x)
        z = pb.pure_callback(callback, pb.ShapeDtypeStruct((), np.float32), y + 1)
        return product(x * z)

    with pb.subnormals("flush"):
        assert pb.jit(program)(SMALL) == 0.0
    assert seen == [True]
    assert kept_here()


def test_the_mode_is_set_back_when_a_callback_fails() -> None:
    def callback(x: Any) -> Any:
        raise ValueError("no")

    def program(x: Any) -> Any:
        return product(pb.pure_callback(callback, pb.ShapeDtypeStruct((), np.float32), x * 2))

    with pb.subnormals("flush"), pytest.raises(ValueError, match="no"):
        np.asarray(pb.jit(program)(SMALL))
    assert kept_here()


@pytest.mark.parametrize("name", ["float16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_those_of_narrow_formats_are_numbers(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or name)
    tiny = np.arange(-7, 8).astype(np.float32) * np.float32(ml_dtypes.finfo(dtype).smallest_normal)
    tiny = np.concatenate([tiny / 8, tiny / 3])
    with pb.subnormals("flush"):
        narrow = pb.jit(lambda x: x.astype(dtype))(tiny)
        back = pb.jit(lambda x: x.astype(jnp.float32))(narrow)
    np.testing.assert_array_equal(np.asarray(narrow), tiny.astype(dtype))
    np.testing.assert_array_equal(np.asarray(back), tiny.astype(dtype).astype(np.float32))
