"""Primitives behind the samplers of `random`: what they need to agree with JAX bit for bit.

- `fma(x, y, z)`: x y + z with one rounding, as XLA compiles the scaling of uniform numbers.
- `erf_inv_giles`: the inverse error function as XLA evaluates it in single precision, which turns
  uniform numbers into normal ones.  It is less accurate in the tails than `erf_inv`.
- `random_gamma`: Gamma numbers by rejection; one loop an element.

M. Giles, "Approximating the erfinv function", GPU Computing Gems (2011).
G. Marsaglia, W. W. Tsang, "A simple method for generating gamma variables", TOMS 26 (2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    NotApplicable,
    Primitive,
    Zero,
)
from pullback.ops import rng
from pullback.ops.gamma import scipy_function
from pullback.ops.kinds import BY_ELEMENTS, FLOAT, binary, late, unary
from pullback.ops.rearrange import move_to_front
from pullback.ops.samples import ANYWHERE, inputs
from pullback.ops.windows import loop_nest

__all__ = ["erf_inv_giles", "fma", "mantissa_bits", "one_bits", "random_bit_width", "random_gamma"]

_mul: Final = late("mul")
_exp: Final = late("exp")
_square: Final = late("square")
_div: Final = late("div")
_gamma_grad: Final = late("random_gamma_grad")

_U32: Final = np.dtype(np.uint32)
_U64: Final = np.dtype(np.uint64)
_F32: Final = np.dtype(np.float32)
_F64: Final = np.dtype(np.float64)
_accurate_erf_inv: Final = scipy_function("erfinv")

# --------------------------------------------------------------------------- fma


def _halves(x: Any) -> tuple[Any, Any]:
    """A double as the sum of two of 26 bits (Veltkamp's splitting)."""
    shifted = x * 134217729.0
    high = shifted - (shifted - x)
    return high, x - high


def _fma_double(x: Any, y: Any, z: Any) -> Any:
    """x y + z, the errors of the product and of the sum found exactly and added last (Dekker)."""
    product = x * y
    (x1, x0), (y1, y0) = _halves(x), _halves(y)
    product_error = ((x1 * y1 - product) + x1 * y0 + x0 * y1) + x0 * y0
    total = product + z
    back = total - product
    sum_error = (product - (total - back)) + (z - back)
    out = total + (product_error + sum_error)
    return np.where(np.isfinite(out), out, total)


def _fma_reference(x: Any, y: Any, z: Any) -> Any:
    dtype = x.dtype
    if dtype == _F64:
        return _fma_double(x, y, z)
    wide = np.float64 if dtype == _F32 else np.float32
    return (x.astype(wide) * y.astype(wide) + z.astype(wide)).astype(dtype)


fma: Final[Primitive] = binary(
    "fma",
    _fma_reference,
    FLOAT,
    jvp=(
        lambda ans, x, y, z: lambda t: _mul(t, y),
        lambda ans, x, y, z: lambda t: _mul(x, t),
        lambda ans, x, y, z: lambda t: t,
    ),
    lower="fma",
    hlo=BY_ELEMENTS,
    samples=inputs(FLOAT, ANYWHERE, ANYWHERE, ANYWHERE, specials=""),
)

# --------------------------------------------------------------------------- erf_inv_giles

_NEAR: Final = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_FAR: Final = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _erf_inv_reference(x: Any) -> Any:
    if x.dtype == _F64:
        return _accurate_erf_inv(x)
    x32 = x.astype(np.float32)
    w = -np.log1p(-(x32 * x32))
    near = w < np.float32(5)
    w = np.where(near, w - np.float32(2.5), np.sqrt(w) - np.float32(3)).astype(np.float64)
    p = np.where(near, np.float32(_NEAR[0]), np.float32(_FAR[0]))
    for a, b in zip(_NEAR[1:], _FAR[1:], strict=True):
        p = (p * w + np.where(near, np.float32(a), np.float32(b))).astype(np.float32)
    return np.where(np.abs(x32) == 1, x32 * np.float32(np.inf), p * x32).astype(x.dtype)


def _erf_inv_lower(s: Any, x: Any) -> Any:
    if x.dtype == _F64:
        return s.math("erf_inv", x)
    dtype = x.dtype
    x = s.convert(x, _F32)

    def const(value: float) -> Any:
        return s.const(value, _F32)

    w = s.neg(s.math("log1p", s.neg(s.mul(x, x))))
    near = s.lt(w, const(5))
    w = s.select(near, s.sub(w, const(2.5)), s.sub(s.sqrt(w), const(3)))
    p = s.select(near, const(_NEAR[0]), const(_FAR[0]))
    for a, b in zip(_NEAR[1:], _FAR[1:], strict=True):
        p = s.fma(p, w, s.select(near, const(a), const(b)))
    end = s.eq(s.abs(x), const(1))
    return s.convert(s.select(end, s.mul(x, const(math.inf)), s.mul(p, x)), dtype)


erf_inv_giles: Final[Primitive] = unary(
    "erf_inv_giles",
    _erf_inv_reference,
    FLOAT,
    jvp=lambda ans, x: lambda t: _mul(t, _mul(_exp(_square(ans)), math.sqrt(math.pi) / 2)),
    lower=_erf_inv_lower,
    hlo=BY_ELEMENTS,
    samples=inputs(FLOAT, (-0.95, 0.95), tol=8.0),
)

# --------------------------------------------------------------------------- bits to numbers


def mantissa_bits(dtype: Any) -> int:
    """Stored bits of the fraction of a float dtype."""
    info: Any = dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    return int(info.nmant)


def random_bit_width(dtype: Any) -> int:
    """Random bits drawn for one number: those of the dtype, 8 if they hold the fraction."""
    return 8 if mantissa_bits(dtype) < 8 else int(np.dtype(dtype).itemsize) * 8


def one_bits(dtype: Any) -> int:
    """The bits of the number 1."""
    return int(np.ones((), dtype).view(f"u{np.dtype(dtype).itemsize}"))


def _uniform(keys: Any, dtype: Any) -> Any:
    """One number in [0, 1) of every physical key, by NumPy."""
    width, fraction = random_bit_width(dtype), mantissa_bits(dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = rng.random_bits.reference(keys, bit_width=width, shape=()).astype(unsigned)
    bits = (bits >> unsigned.type(width - fraction)) | unsigned.type(one_bits(dtype))
    return bits.view(dtype) - dtype.type(1)


def _compiled_uniform(s: Any, key: Any, dtype: Any) -> Any:
    width, fraction = random_bit_width(dtype), mantissa_bits(dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    x0, x1 = rng.compiled_block(s, key, (), ())
    bits = rng.compiled_join(s, x1, x0) if width == 64 else s.xor(x0, x1)
    if width < 32:
        bits = s.convert(s.convert(bits, np.dtype(f"uint{width}")), unsigned)
    bits = s.shift_right_logical(bits, s.const(width - fraction, unsigned))
    number = s.bitcast(s.or_(bits, s.const(one_bits(dtype), unsigned)), dtype)
    return s.sub(number, s.const(1, dtype))


def _lowest(dtype: Any) -> Any:
    return np.nextafter(np.array(-1, dtype), np.array(0, dtype))


def _normal(keys: Any, dtype: Any) -> Any:
    low = _lowest(dtype)
    u = _fma_reference(_uniform(keys, dtype), dtype.type(1) - low, low)
    return dtype.type(math.sqrt(2)) * _erf_inv_reference(np.maximum(low, u))


def _compiled_normal(s: Any, key: Any, dtype: Any) -> Any:
    low = _lowest(dtype)
    width = dtype.type(1) - low
    u = s.fma(_compiled_uniform(s, key, dtype), s.const(width, dtype), s.const(low, dtype))
    z = _erf_inv_lower(s, s.max(s.const(low, dtype), u))
    return s.mul(s.const(dtype.type(math.sqrt(2)), dtype), z)


# --------------------------------------------------------------------------- random_gamma


def _gamma_abstract(keys: Any, alpha: Any, *, log_space: bool) -> ShapedArray:
    if keys.dtype is not dtypes.KEY or dtypes.kind_of(alpha.dtype) != "f":
        raise TypeError(f"random_gamma needs keys and floats, got {keys} and {alpha}")
    if alpha.shape[: keys.ndim] != keys.shape:
        raise TypeError(f"random_gamma: keys {keys} need the leading axes of alpha {alpha}")
    return ShapedArray(alpha.shape, alpha.dtype)


def _split(keys: Any, n: int) -> list[Any]:
    parts = rng.random_split.reference(keys, shape=(n,))
    return [np.ascontiguousarray(parts[..., k]) for k in range(n)]


def _proposals(keys: Any, c: Any, dtype: Any) -> tuple[Any, Any]:
    """Normal numbers x with v = 1 + c x > 0, and v."""
    x, v = np.zeros(keys.shape, dtype), np.full(keys.shape, -1, dtype)
    todo = np.arange(keys.size)
    while todo.size:
        keys, draw = _split(keys, 2)
        x[todo] = _normal(draw, dtype)
        v[todo] = _fma_reference(x[todo], c[todo], np.ones(todo.shape, dtype))
        open_ = v[todo] <= 0
        keys, todo = keys[open_], todo[open_]
    return x, v


def _gamma_reference(keys: Any, alpha: Any, *, log_space: bool) -> Any:
    dtype, shape = alpha.dtype, alpha.shape
    each = rng.random_split.reference(keys, shape=(math.prod(shape[keys.ndim :]),))
    key, boost_key = _split(each.reshape(-1), 2)
    alpha = alpha.reshape(-1)
    with np.errstate(all="ignore"):
        large, one = alpha >= 1, dtype.type(1)
        third = dtype.type(1 / 3)
        d = np.where(large, alpha, alpha + one) - third
        v = _accepted(key, d, third / np.sqrt(d), dtype)
        if log_space:
            e = np.log1p(-_uniform(boost_key, dtype))
            boost = np.where(large | (e == 0), dtype.type(0), e * (one / alpha))
            out = (np.log(d) + np.log(v)) + boost
        else:
            boost = np.power(one - _uniform(boost_key, dtype), one / alpha)
            out = d * v * np.where(large, one, boost)
    return out.astype(dtype).reshape(shape)


def _accepted(key: Any, d: Any, c: Any, dtype: Any) -> Any:
    """The cubes v of the proposals that pass."""
    result = np.ones(key.shape, dtype)
    todo = np.arange(key.size)
    one, squeeze, half = dtype.type(1), dtype.type(0.0331), dtype.type(0.5)
    while todo.size:
        key, x_key, u_key = _split(key, 3)
        x, v = _proposals(x_key, c, dtype)
        x, v, u = x * x, v * v * v, _uniform(u_key, dtype)
        result[todo] = v
        again = (u >= one - squeeze * (x * x)) & (np.log(u) >= x * half + d * (one - v + np.log(v)))
        key, d, c, todo = key[again], d[again], c[again], todo[again]
    return result


def _gamma_jvp(primals: Any, tangents: Any, *, log_space: bool) -> Any:
    """The slope of a sample with respect to alpha, at the sample (implicit reparametrisation)."""
    (keys, alpha), t = primals, tangents[1]
    out = random_gamma(keys, alpha, log_space=log_space)
    if type(t) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    if not log_space:
        return out, _mul(t, _gamma_grad(alpha, out))
    sample = _exp(out)
    return out, _mul(t, _div(_gamma_grad(alpha, sample), sample))


def _gamma_batch(size: int, args: Any, dims: Any, *, log_space: bool) -> Any:
    keys, alpha = (move_to_front(x, d, size) for x, d in zip(args, dims, strict=True))
    return random_gamma(keys, alpha, log_space=log_space), 0


def _gamma_lower(b: Any, keys: Any, alpha: Any, *, log_space: bool) -> Any:
    keys, alpha = b.materialize(keys), b.materialize(alpha)
    out, rank = b.buffer(alpha.shape, alpha.dtype), len(keys.shape)

    def sample(i: list[Any]) -> None:
        words = rng.compiled_block(b.s, keys.at(i[:rank]), i[rank:], alpha.shape[rank:])
        key = b.let(rng.compiled_join(b.s, *words))
        b.store(out, i, _gamma_element(b, key, b.let(alpha.at(i)), log_space, _accept_loop))

    loop_nest(b, alpha.shape, sample, [True] * len(alpha.shape))
    return out


def _child(s: Any, key: Any, k: int, n: int) -> Any:
    """The k-th of the n keys into which a key splits."""
    return rng.compiled_join(s, *rng.compiled_block(s, key, (k,), (n,)))


def _gamma_element(b: Any, key: Any, alpha: Any, log_space: bool, accept: Any) -> Any:
    s, dtype = b.s, np.dtype(alpha.dtype)

    def const(value: float) -> Any:
        return s.const(dtype.type(value), dtype)

    one, zero = const(1), const(0)
    large = b.let(s.ge(alpha, one))
    d = b.let(s.sub(s.select(large, alpha, s.add(alpha, one)), const(1 / 3)))
    c = b.let(s.div(const(1 / 3), s.sqrt(d)))
    boost_key = b.let(_child(s, key, 1, 2))
    v = accept(b, b.let(_child(s, key, 0, 2)), d, c, dtype)
    u = b.let(_compiled_uniform(s, boost_key, dtype))
    if log_space:
        e = s.math("log1p", s.neg(u))
        none = s.or_(large, s.eq(e, zero))
        boost = s.select(none, zero, s.mul(e, s.div(one, alpha)))
        return s.add(s.add(s.math("log", d), s.math("log", v)), boost)
    boost = s.math("pow", s.sub(one, u), s.div(one, alpha))
    return s.mul(s.mul(d, v), s.select(large, one, boost))


def _accept_loop(b: Any, first: Any, d: Any, c: Any, dtype: Any) -> Any:
    """Draw proposals until one passes; its cube v."""
    s = b.s

    def const(value: float) -> Any:
        return s.const(dtype.type(value), dtype)

    key, again = b.var(first, _U64), b.var(s.const(True, np.bool_), np.bool_)
    result = b.var(const(1), dtype)
    with b.while_(lambda: again.get()):
        now = b.let(key.get())
        key.set(_child(s, now, 0, 3))
        x, v = _proposal_loop(b, b.let(_child(s, now, 1, 3)), c, dtype)
        u = b.let(_compiled_uniform(s, _child(s, now, 2, 3), dtype))
        x, v = b.let(s.mul(x, x)), b.let(s.mul(s.mul(v, v), v))
        result.set(v)
        again.set(_refused(s, x, v, u, d, dtype))
    return b.let(result.get())


def _refused(s: Any, x: Any, v: Any, u: Any, d: Any, dtype: Any) -> Any:
    """Whether the proposal with the square x and the cube v is to be drawn again."""

    def const(value: float) -> Any:
        return s.const(dtype.type(value), dtype)

    squeezed = s.ge(u, s.sub(const(1), s.mul(const(0.0331), s.mul(x, x))))
    rest = s.mul(d, s.add(s.sub(const(1), v), s.math("log", v)))
    unlikely = s.ge(s.math("log", u), s.add(s.mul(x, const(0.5)), rest))
    return s.and_(squeezed, unlikely)


def _proposal_loop(b: Any, first: Any, c: Any, dtype: Any) -> tuple[Any, Any]:
    s = b.s
    key = b.var(first, _U64)
    x, v = b.var(s.const(0, dtype), dtype), b.var(s.const(-1, dtype), dtype)
    with b.while_(lambda: s.le(v.get(), s.const(0, dtype))):
        now = b.let(key.get())
        key.set(_child(s, now, 0, 2))
        draw = b.let(_compiled_normal(s, b.let(_child(s, now, 1, 2)), dtype))
        x.set(draw)
        v.set(s.fma(draw, c, s.const(1, dtype)))
    return b.let(x.get()), b.let(v.get())


# All elements at once: those that have passed wait for the others.


def _gamma_hlo(b: Any, keys: Any, alpha: Any, *, log_space: bool) -> Any:
    key = rng.split_hlo(b, keys, shape=alpha.shape[len(keys.shape) :])
    return _gamma_element(b, key, alpha, log_space, _accept_all)


def _any(b: Any, x: Any) -> Any:
    axes = list(range(len(x.shape)))
    return b.reduce([x], axes, [False], lambda s, a, v: [s.or_(a[0], v[0])])[0]


def _accept_all(b: Any, first: Any, d: Any, c: Any, dtype: Any) -> Any:
    s, shape = b.s, first.shape

    def draw(key: Any, todo: Any, result: Any) -> list[Any]:
        x, v = _propose_all(b, _child(s, key, 1, 3), todo, c, dtype)
        u = _compiled_uniform(s, _child(s, key, 2, 3), dtype)
        x, v = s.mul(x, x), s.mul(s.mul(v, v), v)
        again = s.and_(todo, _refused(s, x, v, u, d, dtype))
        return [_child(s, key, 0, 3), again, b.select(todo, v, result)]

    start = [first, b.full(shape, True, np.bool_), b.full(shape, 1, dtype)]
    return b.loop(start, lambda key, todo, result: _any(b, todo), draw)[2]


def _propose_all(b: Any, first: Any, wanted: Any, c: Any, dtype: Any) -> tuple[Any, Any]:
    s, shape = b.s, first.shape

    def draw(key: Any, todo: Any, x: Any, v: Any) -> list[Any]:
        new = _compiled_normal(s, _child(s, key, 1, 2), dtype)
        x = b.select(todo, new, x)
        v = b.select(todo, s.fma(new, c, s.const(1, dtype)), v)
        return [_child(s, key, 0, 2), s.and_(todo, s.le(v, s.const(0, dtype))), x, v]

    start = [first, wanted, b.full(shape, 0, dtype), b.full(shape, 1, dtype)]
    return tuple(b.loop(start, lambda key, todo, x, v: _any(b, todo), draw)[2:])


def _no_samples() -> Sequence[Any]:
    return ()  # keys cannot be written as NumPy arrays; the tests of `random` cover it


random_gamma: Final[Primitive] = Primitive(
    name="random_gamma",
    abstract=_gamma_abstract,
    reference=_gamma_reference,
    jvp=_gamma_jvp,
    transpose=NotApplicable("transpose", "random numbers are not linear in alpha", TypeError),
    batch=_gamma_batch,
    partial_eval=FIRST_ORDER,
    lower=_gamma_lower,
    hlo=_gamma_hlo,
    samples=_no_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
