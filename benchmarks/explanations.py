"""Why a workload is below its bar: what is known about each, for the document."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPLANATIONS"]

EXPLANATIONS: Final[dict[str, str]] = {}
