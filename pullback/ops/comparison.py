"""Predicates, and the choice between values that they make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    Primitive,
    Sample,
    Zero,
    instantiate,
    is_linear,
)
from pullback.ops.kinds import (
    ANY,
    BY_ELEMENTS,
    ORDERED,
    binary,
    comparison,
    element_wise,
    element_wise_shape,
    match_shape,
    operand_types,
    scalar_like,
    unbroadcast,
    widened,
    zero_tangent,
)
from pullback.ops.samples import ANYWHERE, draw, generator, inputs

__all__ = [
    "clamp",
    "eq",
    "eq_to",
    "ge",
    "gt",
    "le",
    "le_to",
    "lt",
    "lt_to",
    "ne",
    "select_n",
    "where",
]

# --------------------------------------------------------------------------- comparisons


def _compare(name: str, reference: Any, accepts: str) -> Primitive:
    return comparison(
        name,
        reference,
        accepts,
        lower=name,
        hlo=BY_ELEMENTS,
        samples=inputs(accepts, ANYWHERE, ANYWHERE, ints=(-2, 2)),
    )


eq: Primitive = _compare("eq", np.equal, ANY)
ne: Primitive = _compare("ne", np.not_equal, ANY)
lt: Primitive = _compare("lt", np.less, ORDERED)
le: Primitive = _compare("le", np.less_equal, ORDERED)
gt: Primitive = _compare("gt", np.greater, ORDERED)
ge: Primitive = _compare("ge", np.greater_equal, ORDERED)


def _total_order_keys(x: Any) -> Any:
    """Integers in the total order of IEEE 754: -NaN < -inf < ... < -0 < 0 < ... < inf < NaN."""
    if dtypes.kind_of(x.dtype) != "f":
        return x
    bits = x.view(f"i{x.dtype.itemsize}")
    info = np.iinfo(bits.dtype)
    return bits ^ ((bits >> bits.dtype.type(info.bits - 1)) & bits.dtype.type(info.max))


def _total_order(name: str, compare: Any) -> Primitive:
    def lower(s: Any, x: Any, y: Any) -> Any:
        return getattr(s, name)(_key(s, x), _key(s, y))

    return comparison(
        name + "_to",
        lambda x, y: compare(_total_order_keys(x), _total_order_keys(y)),
        ORDERED,
        lower=lower,
        hlo=BY_ELEMENTS,
        samples=inputs(ORDERED, ANYWHERE, ANYWHERE, ints=(-2, 2)),
    )


def _key(s: Any, x: Any) -> Any:
    if dtypes.kind_of(x.dtype) != "f":
        return x
    dtype = np.dtype(f"i{x.dtype.itemsize}")
    bits = s.bitcast(x, dtype)
    sign = s.shift_right_arithmetic(bits, 8 * dtype.itemsize - 1)
    return s.xor(bits, s.and_(sign, int(np.iinfo(dtype).max)))


eq_to: Primitive = _total_order("eq", np.equal)
lt_to: Primitive = _total_order("lt", np.less)
le_to: Primitive = _total_order("le", np.less_equal)

# --------------------------------------------------------------------------- selection


def _select_abstract(which: Any, *cases: Any, **_: Any) -> ShapedArray:
    if not cases:
        raise TypeError("select_n needs at least one case")
    if which.dtype == dtypes.bool_:
        if len(cases) > 2:
            raise TypeError(f"select_n: a bool `which` chooses among 2 cases, got {len(cases)}")
    elif which.dtype != dtypes.int32:
        raise TypeError(f"select_n: `which` must be bool or int32, got {which.str_short()}")
    if any(c.dtype != cases[0].dtype for c in cases):
        raise TypeError(f"select_n: cases must have one dtype, got {operand_types(cases)}")
    shape = element_wise_shape("select_n", (which, *cases))
    return ShapedArray(shape, cases[0].dtype, all(c.weak_type for c in cases))


def _select_reference(which: Any, *cases: Any) -> Any:
    if len(cases) == 2:
        return np.where(which, cases[1], cases[0])
    if len(cases) == 1:
        return cases[0] + np.zeros(np.shape(which), cases[0].dtype)
    return np.choose(np.clip(which, 0, len(cases) - 1), cases)


def _select_jvp(primals: Any, tangents: Any, **_: Any) -> tuple[Any, Any]:
    which = primals[0]
    out = select_n(*primals)
    if all(type(t) is Zero for t in tangents[1:]):
        return out, zero_tangent(out)
    return out, match_shape(select_n(which, *map(instantiate, tangents[1:])), aval_of(out).shape)


def _select_transpose(ct: Any, which: Any, *cases: Any, **_: Any) -> list[Any]:
    zero = scalar_like(ct, 0)

    def part(k: int) -> Any:
        alone = [ct if n == k else zero for n in range(len(cases))]
        return unbroadcast(select_n(which, *alone), cases[k].aval)

    return [None] + [part(k) if is_linear(c) else None for k, c in enumerate(cases)]


def _choose(s: Any, which: Any, *cases: Any) -> Any:
    if len(cases) == 1:
        return cases[0]
    if which.dtype.kind == "b":
        return s.select(which, cases[1], cases[0])
    out = cases[-1]
    for k in range(len(cases) - 2, -1, -1):
        out = s.select(s.le(which, k), cases[k], out)
    return out


def _select_samples() -> Iterator[Sample]:
    rng = generator()
    for dtype in (np.float32, np.int32, np.bool_, np.complex64, np.uint8, dtypes.bfloat16):
        for shape in ((), (5,), (2, 3), (0, 3)):
            cases = [draw(rng, np.dtype(dtype), shape) for _ in range(3)]
            yield Sample((draw(rng, dtypes.bool_, shape), *cases[:2]))
            yield Sample((draw(rng, dtypes.int32, shape, (0, 2)), *cases))
        yield Sample((np.array(True), *cases[:2]))
        yield Sample((np.array(1, np.int32), *cases))


select_n: Primitive = element_wise(
    "select_n",
    _select_reference,
    _select_abstract,
    jvp=_select_jvp,
    transpose=_select_transpose,
    lower=_choose,
    hlo=BY_ELEMENTS,
    samples=_select_samples,
    literals=False,
)


def where(condition: Any, x: Any, y: Any) -> Any:
    """`x` where `condition` holds, else `y`; at most one of them a Python scalar."""
    if type(x) in (int, float):
        x = scalar_like(y, x)
    elif type(y) in (int, float):
        y = scalar_like(x, y)
    return select_n(condition, y, x)


# --------------------------------------------------------------------------- clamp


def _clamp_reference(low: Any, x: Any, high: Any) -> Any:
    return np.minimum(np.maximum(low, x), high)


def _clamp_samples() -> Iterator[Sample]:
    """The bounds are scalars or have the shape of the operand, as JAX has it."""
    for sample in inputs(ORDERED, (-2, -1), ANYWHERE, (1, 2))():
        low, x, high = (v.shape for v in sample.args)
        if {low, high} <= {(), x}:
            yield sample


clamp: Primitive = binary(
    "clamp",
    widened(_clamp_reference),
    ANY,
    jvp=(
        lambda ans, low, x, high: lambda t: where(gt(low, x), t, 0.0),
        lambda ans, low, x, high: lambda t: where(gt(x, low), where(lt(x, high), t, 0.0), 0.0),
        lambda ans, low, x, high: lambda t: where(lt(high, x), t, 0.0),
    ),
    lower="clamp",
    hlo=BY_ELEMENTS,
    samples=_clamp_samples,
)
