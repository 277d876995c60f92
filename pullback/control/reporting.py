"""`jax.debug` for users: looking into a program while it runs, on `debug_callback`.

The functions here have no results and no influence on what is computed; under jvp and grad they
see values, under vmap one lane after the other.
"""

from __future__ import annotations

import builtins
import cmd
import linecache
import pprint
import re
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.control.callbacks import HostFunction, array_hook, debug_callback
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.effects import DEBUG, ORDERED_DEBUG
from pullback.core.source import user_frame
from pullback.core.trace import EVAL, Tracer, current_trace
from pullback.transforms.arguments import check_callable

__all__ = ["breakpoint", "callback", "print"]

# --------------------------------------------------------------------------- callback


def callback(
    callback: Callable[..., Any],
    *args: Any,
    ordered: bool = False,
    partitioned: bool = False,
    **kwargs: Any,
) -> None:
    """Call `callback(*args, **kwargs)` when the program gets there; its result is ignored.

    Arrays among the leaves of the arguments arrive with their values, everything else as it is.
    Ordered calls keep their order among each other.

    >>> import pullback as pb
    >>> seen = []
    >>> @pb.jit
    ... def f(x):
    ...     pb.debug.callback(lambda v: seen.append(v.item()), 2 * x)
    ...     return x
    >>> float(f(1.5)), seen
    (1.5, [3.0])
    """
    check_callable(callback, "debug.callback")
    leaves, in_tree = tree.flatten((args, kwargs))
    dynamic = [x for x in leaves if _is_operand(x)]
    host = HostFunction(callback, in_tree)
    if len(dynamic) != len(leaves):
        fixed = [(i, x) for i, x in enumerate(leaves) if not _is_operand(x)]
        host = HostFunction(_WithStatic(host, fixed), tree.structure((tuple(dynamic), {})))
    if current_trace() is EVAL and not any(isinstance(x, Tracer) for x in dynamic):
        host(*[array_hook[0](x, aval_of(x)) for x in dynamic])
        return
    effect = ORDERED_DEBUG if ordered else DEBUG
    debug_callback.bind(*dynamic, callback=host, effect=effect, partitioned=bool(partitioned))


_SCALARS: Final = (bool, int, float, complex)


def _is_operand(x: Any) -> bool:
    if isinstance(x, (np.ndarray, np.generic)):
        return x.dtype.kind not in "OUSMm"
    return isinstance(x, (Array, *_SCALARS))


class _WithStatic:
    """A host function with some of its leaves given."""

    __slots__ = ("fixed", "host")

    def __init__(self, host: HostFunction, fixed: Sequence[tuple[int, Any]]) -> None:
        self.host = host
        self.fixed = fixed

    def __call__(self, *dynamic: Any) -> None:
        leaves = list(dynamic)
        for i, x in self.fixed:
            leaves.insert(i, x)
        self.host(*leaves)


# --------------------------------------------------------------------------- print


class _Printer:
    """Formats and prints; equal to another one that prints alike, so that programs can be found."""

    __slots__ = ("fmt", "options")

    def __init__(self, fmt: str, options: dict[str, Any]) -> None:
        self.fmt = fmt
        self.options = options

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        with np.printoptions(**self.options):
            text = self.fmt.format(*args, **kwargs)
        builtins.print(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Printer) and (self.fmt, repr(self.options)) == (
            other.fmt,
            repr(other.options),
        )

    def __hash__(self) -> int:
        return hash(self.fmt)

    def __repr__(self) -> str:
        return f"print({self.fmt!r})"


def print(  # the name in jax.debug
    fmt: str,
    *args: Any,
    ordered: bool = False,
    partitioned: bool = False,
    skip_format_check: bool = False,
    _use_logging: bool = False,
    **kwargs: Any,
) -> None:
    """Print `fmt.format(*args, **kwargs)` when the program gets there.

    Works in jitted functions, loops, branches, and under grad and vmap. Raises where `fmt` and
    the arguments do not fit each other; `skip_format_check` leaves that to the time of printing.

    >>> import pullback as pb
    >>> @pb.jit
    ... def f(x):
    ...     pb.debug.print("x = {x:.1f}, twice {}", 2 * x, x=x)
    ...     return x
    >>> _ = f(1.5)
    x = 1.5, twice 3.0
    """
    if not isinstance(fmt, str):
        raise TypeError(f"debug.print: the first argument is a format string, got {fmt!r}")
    if not skip_format_check:
        _check_format(fmt, args, kwargs)
    callback(
        _Printer(fmt, dict(np.get_printoptions())),
        *args,
        ordered=ordered,
        partitioned=partitioned,
        **kwargs,
    )


_parse: Final = string.Formatter().parse


def _field_names(fmt: str) -> Iterator[str]:
    """What the fields of a format string refer to, those within specifications included."""
    for _, field, spec, _ in _parse(fmt):
        if field is not None:
            yield re.split(r"[.\[]", field, maxsplit=1)[0]
            yield from _field_names(spec or "")


def _check_format(fmt: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    used: set[int | str] = set()
    automatic = 0
    for name in _field_names(fmt):
        if name == "":
            used.add(automatic)
            automatic += 1
        else:
            used.add(int(name) if name.isdigit() else name)
    for field in used:
        if isinstance(field, int) and field >= len(args):
            raise IndexError(
                f"debug.print: {fmt!r} refers to positional argument {field}, but {len(args)} "
                "are given"
            )
        if isinstance(field, str) and field not in kwargs:
            raise KeyError(f"debug.print: {fmt!r} refers to {field!r}, which is not given")
    unused = [i for i in range(len(args)) if i not in used] + [k for k in kwargs if k not in used]
    if unused:
        raise ValueError(
            f"debug.print: {fmt!r} does not use the arguments {unused}. Perhaps it is an f-string, "
            "which formats traced values too early: write '{x}' in a plain string and pass x=x."
        )


# --------------------------------------------------------------------------- breakpoint


def breakpoint(
    *,
    backend: str | None = None,
    filter_frames: bool = True,
    num_frames: int | None = None,
    ordered: bool = False,
    token: Any = None,
    **kwargs: Any,
) -> Any:
    """Stop when the program gets here, and look at the local variables by a prompt.

    Commands: `p`/`pp` an expression of the variables, `locals`, `l` (the source), `w` (where),
    `c` continue, `q` quit. Returns `token`.
    """
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return token
    place = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
    names = dict(frame.f_locals) if frame.f_locals is not frame.f_globals else {}
    prompt = _Prompt(*place, frame.f_globals)
    callback(prompt.enter, names, ordered=ordered)
    return token


class _Prompt(cmd.Cmd):
    """The prompt of `breakpoint`."""

    prompt = "(jdb) "

    def __init__(self, file: str, line: int, function: str, names: dict[str, Any]) -> None:
        super().__init__()
        self.place = file, line, function
        self.globals = names
        self.locals: dict[str, Any] = {}

    def enter(self, names: dict[str, Any]) -> None:
        """Read commands until one of them goes on."""
        self.locals = names
        self.stdin, self.stdout = sys.stdin, sys.stdout
        self.use_rawinput = sys.stdin.isatty()
        self.cmdloop("Entering jdb:")

    def say(self, text: str) -> None:
        """Write a line."""
        builtins.print(text, file=self.stdout)

    def _evaluated(self, text: str, show: Callable[[Any], str]) -> None:
        try:
            self.say(show(eval(text, self.globals, self.locals)))
        except Exception as error:
            self.say(f"*** {type(error).__name__}: {error}")

    def do_p(self, text: str) -> None:
        """p EXPRESSION: its value."""
        self._evaluated(text, repr)

    def do_pp(self, text: str) -> None:
        """pp EXPRESSION: its value, over several lines."""
        self._evaluated(text, pprint.pformat)

    def do_locals(self, _: str) -> None:
        """All local variables."""
        for name, value in self.locals.items():
            self.say(f"{name} = {value!r}")

    def do_w(self, _: str) -> None:
        """Where the program is."""
        file, line, function = self.place
        self.say(f"{file}:{line} in {function}")

    def do_l(self, _: str) -> None:
        """The source around the breakpoint."""
        file, line, _name = self.place
        for n in range(max(1, line - 5), line + 6):
            text = linecache.getline(file, n).rstrip()
            self.say(f"{'->' if n == line else '  '} {n:4d} {text}")

    def do_c(self, _: str) -> bool:
        """Go on."""
        return True

    def do_q(self, _: str) -> bool:
        """Stop the program."""
        raise KeyboardInterrupt("stopped at a breakpoint")

    def do_EOF(self, _: str) -> bool:
        """Go on: there is no input."""
        return True

    def default(self, line: str) -> None:
        """Anything else is an expression."""
        self._evaluated(line, repr)

    def emptyline(self) -> bool:
        """Nothing."""
        return False
