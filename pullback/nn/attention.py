"""Dot-product attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pullback.numpy as jnp
from pullback import lax
from pullback.nn.normalization import logsumexp, softmax

__all__ = ["dot_product_attention"]


def _check(query: Any, key: Any, value: Any) -> None:
    shapes = f"query {query.shape}, key {key.shape} and value {value.shape}"
    if not (query.ndim == key.ndim == value.ndim == 4):
        raise ValueError(f"attention needs operands of rank 3 or 4, got {shapes}")
    if key.shape != value.shape:
        raise ValueError(f"attention needs key and value of one shape, got {shapes}")
    if query.shape[0] != key.shape[0] or query.shape[3] != key.shape[3]:
        raise ValueError(f"attention: batch and head sizes must agree, got {shapes}")
    for name, x in (("query", query), ("value", value)):
        if x.dtype != key.dtype:
            raise ValueError(
                f"attention: {name} has dtype {x.dtype.name}, and key has {key.dtype.name}"
            )
    if query.shape[2] % key.shape[2]:
        raise ValueError(
            f"attention: the number of key heads must divide that of query heads, got {shapes}"
        )


def _check_limits(b: int, mask: Any, lengths: dict[str, Any]) -> None:
    if mask is not None and jnp.asarray(mask).dtype != bool:
        raise ValueError(
            f"attention: mask must be an array of bools, got {jnp.asarray(mask).dtype.name}"
        )
    for name, x in lengths.items():
        if x is not None and (jnp.shape(x) != (b,) or jnp.asarray(x).dtype != np.int32):
            raise ValueError(f"attention: {name} must be int32[{b}], got {jnp.asarray(x).aval}")


def _positions(t: int, s: int) -> tuple[Any, Any]:
    """Positions of queries `[t, s]` and of keys `[t, s]`."""
    return lax.broadcasted_iota(np.int32, (t, s), 0), lax.broadcasted_iota(np.int32, (t, s), 1)


def _allowed(
    t: int, s: int, causal: bool, window: Any, query_lengths: Any, key_lengths: Any
) -> Any:
    """Which keys each query may see, `[batch or 1, 1, t, s]`; None if all may."""
    rows, columns = _positions(t, s)
    allowed: Any = None

    def narrow(mask: Any) -> None:
        nonlocal allowed
        allowed = mask if allowed is None else allowed & mask

    if causal:
        narrow((columns <= rows)[None, None])
    if window is not None:
        before, after = (window, window) if isinstance(window, int) else window
        narrow(((rows - columns <= before) & (columns - rows <= after))[None, None])
    if query_lengths is not None:
        narrow(rows[None, None] < jnp.asarray(query_lengths)[:, None, None, None])
    if key_lengths is not None:
        narrow(columns[None, None] < jnp.asarray(key_lengths)[:, None, None, None])
    return allowed


def _grouped(x: Any, n: int, groups: int) -> Any:
    """`[batch or 1, heads or 1, t, s]` as `[batch or 1, key heads or 1, groups or 1, t, s]`."""
    x = lax.expand_dims(x, tuple(range(4 - x.ndim))) if x.ndim in (2, 3) else x
    if x.ndim != 4 or x.shape[1] not in (1, n):
        raise ValueError(f"attention: bias and mask must be [batch, heads, t, s], got {x.shape}")
    b, heads, t, s = x.shape
    return x.reshape(b, 1, 1, t, s) if heads == 1 else x.reshape(b, n // groups, groups, t, s)


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: int | tuple[int, int] | None = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """softmax(query key^T scale + bias) value, head by head.

    `query` is `[batch, t, heads, size]`, `key` and `value` are `[batch, s, key heads, size]`; each
    key head serves an equal number of query heads.  Without a batch axis all have rank 3.  `mask`
    is true where a query may see a key; scores are computed in float32.  With `return_residual` the
    logarithms of the softmax's sums, `[batch, t, heads]`, are the second result.

    Raises ValueError where shapes do not fit.

    >>> x = jnp.ones((1, 4, 2, 8))
    >>> dot_product_attention(x, x, x, is_causal=True).shape
    (1, 4, 2, 8)
    """
    if implementation not in (None, "xla"):
        raise ValueError(f"attention: there is no implementation {implementation!r} on the CPU")
    query, key, value = jnp.asarray(query), jnp.asarray(key), jnp.asarray(value)
    batched = query.ndim == 4
    if not batched:
        query, key, value = (x[None] for x in (query, key, value))
    _check(query, key, value)
    b, t, n, h = query.shape
    s, k = key.shape[1:3]
    lengths = {
        "query_seq_lengths": query_seq_lengths,
        "key_value_seq_lengths": key_value_seq_lengths,
    }
    _check_limits(b, mask, lengths)
    groups = n // k
    scale = 1 / math.sqrt(h) if scale is None else scale
    grouped = query.reshape(b, t, k, groups, h)
    # [b, k, t, groups, s] to [b, k, groups, t, s]
    scores = lax.dot_general(
        grouped, key, (((4,), (3,)), ((0, 2), (0, 2))), preferred_element_type=np.float32
    ).transpose(0, 1, 3, 2, 4)
    scores = scores * scale
    if bias is not None:
        scores = scores + _grouped(jnp.asarray(bias), n, groups)
    allowed = _allowed(t, s, is_causal, local_window_size, query_seq_lengths, key_value_seq_lengths)
    for limit in (mask, allowed):
        if limit is not None:
            lowest = -0.7 * float(np.finfo(np.float32).max)
            scores = jnp.where(_grouped(jnp.asarray(limit), n, groups), scores, lowest)
    weights = softmax(scores, axis=-1).astype(key.dtype)
    # [b, k, groups, t, h] to [b, t, k, groups, h]
    out = lax.dot_general(weights, value, (((4,), (1,)), ((0, 1), (0, 2))))
    out = out.transpose(0, 3, 1, 2, 4).reshape(b, t, n, h).astype(query.dtype)
    if query_seq_lengths is not None:
        inside = jnp.arange(t)[None, :] < jnp.asarray(query_seq_lengths)[:, None]
        out = jnp.where(inside[:, :, None, None], out, 0)
    if not return_residual:
        return out if batched else out[0]
    residual = logsumexp(scores, axis=-1).transpose(0, 3, 1, 2).reshape(b, t, n)
    return (out, residual) if batched else (out[0], residual[0])
