"""Jaxprs with references become jaxprs with values: the discharge.

A reference that is read or written becomes a value that is replaced at every write; calls take it
as an operand and give it back, loops carry it, branches return it.  What compiles, batches and
differentiates these knows nothing of references.  A loop that writes to a few elements writes them
in place, as with any carry.

Two ways of it: *whole* is for programs to be compiled, in which custom rules no longer matter and
every reference goes; otherwise references that a jaxpr only passes on stay, for the rules of
`custom_vjp` functions that write to them in the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control import loops, refs
from pullback.control.cond import bind_cond
from pullback.control.cond import cond as cond_primitive
from pullback.control.custom_jvp import custom_jvp_call
from pullback.control.custom_vjp import custom_vjp_call
from pullback.control.custom_vmap import custom_vmap_call
from pullback.control.jit import bind_jit, split_list
from pullback.control.jit import jit as jit_primitive
from pullback.control.loop_parts import bind_while
from pullback.control.remat import bind_remat, remat_call
from pullback.control.scan import bind_scan
from pullback.control.scan import scan as scan_primitive
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from pullback.core.primitive import Primitive
from pullback.core.refs import (
    AbstractRef,
    apply_hook,
    discharge_hook,
    discharged,
    has_ref_effects,
    inner_jaxprs,
    is_ref,
    touched,
    written,
)
from pullback.core.source import replaying
from pullback.ops import structural
from pullback.transforms.staging import stage

__all__ = ["apply", "as_values", "discharge", "holds_refs"]


class Cell:
    """A reference during the discharge: its value now."""

    __slots__ = ("aval", "ended", "passed_in", "value")

    def __init__(self, value: Any, aval: AbstractRef, passed_in: bool) -> None:
        self.value = value
        self.aval = aval
        self.passed_in = passed_in
        self.ended = False

    def read(self, chain: refs.Chain, operands: Sequence[Any]) -> Any:
        """A part of the value."""
        self.check_alive()
        return refs.read(self.value, chain, operands)

    def check_alive(self) -> None:
        """Raise if it was frozen or freed."""
        if self.ended:
            raise ValueError(
                f"a reference of type {self.aval} is used after it was frozen or freed"
            )

    def end(self) -> Any:
        """The last value."""
        self.check_alive()
        if self.passed_in:
            raise ValueError(
                f"a reference of type {self.aval} that was passed in, or closed over, is frozen or "
                "freed; only the function that made it may do that"
            )
        self.ended = True
        return self.value


def discharge(closed: ClosedJaxpr, *, whole: bool) -> tuple[ClosedJaxpr, list[int]]:
    """The jaxpr with values in place of references.

    Arguments that were references take their values; after the results come the last values of
    those that are written, whose positions the second result lists. `closed` has no references
    among its constants: see `open_consts`.
    """
    jaxpr = closed.jaxpr
    gone = [is_ref(v) and (whole or t) for v, t in zip(jaxpr.invars, touched(jaxpr), strict=True)]
    changed = [i for i, w in enumerate(written(jaxpr)) if w]

    def fun(*args: Any) -> list[Any]:
        values = [
            Cell(x, v.aval, True) if g else x
            for x, v, g in zip(args, jaxpr.invars, gone, strict=True)
        ]
        outs = _Walk(whole).run(jaxpr, closed.consts, values)
        return [*outs, *[values[i].value for i in changed]]

    avals = [v.aval.inner_aval if g else v.aval for v, g in zip(jaxpr.invars, gone, strict=True)]
    info = jaxpr.debug_info
    return stage(fun, avals, description=info.func_src_info, debug_info=info), changed


def as_values(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, list[int]]:
    """A program to be compiled; references among its constants are its first arguments then."""
    jaxpr = closed.jaxpr
    pairs = list(zip(jaxpr.constvars, closed.consts, strict=True))
    moved = [v for v, _ in pairs if is_ref(v)]
    kept = [(v, c) for v, c in pairs if not is_ref(v)]
    opened = jaxpr.replace(constvars=[v for v, _ in kept], invars=[*moved, *jaxpr.invars])
    return discharge(ClosedJaxpr(opened, [c for _, c in kept]), whole=True)


def holds_refs(closed: ClosedJaxpr) -> bool:
    """Whether references are among the arguments or constants of a program."""
    return any(map(is_ref, (*closed.jaxpr.invars, *closed.jaxpr.constvars)))


def pure(closed: ClosedJaxpr) -> ClosedJaxpr:
    """A jaxpr without the references that it makes itself."""
    return discharge(closed, whole=False)[0] if has_ref_effects(closed.effects) else closed


class _Walk:
    """Applies equations to values and cells, under the current trace."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole

    def run(self, jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
        """The results of a jaxpr."""
        env: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        env.update((v, _array(x, v.aval)) for v, x in zip(jaxpr.invars, args, strict=True))
        for eqn in jaxpr.eqns:
            inputs = [v.val if type(v) is Literal else env[v] for v in eqn.invars]
            with replaying(eqn.source_info):
                outs = self.equation(eqn, inputs)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [v.val if type(v) is Literal else env[v] for v in jaxpr.outvars]

    def equation(self, eqn: JaxprEqn, inputs: list[Any]) -> Sequence[Any]:
        """The results of one equation."""
        rule = _ON_CELLS.get(eqn.primitive)
        if rule is not None and (not inputs or eqn.primitive is refs.new_ref or _cell(inputs[0])):
            return rule(*map(_typed, inputs, eqn.invars), **eqn.params)
        if has_ref_effects(eqn.effects) or any(map(_cell, inputs)):
            return self.call(eqn.primitive, inputs, eqn.params)
        out = eqn.primitive.bind(*inputs, **eqn.params)
        return out if eqn.primitive.multiple_results else [out]

    def call(
        self, primitive: Primitive, inputs: list[Any], params: dict[str, Any]
    ) -> Sequence[Any]:
        """The results of an equation that holds jaxprs; its cells take their new values."""
        inner = _INLINED.get(primitive) if self.whole else None
        if inner is not None:
            closed: ClosedJaxpr = params[inner]
            return self.run(closed.jaxpr, closed.consts, inputs)
        rule = _RULES.get(primitive)
        if rule is not None:
            if primitive not in (cond_primitive, loops.while_):
                _check_aliases(primitive, inputs)
            return rule(self, inputs, params)
        if any(map(_cell, inputs)):
            raise NotImplementedError(
                f"{primitive} that reads or writes a reference made outside of it, inside of a "
                "function that is differentiated or batched as a whole (jit, scan, while_loop, "
                "cond, checkpoint): pass the value and return the new one instead"
            )
        params = {name: _without_refs(value) for name, value in params.items()}
        out = primitive.bind(*inputs, **params)
        return out if primitive.multiple_results else [out]


def _typed(x: Any, atom: Any) -> Any:
    """A value that may be stored: a literal is of the type it has in the jaxpr."""
    return _array(x, atom.aval) if type(atom) is Literal else x


def _array(x: Any, aval: Any) -> Any:
    """An argument; a Python scalar as an array of the type that the jaxpr says."""
    scalar = type(x) in (bool, int, float, complex)
    return np.asarray(x, dtypes.physical(aval.dtype)) if scalar else x


def _cell(x: Any) -> bool:
    return type(x) is Cell


def _check_aliases(primitive: Primitive, inputs: Sequence[Any]) -> None:
    cells = [x for x in inputs if _cell(x)]
    if len(set(map(id, cells))) < len(cells):
        raise ValueError(
            f"the same mutable array reference of type {cells[0].aval} comes into {primitive} "
            "several times: closed over and passed, or passed twice"
        )


def _without_refs(value: Any) -> Any:
    if isinstance(value, ClosedJaxpr):
        return pure(value)
    if isinstance(value, Jaxpr):
        closed = pure(ClosedJaxpr(value, []))
        return value if closed.jaxpr is value else _as_open(closed)
    if isinstance(value, tuple) and any(isinstance(x, ClosedJaxpr) for x in value):
        return tuple(map(_without_refs, value))
    return value


def _as_open(closed: ClosedJaxpr) -> Jaxpr:
    assert not closed.consts, "a jaxpr without constants has none after its discharge"
    return closed.jaxpr


# --------------------------------------------------------------------------- first order


def _new(x: Any, *, kind: Any, memory_space: Any, **_: Any) -> list[Any]:
    aval = AbstractRef(aval_of(x), memory_space, kind)
    return [Cell(x, aval, False)]


def _empty(*, ty: Any, memory_space: Any) -> list[Any]:
    return [Cell(structural.zeros(ty), AbstractRef(ty, memory_space), False)]


def _get(cell: Cell, *operands: Any, transforms: refs.Chain) -> list[Any]:
    return [cell.read(transforms, operands)]


def _swap(cell: Cell, value: Any, *operands: Any, transforms: refs.Chain) -> list[Any]:
    old = cell.read(transforms, operands)
    cell.value = refs.write(cell.value, transforms, operands, value)
    return [old]


def _add(cell: Cell, value: Any, *operands: Any, transforms: refs.Chain) -> list[Any]:
    cell.check_alive()
    cell.value = refs.write(cell.value, transforms, operands, value, add=True)
    return []


def _freeze(cell: Cell) -> list[Any]:
    return [cell.end()]


def _free(cell: Cell) -> list[Any]:
    cell.end()
    return []


_ON_CELLS: Final[dict[Primitive, Callable[..., list[Any]]]] = {
    refs.new_ref: _new,
    refs.empty_ref: _empty,
    refs.get: _get,
    refs.swap: _swap,
    refs.addupdate: _add,
    refs.freeze: _freeze,
    refs.free_ref: _free,
}


# --------------------------------------------------------------------------- calls, loops, branches


def _values(inputs: Sequence[Any]) -> list[Any]:
    for x in inputs:
        if type(x) is Cell:
            x.check_alive()
    return [x.value if type(x) is Cell else x for x in inputs]


def _store(inputs: Sequence[Any], changed: Sequence[int], values: Sequence[Any]) -> None:
    for i, value in zip(changed, values, strict=True):
        inputs[i].value = value


def _others(params: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in names}


def _call_jit(walk: _Walk, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    closed: ClosedJaxpr = params["jaxpr"]
    inner, changed = discharge(closed, whole=walk.whole)
    rest = _others(params, "jaxpr", "name", "donated_invars")
    outs = bind_jit(inner, _values(inputs), params["name"], donated_invars=(), **rest)
    n = len(closed.out_avals)
    _store(inputs, changed, outs[n:])
    return outs[:n]


def _call_remat(walk: _Walk, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    closed = ClosedJaxpr(params["jaxpr"], [])
    inner, changed = discharge(closed, whole=walk.whole)
    outs = bind_remat(inner, _values(inputs), params)
    n = len(closed.out_avals)
    _store(inputs, changed, outs[n:])
    return outs[:n]


def _call_cond(walk: _Walk, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Every branch gives back all references that one of them writes."""
    index, *operands = inputs
    branches: Sequence[ClosedJaxpr] = params["branches"]
    gone = [_cell(x) for x in operands]
    by_cell = {
        id(operands[i]): i
        for b in branches
        for i, w in enumerate(written(b.jaxpr))
        if w and gone[i]
    }
    changed = sorted(by_cell.values())
    values = _values(operands)
    avals = [x.aval.inner_aval if g else aval_of(x) for x, g in zip(operands, gone, strict=True)]

    def staged(branch: ClosedJaxpr) -> ClosedJaxpr:
        def fun(*args: Any) -> list[Any]:
            inner = {  # one for each reference, even if it is several operands
                id(x): Cell(value, x.aval, True)
                for x, value, g in zip(operands, args, gone, strict=True)
                if g
            }
            cells = [
                inner[id(x)] if g else value
                for x, value, g in zip(operands, args, gone, strict=True)
            ]
            outs = _Walk(walk.whole).run(branch.jaxpr, branch.consts, cells)
            return [*outs, *[cells[i].value for i in changed]]

        return stage(fun, avals, description="a branch of cond")

    outs = bind_cond(index, [staged(b) for b in branches], values)
    n = len(branches[0].out_avals)
    _store(operands, changed, outs[n:])
    return outs[:n]


def _call_scan(walk: _Walk, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """References that are written are carried; one among `xs` has its rows written."""
    body: ClosedJaxpr = params["jaxpr"]
    nc, n = params["num_consts"], params["num_carry"]
    flags = written(body.jaxpr)
    carried = [i for i in range(nc) if flags[i] and _cell(inputs[i])]
    rows = [i for i in range(nc + n, len(inputs)) if flags[i] and _cell(inputs[i])]
    fixed = [i for i in range(nc) if i not in carried]
    gone = [_cell(x) for x in inputs]
    sizes = (len(fixed), len(carried), n)

    def fun(*args: Any) -> list[Any]:
        consts, states, carry, xs = split_list(args, *sizes)
        values: list[Any] = [None] * nc
        for i, x in [*zip(fixed, consts, strict=True), *zip(carried, states, strict=True)]:
            values[i] = x
        cells = [
            Cell(x, v.aval, True) if g else x
            for x, v, g in zip([*values, *carry, *xs], body.jaxpr.invars, gone, strict=True)
        ]
        outs = _Walk(walk.whole).run(body.jaxpr, body.consts, cells)
        new = [cells[i].value for i in carried]
        return [*new, *outs, *[cells[i].value for i in rows]]

    types = [
        v.aval.inner_aval if g else v.aval for v, g in zip(body.jaxpr.invars, gone, strict=True)
    ]
    avals = [*[types[i] for i in fixed], *[types[i] for i in carried], *types[nc:]]
    info = body.jaxpr.debug_info
    new_body = stage(fun, avals, description="the body of scan", debug_info=info)
    values = _values(inputs)
    outs = bind_scan(
        new_body,
        [values[i] for i in fixed],
        [*[values[i] for i in carried], *values[nc : nc + n]],
        values[nc + n :],
        **_others(params, "jaxpr", "num_consts", "num_carry", "linear"),
    )
    first, last = len(carried), len(outs) - len(rows)
    _store(inputs, [*carried, *rows], [*outs[:first], *outs[last:]])
    return outs[first:last]


def _call_while(walk: _Walk, inputs: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """References that are written are carried.

    If the condition writes, it is evaluated before the loop and at the end of its body.
    """
    cond, body = params["cond_jaxpr"], params["body_jaxpr"]
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    cond_in, body_in, init = split_list(inputs, nc, nb)
    cond_writes, body_writes = written(cond.jaxpr)[:nc], written(body.jaxpr)[:nb]
    cells = list(dict.fromkeys(x for x in [*cond_in, *body_in] if _cell(x)))
    changed = {
        x
        for x, w in zip([*cond_in, *body_in], [*cond_writes, *body_writes], strict=True)
        if w and _cell(x)
    }
    states = [x for x in cells if x in changed]
    fixed = [x for x in [*cond_in, *body_in] if not (_cell(x) and x in changed)]
    fixed = list({id(x): x for x in fixed}.values())

    def run(inner: ClosedJaxpr, operands: Any, now: dict[int, Any], carry: Any) -> list[Any]:
        args = [now[id(x)] for x in operands]
        return _Walk(walk.whole).run(inner.jaxpr, inner.consts, [*args, *carry])

    def environment(consts: Sequence[Any], values: Sequence[Any]) -> dict[int, Any]:
        now = {
            id(x): Cell(value, x.aval, True) if _cell(x) else value
            for x, value in zip(fixed, consts, strict=True)
        }
        return now | {id(x): Cell(v, x.aval, True) for x, v in zip(states, values, strict=True)}

    def values_of(now: dict[int, Any]) -> list[Any]:
        return [now[id(x)].value for x in states]

    pred_carried = any(cond_writes)
    k, m = len(fixed), len(states)

    def new_cond(*args: Any) -> list[Any]:
        if pred_carried:
            return [args[k]]
        consts, values, carry = split_list(args, k, m)
        return run(cond, cond_in, environment(consts, values), carry)

    def new_body(*args: Any) -> list[Any]:
        consts, _, values, carry = split_list(args, k, int(pred_carried), m)
        now = environment(consts, values)
        carry = run(body, body_in, now, carry)
        pred = run(cond, cond_in, now, carry) if pred_carried else []
        return [*pred, *values_of(now), *carry]

    start: list[Any] = []
    if pred_carried:
        now = {id(x): x for x in [*cond_in, *body_in]}
        start = run(cond, cond_in, now, init)
    init = [*start, *_values(states), *init]
    consts = _values(fixed)
    avals = [aval_of(x) for x in consts]
    carry_avals = [
        *[aval_of(x) for x in start],
        *[x.aval.inner_aval for x in states],
        *body.out_avals,
    ]
    outs = bind_while(
        stage(new_cond, [*avals, *carry_avals], description="cond of while"),
        stage(new_body, [*avals, *carry_avals], description="body of while"),
        consts,
        consts,
        init,
        **_others(params, "cond_jaxpr", "body_jaxpr", "cond_nconsts", "body_nconsts"),
    )
    _, last, results = split_list(outs, len(start), m)
    for x, value in zip(states, last, strict=True):
        x.value = value
    return results


_RULES: Final[dict[Primitive, Callable[[_Walk, list[Any], dict[str, Any]], list[Any]]]] = {
    jit_primitive: _call_jit,
    remat_call: _call_remat,
    cond_primitive: _call_cond,
    scan_primitive: _call_scan,
    loops.while_: _call_while,
}
_INLINED: Final[dict[Primitive, str]] = {
    jit_primitive: "jaxpr",
    custom_jvp_call: "call_jaxpr",
    custom_vjp_call: "call_jaxpr",
    custom_vmap_call: "call",
}


# --------------------------------------------------------------------------- for traces


def apply(
    primitive: Primitive, args: Sequence[Any], params: dict[str, Any], whole: bool = False
) -> Any:
    """Apply a primitive that holds jaxprs to operands of which some are references.

    What it reads or writes is read before and written after it.
    """
    reads = [False] * len(args)
    writes = [False] * len(args)
    for jaxpr, positions in inner_jaxprs(primitive.name, params, len(args)):
        for i, r, w in zip(positions, touched(jaxpr), written(jaxpr), strict=True):
            reads[i], writes[i] = reads[i] or r, writes[i] or w
    by_ref: dict[int, Cell] = {}
    inputs = list(args)
    for i, x in enumerate(args):
        if is_ref(x) and (reads[i] or whole):
            key = id(x)
            if key not in by_ref:
                by_ref[key] = Cell(refs.get.bind(x, transforms=()), x.aval, True)
            inputs[i] = by_ref[key]
    outs = _Walk(whole).call(primitive, inputs, params)
    for x, cell, w in zip(args, inputs, writes, strict=True):
        if w and by_ref.pop(id(x), None) is not None:
            refs.swap.bind(x, cell.value, transforms=())
    return list(outs) if primitive.multiple_results else outs[0]


apply_hook.append(apply)
discharge_hook.append(pure)
discharged.update(_RULES)
