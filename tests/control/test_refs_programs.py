"""Random programs that write to references, against the same programs on NumPy arrays."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax

add_to: Any = pb.ref.addupdate
swapped: Any = pb.ref.swap
SIMPLE = ["set", "add", "swap", "rows", "read"]
NESTED = ["scan", "while", "cond", "jit"]


@dataclass(frozen=True)
class Op:
    """One step of a program: `a` and `b` are positions, `c` a factor, `n` a number of turns."""

    kind: str
    a: int
    b: int
    c: float
    n: int
    inner: tuple[Op, ...]


def program(rnd: random.Random, depth: int = 0) -> tuple[Op, ...]:
    ops = []
    for _ in range(rnd.randint(1, 4)):
        kind = rnd.choice(SIMPLE if depth == 2 else SIMPLE + NESTED)
        inner = program(rnd, depth + 1) if kind in NESTED else ()
        a, b, n = rnd.randint(0, 4), rnd.randint(0, 4), rnd.randint(1, 3)
        ops.append(Op(kind, a, b, round(rnd.uniform(-1, 1), 2), n, inner))
    return tuple(ops)


def traced(ops: tuple[Op, ...], r: Any, s: Any, x: Any, i: Any) -> Any:
    for op in ops:
        a, b, c = op.a, op.b, op.c
        if op.kind == "set":
            r[(a + i) % 5] = s[b] * c + x
        elif op.kind == "add":
            add_to(s, b, r[a] * c + x)
        elif op.kind == "swap":
            x = x + swapped(r, a, s[b])
        elif op.kind == "rows":
            r[1:4] = r[np.array([b, a, 2])] * c
        elif op.kind == "read":
            x = jnp.tanh(x + r[b])
        else:
            x = nested(op, r, s, x, i)
    return x


def nested(op: Op, r: Any, s: Any, x: Any, i: Any) -> Any:
    if op.kind == "jit":
        return pb.jit(lambda q: traced(op.inner, r, s, q, 0))(x)
    if op.kind == "cond":
        taken = r[op.a] > s[op.b]
        return lax.cond(taken, lambda q: traced(op.inner, r, s, q, i), lambda q: q * op.c, x)
    if op.kind == "scan":
        turns = jnp.arange(op.n)
        return lax.scan(lambda q, j: (traced(op.inner, r, s, q, j), None), x, turns)[0]
    return lax.while_loop(
        lambda q: (q[0] < op.n) & (r[op.a] < 5.0),
        lambda q: (q[0] + 1, traced(op.inner, r, s, q[1], q[0])),
        (0, x),
    )[1]


def by_hand(ops: tuple[Op, ...], r: Any, s: Any, x: Any, i: int) -> Any:
    for op in ops:
        a, b, c = op.a, op.b, op.c
        if op.kind == "set":
            r[(a + i) % 5] = s[b] * c + x
        elif op.kind == "add":
            s[b] += r[a] * c + x
        elif op.kind == "swap":
            r[a], x = s[b], x + r[a]
        elif op.kind == "rows":
            r[1:4] = r[[b, a, 2]] * c
        elif op.kind == "read":
            x = np.tanh(x + r[b])
        elif op.kind == "jit":
            x = by_hand(op.inner, r, s, x, 0)
        elif op.kind == "cond":
            x = by_hand(op.inner, r, s, x, i) if r[a] > s[b] else x * c
        else:
            for j in range(op.n):
                if op.kind == "while" and not r[a] < 5.0:
                    break
                x = by_hand(op.inner, r, s, x, j)
    return x


@pytest.mark.parametrize("seed", range(10))
def test_random_programs(seed: int) -> None:
    ops = program(random.Random(seed))
    weights = np.arange(1.0, 6.0)

    def ours(v: Any) -> Any:
        r, s = pb.new_ref(v[:5]), pb.new_ref(v[5:])
        x = traced(ops, r, s, 0.3 * v[0], 0)
        return x + (r[...] * weights).sum() + (pb.freeze(s) ** 2).sum()

    def theirs(v: Any) -> float:
        r, s = v[:5].copy(), v[5:].copy()
        x = by_hand(ops, r, s, 0.3 * v[0], 0)
        return float(x + (r * weights).sum() + (s**2).sum())

    rng = np.random.default_rng(seed)
    v, direction = rng.normal(size=10), rng.normal(size=10)
    with pb.enable_x64(True):
        want = theirs(v)
        for f in (ours, pb.jit(ours)):
            np.testing.assert_allclose(f(v), want, rtol=1e-9)
        lanes = pb.vmap(ours)(np.stack([v, 0.9 * v]))
        np.testing.assert_allclose(lanes, [want, theirs(0.9 * v)], rtol=1e-9)
        slope = (theirs(v + 1e-6 * direction) - theirs(v - 1e-6 * direction)) / 2e-6
        _, forward = pb.jvp(ours, (v,), (direction,))
        np.testing.assert_allclose(forward, slope, rtol=1e-4, atol=1e-5)
        reverse = np.asarray(pb.jit(pb.grad(ours))(v)) @ direction
        np.testing.assert_allclose(reverse, forward, rtol=1e-8, atol=1e-10)
