"""Reductions of sliding windows, and the scattering of gradients back through those of extremes.

A window at output position o and offset w reads the operand at o * stride + w * dilation - low,
counted in the operand stretched by its base dilation; what lies outside or between is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    is_linear,
)
from pullback.errors import UnsupportedError
from pullback.ops import hlo_windows, windows
from pullback.ops.arithmetic import extremum
from pullback.ops.comparison import ge, le
from pullback.ops.kinds import (
    ANY,
    NONLINEAR,
    NUMERIC,
    batch_front,
    check_accepts,
    late,
    linear_jvp,
    widened,
    zero_tangent,
)
from pullback.ops.reductions import identity_of
from pullback.ops.samples import draw, generator

__all__ = [
    "Windows",
    "pooled_shape",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_sum",
    "select_and_gather_add",
    "select_and_scatter_add",
]


class Windows(NamedTuple):
    """Where the windows are, one entry an axis; the fields are the primitives' parameters."""

    window_dimensions: tuple[int, ...]
    window_strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    base_dilation: tuple[int, ...]
    window_dilation: tuple[int, ...]

    def check(self, name: str, rank: int) -> None:
        """Raise unless there is one positive entry for each of `rank` axes."""
        if any(len(field) != rank for field in self):
            raise TypeError(
                f"{name}: window parameters must have one entry for each of {rank} axes"
            )
        positive = (self.window_strides, self.base_dilation, self.window_dilation)
        if any(n < 1 for field in positive for n in field) or min(self[0], default=1) < 1:
            raise TypeError(f"{name}: windows, strides and dilations must be positive: {self}")

    def with_batch(self, axis: int) -> Windows:
        """The same windows of an operand that has one more axis, through which none extends."""
        neutral: tuple[Any, ...] = (1, 1, (0, 0), 1, 1)
        fields = zip(self, neutral, strict=True)
        return Windows(*[(*f[:axis], n, *f[axis:]) for f, n in fields])

    def plain(self) -> bool:
        """Whether nothing is dilated."""
        return set(self.base_dilation) | set(self.window_dilation) <= {1}


def pooled_shape(shape: Sequence[int], w: Windows) -> tuple[int, ...]:
    """The number of windows along each axis."""

    def count(n: int, size: int, stride: int, pad: Any, base: int, dilation: int) -> int:
        length = (n - 1) * base + 1 if n else 0
        room = length + sum(pad) - ((size - 1) * dilation + 1)
        return room // stride + 1 if room >= 0 else 0

    return tuple(count(*axis) for axis in zip(shape, *w, strict=True))


def _abstract(name: str, accepts: str) -> Callable[..., ShapedArray]:
    def abstract(x: ShapedArray, **params: Any) -> ShapedArray:
        w = Windows(**params)
        check_accepts(name, x, accepts)
        w.check(name, x.ndim)
        return ShapedArray(pooled_shape(x.shape, w), x.dtype, x.weak_type)

    return abstract


# --------------------------------------------------------------------------- by NumPy


def _stretched(x: Any, w: Windows, fill: Any) -> Any:
    """`x` with its base dilation and padding; negative padding cuts."""
    lengths = [(n - 1) * d + 1 if n else 0 for n, d in zip(x.shape, w.base_dilation, strict=True)]
    totals = [max(n + sum(p), 0) for n, p in zip(lengths, w.padding, strict=True)]
    out = np.full(totals, fill, x.dtype)
    into, taken = [], []
    for n, d, (low, _), total in zip(x.shape, w.base_dilation, w.padding, totals, strict=True):
        first = max(-(low // d), 0)
        last = min(n, (total - 1 - low) // d + 1) if total else first
        into.append(slice(low + first * d, low + (last - 1) * d + 1 if last > first else 0, d))
        taken.append(slice(first, max(last, first)))
    if all(s.stop > s.start for s in taken):
        out[tuple(into)] = x[tuple(taken)]
    return out


def _window_array(x: Any, w: Windows, fill: Any) -> Any:
    """All windows: the axes of positions, then those of offsets (a view)."""
    shape = pooled_shape(x.shape, w)
    wide = _stretched(x, w, fill)
    steps = [n * s for n, s in zip(wide.strides, w.window_strides, strict=True)]
    within = [n * d for n, d in zip(wide.strides, w.window_dilation, strict=True)]
    return np.lib.stride_tricks.as_strided(
        wide, (*shape, *w.window_dimensions), (*steps, *within), writeable=False
    )


def _reference(name: str, ufunc: Any) -> Callable[..., Any]:
    def reference(x: Any, **params: Any) -> Any:
        w, fill = Windows(**params), identity_of(name, x.dtype)
        if 0 in pooled_shape(x.shape, w):
            return np.zeros(pooled_shape(x.shape, w), x.dtype)
        axes = tuple(range(x.ndim, 2 * x.ndim))
        return ufunc.reduce(_window_array(x, w, fill), axis=axes, dtype=x.dtype, initial=fill)

    return widened(reference)


# --------------------------------------------------------------------------- by the compiler


def window_view(b: Any, x: Any, w: Windows, fill: Any) -> Any:
    """The tensor of all windows, offsets last."""
    shape = (*pooled_shape(x.shape, w), *w.window_dimensions)
    if 0 in x.shape:
        return b.full(shape, fill, x.dtype)
    rank = len(x.shape)

    def at(i: Sequence[Any]) -> Any:
        places, inside = _place(b.s, i[:rank], i[rank:], x.shape, w)
        value = x.at(places)
        return value if inside is None else b.s.select(inside, value, b.s.const(fill, x.dtype))

    return b.view(shape, at)


def _place(s: Any, out: Any, offset: Any, shape: Sequence[int], w: Windows) -> tuple[Any, Any]:
    """Where a window reads, clamped into the operand, and whether that is really there."""
    places, conditions = [], []
    for k, n in enumerate(shape):
        p = out[k] * w.window_strides[k] + offset[k] * w.window_dilation[k] - w.padding[k][0]
        base = w.base_dilation[k]
        if base > 1:
            conditions.append((p % base) < 1)
            p = p // base
        if base > 1 or any(w.padding[k]):
            conditions += [p >= 0, p < n]
            p = s.index(p, 0, n - 1)
        places.append(p)
    inside = None
    for condition in conditions:
        inside = condition if inside is None else s.and_(inside, condition)
    return places, inside


def _lower(name: str, combine: Callable[..., Any]) -> Callable[..., Any]:
    def lower(b: Any, x: Any, **params: Any) -> Any:
        w, dtype, rank = Windows(**params), x.dtype, len(x.shape)
        narrow = dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4
        if narrow:
            x = b.map(lambda s, v: s.convert(v, dtypes.float32), x)
        fill = identity_of(name, x.dtype)
        view, axes = window_view(b, x, w, fill), range(rank, 2 * rank)
        (out,) = b.reduce([view], tuple(axes), [fill], lambda s, a, v: [combine(s, a[0], v[0])])
        return b.map(lambda s, v: s.convert(v, dtype), out) if narrow else out

    return lower


def _hlo(name: str, combine: Callable[..., Any]) -> Callable[..., Any]:
    def rule(b: Any, x: Any, **params: Any) -> Any:
        dtype, shape = x.dtype, b.types[0][0]
        if 0 in shape or 0 in x.shape:
            return b.full(shape, identity_of(name, dtype), dtype)
        if dtypes.kind_of(dtype) == "f" and dtype.itemsize < 4:
            x = b.convert(x, dtypes.float32)
        fill = identity_of(name, x.dtype)
        (out,) = hlo_windows.reduce_window(
            b, [x], [fill], lambda s, a, v: [combine(s, a[0], v[0])], **params
        )
        return b.convert(out, dtype)

    return rule


# --------------------------------------------------------------------------- the family


def _batch(bind: Callable[..., Any]) -> Callable[..., Any]:
    def batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, int]:
        w = Windows(**params).with_batch(dims[0])
        return bind(*args, **w._asdict()), dims[0]

    return batch


_CASES = (
    ((6,), Windows((3,), (1,), ((0, 0),), (1,), (1,))),
    ((7,), Windows((3,), (2,), ((1, 1),), (1,), (1,))),
    ((4, 5), Windows((2, 2), (1, 2), ((0, 1), (1, 0)), (1, 1), (1, 1))),
    ((2, 4, 4, 3), Windows((1, 2, 2, 1), (1, 2, 2, 1), ((0, 0),) * 4, (1,) * 4, (1,) * 4)),
    ((0, 3), Windows((1, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))),
)
_DILATED = (
    ((6,), Windows((2,), (1,), ((1, 2),), (2,), (3,))),
    ((5, 4), Windows((2, 2), (2, 1), ((2, 0), (-1, 1)), (1, 2), (2, 1))),
)


def _samples(accepts: str) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        rng = generator()
        for shape, w in (*_CASES, *_DILATED):
            params = w._asdict()
            yield Sample(
                (draw(rng, dtypes.float32, shape),), params, w.plain() or accepts == NUMERIC
            )
        for dtype in (np.int32, np.uint8, dtypes.bfloat16, np.complex64):
            if dtypes.kind_of(np.dtype(dtype)) in accepts:
                yield Sample((draw(rng, np.dtype(dtype), (4, 5)),), _CASES[2][1]._asdict())

    return samples


def _pooling(
    name: str, ufunc: Any, accepts: str, *, jvp: Any, transpose: Any, combine: Any, samples: Any
) -> Primitive:
    full_name = f"reduce_window_{name}"
    return Primitive(
        name=full_name,
        abstract=_abstract(full_name, accepts),
        reference=_reference(name, ufunc),
        jvp=jvp,
        transpose=transpose,
        batch=_batch(late(full_name)),
        partial_eval=FIRST_ORDER,
        lower=_lower(name, combine),
        hlo=_hlo(name, combine),
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def _transposed(shape: Sequence[int], w: Windows) -> Windows:
    """The windows of the cotangent that give the cotangent of an operand of this shape.

    A cotangent, stretched by the strides, meets the windows backwards.
    """
    padding = []
    for k, count in enumerate(pooled_shape(shape, w)):
        reach = (w.window_dimensions[k] - 1) * w.window_dilation[k]
        low = reach - w.padding[k][0]
        have = (count - 1) * w.window_strides[k] + 1 if count else 0
        need = (shape[k] - 1) * w.base_dilation[k] + reach + 1 if shape[k] else 0
        padding.append((low, need - have - low))
    return Windows(
        w.window_dimensions, w.base_dilation, tuple(padding), w.window_strides, w.window_dilation
    )


def _sum_transpose(ct: Any, x: Any, **params: Any) -> list[Any]:
    shape = x.aval.shape
    if 0 in shape:
        return [Zero(x.aval)]
    return [reduce_window_sum(ct, **_transposed(shape, Windows(**params))._asdict())]


reduce_window_sum: Primitive = _pooling(
    "sum",
    np.add,
    NUMERIC,
    jvp=linear_jvp(late("reduce_window_sum")),
    transpose=_sum_transpose,
    combine=lambda s, a, v: s.add(a, v),
    samples=_samples(NUMERIC),
)


def _extremum_jvp(name: str, select_prim: Primitive) -> Callable[..., tuple[Any, Any]]:
    bind = late(name)

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, **params)
        if type(t) is Zero:
            return out, zero_tangent(out)
        return out, select_and_gather_add(t, x, select_prim=select_prim, **params)

    return jvp


reduce_window_max: Primitive = _pooling(
    "max",
    np.maximum,
    ANY,
    jvp=_extremum_jvp("reduce_window_max", ge),
    transpose=NONLINEAR,
    combine=extremum("max"),
    samples=_samples(ANY),
)
reduce_window_min: Primitive = _pooling(
    "min",
    np.minimum,
    ANY,
    jvp=_extremum_jvp("reduce_window_min", le),
    transpose=NONLINEAR,
    combine=extremum("min"),
    samples=_samples(ANY),
)

# --------------------------------------------------------------------------- selection in windows


def _selected(x: Any, w: Windows, select_prim: Any) -> Any:
    """For each window the first offset of the extreme, counted row by row."""
    best = "max" if select_prim is ge else "min"
    view = _window_array(x, w, identity_of(best, x.dtype))
    flat = view.reshape(*view.shape[: x.ndim], math.prod(w.window_dimensions))
    return flat.argmax(-1) if select_prim is ge else flat.argmin(-1)


def _gather_abstract(t: ShapedArray, x: ShapedArray, *, select_prim: Any, **params: Any) -> Any:
    w = Windows(**params)
    w.check("select_and_gather_add", x.ndim)
    if t.shape != x.shape:
        raise TypeError(f"select_and_gather_add: {t.str_short()} does not go with {x.str_short()}")
    return ShapedArray(pooled_shape(x.shape, w), t.dtype)


def _gather_reference(t: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    w = Windows(**params)
    if 0 in pooled_shape(x.shape, w):
        return np.zeros(pooled_shape(x.shape, w), t.dtype)
    view = _window_array(t, w, t.dtype.type(0))
    flat = view.reshape(*view.shape[: x.ndim], math.prod(w.window_dimensions))
    return np.take_along_axis(flat, _selected(x, w, select_prim)[..., None], -1)[..., 0]


def _gather_lower(b: Any, t: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    w, rank = Windows(**params), len(x.shape)
    worst = identity_of("max" if select_prim is ge else "min", x.dtype)
    values, slopes = window_view(b, x, w, worst), window_view(b, t, w, 0)
    strides = [math.prod(w.window_dimensions[k + 1 :]) for k in range(rank)]

    def number(i: Sequence[Any]) -> Any:
        total = b.s.const(0, dtypes.int64)
        for offset, stride in zip(i[rank:], strides, strict=True):
            total = total + offset * stride
        return total

    places = b.view(values.shape, number)
    end = math.prod(w.window_dimensions)
    operands, axes = [values, places, slopes], tuple(range(rank, 2 * rank))
    return b.reduce(operands, axes, [worst, end, 0], _better(select_prim))[2]


def _gather_hlo(b: Any, t: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    shape = b.types[0][0]
    if 0 in shape:
        return b.full(shape, 0, t.dtype)
    worst = identity_of("max" if select_prim is ge else "min", x.dtype)
    # Places within the operand are in the order of those within a window.
    places = b.reshape(b.iota((math.prod(x.shape),), dtypes.int32, 0), x.shape)
    operands, inits = [x, places, t], [worst, np.iinfo(np.int32).max, 0]
    return hlo_windows.reduce_window(b, operands, inits, _better(select_prim), **params)[2]


def _better(select_prim: Any) -> Callable[..., Any]:
    """The better of two (value, place, slope): by value, then by place."""
    ahead = "gt" if select_prim is ge else "lt"

    def combine(s: Any, a: Any, v: Any) -> Any:
        first = s.and_(s.eq(v[0], a[0]), s.lt(v[1], a[1]))
        take = s.or_(getattr(s, ahead)(v[0], a[0]), first)
        return [s.select(take, new, old) for new, old in zip(v, a, strict=True)]

    return combine


def _pair_batch(bind: Callable[..., Any]) -> Callable[..., Any]:
    def batch(size: int, args: Any, dims: Any, *, select_prim: Any, **params: Any) -> Any:
        args = [batch_front(size, x, d) for x, d in zip(args, dims, strict=True)]
        full = Windows(*(params.get(f, _ones(params)) for f in Windows._fields)).with_batch(0)
        kept = {name: value for name, value in full._asdict().items() if name in params}
        return bind(*args, select_prim=select_prim, **kept), 0

    return batch


def _ones(params: dict[str, Any]) -> tuple[int, ...]:
    return (1,) * len(params["window_dimensions"])


def _select_jvp(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Both selections are linear in their first operand and locally constant in the second."""

    def jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
        out = bind(*primals, **params)
        if type(tangents[0]) is Zero:
            return out, zero_tangent(out)
        return out, bind(tangents[0], primals[1], **params)

    return jvp


def _gather_transpose(ct: Any, t: Any, x: Any, *, select_prim: Any, **params: Any) -> list[Any]:
    w = Windows(**params)
    if not is_linear(t) or is_linear(x):
        raise TypeError("select_and_gather_add is linear in its first operand only")
    if not w.plain():
        raise UnsupportedError("the gradient of an extreme over dilated windows has no rule")
    if 0 in aval_of(ct).shape:
        return [Zero(t.aval), None]
    kept = {k: v for k, v in params.items() if not k.endswith("dilation")}
    return [select_and_scatter_add(ct, x, select_prim=select_prim, **kept), None]


def _select_samples(scatter: bool) -> Callable[[], Iterator[Sample]]:
    def samples() -> Iterator[Sample]:
        rng = generator()
        for shape, w in _CASES[:4]:
            x = draw(rng, dtypes.float32, shape)
            first = draw(rng, dtypes.float32, pooled_shape(shape, w) if scatter else shape)
            params = {k: v for k, v in w._asdict().items() if not (scatter and "dilation" in k)}
            for select_prim in (ge, le):
                yield Sample((first, x), {**params, "select_prim": select_prim})

    return samples


select_and_gather_add: Primitive = Primitive(
    name="select_and_gather_add",
    abstract=_gather_abstract,
    reference=_gather_reference,
    jvp=_select_jvp(late("select_and_gather_add")),
    transpose=_gather_transpose,
    batch=_pair_batch(late("select_and_gather_add")),
    partial_eval=FIRST_ORDER,
    lower=_gather_lower,
    hlo=_gather_hlo,
    samples=_select_samples(scatter=False),
    multiple_results=False,
    effects=PURE,
    literals=False,
)


def _undilated(params: dict[str, Any]) -> Windows:
    ones = _ones(params)
    return Windows(**params, base_dilation=ones, window_dilation=ones)


def _scatter_abstract(source: Any, x: Any, *, select_prim: Any, **params: Any) -> ShapedArray:
    w = _undilated(params)
    w.check("select_and_scatter_add", x.ndim)
    if source.shape != pooled_shape(x.shape, w) or source.dtype != x.dtype:
        raise TypeError(
            f"select_and_scatter_add: the source {source.str_short()} must have the dtype of "
            f"{x.str_short()} and the shape {pooled_shape(x.shape, w)} of its windows"
        )
    return ShapedArray(x.shape, x.dtype)


def _scatter_reference(source: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    w = _undilated(params)
    offsets = np.unravel_index(_selected(x, w, select_prim), w.window_dimensions)
    out, places, inside = np.zeros(x.shape, x.dtype), [], np.True_
    for k, n in enumerate(x.shape):
        start = np.arange(source.shape[k]) * w.window_strides[k] - w.padding[k][0]
        place = offsets[k] + start.reshape([-1 if m == k else 1 for m in range(x.ndim)])
        inside = inside & (place >= 0) & (place < n)
        places.append(np.clip(place, 0, n - 1))
    np.add.at(out, tuple(places), np.where(inside, source, source.dtype.type(0)))
    return out


def _scatter_lower(b: Any, source: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    w, rank, s = _undilated(params), len(x.shape), b.s
    out = b.buffer(x.shape, x.dtype, b.full(x.shape, 0, x.dtype))
    free = [n == m == 1 and pad == (0, 0) for n, m, pad in zip(*w[:3], strict=True)]
    worst = identity_of("max" if select_prim is ge else "min", x.dtype)

    def window(o: list[Any]) -> None:
        best, found = b.var(worst, x.dtype), b.var(-1, dtypes.int64)

        def look(offset: list[Any]) -> None:
            places, inside = _place(s, o, offset, x.shape, w)
            value = x.at(places)
            ahead = s.gt(value, best.get()) if select_prim is ge else s.lt(value, best.get())
            ahead = s.or_(ahead, s.lt(found.get(), 0))
            flat = places[0] * 1 if rank else s.const(0, dtypes.int64)
            for k in range(1, rank):
                flat = flat * x.shape[k] + places[k]
            with b.if_(ahead if inside is None else s.and_(inside, ahead)):
                best.set(value)
                found.set(flat)

        windows.loop_nest(b, w.window_dimensions, look, [False] * rank)
        with b.if_(s.ge(found.get(), 0)):
            place = _unravel(b.let(found.get()), x.shape)
            b.store(out, place, s.add(b.load(out, place), source.at(o)))

    windows.loop_nest(b, source.shape, window, free)
    return out


def _scatter_hlo(b: Any, source: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    if 0 in source.shape or 0 in x.shape:
        return b.full(x.shape, 0, x.dtype)
    better = "GE" if select_prim is ge else "LE"
    return hlo_windows.select_and_scatter(b, source, x, better, **params)


def _unravel(flat: Any, shape: Sequence[int]) -> list[Any]:
    place = []
    for n in reversed(shape):
        place.append(flat % n)
        flat = flat // n
    return place[::-1]


def _scatter_transpose(ct: Any, source: Any, x: Any, *, select_prim: Any, **params: Any) -> Any:
    if not is_linear(source) or is_linear(x):
        raise TypeError("select_and_scatter_add is linear in its first operand only")
    full = _undilated(params)._asdict()
    return [select_and_gather_add(ct, x, select_prim=select_prim, **full), None]


select_and_scatter_add: Primitive = Primitive(
    name="select_and_scatter_add",
    abstract=_scatter_abstract,
    reference=_scatter_reference,
    jvp=_select_jvp(late("select_and_scatter_add")),
    transpose=_scatter_transpose,
    batch=_pair_batch(late("select_and_scatter_add")),
    partial_eval=FIRST_ORDER,
    lower=_scatter_lower,
    hlo=_scatter_hlo,
    samples=_select_samples(scatter=True),
    multiple_results=False,
    effects=PURE,
    literals=False,
)
