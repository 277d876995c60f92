"""The namespace `jax.ops`: reductions over segments of an array, numbered by an index array.

It has another name here because `pullback.ops` holds the primitives.

>>> from pullback import segment_ops
>>> from pullback import numpy as jnp
>>> segment_ops.segment_sum(jnp.array([1.0, 2.0, 4.0]), jnp.array([0, 2, 2]))
Array([1., 0., 6.], dtype=float32)
"""

from __future__ import annotations

from typing import Any

import numpy as np

import pullback.numpy as jnp
from pullback.core import dtypes
from pullback.core.trace import concrete_or_error
from pullback.numpy.creation import placed

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def _segment_reduce(
    name: str,
    method: str,
    identity: Any,
    data: Any,
    segment_ids: Any,
    num_segments: int | None,
    sorted_ids: bool,
    unique: bool,
    bucket_size: int | None,
    mode: Any,
    out_sharding: Any,
) -> Any:
    data, ids = jnp.asarray(data), jnp.asarray(segment_ids)
    if dtypes.kind_of(ids.dtype) not in "iu":
        raise TypeError(f"{name} needs integer segment_ids, got dtype {ids.dtype}")
    if bucket_size is not None and bucket_size <= 0:
        raise ValueError(f"{name} needs a positive bucket_size, got {bucket_size}")
    count = _number_of_segments(name, ids, num_segments)
    start = jnp.full((count, *data.shape[ids.ndim :]), identity, data.dtype)
    update = getattr(start.at[ids], method)
    out = update(
        data,
        indices_are_sorted=sorted_ids,
        unique_indices=unique,
        mode=mode,
        wrap_negative_indices=False,
    )
    return out if out_sharding is None else placed(out, None, out_sharding)


def _number_of_segments(name: str, ids: Any, num_segments: int | None) -> int:
    if num_segments is None:
        largest = jnp.max(ids) if ids.size else -1
        num_segments = int(concrete_or_error(int, largest, f"{name} without num_segments")) + 1
    count = int(num_segments)
    if count < 0:
        raise ValueError(f"{name} needs num_segments >= 0, got {count}")
    return count


def _lowest(dtype: Any) -> Any:
    kind = dtypes.kind_of(dtype)
    return False if kind == "b" else -np.inf if kind == "f" else dtypes.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    kind = dtypes.kind_of(dtype)
    return True if kind == "b" else np.inf if kind == "f" else dtypes.iinfo(dtype).max


def segment_sum(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Sum of the rows of `data` with the same entry of `segment_ids`.

    The result has shape `(num_segments, *data.shape[segment_ids.ndim:])`; entries outside
    `[0, num_segments)` are dropped.  Without `num_segments` it is the largest entry plus one, which
    must then be concrete.  `bucket_size` is accepted for its interface.

    >>> from pullback import numpy as jnp
    >>> segment_sum(jnp.arange(5), jnp.array([0, 0, 1, 1, 2]), num_segments=4)
    Array([1, 5, 4, 0], dtype=int32)
    """
    return _segment_reduce(
        "segment_sum", "add", 0, data, segment_ids, num_segments, indices_are_sorted,
        unique_indices, bucket_size, mode, out_sharding,
    )  # fmt: skip


def segment_prod(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Product of the rows of `data` with the same entry of `segment_ids`; see `segment_sum`.

    >>> from pullback import numpy as jnp
    >>> segment_prod(jnp.arange(5), jnp.array([0, 0, 1, 1, 2]))
    Array([0, 6, 4], dtype=int32)
    """
    return _segment_reduce(
        "segment_prod", "multiply", 1, data, segment_ids, num_segments, indices_are_sorted,
        unique_indices, bucket_size, mode, out_sharding,
    )  # fmt: skip


def segment_max(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Largest of the rows of `data` with the same entry of `segment_ids`; see `segment_sum`.

    Segments without rows get minus infinity, or the smallest integer.

    >>> from pullback import numpy as jnp
    >>> segment_max(jnp.arange(5), jnp.array([0, 0, 1, 1, 2]))
    Array([1, 3, 4], dtype=int32)
    """
    return _segment_reduce(
        "segment_max", "max", _lowest(dtypes.dtype_of(data)), data, segment_ids, num_segments,
        indices_are_sorted, unique_indices, bucket_size, mode, out_sharding,
    )  # fmt: skip


def segment_min(
    data: Any,
    segment_ids: Any,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Smallest of the rows of `data` with the same entry of `segment_ids`; see `segment_sum`.

    Segments without rows get infinity, or the largest integer.

    >>> from pullback import numpy as jnp
    >>> segment_min(jnp.arange(5), jnp.array([0, 0, 1, 1, 2]))
    Array([0, 2, 4], dtype=int32)
    """
    return _segment_reduce(
        "segment_min", "min", _highest(dtypes.dtype_of(data)), data, segment_ids, num_segments,
        indices_are_sorted, unique_indices, bucket_size, mode, out_sharding,
    )  # fmt: skip
