"""Products that each step of a `scan` computes: one product of all steps, outside of the loop.

`gather_products` runs before lowering.  Three kinds leave a loop, where a step gives a product too
little to do:

    in front    x @ w, where w is the same in every step and x is made of the step's rows alone
    behind      x @ w, where the loop itself does not need the result, only its stack
    behind      s' = s + x.T @ y, where nothing else reads s: the sum over steps is a longer
                contraction of stacks of x and y

An LSTM's inputs are the first kind, gradients of its inputs the second, gradients of its weights
the third.  Sums have other roundings, as those of any blocked product.  Stacks that the loop did
not have are bounded by `ROOM`, or by the rows that it has anyway.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pullback.control.jit import split_list
from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from pullback.core.primitive import FIRST_ORDER
from pullback.passes.costs import nbytes
from pullback.passes.inner import with_inner
from pullback.passes.invariants import CHEAP
from pullback.passes.stored_operands import of_stored
from pullback.transforms.batching import batch_jaxpr
from pullback.transforms.dce import dce_jaxpr

__all__ = ["gather_products"]

ROOM: Final = 1 << 26
"""Bytes of new stacks that a loop may have, if it has no more than that in rows."""
TURNS: Final = 4
"""Loops of fewer steps are left alone."""
DEEP: Final = 32
"""A product with shorter rows costs no more than a place for its result."""
TALL: Final = 256
"""A product of so many rows, or so long a contraction, is as fast alone."""
SMALL: Final = 256
"""Elements of a sum that stays in the loop."""

Atom = Var | Literal


def gather_products(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, with products of all steps in place of products in steps.

    >>> gather_products(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    jaxpr = _jaxpr(closed.jaxpr)
    return closed if jaxpr is closed.jaxpr else ClosedJaxpr(jaxpr, closed.consts)


def _jaxpr(jaxpr: Jaxpr) -> Jaxpr:
    """`jaxpr` itself where nothing moves."""
    eqns: list[JaxprEqn] = []
    for eqn in jaxpr.eqns:
        inner = with_inner(eqn, _jaxpr)
        eqns += _loop(inner) if inner.primitive.name == "scan" else [inner]
    same = len(eqns) == len(jaxpr.eqns) and all(map(operator.is_, eqns, jaxpr.eqns))
    return jaxpr if same else jaxpr.replace(eqns=eqns)


def _loop(eqn: JaxprEqn) -> list[JaxprEqn]:
    """A loop, and what has left it."""
    closed = eqn.params["jaxpr"]
    short = eqn.params["length"] < TURNS
    if short or closed.consts or not any(map(_is_product, closed.jaxpr.eqns)):
        return [eqn]
    loop = _Loop(eqn)
    loop.move_results()
    loop.move_rows()
    loop.move_sums()
    return loop.equations()


# --------------------------------------------------------------------------- equations


def _is_product(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name == "dot_general"


def _sizes(eqn: JaxprEqn, side: int) -> tuple[int, int]:
    """The contracted and the free length of an operand of a product."""
    contracted, batch = (axes[side] for axes in eqn.params["dimension_numbers"])
    shape = eqn.invars[side].aval.shape
    free = [n for k, n in enumerate(shape) if k not in contracted and k not in batch]
    return math.prod(shape[k] for k in contracted), math.prod(free)


def _summed(eqn: JaxprEqn, stacks: Sequence[Var], out: Var) -> JaxprEqn:
    """The sum over all steps of products, or of sums over axes, of what is stacked."""
    params = dict(eqn.params)
    if _is_product(eqn):
        (lc, rc), (lb, rb) = params["dimension_numbers"]
        contracted = tuple((0, *(k + 1 for k in axes)) for axes in (lc, rc))
        batch = tuple(tuple(k + 1 for k in axes) for axes in (lb, rb))
        params["dimension_numbers"] = (contracted, batch)
    else:
        params["axes"] = (0, *(k + 1 for k in params["axes"]))
    return eqn.replace(invars=list(stacks), outvars=[out], params=params)


def _in_terms_of(
    closed: ClosedJaxpr, inputs: Sequence[Atom], outs: Sequence[Var]
) -> list[JaxprEqn]:
    """The equations of a jaxpr without constants, on other variables."""
    names: dict[Any, Any] = dict(zip(closed.jaxpr.invars, inputs, strict=True))
    names.update(zip(closed.jaxpr.outvars, outs, strict=True))
    eqns = []
    for eqn in closed.jaxpr.eqns:
        invars = [v if type(v) is Literal else names[v] for v in eqn.invars]
        new = [names.setdefault(v, Var(v.aval)) for v in eqn.outvars]
        eqns.append(eqn.replace(invars=invars, outvars=new))
    return eqns


_MOVES: Final = frozenset(("reshape", "squeeze", "transpose"))
"""Operations that a sum of results commutes with, bit by bit."""


# --------------------------------------------------------------------------- loops


class _Loop:
    """A `scan` while products leave it.

    `stacks` has the arrays outside whose rows are the values of variables of the body, `fixed`
    what is the same in every step.
    """

    def __init__(self, eqn: JaxprEqn) -> None:
        self.eqn, self.length = eqn, eqn.params["length"]
        body = self.body = eqn.params["jaxpr"].jaxpr
        parts = eqn.params["num_consts"], eqn.params["num_carry"]
        consts, self.carry, rows = split_list(body.invars, *parts)
        given, self.init, stacks = split_list(eqn.invars, *parts)
        self.outside: dict[Any, Atom] = dict(zip(consts, given, strict=True))
        self.stacks: dict[Any, Any] = dict(zip(rows, stacks, strict=True))
        self.rows = rows
        self.gone: set[int] = set()
        self.dropped: set[int] = set()
        self.more: list[JaxprEqn] = []
        self.results, self.ys = split_list(body.outvars, parts[1])
        self.outs, self.out_ys = split_list(eqn.outvars, parts[1])
        self.before: list[JaxprEqn] = []
        self.after: list[JaxprEqn] = []
        self.made = {v: e for e in body.eqns for v in e.outvars}
        self.uses = Counter(v for e in body.eqns for v in e.invars if type(v) is Var)
        self.uses.update(v for v in body.outvars if type(v) is Var)
        self.room = max(ROOM, sum(nbytes(v.aval) for v in [*stacks, *self.out_ys]))
        self.fixed: set[Any] = set(consts)
        for e in body.eqns:
            if not e.effects and not any(map(self.varies, e.invars)):
                self.fixed.update(e.outvars)

    # ------------------------------------------------------------------ stacks

    def varies(self, v: Any) -> bool:
        """Whether this may be another value in another step."""
        return type(v) is not Literal and v not in self.fixed

    def takes(self, variables: Iterable[Any]) -> bool:
        """Whether there is room for stacks of these, which then is taken."""
        new = [v for v in dict.fromkeys(variables) if v not in self.stacks and v not in self.ys]
        need = self.length * sum(nbytes(v.aval) for v in new)
        fits = bool(need <= self.room)
        self.room -= need if fits else 0
        return fits

    def new_stack(self, v: Any) -> Var:
        """A variable outside for the values of all steps."""
        return Var(v.aval.update(shape=(self.length, *v.aval.shape)))

    def stack(self, v: Any) -> Any:
        """The values of all steps, as an array behind the loop."""
        if v not in self.stacks:
            if v not in self.ys:
                self.ys.append(v)
                self.out_ys.append(self.new_stack(v))
            self.stacks[v] = self.out_ys[self.ys.index(v)]
        return self.stacks[v]

    def of_all_steps(
        self, eqns: Sequence[JaxprEqn], wanted: Sequence[Var], outs: Sequence[Var]
    ) -> list[JaxprEqn]:
        """Equations of the body, of all steps at once: `outs` are the stacks of `wanted`."""
        inside = {v for e in eqns for v in e.outvars}
        read = dict.fromkeys(v for e in eqns for v in e.invars if type(v) is Var)
        names = [v for v in read if v not in inside]
        inputs = [self.outside[v] if v in self.outside else self.stack(v) for v in names]
        closed = ClosedJaxpr(Jaxpr([], names, wanted, eqns))
        many, _ = batch_jaxpr(closed, self.length, [self.varies(v) for v in names], True)
        return _in_terms_of(many, inputs, outs)

    # ------------------------------------------------------------------ behind the loop

    def small(self, eqn: JaxprEqn) -> Any:
        """The operand that varies of a product with what is fixed, if a step has little to do."""
        if not _is_product(eqn):
            return None
        sides = [side for side in (0, 1) if self.varies(eqn.invars[side])]
        if len(sides) != 1:
            return None
        depth, rows = _sizes(eqn, sides[0])
        return eqn.invars[sides[0]] if depth >= DEEP and rows < TALL else None

    def move_results(self) -> None:
        """Products that nothing but the results of the loop is made of."""
        for v, out in list(zip(self.ys, self.out_ys, strict=True)):
            eqn = self.made.get(v)
            x = None if eqn is None or self.uses[v] != 1 else self.small(eqn)
            if eqn is None or x is None or not any(w in self.outside for w in eqn.invars):
                continue
            if self.takes([x]):
                place = self.ys.index(v)
                del self.ys[place], self.out_ys[place]
                self.gone.add(id(eqn))
                self.after += self.of_all_steps([eqn], [v], [out])

    def move_sums(self) -> None:
        """Products that are only added up, and sums over axes of their operands."""
        terms = [
            self.terms(total, v) if self.uses[v] == 1 else []
            for total, v in zip(self.results, self.carry, strict=True)
        ]
        moved = [t for some in terms for t in some if self.adds_little(t)]
        kept = {v for t in moved for v in self.source(t)[0].invars}
        moved += [t for some in terms for t in some if self.adds_operand(t, kept)]
        for place, some in enumerate(terms):
            chosen = [t for t in some if t in moved]
            if chosen:
                self.move_sum(place, [t for t in some if t not in moved], chosen)

    def terms(self, total: Any, v: Var) -> list[Var]:
        """What a step adds to the carry `v`, if that is all that happens to it."""
        waiting, found, seen = [total], [], False
        while waiting:
            x = waiting.pop()
            eqn = None if type(x) is Literal or self.uses[x] != 1 else self.made.get(x)
            if eqn is not None and eqn.primitive.name in ("add", "add_any"):
                waiting += eqn.invars
            elif x is v:
                seen = True
            else:
                found.append(x)
        return found if seen and total is not v else []

    def source(self, term: Any) -> tuple[Any, list[JaxprEqn]]:
        """The equation that computes a term, and those that move its elements, last one first."""
        moves: list[JaxprEqn] = []
        while (eqn := self.made.get(term)) is not None and self.uses[term] == 1:
            if eqn.primitive.name not in _MOVES:
                return self.of_stored(eqn), moves
            moves.append(eqn)
            term = eqn.invars[0]
        return None, moves

    def of_stored(self, eqn: JaxprEqn) -> JaxprEqn:
        """A product whose operands are not transposed for it, as far as its axes can say so."""
        for side in (0, 1) if _is_product(eqn) else ():
            made = self.made.get(eqn.invars[side])
            if made is not None and made.primitive.name == "transpose":
                eqn = of_stored(eqn, side, made)
        return eqn

    def adds_little(self, term: Any) -> bool:
        """Whether a term is a short product of what there is room to keep."""
        eqn, _ = self.source(term)
        if eqn is None or not _is_product(eqn) or not all(map(self.varies, eqn.invars)):
            return False
        aval = eqn.outvars[0].aval
        large = dtypes.kind_of(aval.dtype) in "fc" and aval.size >= SMALL
        return large and _sizes(eqn, 0)[0] < TALL and self.takes(eqn.invars)

    def adds_operand(self, term: Any, kept: set[Any]) -> bool:
        """Whether a term is a sum over axes of what is kept."""
        eqn, _ = self.source(term)
        return eqn is not None and eqn.primitive.name == "reduce_sum" and eqn.invars[0] in kept

    def move_sum(self, place: int, rest: Sequence[Any], moved: Sequence[Any]) -> None:
        """Add some of the terms of a carry behind the loop."""
        add, now, final = self.made[self.results[place]], self.carry[place], self.outs[place]
        for term in rest:
            before, now = now, Var(now.aval)
            self.more.append(add.replace(invars=[before, term], outvars=[now]))
        self.results[place], self.outs[place] = now, Var(final.aval)
        total: Any = self.outs[place] if rest else self.init[place]
        if not rest:
            self.dropped.add(place)
        for term in moved:
            value, out = self.sum_of_steps(term), final if term is moved[-1] else Var(final.aval)
            self.after.append(add.replace(invars=[total, value], outvars=[out]))
            total = out

    def sum_of_steps(self, term: Var) -> Var:
        """A term of all steps, summed."""
        eqn, moves = self.source(term)
        value = Var(eqn.outvars[0].aval)
        self.after.append(_summed(eqn, list(map(self.stack, eqn.invars)), value))
        for move in reversed(moves):
            out = Var(move.outvars[0].aval)
            self.after.append(move.replace(invars=[value, *move.invars[1:]], outvars=[out]))
            value = out
        return value

    # ------------------------------------------------------------------ in front of the loop

    def move_rows(self) -> None:
        """Products of rows with what is fixed."""
        known, eqns, wanted = set(self.rows), [], []
        for eqn in self.body.eqns:
            read = [v for v in eqn.invars if type(v) is Var]
            ready = all(v in known or v in self.outside for v in read)
            if not ready or eqn.effects or eqn.primitive.partial_eval is not FIRST_ORDER:
                continue
            known.update(eqn.outvars)
            eqns.append(eqn)
            if id(eqn) not in self.gone and self.small(eqn) is not None and self.takes(eqn.outvars):
                wanted += eqn.outvars
        if wanted:
            self.move_in_front(eqns, wanted)

    def move_in_front(self, eqns: Sequence[JaxprEqn], wanted: list[Any]) -> None:
        """Compute variables of the body in front of the loop, from rows; the body reads them."""
        needed = _needed(eqns, wanted)
        rest = [e for e in self.remaining() if not any(v in wanted for v in e.outvars)]
        left = set(map(id, _needed(rest, [*self.results, *self.ys])))
        costly = [e for e in needed if id(e) in left and e.primitive.name not in CHEAP]
        twice = [v for e in costly for v in e.outvars]
        if not self.takes(twice):
            return
        wanted = [*twice, *wanted]
        self.gone.update(id(e) for e in needed if e.outvars[0] in wanted)
        outs = [self.new_stack(v) for v in wanted]
        self.before += self.of_all_steps(needed, wanted, outs)
        self.stacks.update(zip(wanted, outs, strict=True))
        self.rows = [*self.rows, *wanted]

    # ------------------------------------------------------------------ what is left

    def remaining(self) -> list[JaxprEqn]:
        """The equations of the body that have not left."""
        return [e for e in self.body.eqns if id(e) not in self.gone]

    def equations(self) -> list[JaxprEqn]:
        """The loop between what has left it."""
        if not self.before and not self.after:
            return [self.eqn]
        n = self.eqn.params["num_consts"]
        body = self.body.replace(
            invars=[*self.body.invars[:n], *self.carry, *self.rows],
            eqns=[*self.remaining(), *self.more],
            outvars=[*self.results, *self.ys],
        )
        operands = [*self.eqn.invars[:n], *self.init, *(self.stacks[v] for v in self.rows)]
        outs = [*self.outs, *self.out_ys]
        loop = self.eqn.replace(
            invars=operands, outvars=outs, params=self.eqn.params | {"jaxpr": ClosedJaxpr(body)}
        )
        rules: Any = loop.primitive.partial_eval
        _, kept = rules.dce(loop, [place not in self.dropped for place in range(len(outs))])
        loops = [kept] if kept.outvars or kept.effects else []
        return [*self.before, *loops, *self.after]


def _needed(eqns: Sequence[JaxprEqn], wanted: Sequence[Any]) -> list[JaxprEqn]:
    """The equations that some results need."""
    return dce_jaxpr(Jaxpr([], [], wanted, eqns), [True] * len(wanted))[0].eqns
