"""`lax`: solvers with derivatives by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.control.custom import Rule
from pullback.control.custom_jvp import custom_jvp_call
from pullback.control.jit import open_consts
from pullback.control.linear_solve import custom_linear_solve
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import Zero, instantiate
from pullback.core.source import describe_function
from pullback.core.trace import EVAL, current_trace
from pullback.ops import elementwise
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand
from pullback.transforms.derivatives import jvp, linearize
from pullback.transforms.staging import stage

__all__ = ["custom_linear_solve", "custom_root"]


def custom_root(
    f: Callable[[Any], Any],
    initial_guess: Any,
    solve: Callable[[Callable[[Any], Any], Any], Any],
    tangent_solve: Callable[[Callable[[Any], Any], Any], Any],
    has_aux: bool = False,
) -> Any:
    """A root of `f`, found by `solve(f, initial_guess)`; differentiable in what `f` closes over.

    `f` maps a pytree to one of the same structure, shapes and dtypes. `tangent_solve(g, y)` solves
    the linear problem `g(x) == y`: for a scalar, `y / g(1.0)`. Reverse mode transposes it: use
    `custom_linear_solve` in it where it iterates. With `has_aux`, `solve` returns a
    pair (root, auxiliary), and the auxiliary part is not differentiated. The derivative does not
    go through the iterations of `solve`: it is that of the implicit function.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> def root(a):
    ...     newton = lambda f, x: lax.fori_loop(0, 9, lambda _, x: x - f(x) / pb.grad(f)(x), x)
    ...     return lax.custom_root(lambda x: x * x - a, a, newton, lambda g, y: y / g(1.0))
    >>> float(root(4.0)), float(pb.grad(root)(4.0))
    (2.0, 0.25)
    """
    for fun in (f, solve, tangent_solve):
        check_callable(fun, "custom_root")
    leaves, guess_tree = tree.flatten(initial_guess)
    for x in leaves:
        check_operand(x, "custom_root", "guess")
    if current_trace() is EVAL:
        return solve(f, initial_guess)
    avals = [aval_of(x) for x in leaves]
    residual, residual_tree = _staged(f, guess_tree, avals)
    if residual_tree != guess_tree or [a.shape for a in residual.out_avals] != [
        a.shape for a in avals
    ]:
        raise TypeError(
            f"custom_root: {describe_function(f)} must return the structure and the shapes of its "
            f"argument; it maps {guess_tree.unflatten(avals)} to "
            f"{residual_tree.unflatten(residual.out_avals)}"
        )
    solver, out_tree = _staged(lambda guess: solve(f, guess), guess_tree, avals)
    root_tree = out_tree.children()[0] if has_aux else out_tree
    if root_tree != guess_tree:
        raise TypeError(
            f"custom_root: {describe_function(solve)} must return a root with the structure of the "
            f"guess, {guess_tree}, got {root_tree}"
        )
    root = _Root(residual, solver, guess_tree, tangent_solve)
    return out_tree.unflatten(root(*root.f_consts, *root.solve_consts, *leaves))


def _staged(
    fun: Callable[[Any], Any], structure: Any, avals: Sequence[Any]
) -> tuple[ClosedJaxpr, Any]:
    in_tree = tree.structure(((structure.unflatten([0] * len(avals)),), {}))
    flat = FlatFunction(fun, in_tree)
    return stage(flat, avals, description=describe_function(fun)), flat.out_tree


class _Root:
    """The root as a function of the constants of `f`, those of the solver, and the guess."""

    def __init__(
        self, residual: ClosedJaxpr, solver: ClosedJaxpr, structure: Any, tangent_solve: Any
    ) -> None:
        self.residual, self.f_consts = open_consts(residual)
        self.solver, self.solve_consts = open_consts(solver)
        self.structure, self.tangent_solve = structure, tangent_solve
        n = len(self.f_consts)
        avals = [*self.residual.in_avals[:n], *self.solver.in_avals]
        self.call_jaxpr = stage(
            lambda *args: eval_jaxpr(self.solver.jaxpr, [], *args[n:]),
            avals,
            description="custom_root",
        )

    def __call__(self, *args: Any) -> list[Any]:
        outs: list[Any] = custom_jvp_call.bind(
            *args,
            name="_custom_root",
            call_jaxpr=self.call_jaxpr,
            jvp=Rule(self.rule, "_root_jvp"),
            num_consts=0,
            symbolic_zeros=False,
        )
        return outs

    def rule(self, *operands: Any) -> list[Any]:
        """The roots, and how they move with the constants of `f`."""
        half = len(operands) // 2
        n, n_root = len(self.f_consts), self.structure.num_leaves
        outs = self(*operands[:half])
        root, aux = outs[:n_root], outs[n_root:]
        consts, dots = operands[:n], operands[half : half + n]

        def f_of_consts(*given: Any) -> list[Any]:
            return eval_jaxpr(self.residual.jaxpr, [], *given, *root)

        def f_of_root(x: Any) -> Any:
            values = eval_jaxpr(self.residual.jaxpr, [], *consts, *tree.leaves(x))
            return self.structure.unflatten(values)

        zeros = [instantiate(Zero(aval_of(x).to_tangent_aval())) for x in aux]
        if not n:
            still = [instantiate(Zero(aval_of(x).to_tangent_aval())) for x in root]
            return [*outs, *still, *zeros]
        _, moved = jvp(f_of_consts, tuple(consts), tuple(dots))
        _, matvec = linearize(f_of_root, self.structure.unflatten(root))
        right = self.structure.unflatten([elementwise.neg(t) for t in moved])
        solution = self.tangent_solve(matvec, right)
        return [*outs, *tree.leaves(solution), *zeros]
