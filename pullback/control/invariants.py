"""Loops written by users, without what they only carry along.

A carry that the body returns as it got it becomes a constant of the loop, and results that are rows
of the operands are these operands: neither is copied, nor differentiated step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.control.loop_parts import bind_while
from pullback.control.policies import Binomial
from pullback.control.scan import bind_scan
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr
from pullback.core.trace import eager
from pullback.ops.conversion import convert_element_type

__all__ = ["run_scan", "run_while"]


def _unchanged(jaxpr: Jaxpr, n: int) -> list[bool]:
    """Which of the first `n` arguments come out as they went in."""
    return [a is b for a, b in zip(jaxpr.invars[:n], jaxpr.outvars[:n], strict=True)]


def _pick(xs: Sequence[Any], flags: Sequence[bool], wanted: bool) -> list[Any]:
    return [x for x, f in zip(xs, flags, strict=True) if f is wanted]


def _as_array(x: Any) -> Any:
    """A value that is a result without having been computed: Python and NumPy ones as Arrays."""
    if isinstance(x, Array):
        return x
    aval = aval_of(x)
    with eager():
        return convert_element_type.bind(
            x, new_dtype=aval.dtype, weak_type=aval.weak_type, sharding=None
        )


def _spread(init: Sequence[Any], fixed: Sequence[bool], outs: Sequence[Any]) -> list[Any]:
    """The final carries: the initial ones where they never change."""
    rest = iter(outs)
    return [_as_array(x) if f else next(rest) for x, f in zip(init, fixed, strict=True)]


def run_while(
    cond: ClosedJaxpr,
    body: ClosedJaxpr,
    init: Sequence[Any],
    max_steps: int | None = None,
    remat: Binomial | None = None,
) -> list[Any]:
    """A while loop; carries that neither change nor matter to the condition are constants."""
    used = {v for eqn in cond.jaxpr.eqns for v in eqn.invars} | set(cond.jaxpr.outvars)
    fixed = [
        same and v not in used
        for same, v in zip(_unchanged(body.jaxpr, len(init)), cond.jaxpr.invars, strict=True)
    ]
    if not any(fixed):
        return bind_while(cond, body, [], [], init, max_steps=max_steps, remat=remat)
    ins = body.jaxpr.invars
    new_body = body.jaxpr.replace(
        invars=[*_pick(ins, fixed, True), *_pick(ins, fixed, False)],
        outvars=_pick(body.jaxpr.outvars, fixed, False),
    )
    new_cond = cond.jaxpr.replace(invars=_pick(cond.jaxpr.invars, fixed, False))
    outs = bind_while(
        ClosedJaxpr(new_cond, cond.consts),
        ClosedJaxpr(new_body, body.consts),
        [],
        _pick(init, fixed, True),
        _pick(init, fixed, False),
        max_steps=max_steps,
        remat=remat,
    )
    return _spread(init, fixed, outs)


def run_scan(body: ClosedJaxpr, init: Sequence[Any], xs: Sequence[Any], **loop: Any) -> list[Any]:
    """A scan; carries that do not change are constants, and rows given back are `xs`."""
    n = len(init)
    jaxpr = body.jaxpr
    fixed = _unchanged(jaxpr, n)
    operands = dict(zip(jaxpr.invars[n:], xs, strict=True))
    given = [operands.get(v) for v in jaxpr.outvars[n:]]
    known = [x is not None for x in given]
    if not any(fixed) and not any(known):
        return bind_scan(body, [], init, xs, **loop)
    carry = jaxpr.invars[:n]
    new = jaxpr.replace(
        invars=[*_pick(carry, fixed, True), *_pick(carry, fixed, False), *jaxpr.invars[n:]],
        outvars=[
            *_pick(jaxpr.outvars[:n], fixed, False),
            *_pick(jaxpr.outvars[n:], known, False),
        ],
    )
    n_left = fixed.count(False)
    outs: list[Any] = []
    if new.outvars or new.effects:
        closed = ClosedJaxpr(new, body.consts)
        hoisted, left = _pick(init, fixed, True), _pick(init, fixed, False)
        outs = bind_scan(closed, hoisted, left, xs, **loop)
    rows = iter(outs[n_left:])
    ys = [_as_array(x) if k else next(rows) for x, k in zip(given, known, strict=True)]
    return [*_spread(init, fixed, outs[:n_left]), *ys]
