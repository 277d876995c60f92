"""Jaxpr to jaxpr: the program that the compiler sees.

One walk over the equations inlines calls (jit, custom rules), folds scalars known now, drops
operations that change nothing and computes equal things once; dead code is removed at the end.
Inner jaxprs of loops and branches are simplified in turn; what is the same in every turn of a loop
leaves it (`passes/invariants.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control import linear_solve, refs_discharge
from pullback.core import dtypes
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Literal,
    Var,
    join_effects,
)
from pullback.core.primitive import FIRST_ORDER, Primitive, registry
from pullback.core.refs import has_ref_effects
from pullback.ops import scatter, slicing, structural
from pullback.passes import known_windows
from pullback.passes.fingerprint import Uncacheable, fingerprint
from pullback.passes.invariants import move_out
from pullback.transforms.dce import dce_jaxpr

__all__ = ["simplify"]

_CALLS: Final = {
    "jit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "linear_call": "callee",
    "remat_opt": "fwd_jaxpr",
}
"""Primitives that only apply a jaxpr, and the parameter that holds it."""

Expansion = Callable[[Sequence[Any], dict[str, Any]], ClosedJaxpr]
expansions: Final[dict[Any, Expansion]] = {}
"""Primitives that stand for a program of others: what makes it from avals and parameters."""

Atom = Var | Literal


def _called(eqn: JaxprEqn, inputs: Sequence[Any]) -> tuple[ClosedJaxpr, Sequence[Any]] | None:
    """The jaxpr that an equation only applies, and to what; None if it is no call.

    A checkpointed function stays whole where it computes values a second time: inlined, it would
    be merged with the first time, and nothing were saved.
    """
    name, params = eqn.primitive.name, eqn.params
    if name == "remat2":
        whole = params["differentiated"] and np.any(params["prevent_cse"])
        return None if whole else (ClosedJaxpr(params["jaxpr"], []), inputs)
    if name == "custom_linear_solve":
        return linear_solve.called(inputs, **params)
    expand = expansions.get(eqn.primitive)
    if expand is not None:
        return expand([v.aval for v in inputs], params), inputs
    inner = _CALLS.get(name)
    return None if inner is None else (eqn.params[inner], inputs)


Vector = np.ndarray[Any, Any]
LONGEST: Final = 8
"""Arrays of so many integers may be looked at: the position of a window."""


def simplify(closed: ClosedJaxpr, known: Sequence[Vector | None] = ()) -> ClosedJaxpr:
    """An equivalent program with the same arguments and results; unused constants are dropped.

    `known` are the values of its first arguments, or None.

    >>> from pullback.core.jaxpr import Jaxpr
    >>> simplify(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    if has_ref_effects(closed.effects):
        closed = refs_discharge.discharge(closed, whole=True)[0]
    consts = _Constants()
    walk = _Walk(consts)
    env: dict[Any, Atom] = {v: v for v in closed.jaxpr.invars}
    for v, values in zip(closed.jaxpr.invars, known, strict=False):
        if values is not None:
            walk.vectors[v] = values
    for v, value in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        env[v] = consts.atom(value, v.aval)
    outvars = walk.inline(closed.jaxpr, env)
    jaxpr = closed.jaxpr.replace(
        constvars=list(consts.values),
        eqns=walk.eqns,
        outvars=outvars,
        effects=join_effects(walk.eqns),
    )
    pruned, _ = dce_jaxpr(jaxpr, [True] * len(outvars), keep_invars=True)
    if not consts.values:
        return ClosedJaxpr(pruned)
    used = set(pruned.outvars)
    for eqn in pruned.eqns:
        used.update(eqn.invars)
    kept = {v: c for v, c in consts.values.items() if v in used}
    return ClosedJaxpr(pruned.replace(constvars=list(kept)), list(kept.values()))


class _Constants:
    """The constants of the program, each object once."""

    def __init__(self) -> None:
        self.values: dict[Var, Any] = {}
        self.by_id: dict[int, Var] = {}

    def atom(self, value: Any, aval: Any) -> Var:
        """The variable of a constant."""
        found = self.by_id.get(id(value))
        if found is None:
            found = self.by_id[id(value)] = Var(aval)
            self.values[found] = value
        return found


class _Walk:
    """Rewrites equations one after the other."""

    def __init__(self, consts: _Constants) -> None:
        self.consts = consts
        self.eqns: list[JaxprEqn] = []
        self.known: dict[Any, list[Atom]] = {}
        self.made: dict[Any, JaxprEqn] = {}
        self.alike: dict[Any, dict[bytes, JaxprEqn]] = {}
        self.vectors: dict[Any, Vector] = {}

    def inline(self, jaxpr: Jaxpr, env: dict[Any, Atom]) -> list[Atom]:
        """The results of `jaxpr` in terms of the new program."""
        for eqn in jaxpr.eqns:
            inputs = [v if type(v) is Literal else env[v] for v in eqn.invars]
            outs = self.equation(eqn, inputs)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [v if type(v) is Literal else env[v] for v in jaxpr.outvars]

    def equation(self, eqn: JaxprEqn, inputs: list[Atom]) -> list[Atom]:
        """The results of one equation on new operands."""
        primitive = eqn.primitive
        if not _is_plain(primitive):
            called = _called(eqn, inputs)
            if called is not None:
                return self.call(*called)
            rule = _RULES.get(primitive.name)
            replaced = None if rule is None else rule(self, eqn, inputs)
            if replaced is not None:
                return [replaced]
        folded = _fold(eqn, inputs)
        if folded is not None:
            return [folded]
        return self.shared(eqn, inputs)

    def call(self, closed: ClosedJaxpr, inputs: Sequence[Atom]) -> list[Atom]:
        """Inline a call."""
        jaxpr = closed.jaxpr
        env: dict[Any, Atom] = dict(zip(jaxpr.invars, inputs, strict=True))
        for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
            env[v] = self.constant(value, v.aval)
        return self.inline(jaxpr, env)

    def constant(self, value: Any, aval: Any) -> Atom:
        """A constant of the program."""
        return self.consts.atom(value, aval)

    def vector(self, x: Atom) -> Vector | None:
        """The values of a short array of integers that is known now."""
        aval = x.aval
        shape = getattr(aval, "shape", None)
        if shape is None or len(shape) != 1 or shape[0] > LONGEST or aval.dtype.kind != "i":
            return None
        if shape[0] == 0:
            return np.zeros(0, np.int64)
        found = self.vectors.get(x)
        if found is None and x in self.consts.values:
            found = self.vectors[x] = np.asarray(self.consts.values[x])
        return found

    def earlier(self, key: Any, outs: list[Atom]) -> list[Atom]:
        """The results of an equal equation made before; else `outs`, which later ones will find."""
        try:
            return self.known.setdefault(key, outs)
        except TypeError:  # a parameter that cannot be hashed
            return outs

    def shared(self, eqn: JaxprEqn, inputs: list[Atom]) -> list[Atom]:
        """The results of an equal equation made before, or of a new one."""
        outs: list[Atom] = []
        found = outs if eqn.effects else self.earlier(_identity(eqn, inputs), outs)
        if found is not outs:
            return found
        primitive, params = eqn.primitive, eqn.params
        if primitive.partial_eval is not FIRST_ORDER:
            known = known_windows.known_operands(eqn, [self.vector(x) for x in inputs])
            params = {name: _inner(value, known.get(name, ())) for name, value in params.items()}
            params |= _IRRELEVANT.get(primitive.name, {})
            eqn, inputs = move_out(eqn.replace(params=params), inputs, self)
            params = eqn.params
        fresh = [Var(v.aval) for v in eqn.outvars]
        new = JaxprEqn(inputs, fresh, primitive, params, eqn.effects, eqn.source_info)
        first = self.twin(new) if primitive.name in _CONTROL and not eqn.effects else new
        outs.extend(first.outvars)
        if first is new:
            self.eqns.append(new)
            for v in fresh:
                self.made[v] = new
        return outs

    def twin(self, eqn: JaxprEqn) -> JaxprEqn:
        """The first of equal loops or branches; their bodies may be different objects.

        A function that is traced twice has two bodies. They are digested only where the operands
        are the same; the first of such loops is digested when the second comes.
        """
        alike = self.alike.setdefault((eqn.primitive, _atoms_identity(eqn.invars)), {})
        if not alike:
            alike[_NOT_YET] = eqn
            return eqn
        try:
            if _NOT_YET in alike:
                first = alike.pop(_NOT_YET)
                alike[_digest(first)] = first
            return alike.setdefault(_digest(eqn), eqn)
        except Uncacheable:
            return eqn


@functools.cache
def _is_plain(primitive: Primitive) -> bool:
    """Whether an equation of this primitive is neither a call nor anything that may be dropped."""
    special = ("remat2", "custom_linear_solve", *_CALLS, *_RULES)
    return primitive.name not in special and primitive not in expansions


_CONTROL: Final = frozenset(("cond", "scan", "while"))
"""Primitives whose equal uses are found by the text of their bodies (`_Walk.twin`)."""
_NOT_YET: Final = b""
"""In place of a digest that nobody has asked for."""

_IRRELEVANT: Final[dict[str, dict[str, Any]]] = {"remat2": {"policy": None}}
"""Parameters that code does not depend on: what the policy says is already done."""


def _inner(value: Any, known: Sequence[Vector | None]) -> Any:
    if isinstance(value, ClosedJaxpr):
        return simplify(value, known)
    if isinstance(value, Jaxpr):
        closed = simplify(ClosedJaxpr(value, []), known)
        return value if closed.consts else closed.jaxpr
    if isinstance(value, tuple) and any(isinstance(x, ClosedJaxpr) for x in value):
        return tuple(simplify(x, known) for x in value)
    return value


def _identity(eqn: JaxprEqn, inputs: Sequence[Atom]) -> Any:
    """Equal for equations with equal results, where it can be hashed."""
    params = eqn.params
    atoms = _atoms_identity(inputs)
    return eqn.primitive, tuple(sorted(params.items())) if params else (), atoms


def _atoms_identity(atoms: Sequence[Atom]) -> tuple[Any, ...]:
    return tuple([_literal_identity(v) if type(v) is Literal else v for v in atoms])


def _digest(eqn: JaxprEqn) -> bytes:
    """Equal for equations that do the same with the same operands."""
    operands = dict.fromkeys(v for v in eqn.invars if type(v) is not Literal)
    return fingerprint(Jaxpr([], list(operands), eqn.outvars, [eqn]))


def _literal_identity(atom: Literal) -> Any:
    """Equal for literals of one type and the same bits."""
    value = atom.val
    if type(value) is float and value:  # the two zeros are equal as numbers
        return value, atom.aval
    return _literal_array(atom).tobytes(), atom.aval


def _literal_array(atom: Literal) -> np.ndarray[Any, Any]:
    return np.asarray(atom.val, dtypes.physical(atom.aval.dtype))


def _fold(eqn: JaxprEqn, inputs: Sequence[Atom]) -> Literal | None:
    """The value of an equation of scalars that are all known."""
    for v in inputs:
        if type(v) is not Literal:
            return None
    if eqn.primitive.multiple_results or eqn.effects or not inputs:
        return None
    aval = eqn.outvars[0].aval
    if aval.shape != () or eqn.primitive.partial_eval is not FIRST_ORDER:
        return None
    if isinstance(aval.dtype, KeyDtype):
        return None
    arrays = [_literal_array(v) for v in inputs if type(v) is Literal]
    with np.errstate(all="ignore"):
        value = eqn.primitive.reference(*arrays, **eqn.params)
    return Literal(np.asarray(value, aval.dtype), aval)


# ------------------------------------------------------------------ operations that change nothing


def _same_type(eqn: JaxprEqn, x: Atom) -> bool:
    aval = eqn.outvars[0].aval
    return bool(aval.shape == x.aval.shape and aval.dtype == x.aval.dtype)


def _if_same_type(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    """Reshapes, broadcasts and conversions to the type that the operand has."""
    x = inputs[0]
    if len(inputs) != 1 or not _same_type(eqn, x) or eqn.params.get("dimensions"):
        return None
    return x


def _broadcast(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    dims = tuple(eqn.params["broadcast_dimensions"])
    in_order = dims == tuple(range(len(dims)))
    return inputs[0] if len(inputs) == 1 and in_order and _same_type(eqn, inputs[0]) else None


def _transpose(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    permutation = tuple(eqn.params["permutation"])
    if permutation == tuple(range(len(permutation))):
        return inputs[0]
    before = walk.made.get(inputs[0])
    if before is not None and before.primitive.name == "transpose":
        first = before.params["permutation"]
        if all(first[p] == i for i, p in enumerate(permutation)):
            return before.invars[0]  # type: ignore[no-any-return]
    return None


def _times_one(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    for one, other in ((inputs[1], inputs[0]), (inputs[0], inputs[1])):
        if type(one) is Literal and _same_type(eqn, other) and _literal_array(one) == 1:
            return other
    return None


def _by_one(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    x, y = inputs
    if type(y) is Literal and _same_type(eqn, x) and _literal_array(y) == 1:
        return x
    return None


def _passes_through(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    return inputs[0]


def _is_zero(walk: _Walk, x: Atom) -> bool:
    """Whether an array is known to be zeros."""
    made = walk.made.get(x)
    if made is None or made.primitive is not structural.broadcast_in_dim:
        return False
    value = made.invars[0]
    return type(value) is Literal and not _literal_array(value).any()


def _sum(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    """`x` plus an array that is zero but for a part: the part of `x` is updated.

    Such sums come from reads of a part under reverse mode. In a loop that carries `x` the update is
    made in place, and costs what the part costs.
    """
    for x, y in (inputs, inputs[::-1]):
        made = walk.made.get(y)
        if made is None or not _same_type(eqn, x) or not _is_zero(walk, made.invars[0]):
            continue
        if made.primitive is scatter.scatter_add:
            return walk.shared(made, [x, *made.invars[1:]])[0]
        if made.primitive is slicing.dynamic_update_slice:
            return _part_added(walk, eqn, x, made)
    return None


def _part_added(walk: _Walk, eqn: JaxprEqn, x: Atom, made: JaxprEqn) -> Atom:
    _, part, *starts = made.invars
    shape = part.aval.shape

    def new(primitive: Any, like: JaxprEqn, inputs: list[Atom], aval: Any, **params: Any) -> Atom:
        fresh = like.replace(primitive=primitive, params=params, invars=inputs, outvars=[Var(aval)])
        return walk.shared(fresh, inputs)[0]

    aval = x.aval.update(shape=shape)
    now = new(slicing.dynamic_slice, made, [x, *starts], aval, slice_sizes=shape)
    total = new(eqn.primitive, eqn, [now, part], aval)
    return walk.shared(made, [x, total, *starts])[0]


def _updated(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    """One window that a scatter changes at a known place; sums with zeros are `_sum`'s."""
    if len(inputs) != 3 or _is_zero(walk, inputs[0]):
        return None

    def apply(name: str, operands: Sequence[Atom], aval: Any, params: dict[str, Any]) -> Atom:
        atoms = list(operands)
        fresh = eqn.replace(
            primitive=registry[name], params=params, invars=atoms, outvars=[Var(aval)]
        )
        return walk.shared(fresh, atoms)[0]

    return known_windows.updated(eqn, inputs, walk.vector(inputs[1]), apply)


def _power(walk: _Walk, eqn: JaxprEqn, inputs: Sequence[Atom]) -> Atom | None:
    """A second power is a square, which passes know as cheap."""
    if eqn.params["y"] != 2:
        return None
    return walk.shared(eqn.replace(primitive=registry["square"], params={}), list(inputs))[0]


_Rule = Callable[[_Walk, JaxprEqn, Sequence[Atom]], "Atom | None"]

_RULES: Final[dict[str, _Rule]] = {
    "add_any": _sum,
    "broadcast_in_dim": _broadcast,
    "convert_element_type": _if_same_type,
    "copy": _passes_through,
    "div": _by_one,
    "integer_pow": _power,
    "mul": _times_one,
    "name": _passes_through,
    "reshape": _if_same_type,
    "squeeze": _if_same_type,
    "transpose": _transpose,
    **dict.fromkeys(known_windows.UPDATES, _updated),
}
