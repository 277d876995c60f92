"""The identity of a jaxpr across processes: a digest of everything that its code depends on."""

from __future__ import annotations

import enum
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.core.avals import ShapedArray
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal
from pullback.core.primitive import Primitive, registry

__all__ = ["Uncacheable", "fingerprint"]


class Uncacheable(Exception):
    """A parameter whose value has no identity outside this process."""


def fingerprint(jaxpr: Jaxpr) -> bytes:
    """A digest of the program; raises Uncacheable where a parameter cannot be written down.

    Source lines and names of variables do not matter; the values of constants do not either, since
    compiled code takes them as arguments.
    """
    parts: list[str] = []
    _write_jaxpr(jaxpr, parts)
    return hashlib.sha256("\0".join(parts).encode()).digest()


_avals: dict[Any, str] = {}
"""How types are written: the name of a dtype is made anew each time it is asked for."""
_AVALS_LIMIT = 4096


def _aval(aval: Any) -> str:
    found = _avals.get(aval)
    if found is None:
        if len(_avals) >= _AVALS_LIMIT:
            _avals.clear()
        found = _avals[aval] = f"{aval.dtype.name}{list(aval.shape)}"
    return found


def _number(value: Any) -> str:
    """The bits of a number; the text of a NaN would not tell its sign."""
    plain = type(value) in _PLAIN and value == value
    return repr(value) if plain else np.asarray(value).tobytes().hex()


def _write_jaxpr(jaxpr: Jaxpr, parts: list[str]) -> None:
    numbers: dict[Any, str] = {}

    def define(variables: Sequence[Any]) -> None:
        for v in variables:
            numbers[v] = str(len(numbers))
            parts.append(_aval(v.aval))

    def use(atoms: Sequence[Any]) -> None:
        for v in atoms:
            if type(v) is Literal:
                parts.append(f"={_number(v.val)}:{_aval(v.aval)}")
            else:
                parts.append(numbers[v])

    parts.append("jaxpr")
    define(jaxpr.constvars)
    parts.append(";")
    define(jaxpr.invars)
    for eqn in jaxpr.eqns:
        parts.append(eqn.primitive.name)
        use(eqn.invars)
        for name in sorted(eqn.params):
            parts.append(name)
            _write_value(eqn.params[name], parts)
        define(eqn.outvars)
    parts.append("in")
    use(jaxpr.outvars)


@functools.lru_cache(_AVALS_LIMIT)
def _dtype(dtype: Any) -> str:
    return f"dtype:{dtype.name}"


_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes))


def _write_value(value: Any, parts: list[str]) -> None:
    kind = type(value)
    if kind in _PLAIN:
        parts.append(f"{kind.__name__}:{value!r}")
    elif kind is tuple or isinstance(value, (tuple, list)):
        parts.append(f"({len(value)}")
        for item in value:
            _write_value(item, parts)
    elif isinstance(value, enum.Enum):
        parts.append(f"{kind.__name__}.{value.name}")
    elif isinstance(value, (np.dtype, KeyDtype)):
        parts.append(_dtype(value))
    elif isinstance(value, type) and issubclass(value, np.generic):
        parts.append(_dtype(np.dtype(value)))
    elif isinstance(value, np.generic):
        parts.append(f"{value.dtype.name}:{value.tobytes().hex()}")
    elif isinstance(value, np.ndarray):
        parts.append(f"{value.dtype.name}{value.shape}:{value.tobytes().hex()}")
    elif isinstance(value, (int, float, complex, str, bytes)):
        parts.append(f"{kind.__name__}:{value!r}")
    else:
        _write_object(value, parts)


def _write_object(value: Any, parts: list[str]) -> None:
    if isinstance(value, ClosedJaxpr):
        if value.consts:
            raise Uncacheable("an inner jaxpr with constants")
        _write_jaxpr(value.jaxpr, parts)
    elif isinstance(value, Jaxpr):
        _write_jaxpr(value, parts)
    elif isinstance(value, ShapedArray):
        parts.append(f"aval:{_aval(value)}")
    elif isinstance(value, Primitive) and registry.get(value.name) is value:
        parts.append(f"primitive:{value.name}")
    elif isinstance(value, frozenset):
        parts.append(f"set:{sorted(map(str, value))}")
    else:
        fields = getattr(type(value), "__dataclass_fields__", None)
        if fields is None:
            raise Uncacheable(f"a parameter of type {type(value).__name__}")
        parts.append(type(value).__name__)
        for name in fields:
            _write_value(getattr(value, name), parts)
