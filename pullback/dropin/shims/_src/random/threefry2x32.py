"""`jax._src.random.threefry2x32`: Threefry, with blocks of two words."""

from __future__ import annotations

from typing import Any

from pullback import random
from pullback.dropin.shims.extend.random import (
    threefry2x32_p,
    threefry_2x32,
    threefry_prng_impl,
)

__all__ = [
    "threefry2x32_p",
    "threefry_2x32",
    "threefry_fold_in",
    "threefry_prng_impl",
    "threefry_random_bits",
    "threefry_seed",
    "threefry_split",
]


def _key(words: Any) -> Any:
    return random.wrap_key_data(words, impl=threefry_prng_impl)


def threefry_seed(seed: Any) -> Any:
    """The words of the key of a seed."""
    return random.key_data(random.key(seed, impl=threefry_prng_impl))


def threefry_split(key: Any, shape: tuple[int, ...]) -> Any:
    """The words of new keys."""
    return random.key_data(random.split(_key(key), shape))


def threefry_fold_in(key: Any, data: Any) -> Any:
    """The words of a key with a number folded in."""
    return random.key_data(random.fold_in(_key(key), data))


def threefry_random_bits(key: Any, bit_width: int, shape: tuple[int, ...]) -> Any:
    """Unsigned numbers of a width."""
    return random.bits(_key(key), shape, dtype=f"uint{bit_width}")
