"""Mutable array references: their type, their effects, and what users hold.

A `Ref` is either concrete, with a buffer of its own, or stands for a tracer of type `AbstractRef`.
Traces handle such tracers as any others; the primitives that read and write are in `control/refs`,
the methods that users call are filled in by `pullback.ref`.

Effects name the reference: in the `effects` slot of a primitive by the number of the operand or by
the variable of an inner jaxpr, on equations and jaxprs by the variable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pullback.core import avals
from pullback.core.avals import AbstractValue, ShapedArray
from pullback.core.effects import CreationEffect, ReadEffect, RefEffect
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr

__all__ = [
    "AbstractRef",
    "Ref",
    "apply_hook",
    "check_aliases",
    "check_results",
    "creators",
    "discharge_hook",
    "discharged",
    "has_ref_effects",
    "inner_jaxprs",
    "is_concrete_ref",
    "is_ref",
    "located",
    "needs_discharge",
    "on_arguments",
    "touched",
    "unwrapped",
    "wrapped",
    "written",
]


class AbstractRef(AbstractValue):
    """The type of a reference to an array of type `inner_aval`.

    >>> import numpy as np
    >>> AbstractRef(ShapedArray((3,), np.dtype("float32")))
    Ref{float32[3]}
    """

    __slots__ = ("inner_aval", "kind", "memory_space")

    def __init__(self, inner_aval: ShapedArray, memory_space: Any = None, kind: Any = None) -> None:
        self.inner_aval = inner_aval
        self.memory_space = memory_space
        self.kind = kind

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.inner_aval.shape

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.inner_aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.inner_aval.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.inner_aval.size

    @property
    def weak_type(self) -> bool:
        """Whether the dtype of what is read yields to others in promotion."""
        return self.inner_aval.weak_type

    def update(self, **changes: Any) -> AbstractRef:
        """This type with some of its own fields, or those of the array, replaced."""
        own = {n: changes.pop(n, getattr(self, n)) for n in self.__slots__}
        if changes:
            own["inner_aval"] = own["inner_aval"].update(**changes)
        return AbstractRef(**own)

    def strip_weak_type(self) -> AbstractRef:
        """The type of a reference to the same array, not weak."""
        return AbstractRef(self.inner_aval.strip_weak_type(), self.memory_space, self.kind)

    def to_tangent_aval(self) -> AbstractRef:
        """The type of a reference to tangents."""
        return AbstractRef(self.inner_aval.to_tangent_aval(), self.memory_space, self.kind)

    def to_cotangent_aval(self) -> AbstractRef:
        """The type of a reference to cotangents."""
        return AbstractRef(self.inner_aval.to_cotangent_aval(), self.memory_space, self.kind)

    def str_short(self, short_dtypes: bool = True) -> str:
        """`Ref{f32[3]}`."""
        return f"Ref{{{self.inner_aval.str_short(short_dtypes)}}}"

    def _key(self) -> tuple[Any, ...]:
        return self.inner_aval, self.memory_space, self.kind

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AbstractRef) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return self.str_short(short_dtypes=False)

    __str__ = __repr__


# --------------------------------------------------------------------------- what users hold


class Ref:
    """A mutable array: `r[index]` reads, `r[index] = value` writes; made by `new_ref`.

    Either `_tracer` stands for it, or `_array` is its value now, which nobody else holds.
    """

    __slots__ = ("__weakref__", "_array", "_ended", "_tracer", "aval")

    def __init__(self, aval: AbstractRef, *, tracer: Any = None, array: Any = None) -> None:
        self.aval = aval
        self._tracer = tracer
        self._array = array
        self._ended: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.aval.shape

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.aval.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.aval.size

    @property
    def weak_type(self) -> bool:
        """Whether the dtype of what is read yields to others in promotion."""
        return self.aval.weak_type

    def __len__(self) -> int:
        if not self.aval.shape:
            raise TypeError("len() of a reference to a scalar")
        return self.aval.shape[0]

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a reference cannot be iterated over; read its value by `ref[...]`")

    def __repr__(self) -> str:
        if self._ended is not None:
            return f"<{self.aval}, {self._ended}>"
        if self._tracer is not None:
            return f"<{type(self._tracer).__name__} of {self.aval}>"
        return "Ref" + repr(self._array).removeprefix("Array")

    def value(self) -> Any:
        """What stands for it in a trace: the tracer, or itself; an error after its end."""
        self.check_alive()
        return self if self._tracer is None else self._tracer

    def check_alive(self) -> None:
        """Raise if it was frozen or freed."""
        if self._ended is not None:
            raise ValueError(
                f"a reference of type {self.aval} is used after it was {self._ended}: freeze and "
                "free_ref end the life of a reference"
            )

    if TYPE_CHECKING:  # what `pullback.ref` fills in, for type checkers

        def __getitem__(self, index: Any) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...

        addupdate: Any
        at: Any
        committed: Any
        format: Any
        sharding: Any
        unsafe_buffer_pointer: Any


avals.register_aval(Ref, avals.own_aval)


def is_ref(x: Any) -> bool:
    """Whether a value, or a tracer, is a reference."""
    return type(getattr(x, "aval", None)) is AbstractRef


def is_concrete_ref(x: Any) -> bool:
    """Whether `x` is a reference with a buffer."""
    return type(x) is Ref and x._tracer is None


def wrapped(values: Sequence[Any]) -> Sequence[Any]:
    """Values for a user's function: tracers of references become `Ref`s."""
    for x in values:
        if type(x) is not Ref and is_ref(x):
            break
    else:
        return values
    return [Ref(x.aval, tracer=x) if type(x) is not Ref and is_ref(x) else x for x in values]


def unwrapped(values: list[Any]) -> list[Any]:
    """Values from a user's function: `Ref`s that stand for tracers become these."""
    if Ref in map(type, values):
        return [x.value() if type(x) is Ref else x for x in values]
    return values


def check_results(outvars: Sequence[Any], description: Any) -> None:
    """Raise if a traced function returns a reference."""
    for v in outvars:
        if is_ref(v):
            raise ValueError(
                f"{description} returned a mutable array reference of type {v.aval}, but mutable "
                "array references cannot be returned; return its value, `ref[...]`"
            )


def check_aliases(description: Any, consts: Sequence[Any], leaves: Sequence[Any]) -> None:
    """Raise if a reference is among the leaves twice, or also closed over."""
    seen: dict[int, int] = {}
    closed = {id(x.value() if type(x) is Ref else x) for x in consts if is_ref(x)}
    for i, x in enumerate(leaves):
        if not is_ref(x):
            continue
        key = id(x.value() if type(x) is Ref else x)
        if key in seen:
            raise ValueError(
                "only one reference to a mutable array may be passed as an argument to a function, "
                f"but to {description} one of type {x.aval} was passed twice, as the leaves "
                f"{seen[key]} and {i} of the arguments"
            )
        if key in closed:
            raise ValueError(
                f"{description}: a mutable array reference of type {x.aval} was both closed over "
                f"and passed as an argument, the leaf {i} of the arguments"
            )
        seen[key] = i


# --------------------------------------------------------------------------- effects


def has_ref_effects(effects: Iterable[Any]) -> bool:
    """Whether references are made, read or written."""
    return any(isinstance(e, (RefEffect, CreationEffect)) for e in effects)


def inner_jaxprs(name: str, params: dict[str, Any], n: int) -> Iterator[tuple[Any, list[int]]]:
    """The jaxprs that an equation of `n` operands applies, and the operands that each one gets."""
    if name == "cond":
        for branch in params["branches"]:
            yield branch.jaxpr, list(range(1, n))
    elif name == "while":
        first = params["cond_nconsts"]
        second = first + params["body_nconsts"]
        carry = list(range(second, n))
        yield params["cond_jaxpr"].jaxpr, [*range(first), *carry]
        yield params["body_jaxpr"].jaxpr, [*range(first, second), *carry]
    else:
        for value in params.values():
            inner = value.jaxpr if isinstance(value, ClosedJaxpr) else value
            if isinstance(inner, Jaxpr) and len(inner.invars) == n:
                yield inner, list(range(n))


def located(
    name: str, params: dict[str, Any], atoms: Sequence[Any], effects: frozenset[Any]
) -> frozenset[Any]:
    """The effects of an equation, those on references by its own variables."""
    if not effects or not any(isinstance(e, RefEffect) for e in effects):
        return effects
    found = {e for e in effects if not isinstance(e, RefEffect)}
    found |= {
        type(e)(atoms[e.input_index])
        for e in effects
        if isinstance(e, RefEffect) and type(e.input_index) is int
    }
    for jaxpr, positions in inner_jaxprs(name, params, len(atoms)):
        for i, e in _on_arguments(jaxpr):
            found.add(type(e)(atoms[positions[i]]))
    return frozenset(found)


def _on_arguments(jaxpr: Jaxpr) -> Iterator[tuple[int, RefEffect]]:
    index = {v: i for i, v in enumerate(jaxpr.invars)}
    for e in jaxpr.effects:
        if isinstance(e, RefEffect) and e.input_index in index:
            yield index[e.input_index], e


def on_arguments(effects: frozenset[Any], arguments: Sequence[Any]) -> frozenset[Any]:
    """The effects of a jaxpr: not those on references that it makes itself."""
    return frozenset(
        e for e in effects if not isinstance(e, RefEffect) or e.input_index in arguments
    )


def touched(jaxpr: Jaxpr) -> list[bool]:
    """Which arguments of a jaxpr are references that it reads or writes."""
    found = {i for i, _ in _on_arguments(jaxpr)}
    return [i in found for i in range(len(jaxpr.invars))]


def written(jaxpr: Jaxpr) -> list[bool]:
    """Which arguments of a jaxpr are references that it writes."""
    found = {i for i, e in _on_arguments(jaxpr) if not isinstance(e, ReadEffect)}
    return [i in found for i in range(len(jaxpr.invars))]


# --------------------------------------------------------------------------- hooks of the traces

apply_hook: Final[list[Callable[[Any, Sequence[Any], dict[str, Any]], Any]]] = []
"""Filled by `control.refs_discharge`: applies a primitive that holds jaxprs, with values carried
through it in place of the references that it reads and writes."""
discharged: Final[set[Any]] = set()
"""Filled by `control.refs_discharge`: the primitives that the hook is for."""
discharge_hook: Final[list[Callable[[Any], Any]]] = []
"""Filled by `control.refs_discharge`: a closed jaxpr without the references that it makes."""
creators: Final[set[Any]] = set()
"""Filled by `control.refs`: primitives that make references.  Traces apply their rules even if no
operand is traced, since what is written later may be."""


def needs_discharge(primitive: Any, params: dict[str, Any]) -> bool:
    """Whether the rules of a primitive want values in place of the references inside it."""
    return primitive in discharged and has_ref_effects(primitive.effects(**params))
