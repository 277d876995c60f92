"""The loop IR: its grammar and its verifier.

    Program   args, outs, consts: Buffer ; body: Stmt*
    Stmt      Let(local, value)                        evaluate here, once
            | Declare(var, init) | Assign(var, value)  mutable scalars; in wide ones a lane each
            | Store(buffer, offset, value)
            | Loop(axis, extent, body, width, parallel)   `width` lanes at once; perhaps threads
            | Fold(results, vars, combine)             the lanes of wide variables become one scalar
            | If(condition, then, otherwise)
            | While(before, condition, body)           `before` computes the condition, every turn
            | Call(symbol, args, result)               a C function
            | Copy(target, source, count)              contiguous elements
            | Swap(first, second)                      two buffers exchange their memory
            | Poll(every)                              each so many times, look for signals
    Address   buffer + offset
    Expr      see loops/expr.py; none is an `At` any more

Offsets are flat, in elements, and in bounds wherever they are evaluated.  A vector loop contains no
other vector loop and no If, While, Call, Copy or Swap; its iterations are independent, but for wide
variables, whose assignments reduce.  The iterations of a parallel loop are independent.
A vector loop whose extent is no multiple of its width repeats some lanes at the end.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from pullback.errors import VerifyError
from pullback.loops.expr import Affine, At, Axis, Expr, Load, Local, Op, Read
from pullback.records import record

__all__ = [
    "Address",
    "Assign",
    "Block",
    "Buffer",
    "Call",
    "Combine",
    "Copy",
    "Declare",
    "Fold",
    "If",
    "Let",
    "Loop",
    "Poll",
    "Program",
    "Stmt",
    "Store",
    "Swap",
    "Var",
    "While",
    "expressions",
    "inner_blocks",
    "verify",
    "walk",
]

_counter: Final = itertools.count()
CALL_NS: Final = 2000.0
"""A call of which nothing is known."""


@record(frozen=False)
class Buffer:
    """Contiguous elements in memory.

    `kind`: an argument, an output, a constant, a temporary of the arena, or `local` to an iteration
    of the parallel loop that uses it.  `offset` (bytes in the arena) is set by `loops/memory.py`.
    """

    dtype: np.dtype[Any]
    size: int
    kind: Literal["arg", "out", "const", "temp", "local"]
    index: int = -1
    name: str = ""
    offset: int = -1
    alias: Buffer | None = None
    """Another buffer whose memory this one shares, decided by `loops/memory.py`."""

    def __post_init__(self) -> None:
        if not self.name:
            self.name = f"{self.kind[0]}{next(_counter)}"

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize

    def root(self) -> Buffer:
        """The buffer whose memory this is."""
        root = self
        while root.alias is not None:
            root = root.alias
        buffer = self
        while buffer.alias is not None:  # the way is short from now on
            buffer.alias, buffer = root, buffer.alias
        root.alias = None
        return root


@record(frozen=False)
class Var:
    """A mutable scalar; a wide one has a lane for each of the vector loops inside."""

    dtype: np.dtype[Any]
    wide: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        self.name = f"m{next(_counter)}"


@record()
class Address:
    """Where some elements of a buffer begin."""

    buffer: Buffer
    offset: Affine


@record()
class Let:
    """A value, computed here and once."""

    local: Local
    value: Expr


@record()
class Declare:
    """A mutable scalar begins with a value."""

    var: Var
    init: Expr


@record()
class Assign:
    """A mutable scalar gets a value."""

    var: Var
    value: Expr


@record()
class Store:
    """One element of a buffer is written, in a vector loop one for each lane."""

    buffer: Buffer
    offset: Affine
    value: Expr


@record()
class Loop:
    """`for axis in [0, extent)`; a vector loop if `width` > 1, then `extent` is a constant.

    `in_place`: a store overwrites what the repeated lanes of the last turn would read again.
    `work`: estimated nanoseconds of one turn (of `width` iterations).  `unroll`: write the turns
    one after the other; loads across vectors at consecutive places then become a transpose.
    """

    axis: Axis
    extent: Affine
    body: Block
    width: int = 1
    parallel: bool = False
    in_place: bool = False
    work: float = 0.0
    unroll: bool = False


@record()
class Combine:
    """An associative and commutative function of two tuples of scalars."""

    left: tuple[Local, ...]
    right: tuple[Local, ...]
    values: tuple[Expr, ...]


@record()
class Fold:
    """The lanes of wide variables, combined in pairs, become scalars."""

    results: tuple[Local, ...]
    vars: tuple[Var, ...]
    combine: Combine


@record()
class If:
    """One of two blocks."""

    condition: Expr
    then: Block
    otherwise: Block = ()


@record()
class While:
    """`before` and the condition, then `body`, until the condition fails."""

    before: Block
    condition: Expr
    body: Block


@record()
class Reference:
    """An argument of a call passed by address: a fresh copy of a value."""

    value: Expr


@record()
class Call:
    """`args` are expressions (by value), references, or addresses.

    With `fails` the result is a status: unless it is 0, the program ends with it at once.
    `work`: estimated nanoseconds.
    """

    symbol: str
    args: tuple[Expr | Reference | Address, ...]
    result: Local | None = None
    writes: frozenset[Buffer] = frozenset()
    fails: bool = False
    work: float = CALL_NS


@record()
class Copy:
    """`count` neighbouring elements from one place to another."""

    target: Address
    source: Address
    count: int


@record()
class Swap:
    """Two buffers of one size exchange their memory."""

    first: Buffer
    second: Buffer


@record()
class Poll:
    """Put at the end of loops that may run long, when they are emitted."""

    every: int


Stmt: TypeAlias = (
    "Let | Declare | Assign | Store | Loop | Fold | If | While | Call | Copy | Swap | Poll"
)
Block: TypeAlias = "tuple[Stmt, ...]"


@record(frozen=False)
class Program:
    """One native function: `args` in, `outs` out; `consts` are data of the program."""

    name: str
    args: list[Buffer]
    consts: list[Buffer]
    outs: list[Buffer]
    body: Block
    const_values: list[Any] = field(default_factory=list)
    arena_bytes: int = 0
    cost: float = 0.0
    """Estimated nanoseconds on one thread; loops of unknown length count once."""


# --------------------------------------------------------------------------- traversal


_BLOCKS: Final[dict[type, Callable[[Any], tuple[Block, ...]]]] = {
    Loop: lambda s: (s.body,),
    If: lambda s: (s.then, s.otherwise),
    While: lambda s: (s.before, s.body),
}


def inner_blocks(stmt: Stmt) -> tuple[Block, ...]:
    """The blocks of a statement, in order of execution."""
    found = _BLOCKS.get(type(stmt))
    return () if found is None else found(stmt)


_EXPRESSIONS: Final[dict[type, Callable[[Any], tuple[Expr, ...]]]] = {
    Let: lambda s: (s.value,),
    Assign: lambda s: (s.value,),
    Store: lambda s: (s.offset, s.value),
    Declare: lambda s: (s.init,),
    Loop: lambda s: (s.extent,),
    If: lambda s: (s.condition,),
    While: lambda s: (s.condition,),
    Fold: lambda s: s.combine.values,
    Call: lambda s: tuple(map(_argument, s.args)),
    Copy: lambda s: (s.target.offset, s.source.offset),
    Swap: lambda s: (),
    Poll: lambda s: (),
}


def expressions(stmt: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement itself evaluates, those of its blocks excepted."""
    return _EXPRESSIONS[type(stmt)](stmt)


def _argument(arg: Expr | Reference | Address) -> Expr:
    if isinstance(arg, Reference):
        return arg.value
    return arg.offset if isinstance(arg, Address) else arg


def walk(block: Block) -> Iterator[Stmt]:
    """All statements, outer before inner."""
    for stmt in block:
        yield stmt
        for inner in inner_blocks(stmt):
            yield from walk(inner)


def subexpressions(roots: Sequence[Expr], seen: set[int] | None = None) -> list[Expr]:
    """All expressions below some, each once, but those that were `seen`.

    A list, since most are a handful, and each step of a generator takes as long as finding one.
    """
    stack = list(roots)
    seen = set() if seen is None else seen
    found = []
    while stack:
        e = stack.pop()
        key = id(e)
        if key in seen:
            continue
        seen.add(key)
        found.append(e)
        if type(e) is Op:
            stack += e.args
        elif type(e) is Affine:
            stack += e.terms
        elif type(e) is Load:
            stack.append(e.offset)
        elif type(e) is At:
            stack += e.idx
    return found


# --------------------------------------------------------------------------- verifier


class _Scope:
    """What is defined at a point of the program."""

    def __init__(self) -> None:
        self.names: set[int] = set()
        self.added: list[int] = []
        """Names in the order in which they were defined."""
        self.vector = False
        self.checked: set[int] = set()

    def define(self, *names: Expr | Var) -> None:
        """Make names known."""
        new = [id(name) for name in names if id(name) not in self.names]
        self.names.update(new)
        self.added += new

    @contextlib.contextmanager
    def block(self) -> Iterator[None]:
        """What is defined in the `with` block is not known after it."""
        before = len(self.added)
        yield
        self.names.difference_update(self.added[before:])
        del self.added[before:]

    def check(self, e: Expr, stmt: Stmt) -> None:
        if id(e) in self.checked:
            return
        for sub in subexpressions([e]):
            if isinstance(sub, At):
                raise VerifyError(f"{sub} is left in `{stmt_text(stmt)}`")
            missing = sub.var if isinstance(sub, Read) else sub
            if isinstance(sub, (Axis, Local, Read)) and id(missing) not in self.names:
                raise VerifyError(f"{sub} is not defined at `{stmt_text(stmt)}`")


def verify(program: Program) -> Program:
    """Check scopes, dtypes of stores and the shape of vector loops; returns the program."""
    _verify_block(program.body, _Scope())
    return program


def _verify_block(block: Block, scope: _Scope) -> None:
    with scope.block():
        for stmt in block:
            _verify_stmt(stmt, scope)


def _verify_stmt(stmt: Stmt, scope: _Scope) -> None:
    if isinstance(stmt, Fold):
        scope.define(*stmt.combine.left, *stmt.combine.right)
    if isinstance(stmt, While):
        with scope.block():
            for inner in stmt.before:
                _verify_stmt(inner, scope)
            scope.check(stmt.condition, stmt)
            _verify_block(stmt.body, scope)
        return
    for e in expressions(stmt):
        scope.check(e, stmt)
    _verify_types(stmt)
    if scope.vector and isinstance(stmt, (If, While, Call, Copy, Swap)):
        raise VerifyError(f"`{stmt_text(stmt)}` in a vector loop")
    if isinstance(stmt, Let):
        scope.define(stmt.local)
    elif isinstance(stmt, Declare):
        scope.define(stmt.var)
    elif isinstance(stmt, Fold):
        scope.define(*stmt.results)
    elif isinstance(stmt, Call) and stmt.result is not None:
        scope.define(stmt.result)
    elif isinstance(stmt, Loop):
        _verify_loop(stmt, scope)
    else:
        for inner_block in inner_blocks(stmt):
            _verify_block(inner_block, scope)


def _verify_loop(stmt: Loop, scope: _Scope) -> None:
    if stmt.width > 1 and scope.vector:
        raise VerifyError(f"a vector loop in a vector loop: `{stmt_text(stmt)}`")
    before = scope.vector
    scope.vector |= stmt.width > 1
    scope.define(stmt.axis)
    _verify_block(stmt.body, scope)
    scope.vector = before


def _verify_types(stmt: Stmt) -> None:
    pairs: tuple[Any, Any] | None = None
    if isinstance(stmt, Store):
        pairs = stmt.buffer.dtype, stmt.value.dtype
    elif isinstance(stmt, Let):
        pairs = stmt.local.dtype, stmt.value.dtype
    elif isinstance(stmt, Assign):
        pairs = stmt.var.dtype, stmt.value.dtype
    elif isinstance(stmt, Declare):
        pairs = stmt.var.dtype, stmt.init.dtype
    if pairs is not None and pairs[0] != pairs[1]:
        raise VerifyError(f"a {pairs[1]} where a {pairs[0]} belongs in `{stmt_text(stmt)}`")


def stmt_text(stmt: Stmt) -> str:
    """What an error says of a statement; `loops/text.py` prints programs."""
    if isinstance(stmt, Let):
        return f"let {stmt.local!r}"
    if isinstance(stmt, (Declare, Assign)):
        return f"{stmt.var.name} = ..."
    if isinstance(stmt, Store):
        return f"{stmt.buffer.name}[...] = ..."
    if isinstance(stmt, Loop):
        return f"for {stmt.axis!r}"
    return type(stmt).__name__.lower()
