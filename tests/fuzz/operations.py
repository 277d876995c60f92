"""First-order operations of random programs: each draws its operands and adds a statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np

from tests.fuzz.block import Block, _sum
from tests.fuzz.elementwise import (
    binary,
    bits,
    cast,
    compare,
    complex_operation,
    extreme,
    float_binary,
    float_unary,
    smooth_unary,
    tamed_product,
    unary,
    weak_scalar,
    where,
    wide,
)
from tests.fuzz.lattice import Type, canonical, inexact, promoted
from tests.fuzz.program import Var

Operation = Callable[[Block], Any]

# --------------------------------------------------------------------------- structure


def _axis(b: Block, x: Var) -> int:
    return b.integer(-x.type.ndim, x.type.ndim - 1)


def reshape(b: Block) -> None:
    """Another shape of the same size."""
    x = b.pick()
    shape = x.type.shape
    options = [(x.type.size,), (1, *shape), (*shape, 1)]
    if len(shape) >= 2:
        options += [(shape[0] * shape[1], *shape[2:]), shape[::-1]]
    if x.type.size and x.type.size % 2 == 0:
        options.append((2, x.type.size // 2))
    new = b.one_of(options)
    b.emit(f"{{0}}.reshape({new})", [x], x.type.at(new), lambda v: v.reshape(new))


def transpose(b: Block) -> None:
    """Axes in another order."""
    x = b.pick(least=2)
    order = tuple(b.draw(st.permutations(range(x.type.ndim))))
    shape = tuple(x.type.shape[k] for k in order)
    b.emit(f"jnp.transpose({{0}}, {order})", [x], x.type.at(shape), lambda v: v.transpose(order))


def basic_index(b: Block) -> None:
    """Slices, steps, new axes and single elements."""
    x = b.pick(least=1)
    parts: list[str] = []
    for size in x.type.shape:
        low = b.integer(0, max(size - 1, 0))
        options = [":", f"{low}:", "::-1", "::2", f":{low}", f"{low}:{low + 2}", f"-2::{1}"]
        if size:
            options += [str(low), str(low - size)]
        parts.append(b.one_of(options))
    if b.flag():
        parts.insert(b.integer(0, len(parts)), "None")
    index = ", ".join(parts)
    key = eval(f"np.s_[{index}]", {"np": np})
    shape = np.empty(x.type.shape, bool)[key].shape
    b.emit(f"{{0}}[{index}]", [x], x.type.at(shape), lambda v: v[key])


def broadcast(b: Block) -> None:
    """More lanes."""
    x = b.pick()
    size = b.one_of(b.names.sizes)
    shape = (size, *x.type.shape)
    if size * x.type.size <= 1 << 18:
        b.broadcast(x, shape)


def pad(b: Block) -> None:
    """A border; `lax.pad` also between elements and of negative width."""
    x = b.pick("f" if b.names.smooth else "fi", least=1)
    if b.flag():
        widths = [(b.integer(0, 2), b.integer(0, 2)) for _ in x.type.shape]
        b.emit(
            f"jnp.pad({{0}}, {widths})",
            [x],
            x.type.at(tuple(n + lo + hi for n, (lo, hi) in zip(x.type.shape, widths, strict=True))),
            lambda v: np.pad(v, widths),
        )
        return
    config = [(b.integer(-1, 2), b.integer(-1, 2), b.integer(0, 2)) for _ in x.type.shape]
    shape = tuple(
        n + max(n - 1, 0) * gap + lo + hi
        for n, (lo, hi, gap) in zip(x.type.shape, config, strict=True)
    )
    if min(shape) < 0:
        return
    b.emit(
        f"jax.lax.pad({{0}}, jnp.zeros((), {x.type.dtype!r}), {config})",
        [x],
        x.type.at(shape).of(x.type.dtype),
        lambda v: _lax_pad(v, config, shape),
    )


def _lax_pad(v: Any, config: list[tuple[int, int, int]], shape: tuple[int, ...]) -> Any:
    for axis, (lo, hi, gap) in enumerate(config):
        n = v.shape[axis]
        long = np.zeros((*v.shape[:axis], n + max(n - 1, 0) * gap, *v.shape[axis + 1 :]), v.dtype)
        long[(slice(None),) * axis + (slice(None, None, gap + 1),)] = v
        border = [(0, 0)] * v.ndim
        border[axis] = (max(lo, 0), max(hi, 0))
        long = np.pad(long, border)
        end = long.shape[axis] - max(-hi, 0)
        v = long[(slice(None),) * axis + (slice(max(-lo, 0), end),)]
    return v.reshape(shape)


def concatenate(b: Block) -> None:
    """Side by side: a value, and another or itself."""
    x = b.pick("f" if b.names.smooth else "fiub", least=1)
    axis = _axis(b, x)
    k = axis % x.type.ndim
    same = [
        v
        for v in b.scope
        if v.type.ndim == x.type.ndim
        and v.type.kind in ("f" if b.names.smooth else "fiub")
        and all(
            i == k or m == n
            for i, (m, n) in enumerate(zip(v.type.shape, x.type.shape, strict=True))
        )
    ]
    y = b.one_of(same[::-1])
    t = promoted([x.type.at(()), y.type.at(())], b.names.wide)
    size = x.type.shape[k] + y.type.shape[k]
    shape = (*x.type.shape[:k], size, *x.type.shape[k + 1 :])
    b.emit(
        f"jnp.concatenate([{{0}}, {{1}}], axis={axis})",
        [x, y],
        t.at(shape),
        lambda u, v: np.concatenate([wide(u), wide(v)], axis),
    )


def roll_or_stack(b: Block) -> None:
    """roll, flip, stack, repeat, tile, triangles."""
    x = b.pick("f" if b.names.smooth else "fiu", least=1)
    axis, n = _axis(b, x), b.integer(-2, 4)
    k = axis % x.type.ndim
    shape = x.type.shape
    twice = (*shape[:k], shape[k] * 2, *shape[k + 1 :])
    text, meaning, new = b.one_of(
        [
            (f"jnp.roll({{0}}, {n}, {axis})", lambda v: np.roll(v, n, axis), shape),
            (f"jnp.flip({{0}}, {axis})", lambda v: np.flip(v, axis), shape),
            (
                f"jnp.stack([{{0}}, {{0}}], {k})",
                lambda v: np.stack([v, v], k),
                (*shape[:k], 2, *shape[k:]),
            ),
            (f"jnp.repeat({{0}}, 2, axis={axis})", lambda v: np.repeat(v, 2, axis), twice),
            (
                "jnp.tril({0})" if len(shape) >= 2 else "jnp.diag({0})",
                np.tril if len(shape) >= 2 else np.diag,
                shape if len(shape) >= 2 else shape * 2,
            ),
        ]
    )
    if int(np.prod(new)) <= 1 << 18:
        b.emit(text, [x], x.type.at(new), meaning)


# --------------------------------------------------------------------------- reductions

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": _sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "mean": lambda v, axis, keepdims: np.mean(wide(v), axis=axis, keepdims=keepdims),
    "any": np.any,
    "all": np.all,
}


def reduction(b: Block) -> None:
    """A sum, product, extreme, mean or logical reduction over some axes."""
    if b.names.smooth:
        names, kinds = ["sum", "mean"], "f"
    else:
        names, kinds = sorted(_REDUCTIONS), "fiub"
    name, x = b.one_of(names), b.pick(kinds, least=1)
    axes = b.one_of([None, *range(-x.type.ndim, x.type.ndim), tuple(range(x.type.ndim))[-2:]])
    keep = b.flag()
    gone = (
        set(range(x.type.ndim)) if axes is None else {k % x.type.ndim for k in np.atleast_1d(axes)}
    )
    shape = tuple(
        1 if k in gone else n for k, n in enumerate(x.type.shape) if keep or k not in gone
    )
    count = int(np.prod([x.type.shape[k] for k in gone], dtype=int))
    if name in ("max", "min", "mean") and count == 0:
        return
    function = _REDUCTIONS[name]
    b.emit(
        f"jnp.{name}({{0}}, axis={axes}, keepdims={keep})",
        [x],
        _reduced(name, x.type, b.names.wide).at(shape),
        lambda v: function(wide(v) if name == "prod" else v, axis=axes, keepdims=keep),
    )


def _reduced(name: str, t: Type, wide: bool) -> Type:
    if name in ("any", "all"):
        return Type(t.shape, "bool")
    if name == "mean":
        return inexact(t, wide)
    if name in ("sum", "prod") and t.kind in "biu":
        return t.of(canonical("uint64" if t.kind == "u" else "int64", wide), t.weak)
    return t


def cumulative(b: Block) -> None:
    """A running sum or extreme."""
    x = b.pick("f" if b.names.smooth else "fi", least=1)
    axis = _axis(b, x)
    names = ["cumsum"] if b.names.smooth else ["cumsum", "cummax", "cummin"]
    name = b.one_of(names)
    if name == "cumsum":
        b.emit(f"jnp.cumsum({{0}}, axis={axis})", [x], x.type, lambda v: np.cumsum(wide(v), axis))
        return
    function = np.maximum if name == "cummax" else np.minimum
    reverse = b.flag()
    flip = np.flip if reverse else lambda v, axis: v
    b.emit(
        f"jax.lax.{name}({{0}}, axis={axis % x.type.ndim}, reverse={reverse})",
        [x],
        x.type,
        lambda v: flip(function.accumulate(flip(wide(v), axis), axis=axis), axis),
    )


def sort(b: Block) -> None:
    """Sorted, its permutation, or the place of an extreme."""
    x = b.pick("fiu", least=1)
    axis = _axis(b, x)
    index = canonical("int64", b.names.wide)
    choice = b.integer(0, 2)
    if choice == 0:
        b.emit(f"jnp.sort({{0}}, axis={axis})", [x], x.type, lambda v: np.sort(wide(v), axis=axis))
    elif choice == 1:
        t = x.type.of(index)
        b.emit(
            f"jnp.argsort({{0}}, axis={axis})",
            [x],
            t,
            lambda v: np.argsort(wide(v), axis=axis, kind="stable"),
        )
    elif x.type.shape[axis]:
        name = b.one_of(["argmax", "argmin"])
        k = axis % x.type.ndim
        shape = (*x.type.shape[:k], *x.type.shape[k + 1 :])
        b.emit(
            f"jnp.{name}({{0}}, axis={axis})",
            [x],
            Type(shape, index),
            lambda v: getattr(np, name)(wide(v), axis=axis),
        )


# --------------------------------------------------------------------------- contractions


def product(b: Block) -> None:
    """A matrix product, an outer product, or an einsum of a value with itself or another."""
    kinds = "f" if b.names.smooth else "fi"
    x = b.pick(kinds, least=1)
    if x.type.ndim >= 2 and b.flag():
        others = [
            v
            for v in b.scope
            if v.type.kind in kinds
            and v.type.ndim in (1, 2)
            and v.type.shape[0] == x.type.shape[-1]
        ]
        if others:
            y = b.one_of(others[::-1])
            _contract(b, "jnp.matmul({0}, {1})", [x, y], np.matmul)
            return
    letters = "abcdef"[: x.type.ndim]
    kept = "".join(c for c in letters if b.flag())
    subscripts = b.one_of(
        [
            f"{letters},{letters}->{kept}",
            f"{letters}->{kept[::-1]}",
            f"{letters},z{letters[1:]}->z{letters[0]}",
        ]
    )
    operands = [x] * (1 + subscripts.count(","))
    slots = ", ".join(f"{{{k}}}" for k in range(len(operands)))
    _contract(
        b,
        f"jnp.einsum({subscripts!r}, {slots})",
        operands,
        lambda *vs: np.einsum(subscripts, *vs),
    )


def _contract(b: Block, text: str, operands: list[Var], numpy: Callable[..., Any]) -> None:
    t = promoted([x.type.at(()) for x in operands], b.names.wide)
    shape = numpy(*(np.zeros(x.type.shape) for x in operands)).shape
    if int(np.prod(shape, dtype=int)) <= 1 << 18:
        b.emit(text, operands, t.at(shape), lambda *vs: numpy(*map(wide, vs)))


def convolve(b: Block) -> None:
    """A convolution of one channel in one dimension, with strides and dilations."""
    x = b.pick("f", least=1)
    x = b.emit(
        "{0}.reshape((1, 1, -1))",
        [x],
        x.type.at((1, 1, x.type.size)),
        lambda v: v.reshape(1, 1, -1),
    )
    if x.type.size < 4:
        return
    k, stride, dilation, lo, hi = (
        b.integer(1, 4),
        b.integer(1, 2),
        b.integer(1, 2),
        b.integer(0, 2),
        b.integer(0, 2),
    )
    kernel = b.emit(
        f"jnp.cos({{0}}[:, :, :{k}])", [x], x.type.at((1, 1, k)), lambda v: np.cos(v[:, :, :k])
    )
    reach = (k - 1) * dilation + 1
    length = x.type.size + lo + hi - reach
    if length < 0:
        return
    new = x.type.at((1, 1, length // stride + 1))
    taps = np.arange(new.shape[-1])[:, None] * stride + np.arange(k)[None] * dilation
    b.emit(
        f"jax.lax.conv_general_dilated({{0}}, {{1}}, ({stride},), [({lo}, {hi})],"
        f" rhs_dilation=({dilation},))",
        [x, kernel],
        new,
        lambda v, w: (wide(np.pad(v[0, 0], (lo, hi)))[taps] @ wide(w[0, 0])).reshape(new.shape),
    )


# --------------------------------------------------------------------------- indexing


def _indices(b: Block, size: int, outside: bool) -> Var:
    """A vector of integers, of which some may be out of bounds."""
    found = [v for v in b.scope if v.type.kind in "i" and v.type.ndim == 1]
    x = b.one_of(found[::-1]) if found else b.pick("iuf" if not b.names.smooth else "f", least=1)
    if x.type.ndim != 1:
        x = b.emit("{0}.reshape(-1)", [x], x.type.at((x.type.size,)), lambda v: v.reshape(-1))
    if x.type.size > 64:
        x = b.emit("{0}[:64]", [x], x.type.at((64,)), lambda v: v[:64])
    x = b.cast(x, "int32")
    low, high = (-2 * size - 1, 2 * size) if outside else (-size, size - 1)
    return b.emit(f"jnp.clip({{0}}, {low}, {high})", [x], x.type, lambda v: np.clip(v, low, high))


def take(b: Block) -> None:
    """Rows by computed indices, out of bounds by every mode."""
    x = b.pick("f" if b.names.smooth else "fiub", least=1)
    axis = b.integer(0, x.type.ndim - 1)
    size = x.type.shape[axis]
    if size == 0:
        return
    mode = b.one_of(["clip", "wrap"] if b.names.smooth else ["clip", "wrap", "fill"])
    if mode == "fill" and x.type.kind not in "f":
        mode = "clip"
    i = _indices(b, size, outside=True)
    shape = (*x.type.shape[:axis], i.type.size, *x.type.shape[axis + 1 :])
    if int(np.prod(shape)) > 1 << 18:
        return
    b.emit(
        f"jnp.take({{0}}, {{1}}, axis={axis}, mode={mode!r})",
        [x, i],
        x.type.at(shape),
        lambda v, i: _take(v, i, axis, mode),
    )


def _take(v: Any, i: Any, axis: int, mode: str) -> Any:
    n = v.shape[axis]
    if mode == "wrap":
        return np.take(v, i % n, axis)
    if mode == "clip":
        return np.take(v, np.clip(i, 0, n - 1), axis)
    valid = (i >= -n) & (i < n)
    rows = np.take(v, np.where(valid, i, 0), axis)
    return np.where(valid.reshape((-1,) + (1,) * (v.ndim - axis - 1)), rows, v.dtype.type(np.nan))


def update_at(b: Block) -> None:
    """`.at[i].set` and its relatives, with repeated indices for those that do not mind."""
    x = b.pick("f" if b.names.smooth else "fi", least=1)
    size = x.type.shape[0]
    if size == 0:
        return
    names = ["add"] if b.names.smooth else ["add", "min", "max", "multiply"]
    i, name = _indices(b, size, outside=False), b.one_of(names)
    row = x.type.at(x.type.shape[1:])
    y = b.literal(x.type, x.type.kind)
    found = [v for v in b.scope if v.type == row]
    alike = found and name != "multiply"  # no gradient of factors that may meet, in JAX either
    update = b.one_of(found[::-1]) if alike and b.flag() else y
    ufunc = {"add": np.add, "min": np.minimum, "max": np.maximum, "multiply": np.multiply}[name]

    def meaning(v: Any, i: Any, u: Any) -> Any:
        out = wide(v).copy()
        with np.errstate(all="ignore"):
            ufunc.at(out, i, np.broadcast_to(u.astype(out.dtype), (len(i), *v.shape[1:])))
        return out

    b.emit(f"{{0}}.at[{{1}}].{name}({{2}})", [x, i, update], x.type, meaning)


def update_slice(b: Block) -> None:
    """`.at` of a slice, or dynamic_update_slice at a computed place."""
    x = b.pick("f" if b.names.smooth else "fiu", least=1)
    size = x.type.shape[0]
    if size == 0:
        return
    if b.flag():
        low, step = b.integer(0, size - 1), b.integer(1, 2)
        y, name = b.literal(x.type, x.type.kind.replace("u", "i")), b.one_of(["set", "add"])

        def meaning(v: Any, u: Any) -> Any:
            out = v.copy()
            if name == "set":
                out[low::step] = u.astype(v.dtype)
            else:
                out[low::step] += u.astype(v.dtype)
            return out

        b.emit(f"{{0}}.at[{low}::{step}].{name}({{1}})", [x, y], x.type, meaning)
        return
    start, n = b.integer_scalar(-1, size), b.integer(0, size)
    part = b.emit(
        f"jax.lax.dynamic_slice_in_dim({{0}}, {{1}}, {n})",
        [x, start],
        x.type.at((n, *x.type.shape[1:])),
        lambda v, s: v[_place(s, size, n) : _place(s, size, n) + n],
    )
    there = b.integer_scalar(-1, size)

    def write(v: Any, u: Any, s: Any) -> Any:
        out = v.copy()
        out[_place(s, size, n) : _place(s, size, n) + n] = u
        return out

    b.emit("jax.lax.dynamic_update_slice_in_dim({0}, {1}, {2}, 0)", [x, part, there], x.type, write)


def _place(start: Any, size: int, n: int) -> int:
    start = int(start) + (size if int(start) < 0 else 0)
    return min(max(start, 0), size - n)


def random_numbers(b: Block) -> None:
    """Random numbers by a key that depends on a value."""
    seed = b.integer_scalar(0, 9)
    shape = (b.one_of(b.names.sizes),)
    name = b.one_of(["normal", "uniform", "bernoulli"])
    dtype = "bool" if name == "bernoulli" else "float64" if b.names.smooth else "float32"
    extra = f"0.3, {shape}" if name == "bernoulli" else f"{shape}, {dtype!r}"
    b.emit(f"jax.random.{name}(jax.random.key({{0}}), {extra})", [seed], Type(shape, dtype), None)


SMOOTH: list[Operation] = [
    smooth_unary,
    tamed_product,
    binary,
    where,
    weak_scalar,
    reshape,
    transpose,
    basic_index,
    broadcast,
    pad,
    concatenate,
    roll_or_stack,
    reduction,
    cumulative,
    product,
    convolve,
    take,
    update_at,
    update_slice,
]
_ROUGH: list[Operation] = [
    float_unary,
    complex_operation,
    unary,
    float_binary,
    extreme,
    compare,
    bits,
    cast,
    sort,
    random_numbers,
]
ANY: list[Operation] = [*SMOOTH, *_ROUGH, *_ROUGH]
