"""Tracebacks that end in the user's frame.

An exception that leaves a function users call loses the frames of this package, as the setting
`jax_traceback_filtering` says: `off` keeps them, `tracebackhide` marks them for IPython and pytest,
`quiet_remove_frames` removes them, `remove_frames` also keeps the whole traceback as the cause;
`auto` is `tracebackhide` in IPython and `quiet_remove_frames` elsewhere.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Mapping
from types import FunctionType, TracebackType
from typing import Any, Final, TypeVar, cast

from pullback import config
from pullback.core.source import is_ours, of_package

__all__ = ["UnfilteredStackTrace", "api_boundary", "bounded", "named_like", "shorten"]

F = TypeVar("F", bound=Callable[..., Any])


class UnfilteredStackTrace(Exception):
    """The cause of an exception whose traceback was shortened: shows all of it."""


NOTE: Final = (
    "Frames of pullback are left out of the traceback; the setting jax_traceback_filtering=off "
    "(in the environment PULLBACK_TRACEBACK_FILTERING=off) shows them."
)


def _mode() -> str:
    mode: str = config.traceback_filtering()
    if mode != "auto":
        return mode
    return "tracebackhide" if "IPython" in sys.modules and _in_ipython() else "quiet_remove_frames"


def _in_ipython() -> bool:
    shell: Any = getattr(sys.modules["IPython"], "get_ipython", lambda: None)()
    return shell is not None


def _without_ours(entry: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of this package."""
    kept = []
    while entry is not None:
        if not is_ours(entry.tb_frame.f_code):
            kept.append(entry)
        entry = entry.tb_next
    rest: TracebackType | None = None
    for entry in reversed(kept):
        rest = TracebackType(rest, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return rest


def _hide(entry: TracebackType | None) -> None:
    """Mark the frames of this package as those that IPython and pytest leave out."""
    while entry is not None:
        if is_ours(entry.tb_frame.f_code):
            entry.tb_frame.f_locals["__tracebackhide__"] = True
        entry = entry.tb_next


def _within_ours() -> bool:
    """Whether the function that is being left was called by one of ours."""
    frame = sys._getframe(2).f_back
    while frame is not None and not of_package(frame.f_code):
        frame = frame.f_back
    return frame is not None


def _keep_whole(error: BaseException) -> None:
    """Make the whole traceback the cause of an exception."""
    text = "".join(traceback.format_exception(error, chain=False))
    whole = UnfilteredStackTrace(f"{text}\nThe traceback below is that without our frames.")
    whole.__cause__, whole.__context__ = error.__cause__, error.__context__
    whole.__suppress_context__ = error.__suppress_context__
    error.__cause__ = whole


def shorten(error: BaseException) -> None:
    """Take our frames out of the traceback of an exception that is about to be raised again.

    To be called in `except ... as error:` and followed by a bare `raise`, which does not add the
    frame that it is in.
    """
    mode = _mode()
    if mode == "off":
        return
    if mode == "tracebackhide":
        _hide(error.__traceback__)
        return
    if mode == "remove_frames":
        if _within_ours():
            return  # the outermost function has the whole traceback
        _keep_whole(error)
    elif NOTE not in getattr(error, "__notes__", ()):
        error.add_note(NOTE)
    error.__traceback__ = _without_ours(error.__traceback__)


def named_like(fun: Callable[..., Any]) -> Callable[[F], F]:
    """Decorate a function that stands for `fun`, which may be an object without a name.

    >>> named_like(len)(lambda x: x).__name__
    'len'
    """
    texts = ("__name__", "__qualname__")
    taken = tuple(
        name
        for name in functools.WRAPPER_ASSIGNMENTS
        if name not in texts or isinstance(getattr(fun, name, None), str)
    )

    def named(wrapper: F) -> F:
        return cast(F, functools.update_wrapper(wrapper, fun, taken))

    return named


def api_boundary(fun: F, like: Callable[..., Any] | None = None) -> F:
    """`fun`, whose exceptions have short tracebacks; it takes name and signature of `like`.

    >>> api_boundary(len)([1, 2])
    2
    """

    def at_boundary(*args: Any, **kwargs: Any) -> Any:
        try:
            return fun(*args, **kwargs)
        except Exception as error:
            shorten(error)
            raise

    named_like(like or fun)(at_boundary)
    wrapped = getattr(fun, "__wrapped__", None)
    if wrapped is not None:
        at_boundary.__wrapped__ = wrapped  # type: ignore[attr-defined]
    return cast(F, at_boundary)


def bounded(functions: Mapping[str, Any], module: str) -> dict[str, Any]:
    """Those of our plain functions that are no boundaries, as boundaries that live in `module`.

    Functions of the package go on calling each other as they are, at no further cost.
    """
    made = {}
    for name, value in functions.items():
        if type(value) is FunctionType and of_package(value.__code__) and not _is_boundary(value):
            made[name] = api_boundary(value)
            made[name].__module__ = module
    return made


def _is_boundary(fun: FunctionType) -> bool:
    return "shorten" in fun.__code__.co_names
