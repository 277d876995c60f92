"""Segment reductions against JAX from the outside."""

from __future__ import annotations

from typing import Any

import jax
import jax.ops
import numpy as np
import pytest

import pullback
from pullback import numpy as jnp
from pullback import segment_ops

NAMES = ["segment_sum", "segment_prod", "segment_max", "segment_min"]
IDS = np.array([0, 0, 1, -1, 7, 3])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
@pytest.mark.parametrize("num_segments", [None, 0, 3, 9])
def test_like_jax(name: str, dtype: str, num_segments: int | None) -> None:
    for data in (np.arange(1, 7), np.arange(12).reshape(6, 2), np.zeros((6, 0))):
        ours = getattr(segment_ops, name)(data.astype(dtype), IDS, num_segments)
        theirs = getattr(jax.ops, name)(data.astype(dtype), IDS, num_segments)
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("kwargs", [{"bucket_size": 2}, {"mode": "clip"}, {"mode": "drop"}])
def test_options_like_jax(kwargs: Any) -> None:
    data = np.arange(6.0)
    ours = segment_ops.segment_sum(data, IDS, 4, **kwargs)
    np.testing.assert_array_equal(ours, jax.ops.segment_sum(data, IDS, 4, **kwargs))


def test_errors() -> None:
    with pytest.raises(TypeError, match="integer segment_ids"):
        segment_ops.segment_sum(jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="positive bucket_size"):
        segment_ops.segment_sum(jnp.ones(2), jnp.array([0, 1]), bucket_size=0)


@pytest.mark.parametrize("mode", [None, "clip", "drop"])
def test_no_segments_under_jit(mode: Any) -> None:
    data = np.arange(6.0, dtype=np.float32)
    out = pullback.jit(lambda x: segment_ops.segment_sum(x, IDS, 0, mode=mode))(data)
    assert out.shape == (0,)
