"""Generated Fourier transforms: loops for `fft`, along one axis at a time.

Lengths whose prime factors are small are transformed by Stockham's method, by 4, 2, 3, 5 and so on:
each pass reads one buffer and writes the other in sorted order, so that nothing is permuted later
(C. Van Loan, "Computational Frameworks for the Fast Fourier Transform", 1992, section 1.7).  Other
lengths become a convolution of a friendlier length (L. Bluestein, 1970).  Real transforms of even
length use complex ones of half the length.  Real and imaginary parts are in buffers of their own,
which the vectors of a CPU like better than pairs.

Where lengths have small factors, kernels do them (`llvm.fft_kernels`), which come compiled: many
transforms at once, one to each lane of a vector; long ones as columns and rows of a matrix; rows of
real numbers with the folding of their spectrum.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.ops import windows

__all__ = ["along", "radices", "real_from_spectra", "real_spectra"]

_PRIMES: Final = (3, 5, 7, 11, 13)
_WIDTH: Final = 16
"""Neighbours that are transformed together along an axis that is not the last: a cache line."""


@dataclass(frozen=True)
class Pair:
    """The real and the imaginary part of a tensor."""

    re: Any
    im: Any

    def at(self, i: Sequence[Any]) -> tuple[Any, Any]:
        """Both parts of an element."""
        return self.re.at(i), self.im.at(i)


def radices(n: int) -> list[int] | None:
    """The factors of the passes for a length; None if a prime factor is too large.

    >>> radices(24), radices(17)
    ([4, 2, 3], None)
    """
    found = []
    while n % 4 == 0:
        found.append(4)
        n //= 4
    for r in (2, *_PRIMES):
        while n % r == 0:
            found.append(r)
            n //= r
    return found if n == 1 else None


def _pair(b: Any, shape: Sequence[int], at: Callable[[Any], tuple[Any, Any]]) -> Pair:
    return Pair(b.view(shape, lambda i: at(i)[0]), b.view(shape, lambda i: at(i)[1]))


def _times(s: Any, x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
    re = s.sub(s.mul(x[0], y[0]), s.mul(x[1], y[1]))
    return re, s.add(s.mul(x[0], y[1]), s.mul(x[1], y[0]))


def _plus(s: Any, x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
    return s.add(x[0], y[0]), s.add(x[1], y[1])


def _minus(s: Any, x: tuple[Any, Any], y: tuple[Any, Any]) -> tuple[Any, Any]:
    return s.sub(x[0], y[0]), s.sub(x[1], y[1])


def _turned(s: Any, x: tuple[Any, Any], sign: int) -> tuple[Any, Any]:
    """The product with i or -i."""
    return (s.neg(x[1]), x[0]) if sign > 0 else (x[1], s.neg(x[0]))


def _table(b: Any, values: Any, dtype: Any) -> Pair:
    values = np.asarray(values, np.complex128)
    return Pair(b.constant(values.real.astype(dtype)), b.constant(values.imag.astype(dtype)))


def _sparse_roots(n: int, sign: int) -> tuple[Any, Any]:
    """The powers exp(sign 2 pi i k / n) of the first k, and of all multiples of their number.

    These few exponentials, of long angles, are exact where long doubles are longer than doubles.
    """
    fine = 1 << (n.bit_length() // 2)
    step = sign * 2 * np.longdouble("3.14159265358979323846264") / n
    angles = step * np.arange(fine), step * np.arange(0, n, fine)
    near, coarse = ((np.cos(x) + 1j * np.sin(x)).astype(np.complex128) for x in angles)
    return near, coarse


def _roots(n: int, sign: int) -> Any:
    """The powers exp(sign 2 pi i k / n) for k below n: products of a coarse and a fine one.

    One multiplication takes a tenth of the time of an exponential.
    """
    near, coarse = _sparse_roots(n, sign)
    return np.outer(coarse, near).reshape(-1)[:n]


def _turns(n: int, count: int, sign: int) -> Any:
    """The powers exp(sign 2 pi i k / n) for k below `count`, without an error at quarters."""
    k = np.arange(count)
    powers = np.exp(sign * 2j * np.pi * k / n)
    return np.where(4 * k % n, powers, np.round(powers))


# --------------------------------------------------------------------------- one axis


def complex_transform(b: Any, x: Pair, axis: int, sign: int) -> Pair:
    """The sums over k of x_k exp(sign 2 pi i j k / n) along an axis, not divided by n."""
    shape, n = x.re.shape, x.re.shape[axis]
    if n <= 1 or 0 in shape:
        return x
    kernel = _kernel(shape, axis, x.re.dtype)
    if kernel is not None:
        z = _joined(b, x)
        out = b.buffer(shape, z.dtype)
        kernel(b, z, out, shape, axis, x.re.dtype.type(-sign))
        return _parts(b, out)
    width = 1 if axis == len(shape) - 1 else math.gcd(shape[-1], _WIDTH)
    moved = _split(b, x, axis, width)
    factors = radices(n)
    rows = _bluestein(b, moved, sign) if factors is None else _stockham(b, moved, factors, sign)
    return _merged(b, rows, axis, shape)


def _split(b: Any, x: Pair, axis: int, width: int) -> Pair:
    """The lanes, the axis of the transform, and `width` neighbours that go through it together."""
    shape, n = x.re.shape, x.re.shape[axis]
    if axis == len(shape) - 1:
        return _pair(b, (*shape, 1), lambda i: x.at(i[:-1]))
    rest = [*shape[:axis], *shape[axis + 1 : -1], shape[-1] // width]

    def at(i: Any) -> tuple[Any, Any]:
        *lanes, place, neighbour = i
        return x.at([*lanes[:axis], place, *lanes[axis:-1], lanes[-1] * width + neighbour])

    return _pair(b, [*rest, n, width], at)


def _merged(b: Any, rows: Pair, axis: int, shape: Sequence[int]) -> Pair:
    width = rows.re.shape[-1]
    if axis == len(shape) - 1:
        return _pair(b, shape, lambda i: rows.at([*i, 0]))

    def at(i: Any) -> tuple[Any, Any]:
        others = [*i[:axis], *i[axis + 1 : -1]]
        return rows.at([*others, i[-1] // width, i[axis], i[-1] % width])

    return _pair(b, shape, at)


def _stockham(b: Any, x: Pair, factors: Sequence[int], sign: int) -> Pair:
    *lanes, n, width = x.re.shape
    dtype = x.re.dtype
    pairs = [Pair(*(b.buffer((*lanes, n, width), dtype) for _ in range(2))) for _ in factors[:2]]
    tables, stride = [], 1
    roots = _roots(n, sign)
    for r in factors:
        turns = np.outer(np.arange(1, r) * stride, np.arange(n // stride // r))
        tables.append(_table(b, roots[turns % n], dtype))
        stride *= r

    def lane(i: list[Any]) -> None:
        stride, source = 1, x
        for k, r in enumerate(factors):
            target = pairs[k % 2]
            _pass(b, i, source, target, tables[k], r, stride, sign, mutable=k > 0)
            stride, source = stride * r, target

    windows.loop_nest(b, lanes, lane, [True] * len(lanes))
    return pairs[(len(factors) - 1) % 2]


def _pass(
    b: Any, lane: list[Any], source: Pair, target: Pair, table: Pair, r: int, stride: int,
    sign: int, mutable: bool,
) -> None:  # fmt: skip
    """One pass: elements `m stride` apart are transformed together and written side by side."""
    s, (n, width) = b.s, source.re.shape[-2:]
    m = n // stride // r

    def read(place: Any, v: Any) -> tuple[Any, Any]:
        i = [*lane, place, v]
        if mutable:
            return b.load(source.re, i), b.load(source.im, i)
        re, im = source.at(i)
        return b.let(re), b.let(im)

    def block(p: Any, q: Any, v: Any) -> None:
        inputs = [read(q + stride * (p + m * k), v) for k in range(r)]
        for j, value in enumerate(_butterfly(s, inputs, sign)):
            if j and m > 1:
                value = _times(s, value, table.at([j - 1, p]))
            place = [*lane, q + stride * (r * p + j), v]
            b.store(target.re, place, value[0])
            b.store(target.im, place, value[1])

    with contextlib.ExitStack() as loops:
        sizes = (m, stride, width)
        block(*(loops.enter_context(b.loop(k, independent=True)) if k > 1 else 0 for k in sizes))


def _butterfly(s: Any, a: list[tuple[Any, Any]], sign: int) -> list[tuple[Any, Any]]:
    """The transform of a few numbers."""
    if len(a) == 2:
        return [_plus(s, a[0], a[1]), _minus(s, a[0], a[1])]
    if len(a) == 4:
        even, odd = _plus(s, a[0], a[2]), _plus(s, a[1], a[3])
        left, right = _minus(s, a[0], a[2]), _turned(s, _minus(s, a[1], a[3]), sign)
        return [
            _plus(s, even, odd),
            _plus(s, left, right),
            _minus(s, even, odd),
            _minus(s, left, right),
        ]
    return _odd_butterfly(s, a, sign)


def _odd_butterfly(s: Any, a: list[tuple[Any, Any]], sign: int) -> list[tuple[Any, Any]]:
    """Cosines of sums of opposite numbers, sines of their differences."""
    r = len(a)
    half = range(1, r // 2 + 1)
    sums = {k: _plus(s, a[k], a[r - k]) for k in half}
    gaps = {k: _turned(s, _minus(s, a[k], a[r - k]), sign) for k in half}
    total = a[0]
    for k in half:
        total = _plus(s, total, sums[k])
    out = [total] * r
    for j in half:
        same, other = a[0], None
        for k in half:
            angle = 2 * math.pi * (j * k % r) / r
            same = _plus(s, same, _scaled(s, sums[k], math.cos(angle)))
            term = _scaled(s, gaps[k], math.sin(angle))
            other = term if other is None else _plus(s, other, term)
        out[j], out[r - j] = _plus(s, same, other), _minus(s, same, other)  # type: ignore[arg-type]
    return out


def _scaled(s: Any, x: tuple[Any, Any], factor: float) -> tuple[Any, Any]:
    return s.mul(x[0], factor), s.mul(x[1], factor)


def _friendly(least: int) -> int:
    """The smallest length of factors 2, 3 and 5 that is large enough."""
    best = 1 << (least - 1).bit_length()
    for five in (1, 5, 25):
        for three in (1, 3, 9):
            odd = five * three
            best = min(best, odd << max(0, (-(-least // odd) - 1).bit_length()))
    return best


def _bluestein(b: Any, x: Pair, sign: int) -> Pair:
    """2 j k = j^2 + k^2 - (j - k)^2 makes a convolution with a chirp of the transform."""
    *lanes, n, width = x.re.shape
    dtype, s = x.re.dtype, b.s
    size = _friendly(2 * n - 1)
    k = np.arange(n, dtype=np.int64)
    chirp = np.exp(sign * 1j * np.pi * (k * k % (2 * n)) / n)
    kernel = np.zeros(size, np.complex128)
    kernel[:n] = chirp.conj()
    kernel[size - n + 1 :] = chirp[1:][::-1].conj()
    table = _table(b, chirp, dtype)
    response = _table(b, np.fft.fft(kernel) / size, dtype)

    def padded(i: Any) -> tuple[Any, Any]:
        inside = i[-2] < n
        place = s.index(s.select(inside, i[-2], s.const(0, np.int64)))
        value = _times(s, x.at([*i[:-2], place, i[-1]]), table.at([place]))
        zero = s.const(0, dtype)
        return s.select(inside, value[0], zero), s.select(inside, value[1], zero)

    factors, wide = radices(size) or [], (*lanes, size, width)

    def transformed(z: Pair, sign: int) -> Pair:
        if width > 1:
            return _stockham(b, z, factors, sign)
        rows = _pair(b, wide[:-1], lambda i: z.at([*i, 0]))
        found = complex_transform(b, rows, len(lanes), sign)
        return _pair(b, wide, lambda i: found.at(i[:-1]))

    spectrum = transformed(_pair(b, wide, padded), -1)
    filtered = _pair(b, wide, lambda i: _times(s, spectrum.at(i), response.at([i[-2]])))
    back = transformed(filtered, 1)
    return _pair(b, x.re.shape, lambda i: _times(s, back.at(i), table.at([i[-2]])))


# --------------------------------------------------------------------------- kernels

_LONGEST: Final = 8192
"""The longest transform in the scratch memory of the kernels."""
_SHORTEST: Final = 8
_WORTH: Final = 1024
"""Numbers from which a call of a kernel is cheaper than loops in place."""
_LANE_BYTES: Final = 64
"""What the lanes of one vector take; with fewer transforms lanes would idle."""
_WIDEST: Final = 16
"""Lanes of the widest vectors."""

Kernel = Callable[[Any, Any, Any, Sequence[int], int, Any], None]
"""Transforms memory of complex numbers to other memory, along an axis of this shape.

The last argument, a scalar of the real type, is the factor, negative for an inverse transform.
"""


def _kernel(shape: Sequence[int], axis: int, dtype: Any) -> Kernel | None:
    """The kernel for complex numbers of real type `dtype`, if there is one."""
    n, inner = shape[axis], math.prod(shape[axis + 1 :])
    if 0 in shape or n < _SHORTEST or radices(n) is None:
        return None
    lanes = inner if inner > 1 else math.prod(shape[:axis])
    many = lanes * np.dtype(dtype).itemsize >= _LANE_BYTES and n * lanes >= _WORTH
    if n <= _LONGEST and many:
        return _by_lanes
    return _by_parts if inner == 1 and n >= _WORTH and _split_length(n) else None


def _split_length(n: int) -> tuple[int, int] | None:
    """Two factors of a length that fit the kernels, nearly equal, and fill vectors."""
    ways = [(d, n // d) for d in range(max(_SHORTEST, -(-n // _LONGEST)), math.isqrt(n) + 1)
            if n % d == 0]  # fmt: skip

    def cost(way: tuple[int, int]) -> float:
        idle = sum(-(-m // _WIDEST) * _WIDEST / m for m in way)
        return idle + 0.1 * math.log2(way[1] / way[0])

    return min(ways, key=cost, default=None)


def _kernel_radices(n: int) -> list[int]:
    """Sixteens and eights for the powers of two: as few passes as they can be.

    >>> _kernel_radices(1 << 10), _kernel_radices(96)
    ([8, 8, 16], [4, 8, 3])
    """
    twos = (n & -n).bit_length() - 1
    passes = -(-twos // 4)
    exponents = [(twos + k) // passes for k in range(passes)]
    return [1 << e for e in exponents] + (radices(n >> twos) or [])


def _plan(b: Any, n: int, dtype: Any) -> tuple[Any, Any]:
    """The powers of all passes, and their radices."""
    factors, turns, stride = _kernel_radices(n), [], 1
    roots = _roots(n, -1)
    for r in factors:
        powers = np.outer(np.arange(n // stride // r) * stride, np.arange(1, r))
        turns.append(roots[powers % n].ravel())
        stride *= r
    table = np.concatenate(turns).view(np.float64).astype(dtype)
    return b.constant(table), b.constant(np.array([*factors, 0], np.int64))


def _symbol(name: str, dtype: Any, *lengths: int) -> str:
    """The kernel for these lengths: powers of two have smaller ones."""
    twos = "" if any(n & (n - 1) for n in lengths) else "twos_"
    return f"{name}_{twos}f{8 * dtype.itemsize}"


def _by_lanes(b: Any, x: Any, out: Any, shape: Sequence[int], axis: int, scale: Any) -> None:
    """Many at once; `x` and `out` may be the same memory."""
    n = shape[axis]
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    numbers = map(np.int64, (n, outer, inner, scale < 0))
    plan = _plan(b, n, scale.dtype)
    b.call(_symbol("pb_fft", scale.dtype, n), x, out, *plan, *numbers, abs(scale))


def _by_parts(b: Any, x: Any, out: Any, shape: Sequence[int], axis: int, scale: Any) -> None:
    """Long ones: columns of a matrix, then its rows."""
    n, dtype = shape[axis], scale.dtype
    first, second = _split_length(n) or (1, n)
    padded = -(-second // _WIDEST) * _WIDEST
    work = b.buffer((2 * first * padded + 2 * _WIDEST * _WIDEST,), dtype)
    fine, coarse = _sparse_roots(n, -1)
    k = np.outer(np.arange(padded), np.arange(_WIDEST)) % n
    powers = fine[k % len(fine)] * coarse[k // len(fine)]
    lanes = np.stack([powers.real, powers.imag], axis=1).astype(dtype)
    tables = np.concatenate([fine, coarse]).view(np.float64)
    plans = [*_plan(b, first, dtype), *_plan(b, second, dtype)]
    outer = math.prod(shape[:axis])
    shift = len(fine).bit_length() - 1
    numbers = map(np.int64, (first, second, outer, shift, scale < 0))
    constants = b.constant(np.ascontiguousarray(lanes)), b.constant(tables)
    symbol = _symbol("pb_fft_long", dtype, n)
    b.call(symbol, x, out, work, *plans, *constants, *numbers, abs(scale))


def _real_rows(b: Any, x: Any, out: Any, n: int, outer: int, scale: Any) -> None:
    """Rows of 2n real numbers, or of their spectra if `scale` is negative."""
    back = scale < 0
    table = _halves(b, n, scale.dtype, bool(back))
    plan, numbers = _plan(b, n, scale.dtype), map(np.int64, (n, outer, back))
    b.call(_symbol("pb_fft_real", scale.dtype, n), x, out, *plan, table, *numbers, abs(scale))


_PLANE_BYTES: Final = range(1 << 14, (1 << 20) + 1)
"""Spectra of matrices that stay in a thread's cache between rows and columns, and are work."""


def _by_planes(shape: Sequence[int], real: Any, dtype: Any) -> bool:
    """Whether rows and columns of spectra of this shape are done matrix by matrix."""
    *outer, n2, width = shape
    n = width - real
    size = n2 * width * 2 * np.dtype(dtype).itemsize
    if math.prod(outer) < 2 or size not in _PLANE_BYTES or n2 * np.dtype(dtype).itemsize < 256:
        return False
    lanes = (math.prod(outer), n2)
    rows = _by_real_rows(lanes, n, dtype) if real else _kernel((*lanes, n), 2, dtype) is _by_lanes
    return rows and _kernel((*lanes, width), 1, dtype) is _by_lanes


def _planes(
    b: Any, x: Any, mid: Any, out: Any, shape: Sequence[int], real: bool, scales: Sequence[Any]
) -> None:
    """Rows and columns; `shape` is that of the spectra, scales are those of rows and columns."""
    *outer, n2, width = shape
    n, dtype, back = width - real, scales[0].dtype, bool(scales[0] < 0)
    plan, plan2 = _plan(b, n, dtype), _plan(b, n2, dtype)
    halves = _halves(b, n, dtype, back) if real else plan[0]
    numbers = map(np.int64, (n, n2, math.prod(outer), back, real))
    symbol = _symbol("pb_fft_planes", dtype, n, n2)
    b.call(symbol, x, mid, out, *plan, halves, *plan2, *numbers, *map(abs, scales))


def _halves(b: Any, n: int, dtype: Any, back: bool) -> Any:
    """The powers by which spectra of 2n real numbers are folded."""
    factor = 1j if back else -0.5j
    halves = factor * _roots(2 * n, 1 if back else -1)[: n // 2 + 1]
    return b.constant(halves.view(np.float64).astype(dtype))


def _by_real_rows(lanes: Sequence[int], half: int, dtype: Any) -> bool:
    """Whether rows of twice `half` real numbers are transformed by a kernel."""
    return half < _LONGEST and _kernel((*lanes, half), len(lanes), dtype) is _by_lanes


def _scale(dtype: Any, n: int, inverse: bool) -> Any:
    return np.dtype(dtype).type(-1 / n if inverse else 1)


def along(b: Any, x: Any, axes: Sequence[int], *, inverse: bool, fresh: bool = False) -> Any:
    """Transforms of a complex tensor along some axes, the last first; inverse ones divided by n.

    `fresh` says that nobody else needs `x` in memory.
    """
    own = None
    real = np.dtype(np.float32 if x.dtype == np.complex64 else np.float64)
    rank = len(x.shape)
    if tuple(axes[-2:]) == (rank - 2, rank - 1) and _by_planes(x.shape, False, real):
        own = b.buffer(x.shape, x.dtype)
        scales = [_scale(real, x.shape[axis], inverse) for axis in (-1, -2)]
        _planes(b, x, own, own, x.shape, False, scales)
        x, axes = own, axes[:-2]
    for axis in reversed(axes):
        n = x.shape[axis]
        kernel = _kernel(x.shape, axis, real)
        if kernel is None:
            x, own, fresh = _pairwise(b, x, axis, inverse), None, True
            continue
        if own is None:
            own = b.buffer(x.shape, x.dtype, x if fresh else None)
            x = own if fresh else x
        kernel(b, x, own, x.shape, axis, _scale(real, n, inverse))
        x = own
    return x


def _pairwise(b: Any, x: Any, axis: int, inverse: bool) -> Any:
    pair = _parts(b, x)
    pair = complex_transform(b, pair, axis, 1 if inverse else -1)
    if inverse and x.shape[axis] > 1:
        scale = 1.0 / x.shape[axis]
        pair = Pair(*(b.map(lambda s, e: s.mul(e, scale), part) for part in (pair.re, pair.im)))
    return _joined(b, pair)


def _parts(b: Any, x: Any) -> Pair:
    return Pair(b.map(lambda s, e: s.real(e), x), b.map(lambda s, e: s.imag(e), x))


def _joined(b: Any, x: Pair) -> Any:
    return b.map(lambda s, re, im: s.complex(re, im), x.re, x.im)


# --------------------------------------------------------------------------- real numbers


def real_transform(b: Any, x: Any) -> Any:
    """The first n // 2 + 1 sums over k of x_k exp(-2 pi i j k / n), along the last axis."""
    lanes, n, s, dtype = x.shape[:-1], x.shape[-1], b.s, x.dtype
    shape = (*lanes, n // 2 + 1)
    if n % 2 or n < 4:
        whole = complex_transform(b, Pair(x, b.full(x.shape, 0, dtype)), len(lanes), -1)
        return _joined(b, _pair(b, shape, whole.at))
    half = n // 2
    if _by_real_rows(lanes, half, dtype):
        spectra = b.buffer(shape, np.complex64 if dtype == np.float32 else np.complex128)
        _real_rows(b, x, spectra, half, math.prod(lanes), _scale(dtype, 1, False))
        return spectra
    z = _packed_transform(b, x, half)
    turns = _table(b, -0.5j * _turns(n, half + 1, -1), dtype)

    def at(i: Any) -> tuple[Any, Any]:
        here = z.at([*i[:-1], i[-1] % half])
        there = z.at([*i[:-1], (half - i[-1]) % half])
        there = there[0], s.neg(there[1])
        even = _scaled(s, _plus(s, here, there), 0.5)
        return _plus(s, even, _times(s, _minus(s, here, there), turns.at([i[-1]])))

    return _joined(b, _pair(b, shape, at))


def _packed_transform(b: Any, x: Any, half: int) -> Pair:
    """The transform of pairs of neighbours taken as complex numbers."""
    lanes = x.shape[:-1]
    wide = (*lanes, half)
    kernel = _kernel(wide, len(lanes), x.dtype)
    if kernel is not None:
        out = b.buffer(wide, np.complex64 if x.dtype == np.float32 else np.complex128)
        kernel(b, x, out, wide, len(lanes), _scale(x.dtype, half, False))
        return _parts(b, out)
    packed = _pair(b, wide, lambda i: (x.at([*i[:-1], 2 * i[-1]]), x.at([*i[:-1], 2 * i[-1] + 1])))
    z = complex_transform(b, packed, len(lanes), -1)
    return Pair(b.materialize(z.re), b.materialize(z.im))


def real_spectra(b: Any, x: Any, axes: Sequence[int]) -> Any:
    """Transforms of a real tensor along some axes, the last of which is its last."""
    *lanes, n = x.shape
    shape = (*lanes, n // 2 + 1)
    if len(axes) < 2 or n % 2 or not _by_planes(shape, True, x.dtype):
        return along(b, real_transform(b, x), axes[:-1], inverse=False, fresh=True)
    out = b.buffer(shape, np.complex64 if x.dtype == np.float32 else np.complex128)
    _planes(b, x, out, out, shape, True, [_scale(x.dtype, 1, False)] * 2)
    return along(b, out, axes[:-2], inverse=False, fresh=True)


def real_from_spectra(b: Any, z: Any, n: int, axes: Sequence[int]) -> Any:
    """The inverse of `real_spectra`, to rows of n numbers."""
    real = np.dtype(np.float32 if z.dtype == np.complex64 else np.float64)
    if len(axes) < 2 or n % 2 or not _by_planes(z.shape, True, real):
        return inverse_real(b, along(b, z, axes[:-1], inverse=True), n)
    z = along(b, z, axes[:-2], inverse=True)
    out, mid = b.buffer((*z.shape[:-1], n), real), b.buffer(z.shape, z.dtype)
    scales = [_scale(real, n, True), _scale(real, z.shape[-2], True)]
    _planes(b, z, mid, out, z.shape, True, scales)
    return out


def inverse_real(b: Any, z: Any, n: int) -> Any:
    """The real means over k of z_k exp(2 pi i j k / n), from the first n // 2 + 1 of the z_k."""
    x = _parts(b, z)
    lanes, s, dtype = x.re.shape[:-1], b.s, x.re.dtype
    zero = s.const(0, dtype)

    def element(i: Any, place: Any) -> tuple[Any, Any]:
        """One x_k; those that stand for themselves are real."""
        re, im = x.at([*i[:-1], place])
        alone = s.or_(place <= 0, place >= n // 2) if n % 2 == 0 else place <= 0
        return re, s.select(alone, zero, im)

    if n % 2 or n < 4:

        def mirrored(i: Any) -> tuple[Any, Any]:
            given = i[-1] <= n // 2
            place = s.index(s.select(given, i[-1], n - i[-1]), 0, n // 2)
            re, im = element(i, place)
            return re, s.select(given, im, s.neg(im))

        whole = complex_transform(b, _pair(b, (*lanes, n), mirrored), len(lanes), 1)
        return b.map(lambda s, e: s.mul(e, 1.0 / max(n, 1)), whole.re)
    half = n // 2
    if _by_real_rows(lanes, half, dtype):
        out = b.buffer((*lanes, n), dtype)
        _real_rows(b, z, out, half, math.prod(lanes), _scale(dtype, n, True))
        return out
    turns = _table(b, 1j * _turns(n, half, 1), dtype)

    def packed(i: Any) -> tuple[Any, Any]:
        here, there = element(i, i[-1]), element(i, half - i[-1])
        there = there[0], s.neg(there[1])
        odd = _times(s, _minus(s, here, there), turns.at([i[-1]]))
        return _plus(s, _plus(s, here, there), odd)

    pairs = _pair(b, (*lanes, half), packed)
    kernel = _kernel(pairs.re.shape, len(lanes), dtype)
    if kernel is not None:
        out = b.buffer((*lanes, n), dtype)
        kernel(b, _joined(b, pairs), out, pairs.re.shape, len(lanes), _scale(dtype, n, True))
        return out
    sums = complex_transform(b, pairs, len(lanes), 1)

    def unpacked(i: Any) -> Any:
        re, im = sums.at([*i[:-1], i[-1] // 2])
        return s.mul(s.select(i[-1] % 2 <= 0, re, im), 1.0 / n)

    return b.view((*lanes, n), unpacked)
