"""Products of matrices in narrow formats, with a scale for each block of elements.

`mxfp8` and `nvfp4` are the formats of "OCP Microscaling Formats (MX) Specification" 1.0 and of
NVIDIA's Blackwell: 8-bit or 4-bit floats, in blocks of 32 or 16 along the contracted axis, whose
scale is a power of two or an 8-bit float.  The CPU has no such arithmetic: values are rounded to
the formats, then multiplied in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import pullback.numpy as jnp
from pullback import lax
from pullback.control.custom_vjp import custom_vjp

__all__ = ["get_scaled_dot_general_config", "scaled_dot_general", "scaled_matmul"]


@dataclass
class BlockScaleConfig:
    """How an operand is rounded: see `get_scaled_dot_general_config`."""

    mode: str
    block_size: int
    data_type: Any
    scale_type: Any
    global_scale: Any
    infer_only: bool


def get_scaled_dot_general_config(
    mode: Literal["nvfp4", "mxfp8"], global_scale: Any = None
) -> BlockScaleConfig:
    """How `scaled_dot_general` rounds an operand: to one of two formats.

    `mxfp8`: float8_e4m3fn in blocks of 32, scales float8_e8m0fnu. `nvfp4`: float4_e2m1fn in blocks
    of 16, scales float8_e4m3fn, and `global_scale` for all of the array. Raises ValueError for
    other modes.

    >>> get_scaled_dot_general_config("mxfp8").block_size
    32
    """
    if mode == "nvfp4":
        scale = jnp.ones((1,), jnp.float32) if global_scale is None else global_scale
        return BlockScaleConfig(mode, 16, jnp.float4_e2m1fn, jnp.float8_e4m3fn, scale, False)
    if mode == "mxfp8":
        return BlockScaleConfig(mode, 32, jnp.float8_e4m3fn, jnp.float8_e8m0fnu, None, False)
    raise ValueError(f"Unsupported mode: {mode}")


def scaled_matmul(
    lhs: Any,
    rhs: Any,
    lhs_scales: Any,
    rhs_scales: Any,
    preferred_element_type: Any = np.float32,
) -> Any:
    """Products over the last axis of `lhs` (B, M, K) and `rhs` (B, N, K), each times its scales.

    Scales have the shape of their operand but for the last axis, whose length divides K: each is
    for a block of elements. Computed in float32; the result is (B, M, N).

    >>> a, b = jnp.ones((1, 1, 4)), jnp.ones((1, 2, 4))
    >>> scaled_matmul(a, b, jnp.array([[[1.0, 10.0]]]), jnp.ones((1, 2, 1))).tolist()
    [[[22.0, 22.0]]]
    """
    left = _unscaled("lhs", jnp.asarray(lhs), jnp.asarray(lhs_scales))
    right = _unscaled("rhs", jnp.asarray(rhs), jnp.asarray(rhs_scales))
    if left.shape[::2] != right.shape[::2]:
        raise ValueError(
            f"scaled_matmul: lhs {left.shape} and rhs {right.shape} need the same batch and K"
        )
    out = lax.dot_general(left, right, (((2,), (2,)), ((0,), (0,))))
    return out.astype(preferred_element_type)


def _unscaled(name: str, x: Any, scales: Any) -> Any:
    if x.ndim != 3 or scales.ndim != 3 or x.shape[:2] != scales.shape[:2]:
        raise ValueError(
            f"scaled_matmul: {name} is (B, rows, K) and its scales (B, rows, blocks), got "
            f"{x.shape} and {scales.shape}"
        )
    if not scales.shape[2] or x.shape[2] % scales.shape[2]:
        raise ValueError(
            f"scaled_matmul: the length {x.shape[2]} of {name} is no multiple of its "
            f"{scales.shape[2]} blocks"
        )
    size = x.shape[2] // scales.shape[2]
    return x.astype(jnp.float32) * jnp.repeat(scales.astype(jnp.float32), size, axis=-1)


def _rounded(x: Any, config: BlockScaleConfig) -> Any:
    """`x` (B, rows, K) in float32, rounded to the blocks of a format."""
    size = config.block_size
    if x.shape[-1] % size:
        raise ValueError(
            f"scaled_dot_general: {config.mode} needs a contracted length that is a multiple of "
            f"{size}, got {x.shape[-1]}"
        )
    x = x.astype(jnp.float32)
    over = jnp.float32(1) if config.global_scale is None else config.global_scale[0]
    blocks = (x / over).reshape(*x.shape[:-1], x.shape[-1] // size, size)
    largest = jnp.max(jnp.abs(blocks), axis=-1, keepdims=True)
    limit = float(jnp.finfo(config.data_type).max)
    scale = _scale(largest, limit, config)
    narrow = jnp.clip(blocks / scale, -limit, limit).astype(config.data_type)
    return (narrow.astype(jnp.float32) * scale * over).reshape(x.shape)


def _scale(largest: Any, limit: float, config: BlockScaleConfig) -> Any:
    """The scale of a block by its largest magnitude; 1 where all of it is zero.

    A power of two puts the largest magnitude into the highest binade of the format (section 6.3
    of the specification), where it may be cut to `limit`.
    """
    if config.scale_type == jnp.float8_e8m0fnu:
        exponent = jnp.frexp(largest)[1] - math.frexp(limit)[1]
        scale = jnp.ldexp(jnp.float32(1), jnp.clip(exponent, -126, 127))
    else:
        scale = (largest / limit).astype(config.scale_type).astype(jnp.float32)
    return jnp.where((largest > 0) & (scale > 0), scale, 1)


def scaled_dot_general(
    lhs: Any,
    rhs: Any,
    dimension_numbers: Any,
    preferred_element_type: Any = np.float32,
    configs: list[BlockScaleConfig] | None = None,
    implementation: Literal["cudnn"] | None = None,
) -> Any:
    """`lax.dot_general` of operands that are rounded to a narrow format block by block.

    `configs` says how to round `lhs`, `rhs` and, in the backward pass, the cotangent; None for not
    at all. The gradients are the products of the rounded cotangent with the rounded operands.
    `implementation` is ignored.

    >>> config = get_scaled_dot_general_config("mxfp8")
    >>> x = jnp.ones((1, 2, 32))
    >>> numbers = (((2,), (2,)), ((0,), (0,)))
    >>> scaled_dot_general(x, x, numbers, configs=[config] * 3)[0, 0].tolist()
    [32.0, 32.0]
    """
    if configs is None:
        return lax.dot_general(
            lhs, rhs, dimension_numbers, preferred_element_type=preferred_element_type
        )
    if len(configs) != 3:
        raise ValueError(f"scaled_dot_general: three configs are needed, got {len(configs)}")
    (lc, rc), (lb, rb) = dimension_numbers
    left, left_shape = _three_axes(jnp.asarray(lhs), lb, lc)
    right, right_shape = _three_axes(jnp.asarray(rhs), rb, rc)
    out = _scaled(tuple(configs), left, right).astype(preferred_element_type)
    batch = tuple(lhs.shape[k] for k in lb)
    return out.reshape(*batch, *left_shape, *right_shape)


def _three_axes(
    x: Any, batch: Sequence[int], contracted: Sequence[int]
) -> tuple[Any, tuple[int, ...]]:
    """`x` as (batch, rows, contracted), and the shape of the rows."""
    free = [k for k in range(x.ndim) if k not in batch and k not in contracted]
    shape = tuple(x.shape[k] for k in free)
    sizes = [math.prod(x.shape[k] for k in group) for group in (batch, free, contracted)]
    return x.transpose(*batch, *free, *contracted).reshape(sizes), shape


_PRODUCT = (((2,), (2,)), ((0,), (0,)))


@functools.partial(custom_vjp, nondiff_argnums=(0,))
def _scaled(configs: Any, left: Any, right: Any) -> Any:
    return lax.dot_general(_rounded(left, configs[0]), _rounded(right, configs[1]), _PRODUCT)


def _forward(configs: Any, left: Any, right: Any) -> Any:
    return _scaled(configs, left, right), (left, right)


def _backward(configs: Any, residuals: Any, ct: Any) -> Any:
    """Each gradient is a product over another axis, along which blocks are rounded anew."""
    left, right = residuals
    left_config, right_config, ct_config = configs
    turned = ct.swapaxes(1, 2)
    to_left = lax.dot_general(
        _padded(ct, ct_config), _padded(right.swapaxes(1, 2), right_config), _PRODUCT
    )
    to_right = lax.dot_general(
        _padded(turned, ct_config), _padded(left.swapaxes(1, 2), left_config), _PRODUCT
    )
    return to_left.astype(left.dtype), to_right.astype(right.dtype)


def _padded(x: Any, config: BlockScaleConfig) -> Any:
    """`_rounded`, where the last block need not be full."""
    length = x.shape[-1]
    missing = -length % config.block_size
    return _rounded(jnp.pad(x, ((0, 0), (0, 0), (0, missing))), config)[..., :length]


_scaled.defvjp(_forward, _backward)
