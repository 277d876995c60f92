"""What XLA asks about an NVIDIA GPU that is not there, in the text of its messages.

A plugin that compiles without a device takes the numbers of the device as the text form of a
`GpuTargetConfigProto`. Those below come from NVIDIA's data sheets (processors, clock, memory,
bandwidth, level-2 cache) and from the table of compute capabilities in its programming guide
(threads, registers and shared memory of a processor). Another device is described by a file with
that text; a plugin on a machine that has the device gives it as the attribute `target_config` of
its topology.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pullback.errors import UnsupportedError

__all__ = ["GPUS", "gpu_target"]

KB: Final = 1024


@dataclass(frozen=True)
class _Generation:
    """What all devices of one compute capability have in common, a multiprocessor each."""

    major: int
    minor: int
    threads: int
    shared: int
    """Bytes of shared memory; one block can have all but a kilobyte of it."""
    lanes: int
    """Single precision units."""


_TURING: Final = _Generation(7, 5, 1024, 64 * KB, 64)
_AMPERE: Final = _Generation(8, 0, 2048, 164 * KB, 64)
_AMPERE_SMALL: Final = _Generation(8, 6, 1536, 100 * KB, 128)
_ADA: Final = _Generation(8, 9, 1536, 100 * KB, 128)
_HOPPER: Final = _Generation(9, 0, 2048, 228 * KB, 128)
_BLACKWELL: Final = _Generation(10, 0, 2048, 228 * KB, 128)
_BLACKWELL_SMALL: Final = _Generation(12, 0, 1536, 100 * KB, 128)


@dataclass(frozen=True)
class Gpu:
    """A device: its name, multiprocessors, GHz, GiB of memory, GB/s, and MiB of level-2 cache."""

    name: str
    generation: _Generation
    processors: int
    clock: float
    memory: int
    bandwidth: int
    cache: int

    def text(self) -> str:
        """The message of the device."""
        g = self.generation
        # Turing gives a block all of its shared memory.
        optional = g.shared - (KB if g.major > 7 else 0)
        return f"""\
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: {48 * KB}
  shared_memory_per_core: {g.shared}
  shared_memory_per_block_optin: {optional}
  threads_per_core_limit: {g.threads}
  core_count: {self.processors}
  fpus_per_core: {g.lanes}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.bandwidth * 10**9}
  l2_cache_size: {self.cache * KB**2}
  clock_rate_ghz: {self.clock}
  device_memory_size: {self.memory * KB**3}
  cuda_compute_capability {{ major: {g.major} minor: {g.minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
device_description_str: "{self.name}"
"""


GPUS: Final = {
    "t4": Gpu("Tesla T4", _TURING, 40, 1.59, 16, 320, 4),
    "a100": Gpu("NVIDIA A100-SXM4-80GB", _AMPERE, 108, 1.41, 80, 2039, 40),
    "a100-40gb": Gpu("NVIDIA A100-SXM4-40GB", _AMPERE, 108, 1.41, 40, 1555, 40),
    "a10": Gpu("NVIDIA A10", _AMPERE_SMALL, 72, 1.695, 24, 600, 6),
    "a10g": Gpu("NVIDIA A10G", _AMPERE_SMALL, 80, 1.71, 24, 600, 6),
    "rtx3090": Gpu("NVIDIA GeForce RTX 3090", _AMPERE_SMALL, 82, 1.695, 24, 936, 6),
    "l4": Gpu("NVIDIA L4", _ADA, 58, 2.04, 24, 300, 48),
    "l40s": Gpu("NVIDIA L40S", _ADA, 142, 2.52, 48, 864, 96),
    "rtx4090": Gpu("NVIDIA GeForce RTX 4090", _ADA, 128, 2.52, 24, 1008, 72),
    "h100": Gpu("NVIDIA H100 80GB HBM3", _HOPPER, 132, 1.98, 80, 3352, 50),
    "h100-pcie": Gpu("NVIDIA H100 PCIe", _HOPPER, 114, 1.755, 80, 2039, 50),
    "h200": Gpu("NVIDIA H200", _HOPPER, 132, 1.98, 141, 4800, 50),
    "b200": Gpu("NVIDIA B200", _BLACKWELL, 148, 1.965, 180, 7700, 126),
    "rtx5090": Gpu("NVIDIA GeForce RTX 5090", _BLACKWELL_SMALL, 170, 2.407, 32, 1792, 96),
}
"""Devices by the names that targets have."""


def gpu_target(name: str) -> str:
    """The description of a device: a key of `GPUS`, in any case, or the path of a file.

    >>> "core_count: 132" in gpu_target("H100")
    True
    """
    known = GPUS.get(name.lower())
    if known is not None:
        return known.text()
    path = Path(name)
    if path.is_file():
        return path.read_text()
    raise UnsupportedError(
        f"no GPU {name!r} is described here, and there is no such file; known are "
        f"{', '.join(GPUS)}, and a file may hold the text of a GpuTargetConfigProto"
    )
