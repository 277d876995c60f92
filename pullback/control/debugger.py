"""`jax.debug.breakpoint`: a prompt in the middle of a program, on `debug_callback`.

The frames of the user are looked at when the function is traced; the values of their variables
arrive when the program gets to the breakpoint.
"""

from __future__ import annotations

import builtins
import cmd
import linecache
import pprint
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from pullback import tree
from pullback.control.callbacks import io_callback, pure_callback
from pullback.control.reporting import callback
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.source import is_ours, user_frame
from pullback.core.structs import ShapeDtypeStruct
from pullback.core.trace import Tracer

__all__ = ["breakpoint"]

_LINES: Final = 5
"""Lines of source shown before and after the current one."""


@dataclass(frozen=True)
class _Frame:
    """Where a function of the user's is, without its variables."""

    file: str
    line: int
    function: str
    first: int
    names: dict[str, Any]

    def where(self) -> str:
        """As in tracebacks."""
        text = linecache.getline(self.file, self.line).strip()
        return f'  File "{self.file}", line {self.line}, in {self.function}\n    {text}'

    def source(self) -> list[str]:
        """The lines around, the current one marked."""
        start = max(self.first, self.line - _LINES)
        rows = [f"> {self.file}({self.line})"]
        for n in range(start, self.line + _LINES + 1):
            text = linecache.getline(self.file, n)
            if text:
                rows.append(f"{'->' if n == self.line else '  '}  {text.rstrip()}")
        return rows


def _frames(frame: FrameType | None, all_frames: bool, limit: int | None) -> list[FrameType]:
    """The frames from the breakpoint outwards: those of the user, unless all are asked for."""
    found: list[FrameType] = []
    while frame is not None and (limit is None or len(found) < limit):
        if all_frames or not is_ours(frame.f_code):
            found.append(frame)
        frame = frame.f_back
    return found


class _Opaque:
    """A variable that holds no arrays, whatever else is in it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _variables(frame: FrameType) -> dict[str, Any]:
    if frame.f_locals is frame.f_globals:
        return {}
    return {name: _passed(value) for name, value in frame.f_locals.items()}


def _passed(value: Any) -> Any:
    """A variable as it goes through the program: pytrees of arrays alone may be traced."""
    try:
        leaves = tree.leaves(value)
    except (TypeError, ValueError):  # a dict whose keys have no order, for instance
        return _Opaque(value)
    arrays = [x for x in leaves if isinstance(x, Array)]
    ended = any(isinstance(x, Tracer) and not x._trace.alive for x in arrays)
    return _Opaque(value) if ended or not arrays else value


def breakpoint(  # the name in jax.debug
    *,
    backend: str | None = None,
    filter_frames: bool = True,
    num_frames: int | None = None,
    ordered: bool = False,
    token: Any = None,
    **kwargs: Any,
) -> Any:
    """Stop when the program gets here, and look at variables by a prompt.

    `p EXPRESSION` and `pp EXPRESSION` print a value, `l` shows the source, `bt` (or `w`, `where`)
    the frames, `u` and `d` go to the caller and back, `c` goes on, `q` ends the program; an
    expression alone is printed too. `stdin` and `stdout` may be given as keywords. `num_frames`
    limits the frames; without `filter_frames` our own are among them.

    With a `token`, a pytree of arrays, the breakpoint is reached once they are computed; they are
    returned, and if nobody uses them the breakpoint is not reached at all. Otherwise the result is
    None.

    >>> import io, sys, pullback as pb
    >>> def f(x):
    ...     y = 2 * x
    ...     pb.debug.breakpoint(stdin=io.StringIO("p float(y)\\nc\\n"), stdout=sys.stdout)
    ...     return y
    >>> _ = pb.jit(f)(1.0)  # doctest: +NORMALIZE_WHITESPACE
    Entering jdb:
    (jdb) 2.0
    (jdb)
    """
    if backend not in (None, "cli"):
        raise ValueError(f"breakpoint: there is no debugger {backend!r}; use 'cli' or None")
    unknown = set(kwargs) - {"stdin", "stdout"}
    if unknown:
        raise TypeError(f"breakpoint: unexpected keyword arguments {sorted(unknown)}")
    stack = _frames(user_frame(sys._getframe(1)), not filter_frames, num_frames)
    frames = [
        _Frame(
            f.f_code.co_filename,
            f.f_lineno,
            f.f_code.co_name,
            f.f_code.co_firstlineno,
            f.f_globals,
        )
        for f in stack
    ]
    variables = [_variables(f) for f in stack]
    prompt = _Prompt(frames, kwargs.get("stdin"), kwargs.get("stdout"))
    if token is None:
        callback(prompt.enter, variables, ordered=ordered)
        return None
    return _after(prompt, variables, token, ordered)


def _after(prompt: _Prompt, variables: list[dict[str, Any]], token: Any, ordered: bool) -> Any:
    """Reach the breakpoint when `token` is computed; returns it."""
    types = tree.map(lambda x: ShapeDtypeStruct(aval_of(x).shape, aval_of(x).dtype), token)
    leaves, structure = tree.flatten(variables)
    fixed = {i: x for i, x in enumerate(leaves) if not _is_array(x)}
    given = [x for i, x in enumerate(leaves) if i not in fixed]

    def enter(value: Any, *arrays: Any) -> Any:
        rest = iter(arrays)
        full = [fixed[i] if i in fixed else next(rest) for i in range(len(leaves))]
        prompt.enter(structure.unflatten(full))
        return value

    if ordered:
        return io_callback(enter, types, token, *given, ordered=True)
    return pure_callback(enter, types, token, *given, vmap_method="sequential")


def _is_array(x: Any) -> bool:
    try:
        aval_of(x)
    except TypeError:
        return False
    return True


class _Prompt(cmd.Cmd):
    """The prompt of `breakpoint`."""

    prompt = "(jdb) "

    def __init__(self, frames: Sequence[_Frame], stdin: Any, stdout: Any) -> None:
        super().__init__()
        self.frames = list(frames)
        self.given = stdin, stdout
        self.variables: list[dict[str, Any]] = []
        self.at = 0

    def enter(self, variables: list[dict[str, Any]]) -> None:
        """Read commands until one of them goes on."""
        self.variables = [
            {n: x.value if type(x) is _Opaque else x for n, x in frame.items()}
            for frame in variables
        ]
        self.at = 0
        self.stdin = sys.stdin if self.given[0] is None else self.given[0]
        self.stdout = sys.stdout if self.given[1] is None else self.given[1]
        self.use_rawinput = self.given[0] is None and sys.stdin.isatty()
        self.cmdloop("Entering jdb:")

    def say(self, text: str) -> None:
        """Write a line."""
        builtins.print(text, file=self.stdout)

    def _evaluated(self, text: str, show: Callable[[Any], str]) -> None:
        frame = self.frames[self.at] if self.frames else None
        variables = self.variables[self.at] if self.variables else {}
        try:
            self.say(show(eval(text, frame.names if frame else {}, variables)))
        except Exception as error:
            self.say(f"*** {type(error).__name__}: {error}")

    def _moved(self, step: int) -> None:
        at = self.at + step
        if not 0 <= at < len(self.frames):
            self.say("*** Oldest frame" if step > 0 else "*** Newest frame")
            return
        self.at = at
        self.do_list("")

    def do_p(self, text: str) -> None:
        """p EXPRESSION: its value."""
        self._evaluated(text, repr)

    def do_pp(self, text: str) -> None:
        """pp EXPRESSION: its value, over several lines."""
        self._evaluated(text, pprint.pformat)

    def do_locals(self, _: str) -> None:
        """All variables of the frame."""
        for name, value in (self.variables[self.at] if self.variables else {}).items():
            self.say(f"{name} = {value!r}")

    def do_where(self, _: str) -> None:
        """The frames, the innermost one last."""
        self.say("Traceback:")
        for frame in reversed(self.frames):
            self.say(frame.where())

    do_w = do_bt = do_where

    def do_list(self, _: str) -> None:
        """The source around the current line."""
        if self.frames:
            self.say("\n".join(self.frames[self.at].source()))

    do_l = do_list

    def do_up(self, _: str) -> None:
        """To the frame of the caller."""
        self._moved(1)

    do_u = do_up

    def do_down(self, _: str) -> None:
        """To the frame that is called."""
        self._moved(-1)

    do_d = do_down

    def do_continue(self, _: str) -> bool:
        """Go on."""
        return True

    do_c = do_cont = do_continue

    def do_quit(self, _: str) -> bool:
        """End the program."""
        raise KeyboardInterrupt("stopped at a breakpoint")

    do_q = do_exit = do_quit

    def do_EOF(self, _: str) -> bool:
        """Go on: there is no input."""
        return True

    def default(self, line: str) -> None:
        """Anything else is an expression."""
        self._evaluated(line, repr)

    def emptyline(self) -> bool:
        """Nothing."""
        return False
