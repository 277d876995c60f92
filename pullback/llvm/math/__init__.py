"""Vector elementary functions as LLVM text, for the code emitter.

`define` gives the text of a function of vectors that LLVM inlines into the emitter's loops; the
emitter adds, once a module, what `dependencies` and `declarations` name. All are accurate to 2
units in the last place, treat NaN, infinities, signed zeros and subnormal numbers as annex F of C99
says, and give the same bits at every width.
"""

from __future__ import annotations

from pullback.llvm.math import (
    bessel_function,
    error_function,
    exponential,
    gamma_function,
    inverse_hyperbolic,
    inverse_trigonometric,
    logarithmic,
    power,
    rounding,
    trigonometric,
    zeta_function,
)
from pullback.llvm.math.registry import (
    RULES,
    Key,
    definition,
    parameters,
    symbol,
)

__all__ = [
    "NAMES",
    "arity",
    "declarations",
    "define",
    "dependencies",
    "supported",
    "symbol",
]

FAMILIES = (
    bessel_function,
    error_function,
    exponential,
    gamma_function,
    inverse_hyperbolic,
    inverse_trigonometric,
    logarithmic,
    power,
    rounding,
    trigonometric,
    zeta_function,
)
"""Importing them filled the registry."""

NAMES: frozenset[str] = frozenset(RULES)


def supported(name: str) -> bool:
    """Whether there is a kernel of this name.

    >>> supported("tanh"), supported("airy")
    (True, False)
    """
    return name in NAMES


def arity(name: str) -> int:
    """How many arguments the function takes.

    >>> arity("exp"), arity("pow")
    (1, 2)
    """
    return len(parameters(name))


def define(name: str, dtype: str, width: int) -> str:
    """The text of the function `symbol(name, dtype, width)`; dtype is 'f32' or 'f64'.

    >>> define("exp", "f32", 16).splitlines()[0]
    'define internal <16 x float> @pb_exp_f32x16(<16 x float> %x) alwaysinline nounwind {'
    """
    return definition(name, dtype, width).text


def dependencies(name: str, dtype: str, width: int) -> list[Key]:
    """Other functions that this one calls and the module has to `define`, too.

    >>> dependencies("sin", "f64", 4)
    [('reduce', 'f64', 4)]
    """
    return list(definition(name, dtype, width).dependencies)


def declarations(name: str, dtype: str, width: int) -> frozenset[str]:
    """Lines that declare the intrinsics used; a module has each of them once.

    >>> sorted(declarations("exp2", "f32", 1))
    ['declare float @llvm.fma.f32(float, float, float)']
    """
    return definition(name, dtype, width).declarations
