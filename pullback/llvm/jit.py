"""LLVM text to machine code in memory: the last step of compilation.

`compile_object` turns the text of one module into object code for this machine; `load` places
object code in memory, binds its external symbols to absolute addresses, and frees the memory when
the returned `LoadedModule` is dropped.  What lies between the two can be kept on disk
(`runtime/cache.py`), under a key that holds `host_fingerprint()`.

Our text is vectorised before it gets here, so few passes are worth their time.  Of the
milliseconds that a typical module takes, four in five go to instruction selection and register
allocation; `-O1` of LLVM triples the rest without a faster kernel.  `LEVELS` holds what was
measured as worth it.

The bindings of llvmlite hold one lock for every call into LLVM.  LLVM itself needs no lock between
threads that have a context and a target machine each, so the three slow calls (parse, run passes,
emit) go around it and several modules compile at the same time.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from pullback import config
from pullback.errors import LoweringError
from pullback.lazy import LazyModule
from pullback.llvm import image, processor

__all__ = [
    "DATA_ALIGNMENT",
    "LoadedModule",
    "StoredObject",
    "compile_object",
    "compile_objects",
    "disassemble",
    "dump",
    "has_byte_products",
    "host_cpu",
    "host_features",
    "host_fingerprint",
    "linked",
    "load",
    "process_address",
    "stored_object",
    "this_process",
    "tile_types",
    "use_store",
    "vector_bits",
]

LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "light": (
        "add_always_inliner_pass",
        "add_global_dead_code_eliminate_pass",
        "add_sroa_pass",
        "add_instruction_combine_pass",
        "add_simplify_cfg_pass",
    ),
    "scalar": (
        "add_always_inliner_pass",
        "add_global_dead_code_eliminate_pass",
        "add_sroa_pass",
        "add_instruction_combine_pass",
        "add_simplify_cfg_pass",
        "add_new_gvn_pass",
        "add_simplify_cfg_pass",
    ),
}
"""The passes of each level of optimisation; `scalar` is for code full of branches and loads."""

llvmlite: Final[Any] = LazyModule("llvmlite")
binding: Final[Any] = LazyModule("llvmlite.binding")
ffi: Final[Any] = LazyModule("llvmlite.binding.ffi")

DATA_ALIGNMENT: Final = 64
"""Of large constants beside the code of a program."""

IMPLIED: Final = (
    "memcpy", "memmove", "memset", "bzero", "__bzero", "fmod", "fmodf", "fma", "fmaf",
    "ceil", "ceilf", "floor", "floorf", "round", "roundf", "roundeven", "roundevenf",
    "trunc", "truncf",
)  # fmt: skip
"""Functions of the C library that LLVM calls without being asked to: what an instruction becomes
that the processor does not have, and fills with zeros on macOS."""

LOADS_PER_JIT: Final = 64
"""LLVM keeps about 10 kB of every library it ever linked until its session closes, and looks them
up one after the other; a fresh session (1 ms) every so often bounds both."""


# ------------------------------------------------------------------------------------ the machine


@cache
def _initialise() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


class Host(NamedTuple):
    """What LLVM says of the machine and of itself."""

    triple: str
    cpu: str
    features: str
    version: str


@cache
def _host() -> Host:
    """From the store, if another process has asked LLVM on this machine."""
    described = "" if _store is None else processor.description()
    kept = _store.get_host(described) if described and _store is not None else None
    if kept is not None and len(kept) == len(Host._fields):
        return Host(*kept)
    version = ".".join(str(part) for part in binding.llvm_version_info)
    found = Host(
        str(binding.get_process_triple()),
        str(binding.get_host_cpu_name()),
        str(binding.get_host_cpu_features().flatten()),
        f"llvm-{version}-llvmlite-{llvmlite.__version__}",
    )
    if described and _store is not None:
        _store.put_host(described, found)
    return found


def host_cpu() -> str:
    """LLVM's name of this machine's processor, such as `sapphirerapids` or `apple-m1`."""
    return _host().cpu


def host_features() -> str:
    """The processor's features as LLVM writes them, sorted: `+avx2,-avx512f,...`."""
    return _host().features


@cache
def host_fingerprint() -> str:
    """What object code depends on besides its source: machine, operating system, LLVM.

    >>> host_fingerprint() == host_fingerprint()
    True
    """
    tiles = "tiles" if tile_types() else ""
    return ";".join((*_host(), tiles))


@cache
def vector_bits() -> int:
    """Width of the machine's vector registers in bits: 512, 256 or 128.

    >>> vector_bits() in (128, 256, 512)
    True
    """
    features = set(host_features().split(","))
    if "+avx512f" in features and "+avx512vl" in features:
        return 512
    return 256 if "+avx2" in features else 128


@cache
def tile_types() -> tuple[str, ...]:
    """Pairs of numbers that this process may multiply in tile registers, as `llvm.tile_kernels`
    names them; Linux wants to be asked first.

    >>> set(tile_types()) <= {"s8s8", "s8u8", "u8s8", "u8u8", "bf16"}
    True
    """
    features = set(host_features().split(","))
    found: tuple[str, ...] = ()
    found += ("s8s8", "s8u8", "u8s8", "u8u8") if "+amx-int8" in features else ()
    found += ("bf16",) if "+amx-bf16" in features else ()
    if sys.platform != "linux" or not found or not {"+amx-tile", "+avx512f"} <= features:
        return ()
    allowed = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0
    return found if allowed else ()


@cache
def has_byte_products() -> bool:
    """Whether the machine multiplies and adds bytes in vectors of 512 bits (AVX-512 VNNI).

    >>> has_byte_products() in (False, True)
    True
    """
    return vector_bits() == 512 and "+avx512vnni" in host_features().split(",")


_ARCH_PRCTL: Final = 158
_REQUEST_PERMISSION: Final = 0x1023
_TILE_DATA: Final = 18


class _Tools:
    """What one compilation at a time uses; it is used again, by any thread.

    llvmlite never frees a pass manager, nor all of what a builder makes for it, so that making them
    anew for each module would leak.
    """

    def __init__(self) -> None:
        self.machine = _new_target_machine()
        self._passes: dict[str, tuple[Any, Any]] = {}

    def passes(self, level: str) -> tuple[Any, Any]:
        """The manager and the builder of a level."""
        if level not in self._passes:
            manager = binding.create_new_module_pass_manager()
            for add in LEVELS[level]:
                getattr(manager, add)()
            options = binding.create_pipeline_tuning_options(speed_level=1)
            self._passes[level] = manager, binding.create_pass_builder(self.machine, options)
        return self._passes[level]


_free_tools: Final[list[_Tools]] = []


@contextmanager
def _borrowed_tools() -> Iterator[_Tools]:
    try:
        tools = _free_tools.pop()
    except IndexError:
        tools = _Tools()
    yield tools
    _free_tools.append(tools)  # not after an error, whatever state they are in


def _new_target_machine() -> Any:
    _initialise()
    target = binding.Target.from_triple(binding.get_process_triple())
    # Position-independent code in the small model: JITLink puts a module into one block of memory
    # and reaches symbols outside, however far away, through a table of its own making.
    return target.create_target_machine(
        cpu=host_cpu(), features=host_features(), opt=2, reloc="pic", codemodel="small"
    )


# ------------------------------------------------------------------------------------- compilation


@cache
def _unlocked(name: str) -> Any:
    """An LLVM function without the lock that llvmlite puts around it."""
    locked = getattr(ffi.lib, name)
    function = getattr(ctypes.CDLL(ffi.lib._name), name)
    function.argtypes, function.restype = locked.argtypes, locked.restype
    return function


def _parse(text: str, name: str) -> Any:
    context = binding.create_context()
    source = ctypes.c_char_p(text.encode())
    with ffi.OutputString() as message:
        pointer = _unlocked("LLVMPY_ParseAssembly")(context, source, message)
        if message or not pointer:
            raise LoweringError(_diagnosis(name, str(message), text))
        return binding.ModuleRef(pointer, context)


def _diagnosis(name: str, message: str, text: str) -> str:
    """LLVM's complaint, with the line of the text it is about."""
    found = re.search(r":(\d+):\d+:", message)
    lines = text.splitlines()
    number = int(found.group(1)) if found else 0
    line = f"\nline {number}: {lines[number - 1]}" if 0 < number <= len(lines) else ""
    return f"LLVM refuses the module {name!r} that we generated: {message.strip()}{line}"


def _verify(module: Any, name: str, text: str) -> None:
    try:
        module.verify()
    except RuntimeError as error:
        raise LoweringError(_diagnosis(name, str(error), text)) from None


def _run_passes(module: Any, tools: _Tools, level: str) -> None:
    if LEVELS[level]:
        manager, builder = tools.passes(level)
        _unlocked("LLVMPY_RunNewModulePassManager")(manager, module, builder)


def _emit(module: Any, machine: Any, *, assembly: bool = False) -> bytes:
    with ffi.OutputString() as message:
        emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
        buffer = emit(machine, module, int(not assembly), message)
        if not buffer:
            raise LoweringError(f"LLVM emits no code: {message}")
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(buffer), ffi.lib.LLVMPY_GetBufferSize(buffer)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


def _optimised(text: str, name: str, level: str, tools: _Tools) -> Any:
    module = _parse(text, name)
    _verify(module, name, text)
    _run_passes(module, tools, level)
    return module


def compile_object(text: str, *, name: str, level: str = "light") -> bytes:
    """Object code of one module of LLVM text, for this machine.

    `level` is a key of `LEVELS`.  With `PULLBACK_DUMP=directory` the text, the optimised text and
    the assembly are written there.  May be called on several threads at the same time.

    >>> code = compile_object("define i32 @one() { ret i32 1 }", name="example")
    >>> load(code, {}).address("one") != 0
    True
    """
    # Programs of the same name (for several signatures) must not overwrite each other.
    stem = f"{name[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    dumped = bool(dump_directory())
    if dumped:
        dump(stem, ".ll", text)
    with _borrowed_tools() as tools:
        module = _optimised(text, name, level, tools)
        if dumped:
            dump(stem, ".opt.ll", str(module))
            dump(stem, ".s", _emit(module, tools.machine, assembly=True).decode())
        return _emit(module, tools.machine)


def compile_objects(texts: Sequence[str], *, name: str, threads: int = 1) -> list[bytes]:
    """`compile_object` of several modules on some threads: LLVM holds no lock meanwhile."""
    if len(texts) == 1 or threads == 1:
        return [compile_object(text, name=name) for text in texts]
    found: dict[int, bytes] = {}
    errors: list[BaseException] = []
    waiting = iter(enumerate(texts))

    def work() -> None:
        try:
            for k, text in waiting:
                found[k] = compile_object(text, name=name)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(min(threads, len(texts)) - 1)]
    for worker in workers:
        worker.start()
    work()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return [found[k] for k in range(len(texts))]


class StoredObject(NamedTuple):
    """Object code and the external symbols that it needs."""

    code: bytes
    symbols: tuple[str, ...]


class ObjectStore(Protocol):
    """Somewhere to keep object code between processes; `runtime/cache.py` has one on disk."""

    def get_object(self, key: bytes) -> StoredObject | None:
        """What was put under `key`, with a machine, an LLVM and a version of ours like these."""

    def put_object(self, key: bytes, found: StoredObject) -> None:
        """Keep `found` under `key`."""

    def get_host(self, described: str) -> Sequence[str] | None:
        """What LLVM said of a machine that was described so."""

    def put_host(self, described: str, found: Sequence[str]) -> None:
        """Keep what LLVM said."""


_store: ObjectStore | None = None


def use_store(store: ObjectStore | None) -> None:
    """Let `stored_object` keep its results in `store`."""
    global _store
    _store = store


def stored_object(
    write: Callable[[], tuple[str, Iterable[str]]],
    *,
    name: str,
    variant: object = "",
    level: str = "light",
) -> StoredObject:
    """`compile_object`, once a machine: for modules that are the same in every process.

    `write` gives the text and the symbols that it needs.  It is called only where the store has
    nothing of this name and `variant`, whose `repr` says all that the text depends on: writing the
    text takes longer than loading what was made of it.
    """
    key = f"{name}\0{level}\0{variant!r}".encode()
    store = None if dump_directory() else _store
    found = None if store is None else store.get_object(key)
    if found is None:
        text, symbols = write()
        (code,) = linked([compile_object(text, name=name, level=level)])
        found = StoredObject(code, tuple(symbols))
        if store is not None:
            store.put_object(key, found)
    return found


def disassemble(text: str, *, name: str = "module", level: str = "light") -> str:
    """The assembly that `compile_object` would make of the same text.

    >>> "ret" in disassemble("define i32 @one() { ret i32 1 }")
    True
    """
    with _borrowed_tools() as tools:
        return _emit(_optimised(text, name, level, tools), tools.machine, assembly=True).decode()


def dump_directory() -> str:
    """Where to write what the compiler makes: `$PULLBACK_DUMP`, or the setting `dump_ir_to`."""
    return os.environ.get("PULLBACK_DUMP") or str(config.dump_ir_to())


def dump(name: str, suffix: str, text: str) -> None:
    """Write `text` to `name+suffix` in the directory for dumps, if there is one."""
    directory = dump_directory()
    if not directory:
        return
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w.-]", "_", name)[:120] or "module"
    (path / f"{safe}{suffix}").write_text(text)


# ----------------------------------------------------------------------------------------- loading


class _Session:
    """One LLJIT and the number of libraries it has linked; freed with the last of them."""

    __slots__ = ("jit", "loads")

    def __init__(self) -> None:
        _initialise()
        # A machine of its own: LLJIT takes over the options of the one it is given.
        self.jit = binding.create_lljit_compiler(_new_target_machine(), use_jit_link=True)
        self.loads = 0


_session: _Session | None = None
_session_lock = threading.Lock()
_names = itertools.count()


def _current_session() -> _Session:
    global _session
    with _session_lock:
        if _session is None or _session.loads >= LOADS_PER_JIT:
            _session = _Session()
        _session.loads += 1
        return _session


def _forget_lock() -> None:
    """In a forked child no other thread can hold the lock, whatever its state says."""
    global _session_lock
    _session_lock = threading.Lock()


if os.name == "posix":
    os.register_at_fork(after_in_child=_forget_lock)


class _Library:
    """Objects that LLVM's linker has placed."""

    __slots__ = ("_name", "_session", "_trackers")

    def __init__(self, session: _Session, name: str, tracker: Any) -> None:
        # The trackers come first: they are dropped before the session that they belong to.
        self._trackers = [tracker]
        self._session = session
        self._name = name

    def find(self, name: str) -> int:
        try:
            tracker = self._session.jit.lookup(self._name, name)
        except RuntimeError as error:
            raise KeyError(f"no symbol {name!r} in the module: {error}") from None
        self._trackers.append(tracker)
        return int(tracker[name])


class LoadedModule:
    """Machine code in memory.  Its addresses are valid as long as this object lives."""

    __slots__ = ("_addresses", "_memory")

    def __init__(self, memory: image.Placed | _Library, addresses: dict[str, int]) -> None:
        self._memory = memory
        self._addresses = addresses

    def address(self, name: str) -> int:
        """Absolute address of a function or global that the module defines.

        Raises KeyError where there is none of this name.
        """
        if name not in self._addresses:
            if isinstance(self._memory, image.Placed):
                raise KeyError(f"no symbol {name!r} in the module")
            self._addresses[name] = self._memory.find(name)
        return self._addresses[name]

    def function(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        """The function as a ctypes callable, for tests and slow paths; it releases the GIL.

        >>> code = compile_object("define i32 @one() { ret i32 1 }", name="example")
        >>> load(code, {}).function("one", ctypes.c_int32)()
        1
        """
        made = ctypes.CFUNCTYPE(result, *arguments)(self.address(name))

        def call(*values: Any, _keep: LoadedModule = self) -> Any:
            return made(*values)

        return call


def linked(objects: Sequence[bytes]) -> tuple[bytes, ...]:
    """The objects as one image (`llvm.image`), for `load`; themselves where LLVM has to link them.

    An image is placed without LLVM, in microseconds.
    """
    found = image.link(objects)
    return tuple(objects) if found is None else (image.encode(found),)


def load(
    objects: bytes | Iterable[bytes], symbols: Mapping[str, int], *, exports: Iterable[str] = ()
) -> LoadedModule:
    """Place object code (of one module, or of several that call each other) in memory.

    `symbols` gives the absolute addresses of external symbols, wherever they lie.  Naming the
    `exports` saves a later look-up.  Raises LoweringError where a symbol stays undefined.
    """
    parts = [objects] if isinstance(objects, bytes) else list(objects)
    known = {**_always_there(), **symbols}
    whole = image.decode(parts[0]) if image.is_image(parts[0]) else image.link(parts)
    if whole is None:
        return _link_by_llvm(parts, known, list(exports))
    placed = image.place(whole, known)
    return LoadedModule(placed, placed.addresses)


def _link_by_llvm(
    parts: Sequence[bytes], symbols: Mapping[str, int], exports: Sequence[str]
) -> LoadedModule:
    session = _current_session()
    library = f"m{next(_names)}"
    builder = binding.JITLibraryBuilder()
    for part in parts:
        builder.add_object_img(part)
    for name, address in symbols.items():
        builder.import_symbol(name, address)
    for name in exports:
        builder.export_symbol(name)
    try:
        tracker = builder.link(session.jit, library)
    except RuntimeError as error:
        raise LoweringError(f"a compiled program cannot be linked: {error}") from None
    addresses = {name: int(tracker[name]) for name in exports}
    return LoadedModule(_Library(session, library, tracker), addresses)


@cache
def _always_there() -> dict[str, int]:
    """Addresses of what LLVM may call, as far as this system has it."""
    found: dict[str, int] = {}
    for name in IMPLIED:
        with suppress(AttributeError):
            found[name] = process_address(name)
    return found


@cache
def this_process() -> ctypes.CDLL:
    """What the running process has loaded; making a library anew takes as long as a small trace."""
    return ctypes.CDLL(None)


def process_address(name: str) -> int:
    """Address of a symbol of the running process, such as `malloc` of the C library.

    Raises AttributeError where the process has none.

    >>> process_address("malloc") != 0
    True
    """
    try:
        return ctypes.addressof(ctypes.c_char.in_dll(this_process(), name))
    except ValueError as error:
        raise AttributeError(str(error)) from None
