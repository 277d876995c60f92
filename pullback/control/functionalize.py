"""Checks out of a program: run a jaxpr with its error threaded through as a value.

An interpreter of jaxprs.  Each equation is applied as it is, and what its family can get wrong
(an index, a divisor, a NaN) is recorded in the `State`; equations that hold jaxprs are applied to
jaxprs that take and return the error as well.  Under a tracing transformation the result is again
a program, so that `checkify` composes with all of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pullback import tree
from pullback.control.check_rules import can_fail, record_failures
from pullback.control.checkpointing import backwards, sweep_jaxpr
from pullback.control.checks import (
    Category,
    Error,
    FailedCheckError,
    Signature,
    Site,
    State,
)
from pullback.control.cond import bind_cond
from pullback.control.custom import Rule
from pullback.control.custom_jvp import custom_jvp_call
from pullback.control.custom_vjp import custom_vjp_call
from pullback.control.jit import bind_jit, open_consts, split_list
from pullback.control.loop_parts import bind_while
from pullback.control.remat import bind_remat
from pullback.control.scan import bind_scan
from pullback.core.avals import aval_of
from pullback.core.effects import CHECK, DEBUG_CHECK
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, eval_jaxpr, subjaxprs
from pullback.core.primitive import Zero
from pullback.core.source import MASKED, Description, replaying
from pullback.core.tracebacks import api_boundary
from pullback.errors import UnsupportedError
from pullback.transforms.arguments import FlatFunction, check_callable
from pullback.transforms.staging import stage

__all__ = ["Checked", "checked_jaxpr", "checkify", "functionalize"]

Categories = frozenset[Category]
_USER: Final[Categories] = frozenset((FailedCheckError,))


@dataclass(frozen=True)
class Checked:
    """A jaxpr with the error as leading arguments and results.

    `signatures` are the slots that it takes and returns, `sites` what can fail in it.
    """

    closed: ClosedJaxpr
    signatures: tuple[Signature, ...]
    sites: frozenset[Site]


_found: weakref.WeakKeyDictionary[Jaxpr, dict[Any, Any]] = weakref.WeakKeyDictionary()


def _remembered(jaxpr: Jaxpr, key: Any, make: Callable[[], Any]) -> Any:
    """What was made of a jaxpr before, or now."""
    known = _found.setdefault(jaxpr, {})
    if key not in known:
        known[key] = make()
    return known[key]


# --------------------------------------------------------------------------- slots


def signatures_of(jaxpr: Jaxpr, errors: Categories) -> tuple[Signature, ...]:
    """The slots that the checks of a program need."""
    slots: tuple[Signature, ...] = _remembered(
        jaxpr, ("slots", errors), lambda: tuple(dict.fromkeys(_slots(jaxpr, errors)))
    )
    return slots


def _slots(jaxpr: Jaxpr, errors: Categories) -> list[Signature]:
    found: list[Signature] = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "check":
            if FailedCheckError in errors:
                found += eqn.params["signatures"]
        elif eqn.primitive.name in _PROGRAMS:
            for inner in _inner(eqn):
                found += signatures_of(inner, errors)
        else:
            found += can_fail(eqn, errors)
    return [s for s in found if s]


def _may_fail(jaxpr: Jaxpr, errors: Categories) -> bool:
    """Whether there is anything to check in a program."""
    answer: bool = _remembered(
        jaxpr, ("checks", errors), lambda: any(_eqn_may_fail(eqn, errors) for eqn in jaxpr.eqns)
    )
    return answer


def _inner(eqn: JaxprEqn) -> list[Jaxpr]:
    """The programs that an equation runs."""
    return [_sweep(eqn.params).jaxpr] if eqn.primitive is backwards else list(subjaxprs(eqn))


def _sweep(params: dict[str, Any]) -> ClosedJaxpr:
    """The loops of an equation `backwards`; they have no constants."""
    back: ClosedJaxpr = params["back_jaxpr"]
    sizes = tuple(v for v in params.values() if not isinstance(v, ClosedJaxpr))
    closed: ClosedJaxpr = _remembered(back.jaxpr, ("sweep", sizes), lambda: sweep_jaxpr(params))
    return closed


def _eqn_may_fail(eqn: JaxprEqn, errors: Categories) -> bool:
    if eqn.primitive.name == "check":
        return True  # to be taken out, whether it is enabled or not
    if eqn.primitive.name in _PROGRAMS:
        return any(_may_fail(inner, errors) for inner in _inner(eqn))
    return bool(can_fail(eqn, errors))


# --------------------------------------------------------------------------- the interpreter


def run(state: State, errors: Categories, closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    """The results of a program; its error is added to `state`."""
    jaxpr = closed.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [v.val if type(v) is Literal else env[v] for v in eqn.invars]
        with replaying(eqn.source_info):
            outs = _apply(state, errors, eqn, inputs)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [v.val if type(v) is Literal else env[v] for v in jaxpr.outvars]


def _apply(state: State, errors: Categories, eqn: JaxprEqn, inputs: Sequence[Any]) -> list[Any]:
    name = eqn.primitive.name
    if eqn.source_info.marked(MASKED) and _eqn_may_fail(eqn, errors):
        raise ValueError(
            f"checkify of vmap of while_loop: {name} is in a loop whose lanes stop at different "
            "times. Lanes that have stopped go on computing, and would fail for nothing. Map the "
            "checked function instead: vmap(checkify(f)).\n"
            f"  At: {eqn.source_info}"
        )
    if name == "check":
        return _user_check(state, errors, inputs, eqn.params)
    if name in _PROGRAMS and _eqn_may_fail(eqn, errors):
        return _PROGRAMS[name](state, errors, inputs, eqn.params)
    if CHECK in eqn.effects or DEBUG_CHECK in eqn.effects:
        raise UnsupportedError(
            f"checkify: there is a check inside {name}, for which there is no rule\n"
            f"  At: {eqn.source_info}"
        )
    ans = eqn.primitive.bind(*inputs, **eqn.params)
    outs = list(ans) if eqn.primitive.multiple_results else [ans]
    if name not in _PROGRAMS:
        record_failures(state, errors, eqn, inputs, outs)
    return outs


def _user_check(
    state: State, errors: Categories, leaves: Sequence[Any], params: dict[str, Any]
) -> list[Any]:
    if FailedCheckError in errors:
        other = State(params["signatures"], leaves)
        other.sites.update(params["sites"])
        state.merge(other)
    return []


def checked_jaxpr(closed: ClosedJaxpr, errors: Categories, signatures: Any = None) -> Checked:
    """The program that takes and returns its error, in the slots `signatures` (its own)."""
    slots = signatures_of(closed.jaxpr, errors) if signatures is None else signatures

    def make() -> Checked:
        state = State(slots)
        n = len(state.avals)

        def fun(*args: Any) -> list[Any]:
            state.set_leaves(args[:n])
            outs = run(state, errors, closed, args[n:])
            return [*state.leaves(), *outs]

        info = closed.jaxpr.debug_info
        new = stage(
            fun,
            [*state.avals, *closed.in_avals],
            description=f"checkify of {info.func_src_info}",
            debug_info=info,
        )
        return Checked(new, slots, frozenset(state.sites))

    if closed.consts:
        return make()
    made: Checked = _remembered(closed.jaxpr, ("checked", errors, slots), make)
    return made


def _enter(state: State, checked: Checked) -> list[Any]:
    """The leaves that a checked program takes."""
    state.sites |= checked.sites
    return state.leaves(checked.signatures)


def _leave(state: State, checked: Checked, outs: Sequence[Any]) -> list[Any]:
    """Take the error from the results of a checked program, and give the others."""
    n = 1 + sum(map(len, checked.signatures))
    state.set_leaves(outs[:n], checked.signatures)
    return list(outs[n:])


# --------------------------------------------------------------------------- programs in programs


def _jit(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    checked = checked_jaxpr(params["jaxpr"], errors)
    rest = _without(params, "jaxpr", "name")
    rest |= {"donated_invars": ()} if "donated_invars" in rest else {}
    outs = bind_jit(checked.closed, [*_enter(state, checked), *args], params["name"], **rest)
    return _leave(state, checked, outs)


def _remat(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    checked = checked_jaxpr(ClosedJaxpr(params["jaxpr"], []), errors)
    outs = bind_remat(checked.closed, [*_enter(state, checked), *args], params)
    return _leave(state, checked, outs)


def _cond(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    index, *operands = args
    branches = params["branches"]
    slots = tuple(dict.fromkeys(s for b in branches for s in signatures_of(b.jaxpr, errors)))
    checked = [checked_jaxpr(b, errors, slots) for b in branches]
    every = Checked(checked[0].closed, slots, frozenset().union(*[c.sites for c in checked]))
    leaves = _enter(state, every)
    outs = bind_cond(index, [c.closed for c in checked], [*leaves, *operands])
    return _leave(state, every, outs)


def _scan(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    consts, init, xs = split_list(args, params["num_consts"], params["num_carry"])
    checked = checked_jaxpr(params["jaxpr"], errors)
    leaves = _enter(state, checked)
    body = _after(checked.closed, len(leaves), len(consts))
    options = _without(params, "jaxpr", "num_consts", "num_carry", "linear")
    outs = bind_scan(body, consts, [*leaves, *init], xs, **options)
    return _leave(state, checked, outs)


def _without(params: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in names}


def _after(closed: ClosedJaxpr, n: int, before: int) -> ClosedJaxpr:
    """The jaxpr whose first `n` arguments come after the `before` next ones."""
    jaxpr = closed.jaxpr
    leaves, first, rest = split_list(jaxpr.invars, n, before)
    return ClosedJaxpr(jaxpr.replace(invars=[*first, *leaves, *rest]), closed.consts)


def _while(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    """The condition is checked where its value is used: before the loop and after each turn."""
    cond, body = params["cond_jaxpr"], params["body_jaxpr"]
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, init = split_list(args, nc, nb)
    slots = tuple(
        dict.fromkeys([*signatures_of(cond.jaxpr, errors), *signatures_of(body.jaxpr, errors)])
    )
    test, turn = checked_jaxpr(cond, errors, slots), checked_jaxpr(body, errors, slots)
    both = Checked(turn.closed, slots, turn.sites | test.sites)
    leaves = _enter(state, both)
    n = len(leaves)
    if test.sites:
        leaves = _eval(test.closed, *leaves, *cond_consts, *init)[:n]

    def new_cond(*xs: Any) -> list[Any]:
        cs, error, carry = split_list(xs, nc, n)
        return _eval(test.closed, *error, *cs, *carry)[n:]

    def new_body(*xs: Any) -> list[Any]:
        cs, bs, error, carry = split_list(xs, nc, nb, n)
        outs = _eval(turn.closed, *error, *bs, *carry)
        error, carry = outs[:n], outs[n:]
        if test.sites:
            error = _eval(test.closed, *error, *cs, *carry)[:n]
        return [*error, *carry]

    carry_avals = [*State(slots).avals, *body.out_avals]
    avals = [*cond.in_avals[:nc], *body.in_avals[:nb]]
    staged_cond = stage(new_cond, avals[:nc] + carry_avals, description="cond of while")
    staged_body = stage(new_body, avals + carry_avals, description="body of while")
    outs = bind_while(
        staged_cond,
        staged_body,
        cond_consts,
        [*cond_consts, *body_consts],
        [*leaves, *init],
        **_without(params, "cond_nconsts", "cond_jaxpr", "body_nconsts", "body_jaxpr"),
    )
    return _leave(state, both, outs)


def _eval(closed: ClosedJaxpr, *args: Any) -> list[Any]:
    return eval_jaxpr(closed.jaxpr, closed.consts, *args)


def _custom_jvp(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    """The rule is checked too, when somebody differentiates the checked function."""
    consts, operands = split_list(args, params["num_consts"])
    checked = checked_jaxpr(params["call_jaxpr"], errors)
    leaves = _enter(state, checked)
    n, m = len(leaves), len(operands)
    rule: Rule = params["jvp"]

    def jvp(*xs: Any) -> list[Any]:
        error, primals, _, dots = split_list(xs, n, m, n)
        error, outs = _checked_rule(errors, state, checked, rule, error, [*primals, *dots])
        k = len(outs) // 2
        zeros = [Zero(aval_of(x).to_tangent_aval()) for x in error]
        return [*error, *outs[:k], *zeros, *outs[k:]]

    closed, more = open_consts(_after(checked.closed, n, len(consts)))
    new = params | {
        "call_jaxpr": closed,
        "jvp": Rule(jvp, rule.name),
        "num_consts": len(more) + len(consts),
    }
    outs = custom_jvp_call.bind(*more, *consts, *leaves, *operands, **new)
    return _leave(state, checked, outs)


def _custom_vjp(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
    """As `_custom_jvp`; the forward rule is checked, the backward rule has no error to return."""
    consts, operands = split_list(args, params["num_consts"])
    checked = checked_jaxpr(params["call_jaxpr"], errors)
    leaves = _enter(state, checked)
    n = len(leaves)
    fwd, bwd = params["fwd"], params["bwd"]
    n_out = len(params["call_jaxpr"].out_avals)

    def new_fwd(*xs: Any) -> list[Any]:
        error, primals, flags = split_list(xs, n, len(operands))
        inner = Rule(lambda *ys: fwd(*ys, *flags[n:]), fwd.name)
        error, outs = _checked_rule(errors, state, checked, inner, error, primals)
        return [*error, *outs]

    def new_bwd(*xs: Any) -> list[Any]:
        cts = len(xs) - (n + n_out)
        residuals, _, rest = split_list(xs, cts, n)
        return [*[None] * n, *bwd(*residuals, *rest)]

    closed, more = open_consts(_after(checked.closed, n, len(consts)))
    new = params | {
        "call_jaxpr": closed,
        "fwd": Rule(new_fwd, fwd.name),
        "bwd": Rule(new_bwd, bwd.name),
        "num_consts": len(more) + len(consts),
    }
    outs = custom_vjp_call.bind(*more, *consts, *leaves, *operands, **new)
    return _leave(state, checked, outs)


def _checked_rule(
    errors: Categories,
    program: State,
    checked: Checked,
    rule: Rule,
    leaves: Sequence[Any],
    args: Sequence[Any],
) -> tuple[list[Any], list[Any]]:
    """The error and the results of a user's rule; some of both sides may be `Zero`.

    What can fail in it belongs to `program`, whose error may have been returned before.
    """
    given = [x for x in args if type(x) is not Zero]
    kinds: list[Any] = []

    def fun(*values: Any) -> list[Any]:
        rest = iter(values)
        outs = rule(*[x if type(x) is Zero else next(rest) for x in args])
        kinds[:] = [x if type(x) is Zero else None for x in outs]
        return [x for x in outs if type(x) is not Zero]

    closed = stage(fun, [aval_of(x) for x in given], description=rule.name)
    state = State(checked.signatures, leaves)
    values = iter(run(state, errors, closed, given))
    program.sites |= state.sites
    return state.leaves(), [next(values) if kind is None else kind for kind in kinds]


def _called(parameter: str) -> Callable[..., list[Any]]:
    """A call whose own rules are gone once its checks are taken out: it becomes what it calls."""

    def apply(state: State, errors: Categories, args: Sequence[Any], params: Any) -> list[Any]:
        return run(state, errors, params[parameter], args)

    return apply


_PROGRAMS: Final[dict[str, Callable[..., list[Any]]]] = {
    "jit": _jit,
    "remat2": _remat,
    "cond": _cond,
    "scan": _scan,
    "while": _while,
    "backwards": lambda state, errors, inputs, params: run(state, errors, _sweep(params), inputs),
    "custom_jvp_call": _custom_jvp,
    "custom_vjp_call": _custom_vjp,
    "custom_vmap_call": _called("call"),
    "linear_call": _called("callee"),
    "remat_opt": _called("fwd_jaxpr"),
}
"""Primitives that hold jaxprs, into which checks are followed."""


# --------------------------------------------------------------------------- for users


def functionalize(
    closed: ClosedJaxpr, errors: Categories, args: Sequence[Any]
) -> tuple[Error, list[Any]]:
    """The error and the results of a program."""
    state = State(signatures_of(closed.jaxpr, errors))
    outs = run(state, errors, closed, args)
    return state.error(), outs


def checkify(f: Callable[..., Any], errors: Categories = _USER) -> Callable[..., tuple[Error, Any]]:
    """`f` as a function that returns `(error, result)` instead of raising.

    `errors` says which checks are made: `user_checks` (those of `check`, the default),
    `nan_checks`, `div_checks`, `index_checks`, `float_checks` (NaN and division),
    `automatic_checks`, `all_checks`, and unions of them. The first failure is kept; the program
    runs on. Checks are followed into jit, loops, branches, checkpointed functions and custom rules,
    and the result may be jitted, mapped and differentiated.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback.experimental import checkify
    >>> @pb.jit
    ... def f(x, i):
    ...     return jnp.sin(x)[i]
    >>> error, _ = checkify.checkify(f, errors=checkify.index_checks)(jnp.ones(4), 5)
    >>> print(error.get())
    out-of-bounds indexing for array of shape (4,): index 5 is out of bounds for axis 0 with size 4.
    """
    check_callable(f, "checkify")
    categories = frozenset(errors)

    @api_boundary
    def checked_fun(*args: Any, **kwargs: Any) -> tuple[Error, Any]:
        flat = FlatFunction(lambda: f(*args, **kwargs), tree.structure(((), {})))
        closed = stage(flat, [], description=Description(f, "checkify"))
        error, outs = functionalize(closed, categories, [])
        return error, flat.out_tree.unflatten(outs)

    return checked_fun
