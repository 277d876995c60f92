"""Control flow and transformations inside random programs: statements that hold functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.fuzz import operations
from tests.fuzz.block import Block
from tests.fuzz.lattice import Type, canonical
from tests.fuzz.program import Function, NotInterpretedError, Operand, Var

DEPTH = 2
"""How deep bodies may be nested."""


def statements(b: Block, most: int) -> None:
    """Add a few statements, control flow included while there is depth left."""
    first_order = operations.SMOOTH if b.names.smooth else operations.ANY
    for _ in range(b.integer(1, most)):
        if b.depth < DEPTH and b.integer(0, 2) == 2:
            b.one_of(CONTROL)(b)
        else:
            b.one_of(first_order)(b)


def body(
    b: Block,
    prefix: str,
    header: str,
    params: Sequence[Type],
    results: Callable[[Block, list[Var]], Sequence[Operand]],
    footer: str | None = None,
    closed: bool = False,
    epilogue: tuple[str, ...] = (),
) -> Function:
    """A function of values of these types; `results` chooses what it returns.

    `header` and `footer` are formats over the parameters and results; a footer of None is a tuple.
    A closed function does not read what is around it.
    """
    own = [Var(b.names.fresh(prefix), t) for t in params]
    outer = [] if closed else list(b.scope)
    inner = Block(b.draw, b.names, [*outer, *own], b.depth + 1)
    statements(inner, 3)
    chosen = tuple(results(inner, own))
    footer = (
        "(" + "".join(f"{{{k}}}, " for k in range(len(chosen))) + ")" if footer is None else footer
    )
    return Function(
        b.names.fresh("f"), header, tuple(own), tuple(inner.statements), chosen, footer, epilogue
    )


def _plain(n: int) -> str:
    return "(" + ", ".join(f"{{{k}}}" for k in range(n)) + ")"


def _strong(t: Type) -> Type:
    return t.of(t.dtype)


def _operands(b: Block, kinds: str | None = None) -> list[Var]:
    kinds = kinds or ("f" if b.names.smooth else "biuf")
    return [b.pick(kinds) for _ in range(b.integer(1, 2))]


def _last(n: int) -> Callable[[Block, list[Var]], list[Var]]:
    return lambda inner, _: [inner.pick() for _ in range(n)]


def _coerced(types: Sequence[Type]) -> Callable[[Block, list[Var]], list[Var]]:
    def results(inner: Block, _: list[Var]) -> list[Var]:
        made = [_near(inner, t) for t in types]
        return [inner.coerce(x, t) for x, t in zip(made, types, strict=True)]

    return results


def _near(inner: Block, t: Type) -> Var:
    """A value that is easily made one of type `t`."""
    kinds = "f" if t.kind == "f" else "biuf"
    same = [v for v in inner.scope if v.type.shape == t.shape and v.type.kind in kinds]
    return inner.recent(same) if same else inner.pick(kinds)


def _result_types(b: Block) -> list[Type]:
    return [_strong(b.pick("f" if b.names.smooth else "biuf").type) for _ in range(b.integer(1, 2))]


# --------------------------------------------------------------------------- calls


_CUSTOM_JVP = (
    "{f}_plain = {f}",
    "{f} = jax.custom_jvp({f}_plain)",
    "{f}.defjvp(lambda xs, ts, f={f}_plain: jax.jvp(f, xs, ts))",
)
_CUSTOM_VJP = (
    "{f}_plain = {f}",
    "{f} = jax.custom_vjp({f}_plain)",
    "{f}.defvjp(",
    "    lambda *xs, f={f}_plain: (f(*xs), xs),",
    "    lambda xs, ct, f={f}_plain: jax.vjp(f, *xs)[1](ct),",
    ")",
)


def call(b: Block) -> None:
    """jit or checkpoint."""
    _call(b, b.one_of(["jax.jit({f0})", "jax.checkpoint({f0})"]), False, ())


def custom_rule(b: Block) -> None:
    """A function with a custom rule that says what is true anyway."""
    before = b.names.forward, b.names.reversible
    b.names.forward = b.names.reversible = True
    _call(b, "{f0}", True, _CUSTOM_JVP)
    inside = b.names.forward, b.names.reversible
    if not inside[0] or (inside[1] and b.flag()):  # jvp of custom_vjp is an error
        b.names.mixed &= inside[0] or not inside[1]
        call = b.statements[-1]
        new = (replace(call.bodies[0], epilogue=_CUSTOM_VJP if inside[1] else ()),)
        b.statements[-1] = replace(call, bodies=new)
        inside = (not inside[1] and inside[0], inside[1])
    b.names.forward = before[0] and inside[0]
    b.names.reversible = before[1] and inside[1]


def _call(b: Block, wrapper: str, closed: bool, epilogue: tuple[str, ...]) -> None:
    operands, n = _operands(b), b.integer(1, 2)
    f = body(
        b,
        "a",
        _plain(len(operands)),
        [x.type for x in operands],
        _last(n),
        closed=closed,
        epilogue=epilogue,
    )
    slots = ", ".join(f"{{{k}}}" for k in range(len(operands)))
    b.call(f"{wrapper}({slots})", operands, [r.type for r in f.results], [f], lambda g, *xs: g(*xs))


def derivative(b: Block) -> None:
    """A derivative inside a program."""
    x = b.cast(b.pick("f"), "float64" if b.names.wide else "float32")
    before = b.names.forward, b.names.reversible
    b.names.forward = b.names.reversible = True
    f = body(b, "a", "({0})", [x.type], lambda inner, _: [inner.pick("f")], "{0}")
    inside = b.names.forward, b.names.reversible
    b.names.forward, b.names.reversible = map(min, zip(before, inside, strict=True))
    out = f.results[0].type
    options = []
    if inside[0]:
        options.append(("jax.jvp({f0}, ({0},), (jnp.cos({0}),))", [out, out]))
    if inside[1]:
        ones = f"jnp.ones({out.shape}, {out.dtype!r})"
        options += [
            (f"jax.vjp({{f0}}, {{0}})[1]({ones})", [x.type]),
            ("(jax.grad(lambda x: {f0}(x).sum())({0}),)", [x.type]),
        ]
    if options:
        text, types = b.one_of(options)
        b.call(text, [x], types, [f], None)


# --------------------------------------------------------------------------- branches


def cond(b: Block) -> None:
    """One of two functions."""
    operands, types = _operands(b), _result_types(b)
    p = b.predicate()
    header = _plain(len(operands))
    branches = [body(b, "a", header, [x.type for x in operands], _coerced(types)) for _ in range(2)]
    slots = ", ".join(f"{{{k + 1}}}" for k in range(len(operands)))
    b.call(
        f"jax.lax.cond({{0}}, {{f0}}, {{f1}}, {slots})",
        [p, *operands],
        types,
        branches,
        lambda f, g, p, *xs: (f if p else g)(*xs),
    )


def switch(b: Block) -> None:
    """One of several functions, by an index that may be out of bounds."""
    operands, types = _operands(b), _result_types(b)
    i = b.integer_scalar(-1, 3)
    header, n = _plain(len(operands)), b.integer(1, 3)
    branches = [body(b, "a", header, [x.type for x in operands], _coerced(types)) for _ in range(n)]
    slots = ", ".join(f"{{{k + 1}}}" for k in range(len(operands)))
    names = ", ".join(f"{{f{k}}}" for k in range(n))
    b.call(
        f"jax.lax.switch({{0}}, [{names}], {slots})",
        [i, *operands],
        types,
        branches,
        lambda *xs: xs[min(max(int(xs[n]), 0), n - 1)](*xs[n + 1 :]),
    )


# --------------------------------------------------------------------------- loops


def _carries(b: Block) -> list[Var]:
    kinds = "f" if b.names.smooth else "biuf"
    return [b.coerce(x, _strong(x.type)) for x in (b.pick(kinds) for _ in range(b.integer(1, 2)))]


def fori_loop(b: Block) -> None:
    """A counted loop, with bounds known or not."""
    init = _carries(b)
    types = [x.type for x in init]
    text, operands = f"{b.integer(-1, 1)}, {b.integer(0, 3)}", []
    index = Type((), canonical("int64", b.names.wide), True)
    if b.flag():
        text, operands = "0, {0}", [b.integer_scalar(0, 3)]
        index = Type((), "int32")
        b.names.reversible = False
    header = f"(i, carry):\n({', '.join(f'{{{k + 1}}}' for k in range(len(types)))},) = carry"
    header = header.replace("(i, carry):", "({0}, carry)")
    if operands:  # eagerly the bounds are known, and the index is weak
        header += "\n{0} = jnp.asarray({0}, 'int32')"
    f = body(b, "a", header, [index, *types], _coerced(types))
    slots = "".join(f"{{{k + len(operands)}}}, " for k in range(len(init)))

    def meaning(step: Any, *xs: Any) -> Any:
        low, high = (0, int(xs[0])) if operands else map(int, text.split(", "))
        carry = xs[len(operands) :]
        for i in range(low, high):
            carry = step(i, *carry)
        return carry

    b.call(f"jax.lax.fori_loop({text}, {{f0}}, ({slots}))", [*operands, *init], types, [f], meaning)


def while_loop(b: Block) -> None:
    """A loop of at most four steps that a computed condition may end."""
    init = _carries(b)
    types = [x.type for x in init]
    b.names.reversible = False
    count = Type((), "int32")
    header = f"(carry)\n({', '.join(f'{{{k}}}' for k in range(len(types) + 1))},) = carry"

    def go_on(inner: Block, own: list[Var]) -> list[Var]:
        few = inner.emit("{0} < 4", [own[0]], Type((), "bool"), lambda v: np.asarray(v < 4))
        more = inner.predicate()
        return [inner.emit("{0} & {1}", [few, more], Type((), "bool"), np.logical_and)]

    def step(inner: Block, own: list[Var]) -> list[Var]:
        i = inner.emit("{0} + 1", [own[0]], count, lambda v: v + 1)
        return [i, *_coerced(types)(inner, own)]

    test = body(b, "a", header, [count, *types], go_on, "{0}")
    f = body(b, "a", header, [count, *types], step)
    slots = "".join(f"{{{k}}}, " for k in range(len(init)))

    def meaning(test: Any, step: Any, *xs: Any) -> Any:
        carry = (np.int32(0), *xs)
        while test(*carry)[0]:
            carry = step(*carry)
        return carry

    b.call(
        f"jax.lax.while_loop({{f0}}, {{f1}}, (jnp.int32(0), {slots}))",
        init,
        [count, *types],
        [test, f],
        meaning,
    )


def scan(b: Block) -> None:
    """A loop over rows that also stacks results."""
    init = _carries(b)
    types = [x.type for x in init]
    x = b.pick("f" if b.names.smooth else "biuf", least=1)
    rows = b.flag() and x.type.shape[0] <= 16
    length = x.type.shape[0] if rows else b.integer(0, 3)
    row = [x.type.at(x.type.shape[1:])] if rows else []
    reverse, unroll = b.flag(), b.one_of([1, 1, 2])
    n = len(types)
    left = ", ".join(f"{{{k}}}" for k in range(n))
    header = f"(carry, {f'{{{n}}}' if rows else '_'})\n({left},) = carry"
    footer = f"({left},), {{{n}}}"

    def results(inner: Block, own: list[Var]) -> list[Var]:
        y = inner.pick()
        return [*_coerced(types)(inner, own), inner.coerce(y, _strong(y.type))]

    f = body(b, "a", header, [*types, *row], results, footer)
    y = f.results[-1].type
    if y.size * length > 1 << 18:
        return
    slots = "".join(f"{{{k}}}, " for k in range(n))
    xs = f"{{{n}}}" if rows else "None"

    def meaning(step: Any, *xs: Any) -> Any:
        carry, given = list(xs[:n]), xs[n] if rows else [None] * length
        ys: list[Any] = [None] * length
        for k in range(length)[:: -1 if reverse else 1]:
            *carry, ys[k] = step(*carry, *([given[k]] if rows else []))
        return [*carry, np.stack(ys) if ys else np.zeros((0, *y.shape))]

    targets = [*types, y.at((length, *y.shape))]
    options = f"length={length}, reverse={reverse}, unroll={unroll}"
    flat = f"(lambda out: (*out[0], out[1]))(jax.lax.scan({{f0}}, ({slots}), {xs}, {options}))"
    b.call(flat, [*init, *([x] if rows else [])], targets, [f], meaning)


# --------------------------------------------------------------------------- lanes


def vmap(b: Block) -> None:
    """Lanes, along any axis of some operands; sums over the named axis inside."""
    x = b.pick("f" if b.names.smooth else "biuf", least=1)
    axis = b.integer(-x.type.ndim, x.type.ndim - 1)
    k = axis % x.type.ndim
    lanes = x.type.shape[k]
    if lanes == 0 or lanes > 32:
        return
    shape = x.type.shape[:k] + x.type.shape[k + 1 :]
    others = [
        v for v in b.scope if v.type.ndim and v.type.shape[0] == lanes and v.type.kind in "fi"
    ]
    second = [b.one_of(others[::-1])] if others and b.flag() else []
    params = [x.type.at(shape), *(v.type.at(v.type.shape[1:]) for v in second)]
    name = b.names.fresh("axis")
    b.names.axes.append((name, lanes))
    f = body(b, "a", _plain(len(params)), params, _lane_results(name))
    b.names.axes.pop()
    out = [r.type for r in f.results]
    places = [b.integer(0, t.ndim) for t in out]
    in_axes = (axis, *(0 for _ in second))
    slots = ", ".join(f"{{{i}}}" for i in range(len(params)))

    def meaning(g: Any, *xs: Any) -> Any:
        rows = [
            g(np.take(xs[0], i, axis), *(np.take(v, i, 0) for v in xs[1:])) for i in range(lanes)
        ]
        return [np.stack(col, p) for col, p in zip(zip(*rows, strict=True), places, strict=True)]

    types = [t.at((*t.shape[:p], lanes, *t.shape[p:])) for t, p in zip(out, places, strict=True)]
    if any(t.size > 1 << 18 for t in types):
        return
    b.call(
        f"jax.vmap({{f0}}, {in_axes}, {tuple(places)}, axis_name={name!r})({slots})",
        [x, *second],
        types,
        [f],
        meaning,
    )


def _lane_results(name: str) -> Callable[[Block, list[Var]], list[Var]]:
    def results(inner: Block, _: list[Var]) -> list[Var]:
        chosen = [inner.pick()]
        if inner.flag():
            x = inner.pick("f")
            collective = inner.one_of(["psum", "pmean", "pmax"][: 2 if inner.names.smooth else 3])
            chosen.append(
                inner.emit(f"jax.lax.{collective}({{0}}, {name!r})", [x], x.type, _across_lanes)
            )
        return chosen

    return results


def _across_lanes(v: Any) -> Any:
    raise NotInterpretedError("the lanes are interpreted one by one")


def batched_map(b: Block) -> None:
    """lax.map, whole or in batches."""
    x = b.pick("f" if b.names.smooth else "biuf", least=1)
    n = x.type.shape[0]
    if n == 0 or n > 16:
        return
    f = body(b, "a", "({0})", [x.type.at(x.type.shape[1:])], _last(1))
    out = f.results[0].type
    if out.size * n > 1 << 18:
        return
    size = b.one_of(["", ", batch_size=2"])
    b.call(
        f"jax.lax.map({{f0}}, {{0}}{size})",
        [x],
        [out.at((n, *out.shape))],
        [f],
        lambda g, v: [np.stack([g(row)[0] for row in v])],
    )


CONTROL: list[Callable[[Block], Any]] = [
    call,
    custom_rule,
    cond,
    scan,
    vmap,
    fori_loop,
    while_loop,
    switch,
    batched_map,
    derivative,
]
