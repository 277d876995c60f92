"""`jax.experimental.jet`: Taylor mode, and rules for primitives that libraries define.

A rule is `rule(primals, series, **params) -> (value, series)`: `series` has for each operand the
coefficients of t, t², ... (without factorials), and `zero_series` for what does not depend on t.
Primitives of ours have rules already (`transforms/jet.py`), which can be neither read nor replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, Final, final

from pullback.dropin.open_primitive import Primitive
from pullback.experimental.jet import jet, jet2
from pullback.transforms.jet import JetTrace, JetTracer, given_rules

__all__ = [
    "JetTrace",
    "JetTracer",
    "ZeroSeries",
    "ZeroTerm",
    "def_comp",
    "def_deriv",
    "deflinear",
    "defzero",
    "deriv_prop",
    "fact",
    "jet",
    "jet2",
    "jet_rules",
    "linear_prop",
    "zero_prop",
    "zero_series",
    "zero_term",
]

Rule = Callable[..., tuple[Any, Any]]


def fact(n: int) -> int:
    """n!

    >>> fact(4)
    24
    """
    return 1 if n < 2 else n * fact(n - 1)


@final
class ZeroTerm:
    """A coefficient that is zero."""


@final
class ZeroSeries:
    """The series of what does not depend on t."""


zero_term: Final = ZeroTerm()
zero_series: Final = ZeroSeries()


@final
class _Rules(MutableMapping[Any, Rule]):
    """The rules of primitives of libraries."""

    def __init__(self) -> None:
        self._given: dict[Any, Rule] = {}

    def __getitem__(self, primitive: Any) -> Rule:
        return self._given[primitive]

    def __setitem__(self, primitive: Any, rule: Rule) -> None:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                f"the rule of {primitive!r}, one of pullback's own primitives, is fixed; define a "
                "primitive of your own with jax.extend.core.Primitive"
            )
        self._given[primitive] = rule
        given_rules[primitive] = functools.partial(_run, rule)

    def __delitem__(self, primitive: Any) -> None:
        del self._given[primitive], given_rules[primitive]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


jet_rules: Final = _Rules()


def _run(
    rule: Rule, order: int, primals: Any, series: Any, params: dict[str, Any]
) -> tuple[Any, Any]:
    """A library's rule, called as ours are."""
    given = [zero_series if s is None else list(s) for s in series]
    return rule(list(primals), given, **params)


def _zeros_like(out: Any, multiple: bool) -> Any:
    return [None] * len(out) if multiple else None


def zero_prop(prim: Any, primals_in: Any, series_in: Any, **params: Any) -> tuple[Any, Any]:
    """The rule of a primitive that is constant on pieces."""
    out = prim.bind(*primals_in, **params)
    return out, _zeros_like(out, prim.multiple_results)


def linear_prop(prim: Any, primals_in: Any, series_in: Any, **params: Any) -> tuple[Any, Any]:
    """The rule of a primitive that is linear in all operands: each coefficient goes through it."""
    if any(s is zero_series for s in series_in):
        raise NotImplementedError(
            f"jet: a rule that takes {prim} to be linear in an operand that does not depend on t"
        )
    out = prim.bind(*primals_in, **params)
    terms = [prim.bind(*row, **params) for row in zip(*series_in, strict=True)]
    if prim.multiple_results:
        return out, [list(column) for column in zip(*terms, strict=True)]
    return out, terms


def deriv_prop(
    prim: Any, deriv: Callable[[Any], Any], primals_in: Sequence[Any], series_in: Sequence[Any]
) -> tuple[Any, Any]:
    """The rule of a primitive of one operand with the derivative `deriv`: y' = deriv(x) x'."""
    (x,), (series,) = primals_in, series_in
    slope = [deriv(x)]
    if len(series) > 1:
        value, higher = jet(deriv, (x,), (series[:-1],), factorial_scaled=False)
        slope = [value, *higher]
    out = []
    for k in range(1, len(series) + 1):
        total = sum(j * series[j - 1] * slope[k - j] for j in range(1, k + 1))
        out.append(total / k)
    return prim.bind(x), out


def defzero(prim: Any) -> None:
    """Say that a primitive is constant on pieces."""
    jet_rules[prim] = functools.partial(zero_prop, prim)


def deflinear(prim: Any) -> None:
    """Say that a primitive is linear in all operands."""
    jet_rules[prim] = functools.partial(linear_prop, prim)


def def_deriv(prim: Any, deriv: Callable[[Any], Any]) -> None:
    """Give the derivative of a primitive of one operand, as a function."""
    jet_rules[prim] = functools.partial(deriv_prop, prim, deriv)


def def_comp(prim: Any, comp: Callable[..., Any], **kwargs: Any) -> None:
    """Say that a primitive does what a function of other ones does."""

    def rule(primals: Any, series: Any, **params: Any) -> tuple[Any, Any]:
        moving = [k for k, s in enumerate(series) if s is not zero_series]

        def inner(*values: Any) -> Any:
            full = list(primals)
            for k, value in zip(moving, values, strict=True):
                full[k] = value
            return comp(*full, **{**kwargs, **params})

        points, terms = [primals[k] for k in moving], [series[k] for k in moving]
        return jet(inner, points, terms, factorial_scaled=False)

    jet_rules[prim] = rule
