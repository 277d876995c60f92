"""Hypothesis strategies of programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import hypothesis.strategies as st

from tests.fuzz.block import Block, Names
from tests.fuzz.control import statements
from tests.fuzz.lattice import Type, canonical
from tests.fuzz.program import Function, Input, Program, Statement, Var

_SIZES = [(3, 2), (1, 4), (5, 8), (0, 3), (2, 17), (16, 7), (33, 4), (600, 500)]


@st.composite
def programs(draw: Any, smooth: bool = False) -> Program:
    """A program of one to three inputs, with up to eight statements and what is nested in them."""
    wide = smooth or draw(st.booleans())
    sizes = draw(st.sampled_from(_SIZES[:3] + _SIZES[4:7] if smooth else _SIZES))
    names = Names(wide, smooth, sizes)
    inputs = [_input(draw, names) for _ in range(draw(st.integers(1, 3)))]
    params = [Var(f"x{k}", i.type) for k, i in enumerate(inputs)]
    block = Block(draw, names, list(params))
    statements(block, 6)
    results = tuple(_ends(block.statements, smooth)) or (block.pick("f" if smooth else "biufc"),)
    n = len(results)
    header = "(jax, " + ", ".join(f"{{{k}}}" for k in range(len(params))) + ")"
    header += "\njnp = jax.numpy"
    footer = "(" + "".join(f"{{{k}}}, " for k in range(n)) + ")"
    function = Function("program", header, tuple(params), tuple(block.statements), results, footer)
    known = names.reversible, names.forward, names.mixed
    return Program(function, tuple(inputs), wide, smooth, *known)


def _ends(found: list[Statement], smooth: bool) -> list[Var]:
    """The last values that nothing reads."""
    read = {x.name for x in _read(found)}
    ends = [v for s in found for v in s.targets if v.name not in read]
    return [v for v in ends if v.type.kind in ("f" if smooth else "biufc")][-4:]


def _read(found: Iterable[Statement]) -> Iterator[Var]:
    for s in found:
        yield from (x for x in s.operands if isinstance(x, Var))
        for f in s.bodies:
            yield from _read(f.statements)
            yield from (x for x in f.results if isinstance(x, Var))


def _input(draw: Any, names: Names) -> Input:
    m, n = names.sizes
    shape = draw(
        st.sampled_from([(n,), (m, n), (), (m, 1), (1, n), (m, n, 2) if m < 99 else (m, n)])
    )
    options = ["float32", "float64", "int32", "float16", "bfloat16", "bool", "int8", "uint8"]
    options += ["complex64", "uint32", "int16"]
    dtype = "float64" if names.smooth else draw(st.sampled_from(options))
    edges = not names.smooth and draw(st.integers(0, 3)) == 3
    return Input(Type(shape, canonical(dtype, names.wide)), draw(st.integers(0, 9)), edges)
