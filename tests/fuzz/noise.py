"""How much rounding may change the results of a function: Monte Carlo arithmetic.

The function runs eagerly with every rounded result moved by a few units in the last place, and
with the operands of long sums moved too.  Where the results spread, a difference between two
correct evaluations is no wonder; near a discontinuity they spread by its whole height.

D. Stott Parker, Monte Carlo Arithmetic, UCLA CSD-970002, 1997.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import pullback
from pullback.core import dtypes
from pullback.core.primitive import FIRST_ORDER
from pullback.core.trace import EVAL
from pullback.runtime.array import from_numpy

# What only moves, chooses or compares: nothing is rounded.
_EXACT = frozenset(
    [
        "abs",
        "and",
        "argmax",
        "argmin",
        "broadcast",
        "broadcast_in_dim",
        "ceil",
        "clamp",
        "complex",
        "concatenate",
        "conj",
        "copy",
        "copy_p",
        "cummax",
        "cummin",
        "dynamic_slice",
        "dynamic_update_slice",
        "eq",
        "expand_dims",
        "floor",
        "gather",
        "ge",
        "gt",
        "imag",
        "iota",
        "is_finite",
        "le",
        "lt",
        "max",
        "min",
        "ne",
        "neg",
        "not",
        "or",
        "pad",
        "random_bits",
        "random_unwrap",
        "random_wrap",
        "real",
        "reduce_and",
        "reduce_max",
        "reduce_min",
        "reduce_or",
        "reshape",
        "rev",
        "round",
        "scatter",
        "select_n",
        "sign",
        "slice",
        "sort",
        "split",
        "squeeze",
        "stop_gradient",
        "transpose",
        "xor",
        "reduce_precision",
        "bitcast_convert_type",
        "optimization_barrier",
        "reduce_window_max",
        "reduce_window_min",
    ]
)
_LONG = (
    "reduce",
    "cum",
    "dot_general",
    "conv_general_dilated",
    "scatter",
    "mean",
    "logsumexp",
    "einsum",
)


def spread(function: Callable[[], Any], runs: int) -> list[list[Any]]:
    """Flat results of several evaluations of `function`, each rounded another way."""
    results = []
    for k in range(runs):
        with _perturbed(np.random.default_rng(k)), pullback.disable_jit():
            results.append([np.asarray(x) for x in pullback.tree.leaves(function())])
    return results


@contextlib.contextmanager
def _perturbed(rng: np.random.Generator) -> Iterator[None]:
    plain = EVAL.evaluator
    assert plain is not None

    def evaluate(primitive: Any, args: Any, params: Any) -> Any:
        if primitive.partial_eval is not FIRST_ORDER or primitive.name in _EXACT:
            return plain(primitive, args, params)
        if primitive.name.startswith(_LONG):
            args = [_move(x, rng) for x in args]
        out = plain(primitive, args, params)
        return [_move(x, rng) for x in out] if isinstance(out, list) else _move(out, rng)

    EVAL.evaluator = evaluate
    try:
        yield
    finally:
        EVAL.evaluator = plain


def _move(x: Any, rng: np.random.Generator) -> Any:
    aval = getattr(x, "aval", None)
    if aval is None or dtypes.kind_of(aval.dtype) not in "fc":
        return x
    value = np.asarray(x)
    eps = float(dtypes.finfo(value.dtype).eps)
    factor = 1 + eps * rng.uniform(-2, 2, value.shape)
    with np.errstate(all="ignore"):
        moved = np.asarray(value * factor).astype(value.dtype)
    return from_numpy(moved, aval)
