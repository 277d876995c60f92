"""The Threefry block function, its compiled form, and keys under transformations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback
from pullback import random
from pullback.ops import rng, sampling

# From the paper's reference implementation (Random123, kat_vectors, threefry2x32 with 20 rounds).
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "block"), KNOWN)
def test_known_answers(key: Any, counter: Any, block: Any) -> None:
    words = [np.uint32(w) for w in (*key, *counter)]
    for call in (rng.threefry2x32, pullback.jit(lambda *w: rng.threefry2x32(*w))):
        assert tuple(int(x) for x in call(*words)) == block


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_compiled_bits(dtype: str) -> None:
    for shape in [(), (3,), (4, 5)]:
        ours = pullback.jit(random.bits, static_argnums=(1, 2))(random.key(9), shape, dtype)
        theirs = jax.random.bits(jax.random.key(9), shape, dtype)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_wide_bits() -> None:
    with pullback.enable_x64(), jax.enable_x64():
        key = random.key(2**40 + 3)
        theirs = jax.random.key(2**40 + 3)
        np.testing.assert_array_equal(
            np.asarray(random.key_data(key)), np.asarray(jax.random.key_data(theirs))
        )
        expected = np.asarray(jax.random.bits(theirs, (5,), "uint64"))
        for f in (random.bits, pullback.jit(random.bits, static_argnums=(1, 2))):
            np.testing.assert_array_equal(np.asarray(f(key, (5,), "uint64")), expected)
        np.testing.assert_array_equal(
            np.asarray(random.uniform(key, (5,))), np.asarray(jax.random.uniform(theirs, (5,)))
        )


def test_compiled_keys() -> None:
    def program(seed: Any) -> Any:
        key = random.fold_in(random.key(seed), seed + 1)
        return random.key_data(random.split(key, (2, 3))), random.key_data(key)

    for ours in (program(5), pullback.jit(program)(5)):
        key = jax.random.fold_in(jax.random.key(5), 6)
        expected = jax.random.key_data(jax.random.split(key, (2, 3))), jax.random.key_data(key)
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def test_batched_keys_are_a_loop() -> None:
    ours, theirs = random.split(random.key(1), 4), jax.random.split(jax.random.key(1), 4)

    def program(library: Any, key: Any) -> Any:
        first, second = library.split(key)
        return library.normal(first, (3,)), library.bits(library.fold_in(second, 7), (2,))

    expected = jax.vmap(lambda k: program(jax.random, k))(theirs)
    batched = pullback.vmap(lambda k: program(random, k))
    for got in (batched(ours), pullback.jit(batched)(ours)):
        np.testing.assert_allclose(np.asarray(got[0]), np.asarray(expected[0]), rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(got[1]), np.asarray(expected[1]))
    gammas = pullback.vmap(lambda k, a: random.gamma(k, a, (3,)), (0, None))(ours, 0.5)
    theirs_too = jax.vmap(lambda k, a: jax.random.gamma(k, a, (3,)), (0, None))(theirs, 0.5)
    np.testing.assert_allclose(np.asarray(gammas), np.asarray(theirs_too), rtol=1e-5)


def test_old_and_new_keys_through_jit() -> None:
    f = pullback.jit(lambda key: random.uniform(key, (3,)))
    np.testing.assert_array_equal(np.asarray(f(random.key(3))), np.asarray(f(random.PRNGKey(3))))


def test_gamma_gradient() -> None:
    def mean(library: Any, key: Any, a: Any) -> Any:
        return library.gamma(key, a, (64,)).mean() + library.loggamma(key, a, (64,)).mean()

    for a in (0.5, 3.0):
        ours = pullback.grad(lambda a: mean(random, random.key(0), a))(a)
        theirs = jax.grad(lambda a: mean(jax.random, jax.random.key(0), a))(a)
        np.testing.assert_allclose(float(ours), float(theirs), rtol=1e-3)


def test_uniform_is_differentiable_in_its_limits() -> None:
    def total(low: Any, high: Any) -> Any:
        return random.uniform(random.key(0), (5,), minval=low, maxval=high).sum()

    low, high = pullback.grad(total, (0, 1))(-1.0, 2.0)
    u = np.asarray(random.uniform(random.key(0), (5,)))
    np.testing.assert_allclose(float(high), u.sum(), rtol=1e-5)
    np.testing.assert_allclose(float(low), (1 - u).sum(), rtol=1e-5)


def test_erf_inv_giles_inverts_erf() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-0.999, 0.999, 101).astype(np.float32)
    y = np.asarray(sampling.erf_inv_giles(x))
    np.testing.assert_allclose(special.erf(y.astype(np.float64)), x, atol=2e-7)
    ends = np.asarray(sampling.erf_inv_giles(np.array([-1, 1], np.float32)))
    np.testing.assert_array_equal(ends, [-np.inf, np.inf])
