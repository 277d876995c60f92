"""Random bits: the Threefry-2x32 block function, and keys made from and consumed by it.

A key is two 32-bit words k0, k1; an array of keys holds them as one uint64 an element, k0 in the
low half, so that its memory is that of uint32[..., 2].  Element i of the bits that a key gives
depends on the key and on i alone (JAX's `jax_threefry_partitionable`), hence bits of any shape are
one element-wise computation that vectorises and fuses.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import is_symbolic
from pullback.core.dtypes import KEY, KeyDtype
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
    registry,
)
from pullback.ops.rearrange import move_to_front, moveaxis

__all__ = [
    "random_bits",
    "random_clone",
    "random_fold_in",
    "random_seed",
    "random_split",
    "random_unwrap",
    "random_wrap",
    "threefry2x32",
]

_U32: Final = np.dtype(np.uint32)
_U64: Final = np.dtype(np.uint64)
_PARITY: Final = 0x1BD11BDA
_ROTATIONS: Final = ((13, 15, 26, 6), (17, 29, 16, 24))

# --------------------------------------------------------------------------- the block function


class _NumPy:
    """The operations of the block function, on NumPy arrays."""

    @staticmethod
    def add(x: Any, y: Any) -> Any:
        return np.add(x, y, dtype=_U32)

    @staticmethod
    def xor(x: Any, y: Any) -> Any:
        return np.bitwise_xor(x, y, dtype=_U32)

    @staticmethod
    def rotate(x: Any, n: int) -> Any:
        return (x << _U32.type(n)) | (x >> _U32.type(32 - n))

    @staticmethod
    def const(value: int) -> Any:
        return _U32.type(value)


class _Compiled:
    """The same on scalar expressions of a `lower` rule."""

    def __init__(self, s: Any) -> None:
        self.s, self.add, self.xor = s, s.add, s.xor

    def rotate(self, x: Any, n: int) -> Any:
        s = self.s
        left = s.shift_left(x, s.const(n, _U32))
        return s.or_(left, s.shift_right_logical(x, s.const(32 - n, _U32)))

    def const(self, value: int) -> Any:
        return self.s.const(value, _U32)


def _threefry(o: Any, k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Twenty rounds on the block (x0, x1), the key injected after every four."""
    if isinstance(o, _Compiled) and o.s.whole_arrays:
        return _rolled(o, k0, k1, x0, x1)
    schedule = (k0, k1, o.xor(o.xor(k0, k1), o.const(_PARITY)))
    x0, x1 = o.add(x0, k0), o.add(x1, k1)
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = o.add(x0, x1)
            x1 = o.xor(o.rotate(x1, rotation), x0)
        x0 = o.add(x0, schedule[(group + 1) % 3])
        x1 = o.add(o.add(x1, schedule[(group + 2) % 3]), o.const(group + 1))
    return x0, x1


def _rolled(o: _Compiled, k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """The same as a loop: compilers that fuse whole arrays take very long for what is unrolled."""
    s = o.s

    def group(i: Any, x0: Any, x1: Any, *schedule: Any) -> list[Any]:
        even = s.eq(s.and_(i, 1), 0)
        first, second, third = schedule
        for one, other in zip(*_ROTATIONS, strict=True):
            left = s.select(even, o.const(one), o.const(other))
            x0 = o.add(x0, x1)
            turned = s.shift_right_logical(x1, s.sub(o.const(32), left))
            x1 = o.xor(s.or_(s.shift_left(x1, left), turned), x0)
        x1 = o.add(o.add(x1, third), s.convert(s.add(i, 1), _U32))
        return [o.add(x0, second), x1, second, third, first]

    last = o.xor(o.xor(k0, k1), o.const(_PARITY))
    state = s.alike(o.add(x0, k0), o.add(x1, k1), k0, k1, last)
    x0, x1 = s.loop_n(5, state, group)[:2]
    return x0, x1


def _words(keys: Any) -> tuple[Any, Any]:
    """The two words of physical keys."""
    return keys.astype(_U32), (keys >> _U64.type(32)).astype(_U32)


def _join(low: Any, high: Any) -> Any:
    """Physical keys, or 64-bit numbers, of two words."""
    return low.astype(_U64) | (high.astype(_U64) << _U64.type(32))


_FEW: Final = 8
"""Blocks up to which Python's integers are faster than NumPy's arrays."""


def _one_block(k0: int, k1: int, x1: int) -> tuple[int, int]:
    """The block function of one key at one counter below 2**32, on Python integers."""
    mask = 0xFFFFFFFF
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = k0, x1 + k1 & mask
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1 & mask
            x1 = (x1 << rotation & mask | x1 >> 32 - rotation) ^ x0
        x0 = x0 + schedule[(group + 1) % 3] & mask
        x1 = x1 + schedule[(group + 2) % 3] + group + 1 & mask
    return x0, x1


def _counted(keys: Any, shape: Sequence[int]) -> tuple[Any, Any]:
    """The block function of every key at the counters 0, 1, ... of `shape`."""
    if keys.ndim == 0 and 0 < math.prod(shape) <= _FEW:
        key = int(keys)
        blocks = np.array(
            [_one_block(key & 0xFFFFFFFF, key >> 32, n) for n in range(math.prod(shape))], _U32
        )
        return blocks[:, 0].reshape(shape), blocks[:, 1].reshape(shape)
    axes = tuple(range(keys.ndim, keys.ndim + len(shape)))
    k0, k1 = (np.expand_dims(k, axes) for k in _words(keys))
    size = math.prod(shape)
    count = np.arange(size, dtype=_U64).reshape(shape)
    low, high = (count.astype(_U32), _U32.type(0)) if size <= 2**32 else _words(count)
    return _threefry(_NumPy, k0, k1, high, low)


def _compiled_words(s: Any, key: Any) -> tuple[Any, Any]:
    high = s.shift_right_logical(key, s.const(32, _U64))
    return s.convert(s.and_(key, s.const(0xFFFFFFFF, _U64)), _U32), s.convert(high, _U32)


def compiled_join(s: Any, low: Any, high: Any) -> Any:
    """A key of its two words."""
    shifted = s.shift_left(s.convert(high, _U64), s.const(32, _U64))
    return s.or_(s.convert(low, _U64), shifted)


def compiled_block(s: Any, key: Any, idx: Sequence[Any], shape: Sequence[int]) -> tuple[Any, Any]:
    """The block function of a key at the counter of the element `idx` of `shape`."""
    count: Any = 0
    for i, n in zip(idx, shape, strict=True):
        count = count * n + i
    zero = s.const(0, _U32)
    if isinstance(count, int):
        high, low = zero, s.const(count, _U32)
    elif math.prod(shape) <= 2**32:
        high, low = zero, s.convert(count, _U32)
    else:
        high, low = s.convert(count // 2**32, _U32), s.convert(count % 2**32, _U32)
    return _threefry(_Compiled(s), *_compiled_words(s, key), high, low)


# --------------------------------------------------------------------------- the family


def _no_jvp(name: str, multiple: bool) -> Callable[..., Any]:
    def jvp(primals: Any, tangents: Any, **params: Any) -> Any:
        out = registry[name](*primals, **params)
        if multiple:
            return out, [Zero(aval_of(o).to_tangent_aval()) for o in out]
        return out, Zero(aval_of(out).to_tangent_aval())

    return jvp


def _random(
    name: str,
    *,
    abstract: Callable[..., Any],
    reference: Callable[..., Any],
    batch: Callable[..., Any],
    lower: Callable[..., Any],
    hlo: Callable[..., Any],
    samples: Callable[[], list[Sample]],
    multiple: bool = False,
) -> Primitive:
    """A primitive on keys or bits; it has no derivative."""
    return Primitive(
        name=name,
        abstract=abstract,
        reference=reference,
        jvp=_no_jvp(name, multiple),
        transpose=NotApplicable("transpose", "random bits are not linear in anything", TypeError),
        batch=batch,
        partial_eval=FIRST_ORDER,
        lower=lower,
        hlo=hlo,
        samples=samples,
        multiple_results=multiple,
        effects=PURE,
        literals=False,
    )


def _check_key(name: str, keys: Any) -> None:
    if keys.dtype is not KEY:
        raise TypeError(f"{name} needs an array of keys, got {keys}; random.key makes one")


def _batch_first(name: str) -> Callable[..., Any]:
    """The batch rule of an operation whose results have the operand's axes first."""

    def batch(size: int, args: Any, dims: Any, **params: Any) -> Any:
        return registry[name](moveaxis(args[0], dims[0], 0), **params), 0

    return batch


# --------------------------------------------------------------------------- threefry2x32


def _threefry_abstract(*words: Any) -> list[ShapedArray]:
    if any(w.dtype != _U32 for w in words) or len(words) != 4:
        types = ", ".join(map(str, words))
        raise TypeError(f"threefry2x32 takes four uint32 arrays, got {types}")
    shape = np.broadcast_shapes(*[w.shape for w in words])
    if any(w.shape not in ((), shape) for w in words):
        types = ", ".join(map(str, words))
        raise TypeError(f"threefry2x32: operands need one shape or rank 0, got {types}")
    return [ShapedArray(shape, _U32)] * 2


def _threefry_batch(size: int, args: Any, dims: Any) -> Any:
    rank = max(aval_of(x).ndim - (d is not None) for x, d in zip(args, dims, strict=True))
    xs = []
    for x, d in zip(args, dims, strict=True):
        if d is None and aval_of(x).ndim == 0:
            xs.append(x)
            continue
        x = move_to_front(x, d, size)
        shape = aval_of(x).shape
        if len(shape) == 1 and rank:
            wide = next(
                aval_of(y).shape[:e] + aval_of(y).shape[e + 1 :]
                if e is not None
                else aval_of(y).shape
                for y, e in zip(args, dims, strict=True)
                if aval_of(y).ndim - (e is not None) == rank
            )
            x = registry["broadcast_in_dim"](
                x, shape=(size, *wide), broadcast_dimensions=(0,), sharding=None
            )
        xs.append(x)
    return threefry2x32(*xs), [0, 0]


def _threefry_lower(b: Any, *words: Any) -> Any:
    def word(k: int) -> Callable[..., Any]:
        return lambda s, *w: _threefry(_Compiled(s), *w)[k]

    return [b.map(word(0), *words), b.map(word(1), *words)]


threefry2x32: Final[Primitive] = _random(
    "threefry2x32",
    abstract=_threefry_abstract,
    reference=lambda k0, k1, x0, x1: [
        np.asarray(x) for x in _threefry(_NumPy, *np.broadcast_arrays(k0, k1, x0, x1))
    ],
    batch=_threefry_batch,
    lower=_threefry_lower,
    hlo=_threefry_lower,
    samples=lambda: [
        Sample(tuple(np.asarray(v, _U32) for v in (1, 2**32 - 1, 7, 0))),
        Sample((_U32.type(3), _U32.type(5), np.arange(6, dtype=_U32), np.zeros(6, _U32))),
    ],
    multiple=True,
)


# --------------------------------------------------------------------------- random_bits


def _bits_abstract(keys: Any, *, bit_width: int, shape: Any) -> ShapedArray:
    _check_key("random_bits", keys)
    if bit_width not in (8, 16, 32, 64):
        raise TypeError(f"random_bits: bit_width must be 8, 16, 32 or 64, got {bit_width}")
    return ShapedArray((*keys.shape, *shape), np.dtype(f"uint{bit_width}"))


def _bits_reference(keys: Any, *, bit_width: int, shape: Any) -> Any:
    x0, x1 = _counted(keys, shape)
    if bit_width == 64:
        return _join(x1, x0)
    return (x0 ^ x1).astype(f"uint{bit_width}")


def _bits_lower(b: Any, keys: Any, *, bit_width: int, shape: Any) -> Any:
    s, rank = b.s, len(keys.shape)

    def element(i: Any) -> Any:
        x0, x1 = compiled_block(s, keys.at(i[:rank]), i[rank:], shape)
        if bit_width == 64:
            return compiled_join(s, x1, x0)
        word = s.xor(x0, x1)
        return word if bit_width == 32 else s.convert(word, np.dtype(f"uint{bit_width}"))

    return b.view((*keys.shape, *shape), element)


def _blocks_hlo(b: Any, keys: Any, shape: Sequence[int]) -> tuple[Any, Any]:
    """The block function of every key at the counters 0, 1, ... of `shape`."""
    s, wide, rank, size = b.s, (*keys.shape, *shape), len(keys.shape), math.prod(shape)
    axes = range(rank, len(wide))
    if not is_symbolic(size) and size <= 2**32:
        count = b.reshape(b.iota((size,), _U32, 0), shape)
        low, high = b.broadcast(count, wide, axes), b.full(wide, 0, _U32)
    else:
        count = b.reshape(b.iota((size,), _U64, 0), shape)
        low, high = (b.broadcast(w, wide, axes) for w in _compiled_words(s, count))
    k0, k1 = (b.broadcast(w, wide, range(rank)) for w in _compiled_words(s, keys))
    return _threefry(_Compiled(s), k0, k1, high, low)


def _bits_hlo(b: Any, keys: Any, *, bit_width: int, shape: Any) -> Any:
    x0, x1 = _blocks_hlo(b, keys, shape)
    if bit_width == 64:
        return compiled_join(b.s, x1, x0)
    return b.convert(b.s.xor(x0, x1), np.dtype(f"uint{bit_width}"))


random_bits: Final[Primitive] = _random(
    "random_bits",
    abstract=_bits_abstract,
    reference=_bits_reference,
    batch=_batch_first("random_bits"),
    lower=_bits_lower,
    hlo=_bits_hlo,
    samples=list,
)


# --------------------------------------------------------------------------- random_split


def _split_abstract(keys: Any, *, shape: Any) -> ShapedArray:
    _check_key("random_split", keys)
    return ShapedArray((*keys.shape, *shape), KEY)


def _split_lower(b: Any, keys: Any, *, shape: Any) -> Any:
    s, rank = b.s, len(keys.shape)
    return b.view(
        (*keys.shape, *shape),
        lambda i: compiled_join(s, *compiled_block(s, keys.at(i[:rank]), i[rank:], shape)),
    )


def split_hlo(b: Any, keys: Any, *, shape: Any) -> Any:
    """`random_split` in StableHLO."""
    return compiled_join(b.s, *_blocks_hlo(b, keys, shape))


random_split: Final[Primitive] = _random(
    "random_split",
    abstract=_split_abstract,
    reference=lambda keys, *, shape: _join(*_counted(keys, shape)),
    batch=_batch_first("random_split"),
    lower=_split_lower,
    hlo=split_hlo,
    samples=list,
)


# --------------------------------------------------------------------------- random_fold_in


def _fold_abstract(keys: Any, data: Any) -> ShapedArray:
    _check_key("random_fold_in", keys)
    if data.dtype != _U32:
        raise TypeError(f"random_fold_in folds uint32 into keys, got {data}")
    if data.shape != keys.shape:
        raise TypeError(f"random_fold_in: keys {keys} and data {data} need one shape")
    return ShapedArray(keys.shape, KEY)


def _fold_reference(keys: Any, data: Any) -> Any:
    if keys.ndim == 0:
        first, second = _one_block(int(keys) & 0xFFFFFFFF, int(keys) >> 32, int(data))
        return np.array(first | second << 32, _U64)
    return _join(*_threefry(_NumPy, *_words(keys), _U32.type(0), data))


def _fold_batch(size: int, args: Any, dims: Any) -> Any:
    return random_fold_in(*[move_to_front(x, d, size) for x, d in zip(args, dims, strict=True)]), 0


def _fold_lower(b: Any, keys: Any, data: Any) -> Any:
    def fold(s: Any, key: Any, x: Any) -> Any:
        words = _compiled_words(s, key)
        return compiled_join(s, *_threefry(_Compiled(s), *words, s.const(0, _U32), x))

    return b.map(fold, keys, data)


random_fold_in: Final[Primitive] = _random(
    "random_fold_in",
    abstract=_fold_abstract,
    reference=_fold_reference,
    batch=_fold_batch,
    lower=_fold_lower,
    hlo=_fold_lower,
    samples=list,
)


# --------------------------------------------------------------------------- keys from numbers


def _seed_abstract(seeds: Any, *, impl: Any) -> ShapedArray:
    if dtypes.kind_of(seeds.dtype) not in "iu":
        raise TypeError(f"random_seed needs integers, got {seeds}")
    return ShapedArray(seeds.shape, KEY)


def _seed_reference(seeds: Any, *, impl: Any) -> Any:
    if seeds.dtype.itemsize < 8:
        return seeds.astype(_U32).astype(_U64) << _U64.type(32)
    bits = seeds.astype(_U64)
    return (bits << _U64.type(32)) | (bits >> _U64.type(32))


def _seed_lower(b: Any, seeds: Any, *, impl: Any) -> Any:
    def seed(s: Any, x: Any) -> Any:
        if np.dtype(x.dtype).itemsize < 8:
            return compiled_join(s, s.const(0, _U32), s.convert(x, _U32))
        low, high = _compiled_words(s, s.convert(x, _U64))
        return compiled_join(s, high, low)

    return b.map(seed, seeds)


random_seed: Final[Primitive] = _random(
    "random_seed",
    abstract=_seed_abstract,
    reference=_seed_reference,
    batch=lambda size, args, dims, **params: (random_seed(args[0], **params), dims[0]),
    lower=_seed_lower,
    hlo=_seed_lower,
    samples=list,
)


def _wrap_abstract(bits: Any, *, impl: Any) -> ShapedArray:
    dtype = KeyDtype(impl)
    if bits.dtype != _U32 or bits.ndim < 1 or bits.shape[-1] != dtype.words:
        raise TypeError(f"random_wrap: keys are made of uint32[..., {dtype.words}], got {bits}")
    return ShapedArray(bits.shape[:-1], dtype)


def _wrap_reference(bits: Any, *, impl: Any) -> Any:
    dtype = KeyDtype(impl).physical
    return np.ascontiguousarray(bits).view(dtype).reshape(bits.shape[:-1])


def _wrap_lower(b: Any, bits: Any, *, impl: Any) -> Any:
    s = b.s

    def pair(i: Any, k: int) -> Any:
        return compiled_join(s, bits.at([*i, k]), bits.at([*i, k + 1]))

    if KeyDtype(impl).words == 2:
        return b.view(bits.shape[:-1], lambda i: pair(i, 0))
    half = np.dtype(np.float64)
    return b.view(
        bits.shape[:-1],
        lambda i: s.complex(s.bitcast(pair(i, 0), half), s.bitcast(pair(i, 2), half)),
    )


def _wrap_hlo(b: Any, bits: Any, *, impl: Any) -> Any:
    rank, shape = len(bits.shape), bits.shape[:-1]

    def word(k: int) -> Any:
        start, limit = [0] * (rank - 1) + [k], [*shape, k + 1]
        return b.reshape(b.slice(bits, start, limit), shape)

    pairs = [compiled_join(b.s, word(k), word(k + 1)) for k in range(0, bits.shape[-1], 2)]
    if len(pairs) == 1:
        return pairs[0]
    return b.s.complex(*[b.bitcast(pair, np.dtype(np.float64)) for pair in pairs])


random_wrap: Final[Primitive] = _random(
    "random_wrap",
    abstract=_wrap_abstract,
    reference=_wrap_reference,
    batch=_batch_first("random_wrap"),
    lower=_wrap_lower,
    hlo=_wrap_hlo,
    samples=list,
)


def _unwrap_abstract(keys: Any) -> ShapedArray:
    if not isinstance(keys.dtype, KeyDtype):
        raise TypeError(f"random_unwrap needs an array of keys, got {keys}; random.key makes one")
    return ShapedArray((*keys.shape, keys.dtype.words), _U32)


def _unwrap_lower(b: Any, keys: Any) -> Any:
    s, words = b.s, keys.dtype.itemsize // 4

    def element(i: Any) -> Any:
        key = keys.at(i[:-1])
        if words == 2:
            low, high = _compiled_words(s, key)
            return s.select(i[-1] <= 0, low, high)
        first, second = (
            _compiled_words(s, s.bitcast(half, _U64)) for half in (s.real(key), s.imag(key))
        )
        return s.select(i[-1] <= 1, s.select(i[-1] <= 0, *first), s.select(i[-1] <= 2, *second))

    return b.view((*keys.shape, words), element)


def _unwrap_hlo(b: Any, keys: Any) -> Any:
    s, shape = b.s, keys.shape
    pairs = (
        [keys] if keys.dtype == _U64 else [b.bitcast(v, _U64) for v in (s.real(keys), s.imag(keys))]
    )
    words = [w for pair in pairs for w in _compiled_words(s, pair)]
    return b.concatenate([b.reshape(w, (*shape, 1)) for w in words], len(shape))


def _unwrap_reference(keys: Any) -> Any:
    words = keys.dtype.itemsize // 4
    return np.ascontiguousarray(keys)[..., None].view(_U32).reshape(*keys.shape, words)


random_unwrap: Final[Primitive] = _random(
    "random_unwrap",
    abstract=_unwrap_abstract,
    reference=_unwrap_reference,
    batch=_batch_first("random_unwrap"),
    lower=_unwrap_lower,
    hlo=_unwrap_hlo,
    samples=list,
)


def _clone_abstract(keys: Any) -> ShapedArray:
    if not isinstance(keys.dtype, KeyDtype):
        raise TypeError(f"random_clone needs an array of keys, got {keys}; random.key makes one")
    return keys  # type: ignore[no-any-return]


random_clone: Final[Primitive] = _random(
    "random_clone",
    abstract=_clone_abstract,
    reference=lambda keys: keys,
    batch=lambda size, args, dims: (random_clone(args[0]), dims[0]),
    lower=lambda b, keys: keys,
    hlo=lambda b, keys: keys,
    samples=list,
)
