"""Long programs are cut into functions of bounded length that do the same together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback
import pullback.numpy as jnp
from pullback.llvm import emit
from pullback.llvm.emit_sections import cut
from pullback.loops.expr import Local, Read
from pullback.loops.ir import Block, Call, Declare, Fold, Let, expressions, subexpressions, walk
from pullback.loops.program import lower_program
from pullback.passes import simplify


def steps(n: int) -> Callable[..., Any]:
    def f(w: Any, x: Any) -> Any:
        sums = []
        for k in range(n):
            x = jnp.tanh(w @ x + k / n)
            sums.append(jnp.sum(x))
        return x, jnp.stack(sums), sum(sums[1:], sums[0])

    return f


def lowered(n: int) -> Any:
    w, x = jnp.ones((8, 8)), jnp.ones(8)
    return lower_program(simplify.simplify(pullback.make_jaxpr(steps(n))(w, x)))


def longest_function(n: int) -> int:
    text = emit.emit_module(lowered(n)).text
    return max(part.count("\n") for part in text.split("\ndefine "))


def test_no_function_grows_with_the_program() -> None:
    assert longest_function(900) < 2500


def defined(block: Block) -> set[Any]:
    found: set[Any] = set()
    for s in walk(block):
        if isinstance(s, Let):
            found.add(s.local)
        elif isinstance(s, Declare):
            found.add(s.var)
        elif isinstance(s, Fold):
            found.update((*s.results, *s.combine.left, *s.combine.right))
        elif isinstance(s, Call) and s.result is not None:
            found.add(s.result)
    return found


def used(block: Block) -> set[Any]:
    found: set[Any] = set()
    for s in walk(block):
        for e in subexpressions(expressions(s)):
            if type(e) is Local:
                found.add(e)
            elif type(e) is Read:
                found.add(e.var)
    return found


def test_names_stay_in_their_section() -> None:
    program = lowered(300)
    sections = cut(program.body)
    assert len(sections.blocks) > 3
    assert [s for block in sections.blocks for s in block] == list(program.body)
    for block in sections.blocks:
        assert used(block) <= defined(block)


def test_short_programs_stay_whole() -> None:
    program = lowered(10)
    assert cut(program.body).blocks == (program.body,)
    assert "@section" not in emit.emit_module(program).text


def test_sections_compute_what_the_program_says() -> None:
    n = 300
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((8, 8)).astype(np.float32) / 4, np.ones(8, np.float32)
    last, sums, total = pullback.jit(steps(n))(w, x)
    value, expected = x.astype(np.float64), []
    for k in range(n):
        value = np.tanh(w @ value + k / n)
        expected.append(value.sum())
    np.testing.assert_allclose(last, value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(total, np.sum(expected), rtol=1e-3)


def test_a_section_that_fails_ends_the_program() -> None:
    def refuse(x: Any) -> Any:
        raise ValueError("not this one")

    def f(w: Any, x: Any) -> Any:
        x, sums, _ = steps(120)(w, x)
        x = pullback.pure_callback(refuse, x, x)
        return steps(120)(w, x), sums

    with pytest.raises(ValueError, match="not this one"):
        pullback.block_until_ready(pullback.jit(f)(jnp.eye(8), jnp.ones(8)))
