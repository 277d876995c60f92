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
    "permutation": (
        "JAX's algorithm, bit for bit, sorts by random keys, in several rounds; NumPy shuffles, "
        "with a cheaper generator"
    ),
    "top_k": "JAX calls a routine that comes compiled; ours is generated for the shape",
}
