"""Whole programs: compiled code against the references of the primitives."""

from __future__ import annotations

import numpy as np
import pytest

from pullback.core.avals import aval_of
from pullback.transforms.staging import stage
from tests.loops.harness import Compiled
from tests.loops.programs import interpret, program

SHAPES = {"small": (1, 2, 3, 5, 8, 17), "medium": (1, 3, 8, 31, 64), "large": (2, 16, 33, 100)}


def check(seed: int, steps: int, extents: tuple[int, ...], vector_bits: int | None) -> None:
    fun, args = program(seed, steps, extents)
    closed = stage(fun, [aval_of(x) for x in args])
    expected = interpret(closed, args)
    actual = Compiled(closed, vector_bits)(*args)
    for got, want in zip(actual, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", SHAPES)
def test_random_programs(name: str, seed: int) -> None:
    check(seed, 8 if name == "small" else 14, SHAPES[name], None)


@pytest.mark.parametrize("seed", range(100, 108))
@pytest.mark.parametrize("vector_bits", [128, 256])
def test_random_programs_with_narrow_vectors(vector_bits: int, seed: int) -> None:
    check(seed, 10, SHAPES["small"], vector_bits)
