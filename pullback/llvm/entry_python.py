"""The Python route of a call: what the native routine does, in Python.

For interpreters whose objects the native routine cannot read, and for signatures it cannot
express.  The meaning is that of `entry_match.py` and `entry_native.py`; the tests run every case
through both.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pullback.llvm.entry_spec import (
    PYTHON_TYPES,
    EntrySpec,
    Kind,
    LeafSpec,
    Node,
    Out,
    OutputSpec,
)

__all__ = ["MISSED", "call"]

MISSED: Final = object()
"""What `call` returns when the arguments do not fit."""

_CONTAINERS: Final = {"tuple": tuple, "list": list, "dict": dict}


class _Mismatch(Exception):
    """The arguments do not fit."""


def call(
    spec: EntrySpec, args: Sequence[Any], kwargs: Mapping[str, Any], *, gated: bool = True
) -> Any:
    """The result of the call, or MISSED.  A gated one misses while `spec.active` is not empty."""
    if (gated and spec.active) or len(args) != len(spec.args) or len(kwargs) != len(spec.kwargs):
        return MISSED
    try:
        leaves = list(_leaves(spec, args, kwargs))
        held = [_array(spec, e, leaf) for e, leaf in zip(spec.leaves, leaves, strict=True)]
    except _Mismatch:
        return MISSED
    return _run(spec, leaves, held)


def _leaves(spec: EntrySpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for node, value in zip(spec.args, args, strict=True):
        yield from _flatten(node, value)
    for name, node in spec.kwargs:
        if name not in kwargs:
            raise _Mismatch
        yield from _flatten(node, kwargs[name])


def _flatten(node: Node, value: Any) -> Iterator[Any]:
    kind = node[0]
    if kind == "leaf":
        yield value
    elif kind == "none":
        _require(value is None)
    elif kind == "static":
        expected = node[1]
        plain = type(value) is type(expected) and type(value) in (int, str)
        _require(value is expected or (plain and value == expected))
    else:
        yield from _flatten_container(node, value)


def _flatten_container(node: Node, value: Any) -> Iterator[Any]:
    children = node[-1]
    _require(type(value) is _CONTAINERS[node[0]] and len(value) == len(children))
    if node[0] != "dict":
        items = value
    else:
        _require(all(key in value for key in node[1]))
        items = [value[key] for key in node[1]]
    for child, item in zip(children, items, strict=True):
        yield from _flatten(child, item)


def _require(condition: bool) -> None:
    if not condition:
        raise _Mismatch


def _array(spec: EntrySpec, leaf: LeafSpec, value: Any) -> np.ndarray[Any, Any]:
    """The leaf's memory as a NumPy array."""
    if leaf.kind is Kind.ARRAY:
        cls: Any = spec.array_type
        _require(type(value) is cls and cls.aval.__get__(value) is leaf.aval)
        data = _get(spec, value)
        _require(type(data) is np.ndarray)
        return data  # type: ignore[no-any-return]
    assert leaf.dtype is not None
    if leaf.kind is Kind.NDARRAY:
        _require(type(value) is np.ndarray and value.dtype == leaf.dtype)
        _require(value.shape == leaf.shape and value.flags.c_contiguous and value.flags.aligned)
        return value  # type: ignore[no-any-return]
    if leaf.kind is Kind.NUMPY_SCALAR:
        _require(type(value) is leaf.dtype.type)
        return np.asarray(value)
    _require(type(value) is PYTHON_TYPES[leaf.kind])
    if leaf.kind is Kind.INT:
        info = np.iinfo(leaf.dtype)
        _require(info.min <= value <= info.max)
    with np.errstate(over="ignore"):
        return np.asarray(value, leaf.dtype)


def _get(spec: EntrySpec, array: Any) -> Any:
    try:
        return spec.array_type._data.__get__(array)  # type: ignore[attr-defined]
    except AttributeError:  # deleted
        raise _Mismatch from None


def _pointers(arrays: Sequence[Any]) -> Any:
    found = [a.__array_interface__["data"][0] for a in arrays]
    return (ctypes.c_void_p * max(1, len(found)))(*found)


def _scratch(nbytes: int) -> tuple[Any, int | None]:
    """A 64-byte aligned block, and its address."""
    if not nbytes:
        return None, None
    block = np.empty(nbytes + 64, np.uint8)
    start = block.__array_interface__["data"][0]
    return block, start + (-start % 64)


def _run(spec: EntrySpec, leaves: list[Any], held: list[Any]) -> Any:
    params = [held[i] for i in spec.program_leaves()] + list(spec.constants)
    fresh = [o for o in spec.outputs if o.origin in (Out.FRESH, Out.DONATED)]
    data: list[Any] = [np.empty(o.shape, o.dtype) for o in fresh]
    arena, start = _scratch(spec.arena_bytes)
    program = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3)(spec.program)
    status = program(_pointers(params), _pointers(data), start)
    del arena
    if status != 0:
        spec.on_error(status)
        raise SystemError(f"a program failed with status {status}, but no exception was raised")
    for index in spec.deleted:
        _delete(spec, leaves[index])
    made = iter(data)
    return _result(spec, [_output(spec, o, held, made) for o in spec.outputs])


def _delete(spec: EntrySpec, array: Any) -> None:
    with contextlib.suppress(AttributeError):  # the same array came in twice
        spec.array_type._data.__delete__(array)  # type: ignore[attr-defined]


def _output(spec: EntrySpec, output: OutputSpec, held: list[Any], made: Iterator[Any]) -> Any:
    if output.origin is Out.INPUT:
        data = held[output.source]
    elif output.origin is Out.CONSTANT:
        data = output.value
    else:
        data = next(made)
        data.flags.writeable = False
    array: Any = object.__new__(spec.array_type)
    spec.array_type.aval.__set__(array, output.aval)  # type: ignore[attr-defined]
    spec.array_type._data.__set__(array, data)  # type: ignore[attr-defined]
    return array


def _result(spec: EntrySpec, objects: list[Any]) -> Any:
    if spec.finish is not None:
        return spec.finish(objects)
    assert spec.tree is not None
    return _build(spec.tree, iter(objects))


def _build(node: Node, objects: Iterator[Any]) -> Any:
    kind = node[0]
    if kind == "leaf":
        return next(objects)
    if kind == "none":
        return None
    if kind == "static":
        return node[1]
    children = [_build(child, objects) for child in node[-1]]
    if kind == "dict":
        return dict(zip(node[1], children, strict=True))
    return tuple(children) if kind == "tuple" else children
