"""Gradients against JAX, to 1e-5 in float32: eager and jitted, first and second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.nn
import numpy as np
import pytest

import pullback

Fun = Callable[[Any], Callable[..., Any]]

_rng = np.random.default_rng(7)
POSITIVE = _rng.uniform(0.2, 0.8, (4, 3)).astype(np.float32)
SIGNED = _rng.uniform(-0.9, 0.9, (4, 3)).astype(np.float32)
SQUARE = _rng.normal(size=(3, 3)).astype(np.float32)
IMAGES = _rng.normal(size=(2, 6, 6, 3)).astype(np.float32)
KERNELS = _rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
INDICES = np.array([2, 0, 2, 1])

UNARY = [
    "sin",
    "cos",
    "tan",
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "arcsinh",
    "arctanh",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "cbrt",
    "square",
    "reciprocal",
    "abs",
    "negative",
    "sinc",
    "deg2rad",
    "i0",
]
UNARY_NN = [
    "relu",
    "gelu",
    "silu",
    "softplus",
    "sigmoid",
    "elu",
    "selu",
    "log_sigmoid",
    "softmax",
    "log_softmax",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "power",
    "maximum",
    "minimum",
    "arctan2",
    "hypot",
    "logaddexp",
]

CASES: dict[str, tuple[Fun, tuple[Any, ...]]] = {
    "sum axis": (lambda s: lambda x: s.numpy.sin(x.sum(axis=0)), (SIGNED,)),
    "mean": (lambda s: lambda x: s.numpy.exp(x.mean(1)), (SIGNED,)),
    "var std": (lambda s: lambda x: x.var(0) + x.std(0), (SIGNED,)),
    "prod": (lambda s: lambda x: s.numpy.prod(x, axis=1), (SIGNED,)),
    "prod with a zero": (lambda s: lambda x: s.numpy.prod(x * (x > 0), axis=0), (SIGNED,)),
    "max min": (lambda s: lambda x: x.max(0) * x.min(0), (SIGNED,)),
    "cumsum": (lambda s: lambda x: s.numpy.cumsum(x, axis=0) ** 2, (SIGNED,)),
    "cumprod": (lambda s: lambda x: s.numpy.cumprod(x, axis=1), (SIGNED,)),
    "logsumexp": (lambda s: lambda x: s.nn.logsumexp(x, axis=1), (SIGNED,)),
    "matmul": (lambda s: lambda a, b: s.numpy.tanh(a @ b), (SIGNED, SQUARE)),
    "dot vector": (lambda s: lambda a, b: a @ b[0], (SIGNED, SQUARE)),
    "einsum": (lambda s: lambda a, b: s.numpy.einsum("ij,kj,kl->il", a, b, b), (SIGNED, SQUARE)),
    "einsum trace": (lambda s: lambda b: s.numpy.einsum("ii->", b @ b), (SQUARE,)),
    "outer kron": (lambda s: lambda b: s.numpy.kron(b, s.numpy.outer(b[0], b[1])), (SQUARE,)),
    "tensordot": (
        lambda s: lambda a, b: s.numpy.tensordot(a, b, axes=[[1], [0]]),
        (SIGNED, SQUARE),
    ),
    "norm": (lambda s: lambda x: s.numpy.linalg.norm(x, axis=1), (SIGNED,)),
    "slice": (lambda s: lambda x: x[1:3, ::-2] ** 3, (SIGNED,)),
    "negative step": (lambda s: lambda x: x[::-1, None, ..., 1] * x[:, :1], (SIGNED,)),
    "gather": (lambda s: lambda x: x[INDICES] ** 2, (SIGNED,)),
    "gather pairs": (lambda s: lambda x: x[INDICES, INDICES % 3] ** 2, (SIGNED,)),
    "take_along_axis": (
        lambda s: lambda x: s.numpy.take_along_axis(x, s.numpy.argsort(x, axis=0), 0) ** 2,
        (SIGNED,),
    ),
    "at set": (lambda s: lambda x, y: x.at[1].set(y[0] * 2) ** 2, (SIGNED, SQUARE)),
    "at add": (lambda s: lambda x, y: x.at[INDICES[:3]].add(y) ** 2, (SIGNED, SQUARE)),
    "at mul": (lambda s: lambda x: x.at[:, 1].multiply(3.0) ** 2, (SIGNED,)),
    "at max": (lambda s: lambda x, y: x.at[:3].max(y), (SIGNED, SQUARE)),
    "concatenate": (lambda s: lambda x: s.numpy.concatenate([x, x * x]) ** 2, (SIGNED,)),
    "stack split": (
        lambda s: lambda x: s.numpy.stack(s.numpy.split(x, 2), axis=1) ** 2,
        (SIGNED,),
    ),
    "pad": (lambda s: lambda x: s.numpy.pad(x, 1, mode="edge") ** 2, (SIGNED,)),
    "roll tile repeat": (
        lambda s: lambda x: s.numpy.tile(s.numpy.roll(x, 1, 0), 2) * s.numpy.repeat(x, 2, 1),
        (SIGNED,),
    ),
    "where": (lambda s: lambda x: s.numpy.where(x > 0, s.numpy.log(abs(x)), x * x), (SIGNED,)),
    "clip": (lambda s: lambda x: s.numpy.clip(x, -0.3, 0.3) * x, (SIGNED,)),
    "sort": (
        lambda s: lambda x: s.numpy.sort(x, axis=0) * np.arange(12.0).reshape(4, 3),
        (SIGNED,),
    ),
    "top_k": (lambda s: lambda x: s.lax.top_k(x, 2)[0] ** 2, (SIGNED,)),
    "transpose reshape": (lambda s: lambda x: x.T.reshape(2, 6) ** 2, (SIGNED,)),
    "interp": (
        lambda s: lambda x: s.numpy.interp(x, np.linspace(-1, 1, 5), np.arange(5.0) ** 2),
        (SIGNED,),
    ),
    "convolve": (lambda s: lambda x, y: s.numpy.convolve(x.ravel(), y[0]), (SIGNED, SQUARE)),
    "conv NHWC": (
        lambda s: (
            lambda x, k: s.lax.conv_general_dilated(
                x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        ),
        (IMAGES, KERNELS),
    ),
    "conv strided dilated": (
        lambda s: (
            lambda x, k: s.lax.conv_general_dilated(
                x,
                k,
                (2, 1),
                ((1, 2), (0, 1)),
                rhs_dilation=(1, 2),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        ),
        (IMAGES, KERNELS),
    ),
    "max pool": (
        lambda s: (
            lambda x: s.lax.reduce_window(
                x, -np.inf, s.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"
            )
        ),
        (IMAGES,),
    ),
    "average pool": (
        lambda s: (
            lambda x: s.lax.reduce_window(x, 0.0, s.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
        ),
        (IMAGES,),
    ),
    "scan": (
        lambda s: (
            lambda x, w: s.lax.scan(
                lambda h, r: (s.numpy.tanh(h @ w + r), h.sum()), s.numpy.zeros(3), x
            )
        ),
        (SIGNED, SQUARE),
    ),
    "fori_loop": (
        lambda s: lambda x: s.lax.fori_loop(0, 4, lambda i, v: s.numpy.sin(v) * x + i, x),
        (SIGNED,),
    ),
    "cond": (
        lambda s: lambda x: s.lax.cond(x[0, 0] > 0, s.numpy.sin, lambda v: v * v, x),
        (SIGNED,),
    ),
    "map": (lambda s: lambda x: s.lax.map(lambda r: (r * r).sum() * r, x), (SIGNED,)),
    "dynamic slices": (
        lambda s: (
            lambda x: s.lax.dynamic_update_slice(
                x, s.lax.dynamic_slice(x, (1, 0), (2, 2)) ** 2, (2, 1)
            )
        ),
        (SIGNED,),
    ),
    "complex modulus": (lambda s: lambda x: abs(s.numpy.exp(1j * x) + x), (SIGNED,)),
    "attention": (
        lambda s: lambda q, k: s.nn.softmax(q @ k.T / 2.0) @ q.T[:, :3].T,
        (SIGNED, SIGNED[:3]),
    ),
}
CASES |= {f"numpy.{n}": (lambda s, n=n: getattr(s.numpy, n), (POSITIVE,)) for n in UNARY}
CASES |= {f"nn.{n}": (lambda s, n=n: getattr(s.nn, n), (SIGNED,)) for n in UNARY_NN}
CASES |= {
    f"numpy.{n}": (lambda s, n=n: getattr(s.numpy, n), (POSITIVE, SIGNED + 1)) for n in BINARY
}


def _loss(system: Any, make: Fun) -> Callable[..., Any]:
    """A scalar function whose gradient sees every element of every result differently."""
    f = make(system)

    def loss(*args: Any) -> Any:
        total = 0.0
        for i, y in enumerate(system.tree.leaves(f(*args))):
            weights = np.cos(np.arange(y.size) + i).reshape(y.shape).astype(np.float32)
            total = total + (y * weights).sum()
        return total

    return loss


def _close(ours: Any, theirs: Any) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours / scale, theirs / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    make, args = CASES[name]
    argnums = tuple(range(len(args)))
    theirs = jax.jit(jax.grad(_loss(jax, make), argnums))(*args)
    gradient = pullback.grad(_loss(pullback, make), argnums)
    for run in (gradient, pullback.jit(gradient)):
        for a, b in zip(run(*args), theirs, strict=True):
            _close(a, b)


@pytest.mark.parametrize("name", [n for n in CASES if "where" not in n])
def test_hessian_vector_product(name: str) -> None:
    make, args = CASES[name]

    def product(system: Any) -> Any:
        loss = _loss(system, make)
        first = system.grad(lambda x: loss(x, *args[1:]))
        direction = np.sin(np.arange(args[0].size)).reshape(args[0].shape).astype(np.float32)
        return lambda x: system.jvp(first, (x,), (direction,))[1]

    _close(pullback.jit(product(pullback))(args[0]), jax.jit(product(jax))(args[0]))
