"""StableHLO of windows, products and transforms: reduce_window, convolutions, dot_general, fft."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.core import dtypes
from pullback.core.stablehlo import Emitter, Value, enum, int_array, int_matrix, integer
from pullback.errors import UnsupportedError
from pullback.ops.precision import DotAlgorithm, DotAlgorithmPreset

__all__ = ["convolution", "dot_general", "fft", "reduce_window", "select_and_scatter"]


def _window_attributes(
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[Sequence[int]],
    base_dilation: Sequence[int],
    window_dilation: Sequence[int],
) -> dict[str, str]:
    return {
        "window_dimensions": int_array(window_dimensions),
        "window_strides": int_array(window_strides),
        "base_dilations": int_array(base_dilation),
        "window_dilations": int_array(window_dilation),
        "padding": int_matrix(padding),
    }


def reduce_window(
    b: Emitter,
    xs: Sequence[Value],
    inits: Sequence[Any],
    combine: Callable[..., Sequence[Value]],
    **window: Any,
) -> list[Value]:
    """Reductions of windows; the type of the first result of the equation gives the shape."""
    shape = b.types[0][0]
    attributes = _window_attributes(**window)
    return b.reductions("stablehlo.reduce_window", xs, inits, combine, shape, attributes)


def select_and_scatter(
    b: Emitter,
    source: Value,
    x: Value,
    better: str,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[Sequence[int]],
) -> Value:
    """`source` added to zeros where the extreme of each window is."""
    attributes = {
        "window_dimensions": int_array(window_dimensions),
        "window_strides": int_array(window_strides),
        "padding": int_matrix(padding),
    }
    scalars = [((), x.dtype)] * 2
    regions = [
        b.region(scalars, lambda old, new: [b.compare(better, old, new)]),
        b.region(scalars, lambda old, new: [b.s.add(old, new)]),
    ]
    operands = [x, source, b.full((), 0, x.dtype)]
    return b.op("stablehlo.select_and_scatter", operands, x.shape, x.dtype, attributes, regions)


# --------------------------------------------------------------------------- products

_ALGORITHM_TYPES: Final = {
    "F8": "f8E4M3FN", "F16": "f16", "BF16": "bf16", "TF32": "tf32", "F32": "f32", "F64": "f64",
}  # fmt: skip


def _precisions(precision: Any) -> str:
    """The attribute `precision_config`."""
    pair = ("DEFAULT", "DEFAULT") if precision is None else tuple(p.name for p in precision)
    return f"[{', '.join(enum('precision', name) for name in pair)}]"


def _algorithm(algorithm: Any) -> str:
    """The attribute `algorithm` of a product."""
    if isinstance(algorithm, DotAlgorithm):
        raise UnsupportedError("a dot algorithm in full has no StableHLO here: use a preset")
    parts = algorithm.name.split("_")
    if parts[0] == "ANY" or algorithm is DotAlgorithmPreset.DEFAULT:
        raise UnsupportedError(f"the dot algorithm {algorithm} depends on the operands' types")
    count = int(parts[3][1:]) if len(parts) > 3 else 1
    components = {1: 1, 3: 2, 6: 3, 9: 3}[count]
    lhs, rhs, total = (_ALGORITHM_TYPES[p] for p in parts[:3])
    return (
        f"#stablehlo.dot_algorithm<lhs_precision_type = {lhs}, rhs_precision_type = {rhs}, "
        f"accumulation_type = {total}, lhs_component_count = {components}, "
        f"rhs_component_count = {components}, num_primitive_operations = {count}, "
        "allow_imprecise_accumulation = false>"
    )


def dot_general(
    b: Emitter, x: Value, y: Value, *, dimension_numbers: Any, precision: Any, **_: Any
) -> Value:
    """A product of matrices, with batch axes."""
    (lhs_c, rhs_c), (lhs_b, rhs_b) = dimension_numbers
    shape, dtype = b.types[0]
    if x.dtype != y.dtype:
        x, y = b.s.convert(x, dtype), b.s.convert(y, dtype)
    if dtype == dtypes.bool_:  # whether some pair holds: as a sum of integers
        x, y = b.convert(x, dtypes.int32), b.convert(y, dtypes.int32)
    numbers = ", ".join(
        f"{name} = [{', '.join(map(str, axes))}]"
        for name, axes in (
            ("lhs_batching_dimensions", lhs_b),
            ("rhs_batching_dimensions", rhs_b),
            ("lhs_contracting_dimensions", lhs_c),
            ("rhs_contracting_dimensions", rhs_c),
        )
    )
    attributes = {"dot_dimension_numbers": f"#stablehlo.dot<{numbers}>"}
    if isinstance(precision, DotAlgorithm | DotAlgorithmPreset):
        if precision is not DotAlgorithmPreset.DEFAULT:
            attributes["algorithm"] = _algorithm(precision)
    else:
        attributes["precision_config"] = _precisions(precision)
    wide = dtypes.int32 if dtype == dtypes.bool_ else dtype
    out = b.op("stablehlo.dot_general", [x, y], shape, wide, attributes)
    return b.compare("NE", out, 0) if dtype == dtypes.bool_ else out


def _axes(spec: Sequence[int], first: str, second: str) -> str:
    names = [""] * len(spec)
    names[spec[0]], names[spec[1]] = first, second
    for k, axis in enumerate(spec[2:]):
        names[axis] = str(k)
    return f"[{', '.join(names)}]"


def convolution(
    b: Emitter, x: Value, w: Value, *, dimension_numbers: Any, precision: Any, **params: Any
) -> Value:
    """A convolution; of complex numbers, four of real ones."""
    shape, dtype = b.types[0]
    n = dimension_numbers
    left, right = _axes(n.lhs_spec, "b", "f"), _axes(n.rhs_spec, "o", "i")
    pair = precision if isinstance(precision, tuple) else None
    attributes = {
        "dimension_numbers": f"#stablehlo.conv<{left}x{right}->{_axes(n.out_spec, 'b', 'f')}>",
        "window_strides": int_array(params["window_strides"]),
        "padding": int_matrix(params["padding"]),
        "lhs_dilation": int_array(params["lhs_dilation"]),
        "rhs_dilation": int_array(params["rhs_dilation"]),
        "feature_group_count": integer(params["feature_group_count"]),
        "batch_group_count": integer(params["batch_group_count"]),
        "precision_config": _precisions(pair),
    }

    def real(left: Value, right: Value, type_: Any) -> Value:
        return b.op("stablehlo.convolution", [left, right], shape, type_, attributes)

    if dtypes.kind_of(dtype) != "c":
        return real(x, w, dtype)
    s = b.s
    parts = [(s.real(v), s.imag(v)) for v in (x, w)]
    (xr, xi), (wr, wi) = parts
    half = xr.dtype
    out: Value = s.complex(
        s.sub(real(xr, wr, half), real(xi, wi, half)),
        s.add(real(xr, wi, half), real(xi, wr, half)),
    )
    return out


def fft(b: Emitter, x: Value, *, fft_type: Any, fft_lengths: Sequence[int]) -> Value:
    """A discrete Fourier transform of the last axes."""
    shape, dtype = b.types[0]
    if 0 in x.shape or 0 in shape:
        return b.full(shape, 0, dtype)
    attributes = {
        "fft_type": enum("fft_type", fft_type.name),
        "fft_length": int_array(fft_lengths),
    }
    return b.op("stablehlo.fft", [x], shape, dtype, attributes)
