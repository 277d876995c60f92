"""What every turn of a loop would compute again: computed once, in front of the loop.

Moved are expensive operations, and what a product reads, which is stored anyway. Cheap elementwise
ones stay with their readers, where they cost less than reading their result from memory; so do
broadcasts, which would only take memory. A `while` is not moved, since the loop around it may not
run at all, and it may not end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, subjaxprs
from pullback.passes.costs import FREE, nbytes

__all__ = ["CHEAP", "move_out"]

Atom = Var | Literal


class Enclosing(Protocol):
    """The program around a loop, while it is being rewritten."""

    def equation(self, eqn: JaxprEqn, inputs: list[Atom]) -> list[Atom]:
        """The results of an equation on operands of this program."""

    def constant(self, value: Any, aval: Any) -> Atom:
        """A constant as an operand."""


_ARITHMETIC: Final = """
abs add add_any and ceil clamp complex conj eq floor ge gt imag is_finite le lt max min mul ne neg
not or real reduce_precision round shift_left shift_right_arithmetic shift_right_logical sign
square stack stop_gradient sub unstack xor
"""
CHEAP: Final = FREE | frozenset(_ARITHMETIC.split())
"""Operations that cost less than a place for their result."""
_STORES: Final = frozenset(
    ("conv_general_dilated", "dot_general", "fft", "partition", "sort", "triangular_solve")
)
"""Operations that want their operands in memory."""
_STAYS: Final = frozenset(("while", "backwards", "optimization_barrier"))
_LARGEST: Final = 1 << 26
"""Bytes of a result that is larger than its operands, and is kept nevertheless."""


def move_out(
    eqn: JaxprEqn, inputs: Sequence[Atom], program: Enclosing
) -> tuple[JaxprEqn, list[Atom]]:
    """A loop without the work that is the same in every turn, and its operands.

    Equations that leave the loop are handed to `program`.
    """
    if eqn.primitive.name == "scan" and eqn.params["length"] > 1:
        return _scan(eqn, inputs, program)
    if eqn.primitive.name == "while":
        return _while(eqn, inputs, program)
    return eqn, list(inputs)


def _scan(eqn: JaxprEqn, inputs: Sequence[Atom], program: Enclosing) -> tuple[JaxprEqn, list[Atom]]:
    n = eqn.params["num_consts"]
    body, consts = _moved(eqn.params["jaxpr"], inputs[:n], program)
    operands = [*consts, *inputs[n:]]
    params = dict(eqn.params, jaxpr=body, num_consts=len(consts), linear=(False,) * len(operands))
    return eqn.replace(params=params), operands


def _while(
    eqn: JaxprEqn, inputs: Sequence[Atom], program: Enclosing
) -> tuple[JaxprEqn, list[Atom]]:
    params = eqn.params
    n, m = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    cond, cond_consts = _moved(params["cond_jaxpr"], inputs[:n], program)
    body, body_consts = _moved(params["body_jaxpr"], inputs[n:m], program)
    params = params | {
        "cond_jaxpr": cond,
        "cond_nconsts": len(cond_consts),
        "body_jaxpr": body,
        "body_nconsts": len(body_consts),
    }
    return eqn.replace(params=params), [*cond_consts, *body_consts, *inputs[m:]]


def _moved(
    closed: ClosedJaxpr, consts: Sequence[Atom], program: Enclosing
) -> tuple[ClosedJaxpr, list[Atom]]:
    """A body without what moves, and its constants with what has moved."""
    jaxpr = closed.jaxpr
    names = jaxpr.invars[: len(consts)]
    chosen = _chosen(jaxpr, [*names, *jaxpr.constvars])
    if not chosen:
        return closed, list(consts)
    env: dict[Any, Atom] = dict(zip(names, consts, strict=True))
    for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
        env[v] = program.constant(value, v.aval)
    rest, made = [], []
    for number, eqn in enumerate(jaxpr.eqns):
        if number not in chosen:
            rest.append(eqn)
            continue
        operands = [v if type(v) is Literal else env[v] for v in eqn.invars]
        env.update(zip(eqn.outvars, program.equation(eqn, operands), strict=True))
        made += eqn.outvars
    used = {v for e in rest for v in e.invars if type(v) is Var}
    used |= {v for v in jaxpr.outvars if type(v) is Var}
    kept = [v for v in [*jaxpr.constvars, *names, *made] if v in used]
    new = jaxpr.replace(constvars=[], invars=[*kept, *jaxpr.invars[len(consts) :]], eqns=rest)
    return ClosedJaxpr(new, []), [env[v] for v in kept]


def _chosen(jaxpr: Jaxpr, known: Sequence[Var]) -> set[int]:
    """The numbers of the equations that leave the loop."""
    fixed, choice = set(known), _Choice(jaxpr.eqns)
    for number, eqn in enumerate(jaxpr.eqns):
        operands = [v for v in eqn.invars if type(v) is Var]
        if not eqn.effects and fixed.issuperset(operands) and _moves(eqn):
            fixed.update(eqn.outvars)
            choice.add(number, operands)
    if choice.made:
        for eqn in jaxpr.eqns:
            if not fixed.issuperset(eqn.outvars):
                for v in eqn.invars:
                    choice.read(v, eqn.primitive.name in _STORES)
        for v in jaxpr.outvars:
            choice.read(v, False)
    return choice.numbers


class _Choice:
    """Which of the equations that are the same in every turn are worth a place in memory."""

    def __init__(self, eqns: Sequence[JaxprEqn]) -> None:
        self.eqns = eqns
        self.made: dict[Var, int] = {}
        self.worth: set[Var] = set()
        self.numbers: set[int] = set()
        self.seen: set[Var] = set()

    def add(self, number: int, operands: Sequence[Var]) -> None:
        """An equation that may move."""
        eqn = self.eqns[number]
        self.made.update((v, number) for v in eqn.outvars)
        size = max((v.aval.size for v in eqn.outvars), default=0)
        if eqn.primitive.name not in CHEAP or any(
            v in self.worth and 2 * v.aval.size >= size for v in operands
        ):
            self.worth.update(eqn.outvars)

    def read(self, v: Any, stored: bool) -> None:
        """A value that the rest of the loop reads, perhaps from memory only."""
        waiting: list[tuple[Any, bool]] = [(v, stored)]
        while waiting:
            v, moves = waiting.pop()
            number = -1 if type(v) is Literal else self.made.get(v, -1)
            if number < 0 or number in self.numbers or (v in self.seen and not moves):
                continue
            self.seen.add(v)
            eqn = self.eqns[number]
            moves = moves or (v in self.worth and not _only_larger(eqn))
            if moves:
                self.numbers.add(number)
            waiting += [(x, moves) for x in eqn.invars]


def _only_larger(eqn: JaxprEqn) -> bool:
    """Whether a result repeats its operands, or is too large to be kept for them."""
    size = sum(nbytes(v.aval) for v in eqn.outvars)
    given = sum(nbytes(v.aval) for v in eqn.invars)
    if size <= given:
        return False
    return eqn.primitive.name in FREE or size > _LARGEST


def _moves(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name not in _STAYS and all(
        _moves(inner) for jaxpr in subjaxprs(eqn) for inner in jaxpr.eqns
    )
