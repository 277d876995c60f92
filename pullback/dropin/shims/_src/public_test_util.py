"""`jax._src.public_test_util`: `jax.test_util`."""

from __future__ import annotations

from pullback.test_util import check_grads, check_jvp, check_vjp

__all__ = ["check_grads", "check_jvp", "check_vjp"]
