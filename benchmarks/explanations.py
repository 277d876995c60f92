"""Why a workload is below its bar: what is known about each, for the document."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPLANATIONS"]

_EAGER: Final = (
    "NumPy does the arithmetic of small eager operations here too, so that NumPy alone is always "
    "faster; what is on top of it is the type of the result and an array that knows transformations"
)

EXPLANATIONS: Final[dict[str, str]] = {
    "eager_add": _EAGER,
    "eager_mlp": _EAGER,
    "long_attention": (
        "PyTorch's operator is one kernel, which never stores the scores and leaves out those that "
        "the mask hides; ours is two products around a softmax, and 256 MiB of scores in between"
    ),
    "permutation": (
        "JAX's algorithm, bit for bit, sorts by random keys, in several rounds; NumPy shuffles, "
        "with a cheaper generator"
    ),
    "rnn_gradient": (
        "the gradient shrinks to subnormal numbers within some hundred steps and stays there, and "
        "the processor takes a hundred cycles for such a product; JAX has it flush them to zero, "
        "ours are those of IEEE 754 (flushed, the same code is 1.3 times as fast as JAX)"
    ),
    "top_k": "JAX calls a routine that comes compiled; ours is generated for the shape",
}
