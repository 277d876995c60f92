"""Plain records for the compiler: classes of fields, made by one small function each.

`dataclasses` writes and compiles half a dozen functions for a class, half a millisecond that the
first program of a process waits for; and a frozen one takes five times as long to construct.  Here
immutability is what the type checker sees (`frozen`), and instances are equal if they are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, field
from typing import Any, TypeVar, dataclass_transform

__all__ = ["fields_of", "record", "replaced"]

T = TypeVar("T")


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(field,))
def record(*, frozen: bool = True) -> Callable[[type[T]], type[T]]:
    """A class whose annotated names are its fields, in order, as in a dataclass with slots.

    Defaults, `field(default_factory=...)` and `__post_init__` work as there.

    >>> @record()
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1).y, replaced(Point(1), y=2).y, fields_of(Point)
    (0, 2, ('x', 'y'))
    """
    return _with_slots


def _with_slots(cls: type[T]) -> type[T]:
    names = tuple(cls.__annotations__)
    body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    given = {name: body.pop(name) for name in names if name in body}
    body["__slots__"] = names
    body["__init__"] = _constructor(names, given, "__post_init__" in body)
    made: type[T] = type(cls.__name__, cls.__bases__, body)
    return made


def _constructor(names: tuple[str, ...], given: dict[str, Any], finish: bool) -> Any:
    """`__init__` of these fields, some of which have defaults."""
    scope: dict[str, Any] = {"missing": MISSING}
    parameters, lines = [], []
    for name in names:
        default = given.get(name, MISSING)
        value = name
        if isinstance(default, Field):
            scope[f"make_{name}"] = default.default_factory
            value = f"make_{name}() if {name} is missing else {name}"
            default = MISSING
            parameters.append(f"{name}=missing")
        elif name in given:
            scope[f"default_{name}"] = default
            parameters.append(f"{name}=default_{name}")
        else:
            parameters.append(name)
        lines.append(f" self.{name} = {value}")
    lines += [" self.__post_init__()"] if finish else []
    exec(f"def __init__(self, {', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), scope)
    return scope["__init__"]


def fields_of(cls: type) -> tuple[str, ...]:
    """The names of the fields of a record."""
    names: tuple[str, ...] = cls.__dict__["__slots__"]
    return names


def replaced(record: T, **changes: Any) -> T:
    """A copy of a record with other values of some fields; TypeError for what is no field."""
    values = {name: getattr(record, name) for name in fields_of(type(record))}
    return type(record)(**(values | changes))
