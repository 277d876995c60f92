"""First-order operations of random programs: each draws its operands and adds a statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import scipy.special

from tests.fuzz.block import Block, _sum
from tests.fuzz.lattice import Type, canonical, inexact, promoted, real
from tests.fuzz.program import Literal, Var

Operation = Callable[[Block], Any]

# --------------------------------------------------------------------------- element-wise

_SMOOTH = {
    "jnp.sin": np.sin,
    "jnp.cos": np.cos,
    "jnp.tanh": np.tanh,
    "jnp.arctan": np.arctan,
    "jax.nn.sigmoid": lambda x: scipy.special.expit(x),
    "jax.nn.softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "jax.scipy.special.erf": lambda x: scipy.special.erf(x),
    "jnp.arcsinh": np.arcsinh,
}
_FLOAT = {
    "jnp.exp": np.exp,
    "jnp.log": np.log,
    "jnp.sqrt": np.sqrt,
    "jnp.log1p": np.log1p,
    "jnp.expm1": np.expm1,
    "jnp.cbrt": np.cbrt,
    "jnp.sinh": np.sinh,
    "jnp.arcsin": np.arcsin,
    "jnp.exp2": np.exp2,
}
_COMPLEX = {
    "jnp.exp": np.exp,
    "jnp.sin": np.sin,
    "jnp.sqrt": np.sqrt,
    "jnp.conj": np.conj,
    "jnp.negative": np.negative,
}
_KEEP = {"jnp.negative": np.negative, "jnp.abs": np.abs, "jnp.square": np.square}
_ROUND = {"jnp.floor": np.floor, "jnp.ceil": np.ceil, "jnp.round": np.round, "jnp.sign": np.sign}
_BINARY = {"{0} + {1}": np.add, "{0} - {1}": np.subtract, "{0} * {1}": np.multiply}
_EXTREME = {"jnp.maximum({0}, {1})": np.maximum, "jnp.minimum({0}, {1})": np.minimum}
_FLOAT_BINARY = {
    "{0} / {1}": np.true_divide,
    "jnp.arctan2({0}, {1})": np.arctan2,
    "jnp.hypot({0}, {1})": np.hypot,
    "jnp.logaddexp({0}, {1})": np.logaddexp,
    "jnp.copysign({0}, {1})": np.copysign,
}
_COMPARE = {
    "{0} < {1}": np.less,
    "{0} >= {1}": np.greater_equal,
    "{0} == {1}": np.equal,
    "{0} != {1}": np.not_equal,
}
_BITS = {"{0} & {1}": np.bitwise_and, "{0} | {1}": np.bitwise_or, "{0} ^ {1}": np.bitwise_xor}


def smooth_unary(b: Block) -> None:
    """A function with bounded derivatives."""
    x, name = b.pick("f" if b.names.smooth else "fiub"), b.one_of(sorted(_SMOOTH))
    if x.type.kind != "f" and not name.startswith("jnp"):
        x = b.cast(x, b.dtype("f"))
    b.elementwise(f"{name}({{0}})", [x], _SMOOTH[name], float_only=True)


def float_unary(b: Block) -> None:
    """A function of floats with poles, branch points or rapid growth."""
    x, name = b.pick("fiu"), b.one_of(sorted(_FLOAT))
    b.elementwise(f"{name}({{0}})", [x], _FLOAT[name], float_only=True)


def complex_operation(b: Block) -> None:
    """Making, taking apart and mapping complex numbers."""
    choice = b.integer(0, 4)
    if choice == 0:
        x = b.pick("f")
        x = b.cast(x, b.one_of(["float32", canonical("float64", b.names.wide)]))
        dtype = {"float32": "complex64", "float64": "complex128"}[x.type.dtype]
        b.emit(
            "jax.lax.complex({0}, jnp.cos({0}))",
            [x],
            Type(x.type.shape, dtype),
            lambda v: _complex(v, np.cos(v)),
        )
        return
    x = b.pick("c")
    if choice == 1:
        name = b.one_of(["real", "imag", "abs"])
        t = Type(x.type.shape, real(x.type.dtype))
        b.emit(f"jnp.{name}({{0}})", [x], t, getattr(np, name))
    else:
        name = b.one_of(sorted(_COMPLEX))
        b.elementwise(f"{name}({{0}})", [x], _COMPLEX[name])


def _complex(re: Any, im: Any) -> Any:
    out = np.empty(re.shape, np.complex128)
    out.real, out.imag = re, im
    return out


def unary(b: Block) -> None:
    """A function that keeps the dtype."""
    if b.flag():
        name = b.one_of(sorted(_KEEP))
        b.elementwise(f"{name}({{0}})", [b.pick("fiu")], _KEEP[name])
    else:
        name = b.one_of(sorted(_ROUND))
        b.elementwise(f"{name}({{0}})", [b.pick("f")], _ROUND[name])


def binary(b: Block) -> None:
    """Arithmetic of two values, or of one and a Python scalar."""
    x = b.pick("f" if b.names.smooth else "fiuc")
    y = b.partner(x, "f" if b.names.smooth else "fiuc")
    text = b.one_of(sorted(_BINARY))
    if b.flag() and isinstance(y, Literal):
        x, y = y, x
    b.elementwise(text, [x, y], _BINARY[text])


def tamed_product(b: Block) -> None:
    """Smooth, bounded combinations."""
    x = b.pick("f")
    y = b.partner(x, "f")
    text, meaning = b.one_of(
        [
            ("jnp.sin({0} * {1})", lambda u, v: np.sin(u * v)),
            ("{0} / (1 + {1} * {1})", lambda u, v: u / (1 + v * v)),
            ("jnp.exp(-{0} * {0}) * {1}", lambda u, v: np.exp(-u * u) * v),
        ]
    )
    b.elementwise(text, [x, y], meaning)


def float_binary(b: Block) -> None:
    """Division and functions of two floats."""
    x, text = b.pick("fiu"), b.one_of(sorted(_FLOAT_BINARY))
    y = b.partner(x, "fiu")
    b.elementwise(text, [x, y], _FLOAT_BINARY[text], float_only=True)


def extreme(b: Block) -> None:
    """The larger or the smaller of two."""
    x, text = b.pick("fiu"), b.one_of(sorted(_EXTREME))
    b.elementwise(text, [x, b.partner(x, "fiu")], _EXTREME[text])


def compare(b: Block) -> None:
    """A bool."""
    x, text = b.pick("fiu"), b.one_of(sorted(_COMPARE))
    b.elementwise(
        text, [x, b.partner(x, "fiu")], _COMPARE[text], result=lambda t: Type(t.shape, "bool")
    )


def bits(b: Block) -> None:
    """Bitwise and logical operations, shifts by constants."""
    if b.flag():
        x, text = b.pick("iub"), b.one_of(sorted(_BITS))
        b.elementwise(text, [x, b.partner(x, "ib")], _BITS[text])
        return
    x, n = b.pick("i"), b.integer(1, 5)
    text, meaning = b.one_of(
        [
            (f"{{0}} << {n}", lambda v: v << v.dtype.type(n)),
            (f"{{0}} >> {n}", lambda v: v >> v.dtype.type(n)),
            (f"{{0}} // {n}", lambda v: v // v.dtype.type(n)),
            (f"{{0}} % {n}", lambda v: v % v.dtype.type(n)),
        ]
    )
    b.elementwise(text, [x], meaning)


def where(b: Block) -> None:
    """Elements of one or the other."""
    c = b.pick("b") if b.names.smooth else b.pick("bi")
    c = c if c.type.kind == "b" else b.cast(c, "bool")
    x = b.partner(c, "f" if b.names.smooth else "fiu")
    shape = np.broadcast_shapes(c.type.shape, x.type.shape)
    y = b.partner(x.type.at(shape), "f" if b.names.smooth else "fiu")
    t = promoted([x.type, y.type], b.names.wide)
    b.emit(
        "jnp.where({0}, {1}, {2})",
        [c, x, y],
        t.at(np.broadcast_shapes(shape, y.type.shape)),
        lambda c, u, v: np.where(c, _wide(u), _wide(v)),
    )


def cast(b: Block) -> None:
    """Another dtype."""
    x = b.pick()
    kinds = ["f"] if b.names.smooth else ["f", "i", "u", "b", "f"]
    b.cast(x, b.dtype(b.one_of(kinds)))


def weak_scalar(b: Block) -> None:
    """A weakly typed scalar array."""
    value = b.one_of([2.0, 0.5] if b.names.smooth else [2.0, 3])
    dtype = canonical("float64" if isinstance(value, float) else "int64", b.names.wide)
    b.emit(f"jnp.asarray({value})", [], Type((), dtype, True), lambda: np.asarray(value))


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
        lambda u, v: np.concatenate([_wide(u), _wide(v)], axis),
    )


def _wide(v: Any) -> Any:
    return v.astype(np.float64) if v.dtype.kind in "fV" or v.dtype.name == "bfloat16" else v


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
    "mean": lambda v, axis, keepdims: np.mean(_wide(v), axis=axis, keepdims=keepdims),
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
        lambda v: function(_wide(v) if name == "prod" else v, axis=axes, keepdims=keep),
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
        b.emit(f"jnp.cumsum({{0}}, axis={axis})", [x], x.type, lambda v: np.cumsum(_wide(v), axis))
        return
    function = np.maximum if name == "cummax" else np.minimum
    reverse = b.flag()
    flip = np.flip if reverse else lambda v, axis: v
    b.emit(
        f"jax.lax.{name}({{0}}, axis={axis % x.type.ndim}, reverse={reverse})",
        [x],
        x.type,
        lambda v: flip(function.accumulate(flip(_wide(v), axis), axis=axis), axis),
    )


def sort(b: Block) -> None:
    """Sorted, its permutation, or the place of an extreme."""
    x = b.pick("fiu", least=1)
    axis = _axis(b, x)
    index = canonical("int64", b.names.wide)
    choice = b.integer(0, 2)
    if choice == 0:
        b.emit(f"jnp.sort({{0}}, axis={axis})", [x], x.type, lambda v: np.sort(_wide(v), axis=axis))
    elif choice == 1:
        t = x.type.of(index)
        b.emit(
            f"jnp.argsort({{0}}, axis={axis})",
            [x],
            t,
            lambda v: np.argsort(_wide(v), axis=axis, kind="stable"),
        )
    elif x.type.shape[axis]:
        name = b.one_of(["argmax", "argmin"])
        k = axis % x.type.ndim
        shape = (*x.type.shape[:k], *x.type.shape[k + 1 :])
        b.emit(
            f"jnp.{name}({{0}}, axis={axis})",
            [x],
            Type(shape, index),
            lambda v: getattr(np, name)(_wide(v), axis=axis),
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
        b.emit(text, operands, t.at(shape), lambda *vs: numpy(*map(_wide, vs)))


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
        lambda v, w: (_wide(np.pad(v[0, 0], (lo, hi)))[taps] @ _wide(w[0, 0])).reshape(new.shape),
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
        out = _wide(v).copy()
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
