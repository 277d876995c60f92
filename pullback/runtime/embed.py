"""A jitted function as files for C: an object file, a header and a shared library.

    jaxpr -> simplified (runtime/compile) -> loop program -> LLVM text -> an object (llvm/embedding)

What is in the files needs no Python: our own kernels and the thread pool are part of them, and
beside them the C library alone is used.  A program that calls LAPACK, SciPy's special functions or
Python cannot be written so, and the error names the operation.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from pullback import tree
from pullback.control import refs_discharge
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, subjaxprs
from pullback.errors import UnsupportedError
from pullback.lazy import LazyModule
from pullback.llvm import embedding, library
from pullback.llvm.entry_spec import Out
from pullback.passes import simplify
from pullback.passes.host_calls import number_callbacks
from pullback.passes.regroup import regroup
from pullback.runtime.compile import flushes, known_outputs, needed_part, physical_array
from pullback.runtime.stages import Signature, argument_paths
from pullback.version import __version__

__all__ = ["Embedded", "embed", "identifier", "shared_library"]

_program: Final = LazyModule("pullback.loops.program")
_emit: Final = LazyModule("pullback.llvm.emit")


@dataclass(frozen=True)
class Array:
    """An argument or a result, as C sees it."""

    name: str
    path: str
    """How Python writes it."""
    shape: tuple[int, ...]
    dtype: Any

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * int(dtypes.physical(self.dtype).itemsize)


@dataclass(frozen=True)
class Embedded:
    """A program for C: its object code and its header."""

    name: str
    target: embedding.Target
    code: bytes
    header: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    workspace: int


def identifier(name: str) -> str:
    """A name as C has it.

    >>> identifier("<lambda>"), identifier("args[0]['w']"), identifier("int")
    ('lambda', 'args_0_w', 'int_')
    """
    words = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "f"
    words = f"f_{words}" if words[0].isdigit() else words
    return f"{words}_" if words in _RESERVED else words


_KEYWORDS: Final = """
auto break case char class const continue default delete do double else enum extern float for goto
if inline int long main new private public register restrict return short signed sizeof static
struct switch template this typedef union unsigned void volatile while
"""
_RESERVED: Final = frozenset(_KEYWORDS.split())


class _Parts(NamedTuple):
    """The program of the results that are computed, and what the entry points add."""

    closed: ClosedJaxpr
    used: list[int]
    """Arguments that it takes, in order, before the constants."""
    constants: list[str]
    known: list[embedding.Known | None]
    data: list[tuple[str, bytes]]


def embed(s: Signature, target: embedding.Target, name: str = "") -> Embedded:
    """The program of a traced function for C.

    Raises UnsupportedError where it needs a library, Python, or references.
    """
    name = identifier(name or s.name)
    parts = _parts(s)
    inputs, outputs = _arrays(s)
    closed = regroup(parts.closed)
    lowered = _program.lower_program(
        closed, vector_bits=target.bits, kernels=frozenset(), name=s.name
    )
    module = _emit.emit_module(
        lowered,
        target.bits,
        name="pb_program",
        flush=flushes(parts.closed),
        machine=target.machine,
    )
    own = dict(module.data)
    texts, threads = embedding.needed_texts(
        [n for n in module.symbols if n not in own],
        target,
        lambda symbol: _missing(parts.closed, symbol, target),
    )
    entry = embedding.entry_text(
        name,
        inputs=len(inputs),
        used=parts.used,
        constants=parts.constants,
        outputs=parts.known,
        sizes=[o.nbytes for o in outputs],
        arena_bytes=module.arena_bytes,
        threads=threads,
    )
    data = embedding.data_text([*module.data, *parts.data])
    exports = (name, f"{name}_with_workspace", f"{name}_set_threads")
    code = embedding.object_code([module.text, *texts, data, entry], exports, target)
    header = _header(name, target, inputs, outputs, module.arena_bytes)
    return Embedded(name, target, code, header, inputs, outputs, module.arena_bytes)


def _parts(s: Signature) -> _Parts:
    if refs_discharge.holds_refs(s.closed):
        raise UnsupportedError(f"{s.name} takes references, which are arrays of a Python process")
    simple = simplify.simplify(s.closed)
    outputs, computed = known_outputs(simple, s.closed.out_avals)
    needed, used = needed_part(simple, computed)
    needed, calls = number_callbacks(needed)
    if calls:
        raise UnsupportedError(f"{s.name} calls the Python function {calls[0].function!r}")
    data: list[tuple[str, bytes]] = []
    known: list[embedding.Known | None] = []
    for k, (v, c) in enumerate(zip(needed.jaxpr.constvars, needed.consts, strict=True)):
        data.append((f"pb_constant{k}", physical_array(c, v.aval).tobytes()))
    constants = [symbol for symbol, _ in data]
    for k, output in enumerate(outputs):
        if output is None:
            known.append(None)
        elif output.origin is Out.INPUT:
            known.append(embedding.Known(argument=output.source))
        else:
            data.append((f"pb_result{k}", physical_array(output.value, output.aval).tobytes()))
            known.append(embedding.Known(symbol=data[-1][0]))
    return _Parts(needed, used, constants, known, data)


def _arrays(s: Signature) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Arguments and results under names that differ."""
    taken: set[str] = set()
    results = tree.leaves_with_path(s.out_tree.unflatten([0] * len(s.closed.out_avals)))
    inputs = list(zip(argument_paths(s), s.avals, strict=True))
    outputs = [
        (f"result{tree.keystr(path)}", aval)
        for (path, _), aval in zip(results, s.closed.out_avals, strict=True)
    ]
    return tuple(_named(inputs, taken)), tuple(_named(outputs, taken))


def _named(arrays: Sequence[tuple[str, ShapedArray]], taken: set[str]) -> Iterator[Array]:
    for path, aval in arrays:
        base = name = identifier(path)
        count = 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        yield Array(name, path, aval.shape, aval.dtype)


# --------------------------------------------------------------------------- errors


def _missing(closed: ClosedJaxpr, symbol: str, target: embedding.Target) -> UnsupportedError:
    """What to say of a function that is not to be had: which operations call it."""
    names = sorted(_callers(closed.jaxpr, symbol, target))
    whose = library.provider(symbol)
    if symbol.startswith("pb_"):
        symbol, whose = "a function registered by ffi", "a Python process"
    return UnsupportedError(
        f"{' and '.join(names) or 'the program'} cannot be compiled for C: it calls "
        f"{symbol}, of {whose}"
    )


def _callers(jaxpr: Jaxpr, symbol: str, target: embedding.Target) -> set[str]:
    """The primitives whose own code calls a function, inner programs first."""
    found: set[str] = set()
    for eqn in jaxpr.eqns:
        inner = set().union(*(_callers(j, symbol, target) for j in subjaxprs(eqn)))
        if inner:
            found |= inner
        elif symbol in _symbols_of(eqn, target):
            found.add(str(eqn.primitive))
    return found


def _symbols_of(eqn: JaxprEqn, target: embedding.Target) -> set[str]:
    variables = list(dict.fromkeys(v for v in eqn.invars if type(v) is not Literal))
    alone = ClosedJaxpr(Jaxpr([], variables, list(eqn.outvars), [eqn]), [])
    lowered = _program.lower_program(
        alone, vector_bits=target.bits, kernels=frozenset(), name="alone"
    )
    symbols = list(_emit.emit_module(lowered, target.bits).symbols)
    for kernel in symbols:  # what kernels of ours call in their turn
        text = library.kernel_text(kernel, target.bits)
        symbols += [] if text is None else [n for n in text[1] if n not in symbols]
    return set(symbols)


# --------------------------------------------------------------------------- the header

_C_TYPES: Final = {
    dtypes.bool_: "uint8_t",
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.complex64): "float",
    np.dtype(np.complex128): "double",
}


def _c_type(dtype: Any) -> str:
    physical = dtypes.physical(dtype)
    if physical in _C_TYPES:
        return _C_TYPES[physical]
    bits = 8 * int(physical.itemsize)
    return f"int{bits}_t" if dtypes.kind_of(dtype) == "i" else f"uint{bits}_t"


def _note(dtype: Any) -> str:
    """What its C type does not say about an element."""
    if dtypes.kind_of(dtype) == "c":
        return ", each a real and an imaginary part"
    if dtypes.kind_of(dtype) == "f" and dtype not in _C_TYPES:
        return ", as their bits"
    return ", 0 or 1" if dtype == dtypes.bool_ else ""


def _row(x: Array) -> str:
    sizes = ", ".join(map(str, x.shape))
    kind = x.dtype.name + f"[{sizes}]"
    return f" *   {x.name}: {kind}{_note(x.dtype)} ({x.path})"


def _header(
    name: str,
    target: embedding.Target,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    workspace: int,
) -> str:
    parameters = [f"const {_c_type(x.dtype)} *{x.name}" for x in inputs]
    parameters += [f"{_c_type(x.dtype)} *{x.name}" for x in outputs]
    listed = ",\n    ".join(parameters)
    macro = name.upper()
    rows = [" * Inputs:", *map(_row, inputs), " * Outputs:", *map(_row, outputs)]
    return f"""\
/* {name}: compiled by Pullback {__version__} for {target.cpu or "any processor"} ({target.triple}).
 *
 * Arrays are contiguous, their last axis is the fastest, and an array without axes is one element.
 * Outputs must not overlap each other, or inputs.
{chr(10).join(rows)}
 *
 * The functions may be called by several threads at a time. They return {macro}_OK, or
 * {macro}_OUT_OF_MEMORY where their scratch memory could not be allocated.
 * Link with the mathematics library and POSIX threads: -lm -pthread.
 */
#ifndef {macro}_H
#define {macro}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {macro}_OK 0
#define {macro}_OUT_OF_MEMORY {embedding.OUT_OF_MEMORY}

/* Bytes of the workspace. */
#define {macro}_WORKSPACE_BYTES {workspace}

int {name}(
    {listed or "void"});

/* The same in memory of the caller, aligned to {embedding.ALIGNMENT} bytes; it never fails. */
int {name}_with_workspace(
    {listed}{"," if parameters else ""}{chr(10) + "    " if parameters else ""}void *workspace);

/* Use so many threads, by default one a processor. They start when first needed, and stay: a
 * shared library with threads must not be unloaded. Results do not depend on their number. */
void {name}_set_threads(int threads);

#ifdef __cplusplus
}}
#endif

#endif
"""


# --------------------------------------------------------------------------- files


def shared_library(object_file: Path, library_file: Path) -> None:
    """Link an object file into a shared library, by `$CC` or `cc`.

    Raises UnsupportedError where there is no compiler, or where it fails.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise UnsupportedError("no C compiler (`cc`, or $CC) is there to link a shared library")
    command = [compiler, "-shared", "-o", str(library_file), str(object_file), "-lm", "-pthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnsupportedError(f"{' '.join(command)} failed: {done.stderr.strip()}")
