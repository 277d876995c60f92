"""`debug_key_reuse`: refuse to use a random key twice.

Every key has a number.  Operations that only move elements move the numbers along; drawing from a
key, or splitting it, consumes its number, and a consumed one is refused by all operations but
`clone` and `fold_in`, which make new keys, and those that look at bits.  A compiled program is
followed equation by equation: loops for two turns, every branch of a choice.  Keys of the old
style (uint32), and of other generators than Threefry, are not followed.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from pullback.core.dtypes import KEY
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from pullback.core.primitive import Primitive
from pullback.core.source import current_source
from pullback.errors import KeyReuseError
from pullback.runtime.array import ArrayImpl

__all__ = ["check_program", "evaluate_followed"]

Numbers = Any
"""An array of the numbers of keys, or None for what is no array of keys."""

_SINKS: Final = frozenset(("random_bits", "random_split", "random_gamma"))
_INDIFFERENT: Final = frozenset(("random_unwrap", "random_clone", "random_fold_in"))
_counter: Final = itertools.count(1)
_numbers: Final[dict[int, tuple[weakref.ref[Any], Numbers]]] = {}
"""The numbers of the keys in an array, by its identity."""

_consumed: Final[set[int]] = set()


def _fresh(shape: Sequence[int]) -> Numbers:
    size = int(np.prod(shape, dtype=np.int64))
    return np.array([next(_counter) for _ in range(size)], np.int64).reshape(tuple(shape))


def _is_keys(x: Any) -> bool:
    return type(x) is ArrayImpl and x.aval.dtype is KEY


def _numbers_of(x: Any) -> Numbers:
    if not _is_keys(x):
        return None
    found = _numbers.get(id(x))
    if found is not None and found[0]() is x:
        return found[1]
    return _remember(x, _fresh(x.shape))


def _remember(x: Any, numbers: Numbers) -> Numbers:
    key = id(x)
    _numbers[key] = weakref.ref(x, lambda _: _numbers.pop(key, None)), numbers
    return numbers


def _refuse(numbers: Iterable[Numbers], consumed: set[int], what: str, where: Any) -> None:
    for each in numbers:
        if each is not None and not consumed.isdisjoint(each.ravel().tolist()):
            raise KeyReuseError(
                f"Previously-consumed key passed to {what}: a key that was consumed before is used "
                "again; make new keys by random.split, or say that it is meant by random.clone\n"
                f"  At: {where}"
            )


# --------------------------------------------------------------------------- one operation


def _follow(
    primitive: Primitive,
    numbers: Sequence[Numbers],
    values: Sequence[Any],
    params: dict[str, Any],
    avals: Sequence[Any],
    consumed: set[int],
    where: Any,
) -> list[Numbers]:
    """The numbers of the results of one first-order operation; `values` may hold None."""
    if primitive.name in _INDIFFERENT:
        return [_fresh(a.shape) if a.dtype is KEY else None for a in avals]
    _refuse(numbers, consumed, primitive.name, where)
    if primitive.name in _SINKS:
        for each in numbers:
            if each is not None:
                consumed.update(each.ravel().tolist())
    elif any(a.dtype is KEY for a in avals) and any(n is not None for n in numbers):
        return _moved(primitive, numbers, values, params, avals)
    return [_fresh(a.shape) if a.dtype is KEY else None for a in avals]


def _moved(
    primitive: Primitive,
    numbers: Sequence[Numbers],
    values: Sequence[Any],
    params: dict[str, Any],
    avals: Sequence[Any],
) -> list[Numbers]:
    """The numbers moved as the operation moves elements; new ones where that is not known."""
    operands = [v if n is None else n for n, v in zip(numbers, values, strict=True)]
    if any(x is None for x in operands):
        return [_fresh(a.shape) if a.dtype is KEY else None for a in avals]
    out = primitive.reference(*operands, **params)
    outs = out if primitive.multiple_results else [out]
    return [
        np.asarray(o, np.int64).reshape(a.shape) if a.dtype is KEY else None
        for o, a in zip(outs, avals, strict=True)
    ]


def evaluate_followed(
    evaluate: Callable[..., Any], primitive: Primitive, args: Sequence[Any], params: dict[str, Any]
) -> Any:
    """Evaluate one operation, and follow its keys."""
    if not any(map(_is_keys, args)):
        return evaluate(primitive, args, params)
    numbers = [_numbers_of(x) for x in args]
    values = [x._data if type(x) is ArrayImpl else np.asarray(x) for x in args]
    out = evaluate(primitive, args, params)
    outs = out if primitive.multiple_results else [out]
    avals = [o.aval for o in outs]
    found = _apply(primitive, numbers, values, params, avals, _consumed, current_source())
    for x, each in zip(outs, found, strict=True):
        if each is not None and _is_keys(x):
            _remember(x, each)
    return out


# --------------------------------------------------------------------------- programs


def check_program(closed: ClosedJaxpr, arrays: Sequence[Any]) -> None:
    """Follow the keys among the arguments of a program, and those that it makes."""
    if any(map(_is_keys, arrays)) or any(v.aval.dtype is KEY for v in _made(closed.jaxpr)):
        _run(closed, [_numbers_of(x) for x in arrays], _consumed)


def _made(jaxpr: Jaxpr) -> list[Any]:
    return [v for eqn in jaxpr.eqns for v in eqn.outvars]


def _run(
    closed: ClosedJaxpr | Jaxpr, numbers: Sequence[Numbers], consumed: set[int]
) -> list[Numbers]:
    jaxpr = closed.jaxpr if isinstance(closed, ClosedJaxpr) else closed
    consts = closed.consts if isinstance(closed, ClosedJaxpr) else ()
    env: dict[Any, Numbers] = {}
    for v, c in zip(jaxpr.constvars, consts, strict=False):
        env[v] = _numbers_of(c)
    env.update(zip(jaxpr.invars, numbers, strict=True))

    def read(atom: Any) -> Numbers:
        return None if type(atom) is Literal else env.get(atom)

    for eqn in jaxpr.eqns:
        outs = _equation(eqn, [read(v) for v in eqn.invars], consumed)
        for v, each in zip(eqn.outvars, outs, strict=True):
            env[v] = _fresh(v.aval.shape) if each is None and v.aval.dtype is KEY else each
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: JaxprEqn, numbers: list[Numbers], consumed: set[int]) -> list[Numbers]:
    values = [v.val if type(v) is Literal else None for v in eqn.invars]
    avals = [v.aval for v in eqn.outvars]
    return _apply(eqn.primitive, numbers, values, eqn.params, avals, consumed, eqn.source_info)


def _apply(
    primitive: Primitive,
    numbers: list[Numbers],
    values: Sequence[Any],
    params: dict[str, Any],
    avals: Sequence[Any],
    consumed: set[int],
    where: Any,
) -> list[Numbers]:
    """The numbers of the results of any operation."""
    loop = _LOOPS.get(primitive.name)
    inner = _inner(params)
    outs: list[Numbers] = [None] * len(avals)
    if loop is not None:
        outs = loop(params, numbers, consumed)
    elif inner is not None:
        if len(inner.in_avals) == len(numbers):
            outs = _run(inner, numbers, consumed)
    elif any(n is not None for n in numbers):
        outs = _follow(primitive, numbers, values, params, avals, consumed, where)
    return outs if len(outs) == len(avals) else [None] * len(avals)


def _inner(params: dict[str, Any]) -> ClosedJaxpr | None:
    """The program that an equation holds, if it holds one."""
    found = [v for v in params.values() if isinstance(v, ClosedJaxpr)]
    return found[0] if found else None


def _scan(params: dict[str, Any], numbers: list[Numbers], consumed: set[int]) -> list[Numbers]:
    body, length = params["jaxpr"], params["length"]
    n, m = params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, carry, xs = numbers[:n], numbers[n:m], numbers[m:]
    outs: list[Numbers] = []
    for turn in range(min(length, 2)):
        rows = [None if x is None else x[turn] for x in xs]
        outs = _run(body, [*consts, *carry, *rows], consumed)
        for x, row in zip(xs, rows, strict=True):
            if row is not None and not consumed.isdisjoint(row.ravel().tolist()):
                consumed.update(x[turn + 1 :].ravel().tolist() if turn else ())
        carry = outs[: m - n]
    return [*carry, *[None] * (len(body.out_avals) - (m - n))]


def _while(params: dict[str, Any], numbers: list[Numbers], consumed: set[int]) -> list[Numbers]:
    n, m = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    carry = numbers[m:]
    for _ in range(2):
        _run(params["cond_jaxpr"], [*numbers[:n], *carry], consumed)
        carry = _run(params["body_jaxpr"], [*numbers[n:m], *carry], consumed)
    return carry


def _cond(params: dict[str, Any], numbers: list[Numbers], consumed: set[int]) -> list[Numbers]:
    """Each branch from the same start; what one of them consumes is consumed."""
    before = frozenset(consumed)
    outs: list[Numbers] = []
    for branch in params["branches"]:
        taken = set(before)
        outs = _run(branch, numbers[1:], taken)
        consumed |= taken
    return [None] * len(outs)


_LOOPS: Final = {"scan": _scan, "while": _while, "cond": _cond}
