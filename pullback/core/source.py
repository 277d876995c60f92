"""Where in the user's program an equation was made: the file, the line, the name scopes.

A source record is cheap: it keeps the code object and the bytecode offset of the first frame that
is not ours, and finds the line number only when somebody asks.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final

__all__ = [
    "ASKED",
    "MASKED",
    "OUTSIDE_ALLOWED",
    "Description",
    "Mark",
    "NameStack",
    "SourceInfo",
    "Transform",
    "at_user_line",
    "current_source",
    "fresh_names",
    "hidden_paths",
    "hide_path",
    "is_ours",
    "marked",
    "name_scope",
    "name_stack",
    "of_package",
    "one_line",
    "outside_as_chosen",
    "replaying",
]

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_HIDDEN: Final = (_PACKAGE, "<frozen ")
_ours: dict[str, bool] = {}
"""Whether a file is of this package, or of what it is called through."""
hidden_paths: Final[list[str]] = []
"""Files and directories of libraries that asked not to be taken for the user's program."""
_HIDDEN_STDLIB: Final = tuple(
    os.sep + os.path.join(*parts) for parts in (("functools.py",), ("contextlib.py",))
)


class _Scopes(threading.local):
    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.replayed: SourceInfo | one_line | None = None


_scopes = _Scopes()


class Transform(str):
    """The name of a transformation among name scopes: it is written around the next scope."""

    __slots__ = ()


class Mark(str):
    """Something to know about equations that is no name; it travels with the name scopes."""

    __slots__ = ()


OUTSIDE_ALLOWED: Final = Mark("outside allowed")
"""Around operations for which somebody chose what happens to indices out of bounds."""


MASKED: Final = Mark("masked")
"""Around operations that also run for lanes whose results are thrown away."""


ASKED: Final = Mark("asked")
"""Around operations whose result gets the sharding that was asked for, whatever theirs would be."""


class NameStack(tuple[str, ...]):
    """Name scopes, the outermost first.

    >>> str(NameStack(("model", Transform("jvp"), "layer", "inner")))
    'model/jvp(layer)/inner'
    """

    __slots__ = ()

    def __str__(self) -> str:
        parts: list[str] = []
        around: list[str] = []
        for name in self:
            if isinstance(name, Transform):
                around.append(name)
            else:
                parts.append(_wrapped(name, around))
                around = []
        return "/".join([*parts, _wrapped("", around)] if around else parts)


def _wrapped(name: str, around: list[str]) -> str:
    for transform in reversed(around):
        name = f"{transform}({name})"
    return name


class SourceInfo:
    """The user's line and the name scopes of an equation."""

    __slots__ = ("code", "lasti", "names")

    def __init__(self, code: CodeType | None, lasti: int, names: tuple[str, ...]) -> None:
        self.code, self.lasti, self.names = code, lasti, names

    @property
    def name_stack(self) -> NameStack:
        """The name scopes, and the transformations among them."""
        return NameStack(n for n in self.names if not isinstance(n, Mark))

    def marked(self, mark: Mark) -> bool:
        """Whether the equation was made in a scope with this mark."""
        return mark in self.names

    @property
    def line(self) -> int:
        """Line number, 0 when unknown."""
        if self.code is None:
            return 0
        for start, end, line in self.code.co_lines():
            if start <= self.lasti < end and line is not None:
                return line
        return self.code.co_firstlineno

    @property
    def function(self) -> str:
        """Name of the user's function."""
        return "" if self.code is None else self.code.co_name

    @property
    def file(self) -> str:
        """Path of the user's file."""
        return "" if self.code is None else self.code.co_filename

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.function})" if self.code else "<unknown>"


def is_ours(code: CodeType) -> bool:
    """Whether a frame is of this package, or of what it is called through."""
    name = code.co_filename
    found = _ours.get(name)
    if found is None:
        found = name.startswith((*_HIDDEN, *hidden_paths)) or name.endswith(_HIDDEN_STDLIB)
        if len(_ours) > 20_000:
            _ours.clear()
        _ours[name] = found
    return found


def hide_path(path: str) -> None:
    """Frames of this file, or of files below this directory, are not the user's from now on."""
    if path not in hidden_paths:
        hidden_paths.append(path)
        _ours.clear()


def of_package(code: CodeType) -> bool:
    """Whether a frame is of this package itself."""
    return code.co_filename.startswith(_PACKAGE)


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame, from `frame` outwards, that is not ours."""
    known = _ours.get
    while frame is not None:
        code = frame.f_code
        if not known(code.co_filename) and not is_ours(code):
            return frame
        frame = frame.f_back
    return None


def current_source() -> SourceInfo:
    """The user's line that is running now, or that made the equation that is being replayed."""
    known = _scopes.replayed
    if known is None or known.code is None:
        frame = user_frame(sys._getframe(1))
        if frame is None:
            return SourceInfo(None, 0, _scopes.names)
        if type(known) is not one_line:
            return SourceInfo(frame.f_code, frame.f_lasti, _scopes.names)
        known.code, known.lasti = frame.f_code, frame.f_lasti
    return SourceInfo(known.code, known.lasti, _scopes.names)


def at_user_line(text: str) -> str:
    """The text of an error with the user's line that is running now."""
    return f"{text}\n  At: {current_source()}"


def name_stack() -> tuple[str, ...]:
    """The name scopes in force."""
    return _scopes.names


def marked(mark: Mark) -> bool:
    """Whether what runs now is in a scope with this mark."""
    return mark in _scopes.names


class name_scope:
    """Put names on the name stack of the equations made in a `with` block."""

    __slots__ = ("before", "names")

    def __init__(self, *names: str) -> None:
        self.names = names

    def __enter__(self) -> None:
        self.before = _scopes.names
        if self.names:
            _scopes.names = self.before + self.names

    def __exit__(self, *exc: object) -> None:
        _scopes.names = self.before

    def __call__(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator: each call of `fun` is in the scope."""

        @functools.wraps(fun)
        def scoped(*args: Any, **kwargs: Any) -> Any:
            with name_scope(*self.names):
                return fun(*args, **kwargs)

        return scoped


def outside_as_chosen(mode: Any) -> name_scope:
    """A `with` block of operations whose mode for indices out of bounds was chosen, unless None."""
    return name_scope() if mode is None else name_scope(OUTSIDE_ALLOWED)


class fresh_names:
    """A `with` block without name scopes: a program of its own is recorded in it.

    Such programs are kept, and used under other scopes than the ones they were traced under.
    """

    __slots__ = ("before",)

    def __enter__(self) -> None:
        self.before, _scopes.names = _scopes.names, ()

    def __exit__(self, *exc: object) -> None:
        _scopes.names = self.before


class Description:
    """`f at file.py:12 for grad`: what is being traced, put into words when an error needs it."""

    __slots__ = ("fun", "purpose")

    def __init__(self, fun: Any, purpose: str) -> None:
        self.fun, self.purpose = fun, purpose

    def __str__(self) -> str:
        return f"{describe_function(self.fun)} for {self.purpose}"

    @property
    def traced(self) -> str:
        """The same in the words `f at file.py:12 traced for grad`."""
        return f"{describe_function(self.fun)} traced for {self.purpose}"


class replaying:
    """Apply an equation of a jaxpr again: what comes of it has the line and the scopes it had.

    Further scopes, such as a transformation, come before those.
    """

    __slots__ = ("around", "names", "replayed", "source")

    def __init__(self, source: SourceInfo, *around: str) -> None:
        self.source, self.around = source, around

    def __enter__(self) -> None:
        self.names, self.replayed = _scopes.names, _scopes.replayed
        _scopes.names = self.names + self.around + self.source.names
        _scopes.replayed = self.source

    def __exit__(self, *exc: object) -> None:
        _scopes.names, _scopes.replayed = self.names, self.replayed


class one_line:
    """All that is recorded in a `with` block has one line of the user's: the stack is walked once.

    For rules of ours, which record several equations for one of the user's operations.
    """

    __slots__ = ("before", "code", "lasti")

    def __enter__(self) -> None:
        self.before = before = _scopes.replayed
        self.code: CodeType | None = None
        self.lasti = 0
        if before is None or (before.code is None and type(before) is not one_line):
            _scopes.replayed = self

    def __exit__(self, *exc: object) -> None:
        _scopes.replayed = self.before


def describe_function(fun: Any) -> str:
    """`f at file.py:12`, for errors."""
    while True:
        inner = getattr(fun, "__wrapped__", None) or getattr(fun, "func", None)
        if inner is None:
            break
        fun = inner
    code = getattr(fun, "__code__", None)
    name = getattr(fun, "__name__", type(fun).__name__)
    return name if code is None else f"{name} at {code.co_filename}:{code.co_firstlineno}"
