"""`conv_general_dilated`: convolutions of any rank with strides, dilations and groups.

Rules and lowering think in one canonical form: the operand as `[batch, feature, *space]`, the
kernel as `[out feature, in feature, *window]`, the result as `[batch, out feature, *space]`;
`dimension_numbers` says which axis plays which role.  How they are computed stands in
`ops.convolution_lowering`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.primitive import (
    FIRST_ORDER,
    PURE,
    Primitive,
    Sample,
    Zero,
    is_linear,
)
from pullback.ops import (
    contractions,
    conversion,
    convolution_lowering,
    hlo_windows,
    kinds,
    structural,
)
from pullback.ops.convolution_geometry import dilated, output_space, pick, place

__all__ = ["ConvDimensionNumbers", "conv_general_dilated", "output_space"]


class ConvDimensionNumbers(NamedTuple):
    """Axes by role: `(batch, feature, *space)` of operand and result, `(out, in, *window)`."""

    lhs_spec: Sequence[int]
    rhs_spec: Sequence[int]
    out_spec: Sequence[int]


# --------------------------------------------------------------------------- types


def _check_counts(lhs: Any, rhs: Any, window: dict[str, Any], both: str) -> None:
    rank = lhs.ndim - 2
    for name in ("window_strides", "lhs_dilation", "rhs_dilation", "padding"):
        if len(window[name]) != rank:
            raise ValueError(
                f"conv_general_dilated window and {name} must have the same number of dimensions, "
                f"but got {rank} and {len(window[name])}; {both}"
            )
    for name in ("window_strides", "lhs_dilation", "rhs_dilation"):
        if any(n <= 0 for n in window[name]):
            raise TypeError(
                f"conv_general_dilated: all {name} must be positive, got {window[name]}; {both}"
            )


def _check_groups(
    lhs: Sequence[int], rhs: Sequence[int], features: int, batches: int, both: str
) -> None:
    for name, count in (("feature", features), ("batch", batches)):
        if count <= 0:
            raise ValueError(
                f"conv_general_dilated {name}_group_count must be a positive integer, got {count}."
            )
        size = lhs[1] if name == "feature" else lhs[0]
        if size % count:
            raise ValueError(
                f"conv_general_dilated {name}_group_count must divide lhs {name} dimension size, "
                f"but {count} does not divide {size}; {both}"
            )
        if rhs[0] % count:
            raise ValueError(
                "conv_general_dilated rhs output feature dimension size must be a multiple of "
                f"{name}_group_count, but {rhs[0]} is not a multiple of {count}; {both}"
            )
    if features > 1 and batches > 1:
        raise ValueError(
            "conv_general_dilated: at most one of batch_group_count and feature_group_count may be "
            f"greater than 1, got {batches} and {features}"
        )
    if lhs[1] // features != rhs[1]:
        raise ValueError(
            "conv_general_dilated lhs feature dimension size divided by feature_group_count must "
            f"equal the rhs input feature dimension size, but {lhs[1]} // {features} != {rhs[1]}; "
            f"{both}"
        )


def _abstract(
    lhs: Any,
    rhs: Any,
    *,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
    **window: Any,
) -> ShapedArray:
    both = f"operands are {kinds.operand_types([lhs, rhs])}"
    if lhs.ndim != rhs.ndim:
        raise TypeError(
            f"convolution requires lhs and rhs ndim to be equal, got {lhs.ndim} and {rhs.ndim}; "
            f"{both}"
        )
    if lhs.dtype != rhs.dtype:
        raise TypeError(
            "lax.conv_general_dilated requires arguments to have the same dtypes, got "
            f"{lhs.dtype}, {rhs.dtype}; {both}"
        )
    kinds.check_accepts("conv_general_dilated", lhs, kinds.NUMERIC)
    _check_counts(lhs, rhs, window, both)
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    x, w = pick(lhs.shape, lhs_spec), pick(rhs.shape, rhs_spec)
    _check_groups(x, w, feature_group_count, batch_group_count, both)
    space = output_space(
        x[2:],
        w[2:],
        window["window_strides"],
        window["padding"],
        window["lhs_dilation"],
        window["rhs_dilation"],
    )
    sizes = (x[0] // batch_group_count, w[0], *space)
    dtype = contractions.result_dtype("conv_general_dilated", lhs, rhs, preferred_element_type)
    weak = lhs.weak_type and rhs.weak_type and preferred_element_type is None
    return ShapedArray(place(out_spec, sizes), dtype, weak)


# --------------------------------------------------------------------------- reference


def _padded(x: Any, lhs_dilation: Sequence[int], padding: Sequence[tuple[int, int]]) -> Any:
    """`[batch, feature, *space]` with its space dilated and padded; padding may be negative."""
    config = zip(x.shape[2:], lhs_dilation, padding, strict=True)
    full = [dilated(n, d) + max(low, 0) + max(high, 0) for n, d, (low, high) in config]
    out = np.zeros(x.shape[:2] + tuple(full), x.dtype)
    inner = [
        slice(max(low, 0), max(low, 0) + dilated(n, d), d)
        for n, d, (low, _) in zip(x.shape[2:], lhs_dilation, padding, strict=True)
    ]
    out[(slice(None), slice(None), *inner)] = x
    kept = [
        slice(max(-low, 0), max(size + min(high, 0), 0))
        for size, (low, high) in zip(full, padding, strict=True)
    ]
    return out[(slice(None), slice(None), *kept)]


def _windows(x: Any, out: Sequence[int], window: Any, strides: Any, dilation: Any) -> Any:
    """`[batch, feature, *out, *window]`, a view."""
    step = x.strides[2:]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:2], *out, *window),
        (
            *x.strides[:2],
            *(s * w for s, w in zip(step, strides, strict=True)),
            *(s * d for s, d in zip(step, dilation, strict=True)),
        ),
        writeable=False,
    )


def _reference(
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
    x = lhs.transpose(lhs_spec).astype(inner, copy=False)
    w = rhs.transpose(rhs_spec).astype(inner, copy=False)
    window = w.shape[2:]
    space = output_space(x.shape[2:], window, window_strides, padding, lhs_dilation, rhs_dilation)
    n, groups = x.shape[0] // batch_group_count, feature_group_count * batch_group_count
    depth, cells = w.shape[1] * math.prod(window), math.prod(space)
    if 0 in (n, w.shape[0], cells, depth):
        return np.zeros(place(out_spec, (n, w.shape[0], *space)), dtype)
    x = _padded(x, lhs_dilation, padding)
    patches = _windows(x, space, window, window_strides, rhs_dilation)
    # [batch group, batch, feature group, in feature, *space, *window], one group being trivial
    patches = patches.reshape(batch_group_count, n, feature_group_count, -1, *space, *window)
    rank = len(space)
    order = (0, 2, 1, *range(4, 4 + rank), 3, *range(4 + rank, 4 + 2 * rank))
    patches = patches.transpose(order).reshape(groups, n * cells, depth)
    out = np.matmul(w.reshape(groups, -1, depth), patches.transpose(0, 2, 1))
    out = out.reshape(w.shape[0], n, *space).swapaxes(0, 1)
    return out.transpose(np.argsort(out_spec)).astype(dtype, copy=False)


# --------------------------------------------------------------------------- derivatives


def _jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    (lhs, rhs), (lhs_dot, rhs_dot) = primals, tangents
    out = conv_general_dilated(lhs, rhs, **params)
    if dtypes.kind_of(aval_of(out).dtype) not in kinds.INEXACT:
        return out, kinds.zero_tangent(out)
    terms = []
    if type(lhs_dot) is not Zero:
        terms.append(conv_general_dilated(lhs_dot, rhs, **params))
    if type(rhs_dot) is not Zero:
        terms.append(conv_general_dilated(lhs, rhs_dot, **params))
    return out, kinds.add_tangents(terms, out)


def _split_axis(x: Any, axis: int, outer: int) -> Any:
    """Axis `axis` as two axes, of which the first has length `outer`."""
    shape = aval_of(x).shape
    sizes = (*shape[:axis], outer, shape[axis] // outer, *shape[axis + 1 :])
    return structural.reshape(x, new_sizes=sizes, dimensions=None, sharding=None)


def _merge_axes(x: Any, source: int, target: int) -> Any:
    """`x` without axis `source`, which becomes the slow part of the axis `target` of the rest."""
    x = structural.moveaxis(x, source, target)
    shape = aval_of(x).shape
    sizes = (*shape[:target], shape[target] * shape[target + 1], *shape[target + 2 :])
    return structural.reshape(x, new_sizes=sizes, dimensions=None, sharding=None)


def _lhs_padding(
    space: Sequence[int], window: Sequence[int], out: Sequence[int], params: dict[str, Any]
) -> tuple[tuple[int, int], ...]:
    """Padding with which the cotangent, convolved with the mirrored kernel, covers the operand."""
    result = []
    for n, k, o, stride, (low, _), ld, rd in zip(
        space,
        window,
        out,
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        strict=True,
    ):
        before = dilated(k, rd) - 1 - low
        after = dilated(n, ld) + dilated(k, rd) - 1 - dilated(o, stride) - before
        result.append((before, after))
    return tuple(result)


def _rhs_padding(
    space: Sequence[int], window: Sequence[int], out: Sequence[int], params: dict[str, Any]
) -> tuple[tuple[int, int], ...]:
    """Padding with which the operand, convolved with the cotangent, gives the kernel's window."""
    result = []
    for n, k, o, stride, (low, _), ld, rd in zip(
        space,
        window,
        out,
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        strict=True,
    ):
        result.append((low, dilated(k, rd) + dilated(o, stride) - 1 - dilated(n, ld) - low))
    return tuple(result)


def _transpose_lhs(ct: Any, aval: Any, rhs: Any, params: dict[str, Any]) -> Any:
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    features, batches = params["feature_group_count"], params["batch_group_count"]
    shape = aval_of(rhs).shape
    window = rhs_spec[2:]
    padding = _lhs_padding(
        pick(aval.shape, lhs_spec[2:]),
        pick(shape, window),
        pick(aval_of(ct).shape, out_spec[2:]),
        params,
    )
    groups = features * batches
    if groups > 1:  # the groups of output features become groups of the kernel's input features
        rhs = _split_axis(rhs, rhs_spec[0], groups)
        rhs = _merge_axes(rhs, rhs_spec[0], rhs_spec[1])
    rhs = structural.rev(rhs, dimensions=tuple(window))
    out = conv_general_dilated(
        ct,
        rhs,
        window_strides=params["lhs_dilation"],
        padding=padding,
        lhs_dilation=params["window_strides"],
        rhs_dilation=params["rhs_dilation"],
        dimension_numbers=ConvDimensionNumbers(
            out_spec, (rhs_spec[1], rhs_spec[0], *window), lhs_spec
        ),
        feature_group_count=groups,
        batch_group_count=1,
        precision=params["precision"],
        preferred_element_type=_cotangent_dtype(ct, aval, params),
        out_sharding=None,
    )
    if batches > 1:  # groups among the features go back to the batch axis
        out = _split_axis(out, lhs_spec[1], batches)
        out = _merge_axes(out, lhs_spec[1], lhs_spec[0])
    return out


def _cotangent_dtype(ct: Any, aval: Any, params: dict[str, Any]) -> Any:
    same = aval_of(ct).dtype == aval.dtype and params["preferred_element_type"] is None
    return None if same else aval.dtype


def _transpose_rhs(ct: Any, lhs: Any, aval: Any, params: dict[str, Any]) -> Any:
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    padding = _rhs_padding(
        pick(aval_of(lhs).shape, lhs_spec[2:]),
        pick(aval.shape, rhs_spec[2:]),
        pick(aval_of(ct).shape, out_spec[2:]),
        params,
    )
    numbers = ConvDimensionNumbers(*((s[1], s[0], *s[2:]) for s in (lhs_spec, out_spec, rhs_spec)))
    return conv_general_dilated(
        lhs,
        ct,
        window_strides=params["rhs_dilation"],
        padding=padding,
        lhs_dilation=params["lhs_dilation"],
        rhs_dilation=params["window_strides"],
        dimension_numbers=numbers,
        feature_group_count=params["batch_group_count"],
        batch_group_count=params["feature_group_count"],
        precision=params["precision"],
        preferred_element_type=_cotangent_dtype(ct, aval, params),
        out_sharding=None,
    )


def _same_dtype(ct: Any, other: Any) -> tuple[Any, Any]:
    """Both operands of a convolution in the wider of their dtypes."""
    left, right = aval_of(ct).dtype, aval_of(other).dtype
    if left == right:
        return ct, other
    common = dtypes.promote_types(left, right)
    convert = conversion.convert_element_type
    params = {"new_dtype": common, "weak_type": False, "sharding": None}
    return convert(ct, **params), convert(other, **params)


def _transpose(ct: Any, lhs: Any, rhs: Any, **params: Any) -> list[Any]:
    if is_linear(lhs):
        ct, rhs = _same_dtype(ct, rhs)
        return [_transpose_lhs(ct, lhs.aval, rhs, params), None]
    ct, lhs = _same_dtype(ct, lhs)
    return [None, _transpose_rhs(ct, lhs, rhs.aval, params)]


# --------------------------------------------------------------------------- batching


def _merged(x: Any, dim: int, axis: int, groups: int = 1) -> Any:
    """The lanes on axis `dim` as part of axis `axis` of one lane: `[groups, lanes, rest]`."""
    if groups == 1:
        return _merge_axes(x, dim, axis)
    x = _split_axis(structural.moveaxis(x, dim, 0), axis + 1, groups)
    x = structural.moveaxis(x, 0, axis + 1)
    shape = aval_of(x).shape
    sizes = (*shape[:axis], math.prod(shape[axis : axis + 3]), *shape[axis + 3 :])
    return structural.reshape(x, new_sizes=sizes, dimensions=None, sharding=None)


def _unmerged(out: Any, axis: int, size: int, groups: int = 1) -> tuple[Any, int]:
    """The lanes taken out of axis `axis` of a result again; the second is their axis."""
    if groups == 1:
        return _split_axis(out, axis, size), axis
    shape = aval_of(out).shape
    rest = shape[axis] // (groups * size)
    sizes = (*shape[:axis], groups, size, rest, *shape[axis + 1 :])
    out = structural.reshape(out, new_sizes=sizes, dimensions=None, sharding=None)
    out = structural.moveaxis(out, axis + 1, 0)
    sizes = (size, *shape[:axis], groups * rest, *shape[axis + 1 :])
    return structural.reshape(out, new_sizes=sizes, dimensions=None, sharding=None), 0


def _batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, int]:
    (lhs, rhs), (ld, rd) = args, dims
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    features, batches = params["feature_group_count"], params["batch_group_count"]
    if ld is not None and rd is not None:  # every lane is a group
        by_batch = batches > 1
        lhs = _merged(lhs, ld, lhs_spec[0 if by_batch else 1])
        rhs = _merged(rhs, rd, rhs_spec[0])
        name = "batch_group_count" if by_batch else "feature_group_count"
        out = conv_general_dilated(lhs, rhs, **{**params, name: params[name] * size})
        return _unmerged(out, out_spec[1], size)
    if ld is not None:
        lhs = _merged(lhs, ld, lhs_spec[0], batches)
        return _unmerged(conv_general_dilated(lhs, rhs, **params), out_spec[0], size)
    groups = features * batches
    rhs = _merged(rhs, rd, rhs_spec[0], groups)
    return _unmerged(conv_general_dilated(lhs, rhs, **params), out_spec[1], size, groups)


# --------------------------------------------------------------------------- samples

_NCHW: Final = ConvDimensionNumbers((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))
_NHWC: Final = ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def _samples() -> Iterator[Sample]:
    rng = np.random.default_rng(11)

    def draw(shape: tuple[int, ...], dtype: Any) -> Any:
        values = rng.uniform(-1, 1, shape)
        if np.dtype(dtype).kind == "c":
            values = values + 1j * rng.uniform(-1, 1, shape)
        if np.dtype(dtype).kind in "iu":
            values = np.round(values * 4)
        return values.astype(dtype)

    def sample(
        x: Any, w: Any, numbers: Any = _NCHW, dtype: Any = "float32", **given: Any
    ) -> Sample:
        rank = len(x) - 2
        params = {
            "window_strides": (1,) * rank,
            "padding": ((0, 0),) * rank,
            "lhs_dilation": (1,) * rank,
            "rhs_dilation": (1,) * rank,
            "dimension_numbers": numbers,
            "feature_group_count": 1,
            "batch_group_count": 1,
            "precision": None,
            "preferred_element_type": None,
            "out_sharding": None,
        }
        return Sample((draw(x, dtype), draw(w, dtype)), params | given, tol=8.0)

    same = {"padding": ((1, 1), (1, 1))}
    for dtype in ("float32", "float64", "complex64", "int32", dtypes.bfloat16):
        yield sample((2, 3, 5, 6), (4, 3, 3, 3), dtype=dtype, **same)
    yield sample((2, 5, 6, 3), (3, 3, 3, 4), _NHWC, **same)
    yield sample((2, 1, 5, 6), (3, 1, 3, 3), **same)
    yield sample((2, 3, 7, 8), (4, 3, 3, 2), window_strides=(2, 3))
    yield sample((2, 3, 4, 5), (4, 3, 3, 2), lhs_dilation=(2, 3), padding=((1, 2), (0, 3)))
    yield sample((2, 7, 8, 3), (3, 3, 3, 4), _NHWC, rhs_dilation=(2, 2), padding=((2, 1), (1, 0)))
    yield sample((2, 3, 7, 8), (4, 3, 3, 3), padding=((-1, 2), (1, -2)), window_strides=(2, 1))
    yield sample((2, 4, 5, 6), (6, 2, 3, 3), feature_group_count=2, **same)
    yield sample((2, 5, 6, 4), (3, 3, 1, 8), _NHWC, feature_group_count=4, **same)
    yield sample((4, 3, 5, 6), (6, 3, 3, 3), batch_group_count=2, **same)
    yield sample((4, 5, 6, 3), (3, 3, 3, 6), _NHWC, batch_group_count=2)
    yield sample((2, 3, 9), (4, 3, 3), ConvDimensionNumbers((0, 1, 2), (0, 1, 2), (0, 1, 2)))
    yield sample((2, 3), (4, 3), ConvDimensionNumbers((0, 1), (0, 1), (0, 1)))
    yield sample((1, 3, 2, 2), (2, 3, 5, 5))
    yield sample((2, 2, 4, 3, 5), (3, 2, 2, 2, 2), ConvDimensionNumbers(*[(0, 1, 2, 3, 4)] * 3))
    mixed = ConvDimensionNumbers((1, 0, 3, 2), (1, 2, 0, 3), (2, 1, 3, 0))
    yield sample((3, 2, 6, 5), (3, 4, 3, 2), mixed, window_strides=(1, 2), **same)


conv_general_dilated: Final = Primitive(
    name="conv_general_dilated",
    abstract=_abstract,
    reference=_reference,
    jvp=_jvp,
    transpose=_transpose,
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=convolution_lowering.lower,
    hlo=hlo_windows.convolution,
    samples=_samples,
    multiple_results=False,
    effects=PURE,
    literals=False,
)
