"""What the system says of this machine, without asking LLVM: beside `llvm.jit`.

LLVM knows the name and the features of the processor, but takes longer to import than a program on
disk takes to run.  What it said is therefore kept on disk, under this description.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Final

__all__ = ["description"]

_TELLING: Final = frozenset((
    "vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags",
    "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision",
))  # fmt: skip
_FEATURES: Final = frozenset(("flags", "Features"))


def description(cpuinfo: Path = Path("/proc/cpuinfo"), library: str = "llvmlite") -> str:
    """A text that changes with the processor and with the installed LLVM; empty where unknown.

    >>> description(Path("no such file"))
    ''
    """
    processor = _processor(cpuinfo)
    installed = _installed(library)
    if not processor or not installed:
        return ""
    return "\n".join((sys.platform, platform.machine(), installed, *processor))


def _processor(cpuinfo: Path) -> list[str]:
    """Lines of the first processor that tell what it can do."""
    try:
        first = cpuinfo.read_text().partition("\n\n")[0]
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.partition(":") for line in first.splitlines()]
    found = {name.strip(): value.strip() for name, _, value in lines if name.strip() in _TELLING}
    if found.keys().isdisjoint(_FEATURES):
        return []
    return [f"{name}: {value}" for name, value in sorted(found.items())]


def _installed(library: str) -> str:
    """Where a package lies and when it was put there; it is not imported."""
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        return ""
    folder = os.path.dirname(spec.origin)
    try:
        states = [os.stat(path) for path in (spec.origin, folder, f"{folder}{os.sep}binding")]
    except OSError:
        return ""
    return ";".join((spec.origin, *(f"{s.st_size}:{s.st_mtime_ns}" for s in states)))
