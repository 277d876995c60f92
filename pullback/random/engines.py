"""What keys of each generator give: bits, new keys, keys with a number folded in.

- `threefry2x32`: Threefry-2x32 of a counter. With `jax_threefry_partitionable` (the default) the
  counter of an element is its index; without it, all counters are cut in halves that are the two
  words of the blocks, as older versions of JAX do.
- `rbg`: bits by Philox-4x32 (`lax.rng_bit_generator`, the key being its state); keys are split and
  folded as two Threefry keys side by side.
- `unsafe_rbg`: bits likewise; new keys are bits as well, each the first four words of ten blocks,
  and folding in a number is exclusive or with bits of the key of that number.

Under `vmap` each lane has the bits that it has alone, for all three.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.control import generators
from pullback.core.avals import aval_of
from pullback.core.dtypes import KEY, KeyDtype
from pullback.ops import conversion, elementwise, rng, slicing, structural

__all__ = ["as_threefry", "bits_of", "fold_keys", "seeded", "split_keys"]

_U32: Final = np.dtype(np.uint32)
_BLOCKS_PER_KEY: Final = 10


def _reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    return structural.reshape(x, new_sizes=shape, dimensions=None, sharding=None)


def _part(x: Any, start: int, stop: int) -> Any:
    """Elements of the last axis."""
    shape = aval_of(x).shape
    return slicing.slice_(
        x,
        start_indices=(*(0 for _ in shape[1:]), start),
        limit_indices=(*shape[:-1], stop),
        strides=None,
    )


def _joined(*parts: Any) -> Any:
    """Arrays side by side along the last axis."""
    return structural.concatenate(*parts, dimension=len(aval_of(parts[0]).shape) - 1)


# --------------------------------------------------------------------------- threefry, in halves


def _words(key: Any, n: int) -> Any:
    """`n` words of a key: the counters 0 to n - 1, in two halves."""
    data = rng.random_unwrap(key)
    blocks = -(-n // 2)
    count = np.arange(2 * blocks, dtype=np.uint32)
    if n % 2:
        count[-1] = 0
    first, second = (_reshaped(_part(data, k, k + 1), ()) for k in (0, 1))
    out = rng.threefry2x32(first, second, count[:blocks], count[blocks:])
    return _part(_joined(*out), 0, n)


def _bits_in_halves(key: Any, width: int, shape: tuple[int, ...]) -> Any:
    size = math.prod(shape)
    words = _words(key, -(-size * width // 32))
    if width == 64:
        high, low = (
            conversion.convert(_part(words, k * size, (k + 1) * size), np.dtype(np.uint64))
            for k in (0, 1)
        )
        places = np.full(size, 32, np.uint64)
        words = elementwise.or_(elementwise.shift_left(high, places), low)
    elif width < 32:
        words = _narrowed(words, width, size)
    return _reshaped(words, shape)


def _narrowed(words: Any, width: int, size: int) -> Any:
    """Numbers of 8 or 16 bits, several from each word, the low bits first."""
    (n,) = aval_of(words).shape
    per_word = 32 // width
    shape = (n, per_word)
    spread = structural.broadcast_in_dim(
        words, shape=shape, broadcast_dimensions=(0,), sharding=None
    )
    places = np.broadcast_to(np.arange(per_word, dtype=np.uint32) * np.uint32(width), shape)
    moved = elementwise.shift_right_logical(spread, np.ascontiguousarray(places))
    narrow = conversion.convert(moved, np.dtype(f"uint{width}"))
    return _part(_reshaped(narrow, (n * per_word,)), 0, size)


# --------------------------------------------------------------------------- all generators


def _tag_of(key: Any) -> str:
    dtype = aval_of(key).dtype
    if not isinstance(dtype, KeyDtype):
        raise TypeError(f"a random key is needed, got {aval_of(key)}")
    return dtype.tag


def seeded(seed: Any, tag: str) -> Any:
    """The key of a seed."""
    key = rng.random_seed(seed, impl="fry")
    if tag == "fry":
        return key
    data = rng.random_unwrap(key)
    return rng.random_wrap(_joined(data, data), impl=tag)


def bits_of(key: Any, width: int, shape: tuple[int, ...]) -> Any:
    """Unsigned numbers of `width` bits."""
    if aval_of(key).dtype is KEY:
        if config.threefry_partitionable():
            return rng.random_bits(key, bit_width=width, shape=shape)
        return _bits_in_halves(key, width, shape)
    return generators.rng_bit_generator.bind(
        rng.random_unwrap(key),
        shape=shape,
        dtype=np.dtype(f"uint{width}"),
        algorithm=generators.RandomAlgorithm.RNG_DEFAULT,
        out_sharding=None,
    )[1]


def split_keys(key: Any, shape: tuple[int, ...]) -> Any:
    """An array of new keys."""
    tag = _tag_of(key)
    if tag == "fry":
        if config.threefry_partitionable():
            return rng.random_split(key, shape=shape)
        words = _words(key, 2 * math.prod(shape))
        return rng.random_wrap(_reshaped(words, (*shape, 2)), impl=tag)
    if tag == "rbg":
        halves = [rng.random_unwrap(split_keys(k, shape)) for k in _halves(key)]
        return rng.random_wrap(_joined(*halves), impl=tag)
    rows = bits_of(key, 32, (math.prod(shape), 4 * _BLOCKS_PER_KEY))
    return rng.random_wrap(_reshaped(_part(rows, 0, 4), (*shape, 4)), impl=tag)


def fold_keys(key: Any, data: Any) -> Any:
    """A key with a number (uint32) folded in."""
    tag = _tag_of(key)
    if tag == "fry":
        return rng.random_fold_in(key, data)
    if tag == "rbg":
        halves = [rng.random_unwrap(rng.random_fold_in(k, data)) for k in _halves(key)]
        return rng.random_wrap(_joined(*halves), impl=tag)
    bits = bits_of(seeded(data, tag), 32, (4 * _BLOCKS_PER_KEY,))
    last = _part(bits, 4 * (_BLOCKS_PER_KEY - 1), 4 * _BLOCKS_PER_KEY)
    return rng.random_wrap(elementwise.xor(rng.random_unwrap(key), last), impl=tag)


def _halves(key: Any) -> list[Any]:
    """A key of four words as two Threefry keys."""
    data = rng.random_unwrap(key)
    return [rng.random_wrap(_part(data, k, k + 2), impl="fry") for k in (0, 2)]


def as_threefry(key: Any) -> Any:
    """A Threefry key that a key of any generator determines, for samplers that need one."""
    if aval_of(key).dtype is KEY:
        return key
    data = rng.random_unwrap(key)
    out = rng.random_wrap(_part(data, 0, 2), impl="fry")
    for k in (2, 3):
        out = rng.random_fold_in(out, _reshaped(_part(data, k, k + 1), ()))
    return out
