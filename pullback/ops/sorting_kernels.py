"""How `sort` uses the kernels of `llvm.sort_kernels`: numbers alone, and keys with positions.

The kernels know numbers of 32 and 64 bits, to which narrower ones are converted, and neither -0 nor
NaN.  Rows that have any of these are corrected: zeros and NaNs are written once more, as they are
and in the order in which they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes

__all__ = [
    "Wanted",
    "has_network",
    "has_order",
    "order",
    "partitioned",
    "partitions",
    "sorted_rows",
]

_LANES: Final = 16
_SHORTEST: Final = 16
_LONGEST: Final = 4096
_LONG: Final = 256
"""Rows that are longer than this are worth a kernel each."""
_QUICK: Final = "pb_quick_u64"


Wanted = tuple[Any, Any]
"""The first place of rows that has to be right, and the one behind the last, as int64."""


def has_network(rows: int, n: int) -> bool:
    """Whether there are rows for all lanes of a vector, and of a length for a network."""
    return rows >= _LANES and _SHORTEST <= n <= _LONGEST


def partitions(b: Any, n: int) -> bool:
    """Whether a kernel leaves parts of rows of this length as they are."""
    return n > _LONG and bool(b.has(_QUICK))


def has_order(b: Any, key: Any) -> bool:
    """Whether a kernel sorts rows of such keys together with their positions."""
    rows, n = key.shape
    if np.dtype(key.dtype).itemsize > 4 or n >= 1 << 31:
        return False
    return has_network(rows, n) or partitions(b, n)


def order(b: Any, key: Any, wanted: Wanted | None = None) -> Any:
    """The stable order of rows of keys, unsigned integers of up to 32 bits.

    Where only some places are wanted, what comes before and behind them may stand in any order.
    """
    rows, n = key.shape
    s, wide = b.s, np.dtype(np.uint64)
    network = has_network(rows, n) and (wanted is None or not partitions(b, n))

    def joined(i: Any) -> Any:
        high = s.shift_left(s.convert(key.at(i), wide), s.const(32, wide))
        bits = s.or_(high, s.convert(i[-1], wide))
        if network:  # which knows signed numbers
            bits = s.bitcast(s.xor(bits, s.const(1 << 63, wide)), np.dtype(np.int64))
        return bits

    made = b.view((rows, n), joined)
    if network:
        out = b.buffer((rows, n), made.dtype)
        b.call("pb_sort_rows_i64", made, out, np.int64(rows), np.int64(n))
    else:
        out = _sorted_keys(b, made, wanted)
    low = s.const(2**32 - 1, made.dtype)
    return b.map(lambda s, x: s.convert(s.and_(x, low), np.int32), out)


def sorted_rows(b: Any, x: Any, ordered_bits: Callable[[Any, Any], Any]) -> Any:
    """Rows of real numbers in order; `ordered_bits` makes unsigned integers of the same order."""
    rows, n = x.shape
    network = has_network(rows, n)
    out = _by_network(b, x) if network else _by_radix(b, x, ordered_bits)
    if dtypes.kind_of(x.dtype) == "f":
        if not network or np.dtype(x.dtype).itemsize < 4:
            out = b.buffer(x.shape, x.dtype, out)
        _correct(b, x, out)
    return out


def _widened(s: Any, value: Any) -> Any:
    """The same number with 32 or 64 bits."""
    size = 4 if np.dtype(value.dtype).itemsize <= 4 else 8
    kind = dtypes.kind_of(value.dtype)
    return s.convert(value, np.dtype(f"{kind if kind in 'uf' else 'i'}{size}"))


def _by_network(b: Any, x: Any) -> Any:
    kind = dtypes.kind_of(x.dtype)

    def ready(s: Any, value: Any) -> Any:
        value = _widened(s, value)
        return _signed(s, value) if kind == "u" else value

    def back(s: Any, value: Any) -> Any:
        value = _signed(s, value) if kind == "u" else value
        return s.convert(value, x.dtype)

    same = kind != "u" and np.dtype(x.dtype).itemsize >= 4
    numbers = b.materialize(x if same else b.map(ready, x))
    out = b.buffer(x.shape, numbers.dtype)
    symbol = f"pb_sort_rows_{numbers.dtype.kind}{8 * numbers.dtype.itemsize}"
    b.call(symbol, numbers, out, *map(np.int64, x.shape))
    return out if same else b.map(back, out)


def _signed(s: Any, value: Any) -> Any:
    """From unsigned to signed integers of the same order, or back."""
    dtype = np.dtype(value.dtype)
    to = np.dtype(f"{'i' if dtype.kind == 'u' else 'u'}{dtype.itemsize}")
    bits = np.dtype(f"u{dtype.itemsize}")
    raw = value if dtype == bits else s.bitcast(value, bits)
    moved = s.xor(raw, s.const(1 << (8 * dtype.itemsize - 1), bits))
    return moved if to == bits else s.bitcast(moved, to)


def _by_radix(b: Any, x: Any, ordered_bits: Callable[[Any, Any], Any]) -> Any:
    made = b.map(lambda s, value: ordered_bits(s, _widened(s, value)), x)
    return b.map(lambda s, bits: _number(s, bits, x.dtype), _sorted_keys(b, made))


def partitioned(b: Any, x: Any, ordered_bits: Callable[[Any, Any], Any], wanted: Wanted) -> Any:
    """Rows of real numbers of which the places that are wanted are right.

    `ordered_bits` makes an integer of its own of each number, -0 and NaNs too. Those of NaNs that
    have a sign are the least ones; without them in front, they become the largest.
    """
    size = max(np.dtype(x.dtype).itemsize, 4)
    signed_nans = 2 ** (23 if size == 4 else 52) - 1 if dtypes.kind_of(x.dtype) == "f" else 0

    def key(s: Any, value: Any) -> Any:
        bits = ordered_bits(s, _widened(s, value))
        return s.sub(bits, s.const(signed_nans, bits.dtype))

    def back(s: Any, bits: Any) -> Any:
        return _number(s, s.add(bits, s.const(signed_nans, bits.dtype)), x.dtype)

    return b.map(back, _sorted_keys(b, b.map(key, x), wanted))


def _number(s: Any, bits: Any, dtype: Any) -> Any:
    """The number of which this is the ordered integer."""
    kind, size = dtypes.kind_of(dtype), np.dtype(bits.dtype).itemsize
    sign = s.const(1 << (8 * size - 1), bits.dtype)
    if kind == "f":
        negative = s.eq(s.and_(bits, sign), s.const(0, bits.dtype))
        bits = s.select(negative, s.not_(bits), s.xor(bits, sign))
    elif kind != "u":
        bits = s.xor(bits, sign)
    number = np.dtype(f"{kind if kind in 'uf' else 'i'}{size}")
    value = bits if number == bits.dtype else s.bitcast(bits, number)
    return s.convert(value, dtype)


def _sorted_keys(b: Any, made: Any, wanted: Wanted | None = None) -> Any:
    """Long rows of unsigned integers of 32 or 64 bits in order, at least in the wanted places."""
    keys, out = b.buffer(made.shape, made.dtype, made), b.buffer(made.shape, made.dtype)
    sizes, name = tuple(map(np.int64, made.shape)), f"u{8 * made.dtype.itemsize}"
    if b.has(f"pb_quick_{name}"):
        b.call(f"pb_quick_{name}", keys, out, *sizes, *(wanted or (np.int64(0), sizes[1])))
    else:
        b.call(f"pb_radix_{name}", keys, out, *sizes)
    return out


def _correct(b: Any, x: Any, out: Any) -> None:
    """Write zeros and NaNs of rows that have -0 or NaN once more, in the order of `x`."""
    s, (rows, n) = b.s, x.shape
    zero, one = s.const(0, x.dtype), s.const(1, x.dtype)

    def special(s: Any, value: Any) -> Any:
        minus = s.and_(s.eq(value, zero), s.lt(s.copysign(one, value), zero))
        return s.or_(minus, s.is_nan(value))

    x = b.materialize(x)
    flags = b.reduce([b.map(special, x)], (1,), [False], lambda s, a, v: [s.or_(a[0], v[0])])[0]
    flags = b.materialize(flags)
    with b.loop(rows, independent=True) as r, b.if_(flags.at([r])):
        below, nans = b.var(0, np.int64), b.var(0, np.int64)
        with b.loop(n) as i:
            value = b.let(x.at([r, i]))
            below.set(s.add(below.get(), s.convert(s.lt(value, zero), np.int64)))
            nans.set(s.add(nans.get(), s.convert(s.is_nan(value), np.int64)))
        last = b.var(s.sub(s.const(n, np.int64), nans.get()), np.int64)
        with b.loop(n) as i:
            value = b.let(x.at([r, i]))
            for slot, found in ((below, s.eq(value, zero)), (last, s.is_nan(value))):
                with b.if_(found):
                    b.store(out, [r, s.index(slot.get(), 0, n - 1)], value)
                    slot.set(s.add(slot.get(), 1))
