"""StableHLO programs run by our operations: the way from a module to a jaxpr.

module (hlo/modules) -> `program`, which binds the operations' rules -> jaxpr, for given types

What is known while a program is read, such as lengths of axes and what is computed from them, stays
known: values that are NumPy arrays.  So a module with axes of unknown lengths becomes a program
with known ones.  A function of the module becomes one jaxpr for the types that it is called with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.control.jit import bind_jit
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal, subjaxprs
from pullback.core.trace import eager_where_known
from pullback.errors import UnsupportedError
from pullback.hlo.modules import ModuleError, Operation, Region, TensorType, Value
from pullback.runtime.array import from_numpy
from pullback.transforms.staging import stage

__all__ = ["Interpreter", "Rule", "ints", "program", "rule", "rules"]

Rule = Callable[..., Any]
rules: Final[dict[str, Rule]] = {}
"""For each operation: `rule(interpreter, operation, *operands)`, the result or a list of
results."""
foldable: Final[set[str]] = set()
"""Operations that are evaluated at once where all operands are known."""

_FEW: Final = 4096
"""Larger arrays are not computed while a program is read."""
_OPERATIONS_FOR_EACH: Final = 200
"""A function may be read again for other types; more than so often, on average, is an error."""


def rule(*names: str, folds: bool = False) -> Callable[[Rule], Rule]:
    """Declare the rule of operations."""

    def add(fn: Rule) -> Rule:
        for name in names:
            rules[name] = fn
        if folds:
            foldable.update(names)
        return fn

    return add


def ints(value: Any) -> tuple[int, ...]:
    """The integers of an attribute, which may be missing."""
    if value is None:
        return ()
    return tuple(int(n) for n in np.asarray(value).reshape(-1))


def is_known(x: Any) -> bool:
    """Whether a value is known while the program is read."""
    return isinstance(x, np.ndarray)


def _folds(x: Any) -> bool:
    return is_known(x) and x.size <= _FEW and x.dtype.kind in "iub"


class Interpreter:
    """Runs the operations of one module."""

    def __init__(self, module: Operation) -> None:
        self.functions = {
            str(op.attributes.get("sym_name")): op
            for op in module.regions[0].operations
            if op.name == "func.func"
        }
        self.left = _OPERATIONS_FOR_EACH * (_count(module) + 50)
        self.busy: set[str] = set()
        self.made: dict[Any, Any] = {}
        self.known: dict[Value, Any] = {}
        """Values that were last known."""
        self.sums: dict[Value, list[Value]] = {}
        """Operands of additions."""

    # ------------------------------------------------------------------ functions

    def function(self, name: str) -> Operation:
        """A function of the module."""
        found = self.functions.get(name)
        if found is None or not found.regions:
            raise ModuleError(f"the module has no function {name!r}")
        return found

    def call(self, name: str, xs: Sequence[Any]) -> list[Any]:
        """The results of a function of the module; functions of the same types are read once."""
        body = self.function(name).regions[0]
        if all(map(is_known, xs)):
            out: list[Any] = self.guarded(name, lambda: self.run(body, xs, {}))
            return out
        known = {k: x for k, x in enumerate(xs) if is_known(x)}
        given = [x for x in xs if not is_known(x)]
        key = (
            name,
            tuple((k, x.shape, x.dtype, x.tobytes()) for k, x in known.items()),
            tuple(aval_of(x).strip_weak_type() for x in given),
        )
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = self.guarded(name, lambda: self.staged(body, known, given))
        closed, results = made
        params = {"donated_invars": (), "keep_unused": False, "inline": False}
        outs = bind_jit(closed, given, name, **params)
        return [outs[r] if isinstance(r, int) else r for r in results]

    def guarded(self, name: str, make: Callable[[], Any]) -> Any:
        """What is made while a function is entered, which must not call itself."""
        if name in self.busy:
            raise ModuleError(f"the function {name!r} of the module calls itself")
        self.busy.add(name)
        try:
            return make()
        finally:
            self.busy.discard(name)

    def staged(
        self, body: Region, known: dict[int, Any], given: Sequence[Any]
    ) -> tuple[ClosedJaxpr, list[Any]]:
        """A function as a jaxpr; which of its results those of the jaxpr are, and known ones."""
        results: list[Any] = []

        def fn(*xs: Any) -> list[Any]:
            rest = iter(xs)
            count = len(known) + len(given)
            outs = self.run(
                body, [known[k] if k in known else next(rest) for k in range(count)], {}
            )
            out: list[Any] = []
            for x in outs:
                keep = not _folds(x) and not isinstance(x, (tuple, type(None)))
                results.append(len(out) if keep else x)
                out.extend([x] if keep else [])
            return out

        closed = stage(fn, [aval_of(x).strip_weak_type() for x in given])
        return closed, results

    # ------------------------------------------------------------------ operations

    def run(self, body: Region, xs: Sequence[Any], env: dict[Value, Any]) -> list[Any]:
        """The results of a region for its arguments; `env` has the values around it."""
        if len(xs) != len(body.arguments):
            raise ModuleError(
                f"a region of {len(body.arguments)} arguments is given {len(xs)} values"
            )
        inside = {**env}
        for argument, x in zip(body.arguments, xs, strict=True):
            self.check(argument.type, x, "an argument")
            inside[argument] = x
            if is_known(x):
                self.known[argument] = x
        for operation in body.operations:
            operands = [inside[v] for v in operation.operands]
            if operation.name in ("func.return", "stablehlo.return", "return"):
                return operands
            outs = self.operation(operation, operands, inside)
            inside.update(zip(operation.results, outs, strict=True))
        raise ModuleError("a region of the module has no end")

    def operation(
        self, operation: Operation, xs: Sequence[Any], env: dict[Value, Any]
    ) -> list[Any]:
        """The results of one operation."""
        self.left -= 1
        if self.left < 0:
            raise ModuleError("the functions of the module call each other too often")
        fn = rules.get(operation.name)
        if fn is None:
            raise UnsupportedError(f"the operation {operation.name} of StableHLO")
        if operation.regions:
            out = fn(self, operation, env, *xs)
        elif operation.name in foldable and xs and all(map(_folds, xs)) and _small(operation):
            with eager_where_known():
                out = fn(self, operation, *xs)
            out = np.asarray(out)
        else:
            out = fn(self, operation, *xs)
        outs = list(out) if isinstance(out, list) else [out]
        if len(outs) != len(operation.results):
            raise ModuleError(
                f"{operation.name} has {len(outs)} results, the module says "
                f"{len(operation.results)}"
            )
        for value, x in zip(operation.results, outs, strict=True):
            self.check(value.type, x, operation.name)
            if is_known(x):
                self.known[value] = x
        if operation.name == "stablehlo.add":
            self.sums[operation.results[0]] = operation.operands
        return outs

    def difference(self, high: Value, low: Value) -> Any:
        """`high - low` where that is known: `high` was computed as `low` and something known."""
        operands = self.sums.get(high, [])
        if low in operands:
            return self.known.get(operands[1 - operands.index(low)])
        return None

    @staticmethod
    def check(type_: Any, x: Any, name: str) -> None:
        """Compare a value with the type that the module declares."""
        if not isinstance(type_, TensorType):
            return
        aval = aval_of(x) if not is_known(x) else x
        fits = len(type_.shape) == len(aval.shape) and aval.dtype == type_.dtype
        if not fits or any(
            n not in (None, m) for n, m in zip(type_.shape, aval.shape, strict=True)
        ):
            raise ModuleError(
                f"{name}: the module declares {type_.dtype.name}{list(type_.shape)}, found "
                f"{aval.dtype.name}{list(aval.shape)}"
            )

    def shape_of(self, operation: Operation, known: Any = None) -> tuple[int, ...]:
        """The shape of the result: as declared, or as a value says that must be known."""
        declared = operation.results[0].type.shape
        if None not in declared:
            return tuple(declared)
        if not is_known(known):
            raise UnsupportedError(
                f"{operation.name}: lengths of axes that depend on values of arrays"
            )
        return ints(known)

    def region(self, region: Region, env: dict[Value, Any]) -> Callable[..., list[Any]]:
        """A region as a function."""
        return lambda *xs: self.run(region, xs, env)


def _small(operation: Operation) -> bool:
    type_ = operation.results[0].type
    size = 1
    for n in type_.shape if isinstance(type_, TensorType) else ():
        size *= n or 1
    return size <= _FEW


def _count(operation: Operation) -> int:
    return 1 + sum(_count(o) for r in operation.regions for o in r.operations)


def single(region: Region) -> str | None:
    """The name of the only operation of a region `f(a, b)` of its arguments, if it is such."""
    if len(region.operations) != 2 or len(region.arguments) != 2:
        return None
    operation, end = region.operations
    a, b = region.arguments
    fits = operation.operands in ([a, b], [b, a]) and end.operands == operation.results
    return operation.name if fits else None


def program(
    module: Operation,
    avals: Sequence[ShapedArray],
    first: Sequence[Any] = (),
    name: str = "main",
) -> ClosedJaxpr:
    """The jaxpr of a function of a module for arguments of these types, behind known ones."""
    interpreter = Interpreter(module)
    body = interpreter.function(name).regions[0]
    types = [ShapedArray(a.shape, dtypes.physical(a.dtype)) for a in avals]
    with config.x64.override(True):
        closed = stage(lambda *xs: interpreter.run(body, [*first, *xs], {}), types)
    _keep_wide_literals(closed.jaxpr, set())
    return closed.replace(consts=[_typed(c) for c in closed.consts])


def _typed(x: Any) -> Any:
    """An array that is of 64 bits whatever the settings are."""
    return from_numpy(np.asarray(x), ShapedArray(x.shape, x.dtype)) if is_known(x) else x


def _keep_wide_literals(jaxpr: Jaxpr, seen: set[Any]) -> None:
    """Make literals of 64 bits arrays, whose types do not depend on settings."""
    if jaxpr in seen:
        return
    seen.add(jaxpr)
    for eqn in jaxpr.eqns:
        eqn.invars = [_wide_literal(v) for v in eqn.invars]
        for inner in subjaxprs(eqn):
            _keep_wide_literals(inner, seen)
    jaxpr.outvars = [_wide_literal(v) for v in jaxpr.outvars]


def _wide_literal(v: Any) -> Any:
    if type(v) is not Literal or v.aval.weak_type or v.aval.dtype.itemsize < 8:
        return v
    return Literal(from_numpy(np.asarray(v.val), v.aval), v.aval)
