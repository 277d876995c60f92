"""Generators and layouts: Threefry in halves, `rbg`, `unsafe_rbg`, bit by bit those of JAX."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import random

IMPLS = ["threefry2x32", "rbg", "unsafe_rbg"]


def _data(keys: Any) -> Any:
    return np.asarray(random.key_data(keys))


def _theirs(keys: Any) -> Any:
    return np.asarray(jax.random.key_data(keys))


@pytest.mark.parametrize("impl", IMPLS)
def test_keys_and_bits_are_those_of_jax(impl: str) -> None:
    ours, theirs = random.key(7, impl=impl), jax.random.key(7, impl=impl)
    np.testing.assert_array_equal(_data(ours), _theirs(theirs))
    np.testing.assert_array_equal(random.PRNGKey(7, impl=impl), _theirs(theirs))
    np.testing.assert_array_equal(
        _data(random.split(ours, 3)), _theirs(jax.random.split(theirs, 3))
    )
    np.testing.assert_array_equal(
        _data(random.fold_in(ours, 5)), _theirs(jax.random.fold_in(theirs, 5))
    )
    for shape, dtype in (((5,), "uint32"), ((2, 3), "uint8")):
        want = jax.random.bits(theirs, shape, dtype)
        np.testing.assert_array_equal(random.bits(ours, shape, dtype), want)
    np.testing.assert_allclose(
        random.normal(ours, (4,)), jax.random.normal(theirs, (4,)), rtol=2e-5
    )
    assert random.key_impl(ours) == impl
    assert ours.dtype == random.key_dtype(impl)


@pytest.mark.parametrize("impl", IMPLS)
def test_compiled_keys_are_the_same(impl: str) -> None:
    def f(seed: Any) -> Any:
        keys = random.split(random.fold_in(random.key(seed, impl=impl), 3), 4)
        keys = jnp.concatenate([keys[::-1], keys[:1]])
        last, rows = pb.lax.scan(lambda c, k: (k, random.uniform(k, (2,))), keys[0], keys)
        chosen = pb.lax.cond(seed > 3, lambda: last, lambda: keys[1])
        return random.key_data(chosen), rows, random.key_data(keys)

    for eager, compiled in zip(f(5), pb.jit(f)(5), strict=True):
        np.testing.assert_array_equal(eager, compiled)


@pytest.mark.parametrize("impl", IMPLS)
def test_lanes_have_the_bits_that_they_have_alone(impl: str) -> None:
    keys = random.split(random.key(1, impl=impl), 3)
    for f in (
        lambda k: random.bits(k, (5,)),
        lambda k: random.key_data(random.split(k, 2)),
        lambda k: random.key_data(random.fold_in(k, 9)),
        lambda k: random.gamma(k, 2.5, (3,)),
        lambda k: (
            random.poisson(k, 20.0, (3,)) if impl == "threefry2x32" else random.permutation(k, 6)
        ),
    ):
        alone = np.stack([np.asarray(f(keys[i])) for i in range(3)])
        np.testing.assert_array_equal(pb.vmap(f)(keys), alone)
        np.testing.assert_array_equal(pb.jit(pb.vmap(f))(keys), alone)


def test_bits_are_uniform() -> None:
    for impl in IMPLS:
        key = random.key(3, impl=impl)
        words = np.asarray(random.bits(key, (20_000,)))
        share = np.unpackbits(words.view(np.uint8)).mean()
        assert abs(share - 0.5) < 0.004
        counts = np.bincount(words >> 24, minlength=256)
        assert ((counts - 20_000 / 256) ** 2 / (20_000 / 256)).sum() < 360  # 1 in 100,000


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_layout_in_halves_is_that_of_jax(width: int) -> None:
    with (
        pb.threefry_partitionable(False),
        jax.threefry_partitionable(False),
        pb.enable_x64(width == 64),
        jax.enable_x64(width == 64),
    ):
        ours, theirs = random.key(7), jax.random.key(7)
        for shape in ((), (5,), (2, 3)):
            dtype = f"uint{width}"
            want = jax.random.bits(theirs, shape, dtype)
            np.testing.assert_array_equal(random.bits(ours, shape, dtype), want)
            got = pb.jit(lambda k, s=shape, d=dtype: random.bits(k, s, d))(ours)
            np.testing.assert_array_equal(got, want)
        for n in (1, 2, 5):
            want = _theirs(jax.random.split(theirs, n))
            np.testing.assert_array_equal(_data(random.split(ours, n)), want)


def test_the_default_generator() -> None:
    with pb.default_prng_impl("rbg"):
        assert random.PRNGKey(0).shape == (4,)
        assert random.key(0).dtype == random.key_dtype("rbg")
        assert random.normal(random.PRNGKey(0)).shape == ()
    with pytest.raises(ValueError, match="unrecognized"):
        random.key(0, impl="dice")
    with pytest.raises(TypeError, match=r"shape to end with \(2,\); got shape=\(4,\)"):
        random.wrap_key_data(jnp.arange(4, dtype="uint32"))
    wrapped = random.wrap_key_data(jnp.arange(4, dtype="uint32"), impl="rbg")
    assert _data(wrapped).tolist() == [0, 1, 2, 3]
    assert repr(wrapped) == "Array((), dtype=key<rbg>) overlaying:\n[0 1 2 3]"
    assert _data(random.clone(wrapped)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("impl", IMPLS)
def test_keys_are_equal_by_their_bits(impl: str) -> None:
    bad = jnp.array([0xFFFFFFFF] * random.key_dtype(impl).words, "uint32")  # halves that are NaN
    same, other = random.wrap_key_data(bad, impl=impl), random.key(1, impl=impl)
    keys = jnp.stack([same, other])
    for run in (lambda f: f, pb.jit):
        assert run(lambda a, b: a == b)(keys, same).tolist() == [True, False]
        assert run(lambda a, b: a != b)(keys, same).tolist() == [False, True]
        assert run(jnp.array_equal)(keys, keys).item()
    with pytest.raises(TypeError):
        _ = same == 1
    with pytest.raises(TypeError):
        _ = same < other
    if impl != "rbg":
        with pytest.raises(TypeError):
            _ = same == random.key(1, impl="rbg")
