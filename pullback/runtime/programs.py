"""Programs that the runtime makes for itself: a large eager operation, an eager scan or cond.

Each is a jaxpr of one equation, compiled once per structure and type of operands.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback.control.callbacks import callback_primitives
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import Primitive
from pullback.core.trace import EVAL, set_trace
from pullback.passes import simplify
from pullback.passes.fingerprint import Uncacheable, fingerprint
from pullback.runtime import executables
from pullback.runtime.array import ArrayImpl
from pullback.runtime.compile import Executable, compile_jaxpr
from pullback.transforms.staging import stage

__all__ = [
    "forget_structures",
    "one_equation",
    "run_primitive",
    "structure_of",
    "worth_compiling",
]

_compiled: Final[dict[Any, Executable]] = {}
"""Programs by their structure. What is here is counted, and forgotten, by `runtime.executables`."""

_known: Final[OrderedDict[Any, Any]] = OrderedDict()
"""The structures of equations met lately: writing one down takes longer than looking it up."""
_KNOWN_LIMIT: Final = 512


def worth_compiling(primitive: Primitive) -> bool:
    """Whether compiled code beats NumPy on large operands.

    Not where NumPy calls BLAS as well, nor where the work is a Python function.
    """
    return primitive.name != "dot_general" and primitive not in callback_primitives


def run_primitive(primitive: Primitive, arrays: Sequence[ArrayImpl], params: dict[str, Any]) -> Any:
    """Apply a primitive, first-order or not, by a compiled program."""
    outs = _executable(primitive, arrays, params)(arrays)
    return outs if primitive.multiple_results else outs[0]


def _executable(
    primitive: Primitive, arrays: Sequence[ArrayImpl], params: dict[str, Any]
) -> Executable:
    structure, make = structure_of(primitive, arrays, params)
    found = _compiled.get(structure)
    if found is None:
        found = _compiled[structure] = compile_jaxpr(make(), name=primitive.name)
        executables.keep(found, functools.partial(_compiled.pop, structure, None))
    else:
        executables.used(found)
    return found


def structure_of(
    primitive: Primitive, arrays: Sequence[ArrayImpl], params: dict[str, Any]
) -> tuple[Any, Callable[[], ClosedJaxpr]]:
    """What tells the program of one equation apart, and what makes the program."""
    avals = tuple(x.aval for x in arrays)
    key = (primitive, avals, tuple(map(_hashable, params.items())))
    structure = _known.get(key)
    if structure is not None:
        _known.move_to_end(key)
        return structure, functools.partial(one_equation, primitive, avals, params)
    closed = one_equation(primitive, avals, params)
    structure = _known[key] = _structure(closed, key)
    if len(_known) > _KNOWN_LIMIT:
        _known.popitem(last=False)
    return structure, lambda: closed


def _structure(closed: ClosedJaxpr, key: Any) -> Any:
    """What tells a program apart; `key` where it cannot be written down.

    An eager scan whose body is a new function at each call, or the backward program of a jitted
    function, is another jaxpr each time, but not another program.
    """
    simple = simplify.simplify(closed)
    if simple.consts:
        return key
    try:
        digest = fingerprint(simple.jaxpr)
    except Uncacheable:
        return key
    return digest, tuple(closed.in_avals), tuple(closed.out_avals)


def _hashable(item: tuple[str, Any]) -> Any:
    """A key for a parameter; what cannot be hashed is known by its identity."""
    name, value = item
    try:
        hash(value)
    except TypeError:
        return name, _Identity(value)
    return name, value


class _Identity:
    """Compares by identity, and keeps its object alive so that the identity stays valid."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.value is self.value


def one_equation(primitive: Primitive, avals: Sequence[Any], params: dict[str, Any]) -> ClosedJaxpr:
    """The program that applies one primitive."""

    def fun(*args: Any) -> list[Any]:
        out = primitive.bind(*args, **params)
        return list(out) if primitive.multiple_results else [out]

    with set_trace(EVAL):
        return stage(fun, avals, description=primitive.name)


def forget_structures() -> None:
    """Forget how equations met lately look."""
    _known.clear()
