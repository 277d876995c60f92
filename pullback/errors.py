"""The errors users see.  The lowest layer: every module may import it, it imports nothing of ours.

The names are those of `jax.errors`.  A text begins with the phrase by which programs written for
JAX find the error; the rest is our own, and says where in the user's program it happened, and what
to do instead.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ConcretizationTypeError",
    "InconclusiveDimensionOperation",
    "JAXIndexError",
    "JAXTypeError",
    "JaxRuntimeError",
    "JaxprTypeError",
    "KeyReuseError",
    "LoweringError",
    "NonConcreteBooleanIndexError",
    "PullbackError",
    "ShardingTypeError",
    "TracerArrayConversionError",
    "TracerBoolConversionError",
    "TracerIntegerConversionError",
    "TypePromotionError",
    "UnexpectedTracerError",
    "UnsupportedError",
    "VerifyError",
]


class PullbackError(Exception):
    """Base of the errors that are ours and have no closer built-in class."""


class JaxprTypeError(TypeError):
    """A jaxpr is not well typed."""


class VerifyError(PullbackError, JaxprTypeError):
    """A jaxpr or a loop program breaks its own grammar: a defect of ours, not of the user."""


class UnsupportedError(PullbackError, NotImplementedError):
    """Something that JAX has and that is missing here; the text names it."""


class LoweringError(PullbackError):
    """A program could not be compiled; the text names the primitive and the user's line."""


class JAXTypeError(TypeError):
    """Base of the type errors that concern traced values."""


class KeyReuseError(JAXTypeError):
    """A random key was consumed twice."""


class JAXIndexError(IndexError):
    """Base of the index errors that concern traced values."""


class JaxRuntimeError(RuntimeError):
    """A compiled program failed while it ran."""


class InconclusiveDimensionOperation(Exception):
    """Whether symbolic dimensions are equal, or which is larger, depends on their values."""


class ShardingTypeError(Exception):
    """The shardings of operands over explicit axes of a mesh do not fit, or say too little."""


class TypePromotionError(ValueError):
    """Two dtypes have no common type under the promotion rules in force."""


class ConcretizationTypeError(JAXTypeError):
    """A concrete value was needed where the function has only a traced one.

    Typical causes: a Python `if`, `while` or `range` on an argument of a jitted function.
    Use `lax.cond`, `lax.while_loop` or `jnp.where`, or mark the argument static.
    """


class TracerArrayConversionError(JAXTypeError):
    """NumPy was asked to convert a traced value to a NumPy array."""


class TracerIntegerConversionError(JAXTypeError):
    """A traced value was used where Python needs an integer, such as an index or a shape."""


class TracerBoolConversionError(ConcretizationTypeError):
    """A traced value was used where Python needs a truth value."""


class NonConcreteBooleanIndexError(JAXIndexError):
    """An array was indexed by a traced boolean mask, whose result has no static shape."""


class UnexpectedTracerError(JAXTypeError):
    """A traced value outlived the function whose tracing made it."""


def shapes_text(operands: Any) -> str:
    """`f32[3,4] and f32[5]`: the operands of a failed operation as an error shows them.

    >>> shapes_text(["f32[3]", "i32[4]", "f32[]"])
    'f32[3], i32[4] and f32[]'
    """
    texts = [str(x) for x in operands]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]
