"""Evaluates a call with a module that looks like `jax`, and says what came out."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from typing import Any, Final

import numpy as np

from tests.parity.sweep import operands, tables

Leaf = tuple[str, str, Any]
"""Path in the result, type, and elements, if it is an array."""

_PLAIN: Final = (bool, int, float, complex, str, bytes, type(None), np.dtype)


@dataclasses.dataclass(frozen=True)
class Failure:
    """An exception: the names of its class and of the bases of it, and its message."""

    classes: tuple[str, ...]
    message: str


class Namespace(dict[str, Any]):
    """The names that expressions are made of, for one implementation."""

    def __init__(self, jax: Any) -> None:
        super().__init__(
            jax=jax,
            jnp=jax.numpy,
            lax=jax.lax,
            nn=jax.nn,
            random=jax.random,
            scipy=jax.scipy,
            np=np,
            key=jax.random.key(42),
            rawkey=jax.random.PRNGKey(7),
        )

    def operand(self, name: str) -> Any:
        """An operand, as an array of this implementation."""
        return self["jnp"].asarray(operands.operand(name))


def _names(text: str) -> list[str]:
    found = (n.id for n in ast.walk(ast.parse(text, mode="eval")) if isinstance(n, ast.Name))
    return [n for n in dict.fromkeys(found) if operands.NAME.fullmatch(n)]


def _run(call: str, names: Namespace) -> Any:
    text = tables.expression(call)
    scope = dict(names)
    scope.update((n, names.operand(n)) for n in _names(text))
    code = compile(text, "<call>", "eval")
    if "jvp: " not in call:
        return eval(code, scope)
    variables = [n for n in scope if n in _names(text) and n.startswith(("f", "bf", "c"))]

    def function(*args: Any) -> Any:
        return eval(code, {**scope, **dict(zip(variables, args, strict=True))})

    tangents = [names.operand(f"{n}_t") for n in variables]
    return names["jax"].jvp(function, [scope[n] for n in variables], tangents)[1]


def evaluate(call: str, names: Namespace) -> list[Leaf] | Failure:
    """The leaves of a call's result, or how it failed."""
    with warnings.catch_warnings(), names["jax"].enable_x64(call.startswith("x64: ")):
        warnings.simplefilter("ignore")
        try:
            return leaves(_run(call, names), names["jax"])
        except Exception as error:
            classes = tuple(c.__name__ for c in type(error).__mro__)
            return Failure(classes, str(error)[:200])


def leaves(value: Any, jax: Any, path: str = "") -> list[Leaf]:
    """The parts of a result that are not containers."""
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in leaves(value[k], jax, f"{path}.{k}")]
    if isinstance(value, (tuple, list)):
        plain = type(value) in (tuple, list)
        parts = [(path, type(value).__name__ if plain else "namedtuple", None)]
        for i, part in enumerate(value):
            parts += leaves(part, jax, f"{path}[{i}]")
        return parts
    return [_leaf(value, jax, path)]


def _leaf(value: Any, jax: Any, path: str) -> Leaf:
    if isinstance(value, (jax.Array, np.ndarray, np.generic)):
        dtype = value.dtype
        if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
            return path, f"{dtype}{list(value.shape)}", np.asarray(jax.random.key_data(value))
        weak = "*" if getattr(value, "weak_type", False) else ""
        return path, f"{dtype}{list(value.shape)}{weak}", _elements(value)
    if isinstance(value, _PLAIN):
        return path, f"{type(value).__name__} {value!r}", None
    return path, type(value).__name__, None


def _elements(value: Any) -> Any:
    """In a dtype that NumPy can write to a file."""
    a = np.asarray(value)
    return a if a.dtype.isbuiltin == 1 and a.dtype.kind in "biufc" else a.astype(np.float32)
