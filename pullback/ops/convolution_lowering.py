"""How convolutions become loops and calls: the `lower` rule of `ops.convolution`, and their shapes.

Windows of the padded operand are gathered into a matrix (one `view`, written by one loop) and
multiplied by the matrix kernel.  Convolutions that sum few products become loops in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.ops import contractions

__all__ = ["dilated", "lower", "output_space", "pick", "place"]

# --------------------------------------------------------------------------- shapes


def dilated(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1 if size else 0


def output_space(
    space: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
) -> tuple[int, ...]:
    """Lengths of the spatial axes of the result.

    >>> output_space([8], [3], [2], [(1, 1)], [1], [1])
    (4,)
    """
    sizes = []
    for n, k, stride, (low, high), ld, rd in zip(
        space, window, strides, padding, lhs_dilation, rhs_dilation, strict=True
    ):
        room = dilated(n, ld) + low + high - dilated(k, rd)
        sizes.append(max(room // stride + 1, 0))
    return tuple(sizes)


def pick(shape: Sequence[int], spec: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[k] for k in spec)


def place(spec: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Sizes by role put where the axes of `spec` are."""
    shape = [0] * len(spec)
    for axis, size in zip(spec, sizes, strict=True):
        shape[axis] = size
    return tuple(shape)


# --------------------------------------------------------------------------- lowering


@dataclass(frozen=True)
class _Geometry:
    """A convolution in canonical form; operand and result sizes by role."""

    groups: int
    by_batch: bool
    batch: int
    outs: int
    ins: int
    window: tuple[int, ...]
    space: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def rank(self) -> int:
        return len(self.space)

    @property
    def depth(self) -> int:
        return self.ins * math.prod(self.window)

    @property
    def cells(self) -> int:
        return math.prod(self.space)


_LOOP_DEPTH: Final = 12
"""Products summed for one element below which loops in place beat gathering windows."""


def _role_of(spec: Sequence[int]) -> tuple[int, ...]:
    """The role of each axis: the inverse of `spec`."""
    return tuple(int(k) for k in np.argsort(spec))


def _pad_space(b: Any, x: Any, spec: Any, lhs_dilation: Any, padding: Any) -> Any:
    """The operand with its spatial axes dilated and padded, in the layout it has."""
    if all(p == (0, 0) for p in padding) and all(d == 1 for d in lhs_dilation):
        return x
    shape, rule = list(x.shape), {}
    for axis, dilation, (low, high) in zip(spec[2:], lhs_dilation, padding, strict=True):
        rule[axis] = (x.shape[axis], dilation, low, high)
        shape[axis] = max(dilated(x.shape[axis], dilation) + low + high, 0)
    s, zero = b.s, b.s.const(0, x.dtype)

    def element(idx: tuple[Any, ...]) -> Any:
        at, inside = list(idx), None
        for axis, (size, dilation, low, high) in rule.items():
            position = idx[axis] - low
            tests = [position >= 0] if low > 0 else []
            tests += [position <= (size - 1) * dilation] if high > 0 else []
            tests += [position % dilation <= 0] if dilation > 1 else []
            for test in tests:
                inside = test if inside is None else s.and_(inside, test)
            place = position // dilation
            at[axis] = s.index(place, 0, size - 1) if tests else place
        return x.at(at) if inside is None else s.select(inside, x.at(at), zero)

    return b.materialize(b.view(shape, element))


def _element_at(
    x: Any, spec: Any, g: _Geometry, group: Any, n: Any, c: Any, cell: Any, tap: Any
) -> Any:
    """The element of the padded operand that meets kernel element `tap` at result cell `cell`."""
    roles = [group * g.batch + n if g.by_batch else n, c if g.by_batch else group * g.ins + c]
    for o, k, stride, dilation in zip(cell, tap, g.strides, g.dilation, strict=True):
        roles.append(o * stride + k * dilation)
    idx: list[Any] = [None] * len(spec)
    for axis, value in zip(spec, roles, strict=True):
        idx[axis] = value
    return x.at(idx)


def _patches(b: Any, x: Any, spec: Any, g: _Geometry, kernel_order: Sequence[int], out: str) -> Any:
    """Windows as a buffer; `out` names its axes in order: g(roup), n, s(pace), k(ernel element).

    `kernel_order` gives the order of the kernel's axes: 0 the input feature, 1... the window.
    """
    taps = (g.ins, *g.window)
    sizes = {"g": [g.groups], "n": [g.batch], "s": [*g.space], "k": [taps[k] for k in kernel_order]}
    shape = [size for letter in out for size in sizes[letter]]

    def element(idx: tuple[Any, ...]) -> Any:
        rest, parts = list(idx), {}
        for letter in out:
            count = len(sizes[letter])
            parts[letter], rest = rest[:count], rest[count:]
        tap = [None] * len(taps)
        for role, value in zip(kernel_order, parts["k"], strict=True):
            tap[role] = value
        return _element_at(x, spec, g, parts["g"][0], parts["n"][0], tap[0], parts["s"], tap[1:])

    return b.materialize(b.view(shape, element))


def _kernel_matrix(
    b: Any, w: Any, spec: Any, g: _Geometry
) -> tuple[contractions.Matrix, list[int]]:
    """The kernel as `[group, out feature, kernel element]`, and the order of those elements."""
    out_axis = spec[0]
    shape = (*w.shape[:out_axis], g.groups, g.outs, *w.shape[out_axis + 1 :])
    role = _role_of(spec)
    others = [axis for axis in range(len(spec)) if axis != out_axis]
    axes = [axis + (axis > out_axis) for axis in others]
    matrix = contractions._matrix(b, b.reshape(w, shape), ((out_axis,), (out_axis + 1,), axes))
    return matrix, [role[axis] - 1 for axis in others]


def _lower_gemm(b: Any, x: Any, w: Any, specs: Any, g: _Geometry, dtype: Any) -> tuple[Any, str]:
    """The result as a buffer, and its axes in order: g(roup), n, o(ut feature), s(pace)."""
    lhs_spec, rhs_spec, out_spec = specs
    kernel, order = _kernel_matrix(b, w, rhs_spec, g)
    depth, cells, columns = g.depth, g.cells, g.batch * g.cells
    if out_spec[1] == len(out_spec) - 1:
        patches = _patches(b, x, lhs_spec, g, order, "gnsk")
        left = contractions.Matrix(patches, columns * depth, depth, 1)
        right = contractions.Matrix(kernel.buffer, kernel.lane, kernel.column, kernel.row)
        out = contractions.gemm(b, left, right, g.groups, columns, g.outs, depth, dtype)
        return b.reshape(out, (g.groups, g.batch, *g.space, g.outs)), "gnso"
    if g.groups == 1 and out_spec[0] == 0 and cells >= 16:
        patches = _patches(b, x, lhs_spec, g, order, "gnks")
        left = contractions.Matrix(kernel.buffer, 0, kernel.row, kernel.column)
        right = contractions.Matrix(patches, depth * cells, cells, 1)
        out = contractions.gemm(b, left, right, g.batch, g.outs, cells, depth, dtype)
        return b.reshape(out, (1, g.batch, g.outs, *g.space)), "gnos"
    patches = _patches(b, x, lhs_spec, g, order, "gkns")
    right = contractions.Matrix(patches, depth * columns, columns, 1)
    out = contractions.gemm(b, kernel, right, g.groups, g.outs, columns, depth, dtype)
    return b.reshape(out, (g.groups, g.outs, g.batch, *g.space)), "gons"


def _lower_loops(b: Any, x: Any, w: Any, specs: Any, g: _Geometry) -> tuple[Any, str]:
    """A sum over lazy products, with axes as in `_lower_gemm`."""
    lhs_spec, rhs_spec, _ = specs
    rank = g.rank
    shape = (g.groups, g.batch, g.outs, *g.space, g.ins, *g.window)

    def element(idx: tuple[Any, ...]) -> Any:
        group, n, o, cell = idx[0], idx[1], idx[2], idx[3 : 3 + rank]
        c, tap = idx[3 + rank], idx[4 + rank :]
        at: list[Any] = [None] * len(rhs_spec)
        for axis, value in zip(rhs_spec, (group * g.outs + o, c, *tap), strict=True):
            at[axis] = value
        left = _element_at(x, lhs_spec, g, group, n, c, cell, tap)
        return b.s.mul(left, w.at(at))

    def combine(s: Any, sums: Any, values: Any) -> list[Any]:
        return [s.add(sums[0], values[0])]

    products = b.view(shape, element)
    return b.reduce([products], tuple(range(3 + rank, len(shape))), [0], combine)[0], "gnos"


def _arranged(b: Any, out: Any, letters: str, out_spec: Any, g: _Geometry) -> Any:
    """The result with groups and output features joined, in the layout of `out_spec`."""
    sizes = (g.batch, g.groups * g.outs, *g.space)
    shape = place(out_spec, sizes)
    if g.groups == 1 and letters.replace("g", "") == _letters(out_spec):
        return b.reshape(out, shape)

    def element(idx: tuple[Any, ...]) -> Any:
        n, feature, *cell = (idx[axis] for axis in out_spec)
        parts = {"g": [feature // g.outs], "n": [n], "o": [feature % g.outs], "s": cell}
        return out.at([value for letter in letters for value in parts[letter]])

    return b.view(shape, element)


def _letters(out_spec: Any) -> str:
    """The roles of the axes in order, space as one letter; "" if its axes are apart or permuted."""
    space = list(out_spec[2:])
    if space != list(range(space[0], space[0] + len(space))) if space else False:
        return ""
    order = sorted([(out_spec[0], "n"), (out_spec[1], "o"), *([(space[0], "s")] if space else [])])
    letters = "".join(letter for _, letter in order)
    return letters if space else letters + "s"


def lower(
    b: Any,
    lhs: Any,
    rhs: Any,
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> Any:
    dtype = lhs.dtype if preferred_element_type is None else preferred_element_type
    inner = contractions.compute_dtype(lhs.dtype, dtype)
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    x, w = pick(lhs.shape, lhs_spec), pick(rhs.shape, rhs_spec)
    groups = feature_group_count * batch_group_count
    space = output_space(x[2:], w[2:], window_strides, padding, lhs_dilation, rhs_dilation)
    g = _Geometry(
        groups,
        batch_group_count > 1,
        x[0] // batch_group_count,
        w[0] // groups,
        w[1],
        w[2:],
        space,
        tuple(window_strides),
        tuple(rhs_dilation),
    )
    if 0 in (g.batch, w[0], g.cells, g.depth):
        return b.full(place(out_spec, (g.batch, w[0], *space)), 0, dtype)
    lhs = contractions._converted(b, lhs, inner)
    rhs = contractions._converted(b, rhs, inner)
    lhs = _pad_space(b, lhs, lhs_spec, lhs_dilation, padding)
    if contractions.has_kernel(inner) and (g.depth > _LOOP_DEPTH or g.outs > 4):
        out, letters = _lower_gemm(b, lhs, rhs, dimension_numbers, g, inner)
    else:
        out, letters = _lower_loops(b, lhs, rhs, dimension_numbers, g)
    return contractions._converted(b, _arranged(b, out, letters, out_spec, g), dtype)
