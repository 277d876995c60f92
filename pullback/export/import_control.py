"""Operations of StableHLO with regions, and calls: loops, branches, reductions, sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.errors import UnsupportedError
from pullback.export.import_elementwise import BINARY, function_of
from pullback.export.interpreter import Interpreter, ints, is_known, rule, single
from pullback.export.sorting import sorted_by
from pullback.hlo.modules import ModuleError, Operation, Region

__all__ = ["reduced_windows"]


def _several(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


@rule("func.call", "call")
def _call(interpreter: Interpreter, operation: Operation, *xs: Any) -> list[Any]:
    return interpreter.call(str(operation.attributes.get("callee")), xs)


@rule("stablehlo.composite")
def _composite(interpreter: Interpreter, operation: Operation, *xs: Any) -> list[Any]:
    name = str(operation.attributes.get("name"))
    fn = function_of(name)
    if name == "chlo.top_k":
        found = operation.attributes.get("composite_attributes") or {}
        return list(lax.top_k(xs[0], int(found["k"])))
    if fn is not None:
        return [fn(*xs)]
    return interpreter.call(str(operation.attributes.get("decomposition")), xs)


@rule("chlo.top_k")
def _top_k(interpreter: Interpreter, operation: Operation, x: Any) -> list[Any]:
    return list(lax.top_k(x, int(operation.attributes["k"])))


# --------------------------------------------------------------------------- control flow


@rule("stablehlo.while")
def _while(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> list[Any]:
    test, step = (interpreter.region(r, env) for r in operation.regions)
    carry = tuple(xs)
    return list(lax.while_loop(lambda c: test(*c)[0], lambda c: tuple(step(*c)), carry))


def _branch(run: Callable[..., list[Any]]) -> Callable[[], tuple[Any, ...]]:
    return lambda: tuple(run())


@rule("stablehlo.case")
def _case(interpreter: Interpreter, operation: Operation, env: Any, index: Any) -> list[Any]:
    branches = [interpreter.region(r, env) for r in operation.regions]
    if is_known(index):
        at = int(index)
        return branches[at if 0 <= at < len(branches) else -1]()
    last = len(branches) - 1
    inside = lax.bitwise_and(lax.ge(index, np.int32(0)), lax.le(index, np.int32(last)))
    chosen = lax.select_n(inside, lax.full_like(index, last), index)
    return list(lax.switch(chosen, [_branch(b) for b in branches]))


@rule("stablehlo.if")
def _if(interpreter: Interpreter, operation: Operation, env: Any, which: Any) -> list[Any]:
    yes, no = (interpreter.region(r, env) for r in operation.regions)
    if is_known(which):
        return (yes if which else no)()
    return list(lax.cond(which, _branch(yes), _branch(no)))


# --------------------------------------------------------------------------- reductions

_REDUCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "stablehlo.add": lax.reduce_sum,
    "stablehlo.multiply": lax.reduce_prod,
    "stablehlo.maximum": lax.reduce_max,
    "stablehlo.minimum": lax.reduce_min,
    "stablehlo.and": lax.reduce_and,
    "stablehlo.or": lax.reduce_or,
    "stablehlo.xor": lax.reduce_xor,
}
_LOGICAL: Final = {
    "stablehlo.add": "stablehlo.or",
    "stablehlo.maximum": "stablehlo.or",
    "stablehlo.multiply": "stablehlo.and",
    "stablehlo.minimum": "stablehlo.and",
}


def _monoid(region: Region, dtype: Any) -> str | None:
    name = single(region)
    if dtype == dtypes.bool_ and name is not None:
        name = _LOGICAL.get(name, name)
    return name if name in _REDUCTIONS else None


def _identity(name: str, dtype: Any) -> Any:
    kind = dtypes.kind_of(dtype)
    if name in ("stablehlo.add", "stablehlo.or", "stablehlo.xor"):
        return 0
    if name == "stablehlo.multiply":
        return 1
    if name == "stablehlo.and":
        return True if kind == "b" else -1 if kind == "i" else int(dtypes.iinfo(dtype).max)
    low = name == "stablehlo.maximum"
    if kind == "f":
        return -np.inf if low else np.inf
    return None if kind not in "iu" else getattr(dtypes.iinfo(dtype), "min" if low else "max")


def _starts_empty(name: str, init: Any) -> bool:
    """Whether a reduction starts with the value that changes nothing."""
    identity = _identity(name, init.dtype)
    return is_known(init) and identity is not None and bool(init == identity)


def _combined(region: Callable[..., list[Any]], single_: bool) -> Callable[[Any, Any], Any]:
    def combine(a: Any, b: Any) -> Any:
        left, right = ((a,), (b,)) if single_ else (tuple(a), tuple(b))
        outs = region(*left, *right)
        return outs[0] if single_ else tuple(outs)

    return combine


@rule("stablehlo.reduce")
def _reduce(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> list[Any]:
    n = len(xs) // 2
    operands, inits = xs[:n], xs[n:]
    axes = ints(operation.attributes["dimensions"])
    region = operation.regions[0]
    name = _monoid(region, operands[0].dtype) if n == 1 else None
    if name is not None:
        out = _REDUCTIONS[name](operands[0], axes)
        if not _starts_empty(name, inits[0]):
            init = lax.broadcast_in_dim(inits[0], out.shape, ())
            out = BINARY[name.removeprefix("stablehlo.")](out, init)
        return [out]
    combine = _combined(interpreter.region(region, env), n == 1)
    if n == 1:
        return [lax.reduce(operands[0], inits[0], combine, axes)]
    return list(lax.reduce(tuple(operands), tuple(inits), combine, axes))


_CUMULATIVE: Final = {
    "stablehlo.add": lax.cumsum,
    "stablehlo.multiply": lax.cumprod,
    "stablehlo.maximum": lax.cummax,
    "stablehlo.minimum": lax.cummin,
}


def _cumulative(name: str, x: Any, window: Any, padding: Any) -> Any:
    """A window as long as an axis that begins outside of it is a running total, or None."""
    wide = [k for k, n in enumerate(window) if n != 1]
    if len(wide) != 1 or name not in _CUMULATIVE or dtypes.kind_of(x.dtype) == "b":
        return None
    axis = wide[0]
    n = x.shape[axis]
    rest = [tuple(p) for k, p in enumerate(padding) if k != axis]
    if window[axis] != n or any(p != (0, 0) for p in rest):
        return None
    if tuple(padding[axis]) not in ((n - 1, 0), (0, n - 1)):
        return None
    return _CUMULATIVE[name](x, axis=axis, reverse=tuple(padding[axis]) == (0, n - 1))


def reduced_windows(
    region: Region,
    run: Callable[..., list[Any]],
    xs: Any,
    inits: Any,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    padding: list[tuple[int, int]],
    base: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[Any]:
    """The reduction of windows by a region."""
    name = _monoid(region, xs[0].dtype) if len(xs) == 1 else None
    plain = set(strides) | set(base) | set(dilation) <= {1}
    if name is not None and plain and _starts_empty(name, inits[0]):
        found = _cumulative(name, xs[0], window, padding)
        if found is not None:
            return [found]
    one = len(xs) == 1
    combine = _combined(run, one)
    if name is not None:
        combine = BINARY[name.removeprefix("stablehlo.")]
    operand: Any = xs[0] if one else tuple(xs)
    init: Any = inits[0] if one else tuple(inits)
    if one and is_known(init):
        init = init[()]
    out = lax.reduce_window(
        operand,
        init,
        combine,
        window,
        strides,
        padding,
        base_dilation=base,
        window_dilation=dilation,
    )
    return _several(out)


@rule("stablehlo.reduce_window")
def _reduce_window(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> list[Any]:
    n = len(xs) // 2
    a, rank = operation.attributes, len(xs[0].shape)
    ones = (1,) * rank
    padding = a.get("padding")
    pairs = np.zeros((rank, 2), int) if padding is None else np.asarray(padding).reshape(rank, 2)
    return reduced_windows(
        operation.regions[0],
        interpreter.region(operation.regions[0], env),
        xs[:n],
        xs[n:],
        ints(a["window_dimensions"]),
        ints(a.get("window_strides")) or ones,
        [(int(p), int(q)) for p, q in pairs],
        ints(a.get("base_dilations")) or ones,
        ints(a.get("window_dilations")) or ones,
    )


@rule("stablehlo.select_and_scatter")
def _select_and_scatter(
    interpreter: Interpreter, operation: Operation, env: Any, x: Any, source: Any, init: Any
) -> Any:
    a, rank = operation.attributes, len(x.shape)
    padding = a.get("padding")
    pairs = np.zeros((rank, 2), int) if padding is None else np.asarray(padding).reshape(rank, 2)
    chosen, combined = operation.regions
    first = chosen.operations[0]
    direction = first.attributes.get("comparison_direction")
    ordered = first.name == "stablehlo.compare" and first.operands == chosen.arguments
    if not ordered or direction not in ("GE", "LE") or single(combined) != "stablehlo.add":
        raise UnsupportedError(
            "stablehlo.select_and_scatter other than the derivative of a maximum or minimum"
        )
    if not (is_known(init) and init == 0):
        raise UnsupportedError("stablehlo.select_and_scatter that does not begin with zeros")
    return lax.select_and_scatter_add_p.bind(
        source,
        x,
        select_prim=lax.ge_p if direction == "GE" else lax.le_p,
        window_dimensions=ints(a["window_dimensions"]),
        window_strides=ints(a.get("window_strides")) or (1,) * rank,
        padding=tuple((int(p), int(q)) for p, q in pairs),
    )


@rule("stablehlo.sort")
def _sort(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> list[Any]:
    axis = int(operation.attributes.get("dimension", -1))
    region = operation.regions[0]
    if len(region.arguments) != 2 * len(xs):
        raise ModuleError("a sort of the module compares something else than its operands")
    return sorted_by(interpreter, region, env, xs, axis % aval_of(xs[0]).ndim)
