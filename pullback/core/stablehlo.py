"""What `hlo` rules may use: the contract between primitives and the emitter of StableHLO.

A primitive's slot `hlo` is the name of an operation ("stablehlo.sine"), applied element by element
to operands of the type of the result, or a rule `hlo(b, *xs, **params)` that receives an `Emitter`
and a `Value` for each operand, and returns a value (a list with `multiple_results`).  The emitter
itself is in `hlo/`; rules never import it.  It has the methods of `core.lowering.Builder` that are
about whole arrays, with the same signatures, so that a rule that needs no others serves both.

    transpose  lambda b, x, permutation: b.transpose(x, permutation)
    select_n   the rule `lower`, which is about elements
    lu         lambda b, x: b.traced(lu_by_primitives, x)

Attributes are MLIR text; `int_array`, `int_matrix` and `enum` write the usual ones.  Element types
are physical: a key is a uint64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from pullback.core.dimensions import is_symbolic

__all__ = [
    "Attributes",
    "Emitter",
    "IntArray",
    "Region",
    "Type",
    "Value",
    "enum",
    "flag",
    "int_array",
    "int_matrix",
    "integer",
]

Type: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""Shape and physical element type of a value."""
Attributes: TypeAlias = "Mapping[str, str]"


class IntArray(str):
    """The text of such an attribute, with its numbers, which may be symbolic lengths."""

    values: tuple[Any, ...]

    def __new__(cls, text: str, values: tuple[Any, ...]) -> IntArray:
        made = super().__new__(cls, text)
        made.values = values
        return made


def int_array(values: Sequence[int]) -> str:
    """The attribute `array<i64: 1, 2>`.

    >>> int_array((1, 2)), int_array(())
    ('array<i64: 1, 2>', 'array<i64>')
    """
    texts = ["?" if is_symbolic(v) else str(int(v)) for v in values]
    return IntArray(f"array<i64: {', '.join(texts)}>" if texts else "array<i64>", tuple(values))


def int_matrix(rows: Sequence[Sequence[int]], columns: int = 2) -> str:
    """The attribute of a matrix of integers, such as the padding of windows.

    >>> int_matrix([(0, 1), (2, 2)])
    'dense<[[0, 1], [2, 2]]> : tensor<2x2xi64>'
    """
    text = ", ".join(f"[{', '.join(str(int(v)) for v in row)}]" for row in rows)
    return f"dense<{f'[{text}]' if rows else ''}> : tensor<{len(rows)}x{columns}xi64>"


def integer(value: int) -> str:
    """The attribute of one integer.

    >>> integer(3)
    '3 : i64'
    """
    return f"{int(value)} : i64"


def flag(value: bool) -> str:
    """The attribute of a truth value."""
    return "true" if value else "false"


def enum(kind: str, value: str) -> str:
    """The attribute of one of StableHLO's enumerations.

    >>> enum("comparison_direction", "LT")
    '#stablehlo<comparison_direction LT>'
    """
    return f"#stablehlo<{kind} {value}>"


class Value(Protocol):
    """A value of the program that is being written."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Static shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Physical element type."""


class Region(Protocol):
    """A function as an argument of an operation; it may use values of the program around it."""


class Emitter(Protocol):
    """Writes operations."""

    @property
    def types(self) -> list[Type]:
        """Types of the results of the equation whose rule runs."""

    @property
    def platform(self) -> str:
        """What the program is for: `cpu`, `cuda`, `rocm`, `tpu`, ...; "" if it must suit all."""

    @property
    def s(self) -> Any:
        """The operations of `core.lowering.Scalars`, which here act on whole arrays."""

    def map(self, fn: str | Callable[..., Value], *xs: Value, dtype: Any = None) -> Value:
        """As `core.lowering.Builder.map`: rules that use nothing else serve both."""

    def let(self, x: Value) -> Value:
        """The value itself, for rules that serve both."""

    # ------------------------------------------------------------------ any operation

    def ops(
        self,
        name: str,
        xs: Sequence[Value],
        types: Sequence[Type],
        attributes: Attributes = ...,
        regions: Sequence[Region] = (),
    ) -> list[Value]:
        """The results of an operation, which have the given types."""

    def op(
        self,
        name: str,
        xs: Sequence[Value],
        shape: Sequence[int],
        dtype: Any,
        attributes: Attributes = ...,
        regions: Sequence[Region] = (),
    ) -> Value:
        """The result of an operation that has one."""

    def region(self, types: Sequence[Type], fn: Callable[..., Sequence[Value]]) -> Region:
        """The region that computes `fn` of arguments of such types."""

    def apply(self, name: str, *xs: Any, dtype: Any = None) -> Value:
        """An element-wise operation.

        Operands have one shape or rank 0; a Python number takes the dtype of the first value.
        `dtype` is that of the result, by default that of the operands.
        """

    # ------------------------------------------------------------------ usual ones

    def dimension(self, dim: Any) -> Value:
        """A symbolic length as an int32."""

    def vector(self, values: Sequence[Any], dtype: Any) -> Value:
        """Numbers as an array; some may be symbolic lengths."""

    def row(self, x: Value, at: Value) -> Value:
        """The part of `x` at an index of its first axis."""

    def with_row(self, x: Value, row: Value, at: Value) -> Value:
        """`x` with another part there."""

    def full(self, shape: Sequence[int], value: Any, dtype: Any) -> Value:
        """A constant of equal elements."""

    def array(self, value: Any) -> Value:
        """The constant array of these NumPy elements."""

    def iota(self, shape: Sequence[int], dtype: Any, axis: int) -> Value:
        """Positions along an axis."""

    def convert(self, x: Value, dtype: Any) -> Value:
        """`x` with another element type."""

    def bitcast(self, x: Value, dtype: Any) -> Value:
        """The bits of `x` as elements of the same width."""

    def compare(self, direction: str, x: Any, y: Any, total: bool = False) -> Value:
        """`EQ`, `NE`, `LT`, `LE`, `GT` or `GE`; `total` orders NaNs and zeros by sign, too."""

    def select(self, condition: Value, x: Any, y: Any) -> Value:
        """Elements of `x` where the condition holds, of `y` elsewhere."""

    def broadcast(self, x: Value, shape: Sequence[int], dims: Sequence[int] = ()) -> Value:
        """`x` with its axis k as axis `dims[k]` of `shape`."""

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """The same elements in another shape."""

    def transpose(self, x: Value, permutation: Sequence[int]) -> Value:
        """`x` with its axes in another order."""

    def slice(
        self,
        x: Value,
        start: Sequence[int],
        limit: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> Value:
        """A part of `x`."""

    def concatenate(self, xs: Sequence[Value], dimension: int) -> Value:
        """Arrays one after the other."""

    def reduce(
        self,
        xs: Sequence[Value],
        axes: Sequence[int],
        inits: Sequence[Any],
        combine: Callable[..., Sequence[Value]],
    ) -> list[Value]:
        """As `core.lowering.Builder.reduce`: `combine(s, accumulators, values)`."""

    def reductions(
        self,
        name: str,
        xs: Sequence[Value],
        inits: Sequence[Any],
        combine: Callable[..., Sequence[Value]],
        shape: Sequence[int],
        attributes: Attributes,
    ) -> list[Value]:
        """The operation `name`, which reduces to arrays of `shape`."""

    # ------------------------------------------------------------------ programs

    def traced(self, fn: Callable[..., Any], *xs: Value) -> Any:
        """The results of a function of primitives, recorded for operands of these types."""

    def inline(self, jaxpr: Any, *xs: Value) -> list[Value]:
        """The results of a jaxpr (closed or without constants), written here."""

    def host_call(self, number: int, xs: Sequence[Value]) -> list[Value]:
        """The results of the Python function with this number in the program's table."""

    def call(self, jaxpr: Any, name: str, *xs: Value) -> list[Value]:
        """The results of a jaxpr, written once as a function of that name."""

    def while_loop(
        self,
        cond: Any,
        body: Any,
        cond_consts: Sequence[Value],
        body_consts: Sequence[Value],
        init: Sequence[Value],
    ) -> list[Value]:
        """`while cond(*cond_consts, *carry): carry = body(*body_consts, *carry)`."""

    def loop(
        self,
        init: Sequence[Value],
        cond: Callable[..., Value],
        body: Callable[..., Sequence[Value]],
    ) -> list[Value]:
        """`while cond(*state): state = body(*state)`."""

    def loop_n(
        self, count: int, init: Sequence[Value], step: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """`state = step(i, *state)` for an int32 scalar i from 0 to count - 1."""

    def scan(
        self,
        body: Any,
        consts: Sequence[Value],
        init: Sequence[Value],
        xs: Sequence[Value],
        length: int,
        reverse: bool = False,
    ) -> list[Value]:
        """`carry, y = body(*consts, *carry, *x)` for each row of `xs`: final carry, then all ys."""

    def switch(self, index: Value, branches: Sequence[Any], xs: Sequence[Value]) -> list[Value]:
        """The results of the branch with this number (clamped)."""
