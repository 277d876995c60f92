"""The file of an exported function: what `jax.export` writes and reads.

`Exported` <-> `write_file` / `read_file` <-> bytes

A file is one FlatBuffers table: names, structures, types with their lengths as texts, and the
module. The numbers of its fields and kinds are those that JAX's files have.  Nothing in a file is
executed when it is read, and the module is not looked into before the function is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pullback.core import dtypes, element_types
from pullback.core.avals import ShapedArray
from pullback.core.dimension_specs import SymbolicScope, parse_shape
from pullback.core.dtypes import KeyDtype
from pullback.errors import UnsupportedError
from pullback.export.flatbuffers import Fields, FormatError, Table, write
from pullback.export.trees import read_tree, written_tree

__all__ = ["Contents", "read_file", "write_file"]

_FORMAT: Final = 3
_FORMATS: Final = (2, 3)
_CONVENTIONS: Final = (9, 10)
_MAX_VJPS: Final = 16
_NAMES: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", "bfloat16", "int4", "uint4"),
    *("float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2"),
    *("float8_e5m2fnuz", "float0", "float8_e4m3", "float8_e3m4", "float8_e8m0fnu"),
    *("float4_e2m1fn", "key<fry>", "key<rbg>", "key<urbg>"),
)
"""Element types by their number in files."""


@dataclass(frozen=True)
class Contents:
    """What is in a file."""

    fun_name: str
    in_tree: Any
    in_avals: tuple[ShapedArray, ...]
    out_tree: Any
    out_avals: tuple[ShapedArray, ...]
    platforms: tuple[str, ...]
    ordered_effects: tuple[str, ...]
    unordered_effects: tuple[str, ...]
    disabled: tuple[str, ...]
    module: bytes
    version: int
    kept: tuple[int, ...]
    uses_global_constants: bool
    nr_devices: int
    vjp: Contents | None


# --------------------------------------------------------------------------- types


def _dtype_number(dtype: Any) -> int:
    name = "float0" if dtype == dtypes.float0 else dtype.name
    if name not in _NAMES:
        raise UnsupportedError(f"files of exported functions have no arrays of {name}")
    return _NAMES.index(name)


def _dtype(number: int) -> Any:
    if number >= len(_NAMES):
        raise FormatError(f"the file has elements of a type {number} that is not known here")
    name = _NAMES[number]
    if name == "float0":
        return dtypes.float0
    if name.startswith("key<"):
        return KeyDtype(name[4:-1])
    return _BY_NAME[name]


_BY_NAME: Final[dict[str, np.dtype[Any]]] = {d.name: d for d in element_types.SUPPORTED}


def _written_type(aval: ShapedArray) -> Fields:
    shape = [str(n) for n in aval.shape]
    return Fields({1: shape, 2: ("B", _dtype_number(aval.dtype)), 3: ("B", 1)})


def _read_type(table: Table, scope: SymbolicScope) -> ShapedArray:
    texts = table.texts(1)
    if len(texts) > 256:
        raise FormatError("an array of the file has too many axes")
    try:
        shape = [part for text in texts for part in parse_shape(text, scope)]
    except ZeroDivisionError as error:
        raise FormatError("the length of an axis of the file is damaged") from error
    if len(shape) != len(texts) or any(isinstance(n, int) and not 0 <= n < 2**48 for n in shape):
        raise FormatError(f"{texts} is no shape")
    return ShapedArray(tuple(shape), _dtype(table.number(2, "B")))


# --------------------------------------------------------------------------- writing


def _numbered(avals: Sequence[ShapedArray]) -> tuple[list[ShapedArray], dict[ShapedArray, int]]:
    numbers: dict[ShapedArray, int] = {}
    for aval in avals:
        numbers.setdefault(aval, len(numbers))
    return list(numbers), numbers


def _effect(name: str) -> Fields:
    return Fields({0: name})


def _check(text: str) -> Fields:
    kind, _, target = text.partition(":")
    return Fields({} if kind == "platform" else {0: ("B", 1), 1: target})


def _table(c: Contents) -> Fields:
    types, numbers = _numbered([*c.in_avals, *c.out_avals])
    fields: dict[int, Any] = {
        0: ("H", _FORMAT),
        1: c.fun_name,
        2: written_tree(c.in_tree),
        3: [_written_type(a) for a in c.in_avals],
        4: written_tree(c.out_tree),
        5: [_written_type(a) for a in c.out_avals],
        7: [Fields({}) for _ in c.in_avals],
        8: [Fields({}) for _ in c.out_avals],
        9: list(c.platforms),
        10: [_effect(e) for e in c.ordered_effects],
        11: [_effect(e) for e in c.unordered_effects],
        12: [_check(text) for text in c.disabled],
        13: c.module,
        14: ("H", c.version),
        15: ("H", list(c.kept)),
        18: ("I", c.nr_devices),
        19: [_written_type(a) for a in types],
        20: [],
        21: [],
        22: ("I", [numbers[a] for a in c.in_avals]),
        23: ("I", [numbers[a] for a in c.out_avals]),
        24: ("I", [0] * len(c.in_avals)),
        25: ("I", [0] * len(c.out_avals)),
    }
    if c.uses_global_constants:
        fields[16] = ("B", 1)
    if c.vjp is not None:
        fields[17] = _table(c.vjp)
    return Fields(fields)


def write_file(contents: Contents) -> bytes:
    """The bytes of a file."""
    return write(_table(contents))


# --------------------------------------------------------------------------- reading


def _types(table: Table, scope: SymbolicScope, plain: int, numbers: int) -> tuple[Any, ...]:
    """The types in one field, or numbered in two."""
    if table.has(plain):
        return tuple(_read_type(t, scope) for t in table.tables(plain))
    known = [_read_type(t, scope) for t in table.tables(19)]
    wanted = table.numbers(numbers, "I")
    if any(k >= len(known) for k in wanted):
        raise FormatError("the file refers to a type that it does not have")
    return tuple(known[k] for k in wanted)


def _read(table: Table, depth: int, scope: SymbolicScope) -> Contents:
    if depth > _MAX_VJPS:
        raise FormatError("the file holds too many derivatives")
    version = table.number(14, "H")
    if table.number(0, "H") not in _FORMATS or version not in _CONVENTIONS:
        raise FormatError(
            f"files of format {table.number(0, 'H')} with the calling convention {version} are "
            f"not known here: formats {_FORMATS} and conventions {_CONVENTIONS} are"
        )
    pull = table.table(17)
    contents = Contents(
        fun_name=table.text(1),
        in_tree=read_tree(table.table(2)),
        in_avals=_types(table, scope, 3, 22),
        out_tree=read_tree(table.table(4)),
        out_avals=_types(table, scope, 5, 23),
        platforms=tuple(table.texts(9)),
        ordered_effects=tuple(t.text(0) for t in table.tables(10)),
        unordered_effects=tuple(t.text(0) for t in table.tables(11)),
        disabled=tuple(
            f"custom_call:{t.text(1)}" if t.number(0, "B") else "platform" for t in table.tables(12)
        ),
        module=table.bytes(13),
        version=version,
        kept=table.numbers(15, "H"),
        uses_global_constants=bool(table.number(16, "B")),
        nr_devices=table.number(18, "I", 1),
        vjp=None if pull is None else _read(pull, depth + 1, scope),
    )
    counts = contents.in_tree.num_leaves, contents.out_tree.num_leaves
    if counts != (len(contents.in_avals), len(contents.out_avals)):
        raise FormatError("the structures of the file do not fit its types")
    if list(contents.kept) != sorted({k for k in contents.kept if k < len(contents.in_avals)}):
        raise FormatError("the file keeps arguments that there are not")
    if not contents.platforms:
        raise FormatError("the file is for no platform")
    return contents


def read_file(data: bytes) -> Contents:
    """What is in the bytes of a file."""
    return _read(Table.root(data), 0, SymbolicScope())
