"""Random bits from counters: `rng_bit_generator`, and the stateful `rng_uniform`.

The state of a generator is four 32-bit words: a key of two, and a 64-bit counter.  Philox-4x32
(ten rounds) gives four words for each counter, Threefry-2x32 two; both return the state with the
counter behind those used.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.composite import composite
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.effects import IO
from pullback.core.primitive import (
    FIRST_ORDER,
    NO_SAMPLES,
    NotApplicable,
    Primitive,
    Sample,
)
from pullback.ops import conversion, elementwise, rng, slicing, structural
from pullback.ops.kinds import NONLINEAR

__all__ = ["RandomAlgorithm", "draw", "philox_words", "rng_bit_generator", "rng_uniform"]


class RandomAlgorithm(enum.IntEnum):
    """The generator of `rng_bit_generator`; the default one is Philox."""

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2


_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_U32: Final = np.dtype(np.uint32)


def _like(value: int, x: Any) -> Any:
    shape = aval_of(x).shape
    return structural.broadcast_in_dim(
        np.uint32(value), shape=shape, broadcast_dimensions=(), sharding=None
    )


def philox_words(key: Sequence[Any], counter: Sequence[Any]) -> list[Any]:
    """The four words that Philox-4x32 makes of a key of two words and a counter of four."""
    e = elementwise
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for number in range(_ROUNDS):
        if number:
            k0, k1 = e.add(k0, _like(_WEYL[0], k0)), e.add(k1, _like(_WEYL[1], k1))
        m0, m1 = _like(_MULTIPLIERS[0], x0), _like(_MULTIPLIERS[1], x2)
        high0, low0, high1, low1 = e.mulhi(m0, x0), e.mul(m0, x0), e.mulhi(m1, x2), e.mul(m1, x2)
        x0, x1, x2, x3 = e.xor(e.xor(high1, x1), k0), low1, e.xor(e.xor(high0, x3), k1), low0
    return [x0, x1, x2, x3]


def _word(state: Any, k: int, n: int) -> Any:
    """Word number `k` of a state, `n` times."""
    one = slicing.slice_(state, start_indices=(k,), limit_indices=(k + 1,), strides=None)
    return structural.broadcast_in_dim(one, shape=(n,), broadcast_dimensions=(0,), sharding=None)


def _counters(state: Any, n: int) -> tuple[Any, Any]:
    """The words of the counter of a state, and of the n - 1 behind it."""
    low, high = _word(state, 2, n), _word(state, 3, n)
    steps = structural.iota(dtype=_U32, shape=(n,), dimension=0, sharding=None)
    moved = elementwise.add(low, steps)
    carry = conversion.convert(elementwise.lt(moved, low), _U32)
    return moved, elementwise.add(high, carry)


def _behind(state: Any, blocks: int) -> Any:
    """The state after `blocks` counters."""
    low = _word(state, 2, 1)
    moved = elementwise.add(low, _like(blocks & 0xFFFFFFFF, low))
    carry = conversion.convert(elementwise.lt(moved, low), _U32)
    high = elementwise.add(_word(state, 3, 1), _like(blocks >> 32, low))
    words = (_word(state, 0, 1), _word(state, 1, 1), moved, elementwise.add(high, carry))
    return structural.concatenate(*words, dimension=0)


def _bits(
    state: Any, *, shape: tuple[int, ...], dtype: Any, algorithm: Any, out_sharding: Any = None
) -> list[Any]:
    aval = aval_of(state)
    if aval.dtype != _U32 or aval.shape != (4,):
        raise TypeError(f"rng_bit_generator: a state is uint32[4], got {aval.str_short()}")
    dtype = np.dtype(dtype)
    if dtype.kind != "u":
        raise TypeError(f"rng_bit_generator makes unsigned integers, not {dtype}")
    size = math.prod(shape)
    wanted = size * max(dtype.itemsize // 4, 1)
    threefry = algorithm == RandomAlgorithm.RNG_THREE_FRY
    per_block = 2 if threefry else 4
    blocks = -(-wanted // per_block)
    low, high = _counters(state, blocks)
    key = _word(state, 0, blocks), _word(state, 1, blocks)
    words = rng.threefry2x32(*key, low, high) if threefry else philox_words(key, (low, high, *key))
    columns = [
        structural.broadcast_in_dim(w, shape=(blocks, 1), broadcast_dimensions=(0,), sharding=None)
        for w in words
    ]
    flat = _reshaped(structural.concatenate(*columns, dimension=1), (blocks * per_block,))
    flat = slicing.slice_(flat, start_indices=(0,), limit_indices=(wanted,), strides=None)
    return [_behind(state, blocks), _reshaped(_as_dtype(flat, dtype), shape)]


def _reshaped(x: Any, shape: tuple[int, ...]) -> Any:
    return structural.reshape(x, new_sizes=shape, dimensions=None, sharding=None)


def _as_dtype(words: Any, dtype: np.dtype[Any]) -> Any:
    """Words as numbers of a type: the low bits of one, or two together, the low one first."""
    if dtype.itemsize <= 4:
        return conversion.convert(words, dtype)
    (n,) = aval_of(words).shape
    low, high = (
        conversion.convert(
            slicing.slice_(words, start_indices=(k,), limit_indices=(n - 1 + k,), strides=(2,)),
            dtype,
        )
        if n
        else conversion.convert(words, dtype)
        for k in (0, 1)
    )
    places = structural.broadcast_in_dim(
        dtype.type(32), shape=aval_of(high).shape, broadcast_dimensions=(), sharding=None
    )
    return elementwise.or_(low, elementwise.shift_left(high, places))


def _samples() -> Iterator[Sample]:
    state = np.array([1, 2, 0xFFFFFFFE, 4], np.uint32)
    for algorithm in RandomAlgorithm:
        for shape, dtype in (((3,), "uint32"), ((2, 5), "uint8"), ((7,), "uint64"), ((), "uint16")):
            params = {"shape": shape, "dtype": np.dtype(dtype), "algorithm": algorithm}
            yield Sample((state,), {**params, "out_sharding": None}, smooth=False)


rng_bit_generator: Final[Primitive] = composite(
    "rng_bit_generator", _bits, samples=_samples, multiple_results=True
)


# --------------------------------------------------------------------------- with a state

_stateful: Final = np.random.default_rng()


def draw(low: Any, high: Any, shape: tuple[int, ...]) -> Any:
    """Uniform numbers in [low, high), from the state of the process."""
    kind = low.dtype
    if kind.kind in "iu":
        return _stateful.integers(low, high, shape, kind)
    return (low + (high - low) * _stateful.random(shape)).astype(kind)


def _uniform_abstract(low: Any, high: Any, *, shape: tuple[int, ...]) -> ShapedArray:
    if low.shape or high.shape or low.dtype != high.dtype:
        raise ValueError(f"rng_uniform: the bounds are scalars of one dtype, got {low} and {high}")
    return ShapedArray(shape, low.dtype)


rng_uniform: Final[Primitive] = Primitive(
    name="rng_uniform",
    abstract=_uniform_abstract,
    reference=lambda low, high, *, shape: draw(low, high, shape),
    jvp=NotApplicable("jvp of rng_uniform", "it has no derivative"),
    transpose=NONLINEAR,
    batch=NotApplicable("batching of rng_uniform", "use jax.random"),
    partial_eval=FIRST_ORDER,
    lower=NotApplicable(
        "rng_uniform_p in a compiled program", "lax.rng_uniform calls back, which can be compiled"
    ),
    hlo=NotApplicable("hlo of rng_uniform", "lax.rng_uniform calls back into Python"),
    samples=NO_SAMPLES,
    multiple_results=False,
    effects=lambda **_: frozenset((IO,)),
    literals=False,
)
