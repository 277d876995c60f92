"""What the tests of the call path share: stand-ins for arrays, programs written in Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback.llvm import entry
from pullback.llvm.entry import EntrySpec, FastCallable
from pullback.llvm.entry_spec import Out

LEAF = ("leaf",)
ACTIVE: list[Any] = []


class Aval:
    """Stands for a ShapedArray: compared by identity."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)


class Boxed:
    """Stands for the runtime's array: the same slots."""

    __slots__ = ("__weakref__", "_data", "aval")

    aval: Aval
    _data: Any


F4 = Aval((4,), "float32")
F23 = Aval((2, 3), "float32")
BIG = Aval((300, 300), "float64")


def box(aval: Aval, value: Any = 0.0) -> Boxed:
    data = np.empty(aval.shape, aval.dtype)
    data[...] = value
    data.flags.writeable = False
    made = Boxed()
    made.aval, made._data = aval, data
    return made


class Failed(Exception):
    """Raised by `on_error`."""


def fail(status: int) -> None:
    raise Failed(status)


Program = Callable[[list[int], list[int], int], int]
_SIGNATURE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


def program(body: Program, params: int, outs: int) -> Any:
    """A Python function as a compiled program."""

    def run(args: int, out: int, arena: int) -> int:
        listed = list((ctypes.c_void_p * params).from_address(args)) if params else []
        made = list((ctypes.c_void_p * outs).from_address(out)) if outs else []
        return body([a or 0 for a in listed], [o or 0 for o in made], arena or 0)

    return _SIGNATURE(run)


def view(address: int, aval: Aval) -> np.ndarray[Any, Any]:
    nbytes = int(np.prod(aval.shape)) * aval.dtype.itemsize
    raw: Any = (ctypes.c_char * nbytes).from_address(address)
    return np.asarray(raw).view(np.uint8).view(aval.dtype).reshape(aval.shape)


def spec(body: Program | None = None, **kwargs: Any) -> EntrySpec:
    """A specification with the usual fields filled in."""
    outputs = kwargs.setdefault("outputs", [])
    leaves = kwargs.setdefault("leaves", [])
    params = kwargs.get("params")
    count = (len(leaves) if params is None else len(params)) + len(kwargs.get("constants", ()))
    fresh = sum(o.origin in (Out.FRESH, Out.DONATED) for o in outputs)
    made = program(body or (lambda a, o, s: 0), count, fresh)
    address = ctypes.cast(made, ctypes.c_void_p).value
    assert address is not None
    kwargs.setdefault("tree", LEAF)
    kwargs.setdefault("args", [LEAF])
    return EntrySpec(
        program=address, on_error=fail, array_type=Boxed, active=ACTIVE, keep=made, **kwargs
    )


class Jitted(FastCallable):
    """A callable that reports misses."""

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        return "miss", args, kwargs


Route = Callable[[EntrySpec], Jitted]


def missed(result: Any) -> bool:
    return type(result) is tuple and len(result) == 3 and result[0] == "miss"


def double(a: list[int], o: list[int], s: int) -> int:
    view(o[0], F4)[...] = 2 * view(a[0], F4)
    return 0


def double_spec(**kwargs: Any) -> EntrySpec:
    out = entry.fresh_output(F4, "float32", (4,))
    return spec(double, leaves=[entry.array_leaf(F4)], outputs=[out], **kwargs)


TREE = ("dict", ["a", "b"], [("tuple", [LEAF, ("none",)]), ("list", [LEAF, LEAF])])
