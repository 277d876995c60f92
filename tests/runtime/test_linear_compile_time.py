"""Tracing and compiling take work in proportion to the number of equations.

Work is counted in lines of our own code that run, and in lines of LLVM text that come out: the same
in every run, on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

import pullback
import pullback.numpy as jnp
from pullback import lax
from pullback.llvm import emit
from pullback.loops.program import lower_program
from pullback.passes import simplify

PACKAGE: Final = str(Path(pullback.__file__).parent)
SMALL, FACTOR = 20, 4
SLACK: Final = 1.2
"""Dictionaries, sorting and the like may add this much to what is in proportion."""


def lines_run(f: Callable[[], Any]) -> int:
    """How many lines of the package run during a call."""
    count = 0

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return local

    def called(frame: FrameType, event: str, arg: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        f()
    finally:
        sys.settrace(before)
    return count


def work(program: Callable[[int], Callable[..., Any]], n: int, *args: Any) -> tuple[int, int]:
    """Lines run from the function to LLVM text, and the lines of that text."""
    f = program(n)
    text = ""

    def compile_() -> None:
        nonlocal text
        closed = simplify.simplify(pullback.make_jaxpr(f)(*args))
        lowered = lower_program(closed, vector_bits=512, name="f")
        text = "\n".join(emit.emit_module(lowered).parts)

    return lines_run(compile_), text.count("\n")


def chain(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        for i in range(n):
            x = jnp.sin(x) * (1.0 + i)
        return x

    return f


def unrolled(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        total = jnp.zeros(())
        for _ in range(n):
            x = jnp.tanh(jnp.stack([x, x]) @ x[:, None])[0] + x
            total = total + x.sum()
        return x, total

    return f


def gradient(n: int) -> Callable[..., Any]:
    return pullback.grad(lambda x: chain(n)(x).sum())


def nested_calls(n: int) -> Callable[..., Any]:
    inner = pullback.jit(lambda x, k: jnp.cos(x) * k + 0.5)

    def f(x: Any) -> Any:
        for i in range(n):
            x = inner(x, 1.0 + i)
        return x

    return f


def doubled(n: int) -> Callable[..., Any]:
    """Each value is used twice by the next: written out, the expression has 2**n leaves."""

    def f(x: Any) -> Any:
        for i in range(n):
            x = x * jnp.exp(x) + x * i
        return x

    return f


def many_results(n: int) -> Callable[..., Any]:
    return lambda x: [jnp.exp(x + i) for i in range(n)]


def sum_of_many(n: int) -> Callable[..., Any]:
    return lambda x: sum((jnp.exp(x * i) for i in range(n)), x)


def stacked(n: int) -> Callable[..., Any]:
    return lambda x: jnp.stack([jnp.sin(x) + i for i in range(n)])


def slices(n: int) -> Callable[..., Any]:
    return lambda x: sum(jnp.roll(x, i) for i in range(n))


def updates(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        for i in range(n):
            x = x.at[i % 16].set(x[(i + 1) % 16] * 2.0)
        return x

    return f


def loop_body(n: int) -> Callable[..., Any]:
    return lambda x: lax.fori_loop(0, 10, lambda i, x: chain(n)(x), x)


def loops(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        for _ in range(n):
            x = lax.fori_loop(0, 3, lambda i, x: x * 0.5 + 1.0, x)
        return x

    return f


def branches(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        for i in range(n):
            x = lax.cond(x[0] > i, jnp.sin, jnp.cos, x)
        return x

    return f


def reductions(n: int) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        for _ in range(n):
            x = x / (1.0 + jnp.max(jnp.abs(x)))
        return x

    return f


PROGRAMS: Final = [
    chain,
    unrolled,
    gradient,
    nested_calls,
    doubled,
    many_results,
    sum_of_many,
    stacked,
    slices,
    updates,
    loop_body,
    loops,
    branches,
    reductions,
]

LONGER: Final = {gradient: 6}
"""A few residuals fit into one loop, more need several: in proportion from there on."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_work_is_in_proportion(program: Callable[[int], Callable[..., Any]]) -> None:
    x = jnp.arange(16.0)
    n = SMALL * LONGER.get(program, 1)
    work(program, 2, x)  # what is looked up once a process
    small, large = work(program, n, x), work(program, FACTOR * n, x)
    assert large[0] <= FACTOR * SLACK * small[0]
    assert large[1] <= FACTOR * SLACK * small[1]
