"""Operations of StableHLO that move elements: shapes, slices, indices; and of linear maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.errors import UnsupportedError
from pullback.export.interpreter import Interpreter, ints, is_known, rule, single
from pullback.hlo.modules import ModuleError, Operation, Region

__all__ = ["adjoint"]


@rule("stablehlo.broadcast_in_dim", folds=True)
def _broadcast_in_dim(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    shape = interpreter.shape_of(operation)
    return lax.broadcast_in_dim(x, shape, ints(operation.attributes["broadcast_dimensions"]))


@rule("stablehlo.dynamic_broadcast_in_dim", folds=True)
def _dynamic_broadcast(interpreter: Interpreter, operation: Operation, x: Any, shape: Any) -> Any:
    lengths = interpreter.shape_of(operation, shape)
    return lax.broadcast_in_dim(x, lengths, ints(operation.attributes["broadcast_dimensions"]))


@rule("stablehlo.broadcast")
def _broadcast(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return lax.broadcast(x, ints(operation.attributes["broadcast_sizes"]))


def _known_size(operation: Operation, x: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) != math.prod(x.shape) or min(shape, default=0) < 0:
        raise ModuleError(f"{operation.name} of {list(x.shape)} to {list(shape)}")
    return shape


@rule("stablehlo.reshape", folds=True)
def _reshape(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return lax.reshape(x, _known_size(operation, x, interpreter.shape_of(operation)))


@rule("stablehlo.dynamic_reshape", folds=True)
def _dynamic_reshape(interpreter: Interpreter, operation: Operation, x: Any, shape: Any) -> Any:
    return lax.reshape(x, _known_size(operation, x, interpreter.shape_of(operation, shape)))


@rule("stablehlo.transpose")
def _transpose(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return lax.transpose(x, ints(operation.attributes["permutation"]))


@rule("stablehlo.reverse")
def _reverse(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return lax.rev(x, ints(operation.attributes["dimensions"]))


@rule("stablehlo.concatenate", folds=True)
def _concatenate(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
    return lax.concatenate(list(xs), int(operation.attributes["dimension"]))


@rule("stablehlo.slice", folds=True)
def _slice(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    start, limit, strides = (
        ints(operation.attributes.get(k)) for k in ("start_indices", "limit_indices", "strides")
    )
    return lax.slice(x, start, limit, strides or None)


def _numbers(operation: Operation, *xs: Any) -> list[tuple[int, ...]]:
    """Operands that say where something is: they have to be known."""
    if not all(map(is_known, xs)):
        raise UnsupportedError(f"{operation.name}: lengths of axes that depend on values of arrays")
    return [ints(x) for x in xs]


@rule("stablehlo.real_dynamic_slice")
def _real_dynamic_slice(
    interpreter: Interpreter, operation: Operation, x: Any, start: Any, limit: Any, strides: Any
) -> Any:
    if not is_known(start) and is_known(strides) and set(ints(strides)) <= {1}:
        # Where it begins may depend on values, but how much is taken may not.
        sizes = interpreter.difference(operation.operands[2], operation.operands[1])
        if sizes is not None:
            starts = [start[k] for k in range(x.ndim)]
            return lax.dynamic_slice_p.bind(x, *starts, slice_sizes=ints(sizes))
    return lax.slice(x, *_numbers(operation, start, limit, strides))


@rule("stablehlo.dynamic_slice")
def _dynamic_slice(interpreter: Interpreter, operation: Operation, x: Any, *starts: Any) -> Any:
    # The primitive: a negative position is clamped, and none from the end.
    sizes = ints(operation.attributes["slice_sizes"])
    return lax.dynamic_slice_p.bind(x, *starts, slice_sizes=sizes)


@rule("stablehlo.dynamic_update_slice")
def _dynamic_update_slice(
    interpreter: Interpreter, operation: Operation, x: Any, update: Any, *starts: Any
) -> Any:
    return lax.dynamic_update_slice_p.bind(x, update, *starts)


@rule("stablehlo.pad")
def _pad(interpreter: Interpreter, operation: Operation, x: Any, value: Any) -> Any:
    parts = ("edge_padding_low", "edge_padding_high", "interior_padding")
    config = zip(*(ints(operation.attributes[k]) for k in parts), strict=True)
    return lax.pad(x, value, list(config))


@rule("stablehlo.dynamic_pad")
def _dynamic_pad(
    interpreter: Interpreter, operation: Operation, x: Any, value: Any, *parts: Any
) -> Any:
    return lax.pad(x, value, list(zip(*_numbers(operation, *parts), strict=True)))


@rule("stablehlo.set_dimension_size")
def _set_length(interpreter: Interpreter, operation: Operation, x: Any, size: Any) -> Any:
    ((n,),) = _numbers(operation, size)
    axis = int(operation.attributes["dimension"])
    if not 0 <= n <= x.shape[axis]:
        raise ModuleError("an axis of the module becomes longer than it is")
    return lax.slice_in_dim(x, 0, n, axis=axis)


# --------------------------------------------------------------------------- indices


def _vectors_last(indices: Any, axis: int) -> Any:
    """Indices with their vectors along the last axis."""
    rank = len(indices.shape)
    if axis == rank:
        return lax.expand_dims(indices, (rank,))
    order = [k for k in range(rank) if k != axis] + [axis]
    return indices if order == list(range(rank)) else lax.transpose(indices, order)


@rule("stablehlo.gather", "stablehlo.dynamic_gather")
def _gather(
    interpreter: Interpreter, operation: Operation, x: Any, indices: Any, sizes: Any = None
) -> Any:
    a = operation.attributes
    numbers = lax.GatherDimensionNumbers(
        offset_dims=ints(a.get("offset_dims")),
        collapsed_slice_dims=ints(a.get("collapsed_slice_dims")),
        start_index_map=ints(a.get("start_index_map")),
        operand_batching_dims=ints(a.get("operand_batching_dims")),
        start_indices_batching_dims=ints(a.get("start_indices_batching_dims")),
    )
    indices = _vectors_last(indices, int(a.get("index_vector_dim") or 0))
    (lengths,) = (ints(a.get("slice_sizes")),) if sizes is None else _numbers(operation, sizes)
    return lax.gather(
        x,
        indices,
        numbers,
        lengths,
        mode="clip",
        indices_are_sorted=bool(a.get("indices_are_sorted")),
    )


_SCATTERS: Final[dict[str, Callable[..., Any]]] = {
    "stablehlo.add": lax.scatter_add,
    "stablehlo.multiply": lax.scatter_mul,
    "stablehlo.minimum": lax.scatter_min,
    "stablehlo.maximum": lax.scatter_max,
}


def _scatter_function(region: Region, dtype: Any) -> Callable[..., Any]:
    name = single(region)
    if name in _SCATTERS and dtype != dtypes.bool_:
        return _SCATTERS[name]
    old, new = region.arguments if len(region.arguments) == 2 else (None, None)
    last = region.operations[-1]
    if len(region.operations) == 1 and last.operands == [new]:
        return lax.scatter
    if dtype == dtypes.bool_ and name in ("stablehlo.add", "stablehlo.or", "stablehlo.maximum"):
        return lax.scatter_max
    if dtype == dtypes.bool_ and name in ("stablehlo.multiply", "stablehlo.and"):
        return lax.scatter_min
    first = region.operations[0]
    if len(region.operations) == 2 and (first.name, first.operands) == (
        "stablehlo.subtract",
        [old, new],
    ):
        return lax.scatter_sub
    raise UnsupportedError(
        "stablehlo.scatter that combines elements by another function than addition, "
        "subtraction, multiplication, minimum, maximum or replacement"
    )


@rule("stablehlo.scatter")
def _scatter(interpreter: Interpreter, operation: Operation, env: Any, *xs: Any) -> Any:
    if len(xs) != 3:
        raise UnsupportedError("stablehlo.scatter of several operands")
    x, indices, updates = xs
    a = operation.attributes
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=ints(a.get("update_window_dims")),
        inserted_window_dims=ints(a.get("inserted_window_dims")),
        scatter_dims_to_operand_dims=ints(a.get("scatter_dims_to_operand_dims")),
        operand_batching_dims=ints(a.get("input_batching_dims")),
        scatter_indices_batching_dims=ints(a.get("scatter_indices_batching_dims")),
    )
    return _scatter_function(operation.regions[0], x.dtype)(
        x,
        _vectors_last(indices, int(a.get("index_vector_dim") or 0)),
        updates,
        numbers,
        indices_are_sorted=bool(a.get("indices_are_sorted")),
        unique_indices=bool(a.get("unique_indices")),
        mode="drop",
    )


# --------------------------------------------------------------------------- linear maps


def _precision(operation: Operation) -> Any:
    found = operation.attributes.get("precision_config")
    if not found or set(found) == {"DEFAULT"}:
        return None
    return tuple(lax.Precision[str(p)] for p in found)


@rule("stablehlo.dot_general")
def _dot_general(interpreter: Interpreter, operation: Operation, x: Any, y: Any) -> Any:
    a = operation.attributes
    numbers: Any = tuple(
        tuple(ints(a.get(f"{side}_{kind}_dimensions")) for side in ("lhs", "rhs"))
        for kind in ("contracting", "batching")
    )
    dtype = operation.results[0].type.dtype
    return lax.dot_general(
        x, y, numbers, precision=_precision(operation), preferred_element_type=dtype
    )


@rule("stablehlo.dot")
def _dot(interpreter: Interpreter, operation: Operation, x: Any, y: Any) -> Any:
    dtype = operation.results[0].type.dtype
    return lax.dot(x, y, precision=_precision(operation), preferred_element_type=dtype)


def _convolved(operation: Operation, x: Any, w: Any, padding: Any) -> Any:
    a = operation.attributes
    specs = []
    for side, kinds in (
        ("input", ("batch", "feature")),
        ("kernel", ("output_feature", "input_feature")),
        ("output", ("batch", "feature")),
    ):
        spatial = ints(a[f"{side}_spatial_dimensions"])
        specs.append((*(int(a[f"{side}_{kind}_dimension"]) for kind in kinds), *spatial))
    n = len(specs[0]) - 2
    turned = np.asarray(a.get("window_reversal") if a.get("window_reversal") is not None else [])
    axes = [specs[1][2 + k] for k, t in enumerate(turned.reshape(-1)) if t]
    return lax.conv_general_dilated(
        x,
        lax.rev(w, axes) if axes else w,
        ints(a.get("window_strides")) or (1,) * n,
        [tuple(pair) for pair in np.asarray(padding).reshape(n, 2).tolist()],
        lhs_dilation=ints(a.get("lhs_dilation")) or (1,) * n,
        rhs_dilation=ints(a.get("rhs_dilation")) or (1,) * n,
        dimension_numbers=lax.ConvDimensionNumbers(*specs),
        feature_group_count=int(a.get("feature_group_count", 1)),
        batch_group_count=int(a.get("batch_group_count", 1)),
        precision=_precision(operation),
        preferred_element_type=operation.results[0].type.dtype,
    )


@rule("stablehlo.convolution")
def _convolution(interpreter: Interpreter, operation: Operation, x: Any, w: Any) -> Any:
    padding = operation.attributes.get("padding")
    n = len(x.shape) - 2
    return _convolved(operation, x, w, np.zeros((n, 2), int) if padding is None else padding)


@rule("stablehlo.dynamic_conv")
def _dynamic_conv(
    interpreter: Interpreter, operation: Operation, x: Any, w: Any, padding: Any
) -> Any:
    (known,) = _numbers(operation, padding)
    return _convolved(operation, x, w, known)


@rule("stablehlo.fft")
def _fft(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    a = operation.attributes
    return lax.fft(x, str(a["fft_type"]), ints(a["fft_length"]))


@rule("stablehlo.cholesky")
def _cholesky(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    if operation.attributes.get("lower"):
        return lax.linalg.cholesky(x, symmetrize_input=False)
    return adjoint(lax.linalg.cholesky(adjoint(x), symmetrize_input=False))


def adjoint(x: Any) -> Any:
    """Matrices transposed and conjugated."""
    rank = len(x.shape)
    out = lax.transpose(x, (*range(rank - 2), rank - 1, rank - 2))
    return lax.conj(out) if dtypes.kind_of(x.dtype) == "c" else out


@rule("stablehlo.triangular_solve")
def _triangular_solve(interpreter: Interpreter, operation: Operation, x: Any, y: Any) -> Any:
    a = operation.attributes
    return lax.linalg.triangular_solve(
        x,
        y,
        left_side=bool(a.get("left_side")),
        lower=bool(a.get("lower")),
        unit_diagonal=bool(a.get("unit_diagonal")),
        transpose_a=a.get("transpose_a") in ("TRANSPOSE", "ADJOINT"),
        conjugate_a=a.get("transpose_a") == "ADJOINT",
    )
