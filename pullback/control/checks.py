"""Run-time checks as values: what can fail, and the `Error` that says what failed first.

A `Site` is one place of a program that can fail.  An `Error` is a pytree of arrays: the code of the
site that failed first (`NO_ERROR` if none did) and the values that its message shows, in slots that
sites with values of the same types share.  `check` is the primitive that raises an `Error`; the
transformation in `control.functionalize` takes it out of a program and threads an `Error` instead.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from pullback import tree
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.effects import CHECK, DEBUG_CHECK
from pullback.core.primitive import FIRST_ORDER, NO_SAMPLES, NotApplicable, Primitive, Zero
from pullback.core.source import SourceInfo, current_source
from pullback.core.trace import EVAL, Tracer, current_trace
from pullback.errors import LoweringError
from pullback.ops import elementwise, reductions, slicing, structural
from pullback.pytree.registry import register_pytree_node
from pullback.transforms.batching import move_batch_axis
from pullback.transforms.shaping import reshape_to

__all__ = [
    "NO_ERROR",
    "Category",
    "DivisionByZeroError",
    "Error",
    "FailedCheckError",
    "JaxException",
    "JaxRuntimeError",
    "NaNError",
    "NotFunctionalizedError",
    "OOBError",
    "Signature",
    "Site",
    "State",
    "UnexpectedOOBError",
    "check",
    "check_error",
    "check_primitive",
    "debug_check",
]


class JaxException(Exception):
    """Base of what a check finds; the classes are the categories of checks."""


class FailedCheckError(JaxException):
    """A predicate of the user's did not hold."""


class NaNError(JaxException):
    """An operation made a NaN."""


class DivisionByZeroError(JaxException):
    """A divisor was zero."""


class OOBError(JaxException):
    """An index was out of bounds."""


class UnexpectedOOBError(OOBError):
    """An index was out of bounds where nobody chose what is to happen then."""


class JaxRuntimeError(ValueError):
    """Raised for a failed check."""


class NotFunctionalizedError(LoweringError, ValueError):
    """A check is in a program that is to be compiled: `checkify` did not take it out."""


Category: TypeAlias = type[JaxException]
Signature: TypeAlias = tuple[ShapedArray, ...]
"""The types of the values that a message shows."""

NO_ERROR: Final = np.int32(-1)
_NO_VALUES: Final[Signature] = ()


# --------------------------------------------------------------------------- places that can fail

Message: TypeAlias = Callable[..., str]


class Site:
    """One place of a program that can fail; equal places are one object.

    `kind` is hashable and tells sites of one line apart; `message(*values)` is the text.
    """

    __slots__ = ("__weakref__", "category", "code", "message", "signature", "source")

    category: Category
    code: int
    message: Message
    signature: Signature
    source: SourceInfo

    def exception(self, values: Sequence[Any], prefix: str = "") -> JaxException:
        """What the failure is, with the user's line as a note."""
        error = self.category(prefix + self.message(*values))
        if self.source.code is not None:
            error.add_note(f"At: {self.source}")
        return error

    def __repr__(self) -> str:
        return f"Site({self.category.__name__} at {self.source})"


_sites: weakref.WeakValueDictionary[Any, Site] = weakref.WeakValueDictionary()
_by_code: weakref.WeakValueDictionary[int, Site] = weakref.WeakValueDictionary()
"""Finds sites of rules that were traced after their program; who traced them keeps them alive."""
_lately: Final[deque[Site]] = deque(maxlen=4096)
"""Keeps places alive for a while: a program that is made again has the same codes again."""
_codes: list[int] = [0]
_lock: Final = threading.Lock()


def site(category: Category, kind: Any, message: Message, signature: Signature) -> Site:
    """The site of this kind at the user's line that runs now."""
    source = current_source()
    key = category, kind, signature, source.code, source.lasti
    with _lock:
        found = _sites.get(key)
        if found is None:
            found = Site()
            found.category, found.message, found.signature = category, message, signature
            found.source = source
            found.code = _codes[0]
            _codes[0] += 1
            _sites[key] = _by_code[found.code] = found
            _lately.append(found)
    return found


# --------------------------------------------------------------------------- the state of a program


class State:
    """The error of a program so far: arrays that operations of the current trace update."""

    __slots__ = ("code", "signatures", "sites", "slots")

    def __init__(self, signatures: Sequence[Signature], leaves: Sequence[Any] = ()) -> None:
        self.signatures = tuple(signatures)
        self.sites: set[Site] = set()
        self.code: Any = NO_ERROR
        self.slots: dict[Signature, list[Any]] = {
            s: [_zeros(a) for a in s] for s in self.signatures
        }
        if leaves:
            self.set_leaves(leaves)

    @property
    def avals(self) -> list[ShapedArray]:
        """The types of the leaves."""
        return [_CODE, *[a for s in self.signatures for a in s]]

    def leaves(self, signatures: Sequence[Signature] | None = None) -> list[Any]:
        """The code, then the values of these slots (of all by default)."""
        chosen = self.signatures if signatures is None else signatures
        return [self.code, *[x for s in chosen for x in self.slots[s]]]

    def set_leaves(
        self, leaves: Sequence[Any], signatures: Sequence[Signature] | None = None
    ) -> None:
        """Take over new leaves."""
        rest = iter(leaves)
        self.code = next(rest)
        for s in self.signatures if signatures is None else signatures:
            self.slots[s] = [next(rest) for _ in s]

    def fail(self, place: Site, failed: Any, values: Sequence[Any] = ()) -> None:
        """The error of `place` where `failed` (a scalar) holds and nothing failed before."""
        self.sites.add(place)
        new = elementwise.and_(failed, elementwise.lt(self.code, np.int32(0)))
        self.code = elementwise.select_n(new, self.code, np.int32(place.code))
        self._keep(new, place.signature, values)

    def merge(self, other: State) -> None:
        """The error of another state if nothing failed here before."""
        self.sites |= other.sites
        here = elementwise.lt(self.code, np.int32(0))
        new = elementwise.and_(here, elementwise.ge(other.code, np.int32(0)))
        self.code = elementwise.select_n(new, self.code, other.code)
        for s in other.signatures:
            self._keep(new, s, other.slots[s])

    def _keep(self, new: Any, signature: Signature, values: Sequence[Any]) -> None:
        if signature not in self.slots:
            return  # a rule traced later than the program that has it: its values have no place
        self.slots[signature] = [
            elementwise.select_n(_spread(new, aval), old, x)
            for aval, old, x in zip(signature, self.slots[signature], values, strict=True)
        ]

    def error(self) -> Error:
        """The state as a value for users."""
        used = sorted(self.sites, key=lambda s: s.code)
        return Error(self.code, [self.slots[s] for s in self.signatures], self.signatures, used)


_CODE: Final = ShapedArray((), dtypes.int32)


def _zeros(aval: ShapedArray) -> Any:
    if dtypes.is_extended(aval.dtype):
        return structural.zeros(aval)
    return np.zeros(aval.shape, dtypes.physical(aval.dtype))


def _spread(condition: Any, aval: ShapedArray) -> Any:
    if not aval.shape:
        return condition
    return structural.broadcast_in_dim(
        condition, shape=aval.shape, broadcast_dimensions=(), sharding=None
    )


# --------------------------------------------------------------------------- the error of a program


class Error:
    """The first failed check of a program, if any: a pytree that passes through transformations.

    Under vmap there is one for each lane.

    >>> import pullback as pb
    >>> from pullback.experimental import checkify
    >>> def f(x):
    ...     checkify.check(x > 0, "{x} is not positive", x=x)
    ...     return x
    >>> error, _ = checkify.checkify(f)(pb.numpy.float32(-1.0))
    >>> error.get()
    '-1.0 is not positive (`check` failed)'
    """

    __slots__ = ("code", "signatures", "sites", "slots")

    def __init__(
        self,
        code: Any,
        slots: Sequence[Sequence[Any]],
        signatures: Sequence[Signature],
        sites: Sequence[Site],
    ) -> None:
        self.code = code
        self.slots = [list(values) for values in slots]
        self.signatures = tuple(signatures)
        self.sites = tuple(sites)

    def get(self) -> str | None:
        """The message of the failure, None if there is none; one line a failed lane under vmap."""
        found = list(self._failures())
        return "\n".join(str(e) for e in found) or None

    def get_exception(self) -> JaxException | None:
        """The failure as an exception of its category, None if there is none."""
        return next(self._failures(), None)

    def throw(self) -> None:
        """Raise JaxRuntimeError (a ValueError) if there is a failure."""
        _throw(self)

    def _failures(self) -> Iterator[JaxException]:
        if isinstance(self.code, Tracer):
            raise ValueError(
                "the error of a checkified function is asked for its message while it is traced: "
                "return it from the transformed function first, or use checkify.check_error"
            )
        codes = np.asarray(self.code)
        places = {s.code: s for s in self.sites}
        for lane in np.ndindex(codes.shape):
            code = int(codes[lane])
            if code < 0:
                continue
            at = ", ".join(map(str, lane))
            prefix = f"at mapped index {at}: " if lane else ""
            place = places.get(code) or _by_code.get(code)
            if place is None:
                yield JaxException(f"{prefix}a check failed in a derivative rule that is gone")
            else:
                yield place.exception(self._values(place.signature, lane), prefix)

    def _values(self, signature: Signature, lane: tuple[int, ...]) -> list[Any]:
        if signature not in self.signatures:
            return [_Unknown()] * len(signature)
        slots = self.slots[self.signatures.index(signature)]
        return [
            x[lane] if dtypes.is_extended(aval_of(x).dtype) else np.asarray(x)[lane] for x in slots
        ]

    def __repr__(self) -> str:
        if isinstance(self.code, (Array, np.ndarray, np.generic)) and not isinstance(
            self.code, Tracer
        ):
            return f"Error({self.get()})"
        return f"Error({self.code})"


class _Unknown:
    """Stands in a message for a value that was not kept."""

    def __format__(self, spec: str) -> str:
        return "?"


def _throw(error: Error) -> None:
    failure = error.get_exception()
    if failure is not None:
        raised = JaxRuntimeError(error.get())
        for note in getattr(failure, "__notes__", ()):
            raised.add_note(note)
        raise raised


def _flatten(error: Error) -> tuple[tuple[Any, ...], Any]:
    return (error.code, *error.slots), (error.signatures, error.sites)


def _unflatten(aux: Any, children: Sequence[Any]) -> Error:
    error = object.__new__(Error)
    error.code, error.slots = children[0], list(children[1:])
    error.signatures, error.sites = aux
    return error


register_pytree_node(Error, _flatten, _unflatten)

init_error: Final = Error(NO_ERROR, (), (), ())


# --------------------------------------------------------------------------- the primitive

_EFFECTS: Final = frozenset((CHECK,))
_DEBUG_EFFECTS: Final = frozenset((DEBUG_CHECK,))


def _error_of(leaves: Sequence[Any], signatures: Any, sites: Any) -> Error:
    state = State(signatures, leaves)
    return Error(state.code, [state.slots[s] for s in signatures], signatures, sites)


def _reference(*leaves: Any, signatures: Any, sites: Any, debug: bool) -> list[Any]:
    if not debug:
        _throw(_error_of(leaves, signatures, sites))
    return []


def _batch(
    size: int, args: Sequence[Any], dims: Sequence[int | None], **params: Any
) -> tuple[list[Any], list[int | None]]:
    """The error of the first lane that has one."""
    code, *values = [move_batch_axis(x, size, d, 0) for x, d in zip(args, dims, strict=True)]
    failed = elementwise.ge(code, np.int32(0))
    lane = reductions.argmax(failed, axes=(0,), index_dtype=np.dtype(np.int32))
    check_primitive.bind(*[_lane(x, lane) for x in (code, *values)], **params)
    return [], []


def _lane(x: Any, i: Any) -> Any:
    shape = aval_of(x).shape
    zero = np.int32(0)
    found = slicing.dynamic_slice(x, i, *[zero] * (len(shape) - 1), slice_sizes=(1, *shape[1:]))
    return reshape_to(found, shape[1:])


def _jvp(
    primals: Sequence[Any], tangents: Sequence[Any], **params: Any
) -> tuple[list[Any], list[Zero]]:
    check_primitive.bind(*primals, **params)
    return [], []


def _lower(b: Any, *leaves: Any, debug: bool, sites: Sequence[Site], **_: Any) -> list[Any]:
    if not debug:
        places = ", ".join(sorted({str(s.source) for s in sites})) or "an unknown line"
        raise NotFunctionalizedError(
            "Cannot abstractly evaluate a checkify.check which was not functionalized. It is in a "
            "program that is compiled (jit, scan, while, cond), which cannot raise: transform the "
            "function by checkify.checkify "
            "first, `jit(checkify.checkify(f))`, and throw the error that it returns; or use "
            f"checkify.debug_check, which compiled code leaves out.\n  At: {places}"
        )
    return []


check_primitive: Final = Primitive(
    name="check",
    abstract=lambda *avals, **_: [],
    reference=_reference,
    jvp=_jvp,
    transpose=NotApplicable("transpose of check", "it has no results"),
    batch=_batch,
    partial_eval=FIRST_ORDER,
    lower=_lower,
    hlo=NotApplicable("hlo of check", "checkify removes it"),
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda *, debug, **_: _DEBUG_EFFECTS if debug else _EFFECTS,
    literals=False,
)


# --------------------------------------------------------------------------- for users


class _Text:
    """The message of a check: a format string, and the structure of its arguments."""

    __slots__ = ("structure", "template")

    def __init__(self, template: str, structure: Any) -> None:
        self.template, self.structure = template, structure

    def __call__(self, *values: Any) -> str:
        args, kwargs = self.structure.unflatten(values)
        return f"{self.template.format(*args, **kwargs)} (`check` failed)"


_NUMBERS: Final = (Array, np.ndarray, np.generic, bool, int, float, complex)


def check(pred: Any, msg: str, *fmt_args: Any, debug: bool = False, **fmt_kwargs: Any) -> None:
    """Check that the scalar `pred` holds; if not, it is an error with the text `msg`.

    `msg` is a format string for the arguments, pytrees of arrays, which may be traced. Evaluated
    eagerly a failure raises JaxRuntimeError at once; compiled code cannot raise, and the function
    must be transformed by `checkify` before it is staged. With `debug` the check is left out where
    `checkify` does not transform it. Raises TypeError for a predicate that is no boolean scalar.

    >>> import pullback as pb
    >>> from pullback.experimental import checkify
    >>> def f(x):
    ...     checkify.check(x > 0, "{x} needs to be positive!", x=x)
    ...     return 1 / x
    >>> error, out = pb.jit(checkify.checkify(f))(-4.0)
    >>> error.get()
    '-4.0 needs to be positive! (`check` failed)'
    """
    if not isinstance(pred, _NUMBERS) or aval_of(pred).shape or aval_of(pred).dtype != np.bool_:
        raise TypeError(f"check takes a scalar pred as argument, got {pred}: not a bool of rank 0")
    leaves, structure = tree.flatten((fmt_args, fmt_kwargs))
    for x in leaves:
        if not isinstance(x, _NUMBERS):
            raise TypeError(
                "Formatting arguments to checkify.check need to be PyTrees of arrays, but got "
                f"{x!r} of type {type(x)}."
            )
    signature = tuple(aval_of(x).strip_weak_type() for x in leaves)
    text = _Text(msg, structure)
    place = site(FailedCheckError, (msg, structure), text, signature)
    if _decided(pred, debug):
        return
    state = State((signature,))
    state.fail(place, elementwise.not_(pred), leaves)
    _bind(state.error(), debug)


def _decided(pred: Any, debug: bool) -> bool:
    """Whether nothing is to be recorded: eager code, and the predicate holds or is not asked."""
    return current_trace() is EVAL and not isinstance(pred, Tracer) and (debug or bool(pred))


def debug_check(pred: Any, msg: str, *fmt_args: Any, **fmt_kwargs: Any) -> None:
    """As `check` in a function that `checkify` transforms; otherwise nothing happens.

    >>> import pullback as pb
    >>> from pullback.experimental import checkify
    >>> def f(x):
    ...     checkify.debug_check(x != 0, "cannot be zero!")
    ...     return x
    >>> int(f(0))
    0
    >>> checkify.checkify(f)(0)[0].get()
    'cannot be zero! (`check` failed)'
    """
    check(pred, msg, *fmt_args, debug=True, **fmt_kwargs)


def check_error(error: Error) -> None:
    """Raise the failure that `error` holds, if any: the inverse of `checkify`.

    It is itself a check: `checkify` transforms it. Raises ValueError for anything but an `Error`.

    >>> from pullback.experimental import checkify
    >>> error, _ = checkify.checkify(lambda: checkify.check(False, "no"))()
    >>> try:
    ...     checkify.check_error(error)
    ... except checkify.JaxRuntimeError as raised:
    ...     print(raised)
    no (`check` failed)
    """
    if not isinstance(error, Error):
        raise ValueError(f"checkify.check_error takes an Error, got {error!r}")
    shape = aval_of(error.code).shape
    if shape:
        error = _first_lane(error, len(shape))
    _bind(error, False)


def _first_lane(error: Error, rank: int) -> Error:
    """The error of the first lane that has one."""
    leaves, structure = tree.flatten(error)
    for _ in range(rank):
        failed = elementwise.ge(leaves[0], np.int32(0))
        flat = failed
        if len(aval_of(failed).shape) > 1:
            flat = reductions.reduce_or(
                failed, axes=tuple(range(1, len(aval_of(failed).shape))), out_sharding=None
            )
        lane = reductions.argmax(flat, axes=(0,), index_dtype=np.dtype(np.int32))
        leaves = [_lane(x, lane) for x in leaves]
    first: Error = structure.unflatten(leaves)
    return first


def _bind(error: Error, debug: bool) -> None:
    leaves = [error.code, *[x for values in error.slots for x in values]]
    check_primitive.bind(*leaves, signatures=error.signatures, sites=error.sites, debug=debug)
