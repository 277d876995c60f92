"""`jax.debug` for users: looking into a program while it runs, on `debug_callback`.

The functions here have no results and no influence on what is computed; under jvp and grad they
see values, under vmap one lane after the other.
"""

from __future__ import annotations

import builtins
import functools
import logging
import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from pullback import tree
from pullback.control.callbacks import HostFunction, array_hook, debug_callback
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.effects import DEBUG, ORDERED_DEBUG
from pullback.core.trace import EVAL, Tracer, current_trace
from pullback.transforms.arguments import check_callable

__all__ = ["callback", "log", "print"]

# --------------------------------------------------------------------------- callback


def callback(
    callback: Callable[..., Any] | None = None,
    *args: Any,
    ordered: bool = False,
    partitioned: bool = False,
    **kwargs: Any,
) -> Any:
    """Call `callback(*args, **kwargs)` when the program gets there; its result is ignored.

    Without a function, a decorator with these options: calls of what it decorates are callbacks.
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
    if callback is None:
        return _decorator(ordered, partitioned)
    check_callable(callback, "debug.callback")
    leaves, in_tree = tree.flatten((args, kwargs))
    dynamic = [x for x in leaves if _is_operand(x)]
    host = HostFunction(callback, in_tree)
    if len(dynamic) != len(leaves):
        fixed = [(i, x) for i, x in enumerate(leaves) if not _is_operand(x)]
        host = HostFunction(_WithStatic(host, fixed), tree.structure((tuple(dynamic), {})))
    if current_trace() is EVAL and not any(isinstance(x, Tracer) for x in dynamic):
        host(*[array_hook[0](x, aval_of(x)) for x in dynamic])
        return None
    effect = ORDERED_DEBUG if ordered else DEBUG
    debug_callback.bind(*dynamic, callback=host, effect=effect, partitioned=bool(partitioned))
    return None


def _decorator(ordered: bool, partitioned: bool) -> Callable[..., Any]:
    def decorated(fun: Callable[..., Any]) -> Callable[..., Any]:
        check_callable(fun, "debug.callback")
        return functools.partial(callback, fun, ordered=ordered, partitioned=partitioned)

    return decorated


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


_logger: Final = logging.getLogger("pullback.debug")


class _Printer:
    """Formats and prints; equal to another one that prints alike, so that programs can be found."""

    __slots__ = ("fmt", "options", "to_log")

    def __init__(self, fmt: str, options: dict[str, Any], to_log: bool) -> None:
        self.fmt = fmt
        self.options = options
        self.to_log = to_log

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        with np.printoptions(**self.options):
            text = self.fmt.format(*args, **kwargs)
        if self.to_log:
            _logger.info(text)
        else:
            builtins.print(text)

    def _key(self) -> tuple[Any, ...]:
        return self.fmt, repr(self.options), self.to_log

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Printer) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.fmt)

    def __repr__(self) -> str:
        return f"print({self.fmt!r})"


def print(  # the name in jax.debug
    fmt: str | None = None,
    *args: Any,
    ordered: bool = False,
    partitioned: bool = False,
    skip_format_check: bool = False,
    _use_logging: bool = False,
    **kwargs: Any,
) -> Any:
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
    if fmt is None:
        return functools.partial(
            print,
            ordered=ordered,
            partitioned=partitioned,
            skip_format_check=skip_format_check,
            _use_logging=_use_logging,
        )
    if not isinstance(fmt, str):
        raise TypeError(f"debug.print: the first argument is a format string, got {fmt!r}")
    if not skip_format_check:
        _check_format(fmt, args, kwargs)
    callback(
        _Printer(fmt, dict(np.get_printoptions()), _use_logging),
        *args,
        ordered=ordered,
        partitioned=partitioned,
        **kwargs,
    )
    return None


log: Final = functools.partial(print, _use_logging=True)
"""`print` to the logger `pullback.debug`, at level INFO."""


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
