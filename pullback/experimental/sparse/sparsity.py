"""Which elements of a function's results depend on which of its arguments, from its jaxpr.

A value is described by a sparse matrix of zeros and ones: a row for each of its elements, a column
for each element of the arguments.  Equations map these patterns: element-wise operations unite
rows, operations that move data pick them (found out by moving row numbers), sums and products unite
along their axes.  An operation without a rule makes all of its results depend on all of its
operands, so that a pattern may be too full but never too empty.  (Index sets as in Griewank and
Walther, "Evaluating derivatives", 2nd ed., section 7.1.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from pullback.core.primitive import Primitive
from pullback.core.trace import eager, is_concrete
from pullback.lazy import LazyModule
from pullback.ops import elementwise, hypergeometric, integrals, special

__all__ = ["dependencies"]

_sp: Final = LazyModule("scipy.sparse")


@dataclass(frozen=True)
class Value:
    """The pattern of a value (None: it depends on nothing), and the value itself where known."""

    shape: tuple[int, ...]
    pattern: Any = None
    known: Any = None

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


def dependencies(closed: ClosedJaxpr) -> list[Any]:
    """The patterns of all results, as `scipy.sparse` matrices (result size, argument size)."""
    sizes = [int(np.prod(a.shape, dtype=np.int64)) for a in closed.in_avals]
    total = sum(sizes)
    unit = _sp.identity(total, dtype=np.int8, format="csr")
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    inputs = [
        Value(a.shape, unit[s : s + n]) if dtypes.kind_of(a.dtype) in "fc" else Value(a.shape)
        for a, s, n in zip(closed.in_avals, starts[:-1], sizes, strict=True)
    ]
    outs = _propagate(closed.jaxpr, [_constant(c) for c in closed.consts], inputs)
    empty = [_sp.csr_matrix((v.size, total), dtype=np.int8) for v in outs]
    return [e if v.pattern is None else v.pattern for v, e in zip(outs, empty, strict=True)]


def _constant(x: Any) -> Value:
    shape = tuple(aval_of(x).shape)
    return Value(shape, None, x if is_concrete(x) else None)


def _propagate(jaxpr: Jaxpr, consts: Sequence[Value], args: Sequence[Value]) -> list[Value]:
    env: dict[Var, Value] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Value:
        return _constant(v.val) if type(v) is Literal else env[v]

    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, _equation(eqn, [read(v) for v in eqn.invars]), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: JaxprEqn, values: list[Value]) -> list[Value]:
    avals = [v.aval for v in eqn.outvars]
    if all(v.known is not None for v in values) and not eqn.effects:
        outs = _evaluated(eqn.primitive, [v.known for v in values], eqn.params)
        return [Value(tuple(a.shape), None, o) for a, o in zip(avals, outs, strict=True)]
    if all(v.pattern is None for v in values) and not _holds_programs(eqn):
        return [Value(tuple(a.shape)) for a in avals]
    rule = _rule_of(eqn.primitive)
    found = rule(eqn, values)
    smooth = [dtypes.kind_of(a.dtype) in "fc" for a in avals]
    return [v if s else Value(v.shape, None, v.known) for v, s in zip(found, smooth, strict=True)]


def _evaluated(primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    """The results now, also while a program is traced around."""
    with eager():
        outs = primitive.bind(*operands, **params)
    return list(outs) if primitive.multiple_results else [outs]


def _holds_programs(eqn: JaxprEqn) -> bool:
    return eqn.primitive.name in _CONTROL


def _shapes(eqn: JaxprEqn) -> list[tuple[int, ...]]:
    return [tuple(v.aval.shape) for v in eqn.outvars]


def _union(patterns: Sequence[Any]) -> Any:
    found = [p for p in patterns if p is not None]
    if not found:
        return None
    total = found[0]
    for p in found[1:]:
        total = total + p
    return _ones(total)


def _ones(pattern: Any) -> Any:
    pattern = pattern.tocsr()
    pattern.data = np.ones_like(pattern.data, dtype=np.int8)
    return pattern


def _select(rows: Any, columns: Any, shape: tuple[int, int]) -> Any:
    """The matrix with ones at (rows, columns)."""
    ones = np.ones(len(rows), np.int8)
    return _ones(_sp.csr_matrix((ones, (rows, columns)), shape=shape))


def _kept(mask: Any, pattern: Any) -> Any:
    """The rows of a pattern where `mask` is true, the others empty."""
    (rows,) = np.nonzero(mask.reshape(-1))
    return _applied(_select(rows, rows, (mask.size, mask.size)), pattern)


def _applied(matrix: Any, pattern: Any) -> Any:
    """The rows of a pattern united as a matrix says; counts may not overflow."""
    return _ones((matrix.astype(np.int32) @ pattern.astype(np.int32)).astype(bool).astype(np.int8))


# --------------------------------------------------------------------------- rules


def _everything(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """Every element of the results depends on all that the operands depend on."""
    columns = [v.pattern.indices for v in values if v.pattern is not None]
    width = next(v.pattern.shape[1] for v in values if v.pattern is not None)
    met = np.unique(np.concatenate(columns))
    row = _select(np.zeros(len(met), int), met, (1, width))
    out = []
    for shape in _shapes(eqn):
        size = int(np.prod(shape, dtype=np.int64))
        out.append(Value(shape, _spread(row, 1, size)))
    return out


def _element_wise(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    (shape,) = _shapes(eqn)
    size = int(np.prod(shape, dtype=np.int64))
    spread = [_spread(v.pattern, v.size, size) for v in values]
    united = _union(spread)
    if eqn.primitive.name == "mul":
        for v in values:
            if v.known is not None and not np.all(np.asarray(v.known)):
                united = _kept(np.broadcast_to(np.asarray(v.known) != 0, shape), united)
    return [Value(shape, united)]


def _spread(pattern: Any, size: int, wanted: int) -> Any:
    if pattern is None or size == wanted:
        return pattern
    return _applied(_sp.csr_matrix(np.ones((wanted, 1), np.int8)), pattern)


def _moved(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """Results whose elements are elements of the operands: row numbers are moved the same way."""
    places = _INDEX_OPERANDS.get(eqn.primitive.name)
    fixed = [] if places is None else places(values)
    if any(values[k].known is None for k in fixed):
        return _everything(eqn, values)
    starts, operands, start = [], [], 1
    for k, v in enumerate(values):
        starts.append(start)
        if k in fixed:
            operands.append(v.known)
            continue
        operands.append(np.arange(start, start + v.size, dtype=np.int32).reshape(v.shape))
        start += v.size
    params = {**eqn.params}
    if "fill_value" in params:
        params["fill_value"] = 0
    outs = _evaluated(eqn.primitive, operands, params)
    stacked = [v.pattern for k, v in enumerate(values) if k not in fixed]
    width = next(p.shape[1] for p in stacked if p is not None)
    blocks = [
        p if p is not None else _sp.csr_matrix((v.size, width), dtype=np.int8)
        for p, v in zip(stacked, [v for k, v in enumerate(values) if k not in fixed], strict=True)
    ]
    table = _sp.vstack([_sp.csr_matrix((1, width), dtype=np.int8), *blocks]).tocsr()
    found = []
    for out in outs:
        ids = np.asarray(out).astype(np.int64)
        rows = np.where((ids < 0) | (ids >= start), 0, ids).reshape(-1)
        found.append(Value(ids.shape, table[rows]))
    return found


def _cases(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """A choice: by a known predicate its elements are moved, else both are possible."""
    predicate, *cases = values
    (shape,) = _shapes(eqn)
    if predicate.known is not None:
        chosen = np.broadcast_to(np.asarray(predicate.known), shape).reshape(-1).astype(int)
        parts = []
        for k, case in enumerate(cases):
            if case.pattern is not None:
                parts.append(_kept(chosen == k, case.pattern))
        return [Value(shape, _union(parts))]
    return [Value(shape, _union([v.pattern for v in cases]))]


def _reduced(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    (x,) = values
    axes = tuple(eqn.params["axes"])
    (shape,) = _shapes(eqn)
    size = int(np.prod(shape, dtype=np.int64))
    kept = [n if k not in axes else 1 for k, n in enumerate(x.shape)]
    targets = np.broadcast_to(np.arange(size).reshape(kept), x.shape).reshape(-1)
    matrix = _select(targets, np.arange(x.size), (size, x.size))
    return [Value(shape, _applied(matrix, x.pattern))]


def _along(eqn: JaxprEqn, values: Sequence[Value], triangle: bool) -> list[Value]:
    """Every element depends on those before it along an axis, or on all of its line."""
    axis: int = eqn.params["axis"] if triangle else eqn.params["dimension"]
    shape = values[0].shape
    n = shape[axis]
    ids = np.moveaxis(np.arange(values[0].size).reshape(shape), axis, -1).reshape(-1, n)
    if triangle:
        later, earlier = np.tril_indices(n)
        if eqn.params.get("reverse"):
            later, earlier = earlier, later
    else:
        later, earlier = (x.reshape(-1) for x in np.indices((n, n)))
    size = values[0].size
    matrix = _select(ids[:, later].reshape(-1), ids[:, earlier].reshape(-1), (size, size))
    whole = _union([v.pattern for v in values])
    return [Value(s, _applied(matrix, whole)) for s in _shapes(eqn)]


def _dot_general(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """By labels of axes: a result depends on the elements that meet others that may not be 0."""
    (lhs_c, rhs_c), (lhs_b, rhs_b) = eqn.params["dimension_numbers"]
    lhs, rhs = values
    pairs = {int(r): int(a) for a, r in (*zip(lhs_b, rhs_b), *zip(lhs_c, rhs_c))}  # noqa: B905
    ours = list(range(len(lhs.shape)))
    theirs = [pairs.get(k, len(ours) + k) for k in range(len(rhs.shape))]
    shared = {*map(int, lhs_b), *map(int, lhs_c)}
    out = [int(k) for k in lhs_b] + [k for k in ours if k not in shared]
    out += [k for k in theirs if k >= len(ours)]
    sizes = {**dict(zip(theirs, rhs.shape, strict=True)), **dict(zip(ours, lhs.shape, strict=True))}
    labels = out + [int(k) for k in lhs_c]
    shape = tuple(sizes[k] for k in out)
    patterns = []
    for one, other, mine, its in ((lhs, rhs, ours, theirs), (rhs, lhs, theirs, ours)):
        if one.pattern is None:
            continue
        grid = [sizes[k] for k in labels]
        places = _flat(grid, labels, mine, one.shape)
        targets = _flat(grid, labels, out, shape)
        meets = np.ones(places.shape, bool)
        if other.known is not None:
            nonzero = (np.asarray(other.known) != 0).reshape(-1)
            meets = nonzero[_flat(grid, labels, its, other.shape)]
        size = int(np.prod(shape, dtype=np.int64))
        matrix = _select(targets[meets], places[meets], (size, one.size))
        patterns.append(_applied(matrix, one.pattern))
    return [Value(shape, _union(patterns))]


def _convolved(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """A convolution with a kernel that depends on nothing: row numbers moved by each tap."""
    x, kernel = values
    (shape,) = _shapes(eqn)
    exact = x.size < 2**24  # row numbers are float32
    if kernel.pattern is not None or not exact:
        return _everything(eqn, values)
    spec = eqn.params["dimension_numbers"].rhs_spec
    taps = [kernel.shape[k] for k in spec[1:]]
    ids = np.arange(1, x.size + 1, dtype=np.float32).reshape(x.shape)
    params = {**eqn.params, "preferred_element_type": None}
    rows, columns = [], []
    for tap in np.ndindex(*taps):
        place = [slice(None)] * len(kernel.shape)
        for axis, at in zip(spec[1:], tap, strict=True):
            place[axis] = slice(at, at + 1)
        weights = np.zeros(kernel.shape, np.float32)
        weights[tuple(place)] = (
            1.0 if kernel.known is None else np.asarray(kernel.known)[tuple(place)] != 0
        )
        (found,) = _evaluated(eqn.primitive, [ids, weights], params)
        source = np.rint(np.asarray(found)).astype(np.int64).reshape(-1)
        (hit,) = np.nonzero(source)
        rows.append(hit)
        columns.append(source[hit] - 1)
    size = int(np.prod(shape, dtype=np.int64))
    matrix = _select(np.concatenate(rows), np.concatenate(columns), (size, x.size))
    return [Value(shape, _applied(matrix, x.pattern))]


def _flat(grid: list[int], labels: list[int], mine: list[int], shape: tuple[int, ...]) -> Any:
    """For every point of a grid over labels, the row number of an operand with labels `mine`."""
    strides = np.concatenate([np.cumprod(np.array(shape[::-1], np.int64))[::-1][1:], [1]])
    total = np.zeros((1,) * len(grid), np.int64)
    for label, stride in zip(mine, strides, strict=False):
        axis = labels.index(label)
        steps = np.arange(grid[axis]).reshape([-1 if k == axis else 1 for k in range(len(grid))])
        total = total + steps * int(stride)
    return np.broadcast_to(total, grid).reshape(-1)


# --------------------------------------------------------------------------- inner programs


def _inner(jaxpr: Any, args: Sequence[Value]) -> list[Value]:
    if isinstance(jaxpr, ClosedJaxpr):
        return _propagate(jaxpr.jaxpr, [_constant(c) for c in jaxpr.consts], args)
    return _propagate(jaxpr, [], args)


def _called(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return _inner(eqn.params.get("jaxpr", eqn.params.get("call_jaxpr")), values)


def _cond(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    index, *args = values
    branches = eqn.params["branches"]
    if index.known is not None:
        k = int(np.clip(np.asarray(index.known), 0, len(branches) - 1))
        return _inner(branches[k], args)
    rows = [_inner(b, args) for b in branches]
    return [Value(r[0].shape, _union([v.pattern for v in r])) for r in zip(*rows, strict=True)]


def _while(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """The carry's patterns grow until another step adds nothing."""
    skip, consts = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    fixed, carry = values[skip : skip + consts], list(values[skip + consts :])
    while True:
        before = [Value(v.shape, v.pattern) for v in carry]
        after = _inner(eqn.params["body_jaxpr"], [*fixed, *before])
        carry = [
            Value(a.shape, _union([a.pattern, b.pattern]))
            for a, b in zip(before, after, strict=True)
        ]
        if all(_count(a) == _count(b) for a, b in zip(before, carry, strict=True)):
            return carry


def _count(v: Value) -> int:
    return 0 if v.pattern is None else int(v.pattern.nnz)


def _scan(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    """Step by step, with the rows of what is scanned."""
    p = eqn.params
    n_consts, n_carry, length = p["num_consts"], p["num_carry"], p["length"]
    fixed, carry = values[:n_consts], list(values[n_consts : n_consts + n_carry])
    xs = values[n_consts + n_carry :]
    rows: list[list[Value]] = []
    steps = range(length)[::-1] if p["reverse"] else range(length)
    for i in steps:
        outs = _inner(p["jaxpr"], [*fixed, *carry, *(_row(x, i) for x in xs)])
        carry = outs[:n_carry]
        rows.append(outs[n_carry:])
    rows = rows[::-1] if p["reverse"] else rows
    shapes = _shapes(eqn)[n_carry:]
    return carry + [_stacked([r[k] for r in rows], s) for k, s in enumerate(shapes)]


def _row(x: Value, i: int) -> Value:
    shape = x.shape[1:]
    size = int(np.prod(shape, dtype=np.int64))
    pattern = None if x.pattern is None else x.pattern[i * size : (i + 1) * size]
    return Value(shape, pattern, None if x.known is None else x.known[i])


def _stacked(rows: list[Value], shape: tuple[int, ...]) -> Value:
    width = next((r.pattern.shape[1] for r in rows if r.pattern is not None), None)
    if width is None:
        return Value(shape)
    blocks = [
        _sp.csr_matrix((r.size, width), dtype=np.int8) if r.pattern is None else r.pattern
        for r in rows
    ]
    return Value(shape, _sp.vstack(blocks).tocsr())


# --------------------------------------------------------------------------- the table

_Rule = Callable[[JaxprEqn, Sequence[Value]], list[Value]]

_INDEX_OPERANDS: Final[dict[str, Callable[[Sequence[Value]], list[int]]]] = {
    "gather": lambda values: [1],
    "dynamic_slice": lambda values: list(range(1, len(values))),
    "dynamic_update_slice": lambda values: list(range(2, len(values))),
}
"""Which operands of operations that move data say where to, rather than what."""

_CONTROL: Final[dict[str, _Rule]] = {
    **dict.fromkeys(("jit", "remat2", "custom_jvp_call", "custom_vjp_call"), _called),
    "cond": _cond,
    "while": _while,
    "scan": _scan,
}
_MOVING: Final = """
reshape transpose broadcast_in_dim squeeze slice rev concatenate pad split gather dynamic_slice
dynamic_update_slice expand_dims
"""
_REDUCING: Final = "reduce_sum reduce_max reduce_min reduce_prod"
_RUNNING: Final = "cumsum cumprod cummax cummin cumlogsumexp"
_RULES: Final[dict[str, _Rule]] = {
    **_CONTROL,
    **dict.fromkeys(_MOVING.split(), _moved),
    **dict.fromkeys(_REDUCING.split(), _reduced),
    **dict.fromkeys(_RUNNING.split(), lambda eqn, values: _along(eqn, values, triangle=True)),
    "sort": lambda eqn, values: _along(eqn, values, triangle=False),
    "dot_general": _dot_general,
    "conv_general_dilated": _convolved,
    "select_n": _cases,
}
_FLAT: Final = frozenset(("floor", "ceil", "round", "sign", "stop_gradient", "nextafter"))
"""Element-wise operations whose slopes are 0."""

_ELEMENT_WISE: Final = frozenset(
    value.name
    for module in (elementwise, special, integrals, hypergeometric)
    for value in vars(module).values()
    if isinstance(value, Primitive)
)


def _flat_rule(eqn: JaxprEqn, values: Sequence[Value]) -> list[Value]:
    return [Value(s) for s in _shapes(eqn)]


def _rule_of(primitive: Primitive) -> _Rule:
    name = primitive.name
    if name in _RULES:
        return _RULES[name]
    if name in _FLAT:
        return _flat_rule
    return _element_wise if name in _ELEMENT_WISE else _everything
