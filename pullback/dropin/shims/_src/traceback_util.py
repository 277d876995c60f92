"""`jax._src.traceback_util`: files whose frames are hidden from users."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from pullback.core import source

__all__ = ["api_boundary", "include_frame", "register_exclusion"]

_exclude_paths: Final = source.hidden_paths


def register_exclusion(path: str) -> None:
    """Frames of the file, or of files below the directory, are not the user's."""
    source.hide_path(path)


def include_frame(f: FrameType) -> bool:
    """Whether a frame is the user's."""
    return source.user_frame(f) is f


def api_boundary(fun: Any = None, **_: Any) -> Callable[..., Any]:
    """The function itself: our own frames are hidden without wrappers."""
    if fun is None:
        return api_boundary
    result: Callable[..., Any] = fun
    return result
