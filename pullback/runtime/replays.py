"""Library functions of a few operations, replayed when they are called eagerly, beside `dispatch`.

A reduction or a comparison is one to four primitives, and many times as much Python around them:
checks, axes, dtypes. What a call comes to is written down when a function meets the same types and
the same Python values a second time; from then on the references of these primitives run one after
another, on the same values as before, and nothing is decided anew. Nothing is compiled.

A function decorated here must not ask what its arrays hold, nor warn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from pullback import config
from pullback.control.callbacks import callback_primitives
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, Literal
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.refs import creators
from pullback.core.trace import EVAL
from pullback.core.tracebacks import shorten
from pullback.records import record
from pullback.runtime import programs
from pullback.runtime.array import ArrayImpl, from_numpy, make_array
from pullback.runtime.dispatch import (
    IGNORE,
    evaluate,
    is_large,
    quietly,
    reset_errors,
    set_errors,
    to_array,
    wrap,
)
from pullback.runtime.residence import REMOTE
from pullback.transforms.staging import stage, types_forgotten

__all__ = ["replayed_when_eager"]

P = ParamSpec("P")
R = TypeVar("R")

_LIMIT: Final = 1024
"""Signatures of one function; they may contain any Python number."""
_LONGEST: Final = 12
"""Operations from which on a function is better compiled."""
_PLAIN: Final = frozenset((bool, int, str, type(None)))
_BUILTIN: Final = frozenset((bool, int, float, complex))
"""Types for which any number of bits will do."""
_MET: Final = object()
"""A signature that was met once."""


@record()
class _Step:
    """One operation on numbered values."""

    reference: Callable[..., Any]
    params: dict[str, Any]
    operands: tuple[int, ...]
    results: tuple[int, ...]
    avals: tuple[ShapedArray, ...]
    several: bool


@record()
class _Replay:
    """The operations of one call."""

    known: list[Any]
    """Places of the values: first those of the arguments, then constants."""
    steps: tuple[_Step, ...]
    outs: tuple[int, ...]
    avals: tuple[ShapedArray, ...]
    container: type | None
    """What holds the results: a tuple, a list, or None for a single one."""

    def run(self, arrays: Sequence[ArrayImpl], foreign: bool) -> Any:
        """The results for arguments of the types that were recorded.

        With `foreign` ones (NumPy arrays of the user's) what may be a view of them is copied.
        """
        values = self.known.copy()
        for i, x in enumerate(arrays):
            values[i] = x._data
        token = set_errors(IGNORE)
        try:
            self.fill(values)
        finally:
            reset_errors(token)
        if foreign:
            made = [
                from_numpy(values[i], aval, copy=True)
                if i < len(arrays)
                else wrap(values[i], aval, True)
                for i, aval in zip(self.outs, self.avals, strict=True)
            ]
            return made[0] if self.container is None else self.container(made)
        if self.container is None:
            i = self.outs[0]
            return arrays[i] if i < len(arrays) else make_array(values[i], self.avals[0])
        made = []
        for i, aval in zip(self.outs, self.avals, strict=True):
            made.append(arrays[i] if i < len(arrays) else make_array(values[i], aval))
        return self.container(made)

    def fill(self, values: list[Any]) -> None:
        """Compute the values that are not known, from those that are."""
        for step in self.steps:
            ans = step.reference(*[values[i] for i in step.operands], **step.params)
            if step.several:
                for i, value, aval in zip(step.results, ans, step.avals, strict=True):
                    values[i] = _stored(value, aval)
            else:
                values[step.results[0]] = _stored(ans, step.avals[0])


def _stored(value: Any, aval: ShapedArray) -> Any:
    """The result of a reference as the next one would get it from an Array."""
    if (
        type(value) is np.ndarray
        and value.dtype is aval.dtype
        and value.shape == aval.shape
        and value.flags.c_contiguous
    ):
        return value
    if isinstance(value, np.generic) and value.dtype is aval.dtype and not aval.shape:
        return np.asarray(value)
    return from_numpy(value, aval)._data


def replayed_when_eager(fun: Callable[P, R]) -> Callable[P, R]:
    """Remember what eager calls of a function on arrays and plain Python values come to.

    >>> import pullback.numpy as jnp
    >>> @replayed_when_eager
    ... def halves(x):
    ...     return x / jnp.full_like(x, 2)
    >>> [halves(jnp.float32(n)).tolist() for n in range(4)]
    [0.0, 0.5, 1.0, 1.5]
    """
    replays: dict[Any, Any] = {}
    _forgetting.append(replays.clear)

    @functools.wraps(fun)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            if config.ACTIVE or REMOTE or EVAL.process is not evaluate:
                return fun(*args, **kwargs)
            arrays: list[ArrayImpl] = []
            foreign = False
            key: list[Any] = [*kwargs] if kwargs else []
            for x in (*args, *kwargs.values()) if kwargs else args:
                if type(x) is ArrayImpl:
                    arrays.append(x)
                    key.append(x.aval)
                elif type(x) is np.ndarray and x.dtype.kind in "biufc":
                    arrays.append(to_array(x))
                    key.append(arrays[-1].aval)
                    foreign = True
                else:
                    key.append(_static(x))
            signature = tuple(key)
            try:
                found = replays.get(signature)
            except TypeError:  # a list, say
                found = None
            else:
                if found is None:
                    if len(replays) >= _LIMIT:
                        replays.clear()
                    replays[signature] = _MET
                elif found is _MET:
                    found = replays[signature] = _recorded(fun, args, kwargs) or _IRREGULAR
            if type(found) is _Replay:
                return found.run(arrays, foreign)  # type: ignore[no-any-return]
            return fun(*args, **kwargs)
        except Exception as error:
            shorten(error)
            raise

    return call


_forgetting: Final[list[Callable[[], None]]] = []
_IRREGULAR: Final = object()
"""A signature whose calls are not replayed."""


def _forget() -> None:
    for clear in _forgetting:
        clear()


types_forgotten.append(_forget)
config.on_update(_forget)


class _Unknown:
    """A value that is like no other: calls with it are not replayed."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]


_UNKNOWN: Final = _Unknown()


def _static(x: Any) -> Any:
    """A Python value as a part of a signature: 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    cls = type(x)
    if cls in _PLAIN:
        return cls, x
    if cls is float:
        return cls, x or repr(x)
    if cls is tuple:
        return cls, tuple(map(_static, x))
    if cls is type or isinstance(x, np.dtype):
        return cls, x
    return _UNKNOWN


# --------------------------------------------------------------------------- recording


class _NotReplayable(Exception):
    """Why a call stays as it is: internal to this module."""


def _recorded(fun: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> _Replay | None:
    """What a call comes to, or None for one that is not replayed."""
    if config.numpy_rank_promotion() != "allow":
        return None  # a warning belongs to every call
    given = [*args, *kwargs.values()]
    where = [i for i, x in enumerate(given) if type(x) in (ArrayImpl, np.ndarray)]
    if any(_may_warn(x) for x in given):
        return None
    container: list[type | None] = []

    def flat(*tracers: Any) -> Sequence[Any]:
        values = list(given)
        for i, tracer in zip(where, tracers, strict=True):
            values[i] = tracer
        named = dict(zip(kwargs, values[len(args) :], strict=True))
        out = fun(*values[: len(args)], **named)
        several = type(out) is tuple or type(out) is list
        container.append(type(out) if several else None)
        return out if several else [out]

    try:
        closed = stage(flat, [aval_of(given[i]) for i in where])
        return _replay(closed, container[0])
    except Exception:  # the call itself says what is wrong, and where
        return None


def _may_warn(x: Any) -> bool:
    """Whether a dtype is not what results have: asking for it warns, at each call."""
    if type(x) is str:
        try:
            x = np.dtype(x)
        except TypeError:  # the name of something else
            return False
    if isinstance(x, np.dtype) or (type(x) is type and x not in _BUILTIN):
        return bool(dtypes.canonicalize_dtype(x) != x)
    return False


def _replay(closed: ClosedJaxpr, container: type | None) -> _Replay:
    jaxpr = closed.jaxpr
    known: list[Any] = [None] * len(jaxpr.invars)
    numbers: dict[Any, int] = {v: i for i, v in enumerate(jaxpr.invars)}
    constant: set[int] = set()

    def keep(value: Any) -> int:
        known.append(to_array(value)._data)
        constant.add(len(known) - 1)
        return len(known) - 1

    def number(atom: Any) -> int:
        return keep(atom.val) if isinstance(atom, Literal) else numbers[atom]

    for v, value in zip(jaxpr.constvars, closed.consts, strict=True):
        numbers[v] = keep(value)
    steps = []
    for eqn in _needed(jaxpr.eqns, jaxpr.outvars):
        step = _step(eqn, tuple(map(number, eqn.invars)), len(known))
        known.extend([None] * len(step.results))
        numbers.update(zip(eqn.outvars, step.results, strict=True))
        if constant.issuperset(step.operands):
            quietly(_Replay(known, (step,), (), (), None).fill, known)
            constant.update(step.results)
        else:
            steps.append(step)
    if len(steps) >= _LONGEST:
        raise _NotReplayable
    outs = tuple(map(number, jaxpr.outvars))
    return _Replay(known, tuple(steps), outs, tuple(a.aval for a in jaxpr.outvars), container)


def _needed(eqns: Sequence[JaxprEqn], outvars: Sequence[Any]) -> list[JaxprEqn]:
    wanted, kept = set(outvars), []
    for eqn in reversed(eqns):
        if eqn.effects or wanted.intersection(eqn.outvars):
            kept.append(eqn)
            wanted.update(v for v in eqn.invars if not isinstance(v, Literal))
    return kept[::-1]


def _step(eqn: JaxprEqn, operands: tuple[int, ...], first: int) -> _Step:
    """An equation whose operation NumPy evaluates."""
    primitive: Any = eqn.primitive
    avals = tuple(v.aval for v in eqn.outvars)
    if type(primitive) is not Primitive or primitive.partial_eval is not FIRST_ORDER:
        raise _NotReplayable
    if eqn.effects or primitive in callback_primitives or primitive in creators:
        raise _NotReplayable
    if is_large([v.aval for v in eqn.invars], avals) and programs.worth_compiling(primitive):
        raise _NotReplayable
    results = tuple(range(first, first + len(avals)))
    several = primitive.multiple_results
    return _Step(primitive.reference, eqn.params, operands, results, avals, several)
