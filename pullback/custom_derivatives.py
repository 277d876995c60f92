"""The namespace `jax.custom_derivatives`."""

from __future__ import annotations

from pullback.control.closures import closure_convert, custom_gradient
from pullback.control.custom import SymbolicZero, zero_from_primal
from pullback.control.custom_jvp import custom_jvp
from pullback.control.custom_jvp import custom_jvp_call as custom_jvp_call_p
from pullback.control.custom_vjp import CustomVJPPrimal, custom_vjp, custom_vjp_primal_tree_values
from pullback.control.custom_vjp import custom_vjp_call as custom_vjp_call_p
from pullback.control.linear_call import linear_call
from pullback.control.remat_opt import remat_opt as remat_opt_p

__all__ = [
    "CustomVJPPrimal",
    "SymbolicZero",
    "closure_convert",
    "custom_gradient",
    "custom_jvp",
    "custom_jvp_call_p",
    "custom_vjp",
    "custom_vjp_call_p",
    "custom_vjp_primal_tree_values",
    "linear_call",
    "remat_opt_p",
    "zero_from_primal",
]
