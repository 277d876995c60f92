"""`while`: a loop as an equation, with its forward, reverse and batching rules.

Reverse mode keeps the initial values and what the loop is given. Its transpose goes forward once
more, storing some of the states, and then backwards over the steps (`control/checkpointing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback.control.checkpointing import INDEX, bind_backwards
from pullback.control.checkpointing_sweep import slots_of
from pullback.control.jit import open_consts, split_list
from pullback.control.loop_parts import (
    bind_while,
    for_second_run,
    lanes_going,
    masked,
    without_residuals,
)
from pullback.core.avals import aval_of
from pullback.core.effects import CHECK, has_io
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Linear,
    Primitive,
    Zero,
    instantiate,
)
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr, without_effects
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import (
    HigherOrder,
    PartialTrace,
    Split,
    merge,
    partial_eval_jaxpr,
)
from pullback.transforms.staging import stage
from pullback.transforms.transpose import add_cotangents, backward_pass

__all__ = ["while_"]


def _abstract(*avals: Any, body_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return body_jaxpr.out_avals


def _reference(
    *args: Any,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
    **_: Any,
) -> list[Any]:
    cond_consts, body_consts, carry = split_list(args, cond_nconsts, body_nconsts)
    while bool(eval_jaxpr(cond_jaxpr.jaxpr, cond_jaxpr.consts, *cond_consts, *carry)[0]):
        carry = eval_jaxpr(body_jaxpr.jaxpr, body_jaxpr.consts, *body_consts, *carry)
    return carry


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
    **options: Any,
) -> tuple[list[Any], list[Any]]:
    cond_consts, body_consts, init = split_list(primals, cond_nconsts, body_nconsts)
    _, const_tangents, init_tangents = split_list(tangents, cond_nconsts, body_nconsts)
    const_nonzero = nonzero_tangents(const_tangents)
    nonzero = nonzero_tangents(init_tangents)
    while True:
        body_jvp, out_nonzero = jvp_jaxpr(body_jaxpr, const_nonzero + nonzero, force=nonzero)
        if out_nonzero == nonzero:
            break
        nonzero = [a or b for a, b in zip(nonzero, out_nonzero, strict=True)]
    consts_dot = given_tangents(const_tangents)
    init_dot = [instantiate(t) for t, nz in zip(init_tangents, nonzero, strict=True) if nz]
    n, nc, ncd = len(init), len(body_consts), len(consts_dot)

    def body(*args: Any) -> list[Any]:
        consts, consts_t, carry, carry_t = split_list(args, nc, ncd, n)
        return eval_jaxpr(body_jvp.jaxpr, body_jvp.consts, *consts, *carry, *consts_t, *carry_t)

    def cond(*args: Any) -> list[Any]:
        return eval_jaxpr(cond_jaxpr.jaxpr, cond_jaxpr.consts, *args[: cond_nconsts + n])

    carry_avals = [*body_jaxpr.out_avals, *map(aval_of, init_dot)]
    body_avals = [*body_jaxpr.in_avals[:nc], *map(aval_of, consts_dot)]
    new_body = stage(body, [*body_avals, *carry_avals], description="body of while")
    new_cond = stage(
        cond, [*cond_jaxpr.in_avals[:cond_nconsts], *carry_avals], description="cond of while"
    )
    outs = bind_while(
        new_cond,
        new_body,
        cond_consts,
        [*body_consts, *consts_dot],
        [*init, *init_dot],
        **options,
    )
    rest = iter(outs[n:])
    out_tangents = [
        next(rest) if nz else Zero(aval.to_tangent_aval())
        for nz, aval in zip(nonzero, body_jaxpr.out_avals, strict=True)
    ]
    return outs[:n], out_tangents


def _transpose(
    cts: Sequence[Any],
    *args: Any,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
    max_steps: int | None = None,
    remat: Any = None,
) -> list[Any]:
    """A step of the sweep computes the residuals of one step of the loop, and transposes it."""
    if has_io(cond_jaxpr.effects | body_jaxpr.effects):
        raise NotImplementedError(
            "reverse-mode differentiation of while_loop: its steps are computed again for the "
            "backward pass, and they need the results of an io_callback, which must not run again."
        )
    cond_consts, body_consts, init = split_list(args, cond_nconsts, body_nconsts)
    const_u = [type(x) is Linear for x in body_consts]
    split, carry_u = _split_body(body_jaxpr, const_u, [type(x) is Linear for x in init])
    consts = [x for x in body_consts if type(x) is not Linear]
    n_c, n_s, n_acc = len(consts), carry_u.count(False), const_u.count(True)
    known, unknown, n_res = split.known, split.unknown, split.num_residuals
    linear = [Linear(a) for a in unknown.in_avals[n_res:]]

    def step(*operands: Any) -> list[Any]:
        given, _, state = split_list(operands, n_c, 1)
        return eval_jaxpr(known.jaxpr, known.consts, *given, *state)[:n_s]

    def back(*operands: Any) -> list[Any]:
        given, _, state, acc, ct = split_list(operands, n_c, 1, n_s, n_acc)
        residuals = eval_jaxpr(known.jaxpr, known.consts, *given, *state)[n_s:]
        outs = backward_pass(unknown.jaxpr, unknown.consts, [*residuals, *linear], ct)[n_res:]
        more, new = outs[:n_acc], outs[n_acc:]
        return [
            *[add_cotangents(a, b) for a, b in zip(acc, more, strict=True)],
            *map(instantiate, new),
        ]

    state = [x for x, u in zip(init, carry_u, strict=True) if not u]
    state_avals = [a for a, u in zip(body_jaxpr.out_avals, carry_u, strict=True) if not u]
    acc_avals = [x.aval.to_cotangent_aval() for x in body_consts if type(x) is Linear]
    ct_avals = [
        a.to_cotangent_aval().strip_weak_type()
        for a, u in zip(body_jaxpr.out_avals, carry_u, strict=True)
        if u
    ]
    avals = [*map(aval_of, consts), INDEX, *state_avals]
    outs = bind_backwards(
        _restricted(cond_jaxpr, cond_nconsts, carry_u),
        stage(step, avals, description="a step of while"),
        stage(back, [*avals, *acc_avals, *ct_avals], description="transpose of a step of while"),
        [cond_consts, consts, consts],
        state,
        [
            *[instantiate(Zero(a)) for a in acc_avals],
            *[instantiate(ct) for ct, u in zip(cts, carry_u, strict=True) if u],
        ],
        length=None,
        slots=slots_of(remat, max_steps),
        max_steps=max_steps,
    )
    accs, ct_init = iter(outs[:n_acc]), iter(outs[n_acc:])
    by_carry = [next(ct_init) if u else None for u in carry_u]
    return [
        *[None] * cond_nconsts,
        *[next(accs) if u else None for u in const_u],
        *[ct if type(x) is Linear else None for ct, x in zip(by_carry, init, strict=True)],
    ]


def _split_body(
    body: ClosedJaxpr, const_unknown: Sequence[bool], carry_unknown: Sequence[bool]
) -> tuple[Split, list[bool]]:
    """The body split by what becomes unknown in any step, and which carries do."""
    carry_u = list(carry_unknown)
    while True:
        split = partial_eval_jaxpr(body, [*const_unknown, *carry_u], force_unknown=carry_u)
        if split.out_unknown == carry_u:
            return split, carry_u
        carry_u = [a or b for a, b in zip(carry_u, split.out_unknown, strict=True)]


def _restricted(cond: ClosedJaxpr, n_consts: int, carry_u: Sequence[bool]) -> ClosedJaxpr:
    """The condition as a function of the known carries alone."""
    invars = cond.jaxpr.invars
    kept = [v for v, u in zip(invars[n_consts:], carry_u, strict=True) if not u]
    return ClosedJaxpr(cond.jaxpr.replace(invars=[*invars[:n_consts], *kept]), cond.consts)


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Carries that never depend on unknowns are computed; the loop is recorded for the rest."""
    args, params = _without_idle_consts(args, params)
    cond_nconsts, body_nconsts = params["cond_nconsts"], params["body_nconsts"]
    unknown = [trace.is_unknown(x) for x in args]
    cond_u, body_u, carry_u = split_list(unknown, cond_nconsts, body_nconsts)
    split, carry_u = _split_body(params["body_jaxpr"], body_u, carry_u)
    cond_split = partial_eval_jaxpr(params["cond_jaxpr"], cond_u + carry_u)
    if any(cond_u) or any(cond_split.out_unknown) or all(carry_u):
        outs: list[Any] = trace.record(while_, args, params)
        return outs
    cond_consts, body_consts, init = split_list(args, cond_nconsts, body_nconsts)
    body, more = open_consts(for_second_run(params["body_jaxpr"], split, body_u + carry_u))
    recorded = trace.record(
        while_,
        [*cond_consts, *more, *body_consts, *init],
        params
        | {
            "body_nconsts": len(more) + body_nconsts,
            "body_jaxpr": body,
            "cond_jaxpr": without_effects(params["cond_jaxpr"]),
        },
    )
    known_outs = bind_while(
        without_residuals(cond_split),
        without_residuals(split),
        cond_consts,
        [x for x, u in zip(body_consts, body_u, strict=True) if not u],
        [x for x, u in zip(init, carry_u, strict=True) if not u],
        max_steps=params.get("max_steps"),
        remat=params.get("remat"),
    )
    return merge(carry_u, known_outs, [x for x, u in zip(recorded, carry_u, strict=True) if u])


def _without_idle_consts(
    args: Sequence[Any], params: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """The loop without constants of its condition that decide nothing."""
    n, cond = params["cond_nconsts"], params["cond_jaxpr"]
    jaxpr, used = dce_jaxpr(cond.jaxpr, [True])
    if all(used[:n]):
        return args, params
    keep = [*used[:n], *[True] * (len(cond.in_avals) - n)]
    jaxpr = jaxpr.replace(invars=[v for v, k in zip(cond.jaxpr.invars, keep, strict=True) if k])
    consts = [x for x, k in zip(args[:n], used[:n], strict=True) if k]
    changed = {"cond_nconsts": len(consts), "cond_jaxpr": ClosedJaxpr(jaxpr, cond.consts)}
    return [*consts, *args[n:]], params | changed


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    return [True] * len(eqn.invars), eqn


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
    **options: Any,
) -> tuple[list[Any], list[int | None]]:
    batched = [d is not None for d in dims]
    cond_b, body_b, carry_b = split_list(batched, cond_nconsts, body_nconsts)
    while True:
        _, out_b = batch_jaxpr(body_jaxpr, size, body_b + carry_b, force=carry_b)
        _, pred_b = batch_jaxpr(cond_jaxpr, size, cond_b + carry_b, force=False)
        if pred_b[0]:
            out_b = [True] * len(out_b)
        if out_b == carry_b:
            break
        carry_b = [a or b for a, b in zip(carry_b, out_b, strict=True)]
    new_body, _ = batch_jaxpr(body_jaxpr, size, body_b + carry_b, force=carry_b)
    new_cond, pred_batched = batch_jaxpr(cond_jaxpr, size, cond_b + carry_b, force=False)
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None or b else x
        for x, d, b in zip(args, dims, cond_b + body_b + carry_b, strict=True)
    ]
    cond_consts, body_consts, init = split_list(moved, cond_nconsts, body_nconsts)
    if pred_batched[0] and has_io(cond_jaxpr.effects | body_jaxpr.effects):
        raise NotImplementedError(
            "vmap of while_loop: lanes stop at different times, so that the loop goes on for "
            "finished lanes, and it has an io_callback, which must not run for them. Use lax.map "
            "over the lanes."
        )
    if pred_batched[0] and CHECK in cond_jaxpr.effects | body_jaxpr.effects:
        raise NotImplementedError(
            "vmap of while_loop: lanes stop at different times, so that the loop goes on for "
            "finished lanes, and it has a checkify.check, which would fail for nothing there. Map "
            "the checked function instead: vmap(checkify(f))."
        )
    if not pred_batched[0]:
        outs = bind_while(new_cond, new_body, cond_consts, body_consts, init, **options)
    else:
        step = masked(new_cond, new_body, cond_nconsts, body_nconsts, len(init), 0)
        ends, consts = lanes_going(new_cond), [*cond_consts, *body_consts]
        outs = bind_while(ends, step, cond_consts, consts, init, **options)
    return outs, [0 if b else None for b in carry_b]


def _lower(
    b: Any,
    *xs: Any,
    cond_nconsts: int,
    cond_jaxpr: ClosedJaxpr,
    body_nconsts: int,
    body_jaxpr: ClosedJaxpr,
    **_: Any,
) -> list[Any]:
    cond_consts, body_consts, init = split_list(xs, cond_nconsts, body_nconsts)
    results: list[Any] = b.while_loop(cond_jaxpr, body_jaxpr, cond_consts, body_consts, init)
    return results


while_ = Primitive(
    name="while",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=HigherOrder(_split, _dce),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, cond_jaxpr, body_jaxpr, **_: cond_jaxpr.effects | body_jaxpr.effects,
    literals=False,
)
