"""The arithmetic of products as users ask for it: precisions and dot algorithms by name."""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

__all__ = ["DotAlgorithm", "DotAlgorithmPreset", "Precision", "canonicalize_precision"]


class Precision(enum.Enum):
    """How exactly an accelerator multiplies float32 numbers; a CPU always does so exactly."""

    DEFAULT = 0
    HIGH = 1
    HIGHEST = 2

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def _missing_(cls, value: object) -> Precision | None:
        return _PRECISION_NAMES.get(value) if isinstance(value, str | None) else None


_PRECISION_NAMES: Final[dict[str | None, Precision]] = {
    None: Precision.DEFAULT,
    "default": Precision.DEFAULT,
    "fastest": Precision.DEFAULT,
    "bfloat16": Precision.DEFAULT,
    "high": Precision.HIGH,
    "bfloat16_3x": Precision.HIGH,
    "tensorfloat32": Precision.HIGH,
    "highest": Precision.HIGHEST,
    "float32": Precision.HIGHEST,
}


class DotAlgorithm(NamedTuple):
    """The arithmetic of a product in full: types of the operands' parts and of the sums."""

    lhs_precision_type: Any
    rhs_precision_type: Any
    accumulation_type: Any
    lhs_component_count: int = 1
    rhs_component_count: int = 1
    num_primitive_operations: int = 1
    allow_imprecise_accumulation: bool = False


class DotAlgorithmPreset(enum.Enum):
    """Names of common dot algorithms: operand types, the type of sums, the number of parts."""

    DEFAULT = enum.auto()
    ANY_F8_ANY_F8_F32 = enum.auto()
    ANY_F8_ANY_F8_F32_FAST_ACCUM = enum.auto()
    ANY_F8_ANY_F8_ANY = enum.auto()
    ANY_F8_ANY_F8_ANY_FAST_ACCUM = enum.auto()
    F16_F16_F16 = enum.auto()
    F16_F16_F32 = enum.auto()
    BF16_BF16_BF16 = enum.auto()
    BF16_BF16_F32 = enum.auto()
    BF16_BF16_F32_X3 = enum.auto()
    BF16_BF16_F32_X6 = enum.auto()
    BF16_BF16_F32_X9 = enum.auto()
    TF32_TF32_F32 = enum.auto()
    TF32_TF32_F32_X3 = enum.auto()
    F32_F32_F32 = enum.auto()
    F64_F64_F64 = enum.auto()

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __str__(self) -> str:
        return self.name


def _one_precision(value: Any) -> Precision:
    if isinstance(value, Precision):
        return value
    if value is None or value in _PRECISION_NAMES:
        return _PRECISION_NAMES[value]
    known = ", ".join(repr(name) for name in _PRECISION_NAMES if name)
    raise ValueError(
        f"Precision argument must be one of: None, {known}, a lax.Precision value, a tuple of two "
        f"of these, or a lax.DotAlgorithm; got {value!r}"
    )


def canonicalize_precision(precision: Any, default: Any = None) -> Any:
    """The form that parameters keep: None, a pair of `Precision`, or a dot algorithm.

    >>> canonicalize_precision("highest")
    (Precision.HIGHEST, Precision.HIGHEST)
    """
    precision = default if precision is None else precision
    if precision is None or isinstance(precision, DotAlgorithm | DotAlgorithmPreset):
        return precision
    if isinstance(precision, str) and precision in DotAlgorithmPreset.__members__:
        return DotAlgorithmPreset[precision]
    if isinstance(precision, tuple | list):
        if len(precision) != 2:
            raise ValueError(
                f"Precision argument must be one of them or a pair of them; got {precision!r}"
            )
        return tuple(_one_precision(p) for p in precision)
    return (_one_precision(precision),) * 2
