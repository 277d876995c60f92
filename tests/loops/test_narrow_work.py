"""Wide results of narrow work: vectors are of what most operations work on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax, random
from pullback.loops.expr import Load
from pullback.loops.ir import Loop, Program, Store, subexpressions, walk
from tests.loops.harness import compile_function

RNG = np.random.default_rng(0)
N = 20_000
KEYS = RNG.integers(0, 1 << 32, N, dtype=np.uint32)


def widths(program: Program) -> list[int]:
    return [
        s.extent.const // s.width and s.width for s in walk(program.body) if isinstance(s, Loop)
    ]


def test_random_bits_beside_positions_fill_vectors() -> None:
    """Threefry works on 32 bits, its results are stored beside positions, as 64."""

    def shuffled(x: Any) -> Any:
        key = random.wrap_key_data(x)
        return lax.sort((random.bits(key, (N,)), lax.iota(np.int32, N)), num_keys=1)[1]

    program = compile_function(shuffled, np.array([1, 2], np.uint32))
    assert 8 not in widths(program.program)
    bits = random.bits(random.wrap_key_data(np.array([1, 2], np.uint32)), (N,))
    (got,) = program(np.array([1, 2], np.uint32))
    np.testing.assert_array_equal(got, np.argsort(np.asarray(bits), kind="stable"))


def test_wide_work_keeps_wide_vectors() -> None:
    x = RNG.integers(0, 1 << 62, N, dtype=np.uint64)
    with pb.enable_x64(True):
        chain = lambda x: (x ^ (x << 13)) * 3 + (x >> 7) * 5 + (x ^ 9) * 7 + (x >> 3)  # noqa: E731
        program = compile_function(lambda x: chain(chain(x)), x)
    assert widths(program.program) == [8]


def test_positions_sorted_along_are_not_stored() -> None:
    def order(keys: Any) -> Any:
        return lax.sort((keys, lax.iota(np.int32, N)), num_keys=1)[1]

    program = compile_function(order, KEYS)
    (out,) = (
        s
        for s in walk(program.program.body)
        if isinstance(s, Store) and s.buffer.root().kind == "out"
    )
    assert sum(type(e) is Load for e in subexpressions([out.value])) == 1  # of the order alone
    np.testing.assert_array_equal(program(KEYS)[0], np.argsort(KEYS, kind="stable"))


def test_permutations_are_those_of_jax() -> None:
    ours = random.permutation(random.key(3), N)
    theirs = jax.random.permutation(jax.random.key(3), N)
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert sorted(np.asarray(ours).tolist()) == list(range(N))
    assert jnp.asarray(ours).dtype == np.int32


@pytest.mark.parametrize(("shape", "axis"), [((0, 3), 0), ((0, 3), 1), ((3, 0), 0), ((3, 0), 1)])
def test_permutations_of_nothing(shape: tuple[int, ...], axis: int) -> None:
    assert random.permutation(random.key(0), jnp.zeros(shape), axis).shape == shape
