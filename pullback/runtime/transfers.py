"""Transfer guards: what happens when elements cross between the host and a plugin's device.

Explicit transfers are those of `device_put`, `device_get` and `copy_to_host_async`; implicit ones
are NumPy arrays and Python numbers as operands, and elements that Python code looks at.  An array
of ours that was made on the host counts as being on the default device: that it is sent when a
program first needs it is no transfer of the user's.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from pullback import config
from pullback.errors import JaxRuntimeError

__all__ = ["check_between_devices", "check_to_device", "check_to_host"]

_log: Final = logging.getLogger(__name__)
_REFUSED: Final = {
    False: ("disallow", "disallow_explicit"),
    True: ("disallow_explicit",),
}
_LOGGED: Final = {False: ("log", "log_explicit"), True: ("log_explicit",)}


def _check(setting: Any, direction: str, what: Any, explicit: bool) -> None:
    level = setting() or config.transfer_guard()
    if level in (None, "allow"):
        return
    text = f"{direction} transfer: {what}"
    if level in _REFUSED[explicit]:
        raise JaxRuntimeError(f"INVALID_ARGUMENT: Disallowed {text}")
    if level in _LOGGED[explicit]:
        _log.warning("%s", text)


def check_to_device(aval: Any, device: Any, *, explicit: bool) -> None:
    """A value of the host goes to a device; JaxRuntimeError where that is not allowed."""
    setting = config.transfer_guard_host_to_device
    if setting() or config.transfer_guard():
        _check(setting, "host-to-device", f"aval={aval}, device={device}", explicit)


def check_to_host(buffer: Any, *, explicit: bool) -> None:
    """Elements of a device come to the host."""
    setting = config.transfer_guard_device_to_host
    if setting() or config.transfer_guard():
        what = f"shape={buffer.shape}, dtype={buffer.dtype}, device={buffer.device}"
        _check(setting, "device-to-host", what, explicit)


def check_between_devices(buffer: Any, device: Any, *, explicit: bool) -> None:
    """Elements of a device go to another one."""
    setting = config.transfer_guard_device_to_device
    if setting() or config.transfer_guard():
        what = (
            f"shape={buffer.shape}, dtype={buffer.dtype}, device={buffer.device}, "
            f"dst_device={device}"
        )
        _check(setting, "device-to-device", what, explicit)
