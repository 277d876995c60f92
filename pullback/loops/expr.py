"""Scalar expressions of the loop IR, and the algebra of indices.

    Expr    Const | Local | Read | Load | At | Op | Affine | Axis
    Affine  const + sum of coefficient * atom     the only form that sums of indices take
    atom    Axis | Op                             Op: floor division, remainder, min, max, data

Expressions are immutable.  Index arithmetic (the operators) is normalised as it is built: two equal
indices are equal as Python objects, and bounds of axes decide divisions and comparisons.
Arithmetic on data is built by `loops/scalars.py`; what each `Op` means is in `llvm/emit_values.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

__all__ = [
    "BOOL",
    "DEEP",
    "FALSE",
    "INT64",
    "TRUE",
    "Affine",
    "At",
    "Axis",
    "Const",
    "Expr",
    "Load",
    "Local",
    "Op",
    "Read",
    "affine",
    "bounds",
    "compare",
    "delinearize",
    "index_max",
    "index_min",
    "linearize",
    "postorder",
    "row_major",
]

INT64: Final = np.dtype("int64")
BOOL: Final = np.dtype("bool")
_INF: Final = 1 << 62
_counter: Final = itertools.count()
Bounds = tuple[int, int]


class Expr:
    """Base of expressions; the operators are index arithmetic."""

    __slots__ = ("dtype",)
    dtype: np.dtype[Any]
    depth: int = 0
    """Operations on the longest way to a leaf; deep expressions are walked without recursion."""

    def __add__(self, other: Any) -> Affine:
        return _add(affine(self), affine(other), 1)

    def __radd__(self, other: Any) -> Affine:
        return _add(affine(other), affine(self), 1)

    def __sub__(self, other: Any) -> Affine:
        return _add(affine(self), affine(other), -1)

    def __rsub__(self, other: Any) -> Affine:
        return _add(affine(other), affine(self), -1)

    def __mul__(self, other: Any) -> Affine:
        return _mul(affine(self), affine(other))

    def __rmul__(self, other: Any) -> Affine:
        return _mul(affine(other), affine(self))

    def __neg__(self) -> Affine:
        return _scale(affine(self), -1)

    def __floordiv__(self, other: int) -> Affine:
        return _floordiv(affine(self), int(other))

    def __mod__(self, other: int) -> Affine:
        return _mod(affine(self), int(other))

    def __lt__(self, other: Any) -> Expr:
        return compare("lt", affine(self), affine(other))

    def __le__(self, other: Any) -> Expr:
        return compare("lt", affine(self), affine(other) + 1)

    def __gt__(self, other: Any) -> Expr:
        return compare("lt", affine(other), affine(self))

    def __ge__(self, other: Any) -> Expr:
        return compare("lt", affine(other), affine(self) + 1)

    def __bool__(self) -> bool:
        raise TypeError(f"the truth of {self!r} is not known while its program is built")


class Const(Expr):
    """A number; `value` is a Python scalar (complex constants are `Op("complex")` of two)."""

    __slots__ = ("value",)

    def __init__(self, value: Any, dtype: np.dtype[Any]) -> None:
        self.value = value
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"{self.value!r}"


class Local(Expr):
    """A value named by a `Let` or by the results of a `Fold`; `low`, `high` bound an index."""

    __slots__ = ("high", "low", "name")

    def __init__(
        self, dtype: np.dtype[Any], low: int = -_INF, high: int = _INF, name: str = "v"
    ) -> None:
        self.name = f"{name}{next(_counter)}"
        self.dtype = dtype
        self.low = low
        self.high = high

    def __repr__(self) -> str:
        return self.name


class Read(Expr):
    """The present value of a mutable variable."""

    __slots__ = ("var",)

    def __init__(self, var: Any) -> None:
        self.var = var
        self.dtype = var.dtype

    def __repr__(self) -> str:
        return f"{self.var.name}"


class Load(Expr):
    """The element of a buffer at a flat offset; `part` 0 or 1 is the real or imaginary part."""

    __slots__ = ("buffer", "depth", "offset", "part")

    def __init__(self, buffer: Any, offset: Affine, part: int | None = None) -> None:
        self.buffer = buffer
        self.offset = offset
        self.depth = max([a.depth for a in offset.terms], default=0)
        self.part = part
        dtype = buffer.dtype
        self.dtype = dtype if part is None else np.dtype(f"f{dtype.itemsize // 2}")

    def __repr__(self) -> str:
        part = "" if self.part is None else (".re", ".im")[self.part]
        return f"{self.buffer.name}[{self.offset!r}]{part}"


class At(Expr):
    """The element of a lazy tensor: replaced by its computation or by a load."""

    __slots__ = ("idx", "tensor")

    def __init__(self, tensor: Any, idx: tuple[Affine, ...]) -> None:
        self.tensor = tensor
        self.idx = idx
        self.dtype = tensor.dtype

    def __repr__(self) -> str:
        return f"{self.tensor!r}.at{self.idx!r}"


_INDEX_OPS: Final = frozenset(("floordiv", "mod", "imin", "imax", "imul"))


class Op(Expr):
    """An operation; `attr` is a static part (a divisor, the name of a function).

    Operations on indices are equal when their parts are, operations on data when identical.
    """

    __slots__ = ("_hash", "args", "attr", "depth", "name")

    def __init__(
        self, name: str, args: tuple[Expr, ...], dtype: np.dtype[Any], attr: Any = None
    ) -> None:
        self.name = name
        self.args = args
        self.dtype = dtype
        self.attr = attr
        self.depth = 1 + max([a.depth for a in args], default=0)
        self._hash = hash((name, args, attr)) if name in _INDEX_OPS else id(self) >> 4

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            type(other) is Op
            and self.name in _INDEX_OPS
            and self._hash == other._hash
            and self.name == other.name
            and self.attr == other.attr
            and self.args == other.args
        )

    def __repr__(self) -> str:
        parts = [repr(a) for a in self.args] + ([] if self.attr is None else [repr(self.attr)])
        return f"{self.name}({', '.join(parts)})"


class Axis(Expr):
    """The index of a loop: 0 <= axis < extent; an atom of `Affine`."""

    __slots__ = ("extent", "name")

    def __init__(self, extent: int | None, name: str = "i") -> None:
        self.extent = extent
        self.name = f"{name}{next(_counter)}"
        self.dtype = INT64

    def __repr__(self) -> str:
        return self.name


class Affine(Expr):
    """`const + sum(coefficient * atom)`: an index."""

    __slots__ = ("_bounds", "_hash", "const", "terms")

    def __init__(self, const: int, terms: dict[Expr, int]) -> None:
        self.const = const
        self.terms = terms
        self.dtype = INT64
        self._hash: int | None = None
        self._bounds: Bounds | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.const, frozenset(self.terms.items())))
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            type(other) is Affine and self.const == other.const and self.terms == other.terms
        )

    def __repr__(self) -> str:
        parts = [repr(a) if c == 1 else f"{c}*{a!r}" for a, c in self.terms.items()]
        if self.const or not parts:
            parts.append(str(self.const))
        return " + ".join(parts)

    @property
    def is_const(self) -> bool:
        """Whether it has no terms."""
        return not self.terms


TRUE: Final = Const(True, BOOL)
FALSE: Final = Const(False, BOOL)
_NUMBERS: Final[dict[int, Affine]] = {n: Affine(n, {}) for n in range(-16, 257)}


def affine(x: Any) -> Affine:
    """Any int64 expression or integer as an index.

    >>> affine(3) + 4
    7
    """
    if type(x) is Affine:
        return x
    if isinstance(x, Expr):
        if type(x) is Const:
            return affine(int(x.value))
        if x.dtype != INT64:
            raise TypeError(f"an index must be int64: {x!r} is {x.dtype}")
        return Affine(0, {x: 1})
    n = int(x)
    found = _NUMBERS.get(n)
    return Affine(n, {}) if found is None else found


def _add(x: Affine, y: Affine, sign: int) -> Affine:
    if not y.terms:
        return Affine(x.const + sign * y.const, x.terms) if y.const else x
    if not x.terms and not x.const and sign == 1:
        return y
    terms = dict(x.terms)
    for atom, c in y.terms.items():
        total = terms.get(atom, 0) + sign * c
        if total:
            terms[atom] = total
        else:
            del terms[atom]
    result = Affine(x.const + sign * y.const, terms)
    return _recompose(result) if len(terms) > 1 else result


def _recompose(x: Affine) -> Affine:
    """`(r // c) * c*k + (r % c) * k` is `k * r`; so in nested form for remainders of quotients."""
    for atom, k in x.terms.items():
        if type(atom) is Op and atom.name == "mod":
            rest, c = atom.args[0], atom.attr
            for other, k2 in x.terms.items():
                if k2 != k * c or type(other) is not Op:
                    continue
                if other.name == "floordiv" and other.attr == c and other.args[0] == rest:
                    return _without(x, atom, other) + _scale(affine(rest), k)
                if other.name == "mod" and other.args[0] == affine(rest) // c:
                    return _without(x, atom, other) + _scale(affine(rest) % (c * other.attr), k)
    return x


def _without(x: Affine, *atoms: Expr) -> Affine:
    return Affine(x.const, {a: c for a, c in x.terms.items() if a not in atoms})


def _scale(x: Affine, k: int) -> Affine:
    if k == 1:
        return x
    if k == 0:
        return _NUMBERS[0]
    return Affine(x.const * k, {a: c * k for a, c in x.terms.items()})


def _mul(x: Affine, y: Affine) -> Affine:
    if not y.terms:
        return _scale(x, y.const)
    if not x.terms:
        return _scale(y, x.const)
    return Affine(0, {Op("imul", (x, y), INT64): 1})


def _split(x: Affine, c: int) -> tuple[Affine, Affine]:
    """`x = c * quotient + rest`, moving whole multiples into the quotient."""
    quotient, rest = {}, {}
    for atom, k in x.terms.items():
        q, r = divmod(k, c)
        if r == 0:
            quotient[atom] = q
        else:
            rest[atom] = k
    q, r = divmod(x.const, c)
    return Affine(q, quotient), Affine(r, rest)


def _floordiv(x: Affine, c: int) -> Affine:
    if c <= 0:
        raise ValueError(f"division of an index by {c}")
    if c == 1:
        return x
    if not x.terms:
        return affine(x.const // c)
    low, high = bounds(x)
    if low >= 0 and high < c:
        return _NUMBERS[0]
    quotient, rest = _split(x, c)
    low, high = bounds(rest)
    if low >= 0 and high < c:
        return quotient
    return quotient + _quotient_atom(rest, c)


def _quotient_atom(rest: Affine, c: int) -> Affine:
    found = _common_factor(rest, c)
    if found is not None:  # floor((g*a + r) / (g*b)) = floor(a / b) for 0 <= r < g
        return _floordiv(found[1], c // found[0])
    if not rest.const and len(rest.terms) == 1:
        ((atom, k),) = rest.terms.items()
        if k == 1 and type(atom) is Op and atom.name == "floordiv":
            return _floordiv(affine(atom.args[0]), atom.attr * c)
    return Affine(0, {Op("floordiv", (rest,), INT64, c): 1})


def _common_factor(x: Affine, c: int) -> tuple[int, Affine, Affine] | None:
    """`g, a, r` with x = g*a + r, g > 1 dividing c, and 0 <= r < g."""
    for k in x.terms.values():
        g = math.gcd(c, k)
        if g > 1:
            inner, rest = _split(x, g)
            low, high = bounds(rest)
            if low >= 0 and high < g:
                return g, inner, rest
    return None


def _mod(x: Affine, c: int) -> Affine:
    if c <= 0:
        raise ValueError(f"remainder of an index by {c}")
    if c == 1:
        return _NUMBERS[0]
    if not x.terms:
        return affine(x.const % c)
    low, high = bounds(x)
    if low >= 0 and high < c:
        return x
    _, rest = _split(x, c)
    low, high = bounds(rest)
    if low >= 0 and high < c:
        return rest
    if not rest.terms:
        return affine(rest.const % c)
    found = _common_factor(rest, c)
    if found is not None:  # (g*a + r) % (g*b) = g * (a % b) + r for 0 <= r < g
        return _scale(_mod(found[1], c // found[0]), found[0]) + found[2]
    return Affine(0, {Op("mod", (rest,), INT64, c): 1})


def bounds(x: Expr) -> Bounds:
    """The least and the greatest value that an index can have."""
    if type(x) is Affine:
        if x._bounds is None:
            x._bounds = _affine_bounds(x)
        return x._bounds
    if type(x) is Axis:
        return (0, _INF if x.extent is None else max(x.extent - 1, 0))
    if type(x) is Local:
        return x.low, x.high
    if type(x) is Op:
        return _op_bounds(x)
    return -_INF, _INF


def _affine_bounds(x: Affine) -> Bounds:
    low = high = x.const
    for atom, k in x.terms.items():
        a, b = bounds(atom)
        low += k * (a if k > 0 else b)
        high += k * (b if k > 0 else a)
    return max(low, -_INF), min(high, _INF)


def _op_bounds(x: Op) -> Bounds:
    if x.name == "mod":
        return 0, x.attr - 1
    if x.name == "floordiv":
        low, high = bounds(x.args[0])
        return low // x.attr, high // x.attr
    if x.name in ("imin", "imax"):
        pick = min if x.name == "imin" else max
        first, second = bounds(x.args[0]), bounds(x.args[1])
        return pick(first[0], second[0]), pick(first[1], second[1])
    if x.name == "imul":
        first, second = bounds(x.args[0]), bounds(x.args[1])
        corners = [p * q for p in first for q in second]
        return max(min(corners), -_INF), min(max(corners), _INF)
    if x.name == "convert" and x.args[0].dtype.kind in "iub" and x.args[0].dtype.itemsize < 8:
        return _dtype_bounds(x.args[0].dtype)
    return -_INF, _INF


def _dtype_bounds(dtype: np.dtype[Any]) -> Bounds:
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def compare(name: str, x: Affine, y: Affine) -> Expr:
    """`x < y`, `x == y` or `x != y` (`lt`, `eq`, `ne`), decided here if bounds allow."""
    low, high = bounds(x - y)
    if name == "lt":
        if high < 0:
            return TRUE
        if low >= 0:
            return FALSE
    elif high < 0 or low > 0:
        return TRUE if name == "ne" else FALSE
    elif low == high == 0:
        return TRUE if name == "eq" else FALSE
    return Op(name, (x, y), BOOL)


def index_min(x: Any, y: Any) -> Affine:
    """The lesser of two indices."""
    a, b = affine(x), affine(y)
    low, high = bounds(a - b)
    if high <= 0:
        return a
    return b if low >= 0 else Affine(0, {Op("imin", (a, b), INT64): 1})


def index_max(x: Any, y: Any) -> Affine:
    """The greater of two indices."""
    a, b = affine(x), affine(y)
    low, high = bounds(a - b)
    if low >= 0:
        return a
    return b if high <= 0 else Affine(0, {Op("imax", (a, b), INT64): 1})


DEEP: Final = 64
"""Expressions deeper than this are walked in postorder first."""


def postorder(root: Expr) -> Iterator[Op]:
    """The operations below an expression, operands first."""
    stack: list[tuple[Expr, bool]] = [(root, False)]
    seen: set[int] = set()
    while stack:
        e, done = stack.pop()
        if done:
            yield e  # type: ignore[misc]
        elif type(e) is Op and id(e) not in seen:
            seen.add(id(e))
            stack.append((e, True))
            stack.extend((a, False) for a in e.args)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of a contiguous array."""
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * shape[d + 1]
    return tuple(strides)


def linearize(idx: Iterable[Affine], shape: Sequence[int], base: Affine | None = None) -> Affine:
    """The row-major offset of an index."""
    total = _NUMBERS[0] if base is None else base
    for i, extent, stride in zip(idx, shape, row_major(shape), strict=True):
        if extent != 1:
            total = total + _scale(i, stride)
    return total


def delinearize(flat: Affine, shape: Sequence[int]) -> tuple[Affine, ...]:
    """The index of a row-major offset."""
    out = []
    for extent, stride in zip(shape, row_major(shape), strict=True):
        out.append(_NUMBERS[0] if extent == 1 else (flat // stride) % extent)
    return tuple(out)
