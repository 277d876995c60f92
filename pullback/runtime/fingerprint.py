"""The identity of a jaxpr across processes: a digest of everything that its code depends on."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback.core.avals import ShapedArray
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal

__all__ = ["Uncacheable", "fingerprint"]


class Uncacheable(Exception):
    """A parameter whose value has no identity outside this process."""


def fingerprint(jaxpr: Jaxpr) -> bytes:
    """A digest of the program; raises Uncacheable where a parameter cannot be written down.

    Source lines and names of variables do not matter; the values of constants do not either, since
    compiled code takes them as arguments.
    """
    digest = hashlib.sha256()
    for part in _jaxpr_parts(jaxpr):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.digest()


def _aval(aval: Any) -> str:
    return f"{aval.dtype.name}{list(aval.shape)}"


def _jaxpr_parts(jaxpr: Jaxpr) -> Iterator[str]:
    numbers: dict[Any, int] = {}

    def define(v: Any) -> str:
        numbers[v] = len(numbers)
        return _aval(v.aval)

    def use(v: Any) -> str:
        if type(v) is Literal:
            value = np.asarray(v.val)
            return f"={value.tobytes().hex()}:{_aval(v.aval)}"
        return str(numbers[v])

    yield "jaxpr"
    yield from (define(v) for v in jaxpr.constvars)
    yield ";"
    yield from (define(v) for v in jaxpr.invars)
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        yield from (use(v) for v in eqn.invars)
        for name in sorted(eqn.params):
            yield name
            yield from _value_parts(eqn.params[name])
        yield from (define(v) for v in eqn.outvars)
    yield "in"
    yield from (use(v) for v in jaxpr.outvars)


def _value_parts(value: Any) -> Iterator[str]:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        yield f"{type(value).__name__}:{value!r}"
    elif isinstance(value, enum.Enum):
        yield f"{type(value).__name__}.{value.name}"
    elif isinstance(value, (np.dtype, KeyDtype)):
        yield f"dtype:{value.name}"
    elif isinstance(value, type) and issubclass(value, np.generic):
        yield f"dtype:{np.dtype(value).name}"
    elif isinstance(value, np.generic):
        yield f"{value.dtype.name}:{value.tobytes().hex()}"
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype.name}{value.shape}:{value.tobytes().hex()}"
    elif isinstance(value, (tuple, list)):
        yield f"({len(value)}"
        for item in value:
            yield from _value_parts(item)
    else:
        yield from _object_parts(value)


def _object_parts(value: Any) -> Iterator[str]:
    if isinstance(value, ClosedJaxpr):
        if value.consts:
            raise Uncacheable("an inner jaxpr with constants")
        yield from _jaxpr_parts(value.jaxpr)
    elif isinstance(value, Jaxpr):
        yield from _jaxpr_parts(value)
    elif isinstance(value, ShapedArray):
        yield f"aval:{_aval(value)}"
    elif isinstance(value, frozenset):
        yield f"set:{sorted(map(str, value))}"
    else:
        fields = getattr(type(value), "__dataclass_fields__", None)
        if fields is None:
            raise Uncacheable(f"a parameter of type {type(value).__name__}")
        yield type(value).__name__
        for name in fields:
            yield from _value_parts(getattr(value, name))
