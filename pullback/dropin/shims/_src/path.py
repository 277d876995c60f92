"""`jax._src.path`: paths of files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["Path", "epath_installed"]

epath_installed: Final = False
