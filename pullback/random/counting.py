"""Distributions over counts; those of Poisson and binomial by rejection, in while loops.

W. Hormann, "The transformed rejection method for generating Poisson random variables", Insurance:
Mathematics and Economics 12 (1993); "The generation of binomial random variates", Journal of
Statistical Computation and Simulation 46 (1993).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.dtypes import check_user_dtype
from pullback.lax.control_flow import scan, while_loop
from pullback.ops import conversion, cumulative, elementwise, rearrange, reductions, special
from pullback.ops.kinds import integer_limits
from pullback.random.basic import broadcast_parameter, float_dtype, parameter_shape, uniform_of
from pullback.random.discrete import take
from pullback.random.engines import split_keys
from pullback.random.keys import one_key, split_into
from pullback.runtime.composites import compiled_when_eager

__all__ = ["binomial", "geometric", "multinomial", "poisson"]

e = elementwise


def _integer_dtype(name: str, dtype: Any) -> Any:
    if dtype is None:
        return dtypes.default_int()
    found = check_user_dtype(dtype, name)
    if dtypes.kind_of(found) not in "iu":
        raise ValueError(f"{name} gives integers; dtype {found.name} is not one of integers")
    return found


def _any(x: Any) -> Any:
    return reductions.reduce_or(x, axes=tuple(range(aval_of(x).ndim)))


def _const(x: Any, value: Any) -> Any:
    return rearrange.full_like(x, value)


# --------------------------------------------------------------------------- geometric


@compiled_when_eager("shape", "dtype", "out_sharding")
def geometric(
    key: Any, p: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Number of coin tosses up to the first success, of probability `p`: 1, 2, ...

    >>> from pullback.random.keys import PRNGKey
    >>> bool((geometric(PRNGKey(0), 0.5, (9,)) >= 1).all())
    True
    """
    found, shape = _integer_dtype("geometric", dtype), parameter_shape("geometric", shape, p)
    of: Any = dtypes.to_inexact_dtype(aval_of(p).dtype)
    u = uniform_of(one_key("geometric", key), shape, of)
    u = e.where(e.eq(u, of.type(0)), 1.0, u)
    miss = e.log1p(e.neg(broadcast_parameter(p, of, shape)))
    tosses = e.add(e.floor(e.div(e.log(u), miss)), of.type(1))
    return conversion.convert(tosses, found)


# --------------------------------------------------------------------------- poisson


@compiled_when_eager("shape", "dtype", "out_sharding")
def poisson(
    key: Any, lam: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Any:
    """Counts of independent events, `lam` on average; -1 where `lam` is NaN.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((poisson(PRNGKey(0), 3.0, (9,)) >= 0).all())
    True
    """
    found, shape = _integer_dtype("poisson", dtype), parameter_shape("poisson", shape, lam)
    key = one_key("poisson", key)
    lam = broadcast_parameter(lam, np.dtype(np.float32), shape)
    limit = int(integer_limits(found).max)
    few = e.or_(e.ne(lam, lam), e.lt(lam, 10.0))
    by_products = _poisson_by_products(key, e.where(few, lam, 0.0), found, limit)
    by_rejection = _poisson_by_rejection(key, e.where(few, 1e5, lam), found, limit)
    counts = e.select_n(few, by_rejection, by_products)
    return e.select_n(e.eq(lam, 0.0), counts, _const(counts, 0))


def _poisson_by_products(key: Any, lam: Any, dtype: Any, limit: int) -> Any:
    """Knuth: how many uniform numbers it takes until their product is below exp(-lam)."""
    shape = aval_of(lam).shape
    bound = e.neg(lam)

    def unfinished(state: Any) -> Any:
        turn, _, _, logs = state
        return e.and_(_any(e.gt(logs, bound)), e.lt(turn, dtype.type(limit)))

    def multiply(state: Any) -> Any:
        turn, count, key, logs = state
        key, subkey = split_into(key, 2)
        count = e.select_n(e.gt(logs, bound), count, e.add(count, dtype.type(1)))
        u = uniform_of(subkey, shape, np.dtype(np.float32))
        return e.add(turn, dtype.type(1)), count, key, e.add(logs, e.log(u))

    none = rearrange.full(shape, 0, dtype)
    start = (rearrange.full((), 0, dtype), none, key, _const(lam, 0))
    return e.sub(while_loop(unfinished, multiply, start)[1], dtype.type(1))


def _poisson_by_rejection(key: Any, lam: Any, dtype: Any, limit: int) -> Any:
    """Hormann's PTRS."""
    log_lam = e.log(lam)
    b = e.add(np.float32(0.931), e.mul(np.float32(2.53), e.sqrt(lam)))
    a = e.add(np.float32(-0.059), e.mul(np.float32(0.02483), b))
    inverse_alpha = e.add(np.float32(1.1239), e.div(np.float32(1.1328), e.sub(b, np.float32(3.4))))
    v_r = e.sub(np.float32(0.9277), e.div(np.float32(3.6224), e.sub(b, np.float32(2))))

    def unfinished(state: Any) -> Any:
        turn, _, accepted, _ = state
        return e.and_(_any(e.not_(accepted)), e.lt(turn, dtype.type(limit)))

    def propose(state: Any) -> Any:
        turn, found, accepted, key = state
        key, first, second = split_into(key, 3)
        u, v, u_shifted = _centred(first, second, aval_of(lam))
        k = e.floor(e.add(e.add(e.mul(_hat(a, b, u_shifted), u), lam), np.float32(0.43)))
        s = e.log(_scaled(v, inverse_alpha, a, b, u_shifted))
        log_mass = e.sub(
            e.add(e.neg(lam), e.mul(k, log_lam)), special.lgamma(e.add(k, np.float32(1)))
        )
        quick = e.and_(e.ge(u_shifted, np.float32(0.07)), e.le(v, v_r))
        steep = e.and_(e.lt(u_shifted, np.float32(0.013)), e.gt(v, u_shifted))
        reject = e.or_(e.lt(k, np.float32(0)), steep)
        accept = e.or_(quick, e.and_(e.not_(reject), e.le(s, log_mass)))
        return (
            e.add(turn, dtype.type(1)),
            e.select_n(accept, found, k),
            e.or_(accepted, accept),
            key,
        )

    nobody = rearrange.full(aval_of(lam).shape, False, dtypes.bool_)
    start = (rearrange.full((), 0, dtype), _const(lam, -1), nobody, key)
    return conversion.convert(while_loop(unfinished, propose, start)[1], dtype)


def _centred(first: Any, second: Any, aval: Any) -> tuple[Any, Any, Any]:
    """A uniform number less 1/2, another, and 1/2 - |the first|."""
    half = aval.dtype.type(0.5)
    u = e.sub(uniform_of(first, aval.shape, aval.dtype), half)
    v = uniform_of(second, aval.shape, aval.dtype)
    return u, v, e.sub(half, e.abs_(u))


def _hat(a: Any, b: Any, u_shifted: Any) -> Any:
    return e.add(e.div(e.mul(2.0, a), u_shifted), b)


def _scaled(v: Any, alpha: Any, a: Any, b: Any, u_shifted: Any) -> Any:
    return e.div(e.mul(v, alpha), e.add(e.div(a, e.mul(u_shifted, u_shifted)), b))


# --------------------------------------------------------------------------- binomial


@compiled_when_eager("shape", "dtype")
def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Any:
    """How many of `n` coins show heads, each with probability `p`; a float dtype.

    >>> from pullback.random.keys import PRNGKey
    >>> bool((binomial(PRNGKey(0), 10.0, 0.3, (9,)) <= 10).all())
    True
    """
    found, shape = float_dtype("binomial", dtype), parameter_shape("binomial", shape, n, p)
    key = one_key("binomial", key)
    of = dtypes.to_inexact_dtype(dtypes.result_type(n, p))
    n, p = (broadcast_parameter(x, of, shape) for x in (n, p))
    return conversion.convert(binomial_of(key, n, p), found)


def binomial_of(key: Any, n: Any, p: Any) -> Any:
    """Binomial numbers of a checked key; operands of one shape and dtype."""
    less = e.lt(p, 0.5)
    q = e.select_n(less, e.sub(1.0, p), p)
    no_count = e.or_(e.ne(n, n), e.lt(n, 0.0))
    endless = e.eq(e.abs_(n), math.inf)
    no_number, negative = e.ne(q, q), e.lt(q, 0.0)
    q = e.where(e.or_(no_number, negative), 0.01, q)
    few = e.or_(no_count, e.le(e.mul(n, q), 10.0))
    count = e.floor(n)
    by_inversion = _binomial_by_inversion(key, e.where(few, count, 0.0), q)
    by_rejection = _binomial_by_rejection(key, e.where(few, 1e4, count), e.where(few, 0.5, q))
    out = e.select_n(few, by_rejection, by_inversion)
    invalid = e.or_(e.or_(negative, no_number), no_count)
    out = e.where(invalid, math.nan, out)
    out = e.where(e.and_(endless, e.not_(invalid)), math.inf, out)
    as_is = e.or_(e.or_(e.or_(less, no_count), no_number), endless)
    return e.select_n(as_is, e.sub(count, out), out)


def _unending(turn: Any) -> Any:
    return e.lt(conversion.convert(turn, np.dtype(np.float32)), np.finfo(np.float32).max)


def _binomial_by_inversion(key: Any, count: Any, p: Any) -> Any:
    """How many geometric numbers fit into `count`."""
    aval = aval_of(count)
    miss = e.log1p(e.neg(p))

    def unfinished(state: Any) -> Any:
        turn, _, total, _ = state
        return e.and_(_any(e.le(total, count)), _unending(turn))

    def add_one(state: Any) -> Any:
        turn, successes, total, key = state
        subkey, key = split_into(key, 2)
        successes = e.select_n(e.le(total, count), successes, e.add(successes, 1.0))
        u = uniform_of(subkey, aval.shape, aval.dtype)
        return e.add(turn, 1), successes, e.add(total, e.ceil(e.div(e.log(u), miss))), key

    start = (rearrange.full((), 0, np.int32), _const(count, 0), _const(count, 0), key)
    return e.sub(while_loop(unfinished, add_one, start)[1], 1.0)


_STIRLING_TAILS: Final = np.array(
    [
        math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - 0.5 * math.log(2 * math.pi)
        for k in range(10)
    ]
)
"""log k! less Stirling's approximation at k + 1, for k up to 9."""


def _stirling_tail(k: Any) -> Any:
    dtype: Any = aval_of(k).dtype
    small = e.le(k, 9.0)
    k = e.clamp(dtype.type(0), k, dtype.type(9))
    next_k = e.add(k, 1.0)
    square = e.mul(next_k, next_k)
    inner = e.sub(dtype.type(1 / 360), e.div(dtype.type(1 / 1260), square))
    series = e.div(e.sub(dtype.type(1 / 12), e.div(inner, square)), next_k)
    place = conversion.convert(e.floor(k), np.dtype(np.int32))
    return e.select_n(small, series, take(_STIRLING_TAILS.astype(dtype), place, 0))


def _binomial_by_rejection(key: Any, count: Any, p: Any) -> Any:
    """Hormann's BTRS."""
    dtype: Any = aval_of(count).dtype
    deviation = e.sqrt(e.mul(e.mul(count, p), e.sub(1.0, p)))
    b = e.add(1.15, e.mul(2.53, deviation))
    a = e.add(e.add(-0.0873, e.mul(0.0248, b)), e.mul(0.01, p))
    c = e.add(e.mul(count, p), 0.5)
    v_r = e.sub(0.92, e.div(4.2, b))
    r = e.div(p, e.sub(1.0, p))
    alpha = e.mul(e.add(2.83, e.div(5.1, b)), deviation)
    m = e.floor(e.mul(e.add(count, 1.0), p))

    def unfinished(state: Any) -> Any:
        turn, _, accepted, _ = state
        return e.and_(_any(e.not_(accepted)), _unending(turn))

    def propose(state: Any) -> Any:
        turn, found, accepted, key = state
        key, first, second = split_into(key, 3)
        u, v, u_shifted = _centred(first, second, aval_of(count))
        quick = e.and_(e.ge(u_shifted, dtype.type(0.07)), e.le(v, v_r))
        k = e.floor(e.add(e.mul(_hat(a, b, u_shifted), u), c))
        reject = e.or_(e.lt(k, 0.0), e.gt(k, count))
        s = e.log(_scaled(v, alpha, a, b, u_shifted))
        likely = e.le(s, _log_ratio(count, k, m, r))
        accept = e.or_(quick, e.and_(e.not_(reject), likely))
        return (
            e.add(turn, 1),
            e.select_n(accept, found, k),
            e.or_(accepted, accept),
            key,
        )

    nobody = rearrange.full(aval_of(count).shape, False, dtypes.bool_)
    start = (rearrange.full((), 0, np.int32), _const(count, -1), nobody, key)
    return while_loop(unfinished, propose, start)[1]


def _log_ratio(count: Any, k: Any, m: Any, r: Any) -> Any:
    """Logarithm of the mass at `k` over that at the mode `m`."""
    beyond_m = e.add(e.sub(count, m), 1.0)
    beyond_k = e.add(e.sub(count, k), 1.0)
    terms = e.mul(e.add(m, 0.5), e.log(e.div(e.add(m, 1.0), e.mul(r, beyond_m))))
    terms = e.add(terms, e.mul(e.add(count, 1.0), e.log(e.div(beyond_m, beyond_k))))
    last = e.mul(e.add(k, 0.5), e.log(e.div(e.mul(r, beyond_k), e.add(k, 1.0))))
    terms = e.add(terms, last)
    terms = e.add(terms, _stirling_tail(m))
    terms = e.add(terms, _stirling_tail(e.sub(count, m)))
    terms = e.sub(terms, _stirling_tail(k))
    return e.sub(terms, _stirling_tail(e.sub(count, k)))


# --------------------------------------------------------------------------- multinomial


@compiled_when_eager("shape", "dtype", "unroll")
def multinomial(
    key: Any,
    n: Any,
    p: Any,
    *,
    shape: Any = None,
    dtype: Any = None,
    unroll: int | bool = 1,
) -> Any:
    """How often each outcome of probability `p` [..., k] shows in `n` [...] trials.

    >>> from pullback.random.keys import PRNGKey
    >>> float(multinomial(PRNGKey(0), 10.0, np.array([0.5, 0.25, 0.25])).sum())
    10.0
    """
    found = (
        dtypes.default_float() if dtype is None else dtypes.check_user_dtype(dtype, "multinomial")
    )
    aval = aval_of(p)
    if aval.ndim < 1:
        raise ValueError("multinomial needs probabilities of rank 1 or more")
    outcomes = aval.shape[-1]
    one = np.empty(aval.shape[:-1], np.bool_)
    batch = parameter_shape("multinomial", None if shape is None else tuple(shape)[:-1], n, one)
    of: Any = dtypes.to_inexact_dtype(dtypes.result_type(n, p))
    p = broadcast_parameter(p, of, (*batch, outcomes))
    rank = len(batch)
    p = rearrange.moveaxis(p, rank, 0)
    rest = cumulative.cumsum(p, axis=0, reverse=True)
    ratios = e.div(p, e.where(e.eq(rest, 0.0), 1.0, rest))
    keys = split_keys(one_key("multinomial", key), (outcomes,))

    def draw(remaining: Any, x: Any) -> Any:
        ratio, subkey = x
        ratio = e.min_(e.max_(ratio, of.type(0)), of.type(1))
        count = binomial_of(subkey, remaining, ratio)
        return e.sub(remaining, count), count

    start = broadcast_parameter(n, of, batch)
    counts = scan(draw, start, (ratios, keys), unroll=unroll)[1]
    return conversion.convert(rearrange.moveaxis(counts, 0, rank), found)
