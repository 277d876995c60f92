"""Symbolic lengths of axes: polynomials over dimension variables.

A dimension expression stands for an integer that is known when an exported program is called.  Sums
and products are kept as polynomials, so that equal ones look equal; `floordiv`, `mod`, `max` and
`min` are factors of their own.  Comparisons are decided by bounds: variables are at least 1, and
constraints say more; what cannot be decided raises `InconclusiveDimensionOperation`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from pullback.errors import InconclusiveDimensionOperation

__all__ = [
    "DimExpr",
    "as_length",
    "evaluate",
    "from_factor",
    "is_inside",
    "is_symbolic",
    "larger",
    "slice_indices",
]

Factor = Any
"""The name of a variable, or `(operation, left, right)`."""
Term = tuple[tuple[Factor, int], ...]
"""A product of powers; the empty one is 1."""
_MAX_TERMS: Final = 1000


class Scope(Protocol):
    """Where dimension variables live (`core.dimension_specs.SymbolicScope`)."""

    rules: dict[Factor, Any]
    """What stands for a variable or an operation."""
    known: list[tuple[Any, str]]
    """Expressions that are not negative, with the constraint that says so."""
    equations: list[tuple[Any, Any, str]]


def is_symbolic(d: Any) -> bool:
    """Whether a length is symbolic.

    >>> is_symbolic(3)
    False
    """
    return type(d) is DimExpr


class DimExpr:
    """A symbolic length.

    >>> from pullback.core.dimension_specs import SymbolicScope, parse_shape
    >>> b, = parse_shape("b", SymbolicScope())
    >>> b * 2 + 1, (2 * b + 4) // 2, b >= 1, b == 0
    (2*b + 1, b + 2, True, False)
    """

    __slots__ = ("_hash", "scope", "terms")
    __array_priority__ = 1000

    def __init__(self, terms: dict[Term, int], scope: Scope) -> None:
        self.terms = terms
        self.scope = scope
        self._hash = hash(frozenset(terms.items()))

    # ------------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Any:
        return _add(self, other) if _is_dimension(other) else _with_value(self, other, "add")

    def __radd__(self, other: Any) -> Any:
        return _add(other, self) if _is_dimension(other) else _with_value(self, other, "radd")

    def __sub__(self, other: Any) -> Any:
        if not _is_dimension(other):
            return _with_value(self, other, "sub")
        return _add(self, _scaled(other, -1))

    def __rsub__(self, other: Any) -> Any:
        if not _is_dimension(other):
            return _with_value(self, other, "rsub")
        return _add(other, _scaled(self, -1))

    def __mul__(self, other: Any) -> Any:
        return _times(self, other) if _is_dimension(other) else _with_value(self, other, "mul")

    def __rmul__(self, other: Any) -> Any:
        return _times(other, self) if _is_dimension(other) else _with_value(self, other, "rmul")

    def __neg__(self) -> Any:
        return _scaled(self, -1)

    def __pow__(self, other: Any) -> Any:
        if not isinstance(other, int) or other < 0:
            return _with_value(self, other, "pow")
        return math.prod([self] * other)

    def __floordiv__(self, other: Any) -> Any:
        if not _is_dimension(other):
            return _with_value(self, other, "floordiv")
        return _divmod(self, other)[0]

    def __rfloordiv__(self, other: Any) -> Any:
        return _divmod(other, self)[0] if _is_dimension(other) else NotImplemented

    def __mod__(self, other: Any) -> Any:
        if not _is_dimension(other):
            return _with_value(self, other, "mod")
        return _divmod(self, other)[1]

    def __rmod__(self, other: Any) -> Any:
        return _divmod(other, self)[1] if _is_dimension(other) else NotImplemented

    def __divmod__(self, other: Any) -> Any:
        return _divmod(self, other) if _is_dimension(other) else NotImplemented

    def __rdivmod__(self, other: Any) -> Any:
        return _divmod(other, self) if _is_dimension(other) else NotImplemented

    def __truediv__(self, other: Any) -> Any:
        return _with_value(self, other, "truediv")

    def __rtruediv__(self, other: Any) -> Any:
        return _with_value(self, other, "rtruediv")

    # ------------------------------------------------------------------ comparisons

    def __eq__(self, other: object) -> bool:
        if type(other) is not DimExpr:
            return False
        return self.terms == other.terms and self.scope is other.scope

    def __hash__(self) -> int:
        return self._hash

    def __ge__(self, other: Any) -> bool:
        return _at_least(self, other, ">=")

    def __le__(self, other: Any) -> bool:
        return _at_least(other, self, "<=")

    def __gt__(self, other: Any) -> bool:
        return not _at_least(other, self, ">")

    def __lt__(self, other: Any) -> bool:
        return not _at_least(self, other, "<")

    def __bool__(self) -> bool:
        return True  # it is not known to be zero, and equality is no more than that

    def __int__(self) -> int:
        raise self.inconclusive(
            f"Symbolic dimension '{self}' used in a context that requires a constant"
        )

    __index__ = __int__
    __float__ = __int__

    @staticmethod
    def inconclusive(message: str) -> InconclusiveDimensionOperation:
        """The error of an answer that depends on values of variables."""
        return InconclusiveDimensionOperation(
            f"{message}.\nThe program is exported for all values of its dimension variables at "
            "once; a constraint of the symbolic scope, such as symbolic_shape('b', "
            "constraints=['b >= 2']), can decide it"
        )

    def __repr__(self) -> str:
        out = ""
        for term, coefficient in sorted(self.terms.items(), key=_rank, reverse=True):
            body = "*".join(_factor_text(f) + (f"^{p}" if p > 1 else "") for f, p in term)
            size = abs(coefficient)
            text = str(size) if not body else body if size == 1 else f"{size}*{body}"
            sign = "-" if coefficient < 0 else "+"
            out += f" {sign} {text}" if out else f"- {text}" if coefficient < 0 else text
        return out

    __str__ = __repr__

    def variables(self) -> set[str]:
        """The variables that occur."""
        found: set[str] = set()
        for term in self.terms:
            for factor, _ in term:
                if isinstance(factor, str):
                    found.add(factor)
                else:
                    for part in factor[1:]:
                        found |= part.variables() if type(part) is DimExpr else set()
        return found


def _rank(item: tuple[Term, int]) -> tuple[Any, ...]:
    term = item[0]
    return sum(p for _, p in term), [(_factor_text(f), p) for f, p in term]


def _factor_text(factor: Factor) -> str:
    return factor if isinstance(factor, str) else f"{factor[0]}({factor[1]}, {factor[2]})"


def as_length(n: Any) -> Any:
    """A length: a symbolic one as it is, any other as Python's integer; TypeError if it is none."""
    return n if type(n) is DimExpr else operator.index(n)


def is_inside(at: Any, n: Any) -> bool:
    """Whether a position is known to be within an axis of length n."""
    return bool(bounds(at)[0] >= 0 and bounds(_add(n, _scaled(at, -1)))[0] > 0)


def slice_indices(s: slice, n: Any) -> tuple[Any, Any, int]:
    """Where `x[s]` begins along an axis of length n, how much it takes, and its step.

    >>> slice_indices(slice(1, None), 5)
    (1, 4, 1)
    """
    if not any(type(v) is DimExpr for v in (s.start, s.stop, n)):
        start, stop, step = s.indices(n)
        return start, len(range(start, stop, step)), step
    step = 1 if s.step is None else operator.index(s.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")

    def bound(value: Any, low: Any, high: Any) -> Any:
        value = as_length(value)
        if type(value) is int:
            at = _add(n, value) if value < 0 else value
        else:
            at = value if bounds(value)[0] >= 0 else _add(n, value)
        return larger(larger(at, low), high, least=True)

    low, high = (0, n) if step > 0 else (-1, _add(n, -1))
    start = (low if step > 0 else high) if s.start is None else bound(s.start, low, high)
    stop = (high if step > 0 else low) if s.stop is None else bound(s.stop, low, high)
    span = _add(stop, _scaled(start, -1)) if step > 0 else _add(start, _scaled(stop, -1))
    size = larger(0, _add(span, abs(step) - 1) // abs(step))
    return start, size, step


def _is_dimension(x: Any) -> bool:
    return type(x) is DimExpr or (isinstance(x, int) and not isinstance(x, bool))


value_hook: list[Callable[[DimExpr], Any]] = []
"""Filled by `ops.dimensions`: the length as an array of the program that is being traced."""


def _with_value(d: DimExpr, other: Any, name: str) -> Any:
    if hasattr(other, "shape") or isinstance(other, (int, float, complex)) or name == "truediv":
        if type(other) is DimExpr:
            other = value_hook[0](other)
        return getattr(value_hook[0](d), f"__{name}__")(other)
    return NotImplemented


# --------------------------------------------------------------------------- polynomials


def _terms(x: Any) -> dict[Term, int]:
    return x.terms if type(x) is DimExpr else {(): int(x)} if x else {}


def _scope(*xs: Any) -> Scope:
    scopes = [x.scope for x in xs if type(x) is DimExpr]
    for scope in scopes[1:]:
        if scope is not scopes[0]:
            raise ValueError(
                f"Invalid mixing of symbolic scopes: {', '.join(map(str, xs))} belong to "
                f"{scopes[0]} and to another {scope}; make their shapes with one scope"
            )
    return scopes[0]


def _made(terms: dict[Term, int], scope: Scope) -> Any:
    terms = {t: c for t, c in terms.items() if c}
    if len(terms) > _MAX_TERMS:
        raise ValueError("a symbolic dimension has too many terms")
    if not terms:
        return 0
    if set(terms) == {()}:
        return terms[()]
    return DimExpr(terms, scope)


def _add(x: Any, y: Any) -> Any:
    if type(x) is not DimExpr and type(y) is not DimExpr:
        return x + y
    out = dict(_terms(x))
    for term, c in _terms(y).items():
        out[term] = out.get(term, 0) + c
    return _made(out, _scope(x, y))


def _scaled(x: Any, k: int) -> Any:
    if type(x) is not DimExpr:
        return x * k
    return _made({t: c * k for t, c in x.terms.items()}, x.scope)


def _times(x: Any, y: Any) -> Any:
    if type(x) is not DimExpr and type(y) is not DimExpr:
        return x * y
    if len(_terms(x)) * len(_terms(y)) > _MAX_TERMS:
        raise ValueError("a symbolic dimension has too many terms")
    out: dict[Term, int] = {}
    for s, c in _terms(x).items():
        for t, d in _terms(y).items():
            term = _product(s, t)
            out[term] = out.get(term, 0) + c * d
    return _made(out, _scope(x, y))


def _product(s: Term, t: Term) -> Term:
    powers: dict[Factor, int] = dict(s)
    for factor, p in t:
        powers[factor] = powers.get(factor, 0) + p
    return tuple(sorted(powers.items(), key=lambda item: _factor_text(item[0])))


def from_factor(factor: Factor, scope: Scope) -> Any:
    """A variable or an operation as an expression, or what stands for it."""
    found = scope.rules.get(factor)
    return DimExpr({((factor, 1),): 1}, scope) if found is None else found


def _quotient(term: Term, by: Term) -> Term | None:
    """One product divided by another, if it is one again."""
    powers = dict(term)
    for factor, p in by:
        if powers.get(factor, 0) < p:
            return None
        powers[factor] -= p
    return tuple((f, p) for f, p in term if powers[f] for p in [powers[f]])


def _divmod(x: Any, y: Any) -> tuple[Any, Any]:
    """`floordiv` and `mod`; what the divisor divides is taken out."""
    if type(y) is int and y == 0:
        raise ZeroDivisionError("division of a symbolic dimension by zero")
    if type(x) is not DimExpr and type(y) is not DimExpr:
        return x // y, x % y
    scope = _scope(x, y)
    whole: dict[Term, int] = {}
    rest: dict[Term, int] = {}
    divisor = _terms(y)
    if len(divisor) == 1:
        ((by, k),) = divisor.items()
        for term, c in _terms(x).items():
            quotient = _quotient(term, by)
            if quotient is not None and c % k == 0:
                whole[quotient] = whole.get(quotient, 0) + c // k
            else:
                rest[term] = c
    elif _terms(x) == divisor:
        whole = {(): 1}
    else:
        rest = dict(_terms(x))
    q, r = _made(whole, scope), _made(rest, scope)
    if type(r) is int:
        if r == 0:
            return q, 0
        if type(y) is int:
            return _add(q, r // y), r % y
    low, high = bounds(r) if type(r) is DimExpr else (r, r)
    if type(y) is int and low >= 0 and high < y:
        return q, r
    mod = from_factor(("mod", r, y), scope)
    return _add(q, from_factor(("floordiv", r, y), scope)), mod


def larger(x: Any, y: Any, least: bool = False) -> Any:
    """The larger (the smaller) of two lengths, as an expression where it depends on variables."""
    if type(x) is not DimExpr and type(y) is not DimExpr:
        return min(x, y) if least else max(x, y)
    low, high = bounds(_add(x, _scaled(y, -1)))
    if low >= 0 or high <= 0:
        return x if (low >= 0) != least else y
    return from_factor(("min" if least else "max", x, y), _scope(x, y))


# --------------------------------------------------------------------------- bounds

Bounds = tuple[float, float]


def _interval_product(x: Bounds, y: Bounds) -> Bounds:
    products = [0.0 if 0 in (a, b) else a * b for a in x for b in y]
    return min(products), max(products)


def _factor_bounds(factor: Factor, depth: int) -> Bounds:
    if isinstance(factor, str):
        return 1, math.inf
    name, x, y = factor
    (a, b), (c, d) = bounds(x, depth), bounds(y, depth)
    if name == "max":
        return max(a, c), max(b, d)
    if name == "min":
        return min(a, c), min(b, d)
    if c <= 0:
        return -math.inf, math.inf
    if name == "mod":
        return 0, d - 1
    low = -math.inf if a == -math.inf else a // (d if a >= 0 else c)
    high = math.inf if b == math.inf else b // (c if b >= 0 else d)
    return (0 if math.isnan(low) else low), high


def _interval(e: Any, depth: int) -> Bounds:
    if type(e) is not DimExpr:
        return e, e
    low, high = 0.0, 0.0
    for term, coefficient in e.terms.items():
        span: Bounds = (1, 1)
        for factor, power in term:
            for _ in range(min(power, 8)):
                span = _interval_product(span, _factor_bounds(factor, depth))
        a, b = _interval_product(span, (coefficient, coefficient))
        low, high = low + a, high + b
    return low, high


def bounds(e: Any, depth: int = 2) -> Bounds:
    """Numbers between which an expression stays, by the ranges of variables and constraints."""
    if type(e) is not DimExpr:
        return e, e
    low, high = _interval(e, depth - 1)
    if depth > 0:
        for known in (*(k for k, _ in e.scope.known), *_facts(e, depth)):
            if type(known) is not DimExpr:
                continue
            for term, k in known.terms.items():
                c = e.terms.get(term, 0)
                if not term or not c or c % k:
                    continue
                rest = bounds(_add(e, _scaled(known, -(c // k))), depth - 1)
                # e = rest + (c/k) known, and known is not negative.
                low = max(low, rest[0]) if c // k > 0 else low
                high = min(high, rest[1]) if c // k < 0 else high
    return low, high


def _facts(e: DimExpr, depth: int) -> Iterator[Any]:
    """Expressions that are not negative because of what the operations in `e` are."""
    for term in e.terms:
        if len(term) != 1 or term[0][1] != 1 or isinstance(term[0][0], str):
            continue
        name, x, y = factor = term[0][0]
        f = DimExpr({((factor, 1),): 1}, e.scope)
        if name in ("min", "max"):
            sign = 1 if name == "min" else -1
            yield from (_scaled(_add(v, _scaled(f, -1)), sign) for v in (x, y))
        elif name == "mod" and bounds(y, depth - 1)[0] >= 1:
            yield _add(_add(y, _scaled(f, -1)), -1)
            if bounds(x, depth - 1)[0] >= 0:
                yield _add(x, _scaled(f, -1))
        elif name == "floordiv" and type(y) is int and y > 0:
            yield _add(x, _scaled(f, -y))
            yield _add(_add(_scaled(f, y), _scaled(x, -1)), y - 1)


def _at_least(x: Any, y: Any, sign: str) -> bool:
    if not _is_dimension(x) or not _is_dimension(y):
        raise TypeError(f"a symbolic dimension is not compared with {x!r}, {y!r}")
    low, high = bounds(_add(x, _scaled(y, -1)))
    if low >= 0:
        return True
    if high < 0:
        return False
    left, right = (y, x) if sign in ("<=", ">") else (x, y)
    raise DimExpr.inconclusive(
        f"Symbolic dimension comparison '{left}' {sign} '{right}' is inconclusive"
    )


# --------------------------------------------------------------------------- values


def evaluate(e: Any, values: Mapping[str, Any]) -> Any:
    """An expression with values for its variables."""
    if type(e) is not DimExpr:
        return e
    total: Any = 0
    for term, coefficient in e.terms.items():
        product: Any = coefficient
        for factor, power in term:
            value = values[factor] if isinstance(factor, str) else _operate(factor, values)
            for _ in range(power):
                product = product * value
        total = total + product
    return total


def _operate(factor: Factor, values: Mapping[str, Any]) -> Any:
    name, x, y = factor[0], evaluate(factor[1], values), evaluate(factor[2], values)
    if name in ("floordiv", "mod"):
        return x // y if name == "floordiv" else x % y
    return larger(x, y, least=name == "min")
