"""What users say about a function that is jitted: which arguments are static or given away."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pullback.core.source import describe_function

__all__ = ["Options", "resolve"]


@dataclass(frozen=True)
class Options:
    """How a function is jitted."""

    static_argnums: tuple[int, ...] = ()
    static_argnames: tuple[str, ...] = ()
    donate_argnums: tuple[int, ...] = ()
    donate_argnames: tuple[str, ...] = ()
    keep_unused: bool = False
    inline: bool = False
    device: Any = None
    """Where it runs, wherever its arguments are; None to follow them."""
    compiler_options: tuple[tuple[str, Any], ...] = ()
    """For the compilers of plugins."""


def _as_tuple(value: Any, kind: type) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, kind) else tuple(value)


def resolve(
    fun: Callable[..., Any], nums: Any, names: Any, what: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Numbers and names of arguments; each implies the other where the signature says so."""
    numbers = _as_tuple(nums, int)
    strings = _as_tuple(names, str)
    if not all(isinstance(i, (int, np.integer)) for i in numbers):
        wrong = next(i for i in numbers if not isinstance(i, (int, np.integer)))
        raise TypeError(
            f"{type(wrong).__name__!r} object cannot be interpreted as an integer: {what}_argnums "
            f"of jit are {nums!r}"
        )
    if not all(isinstance(n, str) for n in strings):
        raise TypeError(f"jit: {what}_argnames must be strings, got {names!r}")
    if not numbers and not strings:
        return (), ()
    try:
        parameters = list(inspect.signature(fun).parameters.values())
    except (TypeError, ValueError):
        return tuple(map(int, numbers)), strings
    positional = [
        p.name
        for p in parameters
        if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    _check_known(fun, parameters, positional, numbers, strings, what)
    if nums is None:
        numbers = tuple(positional.index(n) for n in strings if n in positional)
    elif names is None:
        n = len(positional)
        by_keyword = [
            p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        ]
        chosen = [positional[i] for i in numbers if -n <= i < n]
        strings = tuple(name for name in chosen if name in by_keyword)
    return tuple(map(int, numbers)), strings


def _check_known(
    fun: Any, parameters: Any, positional: Any, numbers: Any, strings: Any, what: str
) -> None:
    kinds = {p.kind for p in parameters}
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        n = len(positional)
        if not all(-n <= i < n for i in numbers):
            raise ValueError(
                f"Jitted function has {what}_argnums={tuple(numbers)}, but only accepts {n} "
                f"positional arguments. It is {describe_function(fun)}."
            )
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        unknown = set(strings) - {p.name for p in parameters}
        if unknown:
            raise ValueError(
                f"Jitted function has invalid argnames {unknown} in {what}_argnames. Function does "
                f"not take these args. It is {describe_function(fun)}."
            )
