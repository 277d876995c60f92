"""The pipeline from a jaxpr to machine code, top to bottom.

    simplify      jaxpr -> jaxpr
    lower         jaxpr -> loop program
    emit          loop program -> LLVM text
    compile       LLVM text -> object code (or the disk cache gives it)
    load          object code -> addresses

The result is an `Executable`, which knows how to describe itself to the native call path.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pullback import config, monitoring
from pullback.control import refs_discharge
from pullback.control.foreign import address_of_symbol
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.dimensions import is_symbolic
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal, subjaxprs
from pullback.errors import JaxRuntimeError, LoweringError, UnsupportedError
from pullback.lazy import LazyModule
from pullback.llvm import interrupts, library, pool
from pullback.llvm import jit as native
from pullback.llvm.entry import (
    Entry,
    EntrySpec,
    FastCallable,
    LeafSpec,
    OutputSpec,
    array_leaf,
    constant_output,
    fresh_output,
    input_output,
    make_entry,
)
from pullback.llvm.entry_spec import Out
from pullback.passes import simplify
from pullback.passes.fingerprint import Uncacheable, fingerprint
from pullback.passes.host_calls import number_callbacks
from pullback.passes.regroup import regroup
from pullback.runtime import cache
from pullback.runtime.array import ArrayImpl, expect_absence, from_numpy
from pullback.runtime.host_calls import HostTable, raise_pending

__all__ = [
    "Executable",
    "compile_jaxpr",
    "flushes",
    "known_outputs",
    "needed_part",
    "physical_array",
    "program_jaxpr",
]

_program: Final = LazyModule("pullback.loops.program")
_text: Final = LazyModule("pullback.loops.text")
_donation: Final = LazyModule("pullback.loops.donation")
_emit: Final = LazyModule("pullback.llvm.emit")

RELEASE_GIL_COST: Final = 200_000.0
"""Programs of more (in elementary operations) let other Python threads run meanwhile."""


@dataclass(frozen=True)
class Code:
    """Machine code of a program, as the disk cache keeps it."""

    objects: tuple[bytes, ...]
    """Of modules that call each other."""
    symbols: tuple[str, ...]
    arena_bytes: int
    cost: float
    donations: tuple[tuple[int, int], ...] = ()
    """Arguments and outputs that may be the same memory."""
    data: tuple[tuple[str, bytes], ...] = ()
    """Large constants, by the symbols that the code knows them by."""

    def entry(self) -> cache.CacheEntry:
        """What the disk cache keeps: the code, followed by the data; all else is metadata."""
        metadata = {
            "symbols": self.symbols,
            "arena_bytes": self.arena_bytes,
            "cost": self.cost,
            "donations": self.donations,
            "objects": [len(value) for value in self.objects],
            "data": [(name, len(value)) for name, value in self.data],
        }
        payload = b"".join([*self.objects, *(value for _, value in self.data)])
        return cache.CacheEntry(payload, json.loads(json.dumps(metadata)))

    @property
    def nbytes(self) -> int:
        """Bytes of code, of data beside it and of scratch memory."""
        return sum(map(len, self.objects)) + sum(len(v) for _, v in self.data) + self.arena_bytes

    @staticmethod
    def from_entry(entry: cache.CacheEntry) -> Code:
        """The code of an entry."""
        meta, payload = entry.metadata, entry.payload
        sizes = [int(size) for size in (*meta["objects"], *(size for _, size in meta["data"]))]
        ends = list(itertools.accumulate(sizes))
        pieces = [payload[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        count = len(meta["objects"])
        data = zip((str(name) for name, _ in meta["data"]), pieces[count:], strict=True)
        return Code(
            tuple(pieces[:count]),
            tuple(meta["symbols"]),
            int(meta["arena_bytes"]),
            float(meta["cost"]),
            tuple((int(i), int(k)) for i, k in meta["donations"]),
            tuple(data),
        )


_PROGRAM: Final = "pb_program"

cache.connect()
before_compile: Final[list[Callable[[], None]]] = []
"""Called before a program is compiled; what raises forbids it."""


class _Runner(FastCallable):
    """Calls an executable on a flat sequence of arrays."""

    __slots__ = ("__weakref__", "executable")

    def __init__(self, executable: Executable) -> None:
        self.executable = executable

    def _miss(self, *arrays: Any) -> Any:
        for x in arrays:
            x._data  # noqa: B018  (raises for a deleted array)
        entry = self.executable.flat_entry
        if not self.entries:  # most programs are only called through entries of jitted functions
            self.add_entry(entry)
            return self(*arrays)
        return entry(*arrays)


class Executable:
    """A compiled program."""

    def __init__(
        self,
        name: str,
        closed: ClosedJaxpr,
        jaxpr: Jaxpr,
        code: Code,
        module: native.LoadedModule,
        outputs: Sequence[OutputSpec],
        params: Sequence[int],
        constants: Sequence[np.ndarray[Any, Any]],
        host: HostTable,
    ) -> None:
        self.name = name
        self.host = host
        self.closed = closed
        self.jaxpr = jaxpr
        self.code = code
        self.module = module
        self.outputs = list(outputs)
        self.params = list(params)
        self.constants = list(constants)
        self.data: dict[str, np.ndarray[Any, Any]] = {}
        """Large constants by the symbols of the code, which live as long as it."""
        self.in_avals: list[ShapedArray] = closed.in_avals
        self.out_avals: list[ShapedArray] = closed.out_avals
        self._run = _Runner(self)

    @functools.cached_property
    def flat_entry(self) -> Entry:
        """The entry for a flat sequence of arrays."""
        return make_entry(
            self.entry_spec(
                args=[("leaf",)] * len(self.in_avals),
                leaves=[array_leaf(a) for a in self.in_avals],
                tree=("list", [("leaf",)] * len(self.outputs)),
                active=[],
            )
        )

    def entry_spec(
        self,
        *,
        args: Sequence[Any],
        leaves: Sequence[LeafSpec],
        tree: Any = None,
        kwargs: Sequence[tuple[str, Any]] = (),
        finish: Callable[[list[Any]], Any] | None = None,
        active: list[Any] = config.ACTIVE,
        deleted: Sequence[int] = (),
    ) -> EntrySpec:
        """What the native call path needs to call this program with such arguments."""
        if deleted:
            expect_absence()
        return EntrySpec(
            args=args,
            kwargs=kwargs,
            leaves=leaves,
            params=self.params,
            constants=self.constants,
            outputs=[_without_donation(o, deleted) for o in self.outputs],
            tree=tree,
            finish=finish,
            program=self.module.address(_PROGRAM),
            arena_bytes=self.code.arena_bytes,
            release_gil=self.code.cost > RELEASE_GIL_COST or self.host.used,
            on_error=self._on_error,
            array_type=ArrayImpl,
            active=active,
            deleted=deleted,
            keep=self,
        )

    def _on_error(self, status: int) -> None:
        if status == interrupts.INTERRUPTED:
            interrupts.raise_interrupt()
        raise_pending()
        raise JaxRuntimeError(f"the compiled program {self.name} failed with status {status}")

    def __call__(self, arrays: Sequence[Any]) -> list[ArrayImpl]:
        """Run on arrays of exactly the types it was compiled for."""
        result: list[ArrayImpl] = self._run(*arrays)
        return result


def _without_donation(output: OutputSpec, deleted: Sequence[int]) -> OutputSpec:
    """An output in memory of its own, unless the argument that it would reuse is given away."""
    if output.origin is not Out.DONATED or output.source in deleted:
        return output
    return output._replace(origin=Out.FRESH, source=-1)


def _aligned(value: bytes) -> np.ndarray[Any, Any]:
    """Bytes in memory with the alignment of buffers."""
    room = np.empty(len(value) + native.DATA_ALIGNMENT, np.uint8)
    start = -room.ctypes.data % native.DATA_ALIGNMENT
    array = room[start : start + len(value)]
    array[:] = np.frombuffer(value, np.uint8)
    return array


def physical_array(value: Any, aval: ShapedArray) -> np.ndarray[Any, Any]:
    """The elements of a constant, as programs read them."""
    data = value._data if type(value) is ArrayImpl else np.asarray(value)
    return np.ascontiguousarray(data, dtype=dtypes.physical(aval.dtype)).reshape(aval.shape)


def _own_array(value: Any, aval: ShapedArray) -> np.ndarray[Any, Any]:
    """The elements of a constant result, in memory that nobody writes to."""
    return from_numpy(physical_array(value, aval), aval, copy=type(value) is not ArrayImpl)._data


def known_outputs(
    closed: ClosedJaxpr, avals: Sequence[ShapedArray]
) -> tuple[list[OutputSpec | None], list[int]]:
    """Results that need no program (arguments, constants), and the positions of the others.

    They are arrays of their own, which deleting or donating an argument, or another one that shares
    its memory, leaves alone.
    """
    jaxpr = closed.jaxpr
    arguments = {v: i for i, v in enumerate(jaxpr.invars)}
    constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    specs: list[OutputSpec | None] = []
    computed: list[int] = []
    for i, (v, aval) in enumerate(zip(jaxpr.outvars, avals, strict=True)):
        if type(v) is Literal:
            specs.append(constant_output(_own_array(v.val, aval), aval))
        elif v in arguments:
            specs.append(input_output(arguments[v], aval))
        elif v in constants:
            specs.append(constant_output(_own_array(constants[v], aval), aval))
        else:
            specs.append(None)
            computed.append(i)
    return specs, computed


def needed_part(closed: ClosedJaxpr, computed: Sequence[int]) -> tuple[ClosedJaxpr, list[int]]:
    """The jaxpr of the computed results alone, of the arguments and constants that it uses."""
    jaxpr = closed.jaxpr
    used = {v for eqn in jaxpr.eqns for v in eqn.invars if type(v) is not Literal}
    used.update(jaxpr.outvars[i] for i in computed)
    params = [i for i, v in enumerate(jaxpr.invars) if v in used]
    kept = [(v, c) for v, c in zip(jaxpr.constvars, closed.consts, strict=True) if v in used]
    needed = jaxpr.replace(
        invars=[jaxpr.invars[i] for i in params],
        constvars=[v for v, _ in kept],
        outvars=[jaxpr.outvars[i] for i in computed],
    )
    return ClosedJaxpr(needed, [c for _, c in kept]), params


Candidates = Sequence[tuple[int, Sequence[int]]]


def _donation_candidates(closed: ClosedJaxpr, donated: Sequence[bool]) -> Candidates:
    """For each donated argument of a program the outputs of its type, the likeliest first."""
    outs: dict[Any, list[int]] = {}
    for k, v in enumerate(closed.jaxpr.outvars):
        outs.setdefault((v.aval.shape, v.aval.dtype), []).append(k)
    ranks: dict[Any, int] = {}
    candidates = []
    for i, (v, given) in enumerate(zip(closed.jaxpr.invars, donated, strict=True)):
        if given:
            key = v.aval.shape, v.aval.dtype
            same, rank = outs.get(key, []), ranks.get(key, 0)
            ranks[key] = rank + 1
            candidates.append((i, [*same[rank : rank + 3], *same[:rank][-1:]]))
    return [c for c in candidates if c[1]]


_LOOPS: Final = frozenset(("while", "scan", "backwards"))


def flushes(closed: ClosedJaxpr) -> bool:
    """Whether a program takes subnormal numbers for zero."""
    mode = config.subnormals()
    return mode == "flush" or (mode == "flush_in_loops" and _loops(closed.jaxpr))


def _loops(jaxpr: Jaxpr) -> bool:
    """Whether there is a loop in a jaxpr."""
    return any(e.primitive.name in _LOOPS or any(map(_loops, subjaxprs(e))) for e in jaxpr.eqns)


def _generate(closed: ClosedJaxpr, name: str, candidates: Candidates) -> Code:
    """Machine code for a simplified jaxpr."""
    with monitoring.timed(monitoring.LOWER, fun_name=name):
        bits, kernels = native.vector_bits(), library.optional_kernels()
        fused = regroup(closed)
        program = _program.lower_program(fused, vector_bits=bits, kernels=kernels, name=name)
        donations = _donation.reuse_arguments(program, candidates) if candidates else []
        if native.dump_directory():
            native.dump(name, ".jaxpr", str(closed))
            native.dump(name, ".loops", _text.program_text(program))
        module = _emit.emit_module(program, bits, name=_PROGRAM, flush=flushes(closed))
    with monitoring.timed(monitoring.COMPILE, fun_name=name):
        objects = native.compile_objects(module.parts, name=name, threads=pool.num_threads())
    return Code(
        native.linked(objects),
        tuple(module.symbols),
        module.arena_bytes,
        module.cost,
        tuple(donations),
        tuple(module.data),
    )


def _cached_code(closed: ClosedJaxpr, name: str, candidates: Candidates) -> Code:
    if native.dump_directory():
        return _generate(closed, name, candidates)
    try:
        key = fingerprint(closed.jaxpr) + (repr(candidates).encode() if candidates else b"")
        key += config.subnormals().encode()
    except Uncacheable:
        return _generate(closed, name, candidates)
    found = cache.get(key)
    monitoring.record_event(monitoring.CACHE_REQUEST)
    monitoring.record_event(monitoring.CACHE_MISS if found is None else monitoring.CACHE_HIT)
    if found is not None:
        return Code.from_entry(found)
    start = time.perf_counter()
    code = _generate(closed, name, candidates)
    if (
        time.perf_counter() - start < config.persistent_cache_min_compile_time_secs()
        or sum(map(len, code.objects)) < config.persistent_cache_min_entry_size_bytes()
    ):
        return code
    cache.put(key, code.entry())
    return code


def _address(symbol: str) -> int:
    """Address of an external symbol: of a user's function, of the thread pool, or of a library."""
    foreign = address_of_symbol(symbol)
    if foreign is not None:
        return foreign
    return pool.symbols()[symbol] if symbol in pool.SYMBOLS else library.address(symbol)


def program_jaxpr(closed: ClosedJaxpr) -> ClosedJaxpr:
    """What is lowered: simplified, without results that need no program, callbacks numbered."""
    if refs_discharge.holds_refs(closed):
        closed = refs_discharge.as_values(closed)[0]
    simple = simplify.simplify(closed)
    _, computed = known_outputs(simple, closed.out_avals)
    return number_callbacks(needed_part(simple, computed)[0])[0]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """A `with` block in which Python looks for no cycles of garbage.

    The compiler makes very many objects and no cycles; the searches would take a sixth of its time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def compile_jaxpr(
    closed: ClosedJaxpr, *, name: str, donated: Sequence[bool] = (), code: Code | None = None
) -> Executable:
    """Compile a jaxpr for arguments of its types; results may take the place of `donated` ones.

    `code` is what this gave for the same jaxpr before.
    """
    if any(is_symbolic(n) for a in closed.in_avals for n in getattr(a, "shape", ())):
        raise UnsupportedError(f"{name} has symbolic shapes: it can be exported, not compiled")
    for hook in before_compile:
        hook()
    with _uncollected():
        return _compiled(closed, name, donated, code)


def _compiled(
    closed: ClosedJaxpr, name: str, donated: Sequence[bool], code: Code | None
) -> Executable:
    simple = simplify.simplify(closed)
    specs, computed = known_outputs(simple, closed.out_avals)
    needed, params = needed_part(simple, computed)
    needed, calls = number_callbacks(needed)
    host = HostTable(calls)
    returned = {s.source for s in specs if s is not None and s.origin is Out.INPUT}
    given = [bool(donated) and donated[i] and i not in returned for i in params]
    if code is None:
        code = _cached_code(needed, name, _donation_candidates(needed, given))
    addresses = {symbol: host.address(symbol) or _address(symbol) for symbol in code.symbols}
    data = {symbol: _aligned(value) for symbol, value in code.data}
    addresses |= {symbol: int(array.ctypes.data) for symbol, array in data.items()}
    module = native.load(code.objects, addresses, exports=[_PROGRAM])
    reused = {k: params[i] for i, k in code.donations}
    for k, i in enumerate(computed):
        aval = closed.out_avals[i]
        dtype = dtypes.physical(aval.dtype)
        specs[i] = fresh_output(aval, dtype, aval.shape, reused.get(k, -1))
    constants = [
        physical_array(c, v.aval)
        for v, c in zip(needed.jaxpr.constvars, needed.consts, strict=True)
    ]
    outputs = [s for s in specs if s is not None]
    if len(outputs) != len(specs):
        raise LoweringError(f"the program {name} has a result that nothing computes")
    code = replace(code, data=())
    executable = Executable(
        name, closed, needed.jaxpr, code, module, outputs, params, constants, host
    )
    executable.data = data
    return executable
