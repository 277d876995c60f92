"""Compilation in steps: a function for given types is traced, lowered, compiled.

jit(f).trace(x)  ->  Traced    its jaxpr
       .lower()  ->  Lowered   the loop program
       .compile() -> Compiled  machine code, callable with arguments of these types only
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from pullback import config, tree
from pullback.control import refs_discharge
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.devices import CPU, Device, client_of, default_device, lowering_platform
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.layout import Format, contiguous
from pullback.core.refs import Ref
from pullback.core.sharding import SingleDeviceSharding
from pullback.core.structs import ShapeDtypeStruct
from pullback.core.trace import Tracer
from pullback.errors import UnsupportedError
from pullback.lazy import LazyModule
from pullback.llvm import jit as native
from pullback.llvm import library
from pullback.llvm.entry import FastCallable, array_leaf, make_entry
from pullback.passes.costs import cost_analysis, nbytes
from pullback.passes.host_calls import number_callbacks
from pullback.passes.regroup import regroup
from pullback.runtime import spread
from pullback.runtime.accelerator import DeviceProgram, place_of
from pullback.runtime.array import ArrayImpl, make_array
from pullback.runtime.compile import Executable, flushes, program_jaxpr
from pullback.runtime.dispatch import to_array
from pullback.runtime.refs import RefProgram

__all__ = [
    "ArgInfo",
    "Compiled",
    "CompiledMemoryStats",
    "Compiler",
    "CompilerOptions",
    "Lowered",
    "Signature",
    "Stage",
    "Traced",
    "Wrapped",
]

_ahead: Final = LazyModule("pullback.runtime.ahead")
_hlo: Final = LazyModule("pullback.hlo.emit")
_views: Final = LazyModule("pullback.hlo.views")
_program: Final = LazyModule("pullback.loops.program")
_text: Final = LazyModule("pullback.loops.text")
_emit: Final = LazyModule("pullback.llvm.emit")

CompilerOptions = dict[str, Any]


@dataclass(frozen=True)
class ArgInfo:
    """The type of an argument, and whether its buffer is given away."""

    _aval: ShapedArray
    donated: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self._aval.shape

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self._aval.dtype


@dataclass(frozen=True)
class Signature:
    """What all stages know: the arguments and results of a function for given types.

    `statics` are the positions of arguments that the program is specialised on; `tree` has a None
    there, and the trees that users see have nothing.
    """

    name: str
    closed: ClosedJaxpr
    tree: Any
    out_tree: Any
    statics: tuple[int, ...]
    donated: tuple[bool, ...]
    shardings: tuple[Any, ...] = ()
    """What users asked for each leaf of the arguments, or None, if they asked for any."""
    out_shardings: tuple[Any, ...] = ()
    """The same of the results."""
    places: tuple[Any, Any] = ((), ())
    """The shardings that arguments and results have on one device, or None; empty if none has."""

    @property
    def avals(self) -> list[ShapedArray]:
        """Types of the leaves of the arguments."""
        return self.closed.in_avals

    def arguments(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as users give them, with these leaves."""
        args, kwargs = self.tree.unflatten(leaves)
        return tuple(x for i, x in enumerate(args) if i not in self.statics), kwargs

    def flatten(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
        """The leaves of arguments, and the structure they have with the static ones put back."""
        full = list(args)
        for i in self.statics:
            full.insert(i, None)
        return tree.flatten((tuple(full), kwargs))


class Stage:
    """What users ask every stage."""

    _signature: Signature

    @property
    def args_info(self) -> Any:
        """Types of the arguments, as (args, kwargs)."""
        s = self._signature
        donated = s.donated or (False,) * len(s.avals)
        return s.arguments([ArgInfo(a, d) for a, d in zip(s.avals, donated, strict=True)])

    @property
    def in_tree(self) -> Any:
        """Structure of (args, kwargs)."""
        return tree.structure(self._signature.arguments([0] * len(self._signature.avals)))

    @property
    def in_avals(self) -> Any:
        """Types of the arguments, as (args, kwargs)."""
        return self._signature.arguments(self._signature.avals)

    @property
    def out_tree(self) -> Any:
        """Structure of the result."""
        return self._signature.out_tree

    @property
    def out_avals(self) -> Any:
        """Types of the result."""
        return self._signature.out_tree.unflatten(self._signature.closed.out_avals)

    @property
    def out_info(self) -> Any:
        """Shapes and dtypes of the result."""
        avals = self._signature.closed.out_avals
        places = self._signature.out_shardings or [None] * len(avals)
        structs = [
            ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type, sharding=s)
            for a, s in zip(avals, places, strict=True)
        ]
        return self._signature.out_tree.unflatten(structs)

    @property
    def donate_argnums(self) -> tuple[int, ...]:
        """Leaves of the arguments whose buffers are given away."""
        return tuple(i for i, d in enumerate(self._signature.donated) if d)

    @property
    def fun_name(self) -> str:
        """Name of the function."""
        return self._signature.name

    def __repr__(self) -> str:
        types = ", ".join(map(str, self._signature.avals))
        return f"<{type(self).__name__} {self.fun_name} for ({types})>"


@dataclass(frozen=True)
class Compiler:
    """How a traced function is compiled."""

    for_cpu: Callable[[], Executable | RefProgram]
    for_device: Callable[[Device, Sequence[tuple[str, Any]]], DeviceProgram]
    device: Device | None = None
    """Where it is to run; None to follow its arguments."""


class Traced(Stage):
    """A function traced for given types."""

    def __init__(self, signature: Signature, compiler: Compiler) -> None:
        self._signature = signature
        self._compiler = compiler

    @property
    def jaxpr(self) -> ClosedJaxpr:
        """The program."""
        return self._signature.closed

    def lower(
        self, *, lowering_platforms: Sequence[str] | None = None, _private_parameters: Any = None
    ) -> Lowered:
        """The next stage, for one platform: by default the one that calls would run on.

        Arguments whose types have a sharding of a topology's devices say that it is for those.
        """
        s = self._signature
        asked = s.shardings or s.out_shardings
        place = _ahead.placement_of((*s.shardings, *s.out_shardings)) if asked else None
        here = (self._compiler.device or default_device()).client.name
        platforms = tuple(lowering_platforms or (place.platform if place else here,))
        if len(platforms) != 1:
            raise UnsupportedError(f"one program for {platforms}: lower for one platform at a time")
        return Lowered(s, self._compiler, platforms[0], place)


class Lowered(Stage):
    """A function as a program that the compiler can take."""

    def __init__(
        self, signature: Signature, compiler: Compiler, platform: str = "cpu", place: Any = None
    ) -> None:
        self._signature = signature
        self._compiler = compiler
        self._platform = platform
        self._place = place

    def as_text(self, dialect: str | None = None, *, debug_info: bool = False) -> str:
        """The program as text.

        `stablehlo` (the default) is what accelerators get, with the lines and name scopes of
        operations if `debug_info` is set; `jaxpr` (simplified), `loops`, `llvm` and `asm` are the
        stages of our own compiler.

        >>> import pullback as pb, pullback.numpy as jnp
        >>> "stablehlo.sine" in pb.jit(jnp.sin).lower(1.0).as_text()
        True
        """
        if dialect in (None, "stablehlo"):
            return _stablehlo(self._signature, self._platform, debug_info, self._place)
        return _as_text(self._signature, dialect)

    def compiler_ir(self, dialect: str | None = None) -> Any:
        """The program as an object; None for a dialect that there is not.

        `stablehlo` (the default) is a module to print and to walk through, with the names that
        MLIR's objects have; `jaxpr` is a `ClosedJaxpr`, `loops` our loop program.
        """
        if dialect in (None, "stablehlo"):
            return _views.ModuleView(self.as_text(), lambda: self.as_text(debug_info=True))
        closed = program_jaxpr(self._signature.closed)
        if dialect == "jaxpr":
            return closed
        return _lowered(closed, self._signature.name) if dialect == "loops" else None

    def cost_analysis(self) -> dict[str, float]:
        """Counts of operations and bytes, by name."""
        return cost_analysis(program_jaxpr(self._signature.closed))

    def compile(self, compiler_options: CompilerOptions | None = None) -> Any:
        """The next stage, a `Compiled`; for a topology, an `AheadCompiled` that cannot be called.

        `compiler_options` are the plugin's, by name; our own compiler has none.

        Raises RuntimeError where the platform that it was lowered for has no plugin installed.
        """
        if self._place is not None:
            text, options = self.as_text(), compiler_options or {}
            return _ahead.compile_ahead(self._signature, self._place, text, options)
        if self._platform != "cpu":
            given = (compiler_options or {}).items()
            return Compiled(
                self._signature, self._compiler.for_device(self._device(), tuple(sorted(given)))
            )
        if compiler_options:
            raise UnsupportedError(f"compiler options {sorted(compiler_options)}: there are none")
        return Compiled(self._signature, self._compiler.for_cpu())

    def _device(self) -> Device:
        """The device of the platform that calls would run on, otherwise the first."""
        device = self._compiler.device or default_device()
        client = client_of(self._platform)
        return device if device.client is client else client.devices()[0]


@dataclass(frozen=True)
class CompiledMemoryStats:
    """Sizes in bytes; `temp` is scratch memory during a call."""

    generated_code_size_in_bytes: int
    argument_size_in_bytes: int
    output_size_in_bytes: int
    alias_size_in_bytes: int
    temp_size_in_bytes: int


class Compiled(Stage, FastCallable):
    """Machine code for given types; calling it with other ones is a TypeError."""

    _executable: Executable | RefProgram
    _on_device: DeviceProgram | None

    def __init__(
        self, signature: Signature, executable: Executable | RefProgram | DeviceProgram
    ) -> None:
        self._signature = signature
        self._on_device = executable if isinstance(executable, DeviceProgram) else None
        if not isinstance(executable, DeviceProgram):
            self._executable = executable
            if not isinstance(executable, RefProgram):
                self._add_native_entry(executable)

    def _add_native_entry(self, program: Executable) -> None:
        s = self._signature
        args, kwargs = tree.structure(s.arguments([0] * len(s.avals))).as_spec()[1]
        nodes = (args, kwargs, s.out_tree.as_spec())
        if s.donated or any(s.places[1]) or not all(map(is_simple, nodes)):
            return
        spec = program.entry_spec(
            args=list(args[1]),
            kwargs=sorted(zip(kwargs[1], kwargs[2], strict=True)),
            leaves=[array_leaf(a) for a in s.avals],
            tree=nodes[2],
        )
        self.add_entry(make_entry(spec))

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        s = self._signature
        leaves, structure = s.flatten(args, kwargs)
        self._check(leaves, structure)
        if self._on_device is not None:
            return s.out_tree.unflatten(self._run_on_device(self._on_device, leaves))
        arrays = [_of_type(x, a) for x, a in zip(leaves, s.avals, strict=True)]
        outs = self._executable(arrays)
        for x, donated in zip(leaves, s.donated, strict=False):
            if donated and not any(x is out for out in outs):
                x.delete()
        return s.out_tree.unflatten(spread.settled(outs, s.places[1]) if s.places[1] else outs)

    def _run_on_device(self, program: DeviceProgram, leaves: Sequence[Any]) -> list[ArrayImpl]:
        arrays = [to_array(x) for x in leaves]
        place, committed = place_of(arrays, argument_paths(self._signature).__getitem__)
        if committed and place is not program.device:
            raise ValueError(
                f"{self._signature.name} was compiled for {program.device!r}, and called with "
                f"arrays on {place!r}"
            )
        return program(arrays, committed)

    call = FastCallable.__call__

    def _check(self, leaves: Sequence[Any], structure: Any) -> None:
        s = self._signature
        if any(isinstance(x, Tracer) for x in leaves):
            raise TypeError(
                f"a compiled function ({s.name}) takes concrete arrays only: it cannot be "
                "transformed or called while something is traced; call the jitted function instead"
            )
        if structure != s.tree:
            raise TypeError(
                "Function compiled with input pytree does not match the input pytree it was called "
                f"with. {s.name} was compiled for (args, kwargs) of {s.tree}, called with "
                f"{structure}"
            )
        wrong = [
            f"  {path}: compiled for {a}, called with {aval_of(x)}"
            for path, a, x in zip(argument_paths(s), s.avals, leaves, strict=True)
            if aval_of(x).shape != a.shape or aval_of(x).dtype != a.dtype
        ]
        if wrong:
            note = "" if config.x64() else " (is x64 on or off as it was when compiling?)"
            raise TypeError(
                f"Argument types differ from the types for which this computation was compiled. "
                f"It is {s.name}{note}:\n" + "\n".join(wrong)
            )

    def as_text(self) -> str:
        """The assembly of the program; for a plugin's device the StableHLO that it was given."""
        if self._on_device is not None:
            return self._on_device.text
        return _as_text(self._signature, "asm")

    def cost_analysis(self) -> dict[str, float]:
        """Counts of operations and bytes; `estimated nanoseconds` is the compiler's own.

        For a plugin's device the counts are those of the plugin where it has any.
        """
        if self._on_device is not None and self._on_device.program.costs():
            return dict(self._on_device.program.costs())
        counts = cost_analysis(program_jaxpr(self._signature.closed))
        if self._on_device is not None:
            return counts
        return counts | {"estimated nanoseconds": self._executable.code.cost}

    def memory_analysis(self) -> CompiledMemoryStats:
        """Sizes of code, arguments, results and scratch memory."""
        if self._on_device is not None:
            counted = self._on_device.program.memory()
            names = [f.name for f in fields(CompiledMemoryStats)]
            return CompiledMemoryStats(**{name: counted[name] for name in names})
        s, code = self._signature, self._executable.code
        return CompiledMemoryStats(
            generated_code_size_in_bytes=sum(map(len, code.objects)),
            argument_size_in_bytes=sum(map(nbytes, s.avals)),
            output_size_in_bytes=sum(map(nbytes, s.closed.out_avals)),
            alias_size_in_bytes=sum(
                nbytes(self._executable.jaxpr.outvars[k].aval) for _, k in code.donations
            ),
            temp_size_in_bytes=code.arena_bytes,
        )

    def runtime_executable(self) -> Executable | RefProgram | DeviceProgram:
        """The loaded program."""
        return self._on_device or self._executable

    @property
    def input_shardings(self) -> Any:
        """Where arguments belong: on the device that it was compiled for."""
        s = self._signature
        places = s.places[0] or [None] * len(s.avals)
        return s.arguments([p or self._sharding for p in places])

    @property
    def _sharding(self) -> SingleDeviceSharding:
        return SingleDeviceSharding(CPU if self._on_device is None else self._on_device.device)

    @property
    def output_shardings(self) -> Any:
        """Where results are: on the device that it was compiled for."""
        s = self._signature
        places = s.places[1] or [None] * len(s.closed.out_avals)
        return self.out_tree.unflatten([p or self._sharding for p in places])

    @property
    def input_formats(self) -> Any:
        """How arguments lie in memory, and where."""
        return self._signature.arguments([self._format(a) for a in self._signature.avals])

    @property
    def output_formats(self) -> Any:
        """How results lie in memory, and where."""
        return self.out_tree.unflatten([self._format(a) for a in self._signature.closed.out_avals])

    def _format(self, aval: ShapedArray) -> Format:
        return contiguous(len(aval.shape), self._sharding)


class Wrapped:
    """What a jitted function offers beside being called."""

    def trace(self, *args: Any, **kwargs: Any) -> Traced:
        """Trace for arguments of these types."""
        raise NotImplementedError

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Trace and lower for arguments of these types."""
        raise NotImplementedError


def _of_type(x: Any, aval: ShapedArray) -> ArrayImpl | Ref:
    """An argument as an array of this very type; whether it is weak makes no difference."""
    if type(x) is Ref:
        return x
    array = to_array(x)
    return array if array.aval is aval else make_array(array._data, aval)


def argument_paths(s: Signature) -> list[str]:
    """How users write each leaf of the arguments: `args[0]['w']`, `kwargs['x']`."""
    numbered = s.arguments(list(range(len(s.avals))))
    found = tree.leaves_with_path(numbered)
    return [("args" if path[0].idx == 0 else "kwargs") + tree.keystr(path[1:]) for path, _ in found]


def is_simple(node: Any) -> bool:
    """Whether the native call path can say a structure."""
    if node[0] == "other":
        return False
    return all(is_simple(child) for child in node[-1]) if len(node) > 1 else True


def _lowered(closed: ClosedJaxpr, name: str) -> Any:
    bits, kernels = native.vector_bits(), library.optional_kernels()
    closed = regroup(closed)
    return _program.lower_program(closed, vector_bits=bits, kernels=kernels, name=name)


def _stablehlo(s: Signature, platform: str, debug_info: bool, place: Any) -> str:
    """The module, calls of jitted functions kept; references become values."""
    closed = s.closed
    if refs_discharge.holds_refs(closed):
        closed = refs_discharge.as_values(closed)[0]
    closed = number_callbacks(closed)[0]
    names = tree.leaves_with_path(s.out_tree.unflatten([0] * len(s.closed.out_avals)))
    results = [f"result{tree.keystr(path)}" for path, _ in names]
    module = _hlo.emit_module(
        closed,
        s.name,
        platform=lowering_platform(platform),
        donated=s.donated,
        debug_info=debug_info,
        result_names=results if len(results) == len(closed.jaxpr.outvars) else (),
        partitioning=None if place is None else _ahead.partitioning(s, place),
    )
    return str(module.text)


def _as_text(s: Signature, dialect: str | None) -> str:
    if dialect not in ("jaxpr", "loops", "llvm", "asm"):
        raise UnsupportedError(
            f"the program as {dialect!r}: known are 'stablehlo', 'jaxpr', 'loops', 'llvm' and 'asm'"
        )
    closed = program_jaxpr(s.closed)
    if dialect == "jaxpr":
        return str(closed)
    program = _lowered(closed, s.name)
    if dialect == "loops":
        return str(_text.program_text(program))
    text: str = _emit.emit_module(program, native.vector_bits(), flush=flushes(closed)).text
    return text if dialect == "llvm" else native.disassemble(text, name=s.name)
