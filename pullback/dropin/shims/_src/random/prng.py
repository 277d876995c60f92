"""`jax._src.random.prng`: keys of generators, and what is done with them."""

from __future__ import annotations

from typing import Any, Final

from pullback import random
from pullback.core.element_types import GENERATORS, KeyDtype
from pullback.dropin.shims.extend.random import random_seed, seed_with_impl
from pullback.ops import rng

__all__ = [
    "KeyTy",
    "prngs",
    "random_bits",
    "random_fold_in",
    "random_seed",
    "random_split",
    "random_unwrap",
    "random_wrap",
    "seed_with_impl",
]

KeyTy = KeyDtype

prngs: Final = {name: KeyDtype(tag) for tag, (name, _) in GENERATORS.items()}
"""Generators by name."""


def random_bits(keys: Any, bit_width: int, shape: tuple[int, ...]) -> Any:
    """Unsigned numbers of a width."""
    return random.bits(keys, shape, dtype=f"uint{bit_width}")


def random_fold_in(keys: Any, msgs: Any) -> Any:
    """A key with a number folded in."""
    return random.fold_in(keys, msgs)


def random_split(keys: Any, shape: tuple[int, ...]) -> Any:
    """An array of new keys."""
    return random.split(keys, shape)


def random_unwrap(keys: Any) -> Any:
    """The words of keys."""
    return rng.random_unwrap(keys)


def random_wrap(base_arr: Any, *, impl: Any) -> Any:
    """The keys of words."""
    return random.wrap_key_data(base_arr, impl=impl)
