"""The operations of StableHLO as methods that append lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.dimensions import is_symbolic, larger
from pullback.core.stablehlo import Attributes, Type, enum, int_array, integer
from pullback.errors import UnsupportedError
from pullback.hlo.text import dense, function_type, splat, tensor

__all__ = ["SSA", "Operations"]

_NONE: Final[dict[str, str]] = {}
_BESIDE: Final = ("error_message",)
"""Attributes that are no properties of an operation."""
_INDENT: Final = "  "


class SSA:
    """A value of the program: its name, shape and physical element type."""

    __slots__ = ("dtype", "name", "shape")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype

    def __repr__(self) -> str:
        return f"{self.name}: {tensor((self.shape, self.dtype))}"


class Operations:
    """Appends operations to `lines`."""

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.lines: list[str] = []
        self.types: list[Type] = []
        self.location = ""
        self.literals: dict[Any, SSA] = {}
        self.s: Any = None
        self.dynamic: Any = None
        """What writes operations on axes of symbolic lengths (hlo/dynamic)."""
        self._depth = 2
        self._count = 0
        self._arguments = 0

    # ------------------------------------------------------------------ any operation

    def ops(
        self,
        name: str,
        xs: Sequence[SSA],
        types: Sequence[Type],
        attributes: Attributes = _NONE,
        regions: Sequence[Any] = (),
    ) -> list[SSA]:
        """The results of an operation."""
        types = [
            (tuple(n if is_symbolic(n) else int(n) for n in shape), np.dtype(dtype))
            for shape, dtype in types
        ]
        if self.dynamic is not None:
            found: list[SSA] | None = self.dynamic.rewritten(name, xs, types, attributes)
            if found is not None:
                return found
        label = f"%{self._count}"
        self._count += 1
        operands = ", ".join(x.name for x in xs)
        properties = ", ".join(f"{k} = {v}" for k, v in attributes.items() if k not in _BESIDE)
        beside = ", ".join(f"{k} = {v}" for k, v in attributes.items() if k in _BESIDE)
        inner = f" ({', '.join(regions)})" if regions else ""
        signature = function_type([(x.shape, x.dtype) for x in xs], types)
        head = {0: "", 1: f"{label} = "}.get(len(types), f"{label}:{len(types)} = ")
        self.lines.append(
            f'{_INDENT * self._depth}{head}"{name}"({operands})'
            + (f" <{{{properties}}}>" if attributes else "")
            + f"{inner}{f' {{{beside}}}' if beside else ''} : {signature}{self.location}"
        )
        if len(types) == 1:
            return [SSA(label, *types[0])]
        return [SSA(f"{label}#{k}", *t) for k, t in enumerate(types)]

    def op(
        self,
        name: str,
        xs: Sequence[SSA],
        shape: Sequence[int],
        dtype: Any,
        attributes: Attributes = _NONE,
        regions: Sequence[Any] = (),
    ) -> SSA:
        """The result of an operation that has one."""
        return self.ops(name, xs, [(tuple(shape), dtype)], attributes, regions)[0]

    @contextmanager
    def _inside(self) -> Iterator[list[str]]:
        lines, literals = self.lines, self.literals
        # A literal written here is not seen outside; those from outside are seen here.
        self.lines, self.literals = [], dict(literals)
        self._depth += 2
        try:
            yield self.lines
        finally:
            self._depth -= 2
            self.lines, self.literals = lines, literals

    def region(self, types: Sequence[Type], fn: Callable[..., Sequence[SSA]]) -> str:
        """The region that computes `fn`."""
        arguments = []
        for shape, dtype in types:
            arguments.append(SSA(f"%iter{self._arguments}", tuple(shape), np.dtype(dtype)))
            self._arguments += 1
        with self._inside() as lines:
            outs = list(fn(*arguments))
            names = ", ".join(o.name for o in outs)
            out_types = ", ".join(tensor((o.shape, o.dtype)) for o in outs)
            lines.append(
                f'{_INDENT * self._depth}"stablehlo.return"({names}) : ({out_types}) -> ()'
            )
        outer = _INDENT * (self._depth + 1)
        head = ", ".join(f"{a.name}: {tensor((a.shape, a.dtype))}" for a in arguments)
        block = f"{outer}^bb0({head}):\n" if arguments else ""
        body = "\n".join(lines)
        return f"{{\n{block}{body}\n{outer[: -len(_INDENT)]}}}"

    # ------------------------------------------------------------------ element by element

    def apply(
        self, name: str, *xs: Any, dtype: Any = None, shape: Sequence[int] | None = None
    ) -> SSA:
        """An element-wise operation."""
        values = self._alike(xs, shape)
        first = values[0]
        if not name.startswith(("stablehlo.", "chlo.")):
            name = f"stablehlo.{name}"
        return self.op(name, values, first.shape, first.dtype if dtype is None else dtype)

    def _alike(self, xs: Sequence[Any], shape: Sequence[int] | None = None) -> list[SSA]:
        """Operands of one shape; numbers take the type of the first value."""
        first = next(x for x in xs if isinstance(x, SSA))
        values = [x if isinstance(x, SSA) else self.full((), x, first.dtype) for x in xs]
        wide = max((x.shape for x in values), key=len) if shape is None else tuple(shape)
        return [x if x.shape == wide else self.broadcast(x, wide) for x in values]

    def full(self, shape: Sequence[int], value: Any, dtype: Any) -> SSA:
        """A constant of equal elements."""
        dtype = np.dtype(dtype)
        if is_symbolic(value):
            return self.broadcast(self.convert(self.dimension(value), dtype), shape)
        if any(map(is_symbolic, shape)):
            return self.broadcast(self.full((), value, dtype), shape)
        if shape and 0 in shape:
            attribute = f"dense<> : {tensor((tuple(shape), dtype))}"
        else:
            attribute = f"dense<{splat(value, dtype)}> : {tensor((tuple(shape), dtype))}"
        return self.op("stablehlo.constant", [], shape, dtype, {"value": attribute})

    def array(self, value: Any) -> SSA:
        """A constant array."""
        value = np.asarray(value)
        return self.op("stablehlo.constant", [], value.shape, value.dtype, {"value": dense(value)})

    def iota(self, shape: Sequence[int], dtype: Any, axis: int) -> SSA:
        """Positions along an axis."""
        attributes = {"iota_dimension": integer(axis)}
        return self.op("stablehlo.iota", [], shape, dtype, attributes)

    def convert(self, x: SSA, dtype: Any) -> SSA:
        """`x` with another element type."""
        dtype = np.dtype(dtype)
        return x if x.dtype == dtype else self.op("stablehlo.convert", [x], x.shape, dtype)

    def bitcast(self, x: SSA, dtype: Any) -> SSA:
        """The bits of `x` as elements of the same width."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        return self.op("stablehlo.bitcast_convert", [x], x.shape, dtype)

    def compare(self, direction: str, x: Any, y: Any, total: bool = False) -> SSA:
        """A comparison."""
        values = self._alike((x, y))
        kind = dtypes.kind_of(values[0].dtype)
        order = {"f": "FLOAT", "c": "FLOAT", "i": "SIGNED"}.get(kind, "UNSIGNED")
        if total and kind == "f":
            order = "TOTALORDER"
        attributes = {
            "comparison_direction": enum("comparison_direction", direction),
            "compare_type": enum("comparison_type", order),
        }
        return self.op("stablehlo.compare", values, values[0].shape, dtypes.bool_, attributes)

    def select(self, condition: SSA, x: Any, y: Any) -> SSA:
        """One or the other, element by element."""
        shapes = [v.shape for v in (condition, x, y) if isinstance(v, SSA)]
        wide = max(shapes, key=len)
        x, y = self._alike((x, y), wide)
        if condition.shape != wide and condition.shape:
            condition = self.broadcast(condition, wide)
        return self.op("stablehlo.select", [condition, x, y], wide, x.dtype)

    def dimension(self, dim: Any) -> SSA:
        """A symbolic length as a number."""
        if self.dynamic is None:
            raise UnsupportedError(f"the symbolic dimension '{dim}' in a program of known lengths")
        out: SSA = self.dynamic.value(dim)
        return out

    def vector(self, values: Sequence[Any], dtype: Any) -> SSA:
        """Numbers as an array."""
        if not any(map(is_symbolic, values)):
            return self.array(np.asarray(values, dtype))
        return self.convert(self.dynamic.vector(values), dtype)

    # ------------------------------------------------------------------ structure

    def broadcast(self, x: SSA, shape: Sequence[int], dims: Sequence[int] = ()) -> SSA:
        """`x` along the axes `dims` of a larger shape."""
        if x.shape == tuple(shape) and tuple(dims) == tuple(range(len(dims))):
            return x
        attributes = {"broadcast_dimensions": int_array(dims)}
        return self.op("stablehlo.broadcast_in_dim", [x], shape, x.dtype, attributes)

    def reshape(self, x: SSA, shape: Sequence[int]) -> SSA:
        """The same elements in another shape."""
        if x.shape == tuple(shape):
            return x
        return self.op("stablehlo.reshape", [x], shape, x.dtype)

    def transpose(self, x: SSA, permutation: Sequence[int]) -> SSA:
        """`x` with its axes in another order."""
        if tuple(permutation) == tuple(range(len(x.shape))):
            return x
        shape = [x.shape[k] for k in permutation]
        attributes = {"permutation": int_array(permutation)}
        return self.op("stablehlo.transpose", [x], shape, x.dtype, attributes)

    def slice(
        self,
        x: SSA,
        start: Sequence[int],
        limit: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> SSA:
        """A part of `x`."""
        steps = [1] * len(x.shape) if strides is None else strides
        shape = [larger(0, -(-(b - a) // s)) for a, b, s in zip(start, limit, steps, strict=True)]
        attributes = {
            "start_indices": int_array(start),
            "limit_indices": int_array(limit),
            "strides": int_array(steps),
        }
        return self.op("stablehlo.slice", [x], shape, x.dtype, attributes)

    def concatenate(self, xs: Sequence[SSA], dimension: int) -> SSA:
        """Arrays one after the other."""
        if len(xs) == 1:
            return xs[0]
        shape = list(xs[0].shape)
        shape[dimension] = sum(x.shape[dimension] for x in xs)
        attributes = {"dimension": integer(dimension)}
        return self.op("stablehlo.concatenate", xs, shape, xs[0].dtype, attributes)

    def reduce(
        self,
        xs: Sequence[SSA],
        axes: Sequence[int],
        inits: Sequence[Any],
        combine: Callable[..., Sequence[SSA]],
    ) -> list[SSA]:
        """Reductions over axes, several at once."""
        shape = tuple(n for k, n in enumerate(xs[0].shape) if k not in axes)
        return self.reductions(
            "stablehlo.reduce", xs, inits, combine, shape, {"dimensions": int_array(axes)}
        )

    def reductions(
        self,
        name: str,
        xs: Sequence[SSA],
        inits: Sequence[Any],
        combine: Callable[..., Sequence[SSA]],
        shape: Sequence[int],
        attributes: Attributes,
    ) -> list[SSA]:
        """An operation that reduces: of axes, of windows."""
        n = len(xs)
        starts = [self.full((), v, x.dtype) for v, x in zip(inits, xs, strict=True)]
        scalars: list[Type] = [((), x.dtype) for x in xs]
        region = self.region([*scalars, *scalars], lambda *v: combine(self.s, v[:n], v[n:]))
        types = [(tuple(shape), x.dtype) for x in xs]
        return self.ops(name, [*xs, *starts], types, attributes, [region])

    def row(self, x: SSA, at: SSA) -> SSA:
        """The row of `x` at an index."""
        sizes = (1, *x.shape[1:])
        part = self.op(
            "stablehlo.dynamic_slice",
            [x, *self._starts(x, at)],
            sizes,
            x.dtype,
            {"slice_sizes": int_array(sizes)},
        )
        return self.reshape(part, x.shape[1:])

    def with_row(self, x: SSA, row: SSA, at: SSA) -> SSA:
        """`x` with another row at an index."""
        part = self.reshape(row, (1, *row.shape))
        operands = [x, part, *self._starts(x, at)]
        return self.op("stablehlo.dynamic_update_slice", operands, x.shape, x.dtype)

    def _starts(self, x: SSA, at: SSA) -> list[SSA]:
        zero = self.full((), 0, at.dtype)
        return [at, *[zero] * (len(x.shape) - 1)]
