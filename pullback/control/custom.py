"""`custom_jvp` and `custom_vjp`: functions that bring a derivative rule of their own.

Both are equations that hold the jaxpr of the function and the user's rule; evaluated eagerly with
nothing traced they are plain calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.control.jit import open_consts, split_list
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import (
    FIRST_ORDER,
    NO_SAMPLES,
    PURE,
    Linear,
    NotApplicable,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace
from pullback.errors import PullbackError
from pullback.ops import conversion, reductions
from pullback.transforms.arguments import FlatFunction, check_callable
from pullback.transforms.batching import batch_flat, batch_jaxpr, move_batch_axis
from pullback.transforms.linearize import HigherOrder, PartialTrace
from pullback.transforms.staging import stage

__all__ = ["custom_jvp", "custom_jvp_call", "custom_vjp", "custom_vjp_call"]


class _Rule:
    """A user's rule on flat values, kept in the parameters of an equation."""

    __slots__ = ("fun", "name")

    def __init__(self, fun: Callable[..., Any], name: str) -> None:
        self.fun = fun
        self.name = name

    def __call__(self, *args: Any) -> Any:
        return self.fun(*args)

    def __repr__(self) -> str:
        return self.name


def _inline_lower(b: Any, *xs: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    results: list[Any] = b.inline(call_jaxpr, *xs)
    return results


def _call_abstract(*avals: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return call_jaxpr.out_avals


def _call_reference(*args: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    return eval_jaxpr(call_jaxpr.jaxpr, call_jaxpr.consts, *args)


def _keep_whole(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    return [True] * len(eqn.invars), eqn


def _record_whole(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """Partial evaluation never looks inside: the rule belongs to the whole."""
    outs: list[Any] = trace.record(_primitive_of(params), args, params)
    return outs


def _primitive_of(params: dict[str, Any]) -> Primitive:
    return custom_jvp_call if "jvp_rule" in params else custom_vjp_call


def _batched_operands(
    size: int, args: Sequence[Any], dims: Sequence[int | None]
) -> tuple[list[bool], list[Any]]:
    batched = [d is not None for d in dims]
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None else x
        for x, d in zip(args, dims, strict=True)
    ]
    return batched, moved


def _batched_rule(
    rule: _Rule,
    size: int,
    in_batched: Callable[[int], Sequence[bool]],
    out_batched: Callable[[int], Sequence[bool]],
) -> _Rule:
    """The rule for all lanes at once; batch axes are in front on both sides."""

    def fun(*args: Any) -> list[Any]:
        dims = [0 if b else None for b in in_batched(len(args))]
        outs, out_dims = batch_flat(rule.fun, size, args, dims)
        wanted = out_batched(len(outs))
        return [_to_lanes(x, size, d, b) for x, d, b in zip(outs, out_dims, wanted, strict=True)]

    return _Rule(fun, rule.name)


def _to_lanes(x: Any, size: int, dim: int | None, batched: bool) -> Any:
    if batched:
        return move_batch_axis(x, size, dim, 0)
    if dim is not None:
        raise PullbackError("a custom derivative rule gave a batched result for an unbatched one")
    return x


# ------------------------------------------------------------------ custom_jvp


def _jvp_of_custom_jvp(
    primals: Sequence[Any], tangents: Sequence[Any], *, call_jaxpr: ClosedJaxpr, jvp_rule: _Rule
) -> tuple[list[Any], list[Any]]:
    dots = [instantiate(t) for t in tangents]
    outs = jvp_rule(*primals, *dots)
    n = len(outs) // 2
    return list(outs[:n]), [
        Zero(aval_of(p).to_tangent_aval()) if _is_trivial(t) else t
        for p, t in zip(outs[:n], outs[n:], strict=True)
    ]


def _is_trivial(tangent: Any) -> bool:
    return bool(getattr(tangent, "dtype", None) == dtypes.float0)


def _batch_custom_jvp(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    call_jaxpr: ClosedJaxpr,
    jvp_rule: _Rule,
) -> tuple[list[Any], list[int | None]]:
    batched, moved = _batched_operands(size, args, dims)
    closed, _ = batch_jaxpr(call_jaxpr, size, batched, force=True)
    opened, consts = open_consts(closed)
    n_consts = len(consts)
    rule = _batched_rule(jvp_rule, size, lambda n: batched + batched, lambda n: [True] * n)
    rule = _skip_consts(rule, n_consts, len(args))
    outs = custom_jvp_call.bind(*consts, *moved, call_jaxpr=opened, jvp_rule=rule)
    return outs, [0] * len(outs)


def _skip_consts(rule: _Rule, n_consts: int, n_args: int) -> _Rule:
    """The rule as a function of (consts, args) and their tangents."""
    if n_consts == 0:
        return rule

    def fun(*operands: Any) -> Any:
        _, args, _, dots = split_list(operands, n_consts, n_args, n_consts)
        return rule(*args, *dots)

    return _Rule(fun, rule.name)


custom_jvp_call = Primitive(
    name="custom_jvp_call",
    abstract=_call_abstract,
    reference=_call_reference,
    jvp=_jvp_of_custom_jvp,
    transpose=NotApplicable("transpose of custom_jvp_call", "it is differentiated by its rule"),
    batch=_batch_custom_jvp,
    partial_eval=HigherOrder(_record_whole, _keep_whole),
    lower=_inline_lower,
    hlo=NotApplicable("hlo of custom_jvp_call", "the accelerator backend is not written yet"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, call_jaxpr, **_: call_jaxpr.effects,
    literals=False,
)


class _Custom:
    """What both decorators share: arguments that are not differentiated, and metadata."""

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        check_callable(fun, type(self).__name__)
        functools.update_wrapper(self, fun)  # type: ignore[arg-type]
        self.fun = fun
        self.nondiff_argnums = _as_tuple(nondiff_argnums)
        self.nondiff_argnames = _as_tuple(nondiff_argnames)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _positional(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments by position, keyword ones and defaults included."""
        if not kwargs and not self.nondiff_argnames:
            return list(args)
        signature = inspect.signature(self.fun)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"{describe_function(self.fun)}: keyword-only arguments {sorted(bound.kwargs)} "
                "cannot be passed to a function with a custom derivative rule"
            )
        return list(bound.args)

    def _nondiff_positions(self) -> tuple[int, ...]:
        if not self.nondiff_argnames:
            return self.nondiff_argnums
        names = list(inspect.signature(self.fun).parameters)
        return tuple(sorted({*self.nondiff_argnums, *map(names.index, self.nondiff_argnames)}))

    def _separate(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], list[Any], Callable[..., Any]]:
        """Non-differentiated arguments, the others, and the function of the others."""
        full = self._positional(args, kwargs)
        fixed = [i % len(full) for i in self._nondiff_positions() if -len(full) <= i < len(full)]
        free = [i for i in range(len(full)) if i not in fixed]

        def fun(*given: Any) -> Any:
            values = list(full)
            for i, x in zip(free, given, strict=True):
                values[i] = x
            return self.fun(*values)

        return [full[i] for i in fixed], [full[i] for i in free], fun


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, (int, str)) else tuple(x)


class custom_jvp(_Custom):
    """A function with its own forward-mode rule.

    `defjvp(rule)`: `rule(*nondiff, primals, tangents)` returns the pair of the value and its
    tangent. `defjvps(*rules)` gives one `rule(tangent, ans, *primals)` per argument, or None.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @pb.custom_jvp
    ... def f(x):
    ...     return jnp.sin(x)
    >>> @f.defjvp
    ... def f_jvp(primals, tangents):
    ...     return f(*primals), 2.0 * tangents[0]
    >>> float(pb.grad(f)(1.0))
    2.0
    """

    jvp: Callable[..., Any] | None = None

    def defjvp(self, jvp: Callable[..., Any], symbolic_zeros: bool = False) -> Callable[..., Any]:
        """Set the rule; returns it, for use as a decorator."""
        self.jvp = jvp
        return jvp

    def defjvps(self, *jvps: Callable[..., Any] | None) -> None:
        """Set one rule per argument, each linear in its tangent; None means zero."""
        if self.nondiff_argnums:
            raise TypeError("defjvps cannot be used together with nondiff_argnums; use defjvp")

        def rule(primals: Any, tangents: Any) -> Any:
            ans = self(*primals)
            parts = [j(t, ans, *primals) for j, t in zip(jvps, tangents, strict=True) if j]
            if not parts:
                return ans, tree.map(lambda x: instantiate(Zero(aval_of(x))), ans)
            return ans, functools.reduce(lambda a, b: tree.map(_plus, a, b), parts)

        self.jvp = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is EVAL:
            return self.fun(*args, **kwargs)
        if self.jvp is None:
            raise AttributeError(
                f"the function {describe_function(self.fun)} is decorated with custom_jvp but has "
                "no rule; define one with defjvp"
            )
        nondiff, diff, fun = self._separate(args, kwargs)
        leaves, in_tree = tree.flatten((tuple(diff), {}))
        flat = FlatFunction(fun, in_tree)
        avals = [aval_of(x) for x in leaves]
        closed = stage(flat, avals, description=describe_function(self.fun))
        rule = _Rule(self._flat_rule(nondiff, in_tree, flat.out_tree), "jvp")
        opened, consts = open_consts(closed)
        rule = _skip_consts(rule, len(consts), len(leaves))
        outs = custom_jvp_call.bind(*consts, *leaves, call_jaxpr=opened, jvp_rule=rule)
        return flat.out_tree.unflatten(outs)

    def _flat_rule(self, nondiff: Sequence[Any], in_tree: Any, out_tree: Any) -> Any:
        jvp = self.jvp
        assert jvp is not None

        def rule(*operands: Any) -> list[Any]:
            n = len(operands) // 2
            primals, _ = in_tree.unflatten(operands[:n])
            dots, _ = in_tree.unflatten(operands[n:])
            pair = jvp(*nondiff, primals, dots)
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise TypeError(
                    f"the custom_jvp rule of {describe_function(self.fun)} must return a pair "
                    f"(primals_out, tangents_out), got {pair!r}"
                )
            out, out_structure = tree.flatten(pair[0])
            out_dots, dots_structure = tree.flatten(pair[1])
            if out_structure != out_tree or dots_structure != out_tree:
                raise TypeError(
                    f"the custom_jvp rule of {describe_function(self.fun)} must return values and "
                    f"tangents with the structure of its result, {out_tree}, got {out_structure} "
                    f"and {dots_structure}"
                )
            return [*out, *map(_check_tangent_type, out, out_dots)]

        return rule


def _plus(x: Any, y: Any) -> Any:
    return x + y


def _check_tangent_type(primal: Any, tangent: Any) -> Any:
    expected, actual = aval_of(primal).to_tangent_aval(), aval_of(tangent)
    if expected.dtype == dtypes.float0:
        return instantiate(Zero(expected))
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        if not (actual.weak_type and expected.shape == actual.shape):
            raise TypeError(
                f"a custom derivative rule gave a tangent of type {actual} for a value of type "
                f"{aval_of(primal)}; it must be {expected}"
            )
        return conversion.convert(tangent, expected.dtype)
    return tangent


# ------------------------------------------------------------------ custom_vjp


def _jvp_of_custom_vjp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    call_jaxpr: ClosedJaxpr,
    fwd_rule: _Rule,
    bwd_rule: _Rule,
    num_consts: int,
) -> tuple[list[Any], list[Any]]:
    n_out = len(call_jaxpr.out_avals)
    outs_and_residuals = fwd_rule(*primals)
    outs, residuals = outs_and_residuals[:n_out], outs_and_residuals[n_out:]
    given = [instantiate(t) for t in tangents]
    avals = [aval_of(x).to_tangent_aval() for x in outs]
    keep = [a.dtype != dtypes.float0 for a in avals]
    dots = custom_lin.bind(
        *residuals,
        *given,
        num_residuals=len(residuals),
        bwd_rule=bwd_rule,
        out_avals=tuple(avals),
    )
    out_dots = [d if k else Zero(a) for d, k, a in zip(dots, keep, avals, strict=True)]
    return list(outs), out_dots


def _batch_custom_vjp(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    call_jaxpr: ClosedJaxpr,
    fwd_rule: _Rule,
    bwd_rule: _Rule,
    num_consts: int,
) -> tuple[list[Any], list[int | None]]:
    batched, moved = _batched_operands(size, args, dims)
    closed, _ = batch_jaxpr(call_jaxpr, size, batched, force=True)
    opened, consts = open_consts(closed)
    fwd = _batched_rule(fwd_rule, size, lambda n: batched, lambda n: [True] * n)
    bwd = _batched_bwd(bwd_rule, size, batched)
    n = len(consts)
    outs = custom_vjp_call.bind(
        *consts,
        *moved,
        call_jaxpr=opened,
        fwd_rule=_Rule(lambda *xs: fwd(*xs[n:]), fwd.name),
        bwd_rule=_Rule(lambda *xs: [None] * n + bwd(*xs), bwd.name),
        num_consts=num_consts + n,
    )
    return outs, [0] * len(outs)


def _batched_bwd(rule: _Rule, size: int, batched: Sequence[bool]) -> _Rule:
    """The backward rule for all lanes; cotangents of shared arguments are summed over lanes."""

    def fun(*args: Any) -> list[Any]:
        present: list[bool] = []

        def without_none(*xs: Any) -> list[Any]:
            cts = rule(*xs)
            present[:] = [ct is not None and type(ct) is not Zero for ct in cts]
            return [ct for ct, p in zip(cts, present, strict=True) if p]

        outs, dims = batch_flat(without_none, size, args, [0] * len(args))
        values = iter(zip(outs, dims, strict=True))
        results: list[Any] = []
        for is_present, shared in zip(present, (not b for b in batched), strict=True):
            if not is_present:
                results.append(None)
                continue
            ct, d = next(values)
            ct = move_batch_axis(ct, size, d, 0)
            results.append(sum_lanes(ct) if shared else ct)
        return results

    return _Rule(fun, rule.name)


def sum_lanes(x: Any) -> Any:
    """The sum over the first axis."""
    return reductions.reduce_sum(x, axes=(0,), out_sharding=None)


custom_vjp_call = Primitive(
    name="custom_vjp_call",
    abstract=_call_abstract,
    reference=_call_reference,
    jvp=_jvp_of_custom_vjp,
    transpose=NotApplicable("transpose of custom_vjp_call", "it is differentiated by its rule"),
    batch=_batch_custom_vjp,
    partial_eval=HigherOrder(_record_whole, _keep_whole),
    lower=_inline_lower,
    hlo=NotApplicable("hlo of custom_vjp_call", "the accelerator backend is not written yet"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, call_jaxpr, **_: call_jaxpr.effects,
    literals=False,
)


def _no_forward_mode(*args: Any, **params: Any) -> Any:
    raise TypeError(
        "forward-mode differentiation (jvp, jacfwd, linearize applied as a function) does not work "
        "through a function with custom_vjp, which has a reverse-mode rule only; use custom_jvp"
    )


def _lin_transpose(
    cts: Sequence[Any], *args: Any, num_residuals: int, bwd_rule: _Rule, out_avals: Any
) -> list[Any]:
    residuals, tangents = args[:num_residuals], args[num_residuals:]
    given = [instantiate(ct) for ct in cts]
    results = bwd_rule(*residuals, *given)
    cleaned = [
        None if type(x) is not Linear or ct is None or _is_trivial(ct) else ct
        for x, ct in zip(tangents, results, strict=True)
    ]
    return [None] * num_residuals + cleaned


def _lin_batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    num_residuals: int,
    bwd_rule: _Rule,
    out_avals: Any,
) -> tuple[list[Any], list[int | None]]:
    moved = [move_batch_axis(x, size, d, 0) for x, d in zip(args, dims, strict=True)]
    n = len(args) - num_residuals
    avals = tuple(a.update(shape=(size, *a.shape)) for a in out_avals)
    outs = custom_lin.bind(
        *moved,
        num_residuals=num_residuals,
        bwd_rule=_batched_bwd(bwd_rule, size, [True] * n),
        out_avals=avals,
    )
    return outs, [0] * len(outs)


custom_lin = Primitive(
    name="custom_lin",
    abstract=lambda *avals, out_avals, **_: list(out_avals),
    reference=_no_forward_mode,
    jvp=_no_forward_mode,
    transpose=_lin_transpose,
    batch=_lin_batch,
    partial_eval=FIRST_ORDER,
    lower=_no_forward_mode,
    hlo=NotApplicable("hlo of custom_lin", "it only exists until it is transposed"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=PURE,
    literals=False,
)


class custom_vjp(_Custom):
    """A function with its own reverse-mode rule.

    `defvjp(fwd, bwd)`: `fwd(*args)` returns `(result, residuals)`; `bwd(*nondiff, residuals, ct)`
    returns a tuple with one cotangent (or None for zero) per differentiated argument.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @pb.custom_vjp
    ... def f(x):
    ...     return jnp.sin(x)
    >>> f.defvjp(lambda x: (f(x), x), lambda x, ct: (3.0 * ct,))
    >>> float(pb.grad(f)(1.0))
    3.0
    """

    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Set the rule."""
        self.fwd, self.bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if current_trace() is EVAL:
            return self.fun(*args, **kwargs)
        if self.fwd is None or self.bwd is None:
            raise AttributeError(
                f"the function {describe_function(self.fun)} is decorated with custom_vjp but has "
                "no rule; define one with defvjp"
            )
        full = self._positional(args, kwargs)
        nondiff, diff, fun = self._separate(args, kwargs)
        leaves, in_tree = tree.flatten((tuple(diff), {}))
        flat = FlatFunction(fun, in_tree)
        closed = stage(flat, [aval_of(x) for x in leaves], description=describe_function(self.fun))
        opened, consts = open_consts(closed)
        rules = _VjpRules(self, full, nondiff, in_tree, flat.out_tree, len(consts))
        outs = custom_vjp_call.bind(
            *consts,
            *leaves,
            call_jaxpr=opened,
            fwd_rule=_Rule(rules.fwd, "fwd"),
            bwd_rule=_Rule(rules.bwd, "bwd"),
            num_consts=len(consts),
        )
        return flat.out_tree.unflatten(outs)


class _VjpRules:
    """The user's two functions on flat values; the structure of residuals passes between them."""

    def __init__(
        self,
        owner: custom_vjp,
        full: Sequence[Any],
        nondiff: Sequence[Any],
        in_tree: Any,
        out_tree: Any,
        num_consts: int,
    ) -> None:
        self.owner, self.full, self.nondiff = owner, list(full), list(nondiff)
        self.in_tree, self.out_tree, self.num_consts = in_tree, out_tree, num_consts
        self.residual_tree: Any = None

    def fwd(self, *operands: Any) -> list[Any]:
        """Results followed by residuals."""
        diff, _ = self.in_tree.unflatten(operands[self.num_consts :])
        positions = [i % len(self.full) for i in self.owner._nondiff_positions()]
        values = list(self.full)
        given = iter(diff)
        for i in range(len(values)):
            if i not in positions:
                values[i] = next(given)
        assert self.owner.fwd is not None
        pair = self.owner.fwd(*values)
        where = describe_function(self.owner.fun)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"the forward rule of the custom_vjp function {where} must return a pair "
                f"(result, residuals), got {pair!r}"
            )
        outs, structure = tree.flatten(pair[0])
        if structure != self.out_tree:
            raise TypeError(
                f"the forward rule of the custom_vjp function {where} must return a result with "
                f"the structure {self.out_tree}, got {structure}"
            )
        residuals, self.residual_tree = tree.flatten(pair[1])
        return [*outs, *residuals]

    def bwd(self, *operands: Any) -> list[Any]:
        """Cotangents of constants (none) and of the differentiated arguments."""
        n = self.residual_tree.num_leaves
        residuals = self.residual_tree.unflatten(operands[:n])
        ct = self.out_tree.unflatten(operands[n:])
        assert self.owner.bwd is not None
        cts = self.owner.bwd(*self.nondiff, residuals, ct)
        where = describe_function(self.owner.fun)
        n_args = len(self.in_tree.children()[0].children())
        if isinstance(cts, list):
            cts = tuple(cts)
        if not isinstance(cts, tuple) or len(cts) != n_args:
            raise TypeError(
                f"the backward rule of the custom_vjp function {where} must return a tuple with "
                f"{n_args} cotangents, one for each differentiated argument, got {cts!r}"
            )
        example = self.in_tree.unflatten(range(self.in_tree.num_leaves))[0]
        flat = tree.broadcast_prefix(cts, example, is_leaf=lambda x: x is None)
        return [None] * self.num_consts + list(flat)
