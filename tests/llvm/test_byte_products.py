"""Products of matrices of bytes are exact in 32 bits, whatever kernel computes them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import lax
from pullback.llvm import library

PAIRS = list(itertools.product((np.int8, np.uint8), repeat=2))
NAMES = ("s8s8", "s8u8", "u8s8", "u8u8")
ENDS = list(itertools.product((0, 1), repeat=2))
SHAPES = [
    (8, 64, 16), (33, 65, 17), (130, 64, 100), (64, 512, 64), (37, 1, 53),
    (9, 1025, 70), (32, 31, 32), (100, 2000, 40), (16, 200, 15),
]  # fmt: skip


def _bytes(rng: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def _check(x: Any, y: Any, turned: tuple[bool, bool]) -> None:
    """The product of stacks of matrices, which are stored by columns where they are `turned`."""
    stored = [z.swapaxes(1, 2).copy() if t else z for z, t in zip((x, y), turned, strict=True)]
    axes = ((1 if turned[0] else 2,), (2 if turned[1] else 1,))
    product = pb.jit(
        lambda a, b: lax.dot_general(a, b, (axes, ((0,), (0,))), preferred_element_type=np.int32)
    )
    assert np.array_equal(product(*stored), x.astype(np.int64) @ y.astype(np.int64))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lanes", [1, 3])
def test_random_bytes(pair: tuple[Any, Any], shape: tuple[int, int, int], lanes: int) -> None:
    rng, (m, k, n) = np.random.default_rng(sum(shape)), shape
    x, y = _bytes(rng, pair[0], (lanes, m, k)), _bytes(rng, pair[1], (lanes, k, n))
    for turned in itertools.product((False, True), repeat=2):
        _check(x, y, turned)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("ends", ENDS)
def test_largest_and_smallest_numbers_do_not_saturate(
    pair: tuple[Any, Any], ends: tuple[int, int]
) -> None:
    numbers = [(np.iinfo(d).min, np.iinfo(d).max)[e] for d, e in zip(pair, ends, strict=True)]
    x = np.full((1, 40, 3000), numbers[0], pair[0])
    y = np.full((1, 3000, 33), numbers[1], pair[1])
    _check(x, y, (False, False))


@pytest.mark.parametrize(("pair", "name"), list(zip(PAIRS, NAMES, strict=True)))
def test_large_products_call_the_kernel_of_this_machine(pair: tuple[Any, Any], name: str) -> None:
    x, y = np.ones((64, 64), pair[0]), np.ones((64, 64), pair[1])
    numbers = (((1,), (0,)), ((), ()))
    product = pb.jit(lambda x, y: lax.dot_general(x, y, numbers, preferred_element_type=np.int32))
    symbol = f"pb_tiles_{name}"
    assert (symbol in product.lower(x, y).as_text("loops")) == library.has(symbol)
