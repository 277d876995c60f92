"""Which nests are shared among threads: more of them where the workers are awake anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.llvm.emit import emit_module
from pullback.llvm.emit_work import Work
from pullback.loops.ir import Stmt, walk
from pullback.loops.program import lower_program
from pullback.passes.simplify import simplify

Array = Any
Step = Callable[[Array], Array]
X = np.linspace(-1, 1, 192 * 128, dtype=np.float32).reshape(192, 128)
W = np.eye(128, dtype=np.float32)


def _shared(fun: Step) -> int:
    """How many nests of a program are handed to the pool."""
    program = lower_program(simplify(pb.make_jaxpr(fun)(X)), vector_bits=512)
    return emit_module(program, 512).text.count("call void @pb_parallel_for")


def _turns(step: Step) -> Step:
    return lambda x: lax.fori_loop(0, 10, lambda _, x: step(x), x)


def _gates(x: Array) -> Array:
    return jnp.tanh(x) * jnp.exp(-x)


def _chain(x: Array) -> Array:
    """Many microseconds of one thread's."""
    return x + lax.fori_loop(0, 50_000, lambda _, s: s * 0.5 + 1.0, x[0, 0])


@pytest.mark.parametrize(
    ("fun", "count"),
    [
        (_gates, 0),
        (_turns(_gates), 1),
        (_turns(lambda x: _gates(x @ W)), 1),
        (_turns(lambda x: _gates(x) + jnp.sort(x.reshape(-1)).reshape(x.shape)), 0),
        (_turns(lambda x: _chain(_gates(x))), 0),
        (_turns(lambda x: x + 1), 0),
    ],
)
def test_small_nests_are_shared_where_workers_are_awake(fun: Step, count: int) -> None:
    assert _shared(fun) == count


def test_work_is_estimated_once_for_each_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    def nested(depth: int) -> Step:
        if not depth:
            return _gates
        return lambda x: lax.fori_loop(0, 3, lambda _, s: nested(depth - 1)(s) * 0.5, x)

    program = lower_program(simplify(pb.make_jaxpr(nested(6))(X)), vector_bits=512)
    inside = sum(1 for _ in walk(program.body))
    estimates: list[object] = []
    estimate = Work._estimate

    def counted(self: Work, stmt: Stmt) -> float:
        estimates.append(stmt)
        return estimate(self, stmt)

    monkeypatch.setattr(Work, "_estimate", counted)
    emit_module(program, 512)
    assert 6 < len(estimates) <= 2 * inside  # a loop that gets a look at signals is another one
