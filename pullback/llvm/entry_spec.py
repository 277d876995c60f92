"""What one compiled signature accepts and returns, and its encoding for the native call path.

An `EntrySpec` says how the arguments must look (containers, avals, Python scalars, static values),
which of them are handed to the program, and what is built from its results.  `encode` turns it
into a table of 64-bit words that the routine of `entry_native.py` walks at each call; nothing is
compiled per signature.

Structures (`Node`) are tuples: `("leaf",)`, `("none",)`, `("static", value)`, `("tuple", nodes)`,
`("list", nodes)`, `("dict", keys, nodes)`.  Leaves are listed beside them, in the order of a walk
from left to right.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np

from pullback.llvm.entry_layout import layout, slot_offset

__all__ = [
    "Build",
    "EntrySpec",
    "Fetch",
    "Header",
    "Kind",
    "LeafSpec",
    "Node",
    "Out",
    "OutputSpec",
    "Scalar",
    "array_leaf",
    "constant_output",
    "encode",
    "fresh_output",
    "input_output",
    "ndarray_leaf",
    "numpy_scalar_leaf",
    "scalar_leaf",
]

Node = tuple[Any, ...]


class Kind(IntEnum):
    """What a record of the input table expects."""

    ARRAY, NONE, TUPLE, LIST, DICT, STATIC, FLOAT, INT, BOOL, COMPLEX, NDARRAY, NUMPY_SCALAR = (
        range(12)
    )


class Fetch(IntEnum):
    """Where a record of the input table finds its object."""

    ITEM, KEY, KEYWORD = range(3)


class Out(IntEnum):
    """Where an output comes from."""

    FRESH, INPUT, CONSTANT, DONATED = range(4)


class Build(IntEnum):
    """A step of building the result, on a stack."""

    LEAF, NONE, TUPLE, LIST, DICT, STATIC = range(6)


class Scalar(IntEnum):
    """What a Python scalar is converted to."""

    F32, F64, I32, I64, BOOL, C64, C128 = range(7)


SCALARS: Final = {
    (Kind.FLOAT, "float32"): Scalar.F32,
    (Kind.FLOAT, "float64"): Scalar.F64,
    (Kind.INT, "int32"): Scalar.I32,
    (Kind.INT, "int64"): Scalar.I64,
    (Kind.BOOL, "bool"): Scalar.BOOL,
    (Kind.COMPLEX, "complex64"): Scalar.C64,
    (Kind.COMPLEX, "complex128"): Scalar.C128,
}
PYTHON_TYPES: Final = {Kind.FLOAT: float, Kind.INT: int, Kind.BOOL: bool, Kind.COMPLEX: complex}


class LeafSpec(NamedTuple):
    """One leaf of the arguments: what it must be."""

    kind: Kind
    aval: Any
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]


def array_leaf(aval: Any) -> LeafSpec:
    """An array of ours whose aval is this very object."""
    return LeafSpec(Kind.ARRAY, aval, None, ())


def scalar_leaf(python_type: type, dtype: Any) -> LeafSpec:
    """A Python `float`, `int`, `bool` or `complex` (exact type), handed over as `dtype`.

    An `int` that does not fit misses.  Raises TypeError for a pair that has no conversion.

    >>> scalar_leaf(float, "float32").kind.name
    'FLOAT'
    """
    kinds = {t: k for k, t in PYTHON_TYPES.items()}
    to = np.dtype(dtype)
    if (kinds.get(python_type), to.name) not in SCALARS:
        raise TypeError(f"a Python {python_type.__name__} is not handed over as {to.name}")
    return LeafSpec(kinds[python_type], None, to, ())


def ndarray_leaf(dtype: Any, shape: Sequence[int]) -> LeafSpec:
    """A NumPy array of this dtype and shape; one that is not contiguous and aligned misses."""
    return LeafSpec(Kind.NDARRAY, None, np.dtype(dtype), tuple(shape))


def numpy_scalar_leaf(dtype: Any) -> LeafSpec:
    """A NumPy scalar such as `np.float32(1)`."""
    found = np.dtype(dtype)
    if found.kind not in "biufc" or found.itemsize > 16:
        raise TypeError(f"NumPy scalars of {found} are not handed over in place")
    return LeafSpec(Kind.NUMPY_SCALAR, None, found, ())


class OutputSpec(NamedTuple):
    """One leaf of the result: a new array around memory that is new, an argument's, or constant."""

    origin: Out
    aval: Any
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    source: int
    value: Any


def fresh_output(aval: Any, dtype: Any, shape: Sequence[int], donated: int = -1) -> OutputSpec:
    """An array that the program writes; `dtype` is the physical one.

    `donated` names a leaf of the arguments (an array of the same size) whose buffer is taken over
    if nothing else refers to it.  The program must work when both are the same memory.
    """
    origin = Out.FRESH if donated < 0 else Out.DONATED
    return OutputSpec(origin, aval, np.dtype(dtype), tuple(shape), donated, None)


def input_output(leaf: int, aval: Any) -> OutputSpec:
    """An array of its own around the memory of this leaf; the program does not see it."""
    return OutputSpec(Out.INPUT, aval, None, (), leaf, None)


def constant_output(value: np.ndarray[Any, Any], aval: Any) -> OutputSpec:
    """An array of its own around the same memory at each call; the program does not see it."""
    value.flags.writeable = False
    return OutputSpec(Out.CONSTANT, aval, None, (), -1, value)


@dataclass(frozen=True, kw_only=True)
class EntrySpec:
    """Everything a call of one compiled signature needs."""

    args: Sequence[Node]
    """One structure for each positional argument."""
    kwargs: Sequence[tuple[str, Node]] = ()
    """Names and structures of the keyword arguments, all of which must be given."""
    leaves: Sequence[LeafSpec]
    """The leaves of `args`, then of `kwargs`, from left to right."""
    params: Sequence[int] | None = None
    """The leaves that the program takes, in order; None means all."""
    constants: Sequence[np.ndarray[Any, Any]] = ()
    """Handed to the program after the parameters."""
    outputs: Sequence[OutputSpec]
    """The program gets a pointer for each fresh (or donated) one, in order."""
    tree: Node | None = None
    """Structure of the result, its leaves being `outputs` in order; None: call `finish`."""
    finish: Callable[[list[Any]], Any] | None = None
    """Makes the result from the list of outputs, where `tree` cannot say it."""
    program: int
    """Address of `i32 program(ptr args, ptr outs, ptr arena)`."""
    arena_bytes: int = 0
    release_gil: bool = False
    on_error: Callable[[int], Any]
    """Called with a status that is not zero; raises."""
    array_type: type
    """The class of arrays, with slots `aval` and `_data`."""
    active: list[Any]
    """The entry is skipped while this list is not empty."""
    deleted: Sequence[int] = ()
    """Leaves whose `_data` is deleted after a successful call (donated ones)."""
    keep: Any = field(default=None, compare=False)
    """Kept alive with the entry, such as the loaded module."""

    def program_leaves(self) -> Sequence[int]:
        """`params`, spelled out."""
        return range(len(self.leaves)) if self.params is None else self.params


class Header(IntEnum):
    """Words at the start of a table."""

    (
        ARGS,
        KEYWORDS,
        ACTIVE,
        RECORDS,
        RECORDS_AT,
        LEAVES,
        PARAMS,
        CONSTANTS,
        CONSTANTS_AT,
        OUTPUTS,
        OUTPUTS_AT,
        STEPS,
        STEPS_AT,
        PROGRAM,
        ARENA,
        RELEASE_GIL,
        ON_ERROR,
        FINISH,
        ARRAY_TYPE,
        AVAL_SLOT,
        DATA_SLOT,
        DELETED,
        DELETED_AT,
        FRAME,
        FRAME_LEAVES,
        FRAME_SCALARS,
        FRAME_PARAMS,
        FRAME_OUTS,
        FRAME_OBJECTS,
        FRAME_STACK,
        FRESH,
        RESERVED,
    ) = range(32)


RECORD_WORDS: Final = 8
OUTPUT_WORDS: Final = 8
STEP_WORDS: Final = 4


class _Table:
    """Words of the table, with the objects that it points to."""

    def __init__(self) -> None:
        self.words = array.array("q", [0] * len(Header))
        self.objects: list[Any] = []

    def pointer(self, obj: Any) -> int:
        self.objects.append(obj)
        return id(obj)

    def append(self, words: Sequence[int]) -> int:
        """Add words at the end; their byte offset in the table."""
        at = 8 * len(self.words)
        self.words.extend(words)
        return at


class _Inputs:
    """Walks the structures of the arguments and writes one record a node."""

    def __init__(self, spec: EntrySpec, table: _Table) -> None:
        self.table, self.spec = table, spec
        self.records: list[int] = []
        self.registers = 1
        self.leaf = 0
        self.slots = {leaf: slot for slot, leaf in enumerate(spec.program_leaves())}
        for index, node in enumerate(spec.args):
            self.visit(node, Fetch.ITEM, 0, index)
        for name, node in spec.kwargs:
            self.visit(node, Fetch.KEYWORD, 0, table.pointer(sys.intern(name)))

    def record(self, fetch: Fetch, register: int, key: int, kind: Kind, a: int, b: int) -> None:
        leaf = self.leaf if kind is Kind.ARRAY or kind >= Kind.FLOAT else -1
        slot = self.slots.get(leaf, -1)
        self.records.extend((fetch, register, key, kind, a, b, leaf, slot))
        self.leaf += leaf >= 0

    def visit(self, node: Node, fetch: Fetch, register: int, key: int) -> None:
        if node[0] == "leaf":
            self.record(fetch, register, key, *self.expected(self.spec.leaves[self.leaf]))
        elif node[0] == "none":
            self.record(fetch, register, key, Kind.NONE, 0, 0)
        elif node[0] == "static":
            self.record(fetch, register, key, Kind.STATIC, self.table.pointer(node[1]), 0)
        else:
            self.container(node, fetch, register, key)

    def expected(self, leaf: LeafSpec) -> tuple[Kind, int, int]:
        pointer = self.table.pointer
        if leaf.kind is Kind.ARRAY:
            return leaf.kind, pointer(leaf.aval), 0
        dtype = leaf.dtype
        assert dtype is not None
        if leaf.kind is Kind.NDARRAY:
            at = self.table.append([len(leaf.shape), *leaf.shape])
            return leaf.kind, pointer(dtype), at
        if leaf.kind is Kind.NUMPY_SCALAR:
            return leaf.kind, pointer(dtype.type), 0
        return leaf.kind, 0, SCALARS[leaf.kind, dtype.name]

    def container(self, node: Node, fetch: Fetch, register: int, key: int) -> None:
        kind = {"tuple": Kind.TUPLE, "list": Kind.LIST, "dict": Kind.DICT}[node[0]]
        mine = self.registers
        self.registers += 1
        children = node[-1]
        self.record(fetch, register, key, kind, len(children), mine)
        for index, child in enumerate(children):
            if kind is Kind.DICT:
                self.visit(child, Fetch.KEY, mine, self.table.pointer(_safe_key(node[1][index])))
            else:
                self.visit(child, Fetch.ITEM, mine, index)


def _safe_key(key: Any) -> Any:
    """Keys whose comparison runs no code of the user's."""
    if type(key) not in (str, int, bool, bytes, float):
        raise TypeError(f"dictionary keys of type {type(key).__name__} take the Python route")
    return sys.intern(key) if type(key) is str else key


def _numpy_layout(shape: Sequence[int], itemsize: int) -> tuple[list[int], int]:
    """Strides and flags of a new read-only array that owns its memory, as NumPy would set them."""
    strides = [itemsize * math.prod(max(n, 1) for n in shape[i + 1 :]) for i in range(len(shape))]
    by_columns = sum(n != 1 for n in shape) <= 1 or 0 in shape
    return strides, OWNED_BY_ROWS | (COLUMNS if by_columns else 0)


OWNED_BY_ROWS: Final = 0x105
COLUMNS: Final = 0x2
"""NumPy's flags: contiguous, aligned, owner of the memory; and contiguous by columns."""


def _output_words(spec: OutputSpec, table: _Table) -> list[int]:
    aval = table.pointer(spec.aval)
    if spec.origin is Out.CONSTANT:
        return [spec.origin, aval, table.pointer(spec.value), 0, 0, 0, 0, 0]
    if spec.origin is Out.INPUT:
        return [spec.origin, aval, 0, 0, 0, 0, spec.source, 0]
    assert spec.dtype is not None
    strides, flags = _numpy_layout(spec.shape, spec.dtype.itemsize)
    at = table.append([*spec.shape, *strides])
    nbytes = math.prod(spec.shape) * spec.dtype.itemsize
    return [
        spec.origin,
        aval,
        table.pointer(spec.dtype),
        len(spec.shape),
        at,
        nbytes,
        spec.source,
        flags,
    ]


def _steps(node: Node, leaves: Iterator[int], table: _Table) -> Iterator[tuple[int, ...]]:
    """Post-order: push leaves, then containers take them off the stack.

    A dict is a copy of one with the same keys, which need not be hashed into a growing table.
    """
    if node[0] == "leaf":
        yield Build.LEAF, next(leaves), 0, 0
    elif node[0] == "none":
        yield Build.NONE, 0, 0, 0
    elif node[0] == "static":
        yield Build.STATIC, table.pointer(node[1]), 0, 0
    else:
        for child in node[-1]:
            yield from _steps(child, leaves, table)
        kind = {"tuple": Build.TUPLE, "list": Build.LIST, "dict": Build.DICT}[node[0]]
        if kind is Build.DICT:
            keys = tuple(_safe_key(k) for k in node[1])
            yield kind, len(keys), table.pointer(keys), table.pointer(dict.fromkeys(keys))
        else:
            yield kind, len(node[-1]), 0, 0


def _frame(words: array.array[int], registers: int, leaves: int, steps: int) -> None:
    """Lay out the scratch memory of a call: eight-byte words, one region after the other."""
    at = 8 * registers
    sizes = {
        Header.FRAME_LEAVES: 8 * leaves,
        Header.FRAME_SCALARS: 16 * leaves,
        Header.FRAME_PARAMS: 8 * (words[Header.PARAMS] + words[Header.CONSTANTS]),
        Header.FRAME_OUTS: 8 * words[Header.FRESH],
        Header.FRAME_OBJECTS: 8 * words[Header.OUTPUTS],
        Header.FRAME_STACK: 8 * steps,
    }
    for name, size in sizes.items():
        at = -(-at // 16) * 16
        words[name] = at
        at += size
    words[Header.FRAME] = -(-at // 16) * 16


def _check(spec: EntrySpec) -> None:
    """Refuse what would make native code read or write the wrong memory."""
    for output in spec.outputs:
        reused = output.origin in (Out.INPUT, Out.DONATED)
        if reused and spec.leaves[output.source].kind is not Kind.ARRAY:
            raise ValueError(f"leaf {output.source} is no array, and cannot be an output")
        if output.origin is Out.DONATED and output.source not in spec.deleted:
            raise ValueError(f"leaf {output.source} is donated, but not among the deleted ones")
    for leaf in spec.deleted:
        if spec.leaves[leaf].kind is not Kind.ARRAY:
            raise ValueError(f"leaf {leaf} is no array, and cannot be deleted")
    for constant in spec.constants:
        if not constant.flags.c_contiguous:
            raise ValueError("constants of a program must be contiguous")
    if spec.tree is None and spec.finish is None:
        raise ValueError("an entry needs `tree` or `finish`")


def encode(spec: EntrySpec) -> tuple[bytes, list[Any]]:
    """The table of an entry, and the objects that must live as long as it.

    Raises TypeError for what only the Python route can do.
    """
    _check(spec)
    table = _Table()
    words = table.words
    inputs = _Inputs(spec, table)
    if inputs.leaf != len(spec.leaves):
        raise ValueError(f"structures with {inputs.leaf} leaves, but {len(spec.leaves)} given")
    outputs = [w for o in spec.outputs for w in _output_words(o, table)]
    tree = spec.tree if spec.finish is None else None
    steps = [] if tree is None else list(_steps(tree, iter(range(len(spec.outputs))), table))
    fresh = sum(o.origin in (Out.FRESH, Out.DONATED) for o in spec.outputs)
    pointers = [c.__array_interface__["data"][0] for c in spec.constants]
    table.objects.append(list(spec.constants))
    values = {
        Header.ARGS: len(spec.args),
        Header.KEYWORDS: len(spec.kwargs),
        Header.ACTIVE: table.pointer(spec.active),
        Header.RECORDS: len(inputs.records) // RECORD_WORDS,
        Header.RECORDS_AT: table.append(inputs.records),
        Header.LEAVES: len(spec.leaves),
        Header.PARAMS: len(spec.program_leaves()),
        Header.CONSTANTS: len(pointers),
        Header.CONSTANTS_AT: table.append(pointers),
        Header.OUTPUTS: len(spec.outputs),
        Header.OUTPUTS_AT: table.append(outputs),
        Header.STEPS: len(steps),
        Header.STEPS_AT: table.append([w for step in steps for w in step]),
        Header.PROGRAM: spec.program,
        Header.ARENA: spec.arena_bytes,
        Header.RELEASE_GIL: int(spec.release_gil),
        Header.ON_ERROR: table.pointer(spec.on_error),
        Header.FINISH: 0 if spec.finish is None else table.pointer(spec.finish),
        Header.ARRAY_TYPE: table.pointer(spec.array_type),
        Header.AVAL_SLOT: slot_offset(spec.array_type, "aval"),
        Header.DATA_SLOT: slot_offset(spec.array_type, "_data"),
        Header.DELETED: len(spec.deleted),
        Header.DELETED_AT: table.append(list(spec.deleted)),
        Header.FRESH: fresh,
    }
    for name, value in values.items():
        words[name] = value
    _frame(words, inputs.registers, len(spec.leaves), len(steps))
    layout()  # raises where the interpreter's objects are not as the native route needs them
    return words.tobytes(), table.objects
