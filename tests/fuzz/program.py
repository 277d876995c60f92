"""Random programs: their syntax, their text as Python, and their meaning by NumPy.

A program is a function of `jax` (Pullback or JAX) and its inputs, made of statements in single
assignment form.  A statement carries its text and a NumPy function that computes the same; bodies
of loops and branches are functions of their own, which may read what surrounds them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tests.fuzz.lattice import Type, numpy_dtype
from tests.fuzz.values import array


class NotInterpretedError(Exception):
    """NumPy has no counterpart of a statement."""


@dataclass(frozen=True)
class Var:
    """The name of a value, with its type."""

    name: str
    type: Type


@dataclass(frozen=True)
class Literal:
    """A Python scalar."""

    value: bool | int | float | complex
    type: Type


Operand = Var | Literal


@dataclass(frozen=True)
class Statement:
    """`targets = text`, where `{0}` stands for operands and `{f}` for names of bodies."""

    targets: tuple[Var, ...]
    text: str
    operands: tuple[Operand, ...]
    numpy: Callable[..., Any] | None
    bodies: tuple[Function, ...] = ()

    def lines(self) -> list[str]:
        """As Python."""
        names = {f"f{k}": body.name for k, body in enumerate(self.bodies)}
        text = self.text.format(*map(_spell, self.operands), **names)
        left = ", ".join(v.name for v in self.targets)
        left = f"({left},)" if self.bodies else left
        definitions = [line for body in self.bodies for line in body.lines()]
        return [*definitions, f"{left} = {text}"]


@dataclass(frozen=True)
class Function:
    """The body of a loop, a branch, or of a function handed to a transformation.

    `header` and `footer` say how its parameters and results are packed: `{0}` is the first of them.
    """

    name: str
    header: str
    params: tuple[Var, ...]
    statements: tuple[Statement, ...]
    results: tuple[Operand, ...]
    footer: str
    epilogue: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """As Python."""
        head = self.header.format(*map(_spell, self.params)).split("\n")
        inner = [line for s in self.statements for line in s.lines()]
        inner = [*head[1:], *inner, f"return {self.footer.format(*map(_spell, self.results))}"]
        text = [f"def {self.name}{head[0]}:", *("    " + line for line in inner)]
        return [*text, *(e.replace("{f}", self.name) for e in self.epilogue)]

    def interpret(self, outside: dict[str, Any], args: Sequence[Any]) -> list[Any]:
        """The results by NumPy."""
        scope = dict(outside)
        for param, x in zip(self.params, args, strict=True):
            scope[param.name] = _as_type(x, param.type)
        for s in self.statements:
            _interpret(s, scope)
        return [_value(r, scope) for r in self.results]


@dataclass(frozen=True)
class Input:
    """How an input is made; `scalar` makes it a Python number."""

    type: Type
    seed: int
    edges: bool

    def value(self) -> Any:
        """The array."""
        return array(self.type.shape, self.type.dtype, self.seed, self.edges)

    def text(self) -> str:
        """As Python."""
        edges = ", edges=True" if self.edges else ""
        return f"array({self.type.shape}, {self.type.dtype!r}, {self.seed}{edges})"


@dataclass(frozen=True)
class Program:
    """A closed function, its inputs, and what may be asked of it."""

    function: Function
    inputs: tuple[Input, ...]
    wide: bool
    """64-bit types are on."""
    smooth: bool
    """Finite differences mean something."""
    reversible: bool
    """No loop whose number of steps is known only when it runs."""
    forward: bool
    """No custom_vjp, which has no forward mode."""
    mixed: bool
    """No custom_vjp whose rules call another: forward mode over reverse mode exists."""

    @cached_property
    def source(self) -> str:
        """The program as Python."""
        return "\n".join(self.function.lines())

    @cached_property
    def python(self) -> Callable[..., Any]:
        """The program as a function of a system and the inputs."""
        scope: dict[str, Any] = {}
        exec(compile(self.source, "<random program>", "exec"), scope)
        return scope[self.function.name]

    def values(self) -> list[Any]:
        """The inputs."""
        return [i.value() for i in self.inputs]

    def interpret(self) -> list[Any]:
        """The results by NumPy."""
        with np.errstate(all="ignore"):
            return self.function.interpret({}, self.values())

    def as_test(self, law: str) -> str:
        """A fixed test to paste into test_found.py."""
        inputs = "".join(f"\n    {i.text()}," for i in self.inputs)
        flags = ", wide=True" * self.wide
        flags += ", forward=False" * (not self.forward)
        flags += ", reversible=False" * (not self.reversible)
        flags += ", mixed=False" * (not self.mixed)
        body = textwrap.indent(self.source, "    ")
        call = f"obey({law!r}, Case(program, [{inputs}\n]{flags}))"
        return f"def test_() -> None:\n{body}\n\n{textwrap.indent(call, '    ')}\n"


def _spell(x: Operand) -> str:
    if isinstance(x, Var):
        return x.name
    return f"({x.value!r})" if isinstance(x.value, complex) or x.value < 0 else repr(x.value)


def _value(x: Operand, scope: dict[str, Any]) -> Any:
    if isinstance(x, Var):
        return scope[x.name]
    return np.asarray(x.value).astype(numpy_dtype(x.type.dtype))


def _as_type(x: Any, t: Type) -> Any:
    x = np.asarray(x)
    assert x.shape == t.shape, f"the generator expected {t}, NumPy gives {x.shape}"
    if x.dtype.kind == "c" and t.kind != "c":
        x = x.real
    return x.astype(numpy_dtype(t.dtype))


def _interpret(s: Statement, scope: dict[str, Any]) -> None:
    if s.numpy is None:
        raise NotInterpretedError(s.text)
    args = [_value(x, scope) for x in s.operands]
    bodies = [lambda *xs, body=body: body.interpret(scope, xs) for body in s.bodies]
    out = s.numpy(*bodies, *args)
    outs = out if s.bodies else [out]
    for target, x in zip(s.targets, outs, strict=True):
        scope[target.name] = _as_type(x, target.type)
