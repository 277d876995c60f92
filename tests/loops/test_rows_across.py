"""Rows of a loop that lie across memory, as those of `a.T`, are put in order in front of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.loops.expr import Axis, Load
from pullback.loops.ir import Block, Loop, expressions, inner_blocks, subexpressions
from tests.loops.harness import Compiled, compile_function

RNG = np.random.default_rng(0)


def strides_in_inner_loops(block: Block, around: tuple[Axis, ...] = ()) -> set[int]:
    """How far apart neighbours are that a loop within a loop reads."""
    found = set[int]()
    for stmt in block:
        if len(around) > 1:
            loads = [e for e in subexpressions(expressions(stmt)) if isinstance(e, Load)]
            found |= {load.offset.terms.get(around[-1], 0) for load in loads}
        inside = (*around, stmt.axis) if isinstance(stmt, Loop) else around
        for inner in inner_blocks(stmt):
            found |= strides_in_inner_loops(inner, inside)
    return found


def columns(x: Any) -> Any:
    return lax.scan(lambda c, row: (c * 0.5 + row, None), jnp.zeros(x.shape[0]), x.T)[0]


def lanes(x: Any) -> Any:
    return pb.vmap(lambda v: lax.scan(lambda c, a: (c * 0.5 + a, c), 0.0, v))(x)


def pairs(x: Any) -> Any:
    """Pieces of two elements."""
    rows = x.reshape(x.shape[0], -1, 2).swapaxes(0, 1)
    return lax.scan(lambda c, row: (c * 0.5 + row, None), jnp.zeros(rows.shape[1:]), rows)[0]


def walked(compiled: Compiled) -> set[int]:
    return strides_in_inner_loops(compiled.program.body)


@pytest.mark.parametrize("fun", [columns, lanes, pairs])
@pytest.mark.parametrize("shape", [(512, 512), (640, 514)])
def test_rows_are_walked_as_they_lie(fun: Callable[[Any], Any], shape: tuple[int, int]) -> None:
    x = RNG.normal(size=shape).astype(np.float32)
    compiled = compile_function(fun, x)
    assert walked(compiled) <= {0, 1, 2}
    for ours, plain in zip(compiled(x), pb.tree.leaves(fun(jnp.asarray(x))), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-6)


def test_small_ones_are_read_where_they_are() -> None:
    x = RNG.normal(size=(64, 128)).astype(np.float32)
    assert max(walked(compile_function(columns, x))) == 128
