"""Options of compilers behind PJRT, in the wire format of protocol buffers.

What `pypjrt` encodes is for one device, the first; here are the devices that a program is for, and
options of XLA by name (`env_option_overrides`, field 7 of CompileOptionsProto).
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["STRICT", "encoded"]

STRICT: Final[Mapping[str, Any]] = {
    # Minima and maxima propagate NaN.
    "xla_cpu_enable_fast_min_max": False,
    # The arc tangent is wrong in vectors of 256 bits in a plugin that we met.
    "xla_cpu_prefer_vector_width": 128,
}
"""What XLA:CPU must be told to compute exactly."""


def encoded(abi: Any, overrides: Mapping[str, Any], devices: Sequence[int] = (0,)) -> bytes:
    """CompileOptionsProto of a program for the devices with these numbers.

    A program for several is split among them by the Shardy partitioner.
    """
    options = importlib.import_module("pypjrt.compile_options").CompileOptions
    several = len(devices) > 1
    made = options(
        num_partitions=len(devices),
        use_spmd_partitioning=several,
        use_shardy_partitioner=several,
        device_assignment=None if tuple(devices) == (0,) else _assignment(devices),
    )
    out = bytes(made.encode(abi))
    return out + b"".join(_override(name, v) for name, v in overrides.items())


def _assignment(devices: Sequence[int]) -> bytes:
    """DeviceAssignmentProto of one replica: the device of each partition."""
    columns = (_bytes_field(3, _bytes_field(1, _varint(d))) for d in devices)
    return _number_field(1, 1) + _number_field(2, len(devices)) + b"".join(columns)


def _override(name: str, value: Any) -> bytes:
    """An entry of `env_option_overrides`: a name, and an OptionOverrideProto."""
    if isinstance(value, bool):
        held = _number_field(2, int(value))
    elif isinstance(value, int):
        held = _number_field(3, value)
    elif isinstance(value, float):
        held = bytes((4 << 3 | 1,)) + struct.pack("<d", value)
    elif isinstance(value, str):
        held = _bytes_field(1, value.encode())
    else:
        raise TypeError(
            f"the compiler option {name!r} must be a bool, a number or a string, got {value!r}"
        )
    return _bytes_field(7, _bytes_field(1, name.encode()) + _bytes_field(2, held))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def _number_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value
