"""What `custom_jvp` and `custom_vjp` share: rules on flat values, and the decorated function.

Both are equations that hold the jaxpr of the function and the user's rule; evaluated eagerly with
nothing traced they are plain calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import tree
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.core.axes import batching_axis
from pullback.core.jaxpr import ClosedJaxpr, JaxprEqn, eval_jaxpr
from pullback.core.primitive import Primitive, Zero, instantiate
from pullback.core.source import SourceInfo, describe_function, replaying
from pullback.errors import PullbackError, UnexpectedTracerError
from pullback.transforms.arguments import check_callable
from pullback.transforms.batching import batch_flat, move_batch_axis
from pullback.transforms.linearize import HigherOrder, PartialTrace

OWN_LINES: Final = SourceInfo(None, 0, ())
"""What a rule does has the lines of the rule, not that of the equation it is applied for."""


class Rule:
    """A user's rule on flat values, kept in the parameters of an equation."""

    __slots__ = ("fun", "name")

    def __init__(self, fun: Callable[..., Any], name: str) -> None:
        self.fun = fun
        self.name = name

    def __call__(self, *args: Any) -> Any:
        with replaying(OWN_LINES):
            return self.fun(*args)

    def __repr__(self) -> str:
        return self.name


class SymbolicZero:
    """A tangent or cotangent known to be zero, as rules with `symbolic_zeros=True` see it."""

    __slots__ = ("aval",)

    def __init__(self, aval: Any) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return "SymbolicZero"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the zeros."""
        return self.aval.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        """Dtype of the zeros."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.aval.shape)

    @staticmethod
    def from_primal_value(value: Any) -> SymbolicZero:
        """The zero tangent of a value.

        >>> SymbolicZero.from_primal_value(1.0).shape
        ()
        """
        return SymbolicZero(aval_of(value).to_tangent_aval())


def to_symbolic(x: Any) -> Any:
    """What a user's rule sees of a tangent that may be a `Zero`."""
    return SymbolicZero(x.aval) if type(x) is Zero else x


def zero_from_primal(val: Any, symbolic_zeros: bool = False) -> Any:
    """Zeros of the tangent types of a pytree of values; `SymbolicZero`s with `symbolic_zeros`.

    >>> float(zero_from_primal({"a": 2.0})["a"])
    0.0
    """

    def zero(x: Any) -> Any:
        if symbolic_zeros:
            return SymbolicZero.from_primal_value(x)
        return instantiate(Zero(aval_of(x).to_tangent_aval()))

    return tree.map(zero, val)


def refuse_closed_over(tangents: Sequence[Any], name: str, decorator: str) -> None:
    """Raise if a value that a function with a custom rule closes over is differentiated."""
    if any(type(t) is not Zero for t in tangents):
        raise UnexpectedTracerError(
            f"differentiation of {name}, a {decorator} function, with respect to a value that it "
            "closes over: its rule only knows its arguments. Pass the value as an argument; for a "
            "function argument that closes over values, use closure_convert."
        )


def inline_lower(b: Any, *xs: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    """The function itself: compiled code has no use for its rule."""
    results: list[Any] = b.inline(call_jaxpr, *xs)
    return results


def call_abstract(*avals: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    """The types of the results are those of the jaxpr."""
    return call_jaxpr.out_avals


def call_reference(*args: Any, call_jaxpr: ClosedJaxpr, **_: Any) -> list[Any]:
    """The function without its rule."""
    return eval_jaxpr(call_jaxpr.jaxpr, call_jaxpr.consts, *args)


def keep_whole(eqn: JaxprEqn, used: Sequence[bool]) -> tuple[list[bool], JaxprEqn | None]:
    """Dead-code elimination leaves the call as it is."""
    return [True] * len(eqn.invars), eqn


def batched_operands(
    size: int, args: Sequence[Any], dims: Sequence[int | None]
) -> tuple[list[bool], list[Any]]:
    """Which operands have lanes, and the operands with their lanes in front."""
    batched = [d is not None for d in dims]
    moved = [
        move_batch_axis(x, size, d, 0) if d is not None else x
        for x, d in zip(args, dims, strict=True)
    ]
    return batched, moved


def batched_rule(
    rule: Rule,
    size: int,
    in_batched: Callable[[int], Sequence[bool]],
    out_batched: Callable[[Sequence[Any]], Sequence[bool]],
) -> Rule:
    """The rule for all lanes at once; batch axes are in front on both sides.

    It runs later than the batching rule that makes it, and so remembers the name of the axis.
    Operands and results may be `Zero`s.
    """
    axis_name = batching_axis()

    def fun(*args: Any) -> list[Any]:
        given, dims = lanes_of(args, in_batched(len(args)))
        outs, out_dims = batch_flat(rule.fun, size, given, dims, axis_name=axis_name)
        wanted = out_batched(outs)
        return [_to_lanes(x, size, d, b) for x, d, b in zip(outs, out_dims, wanted, strict=True)]

    return Rule(fun, rule.name)


def has_lanes(x: Any) -> bool:
    """Whether a value that a forward rule keeps for the backward rule can hold one of each lane.

    What has no axes cannot, and stays what it is: a Python bool remains one that `if` can ask.
    """
    return type(x) is Zero or bool(aval_of(x).shape)


def lanes_of(args: Sequence[Any], batched: Sequence[bool]) -> tuple[list[Any], list[int | None]]:
    """Operands for `batch_flat`: a symbolic zero is the zero of one lane."""
    given: list[Any] = []
    dims: list[int | None] = []
    for x, b in zip(args, batched, strict=True):
        zero = type(x) is Zero
        given.append(Zero(x.aval.update(shape=x.aval.shape[1:])) if zero and b else x)
        dims.append(0 if b and not zero else None)
    return given, dims


def _to_lanes(x: Any, size: int, dim: int | None, batched: bool) -> Any:
    if type(x) is Zero:
        return Zero(x.aval.update(shape=(size, *x.aval.shape))) if batched else x
    if batched:
        return move_batch_axis(x, size, dim, 0)
    if dim is not None:
        raise PullbackError("a custom derivative rule gave a batched result for an unbatched one")
    return x


def recorded(primitive: Callable[[], Primitive]) -> HigherOrder:
    """Partial evaluation that never looks inside: the rule belongs to the whole."""

    def split(trace: PartialTrace, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        outs: list[Any] = trace.record(primitive(), args, params)
        return outs

    return HigherOrder(split, keep_whole)


def is_trivial(tangent: Any) -> bool:
    """Whether a tangent has the dtype of values that have none."""
    return bool(getattr(tangent, "dtype", None) == dtypes.float0)


_DEFINITIONS: Final = ("def_vmap", "defjvp", "defjvps", "defvjp")
"""Methods that set rules: of one decorator above another, those of both can be used."""


class CustomFunction:
    """What both decorators share: arguments that are not differentiated, and metadata."""

    def __init__(
        self,
        fun: Callable[..., Any],
        nondiff_argnums: Sequence[int] = (),
        nondiff_argnames: Sequence[str] = (),
    ) -> None:
        check_callable(fun, type(self).__name__)
        functools.update_wrapper(self, fun)
        self.fun = fun
        self.nondiff_argnums = _as_tuple(nondiff_argnums)
        self.nondiff_argnames = _as_tuple(nondiff_argnames)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)

    def __getattr__(self, name: str) -> Any:
        if name in _DEFINITIONS:
            return getattr(self.fun, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(type(self).__name__)

    def _positional(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments by position, keyword ones and defaults included."""
        if not kwargs and not (self.nondiff_argnums or self.nondiff_argnames):
            return list(args)
        signature = inspect.signature(self.fun)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"{describe_function(self.fun)}: keyword-only arguments {sorted(bound.kwargs)} "
                "cannot be passed to a function with a custom derivative rule"
            )
        return list(bound.args)

    def _nondiff_positions(self) -> tuple[int, ...]:
        if not self.nondiff_argnames:
            return self.nondiff_argnums
        names = list(inspect.signature(self.fun).parameters)
        return tuple(sorted({*self.nondiff_argnums, *map(names.index, self.nondiff_argnames)}))

    def _separate(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[list[Any], list[Any], Callable[..., Any]]:
        """Non-differentiated arguments, the others, and the function of the others."""
        full = self._positional(args, kwargs)
        fixed = [i % len(full) for i in self._nondiff_positions() if -len(full) <= i < len(full)]
        free = [i for i in range(len(full)) if i not in fixed]

        def fun(*given: Any) -> Any:
            values = list(full)
            for i, x in zip(free, given, strict=True):
                values[i] = x
            return self.fun(*values)

        return [full[i] for i in fixed], [full[i] for i in free], fun


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, (int, str)) else tuple(x)
