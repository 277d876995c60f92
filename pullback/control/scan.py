"""`scan`: a loop over rows with a carry; the loop that reverse mode goes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.control.checkpointing import INDEX, bind_backwards
from pullback.control.checkpointing_sweep import read_row, slots_of, write_row
from pullback.control.jit import open_consts, split_list
from pullback.control.loop_parts import for_second_run, without_residuals
from pullback.control.policies import Binomial
from pullback.control.recomputed import without_cheap_residuals
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Linear,
    Primitive,
    Zero,
    instantiate,
    is_linear,
)
from pullback.ops import elementwise
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.dce import dce_jaxpr
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

__all__ = ["bind_scan", "scan"]


def bind_scan(
    body: ClosedJaxpr,
    consts: Sequence[Any],
    init: Sequence[Any],
    xs: Sequence[Any],
    *,
    length: int,
    reverse: bool,
    unroll: int = 1,
    _split_transpose: bool = False,
    remat: Binomial | None = None,
) -> list[Any]:
    """Apply a scan; constants of the body become operands."""
    body, more = open_consts(body)
    outs: list[Any] = scan.bind(
        *more,
        *consts,
        *init,
        *xs,
        jaxpr=body,
        length=length,
        reverse=reverse,
        linear=(False,) * (len(more) + len(consts) + len(init) + len(xs)),
        num_consts=len(more) + len(consts),
        num_carry=len(init),
        unroll=unroll,
        _split_transpose=_split_transpose,
        remat=remat,
    )
    return outs


def _row(aval: Any) -> Any:
    return ShapedArray(aval.shape[1:], aval.dtype, aval.weak_type)


def _stacked(aval: Any, length: int) -> Any:
    return ShapedArray((length, *aval.shape), aval.dtype, aval.weak_type)


def _loop_params(params: dict[str, Any]) -> dict[str, Any]:
    names = ("length", "reverse", "unroll", "_split_transpose")
    return {name: params[name] for name in names} | {"remat": params.get("remat")}


def _abstract(*avals: Any, jaxpr: ClosedJaxpr, num_carry: int, length: int, **_: Any) -> list[Any]:
    outs = jaxpr.out_avals
    return outs[:num_carry] + [_stacked(a, length) for a in outs[num_carry:]]


def _reference(
    *args: Any,
    jaxpr: ClosedJaxpr,
    num_consts: int,
    num_carry: int,
    length: int,
    reverse: bool,
    **_: Any,
) -> list[Any]:
    consts, carry, xs = split_list(args, num_consts, num_carry)
    avals = jaxpr.out_avals[num_carry:]
    ys = [np.zeros((length, *a.shape), physical(a)) for a in avals]
    for i in reversed(range(length)) if reverse else range(length):
        outs = eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *consts, *carry, *[x[i] for x in xs])
        carry = outs[:num_carry]
        for y, row in zip(ys, outs[num_carry:], strict=True):
            y[i] = np.asarray(row)
    return [*carry, *ys]


def physical(aval: Any) -> Any:
    """The NumPy dtype that stores an aval's elements."""
    return getattr(aval.dtype, "physical", aval.dtype)


def _parts(xs: Sequence[Any], params: dict[str, Any]) -> list[list[Any]]:
    """Operands as constants, initial carry and rows."""
    return split_list(xs, params["num_consts"], params["num_carry"])


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], **params: Any
) -> tuple[list[Any], list[Any]]:
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, init, xs = split_list(primals, nc, n)
    consts_dot, init_dot, xs_dot = split_list(tangents, nc, n)
    n_ys = len(body.out_avals) - n
    carry_nz = nonzero_tangents(init_dot)
    while True:
        nonzero = nonzero_tangents(consts_dot) + carry_nz + nonzero_tangents(xs_dot)
        body_jvp, out_nz = jvp_jaxpr(body, nonzero, force=carry_nz + [False] * n_ys)
        if out_nz[:n] == carry_nz:
            break
        carry_nz = [a or b for a, b in zip(carry_nz, out_nz[:n], strict=True)]
    given_c, given_x = given_tangents(consts_dot), given_tangents(xs_dot)
    given_i = [instantiate(t) for t, nz in zip(init_dot, carry_nz, strict=True) if nz]
    sizes = (nc, len(given_c), n, len(given_i), len(xs))

    def body_fun(*args: Any) -> list[Any]:
        c, c_t, carry, carry_t, x, x_t = split_list(args, *sizes)
        outs = eval_jaxpr(body_jvp.jaxpr, body_jvp.consts, *c, *carry, *x, *c_t, *carry_t, *x_t)
        new, ys, new_t, ys_t = split_list(outs, n, n_ys, len(given_i))
        return [*new, *new_t, *ys, *ys_t]

    carry_avals = body.out_avals[:n]
    avals = [
        *body.in_avals[:nc],
        *map(aval_of, given_c),
        *carry_avals,
        *[a.to_tangent_aval() for a, nz in zip(carry_avals, carry_nz, strict=True) if nz],
        *body.in_avals[nc + n :],
        *[_row(aval_of(t)) for t in given_x],
    ]
    info = body.jaxpr.debug_info
    new_body = stage(body_fun, avals, description="jvp of the body of scan", debug_info=info)
    outs = bind_scan(
        new_body,
        [*consts, *given_c],
        [*init, *given_i],
        [*xs, *given_x],
        **_loop_params(params),
    )
    carry, carry_t, ys, ys_t = split_list(outs, n, len(given_i), n_ys)
    out_avals = _abstract(**params)
    rest = iter([*carry_t, *ys_t])
    dots = [
        next(rest) if nz else Zero(a.to_tangent_aval())
        for nz, a in zip(carry_nz + out_nz[n:], out_avals, strict=True)
    ]
    return [*carry, *ys], dots


def _split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    unknown = [trace.is_unknown(x) for x in args]
    const_u, carry_u, xs_u = split_list(unknown, nc, n)
    split, carry_u = _split_body(body, const_u, carry_u, xs_u)
    now_unknown = const_u + carry_u + xs_u
    if params.get("remat") is not None:
        return _split_whole(trace, args, params, split, now_unknown)
    split = without_cheap_residuals(split)
    known_args = [x for x, u in zip(args, now_unknown, strict=True) if not u]
    unknown_args = [x for x, u in zip(args, now_unknown, strict=True) if u]
    n_kc, n_kn = const_u.count(False), carry_u.count(False)
    known_consts, known_init, known_xs = split_list(known_args, n_kc, n_kn)

    # Residuals that depend on the constants alone are computed once, outside the loop.
    n_known_out = split.out_unknown.count(False)
    n_res = split.num_residuals
    invariant = partial_eval_jaxpr(
        split.known,
        [False] * n_kc + [True] * (len(known_args) - n_kc),
        force_unknown=[True] * n_known_out + [False] * n_res,
        effects_later=True,
    )
    hoisted = eval_jaxpr(invariant.known.jaxpr, invariant.known.consts, *known_consts)
    res_varies = invariant.out_unknown[n_known_out:]
    n_fixed = res_varies.count(False)
    fixed_residuals, body_consts = hoisted[:n_fixed], hoisted[n_fixed:]
    known_outs = _bind_known(invariant.unknown, body_consts, known_init, known_xs, params)
    carry_and_ys, residual_rows = known_outs[:n_known_out], known_outs[n_known_out:]

    unknown_body = _reorder_unknown(split.unknown, res_varies)
    u_consts, u_init, u_xs = split_list(unknown_args, const_u.count(True), carry_u.count(True))
    operands = [*fixed_residuals, *u_consts, *u_init, *u_xs, *residual_rows]
    unknown_outs = trace.record(
        scan,
        operands,
        params
        | {
            "jaxpr": unknown_body,
            "num_consts": len(fixed_residuals) + len(u_consts),
            "num_carry": len(u_init),
            "linear": (False,) * len(operands),
        },
    )
    return merge(split.out_unknown, carry_and_ys, unknown_outs)


def _split_body(
    body: ClosedJaxpr,
    const_u: Sequence[bool],
    carry_unknown: Sequence[bool],
    xs_u: Sequence[bool],
) -> tuple[Split, list[bool]]:
    """The body split by what becomes unknown in any step, and which carries do."""
    carry_u, n = list(carry_unknown), len(carry_unknown)
    n_ys = len(body.out_avals) - n
    while True:
        split = partial_eval_jaxpr(
            body, [*const_u, *carry_u, *xs_u], force_unknown=carry_u + [False] * n_ys
        )
        if split.out_unknown[:n] == carry_u:
            return split, carry_u
        carry_u = [a or b for a, b in zip(carry_u, split.out_unknown[:n], strict=True)]


def _split_whole(
    trace: PartialTrace,
    args: Sequence[Any],
    params: dict[str, Any],
    split: Split,
    unknown: Sequence[bool],
) -> list[Any]:
    """With a binomial policy: no residuals; what is recorded is the whole loop."""
    if all(split.out_unknown):
        outs: list[Any] = trace.record(scan, args, params)
        return outs
    body, more = open_consts(for_second_run(params["jaxpr"], split, unknown))
    recorded = trace.record(
        scan,
        [*more, *args],
        params
        | {
            "jaxpr": body,
            "num_consts": len(more) + params["num_consts"],
            "linear": (False,) * (len(more) + len(args)),
        },
    )
    known = [
        [x for x, u in zip(part, flags, strict=True) if not u]
        for part, flags in zip(_parts(args, params), _parts(unknown, params), strict=True)
    ]
    known_outs = bind_scan(without_residuals(split), *known, **_loop_params(params))
    rest = [x for x, u in zip(recorded, split.out_unknown, strict=True) if u]
    return merge(split.out_unknown, known_outs, rest)


def _bind_known(
    body: ClosedJaxpr,
    consts: Sequence[Any],
    init: Sequence[Any],
    xs: Sequence[Any],
    params: dict[str, Any],
) -> list[Any]:
    """The known loop; rows that are those of an operand, or of another result, are not stacked."""
    jaxpr, n = body.jaxpr, len(init)
    operands = dict(zip(jaxpr.invars[len(consts) + n :], xs, strict=True))
    rows = jaxpr.outvars[n:]
    stacked = [v for v in dict.fromkeys(rows) if v not in operands]
    new = ClosedJaxpr(jaxpr.replace(outvars=[*jaxpr.outvars[:n], *stacked]), body.consts)
    outs = bind_scan(new, consts, init, xs, **_loop_params(params))
    found = operands | dict(zip(stacked, outs[n:], strict=True))
    return [*outs[:n], *[found[v] for v in rows]]


def _reorder_unknown(unknown: ClosedJaxpr, res_varies: Sequence[bool]) -> ClosedJaxpr:
    """Arguments (residuals, consts, carry, xs) as (fixed residuals, consts, carry, xs, rows)."""
    n_res = len(res_varies)
    residuals, rest = unknown.jaxpr.invars[:n_res], unknown.jaxpr.invars[n_res:]
    fixed = [v for v, varies in zip(residuals, res_varies, strict=True) if not varies]
    rows = [v for v, varies in zip(residuals, res_varies, strict=True) if varies]
    jaxpr = unknown.jaxpr.replace(invars=[*fixed, *rest, *rows])
    return ClosedJaxpr(jaxpr, unknown.consts)


def _dce(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    params = eqn.params
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    used_carry, used_ys = list(used[:n]), list(used[n:])
    while True:
        pruned, used_in = dce_jaxpr(body.jaxpr, used_carry + used_ys)
        needed = [a or b for a, b in zip(used_carry, used_in[nc : nc + n], strict=True)]
        if needed == used_carry:
            break
        used_carry = needed
    used_in[nc : nc + n] = used_carry
    pruned = pruned.replace(
        invars=[v for v, u in zip(body.jaxpr.invars, used_in, strict=True) if u]
    )
    invars = [v for v, u in zip(eqn.invars, used_in, strict=True) if u]
    kept = eqn.replace(
        invars=invars,
        outvars=[v for v, u in zip(eqn.outvars, used_carry + used_ys, strict=True) if u],
        params=params
        | {
            "jaxpr": ClosedJaxpr(pruned, body.consts),
            "num_consts": sum(used_in[:nc]),
            "num_carry": sum(used_carry),
            "linear": (False,) * len(invars),
        },
        effects=pruned.effects,
    )
    return used_in, kept


def _transpose(cts: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    if params.get("remat") is not None:
        return _transpose_sweep(cts, *args, **params)
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, init, xs = split_list(args, nc, n)
    const_lin = [type(x) is Linear for x in consts]
    xs_lin = [type(x) is Linear for x in xs]
    ct_carry = [instantiate(ct) for ct in cts[:n]]
    ct_ys = list(cts[n:])
    ys_nz = [type(ct) is not Zero for ct in ct_ys]
    res_consts = [x for x in consts if type(x) is not Linear]
    res_xs = [x for x in xs if type(x) is not Linear]
    lin_const_avals = [a for a, lin in zip(body.in_avals[:nc], const_lin, strict=True) if lin]
    ct_consts = [instantiate(Zero(a.to_cotangent_aval())) for a in lin_const_avals]
    given_ys = [ct for ct in ct_ys if type(ct) is not Zero]
    sizes = (len(res_consts), len(ct_consts), n, len(given_ys))

    def body_fun(*operands: Any) -> list[Any]:
        res_c, acc, ct_c, ct_y, res_x = split_list(operands, *sizes)
        it_c, it_x, it_y = iter(res_c), iter(res_x), iter(ct_y)
        avals = body.in_avals
        ins = [
            *[Linear(a) if li else next(it_c) for a, li in zip(avals[:nc], const_lin, strict=True)],
            *[Linear(a) for a in avals[nc : nc + n]],
            *[
                Linear(a) if li else next(it_x)
                for a, li in zip(avals[nc + n :], xs_lin, strict=True)
            ],
        ]
        outs_ct = [
            next(it_y) if nz else Zero(a.to_cotangent_aval())
            for nz, a in zip(ys_nz, body.out_avals[n:], strict=True)
        ]
        result = backward_pass(body.jaxpr, body.consts, ins, [*ct_c, *outs_ct])
        c, carry, x = split_list(result, nc, n)
        given = [ct for ct, lin in zip(c, const_lin, strict=True) if lin]
        new_acc = [add_cotangents(a, ct) for a, ct in zip(acc, given, strict=True)]
        new_x = [instantiate(ct) for ct, lin in zip(x, xs_lin, strict=True) if lin]
        return [*new_acc, *[instantiate(ct) for ct in carry], *new_x]

    avals = [
        *map(aval_of, res_consts),
        *map(aval_of, ct_consts),
        *[a.to_cotangent_aval().strip_weak_type() for a in body.out_avals[:n]],
        *[_row(aval_of(ct)) for ct in given_ys],
        *[_row(aval_of(x)) for x in res_xs],
    ]
    new_body = stage(body_fun, avals, description="transpose of the body of scan")
    loop = _loop_params(params) | {"reverse": not params["reverse"]}
    outs = bind_scan(new_body, res_consts, [*ct_consts, *ct_carry], [*given_ys, *res_xs], **loop)
    out_c, out_carry, out_x = split_list(outs, len(ct_consts), n)
    it_c, it_x = iter(out_c), iter(out_x)
    return [
        *[next(it_c) if lin else None for lin in const_lin],
        *[ct if type(x) is Linear else None for ct, x in zip(out_carry, init, strict=True)],
        *[next(it_x) if lin else None for lin in xs_lin],
    ]


def _transpose_sweep(cts: Sequence[Any], *args: Any, **params: Any) -> list[Any]:
    """A sweep over the steps, which keeps as many carries as the policy says."""
    body, length = params["jaxpr"], params["length"]
    consts, init, xs = _parts(args, params)
    const_u, carry_u, xs_u = ([type(x) is Linear for x in part] for part in (consts, init, xs))
    split, carry_u = _split_body(body, const_u, carry_u, xs_u)
    known, unknown, n_res = split.known, split.unknown, split.num_residuals
    n_known = len(known.out_avals) - n_res
    given = [
        [x for x, u in zip(part, flags, strict=True) if not u]
        for part, flags in zip((consts, init, xs), (const_u, carry_u, xs_u), strict=True)
    ]
    linear = [Linear(a) for a in unknown.in_avals[n_res:]]
    n = params["num_carry"]
    ys_u = split.out_unknown[n:]
    ct_ys = [ct for ct, u in zip(cts[n:], ys_u, strict=True) if u]
    given_ys = given_tangents(ct_ys)
    sizes = (len(given[0]), len(given[2]))
    n_s, n_acc, n_ct = len(given[1]), const_u.count(True), carry_u.count(True)

    def row_number(i: Any) -> Any:
        return elementwise.sub(np.int32(length - 1), i) if params["reverse"] else i

    def rows(i: Any, values: Sequence[Any]) -> list[Any]:
        return [read_row(x, row_number(i)) for x in values]

    def step(*operands: Any) -> list[Any]:
        c, x, (i,), state = split_list(operands, *sizes, 1)
        outs = eval_jaxpr(known.jaxpr, known.consts, *c, *state, *rows(i, x))
        return outs[:n_s]

    def back(*operands: Any) -> list[Any]:
        c, x, ct_y, (i,), state, acc, ct, out = split_list(
            operands, *sizes, len(given_ys), 1, n_s, n_acc, n_ct
        )
        residuals = eval_jaxpr(known.jaxpr, known.consts, *c, *state, *rows(i, x))[n_known:]
        it_y = iter(rows(i, ct_y))
        row_cts = [Zero(_row(y.aval)) if type(y) is Zero else next(it_y) for y in ct_ys]
        ins = [*residuals, *linear]
        outs = backward_pass(unknown.jaxpr, unknown.consts, ins, [*ct, *row_cts])[n_res:]
        more, new, new_rows = split_list(outs, n_acc, n_ct)
        at = row_number(i)
        return [
            *[add_cotangents(a, b) for a, b in zip(acc, more, strict=True)],
            *map(instantiate, new),
            *[write_row(o, instantiate(r), at) for o, r in zip(out, new_rows, strict=True)],
        ]

    state_avals = [a for a, u in zip(body.out_avals[:n], carry_u, strict=True) if not u]
    ct_carry = [instantiate(ct) for ct, u in zip(cts[:n], carry_u, strict=True) if u]
    zeros = [instantiate(Zero(x.aval.to_cotangent_aval())) for x in [*consts, *xs] if is_linear(x)]
    acc, out_rows = zeros[:n_acc], zeros[n_acc:]
    fixed = [*map(aval_of, [*given[0], *given[2]])]
    now = [INDEX, *state_avals]
    results = [aval_of(x).strip_weak_type() for x in [*acc, *ct_carry, *out_rows]]
    outs = bind_backwards(
        None,
        stage(step, [*fixed, *now], description="a step of scan"),
        stage(
            back,
            [*fixed, *map(aval_of, given_ys), *now, *results],
            description="transpose of a step of scan",
        ),
        [[], [*given[0], *given[2]], [*given[0], *given[2], *given_ys]],
        given[1],
        [*acc, *ct_carry, *out_rows],
        length=length,
        slots=slots_of(params["remat"], length),
    )
    accs, cts_init, cts_xs = map(iter, split_list(outs, n_acc, n_ct))
    by_carry = [next(cts_init) if u else None for u in carry_u]
    return [
        *[next(accs) if u else None for u in const_u],
        *[ct if is_linear(x) else None for ct, x in zip(by_carry, init, strict=True)],
        *[next(cts_xs) if u else None for u in xs_u],
    ]


def _batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    const_b, carry_b, xs_b = split_list([d is not None for d in dims], nc, n)
    n_ys = len(body.out_avals) - n
    while True:
        batched = const_b + carry_b + xs_b
        new_body, out_b = batch_jaxpr(body, size, batched, force=carry_b + [False] * n_ys)
        if out_b[:n] == carry_b:
            break
        carry_b = [a or b for a, b in zip(carry_b, out_b[:n], strict=True)]
    consts, init, xs = split_list(args, nc, n)
    const_d, init_d, xs_d = split_list(dims, nc, n)
    consts = [
        move_batch_axis(x, size, d, 0) if d is not None else x
        for x, d in zip(consts, const_d, strict=True)
    ]
    init = [
        move_batch_axis(x, size, d, 0) if b else x
        for x, d, b in zip(init, init_d, carry_b, strict=True)
    ]
    xs = [
        move_batch_axis(x, size, d, 1) if d is not None else x
        for x, d in zip(xs, xs_d, strict=True)
    ]
    outs = bind_scan(new_body, consts, init, xs, **_loop_params(params))
    carry_dims: list[int | None] = [0 if b else None for b in carry_b]
    return outs, carry_dims + [1 if b else None for b in out_b[n:]]


def _lower(b: Any, *xs: Any, **params: Any) -> list[Any]:
    consts, init, rows = split_list(xs, params["num_consts"], params["num_carry"])
    results: list[Any] = b.scan(
        params["jaxpr"], consts, init, rows, params["length"], params["reverse"]
    )
    return results


scan = Primitive(
    name="scan",
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
    effects=lambda *, jaxpr, **_: jaxpr.effects,
    literals=False,
)
