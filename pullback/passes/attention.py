"""Attention found in jaxprs: two products with a softmax between them become one operation.

`fuse_attention` runs before lowering.  What it looks for, from the second product backwards:

    dot_general(w, v)         w = p / sum(p), p = exp(x - max(x)), over one axis, that of the keys
    x                         scores times numbers, perhaps where(j <= i + n, scores, number)
    scores                    dot_general(q, k), with the axes of keys free in one operand only

with axes moved, and axes of extent 1 added and removed, anywhere in between.  It is left alone
where one of the large arrays is used elsewhere, as derivatives do, and where scores are few.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from pullback.core.jaxpr import Var as Variable
from pullback.ops.attention import WIDEST, Layout, attention
from pullback.passes.inner import with_inner
from pullback.transforms.dce import dce_jaxpr

__all__ = ["fuse_attention"]

SCORES: Final = 1 << 18
LANE: Final = 1 << 16
"""Fewer scores stay in a cache, and so few of a lane are one block."""
HIDDEN: Final = -1e4
"""What a score is replaced by is at most so much if it is to hide it."""
Labels = tuple[Any, ...]
"""A name for each axis of an array, None for those of extent 1."""


class _NoMatch(Exception):
    """The equations are something else."""


def _need(condition: object) -> None:
    if not condition:
        raise _NoMatch


# --------------------------------------------------------------------------- programs


def fuse_attention(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, with `attention` where it was spelled out.

    >>> fuse_attention(ClosedJaxpr(Jaxpr([], [], [], []), [])).jaxpr.eqns
    []
    """
    jaxpr = _jaxpr(closed.jaxpr)
    return closed if jaxpr is closed.jaxpr else ClosedJaxpr(jaxpr, closed.consts)


def _jaxpr(jaxpr: Jaxpr) -> Jaxpr:
    """`jaxpr` itself where nothing is found."""
    graph = _Graph(jaxpr)
    eqns = [_equation(graph, eqn) for eqn in jaxpr.eqns]
    if all(new is old for new, old in zip(eqns, jaxpr.eqns, strict=True)):
        return jaxpr
    found = jaxpr.replace(eqns=eqns)
    return dce_jaxpr(found, [True] * len(jaxpr.outvars), keep_invars=True)[0]


def _equation(graph: _Graph, eqn: JaxprEqn) -> JaxprEqn:
    if eqn.primitive.name == "dot_general":
        for side in (0, 1):
            try:
                return _Match(graph, eqn, side).equation()
            except _NoMatch:
                continue
        return eqn
    return with_inner(eqn, _jaxpr)


class _Graph:
    """Where the variables of a jaxpr come from, and how often they are used."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.made = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
        self.uses: dict[Any, int] = {}
        for atom in (*(v for eqn in jaxpr.eqns for v in eqn.invars), *jaxpr.outvars):
            if type(atom) is Variable:
                self.uses[atom] = self.uses.get(atom, 0) + 1

    def eqn(self, atom: Any, *names: str) -> JaxprEqn:
        """The equation that makes a variable, of one of these primitives."""
        eqn = None if type(atom) is Literal else self.made.get(atom)
        if eqn is None or (names and eqn.primitive.name not in names):
            raise _NoMatch
        return eqn

    def number(self, atom: Any) -> float:
        """The one number that an array consists of."""
        if type(atom) is not Literal:
            return self.number(self.eqn(atom, "broadcast_in_dim").invars[0])
        value = np.asarray(atom.val)
        _need(value.size == 1)
        return float(value.reshape(()))

    def through(self, atom: Any, labels: Labels) -> tuple[Any, Labels] | None:
        """The operand of an operation that only moves or adds axes, and its labels."""
        eqn = None if type(atom) is Literal else self.made.get(atom)
        back = None if eqn is None else _VIEWS.get(eqn.primitive.name)
        if eqn is None or back is None:
            return None
        source = eqn.invars[0]
        found = back(eqn, source.aval.shape, labels)
        return source, tuple(
            None if n == 1 else label for n, label in zip(source.aval.shape, found, strict=True)
        )

    def source(self, atom: Any, labels: Labels) -> tuple[Any, Labels]:
        """What an array is a view of."""
        while (further := self.through(atom, labels)) is not None:
            atom, labels = further
        return atom, labels


# --------------------------------------------------------------------------- views


def _transposed(eqn: JaxprEqn, shape: Sequence[int], labels: Labels) -> Labels:
    permutation = eqn.params["permutation"]
    return tuple(labels[permutation.index(axis)] for axis in range(len(shape)))


def _spread(eqn: JaxprEqn, shape: Sequence[int], labels: Labels) -> Labels:
    return tuple(labels[axis] for axis in eqn.params["broadcast_dimensions"])


def _respelled(eqn: JaxprEqn, shape: Sequence[int], labels: Labels) -> Labels:
    """Reshapes that add and remove axes of extent 1."""
    new = eqn.outvars[0].aval.shape
    _need([n for n in shape if n != 1] == [n for n in new if n != 1])
    rest = iter([label for n, label in zip(new, labels, strict=True) if n != 1])
    return tuple(None if n == 1 else next(rest) for n in shape)


def _unchanged(eqn: JaxprEqn, shape: Sequence[int], labels: Labels) -> Labels:
    return labels


_VIEWS: Final[dict[str, Callable[[JaxprEqn, Sequence[int], Labels], Labels]]] = {
    "broadcast_in_dim": _spread,
    "reshape": _respelled,
    "squeeze": _respelled,
    "stop_gradient": _unchanged,
    "transpose": _transposed,
}


# --------------------------------------------------------------------------- masks


@dataclass(frozen=True)
class _Index:
    """A whole number: a sum of indices of axes times numbers, and a number."""

    terms: dict[Any, int]
    constant: int

    def plus(self, other: _Index, sign: int = 1) -> _Index:
        """The sum, or the difference."""
        terms = dict(self.terms)
        for label, number in other.terms.items():
            terms[label] = terms.get(label, 0) + sign * number
        kept = {label: number for label, number in terms.items() if number}
        return _Index(kept, self.constant + sign * other.constant)


def _index(graph: _Graph, atom: Any, labels: Labels) -> _Index:
    """An array of whole numbers by its element."""
    _need(atom.aval.dtype in (dtypes.int32, dtypes.int64))
    if type(atom) is Literal:
        return _Index({}, int(np.asarray(atom.val)))
    further = graph.through(atom, labels)
    if further is not None:
        return _index(graph, *further)
    eqn = graph.eqn(atom, "iota", "add", "sub", "convert_element_type")
    if eqn.primitive.name == "iota":
        label = labels[eqn.params["dimension"]]
        return _Index({} if label is None else {label: 1}, 0)
    parts = [_index(graph, v, labels if v.aval.shape else ()) for v in eqn.invars]
    return (
        parts[0]
        if len(parts) == 1
        else parts[0].plus(parts[1], 1 if eqn.primitive.name == "add" else -1)
    )


_COMPARISONS: Final = {"ge": (1, 0), "gt": (1, -1), "le": (-1, 0), "lt": (-1, -1)}
"""`a - b` times the first number, plus the second, is not negative where the comparison holds."""


def _predicate(graph: _Graph, atom: Any, labels: Labels) -> _Index:
    """A number that is not negative where an array of booleans is true."""
    further = graph.through(atom, labels)
    if further is not None:
        return _predicate(graph, *further)
    eqn = graph.eqn(atom, "select_n", "not", *_COMPARISONS)
    name = eqn.primitive.name
    if name == "not":
        return _negated(_predicate(graph, eqn.invars[0], labels))
    if name == "select_n":
        which, *cases = eqn.invars
        numbers = [graph.number(x) for x in cases]
        _need(numbers in ([0.0, 1.0], [1.0, 0.0]))
        found = _predicate(graph, which, labels)
        return found if numbers[1] else _negated(found)
    sign, more = _COMPARISONS[name]
    a, b = (_index(graph, v, labels if v.aval.shape else ()) for v in eqn.invars)
    difference = a.plus(b, -1) if sign > 0 else b.plus(a, -1)
    return difference.plus(_Index({}, more))


def _negated(index: _Index) -> _Index:
    return _Index({}, -1).plus(index, -1)


# --------------------------------------------------------------------------- the whole


_SUMMED: Final = "summed"
_COLUMNS: Final = "columns"


@dataclass(frozen=True)
class _Operand:
    """An operand of a product, the names of its axes, and those of the axes that are free."""

    array: Any
    names: dict[int, Any]
    free: list[Any]

    def axis(self, name: Any) -> int:
        """The axis of this name."""
        return next(a for a, n in self.names.items() if n == name)

    def axes(self, names: Sequence[Any]) -> tuple[int, ...]:
        """The axes of these names."""
        return tuple(map(self.axis, names))


class _Match:
    """Attention that ends in a product whose operand `side` are the weights."""

    def __init__(self, graph: _Graph, last: JaxprEqn, side: int) -> None:
        self.graph, self.last, self.side = graph, last, side
        self.scale, self.fill = 1.0, -math.inf
        self.mask: _Index | None = None
        weights = last.invars[side]
        _need(weights.aval.dtype in (dtypes.float32, dtypes.float64))
        _need(all(v.aval.dtype == weights.aval.dtype for v in (*last.invars, *last.outvars)))
        labels = tuple(None if n == 1 else a for a, n in enumerate(weights.aval.shape))
        self.labels = labels
        scores, at = self.softmax(*self.single(weights, labels))
        self.first, self.at = self.scores(scores, at)

    def once(self, atom: Any, uses: int = 1) -> None:
        """Nothing but what is found here may use a large array."""
        _need(self.graph.uses.get(atom) == uses)

    def single(self, atom: Any, labels: Labels) -> tuple[Any, Labels]:
        """What an array is a view of, if nothing else uses any of them."""
        self.once(atom)
        while (further := self.graph.through(atom, labels)) is not None:
            _need(further[0].aval.size == atom.aval.size)
            atom, labels = further
            self.once(atom)
        return atom, labels

    def reduced(self, atom: Any, name: str, of: Any, labels: Labels) -> None:
        """`atom` has to be the sum or the maximum of `of` over the keys, spread out again."""
        atom, at = self.graph.source(atom, labels)
        if name == "reduce_max" and self.graph.eqn(atom).primitive.name == "max":
            highest = self.graph.eqn(atom)
            lowest = [v for v in highest.invars if type(v) is Literal]
            _need(len(lowest) == 1 and self.graph.number(lowest[0]) == -math.inf)
            (rest,) = [v for v in highest.invars if type(v) is not Literal]
            atom, at = self.graph.source(rest, at)
        eqn = self.graph.eqn(atom, name)
        axes = eqn.params["axes"]
        _need(eqn.invars[0] is of)
        _need(at == tuple(label for a, label in enumerate(labels) if a not in axes))
        keys = {labels[a] for a in axes} - {None}
        _need(len(keys) == 1)
        (self.keys,) = keys

    def softmax(self, weights: Any, labels: Labels) -> tuple[Any, Labels]:
        """The operand of a softmax, and the labels of its axes."""
        powers, total = self.graph.eqn(weights, "div").invars
        self.reduced(total, "reduce_sum", powers, labels)
        keys = self.keys
        self.once(powers, 2)
        difference = self.graph.eqn(powers, "exp").invars[0]
        self.once(difference)
        scores, largest = self.graph.eqn(difference, "sub").invars
        self.reduced(largest, "reduce_max", scores, labels)
        _need(self.keys == keys)
        self.once(scores, 2)
        return scores, labels

    def scores(self, atom: Any, labels: Labels) -> tuple[JaxprEqn, Labels]:
        """The product that the scores come from, and the labels of its result."""
        while True:
            eqn = self.graph.eqn(atom)
            name = eqn.primitive.name
            if name == "dot_general":
                _need(all(v.aval.dtype == atom.aval.dtype for v in eqn.invars))
                return eqn, labels
            if name in ("mul", "div"):
                atom = self.scaled(eqn)
            elif name == "select_n":
                atom = self.masked(eqn, labels)
            else:
                further = self.graph.through(atom, labels)
                _need(further is not None and further[0].aval.size == atom.aval.size)
                assert further is not None
                atom, labels = further
            self.once(atom)

    def scaled(self, eqn: JaxprEqn) -> Any:
        """The factor that is no number."""
        x, y = eqn.invars
        try:
            number = self.graph.number(y)
        except _NoMatch:
            _need(eqn.primitive.name == "mul")
            x, number = y, self.graph.number(x)
        _need(eqn.primitive.name == "mul" or number != 0)
        self.scale *= number if eqn.primitive.name == "mul" else 1 / number
        return x

    def masked(self, eqn: JaxprEqn, labels: Labels) -> Any:
        """The scores, some of which another number replaces."""
        _need(self.mask is None and len(eqn.invars) == 3)
        which, no, yes = eqn.invars
        _need(which.aval.shape == no.aval.shape)
        found = _predicate(self.graph, which, labels)
        try:
            fill, scores = self.graph.number(no), yes
        except _NoMatch:
            fill, scores, found = self.graph.number(yes), no, _negated(found)
        self.mask, self.fill = found, fill * self.scale
        _need(self.fill <= HIDDEN)
        return scores

    # ------------------------------------------------------------------------ axes

    def rows(self, free: list[Any]) -> tuple[Any, int]:
        """The label of the rows, and by how much keys that a row sees may be behind it."""
        extents = dict(zip(self.labels, self.last.invars[self.side].aval.shape, strict=True))
        if self.mask is None:
            _need(free)
            return max(free, key=lambda label: extents[label]), extents[self.keys]
        for label in free:
            if self.mask.terms == {label: 1, self.keys: -1}:
                return label, self.mask.constant
        raise _NoMatch

    def operands(self) -> tuple[_Operand, _Operand]:
        """The operands of the first product, that of the queries first."""
        sums, lanes = self.first.params["dimension_numbers"]
        rest = iter(self.at[len(lanes[0]) :])
        found = []
        for x, summed, shared in zip(self.first.invars, sums, lanes, strict=True):
            _need(len(summed) == 1)
            names = dict(zip(shared, self.at, strict=False))
            names |= {a: next(rest) for a in range(x.aval.ndim) if a not in (*summed, *shared)}
            free = [n for a, n in names.items() if a not in shared and n is not None]
            found.append(_Operand(x, names | {summed[0]: _SUMMED}, free))
        left, right = found
        if left.free == [self.keys]:
            left, right = right, left
        _need(right.free == [self.keys])
        return left, right

    def values(self, lanes: list[Any]) -> _Operand:
        """The other operand of the last product; what is free is the axis of the columns."""
        v = self.last.invars[1 - self.side]
        sums, shared = self.last.params["dimension_numbers"]
        _need({self.labels[a] for a in sums[self.side]} - {None} == {self.keys})
        _need({self.labels[a] for a in shared[self.side]} - {None} == set(lanes))
        names: dict[int, Any] = {}
        for pair in (sums, shared):
            names |= {
                b: self.labels[a] for a, b in zip(pair[self.side], pair[1 - self.side], strict=True)
            }
        free = [a for a, n in enumerate(v.aval.shape) if n != 1 and a not in names]
        _need(len(free) == 1 and v.aval.shape[free[0]] <= WIDEST)
        return _Operand(v, names | {free[0]: _COLUMNS}, [_COLUMNS])

    def result(self, v: _Operand) -> list[Any]:
        """Names of the axes of the last product's result."""
        sums, shared = self.last.params["dimension_numbers"]
        names = [dict(enumerate(self.labels)), v.names]
        if self.side:
            names.reverse()
        found = [names[0].get(a) for a in shared[0]]
        for side, x in enumerate(self.last.invars):
            used = (*sums[side], *shared[side])
            found += [names[side].get(a) for a in range(x.aval.ndim) if a not in used]
        return found

    def equation(self) -> JaxprEqn:
        """`attention` in place of the last product."""
        q, k = self.operands()
        row, offset = self.rows(q.free)
        groups = [label for label in q.free if label != row]
        count = len(self.first.params["dimension_numbers"][1][0])
        lanes = [label for label in self.at[:count] if label is not None]
        v = self.values(lanes)
        order = [*lanes, *groups, row, _COLUMNS]
        layout = Layout(
            q.axes(lanes),
            q.axes(groups),
            (q.axis(row), q.axis(_SUMMED)),
            k.axes(lanes),
            (k.axis(self.keys), k.axis(_SUMMED)),
            v.axes(lanes),
            (v.axis(self.keys), v.axis(_COLUMNS)),
            tuple(-1 if n is None else order.index(n) for n in self.result(v)),
        )
        lane = q.array.aval.shape[q.axis(row)] * k.array.aval.shape[k.axis(self.keys)]
        _need(lane >= LANE and self.last.invars[self.side].aval.size >= SCORES)
        params = {"layout": layout, "scale": self.scale, "offset": offset, "fill": self.fill}
        arrays = [q.array, k.array, v.array]
        return self.last.replace(primitive=attention, invars=arrays, params=params)
