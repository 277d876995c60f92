"""`custom_vjp`: a function that brings its own reverse-mode rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback import config, tree
from pullback.control.custom import (
    CustomFunction,
    Rule,
    SymbolicZero,
    batched_operands,
    batched_rule,
    call_abstract,
    call_reference,
    has_lanes,
    inline_lower,
    is_trivial,
    lanes_of,
    recorded,
    refuse_closed_over,
    to_symbolic,
)
from pullback.control.jit import open_consts
from pullback.control.remat_opt import call_forward
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.axes import batching_axis
from pullback.core.jaxpr import ClosedJaxpr
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
from pullback.core.refs import AbstractRef, unwrapped, wrapped
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace
from pullback.ops import conversion, reductions
from pullback.transforms.arguments import FlatFunction, function_name
from pullback.transforms.batching import batch_flat, batch_jaxpr, move_batch_axis
from pullback.transforms.jvp import nonzero_tangents
from pullback.transforms.staging import stage

__all__ = ["CustomVJPPrimal", "custom_vjp", "custom_vjp_call", "custom_vjp_primal_tree_values"]


def _jvp_of_custom_vjp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    name: str,
    call_jaxpr: ClosedJaxpr,
    fwd: Rule,
    bwd: Rule,
    num_consts: int,
    symbolic_zeros: bool,
    optimize_remat: bool,
) -> tuple[list[Any], list[Any]]:
    refuse_closed_over(tangents[:num_consts], name, "custom_vjp")
    n_out = len(call_jaxpr.out_avals)
    dots = tangents[num_consts:]
    moving = [_is_moving(t, name) for t in dots]
    perturbed = nonzero_tangents(dots) if symbolic_zeros else []
    if optimize_remat:
        outs, residuals = call_forward(name, call_jaxpr, fwd, primals, num_consts, perturbed)
    else:
        results = fwd(*primals[num_consts:], *perturbed)
        outs, residuals = results[:n_out], results[n_out:]
    avals = [aval_of(x).to_tangent_aval() for x in outs]
    keep = [a.dtype != dtypes.float0 for a in avals]
    out_dots = custom_lin.bind(
        *residuals,
        *[instantiate(t) for t, m in zip(dots, moving, strict=True) if m],
        num_residuals=len(residuals),
        bwd=bwd if all(moving) else _picked(bwd, moving),
        out_avals=tuple(avals),
        symbolic_zeros=symbolic_zeros,
    )
    zeros = [Zero(a) for a in avals]
    return list(outs), [d if k else z for d, k, z in zip(out_dots, keep, zeros, strict=True)]


def _is_moving(tangent: Any, name: str) -> bool:
    """Whether an argument can have a tangent: integers have none, nor references, which only the
    rules use."""
    aval = tangent.aval if type(tangent) is Zero else aval_of(tangent)
    if type(aval) is not AbstractRef:
        return bool(aval.dtype != dtypes.float0)
    if type(tangent) is not Zero:
        raise NotImplementedError(
            f"a reference of type {aval}, made within the differentiated function, is an "
            f"argument of the custom_vjp function {name}: make it outside, or pass its value"
        )
    return False


def _picked(rule: Rule, wanted: Sequence[bool]) -> Rule:
    """The backward rule with those cotangents that are wanted."""
    return Rule(
        lambda *args: [ct for ct, w in zip(rule(*args), wanted, strict=True) if w], rule.name
    )


def _batch_custom_vjp(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    call_jaxpr: ClosedJaxpr,
    fwd: Rule,
    bwd: Rule,
    num_consts: int,
    **params: Any,
) -> tuple[list[Any], list[int | None]]:
    batched, moved = batched_operands(size, args, dims)
    closed, _ = batch_jaxpr(call_jaxpr, size, batched, force=True)
    opened, consts = open_consts(closed)
    flags = batched[num_consts:]
    n_out = len(call_jaxpr.out_avals)
    outs = custom_vjp_call.bind(
        *consts,
        *moved,
        call_jaxpr=opened,
        fwd=batched_rule(
            fwd,
            size,
            lambda n: [*flags, *[False] * (n - len(flags))],
            lambda outs: [i < n_out or has_lanes(x) for i, x in enumerate(outs)],
        ),
        bwd=_batched_bwd(bwd, size, flags),
        num_consts=num_consts + len(consts),
        **params,
    )
    return outs, [0] * len(outs)


def _batched_bwd(rule: Rule, size: int, batched: Sequence[bool]) -> Rule:
    """The backward rule for all lanes; cotangents of shared arguments are summed over lanes."""
    axis_name = batching_axis()

    def fun(*args: Any) -> list[Any]:
        present: list[bool] = []

        def without_none(*xs: Any) -> list[Any]:
            cts = rule(*xs)
            present[:] = [ct is not None and type(ct) is not Zero for ct in cts]
            return [ct for ct, p in zip(cts, present, strict=True) if p]

        given, in_dims = lanes_of(args, [has_lanes(x) for x in args])
        outs, dims = batch_flat(without_none, size, given, in_dims, axis_name=axis_name)
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

    return Rule(fun, rule.name)


def sum_lanes(x: Any) -> Any:
    """The sum over the first axis."""
    return reductions.reduce_sum(x, axes=(0,), out_sharding=None)


custom_vjp_call: Final[Primitive] = Primitive(
    name="custom_vjp_call",
    abstract=call_abstract,
    reference=call_reference,
    jvp=_jvp_of_custom_vjp,
    transpose=NotApplicable("transpose of custom_vjp_call", "it is differentiated by its rule"),
    batch=_batch_custom_vjp,
    partial_eval=recorded(lambda: custom_vjp_call),
    lower=inline_lower,
    hlo=inline_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, call_jaxpr, **_: call_jaxpr.effects,
    literals=False,
)


def _no_forward_mode(*args: Any, **params: Any) -> Any:
    raise TypeError(
        "can't apply forward-mode autodiff (jvp) to a custom_vjp function: jvp, jacfwd, and "
        "linearize applied as a function, do not work through what has a reverse-mode rule only; "
        "use custom_jvp"
    )


def _as_array(ct: Any) -> Any:
    """A cotangent as the user's rule gets it: an Array, also where it was a number."""
    if not isinstance(ct, (bool, int, float, complex, np.generic)):
        return ct
    aval = aval_of(ct)
    return conversion.convert_element_type(
        ct, new_dtype=aval.dtype, weak_type=aval.weak_type, sharding=None
    )


def _lin_transpose(
    cts: Sequence[Any],
    *args: Any,
    num_residuals: int,
    bwd: Rule,
    out_avals: Any,
    symbolic_zeros: bool,
) -> list[Any]:
    residuals, tangents = args[:num_residuals], args[num_residuals:]
    given = [_as_array(ct if symbolic_zeros else instantiate(ct)) for ct in cts]
    results = bwd(*residuals, *given)
    cleaned = [
        None if type(x) is not Linear or ct is None or is_trivial(ct) else ct
        for x, ct in zip(tangents, results, strict=True)
    ]
    return [None] * num_residuals + cleaned


def _lin_batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    num_residuals: int,
    bwd: Rule,
    out_avals: Any,
    symbolic_zeros: bool,
) -> tuple[list[Any], list[int | None]]:
    n = len(args) - num_residuals
    shared = [d is None and not has_lanes(x) for x, d in zip(args, dims, strict=True)]
    shared[num_residuals:] = [False] * n
    moved = [
        x if s else move_batch_axis(x, size, d, 0)
        for x, d, s in zip(args, dims, shared, strict=True)
    ]
    avals = tuple(a.update(shape=(size, *a.shape)) for a in out_avals)
    outs = custom_lin.bind(
        *moved,
        num_residuals=num_residuals,
        bwd=_batched_bwd(bwd, size, [True] * n),
        out_avals=avals,
        symbolic_zeros=symbolic_zeros,
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


@dataclass(frozen=True)
class CustomVJPPrimal:
    """An argument of a forward rule with `symbolic_zeros=True`."""

    value: Any
    perturbed: bool


_map: Final = tree.map


def custom_vjp_primal_tree_values(tree: Any) -> Any:
    """The values of a pytree of `CustomVJPPrimal`s.

    >>> custom_vjp_primal_tree_values({"a": CustomVJPPrimal(2.0, True)})
    {'a': 2.0}
    """

    def value(leaf: Any) -> Any:
        if type(leaf) is not CustomVJPPrimal:
            raise TypeError(f"expected a tree of CustomVJPPrimal, got the leaf {leaf!r}")
        return leaf.value

    return _map(value, tree)


class custom_vjp(CustomFunction):
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
    symbolic_zeros = False
    optimize_remat = False

    def defvjp(
        self,
        fwd: Callable[..., Any],
        bwd: Callable[..., Any],
        symbolic_zeros: bool = False,
        optimize_remat: bool = False,
    ) -> None:
        """Set the rule.

        With `symbolic_zeros` the forward rule gets each leaf of its arguments as a
        `CustomVJPPrimal(value, perturbed)`, where `perturbed` says whether it is differentiated,
        and cotangents known to be zero come as `SymbolicZero`. `optimize_remat` says that the
        forward rule may be replaced by the function where its residuals are not used, as in the
        first pass through a checkpointed function.
        """
        self.fwd, self.bwd = fwd, bwd
        self.symbolic_zeros, self.optimize_remat = symbolic_zeros, optimize_remat

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.fwd is None or self.bwd is None:
            raise AttributeError(
                f"No VJP defined for custom_vjp function {function_name(self.fun)} using defvjp."
            )
        if current_trace() is EVAL:
            return self.fun(*args, **kwargs)
        full = self._positional(args, kwargs)
        nondiff, diff, fun = self._separate(args, kwargs)
        leaves, in_tree = tree.flatten((tuple(diff), {}))
        flat = FlatFunction(fun, in_tree)
        closed = stage(flat, [aval_of(x) for x in leaves], description=describe_function(self.fun))
        opened, consts = open_consts(closed)
        rules = _VjpRules(self, full, nondiff, in_tree, flat.out_tree)
        outs = custom_vjp_call.bind(
            *consts,
            *leaves,
            name=function_name(self.fun),
            call_jaxpr=opened,
            fwd=Rule(rules.fwd, function_name(self.fwd)),
            bwd=Rule(rules.bwd, function_name(self.bwd)),
            num_consts=len(consts),
            symbolic_zeros=self.symbolic_zeros,
            optimize_remat=self.optimize_remat,
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
    ) -> None:
        self.owner, self.nondiff = owner, list(nondiff)
        self.positions = {i % len(full) for i in owner._nondiff_positions()}
        # The others come with each call: kept here they would outlive their trace.
        self.full = [x if i in self.positions else None for i, x in enumerate(full)]
        self.in_tree, self.out_tree = in_tree, out_tree
        self.residual_tree: Any = None
        self.in_shapes: list[tuple[int, ...]] = []

    def fwd(self, *operands: Any) -> list[Any]:
        """Results followed by residuals; with symbolic zeros, flags follow the operands."""
        n_leaves = self.in_tree.num_leaves
        leaves, perturbed = operands[:n_leaves], operands[n_leaves:]
        self.in_shapes = [aval_of(x).shape for x in leaves]
        if perturbed:
            leaves = tuple(map(CustomVJPPrimal, leaves, perturbed))
        diff, _ = self.in_tree.unflatten(wrapped(leaves))
        values = list(self.full)
        given = iter(diff)
        for i in range(len(values)):
            if i not in self.positions:
                values[i] = next(given)
        assert self.owner.fwd is not None
        pair = self.owner.fwd(*values)
        where = describe_function(self.owner.fun)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(
                f"Custom VJP fwd rule {function_name(self.owner.fwd)} for function "
                f"{function_name(self.owner.fun)} must produce a pair (list or tuple of length "
                "two) where the first element represents the primal output and the second "
                f"residuals, but got {pair!r} for {where}"
            )
        outs, structure = tree.flatten(pair[0])
        if structure != self.out_tree:
            raise TypeError(
                f"the forward rule of the custom_vjp function {where} must return a result with "
                f"the structure {self.out_tree}, got {structure}"
            )
        residuals, self.residual_tree = tree.flatten(pair[1])
        return unwrapped([*outs, *residuals])

    def bwd(self, *operands: Any) -> list[Any]:
        """Cotangents of the differentiated arguments."""
        n = self.residual_tree.num_leaves
        residuals = self.residual_tree.unflatten(wrapped(operands[:n]))
        ct = self.out_tree.unflatten([to_symbolic(x) for x in operands[n:]])
        assert self.owner.bwd is not None
        cts = self.owner.bwd(*self.nondiff, residuals, ct)
        where = describe_function(self.owner.fun)
        n_args = len(self.in_tree.children()[0].children())
        if isinstance(cts, list):
            cts = tuple(cts)
        if not isinstance(cts, tuple) or len(cts) != n_args:
            raise TypeError(
                "Custom VJP bwd rule must produce an output with the same container (pytree) "
                "structure as the args tuple of the primal function, and in particular must "
                "produce a tuple of length equal to the number of arguments to the primal "
                f"function, {n_args} for {where}, but got {cts!r}"
            )
        flat = tree.flatten_axes(f"cotangents of {where}", self.in_tree.children()[0], cts)
        flat = [None if isinstance(ct, SymbolicZero) else ct for ct in flat]
        if not config.disable_bwd_checks():
            self._check_cotangents(flat, where)
        return flat

    def _check_cotangents(self, cts: Sequence[Any], where: str) -> None:
        for k, (ct, shape) in enumerate(zip(cts, self.in_shapes, strict=True)):
            if ct is None:
                continue
            aval = aval_of(ct)
            if aval.dtype != dtypes.float0 and aval.shape != shape:
                raise ValueError(
                    "Custom VJP bwd rule must produce an output with the same type as the args "
                    f"tuple of the primal function, but at output[{k}] the bwd rule produced an "
                    f"output of type {aval.str_long()} corresponding to an input of shape {shape}, "
                    f"for {where}"
                )
