"""A module that was read, as MLIR text in the generic form of operations."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.stablehlo import flag, int_array
from pullback.hlo.modules import (
    FunctionType,
    Operation,
    Region,
    TensorType,
    TokenType,
    TupleType,
    Value,
)
from pullback.hlo.text import dense, element_name, splat, tensor

__all__ = ["text_of"]

_NUMBERS: Final = {
    "dot_general": ("dot_dimension_numbers", "dot"),
    "gather": ("dimension_numbers", "gather"),
    "dynamic_gather": ("dimension_numbers", "gather"),
    "scatter": ("scatter_dimension_numbers", "scatter"),
    "convolution": ("dimension_numbers", "conv"),
    "dynamic_conv": ("dimension_numbers", "conv"),
}
"""Operations some of whose attributes are one structure in text."""
_PARTS: Final = {
    "dot": (
        *("lhs_batching_dimensions", "rhs_batching_dimensions", "lhs_contracting_dimensions"),
        "rhs_contracting_dimensions",
    ),
    "gather": (
        *("offset_dims", "collapsed_slice_dims", "operand_batching_dims"),
        *("start_indices_batching_dims", "start_index_map", "index_vector_dim"),
    ),
    "scatter": (
        *("update_window_dims", "inserted_window_dims", "input_batching_dims"),
        *("scatter_indices_batching_dims", "scatter_dims_to_operand_dims", "index_vector_dim"),
    ),
}
_ENUMERATIONS: Final = {
    "comparison_direction": "comparison_direction",
    "compare_type": "comparison_type",
    "fft_type": "fft_type",
    "rng_algorithm": "rng_algorithm",
    "rng_distribution": "rng_distribution",
    "transpose_a": "transpose",
}
_SYMBOLS: Final = ("callee", "decomposition")
_SMALL: Final = {
    ("get_tuple_element", "index"): "i32",
    ("reduce_precision", "exponent_bits"): "i32",
    ("reduce_precision", "mantissa_bits"): "i32",
    ("composite", "version"): "i32",
    ("custom_call", "api_version"): "i32",
}
_MATRICES: Final = ("padding",)
_MARKERS: Final = ("sdy.mesh", "sdy.sharding_constraint", "builtin.unrealized_conversion_cast")
_DROPPED: Final = ("result_accuracy", "output_operand_aliases")


def _type(type_: Any) -> str:
    if isinstance(type_, TensorType):
        lengths = "".join("?x" if n is None else f"{n}x" for n in type_.shape)
        return f"tensor<{lengths}{element_name(type_.dtype)}>"
    if isinstance(type_, TokenType):
        return "!stablehlo.token"
    if isinstance(type_, TupleType):
        return f"tuple<{', '.join(map(_type, type_.parts))}>"
    if isinstance(type_, FunctionType):
        return (
            f"({', '.join(map(_type, type_.inputs))}) -> ({', '.join(map(_type, type_.results))})"
        )
    if type_ is None:
        return "none"
    return element_name(type_)


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _listed(value: Any) -> str:
    return f"[{', '.join(str(int(n)) for n in np.asarray(value).reshape(-1))}]"


def _convolution(a: dict[str, Any]) -> str:
    def side(name: str, letters: dict[str, str]) -> str:
        spatial = [int(n) for n in np.asarray(a.pop(f"{name}_spatial_dimensions")).reshape(-1)]
        axes = {int(a.pop(f"{name}_{kind}_dimension")): letter for kind, letter in letters.items()}
        axes |= {at: str(k) for k, at in enumerate(spatial)}
        return f"[{', '.join(axes[k] for k in sorted(axes))}]"

    both = {"batch": "b", "feature": "f"}
    kernel = {"input_feature": "i", "output_feature": "o"}
    sides = side("input", both), side("kernel", kernel), side("output", both)
    return f"#stablehlo.conv<{sides[0]}x{sides[1]}->{sides[2]}>"


def _attribute(operation: str, key: str, value: Any) -> str:
    """The text of an attribute, whose kind its name tells."""
    short = operation.partition(".")[2]
    if isinstance(value, np.ndarray):
        whole = key == "value" or key in _MATRICES
        if whole and value.size > 1 and not any(value.strides):
            return (
                f"dense<{splat(value.flat[0], value.dtype)}> : {tensor((value.shape, value.dtype))}"
            )
        if whole or value.ndim != 1 or value.dtype.kind not in "ib":
            return dense(value)
        if value.dtype == dtypes.bool_:
            inside = ", ".join(map(flag, value))
            return f"array<i1: {inside}>" if inside else "array<i1>"
        return int_array([int(n) for n in value])
    if key in _ENUMERATIONS:
        return f"#stablehlo<{_ENUMERATIONS[key]} {value}>"
    if key == "precision_config":
        return f"[{', '.join(f'#stablehlo<precision {v}>' for v in value)}]"
    if key in _SYMBOLS:
        return f"@{_string(value)}"
    if key in ("operand_layouts", "result_layouts"):
        return f"[{', '.join(f'dense<{_listed(v)}> : tensor<{len(v)}xindex>' for v in value)}]"
    if key == "called_computations":
        return f"[{', '.join(f'@{_string(v)}' for v in value)}]"
    if isinstance(value, bool):
        return flag(value)
    if isinstance(value, int):
        return f"{value} : {_SMALL.get((short, key), 'i64')}"
    if isinstance(value, float):
        return f"{value!r} : f64"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, dict):
        return _dictionary(operation, value)
    if isinstance(value, list):
        if value and all(type(v) is int for v in value):
            return int_array(value)
        return f"[{', '.join(_attribute(operation, '', v) for v in value)}]"
    return _type(value)


def _dictionary(operation: str, attributes: dict[str, Any]) -> str:
    parts = [
        f"{k if k.replace('_', 'a').isalnum() else _string(k)} = {_attribute(operation, k, v)}"
        for k, v in attributes.items()
        if v is not None and k not in _DROPPED and not (k.endswith("_layouts") and not v)
    ]
    return "{" + ", ".join(parts) + "}"


class _Printer:
    def __init__(self) -> None:
        self.names: dict[Value, str] = {}
        self.lines: list[str] = []
        self.count = 0

    def define(self, value: Value) -> str:
        name = self.names[value] = f"%{self.count}"
        self.count += 1
        return name

    def region(self, region: Region, indent: str) -> None:
        """The lines of a region, without its braces."""
        if region.arguments:
            arguments = ", ".join(f"{self.define(a)}: {_type(a.type)}" for a in region.arguments)
            self.lines.append(f"{indent}^bb0({arguments}):")
        for operation in region.operations:
            self.operation(operation, indent)

    def operation(self, o: Operation, indent: str) -> None:
        """The lines of an operation."""
        if o.name == "func.func":
            self.function(o, indent)
            return
        if o.name in _MARKERS:
            # They say where values are: everything is on one device.
            for value, operand in zip(o.results, o.operands, strict=True):
                self.names[value] = self.names[operand]
            return
        attributes = dict(o.attributes)
        short = o.name.partition(".")[2]
        structure = _NUMBERS.get(short)
        texts = []
        if structure is not None:
            texts.append(f"{structure[0]} = {self.numbers(structure[1], attributes)}")
        inside = _dictionary(o.name, attributes)[1:-1]
        whole = ", ".join([*texts, inside] if inside else texts)
        operands = ", ".join(self.names[v] for v in o.operands)
        types = ", ".join(_type(v.type) for v in o.operands)
        results = ", ".join(_type(v.type) for v in o.results)
        head = ", ".join(self.define(v) for v in o.results) + (" = " if o.results else "")
        tail = f" : ({types}) -> ({results})"
        text = f'{indent}{head}"{o.name}"({operands})'
        if not o.regions:
            self.lines.append(f"{text}{f' {{{whole}}}' if whole else ''}{tail}")
            return
        self.lines.append(f"{text} ({{")
        for k, region in enumerate(o.regions):
            if k:
                self.lines.append(f"{indent}}}, {{")
            self.region(region, indent + "  ")
        self.lines.append(f"{indent}}}){f' {{{whole}}}' if whole else ''}{tail}")

    @staticmethod
    def numbers(kind: str, attributes: dict[str, Any]) -> str:
        """The structure of dimension numbers, whose parts are taken from the attributes."""
        if kind == "conv":
            return _convolution(attributes)
        texts = []
        for part in _PARTS[kind]:
            value = attributes.pop(part, None)
            if value is not None:
                plain = part == "index_vector_dim"
                texts.append(f"{part} = {int(value) if plain else _listed(value)}")
        return f"#stablehlo.{kind}<{', '.join(texts)}>"

    def function(self, o: Operation, indent: str) -> None:
        """The lines of a function."""
        region = o.regions[0]
        arguments = ", ".join(f"{self.define(a)}: {_type(a.type)}" for a in region.arguments)
        end = region.operations[-1]
        results = ", ".join(_type(v.type) for v in end.operands)
        symbol = str(o.attributes["sym_name"])
        private = "public" if symbol == "main" else "private"
        self.lines.append(
            f"{indent}func.func {private} @{_string(symbol)}({arguments}) -> ({results}) {{"
        )
        for operation in region.operations[:-1]:
            self.operation(operation, indent + "  ")
        values = ", ".join(self.names[v] for v in end.operands)
        self.lines.append(f"{indent}  return {values}{f' : {results}' if results else ''}")
        self.lines.append(f"{indent}}}")


def text_of(module: Operation) -> str:
    """The text of a module."""
    printer = _Printer()
    for operation in module.regions[0].operations:
        printer.operation(operation, "  ")
    name = str(module.attributes.get("sym_name") or "module")
    return "\n".join([f"module @{_string(name)} {{", *printer.lines, "}", ""])
