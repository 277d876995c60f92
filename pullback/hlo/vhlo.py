"""VHLO: the versioned form of StableHLO in portable artifacts, and its encoding in bytecode.

`read_artifact` gives the operations of an artifact under their names in StableHLO.  The codes of
attributes and types, and which attributes an operation has, are those that serialisers write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.hlo import bytecode
from pullback.hlo.bytecode import Cursor
from pullback.hlo.modules import (
    FunctionType,
    ModuleError,
    Operation,
    Region,
    TensorType,
    TokenType,
    TupleType,
    elements,
)
from pullback.hlo.text import element_type

__all__ = ["read_artifact"]

_DYNAMIC: Final = -(2**63)
_TYPE_NAMES: Final = {
    0: "i1",
    2: "bf16",
    3: "f16",
    4: "f32",
    5: "f64",
    6: "f8E4M3FN",
    7: "f8E5M2",
    9: "index",
    10: "i4",
    11: "i8",
    12: "i16",
    13: "i32",
    14: "i64",
    15: "ui4",
    16: "ui8",
    17: "ui16",
    18: "ui32",
    19: "ui64",
    27: "f8E4M3FNUZ",
    28: "f8E5M2FNUZ",
    29: "f8E4M3B11FNUZ",
    31: "i2",
    32: "ui2",
    35: "f8E4M3",
    36: "f8E3M4",
    37: "f4E2M1FN",
    38: "f6E2M3FN",
    39: "f6E3M2FN",
    40: "f8E8M0FNU",
}
_COMPLEX, _FUNCTION, _TENSOR, _TOKEN, _TUPLE, _NONE = 1, 8, 20, 22, 23, 33

_ENUMERATIONS: Final = {
    3: ("EQ", "NE", "GE", "GT", "LE", "LT"),
    4: ("NOTYPE", "FLOAT", "TOTALORDER", "SIGNED", "UNSIGNED"),
    5: range(5),
    7: ("FFT", "IFFT", "RFFT", "IRFFT"),
    11: ("DEFAULT", "HIGH", "HIGHEST"),
    12: ("DEFAULT", "THREE_FRY", "PHILOX"),
    13: ("", "UNIFORM", "NORMAL"),
    16: ("", "NO_TRANSPOSE", "TRANSPOSE", "ADJOINT"),
}

_CONVOLUTION: Final = (
    "batch_group_count feature_group_count input_batch_dimension input_feature_dimension "
    "input_spatial_dimensions kernel_input_feature_dimension kernel_output_feature_dimension "
    "kernel_spatial_dimensions lhs_dilation output_batch_dimension output_feature_dimension "
    "output_spatial_dimensions {} precision_config rhs_dilation window_reversal window_strides"
)
_PROPERTIES: Final = {
    name: tuple(attributes.split())
    for name, attributes in {
        "func_v1": "arg_attrs function_type res_attrs sym_name sym_visibility",
        "call_v1": "callee",
        "constant_v1": "value",
        "compare_v1": "compare_type comparison_direction",
        "convolution_v1": _CONVOLUTION.format("padding"),
        "dynamic_conv_v2": _CONVOLUTION.format(""),
        "dot_general_v1": "lhs_batching_dimensions lhs_contracting_dimensions precision_config "
        "rhs_batching_dimensions rhs_contracting_dimensions",
        "dot_general_v2": "accumulation_type allow_imprecise_accumulation lhs_batching_dimensions "
        "lhs_component_count lhs_contracting_dimensions lhs_precision_type "
        "num_primitive_operations precision_config rhs_batching_dimensions rhs_component_count "
        "rhs_contracting_dimensions rhs_precision_type",
        "dot_v1": "precision_config",
        "fft_v1": "fft_length fft_type",
        "pad_v1": "edge_padding_high edge_padding_low interior_padding",
        "reduce_precision_v1": "exponent_bits mantissa_bits",
        "gather_v1": "collapsed_slice_dims index_vector_dim indices_are_sorted offset_dims "
        "slice_sizes start_index_map",
        "gather_v2": "collapsed_slice_dims index_vector_dim indices_are_sorted offset_dims "
        "operand_batching_dims slice_sizes start_index_map start_indices_batching_dims",
        "dynamic_gather_v1": "collapsed_slice_dims index_vector_dim indices_are_sorted "
        "offset_dims start_index_map",
        "dynamic_gather_v2": "collapsed_slice_dims index_vector_dim indices_are_sorted "
        "offset_dims operand_batching_dims start_index_map start_indices_batching_dims",
        "scatter_v1": "index_vector_dim indices_are_sorted inserted_window_dims "
        "scatter_dims_to_operand_dims unique_indices update_window_dims",
        "scatter_v2": "index_vector_dim indices_are_sorted input_batching_dims "
        "inserted_window_dims scatter_dims_to_operand_dims scatter_indices_batching_dims "
        "unique_indices update_window_dims",
        "transpose_v1": "permutation",
        "custom_call_v1": "api_version backend_config call_target_name called_computations "
        "has_side_effect operand_layouts output_operand_aliases result_layouts",
        "iota_v1": "iota_dimension",
        "dynamic_iota_v1": "iota_dimension",
        "dynamic_slice_v1": "slice_sizes",
        "slice_v1": "limit_indices start_indices strides",
        "get_dimension_size_v1": "dimension",
        "set_dimension_size_v1": "dimension",
        "concatenate_v1": "dimension",
        "broadcast_in_dim_v1": "broadcast_dimensions",
        "broadcast_v1": "broadcast_sizes",
        "dynamic_broadcast_in_dim_v1": "broadcast_dimensions known_expanding_dimensions "
        "known_nonexpanding_dimensions",
        "composite_v1": "composite_attributes decomposition name version",
        "composite_v2": "composite_attributes decomposition name version",
        "sort_v1": "dimension is_stable",
        "reduce_v1": "dimensions",
        "map_v1": "dimensions",
        "reverse_v1": "dimensions",
        "reduce_window_v1": "base_dilations padding window_dilations window_dimensions "
        "window_strides",
        "select_and_scatter_v1": "padding window_dimensions window_strides",
        "rng_v1": "rng_distribution",
        "rng_bit_generator_v1": "rng_algorithm",
        "triangular_solve_v1": "left_side lower transpose_a unit_diagonal",
        "cholesky_v1": "lower",
        "get_tuple_element_v1": "index",
    }.items()
}
_ACCURATE: Final = frozenset(
    f"{name}_v2"
    for name in (
        *("cbrt", "cosine", "exponential", "exponential_minus_one", "log", "log_plus_one"),
        *("logistic", "rsqrt", "sine", "sqrt", "tan", "tanh"),
    )
)
"""Operations with one more attribute: how accurate results have to be."""


def _type(cursor: Cursor) -> Any:
    code = cursor.varint()
    if code in _TYPE_NAMES:
        return element_type(_TYPE_NAMES[code])
    if code == _COMPLEX:
        part = cursor.type_at(cursor.varint())
        if part not in (dtypes.float32, dtypes.float64):
            raise ModuleError("complex numbers have parts of 32 or 64 bits")
        return np.dtype(f"complex{16 * part.itemsize}")
    if code == _TENSOR:
        shape = tuple(None if n == _DYNAMIC else n for n in cursor.signeds())
        dtype = cursor.type_at(cursor.varint())
        return TensorType(shape, dtype)
    if code == _FUNCTION:
        return FunctionType(tuple(cursor.types()), tuple(cursor.types()))
    if code == _TUPLE:
        return TupleType(tuple(cursor.types()))
    if code in (_TOKEN, _NONE):
        return TokenType() if code == _TOKEN else None
    raise ModuleError(f"types of VHLO's kind {code} are not known here")


def _attribute(cursor: Cursor) -> Any:
    code = cursor.varint()
    if code in _ENUMERATIONS:
        names, at = _ENUMERATIONS[code], cursor.varint()
        if at >= len(names):
            raise ModuleError("an enumeration of the program has a value that is not known here")
        return names[at]
    reader = _READERS.get(code)
    if reader is None:
        raise ModuleError(f"attributes of VHLO's kind {code} are not known here")
    return reader(cursor)


def _dictionary(cursor: Cursor) -> dict[str, Any]:
    pairs = [
        (cursor.attribute(cursor.varint()), cursor.attribute(cursor.varint()))
        for _ in range(cursor.count(2))
    ]
    return {str(k): v for k, v in pairs}


def _number(cursor: Cursor, dtype: Any) -> int:
    """The bits of an integer: a byte, or a signed number."""
    return cursor.byte() if _bits(dtype) <= 8 else cursor.signed()


def _bits(dtype: Any) -> int:
    return int(dtype.itemsize) * 8


def _integer(cursor: Cursor) -> int:
    dtype = cursor.type_at(cursor.varint())
    value = _number(cursor, dtype)
    unsigned = dtypes.kind_of(dtype) == "u" or dtype == dtypes.bool_
    width = _bits(dtype)
    value &= (1 << width) - 1
    return value if unsigned or value < 1 << (width - 1) else value - (1 << width)


def _float(cursor: Cursor) -> float:
    dtype = cursor.type_at(cursor.varint())
    bits = _number(cursor, dtype) & ((1 << _bits(dtype)) - 1)
    return float(np.frombuffer(bits.to_bytes(dtype.itemsize, "little"), dtype)[0])


def _tensor(cursor: Cursor) -> np.ndarray[Any, Any]:
    type_ = cursor.type_at(cursor.varint())
    return elements(type_, cursor.blob())


def _alias(cursor: Cursor) -> dict[str, Any]:
    return {
        "operand_tuple_indices": cursor.signeds(),
        "operand_index": cursor.signed(),
        "output_tuple_indices": cursor.signeds(),
    }


_READERS: Final[dict[int, Callable[[Cursor], Any]]] = {
    1: Cursor.attributes,
    2: lambda cursor: bool(cursor.varint()),
    6: _dictionary,
    8: _float,
    9: _integer,
    10: lambda cursor: None,  # results that may take the memory of operands, or extensions
    14: Cursor.text,
    15: _tensor,
    17: lambda cursor: cursor.type_at(cursor.varint()),
    18: lambda cursor: None,  # the accuracy of results
    20: lambda cursor: None,
}

_BUILTIN_ARRAY, _BUILTIN_DICTIONARY, _BUILTIN_STRING = 0, 1, 2


def _builtin_attribute(cursor: Cursor) -> Any:
    """Attributes of the module itself; what programs do not need is None."""
    code = cursor.varint()
    if code == _BUILTIN_ARRAY:
        return cursor.attributes()
    if code == _BUILTIN_DICTIONARY:
        return _dictionary(cursor)
    if code == _BUILTIN_STRING:
        return cursor.text()
    return None


def _ignored(cursor: Cursor) -> Any:
    return None


_DECODERS: Final = {
    "vhlo": (_attribute, _type),
    "builtin": (_builtin_attribute, _ignored),
    "sdy": (_ignored, _ignored),
}


def _properties(name: str, cursor: Cursor) -> dict[str, Any]:
    """The attributes of an operation, which stand in the order of their names."""
    dialect, _, short = name.partition(".")
    if dialect != "vhlo":
        return {}
    names = _PROPERTIES.get(short, ("result_accuracy",) if short in _ACCURATE else None)
    if names is None:
        raise ModuleError(f"the operation {name} is not known here")
    return {key: cursor.attribute(cursor.varint()) for key in names}


def _renamed(operation: Operation) -> Operation:
    """The operation under its name in StableHLO, and so inside of it."""
    regions = [Region(r.arguments, [_renamed(o) for o in r.operations]) for r in operation.regions]
    name = operation.name
    if name.startswith("vhlo."):
        short = name[len("vhlo.") :].rpartition("_v")[0]
        dialect = "func" if short in ("func", "call") else "stablehlo"
        name = f"{dialect}.{short}"
    return Operation(name, operation.operands, operation.attributes, operation.results, regions)


def read_artifact(data: bytes) -> Operation:
    """The module in a portable artifact, its operations named as in StableHLO."""
    operations = bytecode.read(data, _DECODERS, _properties)
    if len(operations) != 1 or operations[0].name != "builtin.module":
        raise ModuleError("the bytecode holds no module")
    return _renamed(operations[0])
