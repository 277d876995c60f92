"""`jax._src.public_test_util`: `jax.test_util`, and comparisons of pytrees."""

from __future__ import annotations

from pullback.dropin.shims._src.case_settings import default_tolerance, tolerance
from pullback.dropin.shims._src.case_tools import check_close, rand_like
from pullback.test_util import check_grads, check_jvp, check_vjp

__all__ = [
    "check_close",
    "check_grads",
    "check_jvp",
    "check_vjp",
    "default_tolerance",
    "rand_like",
    "tolerance",
]
