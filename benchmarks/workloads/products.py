"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.data import normal
from benchmarks.frameworks import jax, jnp, lax, torch
from benchmarks.registry import Workload, workload


def _product(n: int) -> Workload:
    def matmul(x: Any, y: Any) -> Any:
        return x @ y

    matmul.__name__ = f"matmul_{n}"
    made = workload(f"matmul, {n}", lambda: [normal(n, n), normal(n, n, seed=1)], flops=2.0 * n**3)(
        matmul
    )
    made.torch()(lambda x, y: x @ y)
    made.numpy()(lambda x, y: x @ y)
    return made


for _n in (64, 256, 512, 1024):
    _product(_n)


@workload(
    "64 products of 64 × 64",
    lambda: [normal(64, 64, 64), normal(64, 64, 64, seed=1)],
    flops=2.0 * 64**4,
)
def matmul_batch(x: Any, y: Any) -> Any:
    return x @ y


@matmul_batch.torch()
def _(x: Any, y: Any) -> Any:
    return x @ y


@matmul_batch.numpy()
def _(x: Any, y: Any) -> Any:
    return x @ y


@workload(
    "matrix · vector, 2048",
    lambda: [normal(2048, 2048), normal(2048, seed=1)],
    bytes=4 * 2048 * 2048,
)
def matvec(a: Any, x: Any) -> Any:
    return a @ x


@matvec.torch()
def _(a: Any, x: Any) -> Any:
    return a @ x


@matvec.numpy()
def _(a: Any, x: Any) -> Any:
    return a @ x


@workload(
    "relu(x w + b), 1024 × 512 × 512",
    lambda: [normal(1024, 512), normal(512, 512, seed=1), normal(512)],
    flops=2.0 * 1024 * 512 * 512,
)
def dense_layer(x: Any, w: Any, b: Any) -> Any:
    return jax.nn.relu(x @ w + b)


@dense_layer.torch()
def _(x: Any, w: Any, b: Any) -> Any:
    return torch.relu(torch.addmm(b, x, w))


@dense_layer.numpy()
def _(x: Any, w: Any, b: Any) -> Any:
    return np.maximum(x @ w + b, np.float32(0))


def _bilinear() -> list[Any]:
    return [normal(64, 128), normal(32, 128, 96, seed=1, scale=0.1), normal(64, 96, seed=2)]


@workload("einsum bi,oij,bj->bo", _bilinear, flops=2.0 * 64 * 32 * 96 * 129)
def einsum(x: Any, w: Any, y: Any) -> Any:
    return jnp.einsum("bi,oij,bj->bo", x, w, y)


@einsum.torch()
def _(x: Any, w: Any, y: Any) -> Any:
    return torch.einsum("bi,oij,bj->bo", x, w, y)


@einsum.numpy()
def _(x: Any, w: Any, y: Any) -> Any:
    return np.einsum("bi,oij,bj->bo", x, w, y, optimize=True)


def _images() -> list[Any]:
    return [normal(8, 56, 56, 64), normal(3, 3, 64, 64, seed=1, scale=0.05)]


def _channels_last(x: Any, w: Any) -> list[Any]:
    image = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    kernel = w.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    return [image, kernel]


_CONVOLUTION = 2.0 * 8 * 56 * 56 * 64 * 64 * 9


def _convolution(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@workload("3 × 3 convolution, 8 × 56 × 56 × 64", _images, flops=_CONVOLUTION)
def convolution(x: Any, w: Any) -> Any:
    return _convolution(x, w)


@convolution.torch(_channels_last)
def _(x: Any, w: Any) -> Any:
    return torch.nn.functional.conv2d(x, w, padding=1).permute(0, 2, 3, 1)


# The gradients of a sum of squares want the result itself, too: three convolutions.
@workload("two gradients of the 3 × 3 convolution", _images, flops=3 * _CONVOLUTION, tolerance=1e-3)
def convolution_gradients(x: Any, w: Any) -> Any:
    return jax.grad(lambda x, w: jnp.sum(_convolution(x, w) ** 2), argnums=(0, 1))(x, w)


@convolution_gradients.torch(_channels_last)
def _(x: Any, w: Any) -> Any:
    x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
    loss = (torch.nn.functional.conv2d(x, w, padding=1) ** 2).sum()
    dx, dw = torch.autograd.grad(loss, (x, w))
    return dx.permute(0, 2, 3, 1), dw.permute(2, 3, 1, 0)


@workload(
    "depthwise convolution, 8 × 56 × 56 × 64",
    lambda: [normal(8, 56, 56, 64), normal(3, 3, 1, 64, seed=1)],
    flops=2.0 * 8 * 56 * 56 * 64 * 9,
)
def depthwise_convolution(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=64
    )


@depthwise_convolution.torch(_channels_last)
def _(x: Any, w: Any) -> Any:
    return torch.nn.functional.conv2d(x, w, padding=1, groups=64).permute(0, 2, 3, 1)


@workload(
    "max pooling 2 × 2, 8 × 112 × 112 × 64",
    lambda: [normal(8, 112, 112, 64)],
    bytes=5 * 8 * 112 * 112 * 64,
)
def max_pooling(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _image_channels_last(x: Any) -> list[Any]:
    return [x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)]


@max_pooling.torch(_image_channels_last)
def _(x: Any) -> Any:
    return torch.nn.functional.max_pool2d(x, 2).permute(0, 2, 3, 1)
