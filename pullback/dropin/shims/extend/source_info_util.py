"""`jax.extend.source_info_util`: the user's line of an equation."""

from __future__ import annotations

from pullback.core.source import SourceInfo, current_source, hide_path

__all__ = ["SourceInfo", "current", "register_exclusion", "summarize"]

current = current_source
register_exclusion = hide_path


def summarize(source_info: SourceInfo, num_frames: int = 1) -> str:
    """`file:line (function)`."""
    return str(source_info)
