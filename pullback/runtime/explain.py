"""Why a jitted function was traced again, for people: beside the way of the data.

With `jax_explain_cache_misses` each new program of a function is logged, with what is different
from the most similar one that it has; with `jax_log_compiles` that there is a new one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pullback import config, tree
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.source import current_source
from pullback.lazy import LazyModule

__all__ = ["Key", "explain", "log_new_program", "warn_of_constants"]

Key = tuple[Any, tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]
"""Of a program: structure and types of the arguments, static ones, configuration, named axes."""

_logging: Final = LazyModule("logging")
LOGGER: Final = "pullback.jit"


def log_new_program(description: str, key: Key, known: Iterable[Key]) -> None:
    """Log that a function gets a new program, and why, as far as the settings ask for it."""
    log = _logging.getLogger(LOGGER)
    if config.explain_cache_misses():
        log.warning("%s", explain(description, key, list(known)))
    if config.log_compiles():
        types = ", ".join(map(str, key[1]))
        log.warning("compiling %s for types (%s)", description, types)


def warn_of_constants(description: str, closed: ClosedJaxpr) -> None:
    """Warn of a function that captures more bytes of arrays than the settings allow."""
    limit = config.captured_constants_warn_bytes()
    sizes = [
        (aval_of(c).size * dtypes.physical(aval_of(c).dtype).itemsize, c) for c in closed.consts
    ]
    total = sum(size for size, _ in sizes)
    if not 0 <= limit < total:
        return
    frames = config.captured_constants_report_frames()
    largest = sorted(sizes, key=lambda pair: -pair[0])[: len(sizes) if frames < 0 else frames]
    named = "".join(f"\n  {aval_of(c).str_short()}: {size} bytes" for size, c in largest)
    warnings.warn(
        f"jit of {description} captured {total} bytes of constants; pass large arrays as arguments."
        " To disable this warning set jax_captured_constants_warn_bytes to -1, to name the arrays "
        f"set jax_captured_constants_report_frames to -1.{named}",
        stacklevel=dtypes.user_stacklevel(),
    )


def explain(description: str, key: Key, known: Sequence[Key]) -> str:
    """What makes `key` differ from the most similar one in `known`."""
    head = f"cache miss of jit of {description}, called at {current_source()}:"
    if not known:
        return f"{head}\n  it has no program yet"
    reasons = min((list(_differences(old, key)) for old in known), key=len)
    return "\n".join([head, *(f"  {reason}" for reason in reasons)])


def _differences(old: Key, new: Key) -> Iterator[str]:
    if old[0] != new[0]:
        yield from _structure(old, new)
    else:
        for path, before, now in zip(_paths(new), old[1], new[1], strict=True):
            if before is not now:
                yield f"argument {path} was {_text(before, now)}, now is {_text(now, before)}"
    before_static, now_static = dict(old[2]), dict(new[2])
    for where in sorted({*before_static, *now_static}, key=str):
        before, now = before_static.get(where), now_static.get(where)
        if before != now:
            yield f"static argument {where!r} was {_value(before)}, now is {_value(now)}"
    for name, before, now in zip(config.fingerprint_names(), old[3], new[3], strict=True):
        if before != now:
            yield f"setting {name} was {before!r}, now is {now!r}"
    if old[4] != new[4]:
        yield f"the named axes around it were {old[4]}, now are {new[4]}"


def _text(aval: Any, other: Any) -> str:
    """An aval, with its weak type where that is the difference."""
    same = aval.shape == other.shape and aval.dtype == other.dtype
    weak = " (weak type)" if aval.weak_type else " (not weak)"
    return str(aval.str_short()) + (weak if same else "")


def _value(static: Any) -> str:
    return "not given" if static is None else repr(static.value)


def _paths(key: Key) -> list[str]:
    found = tree.leaves_with_path(key[0].unflatten(range(len(key[1]))))
    return [("args" if path[0].idx == 0 else "kwargs") + tree.keystr(path[1:]) for path, _ in found]


def _structure(old: Key, new: Key) -> Iterator[str]:
    before, now = (dict(zip(_paths(k), k[1], strict=True)) for k in (old, new))
    gone = [p for p in before if p not in now]
    added = [p for p in now if p not in before]
    if not gone and not added:
        yield f"the structure of the arguments was {old[0]}, now is {new[0]}"
    for path in gone:
        yield f"argument {path} ({before[path].str_short()}) is gone"
    for path in added:
        yield f"argument {path} ({now[path].str_short()}) is new"
    for path in before:
        if path in now and before[path] is not now[path]:
            yield (
                f"argument {path} was {_text(before[path], now[path])}, "
                f"now is {_text(now[path], before[path])}"
            )
