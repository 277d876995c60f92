"""Sorts whose order is a program: what it compares is found in it, or it is run as it is.

Most comparisons are lexicographic: `k(a) < k(b)`, or `k(a) == k(b)` and the same of another key.
Then the keys are computed for whole arrays and sorted by our own sort.  Any other order is sorted
by Batcher's odd-even merge network (Knuth, vol. 3, 5.2.2, algorithm M), with the comparison applied
to arrays of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.errors import UnsupportedError
from pullback.export.interpreter import is_known, rules
from pullback.hlo.modules import Operation, Region, Value

__all__ = ["sorted_by"]

Key = tuple[str, int, str]
"""`LT` or `GT`; what is compared; how zeros and NaNs are: `all` equal, `nan` equal, or `bits`."""
_ON_ELEMENTS: Final = frozenset(
    f"stablehlo.{name}"
    for name in (
        *("abs", "add", "and", "bitcast_convert", "clamp", "compare", "complex", "constant"),
        *("convert", "divide", "imag", "is_finite", "maximum", "minimum", "multiply", "negate"),
        *("not", "or", "power", "real", "remainder", "select", "shift_left", "sign", "subtract"),
        *("shift_right_arithmetic", "shift_right_logical", "xor"),
    )
)


class _Expressions:
    """The operations of a comparison by number; equal ones have one number."""

    def __init__(self, region: Region, env: dict[Value, Any]) -> None:
        self.env = env
        self.nodes: list[tuple[Any, ...]] = []
        self.operations: list[Operation | None] = []
        self.numbers: dict[tuple[Any, ...], int] = {}
        self.of: dict[Value, int] = {}
        for k, argument in enumerate(region.arguments):
            self.of[argument] = self.number(("argument", k))
        for operation in region.operations[:-1]:
            self.add(operation)
        self.result = self.use(region.operations[-1].operands[0])

    def number(self, node: tuple[Any, ...], operation: Operation | None = None) -> int:
        """The number of an expression."""
        found = self.numbers.get(node)
        if found is None:
            found = self.numbers[node] = len(self.nodes)
            self.nodes.append(node)
            self.operations.append(operation)
        return found

    def use(self, value: Value) -> int:
        """The number of an operand, which may be a value from around the comparison."""
        if value not in self.of:
            outer = self.env[value]
            node = _constant(outer) if is_known(outer) else ("outer", value)
            self.of[value] = self.number(node)
        return self.of[value]

    def add(self, operation: Operation) -> None:
        """Give an operation its number."""
        if operation.name not in _ON_ELEMENTS or len(operation.results) != 1:
            raise UnsupportedError(f"{operation.name} in the comparison of a sort")
        if operation.name == "stablehlo.constant":
            node = _constant(np.asarray(operation.attributes["value"]))
        else:
            details = tuple(operation.attributes.get(k) for k in _DETAILS)
            operands = tuple(map(self.use, operation.operands))
            node = (operation.name, details, operation.results[0].type, *operands)
        self.of[operation.results[0]] = self.number(node, operation)

    # ------------------------------------------------------------------ values

    def values(self, interpreter: Any, arguments: Sequence[Any]) -> Callable[[int], Any]:
        """What gives the arrays of expressions where the arguments are these arrays."""
        made: dict[int, Any] = {}
        shape = arguments[0].shape

        def value(k: int) -> Any:
            if k in made:
                return made[k]
            kind, *rest = self.nodes[k]
            if kind == "argument":
                out = arguments[rest[0]]
            elif kind == "constant":
                out = lax.full(shape, np.frombuffer(rest[1], rest[0])[0], rest[0])
            elif kind == "outer":
                out = lax.broadcast_in_dim(self.env[rest[0]], shape, ())
            else:
                out = rules[kind](interpreter, self.operations[k], *map(value, rest[2:]))
            made[k] = out
            return out

        return value

    # ------------------------------------------------------------------ lexicographic orders

    def mirrored(self, a: int, b: int) -> bool:
        """Whether `b` is of the second operand what `a` is of the first."""
        one, other = self.nodes[a], self.nodes[b]
        if one[0] != other[0] or len(one) != len(other):
            return False
        if one[0] == "argument":
            return bool(one[1] % 2 == 0 and other[1] == one[1] + 1)
        if one[0] in ("constant", "outer"):
            return a == b
        pairs = zip(one[3:], other[3:], strict=True)
        return one[1:3] == other[1:3] and all(self.mirrored(x, y) for x, y in pairs)

    def keys(self, k: int) -> list[Key] | None:
        """The keys of a lexicographic order, None for any other."""
        name, *rest = self.nodes[k]
        if name == "stablehlo.compare" and rest[0][0] in ("LT", "GT"):
            (direction, kind), _, a, b = rest
            if not self.mirrored(a, b):
                return None
            base, equal = self.canonical(a)
            return [(direction, base, "all" if kind != "TOTALORDER" else equal)]
        if name != "stablehlo.or":
            return None
        for first, second in (rest[2:], rest[:1:-1]):
            name, *parts = self.nodes[second]
            ahead = self.keys(first) if name == "stablehlo.and" else None
            if ahead is None:
                continue
            for same, then in (parts[2:], parts[:1:-1]):
                if self.equals(same) == [(base, equal) for _, base, equal in ahead]:
                    behind = self.keys(then)
                    return None if behind is None else ahead + behind
        return None

    def equals(self, k: int) -> list[tuple[int, str]] | None:
        """The keys that an expression says are all equal."""
        name, *rest = self.nodes[k]
        if name == "stablehlo.compare" and rest[0][0] == "EQ" and self.mirrored(*rest[2:]):
            base, equal = self.canonical(rest[2])
            return [(base, "all" if rest[0][1] != "TOTALORDER" else equal)]
        if name != "stablehlo.and":
            return None
        left, right = map(self.equals, rest[2:])
        return None if left is None or right is None else left + right

    def canonical(self, k: int) -> tuple[int, str]:
        """A key without the operations that make NaNs, or zeros of both signs, equal."""
        inner = self.chosen(k, "NE", np.isnan)
        if inner is None:
            return k, "bits"
        base = self.chosen(inner, "EQ", lambda c: c == 0)
        tested = self.nodes[self.nodes[k][3]][3]
        if base is not None and tested in (base, inner):
            return base, "all"
        return (inner, "nan") if tested == inner else (k, "bits")

    def chosen(self, k: int, direction: str, test: Callable[[Any], Any]) -> int | None:
        """`x` of `select(compare(y, ...), constant, x)`, where the constant passes a test."""
        name, *rest = self.nodes[k]
        if name != "stablehlo.select":
            return None
        which, constant, x = rest[2:]
        compared, value = self.nodes[which], self.nodes[constant]
        if compared[0] != "stablehlo.compare" or compared[1][0] != direction:
            return None
        a, b = compared[3:]
        right = b == a if direction == "NE" else (a == x and b == constant)
        if not right or value[0] != "constant" or dtypes.kind_of(value[1]) != "f":
            return None
        return x if bool(test(np.frombuffer(value[2], value[1])[0])) else None


_LONGEST: Final = 1 << 16
_DETAILS: Final = ("comparison_direction", "compare_type")


def _constant(value: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    if value.shape != ():
        raise UnsupportedError("arrays in the comparison of a sort")
    return ("constant", value.dtype, value.tobytes())


def _ordered(x: Any, direction: str, equal: str) -> Any:
    """An array that our own sort puts in this order."""
    if dtypes.kind_of(x.dtype) != "f":
        return x if direction == "LT" else lax.bitwise_not(x)
    if direction == "LT" and equal == "all":
        return x
    if equal == "all":
        x = lax.select_n(lax.eq(x, lax.full_like(x, 0)), x, lax.full_like(x, 0))
    if equal in ("all", "nan"):
        x = lax.select_n(lax.ne(x, x), x, lax.full_like(x, np.nan))
    width = 8 * x.dtype.itemsize
    integer = np.dtype(f"int{width}")
    bits = lax.bitcast_convert_type(x, integer)
    sign = lax.shift_right_arithmetic(bits, lax.full_like(bits, width - 1))
    bits = lax.bitwise_xor(bits, lax.bitwise_and(sign, lax.full_like(bits, 2 ** (width - 1) - 1)))
    return bits if direction == "LT" else lax.bitwise_not(bits)


def _merged(expressions: _Expressions, keys: list[Key]) -> list[Key]:
    """Keys, the parts of a complex number as the number itself, whose order that is."""
    out: list[Key] = []
    for key in keys:
        direction, k, equal = key
        if out and expressions.nodes[k][0] == "stablehlo.imag":
            before = out[-1]
            node = expressions.nodes[before[1]]
            whole = expressions.nodes[k][3]
            complex_ = (before[0], before[2], direction, equal) == ("LT", "all", "LT", "all")
            if complex_ and node[0] == "stablehlo.real" and node[3] == whole:
                out[-1] = ("LT", whole, "all")
                continue
        out.append(key)
    return out


def sorted_by(
    interpreter: Any, region: Region, env: dict[Value, Any], xs: Sequence[Any], axis: int
) -> list[Any]:
    """Arrays sorted along an axis by a region that says which of two rows is first; stable."""
    expressions = _Expressions(region, env)
    keys = expressions.keys(expressions.result)
    if keys is None:
        return _network(interpreter, expressions, xs, axis)
    keys = _merged(expressions, keys)
    value = expressions.values(interpreter, [x for x in xs for _ in range(2)])
    plain = [dtypes.kind_of(value(k).dtype) != "f" or equal == "all" for _, k, equal in keys]
    leading = [expressions.nodes[k] == ("argument", 2 * i) for i, (_, k, _) in enumerate(keys)]
    forwards = [direction == "LT" for direction, _, _ in keys]
    if all(plain) and all(leading) and all(forwards):
        return _several(lax.sort(tuple(xs), dimension=axis, num_keys=len(keys)))
    arrays = [_ordered(value(k), direction, equal) for direction, k, equal in keys]
    outs = _several(lax.sort((*arrays, *xs), dimension=axis, num_keys=len(keys)))
    return outs[len(keys) :]


def _several(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]


def _network(
    interpreter: Any, expressions: _Expressions, xs: Sequence[Any], axis: int
) -> list[Any]:
    """Arrays sorted by a network of comparisons; their first places decide where none is first."""
    n = xs[0].shape[axis]
    if n > _LONGEST:
        raise UnsupportedError(
            f"a sort of {n} elements in an order that is not lexicographic: at most {_LONGEST}"
        )
    rows = [lax.transpose(x, _order(len(x.shape), axis)) for x in xs]
    rows.append(lax.broadcasted_iota(np.dtype(np.int32), rows[0].shape, 0))
    for low, high in _pairs(n):
        left, right = ([lax.index_take(r, (at,), (0,)) for r in rows] for at in (low, high))
        one = _before(interpreter, expressions, left, right)
        other = _before(interpreter, expressions, right, left)
        tie = lax.bitwise_and(lax.bitwise_not(one), lax.gt(left[-1], right[-1]))
        swap = lax.bitwise_or(other, tie)
        rows = [
            _with_rows(r, np.concatenate([low, high]), swap, a, b)
            for r, a, b in zip(rows, left, right, strict=True)
        ]
    back = np.argsort(_order(len(xs[0].shape), axis))
    return [lax.transpose(r, [int(k) for k in back]) for r in rows[:-1]]


def _order(rank: int, axis: int) -> list[int]:
    return [axis, *(k for k in range(rank) if k != axis)]


def _before(interpreter: Any, expressions: _Expressions, a: Any, b: Any) -> Any:
    pairs = [x for pair in zip(a[:-1], b[:-1], strict=True) for x in pair]
    return expressions.values(interpreter, pairs)(expressions.result)


def _with_rows(x: Any, places: Any, swap: Any, a: Any, b: Any) -> Any:
    new = lax.concatenate([lax.select_n(swap, a, b), lax.select_n(swap, b, a)], 0)
    order = np.arange(x.shape[0])
    order[places] = x.shape[0] + np.arange(len(places))
    return lax.index_take(lax.concatenate([x, new], 0), (order,), (0,))


def _pairs(n: int) -> list[tuple[Any, Any]]:
    """For each round of the network the places that are compared."""
    out = []
    p = 1
    while p < n:
        k = p
        while k >= 1:
            first = np.arange(k % p, n - k, 2 * k)[:, None] + np.arange(k)
            first = first[first < n - k]
            low = np.sort(first[first // (2 * p) == (first + k) // (2 * p)])
            if low.size:
                out.append((low, low + k))
            k //= 2
        p *= 2
    return out
