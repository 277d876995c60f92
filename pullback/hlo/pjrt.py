"""Compilers and devices behind the PJRT C API, by `pypjrt`: the only module that knows it.

    text of a module (hlo/emit) -> Backend.compile -> LoadedProgram -> buffers on a device

A call must be cheap: the argument structure of a program is made once, and a call fills in a row
of addresses and crosses into C once.  Execution is asynchronous; reading a buffer waits for it.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pullback.core import dtypes, element_types
from pullback.core.devices import Client, Device, lowering_platform, make_device
from pullback.core.dlpack import Foreign
from pullback.core.stablehlo import Type
from pullback.errors import JaxRuntimeError, UnsupportedError
from pullback.hlo import buffers, host_functions, options
from pullback.hlo.buffers import DeviceBuffer

__all__ = [
    "Backend",
    "DeviceBuffer",
    "LoadedProgram",
    "PluginFile",
    "find_plugin",
    "find_plugins",
    "installed",
    "load_plugin",
    "open_backend",
]


class _Library:
    """The parts of `pypjrt` that are used, imported at the first need."""

    @functools.cached_property
    def client(self) -> Any:
        return importlib.import_module("pypjrt.client")

    @functools.cached_property
    def pypjrt(self) -> Any:
        return importlib.import_module("pypjrt")


_lib: Final = _Library()
_NO_OPTIONS: Final[Mapping[str, Any]] = {}

# --------------------------------------------------------------------------- discovery

ENTRY_POINTS: Final = "pullback.pjrt"
"""Group of entry points that announce plugins: `platform = "module:function_that_gives_a_path"`."""

_WHEELS: Final = {
    "tpu": (("libtpu", "libtpu.so"),),
    "cuda": (
        ("jax_plugins.xla_cuda13", "xla_cuda_plugin.so"),
        ("jax_plugins.xla_cuda12", "xla_cuda_plugin.so"),
    ),
    "rocm": (
        ("jax_plugins.xla_rocm7", "xla_rocm_plugin.so"),
        ("jax_plugins.xla_rocm60", "xla_rocm_plugin.so"),
    ),
    "metal": (("jax_plugins.metal_plugin", "pjrt_plugin_metal_14.dylib"),),
    "xpu": (("jax_plugins.intel_extension_for_openxla", "pjrt_plugin_xpu.so"),),
    "xla_cpu": (("lammps_jax_pjrt_cpu", "pjrt_c_api_cpu_plugin.so"),),
}
"""Where wheels keep the library of a platform's plugin."""

_ALIASES: Final = {"gpu": ("cuda", "rocm")}


@dataclass(frozen=True)
class PluginFile:
    """The library of a plugin, for a platform."""

    platform: str
    path: Path


def _from_environment() -> Iterator[PluginFile]:
    """`PULLBACK_PJRT_PLUGINS="name:/path/to.so,other:/path"`."""
    for item in filter(None, os.environ.get("PULLBACK_PJRT_PLUGINS", "").split(",")):
        name, _, path = item.partition(":")
        if not path or not Path(path).is_file():
            raise UnsupportedError(
                f"PULLBACK_PJRT_PLUGINS: {item!r} must be a name, a colon and the path of a library"
            )
        yield PluginFile(name, Path(path))


def _from_entry_points() -> Iterator[PluginFile]:
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield PluginFile(point.name, Path(point.load()()))


def _from_wheels() -> Iterator[PluginFile]:
    for platform, places in _WHEELS.items():
        for module, name in places:
            folder = _package_folder(module)
            if folder is not None and (folder / name).is_file():
                yield PluginFile(platform, folder / name)


def _package_folder(module: str) -> Path | None:
    """The folder of a package that is installed; nothing of it is imported but its parents."""
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))) if places else None


def find_plugins() -> dict[str, PluginFile]:
    """Plugins by platform: of the environment, of entry points, of wheels, the first that is found.

    >>> isinstance(find_plugins(), dict)
    True
    """
    found: dict[str, PluginFile] = {}
    for source in (_from_environment, _from_entry_points, _from_wheels):
        for plugin in source():
            found.setdefault(plugin.platform, plugin)
    return found


# --------------------------------------------------------------------------- element types


def _type_names() -> dict[np.dtype[Any], str]:
    names: dict[Any, str] = {dtypes.bool_: "PRED", np.dtype(dtypes.bfloat16): "BF16"}
    names |= {dtypes.complex64: "C64", dtypes.complex128: "C128"}
    for bits in (8, 16, 32, 64):
        names[np.dtype(f"int{bits}")] = f"S{bits}"
        names[np.dtype(f"uint{bits}")] = f"U{bits}"
    for bits in (16, 32, 64):
        names[np.dtype(f"float{bits}")] = f"F{bits}"
    for name, dtype in element_types.SMALL_FLOATS.items():
        names[dtype] = "F" + name.removeprefix("float").replace("_", "").upper()
    for name, dtype in element_types.SMALL_SIGNED.items():
        names[dtype] = f"S{name.removeprefix('int')}"
    for name, dtype in element_types.SMALL_UNSIGNED.items():
        names[dtype] = f"U{name.removeprefix('uint')}"
    return names


_TYPE_NAMES: Final = _type_names()

# --------------------------------------------------------------------------- clients


class Backend:
    """A client of a plugin: a compiler, and devices."""

    def __init__(self, plugin: PluginFile, options: Mapping[str, Any] | None = None) -> None:
        self.platform = plugin.platform
        self._file = plugin
        self.plugin = load_plugin(plugin)
        given = None if options is None else dict(options)
        self.client = _lib.client.Client.create(self.plugin, options=given)
        self._handles = self.client.devices()
        self.owner = Client(self.platform, self._platform_version(), self)
        """The client as users see it."""
        for handle in self._handles.__enter__():
            make_device(
                self.owner,
                handle.id,
                handle.kind,
                process_index=handle.process_index,
                local_hardware_id=handle.local_hardware_id,
                handle=handle,
            )
        self.devices = self.owner.devices()
        abi = self.plugin.abi
        self._codes = {
            dtype: getattr(abi, f"PJRT_Buffer_Type_{name}")
            for dtype, name in _TYPE_NAMES.items()
            if getattr(abi, f"PJRT_Buffer_Type_{name}", None) is not None
        }
        self._destroy = self.plugin.fn("PJRT_Buffer_Destroy")
        self._destroy_type = abi.PJRT_Buffer_Destroy_Args
        self._destroy_size = abi.PJRT_Buffer_Destroy_Args_STRUCT_SIZE
        self.execute = self.plugin.fn("PJRT_LoadedExecutable_Execute")
        self.programs: weakref.WeakSet[LoadedProgram] = weakref.WeakSet()
        self._open = True
        atexit.register(self.close)

    def close(self) -> None:
        """Give everything back: programs, then the client; buffers die with it."""
        if self._open:
            for program in list(self.programs):
                program.close()
            self._open = False
            self.client.close()
            self.client = self._handles = None  # its finalizer needs its module

    @property
    def is_open(self) -> bool:
        """Whether it can still be used."""
        return self._open

    @property
    def platform_name(self) -> str:
        """What the plugin calls its platform."""
        return str(self.client.platform_name)

    @property
    def lowering_platform(self) -> str:
        """The platform as rules of primitives know it."""
        return lowering_platform(self.platform)

    def code(self, dtype: Any) -> int:
        """PJRT's number of an element type."""
        found = self._codes.get(dtype)
        if found is None:
            raise UnsupportedError(f"the plugin for {self.platform} has no elements of {dtype}")
        return int(found)

    def check(self, error: int | None) -> None:
        """Raise the error of a call."""
        if not error:
            return
        plugin = self.plugin
        args = plugin.args("PJRT_Error_Message_Args", error=error)
        plugin.fn("PJRT_Error_Message")(ctypes.byref(args))
        message = ctypes.string_at(args.message, args.message_size).decode(errors="replace")
        plugin.fn("PJRT_Error_Destroy")(
            ctypes.byref(plugin.args("PJRT_Error_Destroy_Args", error=error))
        )
        raise JaxRuntimeError(message)

    def destroy(self, address: int) -> None:
        """Give the memory of a buffer back."""
        if not self._open:
            return
        args = self._destroy_type(self._destroy_size, None, address)
        self.check(self._destroy(ctypes.byref(args)))

    def put(self, data: np.ndarray[Any, Any], device: Device | None = None) -> DeviceBuffer:
        """A copy of host memory on a device, by default the first."""
        return buffers.put(self, data, device or self.devices[0])

    def let_call(self, function: Callable[[int, Sequence[int]], None]) -> None:
        """Let programs call Python functions, all of them through this one."""
        host_functions.register(self.plugin, self.platform, function)

    def adopt(self, memory: Foreign, device: Device) -> tuple[bool, Any]:
        """Whether memory can be used as it is, and the buffer of it, which uses its capsule up."""
        if memory.dtype not in self._codes:
            return False, None
        return buffers.adopt(self, memory, device)

    def external_stream(self, device: Device) -> int | None:
        """The stream on which others should make their memory ready; None without streams."""
        extensions = importlib.import_module("pypjrt.extensions")
        if not extensions.stream_available(self.plugin):
            return None
        return int(extensions.device_stream(device.handle))

    def memory_stats(self, device: Device) -> dict[str, int] | None:
        """What the plugin counts of a device's memory; None if it counts nothing."""
        try:
            return dict(device.handle.memory_stats())
        except _lib.pypjrt.errors.Unimplemented:
            return None

    def _platform_version(self) -> str:
        args = self.plugin.args("PJRT_Client_PlatformVersion_Args", client=self.client.address)
        self.plugin.call("PJRT_Client_PlatformVersion", args)
        text = ctypes.string_at(args.platform_version, args.platform_version_size)
        return text.decode(errors="replace")

    def _compile_options(self, device: Device, given: Mapping[str, Any]) -> bytes:
        """Options for one device; XLA:CPU must be told to compute exactly."""
        strict = options.STRICT if self.platform_name == "cpu" else {}
        return options.encoded(self.plugin.abi, {**strict, **given}, (device.id,))

    def version(self, device: Device, given: Mapping[str, Any]) -> str:
        """What compiled programs depend on beside their text.

        As `pypjrt` advises, the plugin's own versions are in it, since code that one XLA compiled
        may compute something else under another; and the kind of device, and the options.
        """
        plugin = self.plugin
        file = self._file.path.stat()
        made = (self._file.path, file.st_size, file.st_mtime_ns)
        return (
            f"{self.platform} {self.platform_name} {self.owner.platform_version} {made} "
            f"{plugin.api_version} {plugin.xla_version} {plugin.attributes} "
            f"{device.device_kind} {self._compile_options(device, given).hex()}"
        )

    def compile(
        self,
        text: str,
        types: Sequence[Type],
        *,
        donated: Sequence[int] = (),
        device: Device | None = None,
        compiler_options: Mapping[str, Any] = _NO_OPTIONS,
    ) -> LoadedProgram:
        """The program of a StableHLO module whose results have these types.

        Raises JaxRuntimeError for what the plugin's compiler does not take.
        """
        device = device or self.devices[0]
        encoded = _Encoded(self._compile_options(device, compiler_options))
        try:
            executable = self.client.compile(text, options=encoded)
        except _lib.pypjrt.errors.PjrtError as error:
            raise JaxRuntimeError(str(error)) from None
        return LoadedProgram(self, executable, types, donated, device)

    def load(
        self,
        code: bytes,
        types: Sequence[Type],
        *,
        donated: Sequence[int] = (),
        device: Device | None = None,
    ) -> LoadedProgram | None:
        """The program that `LoadedProgram.serialize` gave; None if the plugin does not take it."""
        try:
            executable = self.client.deserialize_executable(code)
        except _lib.pypjrt.errors.PjrtError:
            return None
        return LoadedProgram(self, executable, types, donated, device or self.devices[0])


class _Encoded:
    """Options that are bytes already."""

    use_shardy_partitioner = False

    def __init__(self, value: bytes) -> None:
        self._value = value

    def encode(self, abi: Any) -> bytes:
        """The bytes."""
        return self._value


# --------------------------------------------------------------------------- programs


class LoadedProgram:
    """A compiled program on one device."""

    def __init__(
        self,
        backend: Backend,
        executable: Any,
        types: Sequence[Type],
        donated: Sequence[int],
        device: Device,
    ) -> None:
        self.backend = backend
        self.device = device
        self.executable = executable
        self.types = [(tuple(shape), np.dtype(dtype)) for shape, dtype in types]
        self.donated = tuple(donated)
        self.waits = False
        """Whether a call returns at the end of the program, and raises what went wrong in it."""
        self._frames: list[_Frame] = []
        backend.programs.add(self)

    def serialize(self) -> bytes | None:
        """The compiled program as bytes; None where the plugin cannot give it."""
        try:
            return bytes(self.executable.serialize())
        except _lib.pypjrt.errors.PjrtError:
            return None

    def costs(self) -> dict[str, float]:
        """The compiler's counts of operations and bytes; empty where the plugin has none."""
        try:
            found = self.executable.cost_analysis()
        except _lib.pypjrt.errors.Unimplemented:
            return {}
        return {name: float(value) for name, value in found.items()}

    def memory(self) -> dict[str, int]:
        """Bytes of code, arguments, results and scratch memory."""
        try:
            return dict(self.executable.compiled_memory_stats())
        except _lib.pypjrt.errors.Unimplemented:
            raise UnsupportedError(
                f"the plugin of {self.backend.platform} does not say what memory programs need"
            ) from None

    def close(self) -> None:
        """Give the program's memory back."""
        if self.executable is not None:
            self.executable.close()
            self.executable = None

    def __del__(self) -> None:
        if self.backend.is_open:
            self.close()

    def __call__(self, buffers: Sequence[DeviceBuffer]) -> list[DeviceBuffer]:
        """Run; returns before the results are computed."""
        try:
            frame = self._frames.pop()  # one that no other thread uses
        except IndexError:
            frame = _Frame(self, len(buffers))
        row = frame.arguments
        for i, buffer in enumerate(buffers):
            row[i] = buffer.address
        backend = self.backend
        error = backend.execute(frame.reference)
        if error:
            backend.check(error)
        if self.waits:
            self._finish(frame)
        device = self.device
        outs = [
            DeviceBuffer(backend, address, shape, dtype, device)
            for address, (shape, dtype) in zip(frame.results, self.types, strict=True)
        ]
        self._frames.append(frame)
        for i in self.donated:
            buffers[i].delete()
        return outs

    def _finish(self, frame: _Frame) -> None:
        """Wait for the end of a call."""
        try:
            _lib.client.Event(self.backend.plugin, frame.events[0]).consume()
        except _lib.pypjrt.errors.PjrtError as error:
            for address in frame.results:
                if address:
                    self.backend.destroy(address)
            raise JaxRuntimeError(str(error)) from None


class _Frame:
    """The argument structure of calls of one program."""

    def __init__(self, program: LoadedProgram, count: int) -> None:
        plugin = program.backend.plugin
        pointer = ctypes.c_void_p
        self.arguments = (pointer * max(count, 1))()
        self.results = (pointer * len(program.types))()
        self._rows = (pointer * 1)(ctypes.addressof(self.arguments))
        self._out_rows = (pointer * 1)(ctypes.addressof(self.results))
        self._options = plugin.args("PJRT_ExecuteOptions")
        kept = [i for i in range(count) if i not in program.donated]
        self._kept = (ctypes.c_int64 * max(len(kept), 1))(*kept)
        self._options.non_donatable_input_indices = ctypes.addressof(self._kept)
        self._options.num_non_donatable_input_indices = len(kept)
        self.args = plugin.args(
            "PJRT_LoadedExecutable_Execute_Args",
            executable=program.executable.address,
            options=ctypes.addressof(self._options),
            argument_lists=ctypes.addressof(self._rows),
            num_devices=1,
            num_args=count,
            output_lists=ctypes.addressof(self._out_rows),
        )
        self.events = (pointer * 1)()
        if program.waits:
            self.args.device_complete_events = ctypes.addressof(self.events)
        self.reference = ctypes.byref(self.args)


def installed() -> bool:
    """Whether the client library is installed."""
    return importlib.util.find_spec("pypjrt") is not None


def find_plugin(platform: str) -> PluginFile:
    """The plugin of a platform, or of one that goes by this name; UnsupportedError without one."""
    if not installed():
        raise UnsupportedError(
            f"the platform {platform!r} needs the package pypjrt: pip install pullback[pjrt]"
        )
    found = find_plugins()
    for name in _ALIASES.get(platform, (platform,)):
        if name in found:
            return found[name]
    raise UnsupportedError(
        f"no PJRT plugin for the platform {platform!r} is installed; found: "
        f"{', '.join(sorted(found)) or 'none'}"
    )


@functools.cache
def load_plugin(file: PluginFile) -> Any:
    """The loaded library of a plugin, `pypjrt`'s object; one a process."""
    plugin = _lib.pypjrt.Plugin(str(file.path))
    plugin.initialize()
    return plugin


@functools.cache
def open_backend(platform: str) -> Backend:
    """The backend of a platform, opened at the first need; names of one plugin share it."""
    return _opened(find_plugin(platform))


@functools.cache
def _opened(plugin: PluginFile) -> Backend:
    return Backend(plugin)
