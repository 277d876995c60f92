"""Operations on axes of symbolic lengths: the dynamic ones of StableHLO.

The numbers of the variables are computed from the lengths of arguments at the beginning of a
program, and all other lengths from them.  A loader that knows the lengths of the arguments computes
the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core.dimensions import DimExpr, bounds, is_symbolic
from pullback.core.stablehlo import Attributes, IntArray, Type, integer
from pullback.errors import UnsupportedError

__all__ = ["Dynamic"]

_I32: Final = np.dtype(np.int32)


class Dynamic:
    """Writes operations with symbolic lengths, on the operations `b`."""

    def __init__(self, b: Any, variables: dict[str, Any]) -> None:
        self.b = b
        self.variables = variables

    # ------------------------------------------------------------------ numbers

    def value(self, e: Any) -> Any:
        """A length as an int32."""
        if type(e) is not DimExpr:
            return self.b.full((), e, _I32)
        total = None
        for term, coefficient in e.terms.items():
            factors = [self.factor(f) for f, power in term for _ in range(power)]
            if coefficient != 1 or not factors:
                factors.append(self.b.full((), coefficient, _I32))
            product = factors[0]
            for factor in factors[1:]:
                product = self.b.apply("stablehlo.multiply", product, factor)
            total = product if total is None else self.b.apply("stablehlo.add", total, product)
        return total

    def factor(self, factor: Any) -> Any:
        """A variable, or an operation on lengths."""
        if isinstance(factor, str):
            if factor not in self.variables:
                raise UnsupportedError(
                    f"the dimension variable '{factor}' is in no shape of the arguments from "
                    "which it can be computed"
                )
            return self.variables[factor]
        name, x, y = factor
        left, right = self.value(x), self.value(y)
        if name in ("max", "min"):
            return self.b.apply(f"stablehlo.{name}imum", left, right)
        rest = self.b.apply("stablehlo.remainder", left, right)
        if bounds(x)[0] < 0 or bounds(y)[0] <= 0:
            # The remainder has the sign of the divisor.
            product = self.b.apply("stablehlo.multiply", rest, right)
            moved = self.b.apply("stablehlo.add", rest, right)
            rest = self.b.select(self.b.compare("LT", product, 0), moved, rest)
        if name == "mod":
            return rest
        exact = self.b.apply("stablehlo.subtract", left, rest)
        return self.b.apply("stablehlo.divide", exact, right)

    def vector(self, values: Sequence[Any]) -> Any:
        """Lengths as an array."""
        if not any(map(is_symbolic, values)):
            return self.b.array(np.asarray([int(v) for v in values], _I32))
        parts = [self.b.reshape(self.value(v), (1,)) for v in values]
        return self.b.concatenate(parts, 0)

    # ------------------------------------------------------------------ operations

    def rewritten(
        self, name: str, xs: Sequence[Any], types: Sequence[Type], attributes: Attributes
    ) -> list[Any] | None:
        """The results of an operation by its dynamic form, None where it can stay as it is."""
        rewrite = _REWRITES.get(name)
        symbolic = any(
            any(map(is_symbolic, v.values)) for v in attributes.values() if type(v) is IntArray
        )
        shaped = name in _SHAPED and any(map(is_symbolic, types[0][0]))
        if not symbolic and not shaped:
            return None
        if rewrite is None:
            raise UnsupportedError(f"{name} with symbolic lengths among its attributes")
        return [rewrite(self, list(xs), types[0], dict(attributes))]

    def op(self, name: str, xs: Sequence[Any], type_: Type, attributes: Any = None) -> Any:
        """An operation as it stands."""
        return self.b.op(name, xs, type_[0], type_[1], attributes or {})


def _values(text: str) -> tuple[Any, ...]:
    assert isinstance(text, IntArray)
    return text.values


def _with_shape(name: str) -> Callable[..., Any]:
    """The form that takes its shape as an operand."""

    def rewrite(d: Dynamic, xs: list[Any], type_: Type, attributes: dict[str, str]) -> Any:
        return d.op(name, [*xs, d.vector(type_[0])], type_, attributes)

    return rewrite


def _slice(d: Dynamic, xs: list[Any], type_: Type, attributes: dict[str, str]) -> Any:
    names = ("start_indices", "limit_indices", "strides")
    operands = [d.vector(_values(attributes[k])) for k in names]
    return d.op("stablehlo.real_dynamic_slice", [*xs, *operands], type_)


def _pad(d: Dynamic, xs: list[Any], type_: Type, attributes: dict[str, str]) -> Any:
    names = ("edge_padding_low", "edge_padding_high", "interior_padding")
    operands = [d.vector(_values(attributes[k])) for k in names]
    return d.op("stablehlo.dynamic_pad", [*xs, *operands], type_)


def _gather(d: Dynamic, xs: list[Any], type_: Type, attributes: dict[str, str]) -> Any:
    sizes = d.vector(_values(attributes.pop("slice_sizes")))
    return d.op("stablehlo.dynamic_gather", [*xs, sizes], type_, attributes)


def _dynamic_slice(d: Dynamic, xs: list[Any], type_: Type, attributes: dict[str, str]) -> Any:
    x, *starts = xs
    b = d.b
    one = [b.reshape(b.convert(s, _I32), (1,)) for s in starts]
    start = b.concatenate(one, 0)
    sizes = d.vector(_values(attributes["slice_sizes"]))
    last = b.apply("stablehlo.subtract", d.vector(x.shape), sizes)
    low = b.array(np.zeros(len(x.shape), _I32))
    start = b.apply("stablehlo.minimum", b.apply("stablehlo.maximum", start, low), last)
    limit = b.apply("stablehlo.add", start, sizes)
    strides = b.array(np.ones(len(x.shape), _I32))
    return d.op("stablehlo.real_dynamic_slice", [x, start, limit, strides], type_)


_SHAPED: Final = frozenset(("stablehlo.iota", "stablehlo.broadcast_in_dim", "stablehlo.reshape"))
_REWRITES: Final[dict[str, Callable[..., Any]]] = {
    "stablehlo.iota": _with_shape("stablehlo.dynamic_iota"),
    "stablehlo.broadcast_in_dim": _with_shape("stablehlo.dynamic_broadcast_in_dim"),
    "stablehlo.reshape": _with_shape("stablehlo.dynamic_reshape"),
    "stablehlo.slice": _slice,
    "stablehlo.pad": _pad,
    "stablehlo.gather": _gather,
    "stablehlo.dynamic_slice": _dynamic_slice,
}


# --------------------------------------------------------------------------- variables


def find_variables(b: Any, arguments: Sequence[Any]) -> None:
    """Compute the variables from the lengths of the arguments, and check that all of them fit."""
    lengths = [(n, a, axis) for a in arguments for axis, n in enumerate(a.shape) if is_symbolic(n)]
    found: dict[str, Any] = {}
    b.dynamic = Dynamic(b, found)
    left = lengths
    while left:
        rest = [item for item in left if not _found(b, found, *item)]
        if len(rest) == len(left):
            break
        left = rest
    missing = {v for n, _, _ in lengths for v in n.variables()} - set(found)
    if missing:
        raise UnsupportedError(
            f"the dimension variables {sorted(missing)} cannot be computed from the shapes of the "
            "arguments: one length has to be linear in each"
        )
    zero = b.full((), 0, _I32)
    for name in found:
        _assert(b, b.compare("GE", found[name], 1), f"'{name}' is {{0}}, but at least 1 is needed",
                found[name])  # fmt: skip
    for n, a, axis in lengths:
        here, expected = _length(b, a, axis), b.dynamic.value(n)
        message = f"an axis of an argument has the length {{0}}, expected '{n}' = {{1}}"
        _assert(b, b.compare("EQ", here, expected), message, here, expected)
    for scope in {id(n.scope): n.scope for n, _, _ in lengths}.values():
        for e, text in scope.known:
            if e.variables() <= set(found):
                _assert(b, b.compare("GE", b.dynamic.value(e), zero), f"the constraint {text}")
        for x, y, text in scope.equations:
            names = {v for e in (x, y) if is_symbolic(e) for v in e.variables()}
            if names <= set(found):
                sides = b.dynamic.value(x), b.dynamic.value(y)
                _assert(b, b.compare("EQ", *sides), f"the constraint {text}")


def _length(b: Any, x: Any, axis: int) -> Any:
    attributes = {"dimension": integer(axis)}
    return b.op("stablehlo.get_dimension_size", [x], (), _I32, attributes)


def _found(b: Any, found: dict[str, Any], n: Any, x: Any, axis: int) -> bool:
    """Compute a variable from one length; whether that says nothing more."""
    unknown = n.variables() - set(found)
    if not unknown:
        return True
    if len(unknown) > 1:
        return False
    (name,) = unknown
    slope = n.terms.get(((name, 1),))
    others = {t: c for t, c in n.terms.items() if t != ((name, 1),)}
    rest = DimExpr(others, n.scope)
    if slope is None or name in rest.variables():
        return False
    value = _length(b, x, axis)
    if others:
        value = b.apply("stablehlo.subtract", value, b.dynamic.value(rest))
    found[name] = value if slope == 1 else b.apply("stablehlo.divide", value, slope)
    return True


def _assert(b: Any, test: Any, message: str, *values: Any) -> None:
    text = "Input shapes do not match the polymorphic shapes specification: " + message
    attributes = {
        "call_target_name": '"shape_assertion"',
        "has_side_effect": "true",
        "api_version": "2 : i32",
        "error_message": '"' + text.replace('"', "'") + '"',
    }
    b.ops("stablehlo.custom_call", [test, *values], [], attributes)
