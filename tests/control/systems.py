"""The same names for us and for JAX, so that a test is written once and run on both."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.ad_checkpoint
import jax.custom_batching
import jax.custom_derivatives
import numpy as np

import pullback.ad_checkpoint
import pullback.custom_batching
import pullback.custom_derivatives
import pullback.lax
import pullback.runtime.dispatch
from pullback import checkpoint_policies
from pullback.api import fwd_and_bwd, make_jaxpr
from pullback.core.jaxpr import verify
from pullback.runtime.jit import jit
from pullback.transforms.derivatives import jvp, linear_transpose, linearize, vjp
from pullback.transforms.gradients import grad, value_and_grad
from pullback.transforms.jacobians import jacfwd, jacrev
from pullback.transforms.mapping import vmap


def _verified_jaxpr(fun: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    def maker(*args: Any, **kwargs: Any) -> Any:
        closed = make_jaxpr(fun, **options)(*args, **kwargs)
        verify(closed.jaxpr)
        return closed

    return maker


OURS = SimpleNamespace(
    name="ours",
    lax=pullback.lax,
    jit=jit,
    grad=grad,
    value_and_grad=value_and_grad,
    jvp=jvp,
    vjp=vjp,
    linearize=linearize,
    jacfwd=jacfwd,
    jacrev=jacrev,
    vmap=vmap,
    make_jaxpr=_verified_jaxpr,
    checkpoint=pullback.ad_checkpoint.checkpoint,
    checkpoint_name=pullback.ad_checkpoint.checkpoint_name,
    checkpoint_policies=checkpoint_policies,
    custom_batching=pullback.custom_batching,
    custom_derivatives=pullback.custom_derivatives,
    fwd_and_bwd=fwd_and_bwd,
    linear_transpose=linear_transpose,
    custom_jvp=pullback.custom_derivatives.custom_jvp,
    custom_vjp=pullback.custom_derivatives.custom_vjp,
)
THEIRS = SimpleNamespace(
    name="jax",
    lax=jax.lax,
    jit=jax.jit,
    grad=jax.grad,
    value_and_grad=jax.value_and_grad,
    jvp=jax.jvp,
    vjp=jax.vjp,
    linearize=jax.linearize,
    jacfwd=jax.jacfwd,
    jacrev=jax.jacrev,
    vmap=jax.vmap,
    make_jaxpr=jax.make_jaxpr,
    checkpoint=jax.checkpoint,
    checkpoint_name=jax.ad_checkpoint.checkpoint_name,
    checkpoint_policies=jax.checkpoint_policies,
    custom_batching=jax.custom_batching,
    custom_derivatives=jax.custom_derivatives,
    fwd_and_bwd=jax.fwd_and_bwd,
    linear_transpose=jax.linear_transpose,
    custom_jvp=jax.custom_jvp,
    custom_vjp=jax.custom_vjp,
)


def assert_same(
    test: Callable[..., Any], *args: Any, rtol: float = 2e-5, atol: float = 1e-6
) -> None:
    """`test(sys, *args)` gives equal pytrees in both systems."""
    ours, theirs = test(OURS, *args), test(THEIRS, *args)
    flat_ours = jax.tree.leaves(ours, is_leaf=lambda x: not isinstance(x, (tuple, list, dict)))
    flat_theirs = jax.tree.leaves(theirs)
    assert len(flat_ours) == len(flat_theirs)
    for x, y in zip(flat_ours, flat_theirs, strict=True):
        a, b = np.asarray(x), np.asarray(y)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if a.dtype.names or a.dtype.kind == "V":
            continue
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def total(sys: Any, x: Any) -> Any:
    """The sum of all elements."""
    return sys.lax.reduce_sum(x, axes=tuple(range(x.ndim)))


def dot(sys: Any, x: Any, y: Any) -> Any:
    """A product of matrices or vectors."""
    return sys.lax.dot_general(x, y, (((x.ndim - 1,), (0,)), ((), ())))


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Normal numbers, float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
