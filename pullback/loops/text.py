"""Loop programs as text, for people and for golden tests.

An operation that is used several times is named where it is first used, `x0 = exp(...)`; the
emitter computes it once, too.  Names are numbered in order of appearance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pullback.loops.expr import DEEP, Affine, Expr, Load, Op, postorder
from pullback.loops.ir import (
    Address,
    Assign,
    Block,
    Call,
    Copy,
    Declare,
    Fold,
    If,
    Let,
    Loop,
    Program,
    Reference,
    Stmt,
    Store,
    Swap,
    While,
    expressions,
    inner_blocks,
    subexpressions,
    walk,
)

__all__ = ["program_text"]

_NAME: Final = re.compile(r"\b([a-z])\d+\b")


def program_text(program: Program) -> str:
    """The arguments, the results, and the statements of a program."""
    head = " -> ".join(
        ", ".join(f"{b.name}:{b.dtype}[{b.size}]" for b in group) or "()"
        for group in (program.args, program.outs)
    )
    printer = _Printer(_shared(program.body))
    return _renumbered("\n".join([f"{program.name}: {head}", *printer.block(program.body, "  ")]))


def _shared(body: Block) -> set[int]:
    """Operations that are used more than once."""
    uses: dict[int, int] = {}
    seen: set[int] = set()
    for stmt in walk(body):
        roots = list(expressions(stmt))
        for e in roots:
            uses[id(e)] = uses.get(id(e), 0) + 1
        for e in subexpressions(roots, seen):
            for operand in e.args if type(e) is Op else ():
                uses[id(operand)] = uses.get(id(operand), 0) + 1
    return {key for key, n in uses.items() if n > 1}


def _renumbered(raw: str) -> str:
    names: dict[str, str] = {}
    counts: dict[str, int] = {}

    def rename(match: re.Match[str]) -> str:
        name, letter = match.group(0), match.group(1)
        if name not in names:
            names[name] = f"{letter}{counts.get(letter, 0)}"
            counts[letter] = counts.get(letter, 0) + 1
        return names[name]

    return _NAME.sub(rename, raw)


class _Printer:
    """Writes blocks; remembers which operations have names here."""

    def __init__(self, shared: set[int]) -> None:
        self.shared = shared
        self.names: dict[int, str] = {}
        self.pending: list[str] = []
        self.count = 0

    # ---------------------------------------------------------------- expressions

    def expr(self, e: Expr) -> str:
        """An expression; operations used again are named first."""
        if type(e) is Affine:
            return self.index(e)
        if type(e) is Load:
            part = "" if e.part is None else (".re", ".im")[e.part]
            return f"{e.buffer.root().name}[{self.index(e.offset)}]{part}"
        if type(e) is not Op:
            return repr(e)
        name = self.names.get(id(e))
        if name is None:
            name = self.operation(e)
            if id(e) in self.shared and e.args:
                made = f"x{self.count}"
                self.count += 1
                self.pending.append(f"{made} = {name}")
                self.names[id(e)] = name = made
        return name

    def operation(self, e: Op) -> str:
        """An operation as a call."""
        args = [self.expr(a) for a in e.args]
        if e.name in ("math", "extern"):
            return f"{e.attr}({', '.join(args)})"
        if e.name in ("convert", "bitcast"):
            return f"{e.dtype}({args[0]})"
        if e.attr is not None:
            args.append(repr(e.attr))
        return f"{e.name}({', '.join(args)})"

    def index(self, x: Affine) -> str:
        """A sum of terms."""
        terms = [
            self.expr(atom) if k == 1 else f"{k}*{self.expr(atom)}" for atom, k in x.terms.items()
        ]
        if x.const or not terms:
            terms.append(str(x.const))
        return " + ".join(terms)

    # ---------------------------------------------------------------- statements

    def block(self, stmts: Block, indent: str) -> Iterator[str]:
        """The lines of some statements."""
        outer = dict(self.names)
        for stmt in stmts:
            if isinstance(stmt, While):
                yield from self.while_(stmt, indent)
                continue
            line = self.line(stmt)
            yield from (indent + text for text in self.pending)
            self.pending.clear()
            yield indent + line
            for number, inner in enumerate(inner_blocks(stmt)):
                if number and inner:
                    yield f"{indent}else:"
                yield from self.block(inner, indent + "  ")
        self.names = outer

    def while_(self, stmt: While, indent: str) -> Iterator[str]:
        """The condition's statements, the condition, the body."""
        yield f"{indent}loop:"
        yield from self.block(stmt.before, indent + "  ")
        condition = self.expr(stmt.condition)
        yield f"{indent}  while {condition}:"
        yield from self.block(stmt.body, indent + "    ")

    def line(self, s: Stmt) -> str:
        """The first line of a statement, after the names of parts of deep expressions."""
        for root in expressions(s):
            for inner in postorder(root) if root.depth > DEEP else ():
                if inner.depth % 16 == 0:
                    self.shared.add(id(inner))
                    self.expr(inner)
        if isinstance(s, Let):
            return f"{s.local!r} = {self.expr(s.value)}"
        if isinstance(s, Declare):
            wide = f"<{s.var.wide}>" if s.var.wide else ""
            return f"var {s.var.name}{wide} = {self.expr(s.init)}"
        if isinstance(s, Assign):
            return f"{s.var.name} = {self.expr(s.value)}"
        if isinstance(s, Store):
            return f"{s.buffer.root().name}[{self.index(s.offset)}] = {self.expr(s.value)}"
        if isinstance(s, Fold):
            return f"{', '.join(map(repr, s.results))} = fold {', '.join(v.name for v in s.vars)}"
        if isinstance(s, If):
            return f"if {self.expr(s.condition)}:"
        if isinstance(s, Copy):
            return f"copy {self.address(s.target)} <- {self.address(s.source)}, {s.count}"
        if isinstance(s, Swap):
            return f"swap {s.first.root().name}, {s.second.root().name}"
        return self.loop(s) if isinstance(s, Loop) else self.call(s)

    def loop(self, s: Loop) -> str:
        """The head of a loop."""
        head = "parallel for" if s.parallel else "for"
        lanes = f" by {s.width}" if s.width > 1 else ""
        note = " in place" if s.in_place else " unrolled" if s.unroll else ""
        return f"{head} {s.axis!r} in {self.index(s.extent)}{lanes}{note}:"

    def call(self, s: Stmt) -> str:
        """A call of a C function."""
        assert isinstance(s, Call)
        result = "" if s.result is None else f"{s.result!r} = "
        return f"{result}call {s.symbol}({', '.join(map(self.argument, s.args))})"

    def address(self, a: Address) -> str:
        """Where elements begin."""
        return f"&{a.buffer.root().name}[{self.index(a.offset)}]"

    def argument(self, a: Expr | Reference | Address) -> str:
        """An argument of a call."""
        if isinstance(a, Address):
            return self.address(a)
        return f"ref {self.expr(a.value)}" if isinstance(a, Reference) else self.expr(a)
