"""Operations on elements in random programs: each draws its operands and adds a statement."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from tests.fuzz.block import Block
from tests.fuzz.lattice import Type, canonical, promoted, real
from tests.fuzz.program import Literal

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
    "jnp.exp": lambda v: _lost(np.exp(v), v.imag),
    "jnp.sin": lambda v: _lost(np.sin(v), v.real),
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


def _lost(value: Any, angle: Any) -> Any:
    """NaN in both parts where the angle has no sine; C keeps one part of some."""
    return np.where(np.isfinite(angle), value, complex("nan+nanj"))


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
        lambda c, u, v: np.where(c, wide(u), wide(v)),
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


def wide(v: Any) -> Any:
    """In the widest type of its kind."""
    return v.astype(np.float64) if v.dtype.kind in "fV" or v.dtype.name == "bfloat16" else v
