"""Two pieces of a nest as one with an axis of two turns, where they differ in places alone.

Between `loops/split.py`, which cuts a nest, and its schedule.  The first row of a torus reads
the last one and the last row the first: different numbers in the same computation, and any two
numbers lie on a line.  What is compiled for one then serves both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pullback.loops.expr import Affine, Axis, Const, Expr, Load, Op, affine
from pullback.loops.nests import Nest, extent_of, size_of, with_expressions
from pullback.loops.tensors import Mapping

__all__ = ["paired"]

LITTLE: Final = 1 << 15
"""Elements of a piece up to which threads need not share it."""


def paired(pieces: Sequence[Nest]) -> list[Nest]:
    """Pieces of one nest, in order; those from either end together where they can be."""
    if len(pieces) < 3:
        return list(pieces)
    first, *between, last = pieces
    both = _as_one(first, last) if size_of(first.axes) <= LITTLE else None
    return [*([first, last] if both is None else [both]), *paired(between)]


def _as_one(first: Nest, second: Nest) -> Nest | None:
    """A nest that computes two; None if it would take more than other places."""
    if [extent_of(a) for a in first.axes] != [extent_of(a) for a in second.axes]:
        return None
    pair = Axis(2)
    mapping: Mapping = dict(zip(second.axes, map(affine, first.axes), strict=True))
    others = [e for m in second.substituted(mapping) for e in m.expressions()]
    match = _Match(pair)
    values = []
    for a, b in zip(first.expressions(), others, strict=True):
        value = match.both(a, b)
        if value is None:
            return None
        values.append(value)
    members = with_expressions(first.members, values)
    return Nest([pair, *first.axes], frozenset(k + 1 for k in first.reduced), members)


class _Match:
    """Expressions of two pieces as one of both; what is shared stays shared."""

    def __init__(self, pair: Axis) -> None:
        self.pair = affine(pair)
        self.found: dict[tuple[int, int], Expr | None] = {}

    def both(self, a: Expr, b: Expr) -> Expr | None:
        """One expression for two; None if they are different computations."""
        stack = [(a, b)]
        while stack:
            x, y = stack[-1]
            if (id(x), id(y)) in self.found:
                stack.pop()
                continue
            inner = _operands(x, y)
            missing = [(p, q) for p, q in inner if (id(p), id(q)) not in self.found]
            stack += missing
            if not missing:
                self.found[id(x), id(y)] = self._one(x, y, inner)
        return self.found[id(a), id(b)]

    def _one(self, x: Expr, y: Expr, inner: Sequence[tuple[Expr, Expr]]) -> Expr | None:
        if x is y:
            return x
        if type(x) is Affine and type(y) is Affine:
            return x + self.pair * (y.const - x.const) if x.terms == y.terms else None
        if type(x) is Const and type(y) is Const:
            return x if x.dtype == y.dtype and repr(x.value) == repr(y.value) else None
        if type(x) is Load and type(y) is Load:
            offset = self._one(x.offset, y.offset, ())
            same = x.buffer is y.buffer and x.part == y.part
            return Load(x.buffer, affine(offset), x.part) if same and offset is not None else None
        if type(x) is not Op or not inner:
            return None
        args = [self.found[id(p), id(q)] for p, q in inner]
        known = [e for e in args if e is not None]
        return Op(x.name, tuple(known), x.dtype, x.attr) if len(known) == len(args) else None


def _operands(x: Expr, y: Expr) -> list[tuple[Expr, Expr]]:
    """The operands of two operations of one kind; none if they are not."""
    if x is y or type(x) is not Op or type(y) is not Op:
        return []
    same = x.name == y.name and x.dtype == y.dtype and x.attr == y.attr
    return list(zip(x.args, y.args, strict=True)) if same and len(x.args) == len(y.args) else []
