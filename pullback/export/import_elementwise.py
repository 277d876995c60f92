"""Operations of StableHLO on elements, and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.errors import UnsupportedError
from pullback.export.interpreter import Interpreter, rule
from pullback.hlo.modules import ModuleError, Operation

__all__ = ["BINARY", "function_of"]


def _boolean(x: Any) -> bool:
    return bool(x.dtype == dtypes.bool_)


def _or_of_bools(general: Callable[..., Any], logical: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that means a logical one where the elements are truth values."""
    return lambda x, y: logical(x, y) if _boolean(x) else general(x, y)


BINARY: Final[dict[str, Callable[..., Any]]] = {
    "add": _or_of_bools(lax.add, lax.bitwise_or),
    "multiply": _or_of_bools(lax.mul, lax.bitwise_and),
    "maximum": lax.max,
    "minimum": lax.min,
    "and": lax.bitwise_and,
    "or": lax.bitwise_or,
    "xor": lax.bitwise_xor,
}
"""Operations that reductions may use."""

_FOLDS: Final[dict[str, Callable[..., Any]]] = {
    **BINARY,
    "abs": lax.abs,
    "divide": lax.div,
    "negate": lax.neg,
    "not": lax.bitwise_not,
    "power": lax.pow,
    "remainder": lax.rem,
    "shift_left": lax.shift_left,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
    "shift_right_logical": lax.shift_right_logical,
    "sign": lax.sign,
    "subtract": lax.sub,
}
_OTHERS: Final[dict[str, Callable[..., Any]]] = {
    "stablehlo.atan2": lax.atan2,
    "stablehlo.cbrt": lax.cbrt,
    "stablehlo.ceil": lax.ceil,
    "stablehlo.complex": lax.complex,
    "stablehlo.cosine": lax.cos,
    "stablehlo.count_leading_zeros": lax.clz,
    "stablehlo.exponential": lax.exp,
    "stablehlo.exponential_minus_one": lax.expm1,
    "stablehlo.floor": lax.floor,
    "stablehlo.is_finite": lax.is_finite,
    "stablehlo.log": lax.log,
    "stablehlo.log_plus_one": lax.log1p,
    "stablehlo.logistic": lax.logistic,
    "stablehlo.popcnt": lax.population_count,
    "stablehlo.round_nearest_afz": lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO),
    "stablehlo.round_nearest_even": lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "stablehlo.rsqrt": lax.rsqrt,
    "stablehlo.sine": lax.sin,
    "stablehlo.sqrt": lax.sqrt,
    "stablehlo.tan": lax.tan,
    "stablehlo.tanh": lax.tanh,
    "chlo.acos": lax.acos,
    "chlo.acosh": lax.acosh,
    "chlo.asin": lax.asin,
    "chlo.asinh": lax.asinh,
    "chlo.atan": lax.atan,
    "chlo.atanh": lax.atanh,
    "chlo.bessel_i1e": lax.bessel_i1e,
    "chlo.cosh": lax.cosh,
    "chlo.digamma": lax.digamma,
    "chlo.erf": lax.erf,
    "chlo.erf_inv": lax.erf_inv,
    "chlo.erfc": lax.erfc,
    "chlo.lgamma": lax.lgamma,
    "chlo.next_after": lax.nextafter,
    "chlo.polygamma": lax.polygamma,
    "chlo.sinh": lax.sinh,
    "chlo.square": lax.square,
    "chlo.tan": lax.tan,
    "chlo.zeta": lax.zeta,
}


def function_of(name: str) -> Callable[..., Any] | None:
    """Our function for an operation of CHLO on elements, if there is one."""
    return _OTHERS.get(name)


def _plain(fn: Callable[..., Any]) -> Callable[..., Any]:
    def apply(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
        return fn(*xs)

    return apply


for _name, _fn in _FOLDS.items():
    rule(f"stablehlo.{_name}", folds=True)(_plain(_fn))
for _name, _fn in _OTHERS.items():
    rule(_name)(_plain(_fn))


@rule("stablehlo.real", "stablehlo.imag")
def _part(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    if dtypes.kind_of(x.dtype) == "c":
        return lax.real(x) if operation.name.endswith("real") else lax.imag(x)
    return x if operation.name.endswith("real") else lax.full_like(x, 0)


@rule("stablehlo.constant")
def _constant(interpreter: Interpreter, operation: Operation) -> Any:
    value = operation.attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise ModuleError("a constant of the module has no elements")
    if value.size > 1 and value.strides == (0,) * value.ndim:
        # Equal elements: as short in our program as in the module.
        return value if value.size <= 64 else lax.full(value.shape, value.flat[0], value.dtype)
    return value


_COMPARISONS: Final[dict[str, tuple[Callable[..., Any], Callable[..., Any]]]] = {
    "EQ": (lax.eq, lambda x, y: lax.eq(x, y)),
    "NE": (lax.ne, lambda x, y: lax.ne(x, y)),
    "LT": (lax.lt, lax.lt_to_p.bind),
    "LE": (lax.le, lax.le_to_p.bind),
    "GT": (lax.gt, lambda x, y: lax.lt_to_p.bind(y, x)),
    "GE": (lax.ge, lambda x, y: lax.le_to_p.bind(y, x)),
}


@rule("stablehlo.compare", folds=True)
def _compare(interpreter: Interpreter, operation: Operation, x: Any, y: Any) -> Any:
    direction = str(operation.attributes.get("comparison_direction"))
    if direction not in _COMPARISONS:
        raise ModuleError(f"there is no comparison {direction!r}")
    plain, total = _COMPARISONS[direction]
    if operation.attributes.get("compare_type") != "TOTALORDER" or dtypes.kind_of(x.dtype) != "f":
        return plain(x, y)
    if direction in ("EQ", "NE"):
        equal = lax.eq_to_p.bind(x, y)
        return equal if direction == "EQ" else lax.bitwise_not(equal)
    return total(x, y)


@rule("stablehlo.convert", folds=True)
def _convert(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    dtype = operation.results[0].type.dtype
    if dtypes.kind_of(x.dtype) == "c" and dtypes.kind_of(dtype) != "c" and dtype != dtypes.bool_:
        x = lax.real(x)
    return lax.convert_element_type(x, dtype)


@rule("stablehlo.bitcast_convert")
def _bitcast(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return lax.bitcast_convert_type(x, operation.results[0].type.dtype)


@rule("stablehlo.select", folds=True)
def _select(interpreter: Interpreter, operation: Operation, which: Any, x: Any, y: Any) -> Any:
    if which.shape != x.shape:
        which = lax.broadcast_in_dim(which, x.shape, ())
    return lax.select_n(which, y, x)


@rule("stablehlo.clamp", folds=True)
def _clamp(interpreter: Interpreter, operation: Operation, low: Any, x: Any, high: Any) -> Any:
    return lax.clamp(low, x, high)


@rule("stablehlo.reduce_precision")
def _reduce_precision(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    bits = (operation.attributes[f"{part}_bits"] for part in ("exponent", "mantissa"))
    return lax.reduce_precision(x, *map(int, bits))


@rule("stablehlo.iota")
def _iota(interpreter: Interpreter, operation: Operation) -> Any:
    type_ = operation.results[0].type
    shape = interpreter.shape_of(operation)
    return lax.broadcasted_iota(type_.dtype, shape, int(operation.attributes["iota_dimension"]))


@rule("stablehlo.dynamic_iota")
def _dynamic_iota(interpreter: Interpreter, operation: Operation, shape: Any) -> Any:
    dtype = operation.results[0].type.dtype
    lengths = interpreter.shape_of(operation, shape)
    return lax.broadcasted_iota(dtype, lengths, int(operation.attributes["iota_dimension"]))


@rule("stablehlo.rng_bit_generator")
def _bits(interpreter: Interpreter, operation: Operation, state: Any) -> list[Any]:
    type_ = operation.results[1].type
    algorithm = {
        "DEFAULT": lax.RandomAlgorithm.RNG_DEFAULT,
        "THREE_FRY": lax.RandomAlgorithm.RNG_THREE_FRY,
        "PHILOX": lax.RandomAlgorithm.RNG_PHILOX,
    }[operation.attributes["rng_algorithm"]]
    words = lax.bitcast_convert_type(state, np.dtype(np.uint32)).reshape(-1)
    new, bits = lax.rng_bit_generator(words, type_.shape, type_.dtype, algorithm=algorithm)
    back = operation.results[0].type.dtype
    if aval_of(new).dtype != back:
        new = lax.bitcast_convert_type(lax.reshape(new, (*state.shape, -1)), back)
    return [new, bits]


@rule("stablehlo.optimization_barrier")
def _barrier(interpreter: Interpreter, operation: Operation, *xs: Any) -> list[Any]:
    return list(lax.optimization_barrier(tuple(xs)))


@rule("stablehlo.partition_id", "stablehlo.replica_id")
def _only_device(interpreter: Interpreter, operation: Operation) -> Any:
    return np.zeros((), np.uint32)


@rule("stablehlo.create_token", "stablehlo.after_all")
def _token(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
    return None


@rule("stablehlo.tuple")
def _tuple(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
    return tuple(xs)


@rule("stablehlo.get_tuple_element")
def _element(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    index = int(operation.attributes["index"])
    if not isinstance(x, tuple) or not 0 <= index < len(x):
        raise ModuleError("the module takes an element of a tuple that there is not")
    return x[index]


@rule("stablehlo.rng")
def _rng(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
    raise UnsupportedError("stablehlo.rng draws numbers that cannot be drawn twice")


@rule("stablehlo.get_dimension_size")
def _length(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    axis = int(operation.attributes["dimension"])
    if not 0 <= axis < len(x.shape):
        raise ModuleError("the module asks for the length of an axis that there is not")
    return np.asarray(x.shape[axis], np.int32)


@rule("stablehlo.map")
def _map(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> Any:
    raise UnsupportedError("stablehlo.map: use the operations of its region on arrays")
