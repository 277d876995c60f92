"""`jax.nn`: activation functions, softmax and its kin, attention, initial values of parameters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pullback.nn.activations import (
    celu,
    elu,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    identity,
    leaky_relu,
    log1mexp,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_sign,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    swish,
    tanh,
)
from pullback.nn.attention import dot_product_attention
from pullback.nn.normalization import (
    log_softmax,
    logmeanexp,
    logsumexp,
    one_hot,
    softmax,
    standardize,
)
from pullback.nn.scaled import get_scaled_dot_general_config, scaled_dot_general, scaled_matmul

if TYPE_CHECKING:
    from pullback.nn import initializers

__all__ = [
    "celu",
    "dot_product_attention",
    "elu",
    "gelu",
    "get_scaled_dot_general_config",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "identity",
    "initializers",
    "leaky_relu",
    "log1mexp",
    "log_sigmoid",
    "log_softmax",
    "logmeanexp",
    "logsumexp",
    "mish",
    "one_hot",
    "relu",
    "relu6",
    "scaled_dot_general",
    "scaled_matmul",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "standardize",
    "swish",
    "tanh",
]


def __getattr__(name: str) -> Any:
    if name == "initializers":  # they need samplers, which take long to import
        return importlib.import_module("pullback.nn.initializers")
    raise AttributeError(f"module 'pullback.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
