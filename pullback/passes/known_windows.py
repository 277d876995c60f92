"""Windows at known places: `x.at[1:-1].add(y)` is no scatter.

A rule of `passes/simplify.py`.  The positions of a scatter are an array, and its loops look whether
a window is inside.  Where most of an array changes, and the place is known, the sum is written as
one of slices: the compiler fuses it with what it is made of, and loops update it where it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import JaxprEqn, Literal, Var
from pullback.ops.slicing import LARGE
from pullback.ops.windows import as_gather, window_sizes

__all__ = ["UPDATES", "known_operands", "updated"]

UPDATES: Final = {
    "scatter-add": "add",
    "scatter-max": "max",
    "scatter-min": "min",
    "scatter-mul": "mul",
    "scatter-sub": "sub",
}
"""Scatters, and what they do with the element that is there."""

Atom = Var | Literal
Apply = Callable[[str, Sequence[Atom], Any, dict[str, Any]], Atom]


def updated(
    eqn: JaxprEqn, inputs: Sequence[Atom], starts: np.ndarray[Any, Any] | None, apply: Apply
) -> Atom | None:
    """The result of a scatter of one window at known `starts`; None for any other.

    `apply(name, operands, aval, params)` writes an equation.
    """
    x, _, updates = inputs[:3]
    numbers = eqn.params["dimension_numbers"]
    one_window = len(numbers.update_window_dims) == len(updates.aval.shape)
    if starts is None or not one_window or len(inputs) != 3 or x.aval.dtype == np.bool_:
        return None
    shape, whole = updates.aval.shape, x.aval.shape
    sizes = window_sizes(as_gather(numbers), len(whole), shape)
    if math.prod(whole) < LARGE or 2 * math.prod(sizes) < math.prod(whole):
        return None
    place = [0] * len(whole)
    for axis, start in zip(numbers.scatter_dims_to_operand_dims, starts, strict=True):
        place[axis] = int(start)
    ends = tuple(start + m for start, m in zip(place, sizes, strict=True))
    if any(not 0 <= a <= b <= n for a, b, n in zip(place, ends, whole, strict=True)):
        return None
    part = x.aval.update(shape=sizes)
    if shape != sizes:
        aval = updates.aval.update(shape=sizes)
        params = {"new_sizes": sizes, "dimensions": None, "sharding": None}
        updates = apply("reshape", [updates], aval, params)
    if sizes == whole:
        return apply(UPDATES[eqn.primitive.name], [x, updates], part, {})
    limits = {"start_indices": tuple(place), "limit_indices": ends, "strides": None}
    now = apply("slice", [x], part, limits)
    total = apply(UPDATES[eqn.primitive.name], [now, updates], part, {})
    index = ShapedArray((), np.dtype(np.int32))
    at = [Literal(np.asarray(start, np.int32), index) for start in place]
    return apply("dynamic_update_slice", [x, total, *at], x.aval, {})


def known_operands(
    eqn: JaxprEqn, known: Sequence[np.ndarray[Any, Any] | None]
) -> dict[str, Sequence[np.ndarray[Any, Any] | None]]:
    """What the arguments of a loop's or a branch's jaxprs are known to be, by parameter."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return {"jaxpr": known[: params["num_consts"]]}
    if name == "while":
        first = params["cond_nconsts"]
        return {"body_jaxpr": known[first : first + params["body_nconsts"]]}
    return {"branches": known[1:]} if name == "cond" else {}
