"""Compiles one elementary function into a loop over arrays, for tests and measurements."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from pullback.llvm import jit, math

TYPES: dict[str, tuple[str, np.dtype[Any]]] = {
    "f32": ("float", np.dtype(np.float32)),
    "f64": ("double", np.dtype(np.float64)),
}

LOOP = """
define void @run({pointers}, ptr %out, i64 %n) {{
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
{loads}  %q = getelementptr {element}, ptr %out, i64 %i
  %y = call {type} @{symbol}({arguments})
  store {type} %y, ptr %q, align {align}
  %next = add i64 %i, {width}
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}
"""
LOAD = "  %p{j} = getelementptr {e}, ptr %a{j}, i64 %i\n  %x{j} = load {t}, ptr %p{j}, align {a}\n"


def module_text(name: str, dtype: str, width: int) -> str:
    element, type_ = TYPES[dtype][0], TYPES[dtype][0]
    if width > 1:
        type_ = f"<{width} x {element}>"
    keys = [(name, dtype, width), *math.dependencies(name, dtype, width)]
    declared = sorted({line for key in keys for line in math.declarations(*key)})
    inputs, align = range(math.arity(name)), TYPES[dtype][1].itemsize
    loop = LOOP.format(
        pointers=", ".join(f"ptr %a{j}" for j in inputs),
        loads="".join(LOAD.format(j=j, e=element, t=type_, a=align) for j in inputs),
        arguments=", ".join(f"{type_} %x{j}" for j in inputs),
        symbol=math.symbol(name, dtype, width),
        element=element,
        type=type_,
        align=align,
        width=width,
    )
    return "\n".join([*declared, *(math.define(*key) for key in keys), loop])


@cache
def native(name: str, dtype: str, width: int) -> tuple[Any, Any]:
    module = jit.load(jit.compile_object(module_text(name, dtype, width), name=name), {})
    types = [ctypes.c_void_p] * (math.arity(name) + 1)
    return module, module.function("run", None, *types, ctypes.c_int64)


def compiled(name: str, dtype: str, width: int = 16) -> Callable[..., np.ndarray]:
    """The function on arrays of any size."""
    _, run = native(name, dtype, width)

    def call(*arrays: np.ndarray) -> np.ndarray:
        size = arrays[0].size
        padded = -size % width
        inputs = [np.concatenate([a.ravel(), np.ones(padded, a.dtype)]) for a in arrays]
        out = np.empty_like(inputs[0])
        run(*(a.ctypes.data for a in inputs), out.ctypes.data, size + padded)
        return out[:size].reshape(arrays[0].shape)

    return call


def nanoseconds(name: str, dtype: str, width: int, *arrays: np.ndarray) -> float:
    """Best time of an element, on one thread."""
    _, run = native(name, dtype, width)
    out = np.zeros_like(arrays[0])
    pointers = [a.ctypes.data for a in arrays]
    times = []
    for _ in range(9):
        start = time.perf_counter()
        run(*pointers, out.ctypes.data, out.size)
        times.append(time.perf_counter() - start)
    return min(times) / out.size * 1e9


@np.errstate(all="ignore")
def error_in_ulps(got: Any, exact: Any) -> Any:
    """Distance in units of the last place of the exact value; infinite where the kind differs."""
    info = ml_dtypes.finfo(got.dtype)
    lowest, bits = int(np.log2(float(info.tiny))), info.nmant
    rounded = exact.astype(got.dtype)
    found, right = got.astype(np.longdouble), exact.astype(np.longdouble)
    same = (np.isnan(got) & np.isnan(exact)) | (got == rounded)
    comparable = np.isfinite(got) & np.isfinite(exact)
    size = np.where(comparable, np.abs(right), 1)
    unit = np.ldexp(np.longdouble(1), np.maximum(np.frexp(size)[1] - 1, lowest) - bits)
    distance = np.full(got.shape, np.inf, np.longdouble)
    np.divide(np.abs(found - right), unit, out=distance, where=comparable)
    return np.where(same, np.minimum(distance, 0.5), distance)
