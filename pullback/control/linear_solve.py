"""`custom_linear_solve`: a linear solver whose derivatives are solves with the same matrix.

    A x = b    forward   A dx = db - dA x
               reverse   A' ct_b = ct_x

The equation holds four jaxprs: the product with A and with its transpose, and the two solvers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pullback import tree
from pullback.control.custom import recorded
from pullback.control.jit import open_consts, split_list
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import (
    NO_SAMPLES,
    Linear,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace
from pullback.ops import elementwise
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand
from pullback.transforms.batching import batch_jaxpr, move_batch_axis
from pullback.transforms.jvp import given_tangents, jvp_jaxpr, nonzero_tangents
from pullback.transforms.staging import stage
from pullback.transforms.transpose import backward_pass

__all__ = ["LinearSolve", "custom_linear_solve", "linear_solve"]


class LinearSolve(NamedTuple):
    """One entry for each of the four functions; JAX prints the same names."""

    matvec: Any
    vecmat: Any
    solve: Any
    transpose_solve: Any

    def transposed(self) -> LinearSolve:
        """The same for the transposed matrix."""
        return LinearSolve(self.vecmat, self.matvec, self.transpose_solve, self.solve)


def _split(args: Sequence[Any], lengths: LinearSolve) -> tuple[LinearSolve, list[Any]]:
    """The constants of each function, and the right-hand side."""
    *consts, b = split_list(args, *lengths)
    return LinearSolve(*consts), b


def _run(jaxpr: ClosedJaxpr, consts: Sequence[Any], xs: Sequence[Any]) -> list[Any]:
    return eval_jaxpr(jaxpr.jaxpr, jaxpr.consts, *consts, *xs)


def _bind(jaxprs: LinearSolve, consts: LinearSolve, b: Sequence[Any]) -> list[Any]:
    lengths = LinearSolve(*map(len, consts))
    operands = [x for part in consts for x in part]
    outs: list[Any] = linear_solve.bind(*operands, *b, const_lengths=lengths, jaxprs=jaxprs)
    return outs


def _abstract(*avals: Any, const_lengths: LinearSolve, jaxprs: LinearSolve) -> list[Any]:
    outs: list[Any] = jaxprs.solve.out_avals
    return outs


def _reference(*args: Any, const_lengths: LinearSolve, jaxprs: LinearSolve) -> list[Any]:
    consts, b = _split(args, const_lengths)
    return _run(jaxprs.solve, consts.solve, b)


def _jvp(
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    const_lengths: LinearSolve,
    jaxprs: LinearSolve,
) -> tuple[list[Any], list[Any]]:
    consts, b = _split(primals, const_lengths)
    const_dots, b_dots = _split(tangents, const_lengths)
    outs = _bind(jaxprs, consts, b)
    n = len(b)
    zeros = [Zero(aval_of(x).to_tangent_aval()) for x in outs]
    right = _difference(b_dots, _product_dot(jaxprs.matvec, consts.matvec, const_dots, outs[:n]))
    if all(type(t) is Zero for t in right):
        return outs, list(zeros)
    dots = _bind(jaxprs, consts, [instantiate(t) for t in right])
    return outs, [*dots[:n], *zeros[n:]]


def _product_dot(
    matvec: ClosedJaxpr, consts: Sequence[Any], dots: LinearSolve, x: Sequence[Any]
) -> list[Any]:
    """dA x: how the product with a fixed vector changes with the constants of the matrix."""
    nonzero = nonzero_tangents(dots.matvec)
    if not any(nonzero):
        return [Zero(a.to_tangent_aval()) for a in matvec.out_avals]
    closed, out_nonzero = jvp_jaxpr(matvec, [*nonzero, *[False] * len(x)], force=False)
    given = given_tangents(dots.matvec)
    outs = iter(_run(closed, consts, [*x, *given])[len(x) :])
    return [
        next(outs) if nz else Zero(a.to_tangent_aval())
        for nz, a in zip(out_nonzero, matvec.out_avals, strict=True)
    ]


def _difference(xs: Sequence[Any], ys: Sequence[Any]) -> list[Any]:
    def minus(x: Any, y: Any) -> Any:
        if type(y) is Zero:
            return x
        return elementwise.neg(y) if type(x) is Zero else elementwise.sub(x, y)

    return [minus(x, y) for x, y in zip(xs, ys, strict=True)]


def _transpose(
    cts: Sequence[Any], *args: Any, const_lengths: LinearSolve, jaxprs: LinearSolve
) -> list[Any]:
    consts, b = _split(args, const_lengths)
    if any(type(x) is Linear for part in consts for x in part):
        raise TypeError("custom_linear_solve is linear in the right-hand side alone")
    if jaxprs.transpose_solve is None:
        raise TypeError(
            "reverse-mode differentiation through custom_linear_solve needs transpose_solve, or "
            "symmetric=True"
        )
    n = len(b)
    given = [instantiate(ct) for ct in cts[:n]]
    outs = _bind(jaxprs.transposed(), consts.transposed(), given)
    return [None] * sum(const_lengths) + outs[:n]


def _batch(
    size: int,
    args: Sequence[Any],
    dims: Sequence[int | None],
    *,
    const_lengths: LinearSolve,
    jaxprs: LinearSolve,
) -> tuple[list[Any], list[int | None]]:
    consts, b = _split(args, const_lengths)
    const_dims, b_dims = _split(dims, const_lengths)
    new_jaxprs: list[Any] = []
    new_consts: list[list[Any]] = []
    for jaxpr, values, where in zip(jaxprs, consts, const_dims, strict=True):
        if jaxpr is None:
            new_jaxprs.append(None)
            new_consts.append([])
            continue
        batched = [d is not None for d in where] + [True] * len(b)
        opened, more = open_consts(batch_jaxpr(jaxpr, size, batched, force=True)[0])
        moved = [
            x if d is None else move_batch_axis(x, size, d, 0)
            for x, d in zip(values, where, strict=True)
        ]
        new_jaxprs.append(opened)
        new_consts.append([*more, *moved])
    right = [move_batch_axis(x, size, d, 0) for x, d in zip(b, b_dims, strict=True)]
    outs = _bind(LinearSolve(*new_jaxprs), LinearSolve(*new_consts), right)
    return outs, [0] * len(outs)


def _lower(b: Any, *xs: Any, const_lengths: LinearSolve, jaxprs: LinearSolve) -> list[Any]:
    consts, right = _split(xs, const_lengths)
    results: list[Any] = b.inline(jaxprs.solve, *consts.solve, *right)
    return results


def called(
    args: Sequence[Any], const_lengths: LinearSolve, jaxprs: LinearSolve
) -> tuple[ClosedJaxpr, list[Any]]:
    """The jaxpr that an equation runs, and its operands."""
    consts, b = _split(args, const_lengths)
    return jaxprs.solve, [*consts.solve, *b]


linear_solve: Final[Primitive] = Primitive(
    name="custom_linear_solve",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=recorded(lambda: linear_solve),
    lower=_lower,
    hlo=_lower,
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, jaxprs, **_: jaxprs.solve.effects,
    literals=False,
)


# ------------------------------------------------------------------ for users


def custom_linear_solve(
    matvec: Callable[[Any], Any],
    b: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    transpose_solve: Callable[[Callable[[Any], Any], Any], Any] | None = None,
    symmetric: bool = False,
    has_aux: bool = False,
) -> Any:
    """The x with `matvec(x) == b`, found by `solve(matvec, b)`; derivatives are solves as well.

    `matvec` is linear and maps pytrees like `b` to pytrees like `b`. `transpose_solve(vecmat, b)`
    solves with the transposed matrix; reverse mode needs it, unless the matrix is `symmetric`. With
    `has_aux` the solvers return pairs (x, auxiliary), and the auxiliary part is not differentiated.
    Derivatives with respect to what `matvec` closes over are right as well.

    >>> from pullback import lax
    >>> float(lax.custom_linear_solve(lambda x: 4.0 * x, 2.0, lambda mv, b: b / 4.0))
    0.5
    """
    for fun in (matvec, solve):
        check_callable(fun, "custom_linear_solve")
    leaves, b_tree = tree.flatten(b)
    for x in leaves:
        check_operand(x, "custom_linear_solve", "right-hand side")
    if current_trace() is EVAL:
        return solve(matvec, b)
    avals = [aval_of(x).strip_weak_type() for x in leaves]
    product, product_tree = _staged(matvec, b_tree, avals)
    _check_like("matvec", product_tree, product.out_avals, b_tree, avals)
    opened, consts = open_consts(product)
    solved, out_tree = _staged(lambda y: solve(matvec, y), b_tree, avals)
    x_tree = out_tree.children()[0] if has_aux else out_tree
    _check_like("solve", x_tree, solved.out_avals[: len(avals)], b_tree, avals)
    solver, solver_consts = open_consts(solved)
    transposed, vecmat_consts = opened, consts
    back, back_consts = solver, solver_consts
    if not symmetric:
        transposed = _transposed_product(opened, len(consts), avals)
        back, back_consts = None, []  # type: ignore[assignment]
    if transpose_solve is not None:
        vecmat = _on_trees(transposed, consts, b_tree)
        backwards = transpose_solve
        found, back_tree = _staged(lambda y: backwards(vecmat, y), b_tree, avals)
        x_tree = back_tree.children()[0] if has_aux else back_tree
        _check_like("transpose_solve", x_tree, found.out_avals[: len(avals)], b_tree, avals)
        back, back_consts = open_consts(found)
    outs = _bind(
        LinearSolve(opened, transposed, solver, back),
        LinearSolve(consts, vecmat_consts, solver_consts, back_consts),
        leaves,
    )
    return out_tree.unflatten(outs)


def _staged(fun: Callable[[Any], Any], b_tree: Any, avals: Sequence[Any]) -> tuple[Any, Any]:
    """The jaxpr of a function of a vector, and the structure of its result."""
    in_tree = tree.structure(((b_tree.unflatten([0] * len(avals)),), {}))
    flat = FlatFunction(fun, in_tree)
    return stage(flat, avals, description=describe_function(fun)), flat.out_tree


def _check_like(
    name: str, out_tree: Any, outs: Sequence[Any], b_tree: Any, avals: Sequence[Any]
) -> None:
    if out_tree != b_tree:
        raise TypeError(
            f"custom_linear_solve: {name} must return the structure of b, {b_tree}, got {out_tree}"
        )
    for out, aval in zip(outs, avals, strict=True):
        if out.shape != aval.shape:
            raise TypeError(
                f"custom_linear_solve: {name} must return the types of b, got {out} for {aval}"
            )


def _transposed_product(product: ClosedJaxpr, n_consts: int, avals: Sequence[Any]) -> ClosedJaxpr:
    """The product with the transposed matrix, on the same constants."""
    const_avals = product.in_avals[:n_consts]

    def fun(*args: Any) -> list[Any]:
        ins = [*args[:n_consts], *[Linear(a) for a in avals]]
        outs = backward_pass(product.jaxpr, product.consts, ins, args[n_consts:])
        return [instantiate(ct) for ct in outs[n_consts:]]

    return stage(fun, [*const_avals, *avals], description="the transpose of matvec")


def _on_trees(product: ClosedJaxpr, consts: Sequence[Any], b_tree: Any) -> Callable[[Any], Any]:
    return lambda x: b_tree.unflatten(_run(product, consts, tree.leaves(x)))
