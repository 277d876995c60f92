"""Arrays made in pieces: when these may work in the memory of what they are made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.loops.expr import Axis, Load, affine
from pullback.loops.ir import Address, Buffer, Copy, If, Loop, Stmt, Store, Swap, walk
from pullback.loops.pieces import are_apart, fill, without_self_copies
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
U, V = RNG.normal(size=(2, 60, 90)).astype(np.float32)
Fields = tuple[Any, ...]


def nest(buffer: Buffer, const: int, *axes: tuple[int, int]) -> Stmt:
    """Loops of (extent, stride) around a store."""
    indices = [Axis(n) for n, _ in axes]
    offset = affine(const)
    for index, (_, stride) in zip(indices, axes, strict=True):
        offset = offset + affine(index) * stride
    stmt: Stmt = Store(buffer, offset, affine(0))
    for index, (n, _) in reversed(list(zip(indices, axes, strict=True))):
        stmt = Loop(index, affine(n), (stmt,))
    return stmt


PIECES: dict[str, tuple[list[tuple[Any, ...]], bool, bool]] = {
    "inside and borders": (
        [(11, (8, 10), (8, 1)), (0, (10, 1)), (90, (10, 1)), (10, (8, 10)), (19, (8, 10))],
        True,
        True,
    ),
    "several rows as one": ([(0, (30, 1)), (30, (70, 1))], True, True),
    "a column is left": ([(0, (10, 10), (9, 1))], True, False),
    "rows that overlap": ([(0, (30, 1)), (20, (30, 1))], False, False),
    "columns that overlap": ([(0, (10, 10), (6, 1)), (5, (10, 10), (5, 1))], False, False),
    "a row and a half": ([(0, (15, 1)), (20, (8, 10))], False, False),
    "strides that do not divide": ([(0, (5, 7), (3, 2))], False, False),
}


@pytest.mark.parametrize("name", PIECES)
def test_boxes(name: str) -> None:
    places, apart, full = PIECES[name]
    buffer = Buffer(np.dtype(np.float32), 100, "temp")
    stmts = [nest(buffer, const, *axes) for const, *axes in places]
    assert are_apart(stmts, buffer) is apart
    assert fill(stmts, buffer) is full


def test_other_writes_are_no_boxes() -> None:
    buffer, other = (Buffer(np.dtype(np.float32), 100, "temp") for _ in range(2))
    zero = affine(0)
    copy = Copy(Address(buffer, zero), Address(other, zero), 100)
    perhaps = If(zero, (nest(buffer, 0, (30, 1)),), ())
    for stmt in (copy, Swap(buffer, other), perhaps):
        pieces = [stmt, nest(buffer, 30, (70, 1))]
        assert not are_apart(pieces, buffer)
        assert not fill(pieces, buffer)


def test_what_is_there_already_is_not_stored() -> None:
    buffer, other = (Buffer(np.dtype(np.float32), 9, "temp") for _ in range(2))
    i = Axis(9)
    at = affine(i)
    keep = Store(buffer, at, Load(other, at))
    loop = Loop(i, affine(9), (Store(buffer, at, Load(buffer, at)), keep))
    left, dropped = without_self_copies(loop)
    assert isinstance(left, Loop)
    assert left.body == (keep,)
    assert dropped == [buffer]
    alone = Loop(i, affine(9), (Store(buffer, at, Load(buffer, at)),))
    assert without_self_copies(alone) == (None, [buffer])


def stencil(x: Any) -> Any:
    return 0.25 * (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:])


def two_fields(u: Any, v: Any) -> Fields:
    v = v.at[1:-1, 1:-1].set(stencil(u))
    return u.at[1:-1, 1:-1].set(stencil(v)), v


def leapfrog(u: Any, v: Any) -> Fields:
    v = v.at[0].set(u[5, 0])
    v = v.at[1:].add(-0.5 * (u[1:] - u[:-1]))
    return u.at[:-1, :-1].add(-0.5 * (v[1:, :-1] - v[:-1, :-1] + v[:-1, 1:])), v


def scaled_part(u: Any, v: Any) -> Fields:
    return u.at[2:, 3:].multiply(v[:-2, :-3]), v.at[:, 1:].max(u[:, :-1])


def own_neighbours(u: Any, v: Any) -> Fields:
    return u.at[1:-1, 1:-1].set(stencil(u)), v.at[1:].add(v[:-1])


def read_afterwards(u: Any, v: Any) -> Fields:
    new = u.at[1:-1, 1:-1].set(stencil(v))
    return new, v.at[1:-1, 1:-1].add(u[1:-1, 1:-1] * new[:-2, :-2])


def parts_left(u: Any, v: Any) -> Fields:
    w = u.at[0].set(v[3])
    return w.at[:50].add(0.5 * v[10:]), v.at[1:, 1:].subtract(w[:-1, :-1])


STEPS: dict[str, tuple[Callable[[Any, Any], Fields], bool]] = {
    "two fields": (two_fields, True),
    "leapfrog": (leapfrog, True),
    "scaled part": (scaled_part, False),
    "own neighbours": (own_neighbours, False),
    "read afterwards": (read_afterwards, False),
    "parts left": (parts_left, False),
}


class _Plain:
    """NumPy arrays with `at`, for the same steps."""

    def __init__(self, x: np.ndarray[Any, Any], where: Any = None) -> None:
        self.x, self.where = x, where

    def __getitem__(self, index: Any) -> Any:
        return _Plain(self.x, index)

    def _new(self, f: Callable[..., Any], value: Any) -> Any:
        out = self.x.copy()
        out[self.where] = f(out[self.where], np.asarray(value))
        return out.view(_Array)

    def set(self, value: Any) -> Any:
        return self._new(lambda _, b: b, value)

    def add(self, value: Any) -> Any:
        return self._new(np.add, value)

    def subtract(self, value: Any) -> Any:
        return self._new(np.subtract, value)

    def multiply(self, value: Any) -> Any:
        return self._new(np.multiply, value)

    def max(self, value: Any) -> Any:
        return self._new(np.maximum, value)


class _Array(np.ndarray[Any, Any]):
    @property
    def at(self) -> _Plain:
        return _Plain(self)


@pytest.mark.parametrize("turns", [1, 3, 4])
@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str, turns: int) -> None:
    step, _ = STEPS[name]
    run = pb.jit(lambda u, v: lax.fori_loop(0, turns, lambda _, c: step(*c), (u, v)))
    want: Fields = (U.view(_Array), V.view(_Array))
    for _ in range(turns):
        want = step(*want)
    for got, expected in zip(run(U, V), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inside", [np.s_[1:-1], np.s_[5:], np.s_[:3]], ids=str)
def test_another_array_of_which_a_part_is_set(inside: slice) -> None:
    def body(u: Any, base: Any) -> Any:
        return base.at[inside].set(2 * u[inside] + 1)

    run = pb.jit(lambda u, base: lax.fori_loop(0, 3, lambda _, u: body(u, base), u))
    want = U[0].view(_Array)
    for _ in range(3):
        want = body(want, V[0].view(_Array))
    np.testing.assert_allclose(run(U[0], V[0]), want, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name, (_, alone) in STEPS.items() if alone])
def test_two_arrays_are_enough(name: str) -> None:
    step, _ = STEPS[name]
    program = compile_function(
        lambda u, v: lax.fori_loop(0, 5, lambda _, c: step(*c), (u, v)), U, V
    ).program
    inside = [s for loop in program.body if isinstance(loop, Loop) for s in walk((loop,))]
    assert not any(isinstance(s, Swap) for s in inside)
    assert not any(isinstance(s, Copy) and s.count > 100 for s in inside)
    assert program.arena_bytes < U.nbytes


# ------------------------------------------------------------------ windows at known places


def primitives(f: Callable[..., Any], *args: Any) -> str:
    return str(compile_function(f, *args).program)


@pytest.mark.parametrize("kind", ["add", "subtract", "multiply", "min", "max"])
@pytest.mark.parametrize(
    "window", [np.s_[1:-1, 1:-1], np.s_[:, 2:], np.s_[:55], np.s_[5:, :80]], ids=str
)
def test_a_known_window(kind: str, window: Any) -> None:
    y = RNG.normal(size=U[window].shape).astype(np.float32)
    f = {"multiply": np.multiply, "min": np.minimum, "max": np.maximum}.get(
        kind, np.add if kind == "add" else np.subtract
    )
    want = U.copy()
    want[window] = f(want[window], y)
    update = pb.jit(lambda u, y: getattr(u.at[window], kind)(y))
    np.testing.assert_array_equal(update(jnp.asarray(U), y), want)
    text = primitives(lambda u, y: getattr(u.at[window], kind)(y), U, y)
    assert "if " not in text  # nothing asks whether the window is inside


def test_a_window_of_a_loop_and_its_gradient() -> None:
    def run(y: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            return c.at[1:-1, 1:-1].add(jnp.sin(y) * c[:-2, 2:]), None

        return lax.scan(body, jnp.asarray(U), None, length=3)[0].sum()

    y = jnp.asarray(V[1:-1, 1:-1])
    got = pb.jit(pb.grad(run))(y)
    with pb.disable_jit():
        want = pb.grad(run)(y)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_places_that_differ_are_different_programs() -> None:
    y = np.ones((50, 80), np.float32)
    for k in range(4):
        want = U.copy()
        want[k : k + 50, k : k + 80] += y
        got = pb.jit(lambda u, k=k: u.at[k : k + 50, k : k + 80].add(y))(jnp.asarray(U))
        np.testing.assert_array_equal(got, want)
