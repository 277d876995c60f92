"""References at run time: evaluating their primitives now, and programs that take references.

A concrete `Ref` has an array of its own.  Reading all of it shares the buffer, and a write copies
only if somebody else holds it: the count of references to the buffer tells.  A program takes the
values of its references as arguments and gives the last ones back; their buffers are donated, so
that a program that changes few elements copies nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from pullback.control import refs, refs_discharge
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr
from pullback.core.primitive import Primitive
from pullback.core.refs import AbstractRef, Ref, creators, is_ref
from pullback.core.trace import EVAL, set_trace
from pullback.llvm.entry import FastCallable, array_leaf, make_entry
from pullback.runtime.array import ArrayImpl, from_numpy, make_array
from pullback.runtime.compile import Code, Executable, compile_jaxpr

__all__ = ["RefProgram", "evaluate", "read_now", "write_now"]


def _own(array: ArrayImpl, aval: ShapedArray) -> ArrayImpl:
    """An array that nobody else holds, of the same buffer."""
    return make_array(array._data, aval)


def _own_copy(array: ArrayImpl) -> ArrayImpl:
    return make_array(array._data.copy(), array.aval)


def current_value(ref: Ref) -> ArrayImpl:
    """The value of a concrete reference now; later writes do not change it."""
    ref.check_alive()
    return _own(ref._array, ref.aval.inner_aval)


# --------------------------------------------------------------------------- evaluation


def evaluate(
    primitive: Primitive, args: Sequence[Any], params: dict[str, Any], as_array: Any
) -> Any:
    """The result of a primitive that makes references, or has some among its operands."""
    rule = _NOW.get(primitive)
    if rule is None:
        with set_trace(EVAL):
            return refs_discharge.apply(primitive, args, params, whole=True)
    if primitive in creators:
        return rule(*[as_array(x) for x in args], **params)
    ref, *rest = args
    if type(ref) is not Ref:
        raise ValueError(f"`{primitive}` must be called on a reference, got {ref!r}")
    return rule(ref, *[as_array(x) for x in rest], **params)


def _new(x: ArrayImpl, *, kind: Any, memory_space: Any, **_: Any) -> Ref:
    aval = AbstractRef(x.aval, memory_space, kind)
    return Ref(aval, array=_own(x, x.aval))


def _empty(*, ty: Any, memory_space: Any) -> Ref:
    aval = AbstractRef(ty, memory_space)
    return Ref(aval, array=from_numpy(np.zeros(ty.shape), ty))


def _get(ref: Ref, *operands: Any, transforms: refs.Chain) -> Any:
    with set_trace(EVAL):
        found = refs.read(current_value(ref), transforms, operands)
    if found._data.base is None:
        return found
    return make_array(found._data.copy(), found.aval)  # a view would make the next write copy all


def _swap(ref: Ref, value: Any, *operands: Any, transforms: refs.Chain) -> Any:
    old = _get(ref, *operands, transforms=transforms)
    _set(ref, value, operands, transforms)
    return old


def _set(ref: Ref, value: Any, operands: Sequence[Any], transforms: refs.Chain) -> None:
    if all(t.whole for t in transforms):
        ref._array = _own(value, ref.aval.inner_aval)
    elif not _written_in_place(ref, value, operands, transforms):
        with set_trace(EVAL):
            new = refs.write(current_value(ref), transforms, operands, value)
        ref._array = _own(new, ref.aval.inner_aval)


def _written_in_place(
    ref: Ref, value: Any, operands: Sequence[Any], transforms: refs.Chain
) -> bool:
    """Write to the buffer itself, copied first if somebody else holds it; False if NumPy cannot."""
    if len(transforms) != 1:
        return False
    where = transforms[0].numpy_write(value, operands)
    if where is None:
        return False
    index, new = where
    _store(ref, index, new)
    return True


def _store(ref: Ref, index: Any, new: Any) -> None:
    if not _exclusive(ref._array):
        ref._array = make_array(ref._array._data.copy(), ref.aval.inner_aval)
    data = ref._array._data
    data.setflags(write=True)
    try:
        data[index] = new
    finally:
        data.setflags(write=False)


_BASIC: Final = frozenset((int, slice, type(Ellipsis)))


def _is_basic(index: Any) -> bool:
    if type(index) is tuple:
        return all(type(e) in _BASIC for e in index)
    return type(index) in _BASIC


def read_now(ref: Ref, index: Any) -> ArrayImpl | None:
    """`ref[index]` of a concrete reference by NumPy; None where the index needs more care."""
    ref.check_alive()
    if index is Ellipsis or index is None:
        return current_value(ref)
    if not _is_basic(index):
        return None
    try:
        data = np.array(ref._array._data[index], order="C")
    except (IndexError, TypeError):
        return None  # the general route says what is wrong
    return make_array(data, ref.aval.inner_aval.update(shape=data.shape))


def write_now(ref: Ref, index: Any, value: Any) -> bool:
    """`ref[index] = value` of a concrete reference by NumPy; False where that needs more care."""
    ref.check_alive()
    new = value._data if type(value) is ArrayImpl else value
    if not _is_basic(index) or type(new) is not np.ndarray or value.dtype != ref.dtype:
        return False
    try:
        shape = np.shape(ref._array._data[index])
    except (IndexError, TypeError):
        return False
    if shape != new.shape:
        return False
    _store(ref, index, new)
    return True


def _holders(array: Any) -> int:
    """References to the buffer of an array, with those that counting them takes."""
    return sys.getrefcount(array._data)


_ALONE: Final = _holders(SimpleNamespace(_data=object()))
"""What is counted where nothing else has the buffer: it differs between versions of Python."""


def _exclusive(array: ArrayImpl) -> bool:
    if _holders(array) > _ALONE:
        return False
    return array._data.base is None and bool(array._data.flags.owndata)


def _add(ref: Ref, value: Any, *operands: Any, transforms: refs.Chain) -> list[Any]:
    with set_trace(EVAL):
        new = refs.write(current_value(ref), transforms, operands, value, add=True)
    ref._array = _own(new, ref.aval.inner_aval)
    return []


def _freeze(ref: Ref) -> Any:
    value = current_value(ref)
    ref._ended, ref._array = "frozen", None
    return value


def _free(ref: Ref) -> list[Any]:
    ref.check_alive()
    ref._ended, ref._array = "freed", None
    return []


_NOW: Final[dict[Primitive, Any]] = {
    refs.new_ref: _new,
    refs.empty_ref: _empty,
    refs.get: _get,
    refs.swap: _swap,
    refs.addupdate: _add,
    refs.freeze: _freeze,
    refs.free_ref: _free,
}


# --------------------------------------------------------------------------- programs


class _Entry(FastCallable):
    """Calls a program natively, giving away the buffers of what it writes."""

    __slots__ = ("__weakref__",)

    def _miss(self, *arrays: Any) -> Any:
        raise TypeError("a program was called with other types than it was compiled for")


class RefProgram:
    """A compiled program whose arguments, or constants, include references."""

    def __init__(self, closed: ClosedJaxpr, *, name: str) -> None:
        self.name = name
        self.consts = [
            c for v, c in zip(closed.jaxpr.constvars, closed.consts, strict=True) if is_ref(v)
        ]
        self.pure, self.written = refs_discharge.as_values(closed)
        self.n_results = len(closed.out_avals)
        gone = [False] * len(self.pure.in_avals)
        for i in self.written:
            gone[i] = True
        self.executable: Executable = compile_jaxpr(self.pure, name=name, donated=gone)
        n = len(self.pure.in_avals)
        self._run = _Entry()
        self._run.add_entry(
            make_entry(
                self.executable.entry_spec(
                    args=[("leaf",)] * n,
                    leaves=[array_leaf(a) for a in self.pure.in_avals],
                    tree=("list", [("leaf",)] * len(self.executable.outputs)),
                    active=[],
                    deleted=self.written,
                )
            )
        )

    @property
    def code(self) -> Code:
        """The machine code."""
        return self.executable.code

    @property
    def jaxpr(self) -> Jaxpr:
        """The program that was compiled."""
        return self.executable.jaxpr

    def __call__(
        self,
        leaves: Sequence[Any],
        check: Callable[..., None] | None = None,
        run: Callable[[Sequence[ArrayImpl]], Sequence[Any]] | None = None,
    ) -> list[Any]:
        """The results; references among the arguments and constants take their new values.

        `check(jaxpr, name, arguments, results)` is called with what there was before. `run` takes
        the place of the machine code, and leaves the arguments as they are.
        """
        everything = [*self.consts, *leaves]
        arrays = [x._array if type(x) is Ref else x for x in everything]
        arrays = [
            x if type(x) is ArrayImpl and x.aval is a else _own(x, a)
            for x, a in zip(arrays, self.pure.in_avals, strict=True)
        ]
        before = [] if check is None else [_own_copy(x) for x in arrays]
        outs = self._run(*arrays) if run is None else run(arrays)
        for i, new in zip(self.written, outs[self.n_results :], strict=True):
            ref = everything[i]
            ref._array = _own(new, ref.aval.inner_aval)
        if check is not None:
            check(self.pure, self.name, before, outs)
        return list(outs[: self.n_results])
