"""The shape of a nest: what its code depends on, so that equal nests are written once.

In: a statement of a loop program.  Out: a key, and the buffers, axes and names that it stands on,
in order of appearance.  Two nests with equal keys differ in these alone, one by one: the layers of
a network, the steps of a loop that was written out.  Reading the shape of a nest costs a fraction
of writing its code.
"""

from __future__ import annotations

from struct import pack
from typing import Any, Final

from pullback.loops.expr import Affine, Axis, Const, Expr, Load, Local, Op, Read
from pullback.loops.ir import (
    Address,
    Assign,
    Buffer,
    Call,
    Combine,
    Copy,
    Declare,
    Fold,
    If,
    Let,
    Loop,
    Poll,
    Reference,
    Store,
    Swap,
    Var,
    While,
)
from pullback.records import fields_of

__all__ = ["Shape", "shape_of"]

DEEPEST = 200
"""Expressions beyond are not compared: they are walked by recursion here."""


_FIELDS: Final = {
    cls: fields_of(cls)
    for cls in (
        *(Let, Declare, Assign, Store, Loop, Fold, Combine, If, While),
        *(Call, Reference, Address, Copy, Swap, Poll),
    )
}


class _TooDeep(Exception):
    """An expression that is not worth the stack."""


class Shape:
    """A key, and what it stands on."""

    __slots__ = ("key", "named", "numbers")

    def __init__(self) -> None:
        self.key: Any = None
        self.named: list[Any] = []
        self.numbers: dict[int, int] = {}

    def number(self, thing: Any) -> tuple[int, bool]:
        """The number of a buffer, an axis, an expression; whether it is new."""
        found = self.numbers.get(id(thing))
        if found is not None:
            return found, False
        self.numbers[id(thing)] = len(self.named)
        self.named.append(thing)
        return len(self.named) - 1, True


def shape_of(nest: Loop) -> Shape | None:
    """The shape of a nest; None where it cannot be told."""
    shape = Shape()
    tokens: list[Any] = []
    try:
        _write(nest, shape, tokens)
        shape.key = tuple(tokens)
        hash(shape.key)
    except (_TooDeep, TypeError):
        return None
    return shape


def _write(thing: Any, shape: Shape, tokens: list[Any]) -> None:
    if isinstance(thing, Expr):
        _write_expression(thing, shape, tokens)
    elif type(thing) is tuple:
        tokens.append(len(thing))
        for part in thing:
            _write(part, shape, tokens)
    elif type(thing) is Buffer:
        _write_buffer(thing.root(), shape, tokens)
    elif type(thing) is Var:
        number, _ = shape.number(thing)
        tokens += (number, thing.dtype, thing.wide)
    elif type(thing) in _FIELDS:
        tokens.append(type(thing))
        for name in _FIELDS[type(thing)]:
            _write(getattr(thing, name), shape, tokens)
    else:
        tokens += (type(thing), thing)


def _write_buffer(root: Buffer, shape: Shape, tokens: list[Any]) -> None:
    number, new = shape.number(root)
    tokens.append(number)
    if new:
        tokens += (root.dtype, root.kind == "local", root.kind == "local" and root.size)


def _write_expression(e: Expr, shape: Shape, tokens: list[Any]) -> None:
    if e.depth > DEEPEST:
        raise _TooDeep
    number, new = shape.number(e)
    tokens.append(number)
    if not new:
        return
    tokens += (type(e), e.dtype)
    if isinstance(e, Op):
        tokens += (e.name, e.attr, len(e.args))
        for arg in e.args:
            _write_expression(arg, shape, tokens)
    elif isinstance(e, Affine):
        tokens += (e.const, len(e.terms))
        for atom, coefficient in e.terms.items():
            tokens.append(coefficient)
            _write_expression(atom, shape, tokens)
    elif isinstance(e, Load):
        tokens.append(e.part)
        _write_buffer(e.buffer.root(), shape, tokens)
        _write_expression(e.offset, shape, tokens)
    elif isinstance(e, Const):
        # By its bits: 0.0 is not -0.0, and a NaN may have a sign.
        tokens.append(pack("<d", e.value) if isinstance(e.value, float) else repr(e.value))
    elif isinstance(e, Axis):
        tokens.append(e.extent)
    elif isinstance(e, Local):
        tokens += (e.low, e.high)
    elif isinstance(e, Read):
        _write(e.var, shape, tokens)
    else:
        raise TypeError(f"{type(e).__name__} in a loop program")
