"""Copies of large arrays: `pb_copy`, and where programs call it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

import pullback.numpy as jnp
from pullback import lax
from pullback.llvm import pool
from pullback.llvm.emit_statements import PARALLEL_COPY_BYTES
from pullback.llvm.pool_text import COPY_BYTES
from tests.loops.harness import compile_function

LARGE = PARALLEL_COPY_BYTES // 4


def copy(memory: np.ndarray[Any, Any], target: int, source: int, nbytes: int) -> None:
    base = memory.ctypes.data
    types = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    ctypes.CFUNCTYPE(None, *types)(pool.symbols()["pb_copy"])(base + target, base + source, nbytes)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("nbytes", [0, 1, COPY_BYTES - 1, COPY_BYTES, 40 * COPY_BYTES + 7])
@pytest.mark.parametrize("ahead", [0, 1, -1, 1000, -70_000, None])
def test_copies_like_memmove(threads: int, nbytes: int, ahead: int | None) -> None:
    pool.set_num_threads(threads)
    step = nbytes if ahead is None else ahead
    source = max(-step, 0)
    room = nbytes + abs(step) + 64
    memory = np.random.default_rng(0).integers(0, 256, room, dtype=np.uint8)
    expected = memory.copy()
    expected[source + step : source + step + nbytes] = memory[source : source + nbytes]
    copy(memory, source + step, source, nbytes)
    pool.set_num_threads(None)
    np.testing.assert_array_equal(memory, expected)


def calls(n: int) -> tuple[int, int]:
    """How often a program that changes one element of `n` copies by threads, and by one."""
    x = np.arange(n, dtype=np.float32)
    compiled = compile_function(lambda x: jnp.asarray(x).at[3].set(-1.0), x)
    (out,) = compiled(x)
    assert out[3] == -1.0
    out[3] = 3.0
    np.testing.assert_array_equal(out, x)
    text = compiled.module.text
    return text.count("call void @pb_copy("), text.count("call void @llvm.memmove")


def test_large_copies_are_for_all_threads() -> None:
    assert calls(LARGE) == (1, 0)
    assert calls(LARGE - 1) == (0, 1)


def test_carries_and_slices_are_copied_so_too() -> None:
    x = np.ones(LARGE, np.float32)

    def loop(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: c.at[i].add(1.0), jnp.asarray(x))

    def update(x: Any, i: Any) -> Any:
        return lax.dynamic_update_slice(x, jnp.zeros(5), (i,))

    for function, args in ((loop, (x,)), (update, (x, np.int32(2)))):
        assert compile_function(function, *args).module.text.count("call void @pb_copy(") == 1
