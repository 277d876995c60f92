"""Where copies of NumPy arrays lie in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp

SOURCES = [
    np.arange(4097, dtype=np.float32)[1:],
    np.arange(5000, dtype=np.int32)[::-2],
    np.asfortranarray(np.ones((40, 60), np.float32)),
    np.ones((33, 77), np.float64),
]


@pytest.mark.parametrize("make", [jnp.array, jnp.asarray, pb.device_put])
@pytest.mark.parametrize("k", range(len(SOURCES)))
def test_copies_of_large_arrays_begin_at_cache_lines(make: Any, k: int) -> None:
    source = SOURCES[k].view()
    corner, before = (0,) * source.ndim, source[(0,) * source.ndim]
    made = make(source)
    assert made.unsafe_buffer_pointer() % 64 == 0
    np.testing.assert_array_equal(made, source.astype(made.dtype))
    source[corner] = 77
    assert made[corner] == before
    source[corner] = before


def test_memory_of_copies_is_that_of_programs() -> None:
    name = np._core.multiarray.get_handler_name  # type: ignore[attr-defined]
    assert name(np.asarray(jnp.array(np.ones(1000)))) == "pullback"
    assert name(np.ones(1000)) == "default_allocator"
