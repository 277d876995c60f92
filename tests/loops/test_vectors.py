"""Independent loops of `lower` rules become vector loops, and compute what they did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as pnp
from pullback.loops.expr import Axis, Const, Load, Local, affine
from pullback.loops.ir import Block, Buffer, Let, Loop, Store
from pullback.loops.scalars import SCALARS
from pullback.loops.vectors import vectorised
from tests.loops.harness import compile_function

F32 = np.dtype(np.float32)
N = 100


def _buffer(kind: Any = "temp") -> Buffer:
    return Buffer(F32, 4 * N, kind)


def _loop(axis: Axis, *body: Any, parallel: bool = True) -> Loop:
    return Loop(axis, affine(N), tuple(body), parallel=parallel)


def _widths(block: Block) -> list[int]:
    return [s.width for s in block if isinstance(s, Loop)]


def test_neighbours_become_lanes() -> None:
    axis, x, y = Axis(N), _buffer("arg"), _buffer()
    loop = _loop(axis, Store(y, affine(axis) + 3, Load(x, affine(axis))))
    outer = Loop(Axis(3), affine(3), (loop,))
    made = vectorised(outer)
    assert isinstance(made, Loop)
    assert made.width == 1
    assert _widths(made.body)[0] > 1
    assert not made.body[0].in_place  # type: ignore[union-attr]


def test_an_update_does_not_repeat_lanes() -> None:
    axis, x = Axis(N), _buffer()
    place = affine(axis)
    made = vectorised(_loop(axis, Store(x, place, SCALARS.add(Load(x, place), Const(1.0, F32)))))
    assert isinstance(made, Loop)
    assert made.width > 1
    assert made.in_place


def test_what_is_left_alone() -> None:
    x, y, k = _buffer(), _buffer(), Buffer(np.dtype(np.int64), 4 * N, "temp")
    for case in range(4):
        axis = Axis(N)
        place = affine(axis)
        gathered = affine(Load(k, place))
        body = [
            Store(y, place * 2, Load(x, place)),
            Store(y, place, Load(x, gathered)),
            Store(y, gathered, Load(x, place)),
            Store(y, place, Load(x, place)),
        ][case]
        assert vectorised(_loop(axis, body, parallel=case < 3)).width == 1  # type: ignore[union-attr]
    axis = Axis(N)
    first = Load(x, affine(axis))
    from_lane = SCALARS.convert(first, np.int64)
    local = Local(from_lane.dtype)
    loop = _loop(axis, Let(local, from_lane), Store(y, affine(axis), Load(x, affine(local))))
    assert vectorised(loop) is loop


@pytest.mark.parametrize("width", [3, 16, 37, 64, 100])
def test_rows_added_where_indices_say(width: int) -> None:
    rng = np.random.default_rng(width)
    x = rng.integers(-8, 9, (50, width)).astype(np.float32)
    ids = rng.integers(-2, 12, 50)
    found = pb.jit(lambda x, i: pnp.zeros((10, width)).at[i].add(x))(x, ids)
    expected = np.zeros((10, width), np.float32)
    for row, k in zip(x, ids, strict=True):
        if -10 <= k < 10:
            expected[k] += row
    assert np.array_equal(np.asarray(found), expected)


def test_chains_of_elementary_functions_are_written_for_two_vectors() -> None:
    """While one vector waits for a step of its polynomials, the other takes one."""

    def width(fun: Any) -> int:
        (loop,) = compile_function(fun, np.ones(4096, np.float32), vector_bits=512).program.body
        return loop.width  # type: ignore[union-attr]

    assert width(lambda x: pnp.sin(x) * pnp.tanh(x) + pnp.log1p(x)) == 32
    assert width(lambda x: pnp.exp(x) * pnp.sqrt(x) + (x + 1) * (x + 2) * (x + 3)) == 16
    assert width(lambda x: x + 1) == 32
