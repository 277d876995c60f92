"""`jax.extend.random`: generators as objects, and the block function of Threefry."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import pullback.numpy as jnp
from pullback import random
from pullback.core.element_types import KeyDtype
from pullback.errors import UnsupportedError
from pullback.ops.rng import threefry2x32 as threefry2x32_p
from pullback.transforms.mapping import vmap

__all__ = [
    "define_prng_impl",
    "random_seed",
    "rbg_prng_impl",
    "seed_with_impl",
    "threefry2x32_p",
    "threefry_2x32",
    "threefry_prng_impl",
    "unsafe_rbg_prng_impl",
]

threefry_prng_impl = KeyDtype("fry")
rbg_prng_impl = KeyDtype("rbg")
unsafe_rbg_prng_impl = KeyDtype("urbg")


def define_prng_impl(
    *,
    key_shape: tuple[int, ...],
    seed: Callable[..., Any],
    split: Callable[..., Any],
    random_bits: Callable[..., Any],
    fold_in: Callable[..., Any],
    name: str = "<unnamed>",
    tag: str = "?",
) -> Hashable:
    """Unsupported: a generator of the user's own."""
    raise UnsupportedError("define_prng_impl: generators of users' own are not supported")


def seed_with_impl(impl: Any, seed: Any) -> Any:
    """The key of a seed, for one of the generators here."""
    return random.key(seed, dtype=impl)


def random_seed(seeds: Any, impl: Any) -> Any:
    """The keys of an array of seeds."""
    seeds = jnp.asarray(seeds)
    keys = vmap(lambda seed: random.key(seed, dtype=impl))(seeds.ravel())
    return keys.reshape(seeds.shape)


def threefry_2x32(keypair: Any, count: Any) -> Any:
    """The block function on an array of counters, whose halves are the words of the blocks."""
    first, second = keypair
    flat = jnp.ravel(count)
    padded = jnp.pad(flat, (0, flat.size % 2)) if flat.size % 2 else flat
    half = padded.size // 2
    words = threefry2x32_p.bind(first, second, padded[:half], padded[half:])
    return jnp.concatenate(words)[: flat.size].reshape(jnp.shape(count))
