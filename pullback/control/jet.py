"""Taylor mode for users, and its rules for the primitives that hold jaxprs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import factorial
from typing import Any, Final

from pullback import tree
from pullback.control.checkpointing import sweep_jaxpr
from pullback.control.cond import bind_cond
from pullback.control.jit import bind_jit, split_list
from pullback.control.loop_parts import bind_while
from pullback.control.remat import bind_remat
from pullback.control.scan import bind_scan
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.source import Description, describe_function
from pullback.core.tracebacks import api_boundary
from pullback.ops import conversion, structural
from pullback.transforms import jet_rules as _jet_rules  # noqa: F401  (fills the table)
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand
from pullback.transforms.jet import Series, jet_flat, jet_jaxpr, rules, scaled, zero_series
from pullback.transforms.staging import stage

__all__ = ["jet", "jet2"]


# --------------------------------------------------------------------------- rules of programs


def _given(series: Sequence[Series | None]) -> list[bool]:
    return [s is not None for s in series]


def _terms(series: Sequence[Series | None]) -> list[Any]:
    """All coefficients, operand by operand."""
    return [c for s in series if s is not None for c in s]


def _split_results(
    outs: Sequence[Any], n: int, found: Sequence[bool], order: int
) -> tuple[list[Any], list[Series | None]]:
    """`n` values, and the series of those in `found`."""
    terms = iter(outs[n:])
    return list(outs[:n]), [[next(terms) for _ in range(order)] if f else None for f in found]


def _without(params: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in names}


def _jit(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    closed, found = jet_jaxpr(params["jaxpr"], order, _given(series), force=False)
    rest = _without(params, "jaxpr", "name")
    rest |= {"donated_invars": ()} if "donated_invars" in rest else {}
    outs = bind_jit(closed, [*primals, *_terms(series)], params["name"], **rest)
    return _split_results(outs, len(found), found, order)


def _remat(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    inner = ClosedJaxpr(params["jaxpr"], [])
    closed, found = jet_jaxpr(inner, order, _given(series), force=False)
    outs = bind_remat(closed, [*primals, *_terms(series)], params)
    return _split_results(outs, len(found), found, order)


def _cond(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    index, *args = primals
    given, branches = _given(series[1:]), params["branches"]
    each = [jet_jaxpr(b, order, given, force=False)[1] for b in branches]
    found = [any(column) for column in zip(*each, strict=True)]
    jets = [jet_jaxpr(b, order, given, force=found)[0] for b in branches]
    outs = bind_cond(index, jets, [*args, *_terms(series[1:])])
    return _split_results(outs, len(found), found, order)


def _called(parameter: str) -> Callable[..., tuple[Any, Any]]:
    """A call whose own rules are for other transformations: what it calls."""

    def rule(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
        closed, found = jet_jaxpr(params[parameter], order, _given(series), force=False)
        outs = eval_jaxpr(closed.jaxpr, closed.consts, *primals, *_terms(series))
        return _split_results(outs, len(found), found, order)

    return rule


def _backwards(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    closed, found = jet_jaxpr(sweep_jaxpr(params), order, _given(series), force=False)
    outs = eval_jaxpr(closed.jaxpr, closed.consts, *primals, *_terms(series))
    return _split_results(outs, len(found), found, order)


def _full(x: Any, series: Series | None, order: int) -> Series:
    return zero_series(x, order) if series is None else series


def _scan(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    body, nc, n = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, init, xs = split_list(primals, nc, n)
    consts_s, init_s, xs_s = split_list(series, nc, n)
    n_ys = len(body.out_avals) - n
    carry = _given(init_s)
    while True:
        given = _given(consts_s) + carry + _given(xs_s)
        jet_body, found = jet_jaxpr(body, order, given, force=carry + [False] * n_ys)
        if found[:n] == carry:
            break
        carry = [a or b for a, b in zip(carry, found[:n], strict=True)]
    init_terms = [
        c for x, s, g in zip(init, init_s, carry, strict=True) if g for c in _full(x, s, order)
    ]
    const_terms, x_terms = _terms(consts_s), _terms(xs_s)
    sizes = (nc, len(const_terms), n, len(init_terms), len(xs))

    def fun(*args: Any) -> list[Any]:
        c, c_t, carried, carried_t, x, x_t = split_list(args, *sizes)
        outs = eval_jaxpr(jet_body.jaxpr, jet_body.consts, *c, *carried, *x, *c_t, *carried_t, *x_t)
        new, ys, new_t, ys_t = split_list(outs, n, n_ys, len(init_terms))
        return [*new, *new_t, *ys, *ys_t]

    avals = [
        *body.in_avals[:nc],
        *map(aval_of, const_terms),
        *body.in_avals[nc : nc + n],
        *map(aval_of, init_terms),
        *body.in_avals[nc + n :],
        *[aval_of(t).update(shape=aval_of(t).shape[1:]) for t in x_terms],
    ]
    staged = stage(fun, avals, description="body of scan")
    outs = bind_scan(
        staged,
        [*consts, *const_terms],
        [*init, *init_terms],
        [*xs, *x_terms],
        **_without(params, "jaxpr", "num_consts", "num_carry", "linear"),
    )
    new, new_t, ys, ys_t = split_list(outs, n, len(init_terms), n_ys)
    return _split_results([*new, *ys, *new_t, *ys_t], n + n_ys, found, order)


def _while(order: int, primals: Any, series: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    cond, body = params["cond_jaxpr"], params["body_jaxpr"]
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts, init = split_list(primals, n_cond, n_body)
    _, consts_s, init_s = split_list(series, n_cond, n_body)
    carry = _given(init_s)
    while True:
        jet_body, found = jet_jaxpr(body, order, _given(consts_s) + carry, force=carry)
        if found == carry:
            break
        carry = [a or b for a, b in zip(carry, found, strict=True)]
    init_terms = [
        c for x, s, g in zip(init, init_s, carry, strict=True) if g for c in _full(x, s, order)
    ]
    const_terms = _terms(consts_s)
    n, sizes = len(init), (n_body, len(const_terms), len(init))

    def new_body(*args: Any) -> list[Any]:
        c, c_t, carried, carried_t = split_list(args, *sizes)
        return eval_jaxpr(jet_body.jaxpr, jet_body.consts, *c, *carried, *c_t, *carried_t)

    def new_cond(*args: Any) -> list[Any]:
        return eval_jaxpr(cond.jaxpr, cond.consts, *args[: n_cond + n])

    carry_avals = [*body.out_avals, *map(aval_of, init_terms)]
    consts = [*body.in_avals[:n_body], *map(aval_of, const_terms)]
    outs = bind_while(
        stage(new_cond, [*cond.in_avals[:n_cond], *carry_avals], description="cond of while"),
        stage(new_body, [*consts, *carry_avals], description="body of while"),
        cond_consts,
        [*body_consts, *const_terms],
        [*init, *init_terms],
        **_without(params, "cond_nconsts", "cond_jaxpr", "body_nconsts", "body_jaxpr"),
    )
    return _split_results(outs, n, carry, order)


rules.update(
    {
        "jit": _jit,
        "remat2": _remat,
        "cond": _cond,
        "scan": _scan,
        "while": _while,
        "backwards": _backwards,
        "custom_vjp_call": _called("call_jaxpr"),
        "custom_vmap_call": _called("call"),
    }
)


# --------------------------------------------------------------------------- for users


def _as_terms(x: Any, terms: Any, position: int) -> list[Any]:
    """The terms of one leaf, checked."""
    if not isinstance(terms, (list, tuple)):
        raise ValueError(
            f"jet: series[{position}] must hold a list or tuple of terms for each array of "
            f"primals[{position}], got {terms!r}"
        )
    aval = aval_of(x).to_tangent_aval()
    checked = []
    for k, t in enumerate(terms):
        check_operand(t, "jet", f"term {k} of series[{position}]")
        if aval_of(t).shape != aval.shape:
            raise ValueError(
                f"jet: term {k} of series[{position}] has shape {aval_of(t).shape}, but the "
                f"primal is {aval_of(x)}"
            )
        checked.append(t if aval.dtype == dtypes.float0 else conversion.convert(t, aval.dtype))
    return checked


def _flat_series(primals: Any, series: Any) -> tuple[list[Any], list[list[Any]], Any]:
    leaves: list[Any] = []
    terms: list[list[Any]] = []
    for i, (x, s) in enumerate(zip(primals, series, strict=True)):
        xs, structure = tree.flatten(x)
        leaves += xs
        for leaf, t in zip(xs, structure.flatten_up_to(s), strict=True):
            check_operand(leaf, "jet", f"primals[{i}]")
            terms.append(_as_terms(leaf, t, i))
    return leaves, terms, tree.structure((tuple(primals), {}))


@api_boundary
def jet(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    series: Sequence[Any],
    factorial_scaled: bool = True,
    **_: Any,
) -> tuple[Any, Any]:
    """Taylor mode: the series of `fun` along a curve given by its series.

    `primals[i]` is the value of argument i, an array or a pytree of them, and `series[i]` its
    terms of order 1, 2, ..., n: a list in the place of each array. Returns the value of `fun` and
    its terms in the same form. With `factorial_scaled` the term of order k is the k-th derivative;
    otherwise the coefficient of tᵏ. Every operation that has a derivative is supported. Functions
    with `custom_jvp` go by their rule; of those with `custom_vjp` the function itself is taken.
    Raises ValueError where terms do not fit.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> from pullback.experimental.jet import jet
    >>> value, (first, second) = jet(jnp.sin, (0.5,), ((1.0, 0.0),))
    >>> [round(float(x), 4) for x in (value, first, second)]
    [0.4794, 0.8776, -0.4794]
    """
    check_callable(fun, "jet")
    if not isinstance(primals, (list, tuple)) or not isinstance(series, (list, tuple)):
        raise TypeError("jet: primals and series must be lists or tuples, one entry an argument")
    if len(primals) != len(series):
        raise ValueError(f"jet: there are {len(primals)} primals, but series has {len(series)}")
    leaves, terms, in_tree = _flat_series(primals, series)
    orders = {len(t) for t in terms}
    if len(orders) != 1:
        raise ValueError(
            f"jet of {describe_function(fun)}: all series must have the same number of terms, got "
            f"{[len(t) for t in terms]}"
        )
    order = orders.pop()
    factors = [factorial(k) if factorial_scaled else 1 for k in range(1, order + 1)]
    flat = FlatFunction(fun, in_tree)
    given = [
        [scaled(t, 1 / f) for t, f in zip(s, factors, strict=True)] if _moves(x) else None
        for x, s in zip(leaves, terms, strict=True)
    ]
    outs, out_series = jet_flat(flat, leaves, given, order, description=Description(fun, "jet"))
    results = [
        [structural.zeros(aval_of(x)) for _ in factors]
        if s is None
        else [scaled(c, f) for c, f in zip(s, factors, strict=True)]
        for x, s in zip(outs, out_series, strict=True)
    ]
    return flat.out_tree.unflatten(outs), flat.out_tree.unflatten(results)


def _moves(x: Any) -> bool:
    """Whether a value can depend on t."""
    return bool(aval_of(x).to_tangent_aval().dtype != dtypes.float0)


jet2: Final = partial(jet, factorial_scaled=False)
"""`jet` with plain coefficients instead of derivatives."""
