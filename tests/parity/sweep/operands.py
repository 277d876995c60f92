"""Operands by name: `f32_2x3` is a float32 array of shape (2, 3), the same one everywhere.

A name is `dtype_shape`, and then flavours: `pos` (above 0), `unit` (inside -1..1), `prob` (inside
0..1), `idx` (0, 1 or 2), `up` (sorted), `spd` (symmetric positive definite), `whole` (integers in a
float), and `b`, `c`, `t` for other elements. Shape `s` is (), and `odd` is a vector of the values
where functions go wrong. Elements come from a sequence of low discrepancy, not from a generator, so
that they are the same on every version of NumPy.
"""

from __future__ import annotations

import re
from typing import Any, Final

import ml_dtypes
import numpy as np

DTYPES: Final[dict[str, Any]] = {
    "b1": np.bool_,
    "i8": np.int8,
    "i16": np.int16,
    "u8": np.uint8,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "f8": ml_dtypes.float8_e4m3fn,
    "f32": np.float32,
    "f64": np.float64,
    "c64": np.complex64,
    "c128": np.complex128,
}

_FLAVOURS: Final = ("pos", "unit", "prob", "idx", "up", "spd", "whole", "b", "c", "t")
NAME: Final = re.compile(
    rf"({'|'.join(DTYPES)})_(s|odd|\d+(?:x\d+)*)((?:_(?:{'|'.join(_FLAVOURS)}))*)"
)
_GOLDEN: Final = 0.6180339887498949
_ODD: Final = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1.5, -2.5, 1e-30, 3e5, 100.0)


def _steps(count: int, offset: float) -> np.ndarray[Any, Any]:
    """`count` numbers in 0..1, to three digits."""
    steps: np.ndarray[Any, Any] = np.mod((np.arange(count) + 1) * _GOLDEN + offset, 1.0)
    return np.round(steps, 3)


def _real(shape: tuple[int, ...], flavours: list[str], offset: float) -> np.ndarray[Any, Any]:
    steps = _steps(int(np.prod(shape)), offset).reshape(shape)
    if "pos" in flavours:
        return 0.2 + 2.7 * steps
    if "unit" in flavours:
        return 1.9 * steps - 0.95
    if "prob" in flavours:
        return 0.05 + 0.9 * steps
    return 6.0 * steps - 3.0


def _elements(dtype: Any, shape: tuple[int, ...], flavours: list[str]) -> np.ndarray[Any, Any]:
    offset = 0.1 * sum(i for i, f in enumerate(("b", "c", "t"), 1) if f in flavours)
    offset += 0.37 * ("b" in flavours)
    kind = np.dtype(dtype).kind if dtype not in _SMALL else "f"
    steps = _steps(int(np.prod(shape)), offset).reshape(shape)
    if "idx" in flavours:
        return np.floor(3 * steps)
    if kind == "b":
        return steps > 0.5
    if kind == "u":
        return np.floor(13 * steps) + ("pos" in flavours)
    if kind == "i":
        low = 1 if "pos" in flavours else -5
        return np.floor((9 - low) * steps) + low
    real = _real(shape, flavours, offset)
    real = np.round(real) if "whole" in flavours else real
    return real + 1j * _real(shape, flavours, offset + 0.23) if kind == "c" else real


_SMALL: Final = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)


def _definite(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.matmul(a, np.conj(np.swapaxes(a, -1, -2))) + 2.0 * np.eye(a.shape[-1])


def _odd(dtype: Any, flavours: list[str]) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype).kind if dtype not in _SMALL else "f"
    values = np.array(_ODD if kind in "fc" else (0, 1, 2, 3, 5, 7, 100, 127))
    if kind == "i":
        values = np.concatenate([values, [-1, -2, -128, np.iinfo(dtype).max, np.iinfo(dtype).min]])
    if kind == "u":
        values = np.concatenate([values, [np.iinfo(dtype).max]])
    shift = {"b": 5, "c": 7}
    return np.roll(values, sum(n for f, n in shift.items() if f in flavours))


def operand(name: str) -> np.ndarray[Any, Any]:
    """The array of a name.

    >>> operand("i32_2x3_idx").shape
    (2, 3)
    """
    match = NAME.fullmatch(name)
    assert match is not None, f"no operand is called {name}"
    dtype, flavours = DTYPES[match[1]], match[3].split("_")[1:]
    if match[2] == "odd" and "t" not in flavours:
        return _odd(dtype, flavours).astype(dtype)
    shape = {"s": (), "odd": (len(_ODD),)}.get(match[2])
    if shape is None:
        shape = tuple(map(int, match[2].split("x")))
    found = _elements(dtype, shape, flavours)
    if "spd" in flavours:
        found = _definite(found)
    if "up" in flavours:
        found = np.sort(found, axis=-1)
    with np.errstate(all="ignore"):
        return np.asarray(found).astype(dtype)
