"""The ufuncs that are objects: each with its monoid, where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.numpy import cumulative, reductions
from pullback.numpy.arrays import as_array
from pullback.numpy.elementwise import BINARY_NOTE, IMPORT, KEPT_NOTE
from pullback.numpy.operands import kind, materialized, strong_unless_scalar
from pullback.numpy.predicates import to_bool
from pullback.numpy.promotion import (
    ensure_arraylike,
    promote_args,
    promote_args_inexact,
    promote_shapes,
)
from pullback.numpy.ufuncs import ufunc
from pullback.ops import elementwise as ops
from pullback.runtime.composites import compiled_when_eager
from pullback.runtime.replays import replayed_when_eager

__all__ = ["UFUNCS"]

Function = Callable[..., Any]

UFUNCS: Final[dict[str, ufunc]] = {}


def _at(method: str) -> Function:
    return lambda a, indices, b: getattr(a.at[indices], method)(b)


def _make(
    name: str,
    call: Function,
    summary: str,
    example: str,
    *,
    nin: int = 2,
    identity: Any = None,
    reduce: Function | None = None,
    accumulate: Function | None = None,
    at: str | None = None,
    logical: bool = False,
) -> None:
    text, result = example.split(" -> ")
    note = BINARY_NOTE if nin == 2 else KEPT_NOTE
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{summary}\n\n{note}\n\n{IMPORT}\n>>> jnp.{text}\n{result}\n"
    UFUNCS[name] = ufunc(
        call,
        nin,
        1,
        name=name,
        identity=identity,
        call=call,
        reduce=reduce,
        accumulate=accumulate,
        at=None if at is None else _at(at),
        logical=logical,
    )


def _binary(name: str, operation: Function) -> Function:
    def call(x1: Any, x2: Any, /) -> Any:
        return operation(*promote_args(name, x1, x2))

    return call


def _add(x1: Any, x2: Any) -> Any:
    return ops.or_.bind(x1, x2) if kind(x1) == "b" else ops.add.bind(x1, x2)


def _multiply(x1: Any, x2: Any) -> Any:
    return ops.and_.bind(x1, x2) if kind(x1) == "b" else ops.mul.bind(x1, x2)


def _logical(name: str, operation: Function) -> Function:
    def call(x1: Any, x2: Any, /) -> Any:
        x1, x2 = ensure_arraylike(name, x1, x2)
        return operation(*promote_shapes(name, to_bool(x1), to_bool(x2)))

    return replayed_when_eager(call)


def _negative(x: Any, /) -> Any:
    x = ensure_arraylike("negative", x)
    if kind(x) == "b":
        raise TypeError(
            "neg does not accept dtype bool. Accepted dtypes are subtypes of integer, floating, "
            "complexfloating. Use logical_not for bools."
        )
    return lax.neg(x)


@compiled_when_eager()
def _logaddexp(x1: Any, x2: Any, /) -> Any:
    return _log_add("logaddexp", x1, x2, 1.0)


@compiled_when_eager()
def _logaddexp2(x1: Any, x2: Any, /) -> Any:
    return strong_unless_scalar(_log_add("logaddexp2", x1, x2, float(np.log(2))))


def _log_add(name: str, x1: Any, x2: Any, unit: float) -> Any:
    """hi + log(1 + exp(lo - hi)), which has the right derivatives of all orders.

    `unit` is the logarithm of the base. Equal infinities have difference 0, not nan.
    """
    x1, x2 = materialized(*promote_args_inexact(name, x1, x2))
    swap = lax.lt(_real(x1), _real(x2))
    hi, lo = lax.select(swap, x2, x1), lax.select(swap, x1, x2)
    same = lax.bitwise_and(lax.eq(hi, lo), lax.bitwise_not(lax.is_finite(_real(hi))))
    delta = lax.select(same, lax.full_like(hi, 0), lax.sub(lo, hi))
    base = lax.full_like(delta, unit)
    out = lax.add(hi, lax.div(lax.log1p(lax.exp(lax.mul(delta, base))), base))
    return strong_unless_scalar(_wrapped_phase(out, unit)) if kind(out) == "c" else out


def _real(x: Any) -> Any:
    return lax.real(x) if kind(x) == "c" else x


def _wrapped_phase(x: Any, unit: float) -> Any:
    """Complex logarithms with the imaginary part brought into (-pi, pi], in units of the base."""
    imag = lax.imag(x)
    period = lax.full_like(imag, 2 * np.pi / unit)
    half = lax.full_like(imag, np.pi / unit)
    turns = lax.floor(lax.div(lax.add(imag, half), period))
    return lax.complex(lax.real(x), lax.sub(imag, lax.mul(turns, period)))


def _reduce_logaddexp(
    a: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any
) -> Any:
    a = as_array(a) if dtype is None else lax.convert_element_type(a, dtype)
    a = lax.convert_element_type(a, dtypes.to_inexact_dtype(a.dtype))
    if where is not None:
        a = lax.select(
            reductions.where_mask("logaddexp.reduce", where, a.shape), a, lax.full_like(a, -np.inf)
        )
    top = lax.stop_gradient(reductions.max(a, axis, keepdims=True, initial=-np.inf))
    top = lax.select(lax.is_finite(top), top, lax.full_like(top, 0))
    out = lax.add(lax.log(reductions.sum(lax.exp(a - top), axis, keepdims=True)), top)
    out = out if keepdims else lax.reshape(out, reductions.max(a, axis, initial=0).shape)
    return out if initial is None else _logaddexp(out, initial)


def _without_dtype(reduce: Function) -> Function:
    def call(a: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any) -> Any:
        out = reduce(a, axis, keepdims=keepdims, initial=initial, where=where)
        return out if dtype is None else lax.convert_element_type(out, dtype)

    return call


def _logical_reduce(reduce: Function) -> Function:
    def call(a: Any, axis: Any, dtype: Any, keepdims: bool, initial: Any, where: Any) -> Any:
        out = reduce(a, axis, keepdims=keepdims, where=where)
        if initial is not None:
            both = lax.bitwise_and if reduce is reductions.all else lax.bitwise_or
            out = both(out, lax.broadcast(to_bool(as_array(initial)), out.shape))
        return out if dtype is None else lax.convert_element_type(out, dtype)

    return call


def _build() -> None:
    _make(
        "add",
        _binary("add", _add),
        "The sum; the logical or of bools.",
        "add(jnp.array([1, 2]), 0.5) -> Array([1.5, 2.5], dtype=float32, weak_type=True)",
        identity=0,
        reduce=reductions.sum,
        accumulate=cumulative.cumsum,
        at="add",
    )
    _make(
        "multiply",
        _binary("multiply", _multiply),
        "The product; the logical and of bools.",
        "multiply(jnp.array([1, 2]), 3) -> Array([3, 6], dtype=int32)",
        identity=1,
        reduce=reductions.prod,
        accumulate=cumulative.cumprod,
        at="multiply",
    )
    _make(
        "subtract",
        _binary("subtract", ops.sub.bind),
        "The difference.",
        "subtract(jnp.array([1, 2]), 3) -> Array([-2, -1], dtype=int32)",
        at="subtract",
    )
    _make(
        "maximum",
        _binary("maximum", ops.max_.bind),
        "The larger element; nan if one is nan.",
        "maximum(jnp.array([1, 5]), 3) -> Array([3, 5], dtype=int32)",
        reduce=_without_dtype(reductions.max),
        at="max",
    )
    _make(
        "minimum",
        _binary("minimum", ops.min_.bind),
        "The smaller element; nan if one is nan.",
        "minimum(jnp.array([1, 5]), 3) -> Array([1, 3], dtype=int32)",
        reduce=_without_dtype(reductions.min),
        at="min",
    )
    _make(
        "negative",
        _negative,
        "The number with the other sign.",
        "negative(jnp.array([1, -2])) -> Array([-1,  2], dtype=int32)",
        nin=1,
    )
    _build_logic()
    _make(
        "logaddexp",
        _logaddexp,
        "log(exp(x1) + exp(x2)) without overflow.",
        "logaddexp(jnp.float32(-jnp.inf), 3.0) -> Array(3., dtype=float32)",
        identity=-np.inf,
        reduce=_reduce_logaddexp,
    )
    _make(
        "logaddexp2",
        _logaddexp2,
        "log2(2**x1 + 2**x2) without overflow.",
        "logaddexp2(jnp.float32(3), 3.0) -> Array(4., dtype=float32)",
        identity=-np.inf,
    )


def _build_logic() -> None:
    for name, operation, summary, example, identity in (
        (
            "bitwise_and",
            ops.and_.bind,
            "The bits that both have; of bools the logical and.",
            "bitwise_and(jnp.array([6, 3]), 2) -> Array([2, 2], dtype=int32)",
            -1,
        ),
        (
            "bitwise_or",
            ops.or_.bind,
            "The bits that one has; of bools the logical or.",
            "bitwise_or(jnp.array([6, 3]), 1) -> Array([7, 3], dtype=int32)",
            0,
        ),
        (
            "bitwise_xor",
            ops.xor.bind,
            "The bits that just one has; of bools whether they differ.",
            "bitwise_xor(jnp.array([6, 3]), 1) -> Array([7, 2], dtype=int32)",
            0,
        ),
    ):
        _make(name, _binary(name, operation), summary, example, identity=identity)
    _make(
        "logical_and",
        _logical("logical_and", lax.bitwise_and),
        "Whether both are not zero.",
        "logical_and(jnp.array([0, 2]), 1) -> Array([False,  True], dtype=bool)",
        identity=True,
        logical=True,
        reduce=_logical_reduce(reductions.all),
    )
    _make(
        "logical_or",
        _logical("logical_or", lax.bitwise_or),
        "Whether one is not zero.",
        "logical_or(jnp.array([0, 2]), 0) -> Array([False,  True], dtype=bool)",
        identity=False,
        logical=True,
        reduce=_logical_reduce(reductions.any),
    )
    _make(
        "logical_xor",
        _logical("logical_xor", lax.bitwise_xor),
        "Whether just one is not zero.",
        "logical_xor(jnp.array([0, 2]), 1) -> Array([ True, False], dtype=bool)",
        identity=False,
        logical=True,
    )


_build()
