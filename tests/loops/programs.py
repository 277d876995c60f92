"""Random programs of a few shapes, with an interpreter of them by NumPy references."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback import numpy as jnp
from pullback.core.jaxpr import ClosedJaxpr, Literal

Array = np.ndarray[Any, Any]
UNARY: tuple[Callable[[Any], Any], ...] = (
    jnp.sin,
    jnp.tanh,
    jnp.abs,
    lambda x: x * 0.5 - 0.25,
    lambda x: jnp.exp(x * 0.1),
    lambda x: jnp.where(x > 0.1, x, -x),
    lambda x: jnp.maximum(x, 0.0),
    jnp.square,
)
BINARY: tuple[Callable[[Any, Any], Any], ...] = (
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: x - 0.5 * y,
    jnp.maximum,
    lambda x, y: jnp.where(x > y, y, x),
)


class Generator:
    """Grows a pool of values by operations drawn at random."""

    def __init__(self, seed: int, extents: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self.extents = extents

    def shape(self) -> tuple[int, ...]:
        rank = self.random.choice((0, 1, 1, 2, 2, 2, 3))
        return tuple(self.random.choice(self.extents) for _ in range(rank))

    def step(self, pool: list[Any]) -> Any:
        x = self.random.choice(pool[-6:])
        return self.random.choice(
            (
                self.unary,
                self.unary,
                self.binary,
                self.binary,
                self.reduce,
                self.normalise,
                self.move,
                self.move,
                self.broadcast,
                self.argument,
                self.loop,
                self.update,
            )
        )(x, pool)

    def unary(self, x: Any, pool: list[Any]) -> Any:
        return self.random.choice(UNARY)(x)

    def binary(self, x: Any, pool: list[Any]) -> Any:
        same = [y for y in pool if y.shape == x.shape or y.shape == ()]
        return self.random.choice(BINARY)(x, self.random.choice(same))

    def axis(self, x: Any) -> int:
        return self.random.randrange(x.ndim)

    def reduce(self, x: Any, pool: list[Any]) -> Any:
        if x.ndim == 0:
            return x + 1.0
        axes: Any = self.axis(x) if self.random.random() < 0.8 else None
        fn = self.random.choice((jnp.sum, jnp.max, jnp.min, jnp.mean))
        return fn(x, axis=axes)

    def normalise(self, x: Any, pool: list[Any]) -> Any:
        if x.ndim == 0:
            return jnp.sin(x)
        axis = self.axis(x)
        e = jnp.exp(x - x.max(axis=axis, keepdims=True))
        return e / e.sum(axis=axis, keepdims=True)

    def move(self, x: Any, pool: list[Any]) -> Any:
        if x.ndim == 0:
            return jnp.cos(x)
        axis = self.axis(x)
        n = x.shape[axis]
        which = self.random.randrange(8)
        if which == 0:
            return jnp.flip(x, axis)
        if which == 1 and x.ndim > 1:
            order = list(range(x.ndim))
            self.random.shuffle(order)
            return jnp.transpose(x, order)
        if which == 2:
            return jnp.reshape(x, (-1,))
        if which == 3:
            return lax.slice_in_dim(x, n // 3, n, axis=axis)
        if which == 4:
            return jnp.concatenate([x, x * 2.0], axis=axis)
        if which == 5:
            low, high = self.random.randrange(2), self.random.randrange(3)
            config = [(0, 0, 0)] * x.ndim
            config[axis] = (low, high, self.random.randrange(2))
            return lax.pad(x, np.float32(0.5), config)
        if which == 6:
            return jnp.roll(x, 1, axis)
        return lax.slice_in_dim(x, 0, n, 2, axis)

    def broadcast(self, x: Any, pool: list[Any]) -> Any:
        if x.size > 2000 or x.ndim > 2:
            return x * 0.9
        n = self.random.choice(self.extents)
        if self.random.random() < 0.5:
            return jnp.broadcast_to(jnp.sin(x)[None], (n, *x.shape)) + 0.0
        return jnp.broadcast_to(x[..., None], (*x.shape, n)) * 1.5

    def argument(self, x: Any, pool: list[Any]) -> Any:
        x = self.random.choice(pool[:3])  # computed values may be ties but for rounding
        if x.ndim == 0:
            return x * 0.5
        axis = self.axis(x)
        index = jnp.argmax(x, axis=axis)
        return index.astype(np.float32) * 0.1

    def loop(self, x: Any, pool: list[Any]) -> Any:
        other = self.random.choice(pool)
        if x.size > 500:
            return x - 0.5
        if self.random.random() < 0.5:
            return lax.fori_loop(0, 3, lambda i, c: jnp.sin(c) * 0.5 + other.sum() * 0.01, x)

        def body(c: Any, i: Any) -> Any:
            return c * 0.5 + jnp.float32(0.1) * i, c.sum()

        carry, ys = lax.scan(body, x, jnp.arange(4, dtype=np.float32))
        return self.random.choice((carry, ys, jnp.broadcast_to(ys.sum(), x.shape) + carry))

    def update(self, x: Any, pool: list[Any]) -> Any:
        if x.ndim == 0:
            return x - 0.25
        axis = self.axis(x)
        part = lax.slice_in_dim(x, 0, max(1, x.shape[axis] // 2), axis=axis) * 3.0
        start = [0] * x.ndim
        start[axis] = 1 if x.shape[axis] > 1 else 0
        return lax.dynamic_update_slice(x, part, start)


def program(seed: int, steps: int, extents: Sequence[int]) -> tuple[Any, list[Array]]:
    """A random function and arguments for it."""
    generator = Generator(seed, extents)
    rng = np.random.default_rng(seed)
    args = [rng.uniform(-1, 1, generator.shape()).astype(np.float32) for _ in range(3)]

    def fun(*xs: Any) -> list[Any]:
        generator.random.seed(seed)
        pool = list(xs)
        for _ in range(steps):
            made = generator.step(pool)
            if made.size <= 40000:
                pool.append(made)
        return [*pool[3:][-4:], generator.random.choice(pool)]

    return fun, args


def interpret(closed: ClosedJaxpr, args: Sequence[Array]) -> list[Array]:
    """The results by the references of the primitives, one equation after the other."""
    jaxpr = closed.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        value = v.val if type(v) is Literal else env[v]
        return np.asarray(getattr(value, "_data", value), dtype=v.aval.dtype)

    for eqn in jaxpr.eqns:
        with np.errstate(all="ignore"):
            made = _apply(eqn, [read(v) for v in eqn.invars])
        env.update(zip(eqn.outvars, made, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _apply(eqn: Any, xs: list[Any]) -> list[Any]:
    name, params = eqn.primitive.name, eqn.params
    if name == "jit":
        return interpret(params["jaxpr"], xs)
    if name == "scan":
        return _scan(params, xs)
    if name == "while":
        return _while(params, xs)
    made = eqn.primitive.reference(*xs, **params)
    return list(made) if eqn.primitive.multiple_results else [made]


def _scan(params: Any, xs: list[Any]) -> list[Any]:
    nc, n = params["num_consts"], params["num_carry"]
    consts, carry, rows = xs[:nc], xs[nc : nc + n], xs[nc + n :]
    steps = range(params["length"])
    ys: list[Any] = []
    for k in reversed(steps) if params["reverse"] else steps:
        outs = interpret(params["jaxpr"], [*consts, *carry, *(r[k] for r in rows)])
        carry, y = outs[:n], outs[n:]
        ys.append(y)
    if params["reverse"]:
        ys.reverse()
    return [*carry, *(np.stack(c) for c in zip(*ys, strict=True))]


def _while(params: Any, xs: list[Any]) -> list[Any]:
    c, b = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, carry = xs[:c], xs[c : c + b], xs[c + b :]
    while interpret(params["cond_jaxpr"], [*cond_consts, *carry])[0]:
        carry = interpret(params["body_jaxpr"], [*body_consts, *carry])
    return carry
