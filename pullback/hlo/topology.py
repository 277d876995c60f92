"""Devices that are described instead of present, and programs compiled for them, by `pypjrt`.

    a name or a description -> Topology (hlo/pjrt finds the plugin) -> compile -> AheadProgram

A plugin's compiler needs no device: it takes what it must know from a topology. TPUs are known by
name (`v5e:2x2x1`); a GPU is described by numbers (hlo/gpu_targets).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pullback.core.topology import TopologyDevice, topology_client
from pullback.errors import JaxRuntimeError, UnsupportedError
from pullback.hlo.gpu_targets import gpu_target
from pullback.hlo.options import encoded
from pullback.hlo.pjrt import find_plugin, load_plugin

__all__ = ["AheadProgram", "Topology", "describe", "parse_target"]

_QUIET: Final = {
    "tpu": {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_LOG_DIR": "disabled",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    },
    "cuda": {"TF_CPP_MIN_LOG_LEVEL": "1"},
}
"""What keeps a plugin from looking for hardware, and from reporting that it found none."""


def _present(platform: str) -> bool:
    """Whether this machine has devices of a platform, as far as the files of drivers tell."""
    patterns = {"tpu": ("accel*", "vfio/[0-9]*"), "cuda": ("nvidia[0-9]*",)}[platform]
    return any(any(Path("/dev").glob(pattern)) for pattern in patterns)


def _keep_quiet(platform: str) -> None:
    if platform in _QUIET and not _present(platform):
        for name, value in _QUIET[platform].items():
            os.environ.setdefault(name, value)


_NO_OPTIONS: Final[Mapping[str, Any]] = MappingProxyType({})


class Topology:
    """Devices of one kind and how they are connected, known to a plugin's compiler."""

    def __init__(self, platform: str, name: str, options: Mapping[str, Any]) -> None:
        _keep_quiet(platform)
        self.platform = platform
        self.name = name
        self._plugin = load_plugin(find_plugin(platform))
        topology = importlib.import_module("pypjrt.topology").Topology
        with _plugin_errors(f"no topology {name!r} of the platform {platform!r}"):
            self._handle = topology.create(self._plugin, name, options=dict(options))
            facts = self._handle.device_descriptions()
            client = topology_client(platform, self._handle.platform_version)
        self.devices = [TopologyDevice(self, client, f) for f in facts]

    @property
    def attributes(self) -> dict[str, Any]:
        """What the plugin says about it."""
        return dict(self._handle.attributes)

    def compile(
        self, text: str, devices: Sequence[int] = (0,), options: Mapping[str, Any] = _NO_OPTIONS
    ) -> AheadProgram:
        """The program of a StableHLO module, split among these of its devices.

        `options` are XLA's, by name.
        """
        plugin = self._plugin
        code = text.encode()
        encoded_options = encoded(plugin.abi, options, devices)
        kept = [ctypes.create_string_buffer(b, len(b)) for b in (code, b"mlir", encoded_options)]
        start = [ctypes.cast(b, ctypes.c_void_p) for b in kept]
        program = plugin.args(
            "PJRT_Program", code=start[0], code_size=len(code), format=start[1], format_size=4
        )
        args = plugin.args(
            "PJRT_Compile_Args",
            topology=self._handle._check(),
            program=ctypes.addressof(program),
            compile_options=start[2],
            compile_options_size=len(encoded_options),
        )
        with _plugin_errors(f"the compiler of the platform {self.platform!r} refuses the program"):
            plugin.call("PJRT_Compile", args)
        executable = int(args.executable)
        try:
            return _read(plugin, executable)
        finally:
            plugin.call(
                "PJRT_Executable_Destroy",
                plugin.args("PJRT_Executable_Destroy_Args", executable=executable),
            )


@contextlib.contextmanager
def _plugin_errors(what: str) -> Iterator[None]:
    errors = importlib.import_module("pypjrt.errors")
    try:
        yield
    except errors.PjrtError as error:
        raise JaxRuntimeError(f"{what}: {error}") from error


@dataclass(frozen=True)
class AheadProgram:
    """A compiled program, as the plugin keeps it, and what its compiler says about it."""

    code: bytes
    """What the plugin's client loads on a machine that has the device."""
    cost: dict[str, float] | None
    """The compiler's own estimate; None where the plugin gives it for present devices only."""
    memory: dict[str, int]
    """Bytes, by PJRT's names."""


def _read(plugin: Any, executable: int) -> AheadProgram:
    memory = plugin.args("PJRT_Executable_GetCompiledMemoryStats_Args", executable=executable)
    with _plugin_errors("the plugin gives no memory analysis"):
        plugin.call("PJRT_Executable_GetCompiledMemoryStats", memory)
    sizes = {n: int(getattr(memory, n)) for n, _ in memory._fields_ if n.endswith("_in_bytes")}
    return AheadProgram(_serialized(plugin, executable), _cost(plugin, executable), sizes)


def _cost(plugin: Any, executable: int) -> dict[str, float] | None:
    args = plugin.args("PJRT_Executable_GetCostAnalysis_Args", executable=executable)
    try:
        plugin.call("PJRT_Executable_GetCostAnalysis", args)
    except importlib.import_module("pypjrt.errors").Unimplemented:
        return None
    read = importlib.import_module("pypjrt._loader").read_named_values
    found: dict[str, float] = read(plugin.abi, args.properties, args.num_properties)
    return found


def _serialized(plugin: Any, executable: int) -> bytes:
    args = plugin.args("PJRT_Executable_Serialize_Args", executable=executable)
    with _plugin_errors("the plugin does not give the executable"):
        plugin.call("PJRT_Executable_Serialize", args)
    try:
        return ctypes.string_at(args.serialized_bytes, args.serialized_bytes_size)
    finally:
        if args.serialized_executable and args.serialized_executable_deleter:
            delete = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(args.serialized_executable_deleter)
            delete(args.serialized_executable)


# --------------------------------------------------------------------------- names

PLATFORMS: Final = ("tpu", "cuda")
"""Those whose plugins compile without a device."""


@functools.cache
def _known(platform: str, name: str, options: tuple[tuple[str, Any], ...]) -> Topology:
    return Topology(platform, name, dict(options))


def describe(platform: str, name: str, **options: Any) -> Topology:
    """The topology of a name, with the plugin's own options; the same object for the same ones.

    Raises UnsupportedError where there is no plugin for the platform, or one that needs a device.
    """
    if platform not in PLATFORMS:
        raise UnsupportedError(
            f"programs are compiled without a device for {' and '.join(PLATFORMS)}, "
            f"not for {platform!r}"
        )
    if platform == "cuda":
        options = _gpu_options(name, options)
    return _known(platform, name, tuple(sorted(options.items())))


def _gpu_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the CUDA plugin: the device is described by `target_config`, or by the name."""
    device, _, shape = name.partition(":")
    given = {"topology": shape or "1x1x1"} | dict(options)
    if "target_config" not in given:
        given["target_config"] = gpu_target(device)
    return given


def parse_target(target: str) -> Topology:
    """The topology that a target names: `tpu:v5e:2x2x1`, `cuda:h100`, `cuda:FILE`.

    Several GPUs follow as slices, hosts and devices of a host: `cuda:h100:1x1x8`.
    """
    platform, _, name = target.partition(":")
    if not name:
        raise UnsupportedError(
            f"the target {target!r} names no device: write tpu:v5e:2x2x1, cuda:h100 or cuda:FILE"
        )
    return describe(platform, name)
