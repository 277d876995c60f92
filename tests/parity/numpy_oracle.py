"""Expressions of `jax.numpy` evaluated by JAX and by us, and their results compared."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy
import numpy as np

import pullback.numpy
from pullback.core.array import Array

SETUP = """
x = jnp.arange(6.0).reshape(2, 3)
v = jnp.arange(3.0)
n = jnp.array([1.0, jnp.nan, 3.0])
i = jnp.arange(3)
m = jnp.arange(12.0).reshape(3, 4)
a = jnp.arange(24).reshape(2, 3, 4)
c = jnp.array([1 + 2j, 3 - 1j, 0])
b = jnp.array([True, False, True])
h = jnp.arange(3, dtype=jnp.float16)
u = jnp.arange(3, dtype="uint8")
one = jnp.int32(1)
"""


def _environment(module: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"jnp": module, "np": np}
    exec(SETUP, names)
    return names


_THEIRS, _OURS = _environment(jax.numpy), _environment(pullback.numpy)


def _evaluate(expression: str, names: dict[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return eval(expression, dict(names))
        except Exception as error:
            return error


def leaves(value: Any) -> list[Any]:
    """The parts of nested tuples and lists."""
    if isinstance(value, (tuple, list)):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def describe(value: Any) -> Any:
    """What must be equal besides the elements: dtype, shape, weak type; or the type of an object.

    JAX calls bools weakly typed that come from weak operands; that has no consequence.
    """
    if isinstance(value, (jax.Array, Array, jax.ShapeDtypeStruct)):
        weak = bool(value.weak_type) if str(value.dtype) != "bool" else None
        return str(value.dtype), tuple(value.shape), weak
    return value if isinstance(value, (np.dtype, bool, int, str)) else type(value).__name__


def compare_types(name: str, *operands: str) -> None:
    """Assert that a function gives the same types on operands, without compiling it in JAX."""
    their_operands = [_evaluate(text, _THEIRS) for text in operands]
    function = getattr(jax.numpy, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs: Any = jax.eval_shape(lambda: function(*their_operands))
        except Exception as error:
            theirs = error
    ours = _evaluate(f"jnp.{name}({', '.join(operands)})", _OURS)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert same_class(ours, theirs), f"{ours!r}, but JAX: {theirs!r}"
        return
    assert [describe(r) for r in leaves(ours)] == [describe(r) for r in leaves(theirs)]


def same_class(ours: Any, theirs: Any) -> bool:
    """Whether what catches JAX's error catches ours: `AxisError` is a ValueError, too."""
    return type(theirs).__name__ in [c.__name__ for c in type(ours).__mro__[:-2]]


def elements(value: Any) -> np.ndarray[Any, Any]:
    """The elements in a dtype that NumPy can compare."""
    data = np.asarray(value)
    return data if data.dtype.kind in "biufc" else data.astype(np.float32)


def compare(expression: str, rtol: float = 2e-6) -> None:
    """Assert that an expression means the same to JAX and to us, errors included."""
    theirs, ours = _evaluate(expression, _THEIRS), _evaluate(expression, _OURS)
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        assert same_class(ours, theirs), f"{ours!r}, but JAX: {theirs!r}"
        return
    ours, theirs = leaves(ours), leaves(theirs)
    assert [describe(r) for r in ours] == [describe(r) for r in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(other, jax.Array):
            have, want = elements(mine), elements(other)
            if want.dtype.kind in "biu":
                np.testing.assert_array_equal(have, want)
            else:
                tol = rtol if str(other.dtype) not in ("float16", "bfloat16") else 1e-2
                np.testing.assert_allclose(have, want, rtol=tol, atol=tol)
