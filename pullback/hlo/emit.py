"""From a jaxpr to the text of a StableHLO module.

jaxpr (core/jaxpr) -> rules in the slots `hlo` (ops/, control/) -> text -> a PJRT plugin (hlo/pjrt)

The text uses MLIR's generic form, which has one grammar for all operations, and operations of
StableHLO 1.4, which every plugin accepts; special functions are operations of CHLO, which plugins
expand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.dimensions import is_symbolic
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from pullback.core.meshes import PartitionSpec
from pullback.core.primitive import NotApplicable, Primitive
from pullback.core.stablehlo import Type, integer
from pullback.errors import LoweringError, UnsupportedError
from pullback.hlo.dynamic import find_variables
from pullback.hlo.host_functions import TARGET
from pullback.hlo.operations import SSA, Operations
from pullback.hlo.scalars import ArrayScalars
from pullback.hlo.shardy import Partitioning, attribute
from pullback.hlo.text import physical_type, splat, tensor
from pullback.transforms.staging import stage

__all__ = ["STABLEHLO_VERSION", "Module", "emit_module", "physical_type"]

STABLEHLO_VERSION: Final = (1, 4, 0)
"""The version whose operations are used."""

INLINE_BYTES: Final = 1 << 14
"""Larger constants may become arguments of the program."""


@dataclass(frozen=True)
class Module:
    """A program as text, with what it needs beside the arguments."""

    text: str
    constants: tuple[Any, ...]
    """Arrays that the program takes before its arguments."""
    aliased: tuple[int, ...] = ()
    """Arguments whose memory results take."""


def emit_module(
    closed: ClosedJaxpr,
    name: str,
    *,
    platform: str = "",
    donated: Sequence[bool] = (),
    hoist_constants: bool = False,
    debug_info: bool = False,
    arg_names: Sequence[str] = (),
    result_names: Sequence[str] = (),
    platforms: Sequence[str] = (),
    partitioning: Partitioning | None = None,
    first_host_call: int = 0,
) -> Module:
    """The module whose function `main` computes a jaxpr.

    A donated argument is marked as the memory of a result of its type. `hoist_constants`: large
    constants are arguments in front of the others. `platform` chooses among library calls; without
    one, only what every plugin has is used. `platforms`: the program takes the number of one of
    them in front of everything else. `partitioning` splits the program among devices.
    Python functions have numbers from `first_host_call` on.
    """
    writer = _Writer(platform, debug_info)
    writer.functions.first_host_call = first_host_call
    jaxpr = closed.jaxpr
    hoisted = [
        hoist_constants and _is_plain(v.aval) and _data(c, v.aval).nbytes > INLINE_BYTES
        for v, c in zip(jaxpr.constvars, closed.consts, strict=True)
    ]
    kept = [c for c, h in zip(closed.consts, hoisted, strict=True) if h]
    extra = [v for v, h in zip(jaxpr.constvars, hoisted, strict=True) if h]
    types = [physical_type(v.aval) for v in (*extra, *jaxpr.invars)]
    arguments = [SSA(f"%arg{i}", *t) for i, t in enumerate(types)]
    chosen = SSA("%platform", (), np.dtype(np.int32))
    env: dict[Any, SSA] = dict(zip((*extra, *jaxpr.invars), arguments, strict=True))
    symbolic = any(is_symbolic(n) for a in arguments for n in a.shape)
    if symbolic:
        find_variables(writer, arguments)
    for v, c, h in zip(jaxpr.constvars, closed.consts, hoisted, strict=True):
        if not h:
            env[v] = writer.array(_data(c, v.aval))
    if platforms:
        outs = writer.for_platforms(platforms, chosen, jaxpr, env)
    else:
        outs = writer.equations(jaxpr, env)
    aliases = _aliases(jaxpr, donated)
    specs: Sequence[Any] = partitioning.arguments if partitioning else [None] * len(arguments)
    split: Sequence[Any] = partitioning.results if partitioning else [None] * len(outs)
    head = [
        _argument(
            a,
            arg_names[i - len(extra)] if arg_names and i >= len(extra) else "",
            aliases.get(i - len(extra)),
            spec,
        )
        for i, (a, spec) in enumerate(zip(arguments, specs, strict=True))
    ]
    if platforms:
        head.insert(0, _argument(chosen, "", None, None))
    results = [
        tensor((o.shape, o.dtype)) + _attributes(_result(o, n, spec))
        for o, n, spec in zip(outs, result_names or [""] * len(outs), split, strict=True)
    ]
    body = "\n".join(writer.lines)
    types_text = ", ".join(tensor((o.shape, o.dtype)) for o in outs)
    returned = f"return {', '.join(o.name for o in outs)} : {types_text}" if outs else "return"
    text = (
        f"module @{_symbol(f'jit_{name}')} attributes {{"
        f"{'jax.uses_shape_polymorphism = true, ' if symbolic else ''}mhlo.num_partitions = "
        f"{partitioning.count if partitioning else 1} : i32, mhlo.num_replicas = 1 : i32}} {{\n"
        + (f"  {partitioning.mesh_text()}\n" if partitioning else "")
        + f"  func.func public @main({', '.join(head)}) -> ({', '.join(results)}) {{\n"
        f"{body}\n    {returned}\n  }}\n" + "".join(writer.functions.texts) + "}\n"
    )
    constants = tuple(_data(c, v.aval) for c, v in zip(kept, extra, strict=True))
    return Module(text, constants, tuple(sorted(aliases)))


def _is_plain(aval: Any) -> bool:
    return isinstance(aval, ShapedArray)


def _data(value: Any, aval: Any) -> np.ndarray[Any, Any]:
    """The elements of a constant."""
    shape, dtype = physical_type(aval)
    data = getattr(value, "_data", value)
    if dtypes.float0 == getattr(data, "dtype", None):
        return np.zeros(shape, dtype)
    return np.ascontiguousarray(np.asarray(data), dtype).reshape(shape)


def _argument(value: SSA, name: str, alias: int | None, spec: PartitionSpec | None) -> str:
    attributes = [f'jax.arg_info = "{_escaped(name)}"'] if name else []
    if alias is not None:
        attributes.append(f"tf.aliasing_output = {alias} : i32")
    if spec is not None:
        attributes.append(attribute(spec, len(value.shape)))
    return f"{value.name}: {tensor((value.shape, value.dtype))}" + _attributes(attributes)


def _result(value: SSA, name: str, spec: PartitionSpec | None) -> list[str]:
    attributes = [f'jax.result_info = "{_escaped(name)}"'] if name else []
    return attributes if spec is None else [*attributes, attribute(spec, len(value.shape))]


def _attributes(attributes: Sequence[str]) -> str:
    return f" {{{', '.join(attributes)}}}" if attributes else ""


def _aliases(jaxpr: Jaxpr, donated: Sequence[bool]) -> dict[int, int]:
    """For each donated argument the result that takes its memory, where one has its type."""
    free: dict[Type, list[int]] = {}
    for k, v in enumerate(jaxpr.outvars):
        free.setdefault(physical_type(v.aval), []).append(k)
    found = {}
    for i, (v, given) in enumerate(zip(jaxpr.invars, donated, strict=False)):
        places = free.get(physical_type(v.aval))
        if given and places:
            found[i] = places.pop(0)
    return found


def _symbol(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_.$" else "_" for c in name)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Functions:
    """Private functions of the module: a jaxpr that is called twice is written once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.known: dict[tuple[int, str], tuple[str, Any]] = {}
        self.names: dict[str, int] = {}
        self.first_host_call = 0
        """What is added to the numbers of the program's Python functions."""

    def fresh(self, name: str) -> str:
        """A name that no other function has."""
        base = _symbol(name)
        if not base or base == "main" or base[0].isdigit():
            base = f"f_{base}"
        count = self.names.get(base, 0)
        self.names[base] = count + 1
        return base if not count else self.fresh(f"{base}_{count}")


class _Writer(Operations):
    """Writes equations."""

    def __init__(
        self, platform: str, debug_info: bool, functions: _Functions | None = None
    ) -> None:
        super().__init__(platform)
        self.debug_info = debug_info
        self.functions = functions or _Functions()
        self.s = ArrayScalars(self)

    # ------------------------------------------------------------------ equations

    def equations(self, jaxpr: Jaxpr, env: dict[Any, SSA]) -> list[SSA]:
        """The results of a jaxpr whose arguments and constants are in `env`."""
        for eqn in jaxpr.eqns:
            outs = self.equation(eqn, [self.atom(v, env) for v in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
        return [self.atom(v, env) for v in jaxpr.outvars]

    def for_platforms(
        self, platforms: Sequence[str], chosen: SSA, jaxpr: Jaxpr, env: dict[Any, SSA]
    ) -> list[SSA]:
        """The results for the platform with a number, each written for itself."""
        regions = []
        for self.platform in platforms:
            regions.append(self.region([], lambda: self.equations(jaxpr, dict(env))))
        self.platform = ""
        types = [physical_type(v.aval) for v in jaxpr.outvars]
        return self.ops("stablehlo.case", [chosen], types, regions=regions)

    def atom(self, v: Any, env: Mapping[Any, SSA]) -> SSA:
        """The value of an operand."""
        if type(v) is not Literal:
            return env[v]
        shape, dtype = physical_type(v.aval)
        key = (dtype, splat(v.val, dtype))
        found = self.literals.get(key)
        if found is None:
            found = self.literals[key] = self.full(shape, v.val, dtype)
        return found

    def equation(self, eqn: JaxprEqn, xs: Sequence[SSA]) -> list[SSA]:
        """The results of one equation."""
        before = self.types, self.location
        self.types = [physical_type(v.aval) for v in eqn.outvars]
        if self.debug_info:
            self.location = _location(eqn)
        try:
            out = self.primitive(eqn.primitive, xs, eqn.params)
        finally:
            types = self.types
            self.types, self.location = before
        outs = list(out) if eqn.primitive.multiple_results else [out]
        given = [(o.shape, o.dtype) for o in outs]
        if given != types:
            raise LoweringError(
                f"the StableHLO of {eqn.primitive} has results {given} instead of {types}"
            )
        return outs

    def primitive(self, primitive: Primitive, xs: Sequence[SSA], params: dict[str, Any]) -> Any:
        """The result of a primitive by its rule."""
        rule = primitive.hlo
        if isinstance(rule, str):
            shape, dtype = self.types[0]
            return self.apply(rule, *xs, dtype=dtype, shape=shape)
        if isinstance(rule, NotApplicable):
            raise UnsupportedError(f"{primitive} on other backends than the CPU's: {rule.reason}")
        return rule(self, *xs, **params)

    def map(self, fn: Any, *xs: SSA, dtype: Any = None) -> SSA:
        """An element-wise function `fn(s, *elements)`, or the name of one."""
        if isinstance(fn, str):
            method = getattr(self.s, fn, None)
            out: SSA = self.s.math(fn, *xs) if method is None else method(*xs)
        else:
            out = fn(self.s, *xs)
        shape = max((x.shape for x in xs), key=len)
        return out if out.shape == shape else self.broadcast(out, shape)

    def let(self, x: SSA) -> SSA:
        """The value: every one is computed where it is written."""
        return x

    # ------------------------------------------------------------------ programs

    def traced(self, fn: Callable[..., Any], *xs: SSA) -> Any:
        """The results of a function of primitives."""
        single: list[bool] = []

        def flat(*args: Any) -> Sequence[Any]:
            out = fn(*args)
            single.append(not isinstance(out, (tuple, list)))
            return [out] if single[0] else out

        closed = stage(flat, [ShapedArray(x.shape, x.dtype) for x in xs])
        outs = self.inline(closed, *xs)
        return outs[0] if single[0] else outs

    def inline(self, jaxpr: Any, *xs: SSA) -> list[SSA]:
        """The results of a jaxpr, written here."""
        closed = jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, [])
        env: dict[Any, SSA] = dict(zip(closed.jaxpr.invars, xs, strict=True))
        for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True):
            env[v] = self.array(_data(c, v.aval))
        return self.equations(closed.jaxpr, env)

    def host_call(self, number: int, xs: Sequence[SSA]) -> list[SSA]:
        """The results of a Python function, which runs where memory is the host's."""
        if self.platform not in ("", "cpu"):
            raise UnsupportedError(
                f"callbacks on {self.platform}: Python functions are called where a plugin's "
                "memory is the host's; copies from the device within a program are not written"
            )
        attributes = {
            "call_target_name": f'"{TARGET}"',
            "api_version": "4 : i32",
            "has_side_effect": "true",
            "backend_config": f"{{number = {integer(self.functions.first_host_call + number)}}}",
        }
        return self.ops("stablehlo.custom_call", xs, self.types, attributes)

    def call(self, jaxpr: Any, name: str, *xs: SSA) -> list[SSA]:
        """The results of a call of a private function."""
        closed = jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, [])
        if self.dynamic is not None:
            # The variables are values of `main`, which other functions do not see.
            return self.inline(closed, *xs)
        key = (id(closed.jaxpr), f"{self.platform} {name}")
        if key not in self.functions.known:
            symbol = self.functions.fresh(name)
            # The jaxpr is kept, so that no other one gets its id.
            self.functions.known[key] = (symbol, closed)
            self.functions.texts.append(self._function(symbol, closed))
        symbol = self.functions.known[key][0]
        types = [physical_type(v.aval) for v in closed.jaxpr.outvars]
        return self.ops("func.call", xs, types, {"callee": f"@{symbol}"})

    def _function(self, symbol: str, closed: ClosedJaxpr) -> str:
        inner = _Writer(self.platform, self.debug_info, self.functions)
        types = [physical_type(v.aval) for v in closed.jaxpr.invars]
        arguments = [SSA(f"%arg{i}", *t) for i, t in enumerate(types)]
        outs = inner.inline(closed, *arguments)
        head = ", ".join(f"{a.name}: {tensor((a.shape, a.dtype))}" for a in arguments)
        results = ", ".join(tensor((o.shape, o.dtype)) for o in outs)
        returned = f"return {', '.join(o.name for o in outs)} : {results}" if outs else "return"
        body = "\n".join(inner.lines)
        return (
            f"  func.func private @{symbol}({head}) -> ({results}) {{\n"
            f"{body}\n    {returned}\n  }}\n"
        )

    def while_loop(
        self,
        cond: Any,
        body: Any,
        cond_consts: Sequence[SSA],
        body_consts: Sequence[SSA],
        init: Sequence[SSA],
    ) -> list[SSA]:
        """A loop that ends when its condition does not hold."""
        return self.loop(
            init,
            lambda *carry: self.inline(cond, *cond_consts, *carry)[0],
            lambda *carry: self.inline(body, *body_consts, *carry),
        )

    def loop(
        self,
        init: Sequence[SSA],
        cond: Callable[..., SSA],
        body: Callable[..., Sequence[SSA]],
    ) -> list[SSA]:
        """`while cond(*carry): carry = body(*carry)`."""
        types = [(x.shape, x.dtype) for x in init]
        regions = [
            self.region(types, lambda *carry: [cond(*carry)]),
            self.region(types, body),
        ]
        return self.ops("stablehlo.while", init, types, regions=regions)

    def loop_n(
        self, count: int, init: Sequence[SSA], step: Callable[..., Sequence[SSA]]
    ) -> list[SSA]:
        """`state = step(i, *state)` for i from 0 to count - 1."""
        if count <= 0:
            return list(init)
        start = self.full((), 0, np.dtype(np.int32))
        outs = self.loop(
            [start, *init],
            lambda i, *_: self.compare("LT", i, count),
            lambda i, *state: [self.apply("stablehlo.add", i, 1), *step(i, *state)],
        )
        return outs[1:]

    def scan(
        self,
        body: Any,
        consts: Sequence[SSA],
        init: Sequence[SSA],
        xs: Sequence[SSA],
        length: int,
        reverse: bool = False,
    ) -> list[SSA]:
        """A loop over rows."""
        closed = body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, [])
        n = len(init)
        types = [physical_type(v.aval) for v in closed.jaxpr.outvars[n:]]
        stacked = [self.full((length, *shape), 0, dtype) for shape, dtype in types]
        counter = np.dtype(np.int32)
        start = self.full((), 0, counter)

        def step(i: SSA, *state: SSA) -> list[SSA]:
            carry, ys = state[:n], state[n:]
            last = self.full((), length - 1, counter)
            at = self.apply("stablehlo.subtract", last, i) if reverse else i
            parts = [self.row(x, at) for x in xs]
            outs = self.inline(closed, *consts, *carry, *parts)
            rows = [self.with_row(y, o, at) for y, o in zip(ys, outs[n:], strict=True)]
            return [self.apply("stablehlo.add", i, 1), *outs[:n], *rows]

        if length == 0:
            return [*init, *stacked]
        outs = self.loop(
            [start, *init, *stacked],
            lambda i, *_: self.compare("LT", i, length),
            step,
        )
        return outs[1:]

    def switch(self, index: SSA, branches: Sequence[Any], xs: Sequence[SSA]) -> list[SSA]:
        """One of several programs."""
        index = self.convert(index, np.dtype(np.int32))
        last = len(branches) - 1
        index = self.apply("stablehlo.maximum", index, 0)
        index = self.apply("stablehlo.minimum", index, last)
        closed = [b if isinstance(b, ClosedJaxpr) else ClosedJaxpr(b, []) for b in branches]
        types = [physical_type(v.aval) for v in closed[0].jaxpr.outvars]
        regions = [self.region([], lambda c=c: self.inline(c, *xs)) for c in closed]
        return self.ops("stablehlo.case", [index], types, regions=regions)


def _location(eqn: JaxprEqn) -> str:
    """The user's line and the scopes of an equation."""
    info = eqn.source_info
    scopes = str(info.name_stack)
    name = _escaped(f"{scopes}/{eqn.primitive}" if scopes else str(eqn.primitive))
    if not info.file:
        return f' loc("{name}")'
    return f' loc("{name}"("{_escaped(info.file)}":{info.line}:0))'
