"""Which elementary functions there are, and how a kernel becomes the text of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

from pullback.llvm.math.builder import Kernel, Value, fma, horner, type_name
from pullback.llvm.math.coefficients import CONSTANTS, POLYNOMIALS
from pullback.records import record

Rule = Callable[..., Value]
Key = tuple[str, str, int]

RULES: dict[str, Rule] = {}
"""Functions that users ask for: name to the rule that builds its result from its arguments."""

HELPERS: dict[str, Callable[[str, int], str]] = {}
"""Functions that kernels call: name to what writes the whole text, given dtype and width."""

HELPER_DECLARATIONS = frozenset(
    {
        "declare double @llvm.fma.f64(double, double, double)",
        "declare i64 @llvm.fshr.i64(i64, i64, i64)",
    }
)


def elementary(name: str) -> Callable[[Rule], Rule]:
    """Registers the rule of an elementary function of as many arguments as it has parameters."""

    def register(rule: Rule) -> Rule:
        RULES[name] = rule
        return rule

    return register


def parameters(name: str) -> list[str]:
    """Names of the arguments of an elementary function."""
    return list(inspect.signature(RULES[name]).parameters)


def symbol(name: str, dtype: str, width: int) -> str:
    """The name of a kernel for vectors of `width` elements."""
    return f"pb_{name}_{dtype}" if width == 1 else f"pb_{name}_{dtype}x{width}"


@record()
class Definition:
    """A function as text, with what it declares and the kernels that it calls."""

    text: str
    declarations: frozenset[str]
    dependencies: tuple[Key, ...]


@cache
def definition(name: str, dtype: str, width: int) -> Definition:
    """The kernel of a function or helper at one width of vectors."""
    if name in HELPERS:
        return Definition(HELPERS[name](dtype, width), HELPER_DECLARATIONS, ())
    kernel, type_ = Kernel(width), type_name(dtype, width)
    names = parameters(name)
    result = RULES[name](*(Value(kernel, dtype, f"%{p}") for p in names))
    arguments = ", ".join(f"{type_} %{p}" for p in names)
    head = f"define internal {type_} @{symbol(name, dtype, width)}({arguments})"
    text = f"{head} alwaysinline nounwind {{\nentry:\n{''.join(kernel.lines)}"
    return Definition(
        f"{text}  ret {result.typed}\n}}\n", frozenset(kernel.declarations), tuple(kernel.calls)
    )


def polynomial(name: str, x: Value, *lower: float) -> Value:
    """The fitted polynomial `name` in x, with the coefficients `lower` before it."""
    return horner(x, POLYNOMIALS[name, x.kind], *lower)


def odd(name: str, x: Value) -> Value:
    """x + x^3 P(x^2)."""
    square = x * x
    return fma(square * x, polynomial(name, square), x)


def constants(name: str, kind: str) -> tuple[float, ...]:
    """A constant as an unevaluated sum, the largest part first."""
    return CONSTANTS[name, kind]


def subtract_multiple(x: Value, n: Value, name: str) -> Value:
    """x - n * constant, the constant in several parts (Cody and Waite's reduction, with fma)."""
    for part in constants(name, x.kind):
        x = fma(n, -part, x)
    return x
