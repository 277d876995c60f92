"""Symbolic shapes as texts, their scopes with constraints, and the values that fit arguments."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from pullback.core.dimensions import (
    DimExpr,
    Factor,
    evaluate,
    from_factor,
    larger,
)

__all__ = ["SymbolicScope", "parse_shape", "solve"]

_MAX_TEXT: Final = 10_000
_MAX_DEPTH: Final = 50


class SymbolicScope:
    """Where dimension variables live, with what is known of them.

    Constraints are texts such as `"b >= 2"`, `"mod(b, 4) == 0"` or `"a == 2*b"`; the left side of
    an equation has to be a variable or an operation, and is replaced by the right side.

    >>> SymbolicScope(["b >= 2"])
    SymbolicScope(['b >= 2'])
    """

    def __init__(self, constraints_str: Sequence[str] = ()) -> None:
        if isinstance(constraints_str, str):
            raise ValueError("the constraints of a symbolic scope are a sequence of texts")
        self.constraints: list[str] = []
        self.rules: dict[Factor, Any] = {}
        self.known: list[tuple[Any, str]] = []
        """Expressions that are not negative, with the constraint that says so."""
        self.equations: list[tuple[Any, Any, str]] = []
        for text in constraints_str:
            self._add(text)

    def _add(self, text: str) -> None:
        parts = re.split(r"(>=|<=|==|>|<)", text)
        if len(parts) != 3 or not parts[0].strip() or not parts[2].strip():
            raise ValueError(
                f"the symbolic constraint {text!r} is not of the form a >= b, a <= b or a == b"
            )
        left, right = (_Parser(part, self).whole() for part in (parts[0], parts[2]))
        difference = left - right
        if isinstance(difference, int):
            raise ValueError(f"the symbolic constraint {text!r} has no variable")
        self.constraints.append(text)
        sign = parts[1]
        if sign == "==":
            self.equations.append((left, right, text))
            factor = _single_factor(left)
            if factor is None:
                raise ValueError(
                    f"the left side of the symbolic constraint {text!r} is neither a variable "
                    "nor an operation"
                )
            self.rules[factor] = right
            return
        strict = 1 if sign in (">", "<") else 0
        up = difference if sign in (">=", ">") else -difference
        self.known.append((up - strict, text))

    def __repr__(self) -> str:
        return f"SymbolicScope({self.constraints!r})"


def _single_factor(e: Any) -> Factor | None:
    if not isinstance(e, DimExpr) or len(e.terms) != 1:
        return None
    (term, coefficient), *_ = e.terms.items()
    return term[0][0] if coefficient == 1 and len(term) == 1 and term[0][1] == 1 else None


# --------------------------------------------------------------------------- values


def solve(pairs: Sequence[tuple[Any, int, str]]) -> dict[str, int]:
    """Values of variables for which expressions have given values.

    `pairs` are expressions, their values, and where they stand.  Each variable needs an expression
    that is linear in it when the others are known; all others are checked, constraints too.
    """
    values: dict[str, int] = {}
    open_ = [p for p in pairs if type(p[0]) is DimExpr]
    while open_:
        rest = [p for p in open_ if not _solved(p, values)]
        if len(rest) == len(open_):
            break
        open_ = rest
    missing = {v for e, _, _ in open_ for v in e.variables()} - set(values)
    if missing:
        raise ValueError(
            f"the dimension variables {sorted(missing)} cannot be found from the shapes of the "
            f"arguments {[str(e) for e, _, _ in pairs]}: one of them has to be linear in each"
        )
    for e, value, where in pairs:
        expected = evaluate(e, values)
        if expected != value:
            names = ", ".join(f"'{k}' = {v}" for k, v in sorted(values.items()))
            raise ValueError(
                "Input shapes do not match the polymorphic shapes specification: "
                f"{where} is {value}, expected {e}"
                + (f" = {expected} with {names}" if names else "")
            )
    _check_constraints(pairs, values)
    return values


def _solved(pair: tuple[Any, int, str], values: dict[str, int]) -> bool:
    """Find a variable by one expression; whether nothing is left to find in it."""
    e, value, where = pair
    unknown = e.variables() - set(values)
    if not unknown:
        return True
    if len(unknown) > 1:
        return False
    (name,) = unknown
    linear = {t: c for t, c in e.terms.items() if any(f == name for f, _ in t)}
    others = DimExpr({t: c for t, c in e.terms.items() if t not in linear}, e.scope)
    if name in others.variables() or any((name, 1) not in t for t in linear):
        return False
    slopes = DimExpr({tuple(x for x in t if x[0] != name): c for t, c in linear.items()}, e.scope)
    if name in slopes.variables():
        return False
    slope, offset = evaluate(slopes, values), evaluate(others, values)
    if slope == 0 or (value - offset) % slope or (value - offset) // slope < 1:
        raise ValueError(
            "Input shapes do not match the polymorphic shapes specification: "
            f"{where} is {value}, but there is no {name} >= 1 for which {e} is {value}"
        )
    values[name] = (value - offset) // slope
    return True


def _check_constraints(pairs: Sequence[tuple[Any, int, str]], values: dict[str, int]) -> None:
    for scope in {id(e.scope): e.scope for e, _, _ in pairs if type(e) is DimExpr}.values():
        tests = [(known, text) for known, text in scope.known]
        for e, text in tests:
            if e.variables() <= set(values) and evaluate(e, values) < 0:
                raise ValueError(f"Input shapes do not match the symbolic shape constraint {text}")
        for left, right, text in scope.equations:
            parts = {v for x in (left, right) if type(x) is DimExpr for v in x.variables()}
            if parts <= set(values) and evaluate(left, values) != evaluate(right, values):
                raise ValueError(f"Input shapes do not match the symbolic shape constraint {text}")


# --------------------------------------------------------------------------- texts

_WORDS: Final = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*)|(//|\.\.\.|[-+*^%(),]))")


class _Parser:
    """Reads `2*b + floordiv(c, 2)`."""

    def __init__(self, text: str, scope: SymbolicScope) -> None:
        if len(text) > _MAX_TEXT:
            raise ValueError("the text of a symbolic dimension is too long")
        self.text = text
        self.scope = scope
        self.words: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _WORDS.match(text, at)
            if not found:
                raise self.error(f"{text[at]!r} means nothing")
            self.words.append(found[1] or found[2] or found[3])
            at = found.end()
        self.words.reverse()
        self.depth = 0

    def error(self, message: str) -> ValueError:
        return ValueError(f"syntax error in symbolic shape {self.text!r}: {message}")

    def peek(self) -> str:
        return self.words[-1] if self.words else ""

    def take(self, *expected: str) -> str:
        if not self.words or (expected and self.peek() not in expected):
            what = f"expecting {' or '.join(map(repr, expected))}" if expected else "too short"
            raise self.error(f"{what}, found {self.peek()!r}")
        return self.words.pop()

    def whole(self) -> Any:
        """The whole text as one expression."""
        out = self.sum()
        if self.words:
            raise self.error(f"found {self.peek()!r} behind the expression")
        return out

    def sum(self) -> Any:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("it is nested too deeply")
        out = -self.product() if self.peek() == "-" and self.take() else self.product()
        while self.peek() in ("+", "-"):
            sign = self.take()
            part = self.product()
            out = out + part if sign == "+" else out - part
        self.depth -= 1
        return out

    def product(self) -> Any:
        out = self.power()
        while self.peek() in ("*", "//", "%"):
            sign = self.take()
            part = self.power()
            out = out * part if sign == "*" else out // part if sign == "//" else out % part
        return out

    def power(self) -> Any:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.take()
        if not exponent.isdigit() or int(exponent) > 16:
            raise self.error("a power is a number up to 16")
        return math.prod([base] * int(exponent))

    def atom(self) -> Any:
        word = self.take()
        if word.isdigit():
            if len(word) > 19:
                raise self.error("a number is too large")
            return int(word)
        if word == "(":
            out = self.sum()
            self.take(")")
            return out
        if not (word[0].isalpha() or word[0] == "_"):
            raise self.error(f"found {word!r} where an expression is missing")
        if self.peek() != "(" or word not in ("floordiv", "mod", "max", "min"):
            return from_factor(word, self.scope)
        self.take("(")
        x = self.sum()
        self.take(",")
        y = self.sum()
        self.take(")")
        if word in ("max", "min"):
            return larger(x, y, least=word == "min")
        return divmod(x, y)[0 if word == "floordiv" else 1]


def parse_shape(
    text: str, scope: SymbolicScope, like: Sequence[Any] | None = None
) -> tuple[Any, ...]:
    """The lengths in a text such as `"(b, 2*b, _, ...)"`; `_` and `...` come from `like`.

    >>> parse_shape("b, ...", SymbolicScope(), like=(2, 3, 4))
    (b, 3, 4)
    """
    parser = _Parser(text, scope)
    if _wraps(text.strip()):
        parser = _Parser(text.strip()[1:-1], scope)
    out: list[Any] = []
    while parser.words:
        if parser.peek() == "...":
            parser.take()
            if like is None or parser.words not in ([], [","]):
                raise parser.error("'...' needs a shape to be like, and stands last")
            out.extend(like[len(out) :])
        elif parser.peek() == "_":
            parser.take()
            if like is None or len(out) >= len(like):
                raise parser.error("'_' needs a shape with this axis to be like")
            out.append(like[len(out)])
        else:
            out.append(parser.sum())
        if parser.words:
            parser.take(",")
    if like is not None and len(like) != len(out):
        raise ValueError(f"symbolic shape {text!r} has {len(out)} axes, {tuple(like)} {len(like)}")
    return tuple(out)


def _wraps(text: str) -> bool:
    """Whether the first parenthesis of a text ends with it."""
    depth = 0
    if not text.startswith("("):
        return False
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return k == len(text) - 1
    return False
