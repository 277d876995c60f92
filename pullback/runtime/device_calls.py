"""Calls of jitted functions that run on a plugin's device, and what is checked of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pullback import config, monitoring
from pullback.core.devices import Device, client_of
from pullback.errors import UnsupportedError
from pullback.runtime import index_checks, nan_checks, transfers
from pullback.runtime.array import ArrayImpl
from pullback.runtime.traced import Program

__all__ = ["again", "chosen_device", "run"]

_watched: Final = [False]
"""Whether calls are checked, as settings of the process say."""


def _note_checks() -> None:
    guards = (config.transfer_guard, config.transfer_guard_host_to_device)
    checks = (config.debug_nans, config.debug_infs, config.check_indices, *guards)
    _watched[0] = any(check() for check in checks)


config.on_update(_note_checks)
_note_checks()


def again(traced: Program, arrays: Sequence[ArrayImpl]) -> list[ArrayImpl] | None:
    """The results of a call like the last one of this program; None if it is to be looked at."""
    last = traced.last_on_device
    if last is None or _watched[0] or config.ACTIVE or monitoring.listening():
        return None
    return last.again(arrays)


def run(
    traced: Program,
    leaves: Sequence[Any],
    arrays: Sequence[ArrayImpl],
    device: Device,
    committed: bool,
    compiler_options: Sequence[tuple[str, Any]],
) -> list[ArrayImpl]:
    """The results of a call; `leaves` are the arguments as they came, `arrays` what they are."""
    _check(leaves, arrays, device)
    program = traced.on_device(device, compiler_options)
    with monitoring.timed(monitoring.EXECUTE, fun_name=traced.name):
        outs = program(arrays, committed)
    if nan_checks.wanted():
        nan_checks.check_program(traced.closed, traced.name, arrays, outs)
    return outs


def _check(leaves: Sequence[Any], arrays: Sequence[ArrayImpl], device: Device) -> None:
    """Raise where settings ask for what programs on devices cannot do, or forbid transfers."""
    if index_checks.wanted():
        raise UnsupportedError(
            f"check_indices: programs on {device} do not look at indices; run the function on the "
            "CPU to find an index out of bounds"
        )
    for x, array in zip(leaves, arrays, strict=True):
        if type(x) is not ArrayImpl:
            transfers.check_to_device(array.aval, device, explicit=False)


def chosen_device(device: Any, backend: str | None) -> Device | None:
    """The device that the options `device` and `backend` of `jit` name; None if they do not."""
    if device is None:
        return None if backend is None else client_of(backend).devices()[0]
    if backend is not None:
        raise ValueError("jit: device and backend exclude each other")
    if not isinstance(device, Device):
        raise ValueError(f"jit: device must be one of devices(), got {device!r}")
    return device
