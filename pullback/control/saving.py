"""Splitting a computation by a policy: what is kept when it runs, and how to run it again.

`split_by_policy` takes the known part of a checkpointed function. It descends into `jit`, `scan`
and `cond`, so that the policy sees what stands inside them: values kept inside a scan are stacked,
and those kept inside a branch have zeros in their place when another branch runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pullback.control.policies import Policy, is_saveable
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import (
    ClosedJaxpr,
    DropVar,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    eval_jaxpr,
    join_effects,
)
from pullback.ops import structural
from pullback.transforms.staging import stage

__all__ = ["PolicySplit", "split_by_policy"]


@dataclass
class PolicySplit:
    """Two programs for the equations of a jaxpr.

    - `forward` computes everything; of its values, `saved` are kept.
    - `again` computes the others from the arguments and the saved values. `same` are results of
      the jaxpr that need no equation then, since they are another variable or a literal.
    """

    policy: Policy | None
    forward: list[JaxprEqn] = field(default_factory=list)
    again: list[JaxprEqn] = field(default_factory=list)
    saved: dict[Var, None] = field(default_factory=dict)
    same: dict[Var, Any] = field(default_factory=dict)

    def atom(self, v: Any) -> Any:
        """What stands for an atom of the jaxpr in `again`."""
        return v if type(v) is Literal else self.same.get(v, v)

    def add(self, eqn: JaxprEqn) -> None:
        """Add one equation to the programs."""
        name = eqn.primitive.name
        if self.policy is not None and name == "jit":
            self._add_jit(eqn)
        elif self.policy is not None and name == "scan":
            self._add_scan(eqn)
        elif self.policy is not None and name == "cond":
            self._add_cond(eqn)
        elif is_saveable(self.policy, eqn.primitive, [v.aval for v in eqn.invars], eqn.params):
            self.forward.append(eqn)
            self.saved.update((v, None) for v in eqn.outvars if type(v) is not DropVar)
        else:
            self.forward.append(eqn)
            self.again.append(eqn.replace(invars=[self.atom(v) for v in eqn.invars]))

    def _add_jit(self, eqn: JaxprEqn) -> None:
        """What is kept inside becomes results of the call."""
        closed: ClosedJaxpr = eqn.params["jaxpr"]
        inner = split_by_policy(closed.jaxpr, self.policy)
        outer, new = _outside(inner, closed.jaxpr.outvars, eqn.outvars, lambda aval: aval)
        self.forward.append(
            eqn.replace(
                outvars=[*eqn.outvars, *[outer[v] for v in new]],
                params=eqn.params | {"jaxpr": _run_forward(closed, inner, new)},
            )
        )
        operands = dict(zip(closed.jaxpr.invars, map(self.atom, eqn.invars), strict=True))
        self.saved.update((outer[v], None) for v in inner.saved)
        kept = self._needed(inner, closed.jaxpr.outvars, eqn.outvars, operands | outer)
        if kept:
            invars = [*inner.saved, *closed.jaxpr.invars]
            body = closed.jaxpr.replace(
                invars=invars,
                outvars=[inner.atom(closed.jaxpr.outvars[i]) for i in kept],
                eqns=inner.again,
                effects=join_effects(inner.again),
            )
            self._again(
                eqn.replace(
                    invars=[*[outer[v] for v in inner.saved], *operands.values()],
                    outvars=[eqn.outvars[i] for i in kept],
                    params=eqn.params | {"jaxpr": ClosedJaxpr(body, closed.consts)},
                )
            )

    def _add_scan(self, eqn: JaxprEqn) -> None:
        """What is kept inside is stacked, and comes in as rows the second time."""
        closed: ClosedJaxpr = eqn.params["jaxpr"]
        length, n = eqn.params["length"], eqn.params["num_carry"]
        inner = split_by_policy(closed.jaxpr, self.policy)
        carry, rows = closed.jaxpr.outvars[:n], closed.jaxpr.outvars[n:]
        out_carry, out_rows = eqn.outvars[:n], eqn.outvars[n:]
        outer, new = _outside(inner, rows, out_rows, lambda a: _stacked(a, length))
        self.forward.append(
            eqn.replace(
                outvars=[*eqn.outvars, *[outer[v] for v in new]],
                params=eqn.params | {"jaxpr": _run_forward(closed, inner, new)},
            )
        )
        self.saved.update((outer[v], None) for v in inner.saved)
        kept = self._needed(inner, rows, out_rows, outer)
        if not (kept or carry):
            return
        body = closed.jaxpr.replace(
            invars=[*closed.jaxpr.invars, *inner.saved],
            outvars=[inner.atom(v) for v in [*carry, *[rows[i] for i in kept]]],
            eqns=inner.again,
            effects=join_effects(inner.again),
        )
        invars = [*map(self.atom, eqn.invars), *[outer[v] for v in inner.saved]]
        self._again(
            eqn.replace(
                invars=invars,
                outvars=[*out_carry, *[out_rows[i] for i in kept]],
                params=eqn.params
                | {
                    "jaxpr": ClosedJaxpr(body, closed.consts),
                    "linear": (False,) * len(invars),
                },
            )
        )

    def _add_cond(self, eqn: JaxprEqn) -> None:
        """What is kept inside a branch becomes results of all of them."""
        branches: tuple[ClosedJaxpr, ...] = eqn.params["branches"]
        inners = [split_by_policy(b.jaxpr, self.policy) for b in branches]
        places = [[Var(v.aval) for v in inner.saved] for inner in inners]
        slots = [v for mine in places for v in mine]
        forward = tuple(
            _branch_forward(b, inner, i, places)
            for i, (b, inner) in enumerate(zip(branches, inners, strict=True))
        )
        again = tuple(
            _branch_again(b, inner, i, places)
            for i, (b, inner) in enumerate(zip(branches, inners, strict=True))
        )
        self.forward.append(
            eqn.replace(outvars=[*eqn.outvars, *slots], params=eqn.params | {"branches": forward})
        )
        self.saved.update((v, None) for v in slots)
        index, *operands = [self.atom(v) for v in eqn.invars]
        self._again(
            eqn.replace(invars=[index, *slots, *operands], params=eqn.params | {"branches": again})
        )

    def _again(self, eqn: JaxprEqn) -> None:
        """Add an equation to the second program, without the operands that it no longer needs."""
        rules: Any = eqn.primitive.partial_eval
        _, kept = rules.dce(eqn, [True] * len(eqn.outvars))
        self.again.append(kept)

    def _needed(
        self, inner: PolicySplit, results: Sequence[Any], outvars: Sequence[Var], known: Any
    ) -> list[int]:
        """The results that an inner program must compute again; notes which the others are."""
        kept = []
        for i, (v, out) in enumerate(zip(results, outvars, strict=True)):
            now = inner.atom(v)
            if out in self.saved:
                continue
            if type(now) is not Literal and now not in known:
                kept.append(i)
            elif type(now) is not Literal:
                self.same[out] = known[now]
            elif out.aval.shape == now.aval.shape:
                self.same[out] = now
            else:  # a literal in every row
                kept.append(i)
        return kept


def _outside(
    inner: PolicySplit, results: Sequence[Any], outvars: Sequence[Var], aval: Callable[[Any], Any]
) -> tuple[dict[Var, Var], list[Var]]:
    """For each value kept inside the variable outside that holds it, and which of them are new."""
    there = {
        v: out
        for v, out in zip(results, outvars, strict=True)
        if type(v) is not Literal and type(out) is not DropVar
    }
    new = [v for v in inner.saved if v not in there]
    return {v: there[v] if v in there else Var(aval(v.aval)) for v in inner.saved}, new


def _run_forward(closed: ClosedJaxpr, inner: PolicySplit, new: Sequence[Var]) -> ClosedJaxpr:
    jaxpr = closed.jaxpr.replace(outvars=[*closed.jaxpr.outvars, *new], eqns=inner.forward)
    return ClosedJaxpr(jaxpr, closed.consts)


def _branch_forward(
    branch: ClosedJaxpr, inner: PolicySplit, number: int, places: Sequence[Sequence[Var]]
) -> ClosedJaxpr:
    """A branch that returns its own kept values, and zeros for those of the others."""
    closed = _run_forward(branch, inner, list(inner.saved))
    n = len(branch.jaxpr.outvars)

    def fun(*args: Any) -> list[Any]:
        outs = eval_jaxpr(closed.jaxpr, closed.consts, *args)
        kept = [
            outs[n:] if i == number else [structural.zeros(v.aval) for v in mine]
            for i, mine in enumerate(places)
        ]
        return [*outs[:n], *[x for part in kept for x in part]]

    return stage(fun, branch.in_avals, description="a branch of cond")


def _branch_again(
    branch: ClosedJaxpr, inner: PolicySplit, number: int, places: Sequence[Sequence[Var]]
) -> ClosedJaxpr:
    """A branch that is given the kept values of all branches, and looks at its own."""
    given = [
        list(inner.saved) if i == number else [Var(v.aval) for v in mine]
        for i, mine in enumerate(places)
    ]
    jaxpr = branch.jaxpr.replace(
        invars=[*[v for part in given for v in part], *branch.jaxpr.invars],
        outvars=[inner.atom(v) for v in branch.jaxpr.outvars],
        eqns=inner.again,
        effects=join_effects(inner.again),
    )
    return ClosedJaxpr(jaxpr, branch.consts)


def _stacked(aval: Any, length: int) -> Any:
    return ShapedArray((length, *aval.shape), aval.dtype, aval.weak_type)


def split_by_policy(jaxpr: Jaxpr, policy: Policy | None) -> PolicySplit:
    """The two programs of `jaxpr` under a policy; None keeps the arguments only."""
    split = PolicySplit(policy)
    for eqn in jaxpr.eqns:
        split.add(eqn)
    return split
