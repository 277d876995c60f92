"""The primitives on references: make, read, write, add to, end.

They are recorded in order like callbacks.  `transforms` apply their rules to a traced reference as
to any value: forward mode pairs a reference with one to tangents, batching adds an axis.  Before
anything is compiled or transposed, references give way to values (`control/refs_discharge.py`).

Which part of the array is meant says a chain of `Transform`s, made by `pullback.ref`; what is
traced in them comes as operands after the reference and the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.effects import CREATED, AccumEffect, ReadEffect, WriteEffect
from pullback.core.primitive import (
    NO_SAMPLES,
    NotApplicable,
    Primitive,
    Zero,
    instantiate,
)
from pullback.core.refs import AbstractRef, creators
from pullback.ops import elementwise, structural
from pullback.transforms.batching import batch_flat, move_batch_axis
from pullback.transforms.linearize import HigherOrder

__all__ = [
    "Transform",
    "addupdate",
    "empty_ref",
    "free_ref",
    "freeze",
    "get",
    "new_ref",
    "read",
    "swap",
    "write",
]


class Transform(Protocol):
    """A part of an array, or another view of it; hashable, with `n_operands` traced values."""

    @property
    def n_operands(self) -> int:
        """How many operands it takes."""

    @property
    def whole(self) -> bool:
        """Whether it is the array as it is."""

    def shape_of(self, shape: tuple[int, ...], operands: Sequence[Any]) -> tuple[int, ...]:
        """Shape of the part, of avals of the operands."""

    def read(self, x: Any, operands: Sequence[Any]) -> Any:
        """The part of `x`."""

    def write(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` with the part replaced."""

    def add(self, x: Any, operands: Sequence[Any], value: Any) -> Any:
        """`x` with something added to the part, to repeated elements several times."""

    def numpy_write(self, value: Any, operands: Sequence[Any]) -> tuple[Any, Any] | None:
        """Index and value with which NumPy writes in place; None where it cannot."""

    def text(self, operands: Iterator[str]) -> str:
        """As in jaxprs, with the names of the operands."""

    def with_lanes(self, size: int, axis: int) -> tuple[Any, int] | None:
        """The same part in all lanes, and where their axis is then; None if it is not so easy."""


Chain = tuple[Transform, ...]


def _split(chain: Chain, operands: Sequence[Any]) -> tuple[Transform, list[Any], Chain, list[Any]]:
    first, n = chain[0], chain[0].n_operands
    return first, list(operands[:n]), chain[1:], list(operands[n:])


def part_shape(shape: tuple[int, ...], chain: Chain, operands: Sequence[Any]) -> tuple[int, ...]:
    """Shape of the part that a chain describes."""
    if not chain:
        return shape
    first, mine, rest, others = _split(chain, operands)
    return part_shape(first.shape_of(shape, mine), rest, others)


def read(x: Any, chain: Chain, operands: Sequence[Any]) -> Any:
    """The part of an array that a chain describes."""
    if not chain:
        return x
    first, mine, rest, others = _split(chain, operands)
    return read(first.read(x, mine), rest, others)


def write(x: Any, chain: Chain, operands: Sequence[Any], value: Any, add: bool = False) -> Any:
    """An array with that part replaced, or with `value` added to it."""
    if not chain:
        return elementwise.add_any(x, value) if add else value
    first, mine, rest, others = _split(chain, operands)
    if all(t.whole for t in rest):
        return first.add(x, mine, value) if add else first.write(x, mine, value)
    inner = write(first.read(x, mine), rest, others, value, add)
    return first.write(x, mine, inner)


# --------------------------------------------------------------------------- types


def _checked(ref: Any, value: Any, chain: Chain, operands: Sequence[Any], name: str) -> ShapedArray:
    if type(ref) is not AbstractRef:
        raise ValueError(f"`{name}` must be called on a reference, got a value of type {ref}")
    shape = part_shape(ref.shape, chain, operands)
    if value is not None:
        if type(value) is AbstractRef:
            raise ValueError(
                f"`{name}`: a reference cannot be stored in another one; read it by `[...]` first"
            )
        if value.shape != shape:
            raise ValueError(
                f"Invalid shape for `{name}`: the indexed part of a reference of type {ref} has "
                f"shape {shape}, the value has shape {value.shape}; values are not broadcast"
            )
        if value.dtype != ref.dtype:
            raise ValueError(
                f"Invalid dtype for `{name}`: a value of type {value} for a reference of type "
                f"{ref}; convert it by astype"
            )
    return ref.inner_aval.update(shape=shape)


def _new_abstract(x: Any, *, kind: Any, memory_space: Any, **_: Any) -> AbstractRef:
    if type(x) is AbstractRef:
        raise TypeError(f"new_ref: the initial value is itself a reference, of type {x}")
    return AbstractRef(x, memory_space, kind)


def _empty_abstract(*, ty: Any, memory_space: Any) -> AbstractRef:
    return AbstractRef(ty, memory_space)


def _get_abstract(ref: Any, *operands: Any, transforms: Chain) -> Any:
    return _checked(ref, None, transforms, operands, "get")


def _swap_abstract(ref: Any, value: Any, *operands: Any, transforms: Chain) -> Any:
    return _checked(ref, value, transforms, operands, "swap")


def _add_abstract(ref: Any, value: Any, *operands: Any, transforms: Chain) -> list[Any]:
    _checked(ref, value, transforms, operands, "addupdate")
    return []


def _freeze_abstract(ref: Any) -> Any:
    return _checked(ref, None, (), (), "freeze")


def _free_abstract(ref: Any) -> list[Any]:
    _checked(ref, None, (), (), "free_ref")
    return []


# --------------------------------------------------------------------------- forward mode


def _new_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    """A reference with one to its tangents; that starts at zero where the value has no tangent."""
    (x,), (x_dot,) = primals, tangents
    ref = new_ref.bind(x, **params | {"_tangent": False})
    if not _has_tangents(aval_of(x)):
        return ref, Zero(ref.aval.to_tangent_aval())
    return ref, new_ref.bind(instantiate(x_dot), **params | {"_tangent": True})


def _empty_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[Any, Any]:
    ref = empty_ref.bind(**params)
    if not _has_tangents(ref.aval.inner_aval):
        return ref, Zero(ref.aval.to_tangent_aval())
    zeros = structural.zeros(ref.aval.inner_aval.to_tangent_aval())
    memory_space = params["memory_space"]
    return ref, new_ref.bind(zeros, kind=None, memory_space=memory_space, _tangent=True)


def _has_tangents(aval: Any) -> bool:
    return bool(aval.to_tangent_aval().dtype != dtypes.float0)


def _get_jvp(primals: Any, tangents: Any, *, transforms: Chain) -> tuple[Any, Any]:
    operands = primals[1:]
    out = get.bind(*primals, transforms=transforms)
    if type(tangents[0]) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, get.bind(tangents[0], *operands, transforms=transforms)


def _stored_tangent(ref: Any, ref_dot: Any, value_dot: Any, name: str) -> Any:
    """The tangent to store, None if there is nowhere to store it."""
    if type(ref_dot) is not Zero:
        return instantiate(value_dot)
    if type(value_dot) is not Zero:
        raise ValueError(
            f"{name} of a differentiated value on a reference of type {aval_of(ref)} that is not "
            "differentiated: it comes from outside of the differentiated function. Make it inside, "
            "make it an argument with a tangent of its own (jvp), or store stop_gradient(value)."
        )
    return None


def _swap_jvp(primals: Any, tangents: Any, *, transforms: Chain) -> tuple[Any, Any]:
    ref, _, *operands = primals
    dot = _stored_tangent(ref, tangents[0], tangents[1], "swap or set")
    out = swap.bind(*primals, transforms=transforms)
    if dot is None:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, swap.bind(tangents[0], dot, *operands, transforms=transforms)


def _add_jvp(primals: Any, tangents: Any, *, transforms: Chain) -> tuple[list[Any], list[Any]]:
    ref, _, *operands = primals
    dot = _stored_tangent(ref, tangents[0], tangents[1], "addupdate")
    addupdate.bind(*primals, transforms=transforms)
    if dot is not None:
        addupdate.bind(tangents[0], dot, *operands, transforms=transforms)
    return [], []


def _freeze_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    out = freeze.bind(primals[0])
    if type(tangents[0]) is Zero:
        return out, Zero(aval_of(out).to_tangent_aval())
    return out, freeze.bind(tangents[0])


def _free_jvp(primals: Any, tangents: Any) -> tuple[list[Any], list[Any]]:
    free_ref.bind(primals[0])
    if type(tangents[0]) is not Zero:
        free_ref.bind(tangents[0])
    return [], []


# --------------------------------------------------------------------------- batching


def _new_batch(size: int, args: Any, dims: Any, **params: Any) -> tuple[Any, int]:
    return new_ref.bind(move_batch_axis(args[0], size, dims[0], 0), **params), 0


def _empty_batch(size: int, args: Any, dims: Any, *, ty: Any, **params: Any) -> tuple[Any, int]:
    return empty_ref.bind(ty=ty.update(shape=(size, *ty.shape)), **params), 0


def _same_part(
    size: int, dims: Sequence[int | None], transforms: Chain
) -> tuple[Chain, int] | None:
    """The chain on a reference with lanes, if all lanes mean the same part; where lanes are."""
    axis = dims[0]
    if axis is None or any(d is not None for d in dims[1:]):
        return None
    chain = []
    for transform in transforms:
        found = transform.with_lanes(size, axis)
        if found is None:
            return None
        chain.append(found[0])
        axis = found[1]
    return tuple(chain), axis


def _get_batch(size: int, args: Any, dims: Any, *, transforms: Chain) -> tuple[Any, int | None]:
    same = _same_part(size, dims, transforms)
    if same is not None:
        return get.bind(*args, transforms=same[0]), same[1]
    x = get.bind(args[0], transforms=())
    outs, out_dims = batch_flat(
        lambda x, *operands: [read(x, transforms, operands)], size, [x, *args[1:]], dims
    )
    return outs[0], out_dims[0]


def _refuse_shared(ref: Any, dim: int | None, name: str) -> None:
    if dim is None:
        raise ValueError(
            f"{name} of a batched value on a reference of type {aval_of(ref)} that all lanes of a "
            "vmap share. Make the reference an argument of the mapped function, or make it inside."
        )


def _swap_batch(size: int, args: Any, dims: Any, *, transforms: Chain) -> tuple[Any, int | None]:
    ref, value, *operands = args
    _refuse_shared(ref, dims[0], "swap or set")
    same = _same_part(size, [dims[0], *dims[2:]], transforms)
    if same is not None:
        chain, axis = same
        value = move_batch_axis(value, size, dims[1], axis)
        return swap.bind(ref, value, *operands, transforms=chain), axis

    def fun(x: Any, value: Any, *operands: Any) -> list[Any]:
        return [read(x, transforms, operands), write(x, transforms, operands, value)]

    x = get.bind(ref, transforms=())
    (old, new), (old_dim, new_dim) = batch_flat(fun, size, [x, *args[1:]], dims)
    swap.bind(ref, move_batch_axis(new, size, new_dim, dims[0]), transforms=())
    return old, old_dim


def _add_batch(size: int, args: Any, dims: Any, *, transforms: Chain) -> tuple[list[Any], Any]:
    ref, value, *operands = args
    _refuse_shared(ref, dims[0], "addupdate")
    same = _same_part(size, [dims[0], *dims[2:]], transforms)
    if same is not None:
        value = move_batch_axis(value, size, dims[1], same[1])
        addupdate.bind(ref, value, *operands, transforms=same[0])
        return [], []

    def fun(x: Any, value: Any, *operands: Any) -> list[Any]:
        return [write(x, transforms, operands, value, add=True)]

    x = get.bind(ref, transforms=())
    (new,), (new_dim,) = batch_flat(fun, size, [x, *args[1:]], dims)
    swap.bind(ref, move_batch_axis(new, size, new_dim, dims[0]), transforms=())
    return [], []


def _freeze_batch(size: int, args: Any, dims: Any) -> tuple[Any, int | None]:
    return freeze.bind(args[0]), dims[0]


def _free_batch(size: int, args: Any, dims: Any) -> tuple[list[Any], list[Any]]:
    free_ref.bind(args[0])
    return [], []


# --------------------------------------------------------------------------- the primitives


def _keep(eqn: Any, used: Sequence[bool]) -> tuple[list[bool], Any]:
    return [True] * len(eqn.invars), eqn


def _recorded(primitive: Callable[[], Primitive]) -> HigherOrder:
    """A reference that starts with an unknown value is unknown."""
    return HigherOrder(lambda trace, args, params: trace.record(primitive(), args, params), _keep)


def _all_unknown(primitive: Callable[[], Primitive]) -> HigherOrder:
    """Splitting into known and unknown: tangents have references of their own, which are unknown;
    a known one that is written with an unknown value would be read too early."""

    def split(trace: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if not trace.is_unknown(args[0]):
            raise ValueError(
                f"{primitive()}: a value that depends on unknown arguments meets a reference of "
                f"type {aval_of(args[0])} that does not"
            )
        return trace.record(primitive(), args, params)

    return HigherOrder(split, _keep)


def _discharged_before(what: str) -> NotApplicable:
    return NotApplicable(what, "references give way to values before a program gets there")


def _effects(effect: Callable[[int], Any]) -> Callable[..., frozenset[Any]]:
    found = frozenset((effect(0),))
    return lambda **_: found


_NO_EFFECTS: Final[frozenset[Any]] = frozenset()


def _primitive(name: str, **rules: Any) -> Primitive:
    slots: dict[str, Any] = {
        "reference": _discharged_before(f"reference of {name}"),
        "transpose": _discharged_before(f"transpose of {name}"),
        "lower": _discharged_before(f"lower of {name}"),
        "hlo": _discharged_before(f"hlo of {name}"),
        "samples": NO_SAMPLES,
        "multiple_results": False,
        "literals": False,
        "effects": lambda **_: _NO_EFFECTS,
    }
    return Primitive(name=name, **slots | rules)


new_ref: Final[Primitive] = _primitive(
    "new_ref",
    abstract=_new_abstract,
    jvp=_new_jvp,
    batch=_new_batch,
    partial_eval=_recorded(lambda: new_ref),
    effects=lambda **_: CREATED,
)
empty_ref: Final[Primitive] = _primitive(
    "empty_ref",
    abstract=_empty_abstract,
    jvp=_empty_jvp,
    batch=_empty_batch,
    partial_eval=_recorded(lambda: empty_ref),
    effects=lambda **_: CREATED,
)
get: Final[Primitive] = _primitive(
    "get",
    abstract=_get_abstract,
    jvp=_get_jvp,
    batch=_get_batch,
    partial_eval=_all_unknown(lambda: get),
    effects=_effects(ReadEffect),
)
swap: Final[Primitive] = _primitive(
    "swap",
    abstract=_swap_abstract,
    jvp=_swap_jvp,
    batch=_swap_batch,
    partial_eval=_all_unknown(lambda: swap),
    effects=_effects(WriteEffect),
)
addupdate: Final[Primitive] = _primitive(
    "addupdate",
    abstract=_add_abstract,
    jvp=_add_jvp,
    batch=_add_batch,
    partial_eval=_all_unknown(lambda: addupdate),
    multiple_results=True,
    effects=_effects(AccumEffect),
)
freeze: Final[Primitive] = _primitive(
    "freeze",
    abstract=_freeze_abstract,
    jvp=_freeze_jvp,
    batch=_freeze_batch,
    partial_eval=_all_unknown(lambda: freeze),
    effects=_effects(ReadEffect),
)
free_ref: Final[Primitive] = _primitive(
    "free_ref",
    abstract=_free_abstract,
    jvp=_free_jvp,
    batch=_free_batch,
    partial_eval=_all_unknown(lambda: free_ref),
    multiple_results=True,
    effects=_effects(WriteEffect),
)
creators.update((new_ref, empty_ref))
