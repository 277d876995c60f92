"""The loops of a few tiny programs, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pullback import lax
from pullback import numpy as jnp
from pullback.core.avals import ShapedArray
from pullback.loops.program import lower_program
from pullback.loops.text import program_text
from pullback.transforms.staging import stage

Array = Any
F32 = np.dtype("float32")


def softmax(x: Array) -> Array:
    e = jnp.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layer_norm(x: Array) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    variance = (centred * centred).mean(axis=1, keepdims=True)
    return centred * lax.rsqrt(variance + 1e-5)


def adam(p: Array, g: Array, m: Array, v: Array) -> list[Array]:
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return [p - 0.001 * m / (jnp.sqrt(v) + 1e-8), m, v]


def in_place(x: Array) -> Array:
    return lax.fori_loop(0, 100, lambda i, c: c.at[i].set(c[i] * 2.0), x)


def recurrence(h: Array, xs: Array) -> Array:
    def step(h: Array, x: Array) -> tuple[Array, Array]:
        h = h * 0.5 + x
        return h, h.sum()

    return list(lax.scan(step, h, xs))


PROGRAMS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "elementwise": (lambda x, y: jnp.sin(x) * y + 1.0, [(5, 7), (5, 7)]),
    "sum_all": (lambda x: (x * x).sum(), [(512, 512)]),
    "sum_columns": (lambda x: x.sum(axis=0), [(512, 512)]),
    "softmax": (softmax, [(64, 100)]),
    "softmax_of_short_rows": (softmax, [(100, 3)]),
    "layer_norm": (layer_norm, [(64, 96)]),
    "adam": (adam, [(33,)] * 4),
    "transpose": (lambda x: x.T + 1.0, [(128, 256)]),
    "pad_and_concatenate": (
        lambda x: jnp.concatenate([jnp.pad(x, ((0, 0), (1, 2))), x], axis=1) * 2.0,
        [(40, 50)],
    ),
    "update_in_place": (in_place, [(100,)]),
    "recurrence": (recurrence, [(8,), (20, 8)]),
    "argmax": (lambda x: jnp.argmax(x, axis=1), [(6, 40)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops(name: str, golden: Callable[[str, str], None]) -> None:
    fun, shapes = PROGRAMS[name]

    def flat(*xs: Array) -> list[Array]:
        out = fun(*xs)
        return out if isinstance(out, list) else [out]

    closed = stage(flat, [ShapedArray(s, F32) for s in shapes])
    golden(name, program_text(lower_program(closed, vector_bits=512)))
