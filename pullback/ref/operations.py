"""What users do with references: the functions of `jax.ref`, and the methods of `Ref`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.control import refs
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.refs import Ref, is_concrete_ref
from pullback.core.trace import EVAL, current_trace
from pullback.numpy.arrays import as_array, convert_with_weak_type
from pullback.ref.transforms import Reshape, Transpose, index_of
from pullback.runtime.refs import read_now, write_now
from pullback.transforms.arguments import check_operand, shaped
from pullback.transforms.staging import StagingTrace

__all__ = [
    "TransformedRef",
    "addupdate",
    "empty_ref",
    "free_ref",
    "freeze",
    "get",
    "new_ref",
    "set",
    "swap",
]


class TransformedRef:
    """A part of a reference, or a view of it: `r.at[index]`, `r.T`, `r.reshape(...)`.

    It is read and written as a reference is.
    """

    __slots__ = ("chain", "operands", "ref")

    def __init__(self, ref: Ref, chain: refs.Chain, operands: Sequence[Any]) -> None:
        self.ref, self.chain, self.operands = ref, chain, list(operands)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return refs.part_shape(self.ref.shape, self.chain, self.operands)

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.ref.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def at(self) -> _Views:
        """`.at[index]`: a part of this part."""
        return _Views(self)

    @property
    def T(self) -> TransformedRef:
        """The view with the axes reversed."""
        return self.transpose()

    def transpose(self, *axes: Any) -> TransformedRef:
        """The view with the axes in another order; reversed without arguments."""
        return _transposed(self, axes)

    def reshape(self, *shape: Any) -> TransformedRef:
        """The view in another shape; one length may be -1."""
        return _reshaped(self, shape)

    def get(self, index: Any = None) -> Any:
        """Read."""
        return get(self, index)

    def set(self, value: Any, index: Any = None) -> None:
        """Write."""
        set(self, index, value)

    def swap(self, value: Any, index: Any = None) -> Any:
        """Write, and return what was there."""
        return swap(self, index, value)

    def addupdate(self, value: Any, index: Any = None) -> None:
        """Add to it."""
        addupdate(self, index, value)

    def __getitem__(self, index: Any) -> Any:
        return get(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        set(self, index, value)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        operands = iter(map(repr, self.operands))
        return f"TransformedRef({self.ref!r}, {''.join(t.text(operands) for t in self.chain)})"


class _Views:
    """`r.at`: index it to get a part of a reference that is itself like a reference."""

    __slots__ = ("ref",)

    def __init__(self, ref: Any) -> None:
        self.ref = ref

    def __getitem__(self, index: Any) -> TransformedRef:
        part, operands = index_of(self.ref.shape, index)
        return _viewed(self.ref, part, operands)

    def __repr__(self) -> str:
        return f"_Views({self.ref!r})"


def _viewed(ref: Any, transform: Any, operands: Sequence[Any] = ()) -> TransformedRef:
    chain: refs.Chain = ()
    before: list[Any] = []
    if isinstance(ref, TransformedRef):
        ref, chain, before = ref.ref, ref.chain, ref.operands
    if getattr(transform, "whole", False):
        return TransformedRef(ref, chain, before)
    return TransformedRef(ref, (*chain, transform), [*before, *operands])


def _as_tuple(args: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], (tuple, list)) else tuple(args)


def _transposed(ref: Any, axes: Sequence[Any]) -> TransformedRef:
    ndim = len(ref.shape)
    given = _as_tuple(axes) if axes and axes != (None,) else tuple(reversed(range(ndim)))
    permutation = tuple(int(a) % ndim for a in given) if ndim else ()
    if sorted(permutation) != list(range(ndim)):
        raise ValueError(f"transpose: {given} is no order of the axes of a shape {ref.shape}")
    return _viewed(ref, Transpose(permutation))


def _reshaped(ref: Any, shape: Sequence[Any]) -> TransformedRef:
    wanted = [int(n) for n in _as_tuple(shape)]
    size = int(np.prod(ref.shape, dtype=np.int64))
    if wanted.count(-1) == 1:
        known = int(np.prod([n for n in wanted if n != -1], dtype=np.int64))
        wanted[wanted.index(-1)] = size // max(known, 1)
    if int(np.prod(wanted, dtype=np.int64)) != size:
        raise ValueError(f"reshape: a reference of shape {ref.shape} has no shape {tuple(wanted)}")
    return _viewed(ref, Reshape(tuple(ref.shape), tuple(wanted)))


# --------------------------------------------------------------------------- making and ending


def new_ref(init_val: Any, *, memory_space: Any = None, kind: str | None = None) -> Ref:
    """A mutable array that starts with the elements of `init_val`, an array or a scalar.

    The array itself does not change. `memory_space` and `kind` are kept in the type.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> r = pb.new_ref(jnp.zeros(3))
    >>> r[1] = 5.0
    >>> r[...]
    Array([0., 5., 0.], dtype=float32)
    """
    if isinstance(init_val, (Ref, TransformedRef)):
        raise TypeError(
            f"new_ref: the initial value is itself a reference, of type {_type(init_val)}; read it "
            "by `[...]`"
        )
    check_operand(init_val, "new_ref", "initial value")
    made = refs.new_ref.bind(init_val, kind=kind, memory_space=memory_space, _tangent=False)
    return _as_ref(made)


def _as_ref(made: Any) -> Ref:
    return made if type(made) is Ref else Ref(made.aval, tracer=made)


def empty_ref(ty: Any, memory_space: Any = None) -> Ref:
    """A mutable array of a type (anything with `shape` and `dtype`), to be written before it is
    read; until then its elements are zero.

    >>> import pullback as pb
    >>> r = pb.empty_ref(pb.ShapeDtypeStruct((2,), "float32"))
    >>> r.shape
    (2,)
    """
    aval = shaped(ty)
    plain = ShapedArray(aval.shape, aval.dtype)
    return _as_ref(refs.empty_ref.bind(ty=plain, memory_space=memory_space))


def _check_own(ref: Any, name: str) -> None:
    if type(ref) is not Ref:
        raise TypeError(f"{name} ends the life of a Ref, got {ref!r} of type {type(ref).__name__}")
    if ref._tracer is None and isinstance(current_trace(), StagingTrace):
        raise ValueError(
            f"{name}: a reference of type {ref.aval} that a traced function closes over; only the "
            "function that made it may end its life"
        )


def freeze(ref: Ref) -> Array:
    """The last value of a reference, which must not be used afterwards.

    Only the function that made it may do so. Raises ValueError at a later use.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.freeze(pb.new_ref(jnp.arange(3)))
    Array([0, 1, 2], dtype=int32)
    """
    _check_own(ref, "freeze")
    value: Array = refs.freeze.bind(ref.value())
    ref._ended = "frozen"
    return value


def free_ref(ref: Ref) -> None:
    """End the life of a reference, which must not be used afterwards.

    >>> import pullback as pb
    >>> r = pb.new_ref(1.0)
    >>> pb.free_ref(r)
    >>> r
    <Ref{float32[]}, freed>
    """
    _check_own(ref, "free_ref")
    refs.free_ref.bind(ref.value())
    ref._ended = "freed"


# --------------------------------------------------------------------------- reading and writing


def _type(ref: Any) -> Any:
    return ref.aval if isinstance(ref, Ref) else ref.ref.aval


def _part(ref: Any, index: Any, name: str) -> tuple[Any, refs.Chain, list[Any]]:
    """The value that stands for a reference, the chain of what is meant, and its operands."""
    if isinstance(ref, (Ref, TransformedRef)):
        view = ref.at[index]
        return view.ref.value(), view.chain, view.operands
    raise ValueError(
        f"{name} can only be called on a Ref, got {ref!r} of type {type(ref).__name__}"
    )


def _value(ref: Any, value: Any, name: str) -> Any:
    """The value to store, of the dtype of the reference; Python scalars of its kind fit."""
    if isinstance(value, (Ref, TransformedRef)):
        raise ValueError("a Ref cannot be stored in another Ref; read its value by `[...]` first")
    aval = aval_of(value)
    dtype = ref.dtype
    fits = aval.dtype == dtype or (aval.weak_type and _same_kind(aval.dtype, dtype))
    if not isinstance(value, Array):
        return np.asarray(value, dtypes.physical(dtype if fits else aval.dtype))
    if fits and aval.dtype != dtype:
        return convert_with_weak_type(as_array(value), dtype, False)
    return value


def _same_kind(given: Any, wanted: Any) -> bool:
    kinds = {"u": "i"}
    a, b = dtypes.kind_of(given), dtypes.kind_of(wanted)
    return bool(kinds.get(a, a) == kinds.get(b, b))


def get(ref: Any, idx: Any = None) -> Any:
    """`ref[idx]`: the elements at a NumPy-style index (default: all).

    Integers in arrays and traced ones that are out of bounds are clamped.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> pb.ref.get(pb.new_ref(jnp.arange(5)), slice(1, 3))
    Array([1, 2], dtype=int32)
    """
    if is_concrete_ref(ref) and current_trace() is EVAL:
        found = read_now(ref, idx)
        if found is not None:
            return found
    target, chain, operands = _part(ref, idx, "get")
    return refs.get.bind(target, *operands, transforms=chain)


def swap(ref: Any, idx: Any, value: Any) -> Any:
    """Write `ref[idx] = value` and return what was there.

    `value` has the shape of the indexed part and the dtype of the reference (ValueError otherwise).

    >>> import pullback as pb, pullback.numpy as jnp
    >>> r = pb.new_ref(jnp.arange(3))
    >>> pb.ref.swap(r, 1, 10)
    Array(1, dtype=int32)
    >>> r
    Ref([ 0, 10,  2], dtype=int32)
    """
    target, chain, operands = _part(ref, idx, "swap")
    return refs.swap.bind(target, _value(ref, value, "swap"), *operands, transforms=chain)


def set(ref: Any, idx: Any, value: Any) -> None:
    """Write `ref[idx] = value`.

    `value` has the shape of the indexed part and the dtype of the reference (ValueError otherwise).

    >>> import pullback as pb, pullback.numpy as jnp
    >>> r = pb.new_ref(jnp.zeros(3))
    >>> pb.ref.set(r, 1, 10.0)
    >>> r
    Ref([ 0., 10.,  0.], dtype=float32)
    """
    if is_concrete_ref(ref) and current_trace() is EVAL:
        value = _value(ref, value, "set")
        if write_now(ref, idx, value):
            return
    swap(ref, idx, value)


def addupdate(ref: Any, idx: Any, x: Any) -> None:
    """`ref[idx] += x` as one operation; an element that the index repeats gets every addition.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> r = pb.new_ref(jnp.arange(3))
    >>> pb.ref.addupdate(r, 2, 10)
    >>> r
    Ref([ 0,  1, 12], dtype=int32)
    """
    target, chain, operands = _part(ref, idx, "addupdate")
    refs.addupdate.bind(target, _value(ref, x, "addupdate"), *operands, transforms=chain)


# --------------------------------------------------------------------------- methods of Ref


def _setitem(ref: Ref, index: Any, value: Any) -> None:
    set(ref, index, value)


def _addupdate_method(ref: Ref, x: Any, idx: Any = ()) -> None:
    """`ref[idx] += x` as one operation."""
    addupdate(ref, idx if idx != () else ..., x)


def _array_of(ref: Ref) -> Any:
    ref.check_alive()
    if ref._array is None:
        raise AttributeError(f"a traced reference of type {ref.aval} has no place in memory")
    return ref._array


def _copied(ref: Ref, memo: Any = None) -> Ref:
    """A reference of its own that starts with the value now."""
    return new_ref(get(ref), memory_space=ref.aval.memory_space, kind=ref.aval.kind)


def _rebuilt(value: Any, memory_space: Any, kind: Any) -> Ref:
    return new_ref(value, memory_space=memory_space, kind=kind)


def _fill() -> None:
    members: dict[str, Any] = {
        "__copy__": _copied,
        "__deepcopy__": _copied,
        "__reduce__": lambda self: (
            _rebuilt,
            (get(self), self.aval.memory_space, self.aval.kind),
        ),
        "__getitem__": get,
        "__setitem__": _setitem,
        "addupdate": _addupdate_method,
        "at": property(_Views, doc="`.at[index]`: a part that is itself like a reference."),
        "transpose": lambda self, *axes: _transposed(self, axes),
        "reshape": lambda self, *shape: _reshaped(self, shape),
        "T": property(lambda self: _transposed(self, ())),
        "committed": property(lambda self: _array_of(self).committed),
        "sharding": property(lambda self: _array_of(self).sharding),
        "format": property(lambda self: _array_of(self).format),
        "unsafe_buffer_pointer": lambda self: _array_of(self).unsafe_buffer_pointer(),
    }
    for name, member in members.items():
        setattr(Ref, name, member)


_fill()
