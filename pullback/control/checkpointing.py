"""`backwards`: the steps of a loop from the last to the first, as one equation.

The transposes of `while`, and of `scan` with a binomial policy, make it. It holds three jaxprs:

    going(*consts, *state) -> bool           None if the number of steps is known
    step(*consts, i, *state) -> state
    back(*consts, i, *state, *result) -> result

and means `result = back(i, state_i, result)` for i = n - 1, ..., 0, where `state_0` is an operand
and `state_{i+1} = step(i, state_i)`. It stays one equation under forward mode and batching, so that
states and tangents share one sweep; lowering it, and reverse mode through it, write out the loops
of `control/checkpointing_sweep.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback.control.checkpointing_sweep import run_backwards
from pullback.control.jit import open_consts, split_list
from pullback.control.loop_parts import lanes_going, masked, without_residuals
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Linear,
    Primitive,
    Zero,
    instantiate,
)
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.linearize import HigherOrder, PartialTrace, merge, partial_eval_jaxpr
from pullback.transforms.staging import stage
from pullback.transforms.transpose import backward_pass

__all__ = ["INDEX", "backwards", "bind_backwards", "sweep_jaxpr"]

INDEX: Final = ShapedArray((), np.dtype(np.int32))
"""The type of the number of a step."""


def bind_backwards(
    going: ClosedJaxpr | None,
    step: ClosedJaxpr,
    back: ClosedJaxpr,
    consts: Sequence[Sequence[Any]],
    state: Sequence[Any],
    result: Sequence[Any],
    *,
    length: int | None,
    slots: int | None,
    max_steps: int | None = None,
) -> list[Any]:
    """Apply it, without the parts of the state that nothing needs.

    `consts` are the operands of the three jaxprs; constants of theirs become operands, too.
    """
    going_consts, step_consts, back_consts = map(list, consts)
    if going is not None:
        going, more = open_consts(going)
        going_consts = more + going_consts
    step, more = open_consts(step)
    step_consts = more + step_consts
    back, more = open_consts(back)
    back_consts = more + back_consts
    params = {
        "going_jaxpr": going,
        "going_nconsts": len(going_consts),
        "step_jaxpr": step,
        "step_nconsts": len(step_consts),
        "back_jaxpr": back,
        "back_nconsts": len(back_consts),
        "num_state": len(state),
        "length": length,
        "slots": slots,
        "max_steps": max_steps,
    }
    used, _, params = _pruned(params, [True] * len(result))
    args = [*going_consts, *step_consts, *back_consts, *state, *result]
    outs: list[Any] = backwards.bind(*[x for x, u in zip(args, used, strict=True) if u], **params)
    return outs


def _parts(xs: Sequence[Any], params: dict[str, Any]) -> list[list[Any]]:
    """Operands as constants of going, of step, of back, the state, and the result."""
    names = ("going_nconsts", "step_nconsts", "back_nconsts", "num_state")
    return split_list(xs, *[params[n] for n in names])


def _pruned(
    params: dict[str, Any], used_result: Sequence[bool]
) -> tuple[list[bool], list[bool], dict[str, Any]]:
    """The parameters without what the used results do not need.

    Also which operands are left, and which results: those used, and those that they depend on.
    """
    ng, ns, nb = (params[f"{n}_nconsts"] for n in ("going", "step", "back"))
    n = params["num_state"]
    result = list(used_result)
    while True:
        back, used = dce_jaxpr(params["back_jaxpr"].jaxpr, result)
        needed = [a or b for a, b in zip(result, used[nb + 1 + n :], strict=True)]
        if needed == result:
            break
        result = needed
    back_used, state = used[:nb], used[nb + 1 : nb + 1 + n]
    going_used = [True] * ng
    if params["going_jaxpr"] is not None:
        going, used = dce_jaxpr(params["going_jaxpr"].jaxpr, [True])
        going_used = used[:ng]
        state = [a or b for a, b in zip(state, used[ng:], strict=True)]
    while True:
        step, used = dce_jaxpr(params["step_jaxpr"].jaxpr, state)
        needed = [a or b for a, b in zip(state, used[ns + 1 :], strict=True)]
        if needed == state:
            break
        state = needed
    step_used = used[:ns]
    new = params | {
        "step_jaxpr": _with_invars(step, params["step_jaxpr"], [*step_used, True, *state]),
        "step_nconsts": sum(step_used),
        "back_jaxpr": _with_invars(back, params["back_jaxpr"], [*back_used, True, *state, *result]),
        "back_nconsts": sum(back_used),
        "num_state": sum(state),
    }
    if params["going_jaxpr"] is not None:
        new |= {
            "going_jaxpr": _with_invars(going, params["going_jaxpr"], [*going_used, *state]),
            "going_nconsts": sum(going_used),
        }
    return [*going_used, *step_used, *back_used, *state, *result], result, new


def _with_invars(pruned: Any, closed: ClosedJaxpr, kept: Sequence[bool]) -> ClosedJaxpr:
    invars = [v for v, k in zip(closed.jaxpr.invars, kept, strict=True) if k]
    return ClosedJaxpr(pruned.replace(invars=invars), closed.consts)


def _abstract(*avals: Any, back_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return back_jaxpr.out_avals


def _reference(*args: Any, **params: Any) -> list[Any]:
    """All states are kept: the meaning, without the schedule."""
    going_consts, step_consts, back_consts, state, result = _parts(args, params)
    going, step, back = (params[f"{n}_jaxpr"] for n in ("going", "step", "back"))
    states: list[Any] = []
    while (
        len(states) < params["length"]
        if going is None
        else bool(eval_jaxpr(going.jaxpr, going.consts, *going_consts, *state)[0])
    ):
        states.append(state)
        i = np.int32(len(states) - 1)
        state = eval_jaxpr(step.jaxpr, step.consts, *step_consts, i, *state)
    for k in reversed(range(len(states))):
        operands = [*back_consts, np.int32(k), *states[k], *result]
        result = eval_jaxpr(back.jaxpr, back.consts, *operands)
    return result


def _sweep(*args: Any, **params: Any) -> list[Any]:
    """The computation by while loops, under the current trace."""
    going_consts, step_consts, back_consts, state, result = _parts(args, params)
    going, step, back = (params[f"{n}_jaxpr"] for n in ("going", "step", "back"))

    def is_going(state: Sequence[Any]) -> Any:
        return eval_jaxpr(going.jaxpr, going.consts, *going_consts, *state)[0]

    def do_step(i: Any, state: Sequence[Any]) -> list[Any]:
        return eval_jaxpr(step.jaxpr, step.consts, *step_consts, i, *state)

    def do_back(i: Any, state: Sequence[Any], result: Sequence[Any]) -> list[Any]:
        return eval_jaxpr(back.jaxpr, back.consts, *back_consts, i, *state, *result)

    return run_backwards(
        None if going is None else is_going,
        do_step,
        do_back,
        state,
        result,
        length=params["length"],
        slots=params["slots"],
        max_steps=params["max_steps"],
    )


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], **params: Any
) -> tuple[list[Any], list[Any]]:
    going_consts, step_consts, back_consts, state, result = _parts(primals, params)
    _, step_dots, back_dots, state_dots, result_dots = _parts(tangents, params)
    step, back = params["step_jaxpr"], params["back_jaxpr"]
    state_nz, result_nz = nonzero_tangents(state_dots), nonzero_tangents(result_dots)
    while True:
        step_jvp, out_nz = jvp_jaxpr(
            step, [*nonzero_tangents(step_dots), False, *state_nz], force=state_nz
        )
        if out_nz == state_nz:
            break
        state_nz = [a or b for a, b in zip(state_nz, out_nz, strict=True)]
    while True:
        nonzero = [*nonzero_tangents(back_dots), False, *state_nz, *result_nz]
        back_jvp, out_nz = jvp_jaxpr(back, nonzero, force=result_nz)
        if out_nz == result_nz:
            break
        result_nz = [a or b for a, b in zip(result_nz, out_nz, strict=True)]
    given_s, given_b = given_tangents(step_dots), given_tangents(back_dots)
    given_state = [instantiate(t) for t, nz in zip(state_dots, state_nz, strict=True) if nz]
    given_result = [instantiate(t) for t, nz in zip(result_dots, result_nz, strict=True) if nz]
    n, n_t, m = len(state), len(given_state), len(result)
    new_state = [*state, *given_state]
    new_result = [*result, *given_result]

    def step_fun(*args: Any) -> list[Any]:
        c, c_t, i, now, now_t = split_list(args, len(step_consts), len(given_s), 1, n)
        return eval_jaxpr(step_jvp.jaxpr, step_jvp.consts, *c, *i, *now, *c_t, *now_t)

    def back_fun(*args: Any) -> list[Any]:
        sizes = (len(back_consts), len(given_b), 1, n, n_t, m)
        c, c_t, i, now, now_t, out, out_t = split_list(args, *sizes)
        operands = [*c, *i, *now, *out, *c_t, *now_t, *out_t]
        return eval_jaxpr(back_jvp.jaxpr, back_jvp.consts, *operands)

    state_avals = [*step.out_avals, *map(aval_of, given_state)]
    result_avals = [*back.out_avals, *map(aval_of, given_result)]
    step_avals = [*map(aval_of, [*step_consts, *given_s]), INDEX, *state_avals]
    back_avals = [*map(aval_of, [*back_consts, *given_b]), INDEX, *state_avals, *result_avals]
    outs = bind_backwards(
        _with_state(params, len(going_consts), n_t, state_avals),
        stage(step_fun, step_avals, description="jvp of a step"),
        stage(back_fun, back_avals, description="jvp of a step backwards"),
        [going_consts, [*step_consts, *given_s], [*back_consts, *given_b]],
        new_state,
        new_result,
        length=params["length"],
        slots=params["slots"],
        max_steps=params["max_steps"],
    )
    rest = iter(outs[m:])
    return outs[:m], [
        next(rest) if nz else Zero(a.to_tangent_aval())
        for nz, a in zip(result_nz, back.out_avals, strict=True)
    ]


def _with_state(
    params: dict[str, Any], n_consts: int, more: int, state_avals: Sequence[Any]
) -> ClosedJaxpr | None:
    """`going` as a function of a longer state."""
    going: ClosedJaxpr | None = params["going_jaxpr"]
    if going is None or not more:
        return going
    jaxpr, consts = going.jaxpr, going.consts
    avals = [*going.in_avals[:n_consts], *state_avals]
    return stage(
        lambda *args: eval_jaxpr(jaxpr, consts, *args[: len(args) - more]),
        avals,
        description="end of a loop",
    )


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Results that do not depend on unknowns are computed; everything is recorded for the rest."""
    unknown = [trace.is_unknown(x) for x in args]
    going_u, step_u, back_u, state_u, result_u = _parts(unknown, params)
    while True:
        step = partial_eval_jaxpr(
            params["step_jaxpr"], [*step_u, False, *state_u], force_unknown=state_u
        )
        if step.out_unknown == state_u:
            break
        state_u = [a or b for a, b in zip(state_u, step.out_unknown, strict=True)]
    while True:
        back = partial_eval_jaxpr(
            params["back_jaxpr"], [*back_u, False, *state_u, *result_u], force_unknown=result_u
        )
        if back.out_unknown == result_u:
            break
        result_u = [a or b for a, b in zip(result_u, back.out_unknown, strict=True)]
    going = params["going_jaxpr"]
    ends_known = True
    if going is not None:
        split = partial_eval_jaxpr(going, [*going_u, *state_u])
        ends_known = not split.out_unknown[0]
        going = without_residuals(split)
    recorded: list[Any] = trace.record(backwards, args, params)
    if not ends_known or all(result_u):
        return recorded
    known = [
        [x for x, u in zip(part, flags, strict=True) if not u]
        for part, flags in zip(
            _parts(args, params), (going_u, step_u, back_u, state_u, result_u), strict=True
        )
    ]
    known_outs = bind_backwards(
        going,
        without_residuals(step),
        without_residuals(back),
        known[:3],
        known[3],
        known[4],
        length=params["length"],
        slots=params["slots"],
        max_steps=params["max_steps"],
    )
    return merge(result_u, known_outs, [x for x, u in zip(recorded, result_u, strict=True) if u])


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    used_in, left, params = _pruned(eqn.params, used)
    kept = eqn.replace(
        invars=[v for v, u in zip(eqn.invars, used_in, strict=True) if u],
        outvars=[v for v, u in zip(eqn.outvars, left, strict=True) if u],
        params=params,
        effects=_effects(**params),
    )
    return used_in, kept


def _transpose(cts: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    """Through the loops of the sweep: their own transposes go backwards over the backward steps."""
    linear = [type(x) is Linear for x in args]
    avals = [x.aval if lin else aval_of(x) for x, lin in zip(args, linear, strict=True)]
    split = partial_eval_jaxpr(sweep_jaxpr(params), linear, force_unknown=True)
    known = [x for x, lin in zip(args, linear, strict=True) if not lin]
    residuals = eval_jaxpr(split.known.jaxpr, split.known.consts, *known)
    operands = [*residuals, *[Linear(a) for a, lin in zip(avals, linear, strict=True) if lin]]
    outs = iter(
        backward_pass(split.unknown.jaxpr, split.unknown.consts, operands, cts)[len(residuals) :]
    )
    return [next(outs) if lin else None for lin in linear]


def _batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    going, step, back = (params[f"{n}_jaxpr"] for n in ("going", "step", "back"))
    going_b, step_b, back_b, state_b, result_b = _parts([d is not None for d in dims], params)
    differs = False
    while True:
        new_step, out_b = batch_jaxpr(step, size, [*step_b, False, *state_b], force=state_b)
        if going is not None:
            new_going, ends_b = batch_jaxpr(going, size, [*going_b, *state_b], force=False)
            differs = ends_b[0]
        out_b = [True] * len(out_b) if differs else out_b
        if out_b == state_b:
            break
        state_b = [a or b for a, b in zip(state_b, out_b, strict=True)]
    while True:
        result_b = [True] * len(result_b) if differs else result_b
        new_back, out_b = batch_jaxpr(
            back, size, [*back_b, False, *state_b, *result_b], force=result_b
        )
        if out_b == result_b:
            break
        result_b = [a or b for a, b in zip(result_b, out_b, strict=True)]
    flags = [*going_b, *step_b, *back_b, *state_b, *result_b]
    moved = [
        move_batch_axis(x, size, d, 0) if b else x
        for x, d, b in zip(args, dims, flags, strict=True)
    ]
    going_c, step_c, back_c, state, result = _parts(moved, params)
    ends: ClosedJaxpr | None = None if going is None else new_going
    if differs:
        # Lanes that have ended stand still, forwards and backwards.
        new_step = masked(new_going, new_step, len(going_c), len(step_c) + 1, len(state), 0)
        new_back = masked(
            new_going, new_back, len(going_c), len(back_c) + 1, len(state), len(result)
        )
        step_c, back_c = [*going_c, *step_c], [*going_c, *back_c]
        ends = lanes_going(new_going)
    outs = bind_backwards(
        ends,
        new_step,
        new_back,
        [going_c, step_c, back_c],
        state,
        result,
        length=params["length"],
        slots=params["slots"],
        max_steps=params["max_steps"],
    )
    return outs, [0 if b else None for b in result_b]


def _lower(b: Any, *xs: Any, **params: Any) -> list[Any]:
    results: list[Any] = b.inline(sweep_jaxpr(params), *xs)
    return results


def sweep_jaxpr(params: dict[str, Any]) -> ClosedJaxpr:
    """The equation written out as loops: a function of its operands."""
    avals = [
        a
        for name in ("going", "step", "back")
        if params[f"{name}_jaxpr"] is not None
        for a in params[f"{name}_jaxpr"].in_avals[: params[f"{name}_nconsts"]]
    ]
    n = params["num_state"]
    avals += params["step_jaxpr"].in_avals[params["step_nconsts"] + 1 :]
    avals += params["back_jaxpr"].in_avals[params["back_nconsts"] + 1 + n :]
    return stage(lambda *args: _sweep(*args, **params), avals, description="a sweep backwards")


def _effects(*, going_jaxpr: Any, step_jaxpr: Any, back_jaxpr: Any, **_: Any) -> frozenset[Any]:
    ends = frozenset() if going_jaxpr is None else going_jaxpr.effects
    effects: frozenset[Any] = ends | step_jaxpr.effects | back_jaxpr.effects
    return effects


backwards: Final = Primitive(
    name="backwards",
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
    effects=_effects,
    literals=False,
)
