"""Recurrences of Taylor mode for products, quotients and elementary functions.

With coefficients without factorials a product is a convolution, and a function with f' = g(f) gives
each coefficient from those before it (Griewank and Walther, Evaluating Derivatives, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.primitive import Primitive, registry
from pullback.ops import contractions, elementwise
from pullback.ops.kinds import match_shape
from pullback.transforms.jet import Series, by_derivative, rules, scaled

_POWERS_LIMIT: Final = 64
"""Integer powers up to this one are products of series."""


def _sum(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = elementwise.add_any(total, term)
    return total


def _convolved(product: Callable[[Any, Any], Any], a: Series, b: Series, k: int) -> Any:
    """The coefficient k of a product; both series begin with their value."""
    return _sum([product(a[j], b[k - j]) for j in range(k + 1)])


def _bilinear(primitive: Primitive) -> None:
    """A rule for what is linear in each of two operands."""

    def rule(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
        def product(a: Any, b: Any) -> Any:
            return primitive.bind(a, b, **params)

        (x, y), (xs, ys) = primals, series
        if xs is None:
            return product(x, y), [product(x, b) for b in ys]
        if ys is None:
            return product(x, y), [product(a, y) for a in xs]
        a, b = [x, *xs], [y, *ys]
        return product(x, y), [_convolved(product, a, b, k) for k in range(1, order + 1)]

    rules[primitive.name] = rule


for _primitive in (elementwise.mul, contractions.dot_general, registry["conv_general_dilated"]):
    _bilinear(_primitive)


def _mul(a: Any, b: Any) -> Any:
    return elementwise.mul(a, b)


def _times(a: Series, b: Series) -> Series:
    """The product of two full series."""
    return [_convolved(_mul, a, b, k) for k in range(len(a))]


def _number(x: Any, value: float) -> Any:
    return dtypes.physical(aval_of(x).dtype).type(value)


def _unary(name: str, rule: Callable[[Any, Series, int], tuple[Any, Series]]) -> None:
    """A rule from `recurrence(x, series, order)`."""

    def on_series(order: int, primals: Any, series: Any, params: Any) -> tuple[Any, Any]:
        return rule(primals[0], series[0], order)

    rules[name] = on_series


def _grown(y: Any, order: int, step: Callable[[Series, int], Any]) -> tuple[Any, Series]:
    """The series whose coefficient k is `step(coefficients before it, k)`."""
    ys = [y]
    for k in range(1, order + 1):
        ys.append(step(ys, k))
    return y, ys[1:]


def _driven(g: Series, x: Series, k: int) -> Any:
    """The coefficient k of y where y' = g x'; `x` begins with its value, `g` goes to k - 1."""
    return scaled(_sum([_mul(scaled(x[j], j), g[k - j]) for j in range(1, k + 1)]), 1 / k)


def _divide(order: int, primals: Any, series: Any, params: Any) -> tuple[Any, Any]:
    (x, y), (xs, ys) = primals, series
    q = elementwise.div(x, y)
    shape = aval_of(q).shape
    if dtypes.kind_of(aval_of(q).dtype) not in "fc":
        return q, None
    if ys is None:
        return q, [match_shape(elementwise.div(c, y), shape) for c in xs]

    def step(qs: Series, k: int) -> Any:
        rest = _sum([match_shape(_mul(ys[j - 1], qs[k - j]), shape) for j in range(1, k + 1)])
        top = elementwise.neg(rest)
        if xs is not None:
            top = elementwise.sub(match_shape(xs[k - 1], shape), rest)
        return elementwise.div(top, y)

    return _grown(q, order, step)


rules["div"] = _divide


def _exp(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    full = [x, *xs]
    return _grown(elementwise.exp(x), order, lambda ys, k: _driven(ys, full, k))


def _expm1(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    return registry["expm1"].bind(x), _exp(x, xs, order)[1]


def _exp2(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    full = [x, *[scaled(c, _LOG_2) for c in xs]]
    y = registry["exp2"].bind(x)
    return _grown(y, order, lambda ys, k: _driven(ys, full, k))


_LOG_2: Final = 0.6931471805599453


def _log_of(value: Any, x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    """`value` is the logarithm of `x`: k xₖ = Σ j yⱼ xₖ₋ⱼ."""
    full = [x, *xs]

    def step(ys: Series, k: int) -> Any:
        before = [_mul(scaled(ys[j], j), full[k - j]) for j in range(1, k)]
        top = full[k]
        if before:
            top = elementwise.sub(top, scaled(_sum(before), 1 / k))
        return elementwise.div(top, x)

    return _grown(value, order, step)


def _log(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    return _log_of(elementwise.log(x), x, xs, order)


def _log1p(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    above = elementwise.add(x, _number(x, 1))
    return _log_of(registry["log1p"].bind(x), above, xs, order)


def _sqrt(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    """From y² = x."""

    def step(ys: Series, k: int) -> Any:
        top = xs[k - 1]
        if k > 1:
            top = elementwise.sub(top, _sum([_mul(ys[j], ys[k - j]) for j in range(1, k)]))
        return elementwise.div(top, scaled(ys[0], 2))

    return _grown(elementwise.sqrt(x), order, step)


def _square(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    full = [x, *xs]
    return elementwise.square(x), _times(full, full)[1:]


def _integer_pow(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    """Powers by squaring, so that there is no division where x is zero."""
    (x,), (xs,), n = primals, series, params["y"]
    if not 0 < n <= _POWERS_LIMIT:
        return by_derivative(elementwise.integer_pow, order, primals, series, params)
    power, result = [x, *xs], None
    while n:
        if n & 1:
            result = power if result is None else _times(result, power)
        n >>= 1
        if n:
            power = _times(power, power)
    assert result is not None
    return elementwise.integer_pow.bind(x, **params), result[1:]


rules["integer_pow"] = _integer_pow


def _pair(
    x: Any, xs: Series, order: int, f: Any, g: Any, sign: float
) -> tuple[tuple[Any, Series], tuple[Any, Series]]:
    """The series of two functions with f' = g and g' = sign f."""
    full, first, second = [x, *xs], [f], [g]
    for k in range(1, order + 1):
        up, down = _driven(second, full, k), _driven(first, full, k)
        first.append(up)
        second.append(scaled(down, sign))
    return (f, first[1:]), (g, second[1:])


def _circular(x: Any, xs: Series, order: int) -> Any:
    return _pair(x, xs, order, elementwise.sin(x), elementwise.cos(x), -1)


def _hyperbolic(x: Any, xs: Series, order: int) -> Any:
    return _pair(x, xs, order, elementwise.sinh(x), elementwise.cosh(x), 1)


def _of_itself(
    y: Any, x: Any, xs: Series, order: int, slope: Callable[[Series, int], Any]
) -> tuple[Any, Series]:
    """The series of y with y' = g(y) x'; `slope(ys, k)` is the coefficient k of g(y)."""
    full, ys, gs = [x, *xs], [y], [slope([y], 0)]
    for k in range(1, order + 1):
        ys.append(_driven(gs, full, k))
        gs.append(slope(ys, k))
    return y, ys[1:]


def _one(x: Any, k: int) -> Any:
    return _number(x, 1.0 if k == 0 else 0.0)


def _tan(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    def slope(ys: Series, k: int) -> Any:
        return elementwise.add(_convolved(_mul, ys, ys, k), _one(x, k))

    return _of_itself(elementwise.tan(x), x, xs, order, slope)


def _tanh(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    def slope(ys: Series, k: int) -> Any:
        return elementwise.sub(_one(x, k), _convolved(_mul, ys, ys, k))

    return _of_itself(elementwise.tanh(x), x, xs, order, slope)


def _logistic(x: Any, xs: Series, order: int) -> tuple[Any, Series]:
    def slope(ys: Series, k: int) -> Any:
        return elementwise.sub(ys[k], _convolved(_mul, ys, ys, k))

    return _of_itself(elementwise.logistic(x), x, xs, order, slope)


_unary("exp", _exp)
_unary("expm1", _expm1)
_unary("exp2", _exp2)
_unary("log", _log)
_unary("log1p", _log1p)
_unary("sqrt", _sqrt)
_unary("square", _square)
_unary("sin", lambda x, xs, order: _circular(x, xs, order)[0])
_unary("cos", lambda x, xs, order: _circular(x, xs, order)[1])
_unary("sinh", lambda x, xs, order: _hyperbolic(x, xs, order)[0])
_unary("cosh", lambda x, xs, order: _hyperbolic(x, xs, order)[1])
_unary("tan", _tan)
_unary("tanh", _tanh)
_unary("logistic", _logistic)
