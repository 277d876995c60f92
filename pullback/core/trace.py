"""Tracing: the current trace, and the tracers that stand for values.

Each thread has one current trace.  `bind` hands a primitive and its operands to it; the trace
evaluates them, records them, or applies a rule whose own operations run under the trace's parent.
A tracer knows its trace; to every other trace it is a constant.
"""

from __future__ import annotations

import contextlib
import gc
import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pullback import config
from pullback.core import avals
from pullback.core.array import Array
from pullback.core.source import Description, SourceInfo, current_source
from pullback.errors import (
    ConcretizationTypeError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
    UnexpectedTracerError,
)

__all__ = [
    "EvalTrace",
    "Trace",
    "Tracer",
    "check_leaks",
    "check_not_leaked",
    "concrete_or_error",
    "current",
    "current_trace",
    "eager",
    "eager_where_known",
    "is_concrete",
    "keeping_sources",
    "set_trace",
]


class Trace:
    """Base of traces: what happens to a primitive applied while this trace is the current one."""

    __slots__ = ("__weakref__", "alive", "description", "parent")

    def __init__(self, parent: Trace | None, description: Any = "") -> None:
        self.parent = parent
        self.alive = True
        self.description = description

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply `primitive`; a result, or a list when it has several."""
        raise NotImplementedError(type(self).__name__)

    def close(self) -> None:
        """Mark the end of the traced function; its tracers are leaks from now on."""
        self.alive = False


def check_leaks(trace: weakref.ref[Trace], description: Any) -> None:
    """Raise if a trace that has ended is still referred to, which only its tracers do.

    Nothing is looked for unless the setting `check_tracer_leaks` is on.
    """
    if not config.check_tracer_leaks():
        return
    gc.collect()
    leaked = trace()
    if leaked is not None:
        made = [x for x in gc.get_referrers(leaked) if isinstance(x, Tracer)]
        places = "\n".join(f"  {x.aval} made at {x._source or 'an unknown line'}" for x in made)
        raise UnexpectedTracerError(
            f"Leaked trace {type(leaked).__name__}. Leaked tracer(s): values traced in "
            f"{description} are still referred to after the end of the trace:\n"
            f"{places}\n  They were stored in a global, an attribute or a list outside; return "
            "them instead."
        )


Evaluator = Callable[[Any, Sequence[Any], dict[str, Any]], Any]


class EvalTrace(Trace):
    """The bottom: operands are concrete, and the evaluator of the runtime runs the primitive."""

    __slots__ = ("process",)

    process: Any

    def __init__(self) -> None:
        super().__init__(None, "eager evaluation")
        self.evaluator = super().process  # until the runtime has installed its own

    @property
    def evaluator(self) -> Evaluator:
        """What evaluates operations: it takes the place of `process`, for every call counts."""
        found: Evaluator = self.process
        return found

    @evaluator.setter
    def evaluator(self, evaluator: Evaluator) -> None:
        self.process = evaluator


EVAL: Final = EvalTrace()


class _Current(threading.local):
    def __init__(self) -> None:
        self.trace: Trace = EVAL


current: Final = _Current()
"""The state of this thread: `current.trace` for what runs too often to call `current_trace`."""


def current_trace() -> Trace:
    """The trace that operations of this thread go to."""
    return current.trace


class set_trace:
    """Make `trace` the current one for a `with` block.

    While EVAL is entered this way (see `eager`) calls do not take the native path, which is
    correct and only a little slower.
    """

    __slots__ = ("before", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def __enter__(self) -> Trace:
        self.before = current.trace
        current.trace = self.trace
        config.ACTIVE.append(self)
        return self.trace

    def __exit__(self, *exc: object) -> None:
        current.trace = self.before
        config.ACTIVE.remove(self)  # other threads' entries may be behind it


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Evaluate operations on concrete values now, whatever is being traced around."""
    with set_trace(EVAL):
        yield


class EagerTrace(Trace):
    """Evaluates what has no traced operand, and leaves the rest to the trace around."""

    __slots__ = ()

    parent: Trace

    def process(self, primitive: Any, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Evaluate now if no operand is traced."""
        for x in args:
            if isinstance(x, Tracer):
                with set_trace(self.parent):
                    return self.parent.process(primitive, args, params)
        with set_trace(EVAL):
            return EVAL.process(primitive, args, params)


def eager_where_known() -> set_trace:
    """In a `with` block, evaluate operations on concrete values now; trace the others as before."""
    return set_trace(EagerTrace(current_trace(), "eager evaluation of what is known"))


keeping_sources: Final[list[Any]] = []
"""Not empty while leaks are looked for: every tracer then knows the line that made it."""


def _keep_sources() -> None:
    setting = config.check_tracer_leaks
    wanted = setting() or any(x is setting for x in config.ACTIVE)
    keeping_sources[:] = [setting] if wanted else []


config.check_tracer_leaks.watchers.append(_keep_sources)
_keep_sources()


class Tracer(Array):
    """A value known by its aval only.  It belongs to one trace."""

    __slots__ = ("__weakref__", "_source", "_trace", "aval")
    shown_as = "Tracer"
    """What it is called where it is printed."""
    is_known = True
    """Whether it will have a value before the linear part of the program runs."""

    def __init__(self, trace: Trace, aval: Any) -> None:
        self._trace = trace
        self.aval = aval
        self._source: SourceInfo | None = current_source() if keeping_sources else None

    def __init_subclass__(cls) -> None:
        avals.register_aval(cls, avals.own_aval)

    def __repr__(self) -> str:
        return f"{self.shown_as}({self.aval.str_long()})"

    def _concrete(self) -> Any:
        """The concrete value behind this tracer, or None."""
        return None

    def _origin(self) -> str:
        source = self._source or current_source()
        return f"traced in {self._trace.description}; the value is used at {source}"

    # What Python and NumPy ask of a value.

    def __bool__(self) -> bool:
        if math.prod(self.aval.shape) > 1:
            raise ValueError(f"{AMBIGUOUS}. Its type is {self.aval}; {self._origin()}")
        if 0 in self.aval.shape:
            raise ValueError(f"{EMPTY}. Its type is {self.aval}; {self._origin()}")
        return bool(
            self._need(TracerBoolConversionError, "Attempted boolean conversion of", _BOOL_HINT)
        )

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def _number(self) -> Any:
        if self.aval.shape:
            raise TypeError(f"{NO_SCALAR}{self.ndim}. Its type is {self.aval}; {self._origin()}")
        return self._need(ConcretizationTypeError, _CONCRETE, _NUMBER_HINT)

    def __index__(self) -> int:
        value = self._need(TracerIntegerConversionError, _INDEX, _INDEX_HINT)
        return value.__index__()  # type: ignore[no-any-return]

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self._need(TracerArrayConversionError, _TO_NUMPY, _ARRAY_HINT).__array__(
            *args, **kwargs
        )

    def __hash__(self) -> int:
        raise TypeError(
            f"unhashable type: {type(self).__name__!r}: a traced value of type {self.aval} is not "
            f"hashable; {self._origin()}"
        )

    def item(self, *args: int) -> Any:
        """The value as a Python scalar; an error, since a tracer has none."""
        return self._need(ConcretizationTypeError, _CONCRETE, _NUMBER_HINT).item(*args)

    def tolist(self) -> Any:
        """The value as nested lists; an error, since a tracer has none."""
        return self._need(ConcretizationTypeError, _CONCRETE, _NUMBER_HINT).tolist()

    def __copy__(self) -> Tracer:
        return self

    def __deepcopy__(self, memo: Any) -> Tracer:
        return self

    def __reduce__(self) -> Any:
        self._need(
            ConcretizationTypeError,
            _CONCRETE,
            "The error occurred in the __reduce__ method, which may indicate an attempt to "
            "serialize/pickle a traced value.",
        )
        raise TypeError(f"a traced value of type {self.aval} cannot be pickled")

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(self.aval.size * self.aval.dtype.itemsize)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return int(self.aval.dtype.itemsize)

    def _need(self, error: type[Exception], what: str, hint: str) -> Any:
        """The concrete value, or an error: `what`, and which traced value."""
        value = self._concrete()
        if value is not None:
            return value
        check_not_leaked(self)
        sizes = ",".join(map(str, self.aval.shape))
        raise error(
            f"{what} traced array with shape {self.aval.dtype.name}[{sizes}], which "
            "has no concrete value while its function is being traced.\n"
            f"  Traced: {self._trace.description}\n  At:     {current_source()}\n  {hint}"
        )


AMBIGUOUS: Final = (
    "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
)
EMPTY: Final = (
    "The truth value of an empty array is ambiguous. Use `array.size > 0` to check that an array "
    "is not empty"
)
NO_SCALAR: Final = "Only scalar arrays can be converted to Python scalars; got arr.ndim="
_CONCRETE = "Abstract tracer value encountered where concrete value is expected:"
_INDEX = "The __index__() method was called on"
_TO_NUMPY = "The numpy.ndarray conversion method __array__() was called on"
_BOOL_HINT = (
    "Use jnp.where or lax.cond instead of `if`, lax.while_loop instead of `while`, logical_and/or "
    "instead of `and`/`or`; or mark the argument static with static_argnums/static_argnames."
)
_NUMBER_HINT = (
    "Keep the computation in jax.numpy (x.astype(...) instead of int(x) or float(x)), or mark the "
    "argument static with static_argnums/static_argnames."
)
_INDEX_HINT = (
    "Shapes, axes and loop bounds of `range` must be static: mark the argument static with "
    "static_argnums/static_argnames, or use lax.fori_loop and lax.dynamic_slice."
)
_ARRAY_HINT = (
    "Use the function of jax.numpy instead of the one of numpy, or pure_callback to run NumPy code."
)


def _plain_type(aval: Any) -> str:
    return str(aval).removeprefix("~")


def _traced_for(x: Tracer) -> str:
    description = x._trace.description
    return description.traced if isinstance(description, Description) else str(description)


def check_not_leaked(x: Tracer) -> None:
    """Raise if `x` outlived the function whose tracing made it."""
    if not x._trace.alive:
        raise UnexpectedTracerError(
            "Encountered an unexpected tracer. A transformed function had a side effect, allowing "
            f"for a reference to an intermediate value with type {_plain_type(x.aval)} wrapped in "
            f"a {type(x).__name__} to escape the scope of the transformation: the value outlived "
            "the function that was traced.\n"
            f"  The function being traced when the value leaked was {_traced_for(x)}.\n"
            f"  at {x._source or 'an unknown line'}\n"
            f"  and is used at {current_source()}.\n"
            "  Return it from the function instead of storing it in a global, an attribute or a "
            "list outside."
        )


def is_concrete(x: Any) -> bool:
    """Whether the value of `x` is known now."""
    return not isinstance(x, Tracer) or x._concrete() is not None


def concrete_or_error(force: Any, val: Any, context: str = "") -> Any:
    """`force(val)` for a concrete `val`; otherwise an error that says why one is needed."""
    if isinstance(val, Tracer):
        value = val._concrete()
        if value is None:
            check_not_leaked(val)
            raise ConcretizationTypeError(
                "Abstract tracer value encountered where concrete value is expected: a value of "
                f"type {val.aval} is traced. {context}\n"
                f"  Traced: {val._trace.description}\n  At:     {current_source()}\n  {_INDEX_HINT}"
            )
        val = value
    return val if force is None else force(val)


avals.register_aval(Tracer, avals.own_aval)


# --------------------------------------------------------------------------- what only arrays have


def _kind(x: Tracer) -> str:
    sizes = ",".join(map(str, x.aval.shape))
    return f"traced array with shape {x.aval.dtype.name}[{sizes}]"


def _method_of_arrays(name: str) -> Callable[..., Any]:
    def method(self: Tracer, *args: Any, **kwargs: Any) -> Any:
        called = f"The {name}() method was called on {_kind(self)}."
        return getattr(self._need(ConcretizationTypeError, _CONCRETE, called), name)(
            *args, **kwargs
        )

    method.__name__ = name
    return method


def _property_of_arrays(name: str) -> property:
    def read(self: Tracer) -> Any:
        asked = f"The {name} property was called on {_kind(self)}."
        return getattr(self._need(ConcretizationTypeError, _CONCRETE, asked), name)

    return property(read)


def _refused(name: str, what: str, more: str) -> property:
    def read(self: Tracer) -> Any:
        check_not_leaked(self)
        raise AttributeError(f"The {name!r} {what} is not available on {_kind(self)}.{more}")

    return property(read)


for _name in [
    "__dlpack__",
    "addressable_data",
    "delete",
    "devices",
    "is_deleted",
    "on_device_size_in_bytes",
    "tobytes",
    "unsafe_buffer_pointer",
]:
    setattr(Tracer, _name, _method_of_arrays(_name))
for _name in [
    "addressable_shards",
    "committed",
    "global_shards",
    "is_fully_addressable",
    "is_fully_replicated",
]:
    setattr(Tracer, _name, _property_of_arrays(_name))
for _name in ("block_until_ready", "copy_to_host_async"):
    setattr(Tracer, _name, _refused(_name, "method", ""))
setattr(  # noqa: B010
    Tracer,
    "sharding",
    _refused(
        "sharding",
        "attribute",
        " To query sharding information on tracers, use `jax.typeof(x)`.",
    ),
)
