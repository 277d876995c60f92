"""What the rules of loops share: applying `while`, and lanes that stop one by one under vmap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback.control.jit import open_consts, split_list
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.source import MASKED, name_scope
from pullback.ops import elementwise, reductions, structural
from pullback.ops.kinds import late
from pullback.transforms.dce import dce_jaxpr, without_effects
from pullback.transforms.linearize import Split, merge
from pullback.transforms.staging import stage

__all__ = [
    "bind_while",
    "for_second_run",
    "lanes_going",
    "masked",
    "select_lanes",
    "without_residuals",
]

_while: Final = late("while")


def bind_while(
    cond: ClosedJaxpr,
    body: ClosedJaxpr,
    cond_consts: Sequence[Any],
    body_consts: Sequence[Any],
    init: Sequence[Any],
    *,
    max_steps: int | None = None,
    remat: Any = None,
) -> list[Any]:
    """Apply a while loop; constants of the jaxprs become operands."""
    cond, more_cond = open_consts(cond)
    body, more_body = open_consts(body)
    cond_all, body_all = [*more_cond, *cond_consts], [*more_body, *body_consts]
    outs: list[Any] = _while(
        *cond_all,
        *body_all,
        *init,
        cond_nconsts=len(cond_all),
        cond_jaxpr=cond,
        body_nconsts=len(body_all),
        body_jaxpr=body,
        max_steps=max_steps,
        remat=remat,
    )
    return outs


def lanes_going(cond: ClosedJaxpr) -> ClosedJaxpr:
    """Whether any lane goes on, from the condition of every lane."""

    def fun(*args: Any) -> list[Any]:
        (pred,) = eval_jaxpr(cond.jaxpr, cond.consts, *args)
        return [reductions.reduce_or(pred, axes=(0,), out_sharding=None)]

    return stage(fun, cond.in_avals, description="cond of while")


def masked(
    cond: ClosedJaxpr,
    step: ClosedJaxpr,
    n_cond_consts: int,
    n_before: int,
    n_state: int,
    n_result: int,
) -> ClosedJaxpr:
    """A step that lanes which have ended do not take.

    `step` maps (`n_before` operands, the state, `n_result` values) to new values of the last of
    these, or of the state if `n_result` is 0. The constants of `cond` become leading arguments.
    """

    def fun(*args: Any) -> list[Any]:
        consts, before, state, result = split_list(args, n_cond_consts, n_before, n_state)
        (pred,) = eval_jaxpr(cond.jaxpr, cond.consts, *consts, *state)
        with name_scope(MASKED):
            new = eval_jaxpr(step.jaxpr, step.consts, *before, *state, *result)
        old = result if n_result else state
        return [select_lanes(pred, n, o) for n, o in zip(new, old, strict=True)]

    avals = [*cond.in_avals[:n_cond_consts], *step.in_avals]
    return stage(fun, avals, description="body of while")


def select_lanes(pred: Any, on_true: Any, on_false: Any) -> Any:
    """Choose lane by lane; `pred` has one axis, the first of the others."""
    shape = on_true.aval.shape
    if pred.aval.shape != shape:
        pred = structural.broadcast_in_dim(
            pred, shape=shape, broadcast_dimensions=(0,), sharding=None
        )
    return elementwise.select_n(pred, on_false, on_true)


def for_second_run(body: ClosedJaxpr, split: Split, unknown: Sequence[bool]) -> ClosedJaxpr:
    """A split body as one to be run again: what is known happened in the first run already, so
    that its effects do not happen again."""
    if not body.effects:
        return body
    known = without_effects(split.known)

    def fun(*args: Any) -> list[Any]:
        given = [x for x, u in zip(args, unknown, strict=True) if not u]
        rest = [x for x, u in zip(args, unknown, strict=True) if u]
        outs = eval_jaxpr(known.jaxpr, known.consts, *given)
        n = len(outs) - split.num_residuals
        more = eval_jaxpr(split.unknown.jaxpr, split.unknown.consts, *outs[n:], *rest)
        return merge(split.out_unknown, outs[:n], more)

    info = body.jaxpr.debug_info
    return stage(fun, body.in_avals, description=info.func_src_info, debug_info=info)


def without_residuals(split: Split) -> ClosedJaxpr:
    """The known part of a split, without the values kept for the unknown part."""
    closed, n_res = split.known, split.num_residuals
    used = [True] * (len(closed.out_avals) - n_res) + [False] * n_res
    return ClosedJaxpr(dce_jaxpr(closed.jaxpr, used, keep_invars=True)[0], closed.consts)
